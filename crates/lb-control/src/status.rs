//! The status of a daemon, as `lbctl status --json` prints it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::State;

/// Everything `lbctl status` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this shape; grows when a field changes its meaning or goes away.
    pub version: u32,
    /// The process itself.
    pub daemon: Daemon,
    /// In the order of the configuration.
    pub vrrp: Vec<Vrrp>,
    /// What CARP does; `None` without CARP instances.
    #[serde(default)]
    pub carp: Option<Carp>,
    /// How connections are copied to the other director; `None` where that is not configured.
    #[serde(default)]
    pub state_sync: Option<StateSync>,
    /// In the order of the configuration.
    pub virtual_servers: Vec<VirtualServer>,
}

/// The process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Configuration file.
    pub config: String,
    /// The last reload; `None` before the first.
    pub last_reload: Option<Reload>,
    /// What forwards: `ipvs`, `relay` or `none`.
    pub dataplane: String,
    /// How full the relay is; `None` where it does not forward.
    #[serde(default)]
    pub relay: Option<Relay>,
    /// What runs inside; those the configuration has no use for are left out.
    #[serde(default)]
    pub engines: Vec<Engine>,
    /// The scripts that are told what happens.
    #[serde(default)]
    pub notify_scripts: NotifyScripts,
    /// The scripts that are tracked, by name.
    #[serde(default)]
    pub tracked_scripts: Vec<TrackedScript>,
}

/// Clients of the relay, of all services together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Clients that are served now.
    pub clients: u64,
    /// Clients that there is room for; one service has half of it.
    pub most: u64,
    /// Idle clients that lost their place to another, since the start.
    pub displaced: u64,
    /// Clients that were turned away, because all places were taken and nobody was idle, since the start.
    pub refused: u64,
}

/// Scripts of `notify*`, `quorum_up` and the like, of all instances and servers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyScripts {
    /// They run now.
    pub running: u64,
    /// Events whose scripts wait for those of an earlier event.
    pub waiting: u64,
    /// Scripts that have ended since the start, however.
    pub ended: u64,
    /// Of these, those that did not end with status 0.
    pub failed: u64,
    /// Of these, those that took too long and were ended.
    pub timed_out: u64,
    /// Scripts that could not be run.
    pub not_run: u64,
    /// Scripts that hung and were ended because later ones had to run.
    pub gave_way: u64,
    /// Events whose scripts were left out because too many waited.
    pub left_out: u64,
}

/// A `vrrp_script` that is tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedScript {
    /// Name in the configuration.
    pub name: String,
    /// How the last run ended, or why it could not be run; `None` before the first.
    pub last: Option<String>,
    /// Whether that counts as success.
    pub success: bool,
    /// Since when it ends like this.
    pub since: Option<Timestamp>,
    /// Runs that this host had no room for; they have no result.
    pub not_run: u64,
}

/// One engine of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// `advertiser` or `balancer`.
    pub name: String,
    /// `false` while it waits to be started again.
    pub running: bool,
    /// Times it failed since start.
    pub failures: u64,
    /// Why it does not run.
    pub reason: Option<String>,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// When.
    pub at: Timestamp,
    /// Whether the new configuration is in force.
    pub accepted: bool,
    /// One sentence; for a refusal the first error with file, line and column.
    pub verdict: String,
}

/// One VRRP instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vrrp {
    /// Name in the configuration.
    pub name: String,
    /// Interface that carries its advertisements.
    pub interface: String,
    /// 1 to 255.
    pub vrid: u8,
    /// `inet` or `inet6`.
    pub family: String,
    /// Protocol version, 2 or 3.
    pub version: u8,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Configured.
    pub priority: u8,
    /// With what is tracked.
    pub effective_priority: u8,
    /// Sync group, if any.
    pub group: Option<String>,
    /// `address/prefix`, in the order of the configuration, the advertised ones first.
    pub vips: Vec<String>,
    /// The master it knows; itself when it is.
    pub master: Option<Master>,
    /// Advertisement interval of the master it knows, in seconds; its own when there is none.
    #[serde(default)]
    pub master_interval: f64,
    /// How long it waits for a silent master, in seconds.
    #[serde(default)]
    pub master_down_interval: f64,
    /// Source of its advertisements.
    #[serde(default)]
    pub source: Option<String>,
    /// Interface with the virtual MAC address on its own interface.
    #[serde(default)]
    pub vmac: Option<String>,
    /// Why it is in FAULT, one sentence a cause.
    pub faults: Vec<String>,
    /// Who put it into maintenance; `None` when it is not.
    #[serde(default)]
    pub maintenance: Option<Maintenance>,
    /// It was handed over, and takes the role from no other router until all others are silent or
    /// maintenance ends.
    #[serde(default)]
    pub handed_over: bool,
    /// What is wrong on the wire now.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
    /// Since start.
    pub counters: VrrpCounters,
}

/// An operator keeps a router out of the election as far as possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Who asked for it: a user's name.
    pub by: String,
    /// When.
    pub since: Timestamp,
    /// It outlives a restart.
    pub persistent: bool,
}

/// Something on the wire that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Kind, such as `two_masters` or `foreign_mac`.
    pub kind: String,
    /// Address, or MAC address, of the other side.
    pub from: String,
    /// What is the case, in words.
    pub verdict: String,
    /// What to do.
    pub remedy: String,
}

/// One change of role, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Seconds before the question, by the monotonic clock.
    pub ago: f64,
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// What arrived: the packet, timer, link change or command.
    pub input: String,
    /// Why that led to this, the arithmetic of the election included.
    pub reason: String,
}

/// What CARP does on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carp {
    /// `carp_allow`
    pub allow: bool,
    /// `carp_preempt`
    pub preempt: bool,
    /// `carp_log`, 0 to 7.
    pub log: u8,
    /// By name.
    pub groups: Vec<CarpGroup>,
    /// In the order of the configuration; of a balanced one each vhid by itself.
    pub instances: Vec<CarpInstance>,
}

/// A group of CARP instances with its demotion counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarpGroup {
    /// Its name.
    pub name: String,
    /// The counter.
    pub demotion: i32,
    /// The operator's part of it.
    pub by_operator: i32,
    /// The part of it that is there because state synchronisation has failed.
    #[serde(default)]
    pub by_state_sync: i32,
    /// What members track that adds the rest, a sentence each.
    #[serde(default)]
    pub causes: Vec<String>,
}

/// One vhid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CarpInstance {
    /// Name in the configuration; of a balanced one with `:vhid` behind it.
    pub name: String,
    /// Interface that carries its advertisements.
    pub interface: String,
    /// 1 to 255.
    pub vhid: u8,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Seconds.
    pub advbase: u8,
    /// Configured, 1/256 seconds.
    pub advskew: u8,
    /// Sum of the counters of its groups, 0 to 255.
    pub demotion: u8,
    /// Whether it takes over from slower masters.
    pub preempt: bool,
    /// Whose counters count for it.
    pub groups: Vec<String>,
    /// Sync group, if any.
    pub group: Option<String>,
    /// `ip`, `ip-stealth`, `ip-unicast` or `arp`.
    pub balancing: Option<String>,
    /// `address/prefix`, in the order of the configuration.
    pub vips: Vec<String>,
    /// The master it knows; itself when it is.
    pub master: Option<CarpMaster>,
    /// Why it is in FAULT, one sentence a cause.
    pub faults: Vec<String>,
    /// Who put it into maintenance; `None` when it is not.
    pub maintenance: Option<Maintenance>,
    /// It was handed over, and takes the role from no other router until all others are silent or
    /// maintenance ends.
    #[serde(default)]
    pub handed_over: bool,
    /// What is wrong on the wire now.
    pub conflicts: Vec<Conflict>,
    /// Since start.
    pub counters: CarpCounters,
}

/// The master a vhid knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarpMaster {
    /// Source of its advertisements.
    pub address: String,
    /// In them, seconds.
    pub advbase: u8,
    /// In them, 1/256 seconds.
    pub advskew: u8,
    /// In them.
    pub demotion: u8,
}

/// Counters of one vhid, as `netstat -s -p carp` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarpCounters {
    /// Advertisements accepted.
    pub received: u64,
    /// Advertisements sent; one to both families and all peers.
    pub sent: u64,
    /// TTL or hop limit not 255.
    pub bad_ttl: u64,
    /// Too short.
    pub bad_length: u64,
    /// Wrong checksum.
    pub bad_checksum: u64,
    /// Another version or type.
    pub bad_version: u64,
    /// Wrong digest: passphrase or addresses are not ours.
    pub bad_digest: u64,
    /// Not from a peer, or not by the way we use.
    pub bad_peer: u64,
    /// Our own packet came back.
    pub looped: u64,
    /// VRRP packets with our number.
    pub vrrp: u64,
    /// Times it became MASTER.
    pub become_master: u64,
}

/// The master an instance knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Master {
    /// Source of its advertisements.
    pub address: String,
    /// Priority in them.
    pub priority: u8,
}

/// Counters of one instance, named as in keepalived's JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpCounters {
    /// Advertisements accepted.
    pub advert_rcvd: u64,
    /// Advertisements sent.
    pub advert_sent: u64,
    /// Times it became MASTER.
    pub become_master: u64,
    /// Times it ceased to be MASTER.
    pub release_master: u64,
    /// Wrong length.
    pub packet_len_err: u64,
    /// Wrong advertisement interval.
    pub advert_interval_err: u64,
    /// TTL or hop limit not 255.
    pub ip_ttl_err: u64,
    /// Not an advertisement.
    pub invalid_type_rcvd: u64,
    /// VIPs other than ours.
    pub addr_list_err: u64,
    /// Unknown authentication type.
    pub invalid_authtype: u64,
    /// Authentication type other than ours.
    pub authtype_mismatch: u64,
    /// Wrong password.
    pub auth_failure: u64,
    /// Wrong checksum.
    pub checksum_err: u64,
    /// Another protocol version.
    pub version_err: u64,
    /// Priority 0 received.
    pub pri_zero_rcvd: u64,
    /// Priority 0 sent.
    pub pri_zero_sent: u64,
}

impl VrrpCounters {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    /// Both counts together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    fn each(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        macro_rules! fields {
            ($($name:ident)*) => { Self { $($name: f(self.$name, other.$name)),* } };
        }
        fields!(
            advert_rcvd advert_sent become_master release_master packet_len_err
            advert_interval_err ip_ttl_err invalid_type_rcvd addr_list_err invalid_authtype
            authtype_mismatch auth_failure checksum_err version_err pri_zero_rcvd pri_zero_sent
        )
    }
}

/// One virtual server, or one address of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualServer {
    /// `address:port`, when that identifies it.
    pub address: Option<String>,
    /// Firewall mark, when that identifies it.
    pub fwmark: Option<u32>,
    /// Name of its group, when that identifies it.
    pub group: Option<String>,
    /// `inet` or `inet6`; a mark may be served in both.
    #[serde(default)]
    pub family: String,
    /// `tcp`, `udp` or `sctp`; `None` for a mark.
    pub protocol: Option<String>,
    /// `rr`, `wrr`, ...
    pub scheduler: String,
    /// `NAT`, `TUN` or `DR`.
    pub forwarding: String,
    /// What forwards: `ipvs`, `relay` or `none`.
    pub dataplane: String,
    /// Weight needed.
    pub quorum: u64,
    /// Whether it is there.
    pub quorum_met: bool,
    /// Whether the sorry server serves.
    pub sorry_active: bool,
    /// Whether its checks wait because its VIP is not on this host (`ha_suspend`).
    #[serde(default)]
    pub suspended: bool,
    /// `address:port` of the sorry server.
    pub sorry_server: Option<String>,
    /// In the order of the configuration.
    pub real_servers: Vec<RealServer>,
}

/// The sync daemons of IPVS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSync {
    /// Where they send and listen.
    pub interface: String,
    /// 0 to 255; daemons of another one are not heard.
    pub id: u8,
    /// Who decides which of them runs; `None`: both do.
    pub instance: Option<String>,
    /// Those that run: `master`, `backup` or both.
    pub running: Vec<String>,
    /// What is not as it should be.
    pub failure: Option<String>,
}

/// One real server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealServer {
    /// IP address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Configured.
    pub weight: i64,
    /// With what its checkers add, as the dataplane has it; 0 when out of service.
    pub effective_weight: i64,
    /// In service.
    pub alive: bool,
    /// `up`, `down` or `unknown`: no check that it is meant to have can be made.
    #[serde(default)]
    pub health: String,
    /// Now, as the dataplane counts them.
    pub connections: RealServerConnections,
    /// In the order of the configuration.
    pub checks: Vec<Check>,
}

/// Connections of one real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerConnections {
    /// Established.
    pub active: u64,
    /// In any other state.
    pub inactive: u64,
}

/// One checker of a real server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `TCP_CHECK`, `HTTP_GET`, ...
    pub kind: String,
    /// Its verdict.
    pub up: bool,
    /// What it saw last, and when; `None` before the first result.
    pub last: Option<CheckResult>,
    /// Duration of the last run.
    pub latency_ms: Option<f64>,
    /// Failures since start.
    pub failures: u64,
}

/// What a checker saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// When.
    pub at: Timestamp,
    /// `ok` or what went wrong, such as `connection refused`.
    pub message: String,
}
