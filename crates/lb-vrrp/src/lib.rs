//! VRRP versions 2 and 3: packets and the state machine of one instance.
//!
//! Pure: no socket, no clock, no global. RFC 9568, RFC 3768, and keepalived where both are silent.

use std::net::IpAddr;

/// Priority of a router in one instance, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// A master that stops. RFC 9568 §5.2.4.
    pub const STOP: Self = Self(0);
    /// The owner of the addresses. RFC 9568 §5.2.4.
    pub const OWNER: Self = Self(255);
}

/// A received packet of IP protocol 112, with what the kernel said about it.
#[derive(Clone, Copy, Debug)]
pub struct IpPacket<'a> {
    /// Sender.
    pub source: IpAddr,
    /// Destination; of the same family as the source.
    pub destination: IpAddr,
    /// TTL or hop limit; `None` when the kernel did not say.
    pub ttl: Option<u8>,
    /// What the IP header says the payload's length is, in octets; `payload` may be longer by
    /// padding. `None` for IPv6 or when unknown.
    pub declared_len: Option<usize>,
    /// What follows the IP header.
    pub payload: &'a [u8],
}
