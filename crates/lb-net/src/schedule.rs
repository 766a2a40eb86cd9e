//! How the calling thread is scheduled.
// Unsafe: nix wraps none of these calls, or only in a module that nothing else needs.
#![allow(unsafe_code)]

use std::{io, mem};

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

/// Gives the kernel back what the allocator keeps of memory that has been freed: what a
/// configuration took to read is several times what is kept of it. Takes milliseconds at most.
/// `malloc_trim(3)`; does nothing under another allocator than glibc's.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks; plain integers.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Asks that the calling thread be run promptly when it wakes, for no more than its fair share: the
/// scheduler gives it short slices, and interrupts others' long ones for it. `sched_setattr(2)`;
/// without effect before Linux 6.12, and on a real-time thread.
///
/// # Errors
/// Where the system call is filtered.
pub fn prefer_latency() -> io::Result<()> {
    /// The shortest slice that the kernel grants.
    const SLICE_NS: u64 = 100_000;
    // SAFETY: integers, of which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: 0 is the calling thread; the structure is as large as said.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0)
    })?;
    if attributes.sched_policy == libc::SCHED_OTHER.cast_unsigned() {
        attributes.sched_runtime = SLICE_NS;
        // SAFETY: as above.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn latency_is_preferred_by_one_thread_and_its_nice_value_stays() {
        let body = || {
            set_nice(5).unwrap();
            prefer_latency().unwrap();
            let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
            assert_eq!(stat.split(' ').nth(18), Some("5"));
        };
        thread::spawn(body).join().unwrap();
    }
}
