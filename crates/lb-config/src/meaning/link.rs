//! Links of an instance: `use_vmac`, `use_ipvlan` and what belongs to them.

use std::marker::PhantomData;
use std::path::Path;

use super::Context;
use super::route::{c_number, numbered, prefix};
use super::router::Router;
use super::table::{Keyword, Takes};
use crate::diagnostic::Class;
use crate::model::{Ipvlan, IpvlanMode, Vmac};
use crate::syntax::Line;

/// Keywords of every block `B` that has a [`Router`] in it.
pub(super) struct Shared<B>(PhantomData<B>);

impl<B: AsMut<Router> + 'static> Shared<B> {
    pub(super) const KEYWORDS: &'static [Keyword<B>] = &[
        Keyword::new(
            "use_vmac",
            Takes::Words { words: 0, read: |b, context, line| use_vmac(b.as_mut(), context, line) },
        ),
        Keyword::new("use_vmac_addr", Takes::Flag(|b| b.as_mut().vmac_addresses = true)),
        Keyword::new("vmac_xmit_base", Takes::Flag(|b| b.as_mut().vmac_xmit_base = true)),
        Keyword::idle(
            "use_ipvlan",
            Takes::Words {
                words: 0,
                read: |b: &mut B, context, line| use_ipvlan(b.as_mut(), context, line),
            },
        )
        .needed("use-ipvlan", "advertisements and addresses would be on the interface below"),
        Keyword::idle(
            "vrf",
            Takes::Words {
                words: 1,
                read: |b: &mut B, context, line| b.as_mut().vrf = context.interface(line, 1),
            },
        )
        .needed("vrf", "advertisements would leave and be heard outside of the VRF"),
        Keyword::new("promote_secondaries", Takes::Flag(|b| b.as_mut().promote_secondaries = true)),
        Keyword::idle(
            "linkbeat_use_polling",
            Takes::Words {
                words: 0,
                read: |b, context, line| use_polling(b.as_mut(), context, line),
            },
        ),
    ];
}

fn use_polling(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    context
        .diags
        .warn("deprecated", line.keyword_place(), "`linkbeat_use_polling` of an instance is old")
        .class(Class::Deprecated)
        .hint("write `linkbeat_interfaces { INTERFACE }` outside of it");
    router.linkbeat_use_polling = true;
}

/// The name after an optional `name`, if there is one that can be the name of an interface.
fn link_name(context: &mut Context<'_>, line: &Line, index: &mut usize) -> Option<String> {
    let word = line.word(*index)?;
    *index += 1;
    if word.text.len() > 15 {
        let message = format!("`{}` cannot be the name of an interface and is ignored", word.text);
        context.diags.warn("interface-name", word.place, message).hint("names have 1 to 15 bytes");
        return None;
    }
    Some(word.text.to_owned())
}

/// Six bytes, or the last five after 02.
fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    match bytes?.as_slice() {
        [a, b, c, d, e, f] => Some([*a, *b, *c, *d, *e, *f]),
        [b, c, d, e, f] => Some([0x02, *b, *c, *d, *e, *f]),
        _ => None,
    }
}

/// A link group: its number, or its name in `group` of iproute2 (`ip-link(8)`).
fn link_group(context: &mut Context<'_>, line: &Line, index: usize) -> Option<u32> {
    let directories = ["/etc/iproute2", "/usr/share/iproute2"];
    let files: Vec<Vec<u8>> = (directories.iter())
        .filter_map(|directory| context.system.read(&Path::new(directory).join("group")).ok())
        .collect();
    let files: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(file)).collect();
    let mut names: Vec<(&str, u32)> = (files.iter().flat_map(|file| file.lines()))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let number = words.next().and_then(c_number)?;
            words.next().map(|name| (name, number))
        })
        .collect();
    names.push(("default", 0));
    numbered(context, line, index, &names, u32::MAX, "a link group")
}

/// `[[name] IF] [MAC] [netlink_notify_msg] [group G]`
fn use_vmac(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    let mut vmac = Vmac::default();
    let mut index = 1;
    while let Some(word) = line.word(index) {
        match word.text {
            "netlink_notify_msg" => vmac.netlink_notify = true,
            "name" | "group" if line.word(index + 1).is_none() => {
                let message = format!("`{}` is missing its argument and is ignored", word.text);
                context.diags.warn("missing-argument", word.place, message);
            }
            "name" => {
                index += 1;
                vmac.name = link_name(context, line, &mut index);
                continue;
            }
            "group" => {
                index += 1;
                vmac.group = link_group(context, line, index);
            }
            text if mac(text).is_some() => vmac.mac = mac(text),
            _ if vmac.name.is_none() => {
                vmac.name = link_name(context, line, &mut index);
                continue;
            }
            other => {
                let message = format!("`{other}` is no option of use_vmac and is ignored");
                let diagnostic = context.diags.warn("unknown-option", word.place, message);
                if vmac.mac.is_some() {
                    // keepalived says nothing then.
                    diagnostic.class(Class::Note);
                }
            }
        }
        index += 1;
    }
    if let Some(first) = &router.vmac {
        // keepalived keeps the first name and the first address, each by itself.
        if (first.name.is_some() && vmac.name.is_some())
            || (first.mac.is_some() && vmac.mac.is_some())
        {
            context.given_before(line);
        }
        vmac.name = first.name.clone().or(vmac.name);
        vmac.mac = first.mac.or(vmac.mac);
        vmac.netlink_notify |= first.netlink_notify;
        vmac.group = vmac.group.or(first.group);
    }
    router.vmac = Some(vmac);
}

/// `[[name] IF] [ADDRESS/LENGTH] [bridge|private|vepa] [group G]`
fn use_ipvlan(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    if router.ipvlan.is_some() {
        context.given_before(line);
        return;
    }
    let mut ipvlan = Ipvlan::default();
    let mut index = 1;
    while let Some(word) = line.word(index) {
        match word.text {
            "bridge" => ipvlan.mode = IpvlanMode::Bridge,
            "private" => ipvlan.mode = IpvlanMode::Private,
            "vepa" => ipvlan.mode = IpvlanMode::Vepa,
            "name" | "group" if line.word(index + 1).is_none() => {
                context.missing_argument(line);
                return;
            }
            "name" => {
                index += 1;
                ipvlan.name = link_name(context, line, &mut index);
                continue;
            }
            "group" => {
                index += 1;
                ipvlan.group = link_group(context, line, index);
            }
            text if text.contains(['/', ':']) || text.parse::<std::net::IpAddr>().is_ok() => {
                ipvlan.address = prefix(context, line, index).flatten();
            }
            _ if ipvlan.name.is_none() => {
                ipvlan.name = link_name(context, line, &mut index);
                continue;
            }
            other => {
                let message = format!("`{other}` is no option of use_ipvlan and is ignored");
                context.diags.warn("unknown-option", word.place, message);
            }
        }
        index += 1;
    }
    router.ipvlan = Some(Box::new(ipvlan));
}
