//! Virtual MACs of a node: their names, and the instances that wait for them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::model::{ExtraGarp, Vmac as Configured, VrrpInstance};
use lb_control::State;

use super::network::{instance, plan};
use crate::{Action, Advert, Input, InstanceConfig, Node, Plan, Vmac};

pub const BASE: u32 = 2;
pub const MACVLAN: u32 = 9;

fn with_vmac(name: &str, interface: &str, vrid: u8) -> VrrpInstance {
    let mut instance = instance(name, interface, vrid, 100);
    instance.router.vmac = Some(Configured::default());
    instance
}

/// A node on `eth1` and `eth2` that has not started.
pub fn node(plan: Plan) -> Node {
    let mut node = Node::new(plan, &BTreeSet::new(), 1);
    for (link, name) in [(BASE, "eth1"), (BASE + 1, "eth2")] {
        tell(&mut node, Input::Link { link, name, up: true });
        let address = IpAddr::from([10, 0, link as u8, 1]);
        tell(&mut node, Input::Address { link, address, present: true });
    }
    node
}

pub fn tell(node: &mut Node, input: Input<'_>) -> Vec<Action> {
    tell_at(*NOW, node, input)
}

pub fn tell_at(now: Instant, node: &mut Node, input: Input<'_>) -> Vec<Action> {
    let mut out = Vec::new();
    node.handle(now, input, &mut out);
    out
}

pub static NOW: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

fn names(node: &Node) -> Vec<String> {
    node.vmacs().into_iter().map(|vmac| vmac.name).collect()
}

fn state(node: &Node, now: Instant) -> State {
    node.status(now, jiff::Timestamp::UNIX_EPOCH).vrrp[0].state
}

#[test]
fn each_has_a_name_of_its_own_and_keeps_it() {
    let all =
        || [with_vmac("A", "eth1", 51), with_vmac("B", "eth2", 51), with_vmac("C", "eth1", 7)];
    let mut node = node(plan(all()));
    assert_eq!(names(&node), ["vrrp.51", "vrrp1.51", "vrrp.7"]);
    tell(&mut node, Input::Start);
    // The first one goes: the others keep theirs, and a new one has the name that is free.
    let [_, b, c] = all();
    let d = with_vmac("D", "eth1", 51);
    let out = tell(&mut node, Input::Reload(plan([b, c, d])));
    assert_eq!(out.last(), Some(&Action::Vmacs));
    assert_eq!(names(&node), ["vrrp1.51", "vrrp.7", "vrrp.51"]);
    // A prefix gives way to the number.
    let mut other = plan([with_vmac("A", "eth1", 251)]);
    other.vmac_prefixes.router = Some("a-very-long-prefix".into());
    tell(&mut node, Input::Reload(other));
    assert_eq!(names(&node), ["a-very-long.251"]);
}

#[test]
fn a_name_that_is_taken_gives_way_to_the_next() {
    let mut configured = with_vmac("A", "eth1", 51);
    configured.router.vmac =
        Some(Configured { name: Some("gate".into()), ..Configured::default() });
    let mut node = node(plan([configured]));
    for (taken, next) in [("gate", "vrrp.51"), ("vrrp.51", "vrrp1.51")] {
        assert_eq!(names(&node), [taken]);
        tell(&mut node, Input::VmacFailed { name: taken, reason: "taken", taken: true });
        assert_eq!(names(&node), [next]);
    }
}

#[test]
fn an_instance_starts_when_its_virtual_mac_is_there_and_its_vips_are_on_it() {
    let mut configured = with_vmac("A", "eth1", 51);
    configured.router.vmac =
        Some(Configured { group: Some(7), netlink_notify: true, ..Configured::default() });
    let mut node = node(plan([configured]));
    let expected = Vmac {
        name: "vrrp.51".into(),
        base: BASE,
        mac: [0, 0, 0x5E, 0, 1, 51],
        ipv4: true,
        ipv6: false,
        link_local: None,
        group: Some(7),
        tells_of_base: true,
    };
    assert_eq!(node.vmacs(), [expected]);
    assert!(tell(&mut node, Input::Start).contains(&Action::Vmacs));
    assert_eq!(state(&node, *NOW), State::Init);
    tell(&mut node, Input::Link { link: MACVLAN, name: "vrrp.51", up: true });
    assert_eq!(state(&node, *NOW), State::Backup);
    let at = node.deadline().expect("it waits for a master");
    let out = tell_at(at, &mut node, Input::Timer);
    let added = out.iter().find_map(|action| match action {
        Action::AddVips { vips, .. } => Some((vips[0].link, vips[0].address.address)),
        _ => None,
    });
    let Some((MACVLAN, address)) = added else { panic!("{out:?}") };
    assert!(out.contains(&Action::Confirm { link: MACVLAN, address }), "{out:?}");
    assert!(!says(&out), "{out:?}");
    let there = Input::Address { link: MACVLAN, address, present: true };
    let out = tell_at(at, &mut node, there);
    let Some(Action::Send { instance, advert, to }) = out.first().cloned() else {
        panic!("{out:?}")
    };
    let (mut payload, mut datagrams) = (Vec::new(), Vec::new());
    node.emit(instance, advert, to, &mut payload, &mut datagrams);
    assert_eq!((datagrams[0].link, datagrams[0].through), (Some(BASE), Some(MACVLAN)));
    assert_eq!(datagrams[0].source, IpAddr::from([10, 0, BASE as u8, 1]));

    // Somebody deletes it: it is asked for again, and the instance comes back with it.
    let out = tell_at(at, &mut node, Input::LinkGone { link: MACVLAN });
    assert!(out.contains(&Action::Vmacs), "{out:?}");
    assert_eq!(state(&node, at), State::Fault);
    tell_at(at, &mut node, Input::Link { link: MACVLAN + 1, name: "vrrp.51", up: true });
    assert_eq!(state(&node, at), State::Backup);
    assert_eq!(tell_at(at, &mut node, Input::Stop).last(), Some(&Action::Vmacs));
    assert!(node.vmacs().is_empty());
}

/// A master in the making behind a virtual MAC: since when, and what it waits for before it advertises.
fn waiting() -> (Node, Instant, IpAddr) {
    let mut node = node(plan([with_vmac("A", "eth1", 51)]));
    tell(&mut node, Input::Start);
    tell(&mut node, Input::Link { link: MACVLAN, name: "vrrp.51", up: true });
    let at = node.deadline().expect("it waits for a master");
    let out = tell_at(at, &mut node, Input::Timer);
    assert_eq!(state(&node, at), State::Master);
    assert!(!says(&out), "{out:?}");
    let waits_for = out.iter().find_map(|action| match action {
        Action::Confirm { address, .. } => Some(*address),
        _ => None,
    });
    (node, at, waits_for.expect("it asks for the address"))
}

fn says(out: &[Action]) -> bool {
    out.iter().any(|action| matches!(action, Action::Send { .. }))
}

#[test]
fn a_switch_does_not_send_here_before_the_address_is_there() {
    let (mut node, at, address) = waiting();
    let other = Input::Address { link: MACVLAN, address: [192, 0, 2, 77].into(), present: true };
    assert!(!says(&tell_at(at, &mut node, other)));
    let there = Input::Address { link: MACVLAN, address, present: true };
    assert!(says(&tell_at(at, &mut node, there)));
    let again = Input::Address { link: MACVLAN, address, present: true };
    assert!(!says(&tell_at(at, &mut node, again)), "once");
}

#[test]
fn other_routers_do_not_wait_for_an_address_that_does_not_come() {
    let (mut node, at, _) = waiting();
    let out = tell_at(at + Duration::from_micros(9_900), &mut node, Input::Timer);
    assert!(!says(&out), "{out:?}");
    let at = at + Duration::from_millis(10);
    assert!(node.deadline().is_some_and(|deadline| deadline <= at));
    assert!(says(&tell_at(at, &mut node, Input::Timer)));
}

#[test]
fn who_is_no_longer_master_does_not_say_that_it_is() {
    let (mut node, at, address) = waiting();
    let out = tell_at(at, &mut node, Input::Link { link: BASE, name: "eth1", up: false });
    assert_eq!(state(&node, at), State::Fault);
    assert!(!out.iter().any(|action| match action {
        Action::Send { advert: Advert::Vrrp(advert), .. } => advert.priority.0 != 0,
        _ => false,
    }));
    let there = Input::Address { link: MACVLAN, address, present: true };
    assert!(!says(&tell_at(at, &mut node, there)));
    assert!(!says(&tell_at(at + Duration::from_millis(10), &mut node, Input::Timer)));
}

#[test]
fn one_that_cannot_be_made_is_a_fault_with_its_reason() {
    let mut node = node(plan([with_vmac("A", "eth1", 51)]));
    tell(&mut node, Input::Start);
    tell(&mut node, Input::VmacFailed { name: "vrrp.51", reason: "no luck", taken: false });
    let status = node.status(*NOW, jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(status.vrrp[0].state, State::Fault);
    assert_eq!(status.vrrp[0].faults, ["virtual MAC vrrp.51 does not exist: no luck"]);
}

#[test]
fn single_addresses_have_virtual_macs_on_their_own_interfaces() {
    let mut one = instance("A", "eth1", 51, 100);
    one.router.vmac_addresses = true;
    let mut far = one.router.vips[0].clone();
    (far.interface, far.address) = (Some("eth2".into()), IpAddr::from([10, 0, 3, 100]));
    one.router.vips.push(far);
    one.router.garp_extra = Some(ExtraGarp { all: false, interval: Duration::from_secs(100) });
    let mut plan = Plan { instances: vec![InstanceConfig::Vrrp(Arc::new(one))], ..Plan::default() };
    plan.vmac_prefixes.address = Some("addr".into());
    let mut node = node(plan);
    let bases: Vec<_> = node.vmacs().into_iter().map(|vmac| (vmac.name, vmac.base)).collect();
    assert_eq!(bases, [("addr.51".to_owned(), BASE + 1)]);
    tell(&mut node, Input::Link { link: MACVLAN, name: "addr.51", up: true });
    let extra: Vec<_> = node.extra_vips(node.order[0]).map(|(link, _)| link).collect();
    assert_eq!(extra, [MACVLAN], "nothing else leaves by it");
}
