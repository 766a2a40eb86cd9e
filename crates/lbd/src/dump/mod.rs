//! The files that signals ask for, in keepalived's layouts: `keepalived.data` and its siblings,
//! `keepalived.stats` and `keepalived.json`.

mod carp;
mod check;
mod json;
mod page;
mod parent;
mod stats;
mod vrrp;

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lb_config::Model;
use lb_control::Status;
use lb_net::{InterfaceAddress, Link, RouteSocket};

/// A dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Configuration and state.
    Data,
    /// Counters of every instance.
    Stats,
    /// State and counters of every instance.
    Json,
}

impl Dump {
    /// Its files by name, with their texts; none when there is nothing to write. Of an engine that
    /// is not wanted there is none.
    ///
    /// [`Dump::Data`] asks the kernel for this network namespace's links, which blocks for a moment.
    #[must_use]
    pub fn files(self, model: &Model, status: &Status) -> Vec<(&'static str, String)> {
        match self {
            Self::Data => data(model, status),
            Self::Stats => {
                let carp = status.carp.as_ref().map(carp::stats).unwrap_or_default();
                vec![("keepalived.stats", stats::stats(&status.vrrp) + &carp)]
            }
            Self::Json if status.vrrp.is_empty() => Vec::new(),
            Self::Json => vec![("keepalived.json", json::json(model, status))],
        }
    }
}

fn data(model: &Model, status: &Status) -> Vec<(&'static str, String)> {
    let mut files = vec![("keepalived_parent.data", parent::parent(model, status))];
    let wanted = |name: &str| status.daemon.engines.iter().any(|engine| engine.name == name);
    if wanted("advertiser") {
        let (links, addresses) = interfaces().unwrap_or_default();
        files.push(("keepalived.data", vrrp::vrrp(model, status, &links, &addresses)));
    }
    if wanted("balancer") {
        files.push(("keepalived_check.data", check::check(model, status)));
    }
    files
}

/// A dump without this section is better than none.
fn interfaces() -> Option<(Vec<Link>, Vec<InterfaceAddress>)> {
    let mut route = RouteSocket::open().ok()?;
    Some((route.links().ok()?, route.addresses().ok()?))
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
/// followed, then renamed over the old one. Mode 0666 less the umask, which is 0177 by default.
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
    let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
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
        // As any other file: the umask alone decides who reads it.
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), mode(&precious));
    }
}
