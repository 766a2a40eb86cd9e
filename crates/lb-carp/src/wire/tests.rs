//! The golden packets are those of an independent implementation of HMAC-SHA1; the first two are
//! also captures of ucarp 1.5.2.

use std::net::IpAddr;

use hex_literal::hex;
use lb_election::Peer;
use proptest::prelude::*;

use super::*;

/// A packet, and whose it is.
struct Golden {
    config: Config,
    advert: Advert,
    packet: [u8; LEN],
}

fn golden(pass: &str, addresses: &[&str], advert: Advert, packet: [u8; LEN]) -> Golden {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let config = Config::new(advert.vhid, key(pass), addresses);
    Golden { config, advert, packet }
}

fn key(pass: &str) -> [u8; 20] {
    let mut key = [0; 20];
    key[..pass.len()].copy_from_slice(pass.as_bytes());
    key
}

fn advert(vhid: u8, advbase: u8, advskew: u8, demotion: u8, counter: u64) -> Advert {
    Advert { vhid: Vhid::new(vhid).unwrap(), advskew, demotion, advbase, counter }
}

/// Captured: ucarp with 10.66.0.100.
fn captured() -> Golden {
    golden(
        "mekmitasdigoat",
        &["10.66.0.100"],
        advert(7, 1, 0, 0, 0xaade_b6a3_9641_e306),
        hex!("210700070001017aaadeb6a39641e3062fa0ae127b27a6d52f326603a96bb8076ff49c5e"),
    )
}

const MIXED: [&str; 3] = ["192.0.2.1", "2001:db8::1", "fe80::200:5eff:fe00:1c8"];

fn all() -> [Golden; 8] {
    let mut by_hand = golden(
        "secret",
        &["192.0.2.1"],
        advert(5, 1, 0, 0, 0x1111_1111_2222_2222),
        hex!("21050007000112e911111111222222227574be9d77eb03f62c7929a74914808687410eb3"),
    );
    by_hand.config.link_address = Some([2, 0, 0, 0, 0, 5]);
    [
        captured(),
        golden(
            "nineteen-chars-long",
            &["10.66.0.200"],
            advert(9, 1, 20, 0, 0x0247_f3e3_8dbf_efdc),
            hex!("21091407000139340247f3e38dbfefdc0232180a021f218ead1ce075f6011ccfdbea63bb"),
        ),
        // In no order, and once more than once.
        golden(
            "secret",
            &["192.168.1.10", "10.0.0.1", "192.168.1.10"],
            advert(42, 2, 128, 33, 0x0102_0304_0506_0708),
            hex!("212a80072102d56c0102030405060708b5d8f0cab2d96e593081e45dda5a48fce8536fea"),
        ),
        golden(
            "secret",
            &MIXED,
            advert(200, 1, 100, 0, 0xffff_ffff_ffff_fffe),
            hex!("21c8640700016564fffffffffffffffe4aab6df89368f91ab7b7a12076542df7856c4d14"),
        ),
        // Bows out.
        golden(
            "secret",
            &["203.0.113.5"],
            advert(1, 255, 255, 0, 0x0011_2233_4455_6677),
            hex!("2101ff0700ff25260011223344556677d5019dc5b6424a0a2120a7e022d58000563ab79b"),
        ),
        // The addresses that are in no digest.
        golden(
            "",
            &["2001:db8:ffff::2", "2001:db8::10", "0.0.0.0", "255.255.255.255", "::"],
            advert(255, 1, 254, 255, 1),
            hex!("21fffe07ff01db960000000000000001a4da32ff8292eb903f816cc5c00715c936e80662"),
        ),
        by_hand,
        golden(
            "twenty-byte-key-1234",
            &["203.0.113.5"],
            advert(1, 1, 0, 0, 1),
            hex!("2101000700017203000000000000000195bfa8def4eef26dfb1f0075eefd2ae0db3c5647"),
        ),
    ]
}

fn over(family: Family, payload: &[u8]) -> IpPacket<'_> {
    let (source, destination) = match family {
        Family::Inet => (IpAddr::from([192, 0, 2, 7]), IpAddr::from([224, 0, 0, 18])),
        Family::Inet6 => ("fe80::7".parse().unwrap(), "ff02::12".parse().unwrap()),
    };
    IpPacket { source, destination, ttl: Some(255), declared_len: None, ah: None, payload }
}

fn packet(payload: &[u8]) -> IpPacket<'_> {
    over(Family::Inet, payload)
}

fn parse(packet: &IpPacket<'_>, config: &Config) -> Result<Advert, WireError> {
    Advert::parse(packet, config, &Digest::new(config))
}

#[test]
fn golden_packets_pass_both_ways() {
    for golden in all() {
        let families: Vec<Family> =
            Family::ALL.into_iter().filter(|family| golden.config.has(*family)).collect();
        assert!(!families.is_empty());
        for family in families {
            assert_eq!(parse(&over(family, &golden.packet), &golden.config), Ok(golden.advert));
        }
        let mut out = vec![0xa5; 7];
        golden.advert.emit(&Digest::new(&golden.config), &mut out);
        assert_eq!(out[..7], [0xa5; 7]);
        assert_eq!(out[7..], golden.packet);
    }
}

#[test]
fn a_digest_may_have_the_link_local_addresses_or_not() {
    const WITH: [u8; LEN] =
        hex!("21c864070001801efffffffffffffffe72ec39858443ac16fd18160899020b8652fe129e");
    let [_, _, _, mixed, ..] = all();
    assert_eq!(parse(&packet(&WITH), &mixed.config), Ok(mixed.advert));
    // Nobody who has none knows it.
    let addresses = mixed.config.addresses[..2].to_vec();
    let config = Config { addresses, ..mixed.config };
    assert_eq!(parse(&packet(&WITH), &config), Err(WireError::Digest));
    assert_eq!(parse(&packet(&mixed.packet), &config), Ok(mixed.advert));
}

#[test]
fn every_truncation_is_refused() {
    let golden = captured();
    for len in 0..LEN {
        let refused = parse(&packet(&golden.packet[..len]), &golden.config);
        assert_eq!(refused, Err(WireError::Truncated { len }));
    }
}

#[test]
fn what_is_behind_an_advertisement_is_ignored() {
    let golden = captured();
    let mut longer = golden.packet.to_vec();
    longer.resize(200, 0xa5);
    for len in LEN..longer.len() {
        assert_eq!(parse(&packet(&longer[..len]), &golden.config), Ok(golden.advert));
    }
}

/// A packet with one octet changed and the checksum put right again.
fn changed(golden: &[u8], at: usize, octet: u8) -> Vec<u8> {
    let mut octets = golden.to_vec();
    octets[at] = octet;
    octets[6..8].fill(0);
    let checksum = checksum(&octets[..LEN]);
    octets[6..8].copy_from_slice(&checksum.to_be_bytes());
    octets
}

#[test]
fn each_rule_has_its_error() {
    let Golden { config, packet: good, .. } = captured();
    let refused = |octets: &[u8]| parse(&packet(octets), &config).err();
    let ttl = IpPacket { ttl: Some(254), ..packet(&good) };
    assert_eq!(parse(&ttl, &config), Err(WireError::Ttl { ttl: 254 }));
    assert_eq!(refused(&changed(&good, 1, 8)), Some(WireError::Vhid { vhid: 8 }));
    assert_eq!(refused(&changed(&good, 1, 0)), Some(WireError::Vhid { vhid: 0 }));
    assert_eq!(refused(&changed(&good, 0, 0x41)), Some(WireError::Version { found: 4 }));
    assert_eq!(refused(&changed(&good, 0, 0x22)), Some(WireError::Kind { found: 2 }));
    assert_eq!(refused(&changed(&good, 3, 99)), Some(WireError::AuthLen { found: 99 }));
    assert_eq!(refused(&changed(&good, 8, 0)), Some(WireError::Digest)); // another counter
    assert_eq!(refused(&changed(&good, 35, 0)), Some(WireError::Digest));
    let mut damaged = good;
    damaged[6] ^= 1;
    assert_eq!(refused(&damaged), Some(WireError::Checksum));
    assert_eq!(parse(&over(Family::Inet6, &good), &config), Err(WireError::Family(Family::Inet6)));
    let to_us = IpPacket { destination: [192, 0, 2, 1].into(), ..packet(&good) };
    assert_eq!(parse(&to_us, &config), Err(WireError::Destination { unicast: true }));
    let other_pass = Config { key: key("mekmitasdigoaT"), ..config.clone() };
    assert_eq!(parse(&packet(&good), &other_pass), Err(WireError::Digest));
    let other_address = Config { addresses: vec![[10, 66, 0, 101].into()], ..config.clone() };
    assert_eq!(parse(&packet(&good), &other_address), Err(WireError::Digest));
}

#[test]
fn the_digest_covers_neither_pace_nor_demotion() {
    let Golden { config, packet: good, advert, .. } = captured();
    let replayed = Advert { advskew: 9, advbase: 8, demotion: 7, ..advert };
    let octets = changed(&changed(&changed(&good, 2, 9), 5, 8), 4, 7);
    assert_eq!(parse(&packet(&octets), &config), Ok(replayed));
}

#[test]
fn unicast_peers_are_known_by_address_and_ttl() {
    const PEER: [u8; 4] = [192, 0, 2, 7];
    let Golden { config, packet: good, .. } = captured();
    let unicast = |check_source| {
        let peers = vec![Peer { address: PEER.into(), min_ttl: 64, max_ttl: 255 }];
        Config { peers: Peers::Unicast { peers, check_source }, ..config.clone() }
    };
    let from = |source: [u8; 4], ttl| {
        let (source, destination) = (source.into(), [192, 0, 2, 1].into());
        IpPacket { source, destination, ttl: Some(ttl), ..packet(&good) }
    };
    assert!(parse(&from(PEER, 64), &unicast(true)).is_ok());
    assert_eq!(parse(&from(PEER, 63), &unicast(true)), Err(WireError::PeerTtl { ttl: 63 }));
    let stranger = from([198, 51, 100, 1], 255);
    assert_eq!(parse(&stranger, &unicast(true)), Err(WireError::Source));
    assert!(parse(&stranger, &unicast(false)).is_ok());
    let destination = WireError::Destination { unicast: false };
    assert_eq!(parse(&packet(&good), &unicast(true)), Err(destination));
}

#[test]
fn a_family_without_a_peer_uses_its_group() {
    let [_, _, _, Golden { config, packet: good, .. }, ..] = all();
    let peers = vec![Peer { address: [192, 0, 2, 7].into(), min_ttl: 0, max_ttl: 255 }];
    let config = Config { peers: Peers::Unicast { peers, check_source: true }, ..config };
    assert_eq!(config.peers(Family::Inet).count(), 1);
    assert_eq!(config.peers(Family::Inet6).count(), 0);
    assert!(parse(&over(Family::Inet6, &good), &config).is_ok());
    let routed = IpPacket { ttl: Some(64), ..over(Family::Inet6, &good) };
    assert_eq!(parse(&routed, &config), Err(WireError::Ttl { ttl: 64 }));
}

#[test]
fn vrrp_is_told_apart() {
    let Golden { config, packet: good, .. } = captured();
    // Version 3, and version 2 with one address: 8 + 4 octets, and 8 of authentication.
    let v3 = hex!("31 07 96 01 0064 765c c000020a");
    let v2 = hex!("21 07 96 01 0001 84f2 c000020a 0000000000000000");
    // Five addresses are as long as CARP, seven say the same number.
    let five = changed(&good, 3, 5);
    let mut seven = hex!("21 07 64 07 0001 0000").to_vec();
    seven.resize(8 + 7 * 4 + 8, 0x0a);
    for payload in [&v3[..], &v2, &v2[..12], &five, &seven] {
        assert_eq!(parse(&packet(payload), &config), Err(WireError::Vrrp { vrid: 7 }));
        assert_eq!(vhid(payload), None);
    }
    assert_eq!(vhid(&good), Some(7));
    assert_eq!(vhid(&good[..4]), Some(7)); // cut
    assert_eq!(vhid(&good[..3]), None); // could be either
    // Three addresses, of which one is cut: VRRP's to complain about.
    let cut = hex!("21 07 96 03 0001 84f2 c000020a c000020b");
    assert_eq!(vhid(&cut), None);
}

#[test]
fn an_error_says_what_to_do() {
    assert_eq!(
        WireError::Destination { unicast: true }.to_string(),
        "it came by unicast where we use multicast: set `peer` on all nodes or on none"
    );
    assert_eq!(
        WireError::Family(Family::Inet6).to_string(),
        "it came over IPv6, of which we have no address: set the same ones on all nodes"
    );
}

proptest! {
    #[test]
    fn any_octets_are_read_without_panic(
        octets in prop::collection::vec(any::<u8>(), 0..64),
        ttl in any::<Option<u8>>(),
        declared_len in any::<Option<usize>>(),
    ) {
        for golden in all() {
            let packet = IpPacket { ttl, declared_len, ..packet(&octets) };
            let _ = parse(&packet, &golden.config);
        }
        let _ = vhid(&octets);
    }

    #[test]
    fn golden_packets_with_any_damage_are_read_without_panic(
        at in 0..LEN,
        octet in any::<u8>(),
        len in 0..=48_usize,
    ) {
        for golden in all() {
            let mut octets = changed(&golden.packet, at, octet);
            octets.resize(len, octet);
            let _ = parse(&packet(&octets), &golden.config);
        }
    }

    #[test]
    fn what_is_emitted_is_read_again(
        advbase in any::<u8>(),
        advskew in any::<u8>(),
        demotion in any::<u8>(),
        counter in any::<u64>(),
        key in any::<[u8; 20]>(),
        v4 in prop::collection::vec(any::<[u8; 4]>(), 1..5),
        v6 in prop::collection::vec(any::<[u8; 16]>(), 0..5),
        link_address in any::<Option<[u8; 6]>>(),
    ) {
        let addresses: Vec<IpAddr> =
            v4.into_iter().map(IpAddr::from).chain(v6.into_iter().map(IpAddr::from)).collect();
        let sent = advert(51, advbase, advskew, demotion, counter);
        let config = Config { link_address, ..Config::new(sent.vhid, key, addresses) };
        let mut octets = Vec::new();
        sent.emit(&Digest::new(&config), &mut octets);
        prop_assert_eq!(octets.len(), LEN);
        prop_assert_eq!(parse(&packet(&octets), &config), Ok(sent));
    }
}
