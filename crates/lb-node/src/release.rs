//! Letting go of virtual addresses: at once, or when a successor has them.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_control::{EventKind, State};
use lb_election::{Input, Role};

use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node, Phase, Vip};

/// How long addresses stay after the successor was heard: it adds and announces them only after its
/// advertisement, on a busy host some milliseconds later. Its last echo has to come after that, in
/// case our kernel still answered somebody.
pub(crate) const LINGER: Duration = Duration::from_millis(25);

/// The same behind a virtual MAC. The successor has the addresses when it is heard; but what we answered
/// a moment before may have taken the switch back here, until the successor's next echo. With much
/// traffic that goes to and fro for as long as we answer, and an echo has to come soon after.
const LINGER_BEHIND_VMAC: Duration = Duration::from_micros(2_500);

/// Addresses that an instance has put on this host.
///
/// They are known by the index of their link and not by what the configuration says now: a link that
/// is renamed takes them with it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    vips: Vec<Vip>,
    /// When they go: of an instance that is MASTER no longer.
    until: Option<Instant>,
}

impl Held {
    /// The addresses, as the kernel has them.
    pub(crate) fn vips(&self) -> &[Vip] {
        &self.vips
    }

    /// Whether this address of this link is one of them.
    pub(crate) fn has(&self, link: LinkIndex, address: IpAddr) -> bool {
        self.vips.iter().any(|vip| (vip.link, vip.address.address) == (link, address))
    }
}

impl Slot {
    /// When its addresses go.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        self.held.until
    }

    /// Whether it still has addresses: as MASTER, as one that leaves, or a little longer.
    pub(crate) fn holds(&self) -> bool {
        self.role() == Role::Master || self.held.until.is_some()
    }

    /// Makes these the addresses of a MASTER. Returns what it held and does no longer, and what it
    /// did not hold yet.
    pub(crate) fn hold(&mut self, vips: Vec<Vip>) -> (Vec<Vip>, Vec<Vip>) {
        let before = mem::replace(&mut self.held, Held { vips, until: None });
        let without = |vips: &[Vip], others: &[Vip]| -> Vec<Vip> {
            let others: HashSet<&Vip> = others.iter().collect();
            vips.iter().filter(|vip| !others.contains(vip)).cloned().collect()
        };
        (without(&before.vips, &self.held.vips), without(&self.held.vips, &before.vips))
    }
}

impl Node {
    /// Adds the addresses of a new MASTER.
    pub(crate) fn add_vips(&mut self, id: InstanceId, out: &mut Vec<Action>) {
        let links = &self.links;
        let Some(slot) = self.slots.get_mut(id.index()).and_then(Option::as_mut) else { return };
        let vips = slot.owned_vips(links);
        // It may not have let go of them yet; another configuration may have others.
        let (gone, _) = slot.hold(vips.clone());
        self.drop_vips(id, gone, out);
        if !vips.is_empty() {
            out.push(Action::AddVips { instance: id, vips });
        }
        self.confirm_for_first_word(id, out);
    }

    /// Removes the addresses of an instance at once.
    pub(crate) fn remove_vips(&mut self, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else { return };
        slot.garp = Default::default();
        let held = mem::take(&mut slot.held);
        self.drop_vips(id, held.vips, out);
    }

    /// Removes them when the announcements of the successor have arrived.
    pub(crate) fn release_vips(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else { return };
        if !slot.config.router().handover {
            return self.remove_vips(id, out);
        }
        slot.garp = Default::default();
        let linger = if slot.vmacs.is_empty() { LINGER } else { LINGER_BEHIND_VMAC };
        slot.held.until = Some(now + linger);
    }

    /// Removes what has stayed long enough.
    pub(crate) fn release_due(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else { return };
        if slot.held.until.is_some_and(|until| until <= now) {
            let held = mem::take(&mut slot.held);
            self.drop_vips(id, held.vips, out);
        }
    }

    /// Whether another instance holds an address, be it one that a reload has removed.
    pub(crate) fn is_held_by_other(
        &self,
        id: InstanceId,
        link: LinkIndex,
        address: IpAddr,
    ) -> bool {
        let users = self.vip_users.of(address).chain(self.departing.iter().copied());
        users
            .filter(|user| *user != id)
            .any(|other| self.slot(other).is_some_and(|slot| slot.held.has(link, address)))
    }

    /// Removes addresses, except those that another instance of this host holds, and those that have
    /// gone with their link.
    pub(crate) fn drop_vips(&self, id: InstanceId, mut vips: Vec<Vip>, out: &mut Vec<Action>) {
        vips.retain(|vip| {
            let (link, address) = (vip.link, vip.address.address);
            self.links.get(link).is_some()
                && !self.is_held_by_other(id, link, address)
                && !self.balance.has(link, address)
        });
        if !vips.is_empty() {
            out.push(Action::RemoveVips { instance: id, vips });
        }
    }

    /// Ends every instance. A second time: those that wait for a successor wait no longer.
    pub(crate) fn stop(&mut self, now: Instant, out: &mut Vec<Action>) {
        let again = self.phase == Phase::Stopping;
        self.phase = Phase::Stopping;
        for id in self.order.iter().chain(&self.departing).copied().collect::<Vec<_>>() {
            self.say_last_word(now, id, out);
            if again {
                self.apply(now, id, Input::Demote, out);
                self.remove_lingering(id, out);
            } else {
                self.apply(now, id, Input::Shutdown, out);
            }
        }
        for id in self.order.iter().chain(&self.departing).copied().collect::<Vec<_>>() {
            self.part(id, out);
        }
        self.conclude(out);
    }

    fn remove_lingering(&mut self, id: InstanceId, out: &mut Vec<Action>) {
        if self.slot(id).is_some_and(|slot| slot.held.until.is_some()) {
            self.remove_vips(id, out);
        }
    }

    /// Ends an instance that is no more in the configuration.
    pub(crate) fn depart(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        if let Some(slot) = self.slot_mut(id) {
            slot.group = None;
        }
        self.departing.push(id);
        self.say_last_word(now, id, out);
        self.apply(now, id, Input::Shutdown, out);
        // If it comes back it must not begin with a number that its peers have heard.
        self.number = self.number.max(self.slot(id).map_or(0, |slot| slot.protocol.number()));
        let name = |id: InstanceId| self.slot(id).map(|slot| slot.config.name());
        // What is told of a new instance of this name has to come after what is told of this one.
        if self.order.iter().any(|other| name(*other) == name(id)) {
            self.tell_end(id, out);
        }
        self.part(id, out);
    }

    /// Tells that an instance is no more in the configuration.
    fn tell_end(&mut self, id: InstanceId, out: &mut Vec<Action>) {
        let cause = self.cause(id, State::Init);
        let Some(slot) = self.slot_mut(id).filter(|slot| !slot.parted) else { return };
        slot.parted = true;
        out.push(slot.enter(State::Deleted, &cause));
    }

    /// Says farewell to an instance that was told to end, as soon as it has let go.
    pub(crate) fn part(&mut self, id: InstanceId, out: &mut Vec<Action>) {
        let removed = self.departing.contains(&id);
        let Some(slot) = self.slot(id).filter(|slot| !slot.holds()) else { return };
        if slot.told == State::Stop || !removed && self.phase != Phase::Stopping {
            return;
        }
        if removed {
            self.tell_end(id, out);
            self.departing.retain(|departing| *departing != id);
            self.departed.push(id);
            return;
        }
        let cause = self.cause(id, State::Init);
        out.extend(self.slot_mut(id).map(|slot| slot.enter(State::Stop, &cause)));
    }

    /// A group has stopped when its last member has, and the node when every instance has.
    pub(crate) fn conclude(&mut self, out: &mut Vec<Action>) {
        if !self.departed.is_empty() {
            self.refresh_links(out);
        }
        if self.phase != Phase::Stopping {
            return;
        }
        let Self { groups, slots, .. } = self;
        let stopped = |id: &InstanceId| {
            let slot = slots.get(id.index()).and_then(Option::as_ref);
            slot.is_none_or(|slot| slot.told == State::Stop)
        };
        for group in groups.iter_mut().filter(|group| !group.stopped) {
            if group.members.iter().all(stopped) {
                group.stopped = true;
                let (name, state) = (group.name.clone(), State::Stop);
                out.push(Action::event(EventKind::VrrpGroup { name, state }));
            }
        }
        if self.departing.is_empty() && self.order.iter().all(stopped) {
            self.phase = Phase::Stopped;
            self.balance.stale = true;
        }
    }
}
