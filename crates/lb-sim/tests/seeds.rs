//! Seeds play, and repeat.

use std::sync::Arc;
use std::time::Duration;

use lb_config::model::{Family, VrrpVersion};
use lb_control::State;
use lb_node::InstanceConfig;
use lb_sim::{MAX_ROUTERS, Note, Outcome, Promise, What, generate, run, shrink, tell};

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

#[test]
fn strangers_take_over_and_yield() {
    let mut seen = [0; 2];
    for seed in 0..300 {
        for entry in run(&generate(seed), true).notes {
            if let Note::Enters { router: MAX_ROUTERS.., state, .. } = entry.note {
                seen[usize::from(state == State::Master)] += 1;
            }
        }
    }
    assert!(seen[0] > 10 && seen[1] > 10, "{seen:?}");
}

/// Two routers of a virtual router that cannot understand each other never agree, and the story
/// says so in few words.
#[test]
fn a_broken_promise_is_told_in_few_words() {
    let mut scenario = generate(7);
    scenario.strangers.clear();
    for (index, router) in scenario.routers.iter_mut().enumerate() {
        for config in &mut router.plan.instances {
            match config {
                InstanceConfig::Vrrp(vrrp) => {
                    let vrrp = Arc::make_mut(vrrp);
                    (vrrp.version, vrrp.password) = (VrrpVersion::V2, Some([index as u8; 8]));
                    (vrrp.family, vrrp.nopreempt) = (Family::Inet, false);
                    vrrp.advert_int = Duration::from_secs(1);
                }
                InstanceConfig::Carp(carp) => {
                    let carp = Arc::make_mut(&mut carp.instance);
                    (carp.key, carp.preempt) = ([index as u8; 20], true);
                }
            }
        }
    }
    let smallest = shrink(&scenario);
    let outcome = run(&smallest, true);
    let violation = outcome.violation.as_ref().expect("they cannot agree");
    assert!(matches!(violation.promise, Promise::OneMaster | Promise::Yield), "{violation:?}");
    let turned_on =
        smallest.deeds.iter().filter(|deed| matches!(deed.what, What::PowerOn { .. })).count();
    assert_eq!((turned_on, smallest.deeds.len()), (2, 2));
    let story = tell(&smallest, &outcome);
    assert!(story.contains(&violation.how) && story.lines().count() < 40, "{story}");
}
