//! One instance as a state machine, whichever protocol elects its master.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use lb_config::model;
use lb_election::{Family, Input, Peer, Role, Selector};

use crate::config::{InstanceConfig, ProtocolKind};
use crate::conflict::Kind;

mod carp;
mod vrrp;

/// An advertisement as an instance tells it: what is not in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advert {
    /// Of VRRP.
    Vrrp(lb_vrrp::Content),
    /// Of CARP.
    Carp(lb_carp::Advert),
}

impl Advert {
    /// Its number with `auth_type AH`; else 0.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::Vrrp(content) => content.number,
            Self::Carp(_) => 0,
        }
    }
}

/// The rule of its protocol that a packet breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// Of VRRP.
    Vrrp(lb_vrrp::WireError),
    /// Of CARP.
    Carp(lb_carp::WireError),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrrp(error) => error.fmt(f),
            Self::Carp(error) => error.fmt(f),
        }
    }
}

/// Why an instance stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// As VRRP has it.
    Vrrp(lb_vrrp::Reason),
    /// As CARP has it.
    Carp(lb_carp::Reason),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrrp(reason) => reason.fmt(f),
            Self::Carp(reason) => reason.fmt(f),
        }
    }
}

/// What an instance wants done.
pub(crate) type Action = lb_election::Action<Advert, WireError>;

/// The state machine.
#[derive(Debug)]
pub(crate) enum Protocol {
    /// Of VRRP.
    Vrrp(Box<lb_vrrp::Instance>),
    /// Of CARP.
    Carp(Box<lb_carp::Instance>),
}

/// What an instance has to know of its sync group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Together {
    /// The longest that any member would hold its addresses for a successor.
    hold: Duration,
}

impl Together {
    /// Counts a member in.
    pub(crate) fn add(&mut self, config: &InstanceConfig) {
        let hold = match config {
            InstanceConfig::Vrrp(config) => vrrp::config(config, None).handover,
            InstanceConfig::Carp(carp) => carp::config(carp, None).handover,
        };
        self.hold = self.hold.max(hold.unwrap_or_default());
    }

    /// How long an instance holds its addresses that alone would do so for `own`: the successor's
    /// group takes over as a whole, when the last of its members would.
    fn hold(group: Option<Self>, own: Duration) -> Duration {
        group.map_or(own, |group| group.hold.max(own))
    }
}

impl Protocol {
    /// `seed` is for what must not be guessed by others: the counters of CARP.
    pub(crate) fn new(config: &InstanceConfig, group: Option<Together>, seed: u64) -> Self {
        match config {
            InstanceConfig::Vrrp(config) => {
                let instance = lb_vrrp::Instance::new(vrrp::config(config, group));
                Self::Vrrp(Box::new(instance))
            }
            InstanceConfig::Carp(carp) => {
                let instance = lb_carp::Instance::new(carp::config(carp, group), seed);
                Self::Carp(Box::new(instance))
            }
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Action>) {
        match self {
            Self::Vrrp(instance) => instance.handle(now, input, &mut Terms(out)),
            Self::Carp(instance) => instance.handle(now, input, &mut Terms(out)),
        }
    }

    pub(crate) fn reconfigure(
        &mut self,
        now: Instant,
        config: &InstanceConfig,
        group: Option<Together>,
    ) {
        match (self, config) {
            (Self::Vrrp(instance), InstanceConfig::Vrrp(config)) => {
                instance.reconfigure(now, vrrp::config(config, group));
            }
            (Self::Carp(instance), InstanceConfig::Carp(carp)) => {
                instance.reconfigure(now, carp::config(carp, group));
            }
            // The protocol is part of what makes an instance the same one.
            (Self::Vrrp(_), InstanceConfig::Carp(_)) | (Self::Carp(_), InstanceConfig::Vrrp(_)) => {
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Vrrp(instance) => instance.deadline(),
            Self::Carp(instance) => instance.deadline(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Vrrp(instance) => instance.state().role(),
            Self::Carp(instance) => instance.role(),
        }
    }

    /// It listens and would be MASTER but for its sync group.
    pub(crate) fn willing(&self) -> bool {
        match self {
            Self::Vrrp(instance) => {
                matches!(instance.state(), lb_vrrp::State::Backup { willing: true, .. })
            }
            Self::Carp(instance) => {
                matches!(instance.state(), lb_carp::State::Backup { willing: true, .. })
            }
        }
    }

    /// It listens a second time, because the timer that would have made it MASTER came late.
    pub(crate) fn listens_again(&self) -> bool {
        match self {
            Self::Vrrp(instance) => {
                matches!(instance.state(), lb_vrrp::State::Backup { late: true, .. })
            }
            Self::Carp(instance) => {
                matches!(instance.state(), lb_carp::State::Backup { late: true, .. })
            }
        }
    }

    /// Its strength as scripts are told it: the priority, for CARP 254 less the
    /// advskew it says.
    pub(crate) fn priority(&self) -> u8 {
        match self {
            Self::Vrrp(instance) => instance.effective_priority().0,
            Self::Carp(instance) => 254 - instance.pace().advskew.min(254),
        }
    }

    /// Why it stands where it does.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Vrrp(instance) => Reason::Vrrp(instance.reason()),
            Self::Carp(instance) => Reason::Carp(instance.reason()),
        }
    }

    /// Whether it is MASTER and has said that it stops.
    pub(crate) fn leaving(&self) -> bool {
        match self {
            Self::Vrrp(instance) => matches!(instance.state(), lb_vrrp::State::Leaving { .. }),
            Self::Carp(instance) => matches!(instance.state(), lb_carp::State::Leaving { .. }),
        }
    }

    /// The master that is known, if there is one; of a member of a sync group a lower one, too, which
    /// it cannot replace by itself.
    pub(crate) fn master(&self) -> Option<IpAddr> {
        match self {
            Self::Vrrp(instance) => {
                let lower = instance.lower_master().filter(|_| instance.config().grouped);
                let master = lower.or_else(|| instance.master());
                let running = master.filter(|master| master.priority != lb_vrrp::Priority::STOP);
                running.map(|master| master.address)
            }
            Self::Carp(instance) => instance.master().map(|master| master.address),
        }
    }

    /// What it says to the master when it is that no longer.
    pub(crate) fn last_word(&mut self) -> Advert {
        match self {
            Self::Vrrp(instance) => Advert::Vrrp(instance.last_word()),
            Self::Carp(instance) => Advert::Carp(instance.last_word()),
        }
    }

    /// What it says to a master that does not heed that. In CARP a router in between would take
    /// over from whoever says it.
    pub(crate) fn reminder(&mut self) -> Option<Advert> {
        match self {
            Self::Vrrp(instance) => instance.reminder().map(Advert::Vrrp),
            Self::Carp(_) => None,
        }
    }

    /// How often it advertises, or would.
    pub(crate) fn interval(&self) -> Duration {
        match self {
            Self::Vrrp(instance) => instance.config().adver_int,
            Self::Carp(instance) => instance.pace().interval(),
        }
    }

    /// The master it believes and the interval that it learnt from it; `None` where intervals are not
    /// learnt.
    pub(crate) fn learnt(&self) -> Option<(IpAddr, Duration)> {
        match self {
            Self::Vrrp(instance) => Some((instance.master()?.address, instance.master_adver_int())),
            Self::Carp(_) => None,
        }
    }

    /// How long its master may be silent before it takes over; for CARP three intervals, about.
    pub(crate) fn takes_over_after(&self) -> Duration {
        match self {
            Self::Vrrp(instance) => instance.takes_over_after(),
            Self::Carp(instance) => instance.pace().interval() * 3,
        }
    }

    /// How many packets it counted of what is reported only once.
    pub(crate) fn counted(&self, kind: Kind) -> u64 {
        match (self, kind) {
            (Self::Vrrp(instance), Kind::Secret) => instance.counters().auth_failure,
            (Self::Vrrp(instance), Kind::AuthType) => instance.counters().authtype_mismatch,
            (Self::Vrrp(instance), Kind::VipList) => instance.counters().addr_list_err,
            (Self::Carp(instance), Kind::Secret) => instance.counters().digest_err,
            (Self::Carp(instance), Kind::Replay) => instance.counters().replays,
            (Self::Vrrp(_) | Self::Carp(_), _) => 0,
        }
    }

    /// Has it report again what it reported before.
    pub(crate) fn report_again(&mut self) {
        match self {
            Self::Vrrp(instance) => instance.report_again(),
            Self::Carp(instance) => instance.report_again(),
        }
    }

    /// Whether the addresses belong to this host by right.
    pub(crate) fn owner(&self) -> bool {
        match self {
            Self::Vrrp(instance) => instance.config().owner(),
            Self::Carp(_) => false,
        }
    }

    /// Tells where its advertisements come from.
    pub(crate) fn set_sources(&mut self, sources: &Sources) {
        match self {
            Self::Vrrp(instance) => instance.set_source(sources.any()),
            Self::Carp(instance) => instance.set_sources(sources.inet(), sources.inet6()),
        }
    }

    /// The last number of advertisements with an authentication header; 0 without.
    pub(crate) fn number(&self) -> u32 {
        match self {
            Self::Vrrp(instance) => instance.number(),
            Self::Carp(_) => 0,
        }
    }

    /// Numbers those above this one.
    pub(crate) fn number_from(&mut self, number: u32) {
        match self {
            Self::Vrrp(instance) => instance.number_from(number),
            Self::Carp(_) => {}
        }
    }

    /// How many advertisements it has accepted.
    pub(crate) fn accepted(&self) -> u64 {
        match self {
            Self::Vrrp(instance) => instance.counters().advert_rcvd,
            Self::Carp(instance) => instance.counters().advert_rcvd,
        }
    }

    pub(crate) fn ignore_until(&mut self, until: Instant) {
        match self {
            Self::Vrrp(instance) => instance.ignore_until(until),
            Self::Carp(instance) => instance.ignore_until(until),
        }
    }

    /// Appends an advertisement as it goes from `source` to `destination` with this TTL. The id that
    /// its IP header must have, if it begins with an authentication header.
    pub(crate) fn emit(
        &self,
        advert: Advert,
        (source, destination): (IpAddr, IpAddr),
        ttl: u8,
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        match (self, advert) {
            (Self::Vrrp(instance), Advert::Vrrp(content)) => {
                return instance.emit(content, (source, destination), ttl, out);
            }
            (Self::Carp(instance), Advert::Carp(advert)) => instance.emit(&advert, out),
            // No instance is given what another one said.
            (Self::Vrrp(_), Advert::Carp(_)) | (Self::Carp(_), Advert::Vrrp(_)) => {}
        }
        None
    }
}

/// What every advertisement of a family shows that an instance accepts.
pub(crate) fn selector(config: &InstanceConfig, family: model::Family) -> Selector {
    match config {
        InstanceConfig::Vrrp(config) => vrrp::config(config, None).selector(),
        InstanceConfig::Carp(carp) => carp::config(carp, None).selector(match family {
            model::Family::Inet => Family::Inet,
            model::Family::Inet6 => Family::Inet6,
        }),
    }
}

/// Which protocol a packet is of, and its VRID or vhid; `None` when it is too short for either.
pub(crate) fn number(payload: &[u8]) -> Option<(ProtocolKind, u8)> {
    lb_carp::vhid(payload)
        .map(|vhid| (ProtocolKind::Carp, vhid))
        .or_else(|| lb_vrrp::vrid(payload).map(|vrid| (ProtocolKind::Vrrp, vrid)))
}

/// Source addresses, one a family at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    inet: Option<Ipv4Addr>,
    inet6: Option<Ipv6Addr>,
}

impl Sources {
    pub(crate) fn add(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(source) => self.inet = Some(source),
            IpAddr::V6(source) => self.inet6 = Some(source),
        }
    }

    pub(crate) fn inet(&self) -> Option<Ipv4Addr> {
        self.inet
    }

    pub(crate) fn inet6(&self) -> Option<Ipv6Addr> {
        self.inet6
    }

    pub(crate) fn of(&self, family: model::Family) -> Option<IpAddr> {
        match family {
            model::Family::Inet => self.inet.map(IpAddr::from),
            model::Family::Inet6 => self.inet6.map(IpAddr::from),
        }
    }

    /// That of an address's family.
    pub(crate) fn to(&self, destination: IpAddr) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(_) => self.of(model::Family::Inet),
            IpAddr::V6(_) => self.of(model::Family::Inet6),
        }
    }

    /// That of IPv4 if there is one.
    pub(crate) fn any(&self) -> Option<IpAddr> {
        self.of(model::Family::Inet).or(self.of(model::Family::Inet6))
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

impl Extend<lb_carp::Action> for Terms<'_> {
    fn extend<T: IntoIterator<Item = lb_carp::Action>>(&mut self, actions: T) {
        let said = |action: lb_carp::Action| action.map(Advert::Carp, WireError::Carp);
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
