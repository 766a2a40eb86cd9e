//! Addresses that several nodes hold at the same time, each for its share of the packets.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use crate::membership::Memberships;
use crate::nft::{self, mac};
use crate::nftables::{self, Table, Watched};
use crate::{Error, Interface, carp_mac};

/// Shares of an address, as a set of the places 0 to 31 among the vhids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets(pub u32);

impl Buckets {
    /// Nodes that one address can have.
    pub const MAX: usize = 32;

    /// Whether the share at this place is in the set.
    #[must_use]
    pub const fn contains(self, place: usize) -> bool {
        place < Self::MAX && self.0 & (1 << place) != 0
    }
}

impl FromIterator<usize> for Buckets {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let places = places.into_iter().filter(|place| *place < Self::MAX);
        Self(places.fold(0, |set, place| set | 1 << place))
    }
}

/// How packets come to all nodes, or to the right one. The words of `balancing` in OpenBSD's
/// `carp(4)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// The node whose share the asker's MAC falls into answers ARP, with the virtual MAC of that
    /// share: a client stays with a node. Only for clients on the segment.
    Arp,
    /// The address has a multicast MAC, 01:00:5e:00:01 and the first vhid, that switches flood. An
    /// IPv6 address has the MAC of [`Balancing::IpStealth`].
    Ip,
    /// The address has the virtual MAC of the first vhid, which is never the source of a frame, so
    /// that switches do not learn where it is and flood.
    IpStealth,
    /// The address has the virtual MAC of the first vhid, as a source too: hub or switch is set to
    /// give all nodes its packets.
    IpUnicast,
}

/// An address of several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAddress {
    /// Where its packets arrive; the base of a virtual MAC, never the virtual MAC itself.
    pub interface: Interface,
    /// MAC of the interface.
    pub hardware: [u8; 6],
    /// The addresses. On each node all are on the interface; IPv6 ones, and with
    /// [`Balancing::IpUnicast`] all, are on the [`Vmacs`](crate::Vmacs) link of the first vhid.
    pub addresses: Vec<IpAddr>,
    /// A vhid for each share, in the same order on all nodes; the first one leads. 1 to 32.
    pub vhids: Vec<u8>,
    /// The shares that this node has now.
    pub held: Buckets,
    /// How.
    pub mode: Balancing,
    /// The same on all nodes, and not to be guessed by who could choose addresses by it.
    pub seed: u32,
    /// Hashes the destination before the source. A gateway that has this on the one side and not on
    /// the other keeps both directions of a connection on the same node, if it translates nothing.
    pub reverse: bool,
}

impl SharedAddress {
    fn leader(&self) -> u8 {
        self.vhids.first().copied().unwrap_or_default()
    }

    /// The MAC that ARP tells, unless it differs by asker.
    fn mac(&self) -> [u8; 6] {
        match self.mode {
            Balancing::Ip => [1, 0, 0x5E, 0, 1, self.leader()],
            Balancing::Arp | Balancing::IpStealth | Balancing::IpUnicast => carp_mac(self.leader()),
        }
    }

    /// MACs whose frames are subject to sharing.
    fn macs(&self) -> Vec<[u8; 6]> {
        match self.mode {
            Balancing::Arp => self.vhids.iter().copied().map(carp_mac).collect(),
            Balancing::Ip => vec![self.mac(), carp_mac(self.leader())],
            Balancing::IpStealth | Balancing::IpUnicast => vec![self.mac()],
        }
    }

    /// Whether the kernel takes these MACs for its own without our doing.
    fn is_on_vmac(&self) -> bool {
        self.mode == Balancing::IpUnicast
    }

    fn is_same_but_for_what_is_held(&self, other: &Self) -> bool {
        *self == Self { held: self.held, ..other.clone() }
    }

    /// Name of its chains, unique as long as a vhid is on its interface.
    fn name(&self) -> String {
        format!("if{}_vhid{}", self.interface.index, self.leader())
    }

    /// A hash expression of this selector.
    fn hash(&self, selector: &str) -> String {
        format!("jhash {selector} mod {} seed 0x{:08x}", self.vhids.len(), self.seed)
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.vhids.len()).filter(|place| self.held.contains(*place))
    }

    /// The rule that passes what hashes into a share of ours, if there is one.
    fn accept_held(&self, selector: &str) -> Option<String> {
        let held: Vec<_> = self.places().map(|place| place.to_string()).collect();
        match held.len() {
            0 => None,
            len if len == self.vhids.len() => Some("accept".into()),
            _ => Some(format!("{} {{ {} }} accept", self.hash(selector), held.join(", "))),
        }
    }
}

/// The rules of all shared addresses of an engine, in two tables of its own (`netdev` for packets,
/// `arp` for who answers).
///
/// Of a frame to a shared MAC each node accepts what hashes into a share that it has, and drops the
/// rest; all other frames pass untouched, and of those to a shared MAC so do ARP, neighbour
/// discovery, VRRP and CARP, and what is for a group. Who answers ARP, and with which MAC, is said
/// by [`Balancing`]; in all but [`Balancing::Arp`] the node that has the first share does.
///
/// A switch must not learn where the MAC of [`Balancing::IpStealth`] is: the rules come before the
/// link that has it, and go after it.
///
/// For IPv4 the kernel's answer is rewritten. A rule cannot rewrite the MAC in a neighbour
/// advertisement, so an IPv6 address is on a link that has the MAC which is to be told. Only
/// [`Balancing::Arp`] tells the interface's own for it: after the loss of a node its clients come
/// to another when they find it unreachable.
///
/// Dropping this leaves the rules as they are; [`Share::clear`] removes them, and the first
/// [`Share::apply`] replaces what a crash has left.
#[derive(Debug)]
pub struct Share {
    table: String,
    memberships: Memberships,
    /// `None` at first, and when nobody knows what the kernel has.
    applied: Option<Vec<SharedAddress>>,
    rules: Watched,
}

impl Share {
    /// Shares nothing yet. `table` names both tables: letters, digits and underscores.
    ///
    /// # Errors
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    pub fn open(table: &str) -> Result<Self, Error> {
        let memberships = Memberships::open()
            .map_err(Error::system("opening a packet socket for shared MACs", "CAP_NET_RAW"))?;
        let table_of = |family| Table { family, name: table.to_owned() };
        let rules = Watched::new([nftables::NETDEV, nftables::ARP].map(table_of));
        Ok(Self { table: table.to_owned(), memberships, applied: None, rules })
    }

    /// Shares exactly these from now on, in one transaction of the kernel: no packet sees half of
    /// it. When only [`SharedAddress::held`] differs from before, only the rules that say so are
    /// replaced. Either takes some ten milliseconds, most of it to start nft.
    ///
    /// # Errors
    /// [`Error::Shares`] when there are not 1 to 32 vhids; [`Error::NoNft`], or [`Error::Nft`] with
    /// what nft complains about. Then everything is as before, or, when nft did not end, unknown.
    pub fn apply(&mut self, wanted: &[SharedAddress]) -> Result<(), Error> {
        let applied = self.try_apply(wanted);
        match &applied {
            Ok(true) => self.rules.note(),
            Err(_) if !self.rules.are_intact() => self.applied = None,
            Ok(false) | Err(_) => {}
        }
        applied.map(|_| ())
    }

    /// Whether the rules are others than before.
    fn try_apply(&mut self, wanted: &[SharedAddress]) -> Result<bool, Error> {
        for SharedAddress { vhids, .. } in wanted {
            if !(1..=Buckets::MAX).contains(&vhids.len()) {
                return Err(Error::Shares(vhids.len()));
            }
        }
        let applied = self.applied.as_deref();
        if let Some(script) = applied.and_then(|applied| moves(&self.table, applied, wanted)) {
            if script.is_empty() {
                return Ok(false);
            }
            nft::run(&script)?;
        } else {
            let macs = |it: &SharedAddress| -> Vec<_> {
                let index = it.interface.index.get();
                it.macs().into_iter().map(|mac| (index, mac)).collect()
            };
            let macs: BTreeSet<_> =
                wanted.iter().filter(|it| !it.is_on_vmac()).flat_map(macs).collect();
            // Nothing to a shared MAC arrives without its rules: those are before the MAC and after.
            let before = self.memberships.joined().clone();
            self.receive(&(&before & &macs))?;
            if let Err(error) = nft::run(&ruleset(&self.table, wanted)) {
                self.receive(&before)?;
                return Err(error);
            }
            self.receive(&macs)?;
        }
        self.applied = Some(wanted.to_vec());
        Ok(true)
    }

    /// Whether somebody else has changed or deleted the rules since they were applied. If so, the next
    /// [`Share::apply`] makes them anew.
    pub fn is_disturbed(&mut self) -> bool {
        let disturbed = self.applied.is_some() && !self.rules.are_intact();
        if disturbed {
            self.applied = None;
        }
        disturbed
    }

    fn receive(&mut self, macs: &BTreeSet<(u32, [u8; 6])>) -> Result<(), Error> {
        let reconciled = self.memberships.reconcile(macs);
        reconciled.map_err(Error::system("accepting shared MACs", "CAP_NET_RAW"))
    }

    /// Removes all rules: this node then takes every packet that it gets.
    ///
    /// # Errors
    /// As [`Share::apply`].
    pub fn clear(&mut self) -> Result<(), Error> {
        self.apply(&[])
    }
}

/// The script that gives and takes shares, if that is all there is to do.
fn moves(table: &str, applied: &[SharedAddress], wanted: &[SharedAddress]) -> Option<String> {
    if applied.len() != wanted.len() {
        return None;
    }
    let mut script = String::new();
    for (old, new) in applied.iter().zip(wanted) {
        if !old.is_same_but_for_what_is_held(new) {
            return None;
        }
        if old.held != new.held {
            for (family, chain, rules) in held_chains(new) {
                let _ = writeln!(script, "flush chain {family} {table} {chain}");
                for rule in rules {
                    let _ = writeln!(script, "add rule {family} {table} {chain} {rule}");
                }
            }
        }
    }
    Some(script)
}

/// Family, name and rules of each chain that depends on the shares this node has.
fn held_chains(it: &SharedAddress) -> Vec<(&'static str, String, Vec<String>)> {
    let name = it.name();
    let leads = it.held.contains(0);
    let (packets, requests, solicitations) = match it.mode {
        Balancing::Arp => {
            let macs: Vec<_> = it.places().map(|place| mac(carp_mac(it.vhids[place]))).collect();
            let ours =
                (!macs.is_empty()).then(|| format!("ether daddr {{ {} }} accept", macs.join(", ")));
            // The MAC in the option of a solicitation, which is the first as Linux and BSD send it.
            (vec![ours], it.accept_held("arp saddr ether"), it.accept_held("@th,208,48"))
        }
        Balancing::Ip | Balancing::IpStealth | Balancing::IpUnicast => {
            let selector = |family: &str| match it.reverse {
                false => format!("{family} saddr . {family} daddr"),
                true => format!("{family} daddr . {family} saddr"),
            };
            let packets = ["ip", "ip6"].map(|family| it.accept_held(&selector(family)));
            let answer = leads.then(|| "accept".to_owned());
            (packets.into(), answer.clone(), answer)
        }
    };
    let or_drop = |rules: Vec<Option<String>>| {
        rules.into_iter().flatten().chain(["drop".to_owned()]).collect::<Vec<_>>()
    };
    vec![
        ("netdev", format!("{name}_held"), or_drop(packets)),
        ("netdev", format!("{name}_solicited"), or_drop(vec![solicitations])),
        ("arp", format!("{name}_asked"), or_drop(vec![requests])),
    ]
}

/// Both tables, in place of what may be there.
fn ruleset(table: &str, shared: &[SharedAddress]) -> String {
    let mut script = String::new();
    for family in ["netdev", "arp"] {
        // Deleting what is not there is refused.
        let _ = writeln!(script, "add table {family} {table}\ndelete table {family} {table}");
    }
    if shared.is_empty() {
        return script;
    }
    let interfaces: BTreeSet<_> =
        shared.iter().map(|it| (it.interface.index, it.interface.name.as_str())).collect();
    let _ = writeln!(script, "table netdev {table} {{");
    for it in shared {
        push_held_chains(&mut script, it, "netdev");
        push_packet_chain(&mut script, it);
    }
    for (index, name) in interfaces {
        let here = || shared.iter().filter(|it| it.interface.index == index);
        let _ = writeln!(script, "chain if{index} {{");
        let _ = writeln!(script, "type filter hook ingress device \"{name}\" priority -150;");
        for it in here() {
            push_ingress(&mut script, it);
        }
        let _ = writeln!(script, "}}");
        let _ = writeln!(script, "chain if{index}_out {{");
        let _ = writeln!(script, "type filter hook egress device \"{name}\" priority -150;");
        for it in here() {
            push_egress(&mut script, it);
        }
        let _ = writeln!(script, "}}");
    }
    let _ = writeln!(script, "}}\ntable arp {table} {{");
    for it in shared {
        push_held_chains(&mut script, it, "arp");
    }
    push_arp(&mut script, shared);
    let _ = writeln!(script, "}}");
    script
}

fn push_held_chains(script: &mut String, it: &SharedAddress, family: &str) {
    for (_, chain, rules) in held_chains(it).into_iter().filter(|(of, ..)| *of == family) {
        let _ = writeln!(script, "chain {chain} {{\n{}\n}}", rules.join("\n"));
    }
}

/// What becomes of a frame to a shared MAC.
fn push_packet_chain(script: &mut String, it: &SharedAddress) {
    let name = it.name();
    let own = match it.mode {
        // A macvlan on the interface may take a frame to a group for one of its own, and it came
        // twice.
        Balancing::Ip => {
            format!("ether daddr {} ether daddr set {}\n", mac(it.mac()), mac(it.hardware))
        }
        // IPv4 is the interface's own, though IPv6 has a macvlan with this MAC.
        Balancing::IpStealth => format!("ether type ip ether daddr set {}\n", mac(it.hardware)),
        Balancing::Arp | Balancing::IpUnicast => String::new(),
    };
    let _ = writeln!(
        script,
        "chain {name} {{\n\
         meta pkttype set host\n\
         ether type arp accept\n\
         meta l4proto 112 accept\n\
         icmpv6 type {{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
         nd-neighbor-advert, nd-redirect }} accept\n\
         ip daddr {{ 224.0.0.0/4, 255.255.255.255 }} accept\n\
         ip6 daddr ff00::/8 accept\n\
         {own}goto {name}_held\n\
         }}"
    );
}

fn push_ingress(script: &mut String, it: &SharedAddress) {
    let name = it.name();
    let six = addresses(it, IpAddr::is_ipv6);
    if !six.is_empty() {
        // The target of the solicitation: 8 octets into ICMPv6.
        let targets = six.iter().map(|address| format!("0x{}", hex(address))).collect::<Vec<_>>();
        let _ = writeln!(
            script,
            "icmpv6 type nd-neighbor-solicit @th,64,128 {{ {} }} goto {name}_solicited",
            targets.join(", ")
        );
    }
    let macs: Vec<_> = it.macs().into_iter().map(mac).collect();
    let _ = writeln!(script, "ether daddr {{ {} }} goto {name}", macs.join(", "));
}

/// What the switch is to learn from our frames.
fn push_egress(script: &mut String, it: &SharedAddress) {
    let _ = match it.mode {
        // From an answer, where the MAC is that it tells. From an advertisement, where that of its
        // vhid is, which comes after the version: a share that moves takes its MAC along.
        Balancing::Arp => {
            let macs = || it.vhids.iter().map(|vhid| (vhid, mac(carp_mac(*vhid))));
            let told: Vec<_> = macs().map(|(_, mac)| format!("{mac} : {mac}")).collect();
            let advertised: Vec<_> =
                macs().map(|(vhid, mac)| format!("0x21{vhid:02x} : {mac}")).collect();
            writeln!(
                script,
                "ether saddr set arp saddr ether map {{ {} }}\n\
                 meta l4proto 112 ether saddr set @th,0,16 map {{ {} }}",
                told.join(", "),
                advertised.join(", ")
            )
        }
        // Never where the shared MAC is.
        Balancing::Ip | Balancing::IpStealth => {
            let (shared, own) = (mac(carp_mac(it.leader())), mac(it.hardware));
            writeln!(script, "ether saddr {shared} ether saddr set {own}")
        }
        Balancing::IpUnicast => Ok(()),
    };
}

/// Who answers ARP, and with which MAC.
fn push_arp(script: &mut String, shared: &[SharedAddress]) {
    let four =
        |it| addresses(it, IpAddr::is_ipv4).iter().map(IpAddr::to_string).collect::<Vec<_>>();
    let shared =
        || shared.iter().map(|it| (it, four(it).join(", "))).filter(|(_, v)| !v.is_empty());
    let _ = writeln!(script, "chain input {{\ntype filter hook input priority 0;");
    for (it, vips) in shared() {
        let name = it.name();
        let _ =
            writeln!(script, "arp operation request arp daddr ip {{ {vips} }} goto {name}_asked");
    }
    let _ = writeln!(script, "}}\nchain output {{\ntype filter hook output priority 0;");
    for (it, vips) in shared() {
        let from = format!("arp saddr ip {{ {vips} }}");
        match it.mode {
            Balancing::Arp => {
                let macs: Vec<_> = it
                    .macs()
                    .into_iter()
                    .enumerate()
                    .map(|(place, address)| format!("{place} : {}", mac(address)))
                    .collect();
                let hash = it.hash("arp daddr ether");
                let _ = writeln!(
                    script,
                    "arp operation reply {from} arp saddr ether set {hash} map {{ {} }}\n\
                     arp operation request {from} arp saddr ip set 0.0.0.0",
                    macs.join(", ")
                );
            }
            Balancing::Ip | Balancing::IpStealth => {
                let _ = writeln!(script, "{from} arp saddr ether set {}", mac(it.mac()));
            }
            Balancing::IpUnicast => {}
        }
    }
    let _ = writeln!(script, "}}");
}

fn addresses(it: &SharedAddress, of: fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    it.addresses.iter().copied().filter(of).collect()
}

fn hex(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("{:032x}", address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn shared(places: &[usize]) -> SharedAddress {
        SharedAddress {
            interface: Interface { index: NonZeroU32::MIN, name: "eth0".into() },
            hardware: [2, 0, 0, 0, 0, 1],
            addresses: vec![[192, 0, 2, 100].into()],
            vhids: vec![7, 8, 9],
            held: places.iter().copied().collect(),
            mode: Balancing::Ip,
            seed: 0xBEEF,
            reverse: false,
        }
    }

    #[test]
    fn a_share_that_moves_changes_nothing_else() {
        let (old, new) = ([shared(&[0])], [shared(&[0, 2])]);
        assert_eq!(moves("lbd", &old, &old).as_deref(), Some(""));
        let expected = "\
flush chain netdev lbd if1_vhid7_held
add rule netdev lbd if1_vhid7_held jhash ip saddr . ip daddr mod 3 seed 0x0000beef { 0, 2 } accept
add rule netdev lbd if1_vhid7_held jhash ip6 saddr . ip6 daddr mod 3 seed 0x0000beef { 0, 2 } accept
add rule netdev lbd if1_vhid7_held drop
flush chain netdev lbd if1_vhid7_solicited
add rule netdev lbd if1_vhid7_solicited accept
add rule netdev lbd if1_vhid7_solicited drop
flush chain arp lbd if1_vhid7_asked
add rule arp lbd if1_vhid7_asked accept
add rule arp lbd if1_vhid7_asked drop
";
        assert_eq!(moves("lbd", &old, &new).as_deref(), Some(expected));
        let [new] = new;
        assert_eq!(moves("lbd", &old, &[SharedAddress { seed: 1, ..new.clone() }]), None);
        assert_eq!(moves("lbd", &old, &[new.clone(), new]), None);
    }

    #[test]
    fn buckets_are_places_below_32() {
        let set: Buckets = [0, 31, 32, 99].into_iter().collect();
        assert_eq!(set, Buckets(0x8000_0001));
        assert!(set.contains(31) && !set.contains(32) && !set.contains(1));
    }
}
