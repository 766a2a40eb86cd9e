//! Parses whatever bytes there are as VRRP: no panic, and what is accepted is what `emit` would say.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb_election::IpPacket;
use lb_vrrp::{Advert, Auth, Checksum, Config, Family, Priority, Version, Vrid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[form, vrid], payload)) = bytes.split_first_chunk() else { return };
    let Some(vrid) = Vrid::new(vrid) else { return };
    let (version, family) = match form & 3 {
        0 => (Version::V2, Family::Inet),
        1 => (Version::V3, Family::Inet),
        _ => (Version::V3, Family::Inet6),
    };
    let (source, destination): (IpAddr, IpAddr) = match family {
        Family::Inet => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(224, 0, 0, 18).into()),
        Family::Inet6 => {
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
            (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), group.into())
        }
    };
    let mut config = Config::new(version, family, vrid, Priority(100), Duration::from_secs(1));
    config.password = (form & 4 != 0).then_some(*b"password");
    // Half of what has an authentication header is cut within it.
    let (ah, payload) = match payload.split_at_checked(44) {
        Some((headers, rest)) if form & 8 != 0 => (Some(headers), rest),
        _ if form & 16 != 0 => (Some(payload), payload),
        _ => (None, payload),
    };
    config.header_key = (form & 32 != 0).then_some(*b"password");
    let packet = IpPacket { source, destination, ttl: Some(255), declared_len: None, ah, payload };
    let Ok(advert) = Advert::parse(&packet, &config) else { return };
    assert_eq!(advert.version, version);
    assert_eq!(advert.vrid, vrid);
    assert!(!advert.adver_int.is_zero());
    if let Auth::Password(password) = advert.auth {
        assert_eq!(Some(password), config.password);
    }
    // A packet may be padded, and have its interval in a part that is reserved; else it is the same.
    if advert.checksum != Checksum::OldUnicast {
        let mut again = Vec::new();
        advert.emit(source, destination, &mut again);
        assert!(again.len() <= payload.len());
    }
});
