//! The files that signals ask for, in keepalived's layouts: `keepalived.data`, `keepalived.stats`
//! and `keepalived.json`.

mod data;
mod json;
mod stats;

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lb_config::Model;
use lb_control::Status;

pub use data::data;
pub use json::json;
pub use stats::stats;

/// A dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Configuration and state.
    Data,
    /// Counters.
    Stats,
    /// State and counters of every instance.
    Json,
}

impl Dump {
    /// Its file in the dump directory.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Data => "keepalived.data",
            Self::Stats => "keepalived.stats",
            Self::Json => "keepalived.json",
        }
    }

    /// Its text; `None` when there is nothing to write.
    #[must_use]
    pub fn text(self, model: &Model, status: &Status) -> Option<String> {
        match self {
            Self::Data => Some(data(model, status)),
            Self::Stats => Some(stats(&status.vrrp)),
            Self::Json if status.vrrp.is_empty() => None,
            Self::Json => Some(json(model, status)),
        }
    }
}

/// `$TMPDIR` if it is an absolute path of a directory, else `/tmp`.
#[must_use]
pub fn directory() -> PathBuf {
    env::var_os("TMPDIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Puts a text into a file at once: whoever reads it sees the old text or the new one.
///
/// The new file is made under another name with `O_EXCL`, so that no link somebody put there is
/// followed, then renamed over the old one. Mode 0600 less the umask.
///
/// # Errors
/// As `open(2)`, `write(2)` and `rename(2)`.
pub fn write(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    // Left over by a process of the same number, or a trap: neither is followed.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written =
        file.write_all(text.as_bytes()).and_then(|()| fs::rename(&temporary, directory.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary); // the first error is the one to tell
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_dump_is_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, dir.path().join("keepalived.data")).unwrap();
        let temporary = format!(".keepalived.data.{}", std::process::id());
        symlink(&precious, dir.path().join(temporary)).unwrap();
        write(dir.path(), "keepalived.data", "text").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        let file = dir.path().join("keepalived.data");
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        assert_eq!(fs::symlink_metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
