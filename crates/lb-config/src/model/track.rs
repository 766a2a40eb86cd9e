//! What instances and checkers follow: scripts, files, processes, BFD sessions, links.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::Script;

/// One `vrrp_script`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VrrpScript {
    /// Its name.
    pub name: String,
    /// What runs.
    pub script: Script,
    /// From start to start.
    pub interval: Duration,
    /// Run time before it counts as failed.
    pub timeout: Duration,
    /// Successes needed to be up, at least 1.
    pub rise: u32,
    /// Failures needed to be down, at least 1.
    pub fall: u32,
    /// Counts as failed before its first result.
    pub init_fail: bool,
}

/// `track_file`: a file whose number changes priorities or weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackFile {
    /// Its name here.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Factor of the number; 0: another number than 0 is a fault. −254 to 254.
    pub weight: i16,
    /// `reverse`
    pub reverse: bool,
    /// `init_file`: written at start.
    pub init: Option<InitFile>,
}

/// `init_file`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InitFile {
    /// What is written.
    pub value: i64,
    /// Whether a file that is there is overwritten.
    pub overwrite: bool,
}

/// `vrrp_track_process`: processes that must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackProcess {
    /// Its name here.
    pub name: String,
    /// Name or path, and arguments if they count.
    pub process: Vec<String>,
    /// `param_match`: how arguments are compared.
    pub arguments: ArgumentMatch,
    /// Added when up, subtracted when down; 0: a fault. −254 to 254.
    pub weight: i16,
    /// `reverse`
    pub reverse: bool,
    /// `quorum`: at least so many.
    pub quorum: u16,
    /// `quorum_max`: at most so many.
    pub quorum_max: Option<u16>,
    /// `terminate_delay`: before the loss counts.
    pub terminate_delay: Duration,
    /// `fork_delay`: before the return counts.
    pub fork_delay: Duration,
    /// `full_command`: the command line is compared, not the 15 letters the kernel keeps.
    pub full_command: bool,
}

/// How the arguments of a process are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ArgumentMatch {
    /// Not at all.
    #[default]
    None,
    /// All of them.
    Exact,
    /// The first ones, the last only in its first letters.
    Initial,
    /// The first ones.
    Partial,
}

/// `bfd_instance`: a BFD session (RFC 5880).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BfdInstance {
    /// Its name, 31 bytes at most.
    pub name: String,
    /// `neighbor_ip`
    pub neighbor: IpAddr,
    /// `source_ip`
    pub source: Option<IpAddr>,
    /// `min_rx`
    pub min_rx: Duration,
    /// `min_tx`
    pub min_tx: Duration,
    /// `idle_tx`
    pub idle_tx: Duration,
    /// `multiplier`
    pub multiplier: u8,
    /// `passive`: the neighbour speaks first.
    pub passive: bool,
    /// `ttl` of what is sent; 255 for IPv4 and 64 for IPv6 when absent.
    pub ttl: Option<u8>,
    /// `max_hops` a packet may have come; −1 for any.
    pub max_hops: i16,
    /// `multihop`: port 4784 (RFC 5883).
    pub multihop: bool,
    /// `weight`, −253 to 253.
    pub weight: i16,
    /// `reverse`
    pub reverse: bool,
    /// `vrrp`: instances hear of it.
    pub vrrp: bool,
    /// `checker`: checkers hear of it.
    pub checker: bool,
}

/// `track_group`: instances that share the fate of static addresses, routes and rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrackGroup {
    /// Its name.
    pub name: String,
    /// Names of instances.
    pub members: Vec<String>,
}

/// `garp_group`: interfaces that share one limit of gratuitous ARP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GarpGroup {
    /// `interface` and `interfaces`
    pub interfaces: Vec<String>,
    /// `garp_interval`: from one to the next.
    pub garp_interval: Option<Duration>,
    /// `gna_interval`: the same for neighbour advertisements.
    pub gna_interval: Option<Duration>,
}

/// A line of `linkbeat_interfaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Linkbeat {
    /// Whose carrier is polled.
    pub interface: String,
    /// How, if that is said.
    pub method: Option<LinkbeatMethod>,
}

/// How a carrier is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum LinkbeatMethod {
    /// `MII`
    Mii,
    /// `ETHTOOL`
    Ethtool,
    /// `IOCTL`
    Ioctl,
}

/// A line of `interface_up_down_delays`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkDelays {
    /// Whose changes are believed later.
    pub interface: String,
    /// After going down.
    pub down: Duration,
    /// After coming up.
    pub up: Duration,
}

/// `SSL`: the client's side of `SSL_GET`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// `password` of the key.
    pub password: Option<String>,
    /// `ca`: file of authorities.
    pub ca: Option<String>,
    /// `certificate`: file of the chain.
    pub certificate: Option<String>,
    /// `key`: file of the key.
    pub key: Option<String>,
}
