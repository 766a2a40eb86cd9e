//! Observes what instances track: runs `vrrp_script`s, reads files, counts processes.

mod connector;
mod files;
mod processes;
mod readable;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use lb_config::Model;
use lb_config::model::{Buffer, TrackFile, TrackProcess, Tracked, VirtualRouter, VrrpScript};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::advertiser::Observation;
use crate::mailbox::Sender;

/// What some instance tracks: each script in a task of its own, all files in one, all processes in
/// one. Nothing runs for what nobody tracks.
#[derive(Debug)]
pub struct Tracker {
    running: BTreeMap<String, (VrrpScript, AbortHandle)>,
    files: Option<Task<TrackFile>>,
    processes: Option<Task<TrackProcess>>,
    results: Sender<Observation>,
    /// The last word on every file and process: they are told of changes only.
    known: BTreeMap<(Kind, String), Observation>,
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
    File,
    Process,
}

impl Tracker {
    /// No script yet.
    #[must_use]
    pub fn new(results: Sender<Observation>) -> Self {
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
        let key = match observation {
            Observation::Script { .. } => return,
            Observation::File { name, .. } => (Kind::File, name.clone()),
            Observation::Process { name, .. } => (Kind::Process, name.clone()),
        };
        self.known.insert(key, observation.clone());
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
        self.running.retain(|name, (script, task)| {
            let keep = wanted.get(name.as_str()) == Some(&&*script);
            if !keep {
                task.abort();
            }
            keep
        });
        for (name, script) in wanted {
            if !self.running.contains_key(name) {
                let task = tokio::spawn(run_forever(script.clone(), self.results.clone()));
                self.running.insert(name.to_owned(), (script.clone(), task.abort_handle()));
            }
        }
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
/// next, never overlaps it.
///
/// A script that cannot be run has failed, and says why. What this host is short of is no result: the
/// last one stays.
async fn run_forever(config: VrrpScript, results: Sender<Observation>) {
    let mut ticks = interval_at(Instant::now(), config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last: Option<String> = None;
    let mut left_out = LeftOut::default();
    loop {
        ticks.tick().await;
        let (success, said) = match lb_script::start(&config.script, &[]) {
            Ok(mut running) => match running.wait_at_most(config.timeout).await {
                Ok(outcome) => (outcome.success(), outcome.to_string()),
                Err(error) => {
                    left_out.note(&config.name, &error);
                    continue;
                }
            },
            Err(error) if error.is_local() => {
                left_out.note(&config.name, &error);
                continue;
            }
            Err(error) => (false, format!("failure, because it cannot be run: {error}")),
        };
        left_out.end(&config.name);
        if last.as_ref() != Some(&said) {
            tracing::info!("Script `{}` now returning {said}", config.name);
        }
        last = Some(said);
        if results.send(Observation::Script { name: config.name.clone(), success }).is_err() {
            return; // the supervisor has ended
        }
    }
}

/// Runs in a row that this host had no room for.
#[derive(Debug, Default)]
struct LeftOut(u64);

impl LeftOut {
    /// Notes one more; the log hears of the first.
    fn note(&mut self, name: &str, reason: &dyn Display) {
        if self.0 == 0 {
            tracing::warn!(
                "Script `{name}` is not run: {reason}; its last result stays, and it is tried again"
            );
        }
        self.0 += 1;
    }

    /// It runs again.
    fn end(&mut self, name: &str) {
        if self.0 > 0 {
            tracing::warn!("Script `{name}` runs again; {} runs were left out", self.0);
        }
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_config::model::Script;

    use super::*;
    use crate::advertiser::OBSERVATIONS;
    use crate::mailbox::mailbox;

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

    #[tokio::test]
    async fn every_run_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("flag");
        let (sender, mut results) = mailbox(OBSERVATIONS);
        let task =
            tokio::spawn(run_forever(config(&format!("test -e {}", flag.display())), sender));
        let success =
            |observation| matches!(observation, Some(Observation::Script { success: true, .. }));
        assert!(!success(results.recv().await));
        std::fs::write(&flag, "").unwrap();
        while !success(results.recv().await) {}
        task.abort();
    }

    #[tokio::test]
    async fn a_script_nobody_tracks_does_not_run() {
        let (sender, mut results) = mailbox(OBSERVATIONS);
        let mut tracker = Tracker::new(sender);
        tracker.apply(&Model { vrrp_scripts: vec![config("true")], ..Model::default() });
        assert!(tracker.running.is_empty());
        drop(tracker);
        assert!(results.recv().await.is_none());
    }
}
