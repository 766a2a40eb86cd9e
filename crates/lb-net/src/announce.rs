//! Tells the neighbours where an address is now.

use std::net::IpAddr;
use std::{fs, io};

use socket2::{Domain, Socket, Type};

use crate::mmsg::{Outbox, SEND_MAX};
use crate::{Error, packet};

/// How a gratuitous ARP says it. RFC 5227 §3 has neighbours take both alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArpForm {
    /// As a request for our own address, as keepalived does and RFC 5227 prefers.
    #[default]
    Request,
    /// As a reply that nobody asked for, with our own MAC as target too. Right for every takeover.
    ///
    /// The kernel of a router that still has the address answers a request with the same virtual
    /// MAC, and the switch then sends everything to that router again until our next frame. A reply
    /// is never answered.
    ///
    /// The target matters: Linux takes a reply for gratuitous only when sender and target MAC are
    /// the same, and only then lets it replace what it has learned within the last second
    /// (`arp_is_garp` and `LOCKTIME`). A broadcast target MAC, usual in requests, would be ignored
    /// by such a neighbour when the MAC has changed.
    Reply,
}

/// One gratuitous ARP, or for an IPv6 address one unsolicited neighbour advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where it is sent; an Ethernet or something that looks like one.
    pub ifindex: u32,
    /// Where the address is.
    pub hardware: [u8; 6],
    /// The address.
    pub address: IpAddr,
    /// For IPv4.
    pub form: ArpForm,
    /// For IPv6: the host forwards packets.
    pub router: bool,
}

/// One packet socket that announces on every interface. It receives nothing.
pub struct Announcer {
    socket: Socket,
    outbox: Outbox<libc::sockaddr_ll>,
}

impl Announcer {
    /// Opens the socket.
    ///
    /// # Errors
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    pub fn open() -> Result<Self, Error> {
        // Protocol 0: nothing is received. Datagrams: the kernel writes the link header.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None).map_err(
            Error::system("opening the packet socket for gratuitous ARP", "CAP_NET_RAW"),
        )?;
        Ok(Self { socket, outbox: Outbox::new() })
    }

    /// Whether another system call's worth is queued: a good moment to flush.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outbox.len() >= SEND_MAX
    }

    /// Queues one announcement until [`Announcer::flush`].
    pub fn queue(&mut self, announcement: &Announcement) {
        let to = link_address(announcement);
        self.outbox.push(to, |out| packet::push_announcement(out, announcement));
    }

    /// Sends what is queued in its order, a thousand a system call. One that the kernel refuses is
    /// reported by its place in the queue; the others go out.
    pub fn flush(&mut self, failed: impl FnMut(usize, io::Error)) {
        self.outbox.flush(&self.socket, failed);
    }
}

/// Whether the host forwards IPv6 packets that arrive at this interface, as it says of itself in
/// neighbour advertisements.
#[must_use]
pub fn is_ipv6_router(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    fs::read_to_string(path).is_ok_and(|forwarding| forwarding.trim() != "0")
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// To everyone on the link: broadcast, or the Ethernet group of ff02::1 (RFC 2464 §7).
fn link_address(announcement: &Announcement) -> libc::sockaddr_ll {
    let (protocol, to) = match announcement.address {
        IpAddr::V4(_) => (libc::ETH_P_ARP, [0xFF; 6]),
        IpAddr::V6(_) => (libc::ETH_P_IPV6, [0x33, 0x33, 0, 0, 0, 1]),
    };
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&to);
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: announcement.ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    }
}
