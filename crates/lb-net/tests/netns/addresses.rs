//! Adding, removing, listing and watching addresses, against the real kernel.

use std::net::IpAddr;

use crate::cable::{Cable, ip, link, with_cable};
use lb_net::{Address, Change, Event, Monitor, Outcome, RouteSocket};

fn vip(ifindex: u32, address: &str, prefix: u8) -> Address<'static> {
    let address = address.parse().unwrap();
    Address { ifindex, address, prefix, broadcast: None, scope: 0, label: None }
}

fn ours(route: &mut RouteSocket) -> Vec<(IpAddr, u8)> {
    let addresses = route.addresses().unwrap();
    addresses.iter().filter(|a| a.ours).map(|a| (a.address, a.prefix)).collect()
}

fn events(monitor: &mut Monitor) -> Vec<Event> {
    let mut events = Vec::new();
    monitor.drain(|event| events.push(event)).unwrap();
    events
}

#[test]
fn addresses_come_and_go_with_our_mark() {
    with_cable(|_: &Cable| {
        let mut route = RouteSocket::open().unwrap();
        let a = link("a");
        assert!(a.up && !a.noarp);
        assert_eq!(a.hardware, Some([2, 0, 0, 0, 0, 0x0A]));
        let four = Address {
            broadcast: Some([198, 51, 100, 255].into()),
            scope: 253,
            label: Some("a:vip"),
            ..vip(a.index, "198.51.100.50", 24)
        };
        let six = vip(a.index, "2001:db8::50", 128);
        let outcomes = route.change(&[Change::Add(four), Change::Add(six)]).unwrap();
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Done)), "{outcomes:?}");
        assert_eq!(ours(&mut route), [(four.address, 24), (six.address, 128)]);
        // Usable at once, and never a source by itself.
        let shown = std::process::Command::new("ip").args(["address", "show", "a"]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        let line = "inet 198.51.100.50/24 brd 198.51.100.255 scope link a:vip";
        assert!(shown.contains(line), "{shown}");
        let line = "inet6 2001:db8::50/128 scope global nodad deprecated";
        assert!(shown.contains(line), "{shown}");

        let outcomes = route.change(&[Change::Remove(four), Change::Remove(six)]).unwrap();
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Done)), "{outcomes:?}");
        assert!(ours(&mut route).is_empty());
    });
}

#[test]
fn a_refused_change_does_not_hold_up_the_others() {
    with_cable(|_: &Cable| {
        let mut route = RouteSocket::open().unwrap();
        let a = link("a").index;
        // More than one batch, with a refusal in the middle of each and at the very end.
        let addresses: Vec<_> = (0..600u32)
            .map(|n| {
                let index = if n % 300 == 150 || n == 599 { 9_999 } else { a };
                vip(index, &format!("10.1.{}.{}", n / 250, n % 250 + 1), 32)
            })
            .collect();
        let add: Vec<_> = addresses.iter().copied().map(Change::Add).collect();
        let outcomes = route.change(&add).unwrap();
        let refused: Vec<_> = outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Refused(_)))
            .map(|(index, _)| index)
            .collect();
        assert_eq!(refused, [150, 450, 599]);
        assert_eq!(ours(&mut route).len(), 597);
        // What is there already, and what is gone already, is no error.
        assert!(matches!(route.change(&add[..1]).unwrap()[..], [Outcome::Already]));
        let remove: Vec<_> = addresses.iter().copied().map(Change::Remove).collect();
        let gone = route.change(&remove).unwrap();
        assert!(!gone.iter().any(|o| matches!(o, Outcome::Refused(_))), "{gone:?}");
        assert!(ours(&mut route).is_empty());
        assert!(matches!(route.change(&remove[..1]).unwrap()[..], [Outcome::Already]));
    });
}

#[test]
fn only_the_additions_of_others_are_told() {
    with_cable(|_: &Cable| {
        let mut route = RouteSocket::open().unwrap();
        let a = link("a").index;
        let mut monitor = Monitor::open(route.port()).unwrap();
        let own = vip(a, "192.0.2.60", 32);
        route.change(&[Change::Add(own)]).unwrap();
        assert_eq!(events(&mut monitor), []);

        ip("address add 192.0.2.61/32 dev a");
        assert!(matches!(
            events(&mut monitor)[..],
            [Event::Address(added)] if added.address == IpAddr::from([192, 0, 2, 61]) && !added.ours
        ));

        route.change(&[Change::Remove(own)]).unwrap();
        assert!(matches!(
            events(&mut monitor)[..],
            [Event::AddressGone { address, by_us: true }] if address.address == own.address
        ));

        route.change(&[Change::Add(own)]).unwrap();
        ip("address del 192.0.2.60/32 dev a");
        assert!(matches!(
            events(&mut monitor)[..],
            [Event::AddressGone { address, by_us: false }] if address.address == own.address
        ));
    });
}

#[test]
fn links_are_told_as_they_change() {
    with_cable(|_: &Cable| {
        let mut monitor = Monitor::open(0).unwrap();
        ip("link set dev a down");
        assert!(
            events(&mut monitor)
                .iter()
                .any(|event| matches!(event, Event::Link(link) if link.name == "a" && !link.up))
        );
        ip("link add name c type veth peer name d");
        let index = link("c").index;
        assert!(events(&mut monitor).iter().any(
            |event| matches!(event, Event::Link(link) if link.name == "c" && link.index == index)
        ));
        ip("link set dev c name e");
        assert!(events(&mut monitor).iter().any(
            |event| matches!(event, Event::Link(link) if link.name == "e" && link.index == index)
        ));
        ip("link del dev e");
        assert!(events(&mut monitor).contains(&Event::LinkGone { index }));
    });
}
