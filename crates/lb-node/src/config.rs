//! What is configured for an instance, whichever protocol elects its master.

use std::net::IpAddr;
use std::sync::Arc;

use lb_config::model::{Family, Peers, VirtualRouter, VrrpInstance};

/// One instance of the plan.
#[derive(Clone, Debug, PartialEq)]
pub enum InstanceConfig {
    /// A VRRP instance.
    Vrrp(Arc<VrrpInstance>),
}

/// Which protocol an instance speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolKind {
    /// `vrrp_instance`
    Vrrp,
    /// `carp_instance`
    Carp,
}

impl InstanceConfig {
    /// Its name, the only one of that name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.router().name
    }

    /// What both protocols have.
    #[must_use]
    pub fn router(&self) -> &VirtualRouter {
        match self {
            Self::Vrrp(instance) => &instance.router,
        }
    }

    /// VRID or vhid.
    #[must_use]
    pub fn id(&self) -> u8 {
        match self {
            Self::Vrrp(instance) => instance.vrid,
        }
    }

    /// The protocol.
    #[must_use]
    pub fn kind(&self) -> ProtocolKind {
        match self {
            Self::Vrrp(_) => ProtocolKind::Vrrp,
        }
    }

    /// The families its advertisements are of.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        let (one, other) = match self {
            Self::Vrrp(instance) => (Some(instance.family), None),
        };
        [one, other].into_iter().flatten()
    }

    /// The multicast group of a family; `None` for unicast.
    #[must_use]
    pub fn group(&self, family: Family) -> Option<IpAddr> {
        match (&self.router().peers, self) {
            (Peers::Multicast { group }, Self::Vrrp(_)) => {
                let _ = family;
                Some(*group)
            }
            (Peers::Unicast { .. }, _) => None,
        }
    }
}
