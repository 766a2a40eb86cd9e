//! What befalls the network.

use std::mem;

use lb_control::State;
use lb_node::{Node, Plan};

use super::queue::Event;
use super::{World, nanos};
use crate::Time;
use crate::host::{Change, Command, Stall};
use crate::outcome::Note;
use crate::scenario::What;

impl<'s> World<'s> {
    pub(super) fn deed(&mut self, index: usize) {
        self.note(|| Note::Deed(index));
        let what = &self.scenario.deeds[index].what;
        let planned = self.is_planned(what);
        if let What::Crash { router } = what {
            // An engine fails while it runs, not while it stalls: then all of the process was
            // killed, and nobody knows for how long it had been silent.
            let at = if self.hosts[*router].awake() { self.now } else { 0 };
            self.hosts[*router].crashed = (at, self.agreed());
        }
        if self.is_unnoticed(what) {
            return self.befall(what);
        }
        self.disturb();
        for vr in 0..self.planned.len() {
            let ours = self.guests.iter().all(|guest| guest.vr != Some(vr));
            self.planned[vr] = planned && ours && self.judge.has_heirs(vr, &self.hosts);
        }
        self.befall(what);
    }

    pub(super) fn heal(&mut self) {
        self.note(|| Note::Healed);
        let calm = self.scenario.calm;
        self.segments.iter_mut().for_each(|segment| segment.heal(calm));
        self.healed = true;
        self.disturb();
        for router in 0..self.hosts.len() {
            self.hosts[router].failing.clear();
            for wire in 0..self.hosts[router].carriers.len() {
                self.carrier(router, wire, true);
            }
            if self.hosts[router].stalled.take().is_some() {
                self.hosts[router].awake_since = self.now;
            }
            if self.hosts[router].node.is_some() {
                self.turn(router);
            } else if !self.hosts[router].legacy.is_empty() {
                self.start(router, true);
            }
        }
        self.look_at_all();
    }

    fn befall(&mut self, what: &'s What) {
        match what {
            What::PowerOn { router } => {
                if !mem::replace(&mut self.hosts[*router].power, true) {
                    self.start(*router, false);
                }
            }
            What::PowerOff { router } => {
                let host = &mut self.hosts[*router];
                host.power = false;
                host.vips.clear();
                host.legacy.clear();
                self.end_process(*router);
                self.look_at_all();
            }
            What::Crash { router } => {
                let masters = self.hosts[*router].node.as_ref().map(Node::masters);
                if let Some(masters) = masters {
                    self.hosts[*router].legacy = masters;
                    self.end_process(*router);
                }
            }
            What::Start { router, adopt } => self.start(*router, *adopt),
            What::Stop { router } => {
                let host = &mut self.hosts[*router];
                if host.node.is_some() && host.stopping.is_none() {
                    host.stopping = Some(false);
                    self.command(*router, Command::Stop);
                }
            }
            What::Handover { router, name } => {
                self.command(*router, Command::Handover(name.clone()));
            }
            What::Maintenance { router, on } => {
                self.command(*router, Command::Maintenance(*on));
            }
            What::Stall { router, time } => {
                self.stall(*router, self.now + nanos(*time), false, self.is_unnoticed(what));
            }
            What::Pause { router, time } => {
                self.stall(*router, self.now + nanos(*time), true, self.is_unnoticed(what));
            }
            What::Reload { router, plan } => {
                if self.hosts[*router].node.is_some() {
                    self.hosts[*router].plan = Plan::clone(plan);
                    self.command(*router, Command::Reload(plan.clone()));
                }
            }
            What::Cut { router, wire, cut } => {
                let segment = self.scenario.routers[*router].wires[*wire].segment;
                self.segments[segment].set_cut(*router, *cut);
                self.look_at_all();
            }
            What::Carrier { router, wire, up } => {
                self.carrier(*router, *wire, *up);
                self.turn(*router);
                self.look_at_all();
            }
            What::Deafen { segment, from, to, deaf } => {
                self.segments[*segment].set_deaf(*from, *to, *deaf);
            }
            What::Weather { segment, weather } => self.segments[*segment].set_weather(*weather),
            What::Script { router, name, success } => {
                let failing = &mut self.hosts[*router].failing;
                if *success {
                    failing.remove(name)
                } else {
                    failing.insert(name.clone())
                };
            }
            What::Meddle { router, address } => {
                let host = &mut self.hosts[*router];
                let removed = host.vips.iter().find(|(_, vip)| vip == address).copied();
                if let Some((link, address)) = removed {
                    host.vips.remove(&(link, address));
                    host.changes.push_back(Change::Removed(link, address));
                    self.turn(*router);
                    self.look_at_all();
                }
            }
        }
    }

    fn stall(&mut self, router: usize, until: Time, host: bool, unnoticed: bool) {
        let unnoticed = unnoticed.then_some(self.disturbed);
        let stalls = &mut self.hosts[router];
        if stalls.awake() {
            stalls.stalled = Some(Stall { until, host, unnoticed });
            let life = stalls.life;
            self.queue.push(until, Event::GoesOn { router, life });
        }
    }

    fn carrier(&mut self, router: usize, wire: usize, up: bool) {
        let host = &mut self.hosts[router];
        if mem::replace(&mut host.carriers[wire], up) != up && host.node.is_some() {
            host.changes.push_back(Change::Carrier(wire));
        }
    }

    pub(super) fn command(&mut self, router: usize, command: Command) {
        if self.hosts[router].node.is_some() {
            self.hosts[router].commands.push_back(command);
            self.turn(router);
        }
    }

    /// Whether something happens that must make no difference: a backup stalls when everybody has
    /// agreed. What is sent meanwhile waits for it, or it is away for so long that it must notice.
    fn is_unnoticed(&self, what: &What) -> bool {
        let (router, long_enough) = match what {
            What::Stall { router, .. } => (*router, true),
            What::Pause { router, time } => (*router, *time > self.bound),
            _ => return false,
        };
        let backup = |vr| self.judge.seat(router, vr).state != State::Master;
        self.agreed()
            && long_enough
            && self.hosts[router].awake()
            && (0..self.table.virtual_routers.len()).all(backup)
    }

    /// Whether nobody may notice what happens: it is the operator's will, and comes upon routers
    /// that agree.
    fn is_planned(&self, what: &What) -> bool {
        self.agreed()
            && match what {
                What::Stop { .. } | What::Handover { .. } | What::Maintenance { .. } => true,
                // Whoever left addresses behind takes them away.
                What::PowerOn { router } | What::Start { router, .. } => {
                    self.hosts[*router].vips.is_empty()
                }
                _ => false,
            }
    }
}
