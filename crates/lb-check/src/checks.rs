//! All checkers of a daemon: one heap of times, one armed timer, one epoll instance.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use lb_script::Running;
use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep_until, timeout};

use crate::flight::{Question, Wait};
use crate::flights::{Ended, Flights, Next};
use crate::poller::{Poller, Ready};
use crate::schedule::{Meaning, Memory, Rhythm, Run, Schedule};
use crate::socket::{self, Socket};
use crate::spec::{Probe, Spec};
use crate::{Failure, Outcome, script, tls};

/// Runs begun, or results collected, before others get their turn.
const BATCH: usize = 64;

/// Probes under way at once, unless [`Checks::limit`] says otherwise.
const AT_ONCE: usize = 512;

/// How long [`Checks::stop`] waits for scripts: their grace and something over.
const STOP: Duration = Duration::from_millis(1_500);

/// Why there can be no checks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS library has no ciphers, which its build decides.
    #[error("TLS for checks")]
    Tls(#[from] rustls::Error),
    /// The kernel gives no epoll instance.
    #[error("cannot watch connections")]
    Poll(#[from] io::Error),
}

/// Names a checker. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(crate) u64);

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub id: Id,
    /// What it saw.
    pub outcome: Outcome,
    /// How long it took.
    pub latency: Duration,
    /// What it means, where something is decided: the server is up or not. It may have been so
    /// before.
    pub verdict: Option<bool>,
    /// Whether that is new: another verdict than before, or the first one.
    pub changed: bool,
    /// How often it was tried again before.
    pub attempts: u32,
    /// The URL that was fetched: its place in [`Http::urls`](crate::Http::urls), 0 for other kinds.
    pub url: usize,
}

/// Checkers that run when it is their time.
pub struct Checks {
    /// In boxes: a table of ten thousand has room for six thousand more.
    entries: HashMap<Id, Box<Entry>>,
    /// One element for each checker that waits; those of removed ones stay until their time.
    due: BinaryHeap<Reverse<(Instant, Id)>>,
    alarm: Pin<Box<Sleep>>,
    flights: Flights<Socket>,
    poller: Poller,
    /// Connections that the last look found ready.
    ready: Vec<Ready>,
    scripts: FuturesUnordered<LocalBoxFuture<'static, (Ended, Option<Running>)>>,
    /// Probes under way at once; others wait in order.
    limit: usize,
    waiting: VecDeque<Id>,
    random: Random,
    last_id: u64,
}

struct Entry {
    probe: Probe,
    schedule: Schedule,
    /// The script under way ends when this is dropped.
    script: Option<oneshot::Sender<Infallible>>,
    /// A script that did not end when it had to.
    stuck: Option<Running>,
    suspended: bool,
}

impl Checks {
    /// No checkers yet. `seed` determines the start jitter of all that come. To be called, as
    /// everything here, in a tokio runtime.
    ///
    /// # Errors
    /// When the TLS library or the kernel refuses.
    pub fn new(seed: u64) -> Result<Self, Error> {
        Ok(Self {
            entries: HashMap::new(),
            due: BinaryHeap::new(),
            alarm: Box::pin(sleep_until(tokio::time::Instant::now())),
            flights: Flights::new(tls::Client::new()?),
            poller: Poller::new()?,
            ready: Vec::new(),
            scripts: FuturesUnordered::new(),
            limit: AT_ONCE,
            waiting: VecDeque::new(),
            random: Random(seed),
            last_id: 0,
        })
    }

    /// Adds a checker with what it remembers of the time before a reload, or
    /// [`Memory::fresh`]. Its first run comes a second and a random part of its warm-up later.
    pub fn add(&mut self, spec: &Spec, memory: Memory) -> Id {
        self.last_id += 1;
        let id = Id(self.last_id);
        let jitter = self.random.up_to(spec.timing.warmup);
        let rhythm = Rhythm::of(&spec.probe);
        let schedule = Schedule::new(spec.timing, rhythm, memory, now(), jitter);
        self.due.extend(schedule.deadline().map(|at| Reverse((at, id))));
        let probe = spec.probe.clone();
        let entry = Entry { probe, schedule, script: None, stuck: None, suspended: false };
        self.entries.insert(id, Box::new(entry));
        id
    }

    /// Sets how many probes may be under way at once, one at least: each is a file descriptor. Those
    /// that are due and find no room wait in order, and their time begins when they do.
    pub fn limit(&mut self, probes: usize) {
        self.limit = probes.max(1);
    }

    /// How many probes wait for a place, and how many places there are.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.limit)
    }

    /// Removes a checker and returns what it remembers. A run under way reports nothing; a
    /// script is stopped.
    pub fn remove(&mut self, id: Id) -> Option<Memory> {
        self.flights.end(id, Outcome::NotRun("its checker is gone".to_owned()));
        self.entries.remove(&id).map(|entry| entry.schedule.memory())
    }

    /// Suspends a checker, or lets it go on: while suspended its runs are left out and it keeps its
    /// verdict. A run under way ends as ever.
    pub fn suspend(&mut self, id: Id, suspended: bool) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.suspended = suspended;
        }
    }

    /// Waits until at least one run has ended and puts all that have into `reports`.
    ///
    /// Losing the future half-way loses nothing. It never resolves while there are no checkers.
    pub async fn next(&mut self, reports: &mut Vec<Report>) {
        poll_fn(|cx| self.poll(cx, reports)).await;
    }

    /// Removes all checkers and waits, for a second and a half at most, until their scripts have
    /// ended.
    pub async fn stop(mut self) {
        self.entries.clear();
        let ended = async { while self.scripts.next().await.is_some() {} };
        let _ = timeout(STOP, ended).await; // who survives SIGKILL is not waited for
    }

    fn poll(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) -> Poll<()> {
        let before = reports.len();
        self.go_on(cx, reports);
        for _ in 0..BATCH {
            let Some(ended) = self.flights.expire(now()) else { break };
            reports.extend(self.finish(ended));
        }
        self.start_waiting(reports);
        self.start_due(cx, reports);
        // After the starts: a script that was never polled wakes nobody.
        for _ in 0..BATCH {
            let Poll::Ready(Some((ended, stuck))) = self.scripts.poll_next_unpin(cx) else { break };
            if let Some(entry) = self.entries.get_mut(&ended.id) {
                entry.stuck = stuck;
            }
            reports.extend(self.finish(ended));
            cx.waker().wake_by_ref(); // there may be more, or one that waits for its place
        }
        if reports.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Goes on with the probes whose connections are ready.
    fn go_on(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.poll(cx, &mut ready);
        if !ready.is_empty() {
            cx.waker().wake_by_ref(); // there may be more
        }
        for Ready { id, hangup } in ready.drain(..) {
            let next = self.flights.ready(id, now(), hangup);
            let next = self.watch(id, next, Poller::change);
            if let Next::Over(ended) = next {
                reports.extend(self.finish(ended));
            }
        }
        self.ready = ready;
    }

    /// Begins every run that is due, and arms the alarm for the next.
    fn start_due(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) {
        let mut begun = 0;
        loop {
            let now = now();
            let due = self.due.peek().map(|Reverse((at, _))| *at);
            let Some(at) = [due, self.flights.deadline()].into_iter().flatten().min() else {
                return;
            };
            if at > now {
                if self.alarm.deadline().into_std() != at {
                    self.alarm.as_mut().reset(at.into());
                }
                if self.alarm.as_mut().poll(cx).is_pending() {
                    return;
                }
            } else if begun == BATCH || due.is_none_or(|due| due > now) {
                cx.waker().wake_by_ref();
                return;
            } else if let Some(Reverse((_, id))) = self.due.pop() {
                begun += 1;
                if self.under_way() < self.limit {
                    let ended = self.start(id, now);
                    reports.extend(ended.and_then(|ended| self.finish(ended)));
                } else {
                    self.waiting.push_back(id);
                }
            }
        }
    }

    /// Begins the runs that found no room, as far as there is some now.
    fn start_waiting(&mut self, reports: &mut Vec<Report>) {
        while self.under_way() < self.limit {
            let Some(id) = self.waiting.pop_front() else { return };
            let ended = self.start(id, now());
            reports.extend(ended.and_then(|ended| self.finish(ended)));
        }
    }

    fn under_way(&self) -> usize {
        self.flights.len() + self.scripts.len()
    }

    /// Begins one run. Returns it where nobody has to wait for it.
    fn start(&mut self, id: Id, begun: Instant) -> Option<Ended> {
        let entry = self.entries.get_mut(&id)?;
        let url = entry.schedule.start(begun);
        if entry.suspended {
            entry.schedule.finish(begun, Run::Skipped);
            self.due.extend(entry.schedule.deadline().map(|at| Reverse((at, id))));
            return None;
        }
        let (to, question) = match &entry.probe {
            Probe::Tcp(to) => (to.as_ref(), Question::Tcp(to.clone())),
            Probe::Http(http) => (&http.connection, Question::Http(http.clone(), url)),
            Probe::Script(_) if entry.stuck.as_ref().is_some_and(|script| !script.has_ended()) => {
                return Some(Ended { id, begun, outcome: Outcome::Down(Failure::Stuck) });
            }
            Probe::Script(script) => {
                entry.stuck = None;
                let (sender, owner) = oneshot::channel();
                let script = script.clone();
                entry.script = Some(sender);
                let probe = async move {
                    let (outcome, stuck) = script::probe(&script, owner).await;
                    (Ended { id, begun, outcome }, stuck)
                };
                // All scripts are futures of one task: with its share of turns used up, the runtime
                // would tell each of them "not yet" and wake it, over and over.
                self.scripts.push(Box::pin(unconstrained(probe)));
                return None;
            }
        };
        let next = match socket::begin(to) {
            Ok(socket) => self.flights.begin(id, begun, socket, question),
            Err(outcome) => return Some(Ended { id, begun, outcome }),
        };
        match self.watch(id, next, Poller::watch) {
            Next::Over(ended) => Some(ended),
            Next::Stay | Next::Watch(_) | Next::Gone => None,
        }
    }

    /// Watches the connection of a probe for what it waits for; the probe is over where that cannot be.
    fn watch(
        &mut self,
        id: Id,
        next: Next,
        watch: impl Fn(&Poller, &Socket, Id, Wait) -> io::Result<()>,
    ) -> Next {
        let Next::Watch(wait) = next else { return next };
        match self.flights.wire(id).map(|wire| watch(&self.poller, wire, id, wait)) {
            Some(Err(error)) => self.flights.end(id, socket::unwatched(&error)),
            _ => Next::Stay,
        }
    }

    /// Takes a run that ended and sets the next. `None` where its checker is gone.
    fn finish(&mut self, Ended { id, begun, outcome }: Ended) -> Option<Report> {
        let entry = self.entries.get_mut(&id)?;
        let now = now();
        let run = match outcome {
            Outcome::Up { .. } => Run::Passed,
            Outcome::Down(_) => Run::Failed,
            Outcome::NotRun(_) => Run::Skipped,
        };
        let (before, url) = (entry.schedule.memory(), entry.schedule.url());
        let verdict = match entry.schedule.finish(now, run) {
            Meaning::Undecided => None,
            Meaning::Verdict(up) => Some(up),
        };
        self.due.extend(entry.schedule.deadline().map(|at| Reverse((at, id))));
        let changed = verdict.is_some_and(|up| up != before.up || !before.ran);
        let attempts = before.attempts;
        let latency = now.duration_since(begun);
        Some(Report { id, outcome, latency, verdict, changed, attempts, url })
    }
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// SplitMix64: enough to spread checkers over a period, and the same on every run of a seed.
struct Random(u64);

impl Random {
    fn up_to(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits are what a double holds exactly.
        let share = (z >> 11) as f64 / (1u64 << 53) as f64;
        Duration::try_from_secs_f64(limit.as_secs_f64() * share).unwrap_or(limit)
    }
}
