//! The thread: one loop around one [`Node`].

use std::error::Error as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_config::model::Scheduling;
use lb_control::EventKind;
use lb_control::event::State;
use lb_control::status::{Maintenance, Transition};
use lb_election::IpPacket;
use lb_net::{Claim, Poller, Received, Timer, Waker};
use tokio::sync::oneshot;

use crate::advertiser::kernel::Kernel;
use crate::advertiser::outgoing::Outgoing;
use crate::advertiser::recorder::Tape;
use crate::advertiser::sockets::Sockets;
use crate::advertiser::watcher::Watcher;
use crate::advertiser::{Kept, Observation, Options};
use crate::engine::EventSink;
use crate::mailbox::{Inbox, Message, Sender, mailbox};
use lb_node::{Action, Input, LinkIndex, Node};
use lb_node::{Guarded, Plan};

/// What the supervisor asks of the thread.
#[derive(Debug)]
pub(super) enum Command {
    Apply {
        plan: Plan,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// The same when the addresses of the plan are guarded, or cannot be.
    ApplyGuarded {
        plan: Plan,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Observe(Observation),
    Handover {
        name: String,
    },
    Maintenance {
        name: Option<String>,
        state: Option<Maintenance>,
    },
    Demote {
        group: String,
        by: i32,
    },
    StateSync {
        failure: Option<String>,
    },
    Announce {
        config: Arc<str>,
    },
    Why {
        name: String,
        reply: oneshot::Sender<Option<Vec<Transition>>>,
    },
    Status {
        reply: oneshot::Sender<lb_node::Status>,
    },
    Stop {
        reply: oneshot::Sender<Result<(), String>>,
    },
    Fail,
}

/// Commands that wait at most. One that finds no room is dropped, and with it its reply.
pub(super) const ROOM: usize = 1024;

impl Message for Command {
    const MERGES: bool = true;

    fn voids(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Observe(one), Self::Observe(other)) => one.voids(other),
            (Self::Handover { name }, Self::Handover { name: other }) => name == other,
            (Self::Maintenance { name, .. }, Self::Maintenance { name: other, .. }) => {
                name == other
            }
            (Self::StateSync { .. }, Self::StateSync { .. }) => true,
            _ => false,
        }
    }

    fn always(&self) -> bool {
        match self {
            Self::Apply { .. }
            | Self::ApplyGuarded { .. }
            | Self::Announce { .. }
            | Self::StateSync { .. }
            | Self::Stop { .. }
            | Self::Fail => true,
            Self::Observe(observation) => observation.always(),
            Self::Handover { .. }
            | Self::Maintenance { .. }
            | Self::Demote { .. }
            | Self::Why { .. }
            | Self::Status { .. } => false,
        }
    }
}

impl Message for Claim {
    const MERGES: bool = true;

    fn voids(&self, earlier: &Self) -> bool {
        (self.ifindex, self.address) == (earlier.ifindex, earlier.address)
    }
}

/// How long a start waits for addresses of an earlier life to be gone.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// After a snapshot for the status so many times its cost passes until the next.
const SNAPSHOT_PAUSE: u32 = 20;

const TIMER: u64 = 0;
const COMMANDS: u64 = 1;
const KERNEL: u64 = 2;
const FIRST_SOCKET: u64 = 3;

/// What a thread begins with.
pub(super) struct Start {
    plan: Plan,
    node: Node,
    sockets: Sockets,
    seed: u64,
    /// See [`Node::number_from`].
    number: u32,
    options: Options,
}

impl Start {
    /// Lays out the node of a plan; touches nothing outside.
    pub(super) fn new(plan: Plan, options: Options) -> Self {
        let seed = unguessable();
        let sockets = Sockets::new(&plan, FIRST_SOCKET);
        let mut node = Node::new(plan.clone(), &options.adopt, seed);
        let number = u32::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let number = number.max(options.number);
        node.number_from(number);
        Self { node, plan, sockets, seed, number, options }
    }
}

/// Everything the thread owns.
pub(super) struct Thread {
    node: Node,
    /// In force.
    plan: Plan,
    /// The addresses that are guarded, as far as they can be.
    guarded: Guarded,
    /// These are more than the plan says, as long as instances of earlier ones hold them.
    overguarded: bool,
    /// How many plans wait until their addresses are guarded.
    waiting: usize,
    /// For what is to be done when other threads are through.
    orders: Sender<Command>,
    tape: Tape,
    kernel: Kernel,
    sockets: Sockets,
    outgoing: Outgoing,
    watcher: Watcher,
    /// Instances have changed their roles, and the watcher does not know yet.
    moved: bool,
    actions: Vec<Action>,
    /// Events that wait until addresses are gone.
    untold: Vec<EventKind>,
    poller: Poller,
    /// Of the last wake-up, kept for its memory.
    ready: Vec<u64>,
    timer: Timer,
    commands: Inbox<Command>,
    /// Apart from the commands, which they must not crowd out.
    claims: Inbox<Claim>,
    /// Who wants to know the status, at most as many as commands wait.
    asked: Vec<oneshot::Sender<lb_node::Status>>,
    /// When they are told at the earliest.
    snapshot_at: Instant,
    waker: Arc<Waker>,
    legacy: Kept,
    keep_vips: bool,
    stopping: Vec<oneshot::Sender<Result<(), String>>>,
}

impl Thread {
    /// Opens everything and starts the node.
    pub(super) fn new(
        Start { plan, node, sockets, seed, number, options }: Start,
        events: EventSink,
        (orders, commands): (Sender<Command>, Inbox<Command>),
        waker: Arc<Waker>,
        legacy: Kept,
    ) -> Result<Self, lb_net::Error> {
        schedule(options.scheduling);
        let system = |source| lb_net::Error::System { what: "waiting for events".into(), source };
        let poller = Poller::new().map_err(system)?;
        let timer = Timer::new().map_err(system)?;
        poller.add_edge(&timer, TIMER).map_err(system)?;
        poller.add(&*waker, COMMANDS).map_err(system)?;
        let now = Instant::now();
        let (claimed, claims) = mailbox(ROOM);
        let watcher = Watcher::start({
            let waker = Arc::clone(&waker);
            move |claim| {
                // The advertiser may be ending.
                let _ = claimed.send(claim);
                waker.wake();
            }
        })?;
        let mut thread = Self {
            tape: Tape::new(options.recording.as_ref(), now, (seed, number), &options.adopt),
            kernel: Kernel::open(&poller, KERNEL, events, Arc::clone(&waker))?,
            sockets,
            node,
            guarded: plan.guarded(),
            plan,
            overguarded: false,
            waiting: 0,
            orders,
            outgoing: Outgoing::default(),
            watcher,
            moved: false,
            actions: Vec::new(),
            untold: Vec::new(),
            poller,
            ready: Vec::new(),
            timer,
            commands,
            claims,
            asked: Vec::new(),
            snapshot_at: now,
            waker,
            legacy,
            keep_vips: options.keep_vips,
            stopping: Vec::new(),
        };
        let Self { node, guarded, tape, kernel, actions, .. } = &mut thread;
        let netlink = |source| lb_net::Error::System { what: "listing addresses".into(), source };
        let mut tell = |node: &mut Node, input: Input<'_>| {
            tape.note(now, &input, node);
            node.handle(now, input, actions);
        };
        kernel.survey(&mut |input| tell(node, input)).map_err(netlink)?;
        kernel.prepare(node, guarded.clone(), &mut tell).map_err(netlink)?;
        for observation in &options.observed {
            tell(node, observation.input());
        }
        for (name, state) in &options.maintenance {
            let (name, state) = (name.as_deref(), Some(state.clone()));
            tell(node, Input::Maintenance { name, state });
        }
        if let Some(failure) = options.state_sync.as_deref() {
            tell(node, Input::StateSync { failure: Some(failure) });
        }
        tell(node, Input::Start);
        thread.act().map_err(netlink)??;
        // Addresses of an earlier life are gone when we say that we have started.
        thread.kernel.wait(LEFTOVERS).map_err(netlink)?;
        thread.kernel.sweep(&thread.node, &thread.guarded);
        // Those that were adopted have not become MASTER just now.
        let masters = thread.node.masters();
        thread.legacy.lock().unwrap_or_else(PoisonError::into_inner).masters = masters;
        Ok(thread)
    }

    /// Runs until the node has stopped.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while self.stopping.is_empty() || !(self.keep_vips || self.node.stopped()) {
            self.arm()?;
            self.ready.clear();
            self.ready.extend(self.poller.wait(None)?);
            self.turn()?;
        }
        self.tape.end(Instant::now());
        if !self.keep_vips && !self.guarded.is_empty() {
            self.kernel.guard(Guarded::new())?;
        }
        let ended = self.kernel.conclude()?;
        for reply in self.stopping.drain(..) {
            // The supervisor may have given up.
            let _ = reply.send(ended.clone());
        }
        Ok(())
    }

    /// Handles one wake-up: first what is due of masters, which waits for no flood, then what has
    /// arrived, what has changed, and the time.
    ///
    /// The clock is read before the sockets, so that nothing that had arrived by then is unread when
    /// the timers of that time fire, even if the process was stopped between any two lines here.
    fn turn(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut fired = self.ready.contains(&TIMER);
        if self.is_due(now) {
            self.tell(now, Input::Advertise);
            self.warn_if_not_opened()?;
        }
        // Without a deadline that has passed, the rest may be read in the next turn.
        let all = self.is_due(now);
        if all {
            self.ready.clear();
            self.ready.extend(self.poller.wait(Some(Duration::ZERO))?);
            fired |= self.ready.contains(&TIMER);
        }
        if fired {
            self.timer.fired();
        }
        let ready = mem::take(&mut self.ready);
        let Self { node, tape, actions, sockets, kernel, poller, .. } = self;
        let mut tell = |input: Input<'_>| {
            tape.note(now, &input, node);
            node.handle(now, input, actions);
        };
        for &token in ready.iter().filter(|token| **token >= FIRST_SOCKET) {
            sockets.receive(now, token, all, |link, packet| tell(input(link, &packet)));
        }
        sockets.watch_strays(now, poller);
        if ready.contains(&COMMANDS) {
            self.waker.clear();
            kernel.settle(&mut tell)?;
        }
        if ready.contains(&KERNEL) {
            kernel.drain(&mut tell)?;
        }
        tell(Input::Timer);
        for link in kernel.take_other_macs() {
            node.announce_link(link, actions);
        }
        self.warn_if_not_opened()?;
        if ready.contains(&COMMANDS) {
            self.obey_all()?;
            self.hear_claims()?;
        }
        if self.overguarded && self.waiting == 0 && self.node.is_settled() {
            self.overguarded = false;
            self.guarded = self.node.guarded(&self.plan);
            self.kernel.guard(self.guarded.clone())?;
        }
        self.answer();
        self.ready = ready;
        Ok(())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.node.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Does what it is told; not for ever, while others go on telling.
    fn obey_all(&mut self) -> io::Result<()> {
        for _ in 0..ROOM {
            let Ok(command) = self.commands.try_recv() else { break };
            self.obey(command)?;
        }
        if !self.commands.is_empty() {
            self.waker.wake();
        }
        let dropped = self.commands.take_dropped();
        if dropped > 0 {
            tracing::error!(
                "{dropped} questions, orders and results of scripts were dropped: more came than the \
                 advertiser could handle"
            );
        }
        Ok(())
    }

    /// Takes note of who else claims our addresses; not for ever, while others go on claiming.
    fn hear_claims(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for _ in 0..ROOM {
            let Ok(claim) = self.claims.try_recv() else { break };
            let Claim { ifindex: link, address, hardware: mac } = claim;
            if !self.kernel.is_ours(mac) {
                self.tell(now, Input::Claim { link, address, mac });
                self.warn_if_not_opened()?;
            }
        }
        if !self.claims.is_empty() {
            self.waker.wake();
        }
        let dropped = self.claims.take_dropped();
        if dropped > 0 {
            tracing::debug!(
                "{dropped} claims of addresses were dropped: more came than can be handled"
            );
        }
        Ok(())
    }

    /// Tells the status to all who asked for it, unless the last time was a moment ago.
    fn answer(&mut self) {
        let now = Instant::now();
        if self.asked.is_empty() || now < self.snapshot_at {
            return;
        }
        let status = self.node.status(now, Timestamp::now());
        for reply in self.asked.drain(..).filter(|reply| !reply.is_closed()) {
            // Whoever asked may have gone.
            let _ = reply.send(status.clone());
        }
        self.snapshot_at = Instant::now() + now.elapsed() * SNAPSHOT_PAUSE;
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let now = Instant::now();
        match command {
            Command::Apply { plan, reply } if self.guard(&plan)? => {
                let (orders, waker) = (self.orders.clone(), Arc::clone(&self.waker));
                self.kernel.end(move || {
                    // The advertiser may be ending.
                    let _ = orders.send(Command::ApplyGuarded { plan, reply });
                    waker.wake();
                })?;
            }
            Command::Apply { plan, reply } => self.apply(now, plan, reply)?,
            Command::ApplyGuarded { plan, reply } => {
                self.waiting = self.waiting.saturating_sub(1);
                // Whether its addresses could be guarded is known by now, and has to be told first.
                let Self { node, tape, actions, kernel, .. } = self;
                kernel.settle(&mut |input| {
                    tape.note(now, &input, node);
                    node.handle(now, input, actions);
                })?;
                self.warn_if_not_opened()?;
                self.apply(now, plan, reply)?;
            }
            Command::Observe(observation) => {
                self.tell(now, observation.input());
                self.warn_if_not_opened()?;
            }
            Command::Handover { name } => {
                self.tell(now, Input::Handover { name: &name });
                self.warn_if_not_opened()?;
            }
            Command::Maintenance { name, state } => {
                self.tell(now, Input::Maintenance { name: name.as_deref(), state });
                self.warn_if_not_opened()?;
            }
            Command::Demote { group, by } => {
                self.tell(now, Input::Demote { group: &group, by });
                self.warn_if_not_opened()?;
            }
            Command::StateSync { failure } => {
                self.tell(now, Input::StateSync { failure: failure.as_deref() });
                self.warn_if_not_opened()?;
            }
            Command::Announce { config } => self.tape.announce(config),
            Command::Why { name, reply } => {
                let _ = reply.send(self.node.why(&name, now, Timestamp::now()));
            }
            Command::Status { reply } => {
                if self.asked.len() < ROOM {
                    self.asked.push(reply);
                }
            }
            Command::Stop { reply } => {
                // A second time it ends the wait for successors.
                if !self.keep_vips {
                    self.tell(now, Input::Stop);
                    self.warn_if_not_opened()?;
                }
                self.stopping.push(reply);
            }
            Command::Fail => panic!("asked to fail"),
        }
        Ok(())
    }

    /// Has the addresses of a new plan guarded before they are there, and those of earlier ones as long
    /// as they are. Whether the plan has to wait: for that, or for the plan before it, which waits.
    fn guard(&mut self, plan: &Plan) -> io::Result<bool> {
        let guarded = plan.guarded_after(&self.guarded);
        let changed = guarded != self.guarded;
        if changed {
            self.kernel.guard(guarded.clone())?;
            self.guarded = guarded;
        }
        let waits = changed || self.waiting > 0;
        self.waiting += usize::from(waits);
        Ok(waits)
    }

    fn apply(
        &mut self,
        now: Instant,
        plan: Plan,
        reply: oneshot::Sender<Result<(), String>>,
    ) -> io::Result<()> {
        self.plan = plan.clone();
        self.overguarded = self.guarded != plan.guarded();
        self.sockets.serve(&plan);
        // Its sockets may be the same and serve other instances.
        self.actions.push(Action::Sockets);
        self.tell(now, Input::Reload(plan));
        // It may have other addresses, whoever is MASTER.
        self.moved = true;
        let opened = self.act()?.map_err(|error| with_sources(&error));
        self.kernel.then(move || {
            let _ = reply.send(opened);
        })
    }

    fn tell(&mut self, now: Instant, input: Input<'_>) {
        self.tape.note(now, &input, &self.node);
        self.node.handle(now, input, &mut self.actions);
    }

    fn warn_if_not_opened(&mut self) -> io::Result<()> {
        if let Err(error) = self.act()? {
            tracing::error!("{}", with_sources(&error));
        }
        Ok(())
    }

    /// Does all actions in their order, then has them told: who hears that an instance is MASTER
    /// finds its VIPs there, and who hears that it is BACKUP finds them gone. The inner error is of a socket that did not open.
    fn act(&mut self) -> io::Result<Result<(), lb_net::Error>> {
        let mut actions = mem::take(&mut self.actions);
        let mut told = mem::take(&mut self.untold);
        let before = told.len();
        let opened = self.perform(actions.drain(..), &mut told);
        self.actions = actions;
        // When many change their roles one after the other, only the last of it is of interest.
        let moved = told[before..].iter().any(|event| event.instance().is_some());
        if !moved && mem::take(&mut self.moved) {
            // Nor will there soon be as much to do at one moment.
            self.actions = Vec::new();
            self.watcher.follow(self.node.held());
        }
        self.moved |= moved;
        // What comes after it waits as well: the order stays. It is over in a moment.
        let waits = |event: &EventKind| {
            let backup = event.instance().filter(|(_, state, _)| *state == State::Backup);
            backup.is_some_and(|(name, ..)| self.node.lets_go(name))
        };
        let ready = told.iter().position(waits).unwrap_or(told.len());
        self.untold = told.split_off(ready);
        if !told.is_empty() {
            self.kernel.tell(told)?;
        }
        opened
    }

    fn perform(
        &mut self,
        actions: impl Iterator<Item = Action>,
        told: &mut Vec<EventKind>,
    ) -> io::Result<Result<(), lb_net::Error>> {
        let mut opened = Ok(());
        let Self { node, sockets, kernel, outgoing, poller, legacy, .. } = self;
        for action in actions {
            match action {
                Action::Event(event) => {
                    remember(legacy, &event);
                    told.push(*event);
                }
                Action::Sockets => {
                    outgoing.flush(node, sockets, kernel)?;
                    let name = |link| kernel.name(link);
                    opened = opened.and(sockets.reconcile(node.sockets(), name, poller));
                }
                Action::Send { advert, .. } if advert.number() > 0 => {
                    let mut legacy = legacy.lock().unwrap_or_else(PoisonError::into_inner);
                    legacy.number = legacy.number.max(advert.number());
                    drop(legacy);
                    outgoing.take(action, node, sockets, kernel)?;
                }
                action => outgoing.take(action, node, sockets, kernel)?,
            }
        }
        outgoing.flush(node, sockets, kernel)?;
        Ok(opened)
    }

    /// Arms the timer when it would fire too late. One that fires early costs less than arming it
    /// anew for every advertisement heard.
    fn arm(&mut self) -> io::Result<()> {
        let answer_at = (!self.asked.is_empty()).then_some(self.snapshot_at);
        let deadlines = [self.node.deadline(), answer_at, self.sockets.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        match (deadline, self.timer.armed()) {
            (Some(deadline), Some(armed)) if armed <= deadline => Ok(()),
            (Some(deadline), _) => self.timer.arm(Some(deadline)),
            (None, _) => Ok(()),
        }
    }
}

fn input<'a>(link: LinkIndex, packet: &Received<'a>) -> Input<'a> {
    let packet = IpPacket {
        source: packet.source,
        destination: packet.destination,
        ttl: Some(packet.ttl),
        declared_len: packet.total_len.checked_sub(packet.header_len),
        ah: packet.ah,
        payload: packet.payload,
    };
    Input::Packet { link, packet }
}

/// Keeps the names of masters where they outlive a panic.
fn remember(legacy: &Kept, event: &EventKind) {
    if let Some((name, state, _)) = event.instance() {
        let mut legacy = legacy.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            State::Master => legacy.masters.insert(name.to_owned()),
            _ => legacy.masters.remove(name),
        };
    }
}

/// What cannot be had is said, and the thread runs without it.
fn schedule(scheduling: Scheduling) {
    let tried = [
        ("preference for latency", Some(lb_net::prefer_latency())),
        ("nice value", scheduling.nice.map(lb_net::set_nice)),
        ("real-time priority", scheduling.realtime.map(lb_net::set_realtime)),
        ("memory lock", scheduling.no_swap.then(lb_net::lock_memory)),
    ];
    for (what, result) in tried {
        if let Some(Err(error)) = result {
            tracing::warn!("the advertiser runs without its {what}: {error}");
        }
    }
}

/// An error and what caused it, on one line.
pub(super) fn with_sources(error: &lb_net::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A number that nobody can guess: the keys of the standard library's hashers come from the kernel.
fn unguessable() -> u64 {
    RandomState::new().build_hasher().finish()
}
