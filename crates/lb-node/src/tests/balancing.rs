//! Addresses that several routers hold at the same time.

use std::net::IpAddr;
use std::time::Instant;

use lb_config::model::{Balancing, CarpInstance, CarpNode, VirtualAddress};
use lb_control::State;

use super::carp::{carp, carps};
use super::network::{Network, vip};
use super::vmac::{BASE, MACVLAN, NOW, node, tell, tell_at};
use crate::{Action, Input, LinkIndex, Node, Plan, Vip};

const LAN: [u8; 4] = [10, 0, 1, 100];
const VIP6: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100];
const NO_VIPS: [(bool, LinkIndex, IpAddr); 0] = [];

/// Several vhids on `eth1`, from 5 on.
fn web(balancing: Balancing, skews: &[u8]) -> CarpInstance {
    let nodes = (5..).zip(skews).map(|(vhid, advskew)| CarpNode { vhid, advskew: *advskew });
    CarpInstance { nodes: nodes.collect(), balancing, ..carp("WEB", 1, 5, skews[0]) }
}

/// The same with an IPv6 address beside the other one.
fn dual(balancing: Balancing) -> CarpInstance {
    let mut web = web(balancing, &[0, 100]);
    let address = IpAddr::from(VIP6);
    web.router.vips.push(VirtualAddress { address, prefix: 64, ..vip(LAN) });
    web
}

/// One that is not shared.
fn other(advskew: u8) -> CarpInstance {
    let mut other = carp("OTHER", 1, 9, advskew);
    other.router.vips = vec![vip([10, 0, 1, 200])];
    other
}

/// On `eth1`, which has all addresses that are needed, and not started.
fn alone(plan: Plan) -> Node {
    let mut node = node(plan);
    let address = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1_u16]);
    tell(&mut node, Input::Address { link: BASE, address, present: true });
    node
}

/// What happens to addresses: added or not, where, which.
fn vips(actions: &[Action]) -> Vec<(bool, LinkIndex, IpAddr)> {
    let change = |action: &Action| match action {
        Action::AddVips { vips, .. } => Some((true, vips.clone())),
        Action::RemoveVips { vips, .. } => Some((false, vips.clone())),
        _ => None,
    };
    let each = |(added, vips): (bool, Vec<Vip>)| {
        vips.into_iter().map(move |vip| (added, vip.link, vip.address.address))
    };
    actions.iter().filter_map(change).flat_map(each).collect()
}

/// The order of what a balanced address needs: `S` and how many are shared, `V`, `+` and `-`.
fn order(actions: &[Action]) -> String {
    let word = |action: &Action| match action {
        Action::Shares(shares) => Some(format!("S{}", shares.len())),
        Action::Vmacs => Some("V".to_owned()),
        Action::AddVips { .. } => Some("+".to_owned()),
        Action::RemoveVips { .. } => Some("-".to_owned()),
        _ => None,
    };
    actions.iter().filter_map(word).collect()
}

fn states(node: &Node, now: Instant) -> Vec<State> {
    let status = node.status(now, jiff::Timestamp::UNIX_EPOCH);
    status.carp.into_iter().flat_map(|carp| carp.instances).map(|vhid| vhid.state).collect()
}

fn held(net: &Network, host: usize) -> Vec<usize> {
    net.hosts[host].node.shares().into_iter().flat_map(|share| share.held).collect()
}

#[test]
fn each_router_holds_its_share_and_a_loss_moves_only_that() {
    let mut net = Network::new();
    for skews in [[0, 100, 200], [200, 0, 100], [100, 200, 0]] {
        net.host(1, carps([web(Balancing::Ip, &skews)]));
    }
    net.run_until(10_000);
    // Everybody has the address, and a share each.
    assert_eq!(net.holders(LAN), [0, 1, 2]);
    assert_eq!([held(&net, 0), held(&net, 1), held(&net, 2)], [[0], [1], [2]]);
    net.kill(1);
    net.run_until(20_000);
    assert_eq!([held(&net, 0), held(&net, 2)], [vec![0, 1], vec![2]]);
    // Without its link a router has neither.
    net.carrier(2, 1, false);
    net.run_until(30_000);
    assert_eq!(net.holders(LAN), [0]);
    assert_eq!((held(&net, 0), held(&net, 2)), (vec![0, 1, 2], vec![]));
}

#[test]
fn what_draws_packets_is_behind_the_mac_of_the_first_vhid() {
    let four = IpAddr::from(LAN);
    let six = IpAddr::from(VIP6);
    for (balancing, macs, at) in [
        (Balancing::Ip, 1, [(true, BASE, four), (true, MACVLAN, six)]),
        (Balancing::IpStealth, 1, [(true, BASE, four), (true, MACVLAN, six)]),
        (Balancing::IpUnicast, 1, [(true, MACVLAN, four), (true, MACVLAN, six)]),
        (Balancing::Arp, 0, [(true, BASE, four), (true, BASE, six)]),
    ] {
        let mut node = alone(carps([dual(balancing)]));
        let vmacs = node.vmacs();
        assert_eq!(vmacs.len(), macs, "{balancing:?}");
        for vmac in vmacs {
            assert_eq!((vmac.mac, vmac.link_local), ([0, 0, 0x5e, 0, 1, 5], None));
            assert_eq!((vmac.ipv4, vmac.ipv6), (balancing == Balancing::IpUnicast, true));
            tell(&mut node, Input::Link { link: MACVLAN, name: "carp.5", up: true });
        }
        assert_eq!(vips(&tell(&mut node, Input::Start)), at, "{balancing:?}");
    }
}

#[test]
fn the_load_is_shared_before_anything_draws_it_and_until_nothing_does() {
    let mut node = alone(carps([dual(Balancing::IpStealth)]));
    assert_eq!(node.shares().len(), 1);
    assert_eq!(order(&tell(&mut node, Input::Start)), "S1V");
    // A virtual MAC that is missing is everybody's.
    assert_eq!(states(&node, *NOW), [State::Init, State::Init]);
    let out = tell(&mut node, Input::Link { link: MACVLAN, name: "carp.5", up: true });
    assert_eq!(order(&out), "+");
    assert_eq!(order(&tell(&mut node, Input::Stop)), "-VS0");
}

#[test]
fn a_reload_brings_the_addresses_before_there_is_a_master() {
    let mut node = alone(carps([other(0)]));
    tell(&mut node, Input::Start);
    let both = carps([other(0), dual(Balancing::IpUnicast)]);
    assert_eq!(order(&tell(&mut node, Input::Reload(both))), "S1V");
    let out = tell(&mut node, Input::Link { link: MACVLAN, name: "carp.5", up: true });
    let at = |address: IpAddr| (true, MACVLAN, address);
    assert_eq!(vips(&out), [at(IpAddr::from(LAN)), at(IpAddr::from(VIP6))]);
    assert_eq!(states(&node, *NOW), [State::Backup; 3]);
}

#[test]
fn a_reload_that_takes_it_away_hands_each_share_over() {
    let mut net = Network::new();
    for skews in [[0, 0], [100, 100]] {
        net.host(1, carps([other(skews[0]), web(Balancing::Ip, &skews)]));
    }
    net.run_until(10_000);
    assert_eq!((held(&net, 0), held(&net, 1)), (vec![0, 1], vec![]));
    net.tell(0, Input::Reload(carps([other(0)])));
    // It serves them until it has heard the other one.
    assert_eq!((held(&net, 0), net.holders(LAN)), (vec![0, 1], vec![0, 1]));
    let heard = net.millis() + 5;
    net.run_until(heard);
    assert_eq!((held(&net, 0), held(&net, 1)), (vec![], vec![0, 1]));
    assert!(net.hosts[0].node.shares().is_empty());
    net.run_until(20_000);
    assert_eq!(net.holders(LAN), [1]);
}

#[test]
fn another_name_or_number_of_vhids_leaves_the_addresses_alone() {
    let mut node = alone(carps([web(Balancing::Ip, &[0, 100])]));
    let four = IpAddr::from(LAN);
    assert_eq!(vips(&tell(&mut node, Input::Start)), [(true, BASE, four)]);
    let mut renamed = web(Balancing::Ip, &[0, 100]);
    renamed.router.name = "SHOP".to_owned();
    assert_eq!(vips(&tell(&mut node, Input::Reload(carps([renamed])))), NO_VIPS);
    let more = carps([web(Balancing::Ip, &[0, 100, 200])]);
    let out = tell(&mut node, Input::Reload(more));
    assert_eq!((order(&out).as_str(), node.shares()[0].vhids.len()), ("S1", 3));
    // Nor does it matter that nobody is MASTER here when there is another address.
    let mut other = web(Balancing::Ip, &[0, 100, 200]);
    other.router.vips = vec![vip([10, 0, 1, 101])];
    let moved = [(false, BASE, four), (true, BASE, IpAddr::from([10, 0, 1, 101]))];
    assert_eq!(vips(&tell(&mut node, Input::Reload(carps([other])))), moved);
}

#[test]
fn what_somebody_removes_is_put_back() {
    let mut node = alone(carps([dual(Balancing::Ip)]));
    tell(&mut node, Input::Link { link: MACVLAN, name: "carp.5", up: true });
    tell(&mut node, Input::Start);
    let four = IpAddr::from(LAN);
    let out = tell(&mut node, Input::Address { link: BASE, address: four, present: false });
    assert_eq!(vips(&out), [(true, BASE, four)]);
    // With its virtual MAC all of it stops, and comes back with it.
    let out = tell(&mut node, Input::LinkGone { link: MACVLAN });
    assert_eq!(vips(&out), [(false, BASE, four)]);
    assert_eq!(states(&node, *NOW), [State::Fault, State::Fault]);
    let out = tell(&mut node, Input::Link { link: MACVLAN + 1, name: "carp.5", up: true });
    assert_eq!(vips(&out), [(true, BASE, four), (true, MACVLAN + 1, IpAddr::from(VIP6))]);
}

#[test]
fn who_cannot_share_takes_no_part() {
    let mut node = alone(carps([web(Balancing::Ip, &[0, 100]), other(0)]));
    let at = IpAddr::from([10, 0, 1, 200]);
    tell(&mut node, Input::Sharing { failure: Some("no nft") });
    assert_eq!(vips(&tell(&mut node, Input::Start)), NO_VIPS);
    assert_eq!(states(&node, *NOW), [State::Fault, State::Fault, State::Backup]);
    let status = node.status(*NOW, jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(status.carp.unwrap().instances[0].faults, ["cannot balance: no nft"]);
    // A reload tries again.
    let out = tell(&mut node, Input::Reload(carps([web(Balancing::Ip, &[0, 100]), other(0)])));
    assert_eq!((order(&out).as_str(), states(&node, *NOW)), ("S1+", vec![State::Backup; 3]));
    let out = tell(&mut node, Input::Sharing { failure: Some("no nft") });
    assert_eq!(vips(&out), [(false, BASE, IpAddr::from(LAN))]);
    let out = tell(&mut node, Input::Sharing { failure: None });
    assert_eq!(vips(&out), [(true, BASE, IpAddr::from(LAN))]);
    assert!(!node.is_vip(IpAddr::from(VIP6)) && node.is_vip(at));
}

#[test]
fn who_resumes_has_its_share_before_the_start_already() {
    let mut net = Network::new();
    let host = net.resume(1, carps([web(Balancing::Ip, &[0, 100])]), &["WEB:6"]);
    assert_eq!((held(&net, host), net.holders(LAN)), (vec![1], vec![host]));
    let fresh = Node::new(carps([web(Balancing::Ip, &[0, 100])]), &["WEB:6".to_owned()].into(), 1);
    assert!(fresh.shares().is_empty(), "it knows no link yet");
}

#[test]
fn a_share_moves_when_its_vhid_does() {
    let mut node = alone(carps([web(Balancing::Ip, &[0, 100])]));
    tell(&mut node, Input::Start);
    let at = node.deadline().expect("it waits for a master");
    let out = tell_at(at, &mut node, Input::Timer);
    let Some(Action::Shares(shares)) = out.last() else { panic!("{out:?}") };
    assert_eq!((shares[0].vhids.as_slice(), shares[0].held.as_slice()), (&[5, 6][..], &[0][..]));
}
