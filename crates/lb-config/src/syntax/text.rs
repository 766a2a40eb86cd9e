//! A piece of text that knows where each of its bytes comes from.

use std::ops::Range;

use crate::diagnostic::Place;
use crate::source::{FileId, Span};

/// Text with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    string: String,
    origins: Origins,
}

#[derive(Clone, Debug)]
enum Origins {
    /// One stretch of a file, the usual case.
    Stretch { file: FileId, start: u32 },
    /// Several pieces, by ascending offset in the text; the first at 0.
    Pieces(Vec<(u32, Origin)>),
}

/// Where the bytes from one offset on come from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// Byte by byte from here.
    Stretch { file: FileId, start: u32 },
    /// All of them from the use of a definition.
    Use(Place),
}

impl Text {
    /// A stretch of a file, as it is there.
    pub(crate) fn stretch(file: FileId, start: usize, string: &str) -> Text {
        Text { string: string.to_owned(), origins: Origins::Stretch { file, start: start as u32 } }
    }

    /// Nothing yet.
    pub(crate) fn empty() -> Text {
        Text { string: String::new(), origins: Origins::Pieces(Vec::new()) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.string
    }

    /// Appends a range of another text.
    pub(crate) fn push_range(&mut self, from: &Text, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let mut at = range.start;
        while at < range.end {
            let (origin, end) = from.origin_at(at);
            self.push_origin(origin);
            self.string.push_str(&from.string[at..end.min(range.end)]);
            at = end;
        }
    }

    /// Appends the value of a definition.
    pub(crate) fn push_used(&mut self, value: &str, place: Place, definition: Option<Span>) {
        if !value.is_empty() {
            self.push_origin(Origin::Use(Place {
                definition: place.definition.or(definition),
                ..place
            }));
            self.string.push_str(value);
        }
    }

    fn push_origin(&mut self, origin: Origin) {
        let at = self.string.len() as u32;
        match &mut self.origins {
            Origins::Pieces(pieces) => pieces.push((at, origin)),
            Origins::Stretch { file, start } => {
                let first = Origin::Stretch { file: *file, start: *start };
                self.origins = Origins::Pieces(vec![(0, first), (at, origin)]);
            }
        }
    }

    /// The origin of a byte, and the offset where that origin ends.
    fn origin_at(&self, at: usize) -> (Origin, usize) {
        match &self.origins {
            Origins::Stretch { file, start } => {
                (Origin::Stretch { file: *file, start: start + at as u32 }, self.string.len())
            }
            Origins::Pieces(pieces) => {
                let next = pieces.partition_point(|(offset, _)| *offset as usize <= at);
                let end =
                    pieces.get(next).map_or(self.string.len(), |(offset, _)| *offset as usize);
                // The first piece is at 0, so there is one before `next`.
                let (offset, origin) = pieces[next.saturating_sub(1)];
                let origin = match origin {
                    Origin::Stretch { file, start } => {
                        Origin::Stretch { file, start: start + at as u32 - offset }
                    }
                    used => used,
                };
                (origin, end)
            }
        }
    }

    /// A range as a text of its own.
    pub(crate) fn slice(&self, range: Range<usize>) -> Text {
        if let Origins::Stretch { file, start } = self.origins {
            return Text::stretch(file, start as usize + range.start, &self.string[range]);
        }
        let mut slice = Text::empty();
        slice.push_range(self, range);
        slice
    }

    /// Without blanks at either end.
    pub(crate) fn trimmed(self) -> Text {
        let start = self.string.len() - self.string.trim_start_matches(is_blank).len();
        let end = self.string.trim_end_matches(is_blank).len();
        if (start, end) == (0, self.string.len()) {
            self
        } else {
            self.slice(start..end.max(start))
        }
    }

    /// Where a range is in the files.
    pub(crate) fn place(&self, range: Range<usize>) -> Place {
        if self.string.is_empty() {
            return match self.origins {
                Origins::Stretch { file, start } => Span { file, start, end: start }.into(),
                Origins::Pieces(_) => Place::NOWHERE,
            };
        }
        let first = range.start.min(self.string.len() - 1);
        let last = range.end.saturating_sub(1).clamp(first, self.string.len() - 1);
        let width = u32::from(range.end > range.start);
        let place = |at| match self.origin_at(at).0 {
            Origin::Stretch { file, start } => {
                Place::from(Span { file, start, end: start + width })
            }
            Origin::Use(place) => place,
        };
        let (first, last) = (place(first), place(last));
        let span = match (first.span, last.span) {
            (Some(first), Some(last)) => Some(first.to(last)),
            (first, last) => first.or(last),
        };
        Place { span, definition: first.definition.or(last.definition) }
    }

    /// Where all of it is.
    pub(crate) fn whole(&self) -> Place {
        self.place(0..self.string.len())
    }
}

/// What separates words.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c')
}
