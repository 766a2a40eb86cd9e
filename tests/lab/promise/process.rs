//! What the kernel knows of a running daemon: its processes, threads and sockets.
//!
//! Unsafe is the taking of another process's descriptor, which nix does not have.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use socket2::Socket;

/// The process and what descends from it. proc_pid_task(5).
pub fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        all.extend(children.flat_map(family));
    }
    all
}

/// How the kernel schedules a thread.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    pub nice: i32,
    /// 0 for none.
    pub real_time: u32,
}

/// The threads of the family. proc_pid_stat(5).
pub fn threads(pid: i32) -> Vec<Thread> {
    let tasks = |pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        // Field 3 is the first after the name.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        Some(Thread {
            nice: fields.get(16)?.parse().ok()?,
            real_time: fields.get(37)?.parse().ok()?,
        })
    };
    family(pid).into_iter().flat_map(tasks).filter_map(read).collect()
}

/// Whether memory of one of the family is locked. proc_pid_status(5).
pub fn locked(pid: i32) -> bool {
    family(pid).into_iter().any(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        locked.is_some_and(|size| !size.trim().starts_with("0 "))
    })
}

/// The largest receive buffer of its sockets of a protocol, as the kernel counts it: twice what was asked for.
pub fn receive_buffer(pid: i32, protocol: u8) -> Option<usize> {
    let sizes = family(pid).into_iter().flat_map(sockets).filter_map(|socket| {
        let of_it = socket.protocol().ok().flatten() == Some(i32::from(protocol).into());
        of_it.then(|| socket.recv_buffer_size().ok()).flatten()
    });
    sizes.max()
}

fn sockets(pid: i32) -> Vec<Socket> {
    let Ok(process) = pidfd(pid) else { return Vec::new() };
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    })
    .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    .filter_map(|number| taken(&process, number).ok())
    .map(Socket::from)
    .collect()
}

fn pidfd(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn taken(process: &OwnedFd, number: i32) -> nix::Result<OwnedFd> {
    let process = process.as_raw_fd();
    // SAFETY: the call takes no pointers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, number, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
