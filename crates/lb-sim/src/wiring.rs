//! Which interfaces of an operator's nodes are on one segment, and their addresses.
//!
//! Configurations do not say what is plugged into what, nor mostly what address an interface has:
//! - Interfaces of two nodes are on one segment when an instance on each has the same protocol,
//!   number and a common VIP; others when they have the same name. What the operator says goes
//!   before both.
//! - An interface has the source address that is configured. One with unicast peers has the address
//!   that others have for a peer and this node does not. Others get `198.18.SEGMENT.NODE` (RFC 2544)
//!   and `fe80::SEGMENT:NODE`, in the order of the nodes: the last node has the highest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_config::model::Peers;
use lb_node::{InstanceConfig, Plan};

use crate::scenario::Wire;

/// Names of segments and, by node, its wires.
pub(crate) struct Wiring {
    pub(crate) segments: Vec<String>,
    pub(crate) wires: Vec<Vec<Wire>>,
}

/// What the operator says of an interface: it is on the segment of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// On this node; `None` for all.
    pub node: Option<String>,
    /// Name of the interface.
    pub interface: String,
    /// Name of the segment.
    pub segment: String,
}

/// An interface of a node.
type Port = (usize, String);

pub(crate) fn wire(nodes: &[(String, Plan)], placements: &[Placement]) -> Wiring {
    let interfaces: Vec<BTreeSet<&str>> =
        nodes.iter().map(|(_, plan)| plan.instances.iter().flat_map(names).collect()).collect();
    let mut groups = Groups::default();
    for (node, names) in interfaces.iter().enumerate() {
        for name in names {
            groups.add((node, (*name).to_owned()));
        }
    }
    let mut placed: BTreeMap<Port, &str> = BTreeMap::new();
    for port in groups.ports() {
        let fits = |placement: &&Placement| {
            placement.interface == port.1
                && placement.node.as_ref().is_none_or(|node| *node == nodes[port.0].0)
        };
        // What names the node goes before what does not.
        let best = placements.iter().filter(fits).max_by_key(|placement| placement.node.is_some());
        if let Some(placement) = best {
            placed.insert(port, &placement.segment);
        }
    }
    let free = |port: &Port| !placed.contains_key(port);
    let mut related = BTreeSet::new();
    for one in instances(nodes) {
        for other in instances(nodes).filter(|other| other.0.0 != one.0.0) {
            if are_one(one.1, other.1) && free(&one.0) && free(&other.0) {
                groups.join(&one.0, &other.0);
                related.extend([one.0.clone(), other.0]);
            }
        }
    }
    let ports = groups.ports();
    for one in ports.iter().filter(|port| !related.contains(*port)) {
        for other in &ports {
            if let (Some(here), Some(there)) = (placed.get(one), placed.get(other)) {
                if here == there {
                    groups.join(one, other);
                }
            } else if free(one) && free(other) && !related.contains(other) && one.1 == other.1 {
                groups.join(one, other);
            }
        }
    }
    let sets = groups.sets();
    let segments = sets.iter().map(|set| {
        let said = set.iter().find_map(|port| placed.get(port)).map(|name| (*name).to_owned());
        said.unwrap_or_else(|| {
            let names: BTreeSet<&str> = set.iter().map(|(_, name)| name.as_str()).collect();
            names.into_iter().collect::<Vec<_>>().join("/")
        })
    });
    let segments = segments.collect();
    let wires = (0..nodes.len()).map(|node| {
        let mine = sets.iter().enumerate().flat_map(|(segment, set)| {
            let mine = set.iter().filter(move |(owner, _)| *owner == node);
            mine.map(move |(_, name)| (segment, name))
        });
        mine.map(|(segment, name)| Wire {
            name: name.clone(),
            segment,
            addresses: addresses(nodes, node, name, segment),
        })
        .collect()
    });
    let wires = wires.collect();
    Wiring { segments, wires }
}

/// Interfaces an instance has to do with.
fn names(config: &InstanceConfig) -> impl Iterator<Item = &str> {
    let router = config.router();
    let vips = router.vips.iter().chain(&router.excluded_vips);
    (router.interface.as_deref().into_iter())
        .chain(vips.filter_map(|vip| vip.interface.as_deref()))
        .chain(router.track_interfaces.iter().map(|tracked| tracked.name.as_str()))
}

fn instances(nodes: &[(String, Plan)]) -> impl Iterator<Item = (Port, &InstanceConfig)> {
    nodes.iter().enumerate().flat_map(|(node, (_, plan))| {
        plan.instances
            .iter()
            .filter_map(move |config| Some(((node, config.router().interface.clone()?), config)))
    })
}

/// Whether two instances are of one virtual router.
fn are_one(one: &InstanceConfig, other: &InstanceConfig) -> bool {
    one.kind() == other.kind()
        && one.id() == other.id()
        && one
            .router()
            .vips
            .iter()
            .any(|vip| other.router().vips.iter().any(|theirs| theirs.address == vip.address))
}

fn addresses(
    nodes: &[(String, Plan)],
    node: usize,
    interface: &str,
    segment: usize,
) -> Vec<IpAddr> {
    let on = |config: &&InstanceConfig| config.router().interface.as_deref() == Some(interface);
    let mut found = Vec::new();
    for config in nodes[node].1.instances.iter().filter(on) {
        found.extend(config.router().source);
        if config.router().source.is_none() {
            found.extend(as_peers_know(nodes, node, config));
        }
    }
    let (number, host) = (segment as u8, node as u8 + 1);
    if !found.iter().any(IpAddr::is_ipv4) {
        found.push(Ipv4Addr::new(198, 18, number, host).into());
    }
    let link_local =
        |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if !found.iter().any(link_local) {
        found.push(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, number.into(), host.into()).into());
    }
    let mut seen = BTreeSet::new();
    found.retain(|address| seen.insert(*address));
    found
}

/// The address that others have for a peer and this node does not, if there is one.
fn as_peers_know(nodes: &[(String, Plan)], node: usize, config: &InstanceConfig) -> Option<IpAddr> {
    let peers = |config: &InstanceConfig| match &config.router().peers {
        Peers::Unicast { peers, .. } => peers.iter().map(|peer| peer.address).collect(),
        Peers::Multicast { .. } => Vec::new(),
    };
    let ours = peers(config);
    let others = nodes.iter().enumerate().filter(|(other, _)| *other != node);
    let theirs = others.flat_map(|(_, (_, plan))| &plan.instances);
    let theirs = theirs.filter(|other| are_one(config, other)).flat_map(peers);
    let unknown: BTreeSet<IpAddr> = theirs.filter(|address| !ours.contains(address)).collect();
    let only = unknown.first().copied().filter(|_| unknown.len() == 1);
    only.filter(|_| !ours.is_empty())
}

/// Sets of ports that belong together.
#[derive(Default)]
struct Groups(Vec<BTreeSet<Port>>);

impl Groups {
    fn add(&mut self, port: Port) {
        self.0.push(BTreeSet::from([port]));
    }

    fn ports(&self) -> Vec<Port> {
        self.0.iter().flatten().cloned().collect()
    }

    fn join(&mut self, one: &Port, other: &Port) {
        let of = |port: &Port| self.0.iter().position(|set| set.contains(port));
        if let (Some(one), Some(other)) = (of(one), of(other))
            && one != other
        {
            let (keep, gone) = (one.min(other), one.max(other));
            let moved = self.0.remove(gone);
            self.0[keep].extend(moved);
        }
    }

    fn sets(self) -> Vec<BTreeSet<Port>> {
        self.0
    }
}
