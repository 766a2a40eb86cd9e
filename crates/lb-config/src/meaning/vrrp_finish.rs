//! Instances and groups together: defaults, references, and what keepalived does not start with.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::group::Group;
use super::tracking::{TrackedItem, TrackedItems};
use super::vrrp::{AuthenticationKind, Instance, Notifies};
use super::{Context, exact, lint};
use crate::diagnostic::{Class, Place};
use crate::model::{
    Family, Garp, InitialState, Notify, Peers, SyncGroup, Tracked, VirtualAddress, VirtualRouter,
    VrrpInstance, VrrpScript, VrrpVersion,
};

/// Makes instances and groups of the model.
#[expect(clippy::vec_box, reason = "each draft is let go when it has become part of the model")]
pub(crate) fn finish(
    context: &mut Context<'_>,
    drafts: Vec<Box<Instance>>,
    groups: Vec<Group>,
    scripts: &[VrrpScript],
) -> (Vec<Arc<VrrpInstance>>, Vec<SyncGroup>) {
    let scripts: HashSet<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
    let groups = resolve_members(context, &drafts, groups);
    let mut group_of: HashMap<&str, &Group> = HashMap::new();
    for group in &groups {
        for (member, _) in &group.members {
            group_of.insert(member, group);
        }
    }
    let mut seen = HashMap::new();
    let mut instances = Vec::with_capacity(drafts.len());
    let mut places = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let group = group_of.get(draft.name.as_str()).copied();
        let place = lint::Places::of(&draft);
        if let Some(instance) = instance(context, *draft, group, &scripts, &mut seen) {
            instances.push(Arc::new(instance));
            places.push(place);
        }
    }
    let groups = groups
        .into_iter()
        .map(|group| SyncGroup {
            notify: notify(context, group.notify),
            members: group.members.into_iter().map(|(name, _)| name).collect(),
            name: group.name,
            tracking_weight: group.tracking_weight,
            smtp_alert: alert(context, group.smtp_alert),
        })
        .collect::<Vec<_>>();
    lint::instances(context, &instances, &places, &groups);
    (instances, groups)
}

/// Drops members that are no instance or are in another group, and groups without members.
fn resolve_members(
    context: &mut Context<'_>,
    instances: &[Box<Instance>],
    groups: Vec<Group>,
) -> Vec<Group> {
    let known: HashSet<&str> = instances.iter().map(|instance| instance.name.as_str()).collect();
    let mut taken: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(groups.len());
    for mut group in groups {
        group.members.retain(|(member, place)| {
            if !known.contains(member.as_str()) {
                let message =
                    format!("group `{}` names `{member}`, which is no instance", group.name);
                context.diags.warn("group-member", *place, message).hint("the name is ignored");
                return false;
            }
            if let Some(other) = taken.get(member) {
                let message =
                    format!("`{member}` is in group `{other}` already; the name is ignored");
                context.diags.warn("group-member", *place, message);
                return false;
            }
            taken.insert(member.clone(), group.name.clone());
            true
        });
        match group.members.len() {
            0 => {
                let message = format!("group `{}` has no members and is removed", group.name);
                context.diags.warn("group-empty", group.place, message);
                continue;
            }
            1 => {
                let message = format!("group `{}` has one member only", group.name);
                context.diags.warn("group-single", group.place, message);
            }
            _ => {}
        }
        kept.push(group);
    }
    kept
}

/// What two instances must not share: interface, family, destination and VRID.
type Identity = (Option<String>, Option<IpAddr>, Family, IpAddr, u8);

fn instance(
    context: &mut Context<'_>,
    mut draft: Instance,
    group: Option<&Group>,
    scripts: &HashSet<&str>,
    seen: &mut HashMap<Identity, (String, Place)>,
) -> Option<VrrpInstance> {
    let name = draft.name.clone();
    let Some(vrid) = draft.vrid else {
        context
            .diags
            .error("vrid-missing", draft.place, format!("({name}) has no virtual_router_id"))
            .hint("add `virtual_router_id N`, 1 to 255, the same on every router of the group");
        return None;
    };
    let family = family(&draft);
    check_families(context, &mut draft, family);
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
    if draft.interface.is_none() && !(unicast && draft.source.is_some()) {
        context
            .diags
            .error("interface-missing", draft.place, format!("({name}) has no interface"))
            .hint("add `interface NAME`; only unicast with `unicast_src_ip` can do without");
        return None;
    }
    let strict = draft.strict.unwrap_or(context.globals.strict);
    let version = version(context, &draft, family, strict);
    if draft.vips.is_empty() && !check_no_vip(context, &draft, version, strict) {
        return None;
    }
    if strict && unicast && is_multicast(context, draft.interface.as_deref()) {
        let message =
            format!("({name}) is strict and must not use unicast on a multicast interface");
        context.diags.error("strict-unicast", draft.place, message);
        return None;
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
    if draft.vmac.is_some() && draft.promote_secondaries {
        let message = format!("({name}) sets promote_secondaries with use_vmac anyway");
        context.diags.warn("promote-secondaries", draft.place, message).hint("it can be left out");
        draft.promote_secondaries = false;
    }
    if strict
        && let Some((vip, place)) = draft.vips.first()
        && matches!(vip.address, IpAddr::V6(address) if !address.is_unicast_link_local())
    {
        let message = format!("({name}) is strict: its first IPv6 address must be link-local");
        context.diags.warn("strict-link-local", *place, message);
    }
    let (state, priority) = state(context, &mut draft, strict);
    let owner = priority == 255;
    let interval = interval(context, &draft, version);
    let (password, header_key) = authentication(context, &draft, version, family, strict);
    let destination = match family {
        Family::Inet => context.globals.group_inet,
        Family::Inet6 => context.globals.group_inet6,
    };
    let multicast = draft
        .group
        .filter(|group| group.is_ipv6() == (family == Family::Inet6))
        .unwrap_or(destination);
    check_identity(context, &draft, family, vrid, multicast, seen);
    let mut vips = addresses(&mut draft.vips, draft.interface.as_ref());
    let mut excluded = addresses(&mut draft.excluded, draft.interface.as_ref());
    if vips.len() > 255 {
        let message =
            format!("({name}) has {} addresses; those after 255 are not advertised", vips.len());
        context
            .diags
            .warn("too-many-vips", draft.place, message)
            .hint("they are treated as excluded addresses");
        let surplus = vips.split_off(255);
        excluded.splice(0..0, surplus);
    }
    let (track_interfaces, track_scripts) = tracking(context, &draft, group, scripts, owner);
    let [track_files, track_processes, track_bfds] = further(context, &draft, group);
    let globals = &context.globals;
    // An owner's `no` is overruled, strict or not: so does keepalived.
    let owner_ignore_adverts = strict
        || (draft.owner_ignore_adverts.unwrap_or(globals.owner_ignore_adverts))
        || (owner && draft.owner_ignore_adverts.is_some());
    let notify = notify(context, std::mem::take(&mut draft.notify));
    let smtp_alert = alert(context, draft.smtp_alert);
    let garp = garp(context, &draft, strict);
    let globals = &context.globals;
    Some(VrrpInstance {
        router: VirtualRouter {
            state,
            source: draft.source,
            track_source: draft.track_source && draft.source.is_some(),
            peers: if unicast {
                Peers::Unicast {
                    peers: draft.peers.iter().map(|(peer, _)| *peer).collect(),
                    check_source: draft.check_unicast_src || globals.check_unicast_src,
                    ttl: draft.unicast_ttl,
                }
            } else {
                Peers::Multicast { group: multicast }
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
                .unwrap_or(context.globals.notify_priority_changes),
            garp_extra: draft.garp_extra.or(context.globals.garp_extra),
            kernel_rx_buf_size: draft.kernel_rx_buf_size,
            sync_daemon_interface: draft.sync_interface,
            interface: draft.interface,
            name: draft.name,
            handover: draft.handover.unwrap_or(true),
        },
        vrid,
        version,
        family,
        priority,
        advert_int: interval,
        down_timer_adverts: if strict { 3 } else { draft.down_timer_adverts },
        nopreempt: draft.nopreempt,
        preempt_delay: if strict { Duration::ZERO } else { draft.preempt_delay },
        password,
        accept: if strict {
            owner || (version == VrrpVersion::V3 && draft.accept == Some(true))
        } else {
            draft.accept.unwrap_or(true)
        },
        skip_check_adv_addr: draft.skip_check_adv_addr,
        lower_prio_no_advert: strict
            || draft.lower_prio_no_advert.unwrap_or(globals.lower_prio_no_advert),
        higher_prio_send_advert: !strict
            && draft.higher_prio_send_advert.unwrap_or(globals.higher_prio_send_advert),
        owner_ignore_adverts,
        v3_checksum_as_v2: draft.v3_checksum_as_v2,
        old_unicast_checksum: draft.old_unicast_checksum,
        strict,
        header_key,
        hmac: draft.hmac,
        timer_expired_backup: draft.timer_expired_backup,
    })
}

/// That of the first VIP, else of the addresses of the routers.
fn family(draft: &Instance) -> Family {
    let address = draft.vips.first().map(|(vip, _)| vip.address);
    let address = address.or(draft.source).or(draft.peers.first().map(|(peer, _)| peer.address));
    match address {
        Some(IpAddr::V6(_)) => Family::Inet6,
        Some(IpAddr::V4(_)) => Family::Inet,
        None if draft.native_ipv6 => Family::Inet6,
        None => Family::Inet,
    }
}

fn is_family(address: IpAddr, family: Family) -> bool {
    address.is_ipv6() == (family == Family::Inet6)
}

fn check_families(context: &mut Context<'_>, draft: &mut Instance, family: Family) {
    let name = &draft.name;
    if let Some(source) = draft.source.filter(|source| !is_family(*source, family)) {
        let message = format!(
            "({name}) source `{source}` is of another family than its addresses and is ignored"
        );
        context.diags.warn("source-family", draft.source_place, message);
        draft.source = None;
    }
    draft.peers.retain(|(peer, place)| {
        let fits = is_family(peer.address, family);
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

fn version(
    context: &mut Context<'_>,
    draft: &Instance,
    family: Family,
    strict: bool,
) -> VrrpVersion {
    let v6 = family == Family::Inet6;
    match draft.version {
        Some(VrrpVersion::V2) if v6 && (strict || draft.native_ipv6) => {
            let message = format!("({}) is IPv6; version 3 is used", draft.name);
            context.diags.warn("version", draft.place, message);
            VrrpVersion::V3
        }
        Some(version) => version,
        None if v6 => VrrpVersion::V3,
        None => context.globals.version,
    }
}

/// Whether an instance without VIPs may run.
fn check_no_vip(
    context: &mut Context<'_>,
    draft: &Instance,
    version: VrrpVersion,
    strict: bool,
) -> bool {
    let name = &draft.name;
    if strict || (version == VrrpVersion::V3 && !draft.no_vip) {
        let message = format!("({name}) has no virtual address, and at least one is needed");
        context.diags.error("no-vip", draft.place, message).hint(
            "add `virtual_ipaddress { ADDRESS }`, or `no_virtual_ipaddress` if that is meant",
        );
        return false;
    }
    if !draft.no_vip {
        let message = format!("({name}) has no virtual address; at least one is sensible");
        context.diags.warn("no-vip", draft.place, message);
    }
    true
}

fn is_multicast(context: &Context<'_>, interface: Option<&str>) -> bool {
    interface
        .and_then(|name| context.system.interface(name))
        .is_some_and(|interface| interface.multicast)
}

fn state(context: &mut Context<'_>, draft: &mut Instance, strict: bool) -> (InitialState, u8) {
    let name = &draft.name;
    let wanted_master = draft.state == Some(InitialState::Master);
    let priority = draft.priority.unwrap_or(if wanted_master { 255 } else { 100 });
    let owner = priority == 255;
    let mut state =
        draft.state.unwrap_or(if owner { InitialState::Master } else { InitialState::Backup });
    if strict && (state == InitialState::Master) != owner {
        let message = format!("({name}) is strict: its state follows from its priority");
        context.diags.warn("strict-state", draft.state_place, message);
        state = if owner { InitialState::Master } else { InitialState::Backup };
    }
    if state == InitialState::Master && draft.nopreempt {
        let message = format!("({name}) nopreempt does not work with state MASTER and is ignored");
        context
            .diags
            .warn("nopreempt-master", draft.nopreempt_place, message)
            .hint("write `state BACKUP` on every router");
        draft.nopreempt = false;
    }
    if state == InitialState::Master && !draft.preempt_delay.is_zero() {
        let message =
            format!("({name}) preempt_delay does not work with state MASTER and is ignored");
        context
            .diags
            .warn("preempt-delay-master", draft.place, message)
            .hint("write `state BACKUP`");
        draft.preempt_delay = Duration::ZERO;
    }
    if draft.nopreempt && !draft.preempt_delay.is_zero() {
        let message = format!("({name}) has nopreempt and preempt_delay; the delay is ignored");
        context.diags.warn("preempt-delay", draft.place, message);
        draft.preempt_delay = Duration::ZERO;
    }
    (state, priority)
}

/// The interval as the protocol can carry it: whole seconds, or hundredths up to 40.95 s.
fn interval(context: &mut Context<'_>, draft: &Instance, version: VrrpVersion) -> Duration {
    let micros = draft.advert_int.as_micros() as u64;
    let (unit, max) = match version {
        VrrpVersion::V2 => (1_000_000, 255_000_000),
        VrrpVersion::V3 => (10_000, 40_950_000),
    };
    let rounded = ((micros + unit / 2) / unit * unit).clamp(unit, max);
    let interval = Duration::from_micros(rounded);
    if rounded != micros {
        let what = match version {
            VrrpVersion::V2 => "VRRP version 2 counts whole seconds",
            VrrpVersion::V3 => "VRRP version 3 counts hundredths of a second up to 40.95",
        };
        let message = format!(
            "({}) advert_int {} is rounded to {}: {what}",
            draft.name,
            draft.advert_int.as_secs_f64(),
            interval.as_secs_f64()
        );
        context.diags.warn("advert-int", draft.advert_int_place, message);
    }
    interval
}

/// Password of `PASS` and key of `AH`, at most one of them.
fn authentication(
    context: &mut Context<'_>,
    draft: &Instance,
    version: VrrpVersion,
    family: Family,
    strict: bool,
) -> (Option<[u8; 8]>, Option<[u8; 8]>) {
    let name = &draft.name;
    let Some((authentication, kind)) =
        draft.authentication.as_ref().and_then(|found| Some((found, found.kind?)))
    else {
        return (None, None);
    };
    let problem = if version == VrrpVersion::V3 {
        "VRRP version 3 has no authentication; it is ignored"
    } else if strict {
        "it is strict: authentication is ignored"
    } else if family == Family::Inet6 {
        "there is no authentication over IPv6; it is ignored"
    } else if authentication.password.is_none() {
        "authentication without a password is ignored"
    } else if kind == AuthenticationKind::Header {
        return (None, Some(authentication.password.unwrap_or_default()));
    } else {
        return (authentication.password, None);
    };
    context.diags.warn("authentication", authentication.place, format!("({name}) {problem}"));
    (None, None)
}

fn check_identity(
    context: &mut Context<'_>,
    draft: &Instance,
    family: Family,
    vrid: u8,
    multicast: IpAddr,
    seen: &mut HashMap<Identity, (String, Place)>,
) {
    let mut destinations: Vec<(Option<IpAddr>, IpAddr)> =
        draft.peers.iter().map(|(peer, _)| (draft.source, peer.address)).collect();
    if destinations.is_empty() {
        destinations.push((None, multicast));
    }
    for (source, destination) in destinations {
        let identity = (draft.interface.clone(), source, family, destination, vrid);
        let Some((other, place)) = seen.get(&identity) else {
            seen.insert(identity, (draft.name.clone(), draft.vrid_place));
            continue;
        };
        if *other == draft.name {
            // The same peer twice.
            continue;
        }
        let interface = draft.interface.as_deref().unwrap_or("no interface");
        let message = format!(
            "({}) uses virtual_router_id {vrid} on {interface}, and so does `{other}`",
            draft.name
        );
        let diagnostic = context.diags.error("duplicate-vrid", draft.vrid_place, message);
        diagnostic.hint("give each instance on an interface a number of its own");
        if let Some(span) = place.span {
            diagnostic.label(span, "used here first");
        }
        return;
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
    draft: &Instance,
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
        // In a group members fail together: only what weighs nothing can count.
        if !group.tracking_weight {
            interfaces.iter_mut().for_each(|tracked| tracked.weight = 0);
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
fn further(
    context: &mut Context<'_>,
    draft: &Instance,
    group: Option<&Group>,
) -> [Vec<Tracked>; 3] {
    let own = [&draft.track.files, &draft.track.processes, &draft.track.bfds];
    let of_group = group.map(|group| &group.track);
    let of_group = of_group.map(|track| [&track.files, &track.processes, &track.bfds]);
    let mut index = 0;
    own.map(|own: &TrackedItems| {
        let mut items = own.items.clone();
        if let Some(of_group) = of_group {
            merge(context, draft, &mut items, of_group[index].items.iter());
        }
        index += 1;
        done(items)
    })
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
    draft: &Instance,
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

fn garp(context: &Context<'_>, draft: &Instance, strict: bool) -> Garp {
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

fn alert(context: &Context<'_>, own: Option<bool>) -> bool {
    own.or(context.globals.alert_vrrp).or(context.globals.alert).unwrap_or(false)
}

fn notify(context: &mut Context<'_>, draft: Notifies) -> Notify {
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
