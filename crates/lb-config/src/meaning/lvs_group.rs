//! `virtual_server_group`.

use std::net::{IpAddr, SocketAddr};

use super::lvs::mark;
use super::{Context, Draft};
use crate::model::{Family, GroupEntry, VirtualServerGroup};
use crate::syntax::Line;

/// Addresses of one group's ranges, at most.
const MOST_ADDRESSES: usize = 1 << 20;

/// Reads a `virtual_server_group`.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let mut group = VirtualServerGroup { name: line.str(1).to_owned(), entries: Vec::new() };
    context.list(line, 1, |context, line| group_entry(&mut group, context, line));
    if group.entries.is_empty() {
        let message = format!("group `{}` has no entries and is removed", group.name);
        context.diags.warn("group-empty", line.place(), message);
        return;
    }
    if !draft.server_group_names.insert(group.name.clone()) {
        let message = format!("group `{}` is defined before; the first counts", group.name);
        context.diags.note("duplicate-group", line.place(), message);
        return;
    }
    draft.server_groups.push(group);
}

fn group_entry(group: &mut VirtualServerGroup, context: &mut Context<'_>, line: &Line) {
    if line.str(0) == "fwmark" {
        if line.len() < 2 {
            context.missing_argument(line);
            return;
        }
        let family = match line.str(2) {
            "inet" => Some(Family::Inet),
            "inet6" => Some(Family::Inet6),
            _ => None,
        };
        if let Some(mark) = mark(context, line, 1) {
            group.entries.push(GroupEntry::Fwmark { mark, family });
        }
        return;
    }
    let port = match line.word(1) {
        None => Some(0),
        Some(_) => context.integer_or(line, 1, 0, 65_535, "").map(|port| port as u16),
    };
    let (Some(port), Some(range)) = (port, address_range(line.str(0))) else {
        let message = format!("`{}` is no address, range or network and is ignored", line.str(0));
        context
            .diags
            .warn("group-entry", line.place(), message)
            .hint("as in `192.0.2.1 80`, `192.0.2.1-9 80`, `192.0.2.0/28 80` or `fwmark 7`");
        return;
    };
    let (first, last) = range;
    let count = last.1 - first.1;
    if count >= (MOST_ADDRESSES - group.entries.len().min(MOST_ADDRESSES)) as u128 {
        let message = format!("group `{}` has more than {MOST_ADDRESSES} addresses", group.name);
        context.diags.error("range-too-large", line.place(), message);
        return;
    }
    for number in first.1..=last.1 {
        let address = if first.0 {
            IpAddr::from((number as u32).to_be_bytes())
        } else {
            IpAddr::from(number.to_be_bytes())
        };
        group.entries.push(GroupEntry::Address(SocketAddr::new(address, port)));
    }
}

/// Whether it is IPv4, and the address as a number.
type Number = (bool, u128);

fn number(address: IpAddr) -> Number {
    match address {
        IpAddr::V4(address) => (true, u32::from(address).into()),
        IpAddr::V6(address) => (false, address.into()),
    }
}

/// `A`, `A-B` with B an address or the last part of one, or `A/LENGTH` with host bits zero: first and last.
fn address_range(text: &str) -> Option<(Number, Number)> {
    if let Some((address, length)) = text.split_once('/') {
        let first = number(address.parse().ok()?);
        let bits = if first.0 { 32 } else { 128 };
        let length: u32 = length.parse().ok().filter(|length| *length <= bits)?;
        let host = u128::MAX.checked_shr(128 - (bits - length)).unwrap_or(0);
        return (first.1 & host == 0).then_some((first, (first.0, first.1 | host)));
    }
    let Some((address, end)) = text.split_once('-') else {
        let address = number(text.parse().ok()?);
        return Some((address, address));
    };
    let first = number(address.parse().ok()?);
    let last = match end.parse::<IpAddr>() {
        Ok(last) => number(last),
        Err(_) if first.0 => (true, (first.1 & !0xff) | u128::from(end.parse::<u8>().ok()?)),
        Err(_) => (false, (first.1 & !0xffff) | u128::from(u16::from_str_radix(end, 16).ok()?)),
    };
    (first.0 == last.0 && first.1 <= last.1).then_some((first, last))
}
