//! Virtual MACs, their settings, and what is heard where.

use std::fs;
use std::net::IpAddr;

use lb_election::Selector;
use lb_net::{
    AdvertSocket, Envelope, Error, Event, Family, Inbox, MacvlanMode, Marking, Monitor, Poller,
    VmacSpec, Vmacs, vrrp_mac,
};

use crate::cable::{Cable, Capture, PATIENCE, interface, ip, link, with_cable};

fn spec(name: &str, vrid: u8) -> VmacSpec {
    on("a", name, vrid)
}

fn on(base: &str, name: &str, vrid: u8) -> VmacSpec {
    VmacSpec {
        name: name.into(),
        base: link(base).index,
        hardware: vrrp_mac(vrid, Family::Inet),
        mode: MacvlanMode::Private,
        ipv4: true,
        ipv6: false,
        link_local: None,
        group: None,
        tells_of_base: false,
    }
}

fn setting(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().into()
}

fn set(path: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{path}"), value).unwrap();
}

fn shown(arguments: &str) -> String {
    let done = std::process::Command::new("ip").args(arguments.split(' ')).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn virtual_macs_come_and_go_and_the_settings_around_them_are_restored() {
    with_cable(|_: &Cable| {
        set("ipv4/conf/all/rp_filter", "1");
        set("ipv4/conf/a/rp_filter", "2");
        ip("link set dev a group 42");
        let mut vmacs = Vmacs::open().unwrap();
        let mut monitor = Monitor::open(0).unwrap();
        let six = VmacSpec {
            hardware: vrrp_mac(9, Family::Inet6),
            ipv4: false,
            ipv6: true,
            link_local: Some("fe80::9".parse().unwrap()),
            ..spec("v9", 9)
        };
        let wanted = [spec("v7", 7), spec("v8", 8), six];
        let made = vmacs.reconcile(&wanted).unwrap();
        let seven = link("v7");
        assert!(seven.up && seven.kind.as_deref() == Some("macvlan"));
        assert_eq!(seven.parent, Some(link("a").index));
        assert_eq!(seven.hardware, Some([0, 0, 0x5E, 0, 1, 7]));
        assert_eq!(*made[0].as_ref().unwrap(), seven.index);
        let mut told = false;
        monitor.drain(|event| told |= matches!(event, Event::Link(it) if it == seven)).unwrap();
        assert!(told, "the monitor tells all there is to know");

        assert!(shown("link show group 42").contains("v7@a"));
        for (setting_of, value) in [
            ("ipv4/conf/v7/arp_ignore", "1"),
            ("ipv4/conf/v7/accept_local", "1"),
            ("ipv4/conf/v7/rp_filter", "0"),
            ("ipv4/conf/v7/promote_secondaries", "1"),
            ("ipv6/conf/v7/disable_ipv6", "1"),
            ("ipv4/conf/v9/arp_ignore", "1"),
            ("ipv6/conf/v9/disable_ipv6", "0"),
            ("ipv6/conf/v9/addr_gen_mode", "1"),
            ("ipv6/conf/v9/accept_ra", "0"),
            ("ipv4/conf/a/arp_ignore", "1"),
            ("ipv4/conf/a/arp_filter", "1"),
            ("ipv4/conf/a/arp_announce", "2"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "1"),
            ("ipv4/conf/lo/rp_filter", "1"),
            ("ipv4/conf/a/rp_filter", "2"),
        ] {
            assert_eq!(setting(setting_of), value, "{setting_of}");
        }
        let addresses = shown("-6 -o address show dev v9");
        assert_eq!(addresses.lines().count(), 1, "{addresses}");
        assert!(addresses.contains("inet6 fe80::9/64 scope link nodad"), "{addresses}");

        // Another source of advertisements replaces the one before.
        let mut wanted = wanted;
        wanted[2].link_local = Some("fe80::99".parse().unwrap());
        assert_eq!(vmacs.reconcile(&wanted).unwrap()[2].as_ref().ok(), made[2].as_ref().ok());
        let addresses = shown("-6 -o address show dev v9");
        assert!(addresses.lines().count() == 1 && addresses.contains("fe80::99/64"), "{addresses}");

        // The same again changes nothing; one less goes alone.
        let again = vmacs.reconcile(&wanted).unwrap();
        assert!(again.iter().zip(&made).all(|(a, b)| a.as_ref().ok() == b.as_ref().ok()));
        vmacs.reconcile(&wanted[1..]).unwrap();
        assert!(!shown("link show").contains("v7@"));
        assert_eq!(setting("ipv4/conf/a/arp_ignore"), "1");
        // The last one for IPv4.
        vmacs.reconcile(&wanted[2..]).unwrap();
        for (setting_of, value) in [
            ("ipv4/conf/a/arp_ignore", "0"),
            ("ipv4/conf/a/arp_filter", "0"),
            ("ipv4/conf/a/arp_announce", "0"),
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/lo/rp_filter", "0"),
        ] {
            assert_eq!(setting(setting_of), value, "{setting_of}");
        }
        vmacs.clear().unwrap();
        assert!(!shown("link show").contains("v9@"));
    });
}

#[test]
fn a_virtual_mac_that_somebody_renamed_goes() {
    with_cable(|_: &Cable| {
        let mut vmacs = Vmacs::open().unwrap();
        let wanted = [spec("v7", 7), spec("v8", 8)];
        vmacs.reconcile(&wanted).unwrap();
        ip("link set dev v7 name mine7");
        ip("link set dev v8 name mine8");
        vmacs.reconcile(&wanted[..1]).unwrap();
        let links = shown("-br link show type macvlan");
        let names: Vec<_> = links.lines().filter_map(|line| line.split('@').next()).collect();
        assert_eq!(names, ["v7"]);
    });
}

#[test]
fn a_link_group_is_that_of_the_base_or_one_of_its_own() {
    with_cable(|_: &Cable| {
        ip("link set dev a group 42");
        let mut vmacs = Vmacs::open().unwrap();
        let mut wanted = [spec("v7", 7), VmacSpec { group: Some(7), ..spec("v8", 8) }];
        let groups = || {
            let list = |group| {
                let links = shown(&format!("-br link show group {group}"));
                let names = links.lines().filter_map(|line| line.split([' ', '@']).next());
                names.map(str::to_owned).collect::<Vec<_>>()
            };
            ["42", "7"].map(list)
        };
        vmacs.reconcile(&wanted).unwrap();
        assert_eq!(groups(), [vec!["a", "v7"], vec!["v8"]]);
        // Links that are there change their group without going.
        let eight = link("v8").index;
        (wanted[0].group, wanted[1].group) = (Some(7), None);
        vmacs.reconcile(&wanted).unwrap();
        assert_eq!(groups(), [vec!["a", "v8"], vec!["v7"]]);
        assert_eq!(link("v8").index, eight);
    });
}

/// How often the kernel tells of `link` that it is promiscuous, as `IFLA_PROMISCUITY` counts it.
fn promiscuities(socket: &netlink_sys::Socket, link: u32) -> Vec<u32> {
    const HEADERS: usize = 32;
    let mut told = Vec::new();
    while let Ok((datagram, _)) = socket.recv_from_full() {
        let number = |octets: &[u8]| u32::from_ne_bytes(octets[..4].try_into().unwrap());
        if number(&datagram[20..]) != link {
            continue;
        }
        let mut rest = &datagram[HEADERS..];
        while rest.len() >= 8 {
            let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
            if rest[2..4] == 30_u16.to_ne_bytes() {
                told.push(number(&rest[4..]));
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    told
}

#[test]
fn the_kernel_tells_of_a_bridge_that_it_is_promiscuous_if_asked_to() {
    with_cable(|_: &Cable| {
        ip("link add name bridge type bridge");
        ip("link set dev bridge up");
        let index = link("bridge").index;
        let mut vmacs = Vmacs::open().unwrap();
        let mut monitor = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
        monitor.bind(&netlink_sys::SocketAddr::new(0, 1)).unwrap();
        monitor.set_non_blocking(true).unwrap();
        for tells_of_base in [false, true] {
            // One for IPv4 changes settings of the base, of which the kernel tells as well.
            let six = VmacSpec { ipv4: false, ipv6: true, ..on("bridge", "v7", 7) };
            let wanted = VmacSpec { tells_of_base, ..six };
            vmacs.reconcile(&[wanted]).unwrap();
            assert_eq!(promiscuities(&monitor, index).contains(&1), tells_of_base);
            vmacs.clear().unwrap();
            assert_eq!(promiscuities(&monitor, index).last() == Some(&0), tells_of_base);
        }
    });
}

#[test]
fn a_successor_adopts_the_links_and_knows_what_was_before() {
    with_cable(|_: &Cable| {
        set("ipv4/conf/all/rp_filter", "1");
        set("ipv4/conf/a/arp_filter", "1");
        let wanted = [spec("v7", 7)];
        let mut first = Vmacs::open().unwrap();
        first.reconcile(&wanted).unwrap();
        drop(first);
        let seven = link("v7");
        let mut second = Vmacs::open().unwrap();
        second.reconcile(&wanted).unwrap();
        assert_eq!(link("v7"), seven);
        second.clear().unwrap();
        assert_eq!(setting("ipv4/conf/all/rp_filter"), "1");
        assert_eq!(setting("ipv4/conf/a/arp_ignore"), "0");
        assert_eq!(setting("ipv4/conf/a/arp_filter"), "1");
    });
}

#[test]
fn what_is_in_the_way_is_replaced_or_named() {
    with_cable(|_: &Cable| {
        ip("link add link a name v7 type macvlan mode vepa");
        ip("link add name v8 type bridge");
        let foreign = link("v7").index;
        let mut vmacs = Vmacs::open().unwrap();
        let lost = VmacSpec { base: 9_999, ..spec("v6", 6) };
        let made = vmacs.reconcile(&[spec("v8", 8), lost, spec("v7", 7)]).unwrap();
        assert!(
            matches!(&made[0], Err(Error::NameTaken { name, kind }) if name == "v8" && kind == "bridge")
        );
        assert_eq!(made[1].as_ref().unwrap_err().to_string(), "making the virtual MAC v6");
        let seven = link("v7");
        assert_ne!(seven.index, foreign);
        assert_eq!(seven.hardware, Some([0, 0, 0x5E, 0, 1, 7]));
        vmacs.clear().unwrap();
        assert_eq!(link("v8").kind.as_deref(), Some("bridge"));
    });
}

#[test]
fn hundreds_are_made_at_once() {
    with_cable(|_: &Cable| {
        let mut vmacs = Vmacs::open().unwrap();
        let wanted: Vec<_> = (1..=255).map(|vrid| spec(&format!("v{vrid}"), vrid)).collect();
        let made = vmacs.reconcile(&wanted).unwrap();
        assert!(made.iter().all(Result::is_ok));
        vmacs.clear().unwrap();
        assert!(!shown("link show").contains("macvlan"));
    });
}

/// CARP of this vhid.
fn selector(id: u8) -> Selector {
    Selector { first: 0x21, id, ttl: Some(255), sources: None }
}

/// Advertisements of both routers leave by macvlans of the same MAC; who hears them?
fn heard_by_base_and_vmac(mode: MacvlanMode) -> [Vec<u8>; 2] {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    with_cable(move |cable: &Cable| {
        let group: IpAddr = "224.0.0.18".parse().unwrap();
        let mut vmacs = Vmacs::open().unwrap();
        let via =
            *vmacs.reconcile(&[VmacSpec { mode, ..spec("v7", 7) }]).unwrap()[0].as_ref().unwrap();
        let (ears, _vmacs, mut capture) = cable.in_b(|| {
            let mut vmacs = Vmacs::open().unwrap();
            vmacs.reconcile(&[VmacSpec { mode, ..on("b", "v7", 7) }]).unwrap();
            let ears = ["b", "v7"].map(|name| {
                let selectors: Vec<_> = (0..=255).map(selector).collect();
                let socket =
                    AdvertSocket::open(Family::Inet, Some(interface(name)), &selectors).unwrap();
                socket.join(group).unwrap();
                socket
            });
            (ears, vmacs, Capture::new(&interface("b"), 0x0003))
        });
        let mut base = AdvertSocket::open(Family::Inet, Some(interface("a")), &[]).unwrap();
        let mut sender = AdvertSocket::open_sender(Family::Inet).unwrap();
        let mut envelope = Envelope {
            source: "192.0.2.1".parse().unwrap(),
            destination: group,
            ttl: 255,
            marking: Marking::CARP,
            ah: None,
            through: via.try_into().ok(),
        };
        sender.queue(&envelope, &[0x21, 1]);
        sender.flush(|_, error| panic!("{error}"));
        let frame = std::iter::from_fn(|| Some(capture.next())).find(|it| it[23] == 112).unwrap();
        assert_eq!(frame[6..12], [0, 0, 0x5E, 0, 1, 7], "the source is the virtual MAC");
        assert_eq!((frame[15], frame[20]), (0x10, 0x40), "low delay, DF");
        // Both hear this one: then what came before has been heard too.
        envelope.through = None;
        base.queue(&envelope, &[0x21, 2]);
        base.flush(|_, error| panic!("{error}"));
        tell.send(ears.map(|socket| listen(&socket))).unwrap();
    });
    told.recv().unwrap()
}

/// The second octets of what arrives, up to a 2.
fn listen(socket: &AdvertSocket) -> Vec<u8> {
    let mut poller = Poller::new().unwrap();
    poller.add(socket, 0).unwrap();
    let (mut inbox, mut heard) = (Inbox::new(), Vec::new());
    while !heard.contains(&2) {
        assert_ne!(poller.wait(Some(PATIENCE)).unwrap().count(), 0, "{heard:?}");
        socket.receive(&mut inbox).unwrap();
        heard.extend(inbox.iter().map(|packet| packet.payload[1]));
    }
    heard
}

#[test]
fn the_mode_says_whether_base_or_virtual_mac_hears_the_other_router() {
    assert_eq!(heard_by_base_and_vmac(MacvlanMode::Private), [vec![2], vec![1, 2]]);
    assert_eq!(heard_by_base_and_vmac(MacvlanMode::Bridge), [vec![1, 2], vec![2]]);
}

#[test]
fn one_sender_speaks_through_many_links_and_hears_nothing() {
    with_cable(|cable: &Cable| {
        let mut vmacs = Vmacs::open().unwrap();
        let wanted: Vec<_> = (1..=20)
            .map(|vrid| VmacSpec {
                hardware: vrrp_mac(vrid, Family::Inet6),
                ipv4: false,
                ipv6: true,
                link_local: Some(format!("fe80::{vrid:x}").parse().unwrap()),
                ..spec(&format!("v{vrid}"), vrid)
            })
            .collect();
        let made = vmacs.reconcile(&wanted).unwrap();
        let mut capture = cable.in_b(|| Capture::new(&interface("b"), 0x86DD));
        let mut sender = AdvertSocket::open_sender(Family::Inet6).unwrap();
        for (index, spec) in made.iter().zip(&wanted) {
            let envelope = Envelope {
                source: spec.link_local.unwrap().into(),
                destination: "ff02::12".parse().unwrap(),
                ttl: 255,
                marking: Marking::VRRP,
                ah: None,
                through: (*index.as_ref().unwrap()).try_into().ok(),
            };
            sender.queue(&envelope, &[0x31, spec.hardware[5]]);
        }
        sender.flush(|_, error| panic!("{error}"));
        for vrid in 1..=20 {
            let mut frames = std::iter::from_fn(|| Some(capture.next()));
            let frame = frames.find(|frame| frame[20] == 112).unwrap();
            assert_eq!(frame[6..12], vrrp_mac(vrid, Family::Inet6));
            assert_eq!(frame[54..], [0x31, vrid]);
        }
    });
}
