//! Addresses that several routers hold at the same time, each for its share of the load:
//! `balancing` of CARP. Every router has the addresses for as long as it takes part; the vhids of
//! which it is MASTER say which share of the packets is its own.
//!
//! What shares a load is there before everything that draws packets, which are the addresses and the
//! virtual MAC, and goes after it: in between each router would take all packets for its own.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

use lb_config::model::Balancing;
use lb_election::Role;

use super::config::{Carp, InstanceConfig};
use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node, Phase, Vip};

/// The addresses of one balanced instance, and what of their load is for this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The link of its interface.
    pub link: LinkIndex,
    /// Its VIPs.
    pub addresses: Vec<IpAddr>,
    /// A share each, in the same order on every router.
    pub vhids: Vec<u8>,
    /// Places among the vhids whose share is for this host.
    pub held: Vec<usize>,
    /// How the load reaches the routers.
    pub balancing: Balancing,
    /// The same on every router and known to nobody else: a hash of the passphrase.
    pub seed: u32,
}

impl Shared {
    /// Whether this takes the place of the other.
    fn succeeds(&self, other: &Self) -> bool {
        (self.link, self.vhids.first()) == (other.link, other.vhids.first())
    }
}

/// What was last asked for of everything balanced.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    shares: Vec<Shared>,
    /// The addresses that are there, and whose they are.
    vips: Vec<(InstanceId, Vip)>,
    /// Whether to look if something else is wanted now.
    pub(crate) stale: bool,
    /// Why the kernel does not share. Then everybody would answer everything: better nobody here.
    failure: Option<String>,
}

impl Balance {
    /// Why a slot cannot be, if it depends on sharing.
    pub(crate) fn fault(&self, slot: &Slot) -> Option<String> {
        let failure = self.failure.as_ref().filter(|_| balanced(slot).is_some())?;
        Some(format!("cannot balance: {failure}"))
    }

    /// Whether this address is there for its balanced instance.
    pub(crate) fn has(&self, link: LinkIndex, address: IpAddr) -> bool {
        self.vips.iter().any(|(_, vip)| (vip.link, vip.address.address) == (link, address))
    }

    /// Asks again for what has failed.
    pub(crate) fn forgive(&mut self) {
        if self.failure.take().is_some() {
            self.shares.clear();
        }
    }
}

/// The vhids of one balanced instance on one interface.
struct Team<'a> {
    /// The first one, which knows what is configured.
    first: InstanceId,
    slot: &'a Slot,
    carp: &'a Carp,
    members: Vec<&'a Slot>,
}

impl Node {
    /// What is balanced now, whether this host takes part or not. Valid before
    /// [`Input::Start`](super::Input::Start) too: it has to be there before a virtual MAC is.
    #[must_use]
    pub fn shares(&self) -> Vec<Shared> {
        self.teams().iter().filter_map(|team| self.share(team)).collect()
    }

    /// Those that share a load are there while that can be done.
    pub(crate) fn sharing(&mut self, now: Instant, failure: Option<&str>, out: &mut Vec<Action>) {
        self.balance.failure = failure.map(str::to_owned);
        let shares = |id: &InstanceId| self.slot(*id).is_some_and(|slot| balanced(slot).is_some());
        let users = self.order.iter().copied().filter(shares).collect();
        if self.phase == Phase::Running {
            self.evaluate(now, users, out);
        }
    }

    /// Asks for other shares, addresses and virtual MACs if others are wanted.
    pub(crate) fn rebalance(&mut self, out: &mut Vec<Action>) {
        if self.phase == Phase::New || !mem::take(&mut self.balance.stale) {
            return self.ask_for_vmacs(out);
        }
        let vips = self.shared_vips();
        let before = mem::take(&mut self.balance.vips);
        let without = |all: &[(InstanceId, Vip)], others: &[(InstanceId, Vip)]| {
            let others: HashSet<&Vip> = others.iter().map(|(_, vip)| vip).collect();
            let rest = all.iter().filter(|(_, vip)| !others.contains(vip));
            rest.filter(|(_, vip)| self.links.get(vip.link).is_some()).cloned().collect::<Vec<_>>()
        };
        let (gone, new) = (without(&before, &vips), without(&vips, &before));
        for (instance, vips) in by_instance(gone) {
            self.drop_vips(instance, vips, out);
        }
        self.balance.vips = vips;

        let wanted = self.shares();
        // What this host leaves is nobody's here, until the virtual MAC is gone too.
        let left = self.balance.shares.iter();
        let left = left.filter(|old| !wanted.iter().any(|new| new.succeeds(old)));
        let left = left.map(|old| Shared { held: Vec::new(), ..old.clone() });
        let meanwhile = wanted.iter().cloned().chain(left).collect();
        self.take_shares(meanwhile, out);
        let add = |(instance, vips)| Action::AddVips { instance, vips };
        out.extend(by_instance(new).into_iter().map(add));
        self.ask_for_vmacs(out);
        self.take_shares(wanted, out);
    }

    fn take_shares(&mut self, shares: Vec<Shared>, out: &mut Vec<Action>) {
        if self.balance.shares != shares {
            self.balance.shares.clone_from(&shares);
            out.push(Action::Shares(shares));
        }
    }

    /// An address has gone that is to be there as long as this host takes part.
    pub(crate) fn miss_shared_vip(&mut self, link: LinkIndex, address: IpAddr) {
        let Balance { vips, stale, .. } = &mut self.balance;
        let before = vips.len();
        vips.retain(|(_, vip)| (vip.link, vip.address.address) != (link, address));
        *stale |= vips.len() != before;
    }

    /// Links of these names came up: the kernel may have dropped what was there.
    pub(crate) fn miss_shared_vips(&mut self, names: &[String]) {
        let Self { balance, links, .. } = self;
        let is_there = |vip: &Vip| {
            let link = links.get(vip.link);
            link.is_some_and(|link| !(link.up && names.contains(&link.name)))
        };
        balance.vips.retain(|(_, vip)| is_there(vip));
    }

    /// In the order of the configuration, then those that leave.
    fn teams(&self) -> Vec<Team<'_>> {
        let mut teams: Vec<Team<'_>> = Vec::new();
        if self.phase == Phase::Stopped {
            return teams;
        }
        let mut places = HashMap::new();
        for &id in self.order.iter().chain(&self.departing) {
            let Some(slot) = self.slot(id) else { continue };
            let Some(carp) = balanced(slot) else { continue };
            let router = &carp.instance.router;
            let place = *places.entry((&router.name, &router.interface)).or_insert(teams.len());
            match teams.get_mut(place) {
                Some(team) => team.members.push(slot),
                None => teams.push(Team { first: id, slot, carp, members: vec![slot] }),
            }
        }
        teams
    }

    /// What there is to share; `None` without a link.
    fn share(&self, team: &Team<'_>) -> Option<Shared> {
        let instance = &team.carp.instance;
        // Before the start: who is to resume has it still.
        let is_master = |slot: &Slot| match self.phase {
            Phase::New => self.adopt.contains(slot.config.name()),
            _ => slot.role() == Role::Master,
        };
        let is_held =
            |vhid| team.members.iter().any(|slot| slot.config.id() == vhid && is_master(slot));
        let vhids: Vec<u8> = instance.nodes.iter().map(|node| node.vhid).collect();
        let held = (0..).zip(&vhids).filter(|(_, vhid)| is_held(**vhid)).map(|(place, _)| place);
        Some(Shared {
            link: self.links.named(instance.router.interface.as_deref()?)?.0,
            addresses: instance.router.vips.iter().map(|vip| vip.address).collect(),
            held: held.collect(),
            vhids,
            balancing: instance.balancing,
            seed: seed(&instance.key),
        })
    }

    /// The addresses of every balanced instance that this host takes part in.
    fn shared_vips(&self) -> Vec<(InstanceId, Vip)> {
        let takes_part = |slot: &&Slot| matches!(slot.role(), Role::Backup | Role::Master);
        let teams = self.teams().into_iter().filter(|team| team.members.iter().any(takes_part));
        let vips = teams.flat_map(|team| {
            let vips = team.slot.owned_vips(&self.links).into_iter();
            vips.map(move |vip| (team.first, vip))
        });
        vips.collect()
    }
}

fn by_instance(vips: Vec<(InstanceId, Vip)>) -> Vec<(InstanceId, Vec<Vip>)> {
    let mut all: Vec<(InstanceId, Vec<Vip>)> = Vec::new();
    for (id, vip) in vips {
        match all.last_mut().filter(|(last, _)| *last == id) {
            Some((_, vips)) => vips.push(vip),
            None => all.push((id, vec![vip])),
        }
    }
    all
}

/// The vhid of a slot if it is one of several.
pub(crate) fn balanced(slot: &Slot) -> Option<&Carp> {
    match &slot.config {
        InstanceConfig::Carp(carp) if !carp.instance.nodes.is_empty() => Some(carp),
        _ => None,
    }
}

/// FNV-1a: it has to be equal everywhere, not strong.
fn seed(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}
