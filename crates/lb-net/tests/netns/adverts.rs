//! What advertisements and announcements are on a real wire.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use crate::cable::{Cable, Capture, PATIENCE, interface, link, with_cable};
use hex_literal::hex;
use lb_election::Selector;
use lb_net::{
    AdvertSocket, Announcement, Announcer, ArpForm, Envelope, Family, Inbox, Marking, Poller,
};
use nix::sys::socket::{getsockopt, sockopt::RcvBuf};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86DD;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Version 3 of this VRID, from anywhere.
fn selector(id: u8) -> Selector {
    Selector { first: 0x31, id, ttl: None, sources: None }
}

fn everyone() -> Vec<Selector> {
    (0..=255).map(selector).collect()
}

fn envelope(family: Family) -> Envelope {
    let (source, destination) = match family {
        Family::Inet => ("192.0.2.1", "224.0.0.18"),
        Family::Inet6 => ("2001:db8::1", "ff02::12"),
    };
    let (source, destination) = (ip(source), ip(destination));
    Envelope { source, destination, ttl: 255, marking: Marking::VRRP, ah: None, through: None }
}

fn send(socket: &mut AdvertSocket, envelope: &Envelope, payloads: &[&[u8]]) {
    for payload in payloads {
        socket.queue(envelope, payload);
    }
    socket.flush(|index, error| panic!("packet {index}: {error}"));
}

/// Reads until `count` packets have arrived; VRID and what else the socket says of each.
fn receive(socket: &AdvertSocket, count: usize) -> Vec<(IpAddr, IpAddr, u8, Vec<u8>)> {
    receive_by(socket, |inbox| socket.receive(inbox), count)
}

fn receive_by(
    fd: impl AsFd,
    mut receive: impl FnMut(&mut Inbox) -> io::Result<bool>,
    count: usize,
) -> Vec<(IpAddr, IpAddr, u8, Vec<u8>)> {
    let mut poller = Poller::new().unwrap();
    poller.add(fd, 0).unwrap();
    let (mut inbox, mut received) = (Inbox::new(), Vec::new());
    while received.len() < count {
        assert_ne!(poller.wait(Some(PATIENCE)).unwrap().count(), 0, "{received:?}");
        let mut more = true;
        while more {
            more = receive(&mut inbox).unwrap();
            received.extend(inbox.iter().map(|packet| {
                (packet.source, packet.destination, packet.ttl, packet.payload.to_vec())
            }));
        }
    }
    received
}

#[test]
fn exactly_the_served_vrids_are_heard() {
    with_cable(|cable: &Cable| {
        for family in [Family::Inet, Family::Inet6] {
            let envelope = envelope(family);
            let open = |name| AdvertSocket::open(family, Some(interface(name)), &[]).unwrap();
            let mut sender = open("a");
            let socket = cable.in_b(|| open("b"));
            socket.join(envelope.destination).unwrap();
            let adverts: Vec<_> = (0..=255).map(|vrid| [0x31, vrid, 100, 0, 0, 1, 0, 0]).collect();
            let adverts: Vec<_> = adverts.iter().map(<[u8; 8]>::as_slice).collect();
            let sets: [Vec<u8>; 4] = [
                (0..=255).collect(),
                vec![0, 31, 32, 63, 64, 128, 254, 255],
                vec![255],
                (0..=255).filter(|vrid| vrid % 3 == 0).collect(),
            ];
            for expected in sets {
                let selectors: Vec<_> = expected.iter().copied().map(selector).collect();
                socket.serve(&selectors).unwrap();
                send(&mut sender, &envelope, &adverts);
                let heard = receive(&socket, expected.len());
                assert_eq!(heard.iter().map(|h| h.3[1]).collect::<Vec<_>>(), expected);
                assert!(heard.iter().all(|(source, destination, ttl, payload)| {
                    *source == envelope.source
                        && *destination == envelope.destination
                        && *ttl == 255
                        && payload.len() == 8
                }));
            }
            // One octet is no VRID; the packet that follows shows that it was passed over.
            send(&mut sender, &envelope, &[&[0x31], &[0x31, 0]]);
            assert_eq!(receive(&socket, 1)[0].3, [0x31, 0]);
        }
    });
}

/// What cannot be for an instance, although it bears its number, waits apart.
#[test]
fn strays_are_told_from_advertisements() {
    with_cable(|cable: &Cable| {
        for family in [Family::Inet, Family::Inet6] {
            let envelope = envelope(family);
            let mut sender = AdvertSocket::open(family, Some(interface("a")), &[]).unwrap();
            let sources = |source: IpAddr| Some(vec![ip("192.0.2.77"), ip("fe80::7"), source]);
            let multicast = Selector { ttl: Some(255), ..selector(7) };
            let peer = Selector { sources: sources(envelope.source), ..selector(8) };
            let nobody = Selector { sources: sources(ip("2001:db8::1:1")), ..selector(9) };
            let selectors = [multicast, peer, nobody];
            let socket = cable
                .in_b(|| AdvertSocket::open(family, Some(interface("b")), &selectors).unwrap());
            socket.join(envelope.destination).unwrap();
            let near = Envelope { ttl: 254, ..envelope };
            send(&mut sender, &near, &[&[0x31, 7], &[0x31, 8]]);
            send(&mut sender, &envelope, &[&[0x21, 7], &[0x32, 7], &[0x31, 9], &[0x31, 10]]);
            send(&mut sender, &envelope, &[&[0x31, 7]]);
            let heard = receive(&socket, 2);
            let heard: Vec<_> = heard.iter().map(|h| (h.2, h.3.as_slice())).collect();
            assert_eq!(heard, [(254, &[0x31, 8][..]), (255, &[0x31, 7])]);
            let strays = socket.strays().unwrap();
            let strays = receive_by(strays, |inbox| socket.receive_strays(inbox), 4);
            let strays: Vec<_> = strays.iter().map(|h| (h.2, h.3.as_slice())).collect();
            let expected =
                [(254, &[0x31, 7][..]), (255, &[0x21, 7]), (255, &[0x32, 7]), (255, &[0x31, 9])];
            assert_eq!(strays, expected);
            assert_eq!(socket.lost_strays().unwrap(), 0);

            // A flood of strays leaves room for advertisements; what is not kept is counted.
            let flood = vec![&[0x21, 7][..]; 3_000];
            send(&mut sender, &envelope, &flood);
            send(&mut sender, &envelope, &[&[0x31, 7]]);
            assert_eq!(receive(&socket, 1)[0].3, [0x31, 7]);
            let lost = socket.lost_strays().unwrap() as usize;
            // As many are kept as are read in a second, about 640.
            assert!((2_250..2_450).contains(&lost), "{lost}");
            let strays = socket.strays().unwrap();
            receive_by(strays, |inbox| socket.receive_strays(inbox), flood.len() - lost);
        }
    });
}

#[test]
fn only_the_joined_group_is_heard_and_nothing_of_our_own() {
    with_cable(|cable: &Cable| {
        let (group, other) = (ip("224.0.0.18"), ip("224.0.0.19"));
        let open = |name| AdvertSocket::open(Family::Inet, Some(interface(name)), &everyone());
        let mut sender = open("a").unwrap();
        sender.join(group).unwrap();
        let (socket, bystander) = cable.in_b(|| (open("b").unwrap(), open("b").unwrap()));
        socket.join(group).unwrap();
        bystander.join(other).unwrap();
        let to = |destination| Envelope { destination, ..envelope(Family::Inet) };
        send(&mut sender, &to(other), &[&[0x31, 1]]);
        send(&mut sender, &to(group), &[&[0x31, 2]]);
        assert_eq!(receive(&socket, 1)[0].3, [0x31, 2]);
        assert_eq!(receive(&bystander, 1)[0].3, [0x31, 1]);
        socket.leave(group).unwrap();
        socket.join(other).unwrap();
        send(&mut sender, &to(group), &[&[0x31, 3]]);
        send(&mut sender, &to(other), &[&[0x31, 4]]);
        assert_eq!(receive(&socket, 1)[0].3, [0x31, 4]);
        let mut inbox = Inbox::new();
        sender.receive(&mut inbox).unwrap();
        assert_eq!(inbox.iter().count(), 0);
    });
}

#[test]
fn an_ipv4_advertisement_has_the_header_of_a_routing_protocol() {
    with_cable(|cable: &Cable| {
        let mut capture = cable.in_b(|| Capture::new(&interface("b"), IPV4));
        let mut sender =
            AdvertSocket::open(Family::Inet, Some(interface("a")), &everyone()).unwrap();
        let advert = hex!("31 33 96 01 0064 765c c000020a");
        send(&mut sender, &envelope(Family::Inet), &[&advert, &advert]);
        // Header checksum by hand: 4500+c0, 0020, 0001, 0000, ff70, c000 0201, e000 0012
        // = 45c0+0020+0001+ff70+c000+0201+e000+0012 = 2e764 -> e766 -> 1899.
        let expected = hex!(
            "01005e000012 02000000000a 0800"
            "45 c0 0020 0001 0000 ff 70 1899 c0000201 e0000012"
            "31 33 96 01 0064 765c c000020a"
        );
        assert_eq!(capture.next(), expected);
        assert_eq!(capture.next()[18..20], [0, 2], "the id counts");
    });
}

#[test]
fn an_ipv6_advertisement_has_the_header_of_a_routing_protocol() {
    with_cable(|cable: &Cable| {
        let mut capture = cable.in_b(|| Capture::new(&interface("b"), IPV6));
        let mut sender =
            AdvertSocket::open(Family::Inet6, Some(interface("a")), &everyone()).unwrap();
        let advert = hex!("31 33 96 00 0064 0000");
        send(&mut sender, &envelope(Family::Inet6), &[&advert]);
        let expected = hex!(
            "333300000012 02000000000a 86dd"
            "6c000000 0008 70 ff 20010db8000000000000000000000001 ff020000000000000000000000000012"
            "31 33 96 00 0064 0000"
        );
        // Neighbour discovery and multicast listener reports may come in between.
        let advert = std::iter::from_fn(|| Some(capture.next())).find(|frame| frame[20] == 112);
        assert_eq!(advert.unwrap(), expected);
    });
}

#[test]
fn a_unicast_advertisement_is_routed_and_heard_without_an_interface() {
    with_cable(|cable: &Cable| {
        for (family, source, destination) in [
            (Family::Inet, "192.0.2.1", "192.0.2.2"),
            (Family::Inet6, "2001:db8::1", "2001:db8::2"),
        ] {
            let mut sender = AdvertSocket::open(family, None, &everyone()).unwrap();
            let socket = cable.in_b(|| AdvertSocket::open(family, None, &everyone()).unwrap());
            let (source, destination) = (ip(source), ip(destination));
            let envelope = Envelope { source, destination, ttl: 64, ..envelope(family) };
            send(&mut sender, &envelope, &[b"\x31\x07"]);
            let expected = (envelope.source, envelope.destination, 64, b"\x31\x07".to_vec());
            assert_eq!(receive(&socket, 1), [expected]);
        }
    });
}

#[test]
fn a_burst_of_thousands_arrives_though_one_in_the_middle_is_refused() {
    with_cable(|cable: &Cable| {
        let mut sender =
            AdvertSocket::open(Family::Inet, Some(interface("a")), &everyone()).unwrap();
        let socket = cable
            .in_b(|| AdvertSocket::open(Family::Inet, Some(interface("b")), &everyone()).unwrap());
        let envelope = envelope(Family::Inet);
        socket.join(envelope.destination).unwrap();
        let too_long = vec![0x31; 1_600];
        for n in 0..2_500u16 {
            let [high, low] = n.to_be_bytes();
            let advert = [0x31, 9, high, low];
            sender.queue(&envelope, if n == 1_500 { &too_long } else { &advert });
        }
        let mut refused = Vec::new();
        sender.flush(|index, error| refused.push((index, error.raw_os_error())));
        assert_eq!(refused, [(1_500, Some(libc::EMSGSIZE))]);
        let heard = receive(&socket, 2_499);
        let expected = (0..2_500u16).filter(|&n| n != 1_500);
        assert!(heard.iter().map(|h| u16::from_be_bytes([h.3[2], h.3[3]])).eq(expected));
    });
}

#[test]
fn a_socket_has_room_for_as_much_as_it_is_told() {
    with_cable(|_: &Cable| {
        let socket = AdvertSocket::open(Family::Inet, Some(interface("a")), &everyone()).unwrap();
        // The kernel doubles it for its own bookkeeping; socket(7).
        let room = || getsockopt(&socket, RcvBuf).unwrap() / 2;
        let usual = room();
        socket.reserve(usual * 2 + 1).unwrap();
        assert_eq!(room(), usual * 2 + 1);
        socket.reserve(1).unwrap();
        assert_eq!(room(), usual);
    });
}

#[test]
fn a_group_that_cannot_be_joined_is_named_with_its_interface() {
    with_cable(|_: &Cable| {
        let mut gone = interface("a");
        gone.index = 9_999.try_into().unwrap();
        let socket = AdvertSocket::open(Family::Inet, Some(gone), &everyone()).unwrap();
        let error = socket.join(ip("224.0.0.18")).unwrap_err();
        assert_eq!(error.to_string(), "joining 224.0.0.18 on a");
    });
}

#[test]
fn announcements_reach_everyone_on_the_link() {
    with_cable(|cable: &Cable| {
        let (mut arp, mut six) = cable
            .in_b(|| (Capture::new(&interface("b"), ARP), Capture::new(&interface("b"), IPV6)));
        let a = link("a");
        let mut announcer = Announcer::open().unwrap();
        let mut announcement = Announcement {
            ifindex: a.index,
            hardware: a.hardware.unwrap(),
            address: ip("192.0.2.50"),
            form: ArpForm::Request,
            router: false,
        };
        announcer.queue(&announcement);
        announcement.form = ArpForm::Reply;
        announcer.queue(&announcement);
        announcement.address = ip("2001:db8::50");
        announcer.queue(&announcement);
        announcement.ifindex = 9_999;
        announcer.queue(&announcement);
        let mut refused = Vec::new();
        announcer.flush(|index, error| refused.push((index, error.raw_os_error())));
        assert_eq!(refused, [(3, Some(libc::ENXIO))]);

        let request = hex!(
            "ffffffffffff 02000000000a 0806"
            "0001 0800 06 04 0001 02000000000a c0000232 ffffffffffff c0000232"
        );
        assert_eq!(arp.next(), request);
        let reply = hex!(
            "ffffffffffff 02000000000a 0806"
            "0001 0800 06 04 0002 02000000000a c0000232 02000000000a c0000232"
        );
        assert_eq!(arp.next(), reply);
        let na = std::iter::from_fn(|| Some(six.next())).find(|frame| frame[54] == 136).unwrap();
        assert_eq!(na[..6], hex!("333300000001"));
        assert_eq!((na[20], na[21]), (58, 255), "ICMPv6, hop limit");
        assert_eq!(na[58], 0x20, "override");
        assert_eq!(na[78..], hex!("0201 02000000000a"));
    });
}
