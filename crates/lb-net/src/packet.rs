//! Octets: IP headers, gratuitous ARP and neighbour advertisements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use crate::{Announcement, ArpForm};

/// IP protocol number of VRRP and CARP.
pub(crate) const PROTOCOL: u8 = 112;
/// IP protocol number of the authentication header, and its length with HMAC-MD5-96. RFC 2402.
pub(crate) const AH: u8 = 51;
pub(crate) const AH_LEN: usize = 24;
/// Length of the IPv4 header we write; the kernel adds no options to it.
pub(crate) const IPV4_HEADER: usize = 20;
const ICMPV6: u8 = 58;

/// Outside of an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Source; of the same family as the destination.
    pub source: IpAddr,
    /// Multicast group or peer.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What routers between, if there are any, may do with it.
    pub marking: Marking,
    /// The payload begins with an authentication header, which covers this id of the IP header. Of
    /// IPv4.
    pub ah: Option<u16>,
    /// The link it leaves by when the socket is not bound to one: a virtual MAC's. IPv6 heeds it
    /// for a destination that has a scope.
    pub through: Option<NonZeroU32>,
}

/// How an IP header asks to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marking {
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Don't Fragment of IPv4. RFC 791 §3.1.
    pub dont_fragment: bool,
}

impl Marking {
    /// Internetwork control, the precedence of routing protocols, as keepalived sends it.
    pub const VRRP: Self = Self { tos: 0xC0, dont_fragment: false };
    /// Low delay and DF, as OpenBSD and ucarp send it.
    pub const CARP: Self = Self { tos: 0x10, dont_fragment: true };
}

/// Appends an IPv4 header and the payload. The kernel fills in length and checksum; it would choose
/// the id too, but only when that is 0. `raw(7)`.
pub(crate) fn push_ipv4(
    out: &mut Vec<u8>,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    marking: Marking,
    (protocol, id): (u8, u16),
    payload: &[u8],
) {
    let len = u16::try_from(IPV4_HEADER + payload.len()).unwrap_or(u16::MAX);
    let flags = if marking.dont_fragment { 0x40 } else { 0 };
    out.extend([0x45, marking.tos]);
    out.extend(len.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend([flags, 0, ttl, protocol, 0, 0]);
    out.extend(source.octets());
    out.extend(destination.octets());
    out.extend(payload);
}

/// Appends an IPv6 header and the payload; complete, the kernel fills in nothing.
pub(crate) fn push_ipv6(
    out: &mut Vec<u8>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next: u8,
    ttl: u8,
    tos: u8,
    payload: &[u8],
) {
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    // Version 6, traffic class, flow label 0.
    out.extend([0x60 | tos >> 4, tos << 4, 0, 0]);
    out.extend(len.to_be_bytes());
    out.extend([next, ttl]);
    out.extend(source.octets());
    out.extend(destination.octets());
    out.extend(payload);
}

/// Appends a gratuitous ARP for an Ethernet, without the Ethernet header. RFC 826, RFC 5227 §3.
fn push_garp(out: &mut Vec<u8>, vip: Ipv4Addr, hardware: [u8; 6], form: ArpForm) {
    let (operation, target) = match form {
        ArpForm::Request => (1, [0xFF; 6]),
        ArpForm::Reply => (2, hardware),
    };
    out.extend([0, 1, 0x08, 0x00, 6, 4, 0, operation]);
    out.extend(hardware);
    out.extend(vip.octets());
    out.extend(target);
    out.extend(vip.octets());
}

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);

/// Appends an unsolicited neighbour advertisement with its IPv6 header. RFC 4861 §4.4, §7.2.6.
fn push_na(out: &mut Vec<u8>, vip: Ipv6Addr, hardware: [u8; 6], router: bool) {
    const ROUTER: u8 = 0x80;
    const OVERRIDE: u8 = 0x20;
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let mut icmp = [0; 32];
    icmp[0] = 136;
    icmp[4] = flags;
    icmp[8..24].copy_from_slice(&vip.octets());
    // Option: target link-layer address, in units of 8 octets.
    icmp[24..26].copy_from_slice(&[2, 1]);
    icmp[26..].copy_from_slice(&hardware);
    let checksum = icmpv6_checksum(vip, ALL_NODES, &icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    push_ipv6(out, vip, ALL_NODES, ICMPV6, 255, Marking::VRRP.tos, &icmp);
}

/// Appends what an announcement is on the wire, without the link header.
pub(crate) fn push_announcement(out: &mut Vec<u8>, announcement: &Announcement) {
    let Announcement { hardware, form, router, .. } = *announcement;
    match announcement.address {
        IpAddr::V4(vip) => push_garp(out, vip, hardware, form),
        IpAddr::V6(vip) => push_na(out, vip, hardware, router),
    }
}

/// RFC 4443 §2.3, over an even number of octets and with the checksum field 0.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8; 32]) -> u16 {
    let pairs = |octets: &[u8]| -> u32 {
        octets.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
    };
    let mut sum = pairs(&source.octets())
        + pairs(&destination.octets())
        + icmp.len() as u32
        + u32::from(ICMPV6)
        + pairs(icmp);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// Fields of a received IPv4 header.
pub(crate) struct Ipv4Header {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
    pub total_len: usize,
    pub header_len: usize,
}

/// Reads the header that a raw IPv4 socket leaves in front; `None` when it is no such thing.
pub(crate) fn parse_ipv4(packet: &[u8]) -> Option<Ipv4Header> {
    let (header, _) = packet.split_first_chunk::<IPV4_HEADER>()?;
    let header_len = usize::from(header[0] & 0xF) * 4;
    if header[0] >> 4 != 4 || header_len < IPV4_HEADER || header_len > packet.len() {
        return None;
    }
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some(Ipv4Header {
        source: address(12),
        destination: address(16),
        ttl: header[8],
        total_len: u16::from_be_bytes([header[2], header[3]]).into(),
        header_len,
    })
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    const MAC: [u8; 6] = hex!("02 00 00 00 00 0a");

    fn octets(address: &str, form: ArpForm, router: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let address = address.parse().unwrap();
        push_announcement(
            &mut out,
            &Announcement { ifindex: 1, hardware: MAC, address, form, router },
        );
        out
    }

    #[test]
    fn a_gratuitous_arp_is_a_broadcast_about_oneself() {
        let request = hex!("0001 0800 06 04 0001 02000000000a c0000232 ffffffffffff c0000232");
        assert_eq!(octets("192.0.2.50", ArpForm::Request, false), request);
        let reply = hex!("0001 0800 06 04 0002 02000000000a c0000232 02000000000a c0000232");
        assert_eq!(octets("192.0.2.50", ArpForm::Reply, false), reply);
    }

    #[test]
    fn a_neighbour_advertisement_overrides_and_has_a_checksum() {
        // Sum by hand: source and target 2001:db8::1 twice 0x2dba, ff02::1 0xff03, length 0x20,
        // next header 0x3a, type 0x8800, flags 0x2000, option 0x0201, MAC 0x020a
        // = 0x5b74 + 0xff03 + 0x5a + 0x8800 + 0x2000 + 0x0201 + 0x020a = 0x206dc -> 0x06de -> 0xf921.
        let expected = hex!(
            "6c00 0000 0020 3a ff 20010db8000000000000000000000001 ff020000000000000000000000000001"
            "88 00 f921 20000000 20010db8000000000000000000000001 02 01 02000000000a"
        );
        assert_eq!(octets("2001:db8::1", ArpForm::Request, false), expected);
        assert_eq!(octets("2001:db8::1", ArpForm::Reply, true)[44], 0xA0);
    }

    #[test]
    fn an_ipv4_header_carries_our_source_ttl_and_id() {
        let mut out = Vec::new();
        let (source, group) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(224, 0, 0, 18));
        push_ipv4(&mut out, source, group, 255, Marking::VRRP, (PROTOCOL, 7), b"xy");
        assert_eq!(out, hex!("45c0 0016 0007 0000 ff70 0000 c0000201 e0000012 7879"));
        let header = parse_ipv4(&out).unwrap();
        assert_eq!((header.source, header.destination), (source, group));
        assert_eq!((header.ttl, header.total_len, header.header_len), (255, 22, 20));
        // As in a capture of ucarp: 4510 .... .... 4000 ff70.
        out.clear();
        push_ipv4(&mut out, source, group, 255, Marking::CARP, (PROTOCOL, 7), b"xy");
        assert_eq!(out, hex!("4510 0016 0007 4000 ff70 0000 c0000201 e0000012 7879"));
    }

    #[test]
    fn what_is_no_ipv4_header_is_refused() {
        let whole = hex!("46c0 0018 0007 0000 ff70 0000 c0000201 e0000012 94040000");
        assert_eq!(parse_ipv4(&whole).unwrap().header_len, 24);
        assert!((0..whole.len()).all(|len| parse_ipv4(&whole[..len]).is_none()));
        assert!(parse_ipv4(&[0x65; 20]).is_none());
        assert!(parse_ipv4(&[0x44; 20]).is_none());
    }
}
