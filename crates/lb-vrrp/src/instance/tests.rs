//! Each rule as a timeline, times in microseconds.
//!
//! Version 3 at one second unless said otherwise. By RFC 9568 §6.1, priority 128 skews by
//! (256 − 128) × 1 s / 256 = 0.5 s and is patient for 3.5 s; 100: 0.609375 s and 3.609375 s.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_election::Action::{
    AddVips, Announce, AnnounceAgain, Discard, MasterStops, RemoveVips, Report, Weaker, Willing,
};

use super::*;
use crate::types::{Family, Vrid};
use crate::vips::Vips;

mod handover;
mod network;
mod reasons;

const US: [u8; 4] = [192, 0, 2, 5];
const LOWER: [u8; 4] = [192, 0, 2, 1];
const HIGHER: [u8; 4] = [192, 0, 2, 9];

const BACKUP: Action = Action::Notify(Role::Backup);
const MASTER: Action = Action::Notify(Role::Master);
const FAULT: Action = Action::Notify(Role::Fault);
const STOP: Action = send(0);

const fn send(priority: u8) -> Action {
    Action::Send(Content { priority: Priority(priority), number: 0 })
}

/// Actions of becoming MASTER.
const fn takes_over(priority: u8) -> [Action; 4] {
    [send(priority), AddVips, Announce, MASTER]
}

fn lower_priority(from: [u8; 4], priority: u8) -> Action {
    Weaker { from: from.into(), advert: Priority(priority).into() }
}

fn discard(from: [u8; 4], priority: u8) -> Action {
    Discard { from: from.into(), advert: Priority(priority).into() }
}

fn config(priority: u8) -> Config {
    let vrid = Vrid::new(51).unwrap();
    let second = Duration::from_secs(1);
    Config {
        vips: Vips::new(Family::Inet, [IpAddr::from([192, 0, 2, 100])]),
        ..Config::new(Version::V3, Family::Inet, vrid, Priority(priority), second)
    }
}

/// What happens to the instance under test.
enum Step {
    In(Input<'static>),
    /// An advertisement of this priority, from this address.
    Advert(u8, [u8; 4]),
    /// The same with this interval in seconds.
    Slow(u8, [u8; 4], u64),
    /// The same with another VIP.
    Foreign(u8, [u8; 4]),
    /// An advertisement with a TTL of 254.
    Routed([u8; 4]),
}

use Step::{Advert as Hear, Foreign, In, Routed, Slow};

const START: Step = In(Input::Startup);
const TIMER: Step = In(Input::Timer);

#[track_caller]
fn timeline(config: Config, steps: &[(u64, Step, &[Action])]) -> Instance {
    let epoch = Instant::now();
    let mut instance = Instance::new(config);
    instance.set_source(Some(US.into()));
    run(&mut instance, epoch, steps);
    instance
}

#[track_caller]
fn run(instance: &mut Instance, epoch: Instant, steps: &[(u64, Step, &[Action])]) {
    for (at, step, expected) in steps {
        let mut actions = Vec::new();
        take(instance, epoch + Duration::from_micros(*at), step, &mut actions);
        assert_eq!(actions, *expected, "at {at}");
    }
}

fn take(instance: &mut Instance, now: Instant, step: &Step, actions: &mut Vec<Action>) {
    let (from, peer, ttl) = match step {
        In(input) => return instance.handle(now, *input, actions),
        Hear(priority, from) => (from, peer(instance, *priority), 255),
        Slow(priority, from, seconds) => {
            let adver_int = Duration::from_secs(*seconds);
            (from, Config { adver_int, ..peer(instance, *priority) }, 255)
        }
        Foreign(priority, from) => {
            let vips = Vips::new(Family::Inet, [IpAddr::from([192, 0, 2, 200])]);
            (from, Config { vips, ..peer(instance, *priority) }, 255)
        }
        Routed(from) => (from, peer(instance, 200), 254),
    };
    let (source, destination) = (IpAddr::from(*from), IpAddr::from([224, 0, 0, 18]));
    let mut payload = Vec::new();
    let priority = peer.priority;
    Instance::new(peer).emit(priority.into(), (source, destination), ttl, &mut payload);
    let packet = IpPacket {
        source,
        destination,
        ttl: Some(ttl),
        declared_len: None,
        ah: None,
        payload: &payload,
    };
    instance.handle(now, Input::Packet(packet), actions);
}

/// Configured as the instance, but for its priority.
fn peer(instance: &Instance, priority: u8) -> Config {
    Config { priority: Priority(priority), ..instance.config().clone() }
}

#[test]
fn a_silent_master_is_replaced_after_three_intervals_and_the_skew() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (100_000, Hear(200, LOWER), &[]),
            (3_599_999, TIMER, &[]), // not a moment earlier
            (3_600_000, TIMER, &takes_over(128)),
            (3_700_000, Hear(200, LOWER), &[RemoveVips, BACKUP]),
        ],
    );
}

#[test]
fn a_timer_that_is_late_by_an_interval_listens_once_more() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (100_000, Hear(200, LOWER), &[]),
            // Due at 3.6 s. The host stood still, and lost what was sent meanwhile.
            (4_600_000, TIMER, &[]),
            (5_000_000, Hear(200, LOWER), &[]), // the master is well
            (8_499_999, TIMER, &[]),
            (8_500_000, TIMER, &takes_over(128)), // and now it is not
        ],
    );
}

#[test]
fn a_late_timer_delays_a_takeover_once() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (100_000, Hear(200, LOWER), &[]),
            (4_599_999, TIMER, &takes_over(128)), // late, but not by an interval
        ],
    );
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (100_000, Hear(200, LOWER), &[]),
            (60_000_000, TIMER, &[]),
            (63_499_999, TIMER, &[]),
            (120_000_000, TIMER, &takes_over(128)), // as late again: it has listened
        ],
    );
}

#[test]
fn a_late_member_of_a_group_is_not_willing() {
    let grouped = Config { grouped: true, ..config(128) };
    timeline(
        grouped,
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &[Willing]),
            // It stood still while the others of its group were not through with theirs.
            (60_000_000, TIMER, &[]),
            (63_500_000, TIMER, &[Willing]),
        ],
    );
}

#[test]
fn an_owner_that_starts_late_does_not_listen() {
    timeline(
        Config { wants_master: true, ..config(255) },
        &[
            (0, In(Input::Fault { own: true }), &[FAULT]),
            (0, In(Input::Recover), &[BACKUP]),
            (60_000_000, TIMER, &takes_over(255)),
        ],
    );
}

#[test]
fn the_deadline_is_read_off_the_state() {
    let epoch = Instant::now();
    let mut instance = Instance::new(config(128));
    assert_eq!(instance.deadline(), None);
    run(&mut instance, epoch, &[(0, START, &[BACKUP])]);
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_millis(3_500)));
    run(&mut instance, epoch, &[(3_500_000, TIMER, &takes_over(128))]);
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_millis(4_500)));
    run(
        &mut instance,
        epoch,
        &[(4_000_000, In(Input::Fault { own: false }), &[STOP, RemoveVips, FAULT])],
    );
    assert_eq!(instance.deadline(), None);
}

#[test]
fn a_master_that_stops_is_replaced_after_the_skew() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(0, LOWER), &[MasterStops]),
            (1_499_999, TIMER, &[]),
            (1_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn a_lower_priority_is_preempted_when_the_timer_runs_out() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (2_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (3_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (3_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn nopreempt_respects_a_lower_priority() {
    timeline(
        Config { nopreempt: true, ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (3_000_000, Hear(100, LOWER), &[]),
            (6_499_999, TIMER, &[]),
            (6_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn preempt_delay_counts_from_the_first_lower_priority() {
    timeline(
        Config { preempt_delay: Duration::from_secs(10), ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (3_000_000, Hear(100, LOWER), &[]), // the delay runs until 13
            (6_000_000, Hear(100, LOWER), &[]),
            (9_000_000, Hear(100, LOWER), &[]),
            (12_000_000, Hear(100, LOWER), &[]), // the last one that counts
            (13_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (15_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (15_499_999, TIMER, &[]),
            (15_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn a_member_that_waited_for_its_preempt_delay_stays_willing() {
    timeline(
        Config { grouped: true, preempt_delay: Duration::from_secs(2), ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(100, LOWER), &[]), // the delay runs until 3
            (2_000_000, Hear(100, LOWER), &[]),
            (3_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (5_500_000, TIMER, &[Willing]),
            // Another member of the group still waits, so the old master goes on: the delay is
            // over all the same.
            (6_000_000, Hear(100, LOWER), &[discard(LOWER, 100)]),
            (9_000_000, TIMER, &[Willing]),
            (9_500_000, In(Input::Promote), &takes_over(128)),
        ],
    );
}

#[test]
fn an_equal_priority_ends_the_preempt_delay() {
    timeline(
        Config { preempt_delay: Duration::from_secs(2), ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(100, LOWER), &[]),
            (2_000_000, Hear(128, LOWER), &[]),
            (3_500_000, Hear(100, LOWER), &[]), // runs anew until 5.5
            (5_000_000, Hear(100, LOWER), &[]),
            (8_499_999, TIMER, &[]),
            (8_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn version_3_learns_the_interval_of_its_master() {
    // 3 × 5 s + (256 − 128) × 5 s / 256 = 17.5 s
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Slow(200, LOWER, 5), &[]),
            (18_499_999, TIMER, &[]),
            (18_500_000, TIMER, &takes_over(128)),
            // As MASTER it is on its own interval again.
            (19_500_000, TIMER, &[send(128)]),
        ],
    );
}

#[test]
fn the_skew_is_of_the_interval_of_whoever_stops() {
    // Preempted in a moment, it was not heeded. (256 − 128) × 2 s / 256 = 1 s.
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Slow(100, LOWER, 2), &[discard(LOWER, 100)]),
            (2_000_000, Slow(0, LOWER, 2), &[MasterStops]),
            (2_999_999, TIMER, &[]),
            (3_000_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn version_2_refuses_another_interval() {
    let config = Config { version: Version::V2, ..config(128) };
    let error = WireError::Interval { found: Duration::from_secs(5) };
    let report = Action::Report { from: LOWER.into(), error };
    let instance = timeline(
        config,
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Slow(200, LOWER, 5), &[report]),
            (2_000_000, Slow(200, LOWER, 5), &[]), // reported once
            (3_500_000, TIMER, &takes_over(128)),
            (3_600_000, Slow(200, LOWER, 5), &[report]), // and once more in another state
        ],
    );
    assert_eq!(instance.counters().advert_interval_err, 3);
    assert_eq!(instance.counters().advert_rcvd, 0);
}

#[test]
fn errors_are_reported_again_after_another_sender() {
    let report = Action::Report { from: LOWER.into(), error: WireError::Ttl { ttl: 254 } };
    let instance = timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Routed(LOWER), &[report]),
            (2_000_000, Routed(LOWER), &[]),
            (2_500_000, Hear(200, HIGHER), &[]),
            (3_000_000, Routed(LOWER), &[report]),
        ],
    );
    assert_eq!(instance.counters().ip_ttl_err, 3);
}

#[test]
fn an_owner_is_master_at_once() {
    timeline(config(255), &[(0, START, &takes_over(255)), (1_000_000, TIMER, &[send(255)])]);
    // After a fault it is BACKUP for a microsecond, as under keepalived.
    timeline(
        config(255),
        &[
            (0, START, &takes_over(255)),
            (500_000, In(Input::Fault { own: false }), &[STOP, RemoveVips, FAULT]),
            (600_000, In(Input::Recover), &[BACKUP]),
            (600_001, TIMER, &takes_over(255)),
        ],
    );
    // With others of its group it waits to be asked.
    timeline(
        Config { grouped: true, ..config(255) },
        &[(0, START, &[BACKUP]), (1, TIMER, &[Willing]), (2, In(Input::Promote), &takes_over(255))],
    );
}

#[test]
fn an_owner_that_ignores_adverts_ignores_them() {
    let instance = timeline(
        Config { owner_ignore_adverts: true, ..config(255) },
        &[
            (0, START, &takes_over(255)),
            (500_000, Hear(255, HIGHER), &[]),
            (600_000, Hear(0, HIGHER), &[]),
        ],
    );
    assert_eq!(instance.counters().advert_rcvd, 0);
}

#[test]
fn of_two_owners_the_lower_address_yields() {
    timeline(
        config(255),
        &[(0, START, &takes_over(255)), (100_000, Hear(255, HIGHER), &[RemoveVips, BACKUP])],
    );
}

#[test]
fn of_two_owners_the_higher_address_loses_patience() {
    let answer = [lower_priority(LOWER, 255), send(255), AnnounceAgain];
    let instance = timeline(
        config(255),
        &[
            (0, START, &takes_over(255)),
            (100_000, Hear(255, LOWER), &answer), // the first of two more
            (1_100_000, Hear(255, LOWER), &answer), // the second: patience until 2.3
            (2_100_000, Hear(255, LOWER), &answer),
            (3_100_000, Hear(255, LOWER), &[RemoveVips, BACKUP]),
            (4_100_000, Hear(255, LOWER), &[]),
        ],
    );
    assert_eq!(instance.effective_priority(), Priority(254));

    // The rival sees its mistake.
    let mut instance = instance;
    let epoch = Instant::now() + Duration::from_secs(60);
    run(&mut instance, epoch, &[(0, Hear(100, LOWER), &[discard(LOWER, 100)])]);
    assert_eq!(instance.effective_priority(), Priority(255));
}

#[test]
fn a_master_answers_a_lower_priority() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (
                4_000_000,
                Hear(100, HIGHER),
                &[lower_priority(HIGHER, 100), send(128), AnnounceAgain],
            ),
            // The interval begins anew.
            (4_500_000, TIMER, &[]),
            (5_000_000, TIMER, &[send(128)]),
        ],
    );
}

/// In the shortest interval there is nobody needs a second answer, whoever sends.
#[test]
fn a_flood_of_lower_priorities_is_answered_a_hundred_times_a_second() {
    let epoch = Instant::now();
    let mut instance = Instance::new(config(128));
    instance.set_source(Some(US.into()));
    let (mut actions, mut sent) = (Vec::new(), 0);
    take(&mut instance, epoch, &START, &mut actions);
    take(&mut instance, epoch + Duration::from_millis(3_500), &TIMER, &mut actions);
    assert!(actions.contains(&MASTER), "{actions:?}");
    for us in (4_000_000..5_000_000).step_by(40) {
        actions.clear();
        let priority = if us % 80 == 0 { 100 } else { 0 };
        take(
            &mut instance,
            epoch + Duration::from_micros(us),
            &Hear(priority, LOWER),
            &mut actions,
        );
        sent += actions.iter().filter(|action| **action == send(128)).count();
    }
    assert_eq!(sent, 100);
    // The next one is due an interval after the last answer, of 4.99 s.
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_millis(5_990)));
}

#[test]
fn lower_prio_no_advert_keeps_silent() {
    timeline(
        Config { lower_prio_no_advert: true, ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (4_000_000, Hear(100, LOWER), &[lower_priority(LOWER, 100), AnnounceAgain]),
            (4_500_000, TIMER, &[send(128)]),
        ],
    );
}

#[test]
fn higher_prio_send_advert_says_one_last_word() {
    timeline(
        Config { higher_prio_send_advert: true, ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (4_000_000, Hear(200, LOWER), &[send(128), RemoveVips, BACKUP]),
            (7_499_999, TIMER, &[]),
            (7_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn between_equals_the_higher_address_wins() {
    let own = Action::Report { from: US.into(), error: WireError::OwnAddress };
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (3_600_000, Hear(128, LOWER), &[lower_priority(LOWER, 128), send(128), AnnounceAgain]),
            (3_700_000, Hear(128, US), &[own]), // our own address: somebody loops or copies
            (3_800_000, Hear(128, US), &[]),
            (3_900_000, Hear(128, HIGHER), &[RemoveVips, BACKUP]),
        ],
    );
}

#[test]
fn a_master_answers_one_that_stops() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (3_600_000, Hear(0, HIGHER), &[send(128)]),
            (4_599_999, TIMER, &[]),
            (4_600_000, TIMER, &[send(128)]),
        ],
    );
}

#[test]
fn advertisements_keep_to_their_grid() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (4_500_700, TIMER, &[send(128)]), // late, but the next one is not
            (5_499_999, TIMER, &[]),
            (5_500_000, TIMER, &[send(128)]),
            (7_600_000, TIMER, &[send(128)]), // later than an interval: a new grid
            (8_500_000, TIMER, &[]),
            (8_600_000, TIMER, &[send(128)]),
        ],
    );
}

#[test]
fn slack_lets_an_advertisement_leave_early_but_no_takeover() {
    timeline(
        Config { advert_slack: Duration::from_millis(1), ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (3_499_999, TIMER, &[]),
            (3_500_000, TIMER, &takes_over(128)),
            (4_498_999, TIMER, &[]),
            (4_499_000, TIMER, &[send(128)]),
            (5_500_000, TIMER, &[send(128)]),
        ],
    );
}

#[test]
fn down_timer_adverts_is_how_often_a_master_may_be_missed() {
    timeline(
        Config { down_timer_adverts: 1, ..config(128) },
        &[(0, START, &[BACKUP]), (1_499_999, TIMER, &[]), (1_500_000, TIMER, &takes_over(128))],
    );
}

#[test]
fn what_is_tracked_leaves_a_priority_a_priority() {
    let priority = |base, total| {
        let mut instance = Instance::new(config(base));
        instance.handle(Instant::now(), Input::Tracked(total), &mut Vec::new());
        instance.effective_priority()
    };
    assert_eq!(priority(100, -20), Priority(80));
    assert_eq!(priority(100, 253), Priority(254));
    assert_eq!(priority(100, i32::MIN), Priority(1));
    assert_eq!(priority(255, -20), Priority::OWNER);
}

#[test]
fn another_priority_moves_the_running_timer() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            // 64: skew 0.75 s instead of 0.5 s.
            (1_000_000, In(Input::Tracked(-64)), &[]),
            (3_500_000, TIMER, &[]),
            // 192: skew 0.25 s.
            (3_600_000, In(Input::Tracked(64)), &[]),
            (3_600_000, TIMER, &takes_over(192)),
            // As MASTER the next advertisement says it.
            (3_700_000, In(Input::Tracked(-28)), &[]),
            (4_600_000, TIMER, &[send(100)]),
        ],
    );
}

#[test]
fn nothing_is_heard_before_the_startup_delay_is_over() {
    let epoch = Instant::now();
    let mut instance = Instance::new(config(128));
    instance.ignore_until(epoch + Duration::from_secs(10));
    run(
        &mut instance,
        epoch,
        &[
            (0, START, &[BACKUP]),
            (9_999_999, Hear(200, LOWER), &[]),
            (13_499_999, TIMER, &[]),
            (13_500_000, TIMER, &takes_over(128)),
        ],
    );
    assert_eq!(instance.counters().advert_rcvd, 0);
}

#[test]
fn fault_is_left_for_backup() {
    timeline(
        config(128),
        &[
            (0, In(Input::Fault { own: true }), &[FAULT]),
            (500_000, Hear(100, LOWER), &[]),
            (1_000_000, In(Input::Recover), &[BACKUP]),
            (4_500_000, TIMER, &takes_over(128)),
            // An own fault is said twice, for one of them may be lost with the link.
            (5_000_000, In(Input::Fault { own: true }), &[STOP, STOP, RemoveVips, FAULT]),
            (6_000_000, In(Input::Recover), &[BACKUP]),
            (9_500_000, TIMER, &takes_over(128)),
            (9_600_000, In(Input::Fault { own: false }), &[STOP, RemoveVips, FAULT]),
        ],
    );
}

#[test]
fn a_vip_taken_away_is_retaken_after_the_skew() {
    timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (4_000_000, In(Input::VipLost), &[STOP, RemoveVips, BACKUP]),
            (4_500_000, TIMER, &takes_over(128)),
        ],
    );
}

#[test]
fn a_shutdown_says_so_and_lets_go() {
    let instance = timeline(
        config(128),
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &takes_over(128)),
            (4_000_000, In(Input::Shutdown), &[STOP, RemoveVips]),
            (9_000_000, TIMER, &[]),
        ],
    );
    assert_eq!(instance.state(), State::Init);
    let counters = instance.counters();
    assert_eq!((counters.become_master, counters.release_master), (1, 1));
    assert_eq!((counters.advert_sent, counters.pri_zero_sent), (2, 1));
}

#[test]
fn a_member_of_a_group_asks_before_it_takes_over() {
    timeline(
        Config { grouped: true, ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (3_500_000, TIMER, &[Willing]),
            (7_000_000, TIMER, &[Willing]), // its timer began anew
            (7_500_000, In(Input::Promote), &takes_over(128)),
            (8_000_000, In(Input::Demote), &[RemoveVips, BACKUP]),
        ],
    );
}

#[test]
fn foreign_addresses_are_counted_but_accepted() {
    let report = Action::Report { from: LOWER.into(), error: WireError::AddressList };
    let steps: [(u64, Step, &[Action]); 4] = [
        (0, START, &[BACKUP]),
        (3_000_000, Foreign(200, LOWER), &[report]),
        (6_000_000, Foreign(200, LOWER), &[]),
        (9_499_999, TIMER, &[]),
    ];
    let instance = timeline(config(128), &steps);
    assert_eq!(instance.counters().addr_list_err, 2);
    let skipping = Config { skip_check_adv_addr: true, ..config(128) };
    let instance = timeline(skipping, &steps);
    assert_eq!(instance.counters().addr_list_err, 1);
    assert_eq!(instance.counters().advert_rcvd, 2);
}

#[test]
fn a_reload_moves_the_timer_and_keeps_the_master() {
    let epoch = Instant::now();
    let mut instance = Instance::new(config(128));
    run(&mut instance, epoch, &[(0, START, &[BACKUP])]);
    let slower = Config { adver_int: Duration::from_secs(2), ..config(128) };
    instance.reconfigure(epoch + Duration::from_secs(1), slower);
    // 3 × 2 s + 128 × 2 s / 256 = 7 s since the start.
    run(&mut instance, epoch, &[(6_999_999, TIMER, &[]), (7_000_000, TIMER, &takes_over(128))]);
    instance.reconfigure(epoch + Duration::from_millis(7_500), config(1));
    run(
        &mut instance,
        epoch,
        &[(7_500_000, In(Input::Tracked(0)), &[]), (8_500_000, TIMER, &[send(1)])],
    );
}

#[test]
fn the_numbers_of_all_routers_are_one_sequence_and_none_is_heard_twice() {
    let epoch = Instant::now();
    let second = Duration::from_secs(1);
    let with_header = |priority| Config {
        version: Version::V2,
        header_key: Some(*b"secret\0\0"),
        ..config(priority)
    };
    let mut instance = Instance::new(with_header(100));
    instance.set_source(Some(US.into()));
    let mut actions = Vec::new();
    instance.handle(epoch, Input::Startup, &mut actions);
    let peer = Instance::new(with_header(200));
    // What the peer sends, as it arrives: the IP header is made by hand.
    let packet = |number: u32| {
        let content = Content { priority: Priority(200), number };
        let mut payload = Vec::new();
        let way = (IpAddr::from(HIGHER), IpAddr::from([224, 0, 0, 18]));
        let id = peer.emit(content, way, 255, &mut payload).unwrap();
        let [high, low] = id.to_be_bytes();
        let mut whole = vec![0x45, 0xc0, 0, 64, high, low, 0, 0, 255, 51, 0, 0];
        whole.extend(HIGHER);
        whole.extend([224, 0, 0, 18]);
        whole.extend(payload);
        whole
    };
    let hear = |instance: &mut Instance, number| {
        let whole = packet(number);
        let (headers, payload) = whole.split_at(44);
        let packet = IpPacket {
            source: HIGHER.into(),
            destination: [224, 0, 0, 18].into(),
            ttl: Some(255),
            declared_len: Some(20),
            ah: Some(headers),
            payload,
        };
        let mut actions = Vec::new();
        instance.handle(epoch, Input::Packet(packet), &mut actions);
        actions
    };
    assert_eq!(hear(&mut instance, 10), []);
    for number in [10, 9, 0] {
        let error = WireError::Replayed { number, last: 10 };
        let told = hear(&mut instance, number);
        assert!(told.is_empty() || told == [Report { from: HIGHER.into(), error }], "{told:?}");
    }
    assert_eq!(hear(&mut instance, 12), []);
    assert_eq!((instance.counters().advert_rcvd, instance.counters().auth_failure), (2, 3));
    // What a BACKUP says to the master has the next number and uses none up.
    assert_eq!((instance.last_word().number, instance.last_word().number), (13, 13));
    assert_eq!(instance.reminder().map(|content| content.number), Some(13));
    // The master is silent: who takes over goes on from there.
    let numbers = |actions: &[Action]| -> Vec<u32> {
        let number = |action: &Action| match action {
            Action::Send(content) => Some(content.number),
            _ => None,
        };
        actions.iter().filter_map(number).collect()
    };
    actions.clear();
    instance.handle(epoch + 3 * second + second * 156 / 256, Input::Timer, &mut actions);
    assert_eq!(numbers(&actions), [13]);
    actions.clear();
    instance.handle(epoch + 9 * second, Input::Timer, &mut actions);
    assert_eq!(numbers(&actions), [14]);
    // In FAULT it follows the numbers of the others.
    instance.handle(epoch + 9 * second, Input::Fault { own: false }, &mut actions);
    let before = *instance.counters();
    assert_eq!(hear(&mut instance, 40), []);
    assert_eq!((instance.number(), *instance.counters()), (40, before));
    actions.clear();
    instance.handle(epoch + 10 * second, Input::Recover, &mut actions);
    instance.handle(epoch + 15 * second, Input::Timer, &mut actions);
    instance.handle(epoch + 19 * second, Input::Timer, &mut actions);
    assert_eq!(numbers(&actions), [41]);
    instance.number_from(30);
    assert_eq!(instance.number(), 41);
    instance.number_from(u32::MAX - 5);
    // At the end of all numbers the last one is repeated, as keepalived does.
    hear(&mut instance, u32::MAX);
    actions.clear();
    instance.handle(epoch + 20 * second, Input::Timer, &mut actions);
    assert!(numbers(&actions).iter().all(|number| *number == u32::MAX - 1), "{actions:?}");
}
