//! Which addresses have to be guarded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use lb_config::model::{Vmac, VrrpInstance};

use super::network::{Network, instance};
use crate::{Input, InstanceConfig, Node, Plan};

fn refusing(id: u8, address: &str) -> VrrpInstance {
    let mut config = instance("A", "eth1", id, 100);
    config.accept = false;
    config.router.vips[0].address = address.parse().unwrap();
    config
}

fn plan(config: VrrpInstance) -> Plan {
    Plan { instances: vec![InstanceConfig::Vrrp(Arc::new(config))], ..Plan::default() }
}

#[test]
fn addresses_of_earlier_plans_stay_guarded_but_for_those_that_accept_now() {
    let [first, second, third] =
        ["10.0.1.101", "10.0.1.102", "10.0.1.103"].map(|a| a.parse::<IpAddr>().unwrap());
    let before = plan(refusing(51, "10.0.1.101")).guarded();
    let two = plan(refusing(52, "10.0.1.102")).guarded_after(&before);
    let three = plan(refusing(53, "10.0.1.103")).guarded_after(&two);
    assert!(three.keys().eq(&[first, second, third]));
    let accepting = VrrpInstance { accept: true, ..refusing(51, "10.0.1.101") };
    assert!(plan(accepting).guarded_after(&two).keys().eq(&[second]));
    let owner = VrrpInstance { priority: 255, ..refusing(51, "10.0.1.101") };
    assert!(plan(owner).guarded().is_empty());
}

#[test]
fn a_guarded_address_can_be_on_each_virtual_mac_that_may_be_made_for_it() {
    let mut config = refusing(51, "fe80::100");
    config.router.vmac = Some(Vmac::default());
    let mut plan = plan(config);
    let on = |plan: &Plan| plan.guarded().into_values().next().unwrap();
    for name in ["eth1", "vrrp.51", "vrrp1.51"] {
        assert!(on(&plan).contains(name), "{name}");
    }
    plan.vmac_prefixes.router = Some("mine".into());
    assert!(on(&plan).contains("mine.51"));
}

#[test]
fn addresses_are_guarded_until_a_router_that_yielded_has_let_go_of_them() {
    let mut net = Network::new();
    for priority in [200, 100] {
        net.host(1, plan(VrrpInstance { priority, ..refusing(51, "10.0.1.101") }));
    }
    net.run_until(10_000);
    assert!(net.hosts[0].node.is_settled());
    net.tell(0, Input::Handover { name: "A" });
    // The successor is heard at 10611.4 ms.
    net.run_until(10_620);
    assert!(!net.hosts[0].node.is_settled());
    net.run_until(10_640);
    assert!(net.hosts[0].node.is_settled());
}

#[test]
fn the_name_that_a_virtual_mac_has_is_guarded_whatever_it_is() {
    let mut config = refusing(51, "fe80::100");
    config.router.vmac = Some(Vmac::default());
    let plan = plan(config);
    let names = |plan: &Plan| plan.guarded().into_values().next().unwrap();
    let mut node = Node::new(plan.clone(), &Default::default(), 0);
    let mut told = Vec::new();
    node.handle(Instant::now(), Input::Link { link: 1, name: "eth1", up: true }, &mut told);
    // As long as a name that is foreseen is free, it is one of these.
    for _ in names(&plan).iter().filter(|name| *name != "eth1") {
        assert_eq!(node.guarded(&plan), plan.guarded());
        let name = &node.vmacs()[0].name;
        let failed = Input::VmacFailed { name, reason: "taken", taken: true };
        node.handle(Instant::now(), failed, &mut told);
    }
    let name = &node.vmacs()[0].name;
    assert!(!names(&plan).contains(name));
    assert!(node.guarded(&plan).into_values().next().unwrap().contains(name));
}
