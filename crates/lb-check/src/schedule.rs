//! When a checker runs and what its results mean. Pure.
//!
//! A period counts from the moment a run was due, not from its end: ten thousand checks a second
//! stay spread over the second as they were at the start. A run that is missed, because the one
//! before took longer or the host slept, is left out and the grid is kept.

use std::time::{Duration, Instant};

use crate::spec::{Probe, Timing};

/// The earliest a checker runs after its start.
const FIRST: Duration = Duration::from_secs(1);

/// Longer than anyone waits, and short enough to be added to any moment.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What the schedule has to know of a probe's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// One connection a run.
    Plain,
    /// One URL a run, a result after the last.
    Urls {
        /// How many, at least one.
        count: usize,
        /// No delay between them while there is no result yet or the last was a failure.
        fast: bool,
    },
    /// A program: every delay counts from its start.
    Script,
}

impl Rhythm {
    /// The rhythm of a probe.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        match probe {
            Probe::Tcp(_) => Self::Plain,
            Probe::Http(http) => {
                Self::Urls { count: http.urls.len().max(1), fast: http.fast_recovery }
            }
            Probe::Script(_) => Self::Script,
        }
    }
}

/// What one run came to, as far as the schedule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Success.
    Passed,
    /// Failure of the server.
    Failed,
    /// It could not run for a local reason.
    Skipped,
}

/// What a run means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing is decided: more attempts or more URLs follow.
    Undecided,
    /// The result stands for this verdict, which may be the one that was there before.
    Verdict(bool),
}

/// State that outlives a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Verdict.
    pub up: bool,
    /// Has come to a verdict.
    pub ran: bool,
    /// Failed attempts since the last success while up.
    pub attempts: u32,
}

impl Memory {
    /// Of a checker that starts.
    #[must_use]
    pub fn fresh(alpha: bool) -> Self {
        Self { up: !alpha, ran: false, attempts: 0 }
    }
}

/// One checker's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    delay_loop: Duration,
    delay_before_retry: Duration,
    retry: u32,
    rhythm: Rhythm,
    memory: Memory,
    /// When the next run is due, or the one under way was.
    due: Instant,
    running: bool,
    /// The URL of the next run.
    url: usize,
    /// The URL that failed has to pass before the list is begun again, a list of one too.
    suspect: bool,
}

impl Schedule {
    /// A checker that starts at `now`: its first run is due after a second and `jitter`, a random
    /// part of the warm-up.
    #[must_use]
    pub fn new(
        timing: Timing,
        rhythm: Rhythm,
        memory: Memory,
        now: Instant,
        jitter: Duration,
    ) -> Self {
        let Timing { retry, .. } = timing;
        let delay_loop = timing.delay_loop.clamp(Duration::from_millis(1), FOREVER);
        let delay_before_retry = timing.delay_before_retry.min(FOREVER);
        let memory = Memory { attempts: memory.attempts.min(retry), ..memory };
        let due = now + FIRST + jitter.min(FOREVER);
        Self {
            delay_loop,
            delay_before_retry,
            retry,
            rhythm,
            memory,
            due,
            running: false,
            url: 0,
            suspect: false,
        }
    }

    /// When the next run is due; `None` while one is under way.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.running).then_some(self.due)
    }

    /// The URL of the run under way, or of the next one (0 for other kinds).
    #[must_use]
    pub fn url(&self) -> usize {
        self.url
    }

    /// Notes that a run begins at `now` and says which URL it is for (0 for other kinds).
    pub fn start(&mut self, now: Instant) -> usize {
        self.running = true;
        if self.rhythm == Rhythm::Script {
            self.due = now;
        }
        self.url
    }

    /// Takes what the run came to, sets the next one and says what this one means.
    pub fn finish(&mut self, now: Instant, run: Run) -> Meaning {
        self.running = false;
        let Self { delay_loop, delay_before_retry, retry, .. } = *self;
        match run {
            Run::Skipped => {
                self.due = self.period(now);
                Meaning::Undecided
            }
            Run::Passed => {
                let settled = self.memory.up && self.memory.ran;
                self.memory.attempts = 0;
                let complete = self.turn_page();
                let fast = matches!(self.rhythm, Rhythm::Urls { fast: true, .. });
                self.due = if fast && !complete && !settled { now } else { self.period(now) };
                if !complete {
                    return Meaning::Undecided;
                }
                (self.memory.up, self.memory.ran) = (true, true);
                Meaning::Verdict(true)
            }
            // Only who has proved itself is given more than one try.
            Run::Failed if self.memory.up && self.memory.ran && self.memory.attempts < retry => {
                self.memory.attempts += 1;
                self.due = match self.rhythm {
                    Rhythm::Script => now.max(self.due + delay_before_retry),
                    Rhythm::Plain | Rhythm::Urls { .. } => now + delay_before_retry,
                };
                Meaning::Undecided
            }
            Run::Failed => {
                self.memory = Memory { up: false, ran: true, attempts: 0 };
                self.suspect = true;
                self.due = match self.rhythm {
                    Rhythm::Urls { .. } if delay_before_retry > delay_loop => {
                        now + delay_before_retry
                    }
                    _ => self.period(now),
                };
                Meaning::Verdict(false)
            }
        }
    }

    /// What outlives a reload.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The first moment after `now` that is a whole number of periods after this run was due.
    fn period(&self, now: Instant) -> Instant {
        let period = self.delay_loop;
        let next = self.due + period;
        if next > now {
            return next;
        }
        if self.rhythm == Rhythm::Script {
            return now; // it ran longer than its period
        }
        let missed = now.duration_since(next).as_nanos() / period.as_nanos() + 1;
        next + period.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX))
    }

    /// Chooses the next URL after a success. Returns whether the list is complete.
    fn turn_page(&mut self) -> bool {
        let Rhythm::Urls { count, .. } = self.rhythm else {
            return true;
        };
        if std::mem::take(&mut self.suspect) {
            self.url = 0;
            return false;
        }
        self.url += 1;
        let complete = self.url >= count;
        if complete {
            self.url = 0;
        }
        complete
    }
}
