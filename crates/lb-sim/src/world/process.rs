//! Processes: they start, wake up, do what waits for them, sleep, and end.

use std::collections::BTreeSet;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lb_control::State;
use lb_control::status::Maintenance;
use lb_node::{Input, InstanceConfig, LinkIndex, Node, Plan};

use super::queue::Event;
use super::{World, nanos};
use crate::bound;
use crate::chance::Chance;
use crate::host::{Change, Command};
use crate::judge::Promise;
use crate::outcome::Why;

impl World<'_> {
    /// Starts the process of a host that has power and none.
    pub(super) fn start(&mut self, router: usize, adopt: bool) {
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
        self.begun(router);
        let host = &mut self.hosts[router];
        host.node = Some(Node::new(
            without_header(&host.plan),
            &legacy,
            self.scenario.seed ^ router as u64,
        ));
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
            self.queue.push(self.now + 1_000_000, Event::ScriptEnds { router, life, script });
        }
        self.judge.addresses(self.now, router, &spec.name, &self.hosts[router]);
        self.arm(router);
    }

    /// A process wakes up: first what has arrived, then what has changed, then the time, then what
    /// it is told to do.
    pub(super) fn turn(&mut self, router: usize) {
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
                Change::Claimed(link, address, from) => {
                    let mac = [2, 0, 0, 0, 0, from as u8];
                    self.tell(router, Input::Claim { link, address, mac });
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
                    self.tell(router, Input::Reload(without_header(&plan)));
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
        self.queue.push(at, Event::Wake { router, life });
    }

    pub(super) fn script_ends(&mut self, router: usize, life: u32, script: usize) {
        let host = &self.hosts[router];
        let Some(script_plan) = host.plan.scripts.get(script).filter(|_| host.life == life) else {
            return;
        };
        let next = self.now + nanos(script_plan.interval);
        let name = script_plan.name.clone();
        self.queue.push(next, Event::ScriptEnds { router, life, script });
        self.command(router, Command::Script(name));
    }

    pub(super) fn end_process(&mut self, router: usize) {
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
}

/// The plan with passwords in the place of authentication headers, which cover an IP header that nobody
/// makes here: those who understand each other stay the same.
fn without_header(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for instance in &mut plan.instances {
        if let InstanceConfig::Vrrp(vrrp) = instance
            && vrrp.header_key.is_some()
        {
            let vrrp = Arc::make_mut(vrrp);
            vrrp.password = vrrp.header_key.take();
        }
    }
    plan
}
