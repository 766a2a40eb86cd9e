//! Each rule as a timeline, times in microseconds.
//!
//! An advskew of 100 is 100 × 1000000 / 256 = 390625 µs: with an advbase of 1 it makes an interval
//! of 1.390625 s and a patience of 3.390625 s; 240 makes 937500 µs.

use lb_election::Action::{AddVips, Announce, AnnounceAgain, ReleaseVips, RemoveVips, Willing};

use super::*;
use crate::config::Vhid;

mod election;
mod handover;
mod network;

const US: [u8; 4] = [192, 0, 2, 5];
/// Wins a tie against us.
const BELOW: [u8; 4] = [192, 0, 2, 1];
/// Loses it.
const ABOVE: [u8; 4] = [192, 0, 2, 9];

const BACKUP: Action = Action::Notify(Role::Backup);
const MASTER: Action = Action::Notify(Role::Master);
const FAULT: Action = Action::Notify(Role::Fault);
const BOW_OUT: Action = Action::Send(advert(255, 255, 255));

/// Of what the tests expect, the counters are all zero.
const fn advert(advbase: u8, advskew: u8, demotion: u8) -> Advert {
    Advert { vhid: VHID, advskew, demotion, advbase, counter: 0 }
}

const VHID: Vhid = Vhid::new(1).unwrap();

const fn send(advskew: u8) -> Action {
    Action::Send(advert(1, advskew, 0))
}

/// What a demoted node says.
const fn demoted(advskew: u8, demotion: u8) -> Action {
    Action::Send(advert(1, advskew, demotion))
}

/// Actions of becoming MASTER.
const fn takes_over(advskew: u8) -> [Action; 4] {
    [send(advskew), AddVips, Announce, MASTER]
}

fn weaker(from: [u8; 4], advbase: u8, advskew: u8) -> Action {
    Action::Weaker { from: from.into(), advert: advert(advbase, advskew, 0) }
}

fn report(from: [u8; 4], error: WireError) -> Action {
    Action::Report { from: from.into(), error }
}

fn pace(advbase: u8, advskew: u8) -> Pace {
    Pace { advbase, advskew }
}

fn config(advskew: u8) -> Config {
    let mut key = [0; 20];
    key[..6].copy_from_slice(b"secret");
    Config { advskew, ..Config::new(VHID, key, vec![[203, 0, 113, 5].into()]) }
}

/// The same, and preempts.
fn eager(advskew: u8) -> Config {
    Config { preempt: true, ..config(advskew) }
}

/// The same, and holds the addresses for its successor.
fn polite(config: Config) -> Config {
    Config { handover: Some(config.hold_time()), ..config }
}

/// With an IPv6 address as well.
fn dual(config: Config) -> Config {
    let addresses = vec![[203, 0, 113, 5].into(), "2001:db8::5".parse().unwrap()];
    Config { addresses, ..config }
}

/// What happens to the instance under test.
enum Step {
    In(Input<'static>),
    /// advbase, advskew and demotion, from this address.
    Hear(u8, u8, u8, [u8; 4]),
    /// The same with this counter.
    Counter(u64, [u8; 4]),
    /// advbase and advskew, over IPv6 from fe80::(this).
    Hear6(u8, u8, u16),
    /// With another passphrase.
    Stranger([u8; 4]),
}

use Step::{Counter, Hear, Hear6, In, Stranger};

const START: Step = In(Input::Startup);
const STOP: Step = In(Input::Shutdown);
const TIMER: Step = In(Input::Timer);

#[track_caller]
fn timeline(config: Config, steps: &[(u64, Step, &[Action])]) -> Instance {
    let epoch = Instant::now();
    let mut instance = new(config);
    run(&mut instance, epoch, steps);
    instance
}

fn new(config: Config) -> Instance {
    let mut instance = Instance::new(config, 1);
    instance.set_sources(Some(US.into()), None);
    instance
}

#[track_caller]
fn run(instance: &mut Instance, epoch: Instant, steps: &[(u64, Step, &[Action])]) {
    for (at, step, expected) in steps {
        let mut actions = Vec::new();
        give(instance, epoch + Duration::from_micros(*at), step, &mut actions);
        for action in &mut actions {
            if let Action::Send(advert) | Action::Weaker { advert, .. } = action {
                advert.counter = 0;
            }
        }
        assert_eq!(actions, *expected, "at {at}");
    }
}

fn give(instance: &mut Instance, now: Instant, step: &Step, out: &mut Vec<Action>) {
    let stranger = Config { key: [1; 20], ..instance.config().clone() };
    let ours = instance.digest.clone();
    let v4 = |from: &[u8; 4]| (IpAddr::from(*from), IpAddr::from([224, 0, 0, 18]));
    let counter = instance.counters().advert_rcvd;
    let (advert, digest, (source, destination)) = match step {
        In(input) => return instance.handle(now, *input, out),
        Hear(advbase, advskew, demotion, from) => {
            (Advert { counter, ..advert(*advbase, *advskew, *demotion) }, ours, v4(from))
        }
        Counter(counter, from) => (Advert { counter: *counter, ..advert(1, 0, 0) }, ours, v4(from)),
        Hear6(advbase, advskew, from) => {
            let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, *from).into();
            let advert = Advert { counter, ..advert(*advbase, *advskew, 0) };
            (advert, ours, (source, "ff02::12".parse().unwrap()))
        }
        Stranger(from) => (advert(1, 0, 0), Digest::new(&stranger), v4(from)),
    };
    let mut payload = Vec::new();
    advert.emit(&digest, &mut payload);
    let packet = IpPacket {
        source,
        destination,
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload: &payload,
    };
    instance.handle(now, Input::Packet(packet), out);
}

#[test]
fn a_silent_master_is_replaced_after_three_times_advbase_and_one_advskew() {
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (100_000, Hear(1, 0, 0, BELOW), &[]),
            (3_490_624, TIMER, &[]), // not a moment earlier
            (3_490_625, TIMER, &takes_over(100)),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "nothing heard over IPv4 for 3.391 s (3 × advbase 1 s + advskew 100/256 s)"
    );
    assert_eq!(instance.master(), None);
}

#[test]
fn the_deadline_is_read_off_the_state() {
    let epoch = Instant::now();
    let mut instance = new(config(100));
    assert_eq!(instance.deadline(), None);
    run(&mut instance, epoch, &[(0, START, &[BACKUP])]);
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_micros(3_390_625)));
    run(&mut instance, epoch, &[(3_390_625, TIMER, &takes_over(100))]);
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_micros(4_781_250)));
    run(&mut instance, epoch, &[(4_000_000, STOP, &[BOW_OUT, RemoveVips])]);
    assert_eq!(instance.deadline(), None);
    assert_eq!(instance.role(), Role::Init);
}

#[test]
fn dead_ratio_is_how_often_a_master_may_be_missed() {
    timeline(
        Config { dead_ratio: 5, ..config(0) },
        &[(0, START, &[BACKUP]), (4_999_999, TIMER, &[]), (5_000_000, TIMER, &takes_over(0))],
    );
}

#[test]
fn advertisements_keep_to_their_grid() {
    timeline(
        config(0),
        &[
            (0, START, &[BACKUP]),
            (3_000_000, TIMER, &takes_over(0)),
            (4_000_700, TIMER, &[send(0)]), // late, but the next one is not
            (4_999_999, TIMER, &[]),
            (5_000_000, TIMER, &[send(0)]),
            (7_100_000, TIMER, &[send(0)]), // later than an interval: a new grid
            (8_000_000, TIMER, &[]),
            (8_100_000, TIMER, &[send(0)]),
            (8_200_000, In(Input::Advertise), &[send(0)]), // one more changes nothing
            (9_100_000, TIMER, &[send(0)]),
        ],
    );
}

#[test]
fn slack_lets_an_advertisement_leave_early_but_no_takeover() {
    timeline(
        Config { advert_slack: Duration::from_millis(1), ..config(0) },
        &[
            (0, START, &[BACKUP]),
            (2_999_999, TIMER, &[]),
            (3_000_000, TIMER, &takes_over(0)),
            (3_998_999, TIMER, &[]),
            (3_999_000, TIMER, &[send(0)]),
            (5_000_000, TIMER, &[send(0)]),
        ],
    );
}

#[test]
fn nothing_is_heard_before_the_startup_delay_is_over() {
    let epoch = Instant::now();
    let mut instance = new(config(100));
    instance.ignore_until(epoch + Duration::from_secs(10));
    run(
        &mut instance,
        epoch,
        &[
            (0, START, &[BACKUP]),
            (9_999_999, Hear(1, 0, 0, BELOW), &[]),
            (13_390_624, TIMER, &[]),
            (13_390_625, TIMER, &takes_over(100)),
        ],
    );
    assert_eq!(instance.counters().advert_rcvd, 0);
}

#[test]
fn errors_are_counted_always_and_reported_once() {
    let refused = report(BELOW, WireError::Digest);
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Stranger(BELOW), &[refused]),
            (2_000_000, Stranger(BELOW), &[]),
            (2_500_000, Hear(1, 0, 0, ABOVE), &[]), // another sender
            (3_000_000, Stranger(BELOW), &[refused]),
            (5_890_625, TIMER, &takes_over(100)), // another state
            (6_000_000, Stranger(BELOW), &[refused]),
        ],
    );
    assert_eq!((instance.counters().digest_err, instance.counters().advert_rcvd), (4, 1));
}

#[test]
fn vrrp_with_our_number_is_counted_and_never_reported() {
    let mut instance = timeline(config(0), &[(0, START, &[BACKUP])]);
    let mut actions = Vec::new();
    let payload = [0x31, 1, 150, 1, 0, 100, 0, 0, 192, 0, 2, 100];
    let packet = IpPacket {
        source: BELOW.into(),
        destination: [224, 0, 0, 18].into(),
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload: &payload,
    };
    instance.handle(Instant::now(), Input::Packet(packet), &mut actions);
    assert_eq!(actions, []);
    assert_eq!(instance.counters().vrrp_rcvd, 1);
}

#[test]
fn our_own_advertisements_come_back_in_vain() {
    let mut instance = timeline(config(100), &[(0, START, &[BACKUP])]);
    let epoch = instance.deadline().unwrap();
    let mut actions = Vec::new();
    instance.handle(epoch, Input::Timer, &mut actions);
    let [Action::Send(sent), ..] = actions[..] else { panic!("{actions:?}") };
    // From our address, or with a counter of ours from anywhere.
    let looped = |from| [report(from, WireError::Loop)];
    run(
        &mut instance,
        epoch,
        &[
            (1, Hear(1, 0, 0, US), &looped(US)),
            (2, Counter(sent.counter, BELOW), &[]), // reported already
            (3, Counter(sent.counter + 1, BELOW), &[RemoveVips, BACKUP]),
            (4, Counter(sent.counter, BELOW), &looped(BELOW)),
        ],
    );
    assert_eq!(instance.counters().loops, 3);
}

#[test]
fn counters_go_on_where_the_peer_is_and_may_go_back() {
    let mut instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            // OpenBSD's is constant; any other one is as good.
            (1_000_000, Counter(1 << 60, BELOW), &[]),
            (2_000_000, Counter(1 << 60, BELOW), &[]),
            (3_000_000, Counter(7, BELOW), &[]),
        ],
    );
    let mut actions = Vec::new();
    let silent = instance.deadline().unwrap();
    instance.handle(silent, Input::Timer, &mut actions);
    let [Action::Send(sent), ..] = actions[..] else { panic!("{actions:?}") };
    assert!((8..=7 + (1 << 24)).contains(&sent.counter));
    let mut packet = Vec::new();
    instance.emit(&sent, &mut packet);
    assert_eq!(packet[8..16], sent.counter.to_be_bytes());
}

#[test]
fn silence_in_either_family_makes_a_master() {
    let epoch = Instant::now();
    let mut instance = Instance::new(dual(config(0)), 1);
    instance.set_sources(Some(US.into()), Some("fe80::5".parse().unwrap()));
    run(
        &mut instance,
        epoch,
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 0, 0, BELOW), &[]),
            (2_000_000, Hear(1, 0, 0, BELOW), &[]),
            (2_500_000, Hear6(1, 0, 1), &[]),
            (4_999_999, TIMER, &[]),
            (5_000_000, TIMER, &takes_over(0)),
        ],
    );
    assert_eq!(
        instance.reason(),
        Reason::Silence { family: Family::Inet, waited: pace(1, 0), dead_ratio: 3 }
    );
    run(&mut instance, epoch, &[(5_100_000, In(Input::Demote), &[RemoveVips, BACKUP])]);
    run(&mut instance, epoch, &[(8_000_000, Hear(1, 0, 0, BELOW), &[])]);
    run(&mut instance, epoch, &[(8_100_000, TIMER, &takes_over(0))]);
    assert_eq!(
        instance.reason(),
        Reason::Silence { family: Family::Inet6, waited: pace(1, 0), dead_ratio: 3 }
    );
}

#[test]
fn a_family_in_which_we_cannot_send_has_no_timer() {
    let epoch = Instant::now();
    let mut instance = new(dual(config(0)));
    run(
        &mut instance,
        epoch,
        &[
            (0, START, &[BACKUP]),
            (2_000_000, Hear(1, 0, 0, BELOW), &[]),
            (2_100_000, Hear6(1, 0, 1), &[]),
        ],
    );
    assert_eq!(instance.deadline(), Some(epoch + Duration::from_secs(5)));
    // Its address comes: from the next input on it is waited for, as long as if it began then.
    instance.set_sources(Some(US.into()), Some("fe80::5".parse().unwrap()));
    run(
        &mut instance,
        epoch,
        &[
            (4_000_000, Hear(1, 0, 0, BELOW), &[]),
            (6_000_000, Hear(1, 0, 0, BELOW), &[]),
            (6_999_999, TIMER, &[]),
            (7_000_000, TIMER, &takes_over(0)),
        ],
    );
}

#[test]
fn fault_is_left_for_backup() {
    timeline(
        config(100),
        &[
            (0, In(Input::Fault { own: true }), &[FAULT]),
            (500_000, Hear(1, 200, 0, BELOW), &[]),
            (1_000_000, In(Input::Recover), &[BACKUP]),
            (4_390_625, TIMER, &takes_over(100)),
            // An own fault is said twice, for one of them may be lost with the link.
            (5_000_000, In(Input::Fault { own: true }), &[BOW_OUT, BOW_OUT, RemoveVips, FAULT]),
            (6_000_000, In(Input::Recover), &[BACKUP]),
            (9_390_625, TIMER, &takes_over(100)),
            (9_400_000, In(Input::Fault { own: false }), &[BOW_OUT, RemoveVips, FAULT]),
            (9_500_000, STOP, &[]),
        ],
    );
}

#[test]
fn a_vip_taken_away_is_retaken_after_an_interval_if_nobody_else_did() {
    let steps: [(u64, Step, &[Action]); 3] = [
        (0, START, &[BACKUP]),
        (3_390_625, TIMER, &takes_over(100)),
        (4_000_000, In(Input::VipLost), &[BOW_OUT, RemoveVips, BACKUP]),
    ];
    let epoch = Instant::now();
    let mut alone = new(config(100));
    run(&mut alone, epoch, &steps);
    run(&mut alone, epoch, &[(5_390_624, TIMER, &[]), (5_390_625, TIMER, &takes_over(100))]);
    assert_eq!(alone.reason(), Reason::Retaken);
    let mut beside = new(config(100));
    run(&mut beside, epoch, &steps);
    run(&mut beside, epoch, &[(4_001_000, Hear(1, 200, 0, ABOVE), &[]), (5_390_625, TIMER, &[])]);
}

#[test]
fn a_member_of_a_group_asks_before_it_takes_over() {
    let mut instance = timeline(
        Config { grouped: true, ..eager(100) },
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &[Willing]),
            (6_781_250, TIMER, &[Willing]), // its timer began anew
            (7_000_000, Hear(1, 0, 0, BELOW), &[]),
            (8_000_000, Hear(1, 200, 0, BELOW), &[Willing]), // preemption asks as well
        ],
    );
    assert!(matches!(instance.state(), State::Backup { willing: true, .. }));
    let epoch = Instant::now() + Duration::from_secs(60);
    run(&mut instance, epoch, &[(0, In(Input::Promote), &takes_over(100))]);
    let (theirs, ours) = (pace(1, 200), pace(1, 100));
    assert_eq!(instance.reason(), Reason::Slower { from: BELOW.into(), theirs, ours });
    run(&mut instance, epoch, &[(1, In(Input::Demote), &[RemoveVips, BACKUP])]);
    assert_eq!(instance.reason(), Reason::Demoted);
}

#[test]
fn a_promotion_at_the_start_is_obeyed() {
    let instance = timeline(config(100), &[(0, In(Input::Promote), &takes_over(100))]);
    assert_eq!(instance.reason(), Reason::Promoted);
}

#[test]
fn a_reload_moves_the_timers_and_keeps_the_master() {
    let epoch = Instant::now();
    let mut instance = new(config(100));
    run(&mut instance, epoch, &[(0, START, &[BACKUP])]);
    // 3 × 2 s + 200 × 1000000 / 256 µs since the start.
    let slower = Config { advbase: 2, ..config(200) };
    instance.reconfigure(epoch + Duration::from_secs(1), slower);
    let says = Action::Send(advert(2, 200, 0));
    run(
        &mut instance,
        epoch,
        &[(6_781_249, TIMER, &[]), (6_781_250, TIMER, &[says, AddVips, Announce, MASTER])],
    );
    instance.reconfigure(epoch + Duration::from_secs(7), config(254));
    // 1 s + 254 × 1000000 / 256 µs later at the latest.
    run(&mut instance, epoch, &[(8_992_186, TIMER, &[]), (8_992_187, TIMER, &[send(254)])]);
    // Another passphrase, another digest.
    let other = Config { key: [1; 20], ..config(254) };
    instance.reconfigure(epoch + Duration::from_secs(9), other);
    let refused = report(BELOW, WireError::Digest);
    let mut old = Vec::new();
    advert(1, 0, 0).emit(&Digest::new(&config(254)), &mut old);
    let packet = IpPacket {
        source: BELOW.into(),
        destination: [224, 0, 0, 18].into(),
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload: &old,
    };
    let mut actions = Vec::new();
    instance.handle(epoch + Duration::from_secs(9), Input::Packet(packet), &mut actions);
    assert_eq!(actions, [refused]);
}
