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
        ah: None,
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

/// IPv4 header and authentication header of keepalived 2.2.7 with the password `secret`, multicast, as
/// captured, and the advertisement after them: VRID 51, priority 100, 1 s, 192.0.2.100.
const AH_HEADERS: [u8; 44] = hex!(
    "45c0 0040 0001 0000 ff33 18b6 c0000201 e0000012"
    "70 04 0000 c0000201 00000001 e9d33f4970c19608673871fc"
);
const AH_ADVERT: [u8; 20] = hex!("2133 6401 0201 b665 c0000264 0000000000000000");
/// The third one to a unicast peer: 192.0.2.1 > 192.0.2.2.
const AH_UNICAST: [u8; 44] = hex!(
    "45c0 0040 0003 0000 ff33 36c4 c0000201 c0000202"
    "70 04 0000 c0000201 00000003 906a3d425131badfb6b13e63"
);

fn authenticated() -> Config {
    Config {
        header_key: Some(*b"secret\0\0"),
        vips: Vips::new(Family::Inet, [IpAddr::from([192, 0, 2, 100])]),
        priority: Priority(100),
        ..v2()
    }
}

fn with_header<'a>(headers: &'a [u8], payload: &'a [u8]) -> IpPacket<'a> {
    IpPacket { ah: Some(headers), declared_len: Some(20), ..packet(payload) }
}

#[test]
fn a_captured_authentication_header_is_read_and_made() {
    let packet = with_header(&AH_HEADERS, &AH_ADVERT);
    let advert = Advert::parse(&packet, &authenticated()).unwrap();
    assert_eq!((advert.priority, advert.auth), (Priority(100), Auth::Header { number: 1 }));
    for (headers, to, number) in [(&AH_HEADERS, GROUP, 1), (&AH_UNICAST, PEER, 3)] {
        let instance = crate::Instance::new(authenticated());
        let content = crate::Content { priority: Priority(100), number };
        let mut out = vec![0xa5; 3];
        let id = instance.emit(content, (US.into(), to.into()), 255, &mut out);
        assert_eq!(id, Some(number as u16));
        assert_eq!(out[3..27], headers[20..]);
        assert_eq!(out[27..], AH_ADVERT);
    }
}

#[test]
fn an_authentication_header_is_refused_for_each_thing_that_is_wrong_with_it() {
    let read = |headers: &[u8], config: &Config| {
        Advert::parse(&with_header(headers, &AH_ADVERT), config).err()
    };
    let config = authenticated();
    assert_eq!(read(&AH_HEADERS, &config), None);
    for len in 0..AH_HEADERS.len() {
        let truncated = WireError::Truncated { len };
        let found = read(&AH_HEADERS[..len], &config);
        assert!(found.is_some() && (len >= 44 || found == Some(truncated)), "{len}: {found:?}");
    }
    for at in 0..AH_HEADERS.len() {
        let mut headers = AH_HEADERS;
        headers[at] ^= 1;
        let expected = match at {
            // Type of service, flags and offset, checksum: they change on the way.
            1 | 6 | 7 | 10 | 11 => None,
            20 => Some(WireError::NextHeader { found: 113 }),
            _ => Some(WireError::Digest),
        };
        assert_eq!(read(&headers, &config), expected, "octet {at}");
    }
    let other = Config { header_key: Some(*b"secreT\0\0"), ..authenticated() };
    assert_eq!(read(&AH_HEADERS, &other), Some(WireError::Digest));
    // One has it and the other not.
    let plain = Config { header_key: None, ..authenticated() };
    assert_eq!(read(&AH_HEADERS, &plain), Some(WireError::AuthTypeMismatch { found: 2 }));
    let plain = Advert::parse(&packet(&AH_ADVERT), &config).err();
    assert_eq!(plain, Some(WireError::AuthTypeMismatch { found: 0 }));
    // By hand: the checksum is 0x100 more for each step of the type down.
    for (kind, sum, error) in [
        (0, 0xb865, WireError::AuthTypeMismatch { found: 0 }),
        (1, 0xb765, WireError::AuthTypeMismatch { found: 1 }),
        (3, 0xb565, WireError::AuthTypeUnknown { found: 3 }),
    ] {
        let mut advert = changed(&AH_ADVERT, 4, kind);
        advert[6..8].copy_from_slice(&u16::to_be_bytes(sum));
        assert_eq!(Advert::parse(&with_header(&AH_HEADERS, &advert), &config).err(), Some(error));
    }
}

#[test]
fn version_2_over_ipv6_has_the_pseudo_header_in_its_checksum() {
    // keepalived 2.2.7, captured: fe80::9025:fcff:febe:e6d7 > ff02::12, VIP fe80::100.
    const CAPTURED: [u8; 24] = hex!("2133 6401 0001 0a6f fe80000000000000 0000000000000100");
    let vips = Vips::new(Family::Inet6, ["fe80::100".parse().unwrap()]);
    let config = Config { vips, ..config(Version::V2, Family::Inet6) };
    let packet = IpPacket {
        source: "fe80::9025:fcff:febe:e6d7".parse().unwrap(),
        destination: "ff02::12".parse().unwrap(),
        ..packet(&CAPTURED)
    };
    let advert = Advert::parse(&packet, &config).unwrap();
    assert_eq!((advert.priority, advert.checksum), (Priority(100), Checksum::Pseudo));
    let mut out = Vec::new();
    let instance = crate::Instance::new(config);
    let way = (packet.source, packet.destination);
    assert_eq!(instance.emit(Priority(100).into(), way, 255, &mut out), None);
    assert_eq!(out, CAPTURED);
}
