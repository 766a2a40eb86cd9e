//! The socket that advertisements leave and arrive through.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};

use lb_election::Selector;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use crate::mmsg::{self, Batch, Outbox, RECEIVE_MAX};
use crate::selection::{self, Which};
use crate::{Envelope, Error, filter, packet};

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "IPv4",
            Self::Inet6 => "IPv6",
        })
    }
}

/// An interface, as the kernel and as people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `if_nametoindex(3)`.
    pub index: NonZeroU32,
    /// Its name, for messages.
    pub name: String,
}

/// Room for ten bursts of all 255 instances of an interface. In a flood that is not read as fast as
/// it comes, what is read has waited for as long as the buffer takes to read: milliseconds.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The same for strays: as many as are read in a second, about.
const STRAYS_BUFFER: usize = 256 << 10;
/// The kernel counts at least so much of the buffer for a packet, however short: what it keeps of
/// one beside its octets (`SKB_TRUESIZE` of `skbuff.h`).
const SMALLEST: usize = 512;
/// `TC_PRIO_CONTROL` of `pkt_sched.h`: queueing disciplines send it first.
const PRIORITY: u32 = 6;

/// A raw socket for IP protocol 112 on one interface, shared by all its virtual routers of a family.
///
/// The kernel hands over only what a [`Selector`] describes. Packets that bear the number of one but
/// are not described by any cannot be accepted; still an operator may want to know of them. These
/// strays wait apart, in a second socket of little room, for [`AdvertSocket::receive_strays`]: in a flood
/// they take no room from advertisements, and the kernel counts those that find none
/// ([`AdvertSocket::lost_strays`]). Other packets do not wake us at all. Nothing that is sent comes
/// back. Reads and writes never block.
pub struct AdvertSocket {
    socket: Socket,
    /// `None` of one that only sends.
    strays: Option<Socket>,
    family: Family,
    /// Of IP protocol 51 instead of 112: an authentication header is before each packet.
    ah: bool,
    interface: Option<Interface>,
    outbox: Addressed,
    next_id: u16,
    /// Size of the receive buffer as the kernel counts it, bytes.
    room: Cell<usize>,
}

enum Addressed {
    Inet(Outbox<libc::sockaddr_in>),
    Inet6(Outbox<libc::sockaddr_in6>),
}

impl AdvertSocket {
    /// Opens the socket; `None` listens on every interface, which is for unicast only.
    ///
    /// # Errors
    /// [`Error::Capability`] without `CAP_NET_RAW`; [`Error::System`] names the step and interface.
    pub fn open(
        family: Family,
        interface: Option<Interface>,
        selectors: &[Selector],
    ) -> Result<Self, Error> {
        Self::with_protocol(family, false, interface, Some(selectors))
    }

    /// Opens a socket for IP protocol 51 instead of 112, of IPv4: for virtual routers with an
    /// authentication header before their advertisements.
    ///
    /// # Errors
    /// As [`AdvertSocket::open`].
    pub fn open_ah(interface: Option<Interface>, selectors: &[Selector]) -> Result<Self, Error> {
        Self::with_protocol(Family::Inet, true, interface, Some(selectors))
    }

    fn with_protocol(
        family: Family,
        ah: bool,
        interface: Option<Interface>,
        selectors: Option<&[Selector]>,
    ) -> Result<Self, Error> {
        let kind = if ah { "VRRP socket with authentication header" } else { "VRRP socket" };
        let place = match &interface {
            Some(interface) => format!("the {family} {kind} on {}", interface.name),
            None => format!("the {family} {kind}"),
        };
        let open = |which, room| {
            let program = program(selectors.unwrap_or_default(), family, ah, which);
            Self::configure(family, ah, interface.as_ref(), room, &program)
        };
        let pair = open(Which::Selected, RECEIVE_BUFFER).and_then(|socket| {
            let strays = selectors.map(|_| open(Which::Strays, STRAYS_BUFFER)).transpose()?;
            Ok((socket, strays))
        });
        pair.map_err(Error::system(format!("opening {place}"), "CAP_NET_RAW")).map(
            |(socket, strays)| Self {
                socket,
                strays,
                family,
                ah,
                interface,
                outbox: match family {
                    Family::Inet => Addressed::Inet(Outbox::new()),
                    Family::Inet6 => Addressed::Inet6(Outbox::new()),
                },
                next_id: 1,
                room: Cell::new(2 * RECEIVE_BUFFER),
            },
        )
    }

    /// Opens one that sends and hears nothing: no packet ever waits in it or wakes anybody. It is
    /// bound to no interface; each [`Envelope`] says which link it leaves by, so that one system
    /// call sends the advertisements of all virtual MACs of a family.
    ///
    /// # Errors
    /// As [`AdvertSocket::open`].
    pub fn open_sender(family: Family) -> Result<Self, Error> {
        Self::with_protocol(family, false, None, None)
    }

    fn configure(
        family: Family,
        ah: bool,
        interface: Option<&Interface>,
        room: usize,
        program: &[SockFilter],
    ) -> io::Result<Socket> {
        let domain = match family {
            Family::Inet => Domain::IPV4,
            Family::Inet6 => Domain::IPV6,
        };
        let protocol = if ah { packet::AH } else { packet::PROTOCOL };
        let protocol = Protocol::from(i32::from(protocol));
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
        // Until it is bound the socket hears every interface.
        socket.attach_filter(&filter::nothing())?;
        if let Some(interface) = interface {
            socket.bind_device_by_index_v4(Some(interface.index))?;
        }
        match family {
            Family::Inet => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_all_v4(false)?;
            }
            Family::Inet6 => {
                socket.set_header_included_v6(true)?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_all_v6(false)?;
                socket.set_recv_hoplimit_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        socket.set_priority(PRIORITY)?;
        reserve(&socket, room)?;
        socket.attach_filter(program)?;
        Ok(socket)
    }

    /// Hears what these describe from now on and nothing else. A socket's program is replaced at one moment.
    ///
    /// # Errors
    /// When the kernel is out of memory for filters.
    pub fn serve(&self, selectors: &[Selector]) -> Result<(), Error> {
        let attach = |socket: &Socket, which| {
            socket.attach_filter(&program(selectors, self.family, self.ah, which))
        };
        let strays = self.strays.as_ref();
        attach(&self.socket, Which::Selected)
            .and_then(|()| strays.map_or(Ok(()), |strays| attach(strays, Which::Strays)))
            .map_err(Error::system("filtering advertisements", "CAP_NET_RAW"))
    }

    /// Gives it a receive buffer of so many bytes, or of 1 MiB if that is more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reserve(&self, bytes: usize) -> Result<(), Error> {
        // The kernel doubles it, for what it keeps beside the octets.
        let bytes = bytes.clamp(RECEIVE_BUFFER, i32::MAX as usize / 2);
        self.room.set(2 * bytes);
        reserve(&self.socket, bytes)
            .map_err(Error::system("enlarging the buffer of advertisements", "CAP_NET_ADMIN"))
    }

    /// Joins a multicast group of the socket's family on its interface.
    ///
    /// An IPv4 socket then hears no other group. An IPv6 socket hears every group that anyone on
    /// this host has joined there: the kernel does not tell raw ones apart.
    ///
    /// # Errors
    /// [`Error::System`] when it is joined already, or the interface does no multicast.
    pub fn join(&self, group: IpAddr) -> Result<(), Error> {
        let index = self.index();
        let join = |socket: &Socket| match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index),
        };
        let joined = self.sockets().try_for_each(join);
        let place = self.interface.as_ref().map_or("any interface", |i| i.name.as_str());
        joined.map_err(Error::system(format!("joining {group} on {place}"), "CAP_NET_RAW"))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// When it was not joined.
    pub fn leave(&self, group: IpAddr) -> io::Result<()> {
        let index = self.index();
        self.sockets().try_for_each(|socket| match group {
            IpAddr::V4(group) => {
                socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, index),
        })
    }

    fn sockets(&self) -> impl Iterator<Item = &Socket> {
        [&self.socket].into_iter().chain(&self.strays)
    }

    fn index(&self) -> u32 {
        self.interface.as_ref().map_or(0, |interface| interface.index.get())
    }

    /// The family of addresses it carries.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// The interface it is bound to.
    #[must_use]
    pub fn interface(&self) -> Option<&Interface> {
        self.interface.as_ref()
    }

    /// Queues one packet until [`AdvertSocket::flush`]. An envelope of another family is dropped.
    pub fn queue(&mut self, envelope: &Envelope, payload: &[u8]) {
        let through = envelope.through.map_or(0, NonZeroU32::get);
        let index = if through == 0 { self.index() } else { through };
        let Envelope { ttl, marking, .. } = *envelope;
        match (&mut self.outbox, envelope.source, envelope.destination) {
            (Addressed::Inet(outbox), IpAddr::V4(source), IpAddr::V4(destination)) => {
                let protocol_and_id = match envelope.ah {
                    Some(id) => (packet::AH, id),
                    None => {
                        let id = self.next_id;
                        self.next_id = id.checked_add(1).unwrap_or(1);
                        (packet::PROTOCOL, id)
                    }
                };
                let to = sockaddr_in(destination);
                let write = |out: &mut Vec<u8>| {
                    packet::push_ipv4(
                        out,
                        source,
                        destination,
                        ttl,
                        marking,
                        protocol_and_id,
                        payload,
                    );
                };
                match through {
                    0 => outbox.push(to, write),
                    through => outbox.push_through(through, to, write),
                }
            }
            (Addressed::Inet6(outbox), IpAddr::V6(source), IpAddr::V6(destination)) => {
                outbox.push(sockaddr_in6(destination, index), |out| {
                    let (next, tos) = (packet::PROTOCOL, marking.tos);
                    packet::push_ipv6(out, source, destination, next, ttl, tos, payload);
                });
            }
            _ => {}
        }
    }

    /// Whether something is queued.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        match &self.outbox {
            Addressed::Inet(outbox) => outbox.len() > 0,
            Addressed::Inet6(outbox) => outbox.len() > 0,
        }
    }

    /// Sends what is queued in its order, a thousand packets a system call. A packet that the kernel
    /// refuses is reported by its place in the queue; the others go out.
    pub fn flush(&mut self, failed: impl FnMut(usize, io::Error)) {
        match &mut self.outbox {
            Addressed::Inet(outbox) => outbox.flush(&self.socket, failed),
            Addressed::Inet6(outbox) => outbox.flush(&self.socket, failed),
        }
    }

    /// How many times [`AdvertSocket::receive`] takes at most until it has taken everything that had
    /// arrived before the first of them: the buffer holds no more.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.room.get().div_ceil(SMALLEST * RECEIVE_MAX)
    }

    /// Replaces what the inbox holds by what has arrived, perhaps nothing, without waiting. Returns
    /// whether there may be more.
    ///
    /// # Errors
    /// The pending error of the socket, such as `ENETDOWN` after its interface went down; the
    /// socket stays usable.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<bool> {
        (inbox.family, inbox.ah) = (self.family, self.ah);
        inbox.batch.receive(&self.socket)
    }

    /// The same for strays.
    ///
    /// # Errors
    /// As [`AdvertSocket::receive`].
    pub fn receive_strays(&self, inbox: &mut Inbox) -> io::Result<bool> {
        (inbox.family, inbox.ah) = (self.family, self.ah);
        match &self.strays {
            Some(strays) => inbox.batch.receive(strays),
            None => {
                inbox.batch.clear();
                Ok(false)
            }
        }
    }

    /// Where strays wait, to be watched by a [`Poller`](crate::Poller); `None` of one that only sends.
    #[must_use]
    pub fn strays(&self) -> Option<BorrowedFd<'_>> {
        self.strays.as_ref().map(AsFd::as_fd)
    }

    /// How many strays found no room since the socket was opened, modulo 2^32.
    ///
    /// # Errors
    /// When the kernel does not count (before Linux 4.6).
    pub fn lost_strays(&self) -> io::Result<u32> {
        self.strays.as_ref().map_or(Ok(0), mmsg::drops)
    }
}

impl AsFd for AdvertSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for AdvertSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvertSocket")
            .field("family", &self.family)
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

/// Buffers for up to 64 received packets, to be used for every socket in turn.
pub struct Inbox {
    batch: Box<Batch>,
    family: Family,
    ah: bool,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { batch: Batch::new(), family: Family::Inet, ah: false }
    }

    /// What [`AdvertSocket::receive`] put in, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        let (family, ah) = (self.family, self.ah);
        self.batch.datagrams().filter_map(move |datagram| match family {
            Family::Inet => {
                let header = packet::parse_ipv4(datagram.octets)?;
                let before = if ah { packet::AH_LEN } else { 0 };
                let end = (header.header_len + before).min(datagram.octets.len());
                let (headers, payload) = datagram.octets.split_at(end);
                Some(Received {
                    ah: ah.then_some(headers),
                    source: header.source.into(),
                    destination: header.destination.into(),
                    ttl: header.ttl,
                    total_len: header.total_len,
                    header_len: end,
                    payload,
                })
            }
            Family::Inet6 => {
                let (ttl, destination) = datagram.ipv6?;
                Some(Received {
                    ah: None,
                    source: datagram.from.into(),
                    destination: destination.into(),
                    ttl,
                    total_len: datagram.octets.len(),
                    header_len: 0,
                    payload: datagram.octets,
                })
            }
        })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("family", &self.family).finish_non_exhaustive()
    }
}

/// A received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Multicast group, or ourselves.
    pub destination: IpAddr,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
    /// Length that the IPv4 header claims, itself included; for IPv6 that of the payload.
    pub total_len: usize,
    /// Length of the IPv4 header with options, and of the authentication header if there is one; 0 for
    /// IPv6, whose header the kernel keeps.
    pub header_len: usize,
    /// Both of these headers, of what came through [`AdvertSocket::open_ah`].
    pub ah: Option<&'a [u8]>,
    /// What follows the headers.
    pub payload: &'a [u8],
}

fn sockaddr_in(address: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    }
}

fn sockaddr_in6(address: Ipv6Addr, index: u32) -> libc::sockaddr_in6 {
    // Only addresses of a link have a scope.
    let scoped = address.is_unicast_link_local() || address.is_multicast();
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address.octets() },
        sin6_scope_id: if scoped { index } else { 0 },
    }
}

/// The program for one socket of a pair.
fn program(selectors: &[Selector], family: Family, ah: bool, which: Which) -> Vec<SockFilter> {
    let before = if ah { packet::AH_LEN as u32 } else { 0 };
    let program = selection::program(selectors, family, before, which);
    program.iter().map(|it| SockFilter::new(it.code, it.jt, it.jf, it.k)).collect()
}

/// Makes the receive buffer this large, past the limit of the system if we may.
fn reserve(socket: &Socket, bytes: usize) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}
