//! A new configuration in place of the old one, at the start and at a reload.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

use lb_config::model::{Family, Peers, VirtualRouter};
use lb_election::Input;
use lb_election::Role;

use super::protocol::Together;
use super::shares;
use super::slot::{Since, Slot};
use super::{Action, Group, InstanceConfig, InstanceId, Node, Phase, ProtocolKind};
use crate::plan::Plan;

/// What makes an instance the same one in another configuration. Its name does not.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    kind: ProtocolKind,
    id: u8,
    family: Option<Family>,
    interface: Option<String>,
    /// Unicast source, or multicast group.
    channel: Result<Option<IpAddr>, IpAddr>,
}

impl Identity {
    fn of(config: &InstanceConfig) -> Self {
        let router = config.router();
        Self {
            kind: config.kind(),
            id: config.id(),
            family: match config {
                InstanceConfig::Vrrp(instance) => Some(instance.family),
                InstanceConfig::Carp(_) => None,
            },
            interface: router.interface.clone(),
            channel: match router.peers {
                Peers::Multicast { group } => Err(group),
                Peers::Unicast { .. } => Ok(router.source),
            },
        }
    }
}

impl Node {
    /// Replaces the configuration: matched instances go on, new ones begin, removed ones end.
    pub(crate) fn reload(&mut self, now: Instant, plan: Plan, out: &mut Vec<Action>) {
        // Every master says once more that it lives, lest the work below takes long.
        for id in self.order.clone() {
            self.apply(now, id, Input::Advertise, out);
        }
        let removed = self.install(plan);
        for id in removed {
            self.depart(now, id, out);
        }
        self.refresh_links(out);
        for id in self.order.clone() {
            self.exchange_vips(now, id, out);
            self.admit(now, id, out);
        }
        self.remove_leftovers(now, out);
        for id in self.order.clone() {
            self.reconfigure(now, id);
        }
        self.recount_state_sync(now, out);
        self.evaluate(now, self.order.clone(), out);
    }

    /// Lays out slots, groups and indexes for a plan. Returns the instances that it removes.
    /// Their slots stay until the next input; matched ones keep theirs.
    pub(crate) fn install(&mut self, plan: Plan) -> Vec<InstanceId> {
        let mut removed = mem::take(&mut self.order);
        let mut known: HashMap<Identity, InstanceId> = removed
            .iter()
            .filter_map(|id| Some((Identity::of(&self.slot(*id)?.config), *id)))
            .collect();
        self.scripts.redefine(plan.scripts, self.phase == Phase::New);
        self.followed.redefine(plan.files, plan.processes);
        self.carp = plan.carp;
        self.vmacs.prefixes = plan.vmac_prefixes;
        self.balance.forgive();
        self.demotions.dismiss();
        self.link_users.clear();
        let groups: HashMap<&str, usize> = (plan.groups.iter().enumerate())
            .flat_map(|(index, group)| group.members.iter().map(move |name| (name.as_str(), index)))
            .collect();
        let mut together = vec![Together::default(); plan.groups.len()];
        for config in &plan.instances {
            if let Some(group) = groups.get(config.router().name.as_str()) {
                together[*group].add(config);
            }
        }
        self.slots.reserve(plan.instances.len().saturating_sub(self.slots.len()));
        for config in plan.instances {
            let group = groups.get(config.router().name.as_str()).copied();
            let id = match known.remove(&Identity::of(&config)) {
                Some(id) => id,
                None => {
                    let (group, seed) = (group.map(|group| together[group]), self.seeds.next());
                    let mut slot = Slot::new(config.clone(), group, seed);
                    slot.protocol.number_from(self.number);
                    self.allocate(slot)
                }
            };
            self.order.push(id);
            self.demotions.enlist(id, &config);
            self.index(id, config.router());
            if let Some(slot) = self.slot_mut(id) {
                (slot.config, slot.group) = (config, group);
            }
        }
        self.index_addresses();
        let names: Vec<String> = plan.groups.into_iter().map(|group| group.name).collect();
        self.install_groups(names.into_iter().zip(together));
        self.name_vmacs();
        let kept: HashSet<InstanceId> = self.order.iter().copied().collect();
        removed.retain(|id| !kept.contains(id));
        removed
    }

    /// A group goes on in its role if it had one; else its members' roles say where it stands. Of a new
    /// one that is in FAULT this is still to be told.
    fn install_groups(&mut self, groups: impl Iterator<Item = (String, Together)>) {
        let old = mem::take(&mut self.groups);
        let old: HashMap<String, (Role, bool)> =
            old.into_iter().map(|g| (g.name, (g.role, g.waited))).collect();
        let new = |(name, together)| {
            let waited = old.get(&name).is_some_and(|(_, waited)| *waited);
            let (members, role) = (Vec::new(), Role::Init);
            Group { name, members, together, role, waited, stopped: false }
        };
        self.groups = groups.map(new).collect();
        for id in self.order.clone() {
            if let Some(group) = self.slot(id).and_then(|slot| slot.group) {
                self.groups[group].members.push(id);
            }
        }
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let roles = || group.members.iter().filter_map(|id| Some(self.slot(*id)?.role()));
            let role = old.get(&group.name).map(|(role, _)| *role).unwrap_or_else(|| {
                [Role::Master, Role::Backup]
                    .into_iter()
                    .find(|role| roles().any(|member| member == *role))
                    .unwrap_or(Role::Init)
            });
            self.groups[index].role = role;
        }
    }

    fn allocate(&mut self, slot: Slot) -> InstanceId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            InstanceId(self.slots.len() as u32 - 1)
        });
        self.slots[id.index()] = Some(slot);
        id
    }

    fn index(&mut self, id: InstanceId, config: &VirtualRouter) {
        self.scripts.add_user(id, config);
        self.followed.add_user(id, config);
        for name in link_names(config) {
            self.link_users.entry(name.to_owned()).or_default().insert(id);
        }
    }

    fn index_addresses(&mut self) {
        let routers =
            || self.order.iter().filter_map(|id| Some((*id, self.slot(*id)?.config.router())));
        let vips = routers().flat_map(|(id, router)| {
            let vips = router.vips.iter().chain(&router.excluded_vips);
            vips.map(move |vip| (vip.address, id))
        });
        let sources = routers()
            .filter(|(_, router)| router.track_source)
            .filter_map(|(id, router)| Some((router.source?, id)));
        (self.vip_users, self.source_users) = (vips.collect(), sources.collect());
    }

    /// Lets a new instance know what holds for all.
    fn admit(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let maintenance = self.maintenance.clone();
        let Some(slot) = self.slot_mut(id).filter(|slot| slot.since.is_none()) else { return };
        slot.since = Some(Since::new(now));
        if maintenance.is_some() {
            slot.maintenance = maintenance.map(Box::new);
            self.apply(now, id, Input::Maintenance(true), out);
        }
    }

    /// A master's VIPs: removes what is gone, adds what is new, announces what is there.
    fn exchange_vips(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let links = &self.links;
        let Some(slot) = self.slots[id.index()].as_mut() else { return };
        if slot.role() != Role::Master {
            return;
        }
        let garp = slot.config.router().garp;
        slot.garp.start_extra(now, slot.config.router().garp_extra);
        // One that is balanced now may have been alone before.
        let balanced = shares::balanced(slot).is_some();
        let vips = if balanced { Vec::new() } else { slot.owned_vips(links) };
        let (gone, new) = slot.hold(vips);
        self.drop_vips(id, gone, out);
        let Some(slot) = self.slot_mut(id).filter(|_| !balanced) else { return };
        if !new.is_empty() {
            out.push(Action::AddVips { instance: id, vips: new });
            slot.garp.start(now, &garp);
            slot.announce(id, garp.repeat, out);
        } else if !garp.refresh.is_zero() {
            slot.announce(id, garp.repeat, out);
        }
        self.arm(id);
    }

    fn reconfigure(&mut self, now: Instant, id: InstanceId) {
        let Self { slots, groups, .. } = self;
        if let Some(slot) = slots[id.index()].as_mut() {
            let together = slot.group.map(|group| groups[group].together);
            slot.protocol.reconfigure(now, &slot.config, together);
        }
        self.arm(id);
    }
}

/// Names of all links an instance depends on; some may come twice.
fn link_names(config: &VirtualRouter) -> impl Iterator<Item = &str> {
    let vips = config.vips.iter().chain(&config.excluded_vips);
    (config.interface.as_deref().into_iter())
        .chain(vips.filter_map(|vip| vip.interface.as_deref()))
        .chain(config.track_interfaces.iter().map(|tracked| tracked.name.as_str()))
}
