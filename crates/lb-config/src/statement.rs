//! A configuration as it was understood: a tree of lines and the blocks they own.

use crate::diagnostic::Place;
use crate::reference::Kind;

/// A line, and the block it owns if it does.
///
/// Includes, definitions, loops and conditions are resolved; a word that opens a block owns it only if the
/// language says so, as keepalived has it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it is.
    pub what: What,
    /// Its words, the keyword as it was written among them; quotes are taken away.
    pub words: Vec<String>,
    /// The same by the grammar of commands, in which `'` quotes too and quotes may start within a word.
    pub command: Vec<String>,
    /// Where its first word is.
    pub place: Place,
    /// What its block holds, if one was read.
    pub block: Option<Vec<Statement>>,
    /// Comments on lines of their own before it, without the comment character.
    pub before: Vec<String>,
    /// The comment behind it on its line.
    pub behind: Option<String>,
}

/// What a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A keyword of the block around it.
    Keyword {
        /// Its current name.
        name: &'static str,
        /// What it takes.
        kind: Kind,
    },
    /// A line of a list.
    Entry,
    /// A line that means nothing where it is.
    Unknown,
}

impl Statement {
    /// The name of its keyword, if it has one.
    pub fn name(&self) -> Option<&'static str> {
        match self.what {
            What::Keyword { name, .. } => Some(name),
            What::Entry | What::Unknown => None,
        }
    }

    /// Whether its block is one of lines, not of keywords.
    pub fn is_list(&self) -> bool {
        let entries = || self.block.iter().flatten();
        match self.what {
            What::Keyword { kind: Kind::List, .. } => self.block.is_some(),
            _ => entries().any(|inner| inner.what == What::Entry),
        }
    }
}

/// Whether the words of a keyword are read by the grammar of commands.
pub(crate) fn is_command(name: &str, kind: Kind) -> bool {
    kind == Kind::Command
        || matches!(name, "startup_script" | "shutdown_script" | "notify_deleted" | "regex")
}
