//! Words as a shell has them.

use crate::source::{FileId, Span};

/// A word without its quotes, and where it is with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Span,
}

/// The words of each line of a text that starts at `base` in its file. Lines without words are left out.
///
/// Quotes of both kinds and backslashes mean what they mean to `sh(1)`, a `#` at the start of a word begins
/// a comment, and nothing is expanded.
pub(super) fn lines(file: FileId, text: &str, base: usize) -> Vec<Vec<Word>> {
    let mut lines = Vec::new();
    let mut line: Vec<Word> = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut chars = text.char_indices().peekable();
    let finish = |word: &mut Option<(usize, String)>, line: &mut Vec<Word>, end: usize| {
        if let Some((start, text)) = word.take() {
            let (start, end) = ((base + start) as u32, (base + end) as u32);
            line.push(Word { text, span: Span { file, start, end } });
        }
    };
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => {
                finish(&mut word, &mut line, at);
                lines.push(std::mem::take(&mut line));
            }
            c if c.is_whitespace() => finish(&mut word, &mut line, at),
            '#' if word.is_none() => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '\\' => match chars.next() {
                // The line goes on.
                Some((_, '\n')) | None => finish(&mut word, &mut line, at),
                Some((_, c)) => word.get_or_insert((at, String::new())).1.push(c),
            },
            '\'' | '"' => {
                let (_, text) = word.get_or_insert((at, String::new()));
                while let Some((_, inner)) = chars.next_if(|(_, inner)| *inner != c) {
                    let escaped = |next: &(usize, char)| matches!(next.1, '"' | '\\' | '$' | '`');
                    match (inner, c) {
                        ('\\', '"') => text.push(chars.next_if(escaped).map_or('\\', |(_, c)| c)),
                        _ => text.push(inner),
                    }
                }
                // The closing quote, if there is one.
                chars.next();
            }
            c => word.get_or_insert((at, String::new())).1.push(c),
        }
    }
    finish(&mut word, &mut line, text.len());
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

/// Words one after another.
pub(super) struct Args<'w> {
    words: &'w [Word],
    at: usize,
}

impl<'w> Args<'w> {
    pub(super) fn new(words: &'w [Word]) -> Self {
        Args { words, at: 0 }
    }

    /// The next word, which is thereby taken.
    pub(super) fn next(&mut self) -> Option<&'w Word> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// The next word if it is such a one.
    pub(super) fn next_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'w Word> {
        self.words.get(self.at).filter(|word| wanted(&word.text))?;
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn split(text: &str) -> Vec<Vec<String>> {
        let (file, _) = Sources::default().add(String::new(), text.to_owned());
        let texts = |line: Vec<Word>| line.into_iter().map(|word| word.text).collect();
        lines(file, text, 0).into_iter().map(texts).collect()
    }

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(
            split("a  b # c\n\n# d\ne#f 'g h'\"i\\\"j\" \\\n k\\ l"),
            [vec!["a", "b"], vec!["e#f", "g hi\"j", "k l"],]
        );
        assert_eq!(split("'open\nquote"), [["open\nquote"]]);
        assert_eq!(split("\"\" end\\"), [["", "end"]]);
    }

    #[test]
    fn spans_include_the_quotes() {
        let (file, _) = Sources::default().add(String::new(), String::new());
        let found = lines(file, "pass 'a b' x", 10);
        let ranges: Vec<_> = found[0].iter().map(|word| word.span.start..word.span.end).collect();
        assert_eq!(ranges, [10..14, 15..20, 21..22]);
    }
}
