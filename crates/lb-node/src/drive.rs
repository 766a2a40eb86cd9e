//! From the actions of one instance to those of the node: sync groups, VIPs, announcements, timers.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

use lb_control::{EventKind, State};
use lb_election::{Input, IpPacket, Role};

use super::conflict::{self, Kind, Line};
use super::protocol::{self, WireError};
use super::shares;
use super::slot::{MAX_SLACK, Since, Slot};
use super::{Action, InstanceConfig, InstanceId, LinkIndex, Node, Phase};
use crate::group::{self, Member};

/// Role in the words of events and status.
pub(crate) fn state(role: Role) -> State {
    match role {
        Role::Init => State::Init,
        Role::Backup => State::Backup,
        Role::Master => State::Master,
        Role::Fault => State::Fault,
    }
}

impl Node {
    pub(crate) fn start(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.refresh_links(out);
        self.recount_state_sync(now, out);
        self.evaluate(now, self.order.clone(), out);
        self.mark_resuming();
        self.remove_leftovers(now, out);
        self.phase = Phase::Running;
        for id in self.order.clone() {
            let listen_at = now + self.startup_delay;
            if let Some(slot) = self.slot_mut(id) {
                slot.since = Some(Since::new(now));
                // Who resumes has listened long ago.
                if !slot.resume {
                    slot.protocol.ignore_until(listen_at);
                }
            }
        }
        for id in self.order.clone() {
            self.settle(now, id, out);
        }
    }

    /// Marks what resumes as MASTER: free of faults, and with its whole group.
    fn mark_resuming(&mut self) {
        let able = |slot: &Slot| self.adopt.contains(slot.config.name()) && !slot.held();
        let resuming: Vec<InstanceId> = (self.order.iter().copied())
            .filter(|id| {
                self.slot(*id).is_some_and(|slot| match slot.group {
                    Some(group) => self.groups[group]
                        .members
                        .iter()
                        .all(|member| self.slot(*member).is_some_and(able)),
                    None => able(slot),
                })
            })
            .collect();
        for id in resuming {
            if let Some(slot) = self.slot_mut(id) {
                slot.resume = true;
            }
        }
    }

    /// Removes VIPs that are here although nobody of this host is MASTER, at the start and after a
    /// reload: of an earlier life, or put there by somebody. An owner's may be there by right. Those of an
    /// instance that the reload removes go when it lets go of them.
    pub(crate) fn remove_leftovers(&mut self, now: Instant, out: &mut Vec<Action>) {
        let present = self.links.addresses();
        // Of an instance with several vhids they stay if one of these resumes or takes part.
        let has = |slot: &&Slot| {
            let takes_part = self.phase != Phase::New && shares::balanced(slot).is_some();
            slot.resume || slot.holds() || takes_part
        };
        let having: HashSet<String> =
            self.living().filter(has).map(|slot| slot.config.router().name.clone()).collect();
        let mut left = Vec::new();
        for id in self.order.clone() {
            let Some(slot) = self.slot(id).filter(|slot| !slot.owner()) else { continue };
            if having.contains(&slot.config.router().name) {
                continue;
            }
            let mut vips = slot.owned_vips(&self.links);
            vips.retain(|vip| {
                let (link, address) = (vip.link, vip.address.address);
                present.contains(&(link, address)) && !self.is_held_by_other(id, link, address)
            });
            for vip in &vips {
                self.links.set_address(vip.link, vip.address.address, false);
            }
            if !vips.is_empty() {
                left.push(id);
            }
            self.drop_vips(id, vips, out);
        }
        left.into_iter().for_each(|id| self.owe_last_word(id, now));
    }

    pub(crate) fn packet(
        &mut self,
        now: Instant,
        link: LinkIndex,
        packet: IpPacket<'_>,
        out: &mut Vec<Action>,
    ) {
        if let Some(id) = self.demux.find(link, &packet, |id| self.slot(id)) {
            self.notice_lateness(now, id, out);
            self.inspect(now, id, &packet, out);
            let accepted = |node: &Self| node.slot(id).map_or(0, |slot| slot.protocol.accepted());
            let before = accepted(self);
            self.drive(now, id, Input::Packet(packet), out);
            if accepted(self) > before {
                self.last_word_heard(now, id, packet.source, out);
            }
            self.inspect_interval(now, id, packet.source, out);
            if self.somebody_leaves() {
                self.part(id, out);
                self.conclude(out);
            }
        }
    }

    fn somebody_leaves(&self) -> bool {
        self.phase == Phase::Stopping || !self.departing.is_empty()
    }

    /// Handles every deadline up to `now` of the instances that are meant, and of masters those that may
    /// come a little early.
    pub(crate) fn run_timers(
        &mut self,
        now: Instant,
        is_meant: impl Fn(&Slot) -> bool,
        out: &mut Vec<Action>,
    ) {
        let horizon = now + MAX_SLACK;
        while let Some((at, id)) = self.deadlines.pop(horizon) {
            let Some(slot) = self.slot_mut(id) else { continue };
            if slot.armed.take_if(|armed| *armed == at).is_none() {
                continue; // a stale entry
            }
            if !is_meant(slot) {
                self.later.push(id);
                continue;
            }
            self.notice_lateness(now, id, out);
            self.time_passes(now, id, out);
            self.first_word_due(now, id, out);
            self.announce_due(now, id, out);
            self.release_due(now, id, out);
            self.last_word_due(now, id, out);
            if let Some(slot) = self.slot_mut(id) {
                slot.conflicts_due(now, out);
            }
            if self.somebody_leaves() {
                self.part(id, out);
            }
            // Not yet due: back into the heap, but only after this loop.
            if let Some(slot) = self.slot_mut(id)
                && slot.armed.is_none()
            {
                self.later.push(id);
            }
        }
        while let Some(id) = self.later.pop() {
            self.arm(id);
        }
        if self.phase == Phase::Stopping || !self.departed.is_empty() {
            self.conclude(out);
        }
    }

    /// Gives an instance the time.
    fn time_passes(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let protocol = |node: &Self| {
            let slot = node.slot(id)?;
            Some((slot.protocol.listens_again(), slot.protocol.deadline()?))
        };
        let before = protocol(self);
        self.drive(now, id, Input::Timer, out);
        if let (Some((false, due)), Some((true, _))) = (before, protocol(self)) {
            self.notice_listening(now, id, due, out);
        }
    }

    /// Gives an input to an instance, then moves its group.
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        id: InstanceId,
        input: Input<'_>,
        out: &mut Vec<Action>,
    ) {
        if self.apply(now, id, input, out)
            && self.phase == Phase::Running
            && let Some(group) = self.slot(id).and_then(|slot| slot.group)
        {
            self.settle_group(now, group, id, out);
        }
    }

    /// Gives an input to an instance and does what it says. Whether its group has to know.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        id: InstanceId,
        input: Input<'_>,
        out: &mut Vec<Action>,
    ) -> bool {
        let mut actions = mem::take(&mut self.scratch);
        let Some(slot) = self.slot_mut(id) else { return false };
        let (role, leaving) = (slot.role(), slot.protocol.leaving());
        slot.protocol.handle(now, input, &mut actions);
        let stays = leaving && slot.role() == Role::Master && !slot.protocol.leaving();
        let moved = role != slot.role();
        out.extend(slot.said_stop(&actions));
        let yields = moved && role == Role::Master && slot.role() != Role::Init;
        if moved && matches!(slot.role(), Role::Master | Role::Init) {
            slot.last_word = None;
        }
        if yields {
            self.yielded(now, id);
        }
        if moved {
            self.hold_first_word(now, id, &mut actions);
        }
        let mut group_cares = false;
        for action in actions.drain(..) {
            group_cares |=
                matches!(action, protocol::Action::Notify(_) | protocol::Action::Willing);
            let action = match (action, input) {
                // Whoever yields with its group has a successor as well.
                (protocol::Action::RemoveVips, Input::Demote) => protocol::Action::ReleaseVips,
                (action, _) => action,
            };
            self.carry_out(now, id, action, out);
        }
        self.scratch = actions;
        if stays {
            self.remember(now, id, State::Master);
        }
        if moved && self.slot(id).and_then(shares::balanced).is_some() {
            self.balance.stale = true;
        }
        // A timer that is being handled is put back when all are.
        if !matches!(input, Input::Timer) || group_cares {
            self.arm(id);
        }
        group_cares
    }

    fn carry_out(
        &mut self,
        now: Instant,
        id: InstanceId,
        action: protocol::Action,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot_mut(id) else { return };
        let shared = shares::balanced(slot).is_some();
        match action {
            // Those are there for as long as it takes part, and stay where they are.
            protocol::Action::AddVips
            | protocol::Action::RemoveVips
            | protocol::Action::ReleaseVips
            | protocol::Action::Announce
            | protocol::Action::AnnounceAgain
            | protocol::Action::AnnounceAlone
                if shared => {}
            protocol::Action::Send(advert) => {
                slot.first_word = None;
                out.push(Action::Send { instance: id, advert, to: None });
            }
            protocol::Action::AddVips => self.add_vips(id, out),
            protocol::Action::RemoveVips => self.remove_vips(id, out),
            protocol::Action::ReleaseVips => self.release_vips(now, id, out),
            protocol::Action::Announce => {
                let router = slot.config.router();
                slot.garp.start(now, &router.garp);
                slot.garp.start_extra(now, router.garp_extra);
                slot.announce(id, slot.config.router().garp.repeat, out);
            }
            protocol::Action::AnnounceAgain => self.announce_lower(now, id, 0, out),
            // Who has just become MASTER is not done with its announcements.
            protocol::Action::AnnounceAlone if slot.garp.echo_at().is_some() => {}
            protocol::Action::AnnounceAlone => self.announce_lower(now, id, 1, out),
            protocol::Action::Notify(role) => {
                out.extend(slot.role_cause(role));
                slot.since = Some(Since::new(now));
                slot.resume = false;
                let cause = self.remember(now, id, state(role));
                out.extend(self.slot_mut(id).map(|slot| slot.enter(state(role), &cause)));
            }
            protocol::Action::Weaker { from, advert } => {
                out.extend(slot.notice(now, Kind::TwoMasters, &from, conflict::weaker));
                out.extend(slot.heard_lower_as_master(now, from, advert));
            }
            protocol::Action::Discard { from, advert } => {
                out.extend(slot.heard_lower_as_backup(now, from, advert));
            }
            protocol::Action::MasterStops => out.extend(slot.heard_stop(now)),
            protocol::Action::Willing => {}
            protocol::Action::Report { from, error } => {
                if let Some(kind) = Kind::of(error) {
                    let words = |from: &str| conflict::words(from, error);
                    out.extend(slot.notice(now, kind, &from, words));
                    return;
                }
                let Some(left_out) = slot.lines.pass(now, Line::of(&error)) else { return };
                let (name, from) = (slot.config.name().to_owned(), from.to_string());
                let reason = format!("{error}{}", conflict::and_before(left_out));
                out.push(Action::event(match error {
                    WireError::Vrrp(_) => EventKind::VrrpPacketError { name, from, reason },
                    WireError::Carp(error) => {
                        let severity = error.severity();
                        EventKind::CarpPacketError { name, from, severity, reason }
                    }
                }));
            }
        }
    }

    /// Another router believed it were MASTER, perhaps in every instance of the group: what one of
    /// them heard is answered by all, in `least` rounds if none are configured. Each is announced once
    /// for what is said in an interval, however many say it.
    fn announce_lower(&mut self, now: Instant, id: InstanceId, least: u32, out: &mut Vec<Action>) {
        let Self { slots, groups, deadlines, .. } = self;
        let group = slots[id.index()].as_ref().and_then(|slot| slot.group);
        let members = group.map_or(std::slice::from_ref(&id), |group| &groups[group].members);
        for member in members {
            let Some(slot) = slots[member.index()].as_mut() else { continue };
            let pause = slot.protocol.interval() / 2;
            if slot.role() == Role::Master && slot.lower_announced.pass_every(pause, now) {
                slot.garp.lower(now, &slot.config.router().garp);
                let rounds = slot.config.router().garp.lower_prio_repeat.max(least);
                slot.announce(*member, rounds, out);
                deadlines.arm(*member, slot.deadline(), &mut slot.armed);
            }
        }
    }

    fn announce_due(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        if let Some(slot) = self.slot_mut(id) {
            let router = slot.config.router();
            let rounds = slot.garp.due(now, &router.garp);
            let extra = slot.garp.extra_due(now, router.garp_extra);
            slot.announce(id, rounds, out);
            if extra && self.extra_vips(id).next().is_some() {
                out.push(Action::AnnounceExtra { instance: id });
            }
        }
    }

    pub(crate) fn arm(&mut self, id: InstanceId) {
        if let Some(slot) = self.slots.get_mut(id.index()).and_then(Option::as_mut) {
            self.deadlines.arm(id, slot.deadline(), &mut slot.armed);
        }
    }

    /// Brings an instance to the role that its faults allow.
    pub(crate) fn settle(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot(id).filter(|_| self.phase == Phase::Running) else { return };
        if let Some(group) = slot.group {
            return self.settle_group(now, group, id, out);
        }
        let input = match slot.role() {
            Role::Fault if slot.held() => return,
            _ if !slot.faults.is_empty() => Input::Fault { own: true },
            Role::Fault => Input::Recover,
            Role::Init if !slot.waits.is_empty() => return,
            Role::Init if slot.resume => Input::Promote,
            Role::Init => Input::Startup,
            Role::Backup | Role::Master => return,
        };
        self.apply(now, id, input, out);
    }

    /// Brings a group, and each member of it, to the role that its members allow; `first` first.
    pub(crate) fn settle_group(
        &mut self,
        now: Instant,
        index: usize,
        first: InstanceId,
        out: &mut Vec<Action>,
    ) {
        let group = &self.groups[index];
        let before = group.role;
        let slots = || group.members.iter().filter_map(|id| self.slot(*id));
        // At first it waits for the first result of every script.
        if before == Role::Init && slots().any(|slot| !slot.waits.is_empty()) {
            let faulty = slots().any(|slot| !slot.faults.is_empty());
            if !faulty {
                self.groups[index].waited = true;
                return;
            }
        }
        let waited = self.groups[index].waited;
        let group = &self.groups[index];
        let mut role = group::next(
            before,
            slots().map(|slot| Member {
                role: slot.role(),
                willing: slot.protocol.willing(),
                faulty: !slot.faults.is_empty() || before == Role::Fault && slot.held(),
            }),
        );
        if before == Role::Init && role == Role::Backup && slots().all(|slot| slot.resume) {
            role = Role::Master;
        }
        let others = group.members.iter().copied().filter(|id| *id != first);
        let members: Vec<InstanceId> = std::iter::once(first).chain(others).collect();
        self.groups[index].role = role;
        let outer = self.mover.replace(first);
        for id in members {
            let Some(slot) = self.slot(id) else { continue };
            let input = match (role, slot.role()) {
                // As under keepalived, of those that wait for the script of another nothing is told.
                (Role::Fault, Role::Init) if waited && slot.faults.is_empty() => continue,
                (Role::Fault, Role::Init | Role::Backup | Role::Master) => {
                    Input::Fault { own: !slot.faults.is_empty() }
                }
                (Role::Backup | Role::Master, Role::Fault) => Input::Recover,
                (_, Role::Init) if !slot.waits.is_empty() => continue,
                (Role::Backup, Role::Init) => Input::Startup,
                (Role::Backup, Role::Master) => Input::Demote,
                (Role::Master, Role::Init | Role::Backup) => Input::Promote,
                _ => continue,
            };
            self.apply(now, id, input, out);
        }
        self.mover = outer;
        if role != before {
            let (name, state) = (self.groups[index].name.clone(), state(role));
            out.push(Action::event(EventKind::VrrpGroup { name, state }));
        }
    }

    /// Whether an address is somebody's VIP.
    pub(crate) fn is_vip(&self, address: IpAddr) -> bool {
        self.vip_users.of(address).next().is_some()
    }
}

impl Slot {
    /// Tells that it entered a state.
    pub(crate) fn enter(&mut self, state: State, reason: &str) -> Action {
        let from = mem::replace(&mut self.told, state);
        let (name, priority) = (self.config.name().to_owned(), self.protocol.priority());
        Action::event(match &self.config {
            InstanceConfig::Vrrp(_) => {
                let reason = match (from, state) {
                    // keepalived's word for it.
                    (State::Init, State::Backup) => "init",
                    _ => reason,
                };
                EventKind::VrrpInstance { name, from, state, priority, reason: reason.to_owned() }
            }
            InstanceConfig::Carp(carp) => EventKind::CarpInstance {
                name,
                interface: carp.instance.router.interface.clone().unwrap_or_default(),
                vhid: carp.node.vhid,
                from,
                state,
                priority,
                reason: reason.to_owned(),
            },
        })
    }

    /// Announces the VIPs, if there are any and any rounds.
    pub(crate) fn announce(&self, instance: InstanceId, rounds: u32, out: &mut Vec<Action>) {
        let vips = self.config.router().vips.len() + self.config.router().excluded_vips.len();
        if rounds > 0 && vips > 0 {
            out.push(Action::Announce { instance, rounds });
        }
    }

    pub(crate) fn owner(&self) -> bool {
        self.protocol.owner()
    }
}
