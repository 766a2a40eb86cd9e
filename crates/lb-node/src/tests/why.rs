//! Why: transitions with their causes.

use super::*;

/// From, to, input and reason, the latest first.
fn why(net: &Network, host: usize, name: &str) -> Vec<(State, State, String, String)> {
    let transitions = net.hosts[host].node.why(name, net.now(), Timestamp::UNIX_EPOCH).unwrap();
    transitions.into_iter().map(|t| (t.from, t.to, t.input, t.reason)).collect()
}

#[track_caller]
fn assert_why(net: &Network, host: usize, name: &str, expected: &[(State, State, &str, &str)]) {
    let found = why(net, host, name);
    let found: Vec<_> = found.iter().map(|(f, t, i, r)| (*f, *t, i.as_str(), r.as_str())).collect();
    assert_eq!(found[..expected.len()], *expected);
}

#[test]
fn a_dead_master_and_its_return() {
    let mut net = pair();
    net.kill(0);
    net.run_until(20_000);
    net.host(1, plan([instance("VI_1", "eth1", 1, 200)]));
    net.run_until(30_000);
    assert_why(
        &net,
        1,
        "VI_1",
        &[
            (
                State::Master,
                State::Backup,
                "VRRP packet from 10.0.1.3 on eth1: priority 200",
                "10.0.1.3 advertises priority 200, higher than our 100",
            ),
            (
                State::Backup,
                State::Master,
                "a timer ran out",
                "nothing heard for 3.609 s (3 × 1 s + skew (256 − 100)/256 × 1 s); \
                 last from 10.0.1.1 with priority 200",
            ),
            (State::Init, State::Backup, "start", "it was started, and listens first"),
        ],
    );
    assert!(net.hosts[1].node.why("NOBODY", net.now(), Timestamp::UNIX_EPOCH).is_none());
}

#[test]
fn both_clocks_are_told() {
    let net = pair();
    let wall: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
    let why = net.hosts[0].node.why("VI_1", net.now(), wall).unwrap();
    assert_eq!(why[0].ago, 6.78125);
    assert_eq!(why[0].at, "2026-01-01T00:00:03.21875Z".parse().unwrap());
}

#[test]
fn a_group_names_the_member() {
    let mut net = Network::new();
    net.host(2, gateway(200));
    net.run_until(10_000);
    net.carrier(0, 2, false);
    let fault = "interface eth2 is down";
    assert_why(&net, 0, "WAN", &[(State::Master, State::Fault, fault, fault)]);
    let other = "WAN of the same sync group: interface eth2 is down";
    assert_why(&net, 0, "LAN", &[(State::Master, State::Fault, fault, other)]);

    net.carrier(0, 2, true);
    net.run_until(20_000);
    net.host(2, plan([instance("LAN", "eth1", 1, 250)]));
    net.run_until(30_000);
    let packet = "VRRP packet from 10.0.1.2 on eth1: priority 250";
    let higher = "10.0.1.2 advertises priority 250, higher than our 200";
    assert_why(&net, 0, "LAN", &[(State::Master, State::Backup, packet, higher)]);
    let with = format!("LAN of the same sync group: {higher}");
    assert_why(&net, 0, "WAN", &[(State::Master, State::Backup, packet, &with)]);
}

#[test]
fn an_operator_and_a_script_are_causes() {
    let mut net = pair();
    net.tell(0, Input::Handover { name: "VI_1" });
    net.kill(1);
    net.run_until(20_000);
    let alone = "the operator handed over, and nobody took over in time";
    assert_why(&net, 0, "VI_1", &[(State::Master, State::Master, "a timer ran out", alone)]);

    let mut net = Network::new();
    net.host(1, checked(200, 0));
    net.tell(0, Input::Script { name: "chk", success: false });
    let failed = "script chk failed";
    assert_why(&net, 0, "VI_1", &[(State::Init, State::Fault, failed, failed)]);
}

#[test]
fn the_last_sixteen_are_kept() {
    let mut net = Network::new();
    net.host(1, plan([instance("VI_1", "eth1", 1, 200)]));
    for _ in 0..20 {
        net.carrier(0, 1, false);
        net.carrier(0, 1, true);
    }
    assert_eq!(why(&net, 0, "VI_1").len(), 16);
}
