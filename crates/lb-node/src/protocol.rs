//! One instance as a state machine, whichever protocol elects its master.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use lb_config::model;
use lb_election::{Input, Peer, Role};
use lb_vrrp::Priority;

use crate::config::{InstanceConfig, ProtocolKind};

mod vrrp;

/// An advertisement as an instance tells it: what is not in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advert {
    /// Of VRRP, with this priority.
    Vrrp(Priority),
}

/// The rule of its protocol that a packet breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// Of VRRP.
    Vrrp(lb_vrrp::WireError),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrrp(error) => error.fmt(f),
        }
    }
}

/// What an instance wants done.
pub(crate) type Action = lb_election::Action<Advert, WireError>;

/// The state machine.
#[derive(Debug)]
pub(crate) enum Protocol {
    /// Of VRRP.
    Vrrp(lb_vrrp::Instance),
}

impl Protocol {
    pub(crate) fn new(config: &InstanceConfig, grouped: bool) -> Self {
        match config {
            InstanceConfig::Vrrp(config) => {
                Self::Vrrp(lb_vrrp::Instance::new(vrrp::config(config, grouped)))
            }
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Action>) {
        match self {
            Self::Vrrp(instance) => instance.handle(now, input, &mut Terms(out)),
        }
    }

    pub(crate) fn reconfigure(&mut self, now: Instant, config: &InstanceConfig, grouped: bool) {
        match (self, config) {
            (Self::Vrrp(instance), InstanceConfig::Vrrp(config)) => {
                instance.reconfigure(now, vrrp::config(config, grouped));
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Vrrp(instance) => instance.deadline(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Vrrp(instance) => instance.state().role(),
        }
    }

    /// It listens and would be MASTER but for its sync group.
    pub(crate) fn willing(&self) -> bool {
        match self {
            Self::Vrrp(instance) => {
                matches!(instance.state(), lb_vrrp::State::Backup { willing: true, .. })
            }
        }
    }

    /// Its strength as scripts are told it: the priority, or what comes near to one.
    pub(crate) fn priority(&self) -> u8 {
        match self {
            Self::Vrrp(instance) => instance.effective_priority().0,
        }
    }

    /// Whether the addresses belong to this host by right.
    pub(crate) fn owner(&self) -> bool {
        match self {
            Self::Vrrp(instance) => instance.config().owner(),
        }
    }

    /// Tells where its advertisements come from.
    pub(crate) fn set_sources(&mut self, sources: &Sources) {
        match self {
            Self::Vrrp(instance) => instance.set_source(sources.any()),
        }
    }

    pub(crate) fn ignore_until(&mut self, until: Instant) {
        match self {
            Self::Vrrp(instance) => instance.ignore_until(until),
        }
    }

    /// Appends an advertisement as it goes from `source` to `destination`.
    pub(crate) fn emit(
        &self,
        advert: Advert,
        source: IpAddr,
        destination: IpAddr,
        out: &mut Vec<u8>,
    ) {
        match (self, advert) {
            (Self::Vrrp(instance), Advert::Vrrp(priority)) => {
                instance.emit(priority, source, destination, out);
            }
        }
    }
}

/// Which protocol a packet is of, and its VRID or vhid; `None` when it is too short for either.
pub(crate) fn number(payload: &[u8]) -> Option<(ProtocolKind, u8)> {
    lb_vrrp::vrid(payload).map(|vrid| (ProtocolKind::Vrrp, vrid))
}

/// Source addresses, one a family at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) inet: Option<IpAddr>,
    pub(crate) inet6: Option<IpAddr>,
}

impl Sources {
    pub(crate) fn of(&self, family: model::Family) -> Option<IpAddr> {
        match family {
            model::Family::Inet => self.inet,
            model::Family::Inet6 => self.inet6,
        }
    }

    pub(crate) fn set(&mut self, family: model::Family, source: Option<IpAddr>) {
        match family {
            model::Family::Inet => self.inet = source,
            model::Family::Inet6 => self.inet6 = source,
        }
    }

    /// That of an address's family.
    pub(crate) fn to(&self, destination: IpAddr) -> Option<IpAddr> {
        if destination.is_ipv4() { self.inet } else { self.inet6 }
    }

    /// That of IPv4 if there is one.
    pub(crate) fn any(&self) -> Option<IpAddr> {
        self.inet.or(self.inet6)
    }
}

/// Takes the actions of either protocol in common terms.
struct Terms<'a>(&'a mut Vec<Action>);

impl Extend<lb_vrrp::Action> for Terms<'_> {
    fn extend<T: IntoIterator<Item = lb_vrrp::Action>>(&mut self, actions: T) {
        let said = |action: lb_vrrp::Action| action.map(Advert::Vrrp, WireError::Vrrp);
        self.0.extend(actions.into_iter().map(said));
    }
}

/// Who is spoken to and who is heard.
fn peers(peers: &model::Peers) -> lb_election::Peers {
    match peers {
        model::Peers::Multicast { .. } => lb_election::Peers::Multicast,
        model::Peers::Unicast { peers, check_source, .. } => lb_election::Peers::Unicast {
            peers: peers
                .iter()
                .map(|peer| Peer {
                    address: peer.address,
                    min_ttl: peer.ttl.0,
                    max_ttl: peer.ttl.1,
                })
                .collect(),
            check_source: *check_source,
        },
    }
}
