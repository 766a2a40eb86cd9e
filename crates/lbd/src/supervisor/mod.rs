//! The supervisor: starts engines, restarts them, and passes on what happens.
//!
//! It runs on one thread. Engines have threads of their own, clients and scripts have tasks; the
//! supervisor waits for nobody but for an engine that starts.

pub mod config;
pub mod control;
mod engines;
mod maintenance;
pub mod notify;
mod operator;
pub mod pidfile;
pub mod runner;
pub mod signals;
pub mod slot;
mod state_sync;
mod stop;
pub mod tracker;
mod turns;

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lb_config::Model;
use lb_control::status::{self, Status, VrrpCounters};
use lb_control::{Event, EventKind, State};
use lb_node::Plan;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use crate::advertiser::{self, Advertiser, Observation, Recorder};
use crate::balancer::{self, Balancer};
use crate::cli::Args;
use crate::dump::{self, Dump};
use crate::engine::EventSink;
use crate::init;
use crate::mailbox;
use config::Configuration;
use control::{Command, Control};
use maintenance::Register;
use notify::Notifications;
use operator::Waiting;
use runner::Runner;
use signals::{Signal, Signals};
use slot::{Change, Slot};
use stop::StopBudget;
use tracker::{Findings, Tracker};

/// The last part of the engines' time, which is enough to let go without a successor.
const LET_GO: Duration = Duration::from_millis(500);
/// How long the last notify scripts are waited for.
const LAST_SCRIPTS: Duration = Duration::from_secs(1);
/// How long the last lines of a record are waited for.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Exit status: orderly end.
pub const OK: u8 = 0;
/// Exit status: it cannot go on.
pub const FATAL: u8 = 1;
/// Exit status: a permission or capability is missing.
pub const PERMISSION: u8 = 4;

/// Why the daemon does not start.
#[derive(Debug)]
pub struct Fatal {
    /// What is wrong and what to do, one sentence.
    pub message: String,
    /// Exit status.
    pub status: u8,
}

/// Everything that arrives, besides signals.
struct Inbox {
    events: mailbox::Inbox<Event>,
    results: Findings,
    commands: mpsc::Receiver<Command>,
    watchdog: Watchdog,
}

/// The next event; says how many were dropped before it for want of room.
async fn next_event(events: &mut mailbox::Inbox<Event>) -> Option<Event> {
    let event = events.recv().await;
    let dropped = events.take_dropped();
    if dropped > 0 {
        tracing::error!(
            "{dropped} events were dropped: more happened than the supervisor could tell"
        );
    }
    event
}

/// The service manager's watchdog, if it has one for us.
struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Twice in the time that it gives us.
    fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit| {
            let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits until it wants to hear of us; forever if there is none. Cancel safe.
    async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => pending().await,
        }
    }
}

/// The supervisor's own state.
#[derive(Debug)]
struct Supervisor {
    args: Args,
    /// Where clients find us; what must outlive us stands beside it.
    socket: PathBuf,
    model: Arc<Model>,
    started: Timestamp,
    last_reload: Option<status::Reload>,
    advertiser: Slot<Advertiser>,
    balancer: Slot<Balancer>,
    sink: EventSink,
    notifications: Notifications,
    runner: Runner,
    tracker: Tracker,
    /// What each instance entered last.
    states: BTreeMap<String, State>,
    /// Counters at the time they were last cleared.
    cleared: Arc<Mutex<BTreeMap<String, VrrpCounters>>>,
    maintenance: Register,
    /// Why connections are not copied to the other router as the configuration asks for.
    state_sync: Option<String>,
    /// Clients that wait for a hand-over.
    waiting: Vec<Waiting>,
    /// Writes what the advertiser is told (`--record`).
    recorder: Option<Recorder>,
    /// The configuration in force as TOML, for the record; empty without one.
    written: Arc<str>,
}

/// Runs the daemon from the start of its engines to their end; `ready` is called between.
/// Returns the exit status.
///
/// # Errors
/// It does not start; nothing is left behind then.
pub async fn run(
    args: Args,
    Configuration { model, complaints, written }: Configuration,
    socket: PathBuf,
    ready: impl FnOnce(),
) -> Result<u8, Fatal> {
    let fatal = |what: &str, error: std::io::Error| Fatal {
        message: format!("{what}: {error}"),
        status: FATAL,
    };
    let mut signals =
        Signals::new(args.ignore_sigint).map_err(|e| fatal("cannot take signals over", e))?;
    let (sink, events) = EventSink::channel();
    let results = Findings::default();
    let (commands_in, commands) = mpsc::channel(16);
    let mut inbox = Inbox { events, results, commands, watchdog: Watchdog::new() };
    let (recorder, writer) = match &args.record {
        None => (None, None),
        Some(path) => Recorder::create(path)
            .map(|(recorder, writer)| (Some(recorder), Some(writer)))
            .map_err(|e| fatal(&format!("cannot record to {}", path.display()), e))?,
    };
    let (maintenance, complaint) = Register::open(&args.state_dir());
    if let Some(complaint) = complaint {
        tracing::error!("{complaint}");
    }
    let mut supervisor = Supervisor {
        notifications: Notifications::new(&model),
        runner: Runner::start(),
        tracker: Tracker::new(inbox.results.clone()),
        args,
        socket,
        model: Arc::new(model),
        started: Timestamp::now(),
        last_reload: None,
        advertiser: Slot::off(),
        balancer: Slot::off(),
        sink,
        states: BTreeMap::new(),
        cleared: Arc::default(),
        maintenance,
        state_sync: None,
        waiting: Vec::new(),
        recorder,
        written,
    };
    supervisor.check_maintenance();
    if let Some((script, limit)) = &supervisor.model.global.startup_script
        && !run_hook("startup_script", script, *limit, signals.stop()).await
    {
        return Ok(OK);
    }
    if let Some(directory) = supervisor.socket.parent() {
        let _ = pidfile::make_directory(directory); // whoever needs it says why it cannot be
    }
    Tracker::initialise(&supervisor.model);
    supervisor.tracker.apply(&supervisor.model);
    while let Some(found) = inbox.results.take() {
        supervisor.pass_on(found);
    }
    // The timers run from here on: whatever can wait comes later.
    let started = supervisor.start_engines();
    complaints.log();
    started?;
    supervisor.log_started();
    // Without it the VIPs are as alive as with it: a complaint, no reason to stop.
    let control = Control::listen(&supervisor.socket, commands_in)
        .inspect_err(|message| tracing::error!("{message}"))
        .ok();
    tell_systemd(&[NotifyState::Ready]);
    ready();
    tracing::info!("Startup complete");
    if supervisor.args.dump_conf {
        supervisor.log_configuration();
    }
    lb_net::release_memory();
    let status = supervisor.serve(&mut inbox, &mut signals).await;
    drop(control);
    let budget = StopBudget::new(&supervisor.model.global);
    let ended = supervisor.stop(&mut inbox, budget).await;
    drop(supervisor);
    if let Some(writer) = writer {
        // It ends with the advertiser's thread, which may hang.
        let joined = tokio::task::spawn_blocking(|| writer.join());
        let _ = timeout(budget.at_most(LAST_LINES), joined).await;
    }
    // Addresses and forwarding entries may be left.
    Ok(if ended { status } else { status.max(FATAL) })
}

impl Supervisor {
    fn wants_advertiser(&self, model: &Model) -> bool {
        // -C without -P leaves VRRP out, and the reverse; both together mean both.
        self.advertises() && (self.args.all || model.routers().next().is_some())
    }

    fn advertises(&self) -> bool {
        !self.args.check || self.args.vrrp
    }

    fn wants_balancer(&self, model: &Model) -> bool {
        self.checks() && (self.args.all || !model.virtual_servers.is_empty())
            || self.wants_state_sync(model)
    }

    fn checks(&self) -> bool {
        !self.args.vrrp || self.args.check
    }

    /// Starts what the configuration has work for.
    ///
    /// A host without a dataplane still keeps its VIPs alive: the balancer's failure is fatal only
    /// when there is nothing else to do.
    fn start_engines(&mut self) -> Result<(), Fatal> {
        let model = Arc::clone(&self.model);
        let advertises = self.wants_advertiser(&model);
        if self.wants_balancer(&model)
            && let Err(error) = self.start_balancer(&model)
        {
            let message = describe(&error);
            if !advertises {
                return Err(Fatal { status: exit_status(&error), message });
            }
            tracing::error!("{message}; VRRP runs without it, and it is tried again");
            self.balancer.start_failed(&message);
            self.state_sync_without_balancer(&message);
        }
        if advertises && let Err(error) = self.start_advertiser(&model) {
            return Err(Fatal { status: exit_status(&error), message: describe(&error) });
        }
        if !self.advertiser.is_on() && !self.balancer.is_on() {
            tracing::warn!(
                "{} has no vrrp_instance, carp_instance or virtual_server: there is nothing to do until a reload",
                self.args.config.display()
            );
        }
        Ok(())
    }

    /// The lines by which others know that keepalived's children run; ours are threads.
    fn log_started(&self) {
        let pid = std::process::id();
        for (name, runs) in
            [("Healthcheck", self.balancer.is_on()), ("VRRP", self.advertiser.is_on())]
        {
            if runs {
                tracing::info!(
                    "Starting {name} child process, pid={pid} (a thread of this process)"
                );
            }
        }
    }

    fn start_advertiser(&mut self, model: &Model) -> anyhow::Result<()> {
        let plan = Plan::from(model);
        let legacy = self.advertiser.legacy();
        let options = advertiser::Options {
            adopt: plan.resumable(&legacy.masters, self.advertiser.failed_for()),
            number: legacy.number,
            keep_vips: self.args.dont_release_vrrp,
            scheduling: model.global.advertiser_scheduling,
            maintenance: self.maintenance.entries(),
            recording: self.recording(),
            observed: self.tracker.known(),
            state_sync: self.state_sync.clone(),
        };
        // Its counters begin at 0.
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.advertiser.start(plan, options, self.sink.clone())
    }

    fn start_balancer(&mut self, model: &Model) -> anyhow::Result<()> {
        let options = balancer::Options {
            dataplane: self.args.dataplane,
            dont_release_ipvs: self.args.dont_release_ipvs,
            legacy: self.balancer.legacy().clone(),
            originals: Some(self.socket.with_extension("timeouts")),
            scheduling: model.global.balancer_scheduling,
            seed: self.started.as_nanosecond() as u64,
        };
        self.balancer.start(self.balancer_plan(model), options, self.sink.clone())
    }

    /// Runs until it is told to stop, or an engine fails that must not be restarted.
    async fn serve(&mut self, inbox: &mut Inbox, signals: &mut Signals) -> u8 {
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => return OK,
                    // Its verdict is an event and in the status.
                    Signal::Reload => tokio::select! {
                        _ = self.reload(inbox) => {}
                        () = signals.stop() => return OK,
                    },
                    Signal::Dump { dump, clear } => self.dump(dump, clear),
                    Signal::ThreadDump => self.test_fault(),
                },
                Some(event) = next_event(&mut inbox.events) => self.handle(&event),
                result = inbox.results.next() => self.pass_on(result),
                Some(command) = inbox.commands.recv() => match command {
                    Command::Status(answer) => self.answer_status(answer),
                    Command::Config(answer) => {
                        let config = self.args.config.display().to_string();
                        let _ = answer.send((config, Arc::clone(&self.model))); // the client may have gone
                    }
                    Command::Handover(name, answer) => self.handover(&name, answer),
                    Command::Maintenance(order, answer) => {
                        let _ = answer.send(self.maintenance(order)); // the client may have gone
                    }
                    Command::Why(name, answer) => self.why(&name, answer),
                    Command::Demote(group, by, answer) => self.demote(&group, by, answer),
                    Command::Reload(answer) => tokio::select! {
                        verdict = self.reload(inbox) => {
                            let _ = answer.send(verdict); // the client may have gone
                        }
                        () = signals.stop() => return OK,
                    },
                },
                change = self.advertiser.changed() => {
                    if let Some(status) = self.advertiser_changed(change) {
                        return status;
                    }
                }
                change = self.balancer.changed() => {
                    if let Some(status) = self.balancer_changed(change) {
                        return status;
                    }
                }
                () = inbox.watchdog.due() => tell_systemd(&[NotifyState::Watchdog]),
            }
        }
    }

    fn advertiser_changed(&mut self, change: Change) -> Option<u8> {
        match change {
            Change::Failed { reason, pause } => self.failed("advertiser", &reason, pause),
            Change::Due => {
                let reason = self.advertiser.failure().unwrap_or_default().to_owned();
                match self.start_advertiser(&Arc::clone(&self.model)) {
                    Ok(()) => self.restarted("advertiser", reason),
                    Err(error) => {
                        let message = describe(&error);
                        let pause = self.advertiser.start_failed(&message);
                        tracing::error!(
                            "the advertiser does not start: {message}; next try in {pause:?}"
                        );
                    }
                }
                None
            }
        }
    }

    fn balancer_changed(&mut self, change: Change) -> Option<u8> {
        match change {
            Change::Failed { reason, pause } => self.failed("balancer", &reason, pause),
            Change::Due => {
                let reason = self.balancer.failure().unwrap_or_default().to_owned();
                match self.start_balancer(&Arc::clone(&self.model)) {
                    Ok(()) => self.restarted("balancer", reason),
                    Err(error) => {
                        let message = describe(&error);
                        let pause = self.balancer.start_failed(&message);
                        tracing::error!(
                            "the balancer does not start: {message}; next try in {pause:?}"
                        );
                        self.state_sync_without_balancer(&message);
                    }
                }
                None
            }
        }
    }

    /// What to do about an engine that failed: the exit status if the daemon must end for it.
    fn failed(&self, engine: &str, reason: &str, pause: Duration) -> Option<u8> {
        if self.args.dont_respawn {
            tracing::error!("the {engine} failed: {reason}; stopping, as --dont-respawn says");
            return Some(FATAL);
        }
        tracing::error!("the {engine} failed: {reason}; it is started again in {pause:?}");
        None
    }

    fn restarted(&self, engine: &str, reason: String) {
        self.sink.emit(EventKind::EngineRestarted { engine: engine.to_owned(), reason });
    }

    /// One event to everyone who subscribes: the log, scripts, our own memory, the service manager.
    fn handle(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Script { name, up: false }
                if let Some(result) = self.tracker.result(name) =>
            {
                tracing::info!(target: "lbd::advertiser", "{} ({result})", event.kind);
            }
            kind => log_event(kind, self.model.global.carp.log),
        }
        if let Some(subject) = notify::subject(&event.kind) {
            self.runner.run(&subject, self.notifications.runs(&event.kind));
        }
        if let Some((name, state, _)) = event.kind.instance() {
            match state {
                State::Deleted => self.states.remove(name),
                _ => self.states.insert(name.to_owned(), state),
            };
            self.tell_summary();
            self.entered(name, state);
            // On the way out the last of what a master knows is of use to its successor.
            if state != State::Stop {
                self.choose_sync_daemon();
            }
        }
        if let EventKind::StateSync { failed, message } = &event.kind {
            self.state_sync_is(failed.then(|| message.clone()));
        }
    }

    fn pass_on(&mut self, result: Observation) {
        self.tracker.remember(&result);
        if let Some(advertiser) = self.advertiser.engine() {
            advertiser.observe(result);
        }
    }

    fn tell_summary(&self) {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let count = |state| self.states.values().filter(|s| **s == state).count();
        let summary = format!(
            "{} MASTER, {} BACKUP, {} FAULT",
            count(State::Master),
            count(State::Backup),
            count(State::Fault)
        );
        tell_systemd(&[NotifyState::Status(&summary)]);
    }

    /// Handles what engines and scripts say until `work` is done.
    async fn meanwhile<T>(&mut self, inbox: &mut Inbox, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(event) = next_event(&mut inbox.events) => self.handle(&event),
                result = inbox.results.next() => self.pass_on(result),
                () = inbox.watchdog.due() => tell_systemd(&[NotifyState::Watchdog]),
                done = &mut work => return done,
            }
        }
    }

    /// Puts the file as it is now in force, whole or not at all.
    async fn reload(&mut self, inbox: &mut Inbox) -> Result<String, String> {
        tracing::info!("Reloading ...");
        tracing::info!("Configuration file {}", self.args.config.display());
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell_systemd(&[NotifyState::Reloading, now]);
        }
        let verdict = self.try_reload(inbox).await;
        let config = self.args.config.display().to_string();
        self.last_reload = Some(status::Reload {
            at: Timestamp::now(),
            accepted: verdict.is_ok(),
            verdict: verdict.clone().unwrap_or_else(|reason| reason),
        });
        self.sink.emit(match &verdict {
            Ok(_) => EventKind::Reloaded { config },
            Err(reason) => EventKind::ReloadRefused { config, reason: reason.clone() },
        });
        tell_systemd(&[NotifyState::Ready]);
        verdict
    }

    async fn try_reload(&mut self, inbox: &mut Inbox) -> Result<String, String> {
        let loaded = config::load(&self.args).map_err(|refused| {
            config::log(&refused.lines);
            refused.first
        })?;
        let Configuration { model, complaints, written } = loaded;
        let (complained, said) = (complaints.count(), complaints.first_lines());
        complaints.log();
        // New instances announce themselves while they are put in force.
        self.notifications.update(&model);
        let before = std::mem::replace(&mut self.written, written);
        self.announce();
        let applied = self.apply(&model, inbox).await;
        if let Err(reason) = applied {
            self.written = before;
            self.announce();
            // What the first engine took, it gives back; the other took nothing.
            let old = Arc::clone(&self.model);
            self.notifications.update(&old);
            let back = self.advertiser.apply((&*old).into());
            if let Err(error) = self.meanwhile(inbox, back).await {
                tracing::error!("cannot go back to the old configuration: {error}");
            }
            return Err(reason);
        }
        self.tracker.apply(&model);
        self.model = Arc::new(model);
        self.renew_states(inbox).await;
        self.renew_state_sync();
        self.renew_maintenance(inbox).await;
        lb_net::release_memory();
        Ok(match complained {
            0 => "the new configuration is in force".to_owned(),
            n => {
                format!("the new configuration is in force, with {n} complaints in the log:{said}")
            }
        })
    }

    /// Tells the record how the plan to come is written.
    fn announce(&self) {
        if let (Some(advertiser), Some(_)) = (self.advertiser.engine(), &self.recorder) {
            advertiser.announce(Arc::clone(&self.written));
        }
    }

    async fn apply(&mut self, model: &Model, inbox: &mut Inbox) -> Result<(), String> {
        if self.advertiser.is_on() {
            let applied = self.advertiser.apply(model.into());
            self.meanwhile(inbox, applied).await?;
        } else if self.wants_advertiser(model) {
            self.start_advertiser(model).map_err(|error| describe(&error))?;
        }
        if self.balancer.is_on() {
            let applied = self.balancer.apply(self.balancer_plan(model));
            self.meanwhile(inbox, applied).await?;
        } else if self.wants_balancer(model) {
            self.start_balancer(model).map_err(|error| describe(&error))?;
        }
        Ok(())
    }

    /// Takes the states of the instances over: one that has another name now told nothing.
    async fn renew_states(&mut self, inbox: &mut Inbox) {
        let status = self.advertiser.status();
        let lb_node::Status { vrrp, carp } = self.meanwhile(inbox, status).await;
        let vrrp = vrrp.into_iter().map(|instance| (instance.name, instance.state));
        let carp = carp.into_iter().flat_map(|carp| carp.instances);
        let carp = carp.map(|instance| (instance.name, instance.state));
        let states: BTreeMap<String, State> = vrrp.chain(carp).collect();
        // An engine that does not answer knows no more than what it told.
        if !states.is_empty() {
            self.states = states;
            self.tell_summary();
        }
    }

    /// Ends everything in order: masters let go, then the forwarding entries go away, then the last
    /// scripts end. Whether both engines ended in time, and left nothing behind.
    async fn stop(&mut self, inbox: &mut Inbox, budget: StopBudget) -> bool {
        tracing::info!("Stopping");
        tell_systemd(&[NotifyState::Stopping]);
        if let Some(wanted) = budget.beyond_the_unit() {
            let micros = u32::try_from(wanted.as_micros()).unwrap_or(u32::MAX);
            tell_systemd(&[NotifyState::ExtendTimeoutUsec(micros)]);
        }
        let deadline = budget.engines;
        self.tracker.stop();
        // Masters forward until they have heard a successor; when the time is nearly over, they let
        // go without one.
        let patience = (deadline - Instant::now()).saturating_sub(LET_GO);
        let handed_over = self.advertiser.stop(patience);
        let mut advertiser = self.meanwhile(inbox, handed_over).await;
        if advertiser.is_none() {
            let let_go = self.advertiser.stop(deadline - Instant::now());
            advertiser = self.meanwhile(inbox, let_go).await;
        }
        match &advertiser {
            Some(Ok(())) => {}
            Some(Err(left)) => tracing::error!("virtual addresses may still be here: {left}"),
            None => {
                tracing::error!(
                    "the advertiser did not end in time: its addresses may be left here"
                );
            }
        }
        let balancer = self.balancer.stop(deadline - Instant::now());
        let balancer = self.meanwhile(inbox, balancer).await;
        match &balancer {
            Some(Ok(())) => {}
            Some(Err(left)) => tracing::error!("the balancer ended, {left}"),
            None => tracing::error!("the balancer did not end in time"),
        }
        while let Ok(event) = inbox.events.try_recv() {
            self.handle(&event);
        }
        self.runner.drain(budget.at_most(LAST_SCRIPTS)).await;
        if let Some((script, limit)) = &self.model.global.shutdown_script {
            let limit = budget.at_most(*limit + lb_script::GRACE).saturating_sub(lb_script::GRACE);
            run_hook("shutdown_script", script, limit, pending()).await;
        }
        tracing::info!("Stopped");
        [advertiser, balancer].iter().all(|ended| *ended == Some(Ok(())))
    }

    /// The whole status, asked of the engines without waiting for them here.
    fn snapshot(&self) -> impl Future<Output = Status> + Send + 'static {
        let advertiser = self.advertiser.status();
        let balancer = self.balancer.status();
        let cleared = Arc::clone(&self.cleared);
        let mut daemon = status::Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: init::daemon_pid(),
            started: self.started,
            config: self.args.config.display().to_string(),
            last_reload: self.last_reload.clone(),
            dataplane: "none".to_owned(),
            relay: None,
            engines: [engine(&self.advertiser), engine(&self.balancer)]
                .into_iter()
                .flatten()
                .collect(),
            notify_scripts: self.runner.status(),
            tracked_scripts: self.tracker.scripts(),
        };
        async move {
            let lb_node::Status { mut vrrp, carp } = advertiser.await;
            let balancer::Snapshot { dataplane, relay, virtual_servers, state_sync } =
                balancer.await;
            daemon.relay = relay;
            if !dataplane.is_empty() {
                daemon.dataplane = dataplane;
            }
            let cleared = cleared.lock().unwrap_or_else(PoisonError::into_inner);
            for instance in &mut vrrp {
                if let Some(earlier) = cleared.get(&instance.name) {
                    instance.counters = instance.counters.since(earlier);
                }
            }
            Status { version: STATUS_VERSION, daemon, vrrp, carp, state_sync, virtual_servers }
        }
    }

    fn answer_status(&self, answer: oneshot::Sender<Status>) {
        let snapshot = self.snapshot();
        tokio::spawn(async move {
            let _ = answer.send(snapshot.await); // the client may have gone
        });
    }

    /// Writes the files of a dump in a task of its own.
    fn dump(&self, dump: Dump, clear: bool) {
        let directory = dump::directory();
        let (snapshot, model) = (self.snapshot(), Arc::clone(&self.model));
        let cleared = Arc::clone(&self.cleared);
        tokio::spawn(async move {
            let status = snapshot.await;
            let mut written = true;
            for (name, text) in dump.files(&model, &status) {
                let path = directory.join(name);
                match dump::write(&directory, name, &text) {
                    Ok(()) => tracing::info!("Written {}", path.display()),
                    Err(error) => {
                        tracing::error!("cannot write {}: {error}", path.display());
                        written = false;
                    }
                }
            }
            if clear && written {
                let mut cleared = cleared.lock().unwrap_or_else(PoisonError::into_inner);
                for instance in status.vrrp {
                    // What is shown was counted since the last time.
                    let counters = cleared.entry(instance.name).or_default();
                    *counters = counters.plus(&instance.counters);
                }
            }
        });
    }

    /// `-d`: what a dump of the data would say, to the log.
    fn log_configuration(&self) {
        let (snapshot, model) = (self.snapshot(), self.model.clone());
        tokio::spawn(async move {
            let status = snapshot.await;
            for (_, text) in Dump::Data.files(&model, &status) {
                text.lines().for_each(|line| tracing::info!("{line}"));
            }
        });
    }

    /// Makes the engine fail that `--test-fault` names.
    fn test_fault(&self) {
        match self.args.test_fault.as_deref() {
            Some("advertiser") => self.advertiser.engine().into_iter().for_each(Advertiser::fail),
            Some("balancer") => {
                self.balancer.engine().into_iter().for_each(|b| b.fail("told to by --test-fault"));
            }
            _ => tracing::info!("there is no thread dump; eu-stack or gdb show the threads"),
        }
    }
}

/// Version of [`Status`].
const STATUS_VERSION: u32 = 1;

fn engine<E: slot::Engine>(slot: &Slot<E>) -> Option<status::Engine> {
    slot.is_on().then(|| status::Engine {
        name: E::NAME.to_owned(),
        running: slot.engine().is_some(),
        failures: slot.restarts(),
        reason: slot.failure().map(str::to_owned),
    })
}

/// An error and its causes, but for those that it repeats.
fn describe(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| match cause.to_string() {
        cause if said.is_empty() => cause,
        cause if said.contains(&cause) => said,
        cause => format!("{said}: {cause}"),
    })
}

/// A missing permission has an exit status of its own.
fn exit_status(error: &anyhow::Error) -> u8 {
    let refused = error.chain().any(|cause| {
        // Transparent, so what it holds is no link of the chain.
        let net = match cause.downcast_ref() {
            Some(advertiser::Error::Net(net)) => Some(net),
            _ => cause.downcast_ref(),
        };
        matches!(net, Some(lb_net::Error::Capability { .. }))
            || matches!(cause.downcast_ref(), Some(lb_ipvs::Error::Permission))
            || cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    });
    if refused { PERMISSION } else { FATAL }
}

/// Runs `startup_script` or `shutdown_script`. When `stop` is done before it, it is ended: false then.
async fn run_hook(
    name: &str,
    script: &lb_config::model::Script,
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> bool {
    let mut running = match lb_script::start(script, &[]) {
        Ok(running) => running,
        Err(error) => {
            tracing::error!("cannot run {name} `{}`: {error}", script.argv.join(" "));
            return true;
        }
    };
    let ended = tokio::select! {
        ended = running.wait_at_most(limit) => ended,
        () = stop => {
            tracing::warn!("{name} is ended, because the daemon is told to stop");
            running.end(lb_script::GRACE).await;
            return false;
        }
    };
    match ended {
        Ok(outcome) if outcome.success() => tracing::info!("{name} done"),
        Ok(outcome) => tracing::warn!("{name} ended with {outcome}"),
        Err(error) => tracing::error!("cannot wait for {name}: {error}"),
    }
    true
}

/// The log line of an event, under the name of the process that says it in keepalived. Lines about
/// CARP have a severity, and are left out above `carp_log`.
fn log_event(event: &EventKind, carp_log: u8) {
    if event.carp_severity().is_some_and(|severity| severity > carp_log) {
        return;
    }
    match event {
        EventKind::DataplaneError { .. } => tracing::error!(target: "lbd::balancer", "{event}"),
        EventKind::StateSync { failed: true, .. } | EventKind::TableRepaired { .. } => {
            tracing::warn!(target: "lbd::balancer", "{event}");
        }
        EventKind::VrrpLate { .. }
        | EventKind::VrrpListensAgain { .. }
        | EventKind::VrrpPacketError { .. }
        | EventKind::CarpPacketError { .. }
        | EventKind::Conflict { began: true, .. } => {
            tracing::warn!(target: "lbd::advertiser", "{event}");
        }
        EventKind::EngineRestarted { .. } | EventKind::ReloadRefused { .. } => {
            tracing::warn!("{event}");
        }
        EventKind::Reloaded { .. } => tracing::info!("{event}"),
        // What keepalived logs with -D only.
        EventKind::VrrpAdvertTimeout { .. }
        | EventKind::VrrpBackupRxStop { .. }
        | EventKind::VrrpTxStop { .. } => tracing::debug!(target: "lbd::advertiser", "{event}"),
        EventKind::Checker { .. }
        | EventKind::RealServer { .. }
        | EventKind::Quorum { .. }
        | EventKind::SorryServer { .. }
        | EventKind::StateSync { .. } => {
            tracing::info!(target: "lbd::balancer", "{event}");
            if let Some(line) = event.second_line() {
                tracing::info!(target: "lbd::balancer", "{line}");
            }
        }
        EventKind::VrrpInstance { .. }
        | EventKind::CarpInstance { .. }
        | EventKind::CarpDemotion { .. }
        | EventKind::Conflict { .. }
        | EventKind::VrrpGroup { .. }
        | EventKind::VrrpPriority { .. }
        | EventKind::VrrpMasterRxHigherPri { .. }
        | EventKind::VrrpMasterRxLowerPri { .. }
        | EventKind::VrrpBackupRxLowerPri { .. }
        | EventKind::Script { .. }
        | EventKind::TrackedFile { .. }
        | EventKind::Process { .. }
        | EventKind::Interface { .. } => tracing::info!(target: "lbd::advertiser", "{event}"),
    }
}

/// Says something to the service manager, if there is one that listens.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("cannot notify the service manager: {error}");
    }
}
