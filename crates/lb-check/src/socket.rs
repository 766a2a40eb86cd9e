//! The connections of probes.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect,
    recv, send, setsockopt, socket, sockopt,
};

use crate::flight::Wire;
use crate::spec::Connection;
use crate::{Failure, Outcome};

/// A connection that has been begun. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// Begins a connection without waiting.
///
/// # Errors
/// The outcome of the probe: [`Outcome::NotRun`] only where this host is short of something, and where
/// it does not have the address of `bindto` now. That may be a VIP, which is here in time with the
/// server in the table; keepalived waits for it too, and leaves the server as it was. What cannot work
/// at all, a `bind_if` that is missing for example, is a failure with its reason.
pub(crate) fn begin(to: &Connection) -> Result<Socket, Outcome> {
    let family = if to.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd =
        socket(family, SockType::Stream, flags, SockProtocol::Tcp).map_err(not_made("socket"))?;
    if to.fwmark != 0 {
        setsockopt(&fd, sockopt::Mark, &to.fwmark).map_err(not_made("fwmark"))?;
    }
    if let Some(interface) = &to.interface {
        setsockopt(&fd, sockopt::BindToDevice, &interface.into()).map_err(not_made("bind_if"))?;
    }
    if let Some(from) = to.bind {
        setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(not_made("bindto"))?;
        setsockopt(&fd, sockopt::IpBindAddressNoPort, &true).map_err(not_made("bindto"))?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).map_err(not_made("bindto"))?;
    }
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(to.to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(Socket(fd)),
        // The address that was bound is there: the kernel has no port left, or that of `bind_port` rests.
        Err(errno @ Errno::EADDRNOTAVAIL) => Err(left_out("connect", errno)),
        Err(errno) => Err(failed(&errno.into())),
    }
}

impl Wire for Socket {
    /// Sending nothing asks the kernel for the state of the connection and for its error: a server
    /// on this host has answered before anybody waits, and that call costs a tenth of waiting.
    fn connected(&mut self) -> io::Result<bool> {
        match self.write(&[]) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?)
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), octets, MsgFlags::MSG_NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What an error of a connection says: nothing about the server where this host is short of something.
pub(crate) fn failed(error: &io::Error) -> Outcome {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) if lb_script::is_shortage(error) => left_out("socket", errno),
        _ => Outcome::Down(failure(error)),
    }
}

/// What it says that a connection cannot be watched.
pub(crate) fn unwatched(error: &io::Error) -> Outcome {
    if lb_script::is_shortage(error) {
        return Outcome::NotRun(format!("epoll: {error}"));
    }
    Outcome::Down(Failure::Connection(format!("epoll: {error}")))
}

fn failure(error: &io::Error) -> Failure {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => Failure::Refused,
        Some(Errno::ETIMEDOUT) => Failure::Timeout("connecting"),
        Some(errno) => Failure::Connection(errno.desc().to_lowercase()),
        None => Failure::Connection(error.to_string()),
    }
}

/// What an error in making a socket says.
fn not_made(what: &'static str) -> impl Fn(Errno) -> Outcome {
    move |errno| match errno {
        Errno::EADDRNOTAVAIL if what == "bindto" => left_out(what, errno),
        _ if lb_script::is_shortage(&errno.into()) => left_out(what, errno),
        _ => Outcome::Down(Failure::Connection(described(what, errno))),
    }
}

fn left_out(what: &str, errno: Errno) -> Outcome {
    Outcome::NotRun(described(what, errno))
}

fn described(what: &str, errno: Errno) -> String {
    let hint = match (what, errno) {
        (_, Errno::EMFILE | Errno::ENFILE) => " (raise LimitNOFILE)",
        (_, Errno::EPERM) => " (needs CAP_NET_ADMIN or CAP_NET_RAW)",
        ("bindto", Errno::EADDRNOTAVAIL) => " (the address is not on this host)",
        ("bind_if", Errno::ENODEV) => " (there is no such interface)",
        ("connect", Errno::EADDRNOTAVAIL) => " (no port is free to connect from)",
        _ => "",
    };
    format!("{what}: {}{hint}", errno.desc().to_lowercase())
}
