//! The world: one queue of events, one clock, everything that happens in its order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_carp::Pace;
use lb_control::status::Maintenance;
use lb_control::{EventKind, State};
use lb_election::IpPacket;
use lb_node::{Action, Datagram, Input, LinkIndex, Node, Plan, ProtocolKind, Socket, SocketFamily};

use crate::Time;
use crate::bound;
use crate::chance::Chance;
use crate::client::Clients;
use crate::host::{Change, Command, Host};
use crate::judge::{Cause, Judge, Promise};
use crate::outcome::{Count, Entry, Note, Outcome, Said, Why};
use crate::scenario::{MAX_ROUTERS, Scenario, What};
use crate::segment::{Fate, Segment};
use crate::table::{Table, Terms};
use guest::Guest;

mod guest;

/// Links from this index on are virtual MACs.
const VMAC: LinkIndex = 1 << 16;

/// The link that a virtual MAC stands on; any other is its own.
fn base(link: LinkIndex) -> LinkIndex {
    link % VMAC
}

/// One packet under way to any number of receivers.
#[derive(Debug)]
pub(crate) struct Packet {
    from: usize,
    segment: usize,
    /// The virtual router it is of.
    vr: Option<usize>,
    source: IpAddr,
    destination: IpAddr,
    protocol: ProtocolKind,
    ttl: Option<u8>,
    payload: Vec<u8>,
}

impl Packet {
    /// What it says of its sender. RFC 9568 §5.2; `lb_carp::Advert`.
    fn said(&self) -> Said {
        match (self.protocol, &self.payload[..]) {
            (ProtocolKind::Vrrp, [_, _, 0, ..]) => Said::Stop,
            (ProtocolKind::Vrrp, [_, _, priority, ..]) => Said::Vrrp(*priority),
            (ProtocolKind::Carp, [_, _, advskew, _, demotion, advbase, ..]) => {
                match (Pace { advbase: *advbase, advskew: *advskew }) {
                    Pace::BOW_OUT => Said::Stop,
                    pace => Said::Carp(Reverse(*demotion), Reverse(pace.interval())),
                }
            }
            _ => Said::Stop,
        }
    }

    /// Its sender's interval. RFC 9568 §5.2.7, RFC 3768 §5.3.7.
    fn interval(&self) -> Duration {
        match (self.said(), &self.payload[..]) {
            (Said::Carp(_, Reverse(interval)), _) => interval,
            (_, [head, _, _, _, high, low, ..]) if head >> 4 == 3 => {
                Duration::from_millis((u64::from(high & 0x0f) << 8 | u64::from(*low)) * 10)
            }
            (_, [_, _, _, _, _, seconds, ..]) => Duration::from_secs((*seconds).into()),
            _ => Duration::ZERO,
        }
    }
}

#[derive(Debug)]
enum Event {
    Arrive {
        router: usize,
        wire: usize,
        packet: Rc<Packet>,
    },
    GuestHears {
        guest: usize,
        packet: Rc<Packet>,
    },
    GuestWakes {
        guest: usize,
    },
    /// Of a process in its so manieth life.
    Wake {
        router: usize,
        life: u32,
    },
    GoesOn {
        router: usize,
        life: u32,
    },
    ScriptEnds {
        router: usize,
        life: u32,
        script: usize,
    },
    /// Clients hear that a router has an address.
    Announced {
        router: usize,
        segment: usize,
        address: IpAddr,
    },
    /// Clients doubt what they believe.
    Doubt {
        segment: usize,
        address: IpAddr,
        since: Time,
    },
    Deed(usize),
    Heal,
    /// Everybody has had time to agree, unless something happened since.
    Verdict {
        disturbed: u32,
    },
}

#[derive(Debug)]
struct Queued {
    at: Time,
    /// Keeps the order of what is at one time.
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

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
    queue: BinaryHeap<Reverse<Queued>>,
    number: u64,
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
            queue: BinaryHeap::new(),
            number: 0,
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
            world.push(world.guests[guest].wake_at(), Event::GuestWakes { guest });
        }
        for (index, deed) in scenario.deeds.iter().enumerate() {
            world.push(nanos(deed.at), Event::Deed(index));
        }
        world.push(nanos(scenario.heal_at), Event::Heal);
        world
    }

    fn run(&mut self, strict: bool) {
        let end = nanos(self.scenario.end);
        while let Some(Reverse(next)) = self.queue.pop() {
            if next.at > end || strict && self.judge.violation.is_some() {
                break;
            }
            self.now = next.at;
            self.handle(next.event);
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

    fn push(&mut self, at: Time, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Queued { at, number: self.number, event }));
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
                if host.life == life && host.stalled.take_if(|until| *until == self.now).is_some() {
                    host.awake_since = self.now;
                    self.note(|| Note::GoesOn { router });
                    self.disturb();
                    self.turn(router);
                }
            }
            Event::ScriptEnds { router, life, script } => self.script_ends(router, life, script),
            Event::Announced { router, segment, address } => {
                if let Some(view) = self.clients.views.get_mut(&(segment, address)) {
                    view.pointer = Some(router);
                    self.look(segment, address);
                }
            }
            Event::Doubt { segment, address, since } => self.doubt(segment, address, since),
            Event::Deed(index) => {
                self.note(|| Note::Deed(index));
                let what = &self.scenario.deeds[index].what;
                let planned = self.is_planned(what);
                if let What::Crash { router } = what {
                    // An engine fails while it runs, not while it stalls: then all of the process
                    // was killed, and nobody knows for how long it had been silent.
                    let at = if self.hosts[*router].awake() { self.now } else { 0 };
                    self.hosts[*router].crashed = (at, self.agreed());
                }
                self.disturb();
                for vr in 0..self.planned.len() {
                    let ours = self.guests.iter().all(|guest| guest.vr != Some(vr));
                    self.planned[vr] = planned && ours && self.judge.has_heirs(vr, &self.hosts);
                }
                self.befall(what);
            }
            Event::Heal => self.heal(),
            Event::Verdict { disturbed }
                if disturbed == self.disturbed && self.segments.iter().all(Segment::whole) =>
            {
                self.judge.rest_since = Some(self.now);
                let strangers: Vec<_> = self.guests.iter().filter_map(Guest::mastery).collect();
                self.judge.agreed(self.now, self.scenario, &self.hosts, &strangers);
                self.note(|| Note::Verdict);
            }
            Event::Verdict { .. } => {}
        }
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
            self.push(at, Event::Verdict { disturbed: self.disturbed });
            self.segments.iter_mut().for_each(|segment| segment.worst = segment.weather);
        }
    }

    fn heal(&mut self) {
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
                let host = &mut self.hosts[*router];
                if host.awake() {
                    let until = self.now + nanos(*time);
                    host.stalled = Some(until);
                    let life = host.life;
                    self.push(until, Event::GoesOn { router: *router, life });
                }
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

    fn carrier(&mut self, router: usize, wire: usize, up: bool) {
        let host = &mut self.hosts[router];
        if mem::replace(&mut host.carriers[wire], up) != up && host.node.is_some() {
            host.changes.push_back(Change::Carrier(wire));
        }
    }

    fn command(&mut self, router: usize, command: Command) {
        if self.hosts[router].node.is_some() {
            self.hosts[router].commands.push_back(command);
            self.turn(router);
        }
    }

    /// Starts the process of a host that has power and none.
    fn start(&mut self, router: usize, adopt: bool) {
        let (spec, host) = (&self.scenario.routers[router], &mut self.hosts[router]);
        if let Some(again) = &mut host.stopping {
            *again = true;
        }
        if !host.power || host.node.is_some() {
            return;
        }
        let legacy = mem::take(&mut host.legacy);
        // As the supervisor does it.
        let (crashed, agreed) = host.crashed;
        let ago = Duration::from_nanos(self.now - crashed);
        let legacy = if adopt { host.plan.resumable(&legacy, ago) } else { BTreeSet::new() };
        host.terms = self.table.terms(spec, &host.plan);
        host.node = Some(Node::new(host.plan.clone(), &legacy, self.scenario.seed ^ router as u64));
        host.awake_since = self.now;
        let deaf = host.plan.startup_delay;
        host.deaf_until = self.now + nanos(deaf + bound::stretch(self.scenario, deaf));
        for (wire, spec) in spec.wires.iter().enumerate() {
            let link = wire as LinkIndex + 1;
            let up = self.hosts[router].carriers[wire];
            self.tell(router, Input::Link { link, name: &spec.name, up });
            let vips = &self.hosts[router].vips;
            let vips = vips.iter().filter(|(on, _)| *on == link).map(|(_, vip)| *vip);
            let addresses: Vec<IpAddr> = spec.addresses.iter().copied().chain(vips).collect();
            for address in addresses {
                self.tell(router, Input::Address { link, address, present: true });
            }
        }
        self.make_vmacs(router);
        self.why = if legacy.is_empty() { Why::Start } else { Why::Resume };
        self.tell(router, Input::Start);
        if agreed {
            self.judge.resumed(self.now, (router, &spec.name), &self.hosts);
        }
        let life = self.hosts[router].life;
        for script in 0..self.hosts[router].plan.scripts.len() {
            self.push(self.now + 1_000_000, Event::ScriptEnds { router, life, script });
        }
        self.judge.addresses(self.now, router, &spec.name, &self.hosts[router]);
        self.arm(router);
    }

    fn end_process(&mut self, router: usize) {
        for vr in 0..self.table.virtual_routers.len() {
            self.vacate(router, vr);
        }
        self.hosts[router].end_process();
    }

    /// An instance is no more.
    fn vacate(&mut self, router: usize, vr: usize) {
        if !matches!(self.judge.seat(router, vr).state, State::Init | State::Stop) {
            self.roles.push((self.now, router, vr, State::Init));
        }
        self.judge.forget(router, vr);
    }

    fn script_ends(&mut self, router: usize, life: u32, script: usize) {
        let host = &self.hosts[router];
        let Some(script_plan) = host.plan.scripts.get(script).filter(|_| host.life == life) else {
            return;
        };
        let next = self.now + nanos(script_plan.interval);
        let name = script_plan.name.clone();
        self.push(next, Event::ScriptEnds { router, life, script });
        self.command(router, Command::Script(name));
    }

    fn arrive(&mut self, router: usize, wire: usize, packet: Rc<Packet>) {
        let host = &mut self.hosts[router];
        let link = wire as LinkIndex + 1;
        let Some(node) = host.node.as_ref().filter(|_| host.carriers[wire]) else { return };
        let group = packet.destination.is_multicast().then_some(packet.destination);
        let family = if packet.source.is_ipv4() { SocketFamily::Inet } else { SocketFamily::Inet6 };
        let open = |link| node.sockets().contains(&Socket { link, family, group });
        if !open(Some(link)) && !open(None) {
            return;
        }
        self.count.packets += 1;
        host.sockets.push_back((link, packet));
        if host.awake() {
            self.turn(router);
        }
    }

    /// A process wakes up: first what has arrived, then what has changed, then the time, then what
    /// it is told to do.
    fn turn(&mut self, router: usize) {
        if !self.hosts[router].awake() {
            return;
        }
        while let Some((link, packet)) = self.hosts[router].sockets.pop_front() {
            self.hear(router, link, &packet);
        }
        while let Some(change) = self.hosts[router].changes.pop_front() {
            match change {
                Change::Carrier(wire) => {
                    let link = wire as LinkIndex + 1;
                    let name = &self.scenario.routers[router].wires[wire].name;
                    let up = self.hosts[router].carriers[wire];
                    self.why = Why::Carrier { wire, up };
                    self.tell(router, Input::Link { link, name, up });
                }
                Change::Removed(link, address) => {
                    self.why = Why::Removed(address);
                    self.tell(router, Input::Address { link, address, present: false });
                }
            }
        }
        self.why = Why::Silence;
        self.tell(router, Input::Timer);
        while let Some(command) = self.hosts[router].commands.pop_front() {
            match command {
                Command::Script(name) => {
                    let success = !self.hosts[router].failing.contains(&name);
                    self.why = Why::Script { success };
                    self.tell(router, Input::Script { name: &name, success });
                }
                Command::Reload(plan) => {
                    let terms = self.table.terms(&self.scenario.routers[router], &plan);
                    let before = mem::replace(&mut self.hosts[router].terms, terms);
                    self.why = Why::Reload;
                    self.tell(router, Input::Reload(*plan));
                    self.judge.reloaded(router);
                    for old in before {
                        if self.hosts[router].terms.iter().all(|terms| terms.vr != old.vr) {
                            self.vacate(router, old.vr);
                        }
                    }
                }
                Command::Handover(name) => {
                    self.why = Why::Handover;
                    self.judge.hand_over(router, &self.hosts[router], &name);
                    self.tell(router, Input::Handover { name: &name });
                }
                Command::Maintenance(on) => {
                    self.why = Why::Maintenance;
                    self.judge.maintain(router, on);
                    let state = on.then(|| Maintenance {
                        by: "operator".to_owned(),
                        since: Timestamp::UNIX_EPOCH,
                        persistent: false,
                    });
                    self.tell(router, Input::Maintenance { name: None, state });
                }
                Command::Stop => {
                    self.why = Why::Stop;
                    self.tell(router, Input::Stop);
                }
            }
        }
        if self.hosts[router].node.as_ref().is_some_and(Node::stopped) {
            let again = self.hosts[router].stopping == Some(true);
            self.end_process(router);
            if again {
                self.disturb();
                self.start(router, false);
            }
            return;
        }
        let name = &self.scenario.routers[router].name;
        if self.hosts[router].stopping.is_none() {
            self.judge.addresses(self.now, router, name, &self.hosts[router]);
        }
        self.arm(router);
    }

    fn hear(&mut self, router: usize, link: LinkIndex, packet: &Rc<Packet>) {
        let wire = link as usize - 1;
        let said = packet.said();
        let mut better = false;
        if let Some(vr) = packet.vr {
            let host = &self.hosts[router];
            if let Some(terms) = host.terms.iter().find(|terms| terms.vr == vr) {
                better = self.is_better(router, wire, terms, packet);
                let patience =
                    self.has_to_let_be(terms, packet).filter(|_| self.now > host.deaf_until);
                self.judge.heard(self.now, router, vr, patience.map(nanos));
            }
        }
        self.why = Why::Heard { from: packet.from, said };
        let input = IpPacket {
            source: packet.source,
            destination: packet.destination,
            ttl: packet.ttl,
            declared_len: None,
            payload: &packet.payload,
        };
        self.tell(router, Input::Packet { link, packet: input });
        if let Some(vr) = packet.vr.filter(|_| better)
            && self.judge.seat(router, vr).state == State::Master
        {
            let name = &self.scenario.routers[router].name;
            self.judge.complain(self.now, Promise::Yield, Some(vr), || {
                format!("{name} stays MASTER though it heard {said}")
            });
        }
    }

    /// How long an instance has to let the sender of a packet be if it does not preempt.
    fn has_to_let_be(&self, terms: &Terms, packet: &Packet) -> Option<Duration> {
        if !terms.nopreempt {
            return None;
        }
        let patience = terms.patience.shortest(packet.interval());
        match packet.said() {
            Said::Stop => None,
            Said::Vrrp(_) => Some(patience),
            // Somebody demoted, or too slow, need not be put up with.
            Said::Carp(Reverse(0), Reverse(interval)) => (interval <= patience).then_some(patience),
            Said::Carp(..) => None,
        }
    }

    /// Whether a packet is from a better master than this one.
    fn is_better(&self, router: usize, wire: usize, terms: &Terms, packet: &Packet) -> bool {
        let seat = self.judge.seat(router, terms.vr);
        if seat.state != State::Master || seat.said == Some(Said::Stop) || terms.owner {
            return false;
        }
        let (ours, theirs) = (self.judge.standing(router, terms), packet.said());
        let addresses = &self.scenario.routers[router].wires[wire].addresses;
        let like = |ours: &&IpAddr| ours.is_ipv4() == packet.source.is_ipv4();
        let wins = addresses.iter().find(like).is_some_and(|ours| match theirs {
            Said::Vrrp(_) => packet.source > *ours,
            // The lower compared from the last octet; of demoted ones the higher:
            // `lb_carp::Instance`.
            Said::Carp(Reverse(0), _) => backwards(packet.source) < backwards(*ours),
            Said::Carp(..) => packet.source > *ours,
            Said::Stop => false,
        });
        theirs != Said::Stop && (theirs > ours || theirs == ours && wins)
    }

    /// Gives a node an input now and does what it says.
    fn tell(&mut self, router: usize, input: Input<'_>) {
        let host = &mut self.hosts[router];
        let Some(node) = &mut host.node else { return };
        let now = host.clock.at(self.now);
        let mut actions = mem::take(&mut self.actions);
        node.handle(now, input, &mut actions);
        let mut changed = false;
        for action in actions.drain(..) {
            changed |= matches!(action, Action::Event(_));
            self.act(router, action);
        }
        self.actions = actions;
        if changed {
            let name = self.scenario.routers[router].name.as_str();
            let host = &self.hosts[router];
            // Those that are told to stop wait each for its own successor.
            if host.stopping.is_none() {
                self.judge.groups(self.now, (router, name), &host.terms);
            }
        }
    }

    fn act(&mut self, router: usize, action: Action) {
        match action {
            Action::Send { instance, advert } => {
                let (mut payload, mut datagrams) =
                    (mem::take(&mut self.payload), mem::take(&mut self.datagrams));
                if let Some(node) = &self.hosts[router].node {
                    node.emit(instance, advert, &mut payload, &mut datagrams);
                }
                for datagram in datagrams.drain(..) {
                    self.send(router, &datagram, &payload[datagram.payload.clone()]);
                }
                payload.clear();
                (self.payload, self.datagrams) = (payload, datagrams);
            }
            Action::AddVips { vips, .. } => {
                for vip in vips {
                    let link = base(vip.link);
                    self.hosts[router].vips.insert((link, vip.address.address));
                    self.moved(router, link, vip.address.address);
                }
            }
            Action::RemoveVips { vips, .. } => {
                for vip in vips {
                    let link = base(vip.link);
                    self.hosts[router].vips.remove(&(link, vip.address.address));
                    self.moved(router, link, vip.address.address);
                }
            }
            Action::Announce { instance, rounds } => self.announce(router, instance, rounds),
            Action::AnnounceExtra { .. } | Action::Sockets | Action::Shares | Action::Promote => {}
            Action::Vmacs => self.make_vmacs(router),
            Action::Event(event) => self.event(router, &event),
        }
    }

    /// Virtual MACs are there as soon as they are wanted. What is on one is on its base: clients here
    /// know routers, not MACs.
    fn make_vmacs(&mut self, router: usize) {
        let vmacs = self.hosts[router].node.as_ref().map(Node::vmacs).unwrap_or_default();
        for (number, vmac) in (1..).zip(vmacs) {
            let link = vmac.base + number * VMAC;
            self.tell(router, Input::Link { link, name: &vmac.name, up: true });
        }
    }

    fn event(&mut self, router: usize, event: &EventKind) {
        if let Some((name, state, priority)) = event.instance() {
            let host = &self.hosts[router];
            let Some(terms) = host.terms.iter().find(|terms| terms.name == name) else { return };
            let vr = terms.vr;
            self.roles.push((self.now, router, vr, state));
            let cause = match self.why {
                Why::Heard { .. } => Some(Cause::Packet),
                Why::Resume => Some(Cause::Resume),
                _ => None,
            };
            let name = self.scenario.routers[router].name.as_str();
            self.judge.entered(self.now, (router, name), terms, (state, priority), cause);
            let why = self.why;
            self.note(|| Note::Enters { router, virtual_router: vr, state, priority, why });
        } else if let EventKind::VrrpPriority { name, to, .. } = event {
            let terms = &self.hosts[router].terms;
            if let Some(vr) = terms.iter().find(|terms| terms.name == *name).map(|terms| terms.vr) {
                self.judge.priority(router, vr, *to);
                let priority = *to;
                self.note(|| Note::Priority { router, virtual_router: vr, priority });
            }
        }
    }

    /// Wakes a process when its node is due, a little late.
    fn arm(&mut self, router: usize) {
        let host = &mut self.hosts[router];
        let deadline = host.node.as_ref().and_then(Node::deadline);
        let Some(deadline) = deadline.filter(|_| host.awake()) else { return };
        let due = host.clock.when(deadline);
        let life = host.life;
        if host.wake_at.is_some_and(|at| at <= due) {
            return;
        }
        // A command may have made something due that was not when the timers were handled.
        if due <= self.now && mem::replace(&mut host.hurried, self.now) == self.now {
            self.judge.complain(self.now, Promise::Timer, None, || {
                format!("{} has a timer that stays due", self.scenario.routers[router].name)
            });
            return;
        }
        let mut chance = Chance::of(self.scenario.seed, [due, router as u64]);
        let at = due.max(self.now) + chance.within(0..=nanos(self.scenario.lateness));
        self.hosts[router].wake_at = Some(at);
        self.push(at, Event::Wake { router, life });
    }

    fn send(&mut self, from: usize, datagram: &Datagram, payload: &[u8]) {
        let wires = &self.scenario.routers[from].wires;
        let Some(wire) = (match datagram.link {
            Some(link) => Some(link as usize - 1),
            None => wires.iter().position(|wire| wire.addresses.contains(&datagram.source)),
        }) else {
            return;
        };
        let segment = wires[wire].segment;
        let Datagram { source, destination, ttl, protocol, .. } = *datagram;
        let id = payload.get(1).copied().unwrap_or_default();
        let vr = self.table.find(segment, source, protocol, id);
        let payload = payload.to_vec();
        let packet = Packet { from, segment, vr, source, destination, protocol, ttl, payload };
        let said = packet.said();
        if let Some(vr) = vr {
            let host = &self.hosts[from];
            if let Some(terms) = host.terms.iter().find(|terms| terms.vr == vr) {
                self.judge.sent(self.now, from, host, terms, said);
            }
            if said == Said::Stop {
                self.note(|| Note::SaysStop { router: from, virtual_router: vr });
            }
        }
        if !self.hosts[from].carriers[wire] {
            return;
        }
        self.broadcast(&Rc::new(packet));
    }

    /// A packet is on its segment.
    fn broadcast(&mut self, packet: &Rc<Packet>) {
        let Packet { from, segment, vr, destination, .. } = **packet;
        for port in 0..self.segments[segment].ports.len() {
            let (to, wire) = self.segments[segment].ports[port];
            let addresses = &self.scenario.routers[to].wires[wire].addresses;
            if to == from || !destination.is_multicast() && !addresses.contains(&destination) {
                continue;
            }
            let arrive = |packet| Event::Arrive { router: to, wire, packet };
            self.deliver(packet, to, arrive);
        }
        for guest in 0..self.guests.len() {
            let to = MAX_ROUTERS + guest;
            if to != from && vr.is_some() && self.guests[guest].vr == vr {
                self.deliver(packet, to, |packet| Event::GuestHears { guest, packet });
            }
        }
    }

    fn deliver(&mut self, packet: &Rc<Packet>, to: usize, event: impl Fn(Rc<Packet>) -> Event) {
        let Packet { from, segment, vr, .. } = **packet;
        let about = (from as u64) << 48 | (to as u64) << 32 | (segment as u64) << 16;
        let number = packet.payload.get(1).copied().unwrap_or_default();
        let about = about | (packet.protocol as u64) << 8 | u64::from(number);
        let chance = Chance::of(self.scenario.seed, [self.now, about]);
        match self.segments[segment].fate(self.now, from, to, chance) {
            Fate::Arrives(at, again) => {
                for at in [Some(at), again].into_iter().flatten() {
                    self.push(at, event(Rc::clone(packet)));
                }
            }
            fate @ (Fate::Blocked | Fate::Lost) => {
                if let Some(virtual_router) = vr {
                    let blocked = fate == Fate::Blocked;
                    self.note(|| Note::Lost { from, to, virtual_router, blocked });
                }
            }
        }
    }

    /// Tells clients of the addresses of an instance; one round that arrives is enough.
    fn announce(&mut self, router: usize, instance: lb_node::InstanceId, rounds: u32) {
        let Some(node) = &self.hosts[router].node else { return };
        let vips: Vec<_> =
            node.vips(instance).map(|(link, vip)| (base(link), vip.address)).collect();
        for (link, address) in vips {
            let wire = link as usize - 1;
            if !self.hosts[router].carriers[wire] {
                continue;
            }
            let segment = self.scenario.routers[router].wires[wire].segment;
            let mut chance = Chance::of(self.scenario.seed, [self.now, link.into()]);
            let first = (0..rounds)
                .filter_map(|_| self.segments[segment].to_clients(router, &mut chance))
                .min();
            if let Some(takes) = first {
                self.push(self.now + takes, Event::Announced { router, segment, address });
            }
        }
    }

    /// An address came to a host or left it.
    fn moved(&mut self, router: usize, link: LinkIndex, address: IpAddr) {
        let segment = self.scenario.routers[router].wires[link as usize - 1].segment;
        self.look(segment, address);
    }

    fn look_at_all(&mut self) {
        let keys: Vec<_> = self.clients.views.keys().copied().collect();
        for (segment, address) in keys {
            self.look(segment, address);
        }
    }

    /// Whether clients of an address get through now.
    fn look(&mut self, segment: usize, address: IpAddr) {
        let Some(view) = self.clients.views.get(&(segment, address)) else { return };
        let pointer = view.pointer;
        let server = pointer.filter(|router| self.answers(*router, segment, address));
        let view = self.clients.views.get_mut(&(segment, address));
        if view.is_some_and(|view| view.set(self.now, server)) {
            self.note(|| Note::Serves { segment, address, router: server });
            if let (None, Some(vr)) = (server, self.planned_vr(segment, address)) {
                self.judge.complain(self.now, Promise::HandOver, Some(vr), || {
                    format!("clients of {address} get nowhere")
                });
            }
        }
        if server.is_none() {
            let at = self.now + nanos(self.scenario.patience);
            self.push(at, Event::Doubt { segment, address, since: self.now });
        }
    }

    /// The virtual router of an address that has to be served now.
    fn planned_vr(&self, segment: usize, address: IpAddr) -> Option<usize> {
        let mut all = self
            .hosts
            .iter()
            .zip(&self.scenario.routers)
            .flat_map(|(host, spec)| host.terms.iter().map(move |terms| (terms, spec)));
        let found = all.find(|(terms, spec)| {
            terms
                .vips
                .iter()
                .any(|(wire, vip)| *vip == address && spec.wires[*wire].segment == segment)
        });
        found.map(|(terms, _)| terms.vr).filter(|vr| self.planned[*vr])
    }

    /// Clients that got nowhere since a time ask anew: whoever has the address answers.
    fn doubt(&mut self, segment: usize, address: IpAddr, since: Time) {
        let Some(view) = self.clients.views.get(&(segment, address)) else { return };
        let still =
            view.server().is_none() && view.served.last().is_none_or(|(at, _)| *at <= since);
        let holder = (0..self.hosts.len()).find(|router| self.answers(*router, segment, address));
        if let (true, Some(holder)) = (still, holder) {
            if let Some(view) = self.clients.views.get_mut(&(segment, address)) {
                view.pointer = Some(holder);
            }
            self.look(segment, address);
        }
    }

    /// Whether a router forwards what is sent to an address.
    fn answers(&self, router: usize, segment: usize, address: IpAddr) -> bool {
        let (host, wires) = (&self.hosts[router], &self.scenario.routers[router].wires);
        host.power
            && !self.segments[segment].is_cut(router)
            && wires.iter().enumerate().any(|(wire, spec)| {
                spec.segment == segment
                    && host.carriers[wire]
                    && host.vips.contains(&(wire as LinkIndex + 1, address))
            })
    }
}

fn backwards(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from_le_bytes(address.octets()).into(),
        IpAddr::V6(address) => u128::from_le_bytes(address.octets()),
    }
}

fn nanos(time: Duration) -> Time {
    time.as_nanos() as u64
}

fn times(served: Vec<(Time, Option<usize>)>) -> Vec<(Duration, Option<usize>)> {
    served.into_iter().map(|(at, server)| (Duration::from_nanos(at), server)).collect()
}
