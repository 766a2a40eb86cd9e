//! PID files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal;
use nix::unistd::Pid;
use thiserror::Error;

use crate::init;

/// A PID file that holds our number; removed when this ends.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Open for the lock on it.
    _file: Flock<File>,
}

/// Why there is none.
#[derive(Debug, Error)]
pub enum PidFileError {
    /// Somebody else's number is in it, and that process lives.
    #[error(
        "{program} runs already as process {pid}, says {path}; stop it first, or pick another file with -p"
    )]
    Running {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: i32,
        /// Its name.
        program: String,
    },
    /// The file cannot be written.
    #[error("cannot write the PID file {path}: {source}; pick another with {option} FILE")]
    Write {
        /// The file.
        path: PathBuf,
        /// The option that names it.
        option: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl PidFile {
    /// Writes our process id. A file left over by a process that is gone is taken over.
    ///
    /// # Errors
    /// Another daemon has it, or it cannot be written.
    pub fn create(path: &Path, option: &'static str) -> Result<Self, PidFileError> {
        let failed = |source| PidFileError::Write { path: path.to_owned(), option, source };
        if let Some(dir) = path.parent() {
            // The directory of the namespaces' files is ours; any other has to be there.
            if dir.ends_with("keepalived")
                || dir.parent().is_some_and(|d| d.ends_with("keepalived"))
            {
                make_directory(dir).map_err(failed)?;
            }
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(failed)?;
        let mut text = String::new();
        let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text); // not a number: not a PID file
        let pid: i32 = text.trim().parse().unwrap_or(0);
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => {
                let (path, program) = (path.to_owned(), "lbd".to_owned());
                return Err(PidFileError::Running { path, pid, program });
            }
            Err((_, error)) => return Err(failed(error.into())),
        };
        if let Some(program) = alive(pid) {
            return Err(PidFileError::Running { path: path.to_owned(), pid, program });
        }
        // Monitoring of other users reads it, whatever the umask.
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
        // Removed again if there is no room for the number: an empty one misleads.
        let (pid, path) = (init::daemon_pid(), path.to_owned());
        let mut written = Self { path, _file: file };
        let file = &mut written._file;
        let result =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{pid}"));
        match result {
            Ok(()) => Ok(written),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Its directory may be gone, or the file removed by an impatient init script.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a directory that everyone may list, whatever the umask.
pub(super) fn make_directory(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_directory(parent)?;
    }
    fs::create_dir(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}

/// The name of a process that is a daemon of our kind: numbers are used again for others.
fn alive(pid: i32) -> Option<String> {
    if pid <= 1
        || u32::try_from(pid) == Ok(std::process::id())
        || signal::kill(Pid::from_raw(pid), None).is_err()
    {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
    ["keepalived", "lbd"].contains(&name.as_str()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_our_number_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::create(&path, "-p").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_file_and_garbage_are_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        for stale in ["1\n", "garbage", "999999999\n", "", "-5", "12345678901234567890"] {
            fs::write(&path, stale).unwrap();
            drop(PidFile::create(&path, "-p").unwrap());
        }
    }

    #[test]
    fn who_holds_the_lock_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let _held = PidFile::create(&path, "-p").unwrap();
        assert!(matches!(PidFile::create(&path, "-p"), Err(PidFileError::Running { .. })));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named_with_the_remedy() {
        let error = PidFile::create(Path::new("/nonexistent/pid"), "-p").unwrap_err().to_string();
        assert!(error.contains("/nonexistent/pid") && error.contains("-p FILE"), "{error}");
    }
}
