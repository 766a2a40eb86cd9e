//! How the calling thread is scheduled.
// Unsafe: nix wraps none of these calls, or only in a module that nothing else needs.
#![allow(unsafe_code)]

use std::io;

use nix::errno::Errno;
use nix::unistd::gettid;

/// Sets the nice value of the calling thread, −20 to 19. `setpriority(2)`.
///
/// # Errors
/// `EACCES` when lowering it without `CAP_SYS_NICE`.
pub fn set_nice(nice: i32) -> io::Result<()> {
    let thread = gettid().as_raw().cast_unsigned();
    // SAFETY: plain integers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) })?;
    Ok(())
}

/// Runs the calling thread under `SCHED_RR` at `priority`, 1 to 99. Its children do not inherit it.
/// `sched(7)`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`, `EINVAL` for another priority.
pub fn set_realtime(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority.into() };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread; the pointer is valid during the call.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })?;
    Ok(())
}

/// Keeps every page of the process in memory, those of the future as they are touched first.
/// `mlockall(2)`.
///
/// # Errors
/// `ENOMEM` or `EPERM` without `CAP_IPC_LOCK`.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: plain integers.
    Errno::result(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) })?;
    Ok(())
}
