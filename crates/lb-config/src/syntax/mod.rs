//! Bytes to logical lines of words with spans. No keyword is known here but `include`.
//!
//! Braces outside double quotes are lines of their own, so `a { b }`, and the same on four lines, are the
//! same stream. What makes a block of it is the meaning stage: which word owns a `{` cannot be told from
//! the text, and what an unknown word does to the braces around it follows from that.

mod definition;
mod include;
mod line;
mod plain;
mod reader;
mod sequence;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use include::Checks;
pub(crate) use line::{Kind, Line, Word, command_words, word_ranges};
pub(crate) use reader::Reader;
pub(crate) use text::Text;
