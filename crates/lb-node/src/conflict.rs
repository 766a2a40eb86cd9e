//! What on the wire cannot be right: two masters, a foreign answer, a wrong secret.
//!
//! A condition is told once when it begins and once when it is over, and shown while it lasts. One
//! of each kind is kept for an instance, whoever causes it, so that strangers fill nothing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_control::EventKind;
use lb_control::status::Conflict;
use lb_election::{IpPacket, Role};

use super::protocol::{self, WireError};
use super::slot::Slot;
use super::{Action, InstanceConfig, InstanceId, LinkIndex, Node, ProtocolKind};

/// A condition that is not seen for so many advertisement intervals is over.
const INTERVALS: u32 = 3;
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
    /// A peer with other virtual addresses.
    VipList,
    /// Another host has our own address.
    OwnAddress,
    /// Another MAC address answers for a virtual address that is ours.
    ForeignMac,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::TwoMasters => "two_masters",
            Self::OtherProtocol => "other_protocol",
            Self::Secret => "wrong_secret",
            Self::VipList => "other_vips",
            Self::OwnAddress => "own_address",
            Self::ForeignMac => "foreign_mac",
        }
    }

    /// What broke a rule so that an operator has to see to it.
    pub(crate) fn of(error: WireError) -> Option<Self> {
        match error {
            WireError::Vrrp(
                lb_vrrp::WireError::Password
                | lb_vrrp::WireError::Digest
                | lb_vrrp::WireError::AuthTypeMismatch { .. },
            )
            | WireError::Carp(lb_carp::WireError::Digest) => Some(Self::Secret),
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
    conflict: Conflict,
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
            if !ongoing.told && now.duration_since(ongoing.first) > patience {
                ongoing.told = true;
                return Some(event(self.config.name(), true, &ongoing.conflict));
            }
            return None;
        }
        let from = from.to_string();
        let (verdict, remedy) = words(&from);
        let conflict = Conflict { kind: kind.name().to_owned(), from, verdict, remedy };
        let told = kind != Kind::TwoMasters;
        let action = told.then(|| event(self.config.name(), true, &conflict));
        let (check_at, counted) = (now + patience, self.protocol.counted(kind));
        self.ongoing.push(Ongoing {
            kind,
            first: now,
            seen: now,
            check_at,
            counted,
            told,
            conflict,
        });
        action
    }

    fn patience(&self, kind: Kind) -> Duration {
        match kind {
            Kind::ForeignMac => CLAIMED,
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
            if over.told {
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
            _ if slot.sources.to(from) == Some(from) => {
                slot.notice(now, Kind::OwnAddress, &from, |from| {
                    let verdict = format!(
                        "advertisements for our number {number} come from our own address {from}"
                    );
                    let remedy = "another host has this address, or packets are looped: give each \
                                  router an address of its own";
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
        for id in self.vip_users.of(address).collect::<Vec<_>>() {
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

impl Slot {
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
