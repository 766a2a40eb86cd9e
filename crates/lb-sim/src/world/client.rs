//! What clients see: who answers for each virtual address.
//!
//! A client of a segment has a neighbour cache; so has the switch. Both follow gratuitous ARP and
//! neighbour advertisements, so one pointer per address stands for them: the router that traffic
//! goes to. It gets there while that router has power, its cable and the address. A pointer to a
//! router that does not answer is given up after [`Scenario::patience`](crate::Scenario), and then
//! whoever has the address answers; so does one for an address that nobody ever announced.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_control::State;
use lb_node::{InstanceId, LinkIndex};

use super::node::base;
use super::queue::Event;
use super::{World, nanos};
use crate::Time;
use crate::chance::Chance;
use crate::host::Change;
use crate::judge::Promise;
use crate::outcome::Note;

/// All virtual addresses of a scenario, by segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    pub(super) views: BTreeMap<(usize, IpAddr), View>,
}

/// One virtual address as clients see it.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Where traffic goes.
    pub(super) pointer: Option<usize>,
    /// When the announcement that said so was sent.
    told: Time,
    /// Who forwards it, from when on. Changes only.
    pub(super) served: Vec<(Time, Option<usize>)>,
}

impl View {
    /// Who forwards it now.
    pub(super) fn server(&self) -> Option<usize> {
        self.served.last().and_then(|(_, server)| *server)
    }

    /// Somebody forwards it now, or nobody does. Whether that is news.
    pub(super) fn set(&mut self, now: Time, server: Option<usize>) -> bool {
        let news = match self.served.last() {
            Some((_, before)) => *before != server,
            None => server.is_some(),
        };
        if news {
            // What lasted no time was not seen.
            self.served.pop_if(|(since, _)| *since == now);
            if self.served.last().is_none_or(|(_, before)| *before != server) {
                self.served.push((now, server));
            }
        }
        news
    }
}

impl World<'_> {
    /// Tells clients of the addresses of an instance; one round that arrives is enough.
    pub(super) fn announce(&mut self, router: usize, instance: InstanceId, rounds: u32) {
        let Some(node) = &self.hosts[router].node else { return };
        let vips: Vec<_> =
            node.vips(instance).map(|(link, vip)| (base(link), vip.address)).collect();
        for (link, address) in vips {
            let wire = link as usize - 1;
            if !self.hosts[router].carriers[wire] {
                continue;
            }
            let segment = self.scenario.routers[router].wires[wire].segment;
            let mut chance = Chance::of(self.scenario.seed, [self.now, link.into()]);
            let first = (0..rounds)
                .filter_map(|_| self.segments[segment].to_clients(router, &mut chance))
                .min();
            if let Some(takes) = first {
                let sent = self.now;
                let event = Event::Announced { router, segment, address, sent };
                self.queue.push(sent + takes, event);
            }
        }
    }

    /// Clients hear that a router has an address. What one router said does not come after what another
    /// one said since: they are behind one switch.
    pub(super) fn announced(&mut self, router: usize, segment: usize, address: IpAddr, sent: Time) {
        let late = self.now - sent > nanos(self.scenario.calm.longest());
        if let Some(view) = self.clients.views.get_mut(&(segment, address)) {
            if view.told > sent {
                return;
            }
            (view.pointer, view.told) = (Some(router), sent);
            self.look(segment, address);
        }
        // By then it tells a router that had the address nothing about whoever has it now.
        if !late {
            self.claimed(router, segment, address);
        }
    }

    /// So do routers that had it until a moment ago, or believe to have it.
    fn claimed(&mut self, from: usize, segment: usize, address: IpAddr) {
        for port in 0..self.segments[segment].ports.len() {
            let (router, wire) = self.segments[segment].ports[port];
            let link = wire as LinkIndex + 1;
            let node = self.hosts[router].node.as_ref().filter(|_| router != from);
            let meant = |(on, held): &(LinkIndex, IpAddr)| base(*on) == link && *held == address;
            let link = node.and_then(|node| node.held().into_iter().find(meant));
            let Some((link, _)) = link else { continue };
            if self.hosts[router].carriers[wire] && self.segments[segment].hears(from, router) {
                self.hosts[router].changes.push_back(Change::Claimed(link, address, from));
                self.turn(router);
            }
        }
    }

    /// An address came to a host or left it.
    pub(super) fn moved(&mut self, router: usize, link: LinkIndex, address: IpAddr) {
        let segment = self.scenario.routers[router].wires[link as usize - 1].segment;
        self.look(segment, address);
    }

    pub(super) fn look_at_all(&mut self) {
        let keys: Vec<_> = self.clients.views.keys().copied().collect();
        for (segment, address) in keys {
            self.look(segment, address);
        }
    }

    /// Whether clients of an address get through now.
    pub(super) fn look(&mut self, segment: usize, address: IpAddr) {
        let Some(view) = self.clients.views.get(&(segment, address)) else { return };
        let pointer = view.pointer;
        let server = pointer.filter(|router| self.answers(*router, segment, address));
        let view = self.clients.views.get_mut(&(segment, address));
        if view.is_some_and(|view| view.set(self.now, server)) {
            self.note(|| Note::Serves { segment, address, router: server });
            if let (None, Some(vr)) = (server, self.planned_vr(segment, address)) {
                self.judge.complain(self.now, Promise::HandOver, Some(vr), || {
                    format!("clients of {address} get nowhere")
                });
            }
        }
        if server.is_none() {
            let at = self.now + nanos(self.scenario.patience);
            self.queue.push(at, Event::Doubt { segment, address, since: self.now });
        }
    }

    /// The virtual router of an address that has to be served now.
    fn planned_vr(&self, segment: usize, address: IpAddr) -> Option<usize> {
        let mut all = self
            .hosts
            .iter()
            .zip(&self.scenario.routers)
            .flat_map(|(host, spec)| host.terms.iter().map(move |terms| (terms, spec)));
        let found = all.find(|(terms, spec)| {
            terms
                .vips
                .iter()
                .any(|(wire, vip)| *vip == address && spec.wires[*wire].segment == segment)
        });
        found.map(|(terms, _)| terms.vr).filter(|vr| self.planned[*vr])
    }

    /// A router has begun anew, without addresses: whoever looked for one there has given up.
    pub(super) fn begun(&mut self, router: usize) {
        if self.hosts[router].vips.is_empty() {
            let views = self.clients.views.values_mut();
            let misled = views.filter(|view| view.pointer == Some(router));
            misled.for_each(|view| view.pointer = None);
            self.look_at_all();
        }
    }

    /// Everybody has had time to agree: no client looks for an address at a router that is BACKUP.
    /// A stranger is not told, and who is in FAULT, or has ended, tells nobody.
    pub(super) fn find_misled_clients(&mut self) {
        let keys: Vec<_> = self.clients.views.keys().copied().collect();
        for (segment, address) in keys {
            let Some(View { pointer: Some(router), .. }) =
                self.clients.views.get(&(segment, address))
            else {
                continue;
            };
            let (router, host) = (*router, &self.hosts[*router]);
            let spec = &self.scenario.routers[router];
            let terms = host.terms.iter().find(|terms| {
                let here = |(wire, vip): &(usize, IpAddr)| {
                    *vip == address && spec.wires[*wire].segment == segment
                };
                terms.vips.iter().any(here)
            });
            let Some(vr) = terms.map(|terms| terms.vr).filter(|_| host.awake()) else { continue };
            let mut all = self.hosts.iter().flat_map(|host| &host.terms);
            let told = all.all(|terms| terms.vr != vr || terms.handover)
                && self.guests.iter().all(|guest| guest.vr != Some(vr));
            let serves = self.answers(router, segment, address);
            if told && !serves && self.judge.seat(router, vr).state == State::Backup {
                self.judge.complain(self.now, Promise::Clients, Some(vr), || {
                    format!("clients look for {address} at {}, which is BACKUP", spec.name)
                });
            }
        }
    }

    /// Clients that got nowhere since a time ask anew: whoever has the address answers.
    pub(super) fn doubt(&mut self, segment: usize, address: IpAddr, since: Time) {
        let Some(view) = self.clients.views.get(&(segment, address)) else { return };
        let still =
            view.server().is_none() && view.served.last().is_none_or(|(at, _)| *at <= since);
        let holder = (0..self.hosts.len()).find(|router| self.answers(*router, segment, address));
        if let (true, Some(holder)) = (still, holder) {
            if let Some(view) = self.clients.views.get_mut(&(segment, address)) {
                view.pointer = Some(holder);
            }
            self.look(segment, address);
        }
    }

    /// Whether a router forwards what is sent to an address.
    fn answers(&self, router: usize, segment: usize, address: IpAddr) -> bool {
        let (host, wires) = (&self.hosts[router], &self.scenario.routers[router].wires);
        host.power
            && !self.segments[segment].is_cut(router)
            && wires.iter().enumerate().any(|(wire, spec)| {
                spec.segment == segment
                    && host.carriers[wire]
                    && host.vips.contains(&(wire as LinkIndex + 1, address))
            })
    }
}
