//! Virtual MACs: macvlans that come and go with the instances that want them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::{fs, io};

use crate::before::Before;
use crate::link::{Belonging, LinkChange, LinkDetails, MacvlanMode, Setting};
use crate::netlink::{Address, AddressOptions, Change};
use crate::quiet::{self, Quiet};
use crate::{Error, Family, Outcome, RouteSocket};

/// Virtual MAC of a VRRP router. RFC 9568 §7.3.
#[must_use]
pub const fn vrrp_mac(vrid: u8, family: Family) -> [u8; 6] {
    match family {
        Family::Inet => [0, 0, 0x5E, 0, 1, vrid],
        Family::Inet6 => [0, 0, 0x5E, 0, 2, vrid],
    }
}

/// Virtual MAC of a CARP vhid, for both families: that of the VRRP router with the same number.
#[must_use]
pub const fn carp_mac(vhid: u8) -> [u8; 6] {
    [0, 0, 0x5E, 0, 1, vhid]
}

/// A virtual MAC that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmacSpec {
    /// Name of the link; at most 15 octets.
    pub name: String,
    /// Index of the link it stands on.
    pub base: u32,
    /// Its MAC.
    pub hardware: [u8; 6],
    /// What hears whom.
    pub mode: MacvlanMode,
    /// It carries IPv4 addresses.
    pub ipv4: bool,
    /// It carries IPv6 addresses; otherwise IPv6 is switched off on it.
    pub ipv6: bool,
    /// The one address it has from the start, with a prefix length of 64; for IPv6.
    pub link_local: Option<Ipv6Addr>,
    /// Its link group; `None`: that of its base.
    pub group: Option<u32>,
    /// The kernel tells of the base once more when this is made or deleted. Of a base that cannot
    /// filter MACs, such as a bridge, it does not say by itself that it is promiscuous for this.
    pub tells_of_base: bool,
}

/// The virtual MACs of an engine, with the settings that they need around them.
///
/// A virtual MAC is in the VRF of its base, and in its link group if in no other. It answers ARP for its own addresses
/// only (`arp_ignore` 1), takes packets from another router's same addresses (`accept_local`), has
/// no reverse path filter and keeps secondary addresses when a primary one goes. Its base answers
/// for its own addresses only and on the right link (`arp_ignore`, `arp_filter`) until the last IPv4
/// virtual MAC on it goes. Unlike with keepalived it also asks in the name of its own addresses only
/// (`arp_announce` 2): answering a client from the virtual address, it would else ask for the
/// client's MAC in that address's name with its real MAC, and the client would believe it. Because
/// the reverse path filter of `all` would count for each link, it is moved to the other links for as
/// long.
///
/// What a link with IPv6, or in private mode, says by itself, such as listener reports, leaves with
/// the MAC of its base: rules of nftables see to it, in a table `lbd_vmac_if` and the index of the
/// base. Without `nft` this is missing, with a warning.
///
/// What was set before is written into the alias of each link (`ip link show`), so that whoever
/// adopts the links after a crash restores it. Dropping this leaves everything as it is:
/// [`Vmacs::clear`] ends it.
#[derive(Debug)]
pub struct Vmacs {
    route: RouteSocket,
    made: BTreeMap<String, Made>,
    before: Before,
    quiet: quiet::Bases,
    /// At the next call, those that an earlier process left go.
    sweeping: bool,
}

#[derive(Clone, Debug)]
struct Made {
    index: u32,
    spec: VmacSpec,
    /// It has its settings.
    settled: bool,
}

impl Vmacs {
    /// Knows of none yet, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the process is out of descriptors or memory.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            route: RouteSocket::open()?,
            made: BTreeMap::new(),
            before: Before::default(),
            quiet: quiet::Bases::new(),
            sweeping: false,
        })
    }

    /// Whether the next [`Vmacs::reconcile`] deletes the virtual MACs of an earlier process that are
    /// not wanted, with a line in the log each, and restores the settings around them. Not while
    /// another process of ours is in this network namespace: they may be its.
    #[must_use]
    pub fn sweeping(self, sweeping: bool) -> Self {
        Self { sweeping, ..self }
    }

    /// Makes what is wanted and not there, adopts a macvlan of the same name, base, MAC and mode,
    /// replaces one of the same name that differs, and deletes what an earlier call made or adopted
    /// and is no longer wanted. A few system calls for any number. In the order of `wanted`, says
    /// the index of each, or why it is not there; the others do not suffer.
    ///
    /// # Errors
    /// Of one: [`Error::NameTaken`] when the name belongs to another kind of link, or
    /// [`Error::System`]. Of all: when the netlink socket fails.
    pub fn reconcile(&mut self, wanted: &[VmacSpec]) -> Result<Vec<Result<u32, Error>>, Error> {
        self.try_reconcile(wanted).map_err(Error::system("changing virtual MACs", "CAP_NET_ADMIN"))
    }

    /// Deletes all and restores the settings around them.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.reconcile(&[]).map(|_| ())
    }

    fn try_reconcile(&mut self, wanted: &[VmacSpec]) -> io::Result<Vec<Result<u32, Error>>> {
        let names: HashSet<_> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        let there = self.route.link_details()?;
        let by_name = by_name(&there);
        // Somebody gave it another name: nobody would find it again, so it goes.
        let renamed: Vec<u32> = (self.made.iter())
            .filter_map(|(name, Made { index, spec, .. })| {
                let link =
                    there.iter().find(|it| it.link.index == *index && it.link.name != *name)?;
                link.is_macvlan(spec.base, spec.hardware, spec.mode).then_some(*index)
            })
            .collect();
        self.made.retain(|name, made| {
            by_name.get(name.as_str()).is_some_and(|it| it.link.index == made.index)
        });

        let ours: HashSet<u32> = self.made.values().map(|made| made.index).collect();
        let left: Vec<&LinkDetails> = (there.iter())
            .filter(|it| self.sweeping && Before::marks(it))
            .filter(|it| it.other_kind().is_none() && !ours.contains(&it.link.index))
            .filter(|it| !names.contains(it.link.name.as_str()))
            .collect();
        self.before.recall(left.iter().copied());
        for it in &left {
            tracing::warn!("deleted the virtual MAC {}, which an earlier lbd left", it.link.name);
        }
        let left: Vec<u32> = left.iter().map(|it| it.link.index).collect();
        self.sweeping = false;

        let gone = self.made.iter().filter(|(name, _)| !names.contains(name.as_str()));
        let tells = gone.clone().map(|(_, made)| &made.spec).filter(|spec| spec.tells_of_base);
        let mut told_of: BTreeSet<u32> = tells.map(|spec| spec.base).collect();
        let mut leaving: Vec<u32> =
            gone.map(|(_, made)| made.index).chain(renamed).chain(left).collect();
        let mut found: Vec<Result<(), Error>> = Vec::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for (place, spec) in wanted.iter().enumerate() {
            let old = by_name.get(spec.name.as_str());
            if let Some(kind) = old.and_then(|old| old.other_kind()) {
                let (name, kind) = (spec.name.clone(), kind.to_owned());
                found.push(Err(Error::NameTaken { name, kind }));
                continue;
            }
            found.push(Ok(()));
            if old.is_none_or(|old| !old.is_macvlan(spec.base, spec.hardware, spec.mode)) {
                leaving.extend(old.map(|old| old.link.index));
                missing.push(place);
            }
        }
        let mut changes: Vec<_> =
            leaving.into_iter().map(|index| LinkChange::Leave { index }).collect();
        if !changes.is_empty() {
            changes.push(LinkChange::DeleteLeaving);
        }
        let made = missing.iter().map(|&place| &wanted[place]).filter(|spec| spec.tells_of_base);
        told_of.extend(made.map(|spec| spec.base));
        let first = changes.len();
        changes.extend(missing.iter().map(|&place| {
            let VmacSpec { ref name, base, hardware, mode, .. } = wanted[place];
            let belonging = belonging(&wanted[place], &there);
            LinkChange::Create { name, base, hardware, mode, belonging }
        }));
        let errors = self.route.change_links(&changes)?;
        for (place, errno) in missing.into_iter().zip(&errors[first..]) {
            if let Some(errno) = *errno {
                let what = format!("making the virtual MAC {}", wanted[place].name);
                found[place] = Err(Error::system(what, "CAP_NET_ADMIN")(errno.into()));
            }
        }
        self.made.retain(|name, _| names.contains(name.as_str()));
        let there = if changes.is_empty() { there } else { self.route.link_details()? };
        let results = self.settle(wanted, found, &there)?;
        self.tell_of(&told_of, &there)?;
        Ok(results)
    }

    /// Gives the links that are there their settings, and switches them on.
    fn settle(
        &mut self,
        wanted: &[VmacSpec],
        found: Vec<Result<(), Error>>,
        there: &[LinkDetails],
    ) -> io::Result<Vec<Result<u32, Error>>> {
        let by_name = by_name(there);
        let mut results = Vec::with_capacity(wanted.len());
        let mut fresh = Vec::new();
        let mut addresses = Vec::new();
        for (spec, found) in wanted.iter().zip(found) {
            let details = by_name.get(spec.name.as_str()).copied();
            results.push(match (found, details) {
                (Err(error), _) => Err(error),
                // Somebody has deleted it meanwhile.
                (Ok(()), None) => Err(Error::NoInterface(spec.name.clone())),
                (Ok(()), Some(details)) => {
                    let index = details.link.index;
                    let made = Made { index, spec: spec.clone(), settled: true };
                    let old = self.made.insert(spec.name.clone(), made);
                    let old = old.filter(|old| old.index == index);
                    if !old.as_ref().is_some_and(|old| old.settled && old.spec == *spec) {
                        let place = results.len();
                        fresh.push((place, details));
                        let former = old.and_then(|old| old.spec.link_local);
                        let former = former.filter(|it| Some(*it) != spec.link_local);
                        let own = spec.link_local.filter(|_| spec.ipv6);
                        addresses.extend(
                            former.map(|it| (place, Change::Remove(link_local(index, it)))),
                        );
                        addresses.extend(own.map(|it| (place, Change::Add(link_local(index, it)))));
                    }
                    Ok(index)
                }
            });
        }
        self.before.recall(fresh.iter().map(|(_, details)| *details));
        self.set_around(there)?;
        self.keep_quiet(there);
        let aliases: Vec<_> =
            fresh.iter().map(|&(place, _)| self.before.alias(wanted[place].base)).collect();
        let mut changes = Vec::new();
        for (&(place, details), alias) in fresh.iter().zip(&aliases) {
            let (spec, index) = (&wanted[place], details.link.index);
            switch_ipv6(spec);
            changes.extend([
                LinkChange::NoAddressGeneration { index },
                LinkChange::Group { index, group: belonging(spec, there).group.unwrap_or(0) },
                LinkChange::Alias { index, alias },
                LinkChange::Set { index, settings: if spec.ipv4 { &FOR_IPV4 } else { &ALWAYS } },
                LinkChange::Up { index },
            ]);
        }
        let errors = self.route.change_links(&changes)?;
        for (&(place, _), errors) in fresh.iter().zip(errors.chunks(5)) {
            // Without IPv6 in the kernel there is no address generation to stop.
            let relevant = if wanted[place].ipv6 { errors } else { &errors[1..] };
            if let Some(errno) = relevant.iter().flatten().next() {
                results[place] = Err(setting_up(&wanted[place], (*errno).into()));
            }
        }
        let (places, changes): (Vec<usize>, Vec<_>) = addresses.into_iter().unzip();
        for (place, outcome) in places.into_iter().zip(self.route.change(&changes)?) {
            if let Outcome::Refused(error) = outcome {
                results[place] = Err(setting_up(&wanted[place], error));
            }
        }
        for (spec, result) in wanted.iter().zip(&results) {
            if let (Err(_), Some(made)) = (result, self.made.get_mut(&spec.name)) {
                // To be tried again.
                made.settled = false;
            }
        }
        Ok(results)
    }

    /// Has the kernel tell of links.
    fn tell_of(&mut self, told_of: &BTreeSet<u32>, there: &[LinkDetails]) -> io::Result<()> {
        let links = there.iter().filter(|details| told_of.contains(&details.link.index));
        let changes: Vec<_> = links
            .filter_map(|LinkDetails { link, belonging, .. }| {
                Some(LinkChange::Group { index: link.index, group: belonging.group? })
            })
            .collect();
        for errno in self.route.change_links(&changes)?.into_iter().flatten() {
            tracing::debug!("telling of the interface below a virtual MAC: {errno}");
        }
        Ok(())
    }

    /// Sees to it that nothing but what the advertiser sends has a virtual MAC as source.
    fn keep_quiet(&mut self, there: &[LinkDetails]) {
        let mut bases = quiet::Bases::new();
        for (name, Made { index, spec, .. }) in &self.made {
            // Without IPv6 there is nothing to say, and in bridge mode no socket joins groups here.
            if !spec.ipv6 && spec.mode == MacvlanMode::Bridge {
                continue;
            }
            let base = there.iter().find(|details| details.link.index == spec.base);
            if let Some(own) = base.and_then(|base| base.link.hardware) {
                let quiet = bases.entry(spec.base);
                let quiet = quiet.or_insert_with(|| Quiet { own, links: Vec::new() });
                quiet.links.push((*index, name.clone()));
            }
        }
        quiet::change(&self.quiet, &bases);
        self.quiet = bases;
    }

    /// Sets and restores what is around the virtual MACs.
    fn set_around(&mut self, there: &[LinkDetails]) -> io::Result<()> {
        let in_use: BTreeSet<u32> =
            self.made.values().filter(|made| made.spec.ipv4).map(|made| made.spec.base).collect();
        let settings = self.before.settings(&in_use, there, |name| self.made.contains_key(name));
        let changes: Vec<_> = settings
            .iter()
            .map(|(index, settings)| LinkChange::Set { index: *index, settings })
            .collect();
        let errors = self.route.change_links(&changes)?;
        for (change, errno) in changes.iter().zip(errors) {
            if let Some(errno) = errno {
                tracing::debug!("{change:?}: {errno}");
            }
        }
        if !in_use.is_empty() {
            self.before.end_filter_of_all();
        }
        Ok(())
    }
}

const ALWAYS: [(Setting, u32); 1] = [(Setting::ArpIgnore, 1)];
const FOR_IPV4: [(Setting, u32); 4] = [
    (Setting::ArpIgnore, 1),
    (Setting::AcceptLocal, 1),
    (Setting::RpFilter, 0),
    (Setting::PromoteSecondaries, 1),
];

/// Where a virtual MAC belongs: where its base does.
fn belonging(spec: &VmacSpec, there: &[LinkDetails]) -> Belonging {
    let base = there.iter().find(|it| it.link.index == spec.base);
    let Belonging { group, master } = base.map(|it| it.belonging).unwrap_or_default();
    Belonging { group: spec.group.or(group), master }
}

fn link_local(ifindex: u32, address: Ipv6Addr) -> Address<'static> {
    let address = IpAddr::V6(address);
    let options = AddressOptions::default();
    Address { ifindex, address, prefix: 64, broadcast: None, scope: 253, label: None, options }
}

fn setting_up(spec: &VmacSpec, error: io::Error) -> Error {
    Error::system(format!("setting up the virtual MAC {}", spec.name), "CAP_NET_ADMIN")(error)
}

/// IPv6 on or off, before the link is switched on and says that it is there. What routers advertise
/// is the base's business.
fn switch_ipv6(spec: &VmacSpec) {
    let settings = [("disable_ipv6", if spec.ipv6 { "0" } else { "1" }), ("accept_ra", "0")];
    for (name, value) in settings {
        let path = format!("/proc/sys/net/ipv6/conf/{}/{name}", spec.name);
        // Not there without IPv6; read-only in some containers, where the link then has IPv6 and no
        // address of it.
        if let Err(error) = fs::write(path, value) {
            tracing::debug!("{name} of {}: {error}", spec.name);
        }
    }
}

fn by_name(there: &[LinkDetails]) -> HashMap<&str, &LinkDetails> {
    there.iter().map(|details| (details.link.name.as_str(), details)).collect()
}
