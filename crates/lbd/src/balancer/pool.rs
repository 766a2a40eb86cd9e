//! All virtual servers: verdicts go in; changes of the dataplane, then events, come out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use lb_check::schedule::Memory;
use lb_check::{Checks, Id, Outcome, Probe, Report, Spec};
use lb_config::model::FlushOnStop;
use lb_control::EventKind;
use lb_ipvs::Timeouts;
use lb_pool::{DestinationKey, Input, Output, RealServerConfig, ServiceKey, VirtualServer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use super::originals::Originals;
use super::owners::{Owner, Owners};
use super::plan::{Checker, Identity, VirtualPlan, Work};
use super::plane::Plane;
use super::presence::Presence;
use super::shortage::{Lack, Shortages};
use super::{Error, Options, Plan, Snapshot};
use crate::engine::EventSink;
use crate::names;

/// Services that a reload may change for them to be sent one by one; for more, the whole table is
/// compared with the one before.
const FEW: usize = 64;

/// File descriptors that checks leave to all others, as far as that is not more than a half.
const OTHER_FILES: u64 = 1024;

/// From one word to the next about checks that wait for a place.
const CROWDED: Duration = Duration::from_secs(60);

/// The engine's state.
pub(super) struct Pool {
    pub(super) checks: Checks,
    pub(super) servers: Vec<Virtual>,
    pub(super) plane: Plane,
    /// Open while some virtual server has `ha_suspend`.
    pub(super) presence: Option<Presence>,
    options: Options,
    /// We take the place of an engine that failed.
    restart: bool,
    /// The configuration in force, but for its virtual servers.
    plan: Plan,
    places: HashMap<Id, Place>,
    owners: Owners,
    /// Why checks cannot run now.
    shortages: Shortages,
    /// When it was told last that checks wait for a place.
    crowded: Option<Instant>,
    events: EventSink,
}

/// What an engine that failed leaves to the one that takes its place.
#[derive(Clone, Debug)]
pub struct Legacy {
    servers: Vec<Virtual>,
    memories: HashMap<Id, Memory>,
    /// The kernel's timeouts before ours.
    saved: Option<Timeouts>,
}

/// One virtual server.
#[derive(Clone, Debug)]
pub(super) struct Virtual {
    pub plan: VirtualPlan,
    pub state: VirtualServer,
    /// Checkers of each real server; empty if none has any.
    pub checks: Vec<Vec<Check>>,
    /// Its checks wait because its VIP is not on this host (`ha_suspend`).
    pub suspended: bool,
}

/// One checker.
#[derive(Clone, Debug)]
pub(super) struct Check {
    id: Id,
    pub spec: Spec,
    pub last: Option<Seen>,
    pub failures: u64,
    /// Every failure is logged, not only that which changes something.
    log_all_failures: bool,
    /// What it adds to the weight of its server.
    adjustment: i64,
    /// Why its last run could not be made.
    lack: Lack,
}

/// What a checker saw last.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub at: SystemTime,
    pub latency: Duration,
    /// `None` for success.
    pub failure: Option<lb_check::Failure>,
}

#[derive(Clone, Copy)]
struct Place {
    virtual_server: usize,
    server: usize,
    checker: usize,
}

impl Pool {
    /// Nothing yet but what a failed engine has left. To be called in a tokio runtime.
    pub fn new(mut options: Options, events: EventSink) -> Result<Self, Error> {
        let checks = Checks::new(options.seed)?;
        let legacy = options.legacy.take();
        let mut pool = Self {
            checks,
            servers: Vec::new(),
            plane: Plane::undecided(Originals::new(
                legacy.as_ref().and_then(|legacy| legacy.saved),
                options.originals.take(),
            )),
            presence: None,
            options,
            restart: legacy.is_some(),
            plan: Plan::default(),
            places: HashMap::new(),
            owners: Owners::default(),
            shortages: Shortages::default(),
            crowded: None,
            events,
        };
        if let Some(Legacy { servers, memories, .. }) = legacy {
            pool.servers = servers;
            for check in pool.servers.iter_mut().flat_map(|server| &mut server.checks).flatten() {
                let unknown = Memory { up: true, ran: false, attempts: 0 };
                let memory = memories.get(&check.id).copied().unwrap_or(unknown);
                check.id = pool.checks.add(&check.spec, memory);
                check.lack = Lack::default(); // told to the one that failed
            }
        }
        Ok(pool)
    }

    /// What is left for another engine when this one has failed.
    pub fn into_legacy(mut self) -> Legacy {
        let ids = self.servers.iter().flat_map(|server| &server.checks).flatten();
        let memories = ids.filter_map(|check| Some((check.id, self.checks.remove(check.id)?)));
        Legacy {
            memories: memories.collect(),
            saved: self.plane.saved(),
            servers: std::mem::take(&mut self.servers),
        }
    }

    /// Puts the first configuration in force: over what a failed engine has left, as a reload.
    pub fn start(&mut self, mut plan: Plan) -> Result<(), Error> {
        plan.trusting = self.restart;
        self.apply(plan)
    }

    /// Puts a configuration in force. On an error nothing has changed.
    pub fn apply(&mut self, mut plan: Plan) -> Result<(), Error> {
        // Half for the relay's clients, half for checks; the rest of the process has what is left.
        let files = open_files() / 2;
        let opened = self.plane.decide(self.options.dataplane, &plan, files)?;
        if opened && plan.flush && !self.restart {
            self.plane.flush();
        }
        self.plane.set_timeouts(plan.timeouts);
        self.checks.limit(files.max(1));
        let mut events = Vec::new();

        // keepalived takes away before it adds.
        let mut old: Vec<_> = self.servers.drain(..).map(Some).collect();
        // Most are where they were: those need no search.
        let in_place = (old.iter().flatten().zip(&plan.servers))
            .take_while(|(old, new)| old.plan.identity() == new.identity())
            .count();
        let mut known: HashMap<Identity<'_>, VecDeque<usize>> = HashMap::new();
        for (at, server) in old.iter().flatten().enumerate().skip(in_place) {
            known.entry(server.plan.identity()).or_default().push_back(at);
        }
        let searched = plan.servers[in_place..].iter();
        let found =
            searched.map(|plan| known.get_mut(&plan.identity()).and_then(VecDeque::pop_front));
        let places: Vec<_> = (0..in_place).map(Some).chain(found).collect();
        let mut stays = vec![false; old.len()];
        places.iter().flatten().for_each(|at| stays[*at] = true);
        let mut touched = Vec::new();
        for gone in old.iter_mut().zip(stays).filter_map(|(old, stays)| old.take_if(|_| !stays)) {
            touched.extend(&gone.state.config().keys);
            let mut outputs = Vec::new();
            info!("Removing Virtual Server {}", gone.plan.name());
            gone.state.remove(&mut outputs);
            events.extend(outputs.into_iter().filter_map(|output| gone.event(&gone, output)));
            self.forget(gone.checks.into_iter().flatten());
        }
        let servers = std::mem::take(&mut plan.servers);
        self.plan = plan;
        self.places.clear();
        self.servers.reserve(servers.len());
        for (plan, at) in servers.into_iter().zip(places) {
            match at.and_then(|at| old[at].take()) {
                Some(same) if same.plan.asks_the_same(&plan) => self.keep(plan, same),
                old => {
                    touched.extend(old.iter().flat_map(|old| &old.state.config().keys));
                    self.add(plan, old, &mut events);
                    let new = self.servers.last();
                    touched.extend(new.iter().flat_map(|new| &new.state.config().keys));
                }
            }
        }
        drop(old);

        let keys = self.servers.iter().map(|server| &server.state.config().keys);
        self.owners = (keys.enumerate())
            .flat_map(|(at, keys)| keys.iter().map(move |key| (*key, at)))
            .collect();
        // A service that several share is made of them in their order, which may have changed.
        let shared = self.owners.by_service().filter(|owners| owners.len() > 1);
        touched.extend(shared.flatten().map(|(key, _)| *key));
        touched.sort_unstable();
        touched.dedup();
        let mut failures = Vec::new();
        if opened || touched.len() > FEW {
            let Self { plane, owners, servers, .. } = self;
            let mut services = (owners.by_service())
                .filter_map(|owners| Some((owners.first()?.0, service(owners, servers))));
            failures = plane.fill(&mut services);
        } else {
            for key in touched {
                let owners = self.owners.of(&key);
                let service = (!owners.is_empty()).then(|| service(owners, &self.servers));
                failures.extend(self.plane.apply(&key, service.as_ref()));
            }
        }
        self.tell(failures, events);
        self.watch();
        Ok(())
    }

    /// Goes on with a virtual server that the new configuration has as it is.
    fn keep(&mut self, plan: VirtualPlan, mut server: Virtual) {
        let virtual_server = self.servers.len();
        for (server, checks) in server.checks.iter().enumerate() {
            for (checker, check) in checks.iter().enumerate() {
                self.places.insert(check.id, Place { virtual_server, server, checker });
            }
        }
        // Its place among the users of a group may be another, and equal servers are shared with the new model.
        server.plan = plan;
        self.servers.push(server);
    }

    /// Watches this host's addresses while they matter to some virtual server.
    fn watch(&mut self) {
        if self.servers.iter().all(|server| server.plan.home().is_none()) {
            self.presence = None;
        } else if self.presence.is_none() {
            self.presence = Presence::open()
                .inspect_err(|error| warn!("ha_suspend: {error}; its checks run everywhere"))
                .ok();
        }
        self.suspend();
    }

    /// Takes what became of waiting for addresses.
    pub fn addresses_changed(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            warn!("ha_suspend: cannot watch addresses: {error}; its checks run everywhere");
            self.presence = None;
        }
        self.suspend();
    }

    /// Suspends the checks whose VIP is elsewhere, and lets the others go on.
    fn suspend(&mut self) {
        let Self { servers, checks, presence, .. } = self;
        for server in servers {
            let absent = |home: &IpAddr| presence.as_ref().is_some_and(|here| !here.has(*home));
            let absent = server.plan.home().filter(absent);
            if absent.is_none() && !server.suspended {
                continue;
            }
            for check in server.checks.iter().flatten() {
                checks.suspend(check.id, absent.is_some());
            }
            match absent {
                Some(vip) if !server.suspended => {
                    let name = server.plan.name();
                    info!("checks of VS {name} are suspended: {vip} is not on this host");
                }
                None => info!("checks of VS {} go on", server.plan.name()),
                Some(_) => {}
            }
            server.suspended = absent.is_some();
        }
    }

    /// Adds one virtual server, in place of `old` if it was there before.
    fn add(&mut self, plan: VirtualPlan, old: Option<Virtual>, events: &mut Vec<EventKind>) {
        let at = self.servers.len();
        let Work { config, checkers } = plan.work(self.plan.trusting);
        let state = VirtualServer::new(config);
        let suspended = old.as_ref().is_some_and(|old| old.suspended);
        let mut server = Virtual { plan, state, checks: Vec::new(), suspended };
        let mut outputs = Vec::new();
        match &old {
            Some(old) => server.state.adopt(&old.state, &mut outputs),
            None => server.state.start(self.plan.init_notifies, &mut outputs),
        }
        let before = old.as_ref().unwrap_or(&server);
        for output in &outputs {
            if let Output::Removed { server: at, .. } = output {
                info!("service {} no longer exist", before.real_server(*at));
            }
        }
        let is_new = old.is_none();
        let told = outputs.into_iter().filter_map(|output| server.event(before, output));
        events.extend(told.map(|event| match event {
            EventKind::Quorum { virtual_server, place, up, weight, quorum, hysteresis, .. } => {
                let start = is_new;
                EventKind::Quorum { virtual_server, place, up, weight, quorum, hysteresis, start }
            }
            event => event,
        }));

        let mut known = old.map(Virtual::checks_by_server).unwrap_or_default();
        let Virtual { state, checks, .. } = &mut server;
        let of_servers = checkers.into_iter().zip(&state.config().real_servers).enumerate();
        *checks = of_servers
            .map(|(n, (checkers, real))| {
                let mut old = known.remove(&real.key).unwrap_or_default();
                let of_one = checkers.into_iter().enumerate().map(|(at_server, checker)| {
                    let check = self.check(checker, &mut old, state.checker_up(n, at_server));
                    let place = Place { virtual_server: at, server: n, checker: at_server };
                    self.places.insert(check.id, place);
                    check
                });
                let checks = of_one.collect();
                self.forget(old);
                checks
            })
            .collect();
        self.forget(known.into_values().flatten());
        self.servers.push(server);
    }

    /// The checker in force for one of the plan: the one of `old` that does the same, or a new one.
    /// One whose timing is the same too goes on as if nothing had been.
    fn check(&mut self, wanted: Checker, old: &mut Vec<Check>, up: bool) -> Check {
        let Checker { spec, log_all_failures } = wanted;
        let same = old.iter().position(|check| check.spec.probe == spec.probe);
        match same.map(|at| old.remove(at)) {
            Some(check) if check.spec == spec => Check { log_all_failures, ..check },
            Some(check) => {
                let memory = self.checks.remove(check.id);
                let memory = memory.unwrap_or(Memory { up, ran: false, attempts: 0 });
                let id = self.checks.add(&spec, memory);
                Check { id, spec, log_all_failures, ..check }
            }
            None => {
                let id = self.checks.add(&spec, Memory { up, ran: false, attempts: 0 });
                let lack = Lack::default();
                Check { id, spec, last: None, failures: 0, log_all_failures, adjustment: 0, lack }
            }
        }
    }

    fn forget(&mut self, checks: impl IntoIterator<Item = Check>) {
        for mut check in checks {
            self.shortages.over(&mut check.lack);
            self.checks.remove(check.id);
        }
    }

    /// Takes what checks found out: first the dataplane hears of it, then everybody else.
    pub fn take(&mut self, reports: &mut Vec<Report>) {
        let mut touched = BTreeSet::new();
        let mut events = Vec::new();
        for report in reports.drain(..) {
            if let Some(place) = self.places.get(&report.id) {
                let place = *place;
                if self.take_one(place, report, &mut events) {
                    touched.insert(place.virtual_server);
                }
            }
        }
        let mut failures = Vec::new();
        for at in touched {
            for key in self.servers[at].state.config().keys.clone() {
                let service = self.service(&key);
                failures.extend(self.plane.apply(&key, Some(&service)));
            }
        }
        self.tell(failures, events);
        self.tell_crowd();
    }

    /// Tells, once in a while, that more checks are due than there are descriptors for.
    fn tell_crowd(&mut self) {
        let (waiting, limit) = self.checks.waiting();
        if waiting > 0 && self.crowded.is_none_or(|told| told.elapsed() >= CROWDED) {
            self.crowded = Some(Instant::now());
            warn!(
                "{waiting} checks are late: {limit} at once are all that the limit of open files \
                 allows, and so many servers are slow or silent; raise it (LimitNOFILE)"
            );
        }
    }

    /// Takes one report. Returns whether the dataplane has to change.
    fn take_one(&mut self, at: Place, report: Report, events: &mut Vec<EventKind>) -> bool {
        let Place { virtual_server, server, checker } = at;
        let virtual_server = &mut self.servers[virtual_server];
        let probe = virtual_server.checks[server][checker].spec.probe.clone();
        let kind = probe.name();
        let (weight, failure) = match report.outcome {
            Outcome::Up { weight } => (Some(weight), None),
            Outcome::Down(failure) => (None, Some(failure)),
            Outcome::NotRun(reason) => {
                let mut lack = std::mem::take(&mut virtual_server.checks[server][checker].lack);
                let who = || format!("{kind} on service {}", virtual_server.real_server(server));
                self.shortages.left_out(&mut lack, &reason, who);
                virtual_server.checks[server][checker].lack = lack;
                return false;
            }
        };
        self.shortages.over(&mut virtual_server.checks[server][checker].lack);
        let mut outputs = Vec::new();
        if let Some(wish) = weight {
            let configured = virtual_server.state.config().real_servers[server].weight;
            let by = wish.map_or(0, |wish| i64::from(wish) - i64::from(configured));
            if by != virtual_server.checks[server][checker].adjustment {
                virtual_server.checks[server][checker].adjustment = by;
                let before = virtual_server.state.effective_weight(server);
                virtual_server.state.handle(Input::Adjust { server, checker, by }, &mut outputs);
                let now = virtual_server.state.effective_weight(server);
                let active = if virtual_server.state.alive(server) { "active" } else { "inactive" };
                info!(
                    "Changing weight from {before} to {now} for {active} service {} of VS {}",
                    virtual_server.real_server(server),
                    virtual_server.plan.name()
                );
            }
        }
        if failure.is_some() {
            virtual_server.checks[server][checker].failures += 1;
        }
        // While a server is down, each URL that passes is told.
        if let (None, Probe::Http(http)) = (&failure, &probe)
            && !virtual_server.state.checker_up(server, checker)
            && let Some(url) = http.urls.get(report.url)
        {
            let passed = if url.digest.is_some() { "MD5 digest" } else { "HTTP status code" };
            let real_server = virtual_server.real_server(server);
            info!("{passed} success to {real_server} url({})", url.path);
        }
        if let Some(up) = report.verdict.filter(|_| report.changed) {
            let event = EventKind::Checker {
                virtual_server: virtual_server.plan.name(),
                real_server: virtual_server.real_server(server),
                kind: kind.to_owned(),
                script: match &probe {
                    Probe::Script(script) => script.command.argv.first().cloned(),
                    Probe::Tcp(_) | Probe::Http(_) => None,
                },
                up,
                attempts: report.attempts,
                retry: virtual_server.checks[server][checker].spec.timing.retry,
                reason: failure.as_ref().map_or("ok".to_owned(), ToString::to_string),
            };
            // keepalived logs the first success of a server that was taken for up; it changes nothing.
            if up && virtual_server.state.checker_up(server, checker) {
                info!("{event}");
            } else {
                events.push(event);
            }
            virtual_server.state.handle(Input::Verdict { server, checker, up }, &mut outputs);
        } else if let Some(failure) = &failure {
            let real_server = virtual_server.real_server(server);
            if virtual_server.checks[server][checker].log_all_failures {
                info!("{kind} on service {real_server} failed: {failure}");
            }
        }
        virtual_server.checks[server][checker].last =
            Some(Seen { at: SystemTime::now(), latency: report.latency, failure });
        let changed = outputs.contains(&Output::Changed);
        let virtual_server = &*virtual_server;
        events.extend(outputs.into_iter().filter_map(|o| virtual_server.event(virtual_server, o)));
        changed
    }

    /// Looks after the dataplane's table.
    pub fn audit(&mut self) {
        let (changes, failures) = self.plane.audit();
        let repaired = (changes > 0).then_some(EventKind::TableRepaired { changes });
        self.tell(failures, repaired);
    }

    pub fn wants_audits(&self) -> bool {
        self.plane.wants_audits()
    }

    /// Ends all that runs.
    pub async fn stop(self) {
        let Self { checks, servers, plane, options, plan, events, .. } = self;
        checks.stop().await;
        // Where the whole table goes at once, or nothing, keepalived names none.
        if !options.dont_release_ipvs && plan.flush_on_stop == FlushOnStop::Own {
            servers.iter().for_each(Virtual::log_end);
        }
        plane.close(plan.flush_on_stop, options.dont_release_ipvs);
        for server in &servers {
            let mut outputs = Vec::new();
            server.state.stop(&mut outputs);
            let outputs = outputs.into_iter().filter_map(|output| server.event(server, output));
            outputs.for_each(|event| events.emit(event));
        }
    }

    /// Tells which checks run, and which wait for their VIP. Many lines, which nothing waits for.
    pub fn log_checks(&self) {
        for server in &self.servers {
            let verb = if server.suspended { "Deactivating" } else { "Activating" };
            let name = server.plan.name();
            for (at, checks) in server.checks.iter().enumerate() {
                for _ in checks {
                    let real_server = server.real_server(at);
                    info!("{verb} healthchecker for service {real_server} for VS {name}");
                }
            }
        }
    }

    /// What `lbctl status` shows of all this.
    pub fn status(&mut self) -> Snapshot {
        let dataplane = self.plane.name().to_owned();
        let relay = self.plane.relay();
        let virtual_servers =
            self.servers.iter().map(|server| super::status::of(server, &mut self.plane)).collect();
        Snapshot { dataplane, relay, virtual_servers, state_sync: None }
    }

    /// A service as it should be now.
    fn service(&self, key: &ServiceKey) -> lb_pool::Service {
        service(self.owners.of(key), &self.servers)
    }

    fn tell(&self, failures: Vec<String>, events: impl IntoIterator<Item = EventKind>) {
        let failures = failures.into_iter().map(|message| EventKind::DataplaneError { message });
        failures.chain(events).for_each(|event| self.events.emit(event));
    }
}

impl Virtual {
    /// The event that tells of an output; `old` is where a removed server has its name.
    fn event(&self, old: &Self, output: Output) -> Option<EventKind> {
        let (name, place) = (|| self.plan.name(), self.plan.place);
        Some(match output {
            Output::Changed | Output::Removed { was_up: false, .. } => return None,
            Output::RealServer { server, up } => EventKind::RealServer {
                virtual_server: name(),
                place,
                real_server: self.real_server(server),
                up,
                inhibit: (self.state.config().real_servers.get(server))
                    .is_some_and(|real| real.inhibit_on_failure),
                first: false,
            },
            Output::StaysDown { server } => EventKind::RealServer {
                virtual_server: name(),
                place,
                real_server: self.real_server(server),
                up: false,
                inhibit: false,
                first: true,
            },
            Output::Removed { server, .. } => EventKind::RealServer {
                virtual_server: name(),
                place,
                real_server: old.real_server(server),
                up: false,
                inhibit: false,
                first: false,
            },
            Output::Quorum { up, weight, quorum } => EventKind::Quorum {
                virtual_server: name(),
                place,
                up,
                weight,
                quorum: quorum.weight.into(),
                hysteresis: quorum.hysteresis.into(),
                start: false,
            },
            Output::SorryServer { active } => {
                let sorry = self.state.config().sorry_server?;
                let (address, port) = (sorry.key.address, sorry.key.port);
                EventKind::SorryServer {
                    virtual_server: name(),
                    sorry_server: names::real_server(&self.plan.server, address, port),
                    active,
                    inhibit: sorry.inhibit,
                }
            }
        })
    }

    /// The lines of the end of its servers, as the stop comes to it.
    fn log_end(&self) {
        let name = self.plan.name();
        for (at, real) in self.state.config().real_servers.iter().enumerate() {
            let inhibited = real.inhibit_on_failure && !self.state.alive(at);
            let mark = if inhibited { "(inhibited) " } else { "" };
            info!("Shutting down {mark}service {} from VS {name}", self.real_server(at));
        }
    }

    /// keepalived's name for a real server.
    fn real_server(&self, server: usize) -> String {
        let real = self.state.config().real_servers.get(server);
        let name = |real: &RealServerConfig| {
            names::real_server(&self.plan.server, real.key.address, real.key.port)
        };
        real.map(name).unwrap_or_default()
    }

    fn checks_by_server(self) -> BTreeMap<DestinationKey, Vec<Check>> {
        let keys = self.state.config().real_servers.iter().map(|real| real.key);
        keys.zip(self.checks).collect()
    }
}

/// A service as all virtual servers that have it want it together. Settings are the first one's.
fn service(owners: &[Owner], servers: &[Virtual]) -> lb_pool::Service {
    let mut wanted = owners.iter().map(|(key, at)| servers[*at].state.service(key));
    let mut service = wanted.next().unwrap_or_default();
    for more in wanted {
        for (at, destination) in more.destinations.as_they_came() {
            service.destinations.add(*at, *destination);
        }
    }
    service
}

/// Raises the limit of open files to what this process may have, and returns how many of them the
/// balancer may have. Where it is refused, there are fewer.
fn open_files() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 2;
    };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    usize::try_from(limit - OTHER_FILES.min(limit / 2)).unwrap_or(usize::MAX)
}
