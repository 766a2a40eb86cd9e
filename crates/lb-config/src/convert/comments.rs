//! Finds comments and gives each to the statement it stands before or behind.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use crate::source::{FileId, Sources};
use crate::statement::Statement;

/// A comment.
struct Comment {
    line: usize,
    /// Whether nothing else is on its line.
    alone: bool,
    text: String,
}

type ByFile = HashMap<FileId, VecDeque<Comment>>;

/// Attaches every comment; gives those that no statement follows.
pub(super) fn attach(statements: &mut [Statement], sources: &Sources) -> Vec<String> {
    let mut left: ByFile = sources
        .ids()
        .map(|id| {
            let source = sources.file(id);
            (id, find(source.text(), crate::toml::is_toml(Path::new(source.name()))))
        })
        .collect();
    walk(statements, sources, &mut left);
    let rest = sources.ids().filter_map(|id| left.remove(&id)).flatten();
    rest.map(|comment| comment.text).collect()
}

fn walk(statements: &mut [Statement], sources: &Sources, left: &mut ByFile) {
    for statement in statements {
        if let Some(span) = statement.place.span
            && let Some(comments) = left.get_mut(&span.file)
        {
            let line = sources.position(span).line;
            let here = comments.partition_point(|comment| comment.line <= line);
            for comment in comments.drain(..here) {
                if comment.line == line && !comment.alone && statement.behind.is_none() {
                    statement.behind = Some(comment.text);
                } else {
                    statement.before.push(comment.text);
                }
            }
        }
        if let Some(block) = &mut statement.block {
            walk(block, sources, left);
        }
    }
}

fn find(text: &str, is_toml: bool) -> VecDeque<Comment> {
    let mut comments = VecDeque::new();
    // The quotes of a TOML string that is still open.
    let mut open = None;
    for (index, line) in text.lines().enumerate() {
        let start = if is_toml { toml_comment(line, &mut open) } else { comment(line) };
        let Some(start) = start else { continue };
        let text = line[start + 1..].trim_end().replace('\0', " ");
        let text = text.strip_prefix(' ').unwrap_or(&text).to_owned();
        let alone = line[..start].trim().is_empty();
        // One behind a definition says something of what is gone.
        let gone = !is_toml && line.starts_with('$');
        if alone || !(text.is_empty() || gone) {
            comments.push_back(Comment { line: index + 1, alone, text });
        }
    }
    comments
}

/// Where the comment of a line of keepalived.conf starts.
fn comment(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    line.bytes().position(|byte| {
        let skipped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !skipped => quoted = !quoted,
            b'\\' if !quoted && !skipped => escaped = true,
            b'#' | b'!' if !quoted && !skipped => return true,
            _ => {}
        }
        false
    })
}

/// Where the comment of a line of TOML starts.
fn toml_comment(line: &str, open: &mut Option<&'static str>) -> Option<usize> {
    let mut at = 0;
    while at < line.len() {
        let rest = &line.as_bytes()[at..];
        match *open {
            Some(quote) if rest.starts_with(quote.as_bytes()) => {
                *open = None;
                at += quote.len();
            }
            Some(quote) if rest[0] == b'\\' && quote.starts_with('"') => at += 2,
            Some(_) => at += 1,
            None if rest[0] == b'#' => return Some(at),
            None => {
                let quotes = ["\"\"\"", "'''", "\"", "'"];
                *open = quotes.into_iter().find(|quote| rest.starts_with(quote.as_bytes()));
                at += open.map_or(1, str::len);
            }
        }
    }
    // A string of one line ends with it.
    *open = open.filter(|quote| quote.len() == 3);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_start_outside_quotes_only() {
        assert_eq!(comment("a # b"), Some(2));
        assert_eq!(comment(r##"a "# b" ! c"##), Some(8));
        assert_eq!(comment(r"a \# b"), None);
        let toml = |text| find(text, true).into_iter().map(|c| c.text).collect::<Vec<_>>();
        assert_eq!(toml("a = \"x\\\"# no\" # yes"), ["yes"]);
        assert_eq!(toml("a = '# no' # yes\n# alone"), ["yes", "alone"]);
        assert_eq!(toml("a = \"\"\"\n# no\n\"\"\" # yes"), ["yes"]);
    }
}
