//! Packets: what they say, and their way from one host to the others of its segment.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use lb_carp::Pace;
use lb_node::{Datagram, LinkIndex, ProtocolKind, Socket, SocketFamily};

use super::World;
use super::queue::Event;
use crate::chance::Chance;
use crate::outcome::{Note, Said};
use crate::scenario::MAX_ROUTERS;
use crate::segment::Fate;

/// One packet under way to any number of receivers.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(super) from: usize,
    pub(super) segment: usize,
    /// The virtual router it is of.
    pub(super) vr: Option<usize>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: ProtocolKind,
    pub(super) ttl: Option<u8>,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    /// What it says of its sender. RFC 9568 §5.2; `lb_carp::Advert`.
    pub(super) fn said(&self) -> Said {
        match (self.protocol, &self.payload[..]) {
            (ProtocolKind::Vrrp, [_, _, 0, ..]) => Said::Stop,
            (ProtocolKind::Vrrp, [_, _, priority, ..]) => Said::Vrrp(*priority),
            (ProtocolKind::Carp, [_, _, advskew, _, demotion, advbase, ..]) => {
                match (Pace { advbase: *advbase, advskew: *advskew }) {
                    Pace::BOW_OUT => Said::Stop,
                    pace => Said::Carp(Reverse(*demotion), Reverse(pace.interval())),
                }
            }
            _ => Said::Stop,
        }
    }

    /// Its sender's interval. RFC 9568 §5.2.7, RFC 3768 §5.3.7.
    pub(super) fn interval(&self) -> Duration {
        match (self.said(), &self.payload[..]) {
            (Said::Carp(_, Reverse(interval)), _) => interval,
            (_, [head, _, _, _, high, low, ..]) if head >> 4 == 3 => {
                Duration::from_millis((u64::from(high & 0x0f) << 8 | u64::from(*low)) * 10)
            }
            (_, [_, _, _, _, _, seconds, ..]) => Duration::from_secs((*seconds).into()),
            _ => Duration::ZERO,
        }
    }
}

impl World<'_> {
    /// `aside`: to one router alone, which is not how a virtual router speaks.
    pub(super) fn send(&mut self, from: usize, datagram: &Datagram, payload: &[u8], aside: bool) {
        let wires = &self.scenario.routers[from].wires;
        let Some(wire) = (match datagram.link {
            Some(link) => Some(link as usize - 1),
            None => wires.iter().position(|wire| wire.addresses.contains(&datagram.source)),
        }) else {
            return;
        };
        let segment = wires[wire].segment;
        let Datagram { source, destination, ttl, protocol, .. } = *datagram;
        let id = payload.get(1).copied().unwrap_or_default();
        let vr = self.table.find(segment, source, protocol, id);
        let payload = payload.to_vec();
        let packet = Packet { from, segment, vr, source, destination, protocol, ttl, payload };
        let said = packet.said();
        if let Some(vr) = vr.filter(|_| !aside) {
            let host = &self.hosts[from];
            if let Some(terms) = host.terms.iter().find(|terms| terms.vr == vr) {
                self.judge.sent(self.now, from, host, terms, said);
            }
            if said == Said::Stop {
                self.note(|| Note::SaysStop { router: from, virtual_router: vr });
            }
        }
        if !self.hosts[from].carriers[wire] {
            return;
        }
        self.broadcast(&Rc::new(packet));
    }

    /// A packet is on its segment.
    pub(super) fn broadcast(&mut self, packet: &Rc<Packet>) {
        let Packet { from, segment, vr, destination, .. } = **packet;
        for port in 0..self.segments[segment].ports.len() {
            let (to, wire) = self.segments[segment].ports[port];
            let addresses = &self.scenario.routers[to].wires[wire].addresses;
            if to == from || !destination.is_multicast() && !addresses.contains(&destination) {
                continue;
            }
            let arrive = |packet| Event::Arrive { router: to, wire, packet };
            self.deliver(packet, to, arrive);
        }
        for guest in 0..self.guests.len() {
            let to = MAX_ROUTERS + guest;
            let meant = destination.is_multicast() || self.guests[guest].is_at(destination);
            if to != from && meant && vr.is_some() && self.guests[guest].vr == vr {
                self.deliver(packet, to, |packet| Event::GuestHears { guest, packet });
            }
        }
    }

    fn deliver(&mut self, packet: &Rc<Packet>, to: usize, event: impl Fn(Rc<Packet>) -> Event) {
        let Packet { from, segment, vr, .. } = **packet;
        let about = (from as u64) << 48 | (to as u64) << 32 | (segment as u64) << 16;
        let number = packet.payload.get(1).copied().unwrap_or_default();
        let about = about | (packet.protocol as u64) << 8 | u64::from(number);
        let chance = Chance::of(self.scenario.seed, [self.now, about]);
        match self.segments[segment].fate(self.now, from, to, chance) {
            Fate::Arrives(at, again) => {
                for at in [Some(at), again].into_iter().flatten() {
                    self.queue.push(at, event(Rc::clone(packet)));
                }
            }
            fate @ (Fate::Blocked | Fate::Lost) => {
                if let Some(virtual_router) = vr {
                    let blocked = fate == Fate::Blocked;
                    self.note(|| Note::Lost { from, to, virtual_router, blocked });
                }
            }
        }
    }

    pub(super) fn arrive(&mut self, router: usize, wire: usize, packet: Rc<Packet>) {
        let host = &mut self.hosts[router];
        let link = wire as LinkIndex + 1;
        if host.stalled.is_some_and(|stall| stall.host) {
            return;
        }
        let Some(node) = host.node.as_ref().filter(|_| host.carriers[wire]) else { return };
        let group = packet.destination.is_multicast().then_some(packet.destination);
        let family = if packet.source.is_ipv4() { SocketFamily::Inet } else { SocketFamily::Inet6 };
        let sockets = node.sockets();
        let open = |link| match group {
            Some(_) => sockets.contains(&Socket { link, family, ah: false, group }),
            // What comes to the host itself every socket there hears.
            None => sockets
                .iter()
                .any(|socket| (socket.link, socket.family, socket.ah) == (link, family, false)),
        };
        if !open(Some(link)) && !open(None) {
            return;
        }
        self.count.packets += 1;
        host.sockets.push_back((link, packet));
        if host.awake() {
            self.turn(router);
        }
    }
}
