//! What VRRP and CARP instances have in common.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::{
    ExtraGarp, Garp, InitialState, Ipvlan, Notify, Peers, Route, Rule, Tracked, VirtualAddress,
    Vmac,
};

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
    /// `track_script`, the group's included; the names are in [`Model::vrrp_scripts`].
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
    /// `track_file`, the group's included; the names are in [`Model::track_files`].
    pub track_files: Vec<Tracked>,
    /// `track_process`, the group's included; the names are in [`Model::track_processes`].
    pub track_processes: Vec<Tracked>,
    /// `track_bfd`, the group's included; the names are in [`Model::bfd_instances`].
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
