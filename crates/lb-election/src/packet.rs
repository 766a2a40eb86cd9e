//! A packet as it arrived.

use std::net::IpAddr;

/// A received packet of IP protocol 112, with what the kernel said about it.
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
    /// What follows the IP header.
    pub payload: &'a [u8],
}
