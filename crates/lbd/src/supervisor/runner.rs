//! Runs notify scripts when it is their turn.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_control::status::NotifyScripts;
use lb_script::{CannotRun, Outcome, Running};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::notify::Run;
use super::turns::{Action, Job, Turns};

/// A notify script may take so long. keepalived knows no limit: this one is for scripts that hang.
pub const LIMIT: Duration = Duration::from_secs(15 * 60);
/// From SIGTERM, at the end of the daemon, until the scripts are looked at no more.
const LAST_GRACE: Duration = Duration::from_millis(2_500);

/// Runs scripts, each subject's in order; never blocks.
#[derive(Clone, Debug)]
pub struct Runner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something has become due, or ended.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    turns: Turns,
    tasks: BTreeMap<Job, AbortHandle>,
    /// The daemon is about to end.
    hurry: bool,
    /// Nothing more is started.
    over: bool,
    counters: Counters,
}

/// Scripts since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    ended: u64,
    failed: u64,
    timed_out: u64,
    not_run: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// Must be called inside the supervisor's runtime.
    #[must_use]
    pub fn start() -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Notify::new() });
        let of_task = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                act(&of_task).await;
                let deadline = of_task.state().turns.deadline();
                let due = async {
                    match deadline {
                        Some(at) => sleep_until(at).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    () = of_task.changed.notified() => {}
                    () = due => {}
                }
            }
        });
        Self(shared)
    }

    /// Has the scripts of one event run, after those of earlier events of the same subject.
    pub fn run(&self, subject: &str, runs: Vec<Run>) {
        if self.0.state().turns.push(subject, runs) {
            tracing::warn!(
                "scripts of {subject} are not run for its oldest event that waits: too many wait, \
                 because the scripts hang or it changes too often"
            );
        }
        self.0.changed.notify_one();
    }

    /// Waits until nothing runs any more, at most `limit`; what runs even then is ended, which may take
    /// [`LAST_GRACE`] more. In the second half of the limit nobody waits for a script that hangs.
    pub async fn drain(&self, limit: Duration) {
        let idle = async || {
            while self.0.state().turns.load() != (0, 0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let in_order = timeout(limit / 2, idle()).await;
        self.0.state().hurry = true;
        self.0.changed.notify_one();
        if in_order.is_err() && timeout(limit / 2, idle()).await.is_err() {
            let (running, waiting) = self.0.state().turns.load();
            tracing::warn!(
                "{running} notify scripts still run after {limit:?} and are ended, {waiting} events \
                 have not been told"
            );
            let mut state = self.0.state();
            state.over = true;
            let tasks = std::mem::take(&mut state.tasks);
            drop(state);
            tasks.values().for_each(AbortHandle::abort);
        }
        let ended = async {
            while lb_script::living() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // What is left then is killed with the runtime.
        let _ = timeout(LAST_GRACE, ended).await;
    }

    /// How it is, for the status.
    #[must_use]
    pub fn status(&self) -> NotifyScripts {
        let state = self.0.state();
        let (running, waiting) = state.turns.load();
        let (counters, turns) = (state.counters, state.turns.counters());
        NotifyScripts {
            running: running as u64,
            waiting: waiting as u64,
            ended: counters.ended,
            failed: counters.failed,
            timed_out: counters.timed_out,
            not_run: counters.not_run,
            gave_way: turns.gave_way,
            left_out: turns.left_out,
        }
    }
}

/// Does what is due. Each start is a moment in which nothing else runs here, so others have their turn
/// between two of them.
async fn act(shared: &Arc<Shared>) {
    loop {
        let actions = shared.state().due();
        if actions.is_empty() {
            return;
        }
        for action in actions {
            match action {
                Action::Start(job, run, tries) => begin(shared, job, run, tries),
                Action::End(job) => end(shared, job),
            }
            yield_now().await;
        }
    }
}

/// Starts a script, or has it tried again where this host has no room for it.
fn begin(shared: &Arc<Shared>, job: Job, run: Run, tries: u64) {
    let mut state = shared.state();
    if state.over {
        return;
    }
    match lb_script::start(&run.script, &run.extra) {
        Ok(running) => {
            if tries > 1 {
                tracing::warn!("script `{}` runs after {tries} tries", run.words());
            }
            let task = tokio::spawn(follow(Arc::clone(shared), job, run, running));
            state.tasks.insert(job, task.abort_handle());
        }
        Err(error) if error.is_local() => {
            if tries == 1 {
                tracing::warn!("script `{}` waits: {error}; it is tried again", run.words());
            }
            state.turns.no_room(Instant::now(), job, run);
        }
        Err(error) => state.not_run(job, &run, &error),
    }
}

fn end(shared: &Shared, job: Job) {
    if let Some(task) = shared.state().tasks.remove(&job) {
        tracing::warn!("a notify script that hangs is ended, because later ones have to run");
        task.abort();
    }
}

/// Follows a script to its end.
async fn follow(shared: Arc<Shared>, job: Job, run: Run, mut running: Running) {
    let ended = running.wait_at_most(LIMIT).await;
    let mut state = shared.state();
    state.tasks.remove(&job);
    match ended {
        Ok(outcome) => state.ended(job, &run, outcome),
        Err(error) => state.not_run(job, &run, &CannotRun::Local(error)),
    }
    shared.changed.notify_one();
}

impl State {
    fn due(&mut self) -> Vec<Action> {
        self.turns.due(Instant::now(), self.hurry)
    }

    fn ended(&mut self, job: Job, run: &Run, outcome: Outcome) {
        self.turns.ended(job);
        self.counters.ended += 1;
        self.counters.failed += u64::from(!outcome.success());
        let (words, argument) = (run.script.argv.join(" "), run.extra.join(" "));
        match outcome {
            Outcome::TimedOut => {
                self.counters.timed_out += 1;
                tracing::warn!(
                    "script `{words}` {argument} ended by SIGTERM or SIGKILL: it took more than {} minutes",
                    LIMIT.as_secs() / 60
                );
            }
            Outcome::Exited(_) if outcome.success() => tracing::debug!("script `{words}` done"),
            Outcome::Exited(_) => tracing::info!("script `{words}` ended with {outcome}"),
        }
    }

    fn not_run(&mut self, job: Job, run: &Run, error: &CannotRun) {
        self.turns.ended(job);
        self.counters.not_run += 1;
        tracing::error!("cannot run script `{}`: {error}", run.script.argv.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use lb_config::model::Script;

    use super::*;

    fn run(text: &str) -> Vec<Run> {
        vec![Run { script: Arc::new(Script::new(["/bin/sh", "-c", text])), extra: Vec::new() }]
    }

    #[tokio::test]
    async fn a_hanging_script_delays_no_other_subject_and_does_not_survive_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (pid, file) = (dir.path().join("pid"), dir.path().join("ran"));
        let runner = Runner::start();
        let hang = format!("trap '' TERM; echo $$ > {}; sleep 100; sleep 100", pid.display());
        runner.run("a", run(&hang));
        runner.run("b", run(&format!("sleep 0.05; echo 1 >> {}", file.display())));
        runner.run("b", run(&format!("echo 2 >> {}", file.display())));
        runner.run("c", run("exit 3"));
        runner
            .run("d", vec![Run { script: Arc::new(Script::new(["/missing"])), extra: Vec::new() }]);
        runner.drain(Duration::from_secs(2)).await;
        assert_eq!(std::fs::read_to_string(file).unwrap(), "1\n2\n");
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
        let status = runner.status();
        assert_eq!((status.ended, status.failed, status.not_run), (3, 1, 1));
    }

    #[test]
    fn what_this_host_has_no_room_for_runs_later_and_in_order() {
        let ran = std::thread::spawn(|| {
            // From here on this thread has a table of descriptors of its own.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("ran");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let runner = Runner::start();
                let open = || std::fs::File::open("/dev/null").ok();
                let all: Vec<_> = std::iter::from_fn(open).collect();
                runner.run("a", run(&format!("echo 1 >> {}", file.display())));
                runner.run("a", run(&format!("echo 2 >> {}", file.display())));
                sleep(Duration::from_millis(500)).await;
                let status = runner.status();
                assert_eq!((status.running, status.waiting, status.not_run), (0, 2, 0));
                drop(all);
                runner.drain(Duration::from_secs(10)).await;
                assert_eq!(runner.status().ended, 2);
            });
            std::fs::read_to_string(file).unwrap()
        });
        assert_eq!(ran.join().unwrap(), "1\n2\n");
    }
}
