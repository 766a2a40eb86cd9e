//! Diagnostics as text.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::source::Span;
use crate::{Imported, Loaded, Sources};

impl Loaded {
    /// Every diagnostic with its line, a caret and a hint; in colour if asked.
    pub fn render(&self, colour: bool) -> String {
        render(&self.diagnostics, &self.sources, colour)
    }

    /// Every diagnostic as data.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.diagnostics.iter().map(|diagnostic| message(diagnostic, &self.sources))
    }

    /// `file:line:column: severity: message`, a line each, for logs.
    pub fn one_liners(&self) -> impl Iterator<Item = String> {
        self.diagnostics.iter().map(|diagnostic| one_line(diagnostic, &self.sources))
    }
}

impl Imported {
    /// Every diagnostic with its line, a caret and a hint; in colour if asked.
    pub fn render(&self, colour: bool) -> String {
        render(&self.diagnostics, &self.sources, colour)
    }

    /// `file:line:column: severity: message`, a line each.
    pub fn one_liners(&self) -> impl Iterator<Item = String> {
        self.diagnostics.iter().map(|diagnostic| one_line(diagnostic, &self.sources))
    }
}

fn render(diagnostics: &Diagnostics, sources: &Sources, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics.iter() {
        out.push_str(&renderer.render(&[group(diagnostic, sources)]));
        out.push_str("\n\n");
    }
    let left_out = diagnostics.left_out();
    if left_out > 0 {
        let _ = writeln!(out, "and {left_out} more warnings\n");
    }
    out
}

/// A diagnostic as data, for editors and CI; lines and columns start at 1, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message<'a> {
    /// Stable name.
    pub id: &'a str,
    /// `error`, `warning` or `note`.
    pub severity: &'static str,
    /// One sentence without a full stop.
    pub message: &'a str,
    /// Where; absent for what is about no place in a file.
    #[serde(flatten)]
    pub place: Option<MessagePlace<'a>>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'a str>,
    /// Other places that explain the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<MessageLabel<'a>>,
}

/// A range of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessagePlace<'a> {
    /// The file, as it was opened.
    pub file: &'a str,
    /// Line of the first character.
    pub line: usize,
    /// Its column.
    pub column: usize,
    /// Line after the last character.
    pub end_line: usize,
    /// Its column.
    pub end_column: usize,
}

/// A second place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageLabel<'a> {
    /// Where.
    #[serde(flatten)]
    pub place: MessagePlace<'a>,
    /// What is there.
    pub text: &'a str,
}

fn message<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Message<'a> {
    let place = |span: Span| {
        let (start, end) =
            (sources.position(span), sources.position(Span { start: span.end, ..span }));
        MessagePlace {
            file: sources.file(span.file).name(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
        }
    };
    Message {
        id: diagnostic.id,
        severity: severity(diagnostic),
        message: &diagnostic.message,
        place: diagnostic.span.map(place),
        hint: diagnostic.hint.as_deref(),
        labels: diagnostic
            .labels
            .iter()
            .map(|label| MessageLabel { place: place(label.span), text: &label.text })
            .collect(),
    }
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn one_line(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let severity = severity(diagnostic);
    let mut line = match diagnostic.span {
        Some(span) => {
            let position = sources.position(span);
            let name = sources.file(span.file).name();
            format!(
                "{name}:{}:{}: {severity}: {}",
                position.line, position.column, diagnostic.message
            )
        }
        None => format!("{severity}: {}", diagnostic.message),
    };
    if let Some(hint) = &diagnostic.hint {
        let _ = write!(line, " ({hint})");
    }
    line
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.id);
    let mut group = Group::with_title(title);
    if let Some(span) = diagnostic.span {
        group = group.element(snippet(span, AnnotationKind::Primary, None, sources));
    }
    for label in &diagnostic.labels {
        group =
            group.element(snippet(label.span, AnnotationKind::Context, Some(&label.text), sources));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    group
}

fn snippet<'a>(
    span: Span,
    kind: AnnotationKind,
    label: Option<&'a str>,
    sources: &'a Sources,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let (text, line, offset) = sources.lines(span);
    let within = |at: u32| floor(text, (at as usize).saturating_sub(offset).min(text.len()));
    let (start, end) = (within(span.start), within(span.end));
    Snippet::source(text)
        .line_start(line)
        .path(sources.file(span.file).name())
        .annotation(kind.span(start..end.max(start)).label(label))
}

/// The nearest character boundary at or before an offset.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
