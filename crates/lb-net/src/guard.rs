//! Virtual addresses that this host holds and does not answer for: no packet to them arrives, none
//! from them leaves.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use crate::nftables::{self, Table, Watched};
use crate::{Error, nft};

/// A virtual address that accepts no packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuardedAddress {
    /// The address.
    pub address: IpAddr,
    /// Interfaces that it can be on. Those of a link-local address count: others may have the same.
    pub interfaces: BTreeSet<String>,
}

/// The rules of all guarded addresses, in one table of family `inet`.
///
/// Packets to such an address are dropped where they would be delivered to this host, packets from one
/// where this host would send them; what is forwarded passes. Neighbour solicitations and
/// advertisements are excepted, as ARP is not subject to the table: the addresses can be found, as
/// those of a gateway have to be.
///
/// The rules hold whether the addresses are there or not. So a change of role needs none of this;
/// and a BACKUP that has such an address otherwise, on its loopback say, does not answer for it either,
/// where keepalived drops as MASTER only.
///
/// Dropping this leaves the rules as they are; [`Guard::apply`] of nothing removes them, and the first
/// one of something replaces what a crash has left.
#[derive(Debug)]
pub struct Guard {
    table: String,
    /// `None` when nobody knows what the kernel has.
    applied: Option<BTreeSet<GuardedAddress>>,
    rules: Watched,
}

impl Guard {
    /// Guards nothing yet. `table` is the name of the table: letters, digits and underscores.
    #[must_use]
    pub fn new(table: &str) -> Self {
        let rules = Watched::new([Table { family: nftables::INET, name: table.to_owned() }]);
        Self { table: table.to_owned(), applied: Some(BTreeSet::new()), rules }
    }

    /// Guards exactly these from now on, in one transaction of the kernel: an address that is guarded
    /// before and after is so at each moment between. Takes some ten milliseconds if they are others
    /// than before.
    ///
    /// # Errors
    /// [`Error::NoNft`], or [`Error::Nft`] with what nft complains about. Then everything is as before,
    /// or, when nft did not end, unknown: nothing counts as guarded.
    pub fn apply(&mut self, wanted: &BTreeSet<GuardedAddress>) -> Result<(), Error> {
        if self.applied.as_ref() == Some(wanted) {
            return Ok(());
        }
        if let Err(error) = nft::run(&ruleset(&self.table, wanted)) {
            if !self.rules.are_intact() {
                self.applied = None;
            }
            return Err(error);
        }
        self.rules.note();
        self.applied = Some(wanted.clone());
        Ok(())
    }

    /// Whether somebody else has changed or deleted the rules since they were applied. If so, they count
    /// as unknown and the next [`Guard::apply`] makes them anew.
    pub fn is_disturbed(&mut self) -> bool {
        let disturbed = self.applied.is_some() && !self.rules.are_intact();
        if disturbed {
            self.applied = None;
        }
        disturbed
    }

    /// Whether this address is guarded.
    #[must_use]
    pub fn guards(&self, address: &IpAddr) -> bool {
        self.applied.iter().flatten().any(|guarded| guarded.address == *address)
    }
}

/// The script that puts the rules in the place of those before.
fn ruleset(table: &str, wanted: &BTreeSet<GuardedAddress>) -> String {
    let mut script = format!("add table inet {table}\ndelete table inet {table}\n");
    if wanted.is_empty() {
        return script;
    }
    let link_local = |address: &Ipv6Addr| address.is_unicast_link_local();
    let (mut inet, mut inet6, mut on_link) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for GuardedAddress { address, interfaces } in wanted {
        match address {
            IpAddr::V4(address) => drop(inet.insert(address.to_string())),
            IpAddr::V6(address) if link_local(address) && !interfaces.is_empty() => {
                on_link.extend(interfaces.iter().map(|name| format!("{address} . \"{name}\"")));
            }
            IpAddr::V6(address) => drop(inet6.insert(address.to_string())),
        }
    }
    let _ = writeln!(script, "table inet {table} {{");
    set(&mut script, "vips", "ipv4_addr", &inet);
    set(&mut script, "vips6", "ipv6_addr", &inet6);
    set(&mut script, "vips_link_local", "ipv6_addr . ifname", &on_link);
    for (chain, hook, end, interface) in
        [("guard_in", "input", "daddr", "iifname"), ("guard_out", "output", "saddr", "oifname")]
    {
        let _ = writeln!(
            script,
            "chain {chain} {{\n\
             type filter hook {hook} priority filter - 1; policy accept;\n\
             ip {end} @vips drop\n\
             icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept\n\
             ip6 {end} . {interface} @vips_link_local drop\n\
             ip6 {end} @vips6 drop\n\
             }}"
        );
    }
    script += "}\n";
    script
}

fn set(script: &mut String, name: &str, kind: &str, elements: &BTreeSet<String>) {
    let _ = write!(script, "set {name} {{ type {kind};");
    if !elements.is_empty() {
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        let _ = write!(script, " elements = {{ {} }};", elements.join(", "));
    }
    *script += " }\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_address_in_the_set_of_its_kind() {
        let guarded = |address: &str, interfaces: &[&str]| GuardedAddress {
            address: address.parse().unwrap(),
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        };
        let wanted = [
            guarded("192.0.2.100", &["eth0"]),
            guarded("2001:db8::100", &["eth0"]),
            guarded("fe80::100", &["eth0", "vrrp6.51"]),
        ];
        let script = ruleset("lbd", &wanted.into());
        for line in [
            "add table inet lbd\ndelete table inet lbd\ntable inet lbd {\n",
            "set vips { type ipv4_addr; elements = { 192.0.2.100 }; }\n",
            "set vips6 { type ipv6_addr; elements = { 2001:db8::100 }; }\n",
            "elements = { fe80::100 . \"eth0\", fe80::100 . \"vrrp6.51\" }; }\n",
            "type filter hook input priority filter - 1; policy accept;\nip daddr @vips drop\n",
            "ip6 saddr . oifname @vips_link_local drop\nip6 saddr @vips6 drop\n",
        ] {
            assert!(script.contains(line), "{line}\n{script}");
        }
        let nothing = ruleset("lbd", &BTreeSet::new());
        assert_eq!(nothing, "add table inet lbd\ndelete table inet lbd\n");
    }
}
