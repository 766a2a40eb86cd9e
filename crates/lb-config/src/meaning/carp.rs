//! `carp_instance`: CARP in the words of keepalived.conf, and in those of the BSDs where they have one.

use super::router::{self, Router, Shared};
use super::table::{Keyword, Table, Takes};
use super::{Context, Draft, link, push_single, vip};
use crate::diagnostic::Place;
use crate::model::{Balancing, CarpNode, UnicastPeer};
use crate::syntax::Line;

/// An instance as far as it is read.
#[derive(Default)]
pub(crate) struct Instance {
    pub(crate) router: Router,
    pub(crate) vhid: Option<(u8, Place)>,
    pub(crate) key: [u8; 20],
    pub(crate) advbase: u8,
    pub(crate) advskew: Option<(u8, Place)>,
    pub(crate) preempt: Option<bool>,
    pub(crate) groups: Vec<String>,
    pub(crate) nodes: Vec<(CarpNode, Place)>,
    pub(crate) balancing: Option<(Balancing, Place)>,
}

impl AsMut<Router> for Instance {
    fn as_mut(&mut self) -> &mut Router {
        &mut self.router
    }
}

pub(super) static TABLE: Table<Instance> = Table {
    block: "carp_instance",
    keywords: &[
        Keyword::or(
            "state",
            "BACKUP",
            Takes::Words {
                words: 1,
                read: |i: &mut Instance, context, line| router::state(&mut i.router, context, line),
            },
        ),
        Keyword::new(
            "interface",
            Takes::Words {
                words: 1,
                read: |i: &mut Instance, context, line| {
                    router::interface(&mut i.router, context, line);
                },
            },
        )
        .aliases(&["carpdev"]),
        Keyword::new("vhid", Takes::Words { words: 1, read: vhid }),
        Keyword::new("pass", Takes::Word(pass)),
        Keyword::or(
            "advbase",
            "1",
            Takes::Integer { min: 0, max: 254, set: |i, n| i.advbase = n as u8 },
        ),
        Keyword::or("advskew", "0", Takes::Words { words: 1, read: advskew }),
        Keyword::or("preempt", "carp_preempt", Takes::Switch(|i, on| i.preempt = Some(on))),
        Keyword::new("virtual_ipaddress", Takes::List { entry: virtual_address }),
        Keyword::new("peer", Takes::Words { words: 1, read: peers }).aliases(&["carppeer"]),
        Keyword::or("groups", "carp", Takes::Words { words: 1, read: groups }),
        Keyword::new("carpnodes", Takes::Words { words: 1, read: nodes }),
        Keyword::or("balancing", "ip", Takes::Words { words: 1, read: balancing }),
    ],
    also: &[
        Shared::<Instance>::MAIN,
        Shared::<Instance>::GARP,
        Shared::<Instance>::NOTIFY,
        link::Shared::<Instance>::KEYWORDS,
        Shared::<Instance>::LATER,
    ],
};

/// Reads a block.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(router) = Router::open(TABLE.block, draft, context, line) else { return };
    let mut instance = Instance { router, advbase: 1, ..Instance::default() };
    context.block(&TABLE, &mut instance, line);
    draft.carp_instances.push(Box::new(instance));
}

fn vhid(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(vhid) = context.integer_or(line, 1, 1, 255, "") {
        instance.vhid = Some((vhid as u8, line.place()));
    }
}

fn advskew(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(advskew) = context.integer_or(line, 1, 0, 254, "0") {
        instance.advskew = Some((advskew as u8, line.place()));
    }
}

/// Bytes of a passphrase that count: the BSDs keep it in a C string of 20.
const PASS_LENGTH: usize = 19;

fn pass(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if line.len() > 2 {
        let message = "only the first word is the passphrase";
        let diagnostic = context.diags.warn("extra-words", line.place_from(2), message);
        diagnostic.hint("put quotes around one with blanks");
    }
    let bytes = line.str(1).as_bytes();
    if bytes.len() > PASS_LENGTH {
        let message = format!("this passphrase is cut to its first {PASS_LENGTH} bytes");
        context
            .diags
            .warn("pass-length", line.place_from(1), message)
            .hint("the BSDs do the same, and ucarp refuses it");
    }
    let length = bytes.len().min(PASS_LENGTH);
    instance.key = [0; 20];
    instance.key[..length].copy_from_slice(&bytes[..length]);
}

fn virtual_address(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(vip) = vip::read(context, line) {
        push_single(&mut instance.router.vips, (vip, line.keyword_place()));
    }
}

/// Unicast peers; a group stands for multicast to it, as in `carppeer 224.0.0.18`.
fn peers(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    let router = &mut instance.router;
    for index in 1..line.len() {
        let Some(address) = context.address(line, index) else { continue };
        if address.is_multicast() {
            router.group = Some(address);
        } else {
            router.unicast = true;
            let peer = UnicastPeer { address, ttl: (0, 255) };
            router.peers.push((peer, line.place_from(index)));
        }
    }
}

fn groups(instance: &mut Instance, _: &mut Context<'_>, line: &Line) {
    for word in line.words_from(1) {
        if !instance.groups.iter().any(|known| known == word.text) {
            instance.groups.push(word.text.to_owned());
        }
    }
}

/// Most vhids that share a load.
const MOST_NODES: usize = 32;

/// `VHID:ADVSKEW,...`, with blanks as well.
fn nodes(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    for word in line.words_from(1) {
        for text in word.text.split(',').filter(|text| !text.is_empty()) {
            let Some(node) = node(text) else {
                let message = format!("`{text}` is no vhid and advskew, and is ignored");
                context.diags.warn("carpnodes", word.place, message).hint(
                    "write `VHID:ADVSKEW`, 1 to 255 and 0 to 254, as in `carpnodes 5:0,6:100`",
                );
                continue;
            };
            if instance.nodes.iter().any(|(known, _)| known.vhid == node.vhid) {
                let message = format!("vhid {} is there already; the second is ignored", node.vhid);
                context.diags.warn("carpnodes", word.place, message);
            } else if instance.nodes.len() == MOST_NODES {
                let message =
                    format!("at most {MOST_NODES} vhids share a load; `{text}` is ignored");
                context.diags.warn("carpnodes", word.place, message);
            } else {
                instance.nodes.push((node, word.place));
            }
        }
    }
}

fn node(text: &str) -> Option<CarpNode> {
    let (vhid, advskew) = text.split_once(':')?;
    let (vhid, advskew) = (vhid.parse().ok()?, advskew.parse().ok()?);
    (vhid != 0 && advskew != 255).then_some(CarpNode { vhid, advskew })
}

fn balancing(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    let balancing = match line.str(1) {
        "ip" => Balancing::Ip,
        "ip-stealth" => Balancing::IpStealth,
        "ip-unicast" => Balancing::IpUnicast,
        "arp" => Balancing::Arp,
        "none" => {
            instance.balancing = None;
            return;
        }
        other => {
            let message = format!("`{other}` is no way of balancing and is ignored");
            context
                .diags
                .warn("balancing", line.place_from(1), message)
                .hint("use ip, ip-stealth, ip-unicast or arp");
            return;
        }
    };
    instance.balancing = Some((balancing, line.place()));
}
