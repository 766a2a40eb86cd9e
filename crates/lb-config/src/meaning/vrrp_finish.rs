//! `vrrp_instance` as a whole: defaults, and what keepalived does not start with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::router::Router;
use super::router_finish::{self, Protocol, Shared, check_links, check_peer_families, check_reach};
use super::vrrp::{AuthenticationKind, Instance};
use super::{Context, lint};
use crate::diagnostic::Place;
use crate::model::{Family, InitialState, VrrpInstance, VrrpVersion};

/// Makes instances of the model, and keeps the places of each.
#[expect(clippy::vec_box, reason = "each draft is let go when it has become part of the model")]
pub(super) fn finish(
    context: &mut Context<'_>,
    drafts: Vec<Box<Instance>>,
    shared: &Shared<'_>,
    places: &mut Vec<lint::VrrpPlaces>,
) -> Vec<Arc<VrrpInstance>> {
    let mut seen = HashMap::new();
    let mut instances = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let place = lint::VrrpPlaces::of(&draft);
        if let Some(instance) = instance(context, *draft, shared, &mut seen) {
            instances.push(Arc::new(instance));
            places.push(place);
        }
    }
    instances
}

/// What two instances must not share: interface, family, destination and VRID.
type Identity = (Option<String>, Option<IpAddr>, Family, IpAddr, u8);

fn instance(
    context: &mut Context<'_>,
    mut draft: Instance,
    shared: &Shared<'_>,
    seen: &mut HashMap<Identity, (String, Place)>,
) -> Option<VrrpInstance> {
    let place = draft.router.place;
    let name = draft.router.name.clone();
    let Some(vrid) = draft.vrid else {
        context
            .diags
            .error("vrid-missing", place, format!("({name}) has no virtual_router_id"))
            .hint("add `virtual_router_id N`, 1 to 255, the same on every router of the group");
        return refused(context, draft);
    };
    let family = family(&draft);
    check_source_family(context, &mut draft.router, family);
    check_peer_families(context, &mut draft.router, |peer| is_family(peer, family));
    if !check_reach(context, &mut draft.router) {
        return refused(context, draft);
    }
    if draft.router.group.is_some() && !draft.router.peers.is_empty() {
        let message = format!("({name}) has unicast peers; mcast_dst_ip is ignored");
        context.diags.warn("multicast-unused", place, message);
        draft.router.group = None;
    }
    let strict = draft.strict.unwrap_or(context.globals.strict);
    let version = version(context, &draft, family, strict);
    if draft.router.vips.is_empty() && !check_no_vip(context, &draft, version, strict) {
        return refused(context, draft);
    }
    if strict
        && let Some(vmac) = &mut draft.router.vmac
        && vmac.mac.take().is_some()
    {
        let message = format!("({name}) is strict: the MAC address of use_vmac is ignored");
        context.diags.warn("strict-mac", place, message);
    }
    if strict {
        let (garp, global) = (draft.router.garp, context.globals.garp);
        let resets = [
            ("down_timer_adverts", draft.down_timer_adverts != 3),
            ("preempt_delay", !draft.preempt_delay.is_zero()),
            ("garp_lower_prio_delay", garp.lower_prio_delay != global.lower_prio_delay),
            ("garp_lower_prio_repeat", garp.lower_prio_repeat != global.lower_prio_repeat),
        ];
        for (keyword, _) in resets.into_iter().filter(|(_, reset)| *reset) {
            let message = format!("({name}) is strict: {keyword} is ignored");
            context.diags.warn("strict-timing", place, message);
        }
    }
    check_links(context, &mut draft.router, false);
    if strict
        && let Some((vip, place)) = draft.router.vips.first()
        && matches!(vip.address, IpAddr::V6(address) if !address.is_unicast_link_local())
    {
        let message = format!("({name}) is strict: its first IPv6 address must be link-local");
        context.diags.warn("strict-link-local", *place, message);
    }
    let (mut state, priority) = state(context, &mut draft, strict);
    let owner = priority == 255;
    let interval = interval(context, &draft, version);
    let (password, header_key) = authentication(context, &draft, version, family, strict);
    if header_key.is_some() && state == InitialState::Master && !owner {
        let message = format!("({name}) starts as BACKUP: AH and state MASTER do not go together");
        context.diags.warn("auth-state", draft.router.state_place, message);
        state = InitialState::Backup;
    }
    let destination = match family {
        Family::Inet => context.globals.group_inet,
        Family::Inet6 => context.globals.group_inet6,
    };
    let multicast =
        draft.router.group.filter(|group| is_family(*group, family)).unwrap_or(destination);
    check_identity(context, &draft, family, vrid, multicast, seen);
    let protocol = Protocol { state, multicast, owner, strict, most_vips: 255 };
    let router = router_finish::finish(context, draft.router, shared, &protocol);
    let globals = &context.globals;
    // An owner's `no` is overruled, strict or not: so does keepalived.
    let owner_ignore_adverts = strict
        || (draft.owner_ignore_adverts.unwrap_or(globals.owner_ignore_adverts))
        || (owner && draft.owner_ignore_adverts.is_some());
    Some(VrrpInstance {
        router,
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

/// Of an instance that is refused keepalived looks at the scripts all the same.
fn refused(context: &mut Context<'_>, draft: Instance) -> Option<VrrpInstance> {
    router_finish::notify(context, draft.router.notify);
    None
}

/// That of the first VIP, else of the addresses of the routers.
fn family(draft: &Instance) -> Family {
    let router = &draft.router;
    let address = router.vips.first().map(|(vip, _)| vip.address);
    let address = address.or(router.source).or(router.peers.first().map(|(peer, _)| peer.address));
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

fn check_source_family(context: &mut Context<'_>, draft: &mut Router, family: Family) {
    if let Some(source) = draft.source.filter(|source| !is_family(*source, family)) {
        let message = format!(
            "({}) source `{source}` is of another family than its addresses and is ignored",
            draft.name
        );
        context.diags.warn("source-family", draft.source_place, message);
        draft.source = None;
    }
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
            let message = format!("({}) is IPv6; version 3 is used", draft.router.name);
            context.diags.warn("version", draft.router.place, message);
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
    let name = &draft.router.name;
    if strict || (version == VrrpVersion::V3 && !draft.no_vip) {
        let message = format!("({name}) has no virtual address, and at least one is needed");
        context.diags.error("no-vip", draft.router.place, message).hint(
            "add `virtual_ipaddress { ADDRESS }`, or `no_virtual_ipaddress` if that is meant",
        );
        return false;
    }
    if !draft.no_vip {
        let message = format!("({name}) has no virtual address; at least one is sensible");
        context.diags.warn("no-vip", draft.router.place, message);
    }
    true
}

fn state(context: &mut Context<'_>, draft: &mut Instance, strict: bool) -> (InitialState, u8) {
    let name = &draft.router.name;
    let wanted_master = draft.router.state == Some(InitialState::Master);
    let priority = draft.priority.unwrap_or(if wanted_master { 255 } else { 100 });
    let owner = priority == 255;
    let mut state = draft.router.state.unwrap_or(if owner {
        InitialState::Master
    } else {
        InitialState::Backup
    });
    if strict && (state == InitialState::Master) != owner {
        let message = format!("({name}) is strict: its state follows from its priority");
        context.diags.warn("strict-state", draft.router.state_place, message);
        state = if owner { InitialState::Master } else { InitialState::Backup };
    }
    if owner && draft.nopreempt {
        let message = format!("({name}) nopreempt does not work with priority 255 and is ignored");
        context.diags.warn("nopreempt-owner", draft.nopreempt_place, message);
        draft.nopreempt = false;
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
            .warn("preempt-delay-master", draft.router.place, message)
            .hint("write `state BACKUP`");
        draft.preempt_delay = Duration::ZERO;
    }
    if draft.nopreempt && !draft.preempt_delay.is_zero() {
        let message = format!("({name}) has nopreempt and preempt_delay; the delay is ignored");
        context.diags.warn("preempt-delay", draft.router.place, message);
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
            draft.router.name,
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
    let name = &draft.router.name;
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
        draft.router.peers.iter().map(|(peer, _)| (draft.router.source, peer.address)).collect();
    if destinations.is_empty() {
        destinations.push((None, multicast));
    }
    for (source, destination) in destinations {
        let identity = (draft.router.interface.clone(), source, family, destination, vrid);
        let Some((other, place)) = seen.get(&identity) else {
            seen.insert(identity, (draft.router.name.clone(), draft.vrid_place));
            continue;
        };
        if *other == draft.router.name {
            // The same peer twice.
            continue;
        }
        let interface = draft.router.interface.as_deref().unwrap_or("no interface");
        let message = format!(
            "({}) uses virtual_router_id {vrid} on {interface}, and so does `{other}`",
            draft.router.name
        );
        let diagnostic = context.diags.error("duplicate-vrid", draft.vrid_place, message);
        diagnostic.hint("give each instance on an interface a number of its own");
        if let Some(span) = place.span {
            diagnostic.label(span, "used here first");
        }
        return;
    }
}
