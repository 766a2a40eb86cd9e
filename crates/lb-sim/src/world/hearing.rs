//! A node hears a packet, and the judge learns what it has to do about it.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use lb_control::State;
use lb_election::IpPacket;
use lb_node::{Input, LinkIndex};

use super::packet::Packet;
use super::{World, nanos};
use crate::judge::Promise;
use crate::outcome::{Said, Why};
use crate::table::Terms;

impl World<'_> {
    pub(super) fn hear(&mut self, router: usize, link: LinkIndex, packet: &Rc<Packet>) {
        let wire = link as usize - 1;
        let said = packet.said();
        let mut better = false;
        if let Some(vr) = packet.vr {
            let host = &self.hosts[router];
            if let Some(terms) = host.terms.iter().find(|terms| terms.vr == vr) {
                better = self.is_better(router, wire, terms, packet);
                let patience =
                    self.has_to_let_be(terms, packet).filter(|_| self.now > host.deaf_until);
                self.judge.heard(self.now, router, vr, patience.map(nanos));
            }
        }
        self.why = Why::Heard { from: packet.from, said };
        let input = IpPacket {
            source: packet.source,
            destination: packet.destination,
            ttl: packet.ttl,
            declared_len: None,
            ah: None,
            payload: &packet.payload,
        };
        self.tell(router, Input::Packet { link, packet: input });
        if let Some(vr) = packet.vr.filter(|_| better)
            && self.judge.seat(router, vr).state == State::Master
        {
            let name = &self.scenario.routers[router].name;
            self.judge.complain(self.now, Promise::Yield, Some(vr), || {
                format!("{name} stays MASTER though it heard {said}")
            });
        }
    }

    /// How long an instance has to let the sender of a packet be if it does not preempt.
    fn has_to_let_be(&self, terms: &Terms, packet: &Packet) -> Option<Duration> {
        if !terms.nopreempt {
            return None;
        }
        let patience = terms.patience.shortest(packet.interval());
        match packet.said() {
            Said::Stop => None,
            Said::Vrrp(_) => Some(patience),
            // Somebody demoted, or too slow, need not be put up with.
            Said::Carp(Reverse(0), Reverse(interval)) => (interval <= patience).then_some(patience),
            Said::Carp(..) => None,
        }
    }

    /// Whether a packet is from a better master than this one.
    fn is_better(&self, router: usize, wire: usize, terms: &Terms, packet: &Packet) -> bool {
        let seat = self.judge.seat(router, terms.vr);
        if seat.state != State::Master || seat.said == Some(Said::Stop) || terms.owner {
            return false;
        }
        let (ours, theirs) = (self.judge.standing(router, terms), packet.said());
        let addresses = &self.scenario.routers[router].wires[wire].addresses;
        let like = |ours: &&IpAddr| ours.is_ipv4() == packet.source.is_ipv4();
        let wins = addresses.iter().find(like).is_some_and(|ours| match theirs {
            Said::Vrrp(_) => packet.source > *ours,
            // The lower compared from the last octet; of demoted ones the higher:
            // `lb_carp::Instance`.
            Said::Carp(Reverse(0), _) => backwards(packet.source) < backwards(*ours),
            Said::Carp(..) => packet.source > *ours,
            Said::Stop => false,
        });
        theirs != Said::Stop && (theirs > ours || theirs == ours && wins)
    }
}

fn backwards(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from_le_bytes(address.octets()).into(),
        IpAddr::V6(address) => u128::from_le_bytes(address.octets()),
    }
}
