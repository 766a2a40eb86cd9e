//! Who is spoken to and who is heard.

use std::net::IpAddr;

/// Where advertisements go and come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// A multicast group.
    Multicast,
    /// Each peer by itself.
    Unicast {
        /// In the order of the configuration.
        peers: Vec<Peer>,
        /// Only they are heard, and only with their TTL.
        check_source: bool,
    },
}

/// A unicast peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Lowest TTL heard from it.
    pub min_ttl: u8,
    /// Highest TTL heard from it.
    pub max_ttl: u8,
}
