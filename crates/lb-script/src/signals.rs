//! Signals as a process should find them when it starts.
//!
//! Unsafe for system calls that the C library keeps two signals from.
#![allow(unsafe_code)]

/// Every signal has its default effect, and none is blocked: neither is inherited from a parent that
/// ignores or blocks some. May be called between fork and exec.
///
/// # Safety
/// It removes every handler, those of the C library and of the language's runtime included: only where
/// no other thread runs, in a process that has installed none or is about to execute a program.
pub unsafe fn default_signals() {
    /// Longer than the kernel's `struct sigaction`, of which all zero is the default.
    const DEFAULT: [u64; 8] = [0; 8];
    /// Length of the kernel's set of 64 signals.
    const SET: usize = 8;
    // SAFETY: the kernel reads what is in the buffers, and writes nothing. Signals that cannot be
    // changed say so.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), 0, SET);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, DEFAULT.as_ptr(), 0, SET);
    }
}
