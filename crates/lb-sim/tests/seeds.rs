//! Seeds play, and repeat.

use std::time::Duration;

use lb_sim::{Outcome, generate, run, shrink, tell};

/// Plays these seeds; `LB_SIM_SEEDS` says how many.
#[test]
fn every_promise_is_kept_whatever_the_seed() {
    let count = std::env::var("LB_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..count.unwrap_or(1_000) {
        let scenario = generate(seed);
        if run(&scenario, false).violation.is_some() {
            let smallest = shrink(&scenario);
            panic!("{}", tell(&smallest, &run(&smallest, true)));
        }
    }
}

#[test]
fn a_seed_always_has_the_same_outcome() {
    for seed in 0..50 {
        let outcome = |trace| -> Outcome { run(&generate(seed), trace) };
        let (one, other) = (outcome(true), outcome(true));
        assert_eq!(one.notes, other.notes, "seed {seed}");
        assert_eq!(one.count, outcome(false).count, "seed {seed}");
        assert!(!one.notes.is_empty() && one.count.router_time > Duration::ZERO);
    }
}
