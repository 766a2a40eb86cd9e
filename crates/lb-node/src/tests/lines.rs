//! Keywords that do the same for instances of both protocols.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_config::model::{
    CarpInstance, ExtraGarp, InitialState, Peers, UnicastPeer, VirtualRouter, VrrpInstance,
};

use super::network::{Network, instance, vip};
use crate::{Carp, Input, InstanceConfig, Plan};

/// A VRRP and a CARP instance of this.
fn both(router: &VirtualRouter) -> [Plan; 2] {
    let vrrp = VrrpInstance { router: router.clone(), ..instance("", "", 1, 200) };
    let carp = CarpInstance { router: router.clone(), vhid: 1, ..CarpInstance::default() };
    let carps = Carp::all_of(&Arc::new(carp)).map(InstanceConfig::Carp).collect();
    [vec![InstanceConfig::Vrrp(Arc::new(vrrp))], carps]
        .map(|instances| Plan { instances, ..Plan::default() })
}

fn router() -> VirtualRouter {
    let state = InitialState::Backup;
    VirtualRouter { state, ..instance("VI_1", "eth1", 1, 200).router }
}

#[test]
fn links_that_advertisements_do_not_leave_by_are_announced_every_so_often() {
    let mut router = router();
    let mut far = vip([10, 0, 2, 100]);
    far.interface = Some("eth2".to_owned());
    router.excluded_vips = vec![vip([10, 0, 1, 101]), far.clone(), far];
    router.excluded_vips[2].address = [10, 0, 2, 101].into();
    let interval = Duration::from_secs(100);
    for (extra, expected) in [
        (None, 0),
        // None is on a virtual MAC.
        (Some(ExtraGarp { all: false, interval }), 0),
        (Some(ExtraGarp { all: true, interval: Duration::ZERO }), 0),
        (Some(ExtraGarp { all: true, interval }), 3),
    ] {
        router.garp_extra = extra;
        for plan in both(&router) {
            let mut net = Network::new();
            let first = plan.instances[0].clone();
            net.host(2, plan);
            net.run_until(350_000);
            let times = |net: &Network| -> Vec<u64> {
                let extra = net.hosts[0].announced.iter().filter(|(_, rounds)| *rounds == 0);
                extra.map(|(at, _)| *at).collect()
            };
            let found = times(&net);
            assert_eq!(found.len(), expected, "{extra:?} {first:?}");
            let gaps = found.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.into_iter().all(|gap| gap == 100_000), "{found:?}");
            let node = &net.hosts[0].node;
            let id = node.order[0];
            let told: Vec<_> = node.extra_vips(id).map(|(link, vip)| (link, vip.address)).collect();
            let one = (2, IpAddr::from([10, 0, 2, 100]));
            assert_eq!(told, if extra.is_some_and(|it| it.all) { vec![one] } else { vec![] });
            // Who is MASTER no longer says nothing.
            net.carrier(0, 1, false);
            net.run_until(700_000);
            assert_eq!(times(&net).len(), expected);
        }
    }
}

#[test]
fn its_link_keeps_secondary_addresses_for_as_long_as_it_lives() {
    let mut router = router();
    let without = both(&router);
    router.promote_secondaries = true;
    for (without, with) in without.into_iter().zip(both(&router)) {
        let mut net = Network::new();
        net.host(1, without.clone());
        let promoted = |net: &Network| net.hosts[0].node.promoted().into_iter().collect::<Vec<_>>();
        assert!(promoted(&net).is_empty());
        net.tell(0, Input::Reload(with.clone()));
        assert_eq!((promoted(&net), net.promoted), (vec![1], 1));
        net.tell(0, Input::Reload(with.clone()));
        assert_eq!((promoted(&net), net.promoted), (vec![1], 1), "nothing has changed");
        net.tell(0, Input::Reload(without));
        assert_eq!((promoted(&net), net.promoted), (vec![], 2));
        net.tell(0, Input::Reload(with));
        net.tell(0, Input::Stop);
        net.tell(0, Input::Stop);
        assert_eq!((promoted(&net), net.promoted), (vec![], 4));
    }
}

#[test]
fn without_peers_an_instance_may_be_in_fault_instead_of_using_multicast() {
    let mut router = router();
    router.unicast_fault_no_peer = true;
    let without = both(&router);
    let peers = vec![UnicastPeer { address: [10, 0, 1, 2].into(), ttl: (0, 255) }];
    router.peers = Peers::Unicast { peers, check_source: false, ttl: None };
    for (without, with) in without.into_iter().zip(both(&router)) {
        let mut net = Network::new();
        net.host(1, without);
        net.run_until(20_000);
        assert!(net.holders([10, 0, 1, 100]).is_empty());
        let faults = |net: &Network| {
            let status = net.hosts[0].node.status(net.now(), jiff::Timestamp::UNIX_EPOCH);
            let carp = status.carp.into_iter().flat_map(|carp| carp.instances);
            let vrrp = status.vrrp.into_iter().map(|vrrp| vrrp.faults);
            vrrp.chain(carp.map(|vhid| vhid.faults)).flatten().collect::<Vec<_>>()
        };
        assert_eq!(faults(&net), ["no unicast peer: add unicast_peer"]);
        net.tell(0, Input::Reload(with));
        assert!(faults(&net).is_empty());
        net.run_until(40_000);
        assert_eq!(net.holders([10, 0, 1, 100]), [0]);
    }
}
