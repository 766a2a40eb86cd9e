//! The stream of logical lines.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::{Definitions, name_length};
use super::include::{self, Checks};
use super::line::{Kind, Line};
use super::plain::{self, Plain};
use super::sequence::{self, Values};
use super::text::{Text, is_blank};
use crate::diagnostic::{Class, Diagnostics, Place};
use crate::source::{FileId, Source, Sources, Span};
use crate::system::{LARGEST, System};
use crate::toml;

/// keepalived's line buffer.
const LONGEST_LINE: usize = 1024;
/// Files and loops within one another.
const MOST_FRAMES: usize = 128;
/// Lines made by loops and definitions.
const MOST_MADE: usize = 1_000_000;
/// Bytes of all files together.
const MOST_BYTES: usize = LARGEST;

/// Reads files, one logical line at a time.
pub(crate) struct Reader<'a> {
    system: &'a dyn System,
    sources: Sources,
    definitions: Definitions<'a>,
    frames: Vec<Frame>,
    ready: VecDeque<Line>,
    open_braces: i64,
    made: usize,
    bytes: usize,
    all_checks: bool,
    stopped: bool,
}

/// What lines come from; the innermost is read first.
enum Frame {
    File {
        id: FileId,
        source: Arc<Source>,
        at: usize,
        path: PathBuf,
        directory: String,
        checks: Checks,
    },
    /// What a TOML file says.
    Toml(std::vec::IntoIter<Line>),
    /// The rest of a definition of several lines.
    Lines(std::vec::IntoIter<Text>),
    Loop {
        values: Values,
        body: Text,
    },
}

impl<'a> Reader<'a> {
    /// Nothing to read yet.
    pub(crate) fn new(system: &'a dyn System, config_id: String, all_checks: bool) -> Self {
        Reader {
            system,
            sources: Sources::default(),
            definitions: Definitions::new(system, config_id),
            frames: Vec::new(),
            ready: VecDeque::new(),
            open_braces: 0,
            made: 0,
            bytes: 0,
            all_checks,
            stopped: false,
        }
    }

    /// The files that were read.
    pub(crate) fn into_sources(self) -> Sources {
        self.sources
    }

    /// Opens the main file, which may be a pattern of several.
    pub(crate) fn open(&mut self, path: &Path, diags: &mut Diagnostics) {
        let checks = if self.all_checks { Checks::ALL } else { Checks::MAIN };
        let pattern = path.to_string_lossy();
        let (files, failures) =
            include::find(&pattern, &self.system.current_dir(), checks, self.system);
        for failure in failures {
            let missing = !files.is_empty() || self.system.status(path).is_err();
            let diagnostic = diags.error("configuration-file", Place::NOWHERE, failure.message);
            // `keepalived -t` is content with a file that is not there, unless told to check everything.
            diagnostic.class(if missing && !self.all_checks {
                Class::Note
            } else {
                Class::IncludeCheck
            });
        }
        self.enter(files, Place::NOWHERE, diags);
    }

    /// Reads a text that is in no file.
    pub(crate) fn open_text(&mut self, name: &str, text: &str, diags: &mut Diagnostics) {
        let directory = self.system.current_dir();
        self.push_file(PathBuf::from(name), &directory, text.to_owned(), diags);
    }

    /// Adds to the checks of later includes in the current file: `include_check`.
    pub(crate) fn change_checks(&mut self, change: impl FnOnce(Checks) -> Checks) {
        for frame in self.frames.iter_mut().rev() {
            if let Frame::File { checks, .. } = frame {
                *checks = change(*checks);
                return;
            }
        }
    }

    /// Whether reading stopped before the end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops reading.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.frames.clear();
        self.ready.clear();
    }

    /// Notes that a `{` is taken as read.
    pub(crate) fn assume_open(&mut self) {
        self.open_braces += 1;
    }

    /// Braces that are still open.
    pub(crate) fn open_braces(&self) -> i64 {
        self.open_braces
    }

    /// Reads the next logical line into the place of one that is done with; false at the end.
    pub(crate) fn next(&mut self, line: &mut Line, diags: &mut Diagnostics) -> bool {
        let plain = self.ready.is_empty() && self.plain(line);
        if !plain && !self.next_of_any(line, diags) {
            return false;
        }
        self.count_brace(line, diags);
        true
    }

    /// Reads over a `{`, if the rest of the line just read is one. If not, [`Reader::next`] may find one still.
    pub(crate) fn take_open(&mut self) -> bool {
        let Some(Frame::File { source, at, .. }) = self.frames.last_mut() else { return false };
        let next = plain::after_open(source.text().as_bytes(), *at, LONGEST_LINE);
        let Some(next) = next.filter(|_| self.ready.is_empty()) else { return false };
        *at = next;
        self.open_braces += 1;
        true
    }

    /// Reads a line of whatever form. Kept out of the way of plain lines.
    #[inline(never)]
    fn next_of_any(&mut self, line: &mut Line, diags: &mut Diagnostics) -> bool {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                *line = ready;
                return true;
            }
            if self.plain(line) {
                return true;
            }
            let Some(frame) = self.frames.last_mut() else { return false };
            let text = match frame {
                Frame::Toml(lines) => {
                    match lines.next() {
                        Some(line) => self.ready.push_back(line),
                        None => drop(self.frames.pop()),
                    }
                    continue;
                }
                Frame::Loop { values, body } => {
                    let Some(assignments) = values.next() else {
                        self.frames.pop();
                        continue;
                    };
                    let body = body.clone();
                    for (name, value) in assignments {
                        self.definitions.define(&name, vec![value], None);
                    }
                    if !self.count_made(&body, diags) {
                        continue;
                    }
                    body
                }
                Frame::File { .. } | Frame::Lines(_) => match self.physical(diags) {
                    Some(text) => text,
                    None => {
                        self.frames.pop();
                        continue;
                    }
                },
            };
            if !text.as_str().is_empty() {
                self.line(text, diags);
            }
        }
    }

    /// Reads the next line of the innermost file, if it is plain. A brace after words is the line after it.
    fn plain(&mut self, line: &mut Line) -> bool {
        let Some(Frame::File { id, source, at, .. }) = self.frames.last_mut() else { return false };
        let bytes = source.text().as_bytes();
        while *at < bytes.len() {
            let plain = plain::read(bytes, *at, LONGEST_LINE, line.words_mut());
            let Some(Plain { start, end, brace, next }) = plain else { return false };
            let words = line.len() > 0;
            *at = if brace.is_some() && words { end } else { next };
            let found = if words {
                Some((Kind::Words, start..end))
            } else {
                brace.map(|kind| (kind, end..end + 1))
            };
            if let Some((kind, range)) = found {
                line.set(kind, Text::stretch(*id, source, range));
                return true;
            }
        }
        false
    }

    fn count_brace(&mut self, line: &Line, diags: &mut Diagnostics) {
        match line.kind {
            Kind::Words => {}
            Kind::Open => self.open_braces += 1,
            Kind::Close if self.open_braces > 0 => self.open_braces -= 1,
            Kind::Close => {
                diags
                    .warn("extra-close", line.place(), "this `}` closes nothing")
                    .class(Class::UnexpectedClose);
            }
        }
    }

    fn count_made(&mut self, text: &Text, diags: &mut Diagnostics) -> bool {
        self.made += 1;
        if self.made <= MOST_MADE {
            return true;
        }
        let message = format!("loops and definitions make more than {MOST_MADE} lines");
        diags.error("too-many-lines", text.whole(), message).class(Class::Fatal);
        self.stop();
        false
    }

    /// The next line of the innermost file or definition, without comments, blanks around it and its
    /// condition; empty if nothing is left of it.
    fn physical(&mut self, diags: &mut Diagnostics) -> Option<Text> {
        match self.frames.last_mut()? {
            Frame::Loop { .. } | Frame::Toml(_) => None,
            Frame::Lines(lines) => {
                let text = lines.next()?;
                self.count_made(&text, diags).then_some(text)
            }
            Frame::File { id, source, at, .. } => {
                let text = source.text();
                if *at >= text.len() {
                    return None;
                }
                let start = *at;
                let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
                *at = end + 1;
                let line = &text[start..end];
                let length = line.strip_suffix('\r').unwrap_or(line).len();
                let line = Text::stretch(*id, source, start..start + length);
                let clean = clean(line, diags);
                Some(self.condition(clean))
            }
        }
    }

    /// `@ID` and `@^ID`.
    fn condition(&self, text: Text) -> Text {
        let Some(rest) = text.as_str().strip_prefix('@') else { return text };
        let (wanted, rest) = match rest.strip_prefix('^') {
            Some(rest) => (false, rest),
            None => (true, rest),
        };
        let (id, after) = rest.split_once(is_blank).unwrap_or(("", ""));
        if id.is_empty() || (id == self.definitions.config_id()) != wanted {
            return Text::empty();
        }
        let (start, end) = (text.as_str().len() - after.len(), text.as_str().len());
        text.slice(start..end).trimmed()
    }

    /// Definitions, loops, uses and includes; what is left is split into logical lines.
    fn line(&mut self, mut text: Text, diags: &mut Diagnostics) {
        if self.define(&text, diags) || self.start_loop(&text, diags) {
            return;
        }
        if let Some((start, definition)) = self.definitions.at_end(text.as_str()) {
            let place = text.place(start..text.as_str().len());
            let mut lines: Vec<Text> = Vec::with_capacity(definition.lines.len());
            for (index, line) in definition.lines.iter().enumerate() {
                let mut made = if index == 0 { text.slice(0..start) } else { Text::empty() };
                made.push_used(line, place, definition.span);
                lines.push(made);
            }
            self.push(Frame::Lines(lines.into_iter()), place, diags);
            return;
        }
        let definitions_used = text.as_str().bytes().fold(false, |any, byte| any | (byte == b'$'));
        if definitions_used {
            let directory = self.directory().to_owned();
            let Some(expanded) = self.definitions.expand(text, &directory, diags) else {
                self.stop();
                return;
            };
            text = expanded.trimmed();
            // A definition may comment lines out; elsewhere in a line the character stands for itself.
            if text.as_str().starts_with(['#', '!']) {
                return;
            }
        }
        // The value of a definition may be a loop.
        if self.start_loop(&text, diags) {
            return;
        }
        match include::directive(text.as_str()) {
            Some((checks, pattern)) => self.include(&text, pattern, checks, diags),
            None => self.split(text),
        }
    }

    fn directory(&self) -> &str {
        let files = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::File { directory, .. } => Some(directory.as_str()),
            _ => None,
        });
        files.unwrap_or_default()
    }

    /// `$NAME=text`, continued by a backslash at the end of a line.
    fn define(&mut self, text: &Text, diags: &mut Diagnostics) -> bool {
        let Some(rest) = text.as_str().strip_prefix('$') else { return false };
        let length = name_length(rest);
        let Some(value) = rest[length..].strip_prefix('=').filter(|_| length > 0) else {
            return false;
        };
        let name = &rest[..length];
        let mut lines = Vec::new();
        let mut value = value.trim_start().to_owned();
        while let Some(line) = value.strip_suffix('\\') {
            let line = line.trim_end();
            if !line.is_empty() {
                lines.push(line.to_owned());
            }
            loop {
                match self.physical(diags) {
                    Some(next) if next.as_str().is_empty() => {}
                    Some(next) => {
                        value = next.as_str().to_owned();
                        break;
                    }
                    None => {
                        value = String::new();
                        break;
                    }
                }
            }
        }
        if !value.is_empty() || lines.is_empty() {
            lines.push(value);
        }
        self.definitions.define(name, lines, text.whole().span);
        true
    }

    /// `~SEQ`, `~SEQx` and `~LST`.
    fn start_loop(&mut self, text: &Text, diags: &mut Diagnostics) -> bool {
        let values = match sequence::head(text.as_str()) {
            None => return false,
            Some(Err(problem)) => Err(problem),
            Some(Ok(head)) => {
                let arguments_end = head.body - 1;
                let arguments = text.slice(arguments_end - head.arguments.len()..arguments_end);
                let directory = self.directory().to_owned();
                let Some(arguments) = self.definitions.expand(arguments, &directory, diags) else {
                    self.stop();
                    return true;
                };
                let body = text.slice(head.body..text.as_str().len()).trimmed();
                sequence::values(head.kind, arguments.as_str())
                    .map(|values| Frame::Loop { values, body })
            }
        };
        match values {
            Ok(frame) => self.push(frame, text.whole(), diags),
            Err(problem) => {
                diags
                    .warn("loop-syntax", text.whole(), format!("this loop is ignored: {problem}"))
                    .hint("as in `~SEQ(I, 1, 4) text` or `~LST(I, a, b) text`");
            }
        }
        true
    }

    fn include(&mut self, text: &Text, pattern: usize, directive: Checks, diags: &mut Diagnostics) {
        let end = text.as_str().len();
        let place = text.place(pattern..end);
        let in_force = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::File { checks, .. } => Some(*checks),
            _ => None,
        });
        let mut checks = directive.or(in_force.unwrap_or_default());
        if self.all_checks {
            checks = Checks::ALL;
        }
        let directory = PathBuf::from(self.directory());
        let (files, failures) =
            include::find(&text.as_str()[pattern..end], &directory, checks, self.system);
        for failure in failures {
            if failure.fatal {
                diags.error("include", place, failure.message).class(Class::IncludeCheck);
            } else {
                diags.note("include", place, failure.message).hint("nothing is read for it");
            }
        }
        self.enter(files, place, diags);
    }

    /// Reads files, the first of them first.
    fn enter(&mut self, files: Vec<PathBuf>, place: Place, diags: &mut Diagnostics) {
        for path in files.into_iter().rev() {
            let looped = self.frames.iter().any(|frame| match frame {
                Frame::File { path: open, at, .. } => *open == path && *at > 0,
                _ => false,
            });
            if looped {
                let message = format!("`{}` includes itself", path.display());
                diags.error("include-loop", place, message).class(Class::IncludeCheck);
                self.stop();
                return;
            }
            if self.frames.len() >= MOST_FRAMES {
                self.too_deep(place, diags);
                return;
            }
            let bytes = match self.system.read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let message = format!("`{}` cannot be read: {error}", path.display());
                    let diagnostic = diags.error("unreadable-file", place, message);
                    diagnostic.class(Class::IncludeCheck);
                    continue;
                }
            };
            self.bytes += bytes.len();
            if self.bytes > MOST_BYTES {
                let message = format!("the configuration is larger than {} MiB", MOST_BYTES >> 20);
                diags.error("too-large", place, message).class(Class::Fatal);
                self.stop();
                return;
            }
            let text = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            };
            let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let span = self.push_file(path, &directory, text, diags);
            if let Some(span) = span {
                diags
                    .warn("byte-order-mark", span, "the file starts with a byte order mark")
                    .hint("it is skipped here; keepalived takes it for a part of the first word");
            }
        }
    }

    /// Starts to read a text; tells where a byte order mark was skipped.
    fn push_file(
        &mut self,
        path: PathBuf,
        directory: &Path,
        text: String,
        diags: &mut Diagnostics,
    ) -> Option<Span> {
        let mark = '\u{feff}';
        let at = if text.starts_with(mark) { mark.len_utf8() } else { 0 };
        let (id, source) = self.sources.add(path.display().to_string(), text);
        if toml::is_toml(&path) {
            let lines = toml::read(id, &source, diags);
            self.frames.push(Frame::Toml(lines.into_iter()));
            return None;
        }
        let directory = directory.to_string_lossy().into_owned();
        let checks = Checks::default();
        self.frames.push(Frame::File { id, source, at, path, directory, checks });
        (at > 0).then_some(Span { file: id, start: 0, end: at as u32 })
    }

    fn push(&mut self, frame: Frame, place: Place, diags: &mut Diagnostics) {
        if self.frames.len() < MOST_FRAMES {
            self.frames.push(frame);
        } else {
            self.too_deep(place, diags);
        }
    }

    fn too_deep(&mut self, place: Place, diags: &mut Diagnostics) {
        let message = format!("files, loops and definitions are more than {MOST_FRAMES} deep");
        diags.error("too-deep", place, message).class(Class::Fatal);
        self.stop();
    }

    /// Makes every unquoted brace a line of its own.
    fn split(&mut self, text: Text) {
        let bytes = text.as_str().as_bytes();
        let braces = bytes.iter().fold(false, |any, byte| any | matches!(byte, b'{' | b'}'));
        if !braces {
            self.push_words(text);
            return;
        }
        let (mut start, mut quoted) = (0, false);
        for (at, byte) in bytes.iter().enumerate() {
            let kind = match byte {
                b'"' => {
                    quoted = !quoted;
                    continue;
                }
                b'{' if !quoted => Kind::Open,
                b'}' if !quoted => Kind::Close,
                _ => continue,
            };
            if start < at {
                self.push_words(text.slice(start..at));
            }
            self.ready.push_back(Line::brace(kind, text.slice(at..at + 1)));
            start = at + 1;
        }
        let end = bytes.len();
        self.push_words(text.into_slice(start..end));
    }

    fn push_words(&mut self, text: Text) {
        let line = Line::words(text);
        if line.len() > 0 {
            self.ready.push_back(line);
        }
    }
}

/// A physical line without comments and the blanks around it.
fn clean(stretch: Text, diags: &mut Diagnostics) -> Text {
    let line = stretch.as_str();
    if line.len() > LONGEST_LINE {
        let message =
            format!("this line of {} bytes is ignored: {LONGEST_LINE} are the most", line.len());
        diags.warn("long-line", stretch.place(0..1), message);
        return Text::empty();
    }
    // One pass without a branch a byte tells of most lines that nothing below concerns them.
    let special = |byte| matches!(byte, b'"' | b'\\' | b'#' | b'!' | b'\0');
    if !line.bytes().fold(false, |found, byte| found | special(byte)) {
        return stretch.trimmed();
    }
    if let Some(nul) = line.find('\0') {
        let place = stretch.place(nul..nul + 1);
        diags.warn("nul", place, "this line is ignored: it holds a byte of value 0");
        return Text::empty();
    }
    let bytes = line.as_bytes();
    let (mut quotes, mut kept, mut at) = (0, 0, 0);
    // Only an escaped comment character takes the text out of its one stretch.
    let mut escaped: Option<Text> = None;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => quotes += 1,
            b'\\' if quotes % 2 == 0 => {
                if matches!(bytes.get(at + 1), Some(b'#' | b'!')) {
                    escaped.get_or_insert_with(Text::empty).push_range(&stretch, kept..at);
                    kept = at + 1;
                }
                at += 1;
            }
            b'#' | b'!' if quotes % 2 == 0 => break,
            _ => {}
        }
        at += 1;
    }
    let end = at.min(bytes.len());
    if quotes % 2 == 1 {
        let diagnostic =
            diags.warn("unmatched-quote", stretch.whole(), "this line has an odd number of `\"`");
        diagnostic.class(Class::UnmatchedQuote);
    }
    match escaped {
        None => stretch.slice(0..end).trimmed(),
        Some(mut text) => {
            text.push_range(&stretch, kept..end);
            text.trimmed()
        }
    }
}
