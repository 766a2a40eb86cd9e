//! The first process of a container: starts the daemon, collects orphans, passes signals on.
//!
//! Process 1 inherits every process whose parent has ended, and has to collect it. The daemon cannot:
//! it would take the exit status of its own children from who waits for it. So where it is started as
//! process 1 it runs as a child of this.
//!
//! Unsafe for real-time signals, which nix cannot name: in waiting for them, and in the end by one.
#![allow(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::{Pid, getpid, getppid};

use crate::inherited;

/// Whether this is the first process of a container, or of the machine.
#[must_use]
pub fn is_first_process() -> bool {
    getpid() == Pid::from_raw(1)
}

/// The number that signals for the daemon go to: its own, or 1 where [`run`] has started it.
#[must_use]
pub fn daemon_pid() -> u32 {
    let exe = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("exe")).ok();
    let started_by_run =
        getppid() == Pid::from_raw(1) && exe("1").is_some() && exe("1") == exe("self");
    if started_by_run { 1 } else { std::process::id() }
}

/// Starts the daemon as a child and returns its exit status when it has ended; that of a daemon killed
/// by a signal is 128 and the signal, as in a shell.
///
/// # Errors
/// As `fork(2)`, `execve(2)` and `sigwait(3)`.
pub fn run() -> io::Result<u8> {
    // Before the child is there, so that its end is not missed. It unblocks them itself.
    inherited::take_name(env::args_os().next().as_deref());
    let all = SigSet::all();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), None)?;
    let mut args = env::args_os();
    let name = args.next().unwrap_or_else(|| OsString::from("lbd"));
    let child = Command::new("/proc/self/exe").arg0(name).args(args).spawn()?;
    let daemon = Pid::from_raw(child.id().cast_signed());
    loop {
        let signal = next(&all)?;
        if signal != libc::SIGCHLD {
            pass_on(signal, daemon);
        }
        if let Some(status) = collect(ANY, daemon) {
            return Ok(status);
        }
    }
}

/// Waits for a signal, those that have no name included.
fn next(signals: &SigSet) -> io::Result<i32> {
    let mut signal = 0;
    // SAFETY: both live through the call.
    match unsafe { libc::sigwait(signals.as_ref(), &raw mut signal) } {
        0 => Ok(signal),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn pass_on(signal: i32, daemon: Pid) {
    // SAFETY: plain integers. Has it ended in this moment, it is collected next.
    unsafe {
        libc::kill(daemon.as_raw(), signal);
    }
}

/// Process that stands for every child, `waitpid(2)`.
const ANY: Pid = Pid::from_raw(-1);

/// Collects those of `whom` that have ended: the exit status of the daemon, if it is among them.
fn collect(whom: Pid, daemon: Pid) -> Option<u8> {
    let mut status = None;
    loop {
        let mut raw = 0;
        // SAFETY: the kernel writes one int. Not nix's `waitpid`, which knows no real-time signals and
        // gives an error for the end by one of them.
        let pid = unsafe { libc::waitpid(whom.as_raw(), &raw mut raw, libc::WNOHANG) };
        if pid <= 0 {
            return status; // nobody more has ended, or nobody is left
        }
        if pid == daemon.as_raw() {
            status = Some(exit_status(raw));
        }
    }
}

/// The status that a shell shows for a process that has ended.
fn exit_status(raw: i32) -> u8 {
    let status = ExitStatus::from_raw(raw);
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|status| u8::try_from(status).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// What is collected of a child that ends by a signal, or by itself with status 7.
    #[expect(clippy::zombie_processes, reason = "it is collected by what is tested")]
    fn collected(signal: Option<i32>) -> u8 {
        let script = match signal {
            Some(signal) => format!("kill -{signal} $$"),
            None => "exit 7".to_owned(),
        };
        let child = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
        let child = Pid::from_raw(child.id().cast_signed());
        let limit = Instant::now() + Duration::from_secs(20);
        while Instant::now() < limit {
            // Not everybody: other tests have children too.
            if let Some(status) = collect(child, child) {
                return status;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("the end of {child} is not seen");
    }

    #[test]
    fn the_end_by_any_signal_is_an_end() {
        assert_eq!(collected(None), 7);
        assert_eq!(collected(Some(libc::SIGKILL)), 128 + 9);
        let real_time = libc::SIGRTMIN() + 3;
        assert_eq!(i32::from(collected(Some(real_time))), 128 + real_time);
    }
}
