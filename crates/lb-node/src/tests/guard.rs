//! Which addresses have to be guarded.

use std::net::IpAddr;
use std::sync::Arc;

use lb_config::model::{Vmac, VrrpInstance};

use super::network::instance;
use crate::{InstanceConfig, Plan};

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
