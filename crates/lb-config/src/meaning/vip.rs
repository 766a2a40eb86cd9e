//! Lines of `virtual_ipaddress`.

use std::net::{IpAddr, Ipv4Addr};

use super::Context;
use crate::diagnostic::Class;
use crate::model::VirtualAddress;
use crate::syntax::{Line, Word};

/// Options of an address that are read over; true: a word follows.
const LATER: [(&str, bool); 8] = [
    ("peer", true),
    ("home", false),
    ("-nodad", false),
    ("mngtmpaddr", false),
    ("noprefixroute", false),
    ("autojoin", false),
    ("preferred_lft", true),
    ("use_vmac", false),
];

/// `rtnetlink(7)`
const SCOPES: [(&str, u8); 6] =
    [("global", 0), ("universe", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

/// Reads an address and its options; `None` if it is no address.
pub(crate) fn read(context: &mut Context<'_>, line: &Line) -> Option<VirtualAddress> {
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
    let mut vip = VirtualAddress {
        address,
        prefix: length.map_or(full, |length| prefix(context, first, length, full)),
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        no_track: false,
    };
    let mut index = 1;
    while let Some(word) = line.word(index) {
        let takes = option(context, &mut vip, word, line, index + 1);
        if takes && line.word(index + 1).is_none() {
            context.missing_argument(line);
            return None;
        }
        index += 1 + usize::from(takes);
    }
    Some(vip)
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

/// Takes one option; whether the next word belongs to it.
fn option(
    context: &mut Context<'_>,
    vip: &mut VirtualAddress,
    word: Word<'_>,
    line: &Line,
    next: usize,
) -> bool {
    let v6 = vip.address.is_ipv6();
    let value = line.str(next);
    match word.text {
        "dev" => {
            if let Some(value) = line.word(next) {
                vip.interface = context.interface_name(value);
            }
            true
        }
        "scope" if v6 => {
            context.diags.warn("vip-scope", word.place, "an IPv6 address takes no scope");
            true
        }
        "scope" => {
            let named = SCOPES.iter().find(|(name, _)| *name == value).map(|(_, scope)| *scope);
            match named.or_else(|| value.parse().ok()) {
                Some(scope) => vip.scope = scope,
                None => {
                    context.diags.warn(
                        "vip-scope",
                        word.place,
                        format!("`{value}` is not a scope"),
                    );
                }
            }
            true
        }
        "label" if v6 => {
            context.diags.warn("vip-label", word.place, "an IPv6 address takes no label");
            true
        }
        "label" => {
            vip.label = Some(value.chars().take(15).collect());
            true
        }
        "brd" | "broadcast" => {
            match (vip.address, value) {
                (IpAddr::V4(address), "+") => {
                    vip.broadcast = Some(Ipv4Addr::from(u32::from(address) | host(vip.prefix)));
                }
                (IpAddr::V4(address), "-") => {
                    vip.broadcast = Some(Ipv4Addr::from(u32::from(address) & !host(vip.prefix)));
                }
                (IpAddr::V4(_), value) if value.parse::<Ipv4Addr>().is_ok() => {
                    vip.broadcast = value.parse().ok();
                }
                _ => {
                    context.diags.warn(
                        "vip-broadcast",
                        word.place,
                        "this broadcast address is ignored",
                    );
                }
            }
            true
        }
        "no_track" => {
            vip.no_track = true;
            false
        }
        other => match LATER.iter().find(|(name, _)| *name == other) {
            Some((name, value)) => {
                context
                    .diags
                    .note("not-supported-yet", word.place, format!("`{name}` is not supported yet"))
                    .hint("it has no effect");
                *value
            }
            None => {
                let message = format!("`{other}` is no option of an address and is ignored");
                let diagnostic = context.diags.warn("vip-option", word.place, message);
                if other.split('/').next().is_some_and(|text| text.parse::<IpAddr>().is_ok()) {
                    diagnostic.hint("each address needs a line of its own");
                }
                false
            }
        },
    }
}

/// The bits of an IPv4 address below a prefix.
fn host(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}
