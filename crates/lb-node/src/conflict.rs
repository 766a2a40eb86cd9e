//! What on the wire cannot be right: two masters, a foreign answer, a wrong secret.
//!
//! A condition is told once when it begins and once when it is over, and shown while it lasts. One
//! of each kind is kept for an instance, whoever causes it, so that strangers fill nothing.

use std::mem;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_config::model::Peers;
use lb_control::EventKind;
use lb_control::status::Conflict;
use lb_election::{IpPacket, Role};

use super::protocol::{self, WireError};
use super::slot::Slot;
use super::{Action, InstanceConfig, InstanceId, LinkIndex, Node, ProtocolKind};

/// A condition that is not seen for so many advertisement intervals is over.
const INTERVALS: u32 = 3;
/// A master's interval is told when it is this many times ours.
const FAR: u32 = 4;
/// One that shows in ARP and neighbour discovery, which speak rarely, after so long.
const CLAIMED: Duration = Duration::from_secs(60);

/// Kind of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two masters hear each other, and the other one does not yield.
    TwoMasters,
    /// The other protocol uses our number.
    OtherProtocol,
    /// A wrong password, or a wrong digest.
    Secret,
    /// Another kind of authentication.
    AuthType,
    /// The master advertises so rarely that nobody would miss it for long.
    Interval,
    /// A master leaves again and again with the same packet.
    Replay,
    /// A peer with other virtual addresses.
    VipList,
    /// Another host has our own address.
    OwnAddress,
    /// Another MAC address answers for our own address.
    OwnAddressClaimed,
    /// Another MAC address answers for a virtual address that is ours.
    ForeignMac,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::TwoMasters => "two_masters",
            Self::OtherProtocol => "other_protocol",
            Self::Secret => "wrong_secret",
            Self::AuthType => "other_auth_type",
            Self::Interval => "other_interval",
            Self::Replay => "replayed",
            Self::VipList => "other_vips",
            Self::OwnAddress | Self::OwnAddressClaimed => "own_address",
            Self::ForeignMac => "foreign_mac",
        }
    }

    /// What broke a rule so that an operator has to see to it.
    pub(crate) fn of(error: WireError) -> Option<Self> {
        match error {
            WireError::Vrrp(lb_vrrp::WireError::Password | lb_vrrp::WireError::Digest)
            | WireError::Carp(lb_carp::WireError::Digest) => Some(Self::Secret),
            WireError::Vrrp(lb_vrrp::WireError::AuthTypeMismatch { .. }) => Some(Self::AuthType),
            WireError::Vrrp(lb_vrrp::WireError::OwnAddress) => Some(Self::OwnAddress),
            WireError::Carp(lb_carp::WireError::Replay) => Some(Self::Replay),
            WireError::Vrrp(lb_vrrp::WireError::AddressList) => Some(Self::VipList),
            WireError::Vrrp(_) | WireError::Carp(_) => None,
        }
    }
}

/// A condition that lasts, or that may become one.
#[derive(Debug)]
pub(crate) struct Ongoing {
    kind: Kind,
    first: Instant,
    seen: Instant,
    check_at: Instant,
    /// What the instance had counted of it when it was last checked.
    counted: u64,
    /// Two masters are nothing to speak of until they last.
    told: bool,
    /// It has a line in the log.
    logged: bool,
    conflict: Conflict,
}

/// A kind of line that packets of strangers can cause has one in so long, whoever sends them.
const QUIET: Duration = Duration::from_secs(10);

/// Kind of a line that packets can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A condition began.
    Began(Kind),
    /// A packet broke a rule of VRRP.
    Vrrp(mem::Discriminant<lb_vrrp::WireError>),
    /// A packet broke a rule of CARP.
    Carp(mem::Discriminant<lb_carp::WireError>),
}

impl Line {
    pub(crate) fn of(error: &WireError) -> Self {
        match error {
            WireError::Vrrp(error) => Self::Vrrp(mem::discriminant(error)),
            WireError::Carp(error) => Self::Carp(mem::discriminant(error)),
        }
    }
}

/// When each kind of line was logged last, and how many were left out since. There are some twenty
/// kinds.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<(Line, Instant, u64)>);

impl Lines {
    /// How many lines of the kind were left out before this one; `None`: this one is left out too.
    pub(crate) fn pass(&mut self, now: Instant, line: Line) -> Option<u64> {
        let Some((_, last, left_out)) = self.0.iter_mut().find(|(known, ..)| *known == line) else {
            self.0.push((line, now, 0));
            return Some(0);
        };
        if now.duration_since(*last) < QUIET {
            *left_out += 1;
            return None;
        }
        *last = now;
        Some(mem::take(left_out))
    }
}

#[cfg(test)]
impl Lines {
    pub(crate) fn kinds(&self) -> usize {
        self.0.len()
    }
}

/// What a line says of those that were left out before it.
pub(crate) fn and_before(left_out: u64) -> String {
    match left_out {
        0 => String::new(),
        1 => " (1 line like this was left out before)".to_owned(),
        some => format!(" ({some} lines like this were left out before)"),
    }
}

impl Slot {
    /// What is to be shown.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let told = self.ongoing.iter().filter(|ongoing| ongoing.told);
        told.map(|ongoing| ongoing.conflict.clone()).collect()
    }

    /// When to see whether one is over.
    pub(crate) fn conflict_deadline(&self) -> Option<Instant> {
        self.ongoing.iter().map(|ongoing| ongoing.check_at).min()
    }

    /// Notes that a condition was seen. Says so when it begins.
    pub(crate) fn notice(
        &mut self,
        now: Instant,
        kind: Kind,
        from: &impl ToString,
        words: impl FnOnce(&str) -> (String, String),
    ) -> Option<Action> {
        let patience = self.patience(kind);
        if let Some(ongoing) = self.ongoing.iter_mut().find(|ongoing| ongoing.kind == kind) {
            ongoing.seen = now;
            if ongoing.told || now.duration_since(ongoing.first) <= patience {
                return None;
            }
            ongoing.told = true;
            return self.log_began(now, kind);
        }
        let from = from.to_string();
        let (verdict, remedy) = words(&from);
        let conflict = Conflict { kind: kind.name().to_owned(), from, verdict, remedy };
        let told = kind != Kind::TwoMasters;
        let (check_at, counted) = (now + patience, self.protocol.counted(kind));
        self.ongoing.push(Ongoing {
            kind,
            first: now,
            seen: now,
            check_at,
            counted,
            told,
            logged: false,
            conflict,
        });
        if told { self.log_began(now, kind) } else { None }
    }

    /// Logs the beginning of a condition, if there was no line of its kind a moment ago.
    fn log_began(&mut self, now: Instant, kind: Kind) -> Option<Action> {
        let left_out = self.lines.pass(now, Line::Began(kind))?;
        let ongoing = self.ongoing.iter_mut().find(|ongoing| ongoing.kind == kind)?;
        ongoing.logged = true;
        let mut conflict = ongoing.conflict.clone();
        conflict.remedy += &and_before(left_out);
        Some(event(self.config.name(), true, &conflict))
    }

    fn patience(&self, kind: Kind) -> Duration {
        match kind {
            Kind::ForeignMac | Kind::OwnAddressClaimed | Kind::Replay => CLAIMED,
            Kind::Interval => {
                let learnt = self.protocol.learnt().map(|(_, interval)| interval);
                learnt.unwrap_or_default().max(self.protocol.interval()) * INTERVALS
            }
            _ => self.protocol.interval() * INTERVALS,
        }
    }

    /// Ends what has not been seen for long enough.
    pub(crate) fn conflicts_due(&mut self, now: Instant, out: &mut Vec<Action>) {
        let mut index = 0;
        while let Some(ongoing) = self.ongoing.get(index) {
            if ongoing.check_at > now {
                index += 1;
                continue;
            }
            let (kind, counted) = (ongoing.kind, ongoing.counted);
            let (now_counted, patience) = (self.protocol.counted(kind), self.patience(kind));
            let ongoing = &mut self.ongoing[index];
            if now_counted != counted {
                (ongoing.counted, ongoing.seen) = (now_counted, now);
            }
            ongoing.check_at = ongoing.seen + patience;
            if ongoing.check_at > now {
                index += 1;
                continue;
            }
            let over = self.ongoing.swap_remove(index);
            // What comes later is another case.
            self.protocol.report_again();
            if over.logged {
                out.push(event(self.config.name(), false, &over.conflict));
            }
        }
    }
}

fn event(name: &str, began: bool, conflict: &Conflict) -> Action {
    let (name, conflict) = (name.to_owned(), conflict.clone());
    Action::event(EventKind::Conflict { name, began, conflict })
}

impl Node {
    /// Looks for what can be seen from outside of a packet.
    pub(crate) fn inspect(
        &mut self,
        now: Instant,
        id: InstanceId,
        packet: &IpPacket<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot_mut(id) else { return };
        let from = packet.source;
        let number = slot.config.id();
        let said = match slot.config.kind() {
            kind if protocol::number(packet.payload).is_some_and(|(found, _)| found != kind) => {
                let theirs = match kind {
                    ProtocolKind::Vrrp => "a vhid of CARP",
                    ProtocolKind::Carp => "a VRID of VRRP",
                };
                slot.notice(now, Kind::OtherProtocol, &from, |from| {
                    let verdict = format!("{from} uses our number {number} as {theirs}");
                    let remedy = "give CARP and VRRP different numbers on one link: with a virtual \
                                  MAC they would have the same one";
                    (verdict, remedy.to_owned())
                })
            }
            _ if slot.sources.to(from) == Some(from) && slot.is_peer(from) => {
                slot.notice(now, Kind::OwnAddress, &from, |from| {
                    let verdict = format!("our own address {from} is one of our unicast peers");
                    let remedy = format!("remove the line {from} from unicast_peer");
                    (verdict, remedy)
                })
            }
            _ if slot.sources.to(from) == Some(from) => {
                slot.notice(now, Kind::OwnAddress, &from, |from| {
                    let verdict = format!(
                        "advertisements for our number {number} come from our own address {from}"
                    );
                    let remedy = "another host has this address, or packets are looped: give each \
                                  router an address of its own, and its own mcast_src_ip or \
                                  unicast_src_ip where one is set";
                    (verdict, remedy.to_owned())
                })
            }
            _ => return,
        };
        out.extend(said);
        self.arm(id);
    }

    /// Somebody answers for an address.
    pub(crate) fn claim(
        &mut self,
        now: Instant,
        link: LinkIndex,
        address: IpAddr,
        mac: [u8; 6],
        out: &mut Vec<Action>,
    ) {
        self.own_address_claimed(now, link, address, mac, out);
        for id in self.vip_users.of(address).collect::<Vec<_>>() {
            self.announced(now, id, link, address);
            let links = &self.links;
            let slot = self.slots.get_mut(id.index()).and_then(Option::as_mut);
            let Some(slot) = slot.filter(|slot| slot.answers(now, links, link, address, mac))
            else {
                continue;
            };
            let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
            let said = slot.notice(now, Kind::ForeignMac, &mac, |mac| {
                let verdict = format!("{mac} claims {address}, which is ours as MASTER");
                let remedy = "find the host with this MAC: it has the address configured, or is \
                              MASTER without hearing us";
                (verdict, remedy.to_owned())
            });
            out.extend(said);
            self.arm(id);
        }
    }
}

impl Node {
    /// Somebody else answers for an address that advertisements of ours come from.
    fn own_address_claimed(
        &mut self,
        now: Instant,
        link: LinkIndex,
        address: IpAddr,
        mac: [u8; 6],
        out: &mut Vec<Action>,
    ) {
        if self.is_vip(address) {
            return;
        }
        for id in self.order.clone() {
            let slot = self.slots.get_mut(id.index()).and_then(Option::as_mut);
            let ours = |slot: &&mut Slot| {
                slot.link == Some(link) && slot.sources.to(address) == Some(address)
            };
            let Some(slot) = slot.filter(ours) else { continue };
            let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
            let said = slot.notice(now, Kind::OwnAddressClaimed, &mac, |mac| {
                let verdict = format!("{mac} claims {address}, which our advertisements come from");
                let remedy = "another host has this address: give each router an address of its own, \
                              else neither hears the other and both are MASTER";
                (verdict, remedy.to_owned())
            });
            out.extend(said);
            self.arm(id);
        }
    }

    /// Looks at the interval that a packet has taught an instance.
    pub(crate) fn inspect_interval(
        &mut self,
        now: Instant,
        id: InstanceId,
        from: IpAddr,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot_mut(id).filter(|slot| slot.role() == Role::Backup) else {
            return;
        };
        let Some((master, learnt)) = slot.protocol.learnt() else { return };
        let (ours, wait) = (slot.protocol.interval(), slot.protocol.takes_over_after());
        if master != from || learnt < ours * FAR {
            return;
        }
        let said = slot.notice(now, Kind::Interval, &from, |from| {
            let (learnt, ours) = (learnt.as_secs_f64(), ours.as_secs_f64());
            let wait = wait.as_secs_f64();
            let verdict = format!(
                "{from} says that it advertises every {learnt} s, we do every {ours} s: if it falls \
                 silent, nobody takes over for {wait:.1} s"
            );
            let remedy = "set the same advert_int on all routers; if no router of yours says so, \
                          somebody forges advertisements on this link: find who sends from this address";
            (verdict, remedy.to_owned())
        });
        out.extend(said);
        self.arm(id);
    }
}

impl Slot {
    fn is_peer(&self, address: IpAddr) -> bool {
        match &self.config.router().peers {
            Peers::Unicast { peers, .. } => peers.iter().any(|peer| peer.address == address),
            Peers::Multicast { .. } => false,
        }
    }

    /// Whether this host alone should answer for an address. A router that had it may do so too
    /// shortly after it was taken over, and one that is to have it shortly before.
    fn answers(
        &self,
        now: Instant,
        links: &super::Links,
        link: LinkIndex,
        address: IpAddr,
        mac: [u8; 6],
    ) -> bool {
        let settled = self.since.as_ref().is_some_and(|s| s.ago(now) >= self.protocol.interval());
        let partner = match &self.config {
            InstanceConfig::Carp(carp) => {
                let nodes = &carp.instance.nodes;
                matches!(mac, [0, 0, 0x5e, 0, 1, vhid] if nodes.iter().any(|n| n.vhid == vhid))
            }
            InstanceConfig::Vrrp(_) => false,
        };
        settled
            && !partner
            && self.role() == Role::Master
            && !self.protocol.leaving()
            && self.vips(links).any(|(on, vip)| on == link && vip.address == address)
    }
}

/// What is wrong, and what to do, of a packet that broke a rule.
pub(crate) fn words(from: &str, error: WireError) -> (String, String) {
    // Their wording has the remedy behind a colon.
    let said = error.to_string();
    let (what, remedy) = said.split_once(": ").unwrap_or((&said, "see to its configuration"));
    (format!("advertisement from {from}: {what}"), remedy.to_owned())
}

/// Of two masters.
pub(crate) fn weaker(from: &str) -> (String, String) {
    let verdict = format!("{from} is MASTER too, does not yield, and is heard by us");
    let remedy = "see that it hears us: a firewall, an IGMP-snooping switch or a one-way link may \
                  keep our advertisements from it";
    (verdict, remedy.to_owned())
}
