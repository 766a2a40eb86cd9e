//! Runs `vrrp_script`s at their intervals and says how each run ended.

use std::collections::{BTreeMap, BTreeSet};

use lb_config::Model;
use lb_config::model::VrrpScript;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::script::{self, Outcome};

/// Result of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptResult {
    /// Of the script in the configuration.
    pub name: String,
    /// Exit status 0, in time.
    pub success: bool,
}

/// The scripts that some instance tracks, each in a task of its own.
#[derive(Debug)]
pub struct Tracker {
    running: BTreeMap<String, (VrrpScript, AbortHandle)>,
    results: mpsc::UnboundedSender<ScriptResult>,
}

impl Tracker {
    /// No script yet.
    #[must_use]
    pub fn new(results: mpsc::UnboundedSender<ScriptResult>) -> Self {
        Self { running: BTreeMap::new(), results }
    }

    /// Makes the running scripts those of the configuration; unchanged ones keep their rhythm.
    pub fn apply(&mut self, model: &Model) {
        let tracked: BTreeSet<&str> = model
            .routers()
            .flat_map(|router| &router.track_scripts)
            .map(|t| t.name.as_str())
            .collect();
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

    /// Ends every script; a run under way gets SIGTERM.
    pub fn stop(&mut self) {
        self.apply(&Model::default());
    }
}

/// Starts a run every interval, however long it takes; one that overruns its interval skips the
/// next, never overlaps it.
async fn run_forever(config: VrrpScript, results: mpsc::UnboundedSender<ScriptResult>) {
    let mut ticks = interval_at(Instant::now(), config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last: Option<String> = None;
    loop {
        ticks.tick().await;
        let (success, said) = match run_once(&config).await {
            Ok(outcome) => (outcome.success(), outcome.to_string()),
            Err(error) => (false, format!("an error: {error}")),
        };
        if last.as_ref() != Some(&said) {
            tracing::info!("Script `{}` now returning {said}", config.name);
        }
        last = Some(said);
        if results.send(ScriptResult { name: config.name.clone(), success }).is_err() {
            return; // the supervisor has ended
        }
    }
}

async fn run_once(config: &VrrpScript) -> std::io::Result<Outcome> {
    script::start(&config.script, &[])?.wait_at_most(config.timeout).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_config::model::Script;

    use super::*;

    fn config(command: &str) -> VrrpScript {
        VrrpScript {
            name: "s".into(),
            script: Script {
                argv: ["/bin/sh", "-c", command].map(String::from).to_vec(),
                owner: None,
            },
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
        let (sender, mut results) = mpsc::unbounded_channel();
        let task =
            tokio::spawn(run_forever(config(&format!("test -e {}", flag.display())), sender));
        assert!(!results.recv().await.unwrap().success);
        std::fs::write(&flag, "").unwrap();
        while !results.recv().await.unwrap().success {}
        task.abort();
    }

    #[tokio::test]
    async fn a_script_nobody_tracks_does_not_run() {
        let (sender, mut results) = mpsc::unbounded_channel();
        let mut tracker = Tracker::new(sender);
        tracker.apply(&Model { vrrp_scripts: vec![config("true")], ..Model::default() });
        assert!(tracker.running.is_empty());
        drop(tracker);
        assert!(results.recv().await.is_none());
    }
}
