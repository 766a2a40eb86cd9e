//! The forwarding table: which services exist and where each sends its connections.
//!
//! The words are the kernel's (`ip_vs.h`), because every dataplane has to mean the same by them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use crate::destinations::Destinations;

/// All services of a dataplane, in the order of their keys.
pub type Table = BTreeMap<ServiceKey, Service>;

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
    /// SCTP, 132.
    Sctp,
}

/// Address family of a fwmark service, which has no address to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// Identifies a service. `SET_SERVICE` cannot change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKey {
    /// Packets to one address and port; port 0 stands for every port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// VIP and port.
        address: SocketAddr,
    },
    /// Packets that carry a firewall mark.
    Fwmark {
        /// Family of the packets.
        family: Family,
        /// The mark, never 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// Family of the service's clients.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } if address.is_ipv4() => Family::Inet,
            Self::Address { .. } => Family::Inet6,
            Self::Fwmark { family, .. } => *family,
        }
    }
}

/// As ipvsadm and log lines show it: `TCP 192.0.2.1:80`, `FWM 7`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address } => write!(f, "{protocol} {address}"),
            Self::Fwmark { mark, .. } => write!(f, "FWM {mark}"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// How a service chooses among its destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections; keepalived's default.
    #[default]
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// The same with replication.
    Lblcr,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Maglev hashing.
    Mh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Weighted fail-over.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Power of two random choices.
    Twos,
}

impl Scheduler {
    /// Every scheduler, in the order of the manual.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Dh,
        Self::Sh,
        Self::Mh,
        Self::Sed,
        Self::Nq,
        Self::Fo,
        Self::Ovf,
        Self::Twos,
    ];

    /// The kernel's name for it, at most 15 octets.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Mh => "mh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
        }
    }

    /// The scheduler of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sends a client's later connections to the server of its first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Persistence {
    /// How long after the last connection, whole seconds, never 0.
    pub timeout: Duration,
    /// Persistence engine, `sip` or none.
    pub engine: Option<String>,
}

/// One service and its destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// How it chooses.
    pub scheduler: Scheduler,
    /// Flag 1 of `sh` and `mh`: another server instead of one with weight 0.
    pub fallback: bool,
    /// Flag 2 of `sh` and `mh`: the source port takes part in the hash.
    pub hash_port: bool,
    /// Flag 3, which no scheduler of the stock kernel uses yet.
    pub flag_3: bool,
    /// Each UDP datagram is scheduled by itself.
    pub one_packet: bool,
    /// Stickiness of clients.
    pub persistence: Option<Persistence>,
    /// Clients that share this many leading address bits share their persistence; `None` for
    /// all bits.
    pub granularity: Option<u8>,
    /// Where connections go.
    pub destinations: Destinations,
}

/// Identifies a destination within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DestinationKey {
    /// Address of the real server.
    pub address: IpAddr,
    /// Its port; 0 only in fwmark services and services of every port.
    pub port: u16,
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))
    }
}

/// Encapsulation of a tunnelled destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelType {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// UDP port, never 0.
        port: u16,
        /// Checksum of the encapsulation.
        checksum: TunnelChecksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Whether the encapsulation carries a checksum.
        checksum: bool,
    },
}

/// Checksum of a GUE tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// In the outer header.
    Outer,
    /// Remote checksum offload.
    Remote,
}

/// How packets reach a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardingMethod {
    /// Masquerading.
    #[default]
    Nat,
    /// Encapsulated.
    Tunnel(TunnelType),
    /// Direct routing, by MAC address.
    Route,
}

impl fmt::Display for ForwardingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "NAT",
            Self::Tunnel(_) => "TUN",
            Self::Route => "DR",
        })
    }
}

/// One destination of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// How packets reach it.
    pub method: ForwardingMethod,
    /// Share of new connections, 0 to 2147483647; 0 takes none and keeps those it has.
    pub weight: u32,
    /// New connections stop at this many; 0 for no limit.
    pub upper_threshold: u32,
    /// And start again below this many; 0 for three quarters of the upper one.
    pub lower_threshold: u32,
}

/// Connections of one destination as a dataplane counts them now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Established.
    pub active: u64,
    /// In any other state.
    pub inactive: u64,
}
