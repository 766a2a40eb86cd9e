//! A place for an engine that may fail: restarts it with back-off, and nobody else notices.

use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::engine::EventSink;

/// An engine that lived this long did not fail at once.
const HEALTHY: Duration = Duration::from_secs(60);
/// The longest pause between two starts.
const LONGEST: Duration = Duration::from_secs(60);
/// How long an engine may take to say how it is.
const ANSWER: Duration = Duration::from_secs(2);
/// How long an engine may take to put a plan in force.
const APPLY: Duration = Duration::from_secs(30);

/// What the supervisor wants of an engine. It runs on a thread of its own.
pub trait Engine: Sized {
    /// Its part of the configuration.
    type Plan: Clone;
    /// How it is started.
    type Options: Clone;
    /// What it says of itself.
    type Snapshot: Default + Send + 'static;
    /// What one that failed leaves to the one that is started in its place.
    type Legacy: Default;
    /// `advertiser` or `balancer`.
    const NAME: &'static str;

    /// Returns when every socket is bound.
    ///
    /// # Errors
    /// One sentence: what is missing and the remedy.
    fn start(plan: Self::Plan, options: Self::Options, events: EventSink) -> anyhow::Result<Self>;
    /// Puts another plan in force, or leaves everything as it was.
    fn apply(&self, plan: Self::Plan) -> oneshot::Receiver<Result<(), String>>;
    /// How it is.
    fn status(&self) -> oneshot::Receiver<Self::Snapshot>;
    /// Ends it in order. Resolves with what it leaves behind, in a few words.
    fn stop(&self) -> impl Future<Output = Result<(), String>> + Send + 'static;
    /// What it leaves; after it has ended.
    fn legacy(&mut self) -> Self::Legacy;
    /// Waits until it ended without being told, and says why. Cancel safe.
    fn ended(&mut self) -> impl Future<Output = String> + Send;
}

/// Where one engine is.
#[derive(Debug)]
pub struct Slot<E: Engine> {
    state: State<E>,
    failures: Failures,
    /// What the last engine left when it failed.
    legacy: E::Legacy,
    /// When that was.
    failed: Option<Instant>,
}

#[derive(Debug)]
enum State<E> {
    /// Nothing to do for it.
    Off,
    Running {
        engine: E,
        since: Instant,
    },
    /// Failed; starts again.
    Waiting {
        until: Instant,
    },
}

/// What became of the engine.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It failed, and is to be started again after this long.
    Failed {
        /// The panic's message.
        reason: String,
        /// Zero after the first failure in a while.
        pause: Duration,
    },
    /// The pause is over.
    Due,
}

/// Failures since the engine last lived long enough, and the last reason.
#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    total: u64,
    reason: Option<String>,
}

impl Failures {
    /// 0, 1, 2, 4, ... 60 seconds.
    fn pause(&self) -> Duration {
        match self.in_a_row {
            0 | 1 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 2).min(6)).min(LONGEST),
        }
    }

    fn note(&mut self, lived: Duration, reason: &str) -> Duration {
        if lived >= HEALTHY {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        self.total += 1;
        self.reason = Some(reason.to_owned());
        self.pause()
    }
}

impl<E: Engine> Slot<E> {
    /// Empty.
    #[must_use]
    pub fn off() -> Self {
        Self {
            state: State::Off,
            failures: Failures::default(),
            legacy: E::Legacy::default(),
            failed: None,
        }
    }

    /// Starts the engine in this slot.
    ///
    /// # Errors
    /// What the engine says; the slot is as before.
    pub fn start(
        &mut self,
        plan: E::Plan,
        options: E::Options,
        events: EventSink,
    ) -> anyhow::Result<()> {
        let engine = E::start(plan, options, events)?;
        self.state = State::Running { engine, since: Instant::now() };
        Ok(())
    }

    /// The engine, if it runs.
    pub fn engine(&self) -> Option<&E> {
        match &self.state {
            State::Running { engine, .. } => Some(engine),
            State::Off | State::Waiting { .. } => None,
        }
    }

    /// Whether there is something to do for the engine, running or about to.
    pub fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// Why it does not run, if it should.
    pub fn failure(&self) -> Option<&str> {
        match self.state {
            State::Waiting { .. } => self.failures.reason.as_deref(),
            State::Off | State::Running { .. } => None,
        }
    }

    /// What the engine that failed has left.
    pub fn legacy(&self) -> &E::Legacy {
        &self.legacy
    }

    /// How long ago it failed; forever if it never did.
    pub fn failed_for(&self) -> Duration {
        self.failed.map_or(Duration::MAX, |failed| failed.elapsed())
    }

    /// Restarts since the daemon began.
    pub fn restarts(&self) -> u64 {
        self.failures.total
    }

    /// Waits for the next thing to become of it; forever in an empty slot. Cancel safe.
    pub async fn changed(&mut self) -> Change {
        match &mut self.state {
            State::Off => pending().await,
            State::Running { engine, since } => {
                let reason = engine.ended().await;
                let lived = since.elapsed();
                self.legacy = engine.legacy();
                self.failed = Some(Instant::now());
                let pause = self.wait_after(lived, &reason);
                Change::Failed { reason, pause }
            }
            State::Waiting { until } => {
                sleep_until(*until).await;
                Change::Due
            }
        }
    }

    /// Notes that the engine could not be started and waits longer than the last time.
    pub fn start_failed(&mut self, reason: &str) -> Duration {
        // A start that fails at once need not be tried again at once.
        self.failures.in_a_row = self.failures.in_a_row.max(1);
        self.wait_after(Duration::ZERO, reason)
    }

    fn wait_after(&mut self, lived: Duration, reason: &str) -> Duration {
        let pause = self.failures.note(lived, reason);
        self.state = State::Waiting { until: Instant::now() + pause };
        pause
    }

    /// Puts another plan in force, if the engine runs. The future fails with what the engine says;
    /// it goes on with the old plan then.
    pub fn apply(
        &self,
        plan: E::Plan,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let answer = self.engine().map(|engine| engine.apply(plan));
        async move {
            match answer {
                None => Ok(()),
                Some(answer) => match timeout(APPLY, answer).await {
                    Ok(Ok(result)) => result,
                    // It panicked; the new plan is what it is started again with.
                    Ok(Err(_)) => Ok(()),
                    Err(_) => Err(format!("the {} does not answer", E::NAME)),
                },
            }
        }
    }

    /// Asks how it is, without waiting: an engine that does not run or answer says nothing.
    pub fn status(&self) -> impl Future<Output = E::Snapshot> + Send + 'static {
        let answer = self.engine().map(Engine::status);
        async move {
            match answer {
                Some(answer) => {
                    timeout(ANSWER, answer).await.ok().and_then(Result::ok).unwrap_or_default()
                }
                None => E::Snapshot::default(),
            }
        }
    }

    /// Ends the engine in order, if it runs; the future yields `None` when it did not end within
    /// `limit`, else what it leaves behind.
    pub fn stop(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Option<Result<(), String>>> + Send + 'static {
        let ended = self.engine().map(Engine::stop);
        async move {
            match ended {
                Some(ended) => timeout(limit, ended).await.ok(),
                None => Some(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says why it ended as soon as its plan says so.
    struct Fake {
        plan: Option<&'static str>,
    }

    impl Engine for Fake {
        type Plan = Option<&'static str>;
        type Options = ();
        type Snapshot = Vec<u8>;
        type Legacy = &'static str;
        const NAME: &'static str = "fake";

        fn start(plan: Self::Plan, (): (), _: EventSink) -> anyhow::Result<Self> {
            anyhow::ensure!(plan != Some("no socket"), "no socket");
            Ok(Self { plan })
        }

        fn apply(&self, _: Self::Plan) -> oneshot::Receiver<Result<(), String>> {
            oneshot::channel().1 // as of an engine that panics over it
        }

        fn status(&self) -> oneshot::Receiver<Vec<u8>> {
            let (answer, receiver) = oneshot::channel();
            answer.send(vec![1]).unwrap();
            receiver
        }

        fn stop(&self) -> impl Future<Output = Result<(), String>> + Send + 'static {
            pending()
        }

        fn legacy(&mut self) -> &'static str {
            "VI_1"
        }

        async fn ended(&mut self) -> String {
            match self.plan {
                Some(reason) => reason.to_owned(),
                None => pending().await,
            }
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test]
    async fn an_engine_that_fails_again_and_again_is_started_ever_less_often() {
        tokio::time::pause();
        let mut slot = Slot::<Fake>::off();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            slot.start(Some("boom"), (), EventSink::channel().0).unwrap();
            match slot.changed().await {
                Change::Failed { pause, reason } => {
                    assert_eq!(reason, "boom");
                    pauses.push(pause.as_secs());
                }
                Change::Due => panic!("it failed"),
            }
            assert_eq!(slot.failure(), Some("boom"));
            let begin = Instant::now();
            assert_eq!(slot.changed().await, Change::Due);
            let waited = begin.elapsed();
            assert_eq!(slot.failed_for(), waited);
            assert!(waited >= seconds(*pauses.last().unwrap()) && waited < seconds(61));
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(slot.restarts(), 9);
        assert_eq!(*slot.legacy(), "VI_1");
    }

    #[test]
    fn an_engine_that_lived_long_enough_is_started_at_once() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            failures.note(seconds(1), "boom");
        }
        assert_eq!(failures.note(seconds(60), "boom"), Duration::ZERO);
        assert_eq!(failures.note(seconds(59), "boom"), seconds(1));
    }

    #[tokio::test]
    async fn an_engine_that_cannot_start_is_tried_again_after_a_pause() {
        let mut slot = Slot::<Fake>::off();
        let error = slot.start(Some("no socket"), (), EventSink::channel().0).unwrap_err();
        assert_eq!(slot.start_failed(&error.to_string()), seconds(1));
        assert_eq!(slot.start_failed(&error.to_string()), seconds(2));
        assert!(slot.is_on() && slot.engine().is_none());
    }

    #[tokio::test]
    async fn an_engine_that_does_not_run_answers_nothing_and_stops_at_once() {
        let mut slot = Slot::<Fake>::off();
        assert!(slot.status().await.is_empty());
        assert_eq!(slot.stop(seconds(1)).await, Some(Ok(())));
        assert_eq!(slot.apply(None).await, Ok(()));
        slot.start(None, (), EventSink::channel().0).unwrap();
        assert_eq!(slot.status().await, [1]);
        // A panic under way is no refusal.
        assert_eq!(slot.apply(None).await, Ok(()));
    }
}
