//! Becoming root of a user namespace where the process is not root already.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::error::{Error, Result};

/// Makes the calling process able to build a [`Lab`](crate::Lab).
///
/// Root stays as it is: no user namespace is made, since IPVS demands `CAP_NET_ADMIN` in the first one. Anybody else
/// becomes root of a new user namespace in which only their own user and group exist. The kernel allows that to a
/// process with a single thread only, so a program calls this first thing in `main`, before it starts a runtime.
/// Calling it again does nothing.
///
/// # Errors
/// [`Error::Unprivileged`], which names what the system forbids and the remedy.
pub fn become_root() -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| Error::Unprivileged(why_not(errno)))?;
    // user_namespaces(7): the group map of an unprivileged process needs setgroups(2) denied first.
    write_map("/proc/self/setgroups", "deny")?;
    write_map("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    write_map("/proc/self/uid_map", &format!("0 {uid} 1"))
}

/// Calls [`become_root`] before `main`, for test binaries: their tests run on threads, where it is too late.
///
/// To be written once at the top of the file. A refusal shows when the first [`Lab`](crate::Lab) starts.
#[macro_export]
macro_rules! become_root_at_start {
    () => {
        #[used]
        #[allow(unsafe_code, missing_docs)] // a function that runs before main has no other door
        #[unsafe(link_section = ".init_array")]
        static BECOME_ROOT_AT_START: extern "C" fn() = {
            extern "C" fn become_root() {
                let _ = $crate::become_root();
            }
            become_root
        };
    };
}

fn write_map(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| {
        Error::Unprivileged(match sysctl("kernel/apparmor_restrict_unprivileged_userns") {
            Some(1..) => apparmor(),
            _ => format!("{path}: {error}; run this as root"),
        })
    })
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

fn apparmor() -> String {
    "AppArmor restricts user namespaces of ordinary users; run this as root, or as root set \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        .to_owned()
}

/// What the system forbids, in words that help.
pub(crate) fn why_not(errno: Errno) -> String {
    match errno {
        Errno::EINVAL if threads() > 1 => {
            "this process is not root and has several threads already, so it cannot enter a user namespace; \
             run it as root, or call `lb_lab::become_root` before the first thread starts"
                .to_owned()
        }
        Errno::EINVAL | Errno::ENOSYS => {
            "this kernel is built without user namespaces (CONFIG_USER_NS); run this as root".to_owned()
        }
        _ if sysctl("kernel/unprivileged_userns_clone") == Some(0) => {
            "user namespaces are for root only here; run this as root, or as root set \
             `sysctl kernel.unprivileged_userns_clone=1`"
                .to_owned()
        }
        _ if sysctl("user/max_user_namespaces") == Some(0) => {
            "user namespaces are switched off here; run this as root, or as root set \
             `sysctl user.max_user_namespaces=10000`"
                .to_owned()
        }
        _ if sysctl("kernel/apparmor_restrict_unprivileged_userns").is_some_and(|on| on > 0) => apparmor(),
        Errno::ENOSPC => "the limit of namespaces is reached; as root raise `sysctl user.max_net_namespaces` and \
             `user.max_user_namespaces`"
            .to_owned(),
        Errno::EPERM if geteuid().is_root() => {
            "root lacks CAP_SYS_ADMIN here, as in most containers; give it, for instance by `docker run --privileged`"
                .to_owned()
        }
        Errno::EPERM => "this process is root neither of the machine nor of a user namespace; run it as root, or call \
             `lb_lab::become_root` before the first thread starts"
            .to_owned(),
        errno => format!("{}; run this as root", io::Error::from(errno)),
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
