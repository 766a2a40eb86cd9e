//! Words of `ifconfig(8)`, as both BSDs have them.

use std::net::{IpAddr, Ipv4Addr};

use super::Import;
use super::output::{Instance, Vip};
use super::words::{Args, Word};

/// Words with a value that say nothing to CARP.
const WITH_VALUE: [&str; 12] = [
    "mtu", "metric", "priority", "rdomain", "rtable", "fib", "media", "mediaopt", "txpower",
    "vlan", "vlandev", "parent",
];

/// Words that hold of themselves here.
const NATURAL: [&str; 7] = ["inet", "inet6", "alias", "add", "up", "create", "auto_linklocal"];

/// Reads words into an instance; `positional` if mask and broadcast address follow an address without a
/// keyword, as in `hostname.if(5)`.
pub(super) fn read(
    import: &mut Import<'_>,
    instance: &mut Instance,
    words: &[Word],
    positional: bool,
) {
    let mut args = Args::new(words);
    while let Some(word) = args.next() {
        let text = word.text.as_str();
        match text {
            _ if NATURAL.contains(&text) => {}
            "vhid" => number(import, instance, "vhid", word, args.next(), 1..=255),
            "advbase" => number(import, instance, "advbase", word, args.next(), 0..=254),
            "advskew" => number(import, instance, "advskew", word, args.next(), 0..=254),
            "pass" => value(import, word, args.next(), |pass| instance.set("pass", &*pass.text)),
            "-pass" | "-vhid" | "-carppeer" | "-carpdev" => {}
            "carpver" => {
                args.next();
            }
            "carpdev" => {
                if let Some(interface) = args.next() {
                    let name = import.interface(interface, &interface.text);
                    instance.set("interface", name);
                }
            }
            "carppeer" | "peer" | "peer6" => {
                value(import, word, args.next(), |peer| match &*peer.text {
                    "mcast" | "mcast6" => {}
                    other => instance.add("peer", other),
                });
            }
            "carpnodes" => {
                value(import, word, args.next(), |nodes| instance.set("carpnodes", &*nodes.text));
            }
            "balancing" => value(import, word, args.next(), |how| match &*how.text {
                "none" => {}
                how => instance.set("balancing", how),
            }),
            "state" => match args.next().map(|state| &*state.text) {
                Some("master" | "MASTER") => instance.set("state", "MASTER"),
                Some("backup" | "BACKUP") => instance.set("state", "BACKUP"),
                _ => import.dropped(word, "its state is neither master nor backup"),
            },
            "group" => value(import, word, args.next(), |group| {
                if instance.get("groups").is_none() {
                    instance.add("groups", "carp");
                }
                instance.add("groups", &*group.text);
            }),
            "description" | "descr" => {
                value(import, word, args.next(), |said| instance.comments.push(said.text.clone()));
            }
            "netmask" | "prefixlen" | "broadcast" => {
                let Some(given) = args.next() else { continue };
                of_address(import, instance, word, given);
            }
            "down" => import.dropped(word, "an instance that is configured takes part"),
            "lladdr" | "ether" | "link" => {
                args.next();
                import.diags.note("import-mac", word.span, "a MAC address set by hand is left out")
                    .hint("OpenBSD makes it part of the digest: without it other routers will not understand");
            }
            "vrrpprio" | "vrrpinterval" => {
                args.next();
                import.dropped(word, "it is of VRRP, not of CARP");
            }
            _ if WITH_VALUE.contains(&text) => {
                args.next();
                import.dropped(word, "it is a setting of the interface");
            }
            _ => address(import, instance, word, &mut args, positional),
        }
    }
}

fn value(import: &mut Import<'_>, keyword: &Word, value: Option<&Word>, take: impl FnOnce(&Word)) {
    match value {
        Some(value) => take(value),
        None => import.dropped(keyword, "it lacks its value"),
    }
}

fn number(
    import: &mut Import<'_>,
    instance: &mut Instance,
    keyword: &'static str,
    word: &Word,
    value: Option<&Word>,
    range: std::ops::RangeInclusive<u32>,
) {
    if let Some(number) = import.number(word, value, *range.start(), *range.end()) {
        instance.set(keyword, number.to_string());
    }
}

/// Reads an address, or says what a word is not.
fn address(
    import: &mut Import<'_>,
    instance: &mut Instance,
    word: &Word,
    args: &mut Args<'_>,
    positional: bool,
) {
    let Some(vips) = addresses(&word.text) else {
        import.dropped(word, "it is no word of CARP");
        return;
    };
    let first = instance.vips.len();
    instance.vips.extend(vips);
    if !positional {
        return;
    }
    let is_mask = |text: &str| mask(text).is_some() || text.parse::<u8>().is_ok();
    if instance.vips[first..].iter().all(|vip| vip.prefix.is_none())
        && let Some(given) = args.next_if(is_mask)
    {
        let keyword = Word { text: "netmask".to_owned(), span: given.span };
        of_address(import, instance, &keyword, given);
    }
    if let Some(given) = args.next_if(|text| text == "NONE" || text.parse::<Ipv4Addr>().is_ok())
        && given.text != "NONE"
    {
        let keyword = Word { text: "broadcast".to_owned(), span: given.span };
        of_address(import, instance, &keyword, given);
    }
}

/// Reads what says more of the address before it.
fn of_address(import: &mut Import<'_>, instance: &mut Instance, keyword: &Word, given: &Word) {
    let Some(vip) = instance.vips.last_mut() else {
        import.dropped(keyword, "no address stands before it");
        return;
    };
    if keyword.text == "broadcast" {
        let IpAddr::V4(address) = vip.address else { return };
        let host = u32::MAX.checked_shr(vip.prefix.unwrap_or(32).into()).unwrap_or(0);
        let usual = Ipv4Addr::from(u32::from(address) | host);
        match given.text.parse() {
            // The usual one need not be said.
            Ok(broadcast) if broadcast == usual => {}
            Ok(broadcast) => vip.broadcast = Some(broadcast),
            Err(_) => import.dropped(given, "it is no address"),
        }
        return;
    }
    let most = if vip.address.is_ipv4() { 32 } else { 128 };
    let length = mask(&given.text).or_else(|| given.text.parse().ok());
    match length.filter(|length| *length <= most) {
        Some(length) => vip.prefix = Some(length),
        None => import.dropped(given, "it is no mask"),
    }
}

/// A netmask as a prefix length: `255.255.255.0` or `0xffffff00`.
fn mask(text: &str) -> Option<u8> {
    let bits = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => text.parse::<Ipv4Addr>().ok()?.into(),
    };
    (bits.leading_ones() + bits.trailing_zeros() == 32).then_some(bits.leading_ones() as u8)
}

/// `ADDRESS[/LENGTH]`, or `A.B.C.FIRST-LAST[/LENGTH]` as in FreeBSD's rc.conf.
fn addresses(text: &str) -> Option<Vec<Vip>> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let vip = |address: IpAddr| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| prefix <= most).then_some(Vip {
            address,
            prefix,
            broadcast: None,
        })
    };
    // A scope is of no use here.
    let plain = address.split('%').next().unwrap_or_default();
    if let Ok(address) = plain.parse::<IpAddr>() {
        return Some(vec![vip(address)?]);
    }
    let (first, last) = address.split_once('-')?;
    let (first, last) = (first.parse::<Ipv4Addr>().ok()?, last.parse::<u8>().ok()?);
    let [a, b, c, first] = first.octets();
    if first > last {
        return None;
    }
    (first..=last).map(|d| vip(Ipv4Addr::new(a, b, c, d).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_prefix_lengths() {
        assert_eq!(mask("255.255.255.0"), Some(24));
        assert_eq!(mask("0xffffff00"), Some(24));
        assert_eq!(mask("255.255.255.255"), Some(32));
        assert_eq!(mask("0.0.0.0"), Some(0));
        assert_eq!(mask("255.0.255.0"), None);
        assert_eq!(mask("10.0.0.1"), None);
    }

    #[test]
    fn a_range_is_every_address_in_it() {
        let found = addresses("192.0.2.1-3/24").unwrap();
        let found: Vec<_> = found.iter().map(|vip| vip.address.to_string()).collect();
        assert_eq!(found, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        assert_eq!(addresses("192.0.2.3-1/24"), None);
        assert_eq!(addresses("192.0.2.3-x"), None);
        assert_eq!(addresses("192.0.2.1/33"), None);
    }
}
