//! Goes to the background by starting itself again.
//!
//! Nothing is forked: the program starts a second copy of itself, which becomes the leader of a
//! session of its own, runs, and says so; the first then exits with 0, or, when the copy ends
//! before that, with the copy's status. So `lbd && echo up` means what it says.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// Starts the copy and waits until it is ready or has ended. Returns the exit status for the shell.
///
/// # Errors
/// As `fork(2)` and `execve(2)`.
pub fn into_background() -> io::Result<u8> {
    let mut args = env::args_os();
    let name = args.next().unwrap_or_else(|| OsString::from("lbd"));
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    let mut child =
        command.arg("--detached").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut ready = [0];
    let said = match &mut child.stdout {
        Some(stdout) => stdout.read(&mut ready)?,
        None => 0,
    };
    if said == 1 {
        return Ok(0);
    }
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Leaves the terminal: a session of its own, and no directory held.
///
/// # Errors
/// As `setsid(2)` and `chdir(2)`.
pub fn leave_terminal() -> io::Result<()> {
    setsid()?;
    chdir("/")?;
    Ok(())
}

/// Tells the first copy that the daemon runs, and lets go of its terminal.
///
/// # Errors
/// `/dev/null` cannot be opened.
pub fn ready() -> io::Result<()> {
    // The first copy may have been killed while it waited; the daemon runs nevertheless.
    let _ = io::stdout().write_all(b"\n").and_then(|()| io::stdout().flush());
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(null.as_fd())?;
    Ok(())
}
