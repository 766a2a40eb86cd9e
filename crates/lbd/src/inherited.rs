//! What a process inherits from whoever started it, and should not: blocked and ignored signals, open
//! descriptors, a name.
//!
//! Unsafe for calls that nix does not wrap.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::sys::prctl;

/// Longest name of a process, bytes. `PR_SET_NAME`.
const NAME: usize = 15;

/// Gives every signal that is ignored its default effect, unblocks all, and closes descriptors beyond
/// the standard three. To be called first, while there is one thread and nothing is open.
pub fn clean() {
    // SAFETY: integers, structures of which zero is a value, and pointers that live through the calls.
    // Nothing of this program is open yet that could be closed.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            let mut action: libc::sigaction = mem::zeroed();
            // The language's runtime ignores SIGPIPE, so that a peer that goes away is an error.
            if signal != libc::SIGPIPE
                && libc::sigaction(signal, ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        // Where the call is filtered they stay open; scripts do not get them in any case.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// Takes the name that the program was called by, so that `pgrep`, `pidof` and `ps` find it: one that
/// was started as `/proc/self/exe` is called `exe` otherwise.
pub fn take_name(argument: Option<&OsStr>) {
    let name = argument.map(Path::new).and_then(Path::file_name);
    let name = name.unwrap_or(OsStr::new("lbd")).as_bytes();
    if let Ok(name) = CString::new(&name[..name.len().min(NAME)]) {
        let _ = prctl::set_name(&name); // it is found by its PID file all the same
    }
}
