//! What a node holds on its host: put there once, known by the index of the link, and taken away
//! whatever the link is called by then.

use super::*;

const OTHER: [u8; 4] = [10, 0, 1, 101];

/// Host 0, MASTER of an instance with a second VIP on eth2; the operator may not track that.
fn master(no_track: bool) -> Network {
    let mut net = Network::new();
    let mut config = instance("VI_1", "eth1", 1, 200);
    config.router.excluded_vips = vec![vip(VIP_2)];
    config.router.excluded_vips[0].interface = Some("eth2".to_owned());
    config.router.excluded_vips[0].no_track = no_track;
    net.host(2, plan([config]));
    net.run_until(5_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
    net
}

fn rename(net: &mut Network, link: u32, name: &str) {
    net.tell(0, Input::Link { link, name, up: true });
}

#[test]
fn a_renamed_interface_keeps_no_vip() {
    let mut net = master(false);
    rename(&mut net, 1, "lan0");
    assert!(net.hosts[0].vips.is_empty(), "{:?}", net.hosts[0].vips);
    let status = net.hosts[0].node.status(net.now(), Timestamp::UNIX_EPOCH);
    assert_eq!(status.vrrp[0].faults, ["interface eth1 does not exist"]);
    // It gets its name back.
    rename(&mut net, 1, "eth1");
    net.run_until(10_000);
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![0]));
}

#[test]
fn a_master_whose_interface_is_renamed_says_that_it_stops() {
    let mut net = pair();
    rename(&mut net, 1, "lan0");
    assert_eq!(net.hosts[0].sent.last(), Some(&(10_000, 0)));
    assert!(net.hosts[0].node.sockets().is_empty());
    // After the skew of priority 100 and not after its whole down interval.
    net.run_until(10_611);
    assert_eq!(net.holders(VIP), [1]);
}

#[test]
fn a_renamed_interface_of_one_vip_keeps_none_either() {
    let mut net = master(false);
    rename(&mut net, 2, "lan0");
    assert!(net.hosts[0].vips.is_empty(), "{:?}", net.hosts[0].vips);
}

#[test]
fn an_untracked_vip_moves_to_the_link_that_has_the_name() {
    let mut net = master(true);
    rename(&mut net, 2, "lan0");
    assert_eq!((net.holders(VIP), net.holders(VIP_2)), (vec![0], vec![]));
    rename(&mut net, 3, "eth2");
    assert!(net.hosts[0].vips.contains(&(3, VIP_2.into())), "{:?}", net.hosts[0].vips);
}

#[test]
fn two_links_that_swap_their_names_swap_the_vips() {
    let mut net = master(true);
    // As a survey tells it: there is no name between.
    rename(&mut net, 2, "eth1");
    rename(&mut net, 1, "eth2");
    net.tell(0, Input::Address { link: 2, address: [10, 0, 1, 1].into(), present: true });
    net.run_until(10_000);
    let vips: Vec<_> = net.hosts[0].vips.iter().copied().collect();
    assert_eq!(vips, [(1, VIP_2.into()), (2, VIP.into())]);
}

#[test]
fn a_renamed_interface_keeps_no_vip_that_waits_for_a_successor() {
    let mut net = pair();
    net.tell(0, Input::Handover { name: "VI_1" });
    rename(&mut net, 1, "lan0");
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
}

#[test]
fn a_removed_instance_takes_its_vips_from_a_renamed_interface() {
    let mut net = pair();
    net.tell(0, Input::Reload(plan([])));
    rename(&mut net, 1, "lan0");
    net.run_until(20_000);
    assert_eq!(net.holders(VIP), [1]);
}

/// A reload finds a VIP that nobody of this node put there.
#[test]
fn a_reload_takes_away_what_lies_on_a_backup() {
    let mut net = pair();
    let put = |net: &mut Network, address: [u8; 4]| {
        net.tell(1, Input::Address { link: 1, address: address.into(), present: true });
        net.hosts[1].vips.insert((1, address.into()));
    };
    // One that is new in an instance, one that was its own already, and one of a new instance.
    put(&mut net, OTHER);
    put(&mut net, VIP);
    put(&mut net, VIP_2);
    let mut config = instance("VI_1", "eth1", 1, 100);
    config.router.vips.push(vip(OTHER));
    let new = instance("VI_2", "eth1", 2, 100);
    net.tell(1, Input::Reload(plan([config, new])));
    assert!(net.hosts[1].vips.is_empty(), "{:?}", net.hosts[1].vips);
    // A master keeps what it holds, and an owner what may be its own.
    assert_eq!(net.holders(VIP), [0]);
    net.tell(0, Input::Address { link: 1, address: OTHER.into(), present: true });
    net.hosts[0].vips.insert((1, OTHER.into()));
    let mut owner = instance("VI_3", "eth1", 3, 255);
    owner.router.vips = vec![vip(OTHER)];
    net.tell(0, Input::Reload(plan([instance("VI_1", "eth1", 1, 200), owner])));
    assert_eq!((net.holders(VIP), net.holders(OTHER)), (vec![0], vec![0]));
}
