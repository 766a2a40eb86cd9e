//! Lines of `virtual_rules` and `static_rules`.

use super::Context;
use super::route::{PROTOCOLS, TABLES, c_number, family_of, numbered, prefix, realms};
use super::table::{Keyword, Table, Takes};
use crate::model::{Family, Prefix, Rule, RuleAction};
use crate::syntax::Line;

/// A rule as far as it is read.
#[derive(Default)]
pub(super) struct Draft {
    family: Option<Family>,
    from: Option<Prefix>,
    to: Option<Prefix>,
    action: RuleAction,
    invert: bool,
    preference: Option<u32>,
    tos: u8,
    fwmark: Option<(u32, u32)>,
    realms: Option<(u16, u16)>,
    suppress_prefix_length: Option<u32>,
    suppress_group: Option<u32>,
    input: Option<String>,
    output: Option<String>,
    tunnel_id: Option<u64>,
    users: Option<(u32, u32)>,
    l3mdev: bool,
    protocol: Option<u8>,
    ip_protocol: Option<u8>,
    source_ports: Option<(u16, u16)>,
    destination_ports: Option<(u16, u16)>,
    no_track: bool,
    track_group: Option<String>,
}

/// `/etc/protocols`, those a rule is about.
const IP_PROTOCOLS: [(&str, u32); 7] = [
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("ipv6-icmp", 58),
    ("vrrp", 112),
    ("sctp", 132),
];

const fn flag(name: &'static str, set: fn(&mut Draft)) -> Keyword<Draft> {
    Keyword::new(name, Takes::Flag(set))
}

const fn part(
    name: &'static str,
    read: fn(&mut Draft, &mut Context<'_>, &Line, usize) -> usize,
) -> Keyword<Draft> {
    Keyword::new(name, Takes::Part { words: 1, read })
}

const OPTIONS: &[Keyword<Draft>] = &[
    flag("inet", |r| r.family = Some(Family::Inet)),
    flag("inet6", |r| r.family = Some(Family::Inet6)),
    part("from", |r, context, line, at| {
        r.from = prefix(context, line, at + 1).flatten();
        1
    }),
    part("to", |r, context, line, at| {
        r.to = prefix(context, line, at + 1).flatten();
        1
    }),
    part("table", |r, context, line, at| {
        let table = numbered(context, line, at + 1, &TABLES, u32::MAX, "a table");
        match table {
            Some(0) => {
                context.diags.warn("rule-table", line.place_from(at), "a rule cannot use table 0");
            }
            Some(table) => r.action = RuleAction::Table(table),
            None => {}
        }
        1
    })
    .aliases(&["lookup"]),
    flag("not", |r| r.invert = true),
    part("preference", |r, context, line, at| {
        r.preference = numbered(context, line, at + 1, &[], u32::MAX, "a preference");
        1
    })
    .aliases(&["order", "priority"]),
    part("tos", |r, context, line, at| {
        r.tos = numbered(context, line, at + 1, &[], 255, "a type of service").unwrap_or(0) as u8;
        1
    })
    .aliases(&["dsfield"]),
    part("fwmark", fwmark),
    part("realms", |r, context, line, at| {
        r.realms = realms(context, line, at);
        1
    }),
    Keyword::new(
        "suppress_prefixlength",
        Takes::Integer {
            min: 0,
            max: i32::MAX as i64,
            set: |r: &mut Draft, n| r.suppress_prefix_length = Some(n as u32),
        },
    )
    .aliases(&["sup_pl"]),
    part("suppress_ifgroup", |r, context, line, at| {
        let names = [("default", 0)];
        r.suppress_group = numbered(context, line, at + 1, &names, u32::MAX, "a group");
        1
    })
    .aliases(&["sup_group"]),
    part("iif", |r, context, line, at| {
        r.input = context.interface(line, at + 1);
        1
    })
    .aliases(&["dev"]),
    part("oif", |r, context, line, at| {
        r.output = context.interface(line, at + 1);
        1
    }),
    Keyword::new(
        "tunnel-id",
        Takes::Integer { min: 0, max: i64::MAX, set: |r, n| r.tunnel_id = Some(n as u64) },
    ),
    part("uidrange", |r, context, line, at| {
        r.users = range(context, line, at, u32::MAX);
        1
    }),
    flag("l3mdev", |r| r.l3mdev = true),
    part("protocol", |r, context, line, at| {
        let number = numbered(context, line, at + 1, &PROTOCOLS, 255, "a protocol");
        r.protocol = number.map(|number| number as u8);
        1
    }),
    part("ipproto", |r, context, line, at| {
        let number = numbered(context, line, at + 1, &IP_PROTOCOLS, 255, "a protocol");
        r.ip_protocol = number.map(|number| number as u8);
        1
    }),
    part("sport", |r, context, line, at| {
        r.source_ports = ports(context, line, at);
        1
    }),
    part("dport", |r, context, line, at| {
        r.destination_ports = ports(context, line, at);
        1
    }),
    part("type", |r, context, line, at| {
        r.action = match line.str(at + 1) {
            "blackhole" => RuleAction::Blackhole,
            "prohibit" => RuleAction::Prohibit,
            "unreachable" => RuleAction::Unreachable,
            "nop" => RuleAction::Nop,
            "unicast" => r.action,
            other => {
                let message = format!("`{other}` is no action of a rule");
                context
                    .diags
                    .warn("rule-type", line.place_from(at), message)
                    .hint("use unicast, blackhole, prohibit, unreachable or nop");
                r.action
            }
        };
        1
    }),
    Keyword::new("goto", Takes::u32(0, |r, n| r.action = RuleAction::Goto(n as u32))),
    flag("nop", |r| r.action = RuleAction::Nop),
    flag("blackhole", |r| r.action = RuleAction::Blackhole),
    flag("prohibit", |r| r.action = RuleAction::Prohibit),
    flag("unreachable", |r| r.action = RuleAction::Unreachable),
    flag("no_track", |r| r.no_track = true),
];

pub(super) static VIRTUAL: Table<Draft> =
    Table { block: "virtual_rules", keywords: OPTIONS, also: &[] };

pub(super) static STATIC: Table<Draft> = Table {
    block: "static_rules",
    keywords: OPTIONS,
    also: &[&[Keyword::new(
        "track_group",
        Takes::Text(|r, text| r.track_group = Some(text.to_owned())),
    )]],
};

/// Reads a rule; `None` if it is none.
pub(super) fn read(context: &mut Context<'_>, line: &Line, is_static: bool) -> Option<Rule> {
    let mut draft = Draft::default();
    let table = if is_static { &STATIC } else { &VIRTUAL };
    if !context.options(table, &mut draft, line, 0) {
        return None;
    }
    let of_prefix = draft.from.or(draft.to).map(|prefix| family_of(prefix.address));
    let family = draft.family.or(of_prefix).unwrap_or(Family::Inet);
    let prefixes = [draft.from, draft.to];
    if prefixes.into_iter().flatten().any(|prefix| family_of(prefix.address) != family) {
        let message = "the addresses of this rule are of several families; it is ignored";
        context.diags.warn("rule-family", line.place(), message);
        return None;
    }
    if draft.action == RuleAction::None && !draft.l3mdev {
        let message = "this rule has no table and no action; it is ignored";
        context.diags.warn("rule-action", line.place(), message).hint("add `table N`");
        return None;
    }
    if draft.preference.is_none() {
        let message = "this rule has no preference; one from 16384 down is taken";
        context.diags.warn("rule-preference", line.place(), message).hint("add `preference N`");
    }
    Some(Rule {
        family,
        from: draft.from,
        to: draft.to,
        action: draft.action,
        invert: draft.invert,
        preference: draft.preference,
        tos: draft.tos,
        fwmark: draft.fwmark,
        realms: draft.realms,
        suppress_prefix_length: draft.suppress_prefix_length,
        suppress_group: draft.suppress_group,
        input: draft.input,
        output: draft.output,
        tunnel_id: draft.tunnel_id,
        users: draft.users,
        l3mdev: draft.l3mdev,
        protocol: draft.protocol,
        ip_protocol: draft.ip_protocol,
        source_ports: draft.source_ports,
        destination_ports: draft.destination_ports,
        no_track: draft.no_track,
        track_group: draft.track_group,
    })
}

/// `MARK[/MASK]`
fn fwmark(draft: &mut Draft, context: &mut Context<'_>, line: &Line, at: usize) -> usize {
    let text = line.str(at + 1);
    let (mark, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    match c_number(mark).zip(c_number(mask)) {
        Some(mark) => draft.fwmark = Some(mark),
        None => {
            let message = format!("`{text}` is not a mark and is ignored");
            context
                .diags
                .warn("fwmark", line.place_from(at), message)
                .hint("as in `7` or `7/0xff`");
        }
    }
    1
}

/// `FIRST-LAST`, or one number.
fn range(context: &mut Context<'_>, line: &Line, at: usize, max: u32) -> Option<(u32, u32)> {
    let text = line.str(at + 1);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|number| *number <= max);
    let range = number(first).zip(number(last)).filter(|(first, last)| first <= last);
    if range.is_none() {
        let message = format!("`{text}` is not a range and is ignored");
        context.diags.warn("range", line.place_from(at), message).hint("as in `1000-1999`");
    }
    range
}

fn ports(context: &mut Context<'_>, line: &Line, at: usize) -> Option<(u16, u16)> {
    let (first, last) = range(context, line, at, 65_535)?;
    Some((first as u16, last as u16))
}
