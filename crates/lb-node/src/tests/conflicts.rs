//! What cannot be right is told once, shown while it lasts, and told again when it is over.

use lb_control::status::Conflict;

use super::*;

/// What host 0 says of conflicts: when and what.
fn told(net: &mut Network) -> Vec<(u64, String)> {
    let ours = net.story().into_iter().filter(|(_, host, _)| *host == 0);
    let lines = ours.map(|(at, _, line)| (at, line));
    lines.filter(|(_, line)| !line.contains(" STATE") && !line.contains("lower")).collect()
}

fn shown(net: &Network) -> Vec<Conflict> {
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    status.vrrp.into_iter().flat_map(|vrrp| vrrp.conflicts).collect()
}

/// Kinds that host 0 shows.
fn kinds(net: &Network) -> Vec<String> {
    shown(net).into_iter().map(|conflict| conflict.kind).collect()
}

#[test]
fn a_wrong_password_is_told_once_while_it_lasts() {
    let mut net = Network::new();
    for (priority, password) in [(200, b"password"), (100, b"passwort")] {
        let mut config = instance("VI_1", "eth1", 1, priority);
        config.version = lb_config::model::VrrpVersion::V2;
        config.password = Some(*password);
        net.host(1, plan([config]));
    }
    net.run_until(30_000);
    let began = "(VI_1) advertisement from 10.0.1.2: wrong password: \
                 set the same `auth_pass` on all routers";
    let story = told(&mut net);
    assert_eq!(story.len(), 1, "{story:?}");
    assert_eq!(story[0].1, began);
    assert_eq!(kinds(&net), ["wrong_secret"]);

    net.kill(1);
    net.run_until(40_000);
    let story = told(&mut net);
    assert_eq!(story.len(), 1, "{story:?}");
    assert_eq!(story[0].1, "(VI_1) no more: advertisement from 10.0.1.2: wrong password");
    assert!(shown(&net).is_empty());

    // Another time is another case.
    let mut config = instance("VI_1", "eth1", 1, 100);
    config.version = lb_config::model::VrrpVersion::V2;
    config.password = Some(*b"passwort");
    net.host(1, plan([config]));
    net.run_until(50_000);
    assert_eq!(kinds(&net), ["wrong_secret"]);
}

#[test]
fn another_list_of_addresses() {
    let mut net = Network::new();
    net.host(1, plan([instance("VI_1", "eth1", 1, 100)]));
    let mut config = instance("VI_1", "eth1", 1, 200);
    config.router.vips = vec![vip([10, 0, 1, 101])];
    net.host(1, plan([config]));
    net.run_until(10_000);
    assert_eq!(kinds(&net), ["other_vips"]);
    net.tell(1, Input::Reload(plan([instance("VI_1", "eth1", 1, 200)])));
    net.run_until(20_000);
    assert!(shown(&net).is_empty());
}

#[test]
fn two_masters_are_told_when_they_last() {
    let mut net = pair();
    // Host 1 does not hear host 0: a one-way link.
    net.deafen(1);
    net.run_until(14_000);
    assert!(shown(&net).is_empty());
    net.run_until(20_000);
    let verdict = "10.0.1.2 is MASTER too, does not yield, and is heard by us";
    assert_eq!(shown(&net)[0].verdict, verdict);
    let story = told(&mut net);
    assert_eq!(story.len(), 1, "{story:?}");
    net.heal();
    net.run_until(30_000);
    assert!(shown(&net).is_empty());
    assert_eq!(net.holders(VIP), [0]);
}

#[test]
fn a_number_of_the_other_protocol() {
    let mut net = pair();
    net.story();
    // CARP: version 2, type 1, vhid 1, 36 octets.
    let mut payload = [0; 36];
    (payload[0], payload[1], payload[3]) = (0x21, 1, 7);
    let packet = lb_election::IpPacket {
        source: [10, 0, 1, 9].into(),
        destination: [224, 0, 0, 18].into(),
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload: &payload,
    };
    net.tell(0, Input::Packet { link: 1, packet });
    let story = told(&mut net);
    assert!(
        story[0].1.starts_with("(VI_1) 10.0.1.9 uses our number 1 as a vhid of CARP"),
        "{story:?}"
    );
    net.run_until(13_001);
    assert!(shown(&net).is_empty());
    assert_eq!(told(&mut net).len(), 1);
}

#[test]
fn our_own_address_from_elsewhere() {
    let mut net = pair();
    let packet = lb_election::IpPacket {
        source: [10, 0, 1, 1].into(),
        destination: [224, 0, 0, 18].into(),
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload: &[0x31, 1, 200, 0, 0, 100, 0, 0],
    };
    net.tell(0, Input::Packet { link: 1, packet });
    assert_eq!(kinds(&net), ["own_address"]);
}

#[test]
fn a_vip_that_a_foreign_mac_answers_for() {
    let mut net = pair();
    let claim = |net: &mut Network, host| {
        let (address, mac) = (VIP.into(), [2, 0, 0, 0, 0, 9]);
        net.tell(host, Input::Claim { link: 1, address, mac });
    };
    claim(&mut net, 1); // a backup expects that
    claim(&mut net, 0);
    claim(&mut net, 0);
    let [conflict] = &shown(&net)[..] else { panic!("{:?}", shown(&net)) };
    assert_eq!(conflict.kind, "foreign_mac");
    assert_eq!(conflict.verdict, "02:00:00:00:00:09 claims 10.0.1.100, which is ours as MASTER");
    let status = net.hosts[1].node.status(net.now(), Timestamp::UNIX_EPOCH);
    assert!(status.vrrp[0].conflicts.is_empty());
    net.run_until(69_000);
    assert_eq!(kinds(&net).len(), 1);
    net.run_until(71_000);
    assert!(shown(&net).is_empty());

    // While it hands over, another MAC is as it should be.
    net.tell(0, Input::Handover { name: "VI_1" });
    claim(&mut net, 0);
    assert!(shown(&net).is_empty());
}
