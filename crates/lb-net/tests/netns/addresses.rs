//! Adding, removing, listing and watching addresses, against the real kernel.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::cable::{Cable, ip, link, with_cable};
use lb_net::{
    Address, AddressOptions, Change, Event, FOREVER, Monitor, Outcome, Promotions, RouteSocket,
};

fn vip(ifindex: u32, address: &str, prefix: u8) -> Address<'static> {
    let address = address.parse().unwrap();
    let options = AddressOptions::default();
    Address { ifindex, address, prefix, broadcast: None, scope: 0, label: None, options }
}

fn ours(route: &mut RouteSocket) -> Vec<(IpAddr, u8)> {
    let addresses = route.addresses().unwrap();
    addresses.iter().filter(|a| a.ours).map(|a| (a.address, a.prefix)).collect()
}

/// What has been told, but for IPv6 addresses: those of the cable are looked at by the kernel for a while, and it adds
/// its own.
fn events(monitor: &mut Monitor) -> Vec<Event> {
    let mut events = Vec::new();
    monitor.drain(|event| events.push(event)).unwrap();
    events.retain(|event| match event {
        Event::Address(address) | Event::AddressGone { address, .. } => address.address.is_ipv4(),
        Event::Link(_) | Event::LinkGone { .. } | Event::Overrun => true,
    });
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
fn the_kernel_shows_each_option_of_an_address() {
    with_cable(|_: &Cable| {
        let mut route = RouteSocket::open().unwrap();
        let a = link("a").index;
        let usual = AddressOptions::default();
        let peer = |peer: &str| AddressOptions { peer: peer.parse().ok(), ..usual };
        let preferred = |seconds| AddressOptions { preferred: Some(seconds), ..usual };
        let no_prefix_route = AddressOptions { no_prefix_route: true, ..usual };
        let autojoin = AddressOptions { autojoin: true, ..usual };
        let of_inet6 = AddressOptions {
            home: true,
            detect_duplicates: true,
            manage_temporary: true,
            preferred: Some(7),
            ..usual
        };
        let home = AddressOptions { home: true, ..usual };
        let detect_duplicates = AddressOptions { detect_duplicates: true, ..usual };
        let manage_temporary = AddressOptions { manage_temporary: true, ..usual };
        for (address, prefix, options, shown) in [
            ("198.51.100.1", 32, peer("203.0.113.1"), " peer 203.0.113.1/32 scope global a"),
            ("198.51.100.2", 24, no_prefix_route, "/24 scope global noprefixroute a"),
            ("239.1.2.3", 32, autojoin, "/32 scope global autojoin a"),
            ("198.51.100.4", 24, of_inet6, "/24 scope global a"),
            (
                "2001:db8:9::1",
                128,
                peer("2001:db8:8::1"),
                " peer 2001:db8:8::1/128 scope global nodad deprecated",
            ),
            ("2001:db8:9::2", 64, no_prefix_route, "/64 scope global nodad noprefixroute"),
            ("ff05::3", 64, autojoin, "/64 scope site nodad autojoin"),
            ("2001:db8:9::4", 64, home, "/64 scope global nodad home"),
            ("2001:db8:9::5", 64, detect_duplicates, "/64 scope global tentative"),
            ("2001:db8:9::6", 64, manage_temporary, "/64 scope global nodad mngtmpaddr"),
            ("2001:db8:9::7", 64, preferred(0), "/64 scope global nodad deprecated"),
            ("2001:db8:9::8", 64, preferred(3_600), "/64 scope global nodad"),
            ("2001:db8:9::9", 128, preferred(FOREVER), "/128 scope global nodad"),
        ] {
            let address = Address { options, ..vip(a, address, prefix) };
            let outcomes = route.change(&[Change::Add(address)]).unwrap();
            assert!(matches!(outcomes[..], [Outcome::Done]), "{address:?}: {outcomes:?}");
            let all =
                std::process::Command::new("ip").args(["-o", "address", "show", "a"]).output();
            let all = String::from_utf8(all.unwrap().stdout).unwrap();
            let lifetime = match options.preferred.filter(|_| address.address.is_ipv6()) {
                Some(3_600) => "preferred_lft 3600sec",
                Some(0) => "preferred_lft 0sec",
                None if shown.ends_with("deprecated") => "preferred_lft 0sec",
                _ => "preferred_lft forever",
            };
            let shown = format!(" {}{shown}", address.address);
            let line = all.lines().find(|line| line.contains(&shown));
            let line = line.unwrap_or_else(|| panic!("{shown} is not in {all}"));
            assert!(line.contains("valid_lft forever") && line.ends_with(lifetime), "{line}");
            let gone = route.change(&[Change::Remove(address)]).unwrap();
            assert!(matches!(gone[..], [Outcome::Done]), "{address:?}: {gone:?}");
        }
        assert!(ours(&mut route).is_empty());
    });
}

#[test]
fn a_second_address_of_a_subnet_may_outlive_the_first() {
    with_cable(|_: &Cable| {
        let setting = "/proc/sys/net/ipv4/conf/a/promote_secondaries";
        std::fs::write(setting, "0").unwrap();
        let mut route = RouteSocket::open().unwrap();
        let a = link("a").index;
        let two = ["198.51.100.1", "198.51.100.2"].map(|address| vip(a, address, 24));
        let mut promotions = Promotions::open().unwrap();
        for (links, left) in [(vec![], 0), (vec![a, 9_999], 1), (vec![a], 1), (vec![], 0)] {
            promotions.apply(&links.into_iter().collect()).unwrap();
            route.change(&two.map(Change::Add)).unwrap();
            route.change(&[Change::Remove(two[0])]).unwrap();
            assert_eq!(ours(&mut route).len(), left);
            route.change(&[Change::Remove(two[1])]).unwrap();
        }
        // What was set before stays set.
        std::fs::write(setting, "1").unwrap();
        promotions.apply(&[a].into()).unwrap();
        promotions.apply(&[].into()).unwrap();
        assert_eq!(std::fs::read_to_string(setting).unwrap().trim(), "1");
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

#[test]
fn this_host_answers_for_an_address_as_soon_as_it_is_added() {
    with_cable(|_: &Cable| {
        let mut route = RouteSocket::open().unwrap();
        let a = link("a").index;
        let mut answered = 0;
        for number in 1..=200 {
            let mut six = vip(a, &format!("2001:db8::1:{number:x}"), 128);
            six.options.no_prefix_route = number % 2 == 0;
            let began = Instant::now();
            route.change(&[Change::Add(six)]).unwrap();
            // It waits 20 ms for the kernel, whose thread a busy machine may run later.
            let given_up = began.elapsed() >= Duration::from_millis(20);
            let shown = shown(&format!("route get {}", six.address));
            assert!(given_up || shown.starts_with("local "), "{shown}");
            answered += u32::from(!given_up);
        }
        assert_ne!(answered, 0);
    });
}

#[test]
fn the_neighbours_of_a_link_are_forgotten_and_no_others() {
    with_cable(|_: &Cable| {
        ip("link add link a name virtual type macvlan mode bridge");
        ip("link set virtual up");
        ip("neigh add 198.51.100.77 lladdr 02:00:00:00:00:77 dev virtual nud delay");
        ip("neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev virtual nud stale");
        ip("neigh add 203.0.113.77 lladdr 02:00:00:00:00:77 dev a nud stale");
        let mut route = RouteSocket::open().unwrap();
        let m = link("virtual").index;
        route.forget_neighbours(m).unwrap();
        assert_eq!(shown("neigh show dev virtual"), "");
        assert!(shown("neigh show dev a").contains("203.0.113.77"));
        route.forget_neighbours(m).unwrap();
    });
}

/// What `ip` says.
fn shown(command: &str) -> String {
    let shown = std::process::Command::new("ip").arg("-6").args(command.split(' ')).output();
    let four = std::process::Command::new("ip").arg("-4").args(command.split(' ')).output();
    [shown, four].map(|out| String::from_utf8(out.unwrap().stdout).unwrap()).concat()
}
