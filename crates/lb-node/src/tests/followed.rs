//! Tracked files and processes in the node.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lb_config::model::{ArgumentMatch, CarpInstance, TrackFile, TrackProcess, VirtualRouter};

use super::network::{Network, group, instance, plan, tracked};
use super::{VIP, assert_story};
use crate::{Carp, Input, InstanceConfig, Plan};

fn file(name: &str) -> TrackFile {
    let path = format!("/run/{name}");
    TrackFile { name: name.to_owned(), path, weight: 1, reverse: false, init: None }
}

/// Two copies of a program; its end counts after two seconds, a fork after one.
fn process(name: &str) -> TrackProcess {
    TrackProcess {
        name: name.to_owned(),
        process: vec![name.to_owned()],
        arguments: ArgumentMatch::None,
        weight: 0,
        reverse: false,
        quorum: 2,
        quorum_max: None,
        terminate_delay: Duration::from_secs(2),
        fork_delay: Duration::from_secs(1),
        full_command: false,
    }
}

/// One instance that tracks the file `f` with this weight.
fn with_file(priority: u8, weight: i16) -> Plan {
    let mut config = instance("VI_1", "eth1", 1, priority);
    config.router.track_files = vec![tracked("f", weight)];
    Plan { files: vec![file("f")], ..plan([config]) }
}

/// One instance that tracks the processes `p` with this weight.
fn with_process(priority: u8, weight: i16) -> Plan {
    let mut config = instance("VI_1", "eth1", 1, priority);
    config.router.track_processes = vec![tracked("p", weight)];
    Plan { processes: vec![process("p")], ..plan([config]) }
}

fn says(net: &mut Network, value: i32) {
    net.tell(0, Input::File { name: "f", value });
}

fn run(net: &mut Network, running: u32) {
    net.tell(0, Input::Process { name: "p", running, forked: false });
}

fn faults(net: &Network) -> Vec<String> {
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    status.vrrp[0].faults.clone()
}

#[test]
fn a_file_moves_the_priority_by_its_number_times_the_weight() {
    let mut net = Network::new();
    net.host(1, with_file(110, 2));
    net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    net.story();
    says(&mut net, -10);
    says(&mut net, -10);
    assert_story(&mut net, &[(10_000, 0, "(VI_1) Changing effective priority from 110 to 90")]);
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
    net.story();
    says(&mut net, 300);
    assert_story(&mut net, &[(20_000, 0, "(VI_1) Changing effective priority from 90 to 254")]);
}

#[test]
fn a_product_below_253_is_a_fault_and_is_said_as_keepalived_does() {
    let mut net = Network::new();
    net.host(1, with_file(110, 1));
    net.run_until(10_000);
    net.story();
    says(&mut net, -254);
    assert_eq!(faults(&net), ["file f says -254"]);
    says(&mut net, 5);
    assert_story(
        &mut net,
        &[
            (10_000, 0, "(VI_1): tracked file f now FAULT state"),
            (10_000, 0, "(VI_1) Entering FAULT STATE"),
            (10_000, 0, "(VI_1): tracked file f leaving FAULT state"),
            (10_000, 0, "(VI_1) Changing effective priority from 110 to 115"),
            (10_000, 0, "(VI_1) Entering BACKUP STATE"),
        ],
    );
}

#[test]
fn without_weight_a_file_is_waited_for_and_0_is_well() {
    let mut net = Network::new();
    net.host(1, with_file(110, 0));
    net.run_until(10_000);
    assert_story(&mut net, &[]);
    assert_eq!(faults(&net), ["file f has not been read yet"]);
    says(&mut net, 0);
    says(&mut net, 1);
    assert_story(
        &mut net,
        &[
            (10_000, 0, "(VI_1) Entering BACKUP STATE"),
            (10_000, 0, "(VI_1): tracked file f now FAULT state"),
            (10_000, 0, "(VI_1) Entering FAULT STATE"),
        ],
    );
}

#[test]
fn a_reload_keeps_what_the_same_file_says() {
    let mut net = Network::new();
    net.host(1, with_file(110, 1));
    says(&mut net, 7);
    net.story();
    net.tell(0, Input::Reload(with_file(110, 2)));
    let mut moved = with_file(110, 2);
    moved.files[0].path = "/elsewhere".to_owned();
    net.tell(0, Input::Reload(moved));
    assert_story(
        &mut net,
        &[
            (0, 0, "(VI_1) Changing effective priority from 117 to 124"),
            (0, 0, "(VI_1) Changing effective priority from 124 to 110"),
        ],
    );
}

#[test]
fn processes_decide_about_fault_after_their_delay() {
    let mut net = Network::new();
    net.host(1, with_process(200, 0));
    assert_eq!(faults(&net), ["process p has not been looked for yet"]);
    run(&mut net, 2);
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    net.story();

    run(&mut net, 1);
    net.run_until(11_000);
    // One that is started again in time was never missed.
    run(&mut net, 2);
    net.run_until(20_000);
    assert_story(&mut net, &[]);

    run(&mut net, 1);
    net.run_until(30_000);
    assert_eq!(faults(&net), ["process p does not have its quorum, 1 run"]);
    net.tell(0, Input::Process { name: "p", running: 2, forked: true });
    net.run_until(31_500);
    assert_story(
        &mut net,
        &[
            (22_000, 0, "Quorum lost for tracked process p"),
            (22_000, 0, "(VI_1) Entering FAULT STATE"),
            (31_000, 0, "Quorum gained for tracked process p"),
            (31_000, 0, "(VI_1) Entering BACKUP STATE"),
        ],
    );
}

#[test]
fn processes_with_a_weight_change_the_election() {
    let mut net = Network::new();
    net.host(1, with_process(110, -20));
    net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
    run(&mut net, 3);
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    run(&mut net, 0);
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
}

#[test]
fn what_is_known_before_the_start_is_not_waited_for() {
    // An engine that failed as MASTER resumes so at once.
    let mut net = Network::new();
    let mut config = with_file(110, 0);
    config.processes = with_process(0, 0).processes;
    if let InstanceConfig::Vrrp(instance) = &mut config.instances[0] {
        Arc::make_mut(instance).router.track_processes = vec![tracked("p", 0)];
    }
    let known = [
        Input::File { name: "f", value: 0 },
        Input::Process { name: "p", running: 2, forked: false },
    ];
    net.resume_knowing(1, config, &["VI_1"], known);
    assert_story(&mut net, &[(0, 0, "(VI_1) Entering MASTER STATE")]);
}

#[test]
fn a_file_takes_the_whole_sync_group_down() {
    let mut config = with_file(110, 0);
    config.instances.extend(plan([instance("VI_2", "eth1", 2, 100)]).instances);
    config.groups = vec![group("GW", &["VI_1", "VI_2"])];
    let mut net = Network::new();
    net.host(1, config);
    says(&mut net, 0);
    net.run_until(10_000);
    assert_eq!(net.holders(VIP), [0]);
    says(&mut net, 1);
    assert_eq!((net.holders(VIP), net.holders([10, 0, 2, 100])), (vec![], vec![]));
}

#[test]
fn a_file_and_a_process_demote_a_carp_group() {
    let router = VirtualRouter {
        track_files: vec![tracked("f", -1)],
        track_processes: vec![tracked("p", -30)],
        ..instance("LAN", "eth1", 1, 1).router
    };
    let carp = CarpInstance { router, vhid: 1, ..CarpInstance::default() };
    let carp = Carp::all_of(&Arc::new(carp)).map(InstanceConfig::Carp).collect();
    let (files, processes) = (vec![file("f")], vec![process("p")]);
    let mut net = Network::new();
    net.host(1, Plan { instances: carp, files, processes, ..Plan::default() });
    let demotion = |net: &Network| {
        let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
        status.carp.unwrap().instances[0].demotion
    };
    run(&mut net, 2);
    says(&mut net, 5);
    assert_eq!(demotion(&net), 5);
    run(&mut net, 0);
    assert_eq!(demotion(&net), 5);
    net.run_until(2_000);
    assert_eq!(demotion(&net), 35);
    says(&mut net, 0);
    run(&mut net, 2);
    assert_eq!(demotion(&net), 0);
}
