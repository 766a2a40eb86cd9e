//! Whole nodes in simulated time.
//!
//! Times by RFC 9568 §6.1 at one second: priority 200 waits 3000 + 56 × 1000 / 256 = 3218.75 ms,
//! priority 100 3000 + 156 × 1000 / 256 = 3609.375 ms, and 609.375 ms after a priority of 0.

mod balancing;
mod carp;
mod conflicts;
mod followed;
mod guard;
mod handover;
mod held;
mod lines;
mod network;
mod vmac;
mod why;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_config::model::{Peers, Script, UnicastPeer, VrrpScript};
use lb_control::State;
use lb_control::status::Maintenance;

use super::{Action, Advert, Input, InstanceId, Node, Socket, SocketFamily, Vip};
use crate::plan::Plan;
use network::{Network, Random, group, instance, plan, tracked, vip};

const VIP: [u8; 4] = [10, 0, 1, 100];
const VIP_2: [u8; 4] = [10, 0, 2, 100];

/// A network of a host with priority 200 and one with 100, 10 seconds on.
fn pair() -> Network {
    let mut net = Network::new();
    for priority in [200, 100] {
        net.host(1, plan([instance("VI_1", "eth1", 1, priority)]));
    }
    net.run_until(10_000);
    net
}

#[track_caller]
fn assert_story(net: &mut Network, expected: &[(u64, usize, &str)]) {
    let story = net.story();
    let story: Vec<_> = story.iter().map(|(at, host, line)| (*at, *host, line.as_str())).collect();
    assert_eq!(story, expected);
}

#[test]
fn the_higher_priority_is_elected_after_its_down_interval() {
    let mut net = pair();
    assert_story(
        &mut net,
        &[
            (0, 0, "(VI_1) Entering BACKUP STATE"),
            (0, 1, "(VI_1) Entering BACKUP STATE"),
            (3_218, 0, "(VI_1) Entering MASTER STATE"),
        ],
    );
    assert_eq!(net.holders(VIP), [0]);
    // Echoes follow after 1, 3, 10 and 30 ms, and the second block garp_master_delay later.
    let announced = [(3_218, 5), (3_219, 1), (3_221, 1), (3_224, 1), (3_248, 1), (8_218, 5)];
    assert_eq!(net.hosts[0].announced, announced);
    let times: Vec<u64> = net.hosts[0].sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [3_218, 4_218, 5_218, 6_218, 7_218, 8_218, 9_218]);
}

#[test]
fn a_killed_master_is_replaced_and_comes_back() {
    let mut net = pair();
    net.story();
    net.kill(0);
    net.run_until(20_000);
    // Its last advertisement of 9218.75 ms arrived 1 ms later: 9219.75 + 3609.375.
    assert_story(&mut net, &[(12_829, 1, "(VI_1) Entering MASTER STATE")]);
    let back = net.host(1, plan([instance("VI_1", "eth1", 1, 200)]));
    net.run_until(30_000);
    assert_eq!(net.holders(VIP), [back]);
    let preempted = (23_219, 1, "(VI_1) Entering BACKUP STATE".to_owned());
    assert!(net.story().contains(&preempted));
}

#[test]
fn nopreempt_leaves_a_lower_priority_its_place() {
    let mut net = Network::new();
    net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
    net.run_until(5_000);
    let mut config = instance("VI_1", "eth1", 1, 200);
    config.nopreempt = true;
    net.host(1, plan([config]));
    net.run_until(60_000);
    assert_eq!(net.holders(VIP), [0]);
}

#[test]
fn unicast_peers_elect_too() {
    let mut net = Network::new();
    for (priority, peer) in [(200, [10, 0, 1, 2]), (100, [10, 0, 1, 1])] {
        let mut config = instance("VI_1", "eth1", 1, priority);
        let peers = vec![UnicastPeer { address: IpAddr::from(peer), ttl: (0, 255) }];
        config.router.peers = Peers::Unicast { peers, check_source: true, ttl: None };
        net.host(1, plan([config]));
    }
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    net.kill(0);
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
}

fn gateway(priority: u8) -> Plan {
    let mut plan =
        plan([instance("LAN", "eth1", 1, priority), instance("WAN", "eth2", 2, priority)]);
    plan.groups = vec![group("GW", &["LAN", "WAN"])];
    plan
}

#[test]
fn a_sync_group_moves_as_one() {
    let mut net = Network::new();
    net.host(2, gateway(200));
    net.host(2, gateway(100));
    net.run_until(10_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    net.story();

    // One cable goes: both VIPs move, by priority 0, after the skew of the other host's group.
    net.carrier(0, 2, false);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![], vec![]));
    assert_story(
        &mut net,
        &[
            (10_000, 0, "(WAN) Entering FAULT STATE"),
            (10_000, 0, "(LAN) Entering FAULT STATE"),
            (10_000, 0, "VRRP_Group(GW) Syncing instances to FAULT state"),
        ],
    );
    net.run_until(20_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![1], vec![1]));

    // It comes back: both return together.
    net.carrier(0, 2, true);
    net.run_until(30_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    assert_eq!(net.hosts[1].node.masters().len(), 0);
}

#[test]
fn a_member_that_yields_takes_its_group_along() {
    let mut net = Network::new();
    net.host(2, gateway(100));
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    // A better master on the LAN alone.
    net.host(2, plan([instance("LAN", "eth1", 1, 200)]));
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
    assert!(net.holders(VIP_2).is_empty());
    // No priority 0 was sent for the others.
    assert!(net.hosts[0].sent.iter().all(|(_, priority)| *priority == 100));
}

#[test]
fn a_member_that_a_reload_adds_follows_its_group() {
    let mut net = Network::new();
    let mut one = gateway(200);
    one.instances.truncate(1);
    one.groups = vec![group("GW", &["LAN"])];
    net.host(2, one);
    net.run_until(10_000);
    assert!(net.holders(VIP_2).is_empty());
    net.story();
    net.tell(0, Input::Reload(gateway(200)));
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    assert_story(&mut net, &[(10_000, 0, "(WAN) Entering MASTER STATE")]);
}

#[test]
fn a_faulty_member_that_a_reload_adds_takes_its_group_along_before_it_begins() {
    let mut net = Network::new();
    let mut one = gateway(200);
    one.instances.truncate(1);
    one.groups = vec![group("GW", &["LAN"])];
    net.host(1, one);
    net.run_until(10_000);
    net.story();
    net.tell(0, Input::Reload(gateway(200)));
    assert_story(
        &mut net,
        &[
            (10_000, 0, "(LAN) Entering FAULT STATE"),
            (10_000, 0, "(WAN) Entering FAULT STATE"),
            (10_000, 0, "VRRP_Group(GW) Syncing instances to FAULT state"),
        ],
    );
}

/// As under keepalived.
#[test]
fn a_group_that_a_reload_makes_is_told_of_its_fault_and_of_nothing_else() {
    let apart = || Plan { groups: Vec::new(), ..gateway(200) };
    let mut net = Network::new();
    net.host(2, apart());
    net.run_until(10_000);
    net.story();
    net.tell(0, Input::Reload(gateway(200)));
    assert_story(&mut net, &[]);
    net.tell(0, Input::Reload(apart()));
    net.carrier(0, 1, false);
    net.carrier(0, 2, false);
    net.story();
    net.tell(0, Input::Reload(gateway(200)));
    assert_story(&mut net, &[(10_000, 0, "VRRP_Group(GW) Syncing instances to FAULT state")]);
    net.tell(0, Input::Reload(gateway(200)));
    assert_story(&mut net, &[]);
}

#[test]
fn groups_never_split_and_agree_after_the_network_heals() {
    for seed in 1..=100 {
        let mut random = Random::new(seed);
        let mut net = Network::new().lossy(4, seed);
        for priority in [100, 200, 150] {
            net.host(2, gateway(priority));
        }
        for step in 1..=20 {
            let (host, link) = (random.below(3) as usize, random.below(2) as u32 + 1);
            let name = if random.below(2) == 0 { "LAN" } else { "WAN" };
            match random.below(6) {
                0 => net.cut(host, link, random.below(2) == 0),
                1 => net.carrier(host, link, random.below(2) == 0),
                2 => net.tell(host, Input::Handover { name }),
                3 => net.tell(host, Input::Maintenance { name: Some(name), state: by_root() }),
                4 => net.tell(host, Input::Maintenance { name: None, state: None }),
                _ => net.tell(host, Input::Reload(gateway([100, 200, 150][host]))),
            }
            net.run_until(step * 2_000);
        }
        net.heal();
        for (host, link) in [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)] {
            net.carrier(host, link, true);
        }
        for host in 0..3 {
            net.tell(host, Input::Maintenance { name: None, state: None });
        }
        // Out of FAULT within one interval of the slowest, in order within one more.
        net.run_until(40_000 + 2 * 3_620);
        assert_eq!(net.holders(VIP), [1], "seed {seed}: {:?}", net.log);
        assert_eq!(net.holders(VIP_2), [1], "seed {seed}: {:?}", net.log);
    }
}

fn by_root() -> Option<Maintenance> {
    Some(Maintenance { by: "root".to_owned(), since: Timestamp::UNIX_EPOCH, persistent: false })
}

fn checked(priority: u8, weight: i16) -> Plan {
    let mut config = instance("VI_1", "eth1", 1, priority);
    config.router.track_scripts = vec![tracked("chk", weight)];
    let mut plan = plan([config]);
    plan.scripts = vec![VrrpScript {
        name: "chk".to_owned(),
        script: Script::new(["/bin/true"]),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 2,
        init_fail: false,
    }];
    plan
}

#[test]
fn a_weighted_script_changes_the_election() {
    let mut net = Network::new();
    net.host(1, checked(110, -20));
    net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
    net.tell(0, Input::Script { name: "chk", success: true });
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    net.story();

    net.tell(0, Input::Script { name: "chk", success: false });
    assert_story(&mut net, &[]);
    net.tell(0, Input::Script { name: "chk", success: false });
    assert_story(&mut net, &[(10_000, 0, "(VI_1) Changing effective priority from 110 to 90")]);
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
    let status = net.hosts[0].node.status(Instant::now(), Timestamp::UNIX_EPOCH);
    assert_eq!((status.vrrp[0].priority, status.vrrp[0].effective_priority), (110, 90));
    assert_eq!(status.vrrp[0].master.as_ref().map(|master| master.priority), Some(100));
}

#[test]
fn a_script_without_weight_decides_about_fault() {
    let mut net = Network::new();
    net.host(1, checked(200, 0));
    net.run_until(10_000);
    // Nothing begins before its first result.
    assert_story(&mut net, &[]);
    net.tell(0, Input::Script { name: "chk", success: false });
    assert_story(&mut net, &[(10_000, 0, "(VI_1) Entering FAULT STATE")]);
    let status = net.hosts[0].node.status(Instant::now(), Timestamp::UNIX_EPOCH);
    assert_eq!(status.vrrp[0].faults, ["script chk failed"]);
    net.tell(0, Input::Script { name: "chk", success: true });
    net.tell(0, Input::Script { name: "chk", success: true });
    net.run_until(20_000);
    assert_story(
        &mut net,
        &[(10_000, 0, "(VI_1) Entering BACKUP STATE"), (13_218, 0, "(VI_1) Entering MASTER STATE")],
    );
}

/// As under keepalived.
#[test]
fn of_a_member_that_the_script_of_another_keeps_from_starting_nothing_is_told() {
    let mut plan = checked(200, 0);
    plan.instances.extend(self::plan([instance("VI_2", "eth2", 2, 200)]).instances);
    plan.groups = vec![group("GW", &["VI_1", "VI_2"])];
    let mut net = Network::new();
    net.host(2, plan.clone());
    net.run_until(1_000);
    assert_story(&mut net, &[]);
    net.tell(0, Input::Script { name: "chk", success: false });
    assert_story(
        &mut net,
        &[
            (1_000, 0, "(VI_1) Entering FAULT STATE"),
            (1_000, 0, "VRRP_Group(GW) Syncing instances to FAULT state"),
        ],
    );
    let status = net.hosts[0].node.status(Instant::now(), Timestamp::UNIX_EPOCH);
    assert_eq!(status.vrrp[1].faults, ["VI_1 of the same sync group cannot"]);
    net.tell(0, Input::Reload(plan));
    assert_story(&mut net, &[]);
    for _ in 0..2 {
        net.tell(0, Input::Script { name: "chk", success: true });
    }
    assert_story(
        &mut net,
        &[
            (1_000, 0, "(VI_1) Entering BACKUP STATE"),
            (1_000, 0, "(VI_2) Entering BACKUP STATE"),
            (1_000, 0, "VRRP_Group(GW) Syncing instances to BACKUP state"),
        ],
    );
    // From now on it moves with the group.
    for _ in 0..2 {
        net.tell(0, Input::Script { name: "chk", success: false });
    }
    assert_story(
        &mut net,
        &[
            (1_000, 0, "(VI_1) Entering FAULT STATE"),
            (1_000, 0, "(VI_2) Entering FAULT STATE"),
            (1_000, 0, "VRRP_Group(GW) Syncing instances to FAULT state"),
        ],
    );
}

#[test]
fn a_script_that_counts_as_failed_at_first_is_no_fault_before_it_fails() {
    let presumed = || {
        let mut plan = checked(200, 0);
        plan.scripts[0].init_fail = true;
        plan
    };
    let mut net = Network::new();
    net.host(1, presumed());
    net.run_until(1_000);
    net.tell(0, Input::Script { name: "chk", success: true });
    net.run_until(2_000);
    assert_story(&mut net, &[]);
    net.tell(0, Input::Script { name: "chk", success: true });
    assert_story(&mut net, &[(2_000, 0, "(VI_1) Entering BACKUP STATE")]);

    let mut net = Network::new();
    net.host(1, presumed());
    net.run_until(1_000);
    net.tell(0, Input::Script { name: "chk", success: false });
    assert_story(&mut net, &[(1_000, 0, "(VI_1) Entering FAULT STATE")]);

    // A master that tracks it from a reload on is none before it fails either.
    let mut net = pair();
    net.story();
    net.tell(0, Input::Reload(presumed()));
    net.tell(0, Input::Script { name: "chk", success: true });
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [0]);
    assert_story(&mut net, &[]);
}

#[test]
fn a_reload_changes_the_difference_only() {
    let mut net = pair();
    net.story();
    let mut config = instance("RENAMED", "eth1", 1, 150);
    config.router.vips.push(vip([10, 0, 1, 101]));
    let other = instance("VI_2", "eth1", 2, 100);
    net.tell(0, Input::Reload(plan([config.clone(), other])));
    // The master goes on, under its new name and with its new VIP.
    assert_eq!(net.holders(VIP), [0]);
    assert_eq!(net.holders([10, 0, 1, 101]), [0]);
    assert_story(
        &mut net,
        &[
            (10_000, 0, "(RENAMED) Changing effective priority from 200 to 150"),
            (10_000, 0, "(VI_2) Entering BACKUP STATE"),
        ],
    );
    assert_eq!(net.hosts[0].announced.last(), Some(&(10_000, 5)));

    config.router.vips.remove(0);
    net.tell(0, Input::Reload(plan([config])));
    assert!(net.holders(VIP).is_empty());
    assert_eq!(net.holders([10, 0, 1, 101]), [0]);
    net.run_until(20_000);
    net.story();

    // Removed, it says so, and its successor waits for the skew only; after 25 ms more it lets go.
    net.tell(0, Input::Reload(plan([])));
    assert_eq!(net.hosts[0].sent.last(), Some(&(20_000, 0)));
    net.run_until(30_000);
    let story = net.story();
    assert!(story.contains(&(20_610, 1, "(VI_1) Entering MASTER STATE".to_owned())), "{story:?}");
    assert!(story.contains(&(20_636, 0, "(RENAMED) Deleted".to_owned())), "{story:?}");
    assert_eq!(net.hosts[0].node.deadline(), None);
}

#[test]
fn an_interface_that_is_missing_is_a_fault_until_it_is_there() {
    let mut net = Network::new();
    net.host(0, plan([instance("VI_1", "eth1", 1, 200)]));
    assert_story(&mut net, &[(0, 0, "(VI_1) Entering FAULT STATE")]);
    let faults = |net: &Network| {
        let status = net.hosts[0].node.status(Instant::now(), Timestamp::UNIX_EPOCH);
        (status.vrrp[0].state, status.vrrp[0].faults.clone())
    };
    let missing = "interface eth1 does not exist".to_owned();
    assert_eq!(faults(&net), (State::Fault, vec![missing]));

    net.tell(0, Input::Link { link: 7, name: "eth1", up: false });
    let no_source =
        "no IPv4 address on eth1: add one or set mcast_src_ip, different on each router";
    let no_source = no_source.to_owned();
    let down = "interface eth1 is down".to_owned();
    assert_eq!(faults(&net), (State::Fault, vec![down, no_source.clone()]));
    net.tell(0, Input::Link { link: 7, name: "eth1", up: true });
    assert_eq!(faults(&net), (State::Fault, vec![no_source]));
    net.tell(0, Input::Address { link: 7, address: [10, 0, 1, 1].into(), present: true });
    assert_eq!(faults(&net), (State::Backup, vec![]));
    net.run_until(5_000);
    assert_eq!(net.holders(VIP), [0]);

    net.tell(0, Input::LinkGone { link: 7 });
    assert_eq!(faults(&net).0, State::Fault);
    assert!(net.hosts[0].node.sockets().is_empty());
}

#[test]
fn a_vip_that_somebody_removes_is_retaken_after_the_skew() {
    let mut net = Network::new();
    net.host(1, plan([instance("VI_1", "eth1", 1, 200)]));
    net.run_until(10_000);
    net.story();
    net.tell(0, Input::Address { link: 1, address: VIP.into(), present: false });
    assert!(net.holders(VIP).is_empty());
    net.run_until(11_000);
    // Skew of 200: 218.75 ms.
    assert_story(
        &mut net,
        &[(10_000, 0, "(VI_1) Entering BACKUP STATE"), (10_218, 0, "(VI_1) Entering MASTER STATE")],
    );
}

#[test]
fn a_lower_priority_that_believed_it_were_master_is_announced_over() {
    let mut net = pair();
    net.cut(1, 1, true);
    // Host 1 advertises at 829 ms of each second, host 0 at 218: mended so, host 0 hears first.
    net.run_until(20_500);
    assert_eq!(net.holders(VIP), [0, 1]);
    net.cut(1, 1, false);
    let before = net.hosts[0].announced.len();
    net.run_until(30_000);
    assert_eq!(net.holders(VIP), [0]);
    let announced = &net.hosts[0].announced[before..];
    let [(at, 5), (again, 5)] = *announced else { panic!("{announced:?}") };
    assert_eq!(again - at, 5_000);
}

#[test]
fn a_flood_of_lower_priorities_is_told_a_hundred_times_a_second() {
    let mut limit = super::slot::Limit::default();
    let start = Instant::now();
    let told =
        (0..100_000_u64).filter(|n| limit.pass(start + Duration::from_micros(n * 10))).count();
    assert_eq!(told, 100);
}

#[test]
fn announcements_are_refreshed() {
    let mut net = Network::new();
    let mut config = instance("VI_1", "eth1", 1, 200);
    config.router.garp.refresh = Duration::from_secs(10);
    config.router.garp.refresh_repeat = 2;
    net.host(1, plan([config]));
    net.run_until(40_000);
    // As keepalived: from becoming MASTER on, whatever the delay of the second block is.
    let later = net.hosts[0].announced.iter().filter(|(at, _)| *at > 4_000);
    let later: Vec<_> = later.copied().collect();
    assert_eq!(later, [(8_218, 5), (13_218, 2), (23_218, 2), (33_218, 2)]);
}

#[test]
fn a_vip_on_another_link_depends_on_it() {
    let mut net = Network::new();
    let mut config = instance("VI_1", "eth1", 1, 200);
    config.router.excluded_vips = vec![vip([10, 0, 2, 100])];
    config.router.excluded_vips[0].interface = Some("eth2".to_owned());
    net.host(2, plan([config]));
    net.run_until(5_000);
    assert!(net.hosts[0].vips.contains(&(2, VIP_2.into())));
    net.carrier(0, 2, false);
    assert!(net.hosts[0].vips.is_empty());
    net.carrier(0, 2, true);
    net.run_until(10_000);
    assert_eq!(net.holders(VIP_2), [0]);
}

#[test]
fn an_untracked_vip_returns_with_its_link() {
    let mut net = Network::new();
    let mut config = instance("VI_1", "eth1", 1, 200);
    config.router.excluded_vips = vec![vip([10, 0, 2, 100])];
    config.router.excluded_vips[0].interface = Some("eth2".to_owned());
    config.router.excluded_vips[0].no_track = true;
    net.host(2, plan([config]));
    net.run_until(5_000);
    net.tell(0, Input::LinkGone { link: 2 });
    assert_eq!(net.holders(VIP), [0]);
    net.tell(0, Input::Link { link: 9, name: "eth2", up: true });
    assert!(net.hosts[0].vips.contains(&(9, VIP_2.into())));
}

#[test]
fn nobody_begins_before_the_startup_delay_is_over() {
    let mut net = Network::new();
    let startup_delay = Duration::from_secs(20);
    net.host(1, Plan { startup_delay, ..plan([instance("VI_1", "eth1", 1, 200)]) });
    net.run_until(30_000);
    assert_story(
        &mut net,
        &[(0, 0, "(VI_1) Entering BACKUP STATE"), (23_218, 0, "(VI_1) Entering MASTER STATE")],
    );
}

#[test]
fn leftovers_of_an_earlier_life_are_removed() {
    let mut node = Node::new(plan([instance("VI_1", "eth1", 1, 200)]), &Default::default(), 0);
    let (now, mut actions) = (Instant::now(), Vec::new());
    node.handle(now, Input::Link { link: 1, name: "eth1", up: true }, &mut actions);
    for address in [[10, 0, 1, 1], VIP] {
        let input = Input::Address { link: 1, address: address.into(), present: true };
        node.handle(now, input, &mut actions);
    }
    assert_eq!(actions, []);
    node.handle(now, Input::Start, &mut actions);
    let removed = Vip { link: 1, address: vip(VIP) };
    let remove = Action::RemoveVips { instance: InstanceId(0), vips: vec![removed] };
    assert_eq!(actions[..2], [Action::Sockets, remove]);
    let status = node.status(now, Timestamp::UNIX_EPOCH);
    assert_eq!(status.vrrp[0].state, State::Backup);
    let group = Some([224, 0, 0, 18].into());
    let socket = Socket { link: Some(1), family: SocketFamily::Inet, ah: false, group };
    assert_eq!(node.sockets().iter().copied().collect::<Vec<_>>(), [socket]);
}

#[test]
fn unicast_instances_may_share_a_vrid() {
    let mut configs = [instance("A", "eth1", 1, 200), instance("B", "eth1", 1, 200)];
    for (config, peer) in configs.iter_mut().zip([2, 3]) {
        let address = IpAddr::from([10, 0, 1, peer]);
        let peers = vec![UnicastPeer { address, ttl: (0, 255) }];
        config.router.peers = Peers::Unicast { peers, check_source: true, ttl: None };
    }
    configs[1].router.vips = vec![vip([10, 0, 1, 200])];
    configs[1].router.source = Some([10, 0, 1, 11].into());
    let mut net = Network::new();
    net.host(1, plan(configs));
    for vips in [VIP, [10, 0, 1, 200]] {
        let mut config = instance("C", "eth1", 1, 100);
        let address = IpAddr::from([10, 0, 1, if vips == VIP { 1 } else { 11 }]);
        let peers = vec![UnicastPeer { address, ttl: (0, 255) }];
        config.router.peers = Peers::Unicast { peers, check_source: true, ttl: None };
        config.router.vips = vec![vip(vips)];
        net.host(1, plan([config]));
    }
    net.run_until(10_000);
    let status = net.hosts[0].node.status(Instant::now(), Timestamp::UNIX_EPOCH);
    assert_eq!(status.vrrp.iter().map(|s| s.state).collect::<Vec<_>>(), [State::Master; 2]);
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [0]);
    assert_eq!(net.holders([10, 0, 1, 200]), [0]);
}

#[test]
fn a_restarted_engine_adopts_what_it_was_master_of() {
    let mut net = Network::new();
    let two = [instance("VI_1", "eth1", 1, 200), instance("VI_2", "eth1", 2, 200)];
    net.resume(1, plan(two), &["VI_1"]);
    assert_story(
        &mut net,
        &[(0, 0, "(VI_1) Entering MASTER STATE"), (0, 0, "(VI_2) Entering BACKUP STATE")],
    );
    assert_eq!(net.holders(VIP), [0]);
}

#[test]
fn only_what_nobody_else_can_have_taken_over_is_adopted() {
    let plan = plan([instance("VI_1", "eth1", 1, 200), instance("VI_2", "eth1", 2, 200)]);
    let failed = |names: &[&str], ago| {
        let masters = names.iter().map(|name| (*name).to_owned()).collect();
        plan.resumable(&masters, Duration::from_millis(ago)).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(failed(&["VI_1", "VI_3"], 0), ["VI_1"]);
    // Its last advertisement may have been an interval old: 3 - 1 s.
    assert_eq!(failed(&["VI_1", "VI_2"], 1_999), ["VI_1", "VI_2"]);
    assert!(failed(&["VI_1", "VI_2"], 2_000).is_empty());
}

#[test]
fn a_restarted_engine_does_not_wait_for_scripts_again() {
    let mut net = Network::new();
    net.resume(1, checked(110, 0), &["VI_1"]);
    assert_story(&mut net, &[(0, 0, "(VI_1) Entering MASTER STATE")]);
}

/// What a host does when it hears an advertisement of another, with that priority, at a time.
fn hears(
    net: &mut Network,
    at: Instant,
    (from, priority): (usize, u8),
    host: usize,
) -> Vec<Action> {
    let (mut payload, mut datagrams, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    let advert = Advert::Vrrp(lb_vrrp::Priority(priority).into());
    net.hosts[from].node.emit(InstanceId(0), advert, None, &mut payload, &mut datagrams);
    let packet = lb_election::IpPacket {
        source: datagrams[0].source,
        destination: datagrams[0].destination,
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload: &payload,
    };
    net.hosts[host].node.handle(at, Input::Packet { link: 1, packet }, &mut actions);
    actions
}

#[test]
fn a_late_node_hears_what_waits_before_it_judges() {
    let mut net = pair();
    net.story();
    // Host 1 sleeps for a minute in which host 0 advertises; nothing is lost, only late.
    let late = Instant::now() + Duration::from_secs(120);
    let mut actions = hears(&mut net, late, (0, 200), 1);
    net.hosts[1].node.handle(late, Input::Timer, &mut actions);
    assert_eq!(actions, []);
}

#[test]
fn a_master_that_misses_an_advertisement_says_so_once_a_second() {
    let mut net = pair();
    let node = &mut net.hosts[0].node;
    let mut late = |ms| {
        let due = node.deadline().expect("a master has a timer");
        let mut actions = Vec::new();
        node.handle(due + Duration::from_millis(ms), Input::Timer, &mut actions);
        let told = actions.into_iter().find_map(|action| match action {
            Action::Event(event) => Some(event),
            _ => None,
        });
        told.map(|event| *event)
    };
    let told = |late_ms| {
        let name = "VI_1".to_owned();
        Some(lb_control::EventKind::VrrpLate { name, late_ms, interval_ms: 1000 })
    };
    assert_eq!(late(999), None);
    assert_eq!(late(1209), told(1209));
    // A second later it advertises in time, and then is late again.
    assert_eq!(late(0), None);
    assert_eq!(late(60_000), told(60_000));
}

#[test]
fn what_is_due_of_masters_leaves_before_packets_are_read_and_nothing_else_happens() {
    let mut net = pair();
    let due = net.hosts[0].node.deadline().expect("a master has a timer");
    let late = due + Duration::from_millis(500);
    let mut actions = Vec::new();
    net.hosts[0].node.handle(late, Input::Advertise, &mut actions);
    assert!(matches!(&actions[..], [Action::Send { .. }]), "{actions:?}");
    assert!(net.hosts[0].node.deadline().is_some_and(|deadline| deadline > late));
    // A backup's timer is judged when everything has been heard that came before it.
    let due = net.hosts[1].node.deadline().expect("a backup has a timer");
    actions.clear();
    net.hosts[1].node.handle(due + Duration::from_secs(60), Input::Advertise, &mut actions);
    assert_eq!(actions, []);
    assert_eq!(net.hosts[1].node.deadline(), Some(due), "it is still due");
}

#[test]
fn a_backup_whose_host_stood_still_listens_and_says_so() {
    let mut net = pair();
    net.story();
    let node = &mut net.hosts[1].node;
    let late = node.deadline().expect("a backup has a timer") + Duration::from_secs(60);
    let mut actions = Vec::new();
    node.handle(late, Input::Timer, &mut actions);
    let [Action::Event(told)] = &actions[..] else { panic!("{actions:?}") };
    assert!(told.to_string().contains("late"), "{told}");
    // For a master-down time, no longer.
    let until = late + Duration::from_secs(3) + Duration::from_secs(1) * (256 - 100) / 256;
    assert!(node.deadline().is_some_and(|deadline| deadline <= until));
    actions.clear();
    node.handle(until, Input::Timer, &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::AddVips { .. })), "{actions:?}");
}

#[test]
fn a_master_that_slept_through_a_takeover_says_so() {
    let mut net = pair();
    let due = net.hosts[0].node.deadline().expect("a master has a timer");
    let actions = hears(&mut net, due + Duration::from_secs(5), (1, 100), 0);
    let told = actions.iter().filter(|action| {
        matches!(action, Action::Event(event) if event.to_string().contains("5000 ms late"))
    });
    assert_eq!(told.count(), 1, "{actions:?}");
}

#[test]
fn nothing_is_sent_on_a_link_that_is_down() {
    let datagrams = |dont_track_primary| {
        let mut config = instance("VI_1", "eth1", 1, 200);
        config.router.dont_track_primary = dont_track_primary;
        let mut net = Network::new();
        net.host(1, plan([config]));
        net.run_until(10_000);
        net.tell(0, Input::Link { link: 1, name: "eth1", up: false });
        let (mut payload, mut datagrams) = (Vec::new(), Vec::new());
        let stop = Advert::Vrrp(lb_vrrp::Priority::STOP.into());
        net.hosts[0].node.emit(InstanceId(0), stop, None, &mut payload, &mut datagrams);
        datagrams.len()
    };
    assert_eq!(datagrams(false), 0);
    // Whoever does not trust the state of the link sends all the same.
    assert_eq!(datagrams(true), 1);
}

#[test]
fn a_lossy_network_agrees_in_the_end() {
    for seed in 1..=50 {
        let mut net = Network::new().lossy(5, seed);
        for priority in [50, 200, 100] {
            net.host(1, plan([instance("VI_1", "eth1", 1, priority)]));
        }
        net.run_until(60_000);
        // The best one holds the VIP, whoever else may believe it does for a moment.
        assert!(net.holders(VIP).contains(&1), "seed {seed}: {:?}", net.log);
        net.kill(1);
        net.run_until(70_000);
        assert!(net.holders(VIP).contains(&2), "seed {seed}: {:?}", net.log);
    }
}
