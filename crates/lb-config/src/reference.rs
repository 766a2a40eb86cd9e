//! The language as data: every block, its keywords, and what each means.

pub use crate::meaning::tables;

/// [`Keyword::since`] of what keepalived does not know.
pub const OWN: &str = "lbd";

/// A kind of block, or of line with options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it is: names of blocks from the outside in, joined by `/`; empty for the top level.
    pub path: &'static str,
    /// What the block is called in messages and in [`crate::Use`].
    pub name: &'static str,
    /// Its keywords.
    pub keywords: Vec<Keyword>,
}

/// What follows a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Flag,
    /// Nothing or a boolean.
    Switch,
    /// A whole number in a range.
    Integer {
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// Seconds in a range of microseconds.
    Seconds {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// Milliseconds in a range of microseconds.
    Milliseconds {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// One word.
    Text,
    /// An address.
    Address,
    /// A command, and perhaps its user and group.
    Command,
    /// Words in a form of their own.
    Words,
    /// Words perhaps, and a block of keywords or of lines.
    Block,
    /// A block of lines.
    List,
    /// A word in a fixed place, not a keyword; its name is in angle brackets.
    Positional,
}

/// One keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// Its name.
    pub name: &'static str,
    /// Other names that are as good.
    pub aliases: &'static [&'static str],
    /// Names of the past.
    pub deprecated: &'static [&'static str],
    /// What follows.
    pub kind: Kind,
    /// What follows, as a synopsis.
    pub arguments: String,
    /// What holds without it; empty for nothing.
    pub default: &'static str,
    /// Whether the daemon acts on it; if not it is read and kept in the model.
    pub acted_on: bool,
    /// The release of keepalived that has it first, [`OWN`] for none; empty for always or not known.
    pub since: &'static str,
    /// What it means, one sentence.
    pub meaning: &'static str,
}
