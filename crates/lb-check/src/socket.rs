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
/// The outcome of the probe: [`Outcome::NotRun`] when there is no socket to try with.
pub(crate) fn begin(to: &Connection) -> Result<Socket, Outcome> {
    let family = if to.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, SockProtocol::Tcp).map_err(local("socket"))?;
    if to.fwmark != 0 {
        setsockopt(&fd, sockopt::Mark, &to.fwmark).map_err(local("fwmark"))?;
    }
    if let Some(interface) = &to.interface {
        setsockopt(&fd, sockopt::BindToDevice, &interface.into()).map_err(local("bind_if"))?;
    }
    if let Some(from) = to.bind {
        setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(local("bindto"))?;
        setsockopt(&fd, sockopt::IpBindAddressNoPort, &true).map_err(local("bindto"))?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).map_err(local("bindto"))?;
    }
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(to.to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(Socket(fd)),
        Err(errno) => Err(refused(errno)),
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

/// What an error of a connection that has been begun says: about this host where it lacks memory,
/// about the server otherwise.
pub(crate) fn failed(error: &io::Error) -> Outcome {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno @ (Errno::ENOMEM | Errno::ENOBUFS)) => local("socket")(errno),
        _ => Outcome::Down(failure(error)),
    }
}

fn failure(error: &io::Error) -> Failure {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => Failure::Refused,
        Some(Errno::ETIMEDOUT) => Failure::Timeout("connecting"),
        Some(errno) => Failure::Connection(errno.desc().to_lowercase()),
        None => Failure::Connection(error.to_string()),
    }
}

/// What an error of connect(2) says: about this host where it lacks something, about the server
/// otherwise.
fn refused(errno: Errno) -> Outcome {
    match errno {
        Errno::EADDRNOTAVAIL
        | Errno::EADDRINUSE
        | Errno::EAGAIN
        | Errno::EACCES
        | Errno::EPERM
        | Errno::EINVAL
        | Errno::ENOMEM
        | Errno::ENOBUFS => local("connect")(errno),
        _ => Outcome::Down(failure(&errno.into())),
    }
}

fn local(what: &'static str) -> impl Fn(Errno) -> Outcome {
    move |errno| {
        let hint = match errno {
            Errno::EMFILE | Errno::ENFILE => " (raise LimitNOFILE)",
            Errno::EPERM => " (needs CAP_NET_ADMIN or CAP_NET_RAW)",
            Errno::EADDRNOTAVAIL if what == "bindto" => " (the address is not on this host)",
            _ => "",
        };
        Outcome::NotRun(format!("{what}: {}{hint}", errno.desc().to_lowercase()))
    }
}
