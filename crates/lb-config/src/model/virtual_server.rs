//! `virtual_server`, its group and its real servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Checker, Family, Script};

/// Transport protocol of a virtual server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One `virtual_server_group`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualServerGroup {
    /// Its name.
    pub name: String,
    /// Ranges and networks expanded, in the order of the file.
    pub entries: Vec<GroupEntry>,
}

/// One entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum GroupEntry {
    /// Address and port; port 0 for every port.
    Address(SocketAddr),
    /// A firewall mark.
    Fwmark {
        /// Never 0.
        mark: u32,
        /// Its family; `None`: that of the virtual server.
        family: Option<Family>,
    },
}

/// What identifies a virtual server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum VirtualServerKey {
    /// `virtual_server IP PORT`; port 0 for every port.
    Address(SocketAddr),
    /// `virtual_server fwmark N`.
    Fwmark(u32),
    /// `virtual_server group NAME`; the name is in [`Model::virtual_server_groups`](super::Model::virtual_server_groups).
    Group(String),
}

/// IPVS scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LvsScheduler {
    /// `rr`
    Rr,
    /// `wrr`
    Wrr,
    /// `lc`
    Lc,
    /// `wlc`
    #[default]
    Wlc,
    /// `lblc`
    Lblc,
    /// `lblcr`
    Lblcr,
    /// `dh`
    Dh,
    /// `sh`
    Sh,
    /// `mh`
    Mh,
    /// `sed`
    Sed,
    /// `nq`
    Nq,
    /// `fo`
    Fo,
    /// `ovf`
    Ovf,
    /// `twos`
    Twos,
}

/// Forwarding method with its tunnel options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LvsMethod {
    /// `NAT`
    #[default]
    Nat,
    /// `DR`
    Dr,
    /// `TUN type ipip`
    Ipip,
    /// `TUN type gue port N [nocsum|csum|remcsum]`
    Gue {
        /// UDP port.
        port: u16,
        /// Checksum.
        checksum: TunnelChecksum,
    },
    /// `TUN type gre [nocsum|csum]`
    Gre {
        /// `csum`
        checksum: bool,
    },
}

impl LvsMethod {
    /// Whether packets travel inside others, which may be of another address family.
    #[must_use]
    pub fn is_tunnel(self) -> bool {
        matches!(self, LvsMethod::Ipip | LvsMethod::Gue { .. } | LvsMethod::Gre { .. })
    }
}

/// Checksum of a GUE tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum TunnelChecksum {
    /// `nocsum`
    #[default]
    None,
    /// `csum`
    Checksum,
    /// `remcsum`
    Remote,
}

/// One `virtual_server`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualServer {
    /// What it serves.
    pub key: VirtualServerKey,
    /// Family of its clients.
    pub family: Family,
    /// Transport; meaningless for a firewall mark.
    pub protocol: Protocol,
    /// `lb_algo`.
    pub scheduler: LvsScheduler,
    /// `lb_kind`, the default of its servers.
    pub method: LvsMethod,
    /// Scheduler flag 1 (`sh-fallback`, `mh-fallback`, `flag-1`).
    pub flag_1: bool,
    /// Scheduler flag 2 (`sh-port`, `mh-port`, `flag-2`).
    pub flag_2: bool,
    /// Scheduler flag 3.
    pub flag_3: bool,
    /// `ops`.
    pub one_packet: bool,
    /// `persistence_timeout`, whole seconds.
    pub persistence_timeout: Option<Duration>,
    /// `persistence_engine`.
    pub persistence_engine: Option<String>,
    /// `persistence_granularity` as a prefix length; `None` for a single host.
    pub persistence_granularity: Option<u8>,
    /// `quorum`, at least 1, at most the sum of the weights.
    pub quorum: u32,
    /// `hysteresis`, below the quorum.
    pub hysteresis: u32,
    /// `quorum_up`.
    pub quorum_up: Option<Arc<Script>>,
    /// `quorum_down`.
    pub quorum_down: Option<Arc<Script>>,
    /// `alpha`: servers start down.
    pub alpha: bool,
    /// `omega`: notifications at stop.
    pub omega: bool,
    /// `ha_suspend`: checked only while the VIP is on this host.
    pub ha_suspend: bool,
    /// `sorry_server`.
    pub sorry_server: Option<SorryServer>,
    /// `real_server` blocks, no two with the same address and port.
    pub real_servers: Vec<RealServer>,
    /// `smtp_alert`
    pub smtp_alert: bool,
    /// `snmp_name`
    pub snmp_name: Option<String>,
}

/// `sorry_server` of a virtual server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SorryServer {
    /// Address and port.
    pub address: SocketAddr,
    /// Its forwarding method.
    pub method: LvsMethod,
    /// `sorry_server_inhibit`: stays in the table with weight 0.
    pub inhibit: bool,
}

/// One `real_server`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RealServer {
    /// Address and port.
    pub address: SocketAddr,
    /// `weight`, 0 to 2147483647.
    pub weight: u32,
    /// Its forwarding method.
    pub method: LvsMethod,
    /// `uthreshold`, 0 for none.
    pub upper_threshold: u32,
    /// `lthreshold`, 0 for none; at most `upper_threshold`.
    pub lower_threshold: u32,
    /// `inhibit_on_failure`: weight 0 instead of removal.
    pub inhibit_on_failure: bool,
    /// `notify_up`.
    pub notify_up: Option<Arc<Script>>,
    /// `notify_down`.
    pub notify_down: Option<Arc<Script>>,
    /// Its checkers; none: always up. Some, but none that can be made: its health is unknown.
    pub checkers: Vec<Checker>,
    /// `smtp_alert`
    pub smtp_alert: bool,
    /// `snmp_name`
    pub snmp_name: Option<String>,
}

impl RealServer {
    /// Whether it is meant to be checked and none of its checks can be made, so that nothing is known of
    /// its health.
    #[must_use]
    pub fn is_unknowable(&self) -> bool {
        !self.checkers.is_empty() && self.checkers.iter().all(|c| c.kind.obstacle().is_some())
    }
}
