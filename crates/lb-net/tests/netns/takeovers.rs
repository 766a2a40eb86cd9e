//! A takeover as a switch and a client see it, while the old holder still has the address.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_net::{Announcement, Announcer, ArpForm, Family, MacvlanMode, VmacSpec, Vmacs, vrrp_mac};

use crate::cable::{Capture, interface, ip, link};
use crate::segment::{Segment, eventually, mac, neighbour, output, pings, text, with_segment};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VMAC: [u8; 6] = vrrp_mac(7, Family::Inet);
/// `ETH_P_ALL`: ahead of the bridge.
const ALL: u16 = 0x0003;
/// Old holder, new holder, client.
const OLD: u8 = 1;
const NEW: u8 = 2;
const CLIENT: u8 = 3;

fn vmac(mode: MacvlanMode) -> Vmacs {
    let mut vmacs = Vmacs::open().unwrap();
    let made = vmacs
        .reconcile(&[VmacSpec {
            name: "v".into(),
            base: link("e").index,
            hardware: VMAC,
            mode,
            ipv4: true,
            ipv6: false,
            link_local: None,
            group: None,
            tells_of_base: false,
        }])
        .unwrap();
    assert!(made[0].is_ok(), "{made:?}");
    vmacs
}

fn announce(name: &str, form: ArpForm) {
    let link = link(name);
    let mut announcer = Announcer::open().unwrap();
    announcer.queue(&Announcement {
        ifindex: link.index,
        hardware: link.hardware.unwrap(),
        address: VIP.into(),
        form,
        router: false,
    });
    announcer.flush(|_, error| panic!("{error}"));
}

/// The new holder announces itself while the old one has the address. Says whether the old one
/// answered, after an ARP request from elsewhere has shown that it is done with what came before.
fn is_answered(segment: &Segment, form: ArpForm) -> bool {
    segment.on(OLD, || ip("address replace 192.0.2.100/32 dev v"));
    segment.on(OLD, || announce("v", ArpForm::Reply));
    eventually("the switch learns the old holder", || {
        segment.port_of(VMAC).as_deref() == Some("p1")
    });
    let mut from_port = Capture::new(&interface("p1"), ALL);
    segment.on(NEW, || ip("address replace 192.0.2.100/32 dev v"));
    segment.on(NEW, || announce("v", form));
    segment.on(CLIENT, || output("ip neighbour flush dev e"));
    assert!(segment.on(CLIENT, || pings(Ipv4Addr::new(192, 0, 2, OLD))));
    segment.on(NEW, || ip("address del 192.0.2.100/32 dev v"));
    // Its destination is the virtual MAC too: the switch drops it after learning from it.
    from_port.has(|frame| frame[..14] == [&VMAC[..], &VMAC[..], &[0x08, 0x06]].concat())
}

#[test]
fn a_reply_takes_the_port_over_and_the_old_holder_is_silent() {
    with_segment(3, |segment| {
        let _vmacs = [OLD, NEW].map(|host| segment.on(host, || vmac(MacvlanMode::Private)));
        // keepalived's form: the answer takes the switch back to the old holder.
        assert!(is_answered(segment, ArpForm::Request));
        assert_eq!(segment.port_of(VMAC).as_deref(), Some("p1"));
        assert!(!is_answered(segment, ArpForm::Reply));
        assert_eq!(segment.port_of(VMAC).as_deref(), Some("p2"));
    });
}

#[test]
fn in_bridge_mode_the_old_holder_is_silent_in_any_case() {
    with_segment(3, |segment| {
        let _vmacs = [OLD, NEW].map(|host| segment.on(host, || vmac(MacvlanMode::Bridge)));
        for form in [ArpForm::Request, ArpForm::Reply] {
            assert!(!is_answered(segment, form));
            assert_eq!(segment.port_of(VMAC).as_deref(), Some("p2"));
        }
    });
}

#[test]
fn a_client_believes_a_reply_about_what_it_has_just_learned() {
    with_segment(3, |segment| {
        let address = IpAddr::from(VIP);
        segment.on(OLD, || ip("address add 192.0.2.100/32 dev e"));
        segment.on(NEW, || ip("address add 192.0.2.100/32 dev e"));
        segment.on(CLIENT, || {
            ip("neighbour replace 192.0.2.100 lladdr 02:00:00:00:00:01 dev e nud reachable");
            assert_eq!(neighbour(address), Some(text(mac(OLD))));
        });
        let mut arp = segment.on(CLIENT, || Capture::new(&interface("e"), 0x0806));
        segment.on(NEW, || announce("e", ArpForm::Reply));
        arp.next();
        segment.on(CLIENT, || {
            eventually("the client follows", || neighbour(address) == Some(text(mac(NEW))));
        });
        // Nor does the old holder answer when it has the address on a real interface.
        assert!(!arp.has(|frame| frame[6..12] == mac(OLD)));
    });
}

#[test]
fn a_client_keeps_its_connection_to_the_address_through_a_takeover() {
    with_segment(3, |segment| {
        let _vmacs = [OLD, NEW].map(|host| segment.on(host, || vmac(MacvlanMode::Private)));
        segment.on(OLD, || ip("address add 192.0.2.100/32 dev v"));
        assert!(segment.on(CLIENT, || pings(VIP)));
        assert_eq!(segment.on(CLIENT, || neighbour(VIP.into())), Some(text(VMAC)));
        segment.on(NEW, || ip("address add 192.0.2.100/32 dev v"));
        segment.on(NEW, || announce("v", ArpForm::Reply));
        eventually("the switch learns the new holder", || {
            segment.port_of(VMAC).as_deref() == Some("p2")
        });
        segment.on(OLD, || ip("link set dev e down"));
        assert!(segment.on(CLIENT, || pings(VIP)));
    });
}

#[test]
fn a_backup_does_not_speak_with_the_virtual_mac() {
    with_segment(2, |segment| {
        let mut frames = Capture::new(&interface("p2"), ALL);
        let mut vmacs = segment.on(NEW, || {
            let mut vmacs = Vmacs::open().unwrap();
            let spec = VmacSpec {
                name: "v".into(),
                base: link("e").index,
                hardware: vrrp_mac(7, Family::Inet6),
                mode: MacvlanMode::Bridge,
                ipv4: false,
                ipv6: true,
                link_local: Some("fe80::7".parse().unwrap()),
                group: None,
                tells_of_base: false,
            };
            assert!(vmacs.reconcile(&[spec]).unwrap()[0].is_ok());
            vmacs
        });
        // Multicast listener reports tell a snooping switch what is to be heard here. They must not
        // tell the others where the virtual MAC is.
        let group = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 1, 0xFF00, 7).octets();
        let tells = |frame: &Vec<u8>| frame.windows(16).any(|it| it == group);
        let frame = iter::from_fn(|| Some(frames.next())).find(tells).unwrap();
        assert_eq!(frame[6..12], mac(NEW));
        segment.on(NEW, || vmacs.clear().unwrap());
        assert_eq!(segment.on(NEW, || output("nft list ruleset")), "");
    });
}
