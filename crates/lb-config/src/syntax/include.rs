//! `include` and its variants: which files, and which failures forbid the start.

use std::path::{Path, PathBuf};

use crate::system::System;

/// Failures of an include that refuse the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    /// A file that cannot be read.
    pub(crate) read: bool,
    /// A name without wildcards that is not there.
    pub(crate) missing: bool,
    /// A pattern without a match.
    pub(crate) wildcard: bool,
    /// One of several alternatives in braces that is not there.
    pub(crate) brace: bool,
}

impl Checks {
    pub(crate) const ALL: Checks =
        Checks { read: true, missing: true, wildcard: true, brace: true };
    const NONE: Checks = Checks { read: false, missing: false, wildcard: false, brace: false };
    const READ: Checks = Checks { read: true, ..Checks::NONE };

    /// The main file is held to all but braces.
    pub(crate) const MAIN: Checks = Checks { brace: false, ..Checks::ALL };

    /// Those of a directive, or `None` if the word is none.
    pub(crate) fn of_directive(word: &str) -> Option<Checks> {
        Some(match word {
            "include" => Checks::NONE,
            "includer" => Checks::READ,
            "includem" => Checks { missing: true, ..Checks::READ },
            "includew" => Checks { missing: true, wildcard: true, ..Checks::READ },
            "includeb" => Checks { brace: true, ..Checks::READ },
            "includea" => Checks::ALL,
            _ => return None,
        })
    }

    pub(crate) fn or(self, other: Checks) -> Checks {
        Checks {
            read: self.read || other.read,
            missing: self.missing || other.missing,
            wildcard: self.wildcard || other.wildcard,
            brace: self.brace || other.brace,
        }
    }
}

/// The directive at the start of a line, and where its pattern starts.
pub(crate) fn directive(text: &str) -> Option<(Checks, usize)> {
    let end = text.strip_prefix("include").and_then(|_| text.find([' ', '\t']))?;
    let checks = Checks::of_directive(&text[..end])?;
    Some((checks, text.len() - text[end..].trim_start().len()))
}

/// Alternatives of a pattern, at most.
const MOST_ALTERNATIVES: usize = 1_000;

/// Expands `{a,b}`, also nested, as `glob(3)` with `GLOB_BRACE`. `None` if that gives too many.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        let Some((before, inner, after)) = first_group(&pattern) else {
            done.push(pattern);
            continue;
        };
        if done.len() + open.len() + inner.len() > MOST_ALTERNATIVES {
            return None;
        }
        open.extend(inner.iter().rev().map(|alternative| format!("{before}{alternative}{after}")));
    }
    Some(done)
}

/// The text before the first `{a,b}`, its alternatives, and the text after it.
fn first_group(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let open = pattern.find('{')?;
    let mut depth = 0;
    let mut start = open + 1;
    let mut parts = Vec::new();
    for (at, byte) in pattern.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b',' if depth == 1 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            b'}' if depth == 1 => {
                parts.push(&pattern[start..at]);
                return Some((&pattern[..open], parts, &pattern[at + 1..]));
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What went wrong with one file or pattern.
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Whether the checks in force make it an error.
    pub(crate) fatal: bool,
}

/// Finds the files of a pattern in a directory: those to read, in order, and what went wrong.
pub(crate) fn find(
    pattern: &str,
    directory: &Path,
    checks: Checks,
    system: &dyn System,
) -> (Vec<PathBuf>, Vec<Failure>) {
    let (mut files, mut failures) = (Vec::new(), Vec::new());
    let Some(patterns) = alternatives(pattern) else {
        let message = format!("`{pattern}` has more than {MOST_ALTERNATIVES} alternatives");
        return (files, vec![Failure { message, fatal: true }]);
    };
    let several = patterns.len() > 1;
    for pattern in &patterns {
        let path = directory.join(pattern);
        let wild = pattern.contains(['*', '?', '[']);
        let found = if wild { system.glob(&path.to_string_lossy()) } else { vec![path] };
        if found.is_empty() {
            let message = format!("no file matches `{pattern}`");
            failures.push(Failure { message, fatal: checks.wildcard || (several && checks.brace) });
        }
        for path in found {
            match system.status(&path) {
                Err(_) if !wild => {
                    let message = format!("`{}` does not exist", path.display());
                    let fatal = if several { checks.brace } else { checks.missing };
                    failures.push(Failure { message, fatal });
                }
                Err(error) => {
                    let message = format!("`{}` cannot be read: {error}", path.display());
                    failures.push(Failure { message, fatal: checks.read });
                }
                Ok(status) if status.is_dir && wild => {}
                Ok(status) if !status.is_file => {
                    let kind = if status.is_dir { "a directory" } else { "not an ordinary file" };
                    let message = format!("`{}` is {kind}", path.display());
                    failures.push(Failure { message, fatal: checks.read });
                }
                Ok(status) if status.mode & 0o111 != 0 => {
                    let message = format!(
                        "`{}` is executable, which a configuration must not be",
                        path.display()
                    );
                    failures.push(Failure { message, fatal: checks.read });
                }
                Ok(_) => files.push(path),
            }
        }
    }
    (files, failures)
}
