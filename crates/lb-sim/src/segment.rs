//! A segment: who is on it, and what becomes of packets.

use crate::Time;
use crate::chance::Chance;
use crate::scenario::{MAX_ROUTERS, MAX_STRANGERS, Scenario, Weather};

/// Whoever may be on a segment.
const MAX_NODES: usize = MAX_ROUTERS + MAX_STRANGERS;

/// A broadcast domain with a switch in the middle.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) weather: Weather,
    /// The longest that a packet under way may still take.
    pub(crate) worst: Weather,
    /// Routers on it, and the index of their wire.
    pub(crate) ports: Vec<(usize, usize)>,
    /// Whom a router does not hear, a bit each.
    deaf: [u32; MAX_NODES],
    /// Whose cable is cut behind the switch, a bit each.
    cut: u32,
    /// When the last packet that stays in order arrives, by receiver and sender.
    last: Vec<Time>,
}

/// What becomes of one packet for one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives then, and perhaps once more.
    Arrives(Time, Option<Time>),
    /// A cable is cut or nothing gets through that way.
    Blocked,
    /// Bad luck.
    Lost,
}

impl Segment {
    pub(crate) fn new(scenario: &Scenario, index: usize) -> Self {
        let wires = scenario.routers.iter().enumerate().flat_map(|(router, spec)| {
            (spec.wires.iter().enumerate()).map(move |(wire, spec)| (router, wire, spec.segment))
        });
        let ports = wires.filter(|(.., segment)| *segment == index);
        Self {
            weather: scenario.calm,
            worst: scenario.calm,
            ports: ports.map(|(router, wire, _)| (router, wire)).collect(),
            deaf: [0; MAX_NODES],
            cut: 0,
            last: vec![0; MAX_NODES * MAX_NODES],
        }
    }

    /// Whether a router is cut off.
    pub(crate) fn is_cut(&self, router: usize) -> bool {
        self.cut & (1 << router) != 0
    }

    /// Whether anything gets from one router to another.
    pub(crate) fn hears(&self, from: usize, to: usize) -> bool {
        !self.is_cut(from) && !self.is_cut(to) && self.deaf[to] & (1 << from) == 0
    }

    /// Whether everybody can hear everybody.
    pub(crate) fn whole(&self) -> bool {
        self.cut == 0 && self.deaf.iter().all(|deaf| *deaf == 0)
    }

    pub(crate) fn set_cut(&mut self, router: usize, cut: bool) {
        self.cut = if cut { self.cut | 1 << router } else { self.cut & !(1 << router) };
    }

    pub(crate) fn set_deaf(&mut self, from: usize, to: usize, deaf: bool) {
        let bit = 1 << from;
        self.deaf[to] = if deaf { self.deaf[to] | bit } else { self.deaf[to] & !bit };
    }

    pub(crate) fn set_weather(&mut self, weather: Weather) {
        if weather.longest() > self.worst.longest() {
            self.worst = weather;
        }
        self.weather = weather;
    }

    /// Everything is mended and calm.
    pub(crate) fn heal(&mut self, calm: Weather) {
        self.weather = calm;
        self.deaf = [0; MAX_NODES];
        self.cut = 0;
    }

    /// What becomes of a packet from one router to another. `chance` is this packet's own.
    pub(crate) fn fate(&mut self, now: Time, from: usize, to: usize, mut chance: Chance) -> Fate {
        if !self.hears(from, to) {
            return Fate::Blocked;
        }
        let Weather { loss_ppm, duplicate_ppm, reorder_ppm, .. } = self.weather;
        if chance.happens(loss_ppm) {
            return Fate::Lost;
        }
        let mut at = now + self.takes(&mut chance);
        let again = chance.happens(duplicate_ppm).then(|| now + self.takes(&mut chance));
        if !chance.happens(reorder_ppm) {
            let last = &mut self.last[to * MAX_NODES + from];
            at = at.max(*last);
            *last = at;
        }
        Fate::Arrives(at, again)
    }

    /// How long something takes to a client: `None` if it is lost.
    pub(crate) fn to_clients(&self, from: usize, chance: &mut Chance) -> Option<Time> {
        let lost = self.is_cut(from) || chance.happens(self.weather.loss_ppm);
        (!lost).then(|| self.takes(chance))
    }

    fn takes(&self, chance: &mut Chance) -> Time {
        let Weather { delay, jitter, .. } = self.weather;
        let jitter = jitter.as_nanos() as u64;
        delay.as_nanos() as u64 + if jitter > 0 { chance.within(0..=jitter) } else { 0 }
    }
}
