//! Reads frames independently of the code under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_lab::Frame;

const ICMPV6: u8 = 58;

/// The address that a gratuitous ARP, or an unsolicited neighbour advertisement, announces.
pub fn announced(frame: &Frame) -> Option<IpAddr> {
    gratuitous_arp(frame).or_else(|| neighbour_advertisement(frame))
}

/// RFC 5227 §3: sender and target are the same.
fn gratuitous_arp(frame: &Frame) -> Option<IpAddr> {
    const SENDER: std::ops::Range<usize> = 14..18;
    const TARGET: std::ops::Range<usize> = 24..28;
    if frame.ethertype != 0x0806 || frame.payload.get(SENDER)? != frame.payload.get(TARGET)? {
        return None;
    }
    address(frame.payload.get(SENDER)?)
}

/// RFC 4861 §4.4, to all nodes.
fn neighbour_advertisement(frame: &Frame) -> Option<IpAddr> {
    let all_nodes = frame.to == [0x33, 0x33, 0, 0, 0, 1];
    if !frame.is_ip(ICMPV6) || !all_nodes || *frame.payload.first()? != 136 {
        return None;
    }
    address(frame.payload.get(8..24)?)
}

/// The address whose hardware address an ARP request or a neighbour solicitation asks for.
pub fn asked(frame: &Frame) -> Option<IpAddr> {
    let payload = &frame.payload;
    match (frame.ethertype, payload.get(6..8)) {
        (0x0806, Some([0, 1])) => address(payload.get(24..28)?),
        _ if frame.is_ip(ICMPV6) && *payload.first()? == 135 => address(payload.get(8..24)?),
        _ => None,
    }
}

/// An address and the hardware address it has, by an ARP reply or a neighbour advertisement. RFC 4861 §4.4, §4.6.1.
pub fn told(frame: &Frame) -> Option<(IpAddr, [u8; 6])> {
    let payload = &frame.payload;
    let (address, hardware) = match (frame.ethertype, payload.get(6..8)) {
        (0x0806, Some([0, 2])) => (address(payload.get(14..18)?)?, payload.get(8..14)?),
        _ if frame.is_ip(ICMPV6) && *payload.first()? == 136 => {
            let option = payload.get(24..32).filter(|option| option[..2] == [2, 1])?;
            (address(payload.get(8..24)?)?, &option[2..])
        }
        _ => return None,
    };
    Some((address, hardware.try_into().ok()?))
}

/// An address as it is on the wire, of 4 or 16 octets.
pub fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into()))
}

/// One's complement sum; 0xffff when the checksum within is right. RFC 1071 §1.
pub fn folded(octets: &[u8]) -> u64 {
    let words = octets
        .chunks(2)
        .map(|word| u64::from(word[0]) << 8 | word.get(1).copied().map_or(0, u64::from));
    let sum: u64 = words.sum();
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

/// One octet after the other, two digits each.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
