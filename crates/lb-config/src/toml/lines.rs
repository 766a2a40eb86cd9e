//! A TOML document to lines.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{Head, Name, Names, head};
use crate::diagnostic::{Class, Diagnostics};
use crate::reference::Kind;
use crate::source::{FileId, Source, Span};
use crate::statement::is_command;
use crate::syntax::{self, Line, Text};

type Value<'t> = Spanned<DeValue<'t>>;

/// The lines of a document; none if it is not TOML.
pub(crate) fn read(file: FileId, source: &Arc<Source>, diags: &mut Diagnostics) -> Vec<Line> {
    let (document, mut errors) = DeTable::parse_recoverable(source.text());
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in &errors {
        let place = span(file, error.span().unwrap_or(0..0));
        diags.error("toml", place, error.message()).class(Class::Fatal);
    }
    if !errors.is_empty() {
        return Vec::new();
    }
    let mut lines = Lines { file, source, diags, names: Names::new(), done: Vec::new() };
    lines.table("", document.get_ref(), &[]);
    lines.done
}

fn span(file: FileId, range: Range<usize>) -> Span {
    Span { file, start: range.start as u32, end: range.end as u32 }
}

struct Lines<'a> {
    file: FileId,
    source: &'a Arc<Source>,
    diags: &'a mut Diagnostics,
    names: Names,
    done: Vec<Line>,
}

/// A line in the making.
struct Draft {
    text: Text,
    words: Vec<Range<u32>>,
}

impl Lines<'_> {
    /// The keys of a table in the order of the document, without those of its head.
    fn table(&mut self, path: &str, table: &DeTable<'_>, but: &[&str]) {
        let mut items: Vec<(usize, &str, Range<usize>, &Value<'_>)> = Vec::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            if but.contains(&name) {
                continue;
            }
            match value.get_ref() {
                // Tables of several arrays may be in any order among each other.
                DeValue::Array(array) if is_tables(value) => items
                    .extend(array.iter().map(|table| (start(table), name, table.span(), table))),
                _ => items.push((start(value), name, key.span(), value)),
            }
        }
        items.sort_by_key(|(start, ..)| *start);
        for (_, key, place, value) in items {
            match self.names.find(path, key) {
                Some(name) if name.kind != Kind::Positional => {
                    self.keyword(path, name, place, value);
                }
                _ => self.unknown(path, key, place),
            }
        }
    }

    fn unknown(&mut self, path: &str, key: &str, place: Range<usize>) {
        let block = path.rsplit('/').next().unwrap_or_default();
        let message = match block {
            "" => format!("unknown key `{key}`"),
            block => format!("unknown key `{key}` in `{}`", super::snake(block)),
        };
        let diagnostic = self.diags.warn("unknown-keyword", span(self.file, place), message);
        diagnostic.class(Class::UnknownKeyword);
        if let Some(similar) = self.names.similar(path, key) {
            diagnostic.hint(format!("did you mean `{similar}`?"));
        }
    }

    fn keyword(&mut self, path: &str, name: Name, key: Range<usize>, value: &Value<'_>) {
        match (name.kind, value.get_ref()) {
            (Kind::Block, DeValue::Table(table)) => self.block(path, name, key, table),
            (Kind::Block | Kind::List, DeValue::Array(array)) => {
                let head = self.start(name.keyword, &key);
                self.list(head, &key, &join(path, name.keyword), array.iter());
            }
            (Kind::List, DeValue::String(_) | DeValue::Table(_)) => {
                let head = self.start(name.keyword, &key);
                self.list(head, &key, &join(path, name.keyword), std::iter::once(value));
            }
            (Kind::Block, _) => self.mistaken(value, name.keyword, "a table"),
            (Kind::List, _) => self.mistaken(value, name.keyword, "an array of lines"),
            (_, DeValue::Boolean(on)) => {
                let mut line = self.start(name.keyword, &key);
                if name.takes_bool {
                    self.word(&mut line, &on.to_string(), value.span());
                } else if !on {
                    return;
                }
                self.finish(line);
            }
            (Kind::Flag, _) => self.mistaken(value, name.keyword, "true or false"),
            (kind, DeValue::Array(array)) => {
                let words = matches!(kind, Kind::Words | Kind::Command);
                let nested = |value: &Value<'_>| matches!(value.get_ref(), DeValue::Array(_));
                if words && !array.iter().any(nested) {
                    if !array.is_empty() {
                        self.line(path, name, &key, array.iter());
                    }
                    return;
                }
                for value in array {
                    match value.get_ref() {
                        DeValue::Array(inner) => self.line(path, name, &key, inner.iter()),
                        _ => self.keyword(path, name, key.clone(), value),
                    }
                }
            }
            (Kind::Words, DeValue::String(text)) if !is_command(name.keyword, name.kind) => {
                let mut line = self.start(name.keyword, &key);
                self.words(&mut line, text, value.span());
                self.finish(line);
            }
            (Kind::Words, DeValue::Table(options)) => {
                let mut line = self.start(name.keyword, &key);
                self.options(&mut line, &join(path, name.keyword), options);
                self.finish(line);
            }
            _ => self.line(path, name, &key, std::iter::once(value)),
        }
    }

    /// A line whose values are a word each.
    fn line<'v>(
        &mut self,
        path: &str,
        name: Name,
        key: &Range<usize>,
        values: impl Iterator<Item = &'v Value<'v>>,
    ) {
        let mut line = self.start(name.keyword, key);
        let command = is_command(name.keyword, name.kind);
        for value in values {
            let Some(text) = self.scalar(value) else {
                let what = if path.is_empty() { "a string or number" } else { "a single value" };
                self.mistaken(value, name.keyword, what);
                return;
            };
            if command {
                let quoted = quote_for_command(&text);
                line.text.push_used(" ", span(self.file, value.span()).into(), None);
                line.text.push_used(&quoted, span(self.file, value.span()).into(), None);
            } else {
                self.word(&mut line, &text, value.span());
            }
        }
        if command {
            self.done.push(Line::words(line.text));
        } else {
            self.finish(line);
        }
    }

    /// A block: its head, then its keys.
    fn block(&mut self, path: &str, name: Name, key: Range<usize>, table: &DeTable<'_>) {
        let inner = join(path, name.keyword);
        let head = head(&inner);
        let mut line = self.start(name.keyword, &key);
        for key in head.keys() {
            if let Some(value) = table.get(*key) {
                self.head(&mut line, head, key, value);
            }
        }
        if inner == "virtual_server_group" {
            match table.get("entries").map(|entries| (entries, entries.get_ref())) {
                Some((_, DeValue::Array(entries))) => self.list(line, &key, &inner, entries.iter()),
                Some((other, _)) => self.mistaken(other, "entries", "an array of lines"),
                None => self.list(line, &key, &inner, std::iter::empty()),
            }
            self.table(&inner, table, &["name", "entries"]);
            return;
        }
        self.finish(line);
        self.brace(syntax::Kind::Open, &key);
        self.table(&inner, table, head.keys());
        self.brace(syntax::Kind::Close, &key);
    }

    fn head(&mut self, line: &mut Draft, head: Head, key: &str, value: &Value<'_>) {
        let address = (key == "address").then(|| value.get_ref().as_str()).flatten();
        if let Some(Ok(address)) = address.map(str::parse::<SocketAddr>) {
            self.word(line, &address.ip().to_string(), value.span());
            self.word(line, &address.port().to_string(), value.span());
            return;
        }
        if let Some(address) = address {
            self.words(line, address, value.span());
            return;
        }
        let values = match value.get_ref() {
            DeValue::Array(array) if head == Head::Name => array.iter().collect(),
            _ => vec![value],
        };
        if head == Head::Server && matches!(key, "fwmark" | "group") {
            self.word(line, key, value.span());
        }
        for value in values {
            match self.scalar(value) {
                Some(text) => self.word(line, &text, value.span()),
                None => self.mistaken(value, key, "a string or number"),
            }
        }
    }

    fn list<'v>(
        &mut self,
        head: Draft,
        key: &Range<usize>,
        path: &str,
        entries: impl Iterator<Item = &'v Value<'v>>,
    ) {
        self.finish(head);
        self.brace(syntax::Kind::Open, key);
        for entry in entries {
            let mut line = Draft { text: Text::empty(), words: Vec::new() };
            match entry.get_ref() {
                DeValue::String(text) => self.words(&mut line, text, entry.span()),
                DeValue::Table(options) => self.options(&mut line, path, options),
                DeValue::Array(words) => {
                    for value in words {
                        match self.scalar(value) {
                            Some(text) => self.word(&mut line, &text, value.span()),
                            None => self.mistaken(value, "a line", "an array of words"),
                        }
                    }
                }
                _ => match self.scalar(entry) {
                    Some(text) => self.word(&mut line, &text, entry.span()),
                    None => self.mistaken(entry, "a line", "a string"),
                },
            }
            if !line.words.is_empty() {
                self.finish(line);
            }
        }
        self.brace(syntax::Kind::Close, key);
    }

    /// The options of a line: `name` and `address` stand for themselves.
    fn options(&mut self, line: &mut Draft, path: &str, options: &DeTable<'_>) {
        let mut options: Vec<_> = options.iter().collect();
        options.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in options {
            let option = self.names.find(path, key.get_ref()).map(|name| name.keyword);
            let name = match (option, &**key.get_ref()) {
                (None, "name" | "address") => None,
                (None, other) => Some(other),
                (known, _) => known,
            };
            if let DeValue::Boolean(false) = value.get_ref() {
                continue;
            }
            if let Some(name) = name {
                self.word(line, name, key.span());
            }
            match value.get_ref() {
                DeValue::Boolean(_) => {}
                DeValue::String(text) if name.is_some() => self.words(line, text, value.span()),
                _ => match self.scalar(value) {
                    Some(text) => self.word(line, &text, value.span()),
                    None => self.mistaken(value, key.get_ref(), "a string or number"),
                },
            }
        }
    }

    fn mistaken(&mut self, value: &Value<'_>, key: &str, wanted: &str) {
        let message = format!("`{}` is {wanted}, not {}", super::snake(key), kind(value.get_ref()));
        self.diags.error("toml-type", span(self.file, value.span()), message);
    }

    /// A string, number or boolean as a word.
    fn scalar<'v>(&self, value: &'v Value<'_>) -> Option<Cow<'v, str>> {
        Some(match value.get_ref() {
            DeValue::String(text) => Cow::Borrowed(text),
            DeValue::Integer(number) if number.radix() == 10 => Cow::Borrowed(number.as_str()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string().into()
            }
            DeValue::Float(number) => Cow::Borrowed(number.as_str()),
            DeValue::Boolean(on) => Cow::Borrowed(if *on { "true" } else { "false" }),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => return None,
        })
    }

    fn start(&self, keyword: &str, key: &Range<usize>) -> Draft {
        let mut text = Text::empty();
        text.push_used(keyword, span(self.file, key.clone()).into(), None);
        Draft { text, words: syntax::word_ranges(keyword) }
    }

    fn finish(&mut self, line: Draft) {
        self.done.push(Line::of_words(line.text, line.words.into_iter().collect()));
    }

    fn brace(&mut self, kind: syntax::Kind, key: &Range<usize>) {
        let mut text = Text::empty();
        let brace = if kind == syntax::Kind::Open { "{" } else { "}" };
        text.push_used(brace, span(self.file, key.clone()).into(), None);
        self.done.push(Line::brace(kind, text));
    }

    /// Adds a value as one word.
    fn word(&self, line: &mut Draft, word: &str, place: Range<usize>) {
        let start = self.add(line, word, place);
        line.words.push(start..start + word.len() as u32);
    }

    /// Adds the words of a string.
    fn words(&self, line: &mut Draft, string: &str, place: Range<usize>) {
        let start = self.add(line, string, place);
        let words = syntax::word_ranges(string);
        line.words.extend(words.into_iter().map(|word| word.start + start..word.end + start));
    }

    /// Adds text behind a blank; of a string without escapes each byte has its own place.
    fn add(&self, line: &mut Draft, value: &str, place: Range<usize>) -> u32 {
        line.text.push_used(" ", span(self.file, place.clone()).into(), None);
        let start = line.text.as_str().len() as u32;
        let inner = place.start + 1..place.end.saturating_sub(1);
        if self.source.text().get(inner.clone()) == Some(value) {
            let stretch = Text::stretch(self.file, self.source, inner);
            line.text.push_range(&stretch, 0..value.len());
        } else {
            line.text.push_used(value, span(self.file, place).into(), None);
        }
        start
    }
}

fn join(path: &str, keyword: &str) -> String {
    if path.is_empty() { keyword.to_owned() } else { format!("{path}/{keyword}") }
}

fn is_tables(value: &Value<'_>) -> bool {
    value.get_ref().as_array().is_some_and(|array| {
        !array.is_empty() && array.iter().all(|value| value.get_ref().is_table())
    })
}

/// Where a value starts; a table that only its inner tables make starts where they do.
fn start(value: &Value<'_>) -> usize {
    match value.get_ref() {
        DeValue::Table(table) if value.span().is_empty() => {
            table.values().map(start).min().unwrap_or(value.span().start)
        }
        _ => value.span().start,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A word so that the grammar of commands reads it back.
pub(crate) fn quote_for_command(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    let mut open = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        let needed = if c == '"' { '\'' } else { '"' };
        let other = |open: char| c == open;
        if open.is_none_or(other) {
            quoted.extend(open);
            quoted.push(needed);
            open = Some(needed);
        }
        quoted.push(c);
        // The grammar keeps a backslash with what follows it, be that a quote.
        if c == '\\' {
            quoted.extend(chars.next());
        }
    }
    if open.is_none() {
        quoted.push('"');
    }
    quoted.push(open.unwrap_or('"'));
    quoted
}
