//! CARP in the node: demotion by group, and its neighbourhood with VRRP.
//!
//! Times by carp(4): advbase 1 with advskew 0 is patient for 3000 ms, with 100 for 3390 ms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_config::model::{CarpInstance, VirtualRouter};
use lb_control::status::Maintenance;
use lb_control::{EventKind, State};

use super::network::{Network, group, instance, plan, tracked, vip};
use crate::{Action, Carp, Input, InstanceConfig, Node, Plan};

const LAN: [u8; 4] = [10, 0, 1, 100];
const WAN: [u8; 4] = [10, 0, 2, 100];

/// A CARP instance that preempts, its VIP `10.0.LINK.100`.
pub fn carp(name: &str, link: u8, vhid: u8, advskew: u8) -> CarpInstance {
    CarpInstance {
        router: VirtualRouter {
            name: name.to_owned(),
            interface: Some(format!("eth{link}")),
            vips: vec![vip([10, 0, link, 100])],
            ..instance(name, "", 1, 1).router
        },
        vhid,
        advskew,
        preempt: true,
        ..CarpInstance::default()
    }
}

fn interface(mut instance: CarpInstance, name: &str) -> CarpInstance {
    instance.router.interface = Some(name.to_owned());
    instance
}

pub fn carps(instances: impl IntoIterator<Item = CarpInstance>) -> Plan {
    let all = instances.into_iter().flat_map(|instance| {
        Carp::all_of(&Arc::new(instance)).map(InstanceConfig::Carp).collect::<Vec<_>>()
    });
    Plan { instances: all.collect(), ..Plan::default() }
}

/// A gateway of two networks.
fn gateway(advskew: u8) -> Plan {
    carps([
        interface(carp("LAN", 1, 1, advskew), "eth1"),
        interface(carp("WAN", 2, 2, advskew), "eth2"),
    ])
}

fn states(net: &Network, host: usize) -> Vec<State> {
    let status = net.hosts[host].node.status(net.now(), Timestamp::UNIX_EPOCH);
    status.carp.into_iter().flat_map(|carp| carp.instances).map(|vhid| vhid.state).collect()
}

#[test]
fn the_faster_one_is_elected_after_its_patience() {
    let mut net = Network::new();
    for advskew in [0, 100] {
        net.host(1, carps([carp("LAN", 1, 1, advskew)]));
    }
    net.run_until(20_000);
    let story = net.story();
    let last = story.last().unwrap();
    assert_eq!((last.0, last.1), (3_000, 0), "{story:?}");
    assert!(last.2.starts_with("carp: 1@eth1: BACKUP -> MASTER (nothing heard"), "{}", last.2);
    assert_eq!(net.holders(LAN), [0]);
}

#[test]
fn one_cable_pulled_moves_both_networks_and_its_return_brings_both_back() {
    let mut net = Network::new();
    for advskew in [0, 100] {
        net.host(2, gateway(advskew));
    }
    net.run_until(10_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![0], vec![0]));
    net.carrier(0, 2, false);
    // The demoted one says so at once, and the other one preempts it.
    net.run_until(14_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![1], vec![1]));
    assert_eq!(states(&net, 0), [State::Backup, State::Fault]);
    net.carrier(0, 2, true);
    net.run_until(20_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![0], vec![0]));
}

#[test]
fn the_operator_demotes_a_group_and_lets_it_be_again() {
    let mut net = Network::new();
    for advskew in [0, 100] {
        net.host(2, gateway(advskew));
    }
    net.run_until(10_000);
    net.tell(0, Input::Demote { group: "carp", by: 5 });
    net.run_until(12_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![1], vec![1]));
    net.tell(0, Input::Demote { group: "carp", by: -7 });
    net.run_until(20_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![0], vec![0]));
    let told: Vec<String> = net.story().into_iter().map(|(_, _, line)| line).collect();
    let demoted = "carp: demoted group carp by 5 to 5 (the operator says so)";
    assert!(told.iter().any(|line| line == demoted), "{told:#?}");
    let promoted = "carp: promoted group carp by 5 to 0 (the operator says so)";
    assert!(told.iter().any(|line| line == promoted), "{told:#?}");
}

#[test]
fn a_router_without_the_others_connections_is_demoted_and_says_why() {
    let mut net = Network::new();
    for advskew in [0, 100] {
        net.host(2, gateway(advskew));
    }
    net.run_until(10_000);
    net.tell(0, Input::StateSync { failure: Some("there is no interface eth9") });
    net.run_until(12_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![1], vec![1]));
    let groups = |net: &Network| {
        let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
        status.carp.unwrap().groups
    };
    let before = groups(&net);
    assert_eq!((before[0].demotion, before[0].by_operator, before[0].by_state_sync), (1, 0, 1));
    let why = net.hosts[0].node.why("LAN", net.now(), Timestamp::UNIX_EPOCH).unwrap();
    let expected =
        "group carp is demoted: state synchronisation has failed: there is no interface eth9";
    assert!(why[0].to == State::Backup && why[0].reason.ends_with(expected), "{why:#?}");
    // Another reason is no other demotion, and a reload forgets nothing.
    net.tell(0, Input::StateSync { failure: Some("interface eth9 is down") });
    net.tell(0, Input::Reload(gateway(0)));
    assert_eq!(groups(&net), before);
    net.tell(0, Input::StateSync { failure: None });
    net.run_until(20_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![0], vec![0]));
    let told: Vec<String> = net.story().into_iter().map(|(_, _, line)| line).collect();
    let demoted = "carp: demoted group carp by 1 to 1 (state synchronisation has failed: there is no \
                   interface eth9)";
    assert!(told.iter().any(|line| line == demoted), "{told:#?}");
    let promoted = "carp: promoted group carp by 1 to 0 (state synchronisation works again)";
    assert!(told.iter().any(|line| line == promoted), "{told:#?}");
}

#[test]
fn what_failed_before_the_start_demotes_from_the_first_advertisement() {
    let (now, mut out) = (Instant::now(), Vec::new());
    let mut node = Node::new(gateway(0), &BTreeSet::new(), 0);
    node.handle(now, Input::StateSync { failure: Some("no IPVS") }, &mut out);
    assert_eq!(out, []);
    node.handle(now, Input::Start, &mut out);
    let carp = node.status(now, Timestamp::UNIX_EPOCH).carp.unwrap();
    assert!(carp.instances.iter().all(|instance| instance.demotion >= 1), "{carp:?}");
    let reason = "state synchronisation has failed: no IPVS";
    let tells = |action: &Action| match action {
        Action::Event(event) => {
            matches!(&**event, EventKind::CarpDemotion { by: 1, reason: said, .. } if said == reason)
        }
        _ => false,
    };
    assert!(out.iter().any(tells), "{out:#?}");
}

#[test]
fn a_tracked_weight_demotes_the_whole_group() {
    let mut net = Network::new();
    let mut lan = carp("LAN", 1, 1, 0);
    lan.router.track_interfaces = vec![tracked("eth3", -20)];
    net.host(3, carps([lan, carp("WAN", 2, 2, 0)]));
    net.host(2, gateway(100));
    net.run_until(10_000);
    assert_eq!(net.holders(WAN), [0]);
    net.carrier(0, 3, false);
    net.run_until(14_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![1], vec![1]));
}

#[test]
fn carp_that_is_not_allowed_takes_no_part() {
    let mut net = Network::new();
    let mut plan = gateway(0);
    plan.carp.allow = false;
    net.host(2, plan);
    net.run_until(10_000);
    assert_eq!(states(&net, 0), [State::Fault, State::Fault]);
}

#[test]
fn the_same_number_in_both_protocols_disturbs_neither() {
    let mut net = Network::new();
    net.host(1, plan([instance("VI_1", "eth1", 7, 200)]));
    net.host(1, plan([instance("VI_1", "eth1", 7, 100)]));
    net.host(1, carps([carp("LAN", 1, 7, 0)]));
    net.host(1, carps([carp("LAN", 1, 7, 100)]));
    net.run_until(30_000);
    assert_eq!((net.holders([10, 0, 7, 100]), net.holders(LAN)), (vec![0], vec![2]));
}

#[test]
fn a_sync_group_holds_instances_of_both_protocols() {
    let mut net = Network::new();
    for (advskew, priority) in [(0, 200), (100, 100)] {
        let mut both = carps([carp("LAN", 1, 1, advskew)]);
        both.instances.extend(plan([instance("VI_2", "eth2", 2, priority)]).instances);
        both.groups = vec![group("G", &["LAN", "VI_2"])];
        net.host(2, both);
    }
    net.run_until(10_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![0], vec![0]));
    net.carrier(0, 2, false);
    net.run_until(20_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![1], vec![1]));
}

#[test]
fn a_stop_a_hand_over_and_a_preemption_lose_nothing() {
    let routers = || {
        let mut net = Network::new();
        for advskew in [0, 100] {
            net.host(1, carps([carp("LAN", 1, 1, advskew)]));
        }
        net.run_until(10_000);
        net
    };
    let mut net = routers();
    net.tell(0, Input::Stop);
    assert!(!net.hosts[0].node.stopped());
    net.run_until(20_000);
    assert!(net.hosts[0].node.stopped());
    assert_eq!((net.holders(LAN), net.lost), (vec![1], Duration::ZERO));
    // It comes back and preempts.
    let back = net.host(1, carps([carp("LAN", 1, 1, 0)]));
    net.run_until(30_000);
    assert_eq!((net.holders(LAN), net.lost), (vec![back], Duration::ZERO));

    let mut net = routers();
    let handed_over = |net: &Network| {
        let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
        status.carp.unwrap().instances[0].handed_over
    };
    net.tell(0, Input::Handover { name: "LAN" });
    net.run_until(60_000);
    assert_eq!((net.holders(LAN), net.lost), (vec![1], Duration::ZERO));
    assert!(handed_over(&net));
    net.tell(0, Input::Maintenance { name: None, state: None });
    assert!(!handed_over(&net));
    net.run_until(70_000);
    assert_eq!((net.holders(LAN), net.lost), (vec![0], Duration::ZERO));

    let mut net = routers();
    let by_root =
        Maintenance { by: "root".to_owned(), since: Timestamp::UNIX_EPOCH, persistent: true };
    net.tell(0, Input::Maintenance { name: Some("LAN"), state: Some(by_root.clone()) });
    net.run_until(20_000);
    assert_eq!((net.holders(LAN), net.lost), (vec![1], Duration::ZERO));
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    assert_eq!(status.carp.unwrap().instances[0].maintenance, Some(by_root));
    net.tell(0, Input::Maintenance { name: Some("LAN"), state: None });
    net.run_until(30_000);
    assert_eq!((net.holders(LAN), net.lost), (vec![0], Duration::ZERO));
}

#[test]
fn a_sync_group_of_both_protocols_hands_over_as_one() {
    let mut net = Network::new();
    for (advskew, priority) in [(0, 200), (100, 100)] {
        let mut both = carps([carp("LAN", 1, 1, advskew)]);
        both.instances.extend(plan([instance("VI_2", "eth2", 2, priority)]).instances);
        both.groups = vec![group("G", &["LAN", "VI_2"])];
        net.host(2, both);
    }
    net.run_until(10_000);
    net.tell(0, Input::Handover { name: "VI_2" });
    net.run_until(20_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![1], vec![1]));
    assert_eq!(net.lost, Duration::ZERO);
    net.tell(1, Input::Stop);
    net.run_until(30_000);
    assert_eq!((net.holders(LAN), net.holders(WAN)), (vec![0], vec![0]));
    assert_eq!(net.lost, Duration::ZERO);
}

#[test]
fn a_wrong_passphrase_is_a_conflict_and_why_is_told() {
    let mut net = Network::new();
    net.host(1, carps([carp("LAN", 1, 1, 0)]));
    net.host(1, carps([CarpInstance { key: [1; 20], ..carp("LAN", 1, 1, 100) }]));
    net.run_until(10_000);
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    let conflicts = &status.carp.unwrap().instances[0].conflicts;
    assert_eq!(conflicts[0].kind, "wrong_secret");
    assert_eq!(conflicts[0].verdict, "advertisement from 10.0.1.2: wrong digest");
    let why = net.hosts[0].node.why("LAN", net.now(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(
        why[0].reason,
        "nothing heard over IPv4 for 3.000 s (3 × advbase 1 s + advskew 0/256 s)"
    );
}

#[test]
fn a_number_of_vrrp_is_a_conflict() {
    let mut net = Network::new();
    net.host(1, carps([carp("LAN", 1, 7, 0)]));
    net.host(1, plan([instance("VI_1", "eth1", 7, 200)]));
    net.run_until(10_000);
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    let conflicts = &status.carp.unwrap().instances[0].conflicts;
    assert_eq!(conflicts[0].verdict, "10.0.1.2 uses our number 7 as a VRID of VRRP");
}

#[test]
fn a_master_of_carp_is_adopted_within_three_seconds_less_the_longest_interval() {
    let plan = gateway(0);
    let resumes = |ago| {
        let masters = ["LAN".to_owned()].into();
        !plan.resumable(&masters, Duration::from_micros(ago)).is_empty()
    };
    // 3 s - (1 + 254/256) s = 1.0078125 s, and 254/256 s in whole microseconds.
    assert_eq!([resumes(1_007_812), resumes(1_007_813)], [true, false]);
}

#[test]
fn a_demotion_names_what_is_tracked() {
    let mut net = Network::new();
    net.host(2, gateway(0));
    net.run_until(10_000);
    net.story();
    net.carrier(0, 2, false);
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    assert_eq!(status.carp.unwrap().groups[0].causes, ["interface eth2 is down"]);
    let lines = |net: &mut Network| net.story().into_iter().map(|(_, _, line)| line).collect();
    let told: Vec<String> = lines(&mut net);
    let demoted = "carp: demoted group carp by 1 to 1 (interface eth2 is down)";
    assert!(told.iter().any(|line| line == demoted), "{told:#?}");
    net.carrier(0, 2, true);
    let told: Vec<String> = lines(&mut net);
    let promoted = "carp: promoted group carp by 1 to 0 (what is tracked is well again)";
    assert!(told.iter().any(|line| line == promoted), "{told:#?}");
}

#[test]
fn a_bow_out_that_is_replayed_is_told_and_believed() {
    let mut net = Network::new();
    for advskew in [0, 100] {
        net.host(1, carps([carp("LAN", 1, 1, advskew)]));
    }
    net.run_until(20_000);
    // What host 0 says when it leaves, caught on the wire.
    let (mut actions, mut payload, mut datagrams) = (Vec::new(), Vec::new(), Vec::new());
    let now = net.now();
    net.hosts[0].node.handle(now, Input::Stop, &mut actions);
    for action in actions {
        if let Action::Send { instance, advert, to } = action {
            net.hosts[0].node.emit(instance, advert, to, &mut payload, &mut datagrams);
        }
    }
    net.kill(0);
    let replay = |net: &mut Network| {
        let packet = lb_election::IpPacket {
            source: datagrams[0].source,
            destination: datagrams[0].destination,
            ttl: Some(255),
            declared_len: None,
            payload: &payload[datagrams[0].payload.clone()],
            ah: None,
        };
        net.tell(1, Input::Packet { link: 1, packet });
    };
    let conflicts = |net: &Network| {
        let status = net.hosts[1].node.status(net.now(), Timestamp::UNIX_EPOCH);
        status.carp.unwrap().instances.remove(0).conflicts
    };
    replay(&mut net);
    replay(&mut net); // over the other family
    assert!(conflicts(&net).is_empty());
    net.run_until(30_000);
    for _ in 0..3 {
        replay(&mut net);
    }
    let found = conflicts(&net);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, "replayed");
    assert!(found[0].remedy.starts_with("find who else sends"), "{found:?}");
    net.run_until(155_000);
    assert!(conflicts(&net).is_empty());
}
