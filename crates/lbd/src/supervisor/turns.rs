//! Whose turn it is among notify scripts: in order for each subject, and nobody waits for another's.
//!
//! A subject is an instance, a group, a virtual server or a real server. The scripts of one event start
//! together; those of the next event of the same subject start when they have ended. Scripts that hang
//! give way: after [`PATIENCE`] the next event starts beside them, and where that would be too many at
//! one time, the oldest are ended. So the state that was entered last is told in any case.
//!
//! No I/O: takes time as an argument, says what to start and what to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::notify::Run;

/// The scripts of an event wait so long for those of the event before.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Events of one subject that run at one time.
const BESIDE: usize = 8;
/// Scripts of all subjects that run at one time.
const AT_ONCE: usize = 1024;
/// Events of one subject that wait; the oldest is left out for one more.
const WAITING: usize = 32;

/// Number of one run of one script.
pub type Job = u64;

/// What to do, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a script.
    Start(Job, Run),
    /// End a script that runs: it is in the way. It counts as ended.
    End(Job),
}

/// All subjects that have something to do.
#[derive(Debug, Default)]
pub struct Turns {
    subjects: BTreeMap<String, Subject>,
    /// Subjects with events that wait.
    waiting: BTreeSet<String>,
    /// What runs, the oldest first: of which subject, and since when.
    running: BTreeMap<Job, (String, Instant)>,
    next: Job,
    counters: Counters,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events whose scripts were left out, because too many waited.
    pub left_out: u64,
    /// Scripts that were ended because later ones had to run.
    pub gave_way: u64,
}

#[derive(Debug, Default)]
struct Subject {
    /// The oldest first.
    running: VecDeque<Event>,
    waiting: VecDeque<Vec<Run>>,
}

#[derive(Debug)]
struct Event {
    since: Instant,
    jobs: BTreeSet<Job>,
}

impl Turns {
    /// Puts the scripts of one event in. Returns whether the oldest event of this subject that waited
    /// is left out for it.
    pub fn push(&mut self, subject: &str, runs: Vec<Run>) -> bool {
        if runs.is_empty() {
            return false;
        }
        let waiting = &mut self.subjects.entry(subject.to_owned()).or_default().waiting;
        let full = waiting.len() >= WAITING;
        if full {
            waiting.pop_front();
            self.counters.left_out += 1;
        }
        waiting.push_back(runs);
        self.waiting.insert(subject.to_owned());
        full
    }

    /// Takes the end of a script.
    pub fn ended(&mut self, job: Job) {
        let Some((name, _)) = self.running.remove(&job) else { return };
        let Some(subject) = self.subjects.get_mut(&name) else { return };
        subject.running.retain_mut(|event| {
            event.jobs.remove(&job);
            !event.jobs.is_empty()
        });
        if subject.running.is_empty() && subject.waiting.is_empty() {
            self.subjects.remove(&name);
        }
    }

    /// What is to be done now. With `hurry` nobody has patience: the daemon is about to end.
    pub fn due(&mut self, now: Instant, hurry: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for name in self.waiting.clone() {
            while let Some(action) = self.turn(&name, now, hurry) {
                actions.extend(action);
            }
            if self.subjects.get(&name).is_none_or(|subject| subject.waiting.is_empty()) {
                self.waiting.remove(&name);
            }
        }
        actions
    }

    /// The next step of a subject; `None` when it has to wait, or has nothing to wait for.
    fn turn(&mut self, name: &str, now: Instant, hurry: bool) -> Option<Vec<Action>> {
        let subject = self.subjects.get_mut(name)?;
        if subject.waiting.is_empty() {
            return None;
        }
        let patience = if hurry { Duration::ZERO } else { PATIENCE };
        if subject.running.back().is_some_and(|event| now < event.since + patience) {
            return None;
        }
        let in_the_way: Vec<Job> = if subject.running.len() >= BESIDE {
            subject.running.front().iter().flat_map(|event| event.jobs.iter().copied()).collect()
        } else if self.running.len() >= AT_ONCE {
            let (job, (_, since)) = self.running.first_key_value()?;
            if now < *since + PATIENCE {
                return None;
            }
            vec![*job]
        } else {
            Vec::new()
        };
        if !in_the_way.is_empty() {
            self.counters.gave_way += in_the_way.len() as u64;
            in_the_way.iter().for_each(|job| self.ended(*job));
            return Some(in_the_way.into_iter().map(Action::End).collect());
        }
        let runs = subject.waiting.pop_front()?;
        let mut event = Event { since: now, jobs: BTreeSet::new() };
        let mut actions = Vec::with_capacity(runs.len());
        for run in runs {
            self.next += 1;
            event.jobs.insert(self.next);
            self.running.insert(self.next, (name.to_owned(), now));
            actions.push(Action::Start(self.next, run));
        }
        subject.running.push_back(event);
        Some(actions)
    }

    /// When something is due without a further event.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let room = match self.running.first_key_value() {
            Some((_, (_, oldest))) if self.running.len() >= AT_ONCE => Some(*oldest + PATIENCE),
            _ => None,
        };
        let turn = |name| {
            let newest =
                self.subjects.get(name)?.running.back().map(|event| event.since + PATIENCE);
            newest.max(room)
        };
        self.waiting.iter().filter_map(turn).min()
    }

    /// Scripts that run, and events that wait.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let waiting = self.waiting.iter().filter_map(|name| self.subjects.get(name));
        (self.running.len(), waiting.map(|subject| subject.waiting.len()).sum())
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lb_config::model::Script;

    use super::*;

    fn run(name: &str) -> Vec<Run> {
        vec![Run { script: Arc::new(Script::new([name])), extra: Vec::new() }]
    }

    fn started(actions: &[Action]) -> Vec<String> {
        let name = |action: &Action| match action {
            Action::Start(_, run) => Some(run.words()),
            Action::End(_) => None,
        };
        actions.iter().filter_map(name).collect()
    }

    fn ended(actions: &[Action]) -> Vec<Job> {
        let job = |action: &Action| match action {
            Action::Start(..) => None,
            Action::End(job) => Some(*job),
        };
        actions.iter().filter_map(job).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_subject_is_told_in_order_and_waits_for_nobody_else() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        turns.push("a", [run("a1"), run("a1+")].concat());
        turns.push("a", run("a2"));
        turns.push("b", run("b1"));
        assert_eq!(started(&turns.due(now, false)), ["a1", "a1+", "b1"]);
        assert_eq!(turns.load(), (3, 1));
        turns.ended(1);
        assert!(turns.due(now, false).is_empty());
        turns.ended(2);
        assert_eq!(started(&turns.due(now, false)), ["a2"]);
        [3, 4].into_iter().for_each(|job| turns.ended(job));
        assert_eq!((turns.load(), turns.subjects.len(), turns.deadline()), ((0, 0), 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_that_hangs_holds_the_next_one_up_for_a_while_only() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        turns.push("a", run("a1"));
        assert_eq!(started(&turns.due(now, false)), ["a1"]);
        turns.push("a", run("a2"));
        assert!(turns.due(now, false).is_empty());
        assert_eq!(turns.deadline(), Some(now + PATIENCE));
        assert_eq!(started(&turns.due(now + PATIENCE, false)), ["a2"]);
        turns.push("a", run("a3"));
        assert_eq!(started(&turns.due(now + PATIENCE, true)), ["a3"], "at the end nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn hung_scripts_of_a_subject_are_bounded_and_the_last_state_is_told() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        for event in 0..1_024 {
            turns.push("a", run(&format!("a{event}")));
            let _ = turns.due(now, false);
        }
        let mut last = Vec::new();
        while let Some(at) = turns.deadline() {
            now = at;
            last = turns.due(now, false);
            assert!(turns.load().0 <= BESIDE);
        }
        assert_eq!(started(&last), ["a1023"]);
        assert_eq!(ended(&last).len(), 1);
        let (waited, ran) = (WAITING as u64, BESIDE as u64);
        let counters = turns.counters();
        assert_eq!(counters, Counters { left_out: 1_023 - waited, gave_way: waited + 1 - ran });
    }

    #[tokio::test(start_paused = true)]
    async fn hung_scripts_of_all_subjects_are_bounded_and_nobody_is_left_without() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for subject in 0..AT_ONCE {
            turns.push(&format!("s{subject}"), run("hangs"));
        }
        assert_eq!(started(&turns.due(now, false)).len(), AT_ONCE);
        turns.push("other", run("other"));
        // Who has just been started does not give way, not even when the daemon ends.
        assert!(turns.due(now, true).is_empty());
        assert_eq!(turns.deadline(), Some(now + PATIENCE));
        let actions = turns.due(now + PATIENCE, false);
        assert_eq!((ended(&actions), started(&actions)), (vec![1], vec!["other".to_owned()]));
        for job in 0..=turns.next {
            turns.ended(job);
        }
        assert_eq!((turns.load(), turns.subjects.len()), ((0, 0), 0));
    }
}
