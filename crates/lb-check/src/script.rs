//! `MISC_CHECK`: runs a program and takes its exit status.
#![allow(unsafe_code)] // Command::pre_exec: the parent death signal can only be asked for there

use std::convert::Infallible;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::spec::Script;
use crate::{Failure, Outcome};

/// The loader's variables, and those of our own service manager: it means us, not our scripts.
const UNSET: [&str; 6] =
    ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// From SIGTERM to SIGKILL for a script that takes too long.
const OVERDUE_GRACE: Duration = Duration::from_secs(2);

/// The same for one whose checker goes away.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Runs a script to its end. `owner` closes when nobody wants to know any more; the script is
/// stopped then.
pub(crate) async fn probe(script: &Script, owner: oneshot::Receiver<Infallible>) -> Outcome {
    let mut child = match spawn(script) {
        Ok(child) => child,
        Err(outcome) => return outcome,
    };
    let ended = async {
        tokio::select! {
            status = timeout(script.timeout, child.wait()) => status.map_err(|_| OVERDUE_GRACE),
            _ = owner => Err(CANCEL_GRACE),
        }
    }
    .await;
    let status = match ended {
        Ok(status) => status,
        Err(grace) => {
            stop(&mut child, grace).await;
            return Outcome::Down(Failure::Timeout("running the script"));
        }
    };
    match status {
        Err(error) => Outcome::NotRun(error.to_string()),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(0), _) => Outcome::Up { weight: None },
            (Some(code @ 2..=255), _) if script.dynamic => {
                Outcome::Up { weight: u8::try_from(code - 2).ok() }
            }
            (Some(code), _) => Outcome::Down(Failure::Exit(code)),
            (None, signal) => Outcome::Down(Failure::Signal(signal.unwrap_or_default())),
        },
    }
}

fn spawn(script: &Script) -> Result<Child, Outcome> {
    let Some((program, arguments)) = script.argv.split_first() else {
        return Err(Outcome::NotRun("no program".to_owned()));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    for name in UNSET {
        command.env_remove(name);
    }
    if let Some((uid, gid)) = script.owner {
        command.gid(gid).uid(uid); // clears the supplementary groups too
    }
    // SAFETY: only calls that are safe between fork and exec: each is one system call.
    unsafe {
        command.pre_exec(|| {
            // The script does not inherit how the daemon is scheduled, and ends with it.
            let normal = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const normal);
            libc::setpriority(libc::PRIO_PROCESS, 0, 0);
            // Not what the daemon was started with either. Linux before 5.11 cannot mark, and then
            // only ours, all marked, are closed.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            set_pdeathsig(Signal::SIGTERM)?;
            Ok(())
        });
    }
    command.spawn().map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
            Outcome::NotRun(format!("{program}: {error}"))
        }
        _ => {
            let (program, error) = (program.clone(), error.to_string());
            Outcome::Down(Failure::Spawn { program, error })
        }
    })
}

/// Asks the script's process group to end, and makes it end after `grace`.
async fn stop(child: &mut Child, grace: Duration) {
    let signal = |child: &Child, signal| {
        // Our child has not been waited for, so its id is its own.
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), signal); // already gone is as good
        }
    };
    signal(child, Signal::SIGTERM);
    if timeout(grace, child.wait()).await.is_err() {
        signal(child, Signal::SIGKILL);
        let _ = child.wait().await; // its status does not matter any more
    }
}
