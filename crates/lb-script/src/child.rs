//! The moment between fork and exec.
//!
//! Unsafe for `pre_exec` and what may be done there: system calls on values that were made before the
//! fork. Nothing is allocated, no lock is taken.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use lb_config::model::{Script, ScriptOwner};
use nix::errno::Errno;

use crate::signals::default_signals;
use crate::started::{Started, started};

/// The loader's variables, and those of our own service manager: it means us, not our scripts.
const UNSET: [&str; 6] =
    ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Starts the program in a process group of its own.
pub(crate) fn spawn(script: &Script, extra: &[String]) -> io::Result<Child> {
    let (program, arguments) = script.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).args(extra).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for name in UNSET {
        command.env_remove(name);
    }
    let (owner, started) = (script.owner, started());
    // SAFETY: `prepare` makes system calls only.
    unsafe {
        command.pre_exec(move || prepare(owner, started));
    }
    command.spawn()
}

/// Undoes in the child what the daemon has or does for itself alone, and becomes the owner.
fn prepare(owner: Option<ScriptOwner>, started: &Started) -> io::Result<()> {
    // SAFETY: system calls on integers and on values that live through the call; `close_range` marks
    // descriptors for the exec that follows and closes none.
    unsafe {
        default_signals();
        let normal = libc::sched_param { sched_priority: 0 };
        libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const normal);
        libc::setpriority(libc::PRIO_PROCESS, 0, started.nice);
        // Before the limits: those may leave no room for another open file.
        if started.spared {
            be_no_more_spared();
        }
        for (resource, limit) in &started.limits {
            libc::setrlimit(*resource, limit);
        }
        // Linux before 5.11 cannot mark, and then only ours, all marked, are closed.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if let Some(ScriptOwner { uid, gid }) = owner {
            // Who is not root can only stay who it is, and has no groups to give up.
            if libc::geteuid() == 0 {
                Errno::result(libc::setgroups(0, ptr::null()))?;
            }
            Errno::result(libc::setgid(gid))?;
            Errno::result(libc::setuid(uid))?;
        }
        // Last: a change of user clears it. It ends with the thread that started it.
        Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
    }
    Ok(())
}

/// # Safety
/// Makes system calls only.
unsafe fn be_no_more_spared() {
    // SAFETY: the path ends with 0, the buffer is as long as said.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY);
        if file >= 0 {
            libc::write(file, c"0".as_ptr().cast(), 1);
            libc::close(file);
        }
    }
}
