//! What the kernel has: links and addresses, kept up to date, and the VIPs we put there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lb_config::model;
use lb_control::EventKind;
use lb_net::{
    Announcement, Announcer, ArpForm, Balancing, Error, Event, GuardedAddress, InUse, Interface,
    InterfaceAddress, Link, MacvlanMode, Monitor, Outcome, Poller, Presence, RouteSocket,
    SharedAddress, VmacSpec, Vmacs, Waker,
};

use crate::advertiser::keeper::Keeper;
use crate::advertiser::queue::{Owner, Place, VipChange};
use crate::advertiser::rules::Rules;
use crate::advertiser::thread::with_sources;
use crate::engine::EventSink;
use lb_node::{Guarded, Input, LinkIndex, Node, Shared, Vmac};

/// How long a start, and an end, wait for what they need: longer than each program and netlink request
/// may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Knows the kernel's links and addresses as of the last [`Kernel::drain`], our own changes included
/// from the moment they were asked for.
#[derive(Debug)]
pub(super) struct Kernel {
    monitor: Monitor,
    keeper: Keeper,
    rules: Rules,
    /// Tells other processes of ours in this network namespace that we are here.
    presence: Presence,
    links: BTreeMap<LinkIndex, Link>,
    /// Names of the virtual MACs that were asked for.
    vmacs: BTreeSet<String>,
    addresses: HashSet<(LinkIndex, IpAddr)>,
    /// Links that have another MAC than before.
    other_macs: BTreeSet<LinkIndex>,
    removals: Removals,
    /// VIPs that the kernel refused to remove.
    stuck: BTreeSet<(LinkIndex, IpAddr)>,
    /// Addresses that are to be told of when they are there.
    unconfirmed: HashSet<Place>,
    /// Those of them that are.
    confirmed: Arc<Mutex<Vec<Place>>>,
    /// Virtual MACs whose neighbours are to be forgotten.
    forgotten: Arc<Mutex<BTreeSet<LinkIndex>>>,
    /// While everything is asked for anew: what has changed since then.
    surveying: Option<Changed>,
    /// Notifications were lost again meanwhile.
    overrun: bool,
    /// What was found, until it is taken note of.
    found: Arc<Mutex<Option<io::Result<Found>>>>,
    waker: Arc<Waker>,
}

/// Links and addresses as the kernel listed them.
#[derive(Debug)]
struct Found {
    links: Vec<Link>,
    addresses: Vec<InterfaceAddress>,
}

impl Found {
    fn ask(route: &mut RouteSocket) -> io::Result<Self> {
        Ok(Self { links: route.links()?, addresses: route.addresses()? })
    }
}

/// What is known better than by a list that was asked for before.
#[derive(Debug, Default)]
struct Changed {
    links: BTreeSet<LinkIndex>,
    addresses: HashSet<(LinkIndex, IpAddr)>,
}

impl Kernel {
    /// Opens the sockets and has `poller` report what happens as `token`.
    /// `waker` is woken when [`Kernel::settle`] has something to do.
    /// `events` are told when what they tell of is done.
    pub(super) fn open(
        poller: &Poller,
        token: u64,
        events: EventSink,
        waker: Arc<Waker>,
    ) -> Result<Self, Error> {
        let system = |what: &'static str| move |source| Error::System { what: what.into(), source };
        let changes = RouteSocket::open()?;
        let monitor = Monitor::open(changes.port())?;
        poller.add(&monitor, token).map_err(system("watching the netlink socket"))?;
        let presence = Presence::announce().map_err(system("saying that lbd is here"))?;
        let vmacs = Vmacs::open()?.sweeping(is_alone(&presence));
        let keeper = Keeper::start(changes, Announcer::open()?, events, Arc::clone(&waker))
            .map_err(system("starting the thread that keeps addresses"))?;
        let rules = Rules::start(vmacs, presence.table(), Arc::clone(&waker))
            .map_err(system("starting the thread that makes links and rules"))?;
        Ok(Self {
            monitor,
            keeper,
            rules,
            presence,
            links: BTreeMap::new(),
            vmacs: BTreeSet::new(),
            addresses: HashSet::new(),
            other_macs: BTreeSet::new(),
            removals: Removals::default(),
            stuck: BTreeSet::new(),
            unconfirmed: HashSet::new(),
            confirmed: Arc::default(),
            forgotten: Arc::default(),
            surveying: None,
            overrun: false,
            found: Arc::default(),
            waker,
        })
    }

    /// Tells everything there is, before the start. Waits for the kernel.
    pub(super) fn survey(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let mut route = RouteSocket::open().map_err(io::Error::other)?;
        self.take_in(Found::ask(&mut route)?, &Changed::default(), tell);
        Ok(())
    }

    /// Has everything asked for anew by the thread that may wait, after the changes before it: a list
    /// takes the kernel's lock, and with thousands of addresses its time. One list at a time.
    fn survey_later(&mut self) -> io::Result<()> {
        self.removals.lose();
        if self.surveying.is_some() {
            self.overrun = true;
            return Ok(());
        }
        tracing::warn!("the kernel's notifications overran; asking for everything anew");
        self.surveying = Some(Changed::default());
        let (found, waker) = (Arc::clone(&self.found), Arc::clone(&self.waker));
        self.keeper.then(move || {
            let route = RouteSocket::open().map_err(io::Error::other);
            let all = route.and_then(|mut route| Found::ask(&mut route));
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(all);
            waker.wake();
        })
    }

    /// Takes note of what was asked for anew, if it is there.
    fn catch_up(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(found) = found else { return Ok(()) };
        // What happened before the list was made is told by now.
        self.drain(tell)?;
        self.removals.forget_lost();
        let changed = self.surveying.take().unwrap_or_default();
        self.take_in(found?, &changed, tell);
        if mem::take(&mut self.overrun) { self.survey_later() } else { Ok(()) }
    }

    /// Tells everything that was found, and what is no longer there of what was told before, but for
    /// what has changed since.
    fn take_in(&mut self, found: Found, changed: &Changed, tell: &mut dyn FnMut(Input<'_>)) {
        let there: BTreeSet<_> = found.links.iter().map(|link| link.index).collect();
        let gone: Vec<_> = self.links.keys().copied().collect();
        for index in gone {
            if !there.contains(&index) && !changed.links.contains(&index) {
                self.link_gone(index, tell);
            }
        }
        for link in found.links {
            if !changed.links.contains(&link.index) {
                self.link(link, tell);
            }
        }
        // A VIP of ours is there even while the kernel looks for its duplicates.
        let present = found.addresses.iter().filter(|address| address.ours || !address.tentative);
        let present: HashSet<_> = present.map(|a| (a.ifindex, a.address)).collect();
        let gone: Vec<_> = self.addresses.difference(&present).copied().collect();
        for place in gone.into_iter().filter(|place| !changed.addresses.contains(place)) {
            self.addresses.remove(&place);
            tell(Input::Address { link: place.0, address: place.1, present: false });
        }
        for address in &found.addresses {
            if !changed.addresses.contains(&(address.ifindex, address.address)) {
                self.address(address, tell);
            }
        }
    }

    /// Makes the virtual MACs of a node that has not started, so that it finds them, and before
    /// them what guards addresses and shares their load.
    pub(super) fn prepare(
        &mut self,
        node: &mut Node,
        guarded: Guarded,
        tell: &mut dyn FnMut(&mut Node, Input<'_>),
    ) -> io::Result<()> {
        if !guarded.is_empty() {
            self.guard(guarded)?;
            self.finish(&mut |input| tell(node, input))?;
        }
        let shares = node.shares();
        if !shares.is_empty() {
            self.share(shares)?;
            self.finish(&mut |input| tell(node, input))?;
        }
        let mut made = None;
        // Without any too: an earlier process may have left some. Again when a name was taken.
        loop {
            let wanted = node.vmacs();
            if made.as_ref() == Some(&wanted) {
                return Ok(());
            }
            made = Some(wanted.clone());
            self.vmacs(wanted)?;
            self.finish(&mut |input| tell(node, input))?;
        }
    }

    /// Takes away what an earlier process has left here that the node's configuration does not have.
    pub(super) fn sweep(&mut self, node: &Node, guarded: &Guarded) {
        if !is_alone(&self.presence) {
            return;
        }
        let vmacs = node.vmacs();
        let is_vmac = |link: &&Link| vmacs.iter().any(|vmac| vmac.name == link.name);
        let table = self.presence.table();
        let of = |used: bool| used.then(|| table.to_owned()).into_iter().collect();
        let in_use = InUse {
            addresses: node.configured_vips(),
            vmacs: self.links.values().filter(is_vmac).map(|link| link.index).collect(),
            bases: vmacs.iter().map(|vmac| vmac.base).collect(),
            shares: of(!node.shares().is_empty()),
            guards: of(!guarded.is_empty()),
        };
        let swept = RouteSocket::open().and_then(|mut route| lb_net::sweep(&mut route, &in_use));
        if let Err(error) = swept {
            tracing::warn!("{}", with_sources(&error));
        }
    }

    /// Waits until everything is done, and tells how it went.
    fn finish(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let (done, wait) = mpsc::sync_channel(1);
        self.end(move || {
            let _ = done.send(());
        })?;
        match wait.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => {
                let what = "addresses, links and rules could not be made within 30 s";
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            // Disconnected when the thread has failed; it says so when it is asked for more.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
        }
        self.settle(tell)?;
        self.drain(tell)
    }

    /// Tells what has happened since the last time, but for what we did ourselves.
    pub(super) fn drain(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let mut events = Vec::new();
        self.monitor.drain(|event| events.push(event))?;
        if events.contains(&Event::Overrun) {
            // What was read with it is part of what is asked for now.
            return self.survey_later();
        }
        for event in events {
            match event {
                Event::Link(link) => self.link(link, tell),
                Event::LinkGone { index } => self.link_gone(index, tell),
                Event::Address(address) => self.address(&address, tell),
                Event::AddressGone { address, by_us } => self.address_gone(&address, by_us, tell),
                Event::Overrun => {}
            }
        }
        Ok(())
    }

    fn link_gone(&mut self, index: LinkIndex, tell: &mut dyn FnMut(Input<'_>)) {
        if let Some(changed) = &mut self.surveying {
            changed.links.insert(index);
            let addresses = self.addresses.iter().filter(|(link, _)| *link == index);
            changed.addresses.extend(addresses);
        }
        self.links.remove(&index);
        self.addresses.retain(|(link, _)| *link != index);
        tell(Input::LinkGone { link: index });
    }

    /// The links that have another MAC since the last time: whoever is asked is to tell it.
    pub(super) fn take_other_macs(&mut self) -> BTreeSet<LinkIndex> {
        mem::take(&mut self.other_macs)
    }

    fn link(&mut self, link: Link, tell: &mut dyn FnMut(Input<'_>)) {
        if let Some(changed) = &mut self.surveying {
            changed.links.insert(link.index);
        }
        tell(Input::Link { link: link.index, name: &link.name, up: link.up });
        let index = link.index;
        let hardware = link.hardware;
        if let Some(old) = self.links.insert(index, link)
            && old.hardware != hardware
        {
            self.other_macs.insert(index);
        }
    }

    fn address(&mut self, address: &InterfaceAddress, tell: &mut dyn FnMut(Input<'_>)) {
        let InterfaceAddress { ifindex: link, address, tentative, .. } = *address;
        self.changed((link, address));
        if !tentative {
            self.addresses.insert((link, address));
            // The kernel tells of an IPv6 address before it answers for it.
            if !self.unconfirmed.contains(&(link, address)) {
                tell(Input::Address { link, address, present: true });
            }
        }
    }

    fn address_gone(
        &mut self,
        address: &InterfaceAddress,
        by_us: bool,
        tell: &mut dyn FnMut(Input<'_>),
    ) {
        let key = (address.ifindex, address.address);
        if by_us && self.removals.tell(&key) {
            return;
        }
        self.changed(key);
        // By somebody else, or a secondary address that the kernel took away with its primary one.
        self.addresses.remove(&key);
        tell(Input::Address { link: key.0, address: key.1, present: false });
    }

    /// An address is known better than by a list that was asked for before.
    fn changed(&mut self, place: (LinkIndex, IpAddr)) {
        if let Some(changed) = &mut self.surveying {
            changed.addresses.insert(place);
        }
    }

    /// Has changes made in their order.
    pub(super) fn change(&mut self, changes: Vec<VipChange>) -> io::Result<()> {
        for VipChange { vip, present } in &changes {
            let key = (vip.link, vip.address.address);
            self.changed(key);
            self.stuck.remove(&key);
            if *present {
                self.addresses.insert(key);
            } else {
                self.addresses.remove(&key);
                self.removals.ask(key);
            }
        }
        let left: BTreeSet<LinkIndex> = (changes.iter())
            .filter(|change| !change.present)
            .map(|change| change.vip.link)
            .filter(|link| self.links.get(link).is_some_and(|it| self.vmacs.contains(&it.name)))
            .collect();
        for place in self.keeper.change(changes)? {
            // The removal of this address waited already: no further notification will come.
            self.removals.tell(&place);
        }
        self.forget_neighbours(left)
    }

    /// Has the neighbours of virtual MACs forgotten that have just lost an address: the kernel would look
    /// seconds later whether those are still there to whom it answered last, and the switch would
    /// take it for the master.
    fn forget_neighbours(&self, links: BTreeSet<LinkIndex>) -> io::Result<()> {
        if links.is_empty() {
            return Ok(());
        }
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waiting = !forgotten.is_empty();
        forgotten.extend(links);
        drop(forgotten);
        if is_waiting {
            return Ok(());
        }
        let forgotten = Arc::clone(&self.forgotten);
        self.keeper.then(move || {
            let links = mem::take(&mut *forgotten.lock().unwrap_or_else(PoisonError::into_inner));
            let forget = || -> io::Result<()> {
                let mut route = RouteSocket::open().map_err(io::Error::other)?;
                links.into_iter().try_for_each(|link| route.forget_neighbours(link))
            };
            if let Err(error) = forget() {
                tracing::warn!("forgetting the neighbours of a virtual MAC: {error}");
            }
        })
    }

    /// Takes note of changes that were not made as asked; a refusal is logged, and of a virtual MAC
    /// told.
    ///
    /// # Errors
    /// When the kernel does not say what there is after notifications were lost.
    pub(super) fn settle(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        self.catch_up(tell)?;
        for (name, error) in self.rules.vmac_failures() {
            let (reason, taken) = (with_sources(&error), matches!(error, Error::NameTaken { .. }));
            tracing::error!("virtual MAC {name}: {reason}");
            tell(Input::VmacFailed { name: &name, reason: &reason, taken });
        }
        if let Some(taken) = self.rules.sharing() {
            let failure = taken.as_ref().err().map(with_sources);
            match &failure {
                Some(reason) => tracing::error!("cannot balance: {reason}"),
                None => tracing::info!("balances again"),
            }
            tell(Input::Sharing { failure: failure.as_deref() });
        }
        if let Some((open, failure)) = self.rules.guarding() {
            let failure = failure.as_ref().map(with_sources);
            match &failure {
                Some(reason) => {
                    tracing::error!("cannot drop packets to virtual addresses: {reason}");
                }
                None => tracing::info!("packets to virtual addresses can be dropped again"),
            }
            let reason = failure.as_deref().unwrap_or_default();
            tell(Input::Guarding { open: &open, reason });
        }
        for (VipChange { vip, present }, outcome) in self.keeper.exceptions() {
            let key = (vip.link, vip.address.address);
            if !present {
                // No notification will come.
                self.removals.tell(&key);
            }
            if let Outcome::Refused(error) = outcome {
                if present {
                    self.addresses.remove(&key);
                } else {
                    self.addresses.insert(key);
                    self.stuck.insert(key);
                }
                tracing::error!(
                    "cannot {} {}/{} on {}: {error}",
                    if present { "add" } else { "remove" },
                    vip.address.address,
                    vip.address.prefix,
                    self.links.get(&vip.link).map_or("?", |link| &link.name),
                );
            }
        }
        self.tell_confirmed(tell);
        Ok(())
    }

    /// What announces an address at a link; none where there is nobody to tell.
    pub(super) fn announcement(
        &self,
        link: LinkIndex,
        address: IpAddr,
        router: bool,
    ) -> Option<Announcement> {
        let link = self.links.get(&link).filter(|link| !link.noarp)?;
        // The master before us answers a request for an address behind the same MAC, which takes
        // the switch back to it. Without a virtual MAC what we say is what keepalived says.
        let form = if self.vmacs.contains(&link.name) { ArpForm::Reply } else { ArpForm::Request };
        let hardware = link.hardware?;
        Some(Announcement { ifindex: link.index, hardware, address, form, router })
    }

    /// Has [`Kernel::settle`] tell of these addresses when the changes before are made. Each is waited
    /// for once, however often a role flaps meanwhile.
    pub(super) fn confirm(&mut self, mut places: Vec<Place>) -> io::Result<()> {
        places.retain(|place| self.unconfirmed.insert(*place));
        if places.is_empty() {
            return Ok(());
        }
        let (confirmed, waker) = (Arc::clone(&self.confirmed), Arc::clone(&self.waker));
        self.keeper.then(move || {
            confirmed.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
            waker.wake();
        })
    }

    fn tell_confirmed(&mut self, tell: &mut dyn FnMut(Input<'_>)) {
        let places = mem::take(&mut *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner));
        for place @ (link, address) in places {
            self.unconfirmed.remove(&place);
            // Else it is not wanted any more, or was refused.
            if self.addresses.contains(&place) {
                tell(Input::Address { link, address, present: true });
            }
        }
    }

    /// Has these announced for an instance, so many rounds, when all changes are made.
    pub(super) fn announce(
        &self,
        owner: Owner,
        announcements: Vec<Announcement>,
        rounds: u32,
    ) -> io::Result<()> {
        self.keeper.announce(owner, announcements, rounds)
    }

    /// Has exactly these shares of the load taken.
    pub(super) fn share(&self, shares: Vec<Shared>) -> io::Result<()> {
        let shares = shares.into_iter().filter_map(|share| {
            let link = self.links.get(&share.link)?;
            let name = link.name.clone();
            Some(SharedAddress {
                interface: Interface { index: NonZeroU32::new(share.link)?, name },
                hardware: link.hardware?,
                addresses: share.addresses,
                vhids: share.vhids,
                held: share.held.into_iter().collect(),
                mode: match share.balancing {
                    model::Balancing::Ip => Balancing::Ip,
                    model::Balancing::IpStealth => Balancing::IpStealth,
                    model::Balancing::IpUnicast => Balancing::IpUnicast,
                    model::Balancing::Arp => Balancing::Arp,
                },
                seed: share.seed,
                reverse: false,
            })
        });
        self.rules.share(shares.collect())
    }

    /// Has packets to exactly these addresses dropped when the changes of addresses before it are made.
    /// [`Kernel::end`] tells when it is so, or cannot be.
    pub(super) fn guard(&self, guarded: Guarded) -> io::Result<()> {
        self.rules.check()?;
        let later = self.rules.later();
        let addresses = guarded.into_iter();
        let addresses: BTreeSet<_> =
            addresses.map(|(address, interfaces)| GuardedAddress { address, interfaces }).collect();
        self.keeper.then(move || later.guard(addresses))
    }

    /// Has exactly these virtual MACs made.
    pub(super) fn vmacs(&mut self, wanted: Vec<Vmac>) -> io::Result<()> {
        self.vmacs = wanted.iter().map(|vmac| vmac.name.clone()).collect();
        let spec = |vmac: Vmac| VmacSpec {
            name: vmac.name,
            base: vmac.base,
            hardware: vmac.mac,
            // The base has to hear the advertisements of another router with the same MAC.
            mode: MacvlanMode::Bridge,
            ipv4: vmac.ipv4,
            ipv6: vmac.ipv6,
            link_local: vmac.link_local,
            group: vmac.group,
            tells_of_base: vmac.tells_of_base,
        };
        self.rules.vmacs(wanted.into_iter().map(spec).collect())
    }

    /// Has exactly these links keep a second address of a subnet when the first goes.
    pub(super) fn promote(&self, links: BTreeSet<LinkIndex>) -> io::Result<()> {
        self.keeper.promote(links)
    }

    /// Tells events when the changes of addresses before them are made.
    pub(super) fn tell(&self, events: Vec<EventKind>) -> io::Result<()> {
        self.keeper.tell(events)
    }

    /// Calls `f` when the changes of addresses before it are made.
    pub(super) fn then(&self, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.keeper.then(f)
    }

    /// Waits until the changes of addresses before it are made, for so long at most.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<()> {
        let (done, wait) = mpsc::sync_channel(1);
        self.then(move || {
            let _ = done.send(());
        })?;
        // Later is good as well: the kernel has a lock that others hold for seconds at times.
        let _ = wait.recv_timeout(limit);
        Ok(())
    }

    /// Calls `f` when everything before it is done: addresses first, then links and rules.
    pub(super) fn end(&self, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let rules = self.rules.later();
        self.keeper.then(move || rules.then(f))
    }

    /// Waits until everything is done, at the end. Fails with the VIPs that are still here.
    pub(super) fn conclude(&mut self) -> io::Result<Result<(), String>> {
        self.finish(&mut |_| {})?;
        let stuck: Vec<String> = (self.stuck.iter())
            .map(|(link, address)| format!("{address} on {}", self.name(*link).unwrap_or("?")))
            .collect();
        Ok(if stuck.is_empty() {
            Ok(())
        } else {
            Err(format!("the kernel refused to remove {}", stuck.join(", ")))
        })
    }

    /// Whether a link of this host has this MAC address.
    pub(super) fn is_ours(&self, mac: [u8; 6]) -> bool {
        self.links.values().any(|link| link.hardware == Some(mac))
    }

    /// Name of a link.
    pub(super) fn name(&self, link: LinkIndex) -> Option<&str> {
        self.links.get(&link).map(|link| link.name.as_str())
    }
}

/// Whether no other process of ours is in this network namespace; says so if one is.
fn is_alone(presence: &Presence) -> bool {
    match presence.other() {
        Ok(None) => true,
        Ok(Some(pid)) => {
            tracing::warn!(
                "another lbd (pid {pid}) runs in this network namespace: what a crash may have left \
                 here stays"
            );
            false
        }
        Err(error) => {
            tracing::warn!(
                "cannot see who else runs here ({error}): what a crash may have left stays"
            );
            false
        }
    }
}

/// How many notifications are yet to come of addresses that we remove.
#[derive(Debug, Default)]
struct Removals {
    awaited: HashMap<(LinkIndex, IpAddr), u32>,
    /// Of removals before notifications were lost: some of these will not come.
    perhaps: HashMap<(LinkIndex, IpAddr), u32>,
}

impl Removals {
    /// One more is awaited.
    fn ask(&mut self, place: (LinkIndex, IpAddr)) {
        *self.awaited.entry(place).or_default() += 1;
    }

    /// One less is awaited. Says whether one was.
    fn tell(&mut self, place: &(LinkIndex, IpAddr)) -> bool {
        [&mut self.perhaps, &mut self.awaited].into_iter().any(|removals| {
            let Some(count) = removals.get_mut(place) else { return false };
            *count -= 1;
            if *count == 0 {
                removals.remove(place);
            }
            true
        })
    }

    /// Notifications were lost, those of removals perhaps.
    fn lose(&mut self) {
        for (place, count) in self.awaited.drain() {
            *self.perhaps.entry(place).or_default() += count;
        }
    }

    /// Everything from before the loss that was to come has come.
    fn forget_lost(&mut self) {
        self.perhaps.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_that_is_told_after_an_overrun_is_still_ours_and_a_lost_one_is_awaited_no_more() {
        let [one, two] = [1, 2].map(|last| (1, IpAddr::from([192, 0, 2, last])));
        let mut removals = Removals::default();
        removals.ask(one);
        removals.ask(two);
        removals.lose();
        removals.ask(one);
        assert_eq!([one, one, one].map(|place| removals.tell(&place)), [true, true, false]);
        removals.ask(one);
        removals.forget_lost();
        // That of `two` was lost: another removal of it is somebody else's.
        assert_eq!([one, two].map(|place| removals.tell(&place)), [true, false]);
    }
}
