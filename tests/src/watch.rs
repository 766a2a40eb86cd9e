//! Follows the addresses of a host, by its kernel's own report.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use lb_lab::Host;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// All addresses of a host at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The moment.
    pub at: SystemTime,
    /// The host.
    pub host: String,
    /// On all its interfaces.
    pub addresses: BTreeSet<IpAddr>,
}

/// Snapshots of all hosts, in order; each was taken because something had changed.
#[derive(Default)]
pub struct Log {
    snapshots: Mutex<Vec<Snapshot>>,
    more: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Snapshot>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a host has now.
    pub fn push(&self, host: &str, addresses: BTreeSet<IpAddr>) {
        let mut snapshots = self.lock();
        // Under the lock, so that times are in order too.
        let at = SystemTime::now();
        if snapshots.iter().rfind(|last| last.host == host).map(|last| &last.addresses)
            != Some(&addresses)
        {
            snapshots.push(Snapshot { at, host: host.to_owned(), addresses });
        }
        drop(snapshots);
        self.more.notify_all();
    }

    /// Who held `vip`, since when, from the first change on.
    pub fn holders(&self, vip: IpAddr) -> Vec<(SystemTime, BTreeSet<String>)> {
        let mut now = BTreeSet::new();
        let mut all: Vec<(SystemTime, BTreeSet<String>)> = Vec::new();
        for Snapshot { at, host, addresses } in self.lock().iter() {
            let changed =
                if addresses.contains(&vip) { now.insert(host.clone()) } else { now.remove(host) };
            if changed {
                all.push((*at, now.clone()));
            }
        }
        all
    }

    /// Waits until `done` gives something for the holders of `vip`.
    pub fn wait<T>(
        &self,
        vip: IpAddr,
        timeout: Duration,
        mut done: impl FnMut(&[(SystemTime, BTreeSet<String>)]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + timeout;
        loop {
            let seen = self.lock().len();
            if let Some(value) = done(&self.holders(vip)) {
                return Some(value);
            }
            let mut snapshots = self.lock();
            while snapshots.len() == seen {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                let woken = self.more.wait_timeout(snapshots, left);
                snapshots = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Follows one host until it is dropped.
pub struct Watch {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to follow the host.
    ///
    /// # Errors
    /// The kernel refuses to report.
    pub fn start(host: &Host, log: &Arc<Log>) -> anyhow::Result<Self> {
        let socket = host.run(listen)?.context("cannot listen to the kernel")?;
        let stop = Arc::new(EventFd::new()?);
        let (until, log, name) = (Arc::clone(&stop), Arc::clone(log), host.name().to_owned());
        let thread = host.thread(move || follow(&socket, &until, &name, &log))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket that becomes readable when an address comes or goes. rtnetlink(7).
fn listen() -> nix::Result<OwnedFd> {
    const IPV4_ADDRESSES: u32 = 0x10;
    const IPV6_ADDRESSES: u32 = 0x100;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, IPV4_ADDRESSES | IPV6_ADDRESSES))?;
    Ok(socket)
}

fn follow(socket: &OwnedFd, stop: &EventFd, host: &str, log: &Log) {
    let mut octets = [0; 1 << 14];
    loop {
        if let Ok(all) = getifaddrs() {
            let address = |entry: nix::ifaddrs::InterfaceAddress| {
                let address = entry.address?;
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            };
            log.push(host, all.filter_map(address).collect());
        }
        let mut waiting = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        if waiting[1].any().unwrap_or(false) {
            return;
        }
        // What it says does not matter, the list that is asked for next is newer.
        while recv(socket.as_raw_fd(), &mut octets, MsgFlags::empty()).is_ok() {}
    }
}
