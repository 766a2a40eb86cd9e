//! Virtual MACs: the macvlans that instances want, what they are called, and whether they are there.
//!
//! The addresses of such an instance are on a macvlan that stands on its interface and has the
//! virtual router's MAC; what it tracks, and where its advertisements come from, stays the
//! interface itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::iter;
use std::mem;
use std::net::Ipv6Addr;
use std::time::Instant;

use lb_config::model::{self, Balancing, Family, Peers, VirtualAddress};

use super::config::{InstanceConfig, ProtocolKind};
use super::links::Links;
use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node, Phase};

/// The longest name of a link, `IFNAMSIZ` less the zero at its end.
const NAME_MAX: usize = 15;

/// A macvlan that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vmac {
    /// What it is called; no other has the name.
    pub name: String,
    /// The link it stands on.
    pub base: LinkIndex,
    /// Its MAC.
    pub mac: [u8; 6],
    /// It carries IPv4 addresses.
    pub ipv4: bool,
    /// It carries IPv6 addresses.
    pub ipv6: bool,
    /// The address that it has whoever is MASTER: without one nothing can be sent through it.
    ///
    /// Made of its MAC, and so the same on every router. Unlike with keepalived it is not the
    /// interface's own, which a backup would then announce with the virtual MAC too.
    pub link_local: Option<Ipv6Addr>,
    /// Its link group, if not that of its base.
    pub group: Option<u32>,
    /// `netlink_notify_msg`: the kernel is to tell of the base when this comes or goes.
    pub tells_of_base: bool,
}

/// How names begin that are not configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmacPrefixes {
    /// `vmac_prefix`; that of the protocol when absent.
    pub router: Option<String>,
    /// `vmac_addr_prefix`: of those that only carry addresses; `vmac_prefix` when absent.
    pub address: Option<String>,
}

impl From<&model::Global> for VmacPrefixes {
    fn from(global: &model::Global) -> Self {
        Self { router: global.vmac_prefix.clone(), address: global.vmac_addr_prefix.clone() }
    }
}

/// All virtual MACs of the node.
#[derive(Debug, Default)]
pub(crate) struct Vmacs {
    pub(crate) prefixes: VmacPrefixes,
    /// As asked for last.
    wanted: Vec<Vmac>,
    /// The same of links.
    promoted: BTreeSet<LinkIndex>,
    /// Whether to look if others are wanted now.
    pub(crate) stale: bool,
    /// Names that belong to links of another kind.
    taken: HashSet<String>,
    /// Why one could not be made, by its name.
    failures: BTreeMap<String, String>,
}

/// A virtual MAC of an instance.
#[derive(Debug)]
pub(crate) struct Named {
    /// The interface it stands on.
    base: String,
    name: String,
    /// It has been there: when it is not, something has happened to it.
    seen: bool,
}

/// Whether a virtual MAC stands on an instance's own interface.
fn has_own(config: &InstanceConfig) -> bool {
    let router = config.router();
    match shared_by(config) {
        Some(_) => router.vips.iter().any(|vip| base_of(config, vip).is_some()),
        None => router.vmac.is_some(),
    }
}

/// How several routers hold the addresses at once, if they do. All of these then have the MAC of the
/// first vhid, whichever they are MASTER of.
fn shared_by(config: &InstanceConfig) -> Option<Balancing> {
    match config {
        InstanceConfig::Carp(carp) if !carp.instance.nodes.is_empty() => {
            Some(carp.instance.balancing)
        }
        _ => None,
    }
}

/// Where an address has to be when that is a virtual MAC: the interface it stands on.
pub(crate) fn base_of<'a>(config: &'a InstanceConfig, vip: &'a VirtualAddress) -> Option<&'a str> {
    let router = config.router();
    let own = router.interface.as_deref();
    let base = vip.interface.as_deref().or(own)?;
    let all = match shared_by(config) {
        Some(_) if own != Some(base) => return None,
        Some(Balancing::IpUnicast) => true,
        // In answers of ARP another MAC is told than that of the link; neighbour advertisements
        // cannot be rewritten.
        Some(Balancing::Ip | Balancing::IpStealth) => vip.address.is_ipv6(),
        Some(Balancing::Arp) => false,
        None if own == Some(base) => vip.flags.vmac || router.vmac.is_some(),
        None => vip.flags.vmac || router.vmac_addresses,
    };
    all.then_some(base)
}

/// RFC 9568 §7.3; CARP has that of VRRP over IPv4 for both families.
fn mac(config: &InstanceConfig) -> [u8; 6] {
    let configured = config.router().vmac.as_ref().and_then(|vmac| vmac.mac);
    match config {
        InstanceConfig::Vrrp(instance) => {
            let family = if instance.family == Family::Inet6 { 2 } else { 1 };
            configured.unwrap_or([0, 0, 0x5E, 0, family, instance.vrid])
        }
        // Every router has to have the same.
        InstanceConfig::Carp(carp) if shared_by(config).is_some() => carp_mac(carp.instance.vhid),
        InstanceConfig::Carp(carp) => configured.unwrap_or(carp_mac(carp.node.vhid)),
    }
}

const fn carp_mac(vhid: u8) -> [u8; 6] {
    [0, 0, 0x5E, 0, 1, vhid]
}

/// fe80::/64 with the identifier made of a MAC. RFC 4291 §2.5.6, appendix A.
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xFE, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xFF, 0xFE, d, e, f])
}

/// The names that may be given, the best first: `vrrp.51`, for IPv6 `vrrp6.51`, `vrrp1.51`, …
fn names(prefix: &str, config: &InstanceConfig) -> impl Iterator<Item = String> {
    let (id, six) = (config.id(), config.families().all(|family| family == Family::Inet6));
    let numbers = (1..=u32::MAX).filter(move |number| !six || *number != 6);
    let numbers = six.then_some(6).into_iter().chain(numbers);
    iter::once(String::new()).chain(numbers.map(|number| number.to_string())).map(move |number| {
        let end = format!("{number}.{id}");
        let mut room = NAME_MAX.saturating_sub(end.len()).min(prefix.len());
        while !prefix.is_char_boundary(room) {
            room -= 1;
        }
        format!("{}{end}", &prefix[..room])
    })
}

/// The names that the virtual MACs of an instance can have when the first ones of each prefix are taken:
/// so many, and the configured one.
pub(crate) fn possible_names(
    prefixes: &VmacPrefixes,
    config: &InstanceConfig,
    count: usize,
) -> impl Iterator<Item = String> {
    let configured = config.router().vmac.as_ref().and_then(|vmac| vmac.name.clone());
    let router = prefixes.router.as_deref().unwrap_or(default_prefix(config));
    let address = prefixes.address.as_deref().unwrap_or(router);
    let of = move |prefix| names(prefix, config).take(count).collect::<Vec<_>>();
    configured.into_iter().chain([router, address].into_iter().flat_map(of))
}

fn default_prefix(config: &InstanceConfig) -> &'static str {
    match config.kind() {
        ProtocolKind::Vrrp => "vrrp",
        ProtocolKind::Carp => "carp",
    }
}

/// The names of virtual MACs that all vhids of an instance have in common, by interface and MAC.
#[derive(Debug, Default)]
struct Common(BTreeMap<(String, [u8; 6]), String>);

impl Common {
    fn name(&self, config: &InstanceConfig, base: &str) -> Option<&str> {
        shared_by(config)?;
        self.0.get(&(base.to_owned(), mac(config))).map(String::as_str)
    }

    fn note(&mut self, config: &InstanceConfig, base: &str, name: &str) {
        if shared_by(config).is_some() && !name.is_empty() {
            self.0.insert((base.to_owned(), mac(config)), name.to_owned());
        }
    }
}

impl Vmacs {
    /// How the names of an instance's virtual MAC on an interface begin.
    fn prefix(&self, config: &InstanceConfig, base: &str) -> &str {
        let router = config.router();
        let only_addresses = !has_own(config) || router.interface.as_deref() != Some(base);
        let address = self.prefixes.address.as_deref().filter(|_| only_addresses);
        address.or(self.prefixes.router.as_deref()).unwrap_or(default_prefix(config))
    }
}

impl Slot {
    /// The interfaces that it wants virtual MACs on, its own first.
    fn bases(&self) -> Vec<&str> {
        let router = self.config.router();
        let own = router.interface.as_deref().filter(|_| has_own(&self.config));
        let vips = router.vips.iter().chain(&router.excluded_vips);
        let mut bases: Vec<&str> = own.into_iter().collect();
        for base in vips.filter_map(|vip| base_of(&self.config, vip)) {
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        bases
    }

    /// The name of the virtual MAC on an interface.
    fn vmac_on(&self, base: &str) -> Option<&str> {
        let named = self.vmacs.iter().find(|named| named.base == base)?;
        Some(&named.name)
    }

    /// The name of the virtual MAC on its own interface.
    pub(crate) fn own_vmac(&self) -> Option<&str> {
        self.vmac_on(self.config.router().interface.as_deref()?)
    }

    /// The name of the virtual MAC that an address is on, if it is on one.
    pub(crate) fn vmac_of(&self, vip: &VirtualAddress) -> Option<&str> {
        base_of(&self.config, vip).and_then(|base| self.vmac_on(base))
    }

    /// Where its advertisements leave, if not at its interface: the virtual MAC, once it is there.
    pub(crate) fn speaks_through(&self, links: &Links) -> Option<LinkIndex> {
        let router = self.config.router();
        let multicast = matches!(router.peers, Peers::Multicast { .. });
        let shared = shared_by(&self.config).is_some();
        if router.vmac.is_none() || router.vmac_xmit_base || !multicast || shared {
            return None;
        }
        let name = self.vmac_on(router.interface.as_deref()?)?;
        links.named(name).filter(|(_, link)| link.up).map(|(index, _)| index)
    }

    /// What is wanted of its virtual MACs whose base exists.
    fn wanted_vmacs(&self, links: &Links) -> impl Iterator<Item = Vmac> {
        let router = self.config.router();
        self.vmacs.iter().filter_map(move |Named { base, name, .. }| {
            let (index, _) = links.named(base)?;
            let own = has_own(&self.config) && router.interface.as_ref() == Some(base);
            let vips = router.vips.iter().chain(&router.excluded_vips);
            let on_it = vips.filter(|vip| base_of(&self.config, vip) == Some(base));
            let (mut ipv4, mut ipv6) = (false, false);
            on_it.for_each(|vip| match vip.address.is_ipv4() {
                true => ipv4 = true,
                false => ipv6 = true,
            });
            let shared = shared_by(&self.config).is_some();
            let speaks = own && !router.vmac_xmit_base && !shared;
            for family in self.config.families().filter(|_| own && !shared) {
                match family {
                    Family::Inet => ipv4 = true,
                    Family::Inet6 => ipv6 = true,
                }
            }
            let mac = mac(&self.config);
            let link_local = (ipv6 && speaks).then(|| link_local(mac));
            let configured = router.vmac.as_ref().filter(|_| own);
            let group = configured.and_then(|vmac| vmac.group);
            let tells_of_base = configured.is_some_and(|vmac| vmac.netlink_notify);
            let (name, base) = (name.clone(), index);
            Some(Vmac { name, base, mac, ipv4, ipv6, link_local, group, tells_of_base })
        })
    }

    /// Why its virtual MACs make it a FAULT, and which of them it waits for.
    pub(crate) fn vmac_faults(&self, links: &Links, vmacs: &Vmacs) -> (Vec<String>, Vec<String>) {
        let (mut faults, mut waits) = (Vec::new(), Vec::new());
        for Named { base, name, seen } in &self.vmacs {
            // Without its base it cannot be; that is said already.
            let Some((_, base)) = links.named(base) else { continue };
            let excused = !base.up || self.config.router().dont_track_primary;
            let what = match links.named(name) {
                Some((_, link)) if link.up || excused => continue,
                Some(_) => "is down",
                None => "does not exist",
            };
            if let Some(reason) = vmacs.failures.get(name) {
                faults.push(format!("virtual MAC {name} {what}: {reason}"));
            } else if *seen {
                faults.push(format!("virtual MAC {name} {what}"));
            } else {
                waits.push(format!("virtual MAC {name} is not ready yet"));
            }
        }
        (faults, waits)
    }

    /// Notes which of its virtual MACs are there.
    pub(crate) fn see_vmacs(&mut self, links: &Links) {
        for named in &mut self.vmacs {
            named.seen |= links.named(&named.name).is_some_and(|(_, link)| link.up);
        }
    }
}

impl Node {
    /// The macvlans to be there now, in the order of the configuration; none once the node has
    /// stopped. Valid before [`Input::Start`](super::Input::Start) too: who makes them first spares
    /// the instances a wait.
    #[must_use]
    pub fn vmacs(&self) -> Vec<Vmac> {
        let mut all: Vec<Vmac> = Vec::new();
        if self.phase == Phase::Stopped {
            return all;
        }
        let leaving = self.departing.iter().filter_map(|id| self.slot(*id));
        for vmac in self.living().chain(leaving).flat_map(|slot| slot.wanted_vmacs(&self.links)) {
            // Of one that leaves and its heir it is the same.
            if all.iter().all(|other| other.name != vmac.name) {
                all.push(vmac);
            }
        }
        all
    }

    /// The links that are to keep a second address of a subnet when the first goes
    /// (`promote_secondaries`). A virtual MAC does so anyway.
    #[must_use]
    pub fn promoted(&self) -> BTreeSet<LinkIndex> {
        if self.phase == Phase::Stopped {
            return BTreeSet::new();
        }
        let leaving = self.departing.iter().filter_map(|id| self.slot(*id));
        self.living()
            .chain(leaving)
            .filter(|slot| {
                let router = slot.config.router();
                router.promote_secondaries && router.vmac.is_none()
            })
            .filter_map(|slot| slot.link)
            .collect()
    }

    /// Gives every virtual MAC a name that no other has. Those that have one keep it if they may.
    pub(crate) fn name_vmacs(&mut self) {
        let living: BTreeSet<InstanceId> = self.order.iter().copied().collect();
        let leaving = (0..).zip(&self.slots).filter(|(id, _)| !living.contains(&InstanceId(*id)));
        // A base has one link for one MAC: it passes on with its name.
        let heritage: Vec<(&str, [u8; 6], &str)> = leaving
            .filter_map(|(_, slot)| slot.as_ref())
            .flat_map(|slot| slot.vmacs.iter().map(|it| (&*it.base, mac(&slot.config), &*it.name)))
            .collect();
        let mut given = self.vmacs.taken.clone();
        given.extend(heritage.iter().map(|(.., name)| (*name).to_owned()));
        let mut common = Common::default();
        let mut named: Vec<Vec<Named>> = Vec::with_capacity(self.order.len());
        for slot in self.living() {
            let mut all = Vec::new();
            for base in slot.bases() {
                let inherited =
                    heritage.iter().find(|(on, of, _)| (*on, *of) == (base, mac(&slot.config)));
                let name = match (common.name(&slot.config, base), inherited) {
                    (Some(name), _) => Some(name.to_owned()),
                    (None, Some((.., name))) => Some((*name).to_owned()),
                    (None, None) => self.kept_name(slot, base).filter(|name| !given.contains(name)),
                };
                let name = name.unwrap_or_default();
                common.note(&slot.config, base, &name);
                let old = slot.vmacs.iter().find(|old| old.base == base && old.name == name);
                let seen = old.is_some_and(|old| old.seen);
                given.insert(name.clone());
                all.push(Named { base: base.to_owned(), name, seen });
            }
            named.push(all);
        }
        for (id, mut all) in self.order.clone().into_iter().zip(named) {
            let Some(slot) = self.slots[id.index()].as_mut() else { continue };
            for nameless in all.iter_mut().filter(|named| named.name.is_empty()) {
                if let Some(name) = common.name(&slot.config, &nameless.base) {
                    name.clone_into(&mut nameless.name);
                    continue;
                }
                let prefix = self.vmacs.prefix(&slot.config, &nameless.base);
                let free = names(prefix, &slot.config).find(|name| !given.contains(name));
                nameless.name = free.unwrap_or_default();
                common.note(&slot.config, &nameless.base, &nameless.name);
                given.insert(nameless.name.clone());
            }
            for Named { name, .. } in &all {
                self.link_users.entry(name.clone()).or_default().insert(id);
            }
            slot.vmacs = all;
        }
        self.vmacs.stale = true;
    }

    /// The name that is configured for the virtual MAC of an instance on an interface, else the one
    /// it has if it could be given today.
    fn kept_name(&self, slot: &Slot, base: &str) -> Option<String> {
        let router = slot.config.router();
        let own = router.vmac.as_ref().filter(|_| router.interface.as_deref() == Some(base));
        let configured = own.and_then(|vmac| vmac.name.clone());
        configured.filter(|name| !self.vmacs.taken.contains(name)).or_else(|| {
            let before = slot.vmac_on(base)?;
            let prefix = self.vmacs.prefix(&slot.config, base);
            // There are few with one number.
            let could_be = names(prefix, &slot.config).take(256).any(|name| name == before);
            could_be.then(|| before.to_owned())
        })
    }

    /// One of these names is that of a virtual MAC that is no longer there.
    pub(crate) fn mind_vmacs(&mut self, names: &[String]) {
        let lost =
            |vmac: &Vmac| names.contains(&vmac.name) && self.links.named(&vmac.name).is_none();
        if self.vmacs.wanted.iter().any(lost) {
            self.vmacs.wanted.clear();
            self.vmacs.stale = true;
        }
    }

    /// Asks for other macvlans if others are wanted, or other settings of links.
    pub(crate) fn ask_for_vmacs(&mut self, out: &mut Vec<Action>) {
        let some = !self.vmacs.wanted.is_empty() || !self.vmacs.promoted.is_empty();
        let ended = self.phase == Phase::Stopped && some;
        if self.phase == Phase::New || !(mem::take(&mut self.vmacs.stale) || ended) {
            return;
        }
        let (wanted, promoted) = (self.vmacs(), self.promoted());
        if wanted != self.vmacs.wanted {
            self.vmacs.failures.clear();
            self.vmacs.wanted = wanted;
            out.push(Action::Vmacs);
        }
        if promoted != self.vmacs.promoted {
            self.vmacs.promoted = promoted;
            out.push(Action::Promote);
        }
    }

    /// A virtual MAC could not be made; `taken`: its name is that of a link of another kind.
    pub(crate) fn vmac_failed(
        &mut self,
        now: Instant,
        name: &str,
        reason: &str,
        taken: bool,
        out: &mut Vec<Action>,
    ) {
        let users: Vec<InstanceId> =
            self.link_users.get(name).into_iter().flatten().copied().collect();
        if taken {
            self.vmacs.taken.insert(name.to_owned());
            self.name_vmacs();
        } else {
            self.vmacs.failures.insert(name.to_owned(), reason.to_owned());
        }
        if self.phase == Phase::Running {
            self.evaluate(now, users, out);
        }
    }
}
