//! The sockets a relay opens, with every option they need before they are bound or connected.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How connections to servers leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Servers see the client's address and port (`IP_TRANSPARENT`, needs `CAP_NET_ADMIN`); their
    /// answers have to be routed back through this host.
    pub transparent: bool,
    /// They leave through this interface (`SO_BINDTODEVICE`).
    pub device: Option<String>,
}

/// Listens for TCP, also on an address that this host does not have yet.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    bind_ahead(&socket, address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Receives UDP, also on an address that this host does not have yet.
///
/// Without `SO_REUSEADDR`, which would let two programs share the port in silence.
pub fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM)?;
    bind_ahead(&socket, address)?;
    Ok(socket.into())
}

/// A socket that is connected to `server`, or about to be, on behalf of `client`.
pub fn connect(
    server: SocketAddr,
    client: SocketAddr,
    kind: Type,
    egress: &Egress,
) -> io::Result<Socket> {
    let socket = open(server, kind)?;
    if let Some(device) = &egress.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    // A client of the other family has no address there.
    if egress.transparent && client.is_ipv4() == server.is_ipv4() {
        socket.set_reuse_address(true)?;
        match client {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
        socket.bind(&SockAddr::from(client))?;
    }
    match socket.connect(&SockAddr::from(server)) {
        Err(error) if !errno_is(&error, &[Errno::EINPROGRESS]) => Err(error),
        _ => Ok(socket),
    }
}

/// Whether an error is one of these.
pub fn errno_is(error: &io::Error, any: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|raw| any.contains(&Errno::from_raw(raw)))
}

/// Whether there are too many open files, here or on the whole host, or no memory for one more.
pub fn is_shortage(error: &io::Error) -> bool {
    errno_is(error, &[Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM])
}

fn open(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if kind == Type::STREAM {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

fn bind_ahead(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&SockAddr::from(address))
}
