//! A piece of text that knows where each of its bytes comes from.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Place;
use crate::source::{FileId, Source, Span};

/// Text with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Text(Content);

#[derive(Clone, Debug)]
enum Content {
    /// One stretch of a file, the usual case: nothing is copied.
    Stretch { file: FileId, source: Arc<Source>, start: u32, end: u32 },
    /// Several pieces, by ascending offset in the string; the first at 0.
    Pieces { string: String, origins: Vec<(u32, Origin)> },
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
    pub(crate) fn stretch(file: FileId, source: &Arc<Source>, range: Range<usize>) -> Text {
        let (start, end) = (range.start as u32, range.end as u32);
        Text(Content::Stretch { file, source: Arc::clone(source), start, end })
    }

    /// Nothing yet.
    pub(crate) fn empty() -> Text {
        Text(Content::Pieces { string: String::new(), origins: Vec::new() })
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Content::Stretch { source, start, end, .. } => {
                &source.text()[*start as usize..*end as usize]
            }
            Content::Pieces { string, .. } => string,
        }
    }

    /// A range of it, which starts and ends between characters; else nothing.
    pub(crate) fn piece(&self, range: Range<usize>) -> &str {
        let piece = match &self.0 {
            Content::Stretch { source, start, .. } => {
                let start = *start as usize;
                source.text().get(start + range.start..start + range.end)
            }
            Content::Pieces { string, .. } => string.get(range),
        };
        piece.unwrap_or_default()
    }

    fn len(&self) -> usize {
        match &self.0 {
            Content::Stretch { start, end, .. } => (end - start) as usize,
            Content::Pieces { string, .. } => string.len(),
        }
    }

    /// Appends a range of another text.
    pub(crate) fn push_range(&mut self, from: &Text, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let mut at = range.start;
        while at < range.end {
            let (origin, end) = from.origin_at(at);
            self.push(origin, &from.as_str()[at..end.min(range.end)]);
            at = end;
        }
    }

    /// Appends the value of a definition.
    pub(crate) fn push_used(&mut self, value: &str, place: Place, definition: Option<Span>) {
        if !value.is_empty() {
            let definition = place.definition.or(definition);
            self.push(Origin::Use(Place { definition, ..place }), value);
        }
    }

    fn push(&mut self, origin: Origin, piece: &str) {
        if let Content::Stretch { file, start, .. } = self.0 {
            let first = Origin::Stretch { file, start };
            let string = self.as_str().to_owned();
            self.0 = Content::Pieces { string, origins: vec![(0, first)] };
        }
        if let Content::Pieces { string, origins } = &mut self.0 {
            origins.push((string.len() as u32, origin));
            string.push_str(piece);
        }
    }

    /// The origin of a byte, and the offset where that origin ends.
    fn origin_at(&self, at: usize) -> (Origin, usize) {
        match &self.0 {
            Content::Stretch { file, start, .. } => {
                (Origin::Stretch { file: *file, start: start + at as u32 }, self.len())
            }
            Content::Pieces { string, origins } => {
                let next = origins.partition_point(|(offset, _)| *offset as usize <= at);
                let end = origins.get(next).map_or(string.len(), |(offset, _)| *offset as usize);
                // The first piece is at 0, so there is one before `next`.
                let (offset, origin) = origins[next.saturating_sub(1)];
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
        if let Content::Stretch { file, source, start, .. } = &self.0 {
            let start = *start as usize;
            return Text::stretch(*file, source, start + range.start..start + range.end);
        }
        let mut slice = Text::empty();
        slice.push_range(self, range);
        slice
    }

    /// The same, where the text is not needed any more.
    pub(crate) fn into_slice(mut self, range: Range<usize>) -> Text {
        match &mut self.0 {
            Content::Stretch { start, end, .. } => {
                *end = *start + range.end as u32;
                *start += range.start as u32;
                self
            }
            Content::Pieces { string, .. } if range == (0..string.len()) => self,
            Content::Pieces { .. } => self.slice(range),
        }
    }

    /// Without blanks at either end.
    pub(crate) fn trimmed(self) -> Text {
        let bytes = self.as_str().as_bytes();
        let is_text = |byte: &u8| !is_blank((*byte).into());
        let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
        let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
        self.into_slice(start..end)
    }

    /// Where a range is in the files.
    pub(crate) fn place(&self, range: Range<usize>) -> Place {
        if let Content::Stretch { file, start, end, .. } = self.0
            && range.start < range.end
            && range.end <= (end - start) as usize
        {
            let (end, start) = (start + range.end as u32, start + range.start as u32);
            return Span { file, start, end }.into();
        }
        self.place_of_pieces(range)
    }

    /// Where a range is that is empty, or not within one stretch.
    fn place_of_pieces(&self, range: Range<usize>) -> Place {
        if self.len() == 0 {
            return match self.0 {
                Content::Stretch { file, start, .. } => Span { file, start, end: start }.into(),
                Content::Pieces { .. } => Place::NOWHERE,
            };
        }
        let first = range.start.min(self.len() - 1);
        let last = range.end.saturating_sub(1).clamp(first, self.len() - 1);
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
        self.place(0..self.len())
    }
}

/// What separates words.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c')
}
