//! What a killed process has left is found by its mark and taken away, and nothing else.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::process::Command;
use std::thread;
use std::time::Instant;

use lb_net::{
    Address, AddressOptions, Change, Family, Guard, GuardedAddress, InUse, MacvlanMode, Presence,
    RouteSocket, VmacSpec, Vmacs, clean, sweep, vrrp_mac,
};

use crate::cable::{Cable, PATIENCE, ip, link, with_cable};

fn shown(program: &str, arguments: &str) -> String {
    let done = Command::new(program).args(arguments.split(' ')).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

fn add(address: &str, prefix: u8) -> (u32, IpAddr) {
    let (ifindex, address) = (link("a").index, address.parse().unwrap());
    let options = AddressOptions::default();
    let (broadcast, scope, label) = (None, 0, None);
    let vip = Address { ifindex, address, prefix, broadcast, scope, label, options };
    RouteSocket::open().unwrap().change(&[Change::Add(vip)]).unwrap();
    (ifindex, address)
}

/// A virtual MAC with its rules, which nobody takes away.
fn leave_vmac(name: &str) {
    let spec = VmacSpec {
        name: name.into(),
        base: link("a").index,
        hardware: vrrp_mac(7, Family::Inet),
        mode: MacvlanMode::Bridge,
        ipv4: true,
        ipv6: true,
        link_local: None,
        group: None,
        tells_of_base: false,
    };
    Vmacs::open().unwrap().reconcile(&[spec]).unwrap();
}

fn setting() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/conf/a/arp_ignore").unwrap().trim().into()
}

/// Takes a presence away and waits until nobody holds its two sockets: a process that another test
/// starts has them, too, until it runs its program.
fn leave(presence: Presence) {
    let sockets = || std::fs::read_to_string("/proc/thread-self/net/unix").unwrap().lines().count();
    let wanted = sockets() - 2;
    drop(presence);
    let since = Instant::now();
    while sockets() > wanted {
        assert!(since.elapsed() < PATIENCE, "a presence stays");
        thread::yield_now();
    }
}

#[test]
fn what_is_not_configured_goes_and_what_others_made_stays() {
    with_cable(|_: &Cable| {
        let kept = add("192.0.2.200", 24);
        add("192.0.2.201", 24);
        add("2001:db8::201", 64);
        ip("address add 192.0.2.202/24 dev a");
        leave_vmac("vrrp.7");
        ip("link add link a name theirs type macvlan");
        assert_eq!(setting(), "1");
        assert!(shown("nft", "list tables").contains("lbd_vmac_if"));

        Vmacs::open().unwrap().sweeping(true).reconcile(&[]).unwrap();
        let addresses = HashSet::from([kept]);
        let in_use = InUse { addresses, ..InUse::default() };
        sweep(&mut RouteSocket::open().unwrap(), &in_use).unwrap();

        let addresses = shown("ip", "-o address show dev a");
        assert!(addresses.contains("192.0.2.200/") && addresses.contains("192.0.2.202/"));
        assert!(!addresses.contains("192.0.2.201/") && !addresses.contains("2001:db8::201/"));
        let links = shown("ip", "-br link show type macvlan");
        assert!(links.contains("theirs@") && !links.contains("vrrp.7@"), "{links}");
        assert_eq!(setting(), "0");
        assert!(!shown("nft", "list tables").contains("lbd"));
    });
}

#[test]
fn rules_of_guarded_addresses_go_when_none_is_guarded() {
    with_cable(|_: &Cable| {
        let guarded = GuardedAddress {
            address: "192.0.2.200".parse().unwrap(),
            interfaces: BTreeSet::from(["a".to_owned()]),
        };
        Guard::new("lbd").apply(&BTreeSet::from([guarded])).unwrap();
        shown("nft", "add table inet theirs");
        shown("nft", "add table ip lbd");
        let tables = || shown("nft", "list tables");
        let mut route = RouteSocket::open().unwrap();

        sweep(&mut route, &InUse { guards: BTreeSet::from(["lbd".into()]), ..InUse::default() })
            .unwrap();
        assert!(tables().contains("inet lbd\n"));
        // The addresses stay, and what drops their packets.
        assert_eq!(clean(false).unwrap(), None);
        assert!(tables().contains("inet lbd\n"));
        sweep(&mut route, &InUse::default()).unwrap();
        assert_eq!(tables(), "table inet theirs\ntable ip lbd\n");
    });
}

#[test]
fn cleaning_up_waits_for_the_last_one_that_is_here() {
    with_cable(|_: &Cable| {
        let presence = Presence::announce().unwrap();
        assert_eq!(presence.other().unwrap(), None);
        let second = Presence::announce().unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(presence.other().unwrap(), Some(pid.clone()));
        leave(second);
        add("192.0.2.201", 24);
        leave_vmac("vrrp.7");
        assert_eq!(clean(true).unwrap(), Some(pid));
        assert!(shown("ip", "-o address show dev a").contains("192.0.2.201/"));
        leave(presence);
        // Where it was told to leave its addresses.
        assert_eq!(clean(false).unwrap(), None);
        assert!(shown("ip", "-o address show dev a").contains("192.0.2.201/"));
        assert!(shown("ip", "-br link show type macvlan").contains("vrrp.7@"));
        assert_eq!(clean(true).unwrap(), None);
        assert!(!shown("ip", "-o address show dev a").contains("192.0.2.201/"));
        assert!(!shown("ip", "-br link show type macvlan").contains("vrrp.7@"));
        assert!(!shown("nft", "list tables").contains("lbd"));
    });
}

#[test]
fn each_of_several_processes_has_tables_of_its_own() {
    with_cable(|_: &Cable| {
        let [first, second] = [(); 2].map(|()| Presence::announce().unwrap());
        assert_eq!((first.table(), second.table()), ("lbd", "lbd_2"));
        let guard = |presence: &Presence, address: &str| {
            let address = address.parse().unwrap();
            let guarded = GuardedAddress { address, interfaces: BTreeSet::new() };
            let mut guard = Guard::new(presence.table());
            guard.apply(&BTreeSet::from([guarded])).unwrap();
            guard
        };
        let (mut one, mut two) = (guard(&first, "192.0.2.201"), guard(&second, "192.0.2.202"));
        assert!(!one.is_disturbed() && !two.is_disturbed());
        let rules = shown("nft", "list ruleset");
        assert!(rules.contains("192.0.2.201") && rules.contains("192.0.2.202"), "{rules}");
        leave(first);
        assert_eq!(Presence::announce().unwrap().table(), "lbd");
        // What the second one has left is found by its name.
        leave(second);
        for name in ["lbd_pid7", "lbd_", "lbd7", "lbd_x"] {
            shown("nft", &format!("add table inet {name}"));
        }
        sweep(&mut RouteSocket::open().unwrap(), &InUse::default()).unwrap();
        let tables = shown("nft", "list tables");
        assert_eq!(tables, "table inet lbd_\ntable inet lbd7\ntable inet lbd_x\n");
    });
}

#[test]
fn rules_that_another_program_changes_are_noticed_and_made_anew() {
    with_cable(|_: &Cable| {
        let address = "192.0.2.200".parse().unwrap();
        let wanted = BTreeSet::from([GuardedAddress { address, interfaces: BTreeSet::new() }]);
        let mut guard = Guard::new("lbd");
        guard.apply(&wanted).unwrap();
        shown("nft", "add table inet theirs");
        shown("nft", "add chain inet theirs mine");
        assert!(!guard.is_disturbed() && guard.guards(&address));
        let rules = || shown("nft", "list table inet lbd");
        let before = rules();
        assert!(before.contains("192.0.2.200") && before.contains("drop"), "{before}");
        for change in [
            "flush ruleset",
            "delete table inet lbd",
            "flush table inet lbd",
            "flush chain inet lbd guard_in",
            "delete element inet lbd vips { 192.0.2.200 }",
            "add rule inet lbd guard_out accept",
            "chain inet lbd guard_in { policy drop; }",
        ] {
            shown("nft", change);
            assert!(guard.is_disturbed(), "{change}");
            assert!(!guard.guards(&address));
            guard.apply(&wanted).unwrap();
            assert!(!guard.is_disturbed(), "{change}");
            assert_eq!(rules(), before, "{change}");
        }
        guard.apply(&BTreeSet::new()).unwrap();
        shown("nft", "flush ruleset");
        assert!(!guard.is_disturbed());
    });
}
