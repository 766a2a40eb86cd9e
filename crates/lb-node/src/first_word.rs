//! The first advertisement of a master that speaks through a virtual MAC.
//!
//! A switch sends to the virtual MAC where it last heard it, and so to the one that has just
//! advertised. Did that come before the addresses are there, clients would ask in vain for a moment,
//! although the master before still has them. So it waits until this host answers for the last
//! address, which takes a tenth of a millisecond. On a busy host it takes longer: other routers wait
//! as well, so it is said after half an interval, or [`PATIENCE`], whatever is there.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_election::Role;

use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node, protocol, shares};
use crate::protocol::Advert;

/// How long it waits at most.
const PATIENCE: Duration = Duration::from_millis(10);

/// What waits.
#[derive(Debug)]
pub(crate) struct FirstWord {
    advert: Advert,
    /// The address that is added last.
    last: (LinkIndex, IpAddr),
    /// When it is said whatever is there.
    due: Instant,
}

impl Slot {
    /// When it waits no longer.
    pub(crate) fn first_word_at(&self) -> Option<Instant> {
        self.first_word.as_ref().map(|word| word.due)
    }
}

impl Node {
    /// Takes the first advertisement of a new master out of its actions, if it has to wait.
    pub(crate) fn hold_first_word(
        &mut self,
        now: Instant,
        id: InstanceId,
        actions: &mut Vec<protocol::Action>,
    ) {
        let Self { slots, links, .. } = self;
        let Some(slot) = slots.get_mut(id.index()).and_then(Option::as_mut) else { return };
        slot.first_word = None;
        if slot.role() != Role::Master || shares::balanced(slot).is_some() || slot.resume {
            return;
        }
        let places = slot.vips(links).map(|(link, vip)| (link, vip.address));
        let Some(last) = places.filter(|(link, vip)| !slot.held.has(*link, *vip)).last() else {
            return;
        };
        if slot.speaks_through(links).is_none() {
            return;
        }
        let first = actions.iter().position(|action| matches!(action, protocol::Action::Send(_)));
        if let Some(protocol::Action::Send(advert)) = first.map(|first| actions.remove(first)) {
            let due = now + (slot.protocol.interval() / 2).min(PATIENCE);
            slot.first_word = Some(Box::new(FirstWord { advert, last, due }));
        }
    }

    /// Asks to be told when the address that it waits for is there.
    pub(crate) fn confirm_for_first_word(&self, id: InstanceId, out: &mut Vec<Action>) {
        if let Some(word) = self.slot(id).and_then(|slot| slot.first_word.as_ref()) {
            let (link, address) = word.last;
            out.push(Action::Confirm { link, address });
        }
    }

    /// Says it when this was the address that it waits for.
    pub(crate) fn first_word_ready(
        &mut self,
        now: Instant,
        id: InstanceId,
        place: (LinkIndex, IpAddr),
        out: &mut Vec<Action>,
    ) {
        self.say_first_word(now, id, |word| word.last == place, out);
    }

    /// Says it when it has waited long enough.
    pub(crate) fn first_word_due(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        self.say_first_word(now, id, |word| word.due <= now, out);
    }

    fn say_first_word(
        &mut self,
        now: Instant,
        id: InstanceId,
        when: impl FnOnce(&FirstWord) -> bool,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot_mut(id) else { return };
        if let Some(word) = slot.first_word.take_if(|word| when(word)) {
            out.push(Action::Send { instance: id, advert: word.advert, to: None });
            // The master before hears of it only now.
            slot.garp.restart_echoes(now);
        }
    }
}
