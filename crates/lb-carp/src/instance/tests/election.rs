//! Who is better.

use super::*;

#[test]
fn a_slower_master_is_left_alone_without_preempt() {
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_000_000, Hear(1, 200, 0, BELOW), &[]),
            (6_390_624, TIMER, &[]),
            (6_390_625, TIMER, &takes_over(100)),
        ],
    );
    assert_eq!(instance.counters().advert_rcvd, 1);
}

#[test]
fn a_timer_that_is_late_by_an_interval_listens_once_more() {
    timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_000_000, Hear(1, 0, 0, BELOW), &[]),
            // Due at 6.390625 s, and an interval is 1.390625 s. The host stood still, and lost what
            // was sent meanwhile.
            (7_781_250, TIMER, &[]),
            (8_000_000, Hear(1, 0, 0, BELOW), &[]), // the master is well
            (11_390_625, TIMER, &takes_over(100)),  // and now it is not
        ],
    );
    timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_000_000, Hear(1, 0, 0, BELOW), &[]),
            (60_000_000, TIMER, &[]),
            (63_390_624, TIMER, &[]),
            (120_000_000, TIMER, &takes_over(100)), // as late again: it has listened
        ],
    );
}

#[test]
fn a_slower_master_is_preempted_at_once() {
    let instance = timeline(
        eager(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 100, 0, ABOVE), &[]), // as fast, not slower
            (2_000_000, Hear(1, 101, 0, ABOVE), &takes_over(100)),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "192.0.2.9 advertises every 1.395 s (advbase 1, advskew 101), slower than our 1.391 s \
         (advbase 1, advskew 100)"
    );
}

#[test]
fn it_is_the_interval_that_counts() {
    timeline(
        eager(200),
        &[(0, START, &[BACKUP]), (1_000_000, Hear(2, 0, 0, BELOW), &takes_over(200))],
    );
}

#[test]
fn a_demoted_node_does_not_preempt_a_healthy_one() {
    timeline(
        eager(0),
        &[
            (0, START, &[BACKUP]),
            (1, In(Input::Tracked(-1)), &[]),
            (1_000_000, Hear(1, 254, 0, BELOW), &[]),
            // One that is as unfit, and slower.
            (2_000_000, Hear(1, 254, 1, BELOW), &[demoted(240, 1), AddVips, Announce, MASTER]),
        ],
    );
}

#[test]
fn a_master_demoted_more_is_replaced_without_preempt() {
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1, In(Input::Tracked(-3)), &[]),
            (1_000_000, Hear(1, 0, 3, BELOW), &[]),
            (2_000_000, Hear(1, 0, 4, BELOW), &[demoted(240, 3), AddVips, Announce, MASTER]),
        ],
    );
    assert_eq!(instance.reason().to_string(), "the demotion 4 of 192.0.2.1 is above our 3");
}

#[test]
fn a_master_that_we_could_not_wait_for_is_replaced_at_once() {
    // We wait 3.390625 s: 3 s + 99/256 is in time, 3 s + 101/256 is not.
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(3, 100, 0, BELOW), &[]),
            (2_000_000, Hear(3, 101, 0, BELOW), &takes_over(100)),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "192.0.2.1 advertises every 3.395 s (advbase 3, advskew 101), where we wait no longer \
         than 3.391 s"
    );
}

#[test]
fn below_a_second_only_a_bow_out_is_too_slow() {
    // 3 × 128/256 s = 1.5 s.
    let says = Action::Send(advert(0, 128, 0));
    timeline(
        Config { advbase: 0, ..config(128) },
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(10, 0, 0, BELOW), &[]),
            (2_499_999, TIMER, &[]),
            (2_499_999, Hear(255, 255, 0, BELOW), &[says, AddVips, Announce, MASTER]),
            (2_999_999, TIMER, &[says]),
        ],
    );
}

#[test]
fn a_bow_out_is_followed_at_once() {
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 0, 0, BELOW), &[]),
            (1_500_000, Hear(255, 255, 0, BELOW), &takes_over(100)),
        ],
    );
    assert_eq!(instance.reason().to_string(), "192.0.2.1 bowed out (255/255)");
    assert_eq!(instance.counters().bow_out_rcvd, 1);
}

#[test]
fn a_master_answers_a_bow_out_and_stays() {
    timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (3_400_000, In(Input::Tracked(-9)), &[demoted(240, 9)]),
            // Even one that says it is healthier: it is about to be gone.
            (3_500_000, Hear(255, 255, 0, BELOW), &[demoted(240, 9)]),
            (3_500_001, Hear(255, 255, 0, BELOW), &[]),
        ],
    );
}

#[test]
fn a_master_yields_to_a_faster_one() {
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, Hear(1, 0, 0, ABOVE), &[RemoveVips, BACKUP]),
            (7_390_624, TIMER, &[]),
            (7_390_625, TIMER, &takes_over(100)),
        ],
    );
    let counters = instance.counters();
    assert_eq!((counters.become_master, counters.release_master), (2, 1));
}

#[test]
fn one_that_hands_over_leaves_its_addresses_to_a_faster_one() {
    let instance = timeline(
        polite(config(100)),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, Hear(1, 0, 0, ABOVE), &[ReleaseVips, BACKUP]),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "192.0.2.9 advertises every 1.000 s (advbase 1, advskew 0), faster than our 1.391 s \
         (advbase 1, advskew 100)"
    );
    let sender = Sender { address: ABOVE.into(), pace: pace(1, 0), demotion: 0 };
    assert_eq!(instance.master(), Some(sender));
}

#[test]
fn demotion_decides_before_the_interval() {
    let faster_but_unfit = Action::Weaker { from: BELOW.into(), advert: advert(1, 0, 2) };
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1, In(Input::Tracked(-1)), &[]),
            (3_937_500, TIMER, &[demoted(240, 1), AddVips, Announce, MASTER]),
            (4_000_000, Hear(1, 0, 2, BELOW), &[faster_but_unfit, demoted(240, 1), AnnounceAgain]),
            (4_100_000, Hear(9, 0, 0, ABOVE), &[RemoveVips, BACKUP]),
        ],
    );
    assert_eq!(instance.reason().to_string(), "the demotion 0 of 192.0.2.9 is below our 1");
}

#[test]
fn a_worse_master_is_answered_once_in_an_interval() {
    timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (3_500_000, Hear(1, 200, 0, BELOW), &[weaker(BELOW, 1, 200), send(100), AnnounceAgain]),
            (3_600_000, Hear(1, 200, 0, BELOW), &[weaker(BELOW, 1, 200), AnnounceAgain]),
            (4_781_250, TIMER, &[send(100)]), // the grid stays
            (4_800_000, Hear(1, 200, 0, BELOW), &[weaker(BELOW, 1, 200), send(100), AnnounceAgain]),
        ],
    );
}

#[test]
fn between_equals_the_address_decides_from_its_last_octet() {
    // As ucarp was seen to: to 10.66.0.1, 11.66.0.0 won and 9.66.0.2 lost.
    let us = [10, 66, 0, 1];
    let (wins, loses) = ([11, 66, 0, 0], [9, 66, 0, 2]);
    let mut instance = new(config(100));
    instance.set_sources(Some(us.into()), None);
    run(
        &mut instance,
        Instant::now(),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, Hear(1, 100, 0, loses), &[weaker(loses, 1, 100), send(100), AnnounceAgain]),
            (4_100_000, Hear(1, 100, 0, wins), &[RemoveVips, BACKUP]),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "11.66.0.0 advertises every 1.391 s (advbase 1, advskew 100) as we do, and is below our \
         10.66.0.1 (compared from the last octet)"
    );
}

#[test]
fn between_equals_that_are_both_demoted_the_higher_address_wins() {
    let lower = Action::Weaker { from: BELOW.into(), advert: advert(1, 240, 1) };
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1, In(Input::Tracked(-1)), &[]),
            (3_937_500, TIMER, &[demoted(240, 1), AddVips, Announce, MASTER]),
            (4_000_000, Hear(1, 240, 1, BELOW), &[lower, demoted(240, 1), AnnounceAgain]),
            (4_100_000, Hear(1, 240, 1, ABOVE), &[RemoveVips, BACKUP]),
        ],
    );
    assert_eq!(
        instance.reason().to_string(),
        "192.0.2.9 advertises every 1.938 s (advbase 1, advskew 240) and is demoted as we are, and \
         is above our 192.0.2.5"
    );
}

#[test]
fn without_an_address_an_equal_wins() {
    let mut instance = Instance::new(config(100), 1);
    run(
        &mut instance,
        Instant::now(),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, Hear(1, 100, 0, ABOVE), &[RemoveVips, BACKUP]),
        ],
    );
}

#[test]
fn with_both_families_a_tie_is_decided_in_the_first() {
    let mut instance = Instance::new(dual(config(100)), 1);
    instance.set_sources(Some(US.into()), Some("fe80::5".parse().unwrap()));
    let from = "fe80::1".parse().unwrap();
    let weaker = Action::Weaker { from, advert: advert(1, 100, 0) };
    run(
        &mut instance,
        Instant::now(),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, Hear6(1, 100, 1), &[weaker, send(100), AnnounceAgain]),
            (4_100_000, Hear6(1, 99, 1), &[RemoveVips, BACKUP]), // no tie
        ],
    );
}

#[test]
fn an_address_of_ipv6_decides_where_there_is_no_other() {
    let addresses = vec!["2001:db8::5".parse().unwrap()];
    let mut instance = Instance::new(Config { addresses, ..config(100) }, 1);
    instance.set_sources(None, Some("fe80::5".parse().unwrap()));
    let from = "fe80::9".parse().unwrap();
    let weaker = Action::Weaker { from, advert: advert(1, 100, 0) };
    run(
        &mut instance,
        Instant::now(),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, Hear6(1, 100, 9), &[weaker, send(100), AnnounceAgain]),
            (4_100_000, Hear6(1, 100, 1), &[RemoveVips, BACKUP]),
        ],
    );
}

#[test]
fn a_demotion_is_said_at_once_in_the_words_of_all() {
    timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (3_390_625, TIMER, &takes_over(100)),
            (4_000_000, In(Input::Tracked(-2)), &[demoted(240, 2)]),
            (4_100_000, In(Input::Tracked(-2)), &[]), // no news
            // 1 s + 240/256 s after the last one.
            (5_937_499, TIMER, &[]),
            (5_937_500, TIMER, &[demoted(240, 2)]),
            (6_000_000, In(Input::Tracked(-3)), &[demoted(240, 3)]),
            (6_100_000, In(Input::Tracked(0)), &[send(100)]),
            (7_490_625, TIMER, &[send(100)]),
        ],
    );
}

#[test]
fn a_demotion_stays_within_an_octet_and_above_the_configured_skew() {
    let standing = |advskew, total| {
        let mut instance = new(config(advskew));
        instance.handle(Instant::now(), Input::Tracked(total), &mut Vec::new());
        (instance.pace().advskew, instance.demotion())
    };
    assert_eq!(standing(100, 0), (100, 0));
    assert_eq!(standing(100, 20), (100, 0)); // better than well there is not
    assert_eq!(standing(100, -1), (240, 1));
    assert_eq!(standing(250, -1), (250, 1));
    assert_eq!(standing(100, -256), (240, 255));
    assert_eq!(standing(100, i32::MIN), (240, 255));
    // 255/255 would be a bow-out.
    assert_eq!(standing(255, 0), (254, 0));
}

#[test]
fn a_demoted_node_waits_longer() {
    timeline(
        config(0),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, In(Input::Tracked(-1)), &[]),
            (3_937_499, TIMER, &[]),
            (3_937_499, In(Input::Tracked(0)), &[]), // and no longer, once it is well
            (3_937_499, TIMER, &takes_over(0)),
        ],
    );
}

#[test]
fn a_late_word_of_a_slower_one_does_not_undo_what_has_been_decided() {
    // A master of advskew 0 has put the one of advskew 200 in its place: what that one said
    // before is still under way.
    timeline(
        eager(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 0, 0, BELOW), &[]),
            (1_001_000, Hear(1, 200, 0, ABOVE), &[]),
            (1_002_000, Hear(255, 255, 255, ABOVE), &[]),
            // It restarts no timer either: 1.0 s and 3.390625 s of silence.
            (4_390_624, TIMER, &[]),
            (4_390_625, TIMER, &takes_over(100)),
        ],
    );
}

#[test]
fn a_master_that_becomes_slower_is_preempted_though_it_was_better() {
    timeline(
        eager(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 0, 0, BELOW), &[]),
            (2_000_000, Hear(1, 200, 0, BELOW), &takes_over(100)),
        ],
    );
}

#[test]
fn a_late_word_does_not_make_it_forget_who_decided() {
    // As above without preempt: the slower one may be MASTER, and yet there is a better one. Then
    // comes one in maintenance that has not heard of either.
    let instance = timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 0, 0, BELOW), &[]),
            (1_001_000, Hear(1, 200, 0, ABOVE), &[]),
            (1_002_000, Hear(1, 254, 255, [192, 0, 2, 7]), &[]),
            // It is a master for all that, and 3.390625 s of silence begin with it.
            (4_391_624, TIMER, &[]),
            (4_391_625, TIMER, &takes_over(100)),
        ],
    );
    assert_eq!(instance.counters().advert_rcvd, 3);
}

#[test]
fn a_better_master_that_is_overdue_is_forgotten() {
    timeline(
        config(100),
        &[
            (0, START, &[BACKUP]),
            (1_000_000, Hear(1, 0, 0, BELOW), &[]),
            (2_000_000, Hear(1, 200, 0, ABOVE), &[]),
            (3_000_000, Hear(1, 240, 1, ABOVE), &takes_over(100)),
        ],
    );
}
