//! Virtual addresses whose packets this host must not accept (`no_accept`, `vrrp_strict`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::slot::Slot;
use super::vmac::{base_of, possible_names};
use super::{Action, InstanceConfig, Node, Phase, Plan};

/// How many names of virtual MACs may be taken by links of others.
const SPARE_NAMES: usize = 4;

/// Addresses, each with the interfaces that it can be on.
pub type Guarded = BTreeMap<IpAddr, BTreeSet<String>>;

impl InstanceConfig {
    /// Whether packets to its addresses are not accepted.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        matches!(self, Self::Vrrp(instance) if !instance.accept && instance.priority != u8::MAX)
    }
}

impl Plan {
    /// The addresses that must not accept packets.
    #[must_use]
    pub fn guarded(&self) -> Guarded {
        let mut guarded = Guarded::new();
        for config in self.instances.iter().filter(|config| config.is_guarded()) {
            let router = config.router();
            for vip in router.vips.iter().chain(&router.excluded_vips) {
                let on = guarded.entry(vip.address).or_default();
                let base = vip.interface.as_ref().or(router.interface.as_ref());
                on.extend(base.cloned());
                if base_of(config, vip).is_some() {
                    // Which name it gets is known when it is made: after the rules.
                    let same = self.instances.iter().filter(|other| other.id() == config.id());
                    let count = same.count() + SPARE_NAMES;
                    on.extend(possible_names(&self.vmac_prefixes, config, count));
                }
            }
        }
        guarded
    }

    /// What has to be guarded while this plan takes the place of others, of whose addresses these were
    /// guarded: their instances may hold them for a while.
    #[must_use]
    pub fn guarded_after(&self, before: &Guarded) -> Guarded {
        let mut guarded = self.guarded();
        let mine: BTreeSet<IpAddr> = (self.instances.iter())
            .flat_map(|config| config.router().vips.iter().chain(&config.router().excluded_vips))
            .map(|vip| vip.address)
            .collect();
        for (address, interfaces) in before {
            if guarded.contains_key(address) || !mine.contains(address) {
                guarded.entry(*address).or_default().extend(interfaces.iter().cloned());
            }
        }
        guarded
    }
}

impl Node {
    /// Whether nobody holds addresses of an earlier plan: every instance that a reload has removed has
    /// let go, and none is MASTER no longer and has not yet.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.departing.is_empty() && self.living().all(|slot| slot.release_at().is_none())
    }

    /// What has to be guarded by the plan in force, with the virtual MACs by the names that they have.
    #[must_use]
    pub fn guarded(&self, plan: &Plan) -> Guarded {
        let mut guarded = plan.guarded();
        for slot in self.living().filter(|slot| slot.config.is_guarded()) {
            let router = slot.config.router();
            for vip in router.vips.iter().chain(&router.excluded_vips) {
                if let Some(on) = guarded.get_mut(&vip.address) {
                    on.extend(slot.vmac_of(vip).map(str::to_owned));
                }
            }
        }
        guarded
    }

    /// Why an instance must not hold its addresses: they would accept packets.
    pub(crate) fn unguarded(&self, slot: &Slot) -> Option<String> {
        let (open, why) = self.unguarded.as_ref().filter(|_| slot.config.is_guarded())?;
        let router = slot.config.router();
        let vip = router.vips.iter().chain(&router.excluded_vips);
        let vip = vip.map(|vip| vip.address).find(|address| open.contains(address))?;
        Some(format!("packets to {vip} cannot be dropped, as no_accept or vrrp_strict asks: {why}"))
    }

    /// Guarded addresses cannot be guarded, or can be again.
    pub(crate) fn guarding(
        &mut self,
        now: Instant,
        open: &BTreeSet<IpAddr>,
        reason: &str,
        out: &mut Vec<Action>,
    ) {
        self.unguarded = (!open.is_empty()).then(|| (open.clone(), reason.to_owned()));
        let guarded =
            |id: &super::InstanceId| self.slot(*id).is_some_and(|slot| slot.config.is_guarded());
        let users = self.order.iter().copied().filter(guarded).collect();
        if self.phase == Phase::Running {
            self.evaluate(now, users, out);
        }
    }
}
