//! Why each instance is where it is: its last transitions, with what was behind them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use lb_control::State;
use lb_control::status::Transition;
use lb_election::IpPacket;

use super::protocol::Reason;
use super::slot::Since;
use super::{Input, InstanceId, LinkIndex, Node, ProtocolKind, demotion, protocol};

/// Transitions kept for each instance.
const KEPT: usize = 16;

/// The last transitions of an instance, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Change>);

#[derive(Debug)]
struct Change {
    since: Since,
    from: State,
    to: State,
    input: Cow<'static, str>,
    reason: Arc<str>,
}

impl History {
    pub(crate) fn note(
        &mut self,
        at: Instant,
        (from, to): (State, State),
        (input, reason): (Cow<'static, str>, Arc<str>),
    ) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        // Most instances change their role twice and then never.
        if self.0.len() < 2 {
            self.0.reserve_exact(1);
        }
        self.0.push_back(Change { since: Since::new(at), from, to, input, reason });
    }
}

/// Reasons in words. When a master falls silent, thousands of instances have the same one in a row:
/// it is worded once and kept once.
#[derive(Debug, Default)]
pub(crate) struct Words(Option<(Reason, Arc<str>)>);

impl Words {
    fn of(&mut self, reason: Reason) -> Arc<str> {
        match &self.0 {
            Some((last, words)) if *last == reason => Arc::clone(words),
            _ => {
                let words: Arc<str> = reason.to_string().into();
                self.0 = Some((reason, Arc::clone(&words)));
                words
            }
        }
    }
}

/// A cause in the terms of the protocol, or in words because others are part of it.
enum Cause {
    Own(Reason),
    Said(String),
}

/// The input that is being handled, in what of it tells why.
#[derive(Debug, Default)]
pub(crate) enum Trigger {
    #[default]
    Start,
    Timer,
    Packet {
        link: LinkIndex,
        from: IpAddr,
        said: Said,
    },
    Link {
        name: String,
        up: bool,
    },
    LinkGone {
        link: LinkIndex,
    },
    Address {
        link: LinkIndex,
        address: IpAddr,
        present: bool,
    },
    Script {
        name: String,
        success: bool,
    },
    File {
        name: String,
        value: i32,
    },
    Process {
        name: String,
        running: u32,
    },
    Handover,
    Maintenance(bool),
    Demotion {
        group: String,
        by: i32,
    },
    StateSync(Option<String>),
    Claim {
        address: IpAddr,
    },
    VmacFailed {
        name: String,
    },
    Sharing,
    Guarding,
    Reload,
    Stop,
}

/// What a packet says of its sender, as it is on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    Vrrp { priority: u8 },
    Carp { advbase: u8, advskew: u8, demotion: u8 },
    Nothing,
}

impl Said {
    fn of(packet: &IpPacket<'_>) -> Self {
        let octet = |index: usize| packet.payload.get(index).copied();
        let kind = protocol::number(packet.payload).map(|(kind, _)| kind);
        match (kind, octet(2), octet(4), octet(5)) {
            (Some(ProtocolKind::Vrrp), Some(priority), ..) => Self::Vrrp { priority },
            (Some(ProtocolKind::Carp), Some(advskew), Some(demotion), Some(advbase)) => {
                Self::Carp { advbase, advskew, demotion }
            }
            _ => Self::Nothing,
        }
    }
}

impl Trigger {
    /// What is kept of an input; allocates for rare ones only.
    pub(crate) fn of(input: &Input<'_>) -> Self {
        match input {
            Input::Start => Self::Start,
            Input::Advertise | Input::Timer => Self::Timer,
            Input::Packet { link, packet } => {
                Self::Packet { link: *link, from: packet.source, said: Said::of(packet) }
            }
            Input::Link { name, up, .. } => Self::Link { name: (*name).to_owned(), up: *up },
            Input::LinkGone { link } => Self::LinkGone { link: *link },
            Input::Address { link, address, present } => {
                Self::Address { link: *link, address: *address, present: *present }
            }
            Input::Script { name, success } => {
                Self::Script { name: (*name).to_owned(), success: *success }
            }
            Input::File { name, value } => Self::File { name: (*name).to_owned(), value: *value },
            Input::Process { name, running, .. } => {
                Self::Process { name: (*name).to_owned(), running: *running }
            }
            Input::Handover { .. } => Self::Handover,
            Input::Maintenance { state, .. } => Self::Maintenance(state.is_some()),
            Input::Demote { group, by } => Self::Demotion { group: (*group).to_owned(), by: *by },
            Input::StateSync { failure } => Self::StateSync(failure.map(str::to_owned)),
            Input::Claim { address, .. } => Self::Claim { address: *address },
            Input::VmacFailed { name, .. } => Self::VmacFailed { name: (*name).to_owned() },
            Input::Sharing { .. } => Self::Sharing,
            Input::Guarding { .. } => Self::Guarding,
            Input::Reload(_) => Self::Reload,
            Input::Stop => Self::Stop,
        }
    }
}

impl Node {
    /// The last transitions of an instance, the latest first; `None` when there is no such
    /// instance. `wall` is the wall clock at `now`.
    #[must_use]
    pub fn why(&self, name: &str, now: Instant, wall: Timestamp) -> Option<Vec<Transition>> {
        let slot = self.living().find(|slot| slot.config.name() == name)?;
        let changes = slot.history.0.iter().rev();
        let transition = |change: &Change| Transition {
            at: change.since.wall(now, wall),
            ago: change.since.ago(now).as_secs_f64(),
            from: change.from,
            to: change.to,
            input: change.input.to_string(),
            reason: change.reason.to_string(),
        };
        Some(changes.map(transition).collect())
    }

    /// Keeps why an instance enters a state. Returns the cause.
    pub(crate) fn remember(&mut self, now: Instant, id: InstanceId, to: State) -> Arc<str> {
        let (trigger, cause) = (self.trigger(), self.cause(id, to));
        if let Some(slot) = self.slot_mut(id) {
            slot.history.note(now, (slot.told, to), (trigger, Arc::clone(&cause)));
        }
        cause
    }

    /// Why an instance enters a state, in words.
    pub(crate) fn cause(&mut self, id: InstanceId, to: State) -> Arc<str> {
        match self.find_cause(id, to) {
            Some(Cause::Own(reason)) => self.words.of(reason),
            Some(Cause::Said(words)) => words.into(),
            None => Arc::default(),
        }
    }

    /// The input that is being handled, in words.
    fn trigger(&self) -> Cow<'static, str> {
        let link_name = |link: &LinkIndex| match self.links.get(*link) {
            Some(known) => known.name.clone(),
            None => format!("link {link}"),
        };
        let words = match &self.trigger {
            Trigger::Start => return "start".into(),
            Trigger::Timer => return "a timer ran out".into(),
            Trigger::Packet { link, from, said } => {
                let link = link_name(link);
                match said {
                    Said::Vrrp { priority } => {
                        format!("VRRP packet from {from} on {link}: priority {priority}")
                    }
                    Said::Carp { advbase, advskew, demotion } => format!(
                        "CARP packet from {from} on {link}: advbase {advbase}, advskew {advskew}, \
                         demotion {demotion}"
                    ),
                    Said::Nothing => format!("packet from {from} on {link}"),
                }
            }
            Trigger::Link { name, up } => {
                format!("interface {name} is {}", if *up { "up" } else { "down" })
            }
            Trigger::LinkGone { link } => format!("interface with index {link} was deleted"),
            Trigger::Address { link, address, present } => {
                let what = if *present { "added to" } else { "removed from" };
                format!("address {address} was {what} {}", link_name(link))
            }
            Trigger::Script { name, success } => {
                format!("script {name} {}", if *success { "succeeded" } else { "failed" })
            }
            Trigger::File { name, value } => format!("tracked file {name} says {value}"),
            Trigger::Process { name, running } => {
                format!("of tracked process {name} {running} run")
            }
            Trigger::Handover => return "handover by the operator".into(),
            Trigger::Maintenance(on) => {
                format!("maintenance {} by the operator", if *on { "on" } else { "off" })
            }
            Trigger::Demotion { group, by } => format!("demotion of group {group} by {by}"),
            Trigger::StateSync(failure) => demotion::state_sync(failure.as_deref()),
            Trigger::Claim { address } => format!("claim of {address}"),
            Trigger::VmacFailed { name } => format!("virtual MAC {name} could not be made"),
            Trigger::Sharing => return "what the kernel says of balancing".into(),
            Trigger::Guarding => return "what nft says of the rules of its addresses".into(),
            Trigger::Reload => return "reload".into(),
            Trigger::Stop => return "stop".into(),
        };
        words.into()
    }

    /// Why an instance enters a state: its own faults, another member of
    /// its group, or what its protocol says.
    fn find_cause(&self, id: InstanceId, to: State) -> Option<Cause> {
        let slot = self.slot(id)?;
        let own = slot.protocol.reason();
        let own = match (slot.told, to, self.demotions.without_sync(&slot.config)) {
            (State::Master, State::Backup, Some(why)) => Cause::Said(format!("{own}; {why}")),
            _ => Cause::Own(own),
        };
        let faults = || Cause::Said(slot.faults.join("; "));
        let Some(group) = slot.group.and_then(|group| self.groups.get(group)) else {
            return Some(if to == State::Fault { faults() } else { own });
        };
        let others = || group.members.iter().filter(|member| **member != id);
        if to == State::Fault {
            let other = || {
                let mut slots = others().filter_map(|member| self.slot(*member));
                let faulty = slots.find(|member| member.held())?;
                let why: Vec<_> = faulty.faults.iter().chain(&faulty.waits).cloned().collect();
                Some(format!("{} of the same sync group: {}", faulty.config.name(), why.join("; ")))
            };
            return Some(if slot.faults.is_empty() {
                other().map_or(own, Cause::Said)
            } else {
                faults()
            });
        }
        let mover = self.mover.filter(|mover| *mover != id && slot.told == State::Master);
        Some(match mover.and_then(|mover| self.slot(mover)) {
            Some(mover) => {
                let why = mover.protocol.reason();
                Cause::Said(format!("{} of the same sync group: {why}", mover.config.name()))
            }
            None => own,
        })
    }
}
