//! What the BSDs' ifconfig does not complain of and an operator would want to know.

use super::Context;
use super::lint::{CarpPlaces, is_link_local};
use crate::model::{CarpInstance, Peers, Tracked};

/// Says what is odd about an instance.
pub(super) fn instance(context: &mut Context<'_>, instance: &CarpInstance, places: &CarpPlaces) {
    interval(context, instance, places);
    ties(context, instance, places);
    link_local(context, instance, places);
    weights(context, instance, places);
    peerless_family(context, instance, places);
}

/// Its skews.
fn skews(instance: &CarpInstance) -> impl Iterator<Item = u8> {
    let only = instance.nodes.is_empty().then_some(instance.advskew);
    only.into_iter().chain(instance.nodes.iter().map(|node| node.advskew))
}

/// The shortest interval there is: 1/256 s.
fn interval(context: &mut Context<'_>, instance: &CarpInstance, places: &CarpPlaces) {
    if instance.advbase != 0 || skews(instance).all(|skew| skew != 0) {
        return;
    }
    let message = format!(
        "({}) has advbase 0 and advskew 0: 256 advertisements a second, from every BSD's view a mistake",
        instance.router.name
    );
    context
        .diags
        .note("carp-interval", places.block, message)
        .hint("only OpenBSD takes it; write `advbase 1`");
}

/// What is demoted advertises with 240 at most: who is there already cannot be told from it.
fn ties(context: &mut Context<'_>, instance: &CarpInstance, places: &CarpPlaces) {
    let Some(skew) = skews(instance).filter(|skew| *skew >= 240).max() else { return };
    let message = format!(
        "({}) advskew {skew} is as slow as a demoted router gets: with another such both may yield",
        instance.router.name
    );
    context
        .diags
        .note("carp-advskew", places.advskew, message)
        .hint("stay below 240, and give each router its own");
}

/// The BSDs do not agree whether one is part of the digest.
fn link_local(context: &mut Context<'_>, instance: &CarpInstance, places: &CarpPlaces) {
    for (vip, place) in instance.router.vips.iter().zip(&places.vips) {
        if is_link_local(vip.address) {
            let message = format!(
                "({}) has the link-local address `{}`, which FreeBSD signs and OpenBSD does not",
                instance.router.name, vip.address
            );
            context
                .diags
                .note("carp-link-local", *place, message)
                .hint("leave it out, or put it into `virtual_ipaddress_excluded`");
        }
    }
}

/// Demotion is never below 0.
fn weights(context: &mut Context<'_>, instance: &CarpInstance, places: &CarpPlaces) {
    let router = &instance.router;
    let lists = [
        &router.track_interfaces,
        &router.track_scripts,
        &router.track_processes,
        &router.track_bfds,
    ];
    for Tracked { name, weight, reverse } in lists.into_iter().flatten() {
        let weight = if *reverse { -weight } else { *weight };
        if weight > 0 {
            let message =
                format!("({}) is not promoted by `{name}`: CARP can only demote", router.name);
            context
                .diags
                .note("weight-without-effect", places.block, message)
                .hint(format!("write `weight -{weight}` to demote it while `{name}` is down"));
        }
    }
}

/// Each family has a heartbeat of its own.
fn peerless_family(context: &mut Context<'_>, instance: &CarpInstance, places: &CarpPlaces) {
    let Peers::Unicast { peers, .. } = &instance.router.peers else { return };
    for (is_ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        let has_vip = instance.router.vips.iter().any(|vip| vip.address.is_ipv4() == is_ipv4);
        let has_peer = peers.iter().any(|peer| peer.address.is_ipv4() == is_ipv4);
        if has_vip && !has_peer {
            let message = format!(
                "({}) has {family} addresses and no {family} peer: the BSDs want a heartbeat in each family",
                instance.router.name
            );
            context
                .diags
                .note("carp-peer-family", places.block, message)
                .hint(format!("add a `peer` with its {family} address"));
        }
    }
}
