//! Whose turn it is among notify scripts: in order for each subject, and nobody waits for another's.
//!
//! A subject is an instance, a group, a virtual server or a real server. The scripts of one event start
//! one right after the other; those of the next event of the same subject start when they have ended.
//! Scripts that hang give way: after [`PATIENCE`] the next event starts beside them, and where that would
//! be too many at one time, the oldest are ended. So the state that was entered last is told in any case.
//!
//! A script that this host has no room for is tried again after [`AGAIN`], and nothing of its subject
//! starts before it: no state is told after one that was entered later.
//!
//! No I/O: takes time as an argument, says what to start and what to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::notify::Run;

/// Between two tries to start a script that this host has no room for.
pub const AGAIN: Duration = Duration::from_secs(1);
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

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a script, for the so-manieth time. Where it does not start, [`Turns::no_room`] or
    /// [`Turns::ended`] has to hear of it before it is asked again what is due.
    Start(Job, Run, u64),
    /// End a script that runs: it is in the way. It counts as ended.
    End(Job),
}

/// All subjects that have something to do.
#[derive(Debug, Default)]
pub struct Turns {
    subjects: BTreeMap<String, Subject>,
    /// Subjects with scripts that wait.
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
    /// Events with scripts that run, the oldest first.
    running: VecDeque<Event>,
    /// Scripts of the event whose turn it is that have not started.
    starting: VecDeque<Run>,
    /// How often the first of them was tried, and when it is tried again.
    tries: u64,
    again: Option<Instant>,
    /// Events whose turn has not come, the oldest first.
    waiting: VecDeque<Vec<Run>>,
}

impl Subject {
    /// Events that have not been told, or not to every script.
    fn untold(&self) -> usize {
        self.waiting.len() + usize::from(!self.starting.is_empty())
    }
}

#[derive(Debug)]
struct Event {
    /// When the last of its scripts started.
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

    /// Takes the end of a script, or that it cannot be started at all.
    pub fn ended(&mut self, job: Job) {
        let Some(name) = self.leave(job) else { return };
        let idle = |subject: &Subject| subject.running.is_empty() && subject.untold() == 0;
        if self.subjects.get(&name).is_some_and(idle) {
            self.subjects.remove(&name);
        }
    }

    /// Takes that this host has no room for a script that was to start.
    pub fn no_room(&mut self, now: Instant, job: Job, run: Run) {
        let Some((name, _)) = self.running.get(&job) else { return };
        let name = name.clone();
        if let Some(subject) = self.subjects.get_mut(&name) {
            subject.starting.push_front(run);
            subject.again = Some(now + AGAIN);
        }
        self.leave(job);
        self.waiting.insert(name);
    }

    /// Takes a script out of what runs. Returns its subject.
    fn leave(&mut self, job: Job) -> Option<String> {
        let (name, _) = self.running.remove(&job)?;
        let subject = self.subjects.get_mut(&name)?;
        let (unfinished, newest) = (!subject.starting.is_empty(), subject.running.len());
        let mut place = 0;
        subject.running.retain_mut(|event| {
            place += 1;
            event.jobs.remove(&job);
            !event.jobs.is_empty() || (unfinished && place == newest)
        });
        Some(name)
    }

    /// What is to be done now, at most one step of each subject; after that more may be due. With
    /// `hurry` nobody has patience: the daemon is about to end.
    pub fn due(&mut self, now: Instant, hurry: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for name in self.waiting.clone() {
            actions.extend(self.turn(&name, now, hurry));
            if self.subjects.get(&name).is_none_or(|subject| subject.untold() == 0) {
                self.waiting.remove(&name);
            }
        }
        actions
    }

    /// The next step of a subject; `None` when it has to wait, or has nothing to wait for.
    fn turn(&mut self, name: &str, now: Instant, hurry: bool) -> Option<Action> {
        let subject = self.subjects.get_mut(name)?;
        if subject.starting.is_empty() {
            let patience = if hurry { Duration::ZERO } else { PATIENCE };
            let newest = subject.running.back();
            if subject.waiting.is_empty()
                || newest.is_some_and(|event| now < event.since + patience)
            {
                return None;
            }
            let oldest = subject.running.front().and_then(|event| event.jobs.first());
            let in_the_way = if subject.running.len() >= BESIDE {
                oldest.copied()
            } else if self.running.len() >= AT_ONCE {
                let (job, (_, since)) = self.running.first_key_value()?;
                if now < *since + PATIENCE {
                    return None;
                }
                Some(*job)
            } else {
                None
            };
            if let Some(job) = in_the_way {
                self.counters.gave_way += 1;
                self.ended(job);
                return Some(Action::End(job));
            }
            subject.starting = subject.waiting.pop_front()?.into();
            (subject.tries, subject.again) = (0, None);
            subject.running.push_back(Event { since: now, jobs: BTreeSet::new() });
        }
        if subject.again.is_some_and(|at| now < at) {
            return None;
        }
        let run = subject.starting.pop_front()?;
        subject.tries = if subject.again.take().is_some() { subject.tries + 1 } else { 1 };
        self.next += 1;
        if let Some(event) = subject.running.back_mut() {
            event.since = now;
            event.jobs.insert(self.next);
        }
        self.running.insert(self.next, (name.to_owned(), now));
        Some(Action::Start(self.next, run, subject.tries))
    }

    /// When something is due without a further event.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let room = match self.running.first_key_value() {
            Some((_, (_, oldest))) if self.running.len() >= AT_ONCE => Some(*oldest + PATIENCE),
            _ => None,
        };
        let turn = |name| {
            let subject = self.subjects.get(name)?;
            if !subject.starting.is_empty() {
                return subject.again;
            }
            let newest = subject.running.back().map(|event| event.since + PATIENCE);
            newest.max(room)
        };
        self.waiting.iter().filter_map(turn).min()
    }

    /// Scripts that run, and events that wait.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let waiting = self.waiting.iter().filter_map(|name| self.subjects.get(name));
        (self.running.len(), waiting.map(|subject| subject.untold()).sum())
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

    /// All that is due, where everything starts.
    fn due(turns: &mut Turns, now: Instant, hurry: bool) -> Vec<Action> {
        let round = || Some(turns.due(now, hurry)).filter(|actions| !actions.is_empty());
        std::iter::from_fn(round).flatten().collect()
    }

    fn started(actions: &[Action]) -> Vec<String> {
        let name = |action: &Action| match action {
            Action::Start(_, run, _) => Some(run.words()),
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
        assert_eq!(started(&due(&mut turns, now, false)), ["a1", "b1", "a1+"]);
        assert_eq!(turns.load(), (3, 1));
        turns.ended(1);
        assert!(due(&mut turns, now, false).is_empty());
        turns.ended(3);
        assert_eq!(started(&due(&mut turns, now, false)), ["a2"]);
        [2, 4].into_iter().for_each(|job| turns.ended(job));
        assert_eq!((turns.load(), turns.subjects.len(), turns.deadline()), ((0, 0), 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_that_hangs_holds_the_next_one_up_for_a_while_only() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        turns.push("a", run("a1"));
        assert_eq!(started(&due(&mut turns, now, false)), ["a1"]);
        turns.push("a", run("a2"));
        assert!(due(&mut turns, now, false).is_empty());
        assert_eq!(turns.deadline(), Some(now + PATIENCE));
        assert_eq!(started(&due(&mut turns, now + PATIENCE, false)), ["a2"]);
        turns.push("a", run("a3"));
        assert_eq!(
            started(&due(&mut turns, now + PATIENCE, true)),
            ["a3"],
            "at the end nobody waits"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_a_subject_starts_before_a_script_that_found_no_room() {
        let (mut turns, begin) = (Turns::default(), Instant::now());
        turns.push("a", [run("a1"), run("a1+")].concat());
        turns.push("a", run("a2"));
        turns.push("b", run("b1"));
        let mut now = begin;
        // For a minute, longer than anybody's patience, and also where the daemon is about to end.
        for tries in 1..60 {
            let actions = turns.due(now, tries > 50);
            let words = if tries == 1 { vec!["a1", "b1"] } else { vec!["a1"] };
            assert_eq!(started(&actions), words, "try {tries}");
            for action in actions {
                match action {
                    Action::Start(job, run, tried) if run.words() == "a1" => {
                        assert_eq!(tried, tries);
                        turns.no_room(now, job, run);
                    }
                    Action::Start(job, ..) => turns.ended(job),
                    Action::End(_) => panic!("nobody is in the way"),
                }
            }
            assert!(turns.due(now, true).is_empty());
            assert_eq!((turns.deadline(), turns.load()), (Some(now + AGAIN), (0, 2)));
            now += AGAIN;
        }
        assert_eq!(started(&due(&mut turns, now, false)), ["a1", "a1+"]);
        // Now the event runs, and the next one has the usual patience with it.
        assert_eq!(turns.deadline(), Some(now + PATIENCE));
        assert_eq!(started(&due(&mut turns, now + PATIENCE, false)), ["a2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn hung_scripts_of_a_subject_are_bounded_and_the_last_state_is_told() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        for event in 0..1_024 {
            turns.push("a", run(&format!("a{event}")));
            let _ = due(&mut turns, now, false);
        }
        let mut last = Vec::new();
        while let Some(at) = turns.deadline() {
            now = at;
            last = due(&mut turns, now, false);
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
        assert_eq!(started(&due(&mut turns, now, false)).len(), AT_ONCE);
        turns.push("other", run("other"));
        // Who has just been started does not give way, not even when the daemon ends.
        assert!(due(&mut turns, now, true).is_empty());
        assert_eq!(turns.deadline(), Some(now + PATIENCE));
        let actions = due(&mut turns, now + PATIENCE, false);
        assert_eq!((ended(&actions), started(&actions)), (vec![1], vec!["other".to_owned()]));
        for job in 0..=turns.next {
            turns.ended(job);
        }
        assert_eq!((turns.load(), turns.subjects.len()), ((0, 0), 0));
    }
}
