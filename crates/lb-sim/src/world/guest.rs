//! Other people's routers in the world.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use lb_carp::foreign::Foreign;
use lb_carp::{Advert, Digest};
use lb_control::State;
use lb_election::IpPacket;
use lb_node::ProtocolKind;

use super::World;
use super::packet::Packet;
use super::queue::Event;
use crate::Time;
use crate::host::Clock;
use crate::outcome::{Note, Said, Why};
use crate::scenario::{MAX_ROUTERS, Scenario, Stranger};
use crate::table::Table;

/// One of them.
pub(super) struct Guest<'s> {
    spec: &'s Stranger,
    digest: Digest,
    clock: Clock,
    /// Its virtual router.
    pub(super) vr: Option<usize>,
    /// `None` until it is there.
    foreign: Option<Foreign>,
    wake_at: Time,
}

impl<'s> Guest<'s> {
    pub(super) fn all(scenario: &'s Scenario, table: &Table, zero: Instant) -> Vec<Self> {
        let guest = |spec: &'s Stranger| Self {
            spec,
            digest: Digest::new(&spec.config),
            clock: Clock::new(zero, 0),
            vr: table.find(spec.segment, spec.source, ProtocolKind::Carp, spec.config.vhid.value()),
            foreign: None,
            wake_at: spec.from.as_nanos() as Time,
        };
        scenario.strangers.iter().map(guest).collect()
    }

    pub(super) fn wake_at(&self) -> Time {
        self.wake_at
    }

    /// Whether this is its address.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.spec.source == address
    }

    /// What it last said, as MASTER.
    pub(super) fn mastery(&self) -> Option<(usize, &'s str, Said)> {
        let foreign = self.foreign.as_ref().filter(|foreign| foreign.is_master())?;
        let said = Said::Carp(Reverse(0), Reverse(foreign.pace().interval()));
        Some((self.vr?, &self.spec.name, said))
    }
}

impl World<'_> {
    /// It comes, or its timer may have run out.
    pub(super) fn guest_wakes(&mut self, index: usize) {
        let guest = &mut self.guests[index];
        if guest.wake_at != self.now {
            return;
        }
        let now = guest.clock.at(self.now);
        let Some(foreign) = &mut guest.foreign else {
            let Stranger { kind, config, source, .. } = guest.spec;
            // OpenBSD ignores its own counter: everybody has another one.
            let counter = self.scenario.seed << 8 | index as u64;
            guest.foreign = Some(Foreign::new(*kind, config, *source, counter, now));
            return self.arm_guest(index);
        };
        let before = foreign.is_master();
        let said = foreign.timer(now);
        self.guest_says(index, before, said, Why::Silence);
    }

    pub(super) fn guest_hears(&mut self, index: usize, packet: &Packet) {
        let guest = &mut self.guests[index];
        let Some(foreign) = &mut guest.foreign else { return };
        let heard = IpPacket {
            source: packet.source,
            destination: packet.destination,
            ttl: packet.ttl,
            declared_len: None,
            ah: None,
            payload: &packet.payload,
        };
        let Ok(heard) = Advert::parse(&heard, &guest.spec.config, &guest.digest) else { return };
        let before = foreign.is_master();
        let said = foreign.hear(guest.clock.at(self.now), &heard, packet.source);
        let why = Why::Heard { from: packet.from, said: packet.said() };
        self.guest_says(index, before, said, why);
    }

    fn guest_says(&mut self, index: usize, before: bool, said: Option<Advert>, why: Why) {
        let guest = &self.guests[index];
        let master = guest.foreign.as_ref().is_some_and(Foreign::is_master);
        if let Some(vr) = guest.vr.filter(|_| master != before) {
            let state = if master { State::Master } else { State::Backup };
            let (name, router) = (&guest.spec.name, MAX_ROUTERS + index);
            self.judge.at_rest(self.now, vr, || format!("{name} enters {state}"));
            self.note(|| Note::Enters { router, virtual_router: vr, state, priority: 0, why });
        }
        if let Some(advert) = said {
            let Guest { spec, digest, vr, .. } = &self.guests[index];
            let mut payload = Vec::new();
            advert.emit(digest, &mut payload);
            let packet = Packet {
                from: MAX_ROUTERS + index,
                segment: spec.segment,
                vr: *vr,
                source: spec.source,
                destination: spec.group(),
                protocol: ProtocolKind::Carp,
                ttl: Some(255),
                payload,
            };
            self.broadcast(&Rc::new(packet));
        }
        self.arm_guest(index);
    }

    fn arm_guest(&mut self, guest: usize) {
        let Guest { foreign, clock, .. } = &self.guests[guest];
        let Some(due) = foreign.as_ref().map(|foreign| clock.when(foreign.deadline())) else {
            return;
        };
        let at = due.max(self.now);
        if self.guests[guest].wake_at != at {
            self.guests[guest].wake_at = at;
            self.queue.push(at, Event::GuestWakes { guest });
        }
    }
}
