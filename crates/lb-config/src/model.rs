//! What a configuration says, with every default and inheritance resolved.
//!
//! Whoever holds a [`Model`] need not validate anything again: references resolve, ranges hold,
//! families agree. Lists keep the order of the file. What an engine keeps whole is shared with it.

mod carp;
mod check;
mod daemon;
mod instance;
mod route;
mod router;
mod track;
mod vrrp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use carp::{Balancing, CarpInstance, CarpNode};
pub use check::{DnsChecker, DnsType, FileChecker, Regex, Reply, SmtpChecker, UdpChecker};
pub use daemon::{
    AdvertBuffer, Buffer, Buffers, DBus, Dumps, Fifo, Fifos, Filters, Limits, Mail, MailServer,
    Placement, ProcessNames, Reload, Snmp, SyncDaemon,
};
pub use instance::{
    AddressFlags, AntiReplay, ExtraGarp, Hmac, HmacKey, HmacMode, Ipvlan, IpvlanMode, Lifetime,
    Secret, Vmac,
};
pub use route::{
    Encap, Locked, NextHop, Prefix, Route, RouteMetrics, RoutePlacement, Rule, RuleAction,
};
pub use router::VirtualRouter;
pub use track::{
    ArgumentMatch, BfdInstance, GarpGroup, InitFile, LinkDelays, Linkbeat, LinkbeatMethod,
    TlsFiles, TrackFile, TrackGroup, TrackProcess,
};
pub use vrrp::{OldUnicastChecksum, VrrpInstance};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Model {
    /// `global_defs` and the other keywords outside of any instance.
    pub global: Global,
    /// `vrrp_instance` blocks.
    pub vrrp_instances: Vec<Arc<VrrpInstance>>,
    /// `carp_instance` blocks. A name is never that of a VRRP instance.
    pub carp_instances: Vec<Arc<CarpInstance>>,
    /// `vrrp_sync_group` blocks.
    pub sync_groups: Vec<SyncGroup>,
    /// `vrrp_script` blocks.
    pub vrrp_scripts: Vec<VrrpScript>,
    /// `virtual_server_group` blocks.
    pub virtual_server_groups: Vec<VirtualServerGroup>,
    /// `virtual_server` blocks.
    pub virtual_servers: Vec<Arc<VirtualServer>>,
    /// `track_file` blocks.
    pub track_files: Vec<TrackFile>,
    /// `vrrp_track_process` blocks.
    pub track_processes: Vec<TrackProcess>,
    /// `bfd_instance` blocks.
    pub bfd_instances: Vec<BfdInstance>,
    /// `track_group` blocks.
    pub track_groups: Vec<TrackGroup>,
    /// `garp_group` blocks.
    pub garp_groups: Vec<GarpGroup>,
    /// `static_ipaddress`
    pub static_addresses: Vec<StaticAddress>,
    /// `static_routes`
    pub static_routes: Vec<Route>,
    /// `static_rules`
    pub static_rules: Vec<Rule>,
    /// `linkbeat_interfaces`
    pub linkbeats: Vec<Linkbeat>,
    /// `interface_up_down_delays`
    pub link_delays: Vec<LinkDelays>,
    /// `SSL`
    pub tls: Option<TlsFiles>,
}

impl Model {
    /// What every VRRP and CARP instance has in common, in this order.
    pub fn routers(&self) -> impl Iterator<Item = &VirtualRouter> {
        let vrrp = self.vrrp_instances.iter().map(|instance| &instance.router);
        vrrp.chain(self.carp_instances.iter().map(|instance| &instance.router))
    }

    /// How connections are copied: `lvs_sync_daemon`, else the first `lvs_sync_daemon_interface`, which
    /// is its old form. It has an `id` in any case.
    #[must_use]
    pub fn sync_daemon(&self) -> Option<SyncDaemon> {
        let old = |router: &VirtualRouter| {
            let interface = router.sync_daemon_interface.clone()?;
            let instance = Some(router.name.clone());
            let (id, max_length, port, ttl, group) = (None, None, None, None, None);
            Some(SyncDaemon { interface, instance, id, max_length, port, ttl, group })
        };
        let daemon = self.global.sync_daemon.clone();
        let daemon = daemon.or_else(|| self.routers().find_map(old))?;
        let vrrp = self.vrrp_instances.iter().map(|vrrp| (&vrrp.router.name, vrrp.vrid));
        let carp = self.carp_instances.iter().map(|carp| (&carp.router.name, carp.vhid));
        let mut all = vrrp.chain(carp);
        let number = all.find(|(name, _)| Some(*name) == daemon.instance.as_ref());
        let id = daemon.id.or(number.map(|(_, number)| number)).unwrap_or_default();
        Some(SyncDaemon { id: Some(id), ..daemon })
    }
}

/// Settings of the whole daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Global {
    /// `router_id`; the host name when absent.
    pub router_id: Option<String>,
    /// `enable_script_security`: an insecure script is disabled instead of reported.
    pub script_security: bool,
    /// `dynamic_interfaces`: an interface may be missing at start.
    pub dynamic_interfaces: bool,
    /// `lvs_timeouts`: those of the kernel that are set while the daemon runs.
    pub lvs_timeouts: LvsTimeouts,
    /// `lvs_flush`: the kernel's table is emptied at start.
    pub lvs_flush: bool,
    /// `lvs_flush_on_stop`: what is removed at stop.
    pub lvs_flush_on_stop: FlushOnStop,
    /// `vrrp_priority` and the like: scheduling of the advertiser's thread.
    pub advertiser_scheduling: Scheduling,
    /// The same for the balancer's thread.
    pub balancer_scheduling: Scheduling,
    /// `vrrp_startup_delay`: advertisements are ignored for so long after start.
    pub vrrp_startup_delay: Duration,
    /// `rs_init_notifies`: real servers added at start are notified.
    pub rs_init_notifies: bool,
    /// `umask`, octal in the file.
    pub umask: Option<u32>,
    /// `child_wait_time`: how long a stop may take.
    pub child_wait_time: Option<Duration>,
    /// `startup_script` and its timeout.
    pub startup_script: Option<(Script, Duration)>,
    /// `shutdown_script` and its timeout.
    pub shutdown_script: Option<(Script, Duration)>,
    /// Namespaces and the daemon's name.
    pub placement: Placement,
    /// `process_names` and the like.
    pub process_names: ProcessNames,
    /// `vrrp_cpu_affinity` and the like.
    pub limits: Limits,
    /// `bfd_priority` and the like.
    pub bfd_scheduling: Scheduling,
    /// `vrrp_netlink_cmd_rcv_bufs` and the like.
    pub buffers: Buffers,
    /// `notification_email` and the like.
    pub mail: Mail,
    /// `notify_fifo` and the like.
    pub fifos: Fifos,
    /// `enable_snmp_vrrp` and the like.
    pub snmp: Snmp,
    /// `enable_dbus` and the like.
    pub dbus: DBus,
    /// `nftables` and the like.
    pub filters: Filters,
    /// `reload_file` and the like.
    pub reload: Reload,
    /// `state_dump_file` and the like.
    pub dumps: Dumps,
    /// `lvs_sync_daemon`
    pub sync_daemon: Option<SyncDaemon>,
    /// `use_symlink_paths`: paths of scripts are not resolved.
    pub use_symlink_paths: bool,
    /// `set_supplementary_groups`: scripts get all groups of their user.
    pub set_supplementary_groups: bool,
    /// `linkbeat_use_polling`: carriers are polled.
    pub linkbeat_use_polling: bool,
    /// `disable_local_igmp`: no membership reports for 224.0.0.0/24.
    pub disable_local_igmp: bool,
    /// `log_unknown_vrids`: advertisements of nobody's VRID are logged.
    pub log_unknown_vrids: bool,
    /// `vrrp_delay_after_boot`: as the startup delay, from the start of the system.
    pub delay_after_boot: Duration,
    /// `vrrp_garp_interval`: from one gratuitous ARP on an interface to the next.
    pub garp_interval: Duration,
    /// `vrrp_gna_interval`: the same for neighbour advertisements.
    pub gna_interval: Duration,
    /// `vmac_prefix`: how the names of macvlans begin.
    pub vmac_prefix: Option<String>,
    /// `vmac_addr_prefix`: the same for those of single addresses.
    pub vmac_addr_prefix: Option<String>,
    /// `default_interface` of static addresses.
    pub default_interface: Option<String>,
    /// `carp_allow` and the like.
    pub carp: Carp,
}

/// What the BSDs set by `sysctl net.inet.carp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Carp {
    /// `carp_allow`: CARP takes part.
    pub allow: bool,
    /// `carp_preempt`: default of every instance's `preempt`.
    pub preempt: bool,
    /// `carp_log`: the least important kind of message that is logged, 0 to 7 as in `syslog(3)`.
    pub log: u8,
}

impl Default for Carp {
    fn default() -> Self {
        Self { allow: true, preempt: false, log: 2 }
    }
}

/// Connection timeouts of IPVS; `None` or zero leaves the kernel's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LvsTimeouts {
    /// Established TCP, whole seconds.
    pub tcp: Option<Duration>,
    /// TCP after FIN, whole seconds.
    pub tcp_fin: Option<Duration>,
    /// UDP, whole seconds.
    pub udp: Option<Duration>,
}

/// What a stop removes from IPVS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum FlushOnStop {
    /// What the daemon put there.
    #[default]
    Own,
    /// The same; kept apart because the file says so (`VS`).
    Services,
    /// The whole table, entries of others included.
    Everything,
}

/// Scheduling of one engine's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scheduling {
    /// Nice value, −20 to 19.
    pub nice: Option<i32>,
    /// SCHED_RR priority, 1 to 99.
    pub realtime: Option<u8>,
    /// Memory is locked.
    pub no_swap: bool,
}

/// A command and who runs it. It has been found and is executable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Script {
    /// Program and arguments; never empty. `argv[0]` is a path.
    pub argv: Vec<String>,
    /// Runs as this user and group; `None` for the daemon's own.
    pub owner: Option<ScriptOwner>,
}

/// User and group of a script, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ScriptOwner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// `notify*` of an instance or a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notify {
    /// On entering MASTER.
    pub master: Option<Arc<Script>>,
    /// On entering BACKUP.
    pub backup: Option<Arc<Script>>,
    /// On entering FAULT.
    pub fault: Option<Arc<Script>>,
    /// When the daemon stops.
    pub stop: Option<Arc<Script>>,
    /// When a reload removes it. Instances only.
    pub deleted: Option<Arc<Script>>,
    /// When a master hears a lower priority. Instances only.
    pub master_rx_lower_pri: Option<Arc<Script>>,
    /// On everything, with `INSTANCE|GROUP name STATE priority` appended.
    pub any: Option<Arc<Script>>,
    /// `notify_deleted` is given, with or without a script: DELETED instead of FAULT.
    pub report_deleted: bool,
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// Protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum VrrpVersion {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

/// `state` of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum InitialState {
    /// Wants to be MASTER at start.
    Master,
    /// Listens first.
    Backup,
}

/// Where an instance's advertisements go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Peers {
    /// To this group.
    Multicast {
        /// `224.0.0.18`, `ff02::12` or another.
        group: IpAddr,
    },
    /// To each of these.
    Unicast {
        /// In the order of the file.
        peers: Vec<UnicastPeer>,
        /// `check_unicast_src`: others are not heard.
        check_source: bool,
        /// `unicast_ttl`; 255 for IPv4 when absent.
        ttl: Option<u8>,
    },
}

/// One unicast peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UnicastPeer {
    /// Its address.
    pub address: IpAddr,
    /// `min_ttl` and `max_ttl` of what it sends.
    pub ttl: (u8, u8),
}

/// A line of `virtual_ipaddress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length; 32 or 128 when absent in the file.
    pub prefix: u8,
    /// `dev`, else the instance's interface.
    pub interface: Option<String>,
    /// `brd`.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`, as in `rtnetlink(7)`: 0 universe, 253 link, 254 host.
    pub scope: u8,
    /// `label`.
    pub label: Option<String>,
    /// `no_track`: its loss is no reason to step down.
    pub no_track: bool,
    /// Flags, lifetime and peer.
    pub flags: AddressFlags,
}

/// A line of `static_ipaddress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct StaticAddress {
    /// The address; its interface is `default_interface` when absent.
    pub address: VirtualAddress,
    /// `track_group`
    pub track_group: Option<String>,
}

/// A reference to something tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tracked {
    /// Name of the interface or script.
    pub name: String,
    /// Added when up (positive) or subtracted when down (negative); 0: its failure is a fault.
    /// −253 to 253.
    pub weight: i16,
    /// `reverse`: the contribution is negated, or with weight 0 success is the fault.
    pub reverse: bool,
}

/// Gratuitous ARP and neighbour advertisements of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Garp {
    /// Rounds in each block.
    pub repeat: u32,
    /// Second block after this long; zero for none.
    pub delay: Duration,
    /// Then every so often; zero for never.
    pub refresh: Duration,
    /// Rounds in a refresh.
    pub refresh_repeat: u32,
    /// Rounds after hearing a lower priority as master.
    pub lower_prio_repeat: u32,
    /// And again after this long; zero for none.
    pub lower_prio_delay: Duration,
}

/// RFC 9568 says one round; keepalived sends five, and five again.
impl Default for Garp {
    fn default() -> Self {
        Garp {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_prio_repeat: 5,
            lower_prio_delay: Duration::from_secs(5),
        }
    }
}

/// One `vrrp_sync_group`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SyncGroup {
    /// Its name.
    pub name: String,
    /// Names of its instances, each a VRRP or CARP instance.
    pub members: Vec<String>,
    /// `sync_group_tracking_weight`: weights act in spite of the group.
    pub tracking_weight: bool,
    /// Scripts; they get `GROUP` and priority 0.
    pub notify: Notify,
    /// `smtp_alert`
    pub smtp_alert: bool,
}

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
    /// `virtual_server group NAME`; the name is in [`Model::virtual_server_groups`].
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
    /// `lthreshold`, 0 for none.
    pub lower_threshold: u32,
    /// `inhibit_on_failure`: weight 0 instead of removal.
    pub inhibit_on_failure: bool,
    /// `notify_up`.
    pub notify_up: Option<Arc<Script>>,
    /// `notify_down`.
    pub notify_down: Option<Arc<Script>>,
    /// Its checkers; none: always up.
    pub checkers: Vec<Checker>,
    /// `smtp_alert`
    pub smtp_alert: bool,
    /// `snmp_name`
    pub snmp_name: Option<String>,
}

/// One checker, inheritance resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checker {
    /// What it does.
    pub kind: CheckerKind,
    /// `delay_loop`: period while nothing changes.
    pub delay_loop: Duration,
    /// `retry`: attempts after the first before it counts as failed.
    pub retry: u32,
    /// `delay_before_retry`: from failure to next attempt.
    pub delay_before_retry: Duration,
    /// `warmup`: the first run is delayed by a random time up to this.
    pub warmup: Duration,
    /// `alpha`: down until its first success.
    pub alpha: bool,
    /// `log_all_failures`.
    pub log_all_failures: bool,
}

/// What a checker does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum CheckerKind {
    /// `TCP_CHECK`
    Tcp {
        /// Where to.
        connection: Connection,
    },
    /// `HTTP_GET` and `SSL_GET`
    Http(Box<HttpChecker>),
    /// `MISC_CHECK`
    Misc {
        /// What runs.
        script: Script,
        /// Run time before it counts as failed.
        timeout: Duration,
        /// `misc_dynamic`: exit status 2 to 255 sets the weight to status − 2.
        dynamic: bool,
    },
    /// `SMTP_CHECK`
    Smtp(SmtpChecker),
    /// `PING_CHECK`
    Ping {
        /// Where to; the port means nothing.
        connection: Connection,
    },
    /// `UDP_CHECK`
    Udp(UdpChecker),
    /// `DNS_CHECK`
    Dns(DnsChecker),
    /// `FILE_CHECK`
    File(FileChecker),
    /// `BFD_CHECK`: the name of an instance in [`Model::bfd_instances`].
    Bfd(String),
}

/// `HTTP_GET` and `SSL_GET`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpChecker {
    /// Where to.
    pub connection: Connection,
    /// `SSL_GET`
    pub tls: Option<TlsOptions>,
    /// `http_protocol`
    pub version: HttpVersion,
    /// URLs, at least one.
    pub urls: Vec<Url>,
    /// `fast_recovery`: no delay between the URLs of a server that recovers.
    pub fast_recovery: bool,
}

/// TLS of `SSL_GET`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TlsOptions {
    /// Send SNI.
    pub sni: bool,
    /// `sni_name`; else the virtual host.
    pub sni_name: Option<String>,
    /// `tls_compliant`: end with close_notify.
    pub compliant: bool,
}

/// Request version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum HttpVersion {
    /// 1.0
    #[default]
    Http10,
    /// 1.0 with `Connection: close`
    Http10Close,
    /// 1.1 with `Connection: close`
    Http11,
}

/// One URL of an HTTP checker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Url {
    /// Request target.
    pub path: String,
    /// `Host` header, inheritance resolved; `None`: address and port.
    pub virtualhost: Option<String>,
    /// Accepted status codes as inclusive ranges, never empty.
    pub status_codes: Vec<(u16, u16)>,
    /// Expected MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// `regex` and its options.
    pub regex: Option<Regex>,
}

/// Connection of a network checker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Connection {
    /// `connect_ip` and `connect_port`, else the real server's.
    pub to: SocketAddr,
    /// `bindto` and `bind_port`.
    pub bind: Option<SocketAddr>,
    /// `bind_if`.
    pub interface: Option<String>,
    /// `fwmark`, 0 for none.
    pub fwmark: u32,
    /// `connect_timeout`: of the connect, and of each read and write.
    pub timeout: Duration,
}
