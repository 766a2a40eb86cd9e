//! The two sockets of a client.
//!
//! Unsafe code, because two options have no safe wrapper: `NETLINK_CAP_ACK`, which keeps error
//! replies short, and `IP_VS_SO_GET_INFO`, which counts services without a dump. Each call hands
//! the kernel a plain structure on this stack together with its size.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Fits every reply: the kernel makes none larger than 8 KiB less what it keeps for itself
/// (`NLMSG_GOODSIZE`), except for dumps, which fill what the reader offers, up to 32 KiB. But it
/// clears as much memory beforehand, and for a service with a handful of destinations that is most
/// of the cost.
const RECEIVE: usize = 8192 - 320;

/// Holds the error replies of a whole batch; the kernel lowers it to `net.core.rmem_max`.
const QUEUE: usize = 1 << 20;

/// A generic netlink socket.
pub(crate) struct Netlink {
    socket: NlSocket,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = NlSocket::connect(NlFamily::Generic, None, Groups::empty())?;
        socket.set_recv_buffer_size(QUEUE)?;
        // Both only make errors better: an old kernel without them still works.
        let _ = socket.enable_ext_ack(true);
        let _ = cap_ack(&socket);
        Ok(Self { socket, buffer: vec![0; RECEIVE] })
    }

    pub(crate) fn send(&self, messages: &[u8]) -> io::Result<()> {
        retry(|| self.socket.send(messages, Msg::empty())).map(drop)
    }

    /// The next datagram that is there. The kernel answers within the send, so none is ever
    /// waited for: [`io::ErrorKind::WouldBlock`] means that an answer was lost.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        let (length, _) = retry(|| self.socket.recv(&mut self.buffer[..], Msg::DONTWAIT))?;
        Ok(&self.buffer[..length.min(RECEIVE)])
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn cap_ack(socket: &NlSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_CAP_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct ip_vs_getinfo`.
#[repr(C)]
#[derive(Default)]
struct GetInfo {
    version: u32,
    size: u32,
    num_services: u32,
}

/// `IP_VS_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64 + 1024 + 64 + 1;

/// A socket that counts services.
pub(crate) struct Counter(OwnedFd);

impl Counter {
    pub(crate) fn open() -> io::Result<Self> {
        let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self(fd))
    }

    /// Number of IPv4 and IPv4-mark services of the namespace: one system call. The kernel
    /// counts those of IPv6 elsewhere and does not tell.
    pub(crate) fn services(&self) -> io::Result<u32> {
        let mut info = GetInfo::default();
        let mut length = size_of::<GetInfo>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` octets into `info`, a structure of plain
        // integers, and both outlive the call.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_IP,
                GET_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(info.num_services) } else { Err(io::Error::last_os_error()) }
    }
}
