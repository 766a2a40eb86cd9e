//! Timelines of checkers in simulated time. Expected moments are written by hand, in milliseconds.

use std::time::{Duration, Instant};

use lb_check::Timing;
use lb_check::schedule::Meaning::{self, Undecided, Verdict};
use lb_check::schedule::Rhythm::{self, Plain, Script};
use lb_check::schedule::Run::{self, Failed, Passed, Skipped};
use lb_check::schedule::{Memory, Schedule};

/// A run: when it is due, how long it takes, what it sees, what that means.
type Step = (u64, u64, Run, Meaning);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn timing(delay_loop: u64, retry: u32, delay_before_retry: u64) -> Timing {
    Timing {
        delay_loop: ms(delay_loop),
        retry,
        delay_before_retry: ms(delay_before_retry),
        warmup: ms(0),
        alpha: false,
    }
}

fn urls(count: usize, fast: bool) -> Rhythm {
    Rhythm::Urls { count, fast }
}

fn timeline(timing: Timing, rhythm: Rhythm, jitter: u64, steps: &[Step]) -> Vec<usize> {
    let start = Instant::now();
    let memory = Memory::fresh(timing.alpha);
    let mut schedule = Schedule::new(timing, rhythm, memory, start, ms(jitter));
    let mut urls = Vec::new();
    for (n, &(due, takes, run, meaning)) in steps.iter().enumerate() {
        let deadline = schedule.deadline().map(|at| at.duration_since(start));
        assert_eq!(deadline, Some(ms(due)), "step {n} is due");
        urls.push(schedule.start(start + ms(due)));
        assert_eq!(schedule.deadline(), None, "step {n} does not overlap itself");
        let found = schedule.finish(start + ms(due + takes), run);
        assert_eq!(found, meaning, "step {n}");
    }
    urls
}

#[test]
fn the_first_run_comes_a_second_and_the_jitter_later_and_the_grid_is_kept() {
    timeline(
        timing(1_000, 1, 1_000),
        Plain,
        250,
        &[
            (1_250, 3, Passed, Verdict(true)),
            (2_250, 40, Passed, Verdict(true)), // not 2 253
            (3_250, 0, Passed, Verdict(true)),
            (4_250, 1_900, Passed, Verdict(true)), // longer than a period: one is left out
            (7_250 - 1_000, 0, Passed, Verdict(true)),
            (7_250, 0, Passed, Verdict(true)),
        ],
    );
}

#[test]
fn a_server_that_proved_itself_is_down_after_its_retries() {
    timeline(
        timing(10_000, 2, 1_000),
        Plain,
        0,
        &[
            (1_000, 0, Passed, Verdict(true)),
            (11_000, 500, Failed, Undecided),
            (12_500, 500, Failed, Undecided), // from the end of the failure
            (14_000, 500, Failed, Verdict(false)),
            (24_000, 0, Failed, Verdict(false)), // no retries while down
            (34_000, 0, Passed, Verdict(true)),  // one success suffices
            (44_000, 0, Failed, Undecided),      // and the retries are whole again
        ],
    );
}

#[test]
fn a_success_between_failures_forgives_them() {
    timeline(
        timing(10_000, 1, 1_000),
        Plain,
        0,
        &[
            (1_000, 0, Passed, Verdict(true)),
            (11_000, 0, Failed, Undecided),
            (12_000, 0, Passed, Verdict(true)),
            (22_000, 0, Failed, Undecided),
            (23_000, 0, Failed, Verdict(false)),
        ],
    );
}

#[test]
fn the_first_failure_of_all_needs_no_retries() {
    timeline(
        timing(10_000, 3, 1_000),
        Plain,
        0,
        &[(1_000, 5_000, Failed, Verdict(false)), (11_000, 0, Passed, Verdict(true))],
    );
}

#[test]
fn alpha_waits_for_its_first_success() {
    let timing = Timing { alpha: true, ..timing(10_000, 3, 1_000) };
    timeline(
        timing,
        Plain,
        0,
        &[
            (1_000, 0, Failed, Verdict(false)),
            (11_000, 0, Passed, Verdict(true)),
            (21_000, 0, Failed, Undecided),
        ],
    );
}

#[test]
fn a_local_error_changes_nothing() {
    timeline(
        timing(10_000, 1, 1_000),
        Plain,
        0,
        &[
            (1_000, 0, Passed, Verdict(true)),
            (11_000, 0, Failed, Undecided),
            (12_000, 0, Skipped, Undecided),
            (22_000, 0, Failed, Verdict(false)), // the failure before it still counts
        ],
    );
}

#[test]
fn a_script_counts_every_delay_from_its_start() {
    timeline(
        timing(10_000, 1, 2_000),
        Script,
        0,
        &[
            (1_000, 9_000, Passed, Verdict(true)),
            (11_000, 500, Failed, Undecided),
            (13_000, 3_000, Failed, Verdict(false)),
            (23_000, 12_000, Passed, Verdict(true)), // longer than its period: at once again
            (35_000, 0, Passed, Verdict(true)),
            (45_000, 0, Passed, Verdict(true)),
        ],
    );
}

#[test]
fn urls_are_fetched_one_a_run_and_decide_after_the_last() {
    let fetched = timeline(
        timing(1_000, 1, 3_000),
        urls(2, false),
        0,
        &[
            (1_000, 0, Passed, Undecided),
            (2_000, 0, Passed, Verdict(true)),
            (3_000, 0, Passed, Undecided),
            (4_000, 0, Failed, Undecided),
            (7_000, 0, Passed, Verdict(true)), // a retry that works goes on with the list
            (8_000, 0, Passed, Undecided),
            (9_000, 0, Failed, Undecided),
            (12_000, 0, Failed, Verdict(false)),
            (15_000, 0, Failed, Verdict(false)), // the longer one of both delays while failed
            (18_000, 0, Passed, Undecided),      // the one that failed comes first
            (19_000, 0, Passed, Undecided),      // then the whole list
            (20_000, 0, Passed, Verdict(true)),
        ],
    );
    assert_eq!(fetched, [0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1]);
}

#[test]
fn fast_recovery_leaves_the_delays_out_until_there_is_a_result() {
    let fetched = timeline(
        timing(10_000, 0, 3_000),
        urls(3, true),
        0,
        &[
            (1_000, 10, Passed, Undecided),
            (1_010, 10, Passed, Undecided),
            (1_020, 10, Passed, Verdict(true)),
            (11_020, 10, Passed, Undecided), // no hurry while all is well
            (21_020, 10, Failed, Verdict(false)),
            (31_020, 10, Passed, Undecided),
            (31_030, 10, Passed, Undecided),
            (31_040, 10, Passed, Undecided),
            (31_050, 10, Passed, Verdict(true)),
            (41_050, 10, Passed, Undecided),
        ],
    );
    assert_eq!(fetched, [0, 1, 2, 0, 1, 1, 0, 1, 2, 0]);
}

#[test]
fn a_single_url_recovers_by_two_successes() {
    // keepalived 2.2.7: the URL that failed, and then the whole list, which is that URL.
    timeline(
        timing(5_000, 0, 3_000),
        urls(1, false),
        0,
        &[
            (1_000, 0, Failed, Verdict(false)),
            (6_000, 0, Passed, Undecided),
            (11_000, 0, Passed, Verdict(true)),
        ],
    );
}

#[test]
fn a_host_that_slept_checks_once_and_returns_to_the_grid() {
    let start = Instant::now();
    let timing = timing(1_000, 1, 1_000);
    let mut schedule = Schedule::new(timing, Plain, Memory::fresh(false), start, ms(300));
    schedule.start(start + ms(60_000));
    schedule.finish(start + ms(60_001), Passed);
    assert_eq!(schedule.deadline(), Some(start + ms(60_300)));
}

#[test]
fn a_reload_keeps_attempts_up_to_the_new_retry() {
    let start = Instant::now();
    let memory = Memory { up: true, ran: true, attempts: 5 };
    let schedule = Schedule::new(timing(1_000, 2, 1_000), Plain, memory, start, ms(0));
    assert_eq!(schedule.memory(), Memory { attempts: 2, ..memory });
}

#[test]
fn no_delay_is_too_long_or_too_short_to_reckon_with() {
    let start = Instant::now();
    for extreme in [Duration::ZERO, Duration::MAX] {
        let timing = Timing {
            delay_loop: extreme,
            retry: u32::MAX,
            delay_before_retry: extreme,
            warmup: extreme,
            alpha: false,
        };
        for rhythm in [Plain, Script, urls(2, true)] {
            for run in [Passed, Failed, Skipped] {
                let memory = Memory { up: true, ran: true, attempts: 0 };
                let mut schedule = Schedule::new(timing, rhythm, memory, start, extreme);
                schedule.start(start + ms(5));
                schedule.finish(start + ms(5_000), run);
                assert!(schedule.deadline().is_some());
            }
        }
    }
}
