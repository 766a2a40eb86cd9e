//! Groups of CARP instances that are demoted together. `carp(4)` and `ifconfig(8)` of OpenBSD.
//!
//! What makes one member unfit counts for its whole group, so that a router that has lost one of
//! its networks gives up the others too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lb_control::EventKind;
use lb_control::status::CarpGroup;
use lb_election::Input;

use super::slot::Slot;
use super::{Action, InstanceConfig, InstanceId, Node, Phase};

/// The group that is demoted while state synchronisation fails: that of which `pfsync(4)` is a member.
pub const STATE_SYNC_GROUP: &str = "carp";

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Demotions {
    /// By name.
    groups: BTreeMap<String, Group>,
    /// Why state synchronisation has failed.
    state_sync: Option<String>,
}

/// A counter and those who depend on it.
#[derive(Debug, Default)]
struct Group {
    members: Vec<InstanceId>,
    /// What the operator adds. Never below zero.
    by_operator: i32,
    /// What failed state synchronisation adds.
    by_state_sync: i32,
    /// With what its members add.
    demotion: i32,
}

impl Demotions {
    /// Forgets who is a member; what others add stays.
    pub(crate) fn dismiss(&mut self) {
        self.groups.values_mut().for_each(|group| group.members.clear());
    }

    /// Makes an instance a member of the groups it names.
    pub(crate) fn enlist(&mut self, id: InstanceId, config: &InstanceConfig) {
        for name in config.demotion_groups() {
            match self.groups.get_mut(name) {
                Some(group) => group.members.push(id),
                None => {
                    let group = Group { members: vec![id], ..Group::default() };
                    self.groups.insert(name.clone(), group);
                }
            }
        }
    }

    /// Sum of the counters that count for an instance.
    pub(crate) fn of(&self, config: &InstanceConfig) -> i32 {
        let counters = config.demotion_groups().iter().filter_map(|name| self.groups.get(name));
        counters.map(|group| group.demotion).fold(0, i32::saturating_add)
    }

    /// Why an instance is demoted that cannot help it: state synchronisation has failed.
    pub(crate) fn without_sync(&self, config: &InstanceConfig) -> Option<String> {
        let failure = self.state_sync.as_deref()?;
        let concerned = config.demotion_groups().iter().any(|name| name == STATE_SYNC_GROUP);
        concerned
            .then(|| format!("group {STATE_SYNC_GROUP} is demoted: {}", state_sync(Some(failure))))
    }

    /// Every group that has members.
    pub(crate) fn groups(&self, slots: &[Option<Slot>]) -> impl Iterator<Item = CarpGroup> {
        let inhabited = self.groups.iter().filter(|(_, group)| !group.members.is_empty());
        inhabited.map(|(name, group)| CarpGroup {
            name: name.clone(),
            demotion: group.demotion,
            by_operator: group.by_operator,
            by_state_sync: group.by_state_sync,
            causes: self.causes(name, slots),
        })
    }

    /// Why the members of a group are unfit, a sentence each.
    pub(crate) fn causes(&self, name: &str, slots: &[Option<Slot>]) -> Vec<String> {
        let members = self.groups.get(name).into_iter().flat_map(|group| &group.members);
        let members = members.filter_map(|id| slots.get(id.index())?.as_ref());
        let mut causes: Vec<String> = Vec::new();
        for cause in members.flat_map(|slot| slot.weaknesses.iter().chain(&slot.faults)) {
            if !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
        causes
    }
}

/// How state synchronisation is, in words.
pub(crate) fn state_sync(failure: Option<&str>) -> String {
    match failure {
        Some(failure) => format!("state synchronisation has failed: {failure}"),
        None => "state synchronisation works again".to_owned(),
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
            let Some(group) = demotions.groups.get_mut(name) else { continue };
            let unfit = |id: &InstanceId| Some(slots.get(id.index())?.as_ref()?.unfit);
            let members = group.members.iter().filter_map(unfit);
            let others = group.by_operator.saturating_add(group.by_state_sync);
            let demotion = members.fold(others, i32::saturating_add);
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

    /// The operator changes a counter.
    pub(crate) fn demote(&mut self, now: Instant, group: &str, by: i32, out: &mut Vec<Action>) {
        let counter = &mut self.demotions.groups.entry(group.to_owned()).or_default().by_operator;
        *counter = counter.saturating_add(by).max(0);
        self.recount(now, [group], "the operator says so", out);
    }

    /// State synchronisation works, or does not.
    pub(crate) fn state_sync(
        &mut self,
        now: Instant,
        failure: Option<&str>,
        out: &mut Vec<Action>,
    ) {
        self.demotions.state_sync = failure.map(str::to_owned);
        if self.phase == Phase::Running {
            self.recount_state_sync(now, out);
        }
    }

    /// Counts anew what state synchronisation adds. A router that has not got the others' connections is
    /// the worse master, but a master all the same: one is what `pfsync(4)` adds.
    pub(crate) fn recount_state_sync(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Demotions { groups, state_sync: failure } = &mut self.demotions;
        let Some(group) = groups.get_mut(STATE_SYNC_GROUP) else { return };
        let by = i32::from(failure.is_some());
        if group.by_state_sync != by {
            group.by_state_sync = by;
            let reason = state_sync(failure.as_deref());
            self.recount(now, [STATE_SYNC_GROUP], &reason, out);
        }
    }
}
