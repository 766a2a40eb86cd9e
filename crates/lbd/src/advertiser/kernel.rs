//! What the kernel has: links and addresses, kept up to date, and the VIPs we put there.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;

use lb_net::{
    Address, Announcement, Announcer, ArpForm, Change, Event, InterfaceAddress, Link, Monitor,
    Outcome, Poller, RouteSocket,
};

use crate::advertiser::node::{Input, LinkIndex, Vip};

/// Knows the kernel's links and addresses as of the last [`Kernel::drain`], our own changes included.
#[derive(Debug)]
pub(super) struct Kernel {
    route: RouteSocket,
    monitor: Monitor,
    announcer: Announcer,
    links: BTreeMap<LinkIndex, Link>,
    addresses: HashSet<(LinkIndex, IpAddr)>,
    /// Addresses that we have removed and whose notification is yet to come, in its order.
    removed: VecDeque<(LinkIndex, IpAddr)>,
}

/// One VIP to be there or not.
#[derive(Debug)]
pub(super) struct VipChange {
    pub vip: Vip,
    pub present: bool,
}

impl Kernel {
    /// Opens the sockets and has `poller` report what happens as `token`.
    pub(super) fn open(poller: &Poller, token: u64) -> Result<Self, lb_net::Error> {
        let route = RouteSocket::open()?;
        let monitor = Monitor::open(route.port())?;
        let watched = poller.add(&monitor, token);
        watched.map_err(|source| lb_net::Error::System {
            what: "watching the netlink socket".into(),
            source,
        })?;
        Ok(Self {
            route,
            monitor,
            announcer: Announcer::open()?,
            links: BTreeMap::new(),
            addresses: HashSet::new(),
            removed: VecDeque::new(),
        })
    }

    /// Tells everything there is, and what is no longer there of what was told before.
    pub(super) fn survey(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let links = self.route.links()?;
        let indices: BTreeSet<_> = links.iter().map(|link| link.index).collect();
        for gone in self.links.keys().filter(|index| !indices.contains(index)) {
            tell(Input::LinkGone { link: *gone });
        }
        self.links.clear();
        for link in links {
            self.link(link, tell);
        }
        let addresses = self.route.addresses()?;
        let usable = addresses.iter().filter(|address| !address.tentative);
        let present: HashSet<_> = usable.map(|a| (a.ifindex, a.address)).collect();
        for &(link, address) in self.addresses.difference(&present) {
            if indices.contains(&link) {
                tell(Input::Address { link, address, present: false });
            }
        }
        self.addresses.clear();
        for address in &addresses {
            self.address(address, tell);
        }
        Ok(())
    }

    /// Tells what has happened since the last time, but for what we did ourselves.
    pub(super) fn drain(&mut self, tell: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let mut events = Vec::new();
        self.monitor.drain(|event| events.push(event))?;
        if events.contains(&Event::Overrun) {
            tracing::warn!("the kernel's notifications overran; asking for everything anew");
            self.removed.clear();
            return self.survey(tell);
        }
        for event in events {
            match event {
                Event::Link(link) => self.link(link, tell),
                Event::LinkGone { index } => {
                    self.links.remove(&index);
                    self.addresses.retain(|(link, _)| *link != index);
                    tell(Input::LinkGone { link: index });
                }
                Event::Address(address) => self.address(&address, tell),
                Event::AddressGone { address, by_us } => self.address_gone(&address, by_us, tell),
                Event::Overrun => {}
            }
        }
        Ok(())
    }

    fn link(&mut self, link: Link, tell: &mut dyn FnMut(Input<'_>)) {
        tell(Input::Link { link: link.index, name: &link.name, up: link.up });
        self.links.insert(link.index, link);
    }

    fn address(&mut self, address: &InterfaceAddress, tell: &mut dyn FnMut(Input<'_>)) {
        let InterfaceAddress { ifindex: link, address, tentative, .. } = *address;
        if !tentative {
            self.addresses.insert((link, address));
            tell(Input::Address { link, address, present: true });
        }
    }

    fn address_gone(
        &mut self,
        address: &InterfaceAddress,
        by_us: bool,
        tell: &mut dyn FnMut(Input<'_>),
    ) {
        let key = (address.ifindex, address.address);
        if by_us && self.removed.front() == Some(&key) {
            self.removed.pop_front();
            return;
        }
        // By somebody else, or a secondary address that the kernel took away with its primary one.
        self.addresses.remove(&key);
        tell(Input::Address { link: key.0, address: key.1, present: false });
    }

    /// Makes changes in their order; a refusal is logged.
    pub(super) fn change(&mut self, changes: &[VipChange]) -> io::Result<()> {
        let requests: Vec<_> = changes.iter().map(request).collect();
        let outcomes = self.route.change(&requests)?;
        for (VipChange { vip, present }, outcome) in changes.iter().zip(outcomes) {
            let key = (vip.link, vip.address.address);
            match (outcome, present) {
                (Outcome::Done | Outcome::Already, true) => {
                    self.addresses.insert(key);
                }
                (Outcome::Done, false) => {
                    self.addresses.remove(&key);
                    self.removed.push_back(key);
                }
                (Outcome::Already, false) => {
                    self.addresses.remove(&key);
                }
                (Outcome::Refused(error), _) => tracing::error!(
                    "cannot {} {}/{} on {}: {error}",
                    if *present { "add" } else { "remove" },
                    vip.address.address,
                    vip.address.prefix,
                    self.name(vip.link).unwrap_or("?"),
                ),
            }
        }
        Ok(())
    }

    /// Sends an announcement, at the latest with [`Kernel::flush_announcements`]; none where there
    /// is nobody to tell.
    pub(super) fn announce(&mut self, link: LinkIndex, address: IpAddr, router: bool) {
        let Some(link) = self.links.get(&link).filter(|link| !link.noarp) else { return };
        let Some(hardware) = link.hardware else { return };
        let form = ArpForm::Request;
        let announcement = Announcement { ifindex: link.index, hardware, address, form, router };
        self.announcer.queue(&announcement);
        if self.announcer.is_full() {
            self.flush_announcements();
        }
    }

    /// Sends what is queued.
    pub(super) fn flush_announcements(&mut self) {
        self.announcer.flush(|_, error| tracing::debug!("sending gratuitous ARP: {error}"));
    }

    /// Name of a link.
    pub(super) fn name(&self, link: LinkIndex) -> Option<&str> {
        self.links.get(&link).map(|link| link.name.as_str())
    }
}

fn request(VipChange { vip, present }: &VipChange) -> Change<'_> {
    let address = Address {
        ifindex: vip.link,
        address: vip.address.address,
        prefix: vip.address.prefix,
        broadcast: vip.address.broadcast,
        scope: vip.address.scope,
        label: vip.address.label.as_deref(),
    };
    if *present { Change::Add(address) } else { Change::Remove(address) }
}
