//! Three nodes that hold one address at the same time, and a client with many addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Instant;

use lb_net::{Balancing, Error, MacvlanMode, Share, SharedAddress, VmacSpec, Vmacs, carp_mac};
use socket2::{Domain, Socket, Type};
use tempfile::NamedTempFile;

use crate::cable::{PATIENCE, interface, ip, link};
use crate::segment::{Segment, mac, neighbour, output, text, with_segment};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const NODES: [u8; 3] = [1, 2, 3];
const CLIENT: u8 = 4;
const SOURCES: u8 = 60;

fn source(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, n)
}

fn source6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n.into())
}

/// The address on every node, and ways back to the client.
struct Cluster<'a> {
    segment: &'a Segment,
    mode: Balancing,
    shares: Vec<Share>,
    sockets: Vec<UdpSocket>,
    vmacs: Vec<Vmacs>,
}

impl<'a> Cluster<'a> {
    /// Each node has the share of its place.
    fn new(segment: &'a Segment, mode: Balancing) -> Self {
        segment.on(CLIENT, || {
            let mut batch = NamedTempFile::new().unwrap();
            for n in 1..=SOURCES {
                writeln!(batch, "address add {}/32 dev e", source(n)).unwrap();
                writeln!(batch, "address add {}/128 dev e nodad", source6(n)).unwrap();
            }
            ip(&format!("-batch {}", batch.path().display()));
        });
        let (mut vmacs, mut shares) = (Vec::new(), Vec::new());
        for node in NODES {
            segment.on(node, || {
                let mut share = Share::open("lbd_test").unwrap();
                share.apply(&[shared(mode, &[usize::from(node) - 1])]).unwrap();
                shares.push(share);
                ip("route add 198.51.100.0/24 via 192.0.2.4");
                ip("-6 route add 2001:db8:1::/64 via 2001:db8::4");
                if mode != Balancing::Arp {
                    let mut links = Vmacs::open().unwrap();
                    let spec = VmacSpec {
                        name: "v".into(),
                        base: link("e").index,
                        hardware: carp_mac(7),
                        mode: MacvlanMode::Bridge,
                        ipv4: true,
                        ipv6: true,
                        link_local: None,
                        group: None,
                        tells_of_base: false,
                    };
                    assert!(links.reconcile(&[spec]).unwrap()[0].is_ok());
                    vmacs.push(links);
                }
                let four = if mode == Balancing::IpUnicast { "v" } else { "e" };
                let six = if mode == Balancing::Arp { "e" } else { "v" };
                ip(&format!("address add {VIP}/32 dev {four}"));
                ip(&format!("address add {VIP6}/128 dev {six} nodad"));
            });
        }
        let mut port = 0;
        let mut bind = |node| {
            segment.on(node, || {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
                port = socket.local_addr().unwrap().port();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket
            })
        };
        let sockets = NODES.map(&mut bind).into();
        Self { segment, mode, shares, sockets, vmacs }
    }

    fn hold(&mut self, node: u8, places: &[usize]) {
        let share = &mut self.shares[usize::from(node) - 1];
        let mode = self.mode;
        self.segment.on(node, || share.apply(&[shared(mode, places)]).unwrap());
    }

    /// Which nodes get what the client sends, one packet for each number.
    fn receivers(&self, packet: impl Fn(u8) -> (IpAddr, IpAddr)) -> BTreeMap<u8, BTreeSet<u8>> {
        let port = self.sockets[0].local_addr().unwrap().port();
        self.segment.on(CLIENT, || {
            for n in 1..=SOURCES {
                let (from, to) = packet(n);
                let socket = UdpSocket::bind((from, 0)).unwrap();
                socket.send_to(&[n], (to, port)).unwrap();
            }
            // What is sent to a node's own address is nobody else's business.
            let socket = UdpSocket::bind("192.0.2.4:0").unwrap();
            for node in NODES {
                socket.send_to(&[0], (Ipv4Addr::new(192, 0, 2, node), port)).unwrap();
            }
        });
        let mut receivers: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
        let mut add = |n: u8, node| {
            assert!(receivers.entry(n).or_default().insert(node), "{n} twice at {node}");
        };
        for (node, socket) in NODES.into_iter().zip(&self.sockets) {
            let mut octet = [0];
            loop {
                socket.recv(&mut octet).unwrap();
                if octet == [0] {
                    break;
                }
                add(octet[0], node);
            }
        }
        // The first packet may have waited for ARP, behind the last ones.
        for (node, socket) in NODES.into_iter().zip(&self.sockets) {
            socket.set_nonblocking(true).unwrap();
            let mut octet = [0];
            while socket.recv(&mut octet).is_ok() {
                add(octet[0], node);
            }
            socket.set_nonblocking(false).unwrap();
        }
        receivers
    }

    /// The one node for each of the client's addresses.
    fn owners(&self, vip: IpAddr) -> BTreeMap<u8, u8> {
        owners(self.receivers(|n| match vip {
            IpAddr::V4(_) => (source(n).into(), vip),
            IpAddr::V6(_) => (source6(n).into(), vip),
        }))
    }
}

/// The one receiver of each packet.
fn owners(receivers: BTreeMap<u8, BTreeSet<u8>>) -> BTreeMap<u8, u8> {
    assert_eq!(receivers.len(), usize::from(SOURCES), "{receivers:?}");
    let one = |(n, nodes): (u8, BTreeSet<u8>)| {
        assert_eq!(nodes.len(), 1, "packet {n}: {nodes:?}");
        (n, nodes.into_iter().next().unwrap())
    };
    receivers.into_iter().map(one).collect()
}

fn shared(mode: Balancing, places: &[usize]) -> SharedAddress {
    SharedAddress {
        interface: interface("e"),
        hardware: link("e").hardware.unwrap(),
        addresses: vec![VIP.into(), VIP6.into()],
        vhids: vec![7, 8, 9],
        held: places.iter().copied().collect(),
        mode,
        seed: 0x1234_5678,
        reverse: false,
    }
}

/// A TCP connection from one of the client's addresses.
fn connects(segment: &Segment, n: u8, port: u16) -> bool {
    segment.on(CLIENT, || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source(n), 0)).into()).unwrap();
        socket.connect_timeout(&SocketAddr::from((VIP, port)).into(), PATIENCE).is_ok()
    })
}

/// What all modes promise that share packets.
fn packets_are_shared(mode: Balancing) {
    with_segment(4, move |segment| {
        if mode == Balancing::IpUnicast {
            // A hub.
            ip("link set dev br type bridge ageing_time 0");
        }
        let mut cluster = Cluster::new(segment, mode);
        // Whoever asks first waits for ARP with no room for so many packets.
        segment.on(CLIENT, || output(&format!("ping -n -c 1 -W 3 {VIP}")));
        segment.on(CLIENT, || output(&format!("ping -n -c 1 -W 3 {VIP6}")));
        let expected = match mode {
            Balancing::Ip => "01:00:5e:00:01:07",
            _ => "00:00:5e:00:01:07",
        };
        assert_eq!(segment.on(CLIENT, || neighbour(VIP.into())).as_deref(), Some(expected));

        // IPv6 alike, with the MAC that a neighbour advertisement can tell.
        let vmac = text(carp_mac(7));
        assert_eq!(segment.on(CLIENT, || neighbour(VIP6.into())), Some(vmac));
        let owners: BTreeSet<_> = cluster.owners(VIP6.into()).into_values().collect();
        assert_eq!(owners, BTreeSet::from(NODES));

        let before = cluster.owners(VIP.into());
        for node in NODES {
            let share = before.values().filter(|owner| **owner == node).count();
            assert!(share > usize::from(SOURCES) / 10, "node {node} has {share}");
        }
        // Every protocol: an echo, answered once, and a connection.
        for n in 1..=6 {
            let ping =
                segment.on(CLIENT, || output(&format!("ping -n -c 1 -W 3 -I {} {VIP}", source(n))));
            assert!(ping.contains("1 received") && !ping.contains("DUP"), "{ping}");
        }
        let mut port = 0;
        let _listeners = NODES.map(|node| {
            segment.on(node, || {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
                port = listener.local_addr().unwrap().port();
                listener
            })
        });
        assert!((1..=6).all(|n| connects(segment, n, port)));

        if mode != Balancing::IpUnicast {
            assert_eq!(segment.port_of(carp_mac(7)), None, "the switch never learns it");
        }

        // Node 3 hands its share to node 1: nothing else moves.
        let start = Instant::now();
        cluster.hold(3, &[]);
        cluster.hold(1, &[0, 2]);
        eprintln!("{mode:?}: two nodes changed in {:?}", start.elapsed());
        let after = cluster.owners(VIP.into());
        for (n, owner) in &before {
            assert_eq!(after[n], if *owner == 3 { 1 } else { *owner }, "source {n}");
        }
        // All shares of one: everything is its own.
        cluster.hold(1, &[0, 1, 2]);
        cluster.hold(2, &[]);
        assert!(cluster.owners(VIP.into()).values().all(|owner| *owner == 1));
        // The one that leads now answers ARP.
        cluster.hold(1, &[]);
        cluster.hold(2, &[0, 1, 2]);
        segment.on(CLIENT, || {
            ip("neighbour flush dev e");
            output(&format!("ping -n -c 1 -W 3 {VIP}"));
            assert_eq!(neighbour(VIP.into()).as_deref(), Some(expected));
        });
        assert!(cluster.owners(VIP.into()).values().all(|owner| *owner == 2));
        for node in NODES {
            let place = usize::from(node) - 1;
            segment.on(node, || {
                cluster.vmacs[place].clear().unwrap();
                cluster.shares[place].clear().unwrap();
                assert_eq!(output("nft list ruleset"), "");
            });
        }
    });
}

#[test]
fn packets_to_a_multicast_mac_are_shared() {
    packets_are_shared(Balancing::Ip);
}

#[test]
fn packets_to_a_mac_that_no_switch_learns_are_shared() {
    packets_are_shared(Balancing::IpStealth);
}

#[test]
fn packets_on_a_hub_are_shared() {
    packets_are_shared(Balancing::IpUnicast);
}

#[test]
fn a_solicitation_is_answered_by_the_hash_of_the_asker() {
    with_segment(4, |segment| {
        let mut cluster = Cluster::new(segment, Balancing::Arp);
        let ask = || {
            segment.on(CLIENT, || {
                ip("neighbour flush dev e");
                let ping = output(&format!("ping -n -c 1 -W 3 {VIP6}"));
                assert!(ping.contains("1 received") && !ping.contains("DUP"), "{ping}");
                neighbour(VIP6.into()).unwrap()
            })
        };
        let first = ask();
        let owner = NODES.into_iter().find(|node| text(mac(*node)) == first).unwrap();
        assert_eq!(ask(), first);
        // Its share goes to the next.
        let next = owner % 3 + 1;
        cluster.hold(owner, &[]);
        cluster.hold(next, &[usize::from(owner) - 1, usize::from(next) - 1]);
        assert_eq!(ask(), text(mac(next)));
    });
}

#[test]
fn arp_is_answered_by_the_hash_of_the_asker_with_the_mac_of_its_share() {
    with_segment(4, |segment| {
        let mut cluster = Cluster::new(segment, Balancing::Arp);
        let ask = || {
            let mut told = BTreeMap::new();
            for n in 1..=24 {
                segment.on(CLIENT, || {
                    ip(&format!("link set dev e address 02:00:00:00:01:{n:02x}"));
                    ip("neighbour flush dev e");
                    let ping = output(&format!("ping -n -c 1 -W 3 {VIP}"));
                    assert!(ping.contains("1 received") && !ping.contains("DUP"), "{ping}");
                    told.insert(n, neighbour(VIP.into()).unwrap());
                });
                // The client's MAC is the node's to forget, not to hash anew.
                for node in NODES {
                    segment.on(node, || ip("neighbour flush dev e"));
                }
            }
            let ports: Vec<_> = [7, 8, 9].map(|vhid| segment.port_of(carp_mac(vhid))).into();
            (told, ports)
        };
        let (before, ports) = ask();
        let macs: BTreeSet<_> = before.values().cloned().collect();
        assert_eq!(macs, [7, 8, 9].map(|vhid| text(carp_mac(vhid))).into());
        assert_eq!(ports, ["p1", "p2", "p3"].map(|port| Some(port.to_owned())));
        // The MACs stay whoever has them.
        cluster.hold(3, &[]);
        cluster.hold(1, &[0, 2]);
        let (after, ports) = ask();
        assert_eq!(before, after);
        assert_eq!(ports, ["p1", "p2", "p1"].map(|port| Some(port.to_owned())));
    });
}

#[test]
fn both_directions_of_a_gateway_fall_into_the_same_share() {
    with_segment(4, |segment| {
        let mut cluster = Cluster::new(segment, Balancing::Ip);
        segment.on(CLIENT, || output(&format!("ping -n -c 1 -W 3 {VIP}")));
        let there = cluster.owners(VIP.into());
        // The other side of a gateway: the same packets with source and destination exchanged.
        for node in NODES {
            segment.on(node, || {
                ip(&format!("address del {VIP}/32 dev e"));
                ip("route del 198.51.100.0/24");
                ip("route add local 198.51.100.0/24 dev lo");
                let one = shared(Balancing::Ip, &[usize::from(node) - 1]);
                let share = &mut cluster.shares[usize::from(node) - 1];
                share.apply(&[SharedAddress { reverse: true, ..one }]).unwrap();
            });
        }
        segment.on(CLIENT, || {
            ip("address flush dev e to 198.51.100.0/24");
            ip(&format!("address add {VIP}/32 dev e"));
            ip("route add 198.51.100.0/24 via 192.0.2.99");
            ip("neighbour add 192.0.2.99 lladdr 01:00:5e:00:01:07 dev e");
        });
        let back = cluster.receivers(|n| (VIP.into(), source(n).into()));
        assert_eq!(owners(back), there);
    });
}

#[test]
fn thirty_two_nodes_share_an_address_in_every_way() {
    with_segment(1, |segment| {
        segment.on(1, || {
            let mut share = Share::open("lbd_test").unwrap();
            for mode in [Balancing::Arp, Balancing::Ip, Balancing::IpStealth, Balancing::IpUnicast]
            {
                let most = SharedAddress { vhids: (1..=32).collect(), ..shared(mode, &[0, 31]) };
                share.apply(std::slice::from_ref(&most)).unwrap();
                let last = SharedAddress { held: [31].into_iter().collect(), ..most };
                share.apply(std::slice::from_ref(&last)).unwrap();
                let rules = output("nft list ruleset");
                assert!(mode == Balancing::Arp || rules.contains("mod 32"), "{rules}");
            }
            share.clear().unwrap();
        });
    });
}

#[test]
fn what_cannot_be_is_refused_and_nothing_changes() {
    with_segment(1, |segment| {
        segment.on(1, || {
            let mut share = Share::open("lbd_test").unwrap();
            let good = shared(Balancing::Ip, &[0]);
            share.apply(std::slice::from_ref(&good)).unwrap();
            let before = output("nft list ruleset");
            let none = SharedAddress { vhids: vec![], ..good.clone() };
            assert!(matches!(share.apply(&[none]), Err(Error::Shares(0))));
            let many = SharedAddress { vhids: (1..=33).collect(), ..good.clone() };
            assert!(matches!(share.apply(&[many]), Err(Error::Shares(33))));
            let mut odd = good.clone();
            odd.interface.name = "e\"".to_owned();
            let error = share.apply(&[odd]).unwrap_err();
            assert!(matches!(error, Error::Nft(_)), "{error}");
            assert_eq!(output("nft list ruleset"), before);
            // A successor replaces what it finds.
            drop(share);
            let mut share = Share::open("lbd_test").unwrap();
            share.apply(&[SharedAddress { vhids: vec![1, 2], ..good }]).unwrap();
            assert!(!output("nft list ruleset").contains("vhid7"));
            share.apply(&[]).unwrap();
            assert_eq!(output("nft list ruleset"), "");
        });
    });
}

#[test]
fn rules_that_another_program_deletes_are_noticed_and_made_anew() {
    with_segment(1, |segment: &Segment| {
        segment.on(1, || {
            let wanted = [shared(Balancing::IpStealth, &[0])];
            let mut share = Share::open("lbd_test").unwrap();
            share.apply(&wanted).unwrap();
            share.apply(&[shared(Balancing::IpStealth, &[0, 1])]).unwrap();
            share.apply(&wanted).unwrap();
            assert!(!share.is_disturbed());
            let rules = || output("nft list ruleset");
            let before = rules();
            for change in
                ["flush ruleset", "delete table arp lbd_test", "flush table netdev lbd_test"]
            {
                output(&format!("nft {change}"));
                assert!(share.is_disturbed(), "{change}");
                share.apply(&wanted).unwrap();
                assert!(!share.is_disturbed(), "{change}");
                assert_eq!(rules().len(), before.len(), "{change}");
            }
        });
    });
}
