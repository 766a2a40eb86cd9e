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

/// Gives host 0 a packet of VRRP from `10.0.1.LAST`.
fn hears_from(net: &mut Network, last: u8, payload: &[u8]) {
    let packet = lb_election::IpPacket {
        source: [10, 0, 1, last].into(),
        destination: [224, 0, 0, 18].into(),
        ttl: Some(255),
        declared_len: None,
        payload,
        ah: None,
    };
    net.tell(0, Input::Packet { link: 1, packet });
}

/// An advertisement of version 2 for VRID 1 with `10.0.1.100`: its checksum is right.
fn version_2(priority: u8, auth: u8, password: &[u8; 8]) -> Vec<u8> {
    let mut octets = vec![0x21, 1, priority, 1, auth, 1, 0, 0, 10, 0, 1, 100];
    octets.extend(password);
    let words = octets.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    octets[6..8].copy_from_slice(&(!sum as u16).to_be_bytes());
    octets
}

fn version_2_alone(priority: u8) -> Network {
    let mut net = Network::new();
    let mut config = instance("VI_1", "eth1", 1, priority);
    config.version = lb_config::model::VrrpVersion::V2;
    config.password = Some(*b"password");
    net.host(1, plan([config]));
    net
}

#[test]
fn a_flood_from_many_senders_has_two_lines_of_each_kind_in_ten_seconds() {
    let mut net = version_2_alone(100);
    net.run_until(1_000);
    net.story();
    let (good, wrong) = (version_2(200, 1, b"password"), version_2(200, 1, b"passwort"));
    let mut broken = good.clone();
    broken[6] ^= 1;
    // A valid advertisement of another sender each time, and then one of each bad sort.
    for n in 0..10_000_u64 {
        net.run_until(1_000 + n);
        let from = 10 + (n % 200) as u8;
        for payload in [&good, &wrong, &broken, &version_2(200, 2, b"password")] {
            hears_from(&mut net, from, payload);
        }
    }
    let story = told(&mut net);
    assert!(story.len() <= 6, "{} lines: {:?}", story.len(), &story[..6]);
    assert!(net.hosts[0].node.slots[0].as_ref().unwrap().lines.kinds() < 10);
    // What was left out is counted in the next line.
    net.run_until(15_000);
    hears_from(&mut net, 10, &good);
    hears_from(&mut net, 11, &good);
    hears_from(&mut net, 12, &broken);
    let story = told(&mut net);
    assert!(
        story.iter().any(|(_, line)| line.ends_with("lines like this were left out before)")),
        "{story:?}"
    );
}

#[test]
fn another_kind_of_authentication_has_a_line_beside_a_wrong_password() {
    let mut net = version_2_alone(100);
    net.run_until(1_000);
    net.story();
    hears_from(&mut net, 9, &version_2(200, 1, b"passwort"));
    hears_from(&mut net, 9, &version_2(200, 0, &[0; 8]));
    hears_from(&mut net, 9, &version_2(200, 0, &[0; 8]));
    assert_eq!(kinds(&net), ["wrong_secret", "other_auth_type"]);
    assert_eq!(told(&mut net).len(), 2);
}

#[test]
fn an_interval_that_is_far_from_ours_is_told_and_followed() {
    let mut net = pair();
    net.story();
    // Priority 255, 40.95 s; the checksum over the pseudo header of 10.0.1.66 > 224.0.0.18.
    let owner = lb_vrrp::Config {
        adver_int: Duration::from_millis(40_950),
        ..lb_vrrp::Config::new(
            lb_vrrp::Version::V3,
            lb_vrrp::Family::Inet,
            lb_vrrp::Vrid::new(1).unwrap(),
            lb_vrrp::Priority(255),
            Duration::from_millis(40_950),
        )
    };
    let vips = lb_vrrp::Vips::new(lb_vrrp::Family::Inet, [IpAddr::from(VIP)]);
    let owner = lb_vrrp::Instance::new(lb_vrrp::Config { vips, ..owner });
    let mut payload = Vec::new();
    let (from, to) = (IpAddr::from([10, 0, 1, 66]), IpAddr::from([224, 0, 0, 18]));
    owner.emit(lb_vrrp::Priority(255).into(), (from, to), 255, &mut payload);
    hears_from(&mut net, 66, &payload);
    let [conflict] = &shown(&net)[..] else { panic!("{:?}", shown(&net)) };
    assert_eq!(conflict.kind, "other_interval");
    // 3 × 40.95 s and the skew of 56 × 40.95 / 256 s.
    let verdict = "10.0.1.66 says that it advertises every 40.95 s, we do every 1 s: if it falls \
                   silent, nobody takes over for 131.8 s";
    assert_eq!(conflict.verdict, verdict);
    assert_eq!(told(&mut net).len(), 1);
    // For as long as it counts.
    net.run_until(120_000);
    assert_eq!(kinds(&net), ["other_interval"]);
    net.run_until(145_000);
    assert!(kinds(&net).is_empty(), "{:?}", shown(&net));
    assert_eq!(net.holders(VIP), [0]);
}

#[test]
fn our_own_address_among_the_peers() {
    let mut net = Network::new();
    let mut config = instance("VI_1", "eth1", 1, 200);
    let peers = vec![UnicastPeer { address: [10, 0, 1, 1].into(), ttl: (0, 255) }];
    config.router.peers = Peers::Unicast { peers, check_source: false, ttl: None };
    net.host(1, plan([config]));
    let packet = lb_election::IpPacket {
        source: [10, 0, 1, 1].into(),
        destination: [10, 0, 1, 1].into(),
        ttl: Some(255),
        declared_len: None,
        payload: &[0x31, 1, 200, 0, 0, 100, 0, 0],
        ah: None,
    };
    net.tell(0, Input::Packet { link: 1, packet });
    let [conflict] = &shown(&net)[..] else { panic!("{:?}", shown(&net)) };
    assert_eq!(conflict.verdict, "our own address 10.0.1.1 is one of our unicast peers");
    assert_eq!(conflict.remedy, "remove the line 10.0.1.1 from unicast_peer");
}

#[test]
fn our_own_address_claimed_by_another_mac() {
    let mut net = pair();
    let own = IpAddr::from([10, 0, 1, 1]);
    assert!(net.hosts[0].node.held().contains(&(1, own)));
    net.tell(0, Input::Claim { link: 1, address: own, mac: [2, 0, 0, 0, 0, 9] });
    let [conflict] = &shown(&net)[..] else { panic!("{:?}", shown(&net)) };
    let verdict = "02:00:00:00:00:09 claims 10.0.1.1, which our advertisements come from";
    assert_eq!((&*conflict.kind, &*conflict.verdict), ("own_address", verdict));
    net.run_until(71_000);
    assert!(shown(&net).is_empty());
}

#[test]
fn a_link_with_another_mac_is_announced_by_its_master_alone() {
    let net = pair();
    let announced = |host: usize| {
        let mut out = Vec::new();
        net.hosts[host].node.announce_link(1, &mut out);
        out
    };
    assert_eq!(announced(0), [Action::Announce { instance: InstanceId(0), rounds: 5 }]);
    assert_eq!(announced(1), []);
}
