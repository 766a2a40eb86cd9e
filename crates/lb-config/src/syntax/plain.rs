//! Plain lines, which nearly all of a file is: words and at most one brace after them, with no quote,
//! comment, definition, loop, condition or include. One pass over the bytes finds everything there is.

use super::line::{Kind, Words};

/// What a byte is to a plain line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Blank,
    End,
    Open,
    Close,
    /// More than a plain line has.
    Special,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Word; 256];
    let (blanks, specials) = (b" \t\r\x0b\x0c", b"\"\\#!$@~\0");
    let mut index = 0;
    while index < blanks.len() {
        classes[blanks[index] as usize] = Class::Blank;
        index += 1;
    }
    index = 0;
    while index < specials.len() {
        classes[specials[index] as usize] = Class::Special;
        index += 1;
    }
    classes[b'\n' as usize] = Class::End;
    classes[b'{' as usize] = Class::Open;
    classes[b'}' as usize] = Class::Close;
    classes
};

fn class(bytes: &[u8], at: usize) -> Class {
    bytes.get(at).map_or(Class::End, |byte| CLASSES[usize::from(*byte)])
}

/// A plain line; offsets are in the file.
pub(super) struct Plain {
    /// Where its first word or brace is.
    pub(super) start: usize,
    /// Where its words, and the blanks before the brace, end.
    pub(super) end: usize,
    /// The brace after the words, at `end`.
    pub(super) brace: Option<Kind>,
    /// Where the next line starts.
    pub(super) next: usize,
}

/// The line that starts at an offset, if it is plain and no longer than `longest`; `words` become its
/// words, counted from its start.
pub(super) fn read(bytes: &[u8], from: usize, longest: usize, words: &mut Words) -> Option<Plain> {
    words.clear();
    let start = skip(bytes, from, Class::Blank);
    if bytes.get(start..).is_some_and(|line| line.starts_with(b"include")) {
        return None;
    }
    let (mut at, mut end, mut brace) = (start, start, None);
    loop {
        match class(bytes, at) {
            Class::Word => {
                end = skip(bytes, at + 1, Class::Word);
                words.push((at - start) as u32..(end - start) as u32);
                at = end;
            }
            Class::Blank => at += 1,
            Class::End => break,
            Class::Special => return None,
            open_or_close => {
                end = at;
                brace = Some(if open_or_close == Class::Open { Kind::Open } else { Kind::Close });
                at = skip(bytes, at + 1, Class::Blank);
                if class(bytes, at) != Class::End {
                    return None;
                }
                break;
            }
        }
    }
    (at - from <= longest).then_some(Plain { start, end, brace, next: at + 1 })
}

/// Where the next line starts, if there is a `{` at an offset and nothing after it in its line, which is no
/// longer than `longest` from there on.
pub(super) fn after_open(bytes: &[u8], from: usize, longest: usize) -> Option<usize> {
    let open = class(bytes, from) == Class::Open;
    let end = skip(bytes, from + 1, Class::Blank);
    let plain = class(bytes, end) == Class::End && end - from <= longest;
    (open && plain).then_some(end + 1)
}

/// Where the bytes of one class end. Runs are short, so a plain loop is faster than an iterator.
fn skip(bytes: &[u8], from: usize, wanted: Class) -> usize {
    let mut at = from;
    while at < bytes.len() && CLASSES[usize::from(bytes[at])] == wanted {
        at += 1;
    }
    at
}
