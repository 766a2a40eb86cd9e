//! Addresses that several routers hold at the same time, each for its share of the load:
//! `balancing` of CARP. Every router has the addresses for as long as it takes part; the vhids of
//! which it is MASTER say which share of the packets is its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_config::model::Balancing;
use lb_election::Role;

use super::config::{Carp, InstanceConfig};
use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node};

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

/// What was last said of each balanced instance, by its name: the places it holds; `None` while it
/// takes no part.
pub(crate) type Said = BTreeMap<String, Option<Vec<usize>>>;

impl Node {
    /// What is balanced now.
    #[must_use]
    pub fn shares(&self) -> Vec<Shared> {
        let leaders = self.living().filter(|slot| leads(slot).is_some());
        leaders.filter_map(|leader| self.share(leader)).collect()
    }

    /// Says so if an instance takes part in other shares than before.
    pub(crate) fn reshare(&mut self, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot(id) else { return };
        let Some(carp) = balanced(slot) else { return };
        let name = carp.instance.router.name.clone();
        let held = self.share(slot).map(|share| share.held);
        let before = self.shares_said.get(&name).cloned().flatten();
        if held == before {
            return;
        }
        // The first vhid knows which link they are on.
        let of_it = |slot: &&Slot| leads(slot).is_some_and(|it| it.instance.router.name == name);
        let leader = self.living().find(of_it).unwrap_or(slot);
        let vips = leader.owned_vips(&self.links);
        match (&before, &held) {
            (None, Some(_)) => out.push(Action::AddVips { instance: id, vips }),
            (Some(_), None) => out.push(Action::RemoveVips { instance: id, vips }),
            _ => {}
        }
        out.push(Action::Shares);
        self.shares_said.insert(name, held);
    }

    /// What the instance of this slot takes part in; `None` while it does not, or has no link.
    fn share(&self, slot: &Slot) -> Option<Shared> {
        let carp = balanced(slot)?;
        let instance = &carp.instance;
        let of_it = |slot: &&Slot| {
            let name = |slot: &Slot| Some(balanced(slot)?.instance.router.name.clone());
            name(slot).as_deref() == Some(instance.router.name.as_str())
        };
        let members: Vec<&Slot> = self.living().filter(of_it).collect();
        let takes_part = |slot: &&Slot| matches!(slot.role(), Role::Backup | Role::Master);
        if !members.iter().any(takes_part) {
            return None;
        }
        let masters = members.iter().enumerate().filter(|(_, slot)| slot.role() == Role::Master);
        Some(Shared {
            link: slot.link?,
            addresses: instance.router.vips.iter().map(|vip| vip.address).collect(),
            vhids: members.iter().map(|slot| slot.config.id()).collect(),
            held: masters.map(|(place, _)| place).collect(),
            balancing: instance.balancing,
            seed: seed(&instance.key),
        })
    }
}

/// The vhid of a slot if it is one of several.
pub(crate) fn balanced(slot: &Slot) -> Option<&Carp> {
    match &slot.config {
        InstanceConfig::Carp(carp) if !carp.instance.nodes.is_empty() => Some(carp),
        _ => None,
    }
}

/// The same, if it is the first.
fn leads(slot: &Slot) -> Option<&Carp> {
    balanced(slot).filter(|carp| carp.leads())
}

/// FNV-1a: it has to be equal everywhere, not strong.
fn seed(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}
