//! `carp_instance` as a whole: defaults, and what cannot be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::carp::Instance;
use super::router::Router;
use super::router_finish::{self, Protocol, Shared, check_links, check_peer_families, check_reach};
use super::{Context, lint};
use crate::diagnostic::Place;
use crate::model::{CarpInstance, CarpNode, InitialState};

/// Every CARP router listens there.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

/// And there.
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// A vhid that is taken: its interface and number.
type Vhid = (Option<String>, u8);

/// Makes instances of the model, and keeps the places of each.
#[expect(clippy::vec_box, reason = "each draft is let go when it has become part of the model")]
pub(super) fn finish(
    context: &mut Context<'_>,
    drafts: Vec<Box<Instance>>,
    shared: &Shared<'_>,
    places: &mut Vec<lint::CarpPlaces>,
) -> Vec<Arc<CarpInstance>> {
    let mut seen = HashMap::new();
    let mut instances = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let place = lint::CarpPlaces::of(&draft);
        if let Some(instance) = instance(context, *draft, shared, &mut seen) {
            instances.push(Arc::new(instance));
            places.push(place);
        }
    }
    instances
}

fn instance(
    context: &mut Context<'_>,
    mut draft: Instance,
    shared: &Shared<'_>,
    seen: &mut HashMap<Vhid, (String, Place)>,
) -> Option<CarpInstance> {
    let place = draft.router.place;
    let nodes = nodes(context, &mut draft)?;
    let name = &draft.router.name;
    if draft.router.vips.is_empty() {
        context
            .diags
            .error("no-vip", place, format!("({name}) has no virtual address, and needs one"))
            .hint("add `virtual_ipaddress { ADDRESS }`");
        return None;
    }
    let vips = draft.router.vips.iter().map(|(vip, _)| vip.address.is_ipv4());
    let (inet, inet6) = vips.fold((false, false), |(v4, v6), v| (v4 || v, v6 || !v));
    let fits = |peer: IpAddr| if peer.is_ipv4() { inet } else { inet6 };
    check_peer_families(context, &mut draft.router, fits);
    if !check_reach(context, &mut draft.router) {
        return None;
    }
    check_links(context, &mut draft.router, true);
    check_vhids(context, &draft, &nodes, seen);
    let protocol = Protocol {
        state: draft.router.state.unwrap_or(InitialState::Backup),
        multicast: multicast(context, &draft.router),
        owner: false,
        strict: false,
        most_vips: usize::MAX,
    };
    let first = nodes[0].0;
    Some(CarpInstance {
        router: router_finish::finish(context, draft.router, shared, &protocol),
        vhid: first.vhid,
        key: draft.key,
        advbase: draft.advbase,
        advskew: first.advskew,
        preempt: draft.preempt.unwrap_or(context.globals.model.carp.preempt),
        groups: if draft.groups.is_empty() { vec!["carp".to_owned()] } else { draft.groups },
        balancing: draft.balancing.map(|(balancing, _)| balancing).unwrap_or_default(),
        nodes: match &*nodes {
            [_] => Vec::new(),
            several => several.iter().map(|(node, _)| *node).collect(),
        },
    })
}

/// The group for IPv4; that for IPv6 is what it is.
fn multicast(context: &mut Context<'_>, draft: &Router) -> IpAddr {
    match draft.group {
        Some(IpAddr::V6(group)) if group != GROUP6 => {
            let message = format!("({}) advertises over IPv6 to {GROUP6} only", draft.name);
            context.diags.warn("carp-group", draft.place, message);
            GROUP
        }
        Some(group @ IpAddr::V4(_)) => group,
        _ => GROUP,
    }
}

/// Every vhid it has, sorted; `None` if it has none.
fn nodes(context: &mut Context<'_>, draft: &mut Instance) -> Option<Vec<(CarpNode, Place)>> {
    let name = &draft.router.name;
    let mut nodes = std::mem::take(&mut draft.nodes);
    if nodes.is_empty() {
        let Some((vhid, place)) = draft.vhid else {
            context
                .diags
                .error("vhid-missing", draft.router.place, format!("({name}) has no vhid"))
                .hint("add `vhid N`, 1 to 255, the same on every router of the group");
            return None;
        };
        let advskew = draft.advskew.map_or(0, |(advskew, _)| advskew);
        nodes.push((CarpNode { vhid, advskew }, place));
    } else {
        let overruled = [("vhid", draft.vhid), ("advskew", draft.advskew)];
        for (keyword, place) in overruled.into_iter().filter_map(|(k, v)| Some((k, v?.1))) {
            let message = format!("({name}) has carpnodes; its {keyword} is ignored");
            context.diags.warn("carpnodes", place, message);
        }
        nodes.sort_by_key(|(node, _)| node.vhid);
    }
    if let ([_], Some((_, place))) = (&*nodes, draft.balancing) {
        let message = format!("({name}) has one vhid and nothing to balance");
        context
            .diags
            .warn("balancing", place, message)
            .hint("name several with `carpnodes VHID:ADVSKEW,...`");
        draft.balancing = None;
    }
    Some(nodes)
}

/// A vhid is there once on an interface, whoever its peers are.
fn check_vhids(
    context: &mut Context<'_>,
    draft: &Instance,
    nodes: &[(CarpNode, Place)],
    seen: &mut HashMap<Vhid, (String, Place)>,
) {
    for (node, place) in nodes {
        let name = &draft.router.name;
        let taken = (draft.router.interface.clone(), node.vhid);
        let Some((other, first)) = seen.get(&taken) else {
            seen.insert(taken, (name.clone(), *place));
            continue;
        };
        let interface = draft.router.interface.as_deref().unwrap_or("no interface");
        let message =
            format!("({name}) uses vhid {} on {interface}, and so does `{other}`", node.vhid);
        context
            .diags
            .error("duplicate-vhid", *place, message)
            .hint("give each instance on an interface a number of its own")
            .label(*first, "used here first");
    }
}
