//! Keeps the virtual MAC of a backup off the wire.
//!
//! A link with IPv6, or whose sockets join groups, sends multicast listener reports and router
//! solicitations as soon as it is up. With the virtual MAC as source, those of a backup would have
//! the switch send the master's packets to the backup. Dropped, a switch that snoops would not
//! send groups here. So they leave with the MAC of the base.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::nft;

/// The virtual MACs of a base that have to be quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// MAC of the base.
    pub own: [u8; 6],
    /// Index and name of each link that stands on it: a new one of an old name needs its rules anew.
    pub links: Vec<(u32, String)>,
}

/// By index of the base.
pub(crate) type Bases = BTreeMap<u32, Quiet>;

/// A chain has at most 256 devices (`NFT_NETDEVICE_MAX` of `nf_tables.h`).
const DEVICES: usize = 256;

/// Puts the rules of the one in the place of those of the other, in one transaction.
pub(crate) fn change(old: &Bases, new: &Bases) {
    let mut script = String::new();
    for (base, quiet) in new {
        if old.get(base) != Some(quiet) {
            remove(&mut script, *base);
            add(&mut script, *base, quiet);
        }
    }
    for base in old.keys().filter(|base| !new.contains_key(base)) {
        remove(&mut script, *base);
    }
    if script.is_empty() {
        return;
    }
    if let Err(error) = nft::run(&script) {
        tracing::warn!(
            "virtual MACs are not kept quiet while they are backup ({error}): switches may send \
             them the master's packets for a moment"
        );
    }
}

/// Also when it is not there.
fn remove(script: &mut String, base: u32) {
    let table = table(base);
    let _ = writeln!(script, "add table netdev {table}\ndelete table netdev {table}");
}

fn add(script: &mut String, base: u32, Quiet { own, links }: &Quiet) {
    let own = nft::mac(*own);
    let _ = writeln!(script, "table netdev {} {{", table(base));
    for (number, links) in links.chunks(DEVICES).enumerate() {
        let devices: Vec<_> = links.iter().map(|(_, name)| format!("\"{name}\"")).collect();
        let _ = writeln!(
            script,
            "chain out{number} {{\n\
             type filter hook egress devices = {{ {} }} priority 0;\n\
             meta l4proto igmp ether saddr set {own}\n\
             icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report, \
             nd-router-solicit }} ether saddr set {own}\n\
             }}",
            devices.join(", ")
        );
    }
    let _ = writeln!(script, "}}");
}

fn table(base: u32) -> String {
    format!("{TABLE}{base}")
}

/// The base that a table is for, by its name.
pub(crate) fn base(table: &str) -> Option<u32> {
    table.strip_prefix(TABLE)?.parse().ok()
}

const TABLE: &str = "lbd_vmac_if";
