//! Opens the connections of probes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt,
    socket, sockopt,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::spec::Connection;
use crate::{Failure, Outcome};

/// A connection that has been begun.
pub(crate) enum Begun {
    /// It stands.
    Connected(OwnedFd),
    /// The server has yet to answer.
    Pending(OwnedFd),
}

/// Begins a connection without waiting.
///
/// A server on this host answers within the first call, so the kernel is asked once more before
/// anybody waits: that call costs a tenth of what it costs to wait.
///
/// # Errors
/// The outcome of the probe: [`Outcome::NotRun`] when there is no socket to try with.
pub(crate) fn begin(to: &Connection) -> Result<Begun, Outcome> {
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
    let address = SockaddrStorage::from(to.to);
    match connect(fd.as_raw_fd(), &address) {
        Ok(()) => return Ok(Begun::Connected(fd)),
        Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(refused(errno)),
    }
    match connect(fd.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EISCONN) => Ok(Begun::Connected(fd)),
        Err(Errno::EALREADY) => Ok(Begun::Pending(fd)),
        Err(errno) => Err(refused(errno)),
    }
}

/// Waits until a connection stands.
///
/// # Errors
/// The outcome of the probe.
pub(crate) async fn finish(begun: Begun, to: &Connection) -> Result<TcpStream, Outcome> {
    let (fd, pending) = match begun {
        Begun::Connected(fd) => (fd, false),
        Begun::Pending(fd) => (fd, true),
    };
    let stream = TcpStream::from_std(fd.into()).map_err(not_run)?;
    if pending {
        match timeout(to.timeout, stream.writable()).await {
            Err(_) => return Err(Outcome::Down(Failure::Timeout("connecting"))),
            Ok(ready) => ready.map_err(not_run)?,
        }
        if let Some(error) = stream.take_error().map_err(not_run)? {
            return Err(Outcome::Down(failure(&error)));
        }
    }
    Ok(stream)
}

/// What an error of a connection says about its server.
pub(crate) fn failure(error: &io::Error) -> Failure {
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

#[allow(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn not_run(error: io::Error) -> Outcome {
    Outcome::NotRun(error.to_string())
}
