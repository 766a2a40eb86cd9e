//! A configuration as it was understood, written in either syntax.
//!
//! Nothing is evaluated: the words stay those of the file, so a converted file says what the original says,
//! its mistakes included. What neither syntax could say again is left as a comment, with a warning.

mod comments;
mod conf;
mod defaults;
mod toml;

use crate::statement::{Statement, What};
use crate::{Loaded, Sources};

/// A syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// keepalived.conf
    Keepalived,
    /// TOML
    Toml,
}

/// A configuration in another syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// All of it.
    pub text: String,
    /// What could not be kept, a sentence each.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Writes the statements in a syntax, with the comments of the files.
    ///
    /// Needs [`crate::Options::record_statements`]; without them there is nothing to write.
    pub fn convert(&self, to: Format) -> Converted {
        let mut statements = self.statements.clone();
        let rest = comments::attach(&mut statements, &self.sources);
        let mut out = Out::default();
        if let Some(text) = expanded(&self.sources) {
            out.comment("", text);
        }
        match to {
            Format::Keepalived => conf::write(&mut out, &statements, 0),
            Format::Toml => toml::write(&mut out, &statements),
        }
        rest.iter().for_each(|comment| out.comment("", comment));
        Converted { text: out.text, warnings: out.warnings }
    }

    /// Writes the statements as keepalived.conf, with a line for each default that holds.
    ///
    /// Needs [`crate::Options::record_statements`].
    pub fn with_defaults(&self) -> String {
        let mut statements = self.statements.clone();
        defaults::add(&mut statements);
        let mut out = Out::default();
        conf::write(&mut out, &statements, 0);
        out.text
    }
}

/// What is lost with the shape of the files, as a sentence.
fn expanded(sources: &Sources) -> Option<&'static str> {
    let made = |text: &str| text.lines().any(|line| line.trim_start().starts_with(['$', '@', '~']));
    let several = sources.len() > 1;
    let made = sources.iter().any(|source| made(source.text()));
    match (several, made) {
        (false, false) => None,
        (true, false) => Some("Included files are part of this one."),
        (false, true) => Some("Definitions, loops and conditions are evaluated."),
        (true, true) => Some(
            "Included files are part of this one; definitions, loops and conditions are evaluated.",
        ),
    }
}

/// Text in the making.
#[derive(Default)]
struct Out {
    text: String,
    warnings: Vec<String>,
}

impl Out {
    fn comment(&mut self, indent: &str, comment: &str) {
        self.text += indent;
        self.text += "#";
        if !comment.is_empty() && !comment.starts_with(['#', ' ', '!']) {
            self.text += " ";
        }
        self.text += comment;
        self.text += "\n";
    }

    /// Ends a line, with the comment behind it.
    fn end(&mut self, behind: Option<&str>) {
        if let Some(behind) = behind {
            self.text += "  ";
            self.comment("", behind);
        } else {
            self.text += "\n";
        }
    }

    /// Keeps a line as a comment only.
    fn lost(&mut self, indent: &str, statement: &Statement, why: &str) {
        let line = statement.words.join(" ").replace(['\n', '\r'], " ");
        statement.before.iter().for_each(|comment| self.comment(indent, comment));
        self.comment(indent, &format!("{why}: {line}"));
        self.warnings.push(format!("{why}, left as a comment: {line}"));
    }
}

/// Why a line means nothing, if that is so.
fn meaningless(statement: &Statement) -> Option<&'static str> {
    match statement.what {
        What::Unknown => Some("unknown keyword"),
        What::Keyword { kind: crate::Kind::Block, .. } if statement.block.is_none() => {
            Some("skipped block")
        }
        _ => None,
    }
}

/// Whether a word stands for itself in either syntax, without quotes.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.chars().any(|c| c.is_whitespace() || c.is_control() || "\"'\\#!{}".contains(c))
}
