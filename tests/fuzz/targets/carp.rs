//! Parses whatever bytes there are as CARP: no panic, and what is accepted is what `emit` would say.
//! The same with checksum and digest put right, which no fuzzer guesses.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_carp::{Advert, Config, Digest, LEN, Vhid, WireError, vhid};
use lb_election::{IpPacket, Peer, Peers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&form, payload)) = bytes.split_first() else { return };
    let Some(number) = payload.get(1).copied().and_then(Vhid::new) else { return };
    let (us, peer, group) =
        (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]), IpAddr::from([224, 0, 0, 18]));
    let mut key = [0; 20];
    key[..6].copy_from_slice(b"secret");
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0200, 0x5eff, 0xfe00, 0x01c8);
    let mut addresses = vec![IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))];
    if form & 1 != 0 {
        addresses.push(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
        addresses.push(link_local.into());
    }
    let mut config = Config::new(number, key, addresses);
    config.link_address = (form & 2 != 0).then_some([2, 0, 0, 0, 0, 5]);
    let destination = if form & 4 != 0 { us } else { group };
    if form & 8 != 0 {
        let peers = vec![Peer { address: peer, min_ttl: 0, max_ttl: 255 }];
        config.peers = Peers::Unicast { peers, check_source: form & 16 != 0 };
    }
    let digest = Digest::new(&config);
    let packet = |payload| IpPacket {
        source: peer,
        destination,
        ttl: Some(255),
        declared_len: None,
        ah: None,
        payload,
    };

    match Advert::parse(&packet(payload), &config, &digest) {
        Ok(advert) => {
            assert_eq!(vhid(payload), Some(number.value()));
            let mut again = Vec::new();
            advert.emit(&digest, &mut again);
            // But for the checksum and the digest, which may include the link-local addresses.
            assert_eq!(again[..6], payload[..6]);
            assert_eq!(again[8..16], payload[8..16]);
        }
        Err(WireError::Vrrp { .. }) => assert_eq!(vhid(payload), None),
        Err(_) => assert!(vhid(payload).is_none_or(|vhid| vhid == number.value())),
    }

    let Some((&[_, _, advskew, _, demotion, advbase, _, _], rest)) = payload.split_first_chunk()
    else {
        return;
    };
    let Some((counter, rest)) = rest.split_first_chunk() else { return };
    let counter = u64::from_be_bytes(*counter);
    let advert = Advert { vhid: number, advskew, demotion, advbase, counter };
    let mut octets = Vec::new();
    advert.emit(&digest, &mut octets);
    assert_eq!(octets.len(), LEN);
    octets.extend_from_slice(rest);
    // Multicast to a multicast instance, or unicast to the other.
    if (form & 4 != 0) == (form & 8 != 0) {
        assert_eq!(Advert::parse(&packet(&octets), &config, &digest), Ok(advert));
    }
});
