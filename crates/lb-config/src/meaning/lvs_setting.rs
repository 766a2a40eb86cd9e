//! Settings of a `virtual_server` that have a form of their own.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Context;
use super::lvs::{Granularity, Server, Sorry, socket_address};
use super::lvs_method::method;
use crate::model::{Family, LvsScheduler, Protocol, VirtualServerKey};
use crate::syntax::Line;

const SCHEDULERS: [(&str, LvsScheduler); 14] = [
    ("rr", LvsScheduler::Rr),
    ("wrr", LvsScheduler::Wrr),
    ("lc", LvsScheduler::Lc),
    ("wlc", LvsScheduler::Wlc),
    ("lblc", LvsScheduler::Lblc),
    ("lblcr", LvsScheduler::Lblcr),
    ("dh", LvsScheduler::Dh),
    ("sh", LvsScheduler::Sh),
    ("mh", LvsScheduler::Mh),
    ("sed", LvsScheduler::Sed),
    ("nq", LvsScheduler::Nq),
    ("fo", LvsScheduler::Fo),
    ("ovf", LvsScheduler::Ovf),
    ("twos", LvsScheduler::Twos),
];

pub(super) fn scheduler(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let text = line.str(1);
    match SCHEDULERS.iter().find(|(name, _)| *name == text) {
        Some((_, scheduler)) => server.scheduler = Some(*scheduler),
        None => {
            let lower = text.to_ascii_lowercase();
            let names: Vec<&str> = SCHEDULERS.iter().map(|(name, _)| *name).collect();
            let hint = match names.iter().find(|name| **name == lower) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("use one of {}", names.join(" ")),
            };
            let message = format!("`{text}` is no scheduler and is ignored");
            context.diags.warn("scheduler", line.place_from(1), message).hint(hint);
        }
    }
}

/// `sh-port` and the like hold only after their scheduler has been named.
pub(super) fn scheduler_flag(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let (wanted, flag) = match line.str(0) {
        "sh-fallback" => (LvsScheduler::Sh, 0),
        "sh-port" => (LvsScheduler::Sh, 1),
        "mh-fallback" => (LvsScheduler::Mh, 0),
        _ => (LvsScheduler::Mh, 1),
    };
    if server.scheduler == Some(wanted) {
        server.flags[flag] = true;
        return;
    }
    let name = if wanted == LvsScheduler::Sh { "sh" } else { "mh" };
    let message = format!("`{}` belongs to scheduler {name} and is ignored", line.str(0));
    context
        .diags
        .warn("scheduler-flag", line.place(), message)
        .hint(format!("write `lb_algo {name}` before it"));
}

/// keepalived takes the word and does nothing with it.
pub(super) fn hashed(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    if server.scheduler != Some(LvsScheduler::Sh) {
        let message = "`hashed` belongs to scheduler sh and is ignored";
        context.diags.warn("scheduler-flag", line.place(), message);
    }
}

pub(super) fn protocol(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let names = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];
    let word = line.str(1);
    match names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, protocol)) => server.protocol = Some(protocol),
        None => {
            let message = format!("`{word}` is no protocol and is ignored");
            context
                .diags
                .warn("protocol", line.place_from(1), message)
                .hint("use TCP, UDP or SCTP");
        }
    }
}

/// keepalived's persistence when it is switched on without a time.
pub(crate) const PERSISTENCE: Duration = Duration::from_secs(360);

pub(super) fn persistence_timeout(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    if line.len() == 1 {
        server.persistence_timeout = Some(PERSISTENCE);
    } else if let Some(seconds) = context.integer_or(line, 1, 1, 31 * 86_400, "no persistence") {
        server.persistence_timeout = Some(Duration::from_secs(seconds as u64));
    }
}

pub(super) fn persistence_granularity(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let text = line.str(1);
    let place = line.place_from(1);
    let granularity = if text.contains('.') {
        let mask = text
            .parse::<Ipv4Addr>()
            .map(u32::from)
            .ok()
            .filter(|mask| mask.leading_ones() + mask.trailing_zeros() >= 32);
        mask.map(|mask| (Family::Inet, mask.leading_ones() as u8))
    } else {
        text.parse()
            .ok()
            .filter(|prefix| (1..=128).contains(prefix))
            .map(|prefix| (Family::Inet6, prefix))
    };
    match granularity {
        Some((family, prefix)) => {
            server.granularity = Some(Box::new(Granularity { family, prefix, place }));
        }
        None => {
            let message = format!("`{text}` is no granularity and is ignored");
            context
                .diags
                .warn("granularity", place, message)
                .hint("use a mask as 255.255.255.0, or 1 to 128 for IPv6");
        }
    }
}

pub(super) fn sorry_server(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    if let Some(address) = socket_address(context, line, 1) {
        let sorry = Sorry { address, method: None, inhibit: false, place: line.place() };
        server.sorry = Some(Box::new(sorry));
    }
}

pub(super) fn sorry_server_inhibit(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    match &mut server.sorry {
        Some(sorry) => sorry.inhibit = true,
        None => no_sorry_server(context, line),
    }
}

pub(super) fn sorry_server_method(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let method = method(context, line, None);
    match &mut server.sorry {
        Some(sorry) => sorry.method = method.or(sorry.method),
        None => no_sorry_server(context, line),
    }
}

fn no_sorry_server(context: &mut Context<'_>, line: &Line) {
    let message = format!("`{}` comes before any sorry_server and is ignored", line.str(0));
    context.diags.warn("sorry-server", line.place(), message).hint("move it below `sorry_server`");
}

pub(super) fn ip_family(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let of_key = match server.key {
        VirtualServerKey::Address(address) if address.is_ipv6() => Some(Family::Inet6),
        VirtualServerKey::Address(_) => Some(Family::Inet),
        _ => None,
    };
    let mut set = |family| {
        if of_key.is_some_and(|of_key| of_key != family) {
            let message = "this is another family than that of the address, and is ignored";
            context.diags.warn("ip-family", line.place(), message);
        } else {
            server.family = Some(family);
        }
    };
    match line.str(1) {
        "inet" => set(Family::Inet),
        "inet6" => set(Family::Inet6),
        other => {
            let message = format!("`{other}` is no address family and is ignored");
            context.diags.warn("ip-family", line.place_from(1), message).hint("use inet or inet6");
        }
    }
}
