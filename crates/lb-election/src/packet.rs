//! A packet as it arrived.

use std::net::IpAddr;

/// A received packet of IP protocol 112, or 51 with 112 in it, with what the kernel said about it.
#[derive(Clone, Copy, Debug)]
pub struct IpPacket<'a> {
    /// Sender.
    pub source: IpAddr,
    /// Destination; of the same family as the source.
    pub destination: IpAddr,
    /// TTL or hop limit; `None` when the kernel did not say.
    pub ttl: Option<u8>,
    /// Length of the payload by the IP header, in octets; `payload` may be longer by padding.
    /// `None` when the kernel trimmed it already.
    pub declared_len: Option<usize>,
    /// IPv4 header and authentication header (RFC 2402) as they arrived, of a packet of protocol 51.
    pub ah: Option<&'a [u8]>,
    /// What follows the IP header, and the authentication header if there is one.
    pub payload: &'a [u8],
}
