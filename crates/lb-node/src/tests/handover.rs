//! Hand-over: a client that finds its VIP by the announcements never talks to nobody.

use std::sync::Arc;

use jiff::Timestamp;
use lb_config::model::{InitialState, Vmac, VrrpVersion};

use super::*;
use crate::InstanceConfig;

/// A gateway of two that move together, 10 seconds on.
fn gateways() -> Network {
    let mut net = Network::new();
    net.host(2, gateway(200));
    net.host(2, gateway(100));
    net.run_until(10_000);
    net.story();
    net
}

fn vrrp(net: &Network, host: usize) -> Vec<lb_control::status::Vrrp> {
    net.hosts[host].node.status(Instant::now(), Timestamp::UNIX_EPOCH).vrrp
}

#[test]
fn a_planned_stop_loses_nothing() {
    let mut net = pair();
    net.story();
    net.tell(0, Input::Stop);
    assert!(!net.hosts[0].node.stopped());
    assert_eq!(net.hosts[0].sent.last(), Some(&(10_000, 0)));
    net.run_until(10_605);
    assert_eq!(net.holders(VIP), [0]);
    // The successor waited its skew since 10001 ms; its advertisement arrives at 10611.4.
    net.run_until(10_613);
    assert_eq!(net.holders(VIP), [0, 1]);
    net.run_until(10_635);
    assert_eq!(net.holders(VIP), [0, 1]);
    net.run_until(10_637);
    assert_eq!(net.holders(VIP), [1]);
    assert!(net.hosts[0].node.stopped());
    assert_eq!(net.hosts[0].node.deadline(), None);
    net.run_until(20_000);
    assert_eq!(net.lost, Duration::ZERO);
    assert_story(
        &mut net,
        &[(10_610, 1, "(VI_1) Entering MASTER STATE"), (10_636, 0, "(VI_1) Stopped")],
    );
}

#[test]
fn a_stop_with_nobody_there_is_over_in_time() {
    let mut net = Network::new();
    net.host(2, gateway(200));
    net.run_until(10_000);
    net.story();
    net.tell(0, Input::Stop);
    // 9/8 of the interval.
    net.run_until(11_124);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    assert!(!net.hosts[0].node.stopped());
    net.run_until(11_125);
    assert!(net.hosts[0].node.stopped());
    assert_story(
        &mut net,
        &[
            (11_125, 0, "(LAN) Stopped"),
            (11_125, 0, "(WAN) Stopped"),
            (11_125, 0, "VRRP_Group(GW) Stopped"),
        ],
    );
}

#[test]
fn a_second_stop_does_not_wait() {
    let mut net = gateways();
    net.tell(0, Input::Stop);
    net.run_until(10_100);
    assert!(!net.hosts[0].node.stopped());
    net.tell(0, Input::Stop);
    assert!(net.hosts[0].node.stopped());
    assert!(net.holders(VIP).is_empty() && net.holders(VIP_2).is_empty());
}

#[test]
fn a_group_stops_without_a_loss() {
    let mut net = gateways();
    net.tell(0, Input::Stop);
    net.run_until(20_000);
    assert!(net.hosts[0].node.stopped());
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![1], vec![1]));
    assert_eq!(net.lost, Duration::ZERO);
    let stopped: Vec<_> =
        net.story().into_iter().filter(|(_, host, _)| *host == 0).map(|(_, _, l)| l).collect();
    assert_eq!(stopped, ["(LAN) Stopped", "(WAN) Stopped", "VRRP_Group(GW) Stopped"]);
}

#[test]
fn a_group_of_unequal_intervals_stops_without_a_loss() {
    let unequal = |priority| {
        let mut plan = gateway(priority);
        let InstanceConfig::Vrrp(wan) = &mut plan.instances[1] else { panic!("VRRP") };
        Arc::make_mut(wan).advert_int = Duration::from_secs(4);
        plan
    };
    let mut net = Network::new();
    net.host(2, unequal(200));
    net.host(2, unequal(100));
    net.run_until(30_000);
    net.tell(0, Input::Stop);
    // The successor waits for the skew of four seconds, (256 - 100) * 4 / 256 = 2.4375 s: longer
    // than the other member would hold its address by itself.
    net.run_until(32_430);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    net.run_until(40_000);
    assert!(net.hosts[0].node.stopped());
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![1], vec![1]));
    assert_eq!(net.lost, Duration::ZERO);
}

#[test]
fn preemption_loses_nothing() {
    for seed in 0..20 {
        let mut net = Network::new();
        net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
        net.run_until(5_000 + seed * 47);
        net.host(1, plan([instance("VI_1", "eth1", 1, 200)]));
        net.run_until(20_000);
        assert_eq!(net.holders(VIP), [1]);
        assert_eq!(net.lost, Duration::ZERO, "seed {seed}");
    }
}

#[test]
fn without_hand_over_it_goes_at_once_and_the_skew_is_lost() {
    let mut net = Network::new();
    for priority in [200, 100] {
        let mut config = instance("VI_1", "eth1", 1, priority);
        config.router.handover = false;
        net.host(1, plan([config]));
    }
    net.run_until(10_000);
    net.story();
    net.tell(0, Input::Stop);
    assert!(net.hosts[0].node.stopped());
    assert_eq!(net.hosts[0].node.deadline(), None);
    assert!(net.holders(VIP).is_empty());
    assert_eq!(net.hosts[0].sent.last(), Some(&(10_000, 0)));
    net.run_until(20_000);
    assert_story(
        &mut net,
        &[(10_000, 0, "(VI_1) Stopped"), (10_610, 1, "(VI_1) Entering MASTER STATE")],
    );
    // 1 ms each way and 609.375 ms between.
    assert_eq!(net.lost, Duration::from_micros(611_375));
}

#[test]
fn addresses_behind_a_virtual_mac_stay_until_an_echo_of_the_successor_has_arrived() {
    let mut net = Network::new();
    for priority in [200, 100] {
        let mut config = instance("VI_1", "eth1", 1, priority);
        config.router.vmac = Some(Vmac::default());
        net.host(1, plan([config]));
    }
    net.run_until(10_000);
    net.tell(0, Input::Handover { name: "VI_1" });
    net.run_until(10_611);
    assert_eq!(net.holders(VIP), [0, 1]);
    net.run_until(10_613);
    assert_eq!(net.holders(VIP), [0, 1]);
    net.run_until(10_614);
    assert_eq!(net.holders(VIP), [1]);
    assert_eq!(net.lost, Duration::ZERO);
}

#[test]
fn a_reload_that_lowers_the_priority_loses_nothing() {
    let mut net = pair();
    net.tell(0, Input::Reload(plan([instance("VI_1", "eth1", 1, 50)])));
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
    assert_eq!(net.lost, Duration::ZERO);
}

#[test]
fn an_instance_that_a_reload_removes_hands_over() {
    let mut net = pair();
    net.story();
    net.tell(0, Input::Reload(plan([])));
    assert_eq!(net.hosts[0].sent.last(), Some(&(10_000, 0)));
    assert!(vrrp(&net, 0).is_empty());
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
    assert_eq!(net.lost, Duration::ZERO);
    assert_story(
        &mut net,
        &[(10_610, 1, "(VI_1) Entering MASTER STATE"), (10_636, 0, "(VI_1) Deleted")],
    );
    assert_eq!(net.hosts[0].node.deadline(), None);
    assert!(net.hosts[0].node.sockets().is_empty());
}

#[test]
fn a_vip_that_moves_to_another_instance_of_this_host_is_not_removed_by_the_old_one() {
    let mut net = Network::new();
    let other = || instance("VI_2", "eth1", 2, 200);
    net.host(1, plan([instance("VI_1", "eth1", 1, 200), other()]));
    net.run_until(10_000);
    let mut both = other();
    both.router.vips.push(vip(VIP));
    net.tell(0, Input::Reload(plan([both])));
    for at in [10_000, 11_000, 12_000, 20_000] {
        net.run_until(at);
        assert_eq!(net.holders(VIP), [0], "at {at}");
    }
}

#[test]
fn an_operator_hands_a_whole_group_over() {
    let mut net = gateways();
    net.tell(0, Input::Handover { name: "WAN" });
    net.run_until(11_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![1], vec![1]));
    assert_eq!(net.lost, Duration::ZERO);
    // The better one is content, and serves again when it has to.
    net.run_until(60_000);
    assert_eq!(net.holders(VIP), [1]);
    net.kill(1);
    net.run_until(70_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
}

#[test]
fn the_status_shows_a_hand_over_until_it_ends() {
    let handed_over = |net: &Network| -> Vec<bool> {
        vrrp(net, 0).iter().map(|instance| instance.handed_over).collect()
    };
    let mut net = gateways();
    assert_eq!(handed_over(&net), [false, false]);
    net.tell(0, Input::Handover { name: "WAN" });
    // Nobody has taken over yet.
    assert_eq!(handed_over(&net), [false, false]);
    net.run_until(20_000);
    assert_eq!(handed_over(&net), [true, true]);
    // A reload does not end it.
    net.tell(0, Input::Reload(gateway(200)));
    net.run_until(80_000);
    assert_eq!((net.holders(VIP), handed_over(&net)), (vec![1], vec![true, true]));

    // The way back: it preempts within its master down interval, 3.21875 s, and loses nothing.
    net.tell(0, Input::Maintenance { name: Some("LAN"), state: None });
    assert_eq!((net.holders(VIP), handed_over(&net)), (vec![1], vec![false, false]));
    net.run_until(83_300);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    assert_eq!(net.lost, Duration::ZERO);

    // The other way: the others are silent.
    net.tell(0, Input::Handover { name: "WAN" });
    net.run_until(100_000);
    assert_eq!(handed_over(&net), [true, true]);
    net.kill(1);
    net.run_until(110_000);
    assert_eq!((net.holders(VIP), handed_over(&net)), (vec![0], vec![false, false]));
}

#[test]
fn a_hand_over_to_nobody_is_taken_back() {
    let mut net = Network::new();
    net.host(2, gateway(200));
    net.run_until(10_000);
    net.story();
    net.tell(0, Input::Handover { name: "LAN" });
    net.tell(0, Input::Handover { name: "NOBODY" });
    net.run_until(20_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    assert_story(&mut net, &[]);
    assert_eq!(net.lost, Duration::ZERO);
}

#[test]
fn maintenance_of_all_holds_for_those_to_come_and_ends() {
    let mut net = gateways();
    net.tell(0, Input::Maintenance { name: None, state: by_root() });
    net.run_until(20_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![1], vec![1]));
    let mut more = gateway(200);
    more.instances.extend(plan([instance("VI_3", "eth1", 3, 250)]).instances);
    net.tell(0, Input::Reload(more));
    let said: Vec<_> = vrrp(&net, 0)
        .into_iter()
        .map(|vrrp| (vrrp.effective_priority, vrrp.maintenance == by_root()))
        .collect();
    assert_eq!(said, [(1, true); 3]);

    net.tell(0, Input::Maintenance { name: None, state: None });
    net.run_until(30_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    assert_eq!(net.lost, Duration::ZERO);
    assert!(vrrp(&net, 0).iter().all(|vrrp| vrrp.maintenance.is_none()));
}

#[test]
fn maintenance_of_a_member_is_that_of_its_group_and_may_come_before_the_start() {
    let mut node = Node::new(gateway(200), &Default::default(), 0);
    let mut actions = Vec::new();
    let input = Input::Maintenance { name: Some("LAN"), state: by_root() };
    node.handle(Instant::now(), input, &mut actions);
    let status = node.status(Instant::now(), Timestamp::UNIX_EPOCH).vrrp;
    assert!(status.iter().all(|vrrp| vrrp.effective_priority == 1 && vrrp.state == State::Init));

    let mut net = gateways();
    let input = Input::Maintenance { name: Some("LAN"), state: by_root() };
    net.tell(0, input);
    net.run_until(20_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![1], vec![1]));
    let lines: Vec<_> = net.story().into_iter().map(|(_, _, line)| line).collect();
    assert!(lines.contains(&"(WAN) Changing effective priority from 200 to 1".to_owned()));
}

#[test]
fn an_owner_in_maintenance_gives_its_own_address_away() {
    let mut net = Network::new();
    let mut owner = instance("VI_1", "eth1", 1, 255);
    owner.router.state = InitialState::Master;
    net.host(1, plan([owner]));
    net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    net.tell(0, Input::Maintenance { name: Some("VI_1"), state: by_root() });
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
    net.tell(0, Input::Maintenance { name: Some("VI_1"), state: None });
    net.run_until(30_000);
    assert_eq!(net.holders(VIP), [0]);
    assert_eq!(net.lost, Duration::ZERO);
}

#[test]
fn becoming_master_again_within_the_linger_keeps_the_addresses() {
    let mut net = pair();
    net.tell(0, Input::Handover { name: "VI_1" });
    net.run_until(10_612);
    assert_eq!(net.holders(VIP), [0, 1]);
    // The successor says at once that it stops as well.
    net.kill(1);
    let (mut payload, destination) = (Vec::new(), IpAddr::from([224, 0, 0, 18]));
    let source = IpAddr::from([10, 0, 1, 2]);
    let vrrp = lb_vrrp::Instance::new(lb_vrrp::Config {
        vips: lb_vrrp::Vips::new(lb_vrrp::Family::Inet, [IpAddr::from(VIP)]),
        ..lb_vrrp::Config::new(
            lb_vrrp::Version::V3,
            lb_vrrp::Family::Inet,
            lb_vrrp::Vrid::new(1).unwrap(),
            lb_vrrp::Priority(100),
            Duration::from_millis(10),
        )
    });
    // An interval of 10 ms makes the skew 2.1875 ms, which is before the end of the linger.
    for priority in [100, 0] {
        payload.clear();
        vrrp.emit(lb_vrrp::Priority(priority).into(), (source, destination), 255, &mut payload);
        let packet = lb_election::IpPacket {
            source,
            destination,
            ttl: Some(255),
            declared_len: None,
            ah: None,
            payload: &payload,
        };
        net.tell(0, Input::Packet { link: 1, packet });
    }
    net.run_until(10_616);
    assert_eq!(net.hosts[0].node.masters().len(), 1);
    net.run_until(11_000);
    assert_eq!(net.holders(VIP), [0]);
}

#[test]
fn when_a_partition_heals_clients_find_the_master() {
    // Whoever advertises first after it: the moment decides.
    for moment in 0..20 {
        let mut net = pair();
        net.cut(0, 1, true);
        net.run_until(20_000 + 50 * moment);
        assert_eq!(net.holders(VIP), [0, 1]);
        net.cut(0, 1, false);
        // An interval until one hears the other, 25 ms of patience, and the answer.
        net.run_until(21_050 + 50 * moment);
        assert_eq!(net.holders(VIP), [0]);
        net.lost = Duration::ZERO;
        net.run_until(40_000);
        assert_eq!(net.lost, Duration::ZERO, "moment {moment}");
    }
}

/// `auth_type AH`
fn authenticated(priority: u8) -> lb_config::model::VrrpInstance {
    let mut config = instance("VI_1", "eth1", 1, priority);
    config.version = VrrpVersion::V2;
    config.header_key = Some(*b"s3cret\0\0");
    config
}

#[test]
fn with_an_authentication_header_clients_find_the_master_too() {
    for moment in 0..20 {
        let mut net = Network::new();
        net.host(1, plan([authenticated(200)]));
        net.host(1, plan([authenticated(100)]));
        net.run_until(10_000);
        net.cut(0, 1, true);
        net.run_until(20_000 + 50 * moment);
        assert_eq!(net.holders(VIP), [0, 1]);
        net.cut(0, 1, false);
        // One of them counted further: what the other says first is a replay to it.
        net.run_until(22_050 + 50 * moment);
        assert_eq!(net.holders(VIP), [0]);
        net.lost = Duration::ZERO;
        net.story();
        net.run_until(60_000);
        assert_eq!((net.lost, net.story()), (Duration::ZERO, vec![]), "moment {moment}");
        for host in 0..2 {
            let counters = &vrrp(&net, host)[0].counters;
            assert!(counters.auth_failure <= 2, "host {host}, moment {moment}: {counters:?}");
        }
    }
}

#[test]
fn an_owner_that_starts_again_is_heard_by_its_first_advertisement() {
    let mut net = Network::new();
    let owner = || {
        let mut owner = authenticated(255);
        owner.router.state = InitialState::Master;
        plan([owner])
    };
    net.host(1, owner());
    net.host(1, plan([authenticated(100)]));
    net.run_until(100_000);
    net.kill(0);
    net.run_until(110_000);
    assert_eq!(net.holders(VIP), [1]);
    // As many seconds later than the first start, which was at 0.
    net.number_from = 110;
    net.host(1, owner());
    net.run_until(110_040);
    assert_eq!(net.holders(VIP), [2]);
    // Its engine fails and is started again: the number is handed on.
    net.run_until(200_000);
    net.kill(2);
    net.number_from = 110 + 90 + 1;
    net.resume(1, owner(), &["VI_1"]);
    net.story();
    net.run_until(210_000);
    assert_story(&mut net, &[]);
    assert_eq!(vrrp(&net, 1)[0].counters.auth_failure, 0);
}

#[test]
fn an_owner_is_heard_when_its_fault_is_over() {
    let mut net = Network::new();
    let mut owner = authenticated(255);
    owner.router.state = InitialState::Master;
    owner.router.track_interfaces = vec![tracked("eth2", 0)];
    net.host(2, plan([owner]));
    net.host(2, plan([authenticated(100)]));
    net.run_until(10_000);
    net.carrier(0, 2, false);
    net.run_until(100_000);
    assert_eq!(net.holders(VIP), [1]);
    net.carrier(0, 2, true);
    net.run_until(100_040);
    assert_eq!(net.holders(VIP), [0]);
    assert_eq!(vrrp(&net, 1)[0].counters.auth_failure, 0);
}

#[test]
fn an_instance_that_departs_keeps_its_address_though_a_new_one_has_it_too() {
    let mut net = pair();
    let another = || {
        let mut config = instance("VI_2", "eth1", 2, 200);
        config.router.vips = vec![vip(VIP)];
        plan([config])
    };
    net.tell(0, Input::Reload(another()));
    assert_eq!(net.holders(VIP), [0]);
    // The kernel is asked for everything anew, and the file is read again.
    net.tell(0, Input::Address { link: 1, address: VIP.into(), present: true });
    net.tell(0, Input::Reload(another()));
    net.run_until(10_600);
    assert_eq!(net.holders(VIP), [0]);
    net.run_until(12_000);
    assert_eq!(net.holders(VIP), [1]);
    // It is not thought to be an address of this host.
    net.tell(0, Input::Reload(plan([instance("VI_3", "eth1", 3, 200)])));
    net.carrier(0, 1, false);
    net.tell(0, Input::Address { link: 1, address: [10, 0, 1, 1].into(), present: false });
    net.carrier(0, 1, true);
    net.run_until(20_000);
    assert_eq!(net.hosts[0].node.masters().len(), 0);
}

#[test]
fn of_two_instances_of_one_name_the_old_one_has_its_last_word_first() {
    let mut net = pair();
    net.story();
    // Another VRID under the same name.
    net.tell(0, Input::Reload(plan([instance("VI_1", "eth1", 2, 200)])));
    net.run_until(30_000);
    let story: Vec<_> = net.story().into_iter().filter(|(_, host, _)| *host == 0).collect();
    let expected = [
        (10_000, 0, "(VI_1) Deleted".to_owned()),
        (10_000, 0, "(VI_1) Entering BACKUP STATE".to_owned()),
        (13_218, 0, "(VI_1) Entering MASTER STATE".to_owned()),
    ];
    assert_eq!(story, expected);
    assert_eq!((net.holders(VIP), net.holders([10, 0, 2, 100])), (vec![1], vec![0]));
    assert_eq!(net.lost, Duration::ZERO);
}
