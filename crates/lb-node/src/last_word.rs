//! The last word of a master that yielded, to the one that it yielded to.
//!
//! Whoever becomes MASTER announces its addresses. When a partition heals there are two masters and
//! none becomes it: clients and switches follow the announcements of the one that is about to
//! yield, and the better one, which may never hear it, has no reason to announce anything. So a
//! router that was MASTER and hears nobody announce its addresses says to the master alone that it
//! stopped (priority 0, bow-out). The master answers, as RFC 9568 §6.4.3 has it, and announces its
//! addresses; no script runs that keepalived would not run, and no third router can take the word
//! for the master's. Keepalived and others do not heed it: they get an advertisement in the end,
//! to which keepalived answers with announcements.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_election::Role;

use super::release::LINGER;
use super::shares;
use super::slot::Slot;
use super::{Action, InstanceId, LinkIndex, Node};

/// Then clients have given up what they remembered (Linux: 30 s of belief, 8 s of doubt; others a
/// minute).
const LIFE: Duration = Duration::from_secs(60);

/// An announcement of ours is everywhere so long after it left. What another router announces before
/// that, clients may have heard first.
const SETTLED: Duration = Duration::from_millis(5);

/// What is still to be said.
#[derive(Debug)]
pub(crate) struct LastWord {
    /// Before this the other router may announce the addresses by itself; `None` afterwards.
    due: Option<Instant>,
    /// When it is of no use any more.
    until: Instant,
    /// Who was told, and when last.
    told: Option<(IpAddr, Instant)>,
    /// How often the same router has been told in vain.
    unanswered: u32,
}

impl Slot {
    /// When the other router has had time to announce the addresses.
    pub(crate) fn last_word_at(&self) -> Option<Instant> {
        self.last_word.as_ref()?.due
    }

    /// Whether somebody has to be told: not when advertisements themselves lead switches to all
    /// addresses, because both come from one virtual MAC.
    fn may_mislead(&self, links: &super::Links) -> bool {
        let spoken = self.speaks_through(links);
        self.config.router().handover
            && shares::balanced(self).is_none()
            && self.vips(links).any(|(link, _)| Some(link) != spoken)
    }
}

impl Node {
    /// Clients may look for the addresses of an instance here from now on, though it is not MASTER.
    pub(crate) fn owe_last_word(&mut self, id: InstanceId, due: Instant) {
        let Self { slots, links, .. } = self;
        let Some(slot) = slots.get_mut(id.index()).and_then(Option::as_mut) else { return };
        if slot.may_mislead(links) {
            let (until, due) = (due + LIFE, Some(due));
            slot.last_word = Some(Box::new(LastWord { due, until, told: None, unanswered: 0 }));
        }
    }

    /// The same of one that has just yielded, unless the other router has announced them already.
    pub(crate) fn yielded(&mut self, now: Instant, id: InstanceId) {
        let followed = self.slot(id).is_some_and(|slot| {
            slot.others_announced_at.is_some_and(|theirs| {
                let last = slot.announced_at.is_none_or(|ours| theirs > ours);
                last && now.duration_since(theirs) <= LINGER
            })
        });
        if !followed {
            self.owe_last_word(id, now + LINGER);
        }
    }

    /// Tells the master that is known, when the time has come.
    pub(crate) fn last_word_due(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else { return };
        let Some(word) = slot.last_word.as_mut() else { return };
        if word.due.take_if(|due| *due <= now).is_some() {
            self.say_last_word(now, id, out);
        }
    }

    /// An instance has accepted an advertisement of a router, which may be the master that is to be told, or its answer.
    pub(crate) fn last_word_heard(
        &mut self,
        now: Instant,
        id: InstanceId,
        from: IpAddr,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot_mut(id) else { return };
        let (master, interval) = (slot.protocol.master(), slot.protocol.interval());
        let Some(word) = slot.last_word.as_mut().filter(|word| word.due.is_none()) else { return };
        if slot.protocol.role() != Role::Backup || master != Some(from) {
            return;
        }
        // What the master says soon is its answer, which asks for none: its announcements end this.
        // Those of a virtual MAC look like our own.
        let answers = |at: Instant| now.duration_since(at) <= interval / 2;
        match word.told {
            Some((to, at)) if to == from && answers(at) => {
                if !slot.vmacs.is_empty() {
                    slot.last_word = None;
                }
            }
            _ if now >= word.until => slot.last_word = None,
            Some((to, _)) if to == from => {
                word.unanswered += 1;
                // Perhaps it does not heed what is said to it alone.
                if word.unanswered == 2
                    && let Some(advert) = slot.protocol.reminder()
                {
                    out.push(Action::Send { instance: id, advert, to: None });
                }
                self.say_last_word(now, id, out);
            }
            _ => self.say_last_word(now, id, out),
        }
    }

    /// Tells the master that is known, without waiting any longer.
    pub(crate) fn say_last_word(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else { return };
        let Some(word) = slot.last_word.as_mut() else { return };
        let master = slot.protocol.master().filter(|_| slot.protocol.role() == Role::Backup);
        let Some(master) = master else { return };
        if word.told.is_none_or(|(to, _)| to != master) {
            word.unanswered = 0;
        }
        word.told = Some((master, now));
        let advert = slot.protocol.last_word();
        out.push(Action::Send { instance: id, advert, to: Some(master) });
    }

    /// Notes what of this has been announced.
    pub(crate) fn note_announcements(&mut self, now: Instant, actions: &[Action]) {
        for action in actions {
            if let Action::Announce { instance, .. } = action
                && let Some(slot) = self.slot_mut(*instance)
            {
                slot.announced_at = Some(now);
            }
        }
    }

    /// Somebody else announces an address: clients know where it is now.
    pub(crate) fn announced(
        &mut self,
        now: Instant,
        id: InstanceId,
        link: LinkIndex,
        address: IpAddr,
    ) {
        let Self { slots, links, .. } = self;
        let Some(slot) = slots.get_mut(id.index()).and_then(Option::as_mut) else { return };
        let settled = slot.announced_at.is_none_or(|at| now >= at + SETTLED);
        if settled && slot.vips(links).any(|(on, vip)| on == link && vip.address == address) {
            slot.others_announced_at = Some(now);
            slot.last_word = None;
        }
    }
}
