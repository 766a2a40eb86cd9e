//! The Internet checksum of RFC 1071, and the forms in which VRRP has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the checksum of an advertisement covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The message alone: v2 over IPv4 (RFC 3768 §5.3.8) and v3 over IPv4 by RFC 9568 §5.2.8.
    Plain,
    /// The message and the pseudo header of its IP header: IPv6, where keepalived has it in v2 too,
    /// and v3 over IPv4 by RFC 5798 §5.2.8 and keepalived.
    Pseudo,
    /// The same with the multicast group for destination, though it went to a peer: unicast v3 of
    /// old releases of keepalived.
    OldUnicast,
    /// It is wrong, and the configuration says that this is no error.
    Unverified,
}

/// Protocol number of VRRP, as the pseudo header has it.
const PROTOCOL: u32 = 112;
const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

impl Checksum {
    /// The checksum of `message`, whose checksum field is zero.
    pub(crate) fn compute(self, message: &[u8], source: IpAddr, destination: IpAddr) -> u16 {
        !fold(self.header(message.len(), source, destination) + sum(message))
    }

    /// Whether `message`, its checksum field included, is right in this form.
    pub(crate) fn verifies(self, message: &[u8], source: IpAddr, destination: IpAddr) -> bool {
        fold(self.header(message.len(), source, destination) + sum(message)) == 0xffff
    }

    /// Sum of the pseudo header. RFC 793 §3.1, RFC 8200 §8.1.
    fn header(self, len: usize, source: IpAddr, destination: IpAddr) -> u32 {
        let destination = match self {
            Self::Plain | Self::Unverified => return 0,
            Self::Pseudo => destination,
            Self::OldUnicast if source.is_ipv4() => GROUP_V4,
            Self::OldUnicast => GROUP_V6,
        };
        // No message is longer than 65535.
        address(source) + address(destination) + PROTOCOL + u32::try_from(len).unwrap_or_default()
    }
}

fn address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

/// Sum of the 16-bit words. At most 32 Ki of them: no overflow.
fn sum(octets: &[u8]) -> u32 {
    let (words, odd) = octets.as_chunks::<2>();
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum::<u32>()
        + odd.first().map_or(0, |octet| u32::from(*octet) << 8)
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    // At most 0x1fffe before, so this carry is the last.
    ((once & 0xffff) + (once >> 16)) as u16
}
