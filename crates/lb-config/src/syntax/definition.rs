//! `$NAME=` and its uses.

use std::collections::HashMap;

use super::text::Text;
use crate::diagnostic::Diagnostics;
use crate::source::Span;
use crate::system::System;

/// A definition: lines of text, unexpanded; more than one can only be used at the end of a line.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) lines: Vec<String>,
    pub(crate) span: Option<Span>,
}

/// Definitions within definitions, at most.
const MOST_NESTED: usize = 50;
/// Bytes a line may grow to.
const MOST_BYTES: usize = 64 * 1024;
/// Replacements in a line; each of them may be empty.
const MOST_REPLACED: usize = 10_000;

/// All definitions, and what the predefined ones need.
pub(crate) struct Definitions<'a> {
    by_name: HashMap<String, Definition>,
    multi_line: bool,
    system: &'a dyn System,
    config_id: String,
    random: u64,
}

/// A use in a text: its range and what is used.
struct Use<'t> {
    start: usize,
    end: usize,
    name: &'t str,
    arguments: &'t str,
}

impl<'a> Definitions<'a> {
    pub(crate) fn new(system: &'a dyn System, config_id: String) -> Self {
        // A generator of 64 bits by multiplication and xor; any odd seed will do.
        let random = system.seed() | 1;
        Definitions { by_name: HashMap::new(), multi_line: false, system, config_id, random }
    }

    pub(crate) fn config_id(&self) -> &str {
        &self.config_id
    }

    pub(crate) fn define(&mut self, name: &str, lines: Vec<String>, span: Option<Span>) {
        self.multi_line |= lines.len() > 1;
        self.by_name.insert(name.to_owned(), Definition { lines, span });
    }

    /// The definition of several lines that a line ends with, and where its use starts.
    pub(crate) fn at_end(&self, text: &str) -> Option<(usize, &Definition)> {
        if !self.multi_line {
            return None;
        }
        let start = text.rfind('$')?;
        let used =
            find_use(text, start).filter(|used| used.start == start && used.end == text.len())?;
        let definition = self.by_name.get(used.name)?;
        (definition.lines.len() > 1).then_some((start, definition))
    }

    /// Replaces every use; unknown names stay. `None` and an error if that would not end.
    pub(crate) fn expand(
        &mut self,
        text: Text,
        directory: &str,
        diags: &mut Diagnostics,
    ) -> Option<Text> {
        if !text.as_str().contains('$') {
            return Some(text);
        }
        let mut expanded = Text::empty();
        let (mut at, mut replaced) = (0, 0);
        while let Some(used) = find_use(text.as_str(), at) {
            expanded.push_range(&text, at..used.start);
            let place = text.place(used.start..used.end);
            let mut value = String::new();
            let definition = match self.value(&used, directory, &mut value, 0, &mut replaced) {
                Ok(definition) => definition,
                Err(Endless) => {
                    let message = format!("`${}` never stops growing", used.name);
                    diags
                        .error("endless-definition", place, message)
                        .hint("a definition must not use itself, directly or through others");
                    return None;
                }
            };
            expanded.push_used(&value, place, definition);
            at = used.end;
        }
        expanded.push_range(&text, at..text.as_str().len());
        Some(expanded)
    }

    /// Appends the value of a use with the uses in it replaced, or the use itself if the name is unknown.
    fn value(
        &mut self,
        used: &Use<'_>,
        directory: &str,
        out: &mut String,
        depth: usize,
        replaced: &mut usize,
    ) -> Result<Option<Span>, Endless> {
        *replaced += 1;
        if depth > MOST_NESTED || *replaced > MOST_REPLACED || out.len() > MOST_BYTES {
            return Err(Endless);
        }
        let Some(definition) =
            self.by_name.get(used.name).filter(|definition| definition.lines.len() < 2)
        else {
            self.predefined(used, directory, out);
            return Ok(None);
        };
        let span = definition.span;
        let line = definition.lines.first().cloned().unwrap_or_default();
        let mut at = 0;
        while let Some(inner) = find_use(&line, at) {
            out.push_str(&line[at..inner.start]);
            self.value(&inner, directory, out, depth + 1, replaced)?;
            at = inner.end;
        }
        out.push_str(&line[at..]);
        if out.len() > MOST_BYTES { Err(Endless) } else { Ok(span) }
    }

    fn predefined(&mut self, used: &Use<'_>, directory: &str, out: &mut String) {
        match used.name {
            "_PWD" => out.push_str(directory),
            "_INSTANCE" => out.push_str(&self.config_id),
            "_HASH" => out.push('#'),
            "_BANG" => out.push('!'),
            "_ENV" => {
                out.push_str(&self.system.variable(used.arguments.trim()).unwrap_or_default());
            }
            "_RANDOM" => {
                let mut bounds = used.arguments.split_whitespace().map(str::parse::<u32>);
                let low = bounds.next().and_then(Result::ok).unwrap_or(0);
                let high = bounds.next().and_then(Result::ok).unwrap_or(32_767).max(low);
                out.push_str(
                    &(u64::from(low) + self.draw() % (u64::from(high - low) + 1)).to_string(),
                );
            }
            name if used.end - used.start == name.len() + 1 => {
                out.push('$');
                out.push_str(name);
            }
            name => {
                out.push_str("${");
                out.push_str(name);
                out.push_str(used.arguments);
                out.push('}');
            }
        }
    }

    /// xorshift64*; nothing secret hangs on it.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }
}

/// The expansion does not end.
struct Endless;

/// Length of the name at the start of a text: a letter or `_`, then letters, digits and `_`.
pub(crate) fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => bytes
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .unwrap_or(bytes.len()),
        _ => 0,
    }
}

/// The next use from `at` on: `${NAME}`, or `$NAME` before a blank, `,`, `)` or the end.
fn find_use(text: &str, mut at: usize) -> Option<Use<'_>> {
    loop {
        let start = at + text[at..].find('$')?;
        let rest = &text[start + 1..];
        if let Some(inner) = rest.strip_prefix('{') {
            let length = name_length(inner);
            let close = inner.find('}').filter(|close| length > 0 && *close >= length);
            if let Some(close) =
                close.filter(|close| *close == length || inner[length..].starts_with([' ', '\t']))
            {
                let (name, arguments) = (&inner[..length], &inner[length..close]);
                return Some(Use { start, end: start + 3 + close, name, arguments });
            }
        } else {
            let length = name_length(rest);
            if length > 0
                && rest[length..].chars().next().is_none_or(|c| matches!(c, ' ' | '\t' | ',' | ')'))
            {
                return Some(Use {
                    start,
                    end: start + 1 + length,
                    name: &rest[..length],
                    arguments: "",
                });
            }
        }
        at = start + 1;
    }
}
