//! A smaller scenario that breaks the same promise.

use std::time::Duration;

use crate::judge::Promise;
use crate::scenario::{Scenario, Weather, What};
use crate::world::run;

/// How many scenarios are tried at most.
const PATIENCE: usize = 5_000;

/// The smallest scenario that can be found which breaks the same promise as this one: without
/// deeds, instances and weather that are not needed. A scenario that breaks none comes back as it is.
#[must_use]
pub fn shrink(scenario: &Scenario) -> Scenario {
    let Some(violation) = run(scenario, false).violation else { return scenario.clone() };
    let mut shrinker =
        Shrinker { best: scenario.clone(), promise: violation.promise, left: PATIENCE };
    while shrinker.pass() {}
    shrinker.best
}

struct Shrinker {
    best: Scenario,
    promise: Promise,
    left: usize,
}

impl Shrinker {
    /// Tries everything once. Whether anything was of use.
    fn pass(&mut self) -> bool {
        let deeds = self.fewer_deeds();
        let instances = self.fewer_instances();
        let simpler = self.simpler();
        (deeds || instances || simpler) && self.left > 0
    }

    /// Keeps a candidate that fails alike.
    fn keep(&mut self, candidate: Scenario) -> bool {
        if self.left == 0 || candidate == self.best {
            return false;
        }
        self.left -= 1;
        let fails = run(&candidate, false).violation;
        let alike = fails.is_some_and(|violation| violation.promise == self.promise);
        if alike {
            self.best = candidate;
        }
        alike
    }

    /// Deeds go in halves, quarters, and one by one. A router that is never turned on is gone.
    fn fewer_deeds(&mut self) -> bool {
        let mut any = false;
        let mut size = self.best.deeds.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.best.deeds.len() {
                let mut candidate = self.best.clone();
                let to = (from + size).min(candidate.deeds.len());
                candidate.deeds.drain(from..to);
                if self.keep(candidate) {
                    any = true;
                } else {
                    from += size;
                }
            }
            size /= 2;
        }
        any
    }

    fn fewer_instances(&mut self) -> bool {
        let mut any = false;
        let mut names: Vec<String> = (self.best.plans())
            .flat_map(|(_, plan)| plan.instances.iter().map(|config| config.name().to_owned()))
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let mut candidate = self.best.clone();
            for plan in plans(&mut candidate) {
                plan.instances.retain(|config| config.name() != name);
                for group in &mut plan.groups {
                    group.members.retain(|member| *member != name);
                }
                plan.groups.retain(|group| !group.members.is_empty());
            }
            any |= self.keep(candidate);
        }
        any
    }

    /// Takes away what makes things complicated, one thing at a time.
    fn simpler(&mut self) -> bool {
        let mut any = false;
        let mut attempt = |change: &dyn Fn(&mut Scenario)| {
            let mut candidate = self.best.clone();
            change(&mut candidate);
            any |= self.keep(candidate);
        };
        attempt(&|scenario| drop(scenario.strangers.pop()));
        attempt(&|scenario| plans(scenario).for_each(|plan| plan.groups.clear()));
        attempt(&|scenario| plans(scenario).for_each(|plan| plan.scripts.clear()));
        attempt(&|scenario| plans(scenario).for_each(|plan| plan.startup_delay = Duration::ZERO));
        attempt(&|scenario| scenario.routers.iter_mut().for_each(|router| router.drift_ppm = 0));
        attempt(&|scenario| scenario.lateness = Duration::ZERO);
        attempt(&|scenario| {
            scenario.calm = Weather { delay: scenario.calm.longest(), ..Weather::default() };
        });
        for mild in [
            |weather: &mut Weather| weather.loss_ppm = 0,
            |weather: &mut Weather| weather.duplicate_ppm = 0,
            |weather: &mut Weather| weather.reorder_ppm = 0,
            |weather: &mut Weather| weather.jitter = Duration::ZERO,
            |weather: &mut Weather| weather.delay = Duration::ZERO,
        ] {
            attempt(&|scenario| {
                for deed in &mut scenario.deeds {
                    if let What::Weather { weather, .. } = &mut deed.what {
                        mild(weather);
                    }
                }
            });
        }
        for unit in [Duration::from_secs(1), Duration::from_millis(100), Duration::from_millis(1)] {
            attempt(&|scenario| {
                for deed in &mut scenario.deeds {
                    deed.at = round(deed.at, unit);
                }
            });
        }
        any
    }
}

fn plans(scenario: &mut Scenario) -> impl Iterator<Item = &mut lb_node::Plan> {
    let first = scenario.routers.iter_mut().map(|router| &mut router.plan);
    let later = scenario.deeds.iter_mut().filter_map(|deed| match &mut deed.what {
        What::Reload { plan, .. } => Some(&mut **plan),
        _ => None,
    });
    first.chain(later)
}

fn round(time: Duration, unit: Duration) -> Duration {
    Duration::from_nanos((time.as_nanos() / unit.as_nanos() * unit.as_nanos()) as u64)
}
