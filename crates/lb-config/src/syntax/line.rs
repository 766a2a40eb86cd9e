//! Logical lines and their words.

use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

use super::text::{Text, is_blank};
use crate::diagnostic::{Diagnostics, Place};

/// What a logical line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Words, at least one.
    Words,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A logical line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) kind: Kind,
    text: Text,
    words: Words,
}

/// Where the words of a line are in its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// As many as nearly all lines have.
    first: [(u32, u32); 4],
    rest: Vec<(u32, u32)>,
    len: usize,
}

impl Words {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.rest.clear();
        self.len = 0;
    }

    /// Adds one.
    pub(crate) fn push(&mut self, word: Range<u32>) {
        match self.first.get_mut(self.len) {
            Some(free) => *free = (word.start, word.end),
            None => self.rest.push((word.start, word.end)),
        }
        self.len += 1;
    }

    fn get(&self, index: usize) -> Option<Range<usize>> {
        if index >= self.len {
            return None;
        }
        let (start, end) = match self.first.get(index) {
            Some(word) => *word,
            None => *self.rest.get(index - self.first.len())?,
        };
        Some(start as usize..end as usize)
    }
}

impl FromIterator<Range<u32>> for Words {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        let mut words = Self::default();
        ranges.into_iter().for_each(|range| words.push(range));
        words
    }
}

/// A word and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'l> {
    /// The word, without its quotes.
    pub(crate) text: &'l str,
    /// Where it is.
    pub(crate) place: Place,
}

impl Line {
    /// A line to be read into.
    pub(crate) fn empty() -> Line {
        Line { kind: Kind::Words, text: Text::empty(), words: Words::default() }
    }

    /// Becomes another line, whose words are there already.
    pub(super) fn set(&mut self, kind: Kind, text: Text) {
        self.kind = kind;
        self.text = text;
    }

    /// Its words, to be read anew.
    pub(super) fn words_mut(&mut self) -> &mut Words {
        &mut self.words
    }

    /// A brace.
    pub(crate) fn brace(kind: Kind, text: Text) -> Line {
        Line { kind, text, words: Words::default() }
    }

    /// Words whose places in the text are known, at least one, whatever is in them.
    pub(crate) fn of_words(text: Text, words: Words) -> Line {
        Line { kind: Kind::Words, text, words }
    }

    /// Splits text without unquoted braces into words: blanks separate, `"` starts and ends one.
    pub(crate) fn words(text: Text) -> Line {
        let words = word_ranges(text.as_str()).into_iter().collect();
        Line { kind: Kind::Words, text, words }
    }

    /// Number of words.
    pub(crate) fn len(&self) -> usize {
        self.words.len
    }

    /// The text of a word, empty if there is none.
    #[inline]
    pub(crate) fn str(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |range| self.text.piece(range))
    }

    /// A word.
    pub(crate) fn word(&self, index: usize) -> Option<Word<'_>> {
        let range = self.words.get(index)?;
        Some(Word { text: self.text.piece(range.clone()), place: self.text.place(range) })
    }

    /// The words from one on.
    pub(crate) fn words_from(&self, index: usize) -> impl Iterator<Item = Word<'_>> {
        (index..self.len()).filter_map(|index| self.word(index))
    }

    /// Where the line is.
    pub(crate) fn place(&self) -> Place {
        self.text.whole()
    }

    /// Where its first word is.
    pub(crate) fn keyword_place(&self) -> Place {
        self.place_of(0)
    }

    /// Where a word is, the whole line if there is no such word.
    pub(crate) fn place_of(&self, index: usize) -> Place {
        self.words.get(index).map_or_else(|| self.place(), |range| self.text.place(range))
    }

    /// Where a range of words is, the whole line if there are none.
    pub(crate) fn place_from(&self, index: usize) -> Place {
        match (self.words.get(index), self.words.get(self.len().wrapping_sub(1))) {
            (Some(first), Some(last)) => self.text.place(first.start..last.end),
            _ => self.place(),
        }
    }

    /// As [`Line::command`], without complaints.
    pub(crate) fn command_words(&self) -> Vec<String> {
        command_words(self.text.as_str(), false).unwrap_or_else(|unterminated| unterminated)
    }

    /// The words of a command by the second grammar: `'` and `"` both quote and may start within a word,
    /// backslashes are left alone. The keyword is the first.
    pub(crate) fn command(&self, diags: &mut Diagnostics) -> Vec<String> {
        command_words(self.text.as_str(), false).unwrap_or_else(|unterminated| {
            diags.warn("unterminated-quote", self.place(), "this quote is not closed").class =
                crate::diagnostic::Class::UnmatchedQuote;
            unterminated
        })
    }
}

/// Where the words of a text are: blanks separate, `"` starts and ends one.
pub(crate) fn word_ranges(text: &str) -> Vec<Range<u32>> {
    let mut words = Vec::with_capacity(4);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if is_blank(bytes[at].into()) {
            at += 1;
            continue;
        }
        let quoted = bytes[at] == b'"';
        let start = at + usize::from(quoted);
        let length = if quoted {
            bytes[start..].iter().position(|byte| *byte == b'"')
        } else {
            bytes[start..].iter().position(|byte| *byte == b'"' || is_blank((*byte).into()))
        };
        let end = start + length.unwrap_or(bytes.len() - start);
        words.push(start as u32..end as u32);
        at = end + usize::from(quoted);
    }
    words
}

/// Splits by the grammar of commands; with `escapes`, backslashes name bytes.
///
/// # Errors
/// A quote is not closed: the words there are.
pub(crate) fn command_words(text: &str, escapes: bool) -> Result<Vec<String>, Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) if escapes => word.get_or_insert_default().push(escape(&mut chars)),
            ('\\', _) => {
                let word = word.get_or_insert_default();
                word.push('\\');
                // An escaped quote does not end the word; the second split takes the backslash away.
                if let Some(next) = chars.next() {
                    word.push(next);
                }
            }
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (_, None) if is_blank(c) => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(words) } else { Ok(words) }
}

/// The character after a backslash: `\n` and the like, `\xHH`, `\OOO`, `\cX`, or itself.
fn escape(chars: &mut Peekable<Chars<'_>>) -> char {
    let Some(c) = chars.next() else { return '\\' };
    match c {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => digits(chars, 16, 2, 0),
        'c' => chars.next().map_or('c', |control| char::from(control as u8 & 0x1f)),
        '0'..='7' => digits(chars, 8, 2, c as u32 - u32::from('0')),
        other => other,
    }
}

fn digits(chars: &mut Peekable<Chars<'_>>, radix: u32, most: usize, first: u32) -> char {
    let mut value = first;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value * radix + digit;
        chars.next();
    }
    char::from(value as u8)
}
