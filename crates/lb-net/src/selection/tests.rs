use std::time::Duration;

use lb_carp::{Digest, Vhid};
use lb_election::{IpPacket, Peer, Peers};
use lb_vrrp::{Advert, Auth, Checksum, Config, Priority, Version, Vips, Vrid};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A packet as a program sees it: what the socket is given, and what begins with the IP header.
struct Seen {
    data: Vec<u8>,
    network: Vec<u8>,
}

impl Seen {
    fn new(packet: &IpPacket<'_>, before: usize) -> Self {
        let (ttl, payload) = (packet.ttl.unwrap(), packet.payload);
        let mut network = match packet.source {
            IpAddr::V4(_) => vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, ttl, 112, 0, 0],
            IpAddr::V6(_) => vec![0x6c, 0, 0, 0, 0, 0, 112, ttl],
        };
        for address in [packet.source, packet.destination] {
            match address {
                IpAddr::V4(address) => network.extend(address.octets()),
                IpAddr::V6(address) => network.extend(address.octets()),
            }
        }
        network.extend(vec![0xEE; before]);
        network.extend(payload);
        let data = if packet.source.is_ipv4() { network.clone() } else { payload.to_vec() };
        Self { data, network }
    }

    /// What `BPF_LD` loads; `None` beyond the end.
    fn load(&self, at: u32, len: usize) -> Option<u32> {
        let (octets, at) = match at.checked_sub(NETWORK) {
            Some(at) => (&self.network, at),
            None => (&self.data, at),
        };
        let octets = octets.get(at as usize..)?.get(..len)?;
        Some(octets.iter().fold(0, |value, octet| value << 8 | u32::from(*octet)))
    }
}

/// Runs a program as the kernel does. `bpf(4)` of the BSDs.
fn run(program: &[sock_filter], seen: &Seen) -> u32 {
    let (mut a, mut x, mut cells, mut at) = (0u32, 0u32, [0u32; 16], 0);
    let load = |at, len, a: &mut u32| seen.load(at, len).map(|value| *a = value).is_some();
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let code = u32::from(code);
        let jump = |holds| usize::from(if holds { jt } else { jf });
        let mut ok = true;
        if code == BPF_LD | BPF_B | BPF_ABS {
            ok = load(k, 1, &mut a);
        } else if code == BPF_LD | BPF_W | BPF_ABS {
            ok = load(k, 4, &mut a);
        } else if code == BPF_LD | BPF_B | BPF_IND {
            ok = load(x + k, 1, &mut a);
        } else if code == BPF_LDX | BPF_B | BPF_MSH {
            ok = load(k, 1, &mut x);
            x = (x & 0xf) * 4;
        } else if code == BPF_LD | BPF_MEM {
            a = cells[k as usize];
        } else if code == BPF_LDX | BPF_MEM {
            x = cells[k as usize];
        } else if code == BPF_LD | BPF_IMM {
            a = k;
        } else if code == BPF_ST {
            cells[k as usize] = a;
        } else if code == BPF_ALU | BPF_AND | BPF_K {
            a &= k;
        } else if code == BPF_ALU | BPF_RSH | BPF_K {
            a >>= k;
        } else if code == BPF_ALU | BPF_RSH | BPF_X {
            a >>= x;
        } else if code == BPF_JMP | BPF_JA {
            at += k as usize;
        } else if code == BPF_JMP | BPF_JEQ | BPF_K {
            at += jump(a == k);
        } else if code == BPF_JMP | BPF_JSET | BPF_K {
            at += jump(a & k != 0);
        } else if code == BPF_RET | BPF_K {
            return k;
        } else {
            panic!("instruction {code:#x} is unknown here");
        }
        if !ok {
            return DROP;
        }
    }
}

/// Whether each of the two programs passes a packet.
fn passes(selectors: &[Selector], before: usize, packet: &IpPacket<'_>) -> (bool, bool) {
    let seen = Seen::new(packet, before);
    let family = Family::of(&packet.source);
    let verdict = |which| {
        let program = program(selectors, family, before as u32, which);
        assert!(program.len() <= LONGEST);
        run(&program, &seen) != DROP
    };
    (verdict(Which::Selected), verdict(Which::Strays))
}

/// An instance, and what its parser says.
#[derive(Clone, Debug)]
enum Router {
    Vrrp(Config),
    Carp(lb_carp::Config),
}

impl Router {
    fn accepts(&self, packet: &IpPacket<'_>) -> bool {
        match self {
            Self::Vrrp(config) => Advert::parse(packet, config).is_ok(),
            Self::Carp(config) => {
                lb_carp::Advert::parse(packet, config, &Digest::new(config)).is_ok()
            }
        }
    }

    fn selector(&self, family: lb_election::Family) -> Selector {
        match self {
            Self::Vrrp(config) => config.selector(),
            Self::Carp(config) => config.selector(family),
        }
    }

    fn payload(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut payload = Vec::new();
        match self {
            Self::Vrrp(config) => {
                let checksum = match (config.family, config.version) {
                    (lb_vrrp::Family::Inet, Version::V2) => Checksum::Plain,
                    _ => Checksum::Pseudo,
                };
                let (version, vrid, adver_int) = (config.version, config.vrid, config.adver_int);
                let (addresses, auth) = (config.vips.addresses(), Auth::None);
                let priority = Priority(100);
                Advert { version, vrid, priority, adver_int, addresses, auth, checksum }.emit(
                    source,
                    destination,
                    &mut payload,
                );
            }
            Self::Carp(config) => {
                let vhid = config.vhid;
                let advert =
                    lb_carp::Advert { vhid, advskew: 1, demotion: 0, advbase: 1, counter: 7 };
                advert.emit(&Digest::new(config), &mut payload);
            }
        }
        payload
    }
}

fn address(inet6: bool, last: u8) -> IpAddr {
    match inet6 {
        true => IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
        false => IpAddr::from([192, 0, 2, last]),
    }
}

fn group(inet6: bool) -> IpAddr {
    if inet6 { "ff02::12".parse().unwrap() } else { IpAddr::from([224, 0, 0, 18]) }
}

fn router(inet6: bool) -> impl Strategy<Value = Router> {
    let id = select(vec![1u8, 2, 31, 32, 33, 200, 255]);
    let peers = prop_oneof![
        Just(Peers::Multicast),
        (any::<bool>(), 1u8..4, select(vec![1, 64, 255])).prop_map(move |(check, count, min)| {
            let peer = |last| Peer { address: address(inet6, last), min_ttl: min, max_ttl: 255 };
            Peers::Unicast { peers: (1..=count).map(peer).collect(), check_source: check }
        }),
    ];
    (id, peers, 0..3).prop_map(move |(id, peers, kind)| {
        let vip = address(inet6, 100);
        if kind == 2 {
            let config = lb_carp::Config::new(Vhid::new(id).unwrap(), [7; 20], vec![vip]);
            return Router::Carp(lb_carp::Config { peers, ..config });
        }
        let version = if kind == 0 { Version::V2 } else { Version::V3 };
        let family = lb_vrrp::Family::of(vip);
        let (vrid, second) = (Vrid::new(id).unwrap(), Duration::from_secs(1));
        let config = Config::new(version, family, vrid, Priority(100), second);
        Router::Vrrp(Config { peers, vips: Vips::new(family, [vip]), ..config })
    })
}

/// What may be wrong with a packet.
#[derive(Clone, Debug)]
struct Fault {
    source: u8,
    multicast: bool,
    ttl: u8,
    /// Octets of the payload to be changed, and by what.
    changes: Vec<(usize, u8)>,
    len: Option<usize>,
    padding: usize,
}

fn fault() -> impl Strategy<Value = Fault> {
    let ttl = prop_oneof![3 => Just(255u8), 1 => select(vec![64, 254, 1])];
    let change = (0usize..12, select(vec![1u8, 2, 0x10, 0x80, 0xff]));
    let changes = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(change, 1..3)];
    let len = prop_oneof![5 => Just(None), 1 => (0usize..40).prop_map(Some)];
    let padding = prop_oneof![4 => Just(0), 1 => select(vec![2usize, 6, 10])];
    (1u8..6, any::<bool>(), ttl, changes, len, padding).prop_map(
        |(source, multicast, ttl, changes, len, padding)| Fault {
            source,
            multicast,
            ttl,
            changes,
            len,
            padding,
        },
    )
}

fn crowd() -> impl Strategy<Value = (bool, Vec<Router>)> {
    any::<bool>().prop_flat_map(|inet6| (Just(inet6), prop::collection::vec(router(inet6), 1..5)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_a_parser_accepts_is_passed_and_the_rest_with_its_number_is_a_stray(
        (inet6, routers) in crowd(),
        sender in any::<prop::sample::Index>(),
        before in select(vec![0usize, 24]),
        fault in fault(),
    ) {
        let source = address(inet6, fault.source);
        let destination = if fault.multicast { group(inet6) } else { address(inet6, 9) };
        let mut payload = sender.get(&routers).payload(source, destination);
        for (at, by) in fault.changes {
            if let Some(octet) = payload.get_mut(at) {
                *octet ^= by;
            }
        }
        let declared_len = (!inet6).then_some(payload.len());
        payload.truncate(fault.len.unwrap_or(usize::MAX));
        payload.extend(vec![0; fault.padding]);
        let ttl = Some(fault.ttl);
        let packet =
            IpPacket { source, destination, ttl, declared_len, ah: None, payload: &payload };
        let family = lb_election::Family::of(source);
        let selectors: Vec<_> = routers.iter().map(|it| it.selector(family)).collect();
        let before = if inet6 { 0 } else { before };
        let (selected, stray) = passes(&selectors, before, &packet);
        let accepted = routers.iter().any(|it| it.accepts(&packet));
        prop_assert!(selected || !accepted, "accepted and not passed");
        let known = payload.get(1).is_some_and(|id| selectors.iter().any(|it| it.id == *id));
        prop_assert_eq!(selected || stray, known, "each with a number of ours, no other");
        prop_assert!(!(selected && stray), "passed twice");
    }
}

fn selector(id: u8) -> Selector {
    Selector { first: 0x31, id, ttl: Some(255), sources: None }
}

/// A packet to the group of IPv4.
fn packet(payload: &[u8], ttl: u8) -> IpPacket<'_> {
    IpPacket {
        source: address(false, 1),
        destination: group(false),
        ttl: Some(ttl),
        declared_len: Some(payload.len()),
        ah: None,
        payload,
    }
}

#[test]
fn each_rule_is_held_by_itself() {
    let sources = Some(vec![address(false, 7), address(false, 1)]);
    let unicast = Selector { ttl: None, sources, ..selector(9) };
    let other = Selector { sources: Some(vec![address(false, 7)]), id: 10, ..unicast.clone() };
    let selectors = [selector(7), selector(255), unicast, other];
    for (payload, ttl, expected) in [
        (&[0x31, 7][..], 255, (true, false)),
        (&[0x31, 255], 255, (true, false)),
        (&[0x31, 8], 255, (false, false)), // no number of ours
        (&[0x31], 255, (false, false)),    // none at all
        (&[0x21, 7], 255, (false, true)),  // version
        (&[0x32, 7], 255, (false, true)),  // type
        (&[0x31, 7], 254, (false, true)),  // TTL
        (&[0x31, 9], 64, (true, false)),
        (&[0x31, 10], 64, (false, true)), // not a peer of this one
    ] {
        assert_eq!(passes(&selectors, 0, &packet(payload, ttl)), expected, "{payload:?} {ttl}");
        assert_eq!(passes(&selectors, 24, &packet(payload, ttl)), expected, "{payload:?} {ttl}");
    }
    assert_eq!(passes(&[], 0, &packet(&[0x31, 0], 255)), (false, false));
}

#[test]
fn more_peers_than_a_program_can_hold_are_left_to_the_parser() {
    let peers = |count: u32| {
        let all = (0..count).map(|n| IpAddr::from((0x0a00_0000 | n).to_be_bytes())).collect();
        [Selector { ttl: None, sources: Some(all), ..selector(7) }]
    };
    assert_eq!(passes(&peers(1000), 0, &packet(&[0x31, 7], 64)), (false, true));
    assert_eq!(passes(&peers(5000), 0, &packet(&[0x31, 7], 64)), (true, false));
    assert_eq!(passes(&peers(5000), 0, &packet(&[0x21, 7], 64)), (false, true));
}

#[test]
fn every_number_finds_its_bit() {
    let all: Vec<_> = (0..=255).filter(|id| id % 3 == 0).map(selector).collect();
    for id in 0..=255 {
        let expected = id % 3 == 0;
        assert_eq!(passes(&all, 0, &packet(&[0x31, id], 255)), (expected, false), "{id}");
    }
}
