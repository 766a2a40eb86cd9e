//! What can be told of a packet before it is parsed.

use std::net::IpAddr;

/// What every advertisement that an instance accepts looks like at first sight. A packet that looks
/// otherwise is refused by its parser in any case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// First octet: version and type.
    pub first: u8,
    /// Second octet: VRID or vhid.
    pub id: u8,
    /// TTL or hop limit, if it must be one number.
    pub ttl: Option<u8>,
    /// Who may have sent it; `None`: anybody.
    pub sources: Option<Vec<IpAddr>>,
}
