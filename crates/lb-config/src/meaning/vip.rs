//! Lines of `virtual_ipaddress` and `static_ipaddress`.

use std::net::{IpAddr, Ipv4Addr};

use super::Context;
use super::route::numbered;
use super::table::{Keyword, Table, Takes};
use crate::diagnostic::Class;
use crate::model::{AddressFlags, Lifetime, StaticAddress, VirtualAddress};
use crate::syntax::{Line, Word};

/// `rtnetlink(7)`
pub(super) const SCOPES: [(&str, u32); 6] =
    [("global", 0), ("universe", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

pub(super) static VIRTUAL: Table<StaticAddress> =
    Table { block: "virtual_ipaddress", keywords: OPTIONS, also: &[] };

pub(super) static STATIC: Table<StaticAddress> = Table {
    block: "static_ipaddress",
    keywords: OPTIONS,
    also: &[&[Keyword::idle(
        "track_group",
        Takes::Text(|a, text| a.track_group = Some(text.to_owned())),
    )]],
};

const fn flag(name: &'static str, set: fn(&mut StaticAddress)) -> Keyword<StaticAddress> {
    Keyword::new(name, Takes::Flag(set))
}

/// Longest label of an address, bytes. `IFNAMSIZ`, if.h.
const LONGEST_LABEL: usize = 15;

const OPTIONS: &[Keyword<StaticAddress>] = &[
    Keyword::new("dev", Takes::Part { words: 1, read: interface }),
    Keyword::or("scope", "global", Takes::Part { words: 1, read: scope }),
    Keyword::new("label", Takes::Part { words: 1, read: label }),
    Keyword::new("broadcast", Takes::Part { words: 1, read: broadcast }).aliases(&["brd"]),
    Keyword::new("no_track", Takes::Flag(|a| a.address.no_track = true)),
    Keyword::new("peer", Takes::Part { words: 1, read: peer }),
    Keyword::new("preferred_lft", Takes::Part { words: 1, read: lifetime }),
    flag("home", |a| a.address.flags.home = true),
    flag("-nodad", |a| a.address.flags.detect_duplicates = true),
    flag("mngtmpaddr", |a| a.address.flags.manage_temporary = true),
    flag("noprefixroute", |a| a.address.flags.no_prefix_route = true),
    flag("autojoin", |a| a.address.flags.autojoin = true),
    Keyword::new("use_vmac", Takes::Flag(|a| a.address.flags.vmac = true)),
];

/// Reads an address and its options; `None` if it is no address.
pub(crate) fn read(context: &mut Context<'_>, line: &Line) -> Option<VirtualAddress> {
    Some(read_with(context, line, &VIRTUAL)?.address)
}

/// Reads a static address.
pub(crate) fn read_static(context: &mut Context<'_>, line: &Line) -> Option<StaticAddress> {
    read_with(context, line, &STATIC)
}

fn read_with(
    context: &mut Context<'_>,
    line: &Line,
    table: &Table<StaticAddress>,
) -> Option<StaticAddress> {
    let first = line.word(0)?;
    let (text, length) = match first.text.split_once('/') {
        Some((text, length)) => (text, Some(length)),
        None => (first.text, None),
    };
    let Ok(address) = text.parse::<IpAddr>() else {
        let message = format!("`{}` is not an address and is skipped", first.text);
        context.diags.warn("vip", first.place, message);
        return None;
    };
    let full = if address.is_ipv4() { 32 } else { 128 };
    let mut entry = StaticAddress {
        address: VirtualAddress {
            address,
            prefix: length.map_or(full, |length| prefix(context, first, length, full)),
            interface: None,
            broadcast: None,
            scope: 0,
            label: None,
            no_track: false,
            flags: AddressFlags::default(),
        },
        track_group: None,
    };
    if !context.options(table, &mut entry, line, 1) {
        return None;
    }
    if entry.address.label.as_ref().is_some_and(|label| label.len() > LONGEST_LABEL) {
        return None;
    }
    let vip = &mut entry.address;
    if vip.flags.peer.is_some() {
        let mut ignored = |what: &str| {
            let message = format!("{what} has no meaning beside a peer and is ignored");
            context.diags.warn("vip-peer", line.place(), message);
        };
        if length.is_some() {
            ignored("the prefix length");
        }
        vip.prefix = full;
        if vip.broadcast.take().is_some() {
            ignored("the broadcast address");
        }
    }
    Some(entry)
}

fn prefix(context: &mut Context<'_>, word: Word<'_>, length: &str, full: u8) -> u8 {
    match length.parse() {
        Ok(length) if length <= full => length,
        _ => {
            let message = format!("`{length}` is not a prefix length; {full} is used");
            context
                .diags
                .warn("vip-prefix", word.place, message)
                .class(Class::InvalidNumber)
                .hint(format!("use 0 to {full}"));
            full
        }
    }
}

fn interface(
    entry: &mut StaticAddress,
    context: &mut Context<'_>,
    line: &Line,
    at: usize,
) -> usize {
    entry.address.interface = context.interface(line, at + 1);
    1
}

fn scope(entry: &mut StaticAddress, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    if entry.address.address.is_ipv6() {
        let place = line.place_from(at);
        context.diags.warn("vip-scope", place, "an IPv6 address takes no scope");
    } else if let Some(scope) = numbered(context, line, at + 1, &SCOPES, 255, "a scope") {
        entry.address.scope = scope as u8;
    }
    1
}

fn label(entry: &mut StaticAddress, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    if entry.address.address.is_ipv6() {
        let place = line.place_from(at);
        context.diags.warn("vip-label", place, "an IPv6 address takes no label");
    } else {
        let label = line.str(at + 1);
        if label.len() > LONGEST_LABEL {
            let message = format!("`{label}` is longer than the {LONGEST_LABEL} bytes of a label");
            let diagnostic = context.diags.warn("vip-label-length", line.place_of(at + 1), message);
            diagnostic.hint("the address is left out; shorten its label");
        }
        entry.address.label = Some(label.to_owned());
    }
    1
}

fn broadcast(
    entry: &mut StaticAddress,
    context: &mut Context<'_>,
    line: &Line,
    at: usize,
) -> usize {
    let vip = &mut entry.address;
    let value = line.str(at + 1);
    vip.broadcast = match (vip.address, value) {
        (IpAddr::V4(address), "+") => Some((u32::from(address) | host(vip.prefix)).into()),
        (IpAddr::V4(address), "-") => Some((u32::from(address) & !host(vip.prefix)).into()),
        (IpAddr::V4(_), value) if value.parse::<Ipv4Addr>().is_ok() => value.parse().ok(),
        _ => {
            let place = line.place_from(at);
            context.diags.warn("vip-broadcast", place, "this broadcast address is ignored");
            vip.broadcast
        }
    };
    1
}

/// The bits of an IPv4 address below a prefix.
fn host(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

fn peer(entry: &mut StaticAddress, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    let vip = &mut entry.address;
    // A prefix length of the peer is refused, as by keepalived.
    let Some(peer) = context.address(line, at + 1) else { return 1 };
    if peer.is_ipv4() == vip.address.is_ipv4() {
        vip.flags.peer = Some(peer);
    } else {
        let message = format!("the peer `{peer}` is of another family and is ignored");
        context.diags.warn("vip-peer", line.place_from(at), message);
    }
    1
}

fn lifetime(entry: &mut StaticAddress, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    entry.address.flags.preferred = if line.str(at + 1) == "forever" {
        Some(Lifetime::Forever)
    } else {
        context
            .integer_or(line, at + 1, 0, u32::MAX.into(), "forever")
            .map(|seconds| Lifetime::Seconds(seconds as u32))
    };
    1
}
