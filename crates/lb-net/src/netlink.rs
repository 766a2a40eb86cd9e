//! The messages of the route family that we write and read. `rtnetlink(7)`.
//!
//! Only the attributes of interest are read, each by itself: an attribute that a newer kernel has
//! changed or added cannot hide a link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkBuffer, NlasIterator,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage,
    AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourHeader, NeighbourMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType};

/// `IFA_PROTO` of the addresses we add; recent iproute2 shows it as `proto 112`.
///
/// The number of VRRP among the IP protocols; `if_addr.h` assigns 1 to 3 and programs use 18
/// (keepalived) and below. Kernels before 5.18 ignore it.
pub const ADDRESS_PROTOCOL: u8 = 112;

const HEADER: usize = 16;
pub(crate) const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const NEIGHBOUR_HEADER: usize = 12;

/// An address to be added to or removed from an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The interface.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// For IPv4.
    pub broadcast: Option<Ipv4Addr>,
    /// As in `rtnetlink(7)`: 0 universe, 253 link, 254 host. For IPv4; the kernel knows better for
    /// IPv6.
    pub scope: u8,
    /// For IPv4; at most 15 octets.
    pub label: Option<&'a str>,
    /// What few addresses have.
    pub options: AddressOptions,
}

/// What is out of the ordinary about an address, in the words of `ip-address(8)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressOptions {
    /// The other end of a point-to-point link; the prefix length is its.
    pub peer: Option<IpAddr>,
    /// Seconds until it is chosen as source no longer, [`FOREVER`] or 0; `None`: 0 for a `/128`,
    /// else for ever. For IPv6.
    pub preferred: Option<u32>,
    /// `home`, for IPv6.
    pub home: bool,
    /// Duplicates are looked for; until that is over, about a second, it is of no use. For IPv6.
    pub detect_duplicates: bool,
    /// `mngtmpaddr`, for an IPv6 `/64`.
    pub manage_temporary: bool,
    /// `noprefixroute`
    pub no_prefix_route: bool,
    /// `autojoin`, for a multicast address.
    pub autojoin: bool,
}

impl AddressOptions {
    /// `IFA_FLAGS` of `if_addr.h`. What is for IPv6 means nothing to IPv4, which would show it.
    fn flags(&self, inet6: bool) -> AddressFlags {
        let bits = [
            (inet6 && self.home, AddressFlags::Homeaddress),
            (inet6 && !self.detect_duplicates, AddressFlags::Nodad),
            (inet6 && self.manage_temporary, AddressFlags::Managetempaddr),
            (self.no_prefix_route, AddressFlags::Noprefixroute),
            (self.autojoin, AddressFlags::Mcautojoin),
        ];
        bits.into_iter().filter_map(|(set, bit)| set.then_some(bit)).collect()
    }
}

/// A lifetime without end. `INFINITY_LIFE_TIME` of `ipv6.h`.
pub const FOREVER: u32 = u32::MAX;

/// What to do with an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Make sure that it is there. IPv6, unless its options say otherwise: without duplicate address
    /// detection, and never chosen as source when it is a `/128`.
    Add(Address<'a>),
    /// Make sure that it is not there.
    Remove(Address<'a>),
}

/// A link as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index, never 0.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `IFF_UP` and `IFF_RUNNING`: switched on, and with a carrier.
    pub up: bool,
    /// It has no neighbours to tell (`IFF_NOARP`, `IFF_LOOPBACK`).
    pub noarp: bool,
    /// Hardware address, when that has the 6 octets of an Ethernet.
    pub hardware: Option<[u8; 6]>,
    /// What made it, such as `macvlan`, `vlan` or `veth`; `None` for hardware.
    pub kind: Option<String>,
    /// Index of the link of this namespace that it stands on, such as the base of a virtual MAC.
    pub parent: Option<u32>,
}

/// An address as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Where.
    pub ifindex: u32,
    /// Which.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// It carries our [`ADDRESS_PROTOCOL`].
    pub ours: bool,
    /// IPv6 duplicate address detection has not ended, or not well.
    pub tentative: bool,
}

/// Appends one message whose body `write` appends.
pub(crate) fn push(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.resize(start + HEADER, 0);
    write(out);
    let len = out.len() - start;
    let mut header = NetlinkBuffer::new(&mut out[start..]);
    header.set_length(u32::try_from(len).unwrap_or(u32::MAX));
    header.set_message_type(kind);
    header.set_flags(flags);
    header.set_sequence_number(sequence);
    header.set_port_number(0);
    out.resize(start + len.next_multiple_of(4), 0);
}

/// Appends a request for a change.
pub(crate) fn push_change(out: &mut Vec<u8>, change: &Change<'_>, sequence: u32, ack: bool) {
    let (kind, mut flags, address) = match change {
        Change::Add(address) => {
            (libc::RTM_NEWADDR, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, address)
        }
        Change::Remove(address) => (libc::RTM_DELADDR, NLM_F_REQUEST, address),
    };
    if ack {
        flags |= NLM_F_ACK;
    }
    let message = address_message(address, matches!(change, Change::Add(_)));
    push(out, kind, flags, sequence, |out| emit(&message, out));
}

fn address_message(address: &Address<'_>, add: bool) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: match address.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        prefix_len: address.prefix,
        flags: AddressHeaderFlags::empty(),
        scope: address.scope.into(),
        index: address.ifindex,
    };
    let options = &address.options;
    message.attributes.push(AddressAttribute::Local(address.address));
    let network = options.peer.unwrap_or(address.address);
    message.attributes.push(AddressAttribute::Address(network));
    if let Some(label) = address.label {
        message.attributes.push(AddressAttribute::Label(label.to_owned()));
    }
    if !add {
        return message;
    }
    if let Some(broadcast) = address.broadcast {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    let inet6 = address.address.is_ipv6();
    let flags = options.flags(inet6);
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    let usual = if address.prefix == 128 { 0 } else { FOREVER };
    let preferred = options.preferred.unwrap_or(usual);
    if inet6 && preferred != FOREVER {
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_preferred = preferred;
        lifetimes.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    let protocol = AddressProtocol::Other(ADDRESS_PROTOCOL);
    message.attributes.push(AddressAttribute::Protocol(protocol));
    message
}

/// Appends a request for all links, without their statistics.
pub(crate) fn push_dump_links(out: &mut Vec<u8>, sequence: u32) {
    const RTEXT_FILTER_SKIP_STATS: u32 = 8;
    let mask = DefaultNla::new(libc::IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS.to_ne_bytes().to_vec());
    push(out, libc::RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, sequence, |out| {
        let start = out.len();
        out.resize(start + LINK_HEADER + mask.buffer_len(), 0);
        mask.emit(&mut out[start + LINK_HEADER..]);
    });
}

/// Appends a request for all addresses of both families.
pub(crate) fn push_dump_addresses(out: &mut Vec<u8>, sequence: u32) {
    push(out, libc::RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, |out| {
        out.resize(out.len() + ADDRESS_HEADER, 0);
    });
}

/// Appends a request for the neighbours that a link knows.
pub(crate) fn push_dump_neighbours(out: &mut Vec<u8>, ifindex: u32, sequence: u32) {
    let mut message = NeighbourMessage::default();
    message.attributes.push(NeighbourAttribute::IfIndex(ifindex));
    push(out, libc::RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, sequence, |out| {
        emit(&message, out);
    });
}

/// Appends a request to forget a neighbour.
pub(crate) fn push_forget(
    out: &mut Vec<u8>,
    &(ifindex, address): &(u32, IpAddr),
    sequence: u32,
    ack: bool,
) {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    let flags = if ack { NLM_F_REQUEST | NLM_F_ACK } else { NLM_F_REQUEST };
    push(out, libc::RTM_DELNEIGH, flags, sequence, |out| emit(&message, out));
}

/// Reads `RTM_NEWNEIGH`: where, and who.
pub(crate) fn parse_neighbour(body: &[u8]) -> Option<(u32, IpAddr)> {
    let header = NeighbourHeader::parse(body).ok()?;
    let destination = attributes(body, NEIGHBOUR_HEADER).find(|(kind, _)| *kind == libc::NDA_DST);
    Some((header.ifindex, parse_ip(destination?.1)?))
}

fn emit(message: &impl Emitable, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + message.buffer_len(), 0);
    message.emit(&mut out[start..]);
}

/// Appends a request for the route to an address.
pub(crate) fn push_get_route(out: &mut Vec<u8>, ifindex: u32, address: Ipv6Addr, sequence: u32) {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = 128;
    message.attributes.push(RouteAttribute::Destination(address.into()));
    if address.is_unicast_link_local() {
        message.attributes.push(RouteAttribute::Oif(ifindex));
    }
    push(out, libc::RTM_GETROUTE, NLM_F_REQUEST, sequence, |out| emit(&message, out));
}

/// Whether `RTM_NEWROUTE` leads to this host itself.
pub(crate) fn is_local_route(body: &[u8]) -> bool {
    RouteHeader::parse(body).is_ok_and(|header| header.kind == RouteType::Local)
}

/// One message of a datagram, its body without the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub port: u32,
    pub body: &'a [u8],
}

/// The messages of one datagram; ends early at one that is cut short.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let len = message.length() as usize;
        let found = Message {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            port: message.port_number(),
            body: datagram.get(HEADER..len)?,
        };
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(found)
    })
}

/// The attributes after a header of `skip` octets; ends early at one that is cut short.
pub(crate) fn attributes(body: &[u8], skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut nlas = NlasIterator::new(body.get(skip..).unwrap_or_default());
    std::iter::from_fn(move || {
        let nla = nlas.next()?.ok()?;
        let (kind, len) = (nla.kind(), usize::from(nla.length()));
        Some((kind, nla.into_inner().get(4..len)?))
    })
}

/// Reads `RTM_NEWLINK` or `RTM_DELLINK`.
pub(crate) fn parse_link(body: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(body).ok()?;
    let (mut name, mut hardware, mut kind_name) = (None, None, None);
    let (mut parent, mut elsewhere) = (None, false);
    for (kind, value) in attributes(body, LINK_HEADER) {
        match kind {
            libc::IFLA_IFNAME => name = Some(text(value)),
            libc::IFLA_LINK => parent = value.try_into().ok().map(u32::from_ne_bytes),
            libc::IFLA_LINK_NETNSID => elsewhere = true,
            libc::IFLA_LINKINFO => kind_name = nested(value, &[libc::IFLA_INFO_KIND]).map(text),
            libc::IFLA_ADDRESS => hardware = value.try_into().ok(),
            _ => {}
        }
    }
    Some(Link {
        index: header.index,
        name: name?,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        noarp: header.flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback),
        hardware,
        kind: kind_name,
        parent: parent.filter(|_| !elsewhere),
    })
}

/// The value at the end of a path of attributes within attributes.
pub(crate) fn nested<'a>(value: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(value, |value, wanted| {
        attributes(value, 0).find(|(kind, _)| kind == wanted).map(|(_, value)| value)
    })
}

/// A string that the kernel ends with a zero.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// Whether a link message is about a link itself: bridges send ones about their ports, with another
/// family, that say nothing of that kind.
pub(crate) fn is_about_link(body: &[u8]) -> bool {
    body.first() == Some(&0)
}

/// Reads `RTM_NEWADDR` or `RTM_DELADDR`.
pub(crate) fn parse_address(body: &[u8]) -> Option<InterfaceAddress> {
    let header = AddressHeader::parse(body).ok()?;
    let (mut local, mut address, mut ours) = (None, None, false);
    for (kind, value) in attributes(body, ADDRESS_HEADER) {
        match kind {
            libc::IFA_LOCAL => local = parse_ip(value),
            libc::IFA_ADDRESS => address = parse_ip(value),
            IFA_PROTO => ours = value == [ADDRESS_PROTOCOL],
            _ => {}
        }
    }
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    Some(InterfaceAddress {
        ifindex: header.index,
        // The address of a peer, if there is one, is in IFA_ADDRESS.
        address: local.or(address)?,
        peer: address.filter(|_| local.is_some() && local != address),
        prefix: header.prefix_len,
        ours,
        tentative: header.flags.intersects(unusable),
    })
}

const IFA_PROTO: u16 = 11;

fn parse_ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// The number in `NLMSG_ERROR` or `NLMSG_DONE`: 0, or an errno.
pub(crate) fn parse_errno(body: &[u8]) -> Option<i32> {
    let code = i32::from_ne_bytes(*body.first_chunk()?);
    Some(code.saturating_neg())
}
