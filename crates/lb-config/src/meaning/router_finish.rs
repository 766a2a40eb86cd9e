//! What every instance needs when everything is read: defaults, lists of its group, links, scripts.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::group::Group;
use super::router::{Notifies, Router};
use super::tracking::TrackedItem;
use super::{Context, exact};
use crate::diagnostic::{Class, Place};
use crate::model::{
    Garp, InitialState, Notify, Peers, Tracked, VirtualAddress, VirtualRouter, VrrpScript,
};

/// What instances of both protocols look things up in.
pub(super) struct Shared<'a> {
    scripts: HashSet<&'a str>,
    groups: HashMap<&'a str, &'a Group>,
}

impl<'a> Shared<'a> {
    /// By the names of scripts, and of the members of groups.
    pub(super) fn new(scripts: &'a [VrrpScript], groups: &'a [Group]) -> Self {
        let members = |group: &'a Group| {
            group.members.iter().map(move |(member, _)| (member.as_str(), group))
        };
        Shared {
            scripts: scripts.iter().map(|script| script.name.as_str()).collect(),
            groups: groups.iter().flat_map(members).collect(),
        }
    }
}

/// How the protocol bears on what both have.
pub(super) struct Protocol {
    pub(super) state: InitialState,
    /// Where it advertises without peers.
    pub(super) multicast: IpAddr,
    /// Has the highest priority there is, which nothing changes.
    pub(super) owner: bool,
    pub(super) strict: bool,
    /// VIPs that an advertisement has room for.
    pub(super) most_vips: usize,
}

/// Whether it can be reached at all: it needs an interface, or peers and a source.
pub(super) fn check_reach(context: &mut Context<'_>, draft: &mut Router) -> bool {
    let name = &draft.name;
    let unicast = !draft.peers.is_empty();
    if !unicast && draft.unicast_ttl.is_some() {
        let message = format!("({name}) has no unicast peer; unicast_ttl is ignored");
        context.diags.warn("unicast-without-peers", draft.place, message);
        draft.unicast_ttl = None;
    }
    if draft.unicast && !unicast && !draft.unicast_fault_no_peer {
        let message =
            format!("({name}) has a unicast keyword but no unicast peer; multicast is used");
        context.diags.warn("unicast-without-peers", draft.place, message).class(Class::Deprecated);
    }
    if draft.interface.is_none() && draft.vrf.is_some() && unicast && draft.source.is_some() {
        return true;
    }
    if draft.interface.is_none() && unicast && draft.source.is_some() {
        let message = format!("({name}) has no interface: its source address tells which it is");
        context
            .diags
            .warn("interface-missing", draft.place, message)
            .class(Class::RefusedThere)
            .hint("add `interface NAME`; keepalived 2.2.7 refuses to start without");
    } else if draft.interface.is_none() {
        context
            .diags
            .error("interface-missing", draft.place, format!("({name}) has no interface"))
            .hint("add `interface NAME`; only unicast with `unicast_src_ip` can do without");
        return false;
    }
    true
}

/// Drops peers of a family that it does not advertise in.
pub(super) fn check_peer_families(
    context: &mut Context<'_>,
    draft: &mut Router,
    fits: impl Fn(IpAddr) -> bool,
) {
    let name = &draft.name;
    draft.peers.retain(|(peer, place)| {
        let fits = fits(peer.address);
        if !fits {
            let message = format!(
                "({name}) peer `{}` is of another family than its addresses and is ignored",
                peer.address
            );
            context.diags.warn("peer-family", *place, message);
        }
        fits
    });
}

/// Drops what its links make superfluous.
pub(super) fn check_links(context: &mut Context<'_>, draft: &mut Router, carp: bool) {
    let name = &draft.name;
    // keepalived, which has no CARP, complains of it.
    if !carp
        && (draft.vmac.is_some() || draft.ipvlan.is_some())
        && ((draft.unicast && !draft.peers.is_empty()) || draft.unicast_fault_no_peer)
        && !draft.vmac_xmit_base
    {
        let message = format!("({name}) is unicast and has a macvlan; vmac_xmit_base is set");
        context.diags.warn("vmac-xmit-base", draft.place, message).hint("add `vmac_xmit_base`");
        draft.vmac_xmit_base = true;
    }
    if draft.vmac.is_none() && draft.vmac_xmit_base {
        let message = format!("({name}) has no macvlan; vmac_xmit_base is ignored");
        context.diags.warn("vmac-xmit-base", draft.place, message).hint("add `use_vmac`");
        draft.vmac_xmit_base = false;
    }
    if draft.vrf.is_some() && draft.interface.is_some() {
        let message = format!("({name}) has an interface; vrf is ignored");
        context.diags.warn("vrf", draft.place, message);
        draft.vrf = None;
    }
    if (draft.vmac.is_some() || draft.ipvlan.is_some()) && draft.promote_secondaries {
        let message =
            format!("({name}) has an interface of its own, which sets promote_secondaries anyway");
        context.diags.warn("promote-secondaries", draft.place, message).hint("it can be left out");
        draft.promote_secondaries = false;
    }
}

/// The common part of an instance.
pub(super) fn finish(
    context: &mut Context<'_>,
    mut draft: Router,
    shared: &Shared<'_>,
    protocol: &Protocol,
) -> VirtualRouter {
    let group = shared.groups.get(draft.name.as_str()).copied();
    let mut vips = addresses(&mut draft.vips, draft.interface.as_ref());
    let mut excluded = addresses(&mut draft.excluded, draft.interface.as_ref());
    if vips.len() > protocol.most_vips {
        let message = format!(
            "({}) has {} addresses; those after {} are not advertised",
            draft.name,
            vips.len(),
            protocol.most_vips
        );
        context
            .diags
            .warn("too-many-vips", draft.place, message)
            .hint("they are treated as excluded addresses");
        let surplus = vips.split_off(protocol.most_vips);
        excluded.splice(0..0, surplus);
    }
    let (track_interfaces, track_scripts) =
        tracking(context, &draft, group, &shared.scripts, protocol.owner);
    let [track_files, track_processes, track_bfds] = further(context, &draft, group);
    let notify = notify(context, std::mem::take(&mut draft.notify));
    let smtp_alert = alert(context, draft.smtp_alert);
    let garp = garp(context, &draft, protocol.strict);
    let globals = &context.globals;
    VirtualRouter {
        state: protocol.state,
        source: draft.source,
        track_source: draft.track_source && draft.source.is_some(),
        peers: if draft.peers.is_empty() {
            Peers::Multicast { group: protocol.multicast }
        } else {
            Peers::Unicast {
                peers: exact(draft.peers.iter().map(|(peer, _)| *peer)),
                check_source: draft.check_unicast_src || globals.check_unicast_src,
                ttl: draft.unicast_ttl,
            }
        },
        vips,
        excluded_vips: excluded,
        dont_track_primary: draft.dont_track_primary,
        track_interfaces,
        track_scripts,
        garp,
        notify,
        vmac: draft.vmac,
        vmac_addresses: draft.vmac_addresses,
        vmac_xmit_base: draft.vmac_xmit_base,
        ipvlan: draft.ipvlan,
        vrf: draft.vrf,
        unicast_fault_no_peer: draft.unicast_fault_no_peer,
        track_files,
        track_processes,
        track_bfds,
        routes: draft.routes,
        rules: draft.rules,
        promote_secondaries: draft.promote_secondaries,
        linkbeat_use_polling: draft.linkbeat_use_polling,
        debug: draft.debug,
        smtp_alert,
        notify_priority_changes: draft
            .notify_priority_changes
            .or(group.and_then(|group| group.notify_priority_changes))
            .unwrap_or(globals.notify_priority_changes),
        garp_extra: draft.garp_extra.or(globals.garp_extra),
        kernel_rx_buf_size: draft.kernel_rx_buf_size,
        sync_daemon_interface: draft.sync_interface,
        interface: draft.interface,
        name: draft.name,
        handover: draft.handover.unwrap_or(globals.handover),
    }
}

/// Addresses without a `dev` are on the instance's interface.
fn addresses(
    list: &mut Vec<(VirtualAddress, Place)>,
    interface: Option<&String>,
) -> Vec<VirtualAddress> {
    let complete = |(vip, _): (VirtualAddress, Place)| VirtualAddress {
        interface: vip.interface.or_else(|| interface.cloned()),
        ..vip
    };
    exact(std::mem::take(list).into_iter().map(complete))
}

/// The instance's and its group's lists as one.
fn tracking(
    context: &mut Context<'_>,
    draft: &Router,
    group: Option<&Group>,
    scripts: &HashSet<&str>,
    owner: bool,
) -> (Vec<Tracked>, Vec<Tracked>) {
    let mut interfaces = draft.track.interfaces.items.clone();
    interfaces.retain(|tracked| {
        let own = draft.interface.as_deref() == Some(tracked.name.as_str());
        if own {
            let message = format!(
                "({}) tracks `{}`, its own interface, anyway; the line is ignored",
                draft.name, tracked.name
            );
            context.diags.warn("track-own-interface", tracked.place, message);
        }
        !own
    });
    let mut items = draft.track.scripts.items.clone();
    if let Some(group) = group {
        // In a group members fail together: only what weighs nothing can count. keepalived 2.2.7 says so
        // of interfaces too, and their weights count all the same.
        if !group.tracking_weight {
            items.retain(|tracked| {
                if tracked.weight != 0 {
                    let message = format!(
                        "({}) is in a group, where the weight of script `{}` does not count",
                        draft.name, tracked.name
                    );
                    let diagnostic = context.diags.warn("group-weight", tracked.place, message);
                    diagnostic
                        .hint("add `sync_group_tracking_weight` to the group, or drop the weight");
                }
                tracked.weight == 0
            });
        }
        let own = draft.interface.as_deref();
        let of_group = group
            .track
            .interfaces
            .items
            .iter()
            .filter(|tracked| own != Some(tracked.name.as_str()));
        merge(context, draft, &mut interfaces, of_group);
        merge(context, draft, &mut items, group.track.scripts.items.iter());
    }
    items.retain(|tracked| scripts.contains(tracked.name.as_str()));
    if owner {
        for list in [&mut interfaces, &mut items] {
            list.retain(|tracked| {
                if tracked.weight != 0 {
                    let message = format!(
                        "({}) owns its address: `{}` cannot change its priority",
                        draft.name, tracked.name
                    );
                    context.diags.warn("track-owner", tracked.place, message);
                }
                tracked.weight == 0
            });
        }
    }
    (done(interfaces), done(items))
}

/// Files, processes and sessions: the instance's and its group's.
fn further(context: &mut Context<'_>, draft: &Router, group: Option<&Group>) -> [Vec<Tracked>; 3] {
    let own = [&draft.track.files, &draft.track.processes, &draft.track.bfds];
    let mut own = own.map(|own| own.items.clone());
    if let Some(group) = group {
        if !group.tracking_weight {
            unweigh_files(context, draft, &mut own[0]);
        }
        let of_group = [&group.track.files, &group.track.processes, &group.track.bfds];
        for (items, of_group) in own.iter_mut().zip(of_group) {
            merge(context, draft, items, of_group.items.iter());
        }
    }
    own.map(done)
}

/// In a group a file counts if it weighs nothing. Weight 1, which is what a file has of itself, becomes
/// that; of another weight it is not tracked.
fn unweigh_files(context: &mut Context<'_>, draft: &Router, files: &mut Vec<TrackedItem>) {
    files.retain_mut(|file| {
        let (name, owner) = (&file.name, &draft.name);
        let (message, stays) = match file.weight {
            0 => return true,
            1 => (format!("({owner}) is in a group: file `{name}` has weight 0 there"), true),
            _ => (
                format!(
                    "({owner}) is in a group, where the weight of file `{name}` does not count"
                ),
                false,
            ),
        };
        let hint = "add `sync_group_tracking_weight` to the group, or give the file weight 0";
        context.diags.warn("group-weight", file.place, message).hint(hint);
        file.weight = 0;
        stays
    });
}

fn done(items: Vec<TrackedItem>) -> Vec<Tracked> {
    items
        .into_iter()
        .map(|TrackedItem { name, weight, reverse, .. }| Tracked { name, weight, reverse })
        .collect()
}

/// Adds the group's entries; for what both name, the group's weight counts unless the instance's is 0.
fn merge<'t>(
    context: &mut Context<'_>,
    draft: &Router,
    list: &mut Vec<TrackedItem>,
    of_group: impl Iterator<Item = &'t TrackedItem>,
) {
    let known: HashMap<String, usize> =
        list.iter().enumerate().map(|(index, own)| (own.name.clone(), index)).collect();
    for tracked in of_group {
        match known.get(&tracked.name).map(|index| &mut list[*index]) {
            None => list.push(tracked.clone()),
            Some(own) => {
                let message =
                    format!("`{}` is tracked by ({}) and by its group", tracked.name, draft.name);
                context
                    .diags
                    .warn("track-twice", own.place, message)
                    .hint("one of the two is enough");
                if own.weight != 0 {
                    own.weight = tracked.weight;
                    own.reverse = tracked.reverse;
                }
            }
        }
    }
}

fn garp(context: &Context<'_>, draft: &Router, strict: bool) -> Garp {
    let own = draft.garp;
    let minimal = own.minimal;
    let delay = own.delay.unwrap_or(if minimal { Duration::ZERO } else { Duration::from_secs(5) });
    let repeat = own.repeat.unwrap_or(if minimal { 1 } else { 5 });
    // Those for a lower priority follow the global values, not the instance's.
    let global = context.globals.garp;
    let lower_delay = own.lower_prio_delay.or(global.delay);
    let lower_repeat = own.lower_prio_repeat.or(global.repeat);
    Garp {
        repeat,
        delay,
        refresh: own.refresh.unwrap_or_default(),
        refresh_repeat: own.refresh_repeat.unwrap_or(1),
        lower_prio_repeat: if strict {
            0
        } else {
            lower_repeat.unwrap_or(if minimal { 1 } else { 5 })
        },
        lower_prio_delay: match strict {
            true => Duration::ZERO,
            false => {
                lower_delay.unwrap_or(if minimal { Duration::ZERO } else { Duration::from_secs(5) })
            }
        },
    }
}

/// Whether mails are sent.
pub(super) fn alert(context: &Context<'_>, own: Option<bool>) -> bool {
    own.or(context.globals.alert_vrrp).or(context.globals.alert).unwrap_or(false)
}

/// Scripts that can run.
pub(super) fn notify(context: &mut Context<'_>, draft: Notifies) -> Notify {
    Notify {
        master: context.notify_script(draft.master),
        backup: context.notify_script(draft.backup),
        fault: context.notify_script(draft.fault),
        stop: context.notify_script(draft.stop),
        deleted: context.notify_script(draft.deleted),
        master_rx_lower_pri: context.notify_script(draft.master_rx_lower_pri),
        any: context.notify_script(draft.any),
        report_deleted: draft.report_deleted,
    }
}
