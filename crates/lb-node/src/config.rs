//! What is configured for an instance, whichever protocol elects its master.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lb_carp::Pace;
use lb_config::model::{CarpInstance, CarpNode, Family, Peers, VirtualRouter, VrrpInstance};
use lb_election::Selector;

use crate::protocol;

/// Where CARP is advertised over IPv6, whatever is configured for IPv4.
const CARP_GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Where it is advertised over IPv4 when an IPv6 group is configured.
const CARP_GROUP_4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Intervals of silence that make a CARP master dead.
const DEAD_RATIO: u8 = 3;

/// One instance of the plan.
#[derive(Clone, Debug, PartialEq)]
pub enum InstanceConfig {
    /// A VRRP instance.
    Vrrp(Arc<VrrpInstance>),
    /// One vhid of a CARP instance.
    Carp(Carp),
}

/// One vhid of a CARP instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Carp {
    /// The instance it is of.
    pub instance: Arc<CarpInstance>,
    /// Its name: that of the instance, for one of several vhids with `:vhid` behind it.
    pub name: String,
    /// Its number and advskew.
    pub node: CarpNode,
}

/// Which protocol an instance speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolKind {
    /// `vrrp_instance`
    Vrrp,
    /// `carp_instance`
    Carp,
}

impl Carp {
    /// Every vhid of an instance, in its order.
    pub fn all_of(instance: &Arc<CarpInstance>) -> impl Iterator<Item = Self> {
        let only = CarpNode { vhid: instance.vhid, advskew: instance.advskew };
        let nodes = if instance.nodes.is_empty() { vec![only] } else { instance.nodes.clone() };
        let several = nodes.len() > 1;
        nodes.into_iter().map(move |node| {
            let name = &instance.router.name;
            let name = if several { format!("{name}:{}", node.vhid) } else { name.clone() };
            Self { instance: Arc::clone(instance), name, node }
        })
    }
}

impl InstanceConfig {
    /// Its name, the only one of that name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Vrrp(instance) => &instance.router.name,
            Self::Carp(carp) => &carp.name,
        }
    }

    /// What both protocols have.
    #[must_use]
    pub fn router(&self) -> &VirtualRouter {
        match self {
            Self::Vrrp(instance) => &instance.router,
            Self::Carp(carp) => &carp.instance.router,
        }
    }

    /// VRID or vhid.
    #[must_use]
    pub fn id(&self) -> u8 {
        match self {
            Self::Vrrp(instance) => instance.vrid,
            Self::Carp(carp) => carp.node.vhid,
        }
    }

    /// The protocol.
    #[must_use]
    pub fn kind(&self) -> ProtocolKind {
        match self {
            Self::Vrrp(_) => ProtocolKind::Vrrp,
            Self::Carp(_) => ProtocolKind::Carp,
        }
    }

    /// Whether an authentication header is before its advertisements (`auth_type AH`).
    #[must_use]
    pub fn has_ah(&self) -> bool {
        matches!(self, Self::Vrrp(instance) if instance.header_key.is_some())
    }

    /// For how long at least others respect a master that fell silent just before it was to
    /// advertise again: their patience without any skew, less an interval.
    pub(crate) fn respected_for(&self) -> Duration {
        match self {
            Self::Vrrp(instance) => {
                instance.advert_int * instance.down_timer_adverts.saturating_sub(1)
            }
            Self::Carp(carp) => {
                let advbase = carp.instance.advbase;
                let pace = |advskew| Pace { advbase, advskew };
                match advbase {
                    // Others may be twice as fast.
                    0 => pace(carp.node.advskew).interval() / 2,
                    // One that is demoted may have the highest advskew.
                    _ => pace(0).master_down(DEAD_RATIO) - pace(254).interval(),
                }
            }
        }
    }

    /// The CARP groups whose demotion counters it shares.
    #[must_use]
    pub fn demotion_groups(&self) -> &[String] {
        match self {
            Self::Vrrp(_) => &[],
            Self::Carp(carp) => &carp.instance.groups,
        }
    }

    /// The families its advertisements are of.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        let (inet, inet6) = match self {
            Self::Vrrp(instance) => {
                (instance.family == Family::Inet, instance.family == Family::Inet6)
            }
            Self::Carp(carp) => {
                let vips = &carp.instance.router.vips;
                (
                    vips.iter().any(|vip| vip.address.is_ipv4()),
                    vips.iter().any(|vip| vip.address.is_ipv6()),
                )
            }
        };
        [inet.then_some(Family::Inet), inet6.then_some(Family::Inet6)].into_iter().flatten()
    }

    /// What every advertisement of a family shows that it accepts.
    #[must_use]
    pub fn selector(&self, family: Family) -> Selector {
        protocol::selector(self, family)
    }

    /// The multicast group of a family; `None` for unicast.
    #[must_use]
    pub fn group(&self, family: Family) -> Option<IpAddr> {
        let inet6 = family == Family::Inet6;
        let standard = || if inet6 { CARP_GROUP_6.into() } else { CARP_GROUP_4.into() };
        match (self, &self.router().peers) {
            (Self::Vrrp(_), Peers::Multicast { group }) => Some(*group),
            (Self::Vrrp(_), Peers::Unicast { .. }) => None,
            (Self::Carp(_), Peers::Multicast { group }) if group.is_ipv6() == inet6 => Some(*group),
            (Self::Carp(_), Peers::Multicast { .. }) => Some(standard()),
            // As FreeBSD has it, a family without a peer is multicast.
            (Self::Carp(_), Peers::Unicast { peers, .. }) => {
                let unicast = peers.iter().any(|peer| peer.address.is_ipv6() == inet6);
                (!unicast).then(standard)
            }
        }
    }
}
