//! Masters that leave on their own account.

use super::*;

const HANDOVER: Step = In(Input::Handover);
const MAINTENANCE: Step = In(Input::Maintenance(true));
const BACK: Step = In(Input::Maintenance(false));

/// As MASTER since 3.390625 s.
fn master(config: Config) -> (Instance, Instant) {
    let epoch = Instant::now();
    let mut instance = new(config);
    let steps: [(u64, Step, &[Action]); 2] =
        [(0, START, &[BACKUP]), (3_390_625, TIMER, &takes_over(100))];
    run(&mut instance, epoch, &steps);
    (instance, epoch)
}

#[track_caller]
fn after_mastery(config: Config, steps: &[(u64, Step, &[Action])]) -> Instance {
    let (mut instance, epoch) = master(config);
    run(&mut instance, epoch, steps);
    instance
}

#[test]
fn without_a_hold_it_lets_go_at_once() {
    let instance = after_mastery(config(100), &[(4_000_000, STOP, &[BOW_OUT, RemoveVips])]);
    assert_eq!(instance.state(), State::Init);
    let counters = instance.counters();
    assert_eq!((counters.advert_sent, counters.bow_out_sent), (2, 1));
    let instance =
        after_mastery(config(100), &[(4_000_000, HANDOVER, &[BOW_OUT, RemoveVips, BACKUP])]);
    assert_eq!(instance.reason().to_string(), "the operator handed over");
}

#[test]
fn one_that_stops_holds_the_addresses_until_its_successor_is_heard() {
    let (mut instance, epoch) = master(polite(config(100)));
    run(&mut instance, epoch, &[(4_000_000, STOP, &[BOW_OUT])]);
    assert_eq!(instance.role(), Role::Master);
    // 9/8 × 1.390625 s
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_nanos(5_564_453_125)));
    run(
        &mut instance,
        epoch,
        &[
            (4_781_250, TIMER, &[]),                    // no advertisement is due
            (4_800_000, Hear(255, 255, 0, BELOW), &[]), // leaves as well
            (4_900_000, Hear(1, 200, 0, BELOW), &[ReleaseVips]),
        ],
    );
    assert_eq!(instance.state(), State::Init);
    assert_eq!(instance.reason().to_string(), "it was stopped, and 192.0.2.1 took over");
}

#[test]
fn one_that_stops_lets_go_in_the_end() {
    let instance = after_mastery(
        polite(config(100)),
        &[
            (4_000_000, STOP, &[BOW_OUT]),
            (5_564_453, TIMER, &[]),
            (5_564_454, TIMER, &[RemoveVips]),
        ],
    );
    assert_eq!(instance.state(), State::Init);
    assert_eq!(instance.reason().to_string(), "it was stopped, and nobody took over in time");
}

#[test]
fn one_that_hands_over_is_content_as_backup() {
    let instance = after_mastery(
        polite(eager(100)),
        &[
            (4_000_000, HANDOVER, &[BOW_OUT]),
            (4_001_000, Hear(1, 200, 0, BELOW), &[ReleaseVips, BACKUP]),
            // Slower, and yet it is left alone; not even if it was unfit from the start.
            (5_000_000, Hear(1, 200, 0, BELOW), &[]),
            (8_390_624, TIMER, &[]),
            (8_390_625, TIMER, &takes_over(100)),
            (8_400_000, Hear(1, 0, 0, BELOW), &[ReleaseVips, BACKUP]),
            // It was MASTER again, and preempts.
            (8_500_000, Hear(1, 200, 0, BELOW), &takes_over(100)),
        ],
    );
    assert_eq!(instance.counters().become_master, 3);
}

#[test]
fn one_that_is_content_replaces_a_master_that_becomes_unfit() {
    after_mastery(
        polite(config(100)),
        &[
            (4_000_000, HANDOVER, &[BOW_OUT]),
            (4_001_000, Hear(1, 240, 2, BELOW), &[ReleaseVips, BACKUP]),
            (5_000_000, Hear(1, 240, 2, BELOW), &[]),
            (6_000_000, Hear(1, 240, 1, BELOW), &[]), // from now on 2 is too much
            (7_000_000, Hear(1, 240, 2, BELOW), &takes_over(100)),
        ],
    );
}

#[test]
fn one_that_is_content_follows_a_bow_out() {
    after_mastery(
        polite(config(100)),
        &[
            (4_000_000, HANDOVER, &[BOW_OUT]),
            (4_001_000, Hear(1, 200, 0, BELOW), &[ReleaseVips, BACKUP]),
            (5_000_000, Hear(255, 255, 255, BELOW), &takes_over(100)),
        ],
    );
}

#[test]
fn one_that_hands_over_to_nobody_goes_on() {
    let instance = after_mastery(
        polite(config(100)),
        &[
            (4_000_000, HANDOVER, &[BOW_OUT]),
            (4_100_000, HANDOVER, &[]), // it does
            (5_564_454, TIMER, &[send(100)]),
            (6_955_078, TIMER, &[]),
            (6_955_079, TIMER, &[send(100)]),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "the operator handed over, and nobody took over in time"
    );
    assert_eq!(instance.counters().release_master, 0);
}

#[test]
fn maintenance_makes_the_last_choice() {
    let last = demoted(254, 255);
    let instance = after_mastery(
        polite(eager(100)),
        &[
            (4_000_000, MAINTENANCE, &[BOW_OUT]),
            (4_001_000, Hear(1, 200, 0, BELOW), &[ReleaseVips, BACKUP]),
            (5_000_000, Hear(1, 240, 9, BELOW), &[]),
            // But a choice: 3 s + 254 × 1000000 / 256 µs.
            (8_992_186, TIMER, &[]),
            (8_992_187, TIMER, &[last, AddVips, Announce, MASTER]),
            (9_000_000, Hear(1, 240, 9, BELOW), &[ReleaseVips, BACKUP]),
            // It is well again, and preempts.
            (9_500_000, BACK, &[]),
            (10_000_000, Hear(1, 200, 0, BELOW), &takes_over(100)),
        ],
    );
    assert_eq!(instance.demotion(), 0);
}

#[test]
fn maintenance_of_the_only_node_changes_what_it_says() {
    let last = demoted(254, 255);
    after_mastery(
        polite(config(100)),
        &[
            (4_000_000, MAINTENANCE, &[BOW_OUT]),
            (5_564_454, TIMER, &[last]),
            (6_000_000, BACK, &[send(100)]),
            (6_100_000, BACK, &[]),
        ],
    );
}

#[test]
fn maintenance_ends_contentment() {
    after_mastery(
        polite(eager(100)),
        &[
            (4_000_000, HANDOVER, &[BOW_OUT]),
            (4_001_000, Hear(1, 200, 0, BELOW), &[ReleaseVips, BACKUP]),
            (5_000_000, BACK, &[]),
            (5_001_000, Hear(1, 200, 0, BELOW), &takes_over(100)),
        ],
    );
}

#[test]
fn who_leaves_may_be_asked_to_stay() {
    let stays = [send(100)];
    for (leave, back) in [(MAINTENANCE, BACK), (STOP, START), (HANDOVER, In(Input::Promote))] {
        let instance = after_mastery(
            polite(config(100)),
            &[
                (4_000_000, leave, &[BOW_OUT]),
                (4_100_000, In(Input::Advertise), &[]),
                (4_200_000, back, &stays[..]),
                (5_590_625, TIMER, &stays[..]),
            ],
        );
        assert_eq!(instance.reason(), Reason::Stayed);
        assert_eq!(instance.counters().release_master, 0);
    }
}

#[test]
fn who_leaves_may_have_to_stop_or_fail() {
    let then = |step, actions: &[Action]| {
        let (mut instance, epoch) = master(polite(config(100)));
        run(&mut instance, epoch, &[(4_000_000, HANDOVER, &[BOW_OUT]), (4_100_000, step, actions)]);
        instance.role()
    };
    assert_eq!(then(STOP, &[]), Role::Master);
    assert_eq!(then(In(Input::Demote), &[ReleaseVips, BACKUP]), Role::Backup);
    assert_eq!(then(In(Input::VipLost), &[RemoveVips, BACKUP]), Role::Backup);
    assert_eq!(then(In(Input::Fault { own: true }), &[RemoveVips, FAULT]), Role::Fault);
    let instance = after_mastery(
        polite(config(100)),
        &[
            (4_000_000, HANDOVER, &[BOW_OUT]),
            (4_100_000, STOP, &[]),
            (5_564_454, TIMER, &[RemoveVips]), // no later
        ],
    );
    assert_eq!(instance.role(), Role::Init);
}
