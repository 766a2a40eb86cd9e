//! Golden packets both ways, every rule, every truncation, any octets.

use std::net::IpAddr;
use std::time::Duration;

use hex_literal::hex;
use proptest::prelude::*;

use super::*;
use crate::vips::Vips;
use lb_election::Peer;

/// v3, VRID 51, priority 150, 100 cs, 192.0.2.10: checksum of the message alone, RFC 9568 §5.2.8.
const PLAIN: [u8; 12] = hex!("31 33 96 01 0064 765c c000020a");
/// The same with the pseudo header, as keepalived: 192.0.2.1 > 224.0.0.18.
const PSEUDO: [u8; 12] = hex!("31 33 96 01 0064 d3cb c000020a");
/// v2, VRID 51, priority 150, 1 s, 192.0.2.10, no authentication. By hand: 2133 + 9601 + 0001 +
/// c000 + 020a = 1793f, folded 7940, complement 86bf.
const V2: [u8; 20] = hex!("21 33 96 01 00 01 86bf c000020a 0000000000000000");
/// The same with the password `secret`: 2133 + 9601 + 0101 + c000 + 020a + 7365 + 6372 + 6574 =
/// 2b68a, folded b68c, complement 4973.
const V2_PASSWORD: [u8; 20] = hex!("21 33 96 01 01 01 4973 c000020a 7365637265740000");
/// v3 over IPv6, VRID 51, priority 150, 100 cs, fe80::1:0:0:1, fe80::1 > ff02::12. By hand: header
/// fe80 + 1 + ff02 + 12 + 70 + 18 = 1fe1d, message 3133 + 9601 + 64 + fe80 + 1 + 1 = 1c61a:
/// 3c437, folded c43a, complement 3bc5.
const V3_INET6: [u8; 24] = hex!("31 33 96 01 0064 3bc5 fe80000000000000 0001000000000001");

const US: [u8; 4] = [192, 0, 2, 1];
const GROUP: [u8; 4] = [224, 0, 0, 18];
const PEER: [u8; 4] = [192, 0, 2, 2];

fn config(version: Version, family: Family) -> Config {
    let vip: IpAddr = match family {
        Family::Inet => IpAddr::from([192, 0, 2, 10]),
        Family::Inet6 => "fe80::1:0:0:1".parse().unwrap(),
    };
    let vrid = Vrid::new(51).unwrap();
    Config {
        vips: Vips::new(family, [vip]),
        ..Config::new(version, family, vrid, Priority(100), Duration::from_secs(1))
    }
}

fn v2() -> Config {
    config(Version::V2, Family::Inet)
}

fn v3() -> Config {
    config(Version::V3, Family::Inet)
}

fn unicast(check_source: bool) -> Config {
    let peers = vec![Peer { address: PEER.into(), min_ttl: 64, max_ttl: 255 }];
    Config { peers: Peers::Unicast { peers, check_source }, ..v3() }
}

fn packet(payload: &[u8]) -> IpPacket<'_> {
    IpPacket {
        source: US.into(),
        destination: GROUP.into(),
        ttl: Some(255),
        declared_len: None,
        payload,
    }
}

/// Parses, and emits what was parsed behind the dirt of an earlier packet.
fn round_trip(golden: &[u8], packet: &IpPacket<'_>, config: &Config) -> Checksum {
    let advert = Advert::parse(packet, config).unwrap();
    assert_eq!((advert.vrid.value(), advert.priority), (51, Priority(150)));
    assert_eq!(advert.adver_int, Duration::from_secs(1));
    assert!(config.vips.agree_with(advert.addresses));
    let mut out = vec![0xa5; 7];
    advert.emit(packet.source, packet.destination, &mut out);
    assert_eq!(out[..7], [0xa5; 7]);
    assert_eq!(&out[7..], golden);
    assert_eq!(advert.len(), golden.len());
    advert.checksum
}

#[test]
fn golden_packets_pass_both_ways() {
    assert_eq!(round_trip(&PLAIN, &packet(&PLAIN), &v3()), Checksum::Plain);
    assert_eq!(round_trip(&PSEUDO, &packet(&PSEUDO), &v3()), Checksum::Pseudo);
    assert_eq!(round_trip(&V2, &packet(&V2), &v2()), Checksum::Plain);
    let password = Config { password: Some(*b"secret\0\0"), ..v2() };
    assert_eq!(round_trip(&V2_PASSWORD, &packet(&V2_PASSWORD), &password), Checksum::Plain);
    let inet6 = IpPacket {
        source: "fe80::1".parse().unwrap(),
        destination: "ff02::12".parse().unwrap(),
        ..packet(&V3_INET6)
    };
    let config = config(Version::V3, Family::Inet6);
    assert_eq!(round_trip(&V3_INET6, &inet6, &config), Checksum::Pseudo);
}

#[test]
fn every_truncation_is_refused() {
    let password = Config { password: Some(*b"secret\0\0"), ..v2() };
    for (golden, config) in [(&PSEUDO[..], v3()), (&V2, v2()), (&V2_PASSWORD, password)] {
        for len in 0..golden.len() {
            let expected = match len {
                0..8 => WireError::Truncated { len },
                _ => WireError::Length { count: 1, expected: golden.len(), len },
            };
            assert_eq!(Advert::parse(&packet(&golden[..len]), &config), Err(expected));
        }
    }
}

#[test]
fn padding_is_taken_only_where_ethernet_pads() {
    let mut padded = PSEUDO.to_vec();
    // 20 + 12 octets become 46.
    padded.resize(26, 0);
    assert!(Advert::parse(&packet(&padded), &v3()).is_ok());
    padded.push(0);
    assert!(Advert::parse(&packet(&padded), &v3()).is_err());
    let declared = |len| IpPacket { declared_len: Some(len), ..packet(&padded[..26]) };
    assert!(Advert::parse(&declared(12), &v3()).is_ok());
    let lie = WireError::TotalLength { declared: 26, expected: 12 };
    assert_eq!(Advert::parse(&declared(26), &v3()), Err(lie));
}

/// The golden v2 or v3 packet with one octet changed and the checksum put right again.
fn changed(golden: &[u8], at: usize, octet: u8) -> Vec<u8> {
    let mut octets = golden.to_vec();
    octets[at] = octet;
    octets[6..8].fill(0);
    let checksum = Checksum::Plain.compute(&octets, US.into(), GROUP.into());
    octets[6..8].copy_from_slice(&checksum.to_be_bytes());
    octets
}

#[test]
fn each_rule_has_its_error() {
    let parse = |octets: &[u8], config: &Config| Advert::parse(&packet(octets), config).err();
    let ttl = IpPacket { ttl: Some(254), ..packet(&PSEUDO) };
    assert_eq!(Advert::parse(&ttl, &v3()).err(), Some(WireError::Ttl { ttl: 254 }));
    assert_eq!(parse(&V2, &v3()), Some(WireError::Version { found: 2 }));
    assert_eq!(parse(&PSEUDO, &v2()), Some(WireError::Version { found: 3 }));
    assert_eq!(parse(&changed(&V2, 1, 52), &v2()), Some(WireError::Vrid { vrid: 52 }));
    assert_eq!(parse(&changed(&V2, 1, 0), &v2()), Some(WireError::Vrid { vrid: 0 }));
    assert_eq!(parse(&changed(&V2, 4, 3), &v2()), Some(WireError::AuthTypeUnknown { found: 3 }));
    assert_eq!(parse(&changed(&V2, 4, 2), &v2()), Some(WireError::AuthTypeMismatch { found: 2 }));
    assert_eq!(parse(&V2_PASSWORD, &v2()), Some(WireError::AuthTypeMismatch { found: 1 }));
    let password = Config { password: Some(*b"secreT\0\0"), ..v2() };
    assert_eq!(parse(&V2, &password), Some(WireError::AuthTypeMismatch { found: 0 }));
    assert_eq!(parse(&V2_PASSWORD, &password), Some(WireError::Password));
    let found = Duration::from_secs(2);
    assert_eq!(parse(&changed(&V2, 5, 2), &v2()), Some(WireError::Interval { found }));
    let found = Duration::ZERO;
    assert_eq!(parse(&changed(&PLAIN, 5, 0), &v3()), Some(WireError::Interval { found }));
    assert_eq!(parse(&changed(&PLAIN, 0, 0x32), &v3()), Some(WireError::Kind { found: 2 }));
    let mut damaged = PSEUDO;
    damaged[6] ^= 1;
    assert_eq!(parse(&damaged, &v3()), Some(WireError::Checksum));
    let to_us = IpPacket { source: PEER.into(), destination: US.into(), ..packet(&PLAIN) };
    let destination = WireError::Destination { unicast: true };
    assert_eq!(Advert::parse(&to_us, &v3()).err(), Some(destination));
    let destination = WireError::Destination { unicast: false };
    assert_eq!(parse(&PSEUDO, &unicast(false)), Some(destination));
}

#[test]
fn the_reserved_bits_before_the_interval_are_ignored() {
    let advert = changed(&PLAIN, 4, 0xf0);
    let advert = Advert::parse(&packet(&advert), &v3()).unwrap();
    assert_eq!(advert.adver_int, Duration::from_secs(1));
}

#[test]
fn unicast_peers_are_known_by_address_and_ttl() {
    let from = |source: [u8; 4], ttl| IpPacket {
        source: source.into(),
        destination: US.into(),
        ttl: Some(ttl),
        ..packet(&PLAIN)
    };
    assert!(Advert::parse(&from(PEER, 64), &unicast(true)).is_ok());
    let error = WireError::PeerTtl { ttl: 63 };
    assert_eq!(Advert::parse(&from(PEER, 63), &unicast(true)), Err(error));
    let stranger = from([198, 51, 100, 1], 255);
    assert_eq!(Advert::parse(&stranger, &unicast(true)), Err(WireError::Source));
    assert!(Advert::parse(&stranger, &unicast(false)).is_ok());
}

#[test]
fn the_old_unicast_checksum_is_told_apart() {
    // PSEUDO has 224.0.0.18 in its pseudo header: what an old release sends to a peer.
    let old = IpPacket { destination: PEER.into(), ..packet(&PSEUDO) };
    let advert = Advert::parse(&old, &unicast(false)).unwrap();
    assert_eq!(advert.checksum, Checksum::OldUnicast);
    let never = Config { old_unicast_checksum: OldUnicastChecksum::Never, ..unicast(false) };
    assert_eq!(Advert::parse(&old, &never), Err(WireError::Checksum));
}

#[test]
fn with_v3_checksum_as_v2_a_wrong_checksum_is_no_error() {
    let mut damaged = PSEUDO;
    damaged[6] ^= 1;
    let lenient = Config { v3_checksum_as_v2: true, ..v3() };
    let advert = Advert::parse(&packet(&damaged), &lenient).unwrap();
    assert_eq!(advert.checksum, Checksum::Unverified);
}

#[test]
fn carp_is_told_apart() {
    let mut carp = [0; 36];
    carp[..6].copy_from_slice(&hex!("21 33 00 07 00 01"));
    assert_eq!(Advert::parse(&packet(&carp), &v2()), Err(WireError::Carp { vhid: 51 }));
    // Five addresses are as long, but say five.
    carp[3] = 5;
    let octets = changed(&carp, 2, 150);
    assert!(Advert::parse(&packet(&octets), &v2()).is_ok());
}

#[test]
fn addresses_agree_in_any_order() {
    let [a, b, c] = [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]].map(IpAddr::from);
    let vips = |list: &[IpAddr]| Vips::new(Family::Inet, list.iter().copied());
    let ours = vips(&[a, b]);
    assert!(ours.agree_with(vips(&[a, b]).addresses()));
    assert!(ours.agree_with(vips(&[b, a]).addresses()));
    assert!(!ours.agree_with(vips(&[a]).addresses()));
    assert!(!ours.agree_with(vips(&[a, c]).addresses()));
    assert!(!ours.agree_with(vips(&[a, b, c]).addresses()));
    assert_eq!(vips(&[a, b]).addresses().iter().collect::<Vec<_>>(), [a, b]);
}

proptest! {
    #[test]
    fn any_octets_are_read_without_panic(
        octets in prop::collection::vec(any::<u8>(), 0..128),
        ttl in any::<Option<u8>>(),
        declared_len in any::<Option<usize>>(),
        unicast_to_us in any::<bool>(),
    ) {
        let destination = if unicast_to_us { US } else { GROUP }.into();
        let packet = IpPacket { destination, ttl, declared_len, ..packet(&octets) };
        let lenient = Config { v3_checksum_as_v2: true, ..v3() };
        let inet6 = config(Version::V3, Family::Inet6);
        for config in [v2(), v3(), lenient, inet6, unicast(true)] {
            let _ = Advert::parse(&packet, &config);
        }
    }

    #[test]
    fn golden_packets_with_any_damage_are_read_without_panic(
        at in 0..20_usize,
        octet in any::<u8>(),
        len in 0..=24_usize,
    ) {
        let mut octets = changed(&V2, at, octet);
        octets.resize(len, octet);
        let lenient = Config { v3_checksum_as_v2: true, ..v3() };
        for config in [v2(), v3(), lenient] {
            let _ = Advert::parse(&packet(&octets), &config);
        }
    }

    #[test]
    fn what_is_emitted_is_read_again(
        priority in any::<u8>(),
        vips in prop::collection::vec(any::<[u8; 4]>(), 0..255),
        interval_cs in 1_u64..=4095,
    ) {
        let adver_int = Duration::from_millis(interval_cs * 10);
        let vips = Vips::new(Family::Inet, vips.into_iter().map(IpAddr::from));
        let config = Config { adver_int, vips, ..v3() };
        let sent = Advert {
            version: Version::V3,
            vrid: config.vrid,
            priority: Priority(priority),
            adver_int,
            addresses: config.vips.addresses(),
            auth: Auth::None,
            checksum: Checksum::Pseudo,
        };
        let mut octets = Vec::new();
        sent.emit(US.into(), GROUP.into(), &mut octets);
        prop_assert_eq!(octets.len(), sent.len());
        prop_assert_eq!(Advert::parse(&packet(&octets), &config), Ok(sent));
    }
}
