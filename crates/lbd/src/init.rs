//! The first process of a container: starts the daemon, collects orphans, passes signals on.
//!
//! Process 1 inherits every process whose parent has ended, and has to collect it. The daemon cannot:
//! it would take the exit status of its own children from who waits for it. So where it is started as
//! process 1 it runs as a child of this.
//!
//! Unsafe for real-time signals, which nix cannot name.
#![allow(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
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
        if let Some(status) = collect(daemon) {
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

/// Collects everyone who has ended: the exit status of the daemon, if it is among them.
fn collect(daemon: Pid) -> Option<u8> {
    let mut status = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == daemon => {
                status = Some(u8::try_from(code).unwrap_or(1));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == daemon => {
                status = Some(128 + signal as u8);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return status,
            Ok(_) => {}
        }
    }
}
