//! What keepalived does not complain of and an operator would want to know.
//!
//! None of it changes what a configuration means or the exit status of `-t`; a comment `allow(ID)` on the
//! line, or on the one before it, silences it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::lvs_finish::Title;
use super::vrrp::Instance;
use crate::diagnostic::Place;
use crate::model::{
    CheckerKind, Family, LvsMethod, Peers, RealServer, SyncGroup, Tracked, VirtualAddress,
    VirtualServer, VrrpInstance, VrrpScript,
};

/// Where the parts of an instance are that something may be said about.
pub(super) struct Places {
    block: Place,
    vrid: Place,
    interval: Place,
    authentication: Place,
    vips: Vec<Place>,
}

impl Places {
    /// Those of an instance as it was read.
    pub(super) fn of(draft: &Instance) -> Places {
        let or_block = |place: Place| if place.span.is_some() { place } else { draft.place };
        Places {
            block: draft.place,
            vrid: or_block(draft.vrid_place),
            interval: or_block(draft.advert_int_place),
            authentication: draft.authentication.as_ref().map_or(draft.place, |a| a.place),
            vips: draft.vips.iter().chain(&draft.excluded).map(|(_, place)| *place).collect(),
        }
    }
}

/// Says what is odd about instances and their groups.
pub(super) fn instances(
    context: &mut Context<'_>,
    instances: &[Arc<VrrpInstance>],
    places: &[Places],
    groups: &[SyncGroup],
) {
    let mut subnets = Subnets::default();
    for (instance, places) in instances.iter().zip(places) {
        plain_password(context, instance, places);
        subnets.check(context, instance, places);
        weights(context, instance, places);
    }
    shared_vrids(context, instances, places);
    let known: HashMap<&str, usize> =
        instances.iter().enumerate().map(|(index, i)| (i.name.as_str(), index)).collect();
    for group in groups {
        group_intervals(context, instances, places, &known, group);
    }
}

/// Anybody on the way reads the password; it helps against mistakes on one link only.
fn plain_password(context: &mut Context<'_>, instance: &VrrpInstance, places: &Places) {
    if instance.password.is_some() && matches!(instance.peers, Peers::Unicast { .. }) {
        let message =
            format!("({}) sends its password in the clear beyond its own link", instance.name);
        context
            .diags
            .note("password-unicast", places.authentication, message)
            .hint("leave the authentication out, and let a firewall admit the peers only");
    }
}

/// Subnets of interfaces that were asked for.
#[derive(Default)]
struct Subnets(HashMap<String, Vec<(IpAddr, u8)>>);

impl Subnets {
    fn check(&mut self, context: &mut Context<'_>, instance: &VrrpInstance, places: &Places) {
        let vips = instance.vips.iter().chain(&instance.excluded_vips);
        for (vip, place) in vips.zip(&places.vips) {
            let Some(interface) = vip.interface.as_deref() else { continue };
            let addresses = self
                .0
                .entry(interface.to_owned())
                .or_insert_with(|| context.system.addresses(interface));
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

fn is_link_local(address: IpAddr) -> bool {
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
fn weights(context: &mut Context<'_>, instance: &VrrpInstance, places: &Places) {
    if instance.priority == 255 {
        return;
    }
    let lists = [
        &instance.track_interfaces,
        &instance.track_scripts,
        &instance.track_processes,
        &instance.track_bfds,
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
            instance.name
        );
        context
            .diags
            .note("weight-without-effect", places.block, message)
            .hint("leave room for the weight in `priority`");
    }
}

/// Where VRRP and CARP meet, they share the numbers too.
fn shared_vrids(context: &mut Context<'_>, instances: &[Arc<VrrpInstance>], places: &[Places]) {
    let mut seen: HashMap<(&str, Family, u8), usize> = HashMap::new();
    for (index, instance) in instances.iter().enumerate() {
        let Some(interface) = instance.interface.as_deref() else { continue };
        let key = (interface, instance.family, instance.vrid);
        let first = *seen.entry(key).or_insert(index);
        // The same destination too is an error, and said.
        if first == index || instances[first].peers == instance.peers {
            continue;
        }
        let message = format!(
            "({}) shares number {} on {interface} with `{}`",
            instance.name, instance.vrid, instances[first].name
        );
        context
            .diags
            .note("vrid-shared", places[index].vrid, message)
            .hint("they have one virtual MAC address; another number costs nothing")
            .label(places[first].vrid, "used here first");
    }
}

/// Members that notice a failure at different times fail over in pieces.
fn group_intervals(
    context: &mut Context<'_>,
    instances: &[Arc<VrrpInstance>],
    places: &[Places],
    known: &HashMap<&str, usize>,
    group: &SyncGroup,
) {
    let mut members = group.members.iter().filter_map(|name| known.get(name.as_str()).copied());
    let Some(first) = members.next() else { return };
    for member in members {
        let (one, other) = (&instances[first], &instances[member]);
        if one.advert_int == other.advert_int {
            continue;
        }
        let message = format!(
            "group `{}`: `{}` advertises every {} s, and `{}` every {} s",
            group.name,
            one.name,
            one.advert_int.as_secs_f64(),
            other.name,
            other.advert_int.as_secs_f64()
        );
        context
            .diags
            .note("group-advert-int", places[member].interval, message)
            .hint("give the members of a group one `advert_int`");
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
        CheckerKind::File(_) | CheckerKind::Bfd(_) => Duration::ZERO,
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
    let local = |real: &RealServer| own.binary_search(&real.address.ip()).is_ok();
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
