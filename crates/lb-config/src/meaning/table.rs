//! What a block's keywords take. The tables drive parsing and diagnostics.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use super::script::Command;
use crate::syntax::Line;

/// The keywords of one kind of block, whose contents are gathered in a `B`.
pub(crate) struct Table<B: 'static> {
    /// What the block is called in messages.
    pub(crate) block: &'static str,
    /// Keywords that reach the model.
    pub(crate) keywords: &'static [Keyword<B>],
    /// Keywords of keepalived that do not yet.
    pub(crate) later: &'static [Later],
}

/// A keyword of keepalived that is read over.
pub(crate) struct Later {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether a block in braces belongs to it.
    pub(crate) block: bool,
    /// Whether keepalived complains of it.
    pub(crate) deprecated: bool,
}

/// Keywords that end with their line.
pub(crate) const fn line(name: &'static str) -> Later {
    Later { name, block: false, deprecated: false }
}

/// Keywords that end with their line and that keepalived complains of.
pub(crate) const fn deprecated(name: &'static str) -> Later {
    Later { name, block: false, deprecated: true }
}

/// Keywords with a block.
pub(crate) const fn block(name: &'static str) -> Later {
    Later { name, block: true, deprecated: false }
}

/// One keyword.
pub(crate) struct Keyword<B: 'static> {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its argument and what becomes of it.
    pub(crate) takes: Takes<B>,
    /// What holds without it; empty for nothing.
    pub(crate) default: &'static str,
    /// Other names that are as good.
    pub(crate) aliases: &'static [&'static str],
    /// Names that keepalived complains of.
    pub(crate) deprecated: &'static [&'static str],
}

impl<B> Keyword<B> {
    /// A keyword without a default or other names.
    pub(crate) const fn new(name: &'static str, takes: Takes<B>) -> Self {
        Keyword { name, takes, default: "", aliases: &[], deprecated: &[] }
    }

    /// A keyword, and what holds without it.
    pub(crate) const fn or(name: &'static str, default: &'static str, takes: Takes<B>) -> Self {
        Keyword { name, takes, default, aliases: &[], deprecated: &[] }
    }

    /// Gives it other names.
    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Keyword { aliases, ..self }
    }

    /// Gives it names of the past.
    pub(crate) const fn deprecated(self, deprecated: &'static [&'static str]) -> Self {
        Keyword { deprecated, ..self }
    }
}

/// A line and the block it is for.
pub(crate) type Read<B> = fn(&mut B, &mut Context<'_>, &Line);

/// What a keyword takes, and the setter of its value.
pub(crate) enum Takes<B: 'static> {
    /// Nothing: its presence sets, whatever follows.
    Flag(fn(&mut B)),
    /// Nothing or a boolean.
    Switch(fn(&mut B, bool)),
    /// A whole number from `min` to `max`.
    Integer { min: i64, max: i64, set: fn(&mut B, i64) },
    /// Seconds with up to `places` decimals, `min` to `max` microseconds.
    Seconds { min: u64, max: u64, places: u32, set: fn(&mut B, Duration) },
    /// One word.
    Text(fn(&mut B, &str)),
    /// An address.
    Address(fn(&mut B, IpAddr)),
    /// A command, its user and group.
    Command(fn(&mut B, Box<Command>)),
    /// Words in a form of their own; `words` are needed after the keyword.
    Words { words: usize, read: Read<B> },
    /// Words, then a block that `read` reads.
    Block { words: usize, read: Read<B> },
    /// A block of raw lines.
    List { entry: Read<B> },
}

/// Longest time of most keywords, microseconds.
pub(crate) const LONGEST: u64 = 4_294_967_295_000_000;

impl<B> Takes<B> {
    /// A whole number of 32 bits from `min` on.
    pub(crate) const fn u32(min: i64, set: fn(&mut B, i64)) -> Self {
        Takes::Integer { min, max: u32::MAX as i64, set }
    }

    /// A time with six decimals, `min` microseconds or more.
    pub(crate) const fn seconds(min: u64, set: fn(&mut B, Duration)) -> Self {
        Takes::Seconds { min, max: LONGEST, places: 6, set }
    }

    /// Words needed after the keyword.
    pub(crate) fn needed(&self) -> usize {
        match self {
            Takes::Flag(_) | Takes::Switch(_) | Takes::List { .. } => 0,
            Takes::Words { words, .. } | Takes::Block { words, .. } => *words,
            _ => 1,
        }
    }
}
