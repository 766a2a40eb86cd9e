//! `carp_instance`

use serde::Serialize;

use super::VirtualRouter;

/// One `carp_instance`. Its VIPs may be of both families: one heartbeat a family speaks for all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CarpInstance {
    /// What it has in common with VRRP. Multicast IPv6 goes to `ff02::12` whatever `peers` says.
    #[serde(flatten)]
    pub router: VirtualRouter,
    /// `vhid`, 1 to 255; with [`CarpInstance::nodes`] that of the first.
    pub vhid: u8,
    /// `pass`: the passphrase, zero padded. All zero for none.
    pub key: [u8; 20],
    /// `advbase`, seconds, 0 to 254.
    pub advbase: u8,
    /// `advskew`, 1/256 seconds, 0 to 254; with [`CarpInstance::nodes`] that of the first.
    pub advskew: u8,
    /// `preempt`: takes over from a slower master.
    pub preempt: bool,
    /// `groups`: whose demotion counters count here. Never empty; `carp` unless the file says otherwise.
    pub groups: Vec<String>,
    /// `carpnodes`: several vhids share the load of the VIPs. Empty, or 2 to 32 sorted by vhid.
    pub nodes: Vec<CarpNode>,
    /// `balancing`; only with [`CarpInstance::nodes`].
    pub balancing: Balancing,
}

impl CarpInstance {
    /// Every vhid, in ascending order; one without a balanced load.
    pub fn vhids(&self) -> impl Iterator<Item = u8> {
        let only = self.nodes.is_empty().then_some(self.vhid);
        only.into_iter().chain(self.nodes.iter().map(|node| node.vhid))
    }
}

/// One of the vhids that share a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CarpNode {
    /// 1 to 255.
    pub vhid: u8,
    /// 0 to 254.
    pub advskew: u8,
}

/// How routers share the load of one address. `carp(4)` of OpenBSD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancing {
    /// A multicast MAC address: switches flood it.
    #[default]
    Ip,
    /// A MAC address that no switch ever learns.
    IpStealth,
    /// An ordinary MAC address; needs a hub or a mirroring switch.
    IpUnicast,
    /// Each asker is given the MAC address of one router.
    Arp,
}

/// An instance that says nothing.
impl Default for CarpInstance {
    fn default() -> Self {
        Self {
            router: VirtualRouter::default(),
            vhid: 1,
            key: [0; 20],
            advbase: 1,
            advskew: 0,
            preempt: false,
            groups: vec!["carp".to_owned()],
            nodes: Vec::new(),
            balancing: Balancing::Ip,
        }
    }
}
