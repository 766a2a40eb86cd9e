//! The files that were read, and places in them.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

/// One file that was read: its number, from 1, so that a place that may be missing takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(NonZeroU32);

impl FileId {
    /// That of the file at an index.
    fn new(index: usize) -> Self {
        FileId(NonZeroU32::MIN.saturating_add(index as u32))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A range of bytes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range from the start of `self` to the end of `last`, if both are in one file.
    pub(crate) fn to(self, last: Span) -> Span {
        if self.file == last.file && last.end >= self.start {
            Span { end: last.end, ..self }
        } else {
            self
        }
    }
}

/// A place as people count: line and column start at 1, columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A file that was read, as text: bytes that are no UTF-8 are replaced.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    line_starts: OnceLock<Vec<u32>>,
}

impl Source {
    /// The path, as it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at as u32 + 1)).collect()
        })
    }
}

/// Every file that was read, in the order of opening.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Arc<Source>>);

impl Sources {
    /// Takes one more file in.
    pub(crate) fn add(&mut self, name: String, text: String) -> (FileId, Arc<Source>) {
        let id = FileId::new(self.0.len());
        let source = Arc::new(Source { name, text, line_starts: OnceLock::new() });
        self.0.push(Arc::clone(&source));
        (id, source)
    }

    /// The file of a span.
    pub fn file(&self, id: FileId) -> &Source {
        &self.0[id.index()]
    }

    /// Where a span starts.
    pub fn position(&self, span: Span) -> Position {
        let source = self.file(span.file);
        let starts = source.line_starts();
        let index = starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let before = source.text.get(starts[index] as usize..span.start as usize);
        Position { line: index + 1, column: before.map_or(1, |text| text.chars().count() + 1) }
    }

    /// The whole lines a span touches: their text, the number of the first, and the offset of that text.
    pub(crate) fn lines(&self, span: Span) -> (&str, usize, usize) {
        let source = self.file(span.file);
        let starts = source.line_starts();
        let first = starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let last = starts.partition_point(|start| *start < span.end.max(span.start + 1));
        let start = starts[first] as usize;
        let end = starts.get(last).map_or(source.text.len(), |end| *end as usize);
        let text = source.text.get(start..end).unwrap_or_default();
        (text.trim_end_matches(['\n', '\r']), first + 1, start)
    }

    /// Every file.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().map(|source| &**source)
    }

    /// What the files are known by.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.0.len()).map(FileId::new)
    }

    /// The line a span starts in, and the one before it.
    pub(crate) fn around(&self, span: Span) -> (&str, &str) {
        let source = self.file(span.file);
        let starts = source.line_starts();
        let index = starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let line = |index: usize| {
            let start = starts[index] as usize;
            let end = starts.get(index + 1).map_or(source.text.len(), |end| *end as usize);
            source.text.get(start..end).unwrap_or_default()
        };
        (line(index), index.checked_sub(1).map_or("", line))
    }

    /// How many files were read.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
