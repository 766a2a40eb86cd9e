//! What keepalived does not complain of and an operator would want to know.
//!
//! None of it changes what a configuration means or the exit status of `-t`; a comment `allow(ID)` on the
//! line, or on the one before it, silences it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::instances::Instances;
use super::lvs_finish::Title;
use super::router::Router;
use super::{Context, carp, lint_carp, vrrp};
use crate::diagnostic::Place;
use crate::model::{
    CheckerKind, Family, LvsMethod, Peers, RealServer, SyncGroup, Tracked, VirtualAddress,
    VirtualRouter, VirtualServer, VrrpInstance, VrrpScript,
};

/// Where the parts of an instance are that something may be said about.
pub(super) struct VrrpPlaces {
    block: Place,
    vrid: Place,
    interval: Place,
    authentication: Place,
    vips: Vec<Place>,
}

/// The same of CARP.
pub(super) struct CarpPlaces {
    pub(super) block: Place,
    /// Of each vhid, in the order of the model.
    pub(super) vhids: Vec<Place>,
    pub(super) advskew: Place,
    pub(super) vips: Vec<Place>,
}

/// The same of every instance, in the order of the model.
#[derive(Default)]
pub(super) struct AllPlaces {
    pub(super) vrrp: Vec<VrrpPlaces>,
    pub(super) carp: Vec<CarpPlaces>,
}

/// Those of its VIPs, in the order of the model.
fn vips(router: &Router) -> Vec<Place> {
    router.vips.iter().chain(&router.excluded).map(|(_, place)| *place).collect()
}

impl VrrpPlaces {
    /// Those of an instance as it was read.
    pub(super) fn of(draft: &vrrp::Instance) -> VrrpPlaces {
        let block = draft.router.place;
        let or_block = |place: Place| if place.span.is_some() { place } else { block };
        VrrpPlaces {
            block,
            vrid: or_block(draft.vrid_place),
            interval: or_block(draft.advert_int_place),
            authentication: draft.authentication.as_ref().map_or(block, |a| a.place),
            vips: vips(&draft.router),
        }
    }
}

impl CarpPlaces {
    /// Those of an instance as it was read.
    pub(super) fn of(draft: &carp::Instance) -> CarpPlaces {
        let block = draft.router.place;
        let mut nodes: Vec<_> =
            draft.nodes.iter().map(|(node, place)| (node.vhid, *place)).collect();
        nodes.sort_by_key(|(vhid, _)| *vhid);
        let vhids = match draft.vhid {
            Some((_, place)) if nodes.is_empty() => vec![place],
            _ => nodes.into_iter().map(|(_, place)| place).collect(),
        };
        CarpPlaces {
            block,
            advskew: draft.advskew.or(draft.vhid).map_or(block, |(_, place)| place),
            vhids,
            vips: vips(&draft.router),
        }
    }
}

/// Says what is odd about instances and their groups.
pub(super) fn instances(context: &mut Context<'_>, all: &Instances, places: &AllPlaces) {
    let mut subnets = Subnets::default();
    for (instance, places) in all.vrrp.iter().zip(&places.vrrp) {
        plain_password(context, instance, places);
        subnets.check(context, &instance.router, &places.vips);
        weights(context, instance, places);
    }
    for (instance, places) in all.carp.iter().zip(&places.carp) {
        subnets.check(context, &instance.router, &places.vips);
        lint_carp::instance(context, instance, places);
    }
    shared_numbers(context, all, places);
    group_intervals(context, all, places);
}

/// Anybody on the way reads the password; it helps against mistakes on one link only.
fn plain_password(context: &mut Context<'_>, instance: &VrrpInstance, places: &VrrpPlaces) {
    if instance.password.is_some() && matches!(instance.router.peers, Peers::Unicast { .. }) {
        let message = format!(
            "({}) sends its password in the clear beyond its own link",
            instance.router.name
        );
        context
            .diags
            .note("password-unicast", places.authentication, message)
            .hint("leave the authentication out, and let a firewall admit the peers only");
    }
}

/// Subnets by interface; `None` until they are asked for.
#[derive(Default)]
struct Subnets(Option<HashMap<String, Vec<(IpAddr, u8)>>>);

impl Subnets {
    fn check(&mut self, context: &mut Context<'_>, router: &VirtualRouter, places: &[Place]) {
        let vips = router.vips.iter().chain(&router.excluded_vips);
        for (vip, place) in vips.zip(places) {
            let Some(interface) = vip.interface.as_deref() else { continue };
            let all = self.0.get_or_insert_with(|| by_interface(context.system.addresses()));
            let Some(addresses) = all.get(interface) else { continue };
            let same_family =
                |(address, _): &&(IpAddr, u8)| address.is_ipv4() == vip.address.is_ipv4();
            let mut subnets = addresses.iter().filter(same_family).peekable();
            if subnets.peek().is_none() || is_link_local(vip.address) {
                continue;
            }
            if !subnets.any(|(address, length)| in_subnet(vip, *address, *length)) {
                let message = format!("`{}` is in no subnet of {interface}", vip.address);
                context
                    .diags
                    .note("vip-subnet", *place, message)
                    .hint("other hosts of the link may not reach it without a route");
            }
        }
    }
}

fn by_interface(addresses: Vec<(String, (IpAddr, u8))>) -> HashMap<String, Vec<(IpAddr, u8)>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for (interface, address) in addresses {
        all.entry(interface).or_default().push(address);
    }
    all
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn in_subnet(vip: &VirtualAddress, address: IpAddr, length: u8) -> bool {
    let bits = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => address.into(),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    vip.address == address || (bits(vip.address) ^ bits(address)) & mask == 0
}

/// A priority stays between 1 and 254 whatever the weights say.
fn weights(context: &mut Context<'_>, instance: &VrrpInstance, places: &VrrpPlaces) {
    if instance.priority == 255 {
        return;
    }
    let lists = [
        &instance.router.track_interfaces,
        &instance.router.track_scripts,
        &instance.router.track_processes,
        &instance.router.track_bfds,
    ];
    for Tracked { name, weight, reverse } in lists.into_iter().flatten() {
        let weight = if *reverse { -weight } else { *weight };
        let limit = match weight.signum() {
            1 if instance.priority == 254 => "above 254",
            -1 if instance.priority == 1 => "below 1",
            _ => continue,
        };
        let message = format!(
            "({}) cannot change the election by `{name}`: its priority never gets {limit}",
            instance.router.name
        );
        context
            .diags
            .note("weight-without-effect", places.block, message)
            .hint("leave room for the weight in `priority`");
    }
}

/// Someone who uses a number on an interface.
struct User<'a> {
    router: &'a VirtualRouter,
    is_carp: bool,
    place: &'a Place,
}

/// VRRP over IPv4 and CARP have one space of numbers, and of virtual MAC addresses.
fn shared_numbers(context: &mut Context<'_>, all: &Instances, places: &AllPlaces) {
    let mut seen: HashMap<(&str, Family, u8), User<'_>> = HashMap::new();
    let vrrp = all.vrrp.iter().zip(&places.vrrp).map(|(instance, places)| {
        (&instance.router, instance.family, instance.vrid, &places.vrid, false)
    });
    let carp = all.carp.iter().zip(&places.carp).flat_map(|(instance, places)| {
        let numbers = instance.vhids().zip(&places.vhids);
        numbers.map(|(vhid, place)| (&instance.router, Family::Inet, vhid, place, true))
    });
    for (router, family, number, place, is_carp) in vrrp.chain(carp) {
        let Some(interface) = router.interface.as_deref() else { continue };
        let user = User { router, is_carp, place };
        let Some(first) = seen.get(&(interface, family, number)) else {
            seen.insert((interface, family, number), user);
            continue;
        };
        // Twice in CARP is an error and said, and so is one destination twice in VRRP.
        if first.is_carp == is_carp && (is_carp || first.router.peers == router.peers) {
            continue;
        }
        let message = format!(
            "({}) shares number {number} on {interface} with `{}`",
            router.name, first.router.name
        );
        context
            .diags
            .note("vrid-shared", *place, message)
            .hint("they have one virtual MAC address; another number costs nothing")
            .label(*first.place, "used here first");
    }
}

/// Members that notice a failure at different times fail over in pieces.
fn group_intervals(context: &mut Context<'_>, all: &Instances, places: &AllPlaces) {
    if all.groups.is_empty() {
        return;
    }
    let vrrp = all.vrrp.iter().zip(&places.vrrp).map(|(instance, places)| {
        (instance.router.name.as_str(), (instance.advert_int, places.interval))
    });
    let carp = all.carp.iter().zip(&places.carp).map(|(instance, places)| {
        let interval = Duration::from_secs(instance.advbase.into());
        (instance.router.name.as_str(), (interval, places.block))
    });
    let known: HashMap<&str, (Duration, Place)> = vrrp.chain(carp).collect();
    for SyncGroup { name: group, members, .. } in &all.groups {
        let mut members =
            members.iter().filter_map(|name| Some((name, *known.get(name.as_str())?)));
        let Some((first, (interval, _))) = members.next() else { continue };
        for (member, (other, place)) in members.filter(|(_, (other, _))| *other != interval) {
            let message = format!(
                "group `{group}`: `{first}` advertises every {} s, and `{member}` every {} s",
                interval.as_secs_f64(),
                other.as_secs_f64()
            );
            context
                .diags
                .note("group-advert-int", place, message)
                .hint("give the members of a group one `advert_int`, or one `advbase`");
        }
    }
}

/// Says what is odd about a script.
pub(super) fn script(context: &mut Context<'_>, script: &VrrpScript, place: Place) {
    if script.timeout > script.interval {
        let message = format!(
            "`{}` may run {} s, but is due every {} s",
            script.name,
            script.timeout.as_secs_f64(),
            script.interval.as_secs_f64()
        );
        context
            .diags
            .note("check-overlap", place, message)
            .hint("a run that hangs delays the next; make `timeout` no longer than `interval`");
    }
}

/// Says what is odd about a virtual server.
pub(super) fn server(
    context: &mut Context<'_>,
    server: &VirtualServer,
    place: Place,
    title: &Title,
) {
    let total: u64 = server.real_servers.iter().map(|real| u64::from(real.weight)).sum();
    let needed = u64::from(server.quorum) + u64::from(server.hysteresis);
    if total < needed {
        let message = format!(
            "virtual server {title} gets its quorum back at weight {needed} only, and its servers weigh {total}"
        );
        context
            .diags
            .note("quorum-unreachable", place, message)
            .hint("once lost it stays lost; lower `quorum` or `hysteresis`");
    }
    overlapping_checks(context, server, place, title);
    direct_routing(context, server, place, title);
}

/// How long a checker may take.
fn timeout(kind: &CheckerKind) -> Duration {
    match kind {
        CheckerKind::Misc { timeout, .. } => *timeout,
        CheckerKind::Tcp { connection } | CheckerKind::Ping { connection } => connection.timeout,
        CheckerKind::Http(http) => http.connection.timeout,
        CheckerKind::Smtp(smtp) => smtp.connection.timeout,
        CheckerKind::Udp(udp) => udp.connection.timeout,
        CheckerKind::Dns(dns) => dns.connection.timeout,
        CheckerKind::File(_) | CheckerKind::Bfd(_) | CheckerKind::Impossible { .. } => {
            Duration::ZERO
        }
    }
}

fn overlapping_checks(
    context: &mut Context<'_>,
    server: &VirtualServer,
    place: Place,
    title: &Title,
) {
    let checkers = || server.real_servers.iter().flat_map(|real| &real.checkers);
    let slow = |checker: &&crate::model::Checker| timeout(&checker.kind) > checker.delay_loop;
    let Some(first) = checkers().find(slow) else { return };
    let count = checkers().filter(slow).count();
    let message = format!(
        "virtual server {title}: {count} of its checks may take longer ({} s) than they are apart ({} s)",
        timeout(&first.kind).as_secs_f64(),
        first.delay_loop.as_secs_f64()
    );
    context
        .diags
        .note("check-overlap", place, message)
        .hint("a server that hangs is found out late; make the timeout shorter than `delay_loop`");
}

/// With DR the real servers hold the address too, and must not answer ARP for it.
fn direct_routing(context: &mut Context<'_>, server: &VirtualServer, place: Place, title: &Title) {
    let is_direct = |real: &&RealServer| real.method == LvsMethod::Dr;
    if server.family != Family::Inet || !server.real_servers.iter().any(|real| is_direct(&real)) {
        return;
    }
    let own = context.own_addresses();
    let local = |real: &RealServer| match real.address {
        SocketAddr::V4(address) => own.binary_search(address.ip()).is_ok(),
        SocketAddr::V6(_) => false,
    };
    if !server.real_servers.iter().filter(is_direct).any(local) {
        return;
    }
    let setting = |name: &str| context.system.sysctl(name).unwrap_or_default();
    let ignore = setting("net.ipv4.conf.all.arp_ignore");
    let announce = setting("net.ipv4.conf.all.arp_announce");
    if matches!(ignore.as_str(), "1" | "2") && announce == "2" {
        return;
    }
    let message = format!(
        "virtual server {title}: this host is one of its DR servers and answers ARP for it"
    );
    context.diags.note("dr-arp", place, message).hint(
        "set arp_ignore=1 and arp_announce=2 in net.ipv4.conf.all, and put the address on lo",
    );
}
