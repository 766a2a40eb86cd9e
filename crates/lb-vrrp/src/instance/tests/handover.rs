//! Leaving without letting go first, maintenance, and what comes after.

use super::*;

const RELEASE: Action = Action::ReleaseVips;

/// Priority 128 that holds the addresses for 1.125 s.
fn holding() -> Config {
    let handover = Some(config(128).hold_time());
    assert_eq!(handover, Some(Duration::from_millis(1_125))); // 9/8 × 1 s, below 3.5 s
    Config { handover, ..config(128) }
}

/// An instance that became MASTER at 3.5 s.
#[track_caller]
fn master(config: Config, rest: &[(u64, Step, &[Action])]) -> Instance {
    let epoch = Instant::now();
    let mut instance = Instance::new(config);
    instance.set_source(Some(US.into()));
    let priority = instance.effective_priority().0;
    let takes_over = takes_over(priority);
    let owner = [(3_500_000, START, &takes_over[..])];
    let other = [(0, START, &[BACKUP][..]), (3_500_000, In(Input::Promote), &takes_over)];
    run(&mut instance, epoch, if priority == 255 { &owner } else { &other });
    run(&mut instance, epoch, rest);
    instance
}

#[test]
fn a_stop_holds_the_addresses_until_the_successor_is_heard() {
    let instance = master(
        holding(),
        &[
            (4_000_000, In(Input::Shutdown), &[STOP]),
            (4_500_000, TIMER, &[]), // no advertisement any more
            (4_600_000, Hear(0, LOWER), &[]),
            (4_609_000, Hear(100, LOWER), &[RELEASE]),
            (9_000_000, TIMER, &[]),
        ],
    );
    assert_eq!(instance.state(), State::Init);
    assert_eq!(instance.reason().to_string(), "it was stopped, and 192.0.2.1 took over");
    let counters = instance.counters();
    assert_eq!((counters.pri_zero_sent, counters.release_master), (1, 1));
}

#[test]
fn a_stop_with_nobody_there_lets_go_when_the_time_is_over() {
    let instance = master(
        holding(),
        &[
            (4_000_000, In(Input::Shutdown), &[STOP]),
            (5_124_999, TIMER, &[]),
            (5_125_000, TIMER, &[RemoveVips]),
        ],
    );
    assert_eq!(instance.deadline(), None);
    assert_eq!(instance.reason().to_string(), "it was stopped, and nobody took over in time");
}

#[test]
fn a_leaving_master_is_still_master() {
    let instance = master(holding(), &[(4_000_000, In(Input::Shutdown), &[STOP])]);
    assert_eq!(instance.state().role(), Role::Master);
    assert!(matches!(instance.state(), State::Leaving { leave: Leave::Stop, .. }));
}

#[test]
fn a_looped_packet_is_no_successor() {
    master(
        holding(),
        &[(4_000_000, In(Input::Shutdown), &[STOP]), (4_100_000, Hear(128, US), &[])],
    );
}

#[test]
fn after_a_hand_over_it_is_content_with_a_lower_priority() {
    let instance = master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (4_600_000, Hear(100, LOWER), &[RELEASE, BACKUP]),
            (7_600_000, Hear(100, LOWER), &[]),
            (11_000_000, Hear(100, LOWER), &[]),
            // It dies: 11 + 3.5 s. As MASTER again, it is as before.
            (14_499_999, TIMER, &[]),
            (14_500_000, TIMER, &takes_over(128)),
            (15_000_000, Hear(200, HIGHER), &[RELEASE, BACKUP]),
            (15_500_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (18_500_000, TIMER, &takes_over(128)),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "192.0.2.1 advertises priority 100, lower than our 128"
    );
}

#[test]
fn the_end_of_maintenance_ends_contentment() {
    master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (4_600_000, Hear(100, LOWER), &[RELEASE, BACKUP]),
            (5_000_000, In(Input::Maintenance(false)), &[]),
            (7_600_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (8_100_000, TIMER, &takes_over(128)), // 4.6 + 3.5 s
        ],
    );
}

#[test]
fn a_hand_over_to_nobody_is_taken_back() {
    let instance = master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (5_125_000, TIMER, &[send(128)]),
            (6_125_000, TIMER, &[send(128)]),
        ],
    );
    let reason = "the operator handed over, and nobody took over in time";
    assert_eq!(instance.reason().to_string(), reason);
}

#[test]
fn a_member_whose_group_has_a_successor_lets_go() {
    master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (4_600_000, In(Input::Demote), &[RELEASE, BACKUP]),
        ],
    );
    master(
        holding(),
        &[
            (4_000_000, In(Input::Shutdown), &[STOP]),
            (4_600_000, In(Input::Demote), &[RELEASE]),
            (9_000_000, TIMER, &[]),
        ],
    );
    master(holding(), &[(4_000_000, In(Input::Demote), &[RELEASE, BACKUP])]);
}

#[test]
fn what_is_gone_is_not_held() {
    master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (4_100_000, In(Input::Fault { own: true }), &[RemoveVips, FAULT]),
        ],
    );
    master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (4_100_000, In(Input::VipLost), &[RemoveVips, BACKUP]),
        ],
    );
}

#[test]
fn a_stop_in_a_hand_over_waits_no_longer() {
    master(
        holding(),
        &[
            (4_000_000, In(Input::Handover), &[STOP]),
            (4_100_000, In(Input::Shutdown), &[]),
            (5_125_000, TIMER, &[RemoveVips]),
        ],
    );
}

#[test]
fn without_the_option_a_hand_over_lets_go_at_once() {
    master(
        config(128),
        &[
            (4_000_000, In(Input::Handover), &[STOP, RemoveVips, BACKUP]),
            (4_600_000, Hear(100, LOWER), &[]),
            (8_099_999, TIMER, &[]),
            (8_100_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn only_a_master_hands_over() {
    timeline(holding(), &[(0, START, &[BACKUP]), (1, In(Input::Handover), &[])]);
}

#[test]
fn a_better_master_takes_addresses_that_are_still_there() {
    master(
        Config { higher_prio_send_advert: true, ..holding() },
        &[(4_000_000, Hear(200, LOWER), &[send(128), RELEASE, BACKUP])],
    );
}

#[test]
fn maintenance_makes_the_last_choice() {
    let epoch = Instant::now();
    let mut instance = master(
        holding(),
        &[
            (4_000_000, In(Input::Maintenance(true)), &[STOP]),
            (4_600_000, Hear(1, LOWER), &[RELEASE, BACKUP]),
        ],
    );
    assert_eq!(instance.effective_priority(), Priority(1));
    assert!(instance.in_maintenance());
    // A reload does not end it, and what is tracked does not count.
    instance.reconfigure(epoch, holding());
    instance.handle(epoch, Input::Tracked(50), &mut Vec::new());
    assert_eq!(instance.effective_priority(), Priority(1));
    instance.handle(epoch, Input::Maintenance(false), &mut Vec::new());
    assert_eq!(instance.effective_priority(), Priority(178));
}

#[test]
fn in_maintenance_it_serves_when_everyone_else_is_dead() {
    // 3 × 1 s + (256 − 1) × 1 s / 256 = 3.99609375 s
    timeline(
        holding(),
        &[
            (0, START, &[BACKUP]),
            (0, In(Input::Maintenance(true)), &[]),
            (2_000_000, Hear(2, LOWER), &[]),
            (5_996_092, TIMER, &[]),
            (5_996_093, TIMER, &takes_over(1)),
            (6_000_000, Hear(2, LOWER), &[RELEASE, BACKUP]),
        ],
    );
}

#[test]
fn maintenance_with_nobody_there_changes_nothing_but_the_priority() {
    master(
        holding(),
        &[
            (4_000_000, In(Input::Maintenance(true)), &[STOP]),
            (5_125_000, TIMER, &[send(1)]),
            (5_500_000, In(Input::Maintenance(true)), &[STOP]),
            (5_600_000, In(Input::Maintenance(false)), &[send(128)]), // changed our mind
            (6_600_000, TIMER, &[send(128)]),
        ],
    );
}

#[test]
fn an_owner_in_maintenance_is_no_owner() {
    let owner = Config { owner_ignore_adverts: true, handover: holding().handover, ..config(255) };
    let instance = master(
        owner.clone(),
        &[
            (4_000_000, In(Input::Maintenance(true)), &[STOP]),
            (4_600_000, Hear(100, LOWER), &[RELEASE, BACKUP]),
        ],
    );
    assert_eq!(instance.effective_priority(), Priority(1));
    // Nor is one that starts.
    timeline(
        owner,
        &[
            (0, In(Input::Maintenance(true)), &[]),
            (0, START, &[BACKUP]),
            (1, TIMER, &[]),
            (3_996_093, TIMER, &takes_over(1)),
        ],
    );
}
