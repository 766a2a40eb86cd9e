//! What befalls a network: a storm until it heals, then one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use lb_node::InstanceConfig;

use super::{Maker, SCRIPT, vip};
use crate::bound;
use crate::chance::Chance;
use crate::scenario::{Deed, Scenario, Weather, What};
use crate::table::Table;

impl Maker {
    /// Turns everything on and lets things happen until the network heals.
    pub(super) fn storm(&mut self, scenario: &mut Scenario) {
        let length = self.beat * self.chance.within(4..=40) as u32;
        let early = self.one_in(2);
        for router in 0..scenario.routers.len() {
            let at = if early { Duration::ZERO } else { self.beats(0, 8).min(length) };
            scenario.deeds.push(Deed { at, what: What::PowerOn { router } });
        }
        for _ in 0..self.chance.within(0..=10) {
            let at = self.until(length);
            let (what, end) = self.trouble(scenario);
            scenario.deeds.push(Deed { at, what });
            let left = length.saturating_sub(at);
            if let Some(end) = end.filter(|_| self.chance.below(4) > 0) {
                let at = at + self.until(left);
                scenario.deeds.push(Deed { at, what: end });
            }
        }
        scenario.deeds.sort_by_key(|deed| deed.at);
        scenario.heal_at = length;
        scenario.end = length;
    }

    fn until(&mut self, end: Duration) -> Duration {
        Duration::from_nanos(self.chance.within(0..=end.as_nanos() as u64))
    }

    /// Something that goes wrong, and perhaps how it ends.
    fn trouble(&mut self, scenario: &Scenario) -> (What, Option<What>) {
        let router = self.chance.below(scenario.routers.len() as u64) as usize;
        let other = self.chance.below(scenario.routers.len() as u64) as usize;
        let segment = self.chance.below(self.segments as u64) as usize;
        match self.chance.below(18) {
            16 => {
                let vr = self.chance.below(self.virtual_routers.len() as u64) as usize;
                (What::Handover { router, name: format!("V{}", vr + 1) }, None)
            }
            17 => {
                let maintenance = |on| What::Maintenance { router, on };
                (maintenance(true), Some(maintenance(false)))
            }
            0 => (What::PowerOff { router }, Some(What::PowerOn { router })),
            1 | 2 => {
                let adopt = self.one_in(2);
                (What::Crash { router }, Some(What::Start { router, adopt }))
            }
            3 => (What::Stop { router }, Some(What::Start { router, adopt: false })),
            4 | 5 => {
                let longest = (self.beat * 10).min(Duration::from_secs(5));
                (What::Stall { router, time: self.until(longest) }, None)
            }
            6 => (self.reload(scenario, router), None),
            7 => {
                let cut = |cut| What::Cut { router, wire: segment, cut };
                (cut(true), Some(cut(false)))
            }
            8 => {
                let carrier = |up| What::Carrier { router, wire: segment, up };
                (carrier(false), Some(carrier(true)))
            }
            9..12 => {
                let deafen = |deaf| What::Deafen { segment, from: other, to: router, deaf };
                (deafen(true), Some(deafen(false)))
            }
            12 => {
                let script = |success| What::Script { router, name: SCRIPT.to_owned(), success };
                (script(false), Some(script(true)))
            }
            13 => {
                let vr = self.chance.below(self.virtual_routers.len() as u64) as usize;
                let draft = &self.virtual_routers[vr];
                let address = vip(draft.family, draft.segment, vr);
                (What::Meddle { router, address }, None)
            }
            _ => {
                let (weather, calm) = (self.weather(), scenario.calm);
                (What::Weather { segment, weather }, Some(What::Weather { segment, weather: calm }))
            }
        }
    }

    fn weather(&mut self) -> Weather {
        let ppm = |chance: &mut Chance, most| match chance.below(2) {
            0 => 0,
            _ => chance.below(most) as u32,
        };
        Weather {
            delay: self.beats(0, 2),
            jitter: self.beats(0, 2),
            loss_ppm: ppm(&mut self.chance, 800_000),
            duplicate_ppm: ppm(&mut self.chance, 500_000),
            reorder_ppm: ppm(&mut self.chance, 500_000),
        }
    }

    /// The same configuration with other numbers.
    fn reload(&mut self, scenario: &Scenario, router: usize) -> What {
        let mut plan = scenario.routers[router].plan.clone();
        // What keeps the ranks of a group keeps its peace.
        let weaker = self.chance.below(2) as u8;
        let stays = self.one_in(4);
        for instance in &mut plan.instances {
            match instance {
                InstanceConfig::Vrrp(vrrp) => {
                    let vrrp = Arc::make_mut(vrrp);
                    if vrrp.priority < 255 {
                        vrrp.priority = (vrrp.priority / (1 + weaker)).max(1);
                    }
                    vrrp.nopreempt |= stays && vrrp.priority < 255;
                }
                InstanceConfig::Carp(carp) => {
                    let instance = Arc::make_mut(&mut carp.instance);
                    let priority = ((254 - instance.advskew) / (1 + weaker)).max(1);
                    if instance.advbase > 0 {
                        instance.advskew = 254 - priority;
                        carp.node.advskew = instance.advskew;
                    }
                    instance.preempt &= !stays;
                }
            }
        }
        if self.removes && plan.instances.len() > 1 {
            plan.instances.pop();
        }
        What::Reload { router, plan: Box::new(plan) }
    }

    /// After the network has healed: one thing at a time, with time to agree in between.
    pub(super) fn calm(&mut self, scenario: &mut Scenario) {
        let table = Table::new(scenario);
        let bound = bound::agreement(scenario, &table);
        // What is under way when it heals.
        let under_way = self.beat * 4;
        scenario.end += under_way + bound + self.beat * 2;
        for _ in 0..self.chance.below(4) {
            let router = self.chance.below(scenario.routers.len() as u64) as usize;
            let at = scenario.end;
            let vr = self.chance.below(self.virtual_routers.len() as u64) as usize;
            let segment = self.chance.below(self.segments as u64) as usize;
            // Of a process that fails: at once mostly, or when somebody else has taken over.
            let pauses = *self.chance.pick(&[1, 1, 10, 20, 35, 60]);
            let mut then = |what, later: Duration| {
                scenario.deeds.push(Deed { at: at + later, what });
                scenario.end = at + later + bound + self.beat * 2;
            };
            match self.chance.below(12) {
                8 | 9 => {
                    let name = format!("V{}", vr + 1);
                    then(What::Handover { router, name }, Duration::ZERO);
                }
                10 => then(What::Maintenance { router, on: true }, Duration::ZERO),
                11 => then(What::Maintenance { router, on: false }, Duration::ZERO),
                0 => then(What::PowerOff { router }, Duration::ZERO),
                1 => then(What::PowerOn { router }, Duration::ZERO),
                2 => then(What::Stop { router }, Duration::ZERO),
                3 => then(What::Start { router, adopt: false }, Duration::ZERO),
                4 => {
                    then(What::Crash { router }, Duration::ZERO);
                    let pause = self.beat / 10 * pauses;
                    then(What::Start { router, adopt: true }, pause);
                }
                5 => then(
                    What::Stall { router, time: (self.beat * 8).min(Duration::from_secs(5)) },
                    Duration::ZERO,
                ),
                // A backup notices nothing of this, nor does anybody notice that of it.
                7 => {
                    let time = bound + self.beat * 4;
                    then(What::Pause { router, time }, Duration::ZERO);
                    scenario.end += time;
                }
                6 => {
                    then(What::Carrier { router, wire: segment, up: false }, Duration::ZERO);
                    then(What::Carrier { router, wire: segment, up: true }, bound);
                }
                _ => {
                    then(What::Cut { router, wire: segment, cut: true }, Duration::ZERO);
                    then(What::Cut { router, wire: segment, cut: false }, self.beat * 6);
                }
            }
        }
    }
}
