//! What changes of links and addresses mean for instances.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use lb_config::model::Family;
use lb_control::EventKind;
use lb_election::Input;
use lb_election::Role;

use crate::track;

use super::demux::Demux;
use super::shares;
use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node, Phase, ProtocolKind, Socket, Vip};

impl Node {
    /// Links of these names are other ones now, or in another state.
    pub(crate) fn links_changed(&mut self, now: Instant, names: &[String], out: &mut Vec<Action>) {
        if self.phase == Phase::New {
            return;
        }
        let mut affected = BTreeSet::new();
        for name in names {
            let Some(users) = self.link_users.get(name) else { continue };
            affected.extend(users.iter().copied());
            let up = self.links.named(name).is_some_and(|(_, link)| link.up);
            out.push(Action::event(EventKind::Interface { name: name.clone(), up }));
        }
        if affected.is_empty() {
            return;
        }
        self.mind_vmacs(names);
        // Its socket is still open: a link with another name carries the last word of its master.
        let renamed = affected.iter().copied().filter(|id| self.lost_its_name(*id)).collect();
        self.evaluate(now, renamed, out);
        self.refresh_links(out);
        self.evaluate(now, affected.iter().copied().collect(), out);
        for id in affected {
            self.reseat_vips(id, names, out);
        }
        self.miss_shared_vips(names);
    }

    /// Whether no link has the name of an instance's interface any more, but that link is still there.
    fn lost_its_name(&self, id: InstanceId) -> bool {
        self.slot(id).is_some_and(|slot| {
            let name = slot.config.router().interface.as_deref();
            let link = slot.link.and_then(|link| self.links.get(link));
            link.is_some() && name.is_some_and(|name| self.links.named(name).is_none())
        })
    }

    /// A link changed under a master that did not mind: its VIPs go where the name went from, and
    /// belong where it is now. The kernel may have dropped them from a link that came up.
    fn reseat_vips(&mut self, id: InstanceId, names: &[String], out: &mut Vec<Action>) {
        let links = &self.links;
        let alone =
            |slot: &&mut Slot| slot.role() == Role::Master && shares::balanced(slot).is_none();
        let slot = self.slots.get_mut(id.index()).and_then(Option::as_mut);
        let Some(slot) = slot.filter(alone) else { return };
        let mut vips = slot.owned_vips(links);
        let came_up = |vip: &Vip| {
            let link = links.get(vip.link);
            link.is_some_and(|link| link.up && names.contains(&link.name))
        };
        let came: Vec<Vip> = vips.iter().filter(|vip| came_up(vip)).cloned().collect();
        vips.retain(|vip| came.contains(vip) || slot.held.vips().contains(vip));
        let (gone, _) = slot.hold(vips);
        self.drop_vips(id, gone, out);
        let Some(slot) = self.slot(id).filter(|_| !came.is_empty()) else { return };
        out.push(Action::AddVips { instance: id, vips: came });
        slot.announce(id, slot.config.router().garp.repeat, out);
    }

    /// Finds the link and the source of every instance anew, and the sockets for them.
    pub(crate) fn refresh_links(&mut self, out: &mut Vec<Action>) {
        let present = self.order.iter().chain(&self.departing).copied();
        for id in present.collect::<Vec<_>>() {
            let Some(slot) = self.slot(id) else { continue };
            let link =
                slot.config.router().interface.as_deref().and_then(|name| self.links.named(name));
            let link = link.map(|(index, _)| index);
            if let Some(slot) = self.slot_mut(id) {
                slot.left = link.is_none().then_some(slot.link.or(slot.left)).flatten();
                slot.link = link;
            }
            self.refresh_source(id);
        }
        let slots = || {
            let present = self.order.iter().chain(&self.departing);
            present.filter_map(|id| Some((*id, self.slot(*id)?)))
        };
        let demux = Demux::new(slots());
        let sockets: BTreeSet<Socket> = slots()
            .filter(|(_, slot)| slot.config.router().interface.is_none() || slot.link.is_some())
            .flat_map(|(_, slot)| {
                slot.config.families().map(|family| Socket {
                    link: slot.link,
                    family: family.into(),
                    ah: slot.config.has_ah(),
                    group: slot.config.group(family),
                })
            })
            .collect();
        self.demux = demux;
        self.vmacs.stale = true;
        self.balance.stale = true;
        if self.sockets != sockets {
            self.sockets = sockets;
            out.push(Action::Sockets);
        }
    }

    fn refresh_source(&mut self, id: InstanceId) {
        let Some(slot) = self.slot(id) else { return };
        let sources = slot.find_sources(&self.links, |address| self.is_vip(address));
        if let Some(slot) = self.slot_mut(id) {
            slot.sources = sources;
            slot.protocol.set_sources(&sources);
        }
    }

    /// An address came or went.
    pub(crate) fn address(
        &mut self,
        now: Instant,
        link: LinkIndex,
        address: IpAddr,
        present: bool,
        out: &mut Vec<Action>,
    ) {
        let vip_of: Vec<InstanceId> = self.vip_users.of(address).collect();
        if !present {
            for id in &vip_of {
                self.vip_lost(now, *id, link, address, out);
            }
            self.miss_shared_vip(link, address);
        }
        // VIPs are no sources, except for their owner. They are many: of those that are here by our
        // will not even keep a note.
        let owned = vip_of.iter().any(|id| self.slot(*id).is_some_and(|slot| slot.owner()));
        let held =
            |id: &InstanceId| self.slot(*id).is_some_and(|slot| slot.held.has(link, address));
        let leaves = self.departing.iter().any(held);
        if self.phase == Phase::Running && (!vip_of.is_empty() || leaves) && !owned {
            if !(leaves || vip_of.iter().any(held) || self.balance.has(link, address)) {
                self.links.set_address(link, address, present);
            }
            return;
        }
        let before = self.sources(link);
        let Some(name) = self.links.set_address(link, address, present) else { return };
        let mut affected: Vec<InstanceId> = self.source_users.of(address).collect();
        let users = self.link_users.get(name).cloned().unwrap_or_default();
        if owned || self.sources(link) != before {
            affected.extend(users);
        }
        if self.phase == Phase::Running {
            for id in &affected {
                self.refresh_source(*id);
            }
            self.evaluate(now, affected, out);
        }
    }

    /// Primary addresses of a link.
    fn sources(&self, link: LinkIndex) -> Option<[Option<IpAddr>; 2]> {
        let link = self.links.get(link)?;
        let source = |family| link.source(family, |address| self.is_vip(address));
        Some([source(Family::Inet), source(Family::Inet6)])
    }

    /// Somebody removed a VIP: a master that cares steps down.
    fn vip_lost(
        &mut self,
        now: Instant,
        id: InstanceId,
        link: LinkIndex,
        address: IpAddr,
        out: &mut Vec<Action>,
    ) {
        let cares = self.slot(id).is_some_and(|slot| {
            slot.role() == Role::Master
                && slot
                    .vips(&self.links)
                    .any(|(on, vip)| on == link && vip.address == address && !vip.no_track)
        });
        if cares {
            self.drive(now, id, Input::VipLost, out);
        }
    }

    /// Works out the faults and the priorities of instances, and then acts on them: a group must
    /// not move by what one member knows already and another one does not.
    pub(crate) fn evaluate(&mut self, now: Instant, ids: Vec<InstanceId>, out: &mut Vec<Action>) {
        for id in &ids {
            self.assess(now, *id, out);
        }
        let groups: BTreeSet<String> = (ids.iter())
            .filter_map(|id| self.slot(*id))
            .flat_map(|slot| slot.config.demotion_groups().iter().cloned())
            .collect();
        for group in &groups {
            let causes = self.demotions.causes(group, &self.slots).join(", ");
            let well = "what is tracked is well again";
            self.recount(
                now,
                [group.as_str()],
                if causes.is_empty() { well } else { &causes },
                out,
            );
        }
        for id in ids {
            self.settle(now, id, out);
        }
    }

    fn assess(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot(id) else { return };
        let mut faults = slot.link_faults(&self.links);
        let (vmac_faults, mut waits) = slot.vmac_faults(&self.links, &self.vmacs);
        faults.extend(vmac_faults);
        faults.extend(self.unguarded(slot));
        let (mut total, mut weaknesses) = (0, Vec::new());
        for tracked in
            slot.config.router().track_interfaces.iter().filter(|tracked| tracked.weight != 0)
        {
            let up = self.links.named(&tracked.name).is_some_and(|(_, link)| link.up);
            let by = track::contribution(tracked.weight, tracked.reverse, up);
            total += by;
            if by < 0 {
                let state = if up { "up" } else { "down" };
                weaknesses.push(format!("interface {} is {state}", tracked.name));
            }
        }
        for tracked in &slot.config.router().track_scripts {
            let name = &tracked.name;
            match self.scripts.up(name) {
                Some(up) if tracked.weight != 0 => {
                    let by = track::contribution(tracked.weight, tracked.reverse, up);
                    total += by;
                    if by < 0 {
                        let verdict = if up { "succeeds" } else { "failed" };
                        weaknesses.push(format!("script {name} {verdict}"));
                    }
                }
                // No FAULT is told, as with keepalived, until a run has failed.
                Some(_) if self.scripts.is_presumed(name) && slot.role() == Role::Init => {
                    waits.push(format!("script {name} has not succeeded yet"));
                }
                Some(up) if up == tracked.reverse => {
                    let verdict = if up { "succeeds" } else { "failed" };
                    faults.push(format!("script {name} {verdict}"));
                }
                None if tracked.weight == 0 => {
                    waits.push(format!("script {name} has no result yet"));
                }
                _ => {}
            }
        }
        let router = slot.config.router();
        total += self.followed.assess(router, &mut weaknesses, &mut faults, &mut waits);
        let kind = slot.config.kind();
        if kind == ProtocolKind::Carp && !self.carp.allow {
            faults.push("carp_allow is off".to_owned());
        }
        faults.extend(self.balance.fault(slot));
        if let Some(slot) = self.slots[id.index()].as_mut() {
            slot.see_vmacs(&self.links);
            slot.unfit = (-total).max(0).saturating_add(i32::from(!faults.is_empty()));
            (slot.faults, slot.waits, slot.weaknesses) = (faults, waits, weaknesses);
        }
        if kind == ProtocolKind::Vrrp {
            self.weigh(now, id, total, out);
        }
    }

    /// Gives a VRRP instance the priority that what is tracked makes of it.
    fn weigh(&mut self, now: Instant, id: InstanceId, total: i32, out: &mut Vec<Action>) {
        self.weighing(now, id, Input::Tracked(total), out);
    }

    /// Gives a VRRP instance an input that may change its priority, and says so if it does.
    pub(crate) fn weighing(
        &mut self,
        now: Instant,
        id: InstanceId,
        input: Input<'_>,
        out: &mut Vec<Action>,
    ) {
        let priority = |node: &Self| node.slot(id).map(|slot| slot.protocol.priority());
        let before = priority(self);
        self.apply(now, id, input, out);
        let after = priority(self);
        if let (Some(from), Some(to), Some(slot)) = (before, after, self.slot(id))
            && from != to
            && slot.config.kind() == ProtocolKind::Vrrp
        {
            let name = slot.config.name().to_owned();
            out.push(Action::event(EventKind::VrrpPriority { name, from, to }));
        }
    }
}
