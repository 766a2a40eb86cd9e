//! All checkers of a daemon: one heap of times, one armed timer, a future only for who waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep_until, timeout};

use crate::schedule::{Meaning, Memory, Rhythm, Run, Schedule};
use crate::socket::{self, Begun};
use crate::spec::{Probe, Spec};
use crate::{Outcome, http, script, tcp, tls};

/// Runs begun, or results collected, before others get their turn.
const BATCH: usize = 64;

/// How long [`Checks::stop`] waits for scripts: their grace and something over.
const STOP: Duration = Duration::from_millis(1_500);

/// Names a checker. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

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
}

/// Checkers that run when it is their time.
pub struct Checks {
    entries: HashMap<Id, Entry>,
    /// One element for each checker that waits; those of removed ones stay until their time.
    due: BinaryHeap<Reverse<(Instant, Id)>>,
    alarm: Pin<Box<Sleep>>,
    probes: FuturesUnordered<LocalBoxFuture<'static, Ended>>,
    /// Apart from the probes because they have to be stopped in order.
    scripts: FuturesUnordered<LocalBoxFuture<'static, Ended>>,
    tls: tls::Client,
    random: Random,
    last_id: u64,
}

struct Entry {
    probe: Probe,
    schedule: Schedule,
    /// The script under way ends when this is dropped.
    script: Option<oneshot::Sender<Infallible>>,
    suspended: bool,
}

struct Ended {
    id: Id,
    begun: Instant,
    outcome: Outcome,
}

impl Checks {
    /// No checkers yet. `seed` determines the start jitter of all that come. To be called, as
    /// everything here, in a tokio runtime.
    ///
    /// # Errors
    /// When rustls has no cipher suites, which its build decides.
    pub fn new(seed: u64) -> Result<Self, rustls::Error> {
        Ok(Self {
            entries: HashMap::new(),
            due: BinaryHeap::new(),
            alarm: Box::pin(sleep_until(tokio::time::Instant::now())),
            probes: FuturesUnordered::new(),
            scripts: FuturesUnordered::new(),
            tls: tls::Client::new()?,
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
        self.entries.insert(id, Entry { probe, schedule, script: None, suspended: false });
        id
    }

    /// Removes a checker and returns what it remembers. A run under way reports nothing; a
    /// script is stopped.
    pub fn remove(&mut self, id: Id) -> Option<Memory> {
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
        self.start_due(cx, reports);
        for _ in 0..BATCH {
            let ended = match self.probes.poll_next_unpin(cx) {
                Poll::Ready(Some(ended)) => ended,
                Poll::Ready(None) | Poll::Pending => match self.scripts.poll_next_unpin(cx) {
                    Poll::Ready(Some(ended)) => ended,
                    Poll::Ready(None) | Poll::Pending => break,
                },
            };
            reports.extend(self.finish(ended));
        }
        if reports.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Begins every run that is due, and arms the alarm for the next.
    fn start_due(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) {
        let mut begun = 0;
        while let Some(&Reverse((at, id))) = self.due.peek() {
            let now = now();
            if at > now {
                if self.alarm.deadline().into_std() != at {
                    self.alarm.as_mut().reset(at.into());
                }
                if self.alarm.as_mut().poll(cx).is_pending() {
                    return;
                }
            } else if begun == BATCH {
                cx.waker().wake_by_ref();
                return;
            } else {
                begun += 1;
                self.due.pop();
                let ended = self.start(id, now);
                reports.extend(ended.and_then(|ended| self.finish(ended)));
            }
        }
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
        let ended = move |outcome| Ended { id, begun, outcome };
        match &entry.probe {
            Probe::Tcp(to) => match socket::begin(to) {
                // Dropping the socket closes it.
                Ok(Begun::Connected(_)) => return Some(ended(Outcome::Up { weight: None })),
                Ok(pending) => {
                    let to = to.clone();
                    let probe = async move { ended(tcp::probe(pending, &to).await) };
                    self.probes.push(Box::pin(probe));
                }
                Err(outcome) => return Some(ended(outcome)),
            },
            Probe::Http(http) => match socket::begin(&http.connection) {
                Ok(begun) => {
                    let (http, tls) = (http.clone(), self.tls.clone());
                    let probe = async move { ended(http::probe(begun, &http, url, &tls).await) };
                    self.probes.push(Box::pin(probe));
                }
                Err(outcome) => return Some(ended(outcome)),
            },
            Probe::Script(script) => {
                let (sender, owner) = oneshot::channel();
                let script = script.clone();
                entry.script = Some(sender);
                let probe = async move { ended(script::probe(&script, owner).await) };
                self.scripts.push(Box::pin(probe));
            }
        }
        None
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
        let before = entry.schedule.memory();
        let verdict = match entry.schedule.finish(now, run) {
            Meaning::Undecided => None,
            Meaning::Verdict(up) => Some(up),
        };
        self.due.extend(entry.schedule.deadline().map(|at| Reverse((at, id))));
        let changed = verdict.is_some_and(|up| up != before.up || !before.ran);
        let attempts = before.attempts;
        Some(Report { id, outcome, latency: now.duration_since(begun), verdict, changed, attempts })
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
