//! The world: one queue of events, one clock, everything that happens in its order.

use std::time::{Duration, Instant};

use lb_control::State;
use lb_node::{Action, Datagram};

use crate::Time;
use crate::bound;
use crate::host::Host;
use crate::judge::Judge;
use crate::outcome::{Count, Entry, Note, Outcome, Why};
use crate::scenario::Scenario;
use crate::segment::Segment;
use crate::table::Table;
use client::Clients;
use guest::Guest;
use queue::{Event, Queue};

pub(crate) use packet::Packet;

mod client;
mod deed;
mod guest;
mod hearing;
mod node;
mod packet;
mod process;
mod queue;

/// Runs a scenario from its beginning to its end, or to the first broken promise.
///
/// The same scenario always has the same outcome. With `trace` the outcome has its notes.
#[must_use]
pub fn run(scenario: &Scenario, trace: bool) -> Outcome {
    let mut world = World::new(scenario, trace);
    world.run(true);
    world.outcome(true)
}

/// The same to the end, whatever is broken: for configurations that may be at fault themselves.
#[must_use]
pub fn observe(scenario: &Scenario) -> Outcome {
    let mut world = World::new(scenario, false);
    world.run(false);
    world.outcome(false)
}

struct World<'s> {
    scenario: &'s Scenario,
    table: Table,
    now: Time,
    queue: Queue,
    hosts: Vec<Host>,
    guests: Vec<Guest<'s>>,
    segments: Vec<Segment>,
    clients: Clients,
    judge: Judge,
    /// How long routers may take to agree.
    bound: Duration,
    /// It heals at its time, and from then on everybody must agree.
    healed: bool,
    disturbed: u32,
    /// What happened last was meant to happen, and these virtual routers have heirs.
    planned: Vec<bool>,
    roles: Vec<(Time, usize, usize, State)>,
    notes: Option<Vec<Entry>>,
    /// Why the input that is being handled may change states.
    why: Why,
    count: Count,
    actions: Vec<Action>,
    payload: Vec<u8>,
    datagrams: Vec<Datagram>,
}

impl<'s> World<'s> {
    fn new(scenario: &'s Scenario, trace: bool) -> Self {
        // Nodes take points on a monotonic clock: this one is where time begins, and only
        // distances from it count.
        let zero = Instant::now();
        let table = Table::new(scenario);
        let host = |router: &crate::Router| {
            Host::new(zero, router.drift_ppm, router.plan.clone(), router.wires.len())
        };
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            hosts: scenario.routers.iter().map(host).collect(),
            segments: (0..scenario.segments.len()).map(|n| Segment::new(scenario, n)).collect(),
            guests: Guest::all(scenario, &table, zero),
            clients: Clients::default(),
            judge: Judge::new(scenario, &table),
            bound: bound::agreement(scenario, &table),
            healed: false,
            disturbed: 0,
            planned: vec![false; table.virtual_routers.len()],
            roles: Vec::new(),
            notes: trace.then(Vec::new),
            why: Why::Start,
            count: Count::default(),
            actions: Vec::new(),
            payload: Vec::new(),
            datagrams: Vec::new(),
            scenario,
            table,
        };
        for (router, plan) in scenario.plans() {
            let spec = &scenario.routers[router];
            for (wire, address) in
                world.table.terms(spec, plan).into_iter().flat_map(|terms| terms.vips)
            {
                world.clients.views.entry((spec.wires[wire].segment, address)).or_default();
            }
        }
        for guest in 0..world.guests.len() {
            world.queue.push(world.guests[guest].wake_at(), Event::GuestWakes { guest });
        }
        for (index, deed) in scenario.deeds.iter().enumerate() {
            world.queue.push(nanos(deed.at), Event::Deed(index));
        }
        world.queue.push(nanos(scenario.heal_at), Event::Heal);
        world
    }

    fn run(&mut self, strict: bool) {
        let end = nanos(self.scenario.end);
        while let Some((at, event)) = self.queue.pop() {
            if at > end || strict && self.judge.violation.is_some() {
                break;
            }
            self.now = at;
            self.handle(event);
        }
    }

    fn outcome(self, strict: bool) -> Outcome {
        let violation = self.judge.violation;
        let broken = violation.as_ref().filter(|_| strict);
        let end = broken.map_or(self.scenario.end, |violation| violation.at);
        let routers = self.scenario.routers.len() as u64;
        let views = self.clients.views.into_iter().map(|((segment, address), view)| {
            crate::outcome::View { segment, address, served: times(view.served) }
        });
        Outcome {
            virtual_routers: self.table.virtual_routers,
            bound: self.bound,
            views: views.collect(),
            roles: (self.roles.into_iter())
                .map(|(at, router, vr, state)| crate::outcome::Change {
                    at: Duration::from_nanos(at),
                    router,
                    virtual_router: vr,
                    state,
                })
                .collect(),
            notes: self.notes.unwrap_or_default(),
            count: Count { router_time: end * routers as u32, ..self.count },
            violation,
        }
    }

    fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(notes) = &mut self.notes {
            notes.push(Entry { at: Duration::from_nanos(self.now), note: note() });
        }
    }

    fn handle(&mut self, event: Event) {
        self.count.events += 1;
        match event {
            Event::Arrive { router, wire, packet } => self.arrive(router, wire, packet),
            Event::GuestHears { guest, packet } => self.guest_hears(guest, &packet),
            Event::GuestWakes { guest } => self.guest_wakes(guest),
            Event::Wake { router, life } => {
                let host = &mut self.hosts[router];
                // Only the last one that was set counts.
                if host.life == life && host.wake_at.take_if(|at| *at == self.now).is_some() {
                    self.turn(router);
                }
            }
            Event::GoesOn { router, life } => {
                let host = &mut self.hosts[router];
                if host.life == life
                    && let Some(stall) = host.stalled.take_if(|stall| stall.until == self.now)
                {
                    host.awake_since = self.now;
                    self.note(|| Note::GoesOn { router });
                    if stall.unnoticed != Some(self.disturbed) {
                        self.disturb();
                    }
                    self.turn(router);
                }
            }
            Event::ScriptEnds { router, life, script } => self.script_ends(router, life, script),
            Event::Announced { router, segment, address, sent } => {
                self.announced(router, segment, address, sent);
            }
            Event::Doubt { segment, address, since } => self.doubt(segment, address, since),
            Event::Deed(index) => self.deed(index),
            Event::Heal => self.heal(),
            Event::Verdict { disturbed }
                if disturbed == self.disturbed && self.segments.iter().all(Segment::whole) =>
            {
                self.judge.rest_since = Some(self.now);
                let strangers: Vec<_> = self.guests.iter().filter_map(Guest::mastery).collect();
                self.judge.agreed(self.now, self.scenario, &self.hosts, &strangers);
                self.find_misled_clients();
                self.note(|| Note::Verdict);
            }
            Event::Verdict { .. } => {}
        }
    }

    /// Whether nothing has happened since everybody agreed.
    fn agreed(&self) -> bool {
        self.judge.rest_since.is_some_and(|since| self.now > since)
    }

    /// Something happens: give everybody time.
    fn disturb(&mut self) {
        self.disturbed += 1;
        self.judge.rest_since = None;
        if self.healed {
            let worst = self.segments.iter().map(|segment| bound::under_way(segment.worst));
            let at = self.now + nanos(self.bound + worst.max().unwrap_or_default());
            self.queue.push(at, Event::Verdict { disturbed: self.disturbed });
            self.segments.iter_mut().for_each(|segment| segment.worst = segment.weather);
        }
    }
}

fn nanos(time: Duration) -> Time {
    time.as_nanos() as u64
}

fn times(served: Vec<(Time, Option<usize>)>) -> Vec<(Duration, Option<usize>)> {
    served.into_iter().map(|(at, server)| (Duration::from_nanos(at), server)).collect()
}
