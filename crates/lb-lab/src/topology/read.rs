//! A topology out of a file, and the line of what is wrong in it.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Topology;
use super::check::Step;
use crate::error::{Error, Result};

/// Why a topology makes no sense, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct TopologyError {
    /// Name of the file, when there is one.
    pub file: Option<String>,
    /// Counted from 1; `None` for a topology made in code.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl TopologyError {
    fn place(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, Some(line)) => format!("line {line}: "),
            (None, None) => String::new(),
        }
    }
}

impl Topology {
    /// Reads and checks a topology. Files named by `from` are asked of `read`.
    ///
    /// # Errors
    /// [`Error::Topology`] with the line, [`Error::File`] for a `from` that cannot be read.
    pub fn parse_with(text: &str, read: impl Fn(&Path) -> std::io::Result<String>) -> Result<Self> {
        let line_at = |offset: usize| {
            Some(1 + text.bytes().take(offset).filter(|octet| *octet == b'\n').count())
        };
        let mut topology: Self = toml::from_str(text).map_err(|error| TopologyError {
            file: None,
            line: error.span().and_then(|span| line_at(span.start)),
            message: error.message().to_owned(),
        })?;
        topology.validate().map_err(|fault| TopologyError {
            file: None,
            line: locate(text, &fault.path).and_then(line_at),
            message: fault.message,
        })?;
        for file in topology.hosts.iter_mut().flat_map(|host| &mut host.files) {
            if let Some(from) = file.from.take() {
                let content = read(&from)
                    .map_err(|source| Error::File { path: from.display().to_string(), source })?;
                file.text = Some(content);
            }
        }
        Ok(topology)
    }

    /// Reads and checks a topology whose files are relative to the working directory.
    ///
    /// # Errors
    /// As [`Topology::parse_with`].
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, |path| std::fs::read_to_string(path))
    }

    /// Reads and checks the file `path`; the files it names are relative to it.
    ///
    /// # Errors
    /// As [`Topology::parse_with`], with the name of the file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::File { path: path.display().to_string(), source })?;
        let beside = path.parent().unwrap_or(Path::new("."));
        Self::parse_with(&text, |name| std::fs::read_to_string(beside.join(name))).map_err(
            |error| match error {
                Error::Topology(error) => {
                    TopologyError { file: Some(path.display().to_string()), ..error }.into()
                }
                other => other,
            },
        )
    }
}

/// The offset of the value at `path`, or of the nearest thing around it that exists.
fn locate(text: &str, path: &[Step]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut offset = root.span().start;
    let (mut table, mut value) = (Some(root.get_ref()), None::<&DeValue<'_>>);
    for step in path {
        let next = match *step {
            Step::Key(key) => table.or_else(|| value?.as_table()).and_then(|table| table.get(key)),
            Step::Index(index) => {
                value.and_then(DeValue::as_array).and_then(|array| array.get(index))
            }
        };
        let Some(next) = next else { break };
        offset = next.span().start;
        (table, value) = (None, Some(next.get_ref()));
    }
    Some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "switches = [\"lan\", \"back\"]\n[[host]]\nname = \"a\"\n";

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let text = format!("{HEAD}file = [{{ path = \"/etc/x\", from = \"missing.conf\" }}]");
        let error =
            Topology::parse_with(&text, |_| Err(std::io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot read missing.conf");
        let read = Topology::parse_with(&text, |path| Ok(path.display().to_string())).unwrap();
        assert_eq!(read.hosts[0].files[0].text.as_deref(), Some("missing.conf"));
        let error = Topology::load(Path::new("/nowhere/lab.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/lab.toml");
    }
}
