//! What VRRP and CARP instances have in common.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{AddressFlags, ExtraGarp, Ipvlan, Route, Rule, Script, Vmac};

/// What every instance has, whichever protocol elects its master.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualRouter {
    /// Its name.
    pub name: String,
    /// `state`.
    pub state: InitialState,
    /// `interface`; `None` only for unicast with a source address.
    pub interface: Option<String>,
    /// `mcast_src_ip` or `unicast_src_ip`.
    pub source: Option<IpAddr>,
    /// `track_src_ip`: FAULT when the source address goes away.
    pub track_source: bool,
    /// Where advertisements go.
    pub peers: Peers,
    /// `virtual_ipaddress`, advertised. At most 255 of VRRP.
    pub vips: Vec<VirtualAddress>,
    /// `virtual_ipaddress_excluded`, not advertised.
    pub excluded_vips: Vec<VirtualAddress>,
    /// `dont_track_primary`: a dead interface is no fault.
    pub dont_track_primary: bool,
    /// `track_interface`, the group's included.
    pub track_interfaces: Vec<Tracked>,
    /// `track_script`, the group's included; the names are in [`Model::vrrp_scripts`](super::Model::vrrp_scripts).
    pub track_scripts: Vec<Tracked>,
    /// Gratuitous ARP.
    pub garp: Garp,
    /// Scripts.
    pub notify: Notify,
    /// `use_vmac`
    pub vmac: Option<Vmac>,
    /// `use_vmac_addr`: a MAC address of their own for VIPs on other interfaces too.
    pub vmac_addresses: bool,
    /// `vmac_xmit_base`: advertisements leave by the interface below.
    pub vmac_xmit_base: bool,
    /// `use_ipvlan`
    pub ipvlan: Option<Box<Ipvlan>>,
    /// `vrf` of an instance without interface.
    pub vrf: Option<String>,
    /// `unicast_fault_no_peer`: FAULT, not multicast, without peers.
    pub unicast_fault_no_peer: bool,
    /// `track_file`, the group's included; the names are in [`Model::track_files`](super::Model::track_files).
    pub track_files: Vec<Tracked>,
    /// `track_process`, the group's included; the names are in [`Model::track_processes`](super::Model::track_processes).
    pub track_processes: Vec<Tracked>,
    /// `track_bfd`, the group's included; the names are in [`Model::bfd_instances`](super::Model::bfd_instances).
    pub track_bfds: Vec<Tracked>,
    /// `virtual_routes`
    pub routes: Vec<Route>,
    /// `virtual_rules`
    pub rules: Vec<Rule>,
    /// `promote_secondaries`
    pub promote_secondaries: bool,
    /// `linkbeat_use_polling`
    pub linkbeat_use_polling: bool,
    /// `debug`, 0 to 4.
    pub debug: u8,
    /// `smtp_alert`
    pub smtp_alert: bool,
    /// `notify_priority_changes`
    pub notify_priority_changes: bool,
    /// `garp_extra_if`
    pub garp_extra: Option<ExtraGarp>,
    /// `kernel_rx_buf_size`, bytes.
    pub kernel_rx_buf_size: Option<u32>,
    /// `lvs_sync_daemon_interface`
    pub sync_daemon_interface: Option<String>,
    /// `handover`: a master that leaves keeps forwarding until it has heard its successor.
    pub handover: bool,
}

/// A virtual router that says nothing.
impl Default for VirtualRouter {
    fn default() -> Self {
        Self {
            name: String::new(),
            state: InitialState::Backup,
            interface: None,
            source: None,
            track_source: false,
            peers: Peers::Multicast { group: Ipv4Addr::new(224, 0, 0, 18).into() },
            vips: Vec::new(),
            excluded_vips: Vec::new(),
            dont_track_primary: false,
            track_interfaces: Vec::new(),
            track_scripts: Vec::new(),
            garp: Garp::default(),
            notify: Notify::default(),
            vmac: None,
            vmac_addresses: false,
            vmac_xmit_base: false,
            ipvlan: None,
            vrf: None,
            unicast_fault_no_peer: false,
            track_files: Vec::new(),
            track_processes: Vec::new(),
            track_bfds: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            promote_secondaries: false,
            linkbeat_use_polling: false,
            debug: 0,
            smtp_alert: false,
            notify_priority_changes: false,
            garp_extra: None,
            kernel_rx_buf_size: None,
            sync_daemon_interface: None,
            handover: true,
        }
    }
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
    /// `sync_group_tracking_weight`: weights of scripts and files act in spite of the group.
    pub tracking_weight: bool,
    /// Scripts; they get `GROUP` and priority 0.
    pub notify: Notify,
    /// `smtp_alert`
    pub smtp_alert: bool,
}
