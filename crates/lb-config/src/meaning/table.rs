//! What a block's keywords take. The tables drive parsing, diagnostics and the reference pages.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use super::script::Command;
use crate::syntax::Line;

/// The keywords of one kind of block, whose contents are gathered in a `B`.
pub(crate) struct Table<B: 'static> {
    /// What the block is called in messages.
    pub(crate) block: &'static str,
    /// Its keywords.
    pub(crate) keywords: &'static [Keyword<B>],
    /// More of them, kept apart because several blocks share them or because they are another matter.
    pub(crate) also: &'static [&'static [Keyword<B>]],
}

impl<B> Table<B> {
    /// Every keyword.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Keyword<B>> {
        self.keywords.iter().chain(self.also.iter().copied().flatten())
    }

    /// The keyword of a name that is not of the past.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Keyword<B>> {
        let named = |keyword: &&Keyword<B>| keyword.name == name || keyword.aliases.contains(&name);
        // Every line comes here: two plain loops take half of what a chain of iterators does.
        let first = self.keywords.iter().find(named);
        first.or_else(|| self.also.iter().find_map(|more| more.iter().find(named)))
    }
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
    /// Whether the daemon acts on it; if not it is in the model for who reads that.
    pub(crate) acted_on: bool,
    /// Why nothing may run without it, of a keyword that nothing acts on.
    pub(crate) needed: Option<Needed>,
}

/// Why a configuration must not run as if a keyword were not there: it says where or whether we run, or it guards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed {
    /// Id of the complaint, which `--allow` takes.
    pub(crate) id: &'static str,
    /// What would happen without it: a whole sentence's end, after "without it".
    pub(crate) without: &'static str,
}

impl<B> Keyword<B> {
    /// A keyword without a default or other names.
    pub(crate) const fn new(name: &'static str, takes: Takes<B>) -> Self {
        Keyword::or(name, "", takes)
    }

    /// A keyword, and what holds without it.
    pub(crate) const fn or(name: &'static str, default: &'static str, takes: Takes<B>) -> Self {
        Keyword {
            name,
            takes,
            default,
            aliases: &[],
            deprecated: &[],
            acted_on: true,
            needed: None,
        }
    }

    /// Gives it other names.
    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Keyword { aliases, ..self }
    }

    /// A keyword that nothing acts on yet.
    pub(crate) const fn idle(name: &'static str, takes: Takes<B>) -> Self {
        Keyword::idle_or(name, "", takes)
    }

    /// The same, and what holds without it.
    pub(crate) const fn idle_or(
        name: &'static str,
        default: &'static str,
        takes: Takes<B>,
    ) -> Self {
        Keyword {
            name,
            takes,
            default,
            aliases: &[],
            deprecated: &[],
            acted_on: false,
            needed: None,
        }
    }

    /// Refuses a configuration that uses it, as long as nothing acts on it.
    pub(crate) const fn needed(self, id: &'static str, without: &'static str) -> Self {
        Keyword { needed: Some(Needed { id, without }), ..self }
    }

    /// Gives it names of the past.
    pub(crate) const fn deprecated(self, deprecated: &'static [&'static str]) -> Self {
        Keyword { deprecated, ..self }
    }
}

/// A line and the block it is for.
pub(crate) type Read<B> = fn(&mut B, &mut Context<'_>, &Line);

/// A line, where in it the keyword is, and the block it is for; how many words after it belong to it.
pub(crate) type ReadPart<B> = fn(&mut B, &mut Context<'_>, &Line, usize) -> usize;

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
    /// Milliseconds with up to three decimals, `min` to `max` microseconds.
    Milliseconds { min: u64, max: u64, set: fn(&mut B, Duration) },
    /// One word.
    Text(fn(&mut B, &str)),
    /// One word in a form of its own, which may hold blanks.
    Word(Read<B>),
    /// An address.
    Address(fn(&mut B, IpAddr)),
    /// A command, its user and group, and the place of the first: later ones are ignored.
    Command(fn(&mut B) -> &mut Option<Box<Command>>),
    /// A command alone: its user has a keyword of its own.
    Program(fn(&mut B, Box<Command>)),
    /// Words in a form of their own; `words` are needed after the keyword.
    Words { words: usize, read: Read<B> },
    /// Words within a line of options; `words` are needed after the keyword.
    Part { words: usize, read: ReadPart<B> },
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
            Takes::Words { words, .. } | Takes::Part { words, .. } | Takes::Block { words, .. } => {
                *words
            }
            _ => 1,
        }
    }
}
