//! Observes what instances track: runs `vrrp_script`s, reads files, counts processes.

mod connector;
mod files;
mod findings;
mod processes;
mod readable;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lb_config::Model;
use lb_config::model::{Buffer, TrackFile, TrackProcess, Tracked, VirtualRouter, VrrpScript};
use lb_control::status::TrackedScript;
use lb_script::Running;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::advertiser::Observation;
pub use findings::Findings;

/// What some instance tracks: each script in a task of its own, all files in one, all processes in
/// one. Nothing runs for what nobody tracks.
#[derive(Debug)]
pub struct Tracker {
    running: BTreeMap<String, TrackedRuns>,
    files: Option<Task<TrackFile>>,
    processes: Option<Task<TrackProcess>>,
    results: Findings,
    /// The last word on every file and process: they are told of changes only.
    known: BTreeMap<(Kind, String), Observation>,
}

/// A tracked script, its task and how its runs end.
#[derive(Debug)]
struct TrackedRuns {
    config: VrrpScript,
    task: AbortHandle,
    status: Arc<Mutex<TrackedScript>>,
}

impl TrackedRuns {
    fn status(&self) -> MutexGuard<'_, TrackedScript> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that its verdict outlives a reload.
    fn log_kept(&self) {
        let status = self.status();
        if status.last.is_some() {
            let verdict = if status.success { "successful" } else { "unsuccessful" };
            tracing::info!("VRRP_Script({}) considered {verdict} on reload", status.name);
        }
    }
}

/// A task that follows what it is told to; aborted when this is dropped.
#[derive(Debug)]
struct Task<T> {
    wanted: watch::Sender<Vec<T>>,
    task: AbortHandle,
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Script,
    File,
    Process,
}

impl Kind {
    /// Kind and name of what is observed.
    fn of(observation: &Observation) -> (Self, String) {
        match observation {
            Observation::Script { name, .. } => (Self::Script, name.clone()),
            Observation::File { name, .. } => (Self::File, name.clone()),
            Observation::Process { name, .. } => (Self::Process, name.clone()),
        }
    }
}

impl Tracker {
    /// No script yet.
    #[must_use]
    pub fn new(results: Findings) -> Self {
        let (running, known) = (BTreeMap::new(), BTreeMap::new());
        Self { running, files: None, processes: None, results, known }
    }

    /// Writes the files that have an `init_file`: at the start of the daemon only.
    pub fn initialise(model: &Model) {
        files::initialise(&model.track_files);
    }

    /// Tracks what the configuration says; what has not changed goes on undisturbed. What is found
    /// of new files and processes at once is among the results when this returns, but for a reload.
    pub fn apply(&mut self, model: &Model) {
        self.apply_scripts(model);
        self.apply_files(model);
        self.apply_processes(model);
    }

    /// Keeps an observation for an advertiser that starts later.
    pub fn remember(&mut self, observation: &Observation) {
        let key = Kind::of(observation);
        if key.0 != Kind::Script {
            self.known.insert(key, observation.clone());
        }
    }

    /// What an advertiser that starts now has to know.
    #[must_use]
    pub fn known(&self) -> Vec<Observation> {
        self.known.values().cloned().collect()
    }

    fn apply_files(&mut self, model: &Model) {
        let tracked = names(model, |router| &router.track_files);
        let mut wanted = model.track_files.clone();
        wanted.retain(|file| tracked.contains(file.name.as_str()));
        self.forget(Kind::File, &tracked);
        self.files = match self.files.take() {
            _ if wanted.is_empty() => None,
            Some(task) => task.follow(wanted),
            None => {
                let (sender, receiver) = watch::channel(wanted);
                match files::start(receiver, self.results.clone()) {
                    Ok(work) => Some(Task::spawn(sender, work)),
                    Err(error) => {
                        tracing::error!("cannot follow tracked files: {error}");
                        None
                    }
                }
            }
        };
    }

    fn apply_processes(&mut self, model: &Model) {
        let tracked = names(model, |router| &router.track_processes);
        let mut wanted = model.track_processes.clone();
        wanted.retain(|process| tracked.contains(process.name.as_str()));
        self.forget(Kind::Process, &tracked);
        self.processes = match self.processes.take() {
            _ if wanted.is_empty() => None,
            Some(task) => task.follow(wanted),
            None => {
                let (sender, receiver) = watch::channel(wanted);
                let buffer: Buffer = model.global.buffers.process_monitor;
                let work = processes::start(receiver, buffer, self.results.clone());
                Some(Task::spawn(sender, work))
            }
        };
    }

    /// Forgets what nobody tracks any longer.
    fn forget(&mut self, kind: Kind, tracked: &BTreeSet<&str>) {
        self.known.retain(|(of, name), _| *of != kind || tracked.contains(name.as_str()));
    }

    /// Makes the running scripts those of the configuration; unchanged ones keep their rhythm.
    fn apply_scripts(&mut self, model: &Model) {
        let tracked = names(model, |router| &router.track_scripts);
        let wanted: BTreeMap<&str, &VrrpScript> = model
            .vrrp_scripts
            .iter()
            .map(|script| (script.name.as_str(), script))
            .filter(|(name, _)| tracked.contains(name))
            .collect();
        self.running.retain(|name, runs| {
            let keep = wanted.get(name.as_str()) == Some(&&runs.config);
            if keep {
                runs.log_kept();
            } else {
                runs.task.abort();
            }
            keep
        });
        for (name, config) in wanted {
            if !self.running.contains_key(name) {
                let (name, not_run) = (name.to_owned(), 0);
                let status = TrackedScript {
                    name: name.clone(),
                    last: None,
                    success: false,
                    since: None,
                    not_run,
                };
                let status = Arc::new(Mutex::new(status));
                let work = run_forever(config.clone(), Arc::clone(&status), self.results.clone());
                let task = tokio::spawn(work).abort_handle();
                self.running.insert(name, TrackedRuns { config: config.clone(), task, status });
            }
        }
    }

    /// How the last run of a script ended, in keepalived's words; `None` before its first result.
    #[must_use]
    pub fn result(&self, script: &str) -> Option<String> {
        let status = self.running.get(script)?.status();
        let last = status.last.as_deref()?;
        Some(if last.starts_with("status ") {
            format!("exited with {last}")
        } else {
            last.to_owned()
        })
    }

    /// How the runs of tracked scripts end.
    #[must_use]
    pub fn scripts(&self) -> Vec<TrackedScript> {
        self.running.values().map(|runs| runs.status().clone()).collect()
    }

    /// Ends it all; a run of a script under way gets SIGTERM.
    pub fn stop(&mut self) {
        self.apply(&Model::default());
    }
}

/// Names of what instances track.
fn names<'m>(
    model: &'m Model,
    list: impl Fn(&'m VirtualRouter) -> &'m Vec<Tracked>,
) -> BTreeSet<&'m str> {
    model.routers().flat_map(list).map(|tracked| tracked.name.as_str()).collect()
}

impl<T: PartialEq> Task<T> {
    fn spawn(
        wanted: watch::Sender<Vec<T>>,
        work: impl Future<Output = ()> + 'static + Send,
    ) -> Self {
        Self { wanted, task: tokio::spawn(work).abort_handle() }
    }

    /// Has it follow these from now on.
    fn follow(self, wanted: Vec<T>) -> Option<Self> {
        self.wanted.send_if_modified(|before| {
            let changed = *before != wanted;
            *before = wanted;
            changed
        });
        Some(self)
    }
}

/// Starts a run every interval, however long it takes; one that overruns its interval skips the
/// next, never overlaps it. One that even SIGKILL does not end is a failure at every interval until it
/// has ended.
///
/// A script that cannot be run has failed, and says why. What this host is short of is no result: the
/// last one stays.
async fn run_forever(config: VrrpScript, status: Arc<Mutex<TrackedScript>>, results: Findings) {
    let mut runs = Runs { status, left_out: 0 };
    let mut stuck: Option<Running> = None;
    let mut ticks = interval_at(Instant::now(), config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let result = match stuck.take_if(|running| running.has_ended()) {
            None if stuck.is_some() => Ok((false, STUCK.to_owned())),
            _ => run_once(&config, &mut stuck).await,
        };
        match result {
            Ok((success, result)) => {
                runs.end(success, &result);
                results.put(Observation::Script { name: config.name.clone(), success });
            }
            Err(reason) => runs.leave_out(&reason),
        }
    }
}

/// One run to its end: whether it succeeded, and how it ended. A script that does not end when it has
/// to is left in `stuck`.
///
/// # Errors
/// This host is short of something, and the run says nothing.
async fn run_once(
    config: &VrrpScript,
    stuck: &mut Option<Running>,
) -> Result<(bool, String), String> {
    let mut running = match lb_script::start(&config.script, &[]) {
        Ok(running) => running,
        Err(error) if error.is_local() => return Err(error.to_string()),
        Err(error) => return Ok((false, format!("a failure, because it cannot be run: {error}"))),
    };
    let outcome = running.wait_at_most(config.timeout).await.map_err(|error| error.to_string())?;
    if !running.has_ended() {
        *stuck = Some(running);
        return Ok((false, STUCK.to_owned()));
    }
    Ok((outcome.success(), outcome.to_string()))
}

/// How a run ended that has not.
const STUCK: &str = "a failure, because it timed out and has not ended, not even by SIGKILL; it is not started again";

/// How the runs of one script end.
#[derive(Debug)]
struct Runs {
    status: Arc<Mutex<TrackedScript>>,
    /// Runs in a row that this host had no room for.
    left_out: u64,
}

impl Runs {
    fn status(&self) -> MutexGuard<'_, TrackedScript> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a run that this host had no room for; the log hears of the first in a row.
    fn leave_out(&mut self, reason: &dyn Display) {
        let mut status = self.status();
        status.not_run += 1;
        if self.left_out == 0 {
            tracing::warn!(
                "Script `{}` is not run: {reason}; its last result stays, and it is tried again",
                status.name
            );
        }
        drop(status);
        self.left_out += 1;
    }

    /// Notes a result; the log hears of another one than the last.
    fn end(&mut self, success: bool, result: &str) {
        let left_out = std::mem::take(&mut self.left_out);
        let mut status = self.status();
        if left_out > 0 {
            tracing::warn!("Script `{}` runs again; {left_out} runs were left out", status.name);
        }
        status.success = success;
        if status.last.as_deref() != Some(result) {
            // Before its first run a script counts as one that returned 0, as for keepalived.
            if status.last.is_some() || !success {
                let shown = result.strip_prefix("status ").unwrap_or(result);
                tracing::info!("Script `{}` now returning {shown}", status.name);
            }
            (status.last, status.since) = (Some(result.to_owned()), Some(Timestamp::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_config::model::Script;

    use super::*;

    fn config(command: &str) -> VrrpScript {
        VrrpScript {
            name: "s".into(),
            script: Script::new(["/bin/sh", "-c", command]),
            interval: Duration::from_millis(20),
            timeout: Duration::from_millis(100),
            rise: 1,
            fall: 1,
            init_fail: false,
        }
    }

    fn status() -> Arc<Mutex<TrackedScript>> {
        let (name, last) = ("s".to_owned(), None);
        Arc::new(Mutex::new(TrackedScript { name, last, success: false, since: None, not_run: 0 }))
    }

    #[tokio::test]
    async fn every_run_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("flag");
        let results = Findings::default();
        let config = config(&format!("test -e {}", flag.display()));
        let task = tokio::spawn(run_forever(config, status(), results.clone()));
        let success =
            |observation| matches!(observation, Observation::Script { success: true, .. });
        assert!(!success(results.next().await));
        std::fs::write(&flag, "").unwrap();
        while !success(results.next().await) {}
        task.abort();
    }

    #[tokio::test]
    async fn a_script_that_cannot_be_run_fails_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("late");
        let results = Findings::default();
        let status = status();
        let script = Script::new([program.display().to_string()]);
        let config = VrrpScript { script, ..config("") };
        let task = tokio::spawn(run_forever(config, Arc::clone(&status), results.clone()));
        let failed = Observation::Script { name: "s".into(), success: false };
        assert_eq!(results.next().await, failed);
        let last = status.lock().unwrap().last.clone().unwrap();
        assert!(last.contains("late: No such file"), "{last}");
        std::os::unix::fs::symlink("/bin/true", &program).unwrap();
        while results.next().await == failed {}
        assert!(status.lock().unwrap().success);
        task.abort();
    }

    #[test]
    fn what_the_host_is_short_of_is_no_result() {
        let mut runs = Runs { status: status(), left_out: 0 };
        runs.end(true, "status 0");
        (0..5).for_each(|_| runs.leave_out(&"no descriptors"));
        let status = runs.status().clone();
        assert_eq!(
            (status.success, status.not_run, status.last.as_deref()),
            (true, 5, Some("status 0"))
        );
        runs.end(true, "status 0");
        assert_eq!(runs.left_out, 0);
    }

    #[tokio::test]
    async fn a_script_nobody_tracks_does_not_run() {
        let results = Findings::default();
        let mut tracker = Tracker::new(results.clone());
        tracker.apply(&Model { vrrp_scripts: vec![config("true")], ..Model::default() });
        assert!(tracker.running.is_empty() && tracker.scripts().is_empty());
    }
}
