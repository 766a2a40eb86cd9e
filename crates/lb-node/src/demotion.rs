//! Groups of CARP instances that are demoted together. `carp(4)` and `ifconfig(8)` of OpenBSD.
//!
//! What makes one member unfit counts for its whole group, so that a router that has lost one of
//! its networks gives up the others too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lb_control::EventKind;
use lb_election::Input;

use super::{Action, InstanceConfig, InstanceId, Node};

/// The counters, by name of the group.
#[derive(Debug, Default)]
pub(crate) struct Demotions(BTreeMap<String, Group>);

/// A counter and those who depend on it.
#[derive(Debug, Default)]
struct Group {
    members: Vec<InstanceId>,
    /// What the operator, or another engine, adds. Never below zero.
    from_outside: i32,
    /// With what its members add.
    demotion: i32,
}

impl Demotions {
    /// Forgets who is a member; what came from outside stays.
    pub(crate) fn dismiss(&mut self) {
        self.0.values_mut().for_each(|group| group.members.clear());
    }

    /// Makes an instance a member of the groups it names.
    pub(crate) fn enlist(&mut self, id: InstanceId, config: &InstanceConfig) {
        for name in config.demotion_groups() {
            match self.0.get_mut(name) {
                Some(group) => group.members.push(id),
                None => {
                    let group = Group { members: vec![id], ..Group::default() };
                    self.0.insert(name.clone(), group);
                }
            }
        }
    }

    /// Sum of the counters that count for an instance.
    pub(crate) fn of(&self, config: &InstanceConfig) -> i32 {
        let counters = config.demotion_groups().iter().filter_map(|name| self.0.get(name));
        counters.map(|group| group.demotion).fold(0, i32::saturating_add)
    }

    /// Every group that has members: its name, its counter and what of it came from outside.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, i32, i32)> {
        let inhabited = self.0.iter().filter(|(_, group)| !group.members.is_empty());
        inhabited.map(|(name, group)| (name.as_str(), group.demotion, group.from_outside))
    }
}

impl Node {
    /// Counts anew what the members of these groups add, and tells every member.
    pub(crate) fn recount<'a>(
        &mut self,
        now: Instant,
        names: impl IntoIterator<Item = &'a str>,
        reason: &str,
        out: &mut Vec<Action>,
    ) {
        let mut affected = BTreeSet::new();
        for name in names {
            let Self { demotions, slots, .. } = self;
            let Some(group) = demotions.0.get_mut(name) else { continue };
            let unfit = |id: &InstanceId| Some(slots.get(id.index())?.as_ref()?.unfit);
            let members = group.members.iter().filter_map(unfit);
            let demotion = members.fold(group.from_outside, i32::saturating_add);
            let by = demotion - group.demotion;
            if by != 0 {
                group.demotion = demotion;
                affected.extend(group.members.iter().copied());
                let (group, reason) = (name.to_owned(), reason.to_owned());
                out.push(Action::event(EventKind::CarpDemotion { group, by, demotion, reason }));
            }
        }
        for id in affected {
            let Some(slot) = self.slot(id) else { continue };
            let total = -self.demotions.of(&slot.config);
            self.drive(now, id, Input::Tracked(total), out);
        }
    }

    /// Somebody outside changes a counter.
    pub(crate) fn demote(&mut self, now: Instant, group: &str, by: i32, out: &mut Vec<Action>) {
        let counter = &mut self.demotions.0.entry(group.to_owned()).or_default().from_outside;
        *counter = counter.saturating_add(by).max(0);
        self.recount(now, [group], "the operator says so", out);
    }
}
