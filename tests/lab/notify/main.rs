//! Scripts are called as keepalived calls them: random configurations and random events beside it.
//!
//! By hand: `SEED=1 RUNS=100 cargo test -p lb-tests --test notify -- --nocapture`. What differs is played again, and
//! counts when it differs each time.

mod config;
mod random;
mod story;

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::ensure;
use lb_tests::Test;

use crate::story::{Daemon, Story};

/// How many stories are played at the same time; most of each is waiting.
const AT_ONCE: usize = 10;
/// How often a story has to differ.
const TIMES: usize = 3;

fn setting(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// What differs in a story of a seed.
fn difference(seed: u64) -> anyhow::Result<Option<String>> {
    let story = Story::random(seed);
    let mut found = None;
    for time in 0..TIMES {
        let (theirs, ours) = thread::scope(|scope| {
            let theirs = scope.spawn(|| story.play(Daemon::Keepalived));
            let ours = story.play(Daemon::Lbd);
            (theirs.join(), ours)
        });
        let theirs = theirs.unwrap_or_else(|_| anyhow::bail!("panicked"))?;
        let (Some((theirs, their_log)), Some((ours, our_log))) = (theirs, ours?) else {
            return Ok(None);
        };
        found = story.compare(&theirs, &ours);
        if found.is_none() {
            if time > 0 {
                println!("seed {seed}: differs at times");
            }
            return Ok(None);
        }
        found = found.map(|text| format!("{text}--- keepalived\n{their_log}\n--- lbd\n{our_log}"));
    }
    Ok(found)
}

#[test]
fn scripts_are_called_as_keepalived_calls_them() -> Test {
    if !lb_tests::installed("keepalived", "keepalived") {
        return Ok(());
    }
    let (first, runs) = (setting("SEED", 1), setting("RUNS", 20));
    let (next, found) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        return;
                    }
                    let text = match difference(seed) {
                        Ok(None) => continue,
                        Ok(Some(text)) => text,
                        Err(error) => format!("{error:#}"),
                    };
                    println!("seed {seed}:\n{text}");
                    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(seed);
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_default();
    ensure!(found.is_empty(), "{} of {runs} differ: {found:?}", found.len());
    Ok(())
}
