//! Why, in words.

use super::*;

/// The reason after each step.
#[track_caller]
fn reasons(config: Config, steps: &[(u64, Step, &str)]) {
    let epoch = Instant::now();
    let mut instance = Instance::new(config);
    instance.set_source(Some(US.into()));
    assert_eq!(instance.reason().to_string(), "it has not been started");
    for (at, step, expected) in steps {
        let now = epoch + Duration::from_micros(*at);
        take(&mut instance, now, step, &mut Vec::new());
        assert_eq!(instance.reason().to_string(), *expected, "at {at}");
    }
}

const STARTED: &str = "it was started, and listens first";

#[test]
fn silence_with_its_arithmetic() {
    reasons(
        config(100),
        &[
            (0, START, STARTED),
            (1_000_000, Hear(200, LOWER), STARTED),
            (
                4_609_375,
                TIMER,
                "nothing heard for 3.609 s (3 × 1 s + skew (256 − 100)/256 × 1 s); \
                 last from 192.0.2.1 with priority 200",
            ),
            (5_000_000, Hear(200, LOWER), "192.0.2.1 advertises priority 200, higher than our 100"),
        ],
    );
    reasons(
        Config { version: Version::V2, adver_int: Duration::from_secs(2), ..config(100) },
        &[
            (0, START, STARTED),
            (
                6_609_375,
                TIMER,
                "nothing heard for 6.609 s (3 × 2 s + skew (256 − 100)/256 × 1 s); \
                 never from anybody",
            ),
        ],
    );
}

#[test]
fn a_master_that_stops() {
    reasons(
        config(100),
        &[
            (0, START, STARTED),
            (1_000_000, Hear(0, LOWER), STARTED),
            (
                1_609_375,
                TIMER,
                "192.0.2.1 said that it stops (priority 0), \
                 skew 0.609 s ((256 − 100)/256 × 1 s) ago",
            ),
        ],
    );
}

#[test]
fn a_tie_and_two_owners() {
    let tie = "equal priority 100, but address 192.0.2.9 is higher than our 192.0.2.5";
    reasons(
        config(100),
        &[
            (0, START, STARTED),
            (0, In(Input::Promote), "it is to be MASTER, as its group or as before"),
            (1_000_000, Hear(100, HIGHER), tie),
        ],
    );
    reasons(
        config(255),
        &[
            (0, START, "it owns the addresses (priority 255)"),
            (100_000, In(Input::Shutdown), "it was stopped"),
        ],
    );
}

#[test]
fn a_group_keeps_the_reason_of_its_member() {
    let promoted = "192.0.2.1 advertises priority 50, lower than our 100";
    reasons(
        Config { grouped: true, ..config(100) },
        &[
            (0, START, STARTED),
            (1_000_000, Hear(50, LOWER), STARTED),
            (3_609_375, TIMER, STARTED),
            (4_000_000, In(Input::Promote), promoted),
            (5_000_000, In(Input::Demote), "its group ceased to be MASTER"),
        ],
    );
}

#[test]
fn faults_and_what_follows() {
    reasons(
        config(100),
        &[
            (0, In(Input::Fault { own: true }), "it cannot take part"),
            (1, In(Input::Recover), "it can take part again, and listens first"),
            (2, In(Input::Promote), "it is to be MASTER, as its group or as before"),
            (3, In(Input::VipLost), "somebody else removed a virtual address"),
            (609_378, TIMER, "nobody took the virtual addresses for 0.609 s"),
            (
                700_000,
                In(Input::Fault { own: false }),
                "another member of its group cannot take part",
            ),
        ],
    );
}
