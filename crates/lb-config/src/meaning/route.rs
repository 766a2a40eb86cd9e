//! Lines of `virtual_routes` and `static_routes`.

use std::net::IpAddr;

use super::Context;
use super::table::{Keyword, Table, Takes};
use super::vip::SCOPES;
use crate::diagnostic::Class;
use crate::model::{Encap, Family, Locked, NextHop, Prefix, Route, RouteMetrics, RoutePlacement};
use crate::syntax::{Line, Word};

/// A route as far as it is read.
#[derive(Default)]
pub(super) struct Draft {
    family: Option<Family>,
    destination: Option<Option<Prefix>>,
    kind: Option<u8>,
    source: Option<IpAddr>,
    from: Option<Prefix>,
    gateway: Option<IpAddr>,
    second_gateway: Option<IpAddr>,
    interface: Option<String>,
    vrf: Option<String>,
    table: Option<u32>,
    protocol: Option<u8>,
    scope: Option<u8>,
    metric: Option<u32>,
    tos: u8,
    onlink: bool,
    encap: Option<Encap>,
    expires: Option<u32>,
    metrics: RouteMetrics,
    realms: Option<(u16, u16)>,
    preference: Option<u8>,
    ttl_propagate: Option<bool>,
    placement: RoutePlacement,
    next_hops: Vec<NextHop>,
    no_track: bool,
    track_group: Option<String>,
}

/// `RTN_*`, rtnetlink(7).
const KINDS: [(&str, u32); 11] = [
    ("unicast", 1),
    ("local", 2),
    ("broadcast", 3),
    ("anycast", 4),
    ("multicast", 5),
    ("blackhole", 6),
    ("unreachable", 7),
    ("prohibit", 8),
    ("throw", 9),
    ("nat", 10),
    ("xresolve", 11),
];

/// The names every host has; others are in `rt_tables`.
pub(super) const TABLES: [(&str, u32); 4] =
    [("default", 253), ("main", 254), ("local", 255), ("unspec", 0)];

/// The names every host has; others are in `rt_protos`.
pub(super) const PROTOCOLS: [(&str, u32); 12] = [
    ("unspec", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("ra", 9),
    ("zebra", 11),
    ("bird", 12),
    ("dhcp", 16),
    ("keepalived", 18),
    ("bgp", 186),
    ("ospf", 188),
];

const PREFERENCES: [(&str, u32); 3] = [("medium", 0), ("high", 1), ("low", 3)];

type Option_ = Keyword<Draft>;

const fn flag(name: &'static str, set: fn(&mut Draft)) -> Option_ {
    Keyword::new(name, Takes::Flag(set))
}

const fn part(
    name: &'static str,
    read: fn(&mut Draft, &mut Context<'_>, &Line, usize) -> usize,
) -> Option_ {
    Keyword::new(name, Takes::Part { words: 1, read })
}

const fn number(name: &'static str, set: fn(&mut Draft, i64)) -> Option_ {
    Keyword::new(name, Takes::u32(0, set))
}

const OPTIONS: &[Option_] = &[
    flag("inet", |r| r.family = Some(Family::Inet)),
    flag("inet6", |r| r.family = Some(Family::Inet6)),
    part("to", |r, context, line, at| {
        let kind = usize::from(is_kind(line.str(at + 1)) && at + 2 < line.len());
        if kind == 1 {
            r.kind = numbered(context, line, at + 1, &KINDS, 255, "a type").map(|kind| kind as u8);
        }
        r.destination = prefix(context, line, at + 1 + kind);
        1 + kind
    }),
    part("via", |r, context, line, at| gateway(&mut r.gateway, context, line, at))
        .deprecated(&["gw"]),
    part("or", |r, context, line, at| {
        context
            .diags
            .warn("deprecated", line.place_from(at), "`or` is the old form of a second gateway")
            .class(Class::Deprecated)
            .hint("write `nexthop via ... nexthop via ...`");
        gateway(&mut r.second_gateway, context, line, at)
    }),
    part("src", |r, context, line, at| {
        r.source = context.address(line, at + 1);
        1
    }),
    part("as", |_, context, line, at| as_address(context, line, at)),
    part("from", |r, context, line, at| {
        r.from = prefix(context, line, at + 1).flatten();
        1
    }),
    part("tos", |r, context, line, at| {
        r.tos = numbered(context, line, at + 1, &[], 255, "a type of service").unwrap_or(0) as u8;
        1
    })
    .aliases(&["dsfield"]),
    part("table", |r, context, line, at| {
        r.table = numbered(context, line, at + 1, &TABLES, u32::MAX, "a table");
        1
    }),
    part("protocol", |r, context, line, at| {
        let number = numbered(context, line, at + 1, &PROTOCOLS, 255, "a protocol");
        r.protocol = number.map(|number| number as u8);
        1
    }),
    part("scope", |r, context, line, at| {
        let number = numbered(context, line, at + 1, &SCOPES, 255, "a scope");
        r.scope = number.map(|number| number as u8);
        1
    }),
    number("metric", |r, n| r.metric = Some(n as u32)).aliases(&["priority", "preference"]),
    part("dev", |r, context, line, at| {
        r.interface = context.interface(line, at + 1);
        1
    })
    .aliases(&["oif"]),
    part("vrf", |r, context, line, at| {
        r.vrf = context.interface(line, at + 1);
        1
    }),
    flag("onlink", |r| r.onlink = true),
    part("encap", |r, context, line, at| encap(&mut r.encap, context, line, at)),
    number("expires", |r, n| r.expires = Some(n as u32)),
    part("mtu", |r, context, line, at| locked(&mut r.metrics.mtu, context, line, at, 1)),
    Keyword::new(
        "hoplimit",
        Takes::Integer { min: 0, max: 255, set: |r, n| r.metrics.hop_limit = Some(n as u8) },
    ),
    part("advmss", |r, context, line, at| locked(&mut r.metrics.advmss, context, line, at, 1)),
    part("rtt", |r, context, line, at| locked(&mut r.metrics.rtt, context, line, at, 8)),
    part("rttvar", |r, context, line, at| locked(&mut r.metrics.rttvar, context, line, at, 4)),
    part("reordering", |r, context, line, at| {
        locked(&mut r.metrics.reordering, context, line, at, 1)
    }),
    number("window", |r, n| r.metrics.window = Some(n as u32)),
    part("cwnd", |r, context, line, at| locked(&mut r.metrics.cwnd, context, line, at, 1)),
    part("ssthresh", |r, context, line, at| locked(&mut r.metrics.ssthresh, context, line, at, 1)),
    part("realms", |r, context, line, at| {
        r.realms = realms(context, line, at);
        1
    }),
    part("rto_min", |r, context, line, at| locked(&mut r.metrics.rto_min, context, line, at, 1)),
    number("initcwnd", |r, n| r.metrics.initcwnd = Some(n as u32)),
    number("initrwnd", |r, n| r.metrics.initrwnd = Some(n as u32)),
    part("features", |r, context, line, at| {
        r.metrics.ecn |= line.str(at + 1) == "ecn";
        if line.str(at + 1) != "ecn" {
            let message = format!("`{}` is no feature of a route", line.str(at + 1));
            context.diags.warn("route-option", line.place_from(at), message).hint("use ecn");
        }
        1
    }),
    part("quickack", |r, context, line, at| one(&mut r.metrics.quickack, context, line, at)),
    part("congctl", |r, _, line, at| {
        let lock = usize::from(line.str(at + 1) == "lock" && at + 2 < line.len());
        let value = line.str(at + 1 + lock).to_owned();
        r.metrics.congestion_control = Some(Locked { value, locked: lock == 1 });
        1 + lock
    }),
    part("pref", |r, context, line, at| {
        let number = numbered(context, line, at + 1, &PREFERENCES, 255, "a preference");
        r.preference = number.map(|number| number as u8);
        1
    }),
    part("ttl-propagate", |r, context, line, at| {
        r.ttl_propagate = match line.str(at + 1) {
            "enabled" => Some(true),
            "disabled" => Some(false),
            other => {
                let message = format!("`{other}` is neither enabled nor disabled");
                context.diags.warn("route-option", line.place_from(at), message);
                None
            }
        };
        1
    }),
    part("fastopen_no_cookie", |r, context, line, at| {
        one(&mut r.metrics.fastopen_no_cookie, context, line, at)
    }),
    flag("add", |r| r.placement = RoutePlacement::Add),
    flag("prepend", |r| r.placement = RoutePlacement::Prepend),
    flag("append", |r| r.placement = RoutePlacement::Append),
    Keyword::new("nexthop", Takes::Part { words: 0, read: next_hops }),
    flag("no_track", |r| r.no_track = true),
];

pub(super) static VIRTUAL: Table<Draft> =
    Table { block: "virtual_routes", keywords: OPTIONS, also: &[] };

pub(super) static STATIC: Table<Draft> = Table {
    block: "static_routes",
    keywords: OPTIONS,
    also: &[&[Keyword::new(
        "track_group",
        Takes::Text(|r, text| r.track_group = Some(text.to_owned())),
    )]],
};

pub(super) static NEXT_HOP: Table<NextHop> = Table {
    block: "nexthop",
    keywords: &[
        Keyword::new(
            "via",
            Takes::Part {
                words: 1,
                read: |hop: &mut NextHop, context, line, at| {
                    gateway(&mut hop.gateway, context, line, at)
                },
            },
        ),
        Keyword::new(
            "dev",
            Takes::Part {
                words: 1,
                read: |hop, context, line, at| {
                    hop.interface = context.interface(line, at + 1);
                    1
                },
            },
        ),
        Keyword::or(
            "weight",
            "1",
            Takes::Integer { min: 1, max: 256, set: |hop, n| hop.weight = n as u16 },
        ),
        Keyword::new("onlink", Takes::Flag(|hop| hop.onlink = true)),
        Keyword::new(
            "encap",
            Takes::Part {
                words: 1,
                read: |hop, context, line, at| encap(&mut hop.encap, context, line, at),
            },
        ),
        Keyword::new(
            "realms",
            Takes::Part {
                words: 1,
                read: |hop, context, line, at| {
                    hop.realms = realms(context, line, at);
                    1
                },
            },
        ),
        Keyword::new(
            "as",
            Takes::Part { words: 1, read: |_, context, line, at| as_address(context, line, at) },
        ),
    ],
    also: &[],
};

/// A tunnel as far as it is read.
#[derive(Default)]
pub(super) struct Outer {
    id: u64,
    destination: Option<IpAddr>,
    source: Option<IpAddr>,
    tos: u8,
    ttl: u8,
    flags: u16,
}

pub(super) static ENCAP_IP: Table<Outer> = Table {
    block: "encap",
    keywords: &[
        Keyword::new(
            "id",
            Takes::Integer { min: 0, max: i64::MAX, set: |o: &mut Outer, n| o.id = n as u64 },
        ),
        Keyword::new("dst", Takes::Address(|o, address| o.destination = Some(address))),
        Keyword::new("src", Takes::Address(|o, address| o.source = Some(address))),
        Keyword::new(
            "tos",
            Takes::Part {
                words: 1,
                read: |o: &mut Outer, context, line, at| {
                    let tos = numbered(context, line, at + 1, &[], 255, "a type of service");
                    o.tos = tos.unwrap_or(0) as u8;
                    1
                },
            },
        )
        .aliases(&["tc"]),
        Keyword::new(
            "ttl",
            Takes::Integer { min: 0, max: 255, set: |o: &mut Outer, n| o.ttl = n as u8 },
        )
        .aliases(&["hoplimit"]),
        Keyword::new(
            "flags",
            Takes::Integer { min: 0, max: 65_535, set: |o, n| o.flags = n as u16 },
        ),
    ],
    also: &[],
};

/// Reads a route; `None` if it is none.
pub(super) fn read(context: &mut Context<'_>, line: &Line, is_static: bool) -> Option<Route> {
    let mut draft = Draft::default();
    let table = if is_static { &STATIC } else { &VIRTUAL };
    let mut index = 0;
    // `[inet|inet6] [TYPE] DESTINATION` comes first; `to` may stand before it.
    while let Some(word) = line.word(index) {
        match word.text {
            "inet" | "inet6" => {
                let v6 = word.text == "inet6";
                draft.family = Some(if v6 { Family::Inet6 } else { Family::Inet });
            }
            kind if is_kind(kind) => {
                draft.kind =
                    numbered(context, line, index, &KINDS, 255, "a type").map(|kind| kind as u8);
            }
            _ => break,
        }
        index += 1;
    }
    let first = line.str(index);
    if first == "default6" {
        context
            .diags
            .note("deprecated", line.place_from(index), "`default6` is an old name")
            .hint("write `inet6 default`");
        draft.family = Some(Family::Inet6);
        draft.destination = Some(None);
        index += 1;
    } else if !is_option(table, first) {
        draft.destination = Some(prefix(context, line, index)?);
        index += 1;
    }
    while let Some(word) = line.word(index) {
        // keepalived takes a network anywhere in the line for the destination; the last one counts.
        if !is_option(table, word.text)
            && let Some(destination) = destination(word.text)
        {
            let message = format!("`{}` is taken for the destination of this route", word.text);
            let diagnostic = context.diags.note("route-late-destination", word.place, message);
            diagnostic.hint("write one destination, before the options");
            draft.destination = Some(destination);
            index += 1;
            continue;
        }
        if draft.kind.is_none() && is_kind(word.text) {
            draft.kind =
                numbered(context, line, index, &KINDS, 255, "a type").map(|kind| kind as u8);
            index += 1;
            continue;
        }
        let taken = context.option(table, &mut draft, line, index);
        if context.reader.is_stopped() {
            return None;
        }
        if taken.is_none() {
            context.unknown_option(table, word);
        }
        index += 1 + taken.unwrap_or(0);
    }
    finish(context, draft, line)
}

fn is_option(table: &Table<Draft>, word: &str) -> bool {
    table.all().any(|option| option.name == word || option.aliases.contains(&word))
}

fn is_kind(text: &str) -> bool {
    KINDS.iter().any(|(name, _)| *name == text)
}

fn finish(context: &mut Context<'_>, draft: Draft, line: &Line) -> Option<Route> {
    let Some(destination) = draft.destination else {
        let message = "this route has no destination and is ignored";
        context.diags.warn("route-destination", line.place(), message);
        return None;
    };
    let addresses = [destination.map(|to| to.address), draft.gateway, draft.source];
    let of_addresses = addresses.into_iter().flatten().next().map(family_of);
    let family = draft.family.or(of_addresses).unwrap_or(Family::Inet);
    if addresses.into_iter().flatten().any(|address| family_of(address) != family) {
        let message = "the addresses of this route are of several families; it is ignored";
        context.diags.warn("route-family", line.place(), message);
        return None;
    }
    let is_somewhere = draft.interface.is_some();
    let no_track = draft.no_track || !is_somewhere;
    if !is_somewhere && !draft.no_track {
        let message = "this route names no interface and cannot be tracked";
        context
            .diags
            .warn("route-track", line.place(), message)
            .hint("add `dev IF`, or `no_track`");
    }
    let mut next_hops = draft.next_hops;
    let mut gateway = draft.gateway;
    if let Some(second) = draft.second_gateway {
        let hop = |gateway| NextHop {
            gateway,
            interface: draft.interface.clone(),
            weight: 1,
            ..NextHop::default()
        };
        next_hops = vec![hop(gateway.take()), hop(Some(second))];
    }
    Some(Route {
        family,
        destination,
        kind: draft.kind.unwrap_or(1),
        source: draft.source,
        from: draft.from,
        gateway,
        interface: draft.interface,
        vrf: draft.vrf,
        table: draft.table,
        protocol: draft.protocol,
        scope: draft.scope,
        metric: draft.metric,
        tos: draft.tos,
        onlink: draft.onlink,
        encap: draft.encap,
        expires: draft.expires,
        metrics: draft.metrics,
        realms: draft.realms,
        preference: draft.preference,
        ttl_propagate: draft.ttl_propagate,
        placement: draft.placement,
        next_hops,
        no_track,
        track_group: draft.track_group,
    })
}

pub(super) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv6() { Family::Inet6 } else { Family::Inet }
}

/// A prefix, or `default`, `any` or `all`; a complaint and the outer `None` if it is neither.
pub(super) fn prefix(
    context: &mut Context<'_>,
    line: &Line,
    index: usize,
) -> Option<Option<Prefix>> {
    let word = line.word(index)?;
    let parsed = destination(word.text);
    if parsed.is_none() {
        let message = format!("`{}` is no address or network; the line is ignored", word.text);
        context.diags.warn("prefix", word.place, message).hint("as in `192.0.2.0/24` or `default`");
    }
    parsed
}

/// An address or a network; `Some(None)` for every address.
fn destination(text: &str) -> Option<Option<Prefix>> {
    if matches!(text, "default" | "any" | "all") {
        return Some(None);
    }
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address = address.parse::<IpAddr>().ok()?;
    let full = if address.is_ipv4() { 32 } else { 128 };
    let length = if length.is_empty() { full } else { length.parse().ok()? };
    (length <= full).then_some(Some(Prefix { address, length }))
}

/// A name that stands for a number, or a number in the notation of C.
pub(super) fn numbered(
    context: &mut Context<'_>,
    line: &Line,
    index: usize,
    names: &[(&str, u32)],
    max: u32,
    what: &str,
) -> Option<u32> {
    let word = line.word(index)?;
    let named = names.iter().find(|(name, _)| *name == word.text).map(|(_, number)| *number);
    let number = named.or_else(|| c_number(word.text)).filter(|number| *number <= max);
    if number.is_none() {
        let message = format!("`{}` is not {what} and is ignored", word.text);
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let diagnostic = context.diags.warn("number", word.place, message);
        if known.is_empty() {
            diagnostic.hint(format!("use a number up to {max}"));
        } else {
            diagnostic.hint(format!("use a number up to {max}, or one of {}", known.join(" ")));
        }
    }
    number
}

/// Decimal, octal after `0`, hexadecimal after `0x`.
pub(super) fn c_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// `[inet|inet6] ADDRESS`
fn gateway(
    gateway: &mut Option<IpAddr>,
    context: &mut Context<'_>,
    line: &Line,
    at: usize,
) -> usize {
    let family = usize::from(matches!(line.str(at + 1), "inet" | "inet6"));
    if let Some(address) = context.address(line, at + 1 + family) {
        *gateway = Some(address);
    }
    1 + family
}

/// `as [to] ADDRESS` names an MPLS label stack; no kernel interface takes it.
fn as_address(context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    context.diags.warn(
        "route-as",
        line.place_from(at),
        "`as` means something for MPLS only, and is ignored",
    );
    1 + usize::from(line.str(at + 1) == "to")
}

/// `[lock] N`, N perhaps with `s` or `ms`; a bare number counts `parts` of a millisecond.
fn locked(
    metric: &mut Option<Locked<u32>>,
    context: &mut Context<'_>,
    line: &Line,
    at: usize,
    parts: u32,
) -> usize {
    let lock = usize::from(line.str(at + 1) == "lock" && at + 2 < line.len());
    let Some(word) = line.word(at + 1 + lock) else { return lock };
    match time_or_number(word, parts) {
        Some(value) => *metric = Some(Locked { value, locked: lock == 1 }),
        None => {
            let message = format!("`{}` is not a number", word.text);
            context.diags.warn("number", word.place, message).class(Class::InvalidNumber);
        }
    }
    1 + lock
}

fn time_or_number(word: Word<'_>, parts: u32) -> Option<u32> {
    let scaled = |text: &str, factor: f64| {
        let number: f64 = text.parse().ok()?;
        let value = (number * factor * f64::from(parts)).ceil();
        (0.0..=f64::from(u32::MAX)).contains(&value).then_some(value as u32)
    };
    match word.text {
        text if text.ends_with("ms") => scaled(text.strip_suffix("ms")?, 1.0),
        text if text.ends_with('s') => scaled(text.strip_suffix('s')?, 1_000.0),
        text => text.parse().ok(),
    }
}

/// `0` or `1`
fn one(flag: &mut Option<bool>, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    if let Some(value) = context.integer_or(line, at + 1, 0, 1, "") {
        *flag = Some(value == 1);
    }
    1
}

/// `[FROM/]TO`
pub(super) fn realms(context: &mut Context<'_>, line: &Line, at: usize) -> Option<(u16, u16)> {
    let word = line.word(at + 1)?;
    let (from, to) = word.text.split_once('/').unwrap_or(("0", word.text));
    let realms = from.parse().ok().zip(to.parse().ok());
    if realms.is_none() {
        let message = format!("`{}` is not a realm and is ignored", word.text);
        context.diags.warn("realms", word.place, message).hint("as in `7` or `3/7`");
    }
    realms
}

fn next_hops(draft: &mut Draft, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    let mut index = at;
    while index < line.len() {
        // Each takes the words up to the next `nexthop`.
        let mut hop = NextHop { weight: 1, ..NextHop::default() };
        index += 1;
        while let Some(word) = line.word(index).filter(|word| word.text != "nexthop") {
            match context.option(&NEXT_HOP, &mut hop, line, index) {
                Some(taken) => index += 1 + taken,
                None => {
                    // Options of the route itself come before.
                    let message = format!("`{}` is no option of a nexthop", word.text);
                    context.diags.warn("unknown-option", word.place, message);
                    index += 1;
                }
            }
        }
        draft.next_hops.push(hop);
    }
    line.len() - at - 1
}

fn encap(to: &mut Option<Encap>, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    let mut used = 1;
    *to = match line.str(at + 1) {
        kind @ ("ip" | "ip6") => {
            let mut outer = Outer::default();
            while let Some(taken) = context.option(&ENCAP_IP, &mut outer, line, at + 1 + used) {
                used += 1 + taken;
            }
            let Outer { id, destination, source, tos, ttl, flags } = outer;
            if id == 0 && destination.is_none() {
                let message = "this encapsulation has neither an address nor an id";
                context.diags.warn("encap", line.place_from(at), message).hint("add `dst` or `id`");
            }
            let family = if kind == "ip" { Family::Inet } else { Family::Inet6 };
            Some(Encap::Ip { family, id, destination, source, tos, ttl, flags })
        }
        "mpls" => {
            used += 1;
            let labels = line.str(at + 2).split('/').map(|label| label.parse().ok());
            let labels: Option<Vec<u32>> = labels.collect();
            labels.map(Encap::Mpls)
        }
        "ila" => {
            used += 1;
            ila(line.str(at + 2)).map(Encap::Ila)
        }
        _ => None,
    };
    if to.is_none() {
        let message = "this encapsulation is not known and is ignored";
        context
            .diags
            .warn("encap", line.place_from(at), message)
            .hint("use ip, ip6, mpls LABEL[/LABEL] or ila LOCATOR");
    }
    used.min(line.len() - at - 1)
}

/// Four groups of hexadecimal digits, or one number.
fn ila(text: &str) -> Option<u64> {
    let groups: Vec<&str> = text.split(':').collect();
    match groups.as_slice() {
        [number] => u64::from_str_radix(number.trim_start_matches("0x"), 16).ok(),
        groups if groups.len() == 4 => groups.iter().try_fold(0_u64, |all, group| {
            Some(all << 16 | u64::from(u16::from_str_radix(group, 16).ok()?))
        }),
        _ => None,
    }
}
