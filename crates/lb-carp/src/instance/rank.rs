//! Who is better.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Instant;

use lb_election::Family;

use super::{DEMOTED_SKEW, Instance, LAST_DEMOTION, LAST_SKEW, Standing};
use crate::config::from_the_last_octet;
use crate::pace::Pace;
use crate::reason::Reason;
use crate::wire::Advert;

impl Instance {
    /// How good we are now.
    pub(super) fn standing(&self) -> Standing {
        let Pace { advbase, advskew } = self.config.pace();
        // 255 with an advbase of 255 would be a bow-out.
        let advskew = advskew.min(LAST_SKEW);
        let (advskew, demotion) = match (self.maintenance, self.tracked) {
            (true, _) => (LAST_SKEW, LAST_DEMOTION),
            (false, 0) => (advskew, 0),
            (false, demotion) => (advskew.max(DEMOTED_SKEW), demotion),
        };
        Standing { pace: Pace { advbase, advskew }, demotion }
    }

    /// As BACKUP: why we should be MASTER instead of the sender, in OpenBSD's order; FreeBSD and
    /// ucarp have no demotion.
    pub(super) fn outdoes(&self, advert: &Advert, from: IpAddr) -> Option<Reason> {
        let Standing { pace: ours, demotion } = self.standing();
        let theirs = advert.pace();
        let patience = ours.master_down(self.config.dead_ratio);
        // It would do for the others to run out of patience with it; but not below an advbase of 1.
        if advert.bows_out() {
            return Some(Reason::BowOut { from });
        }
        if self.config.preempt
            && self.content.is_none()
            && ours.interval() < theirs.interval()
            && advert.demotion >= demotion
        {
            return Some(Reason::Slower { from, theirs, ours });
        }
        if advert.demotion > demotion.max(self.content.unwrap_or(0)) {
            return Some(Reason::MoreDemoted { from, theirs: advert.demotion, ours: demotion });
        }
        if ours.advbase != 0 && patience < theirs.interval() {
            return Some(Reason::TooSlow { from, theirs, patience });
        }
        None
    }

    /// As BACKUP: whether we respect a master, other than the sender, that we would yield to.
    pub(super) fn knows_better_than(&self, from: IpAddr) -> bool {
        let Standing { pace: ours, demotion } = self.standing();
        self.master.is_some_and(|master| {
            let better = master.demotion.cmp(&demotion);
            let better = better.then(master.pace.interval().cmp(&ours.interval()));
            master.address != from && better != Ordering::Greater
        })
    }

    /// As BACKUP: whether another master, better than the sender, was heard and is not due again.
    pub(super) fn is_late(&self, now: Instant, advert: &Advert, from: IpAddr) -> bool {
        self.due_at.is_some_and(|due| now < due)
            && self.master.is_some_and(|master| {
                let better = master.demotion.cmp(&advert.demotion);
                let better = better.then(master.pace.interval().cmp(&advert.pace().interval()));
                master.address != from && better == Ordering::Less
            })
    }

    /// As MASTER: why the sender should be it instead of us.
    pub(super) fn beaten_by(&self, advert: &Advert, from: IpAddr) -> Option<Reason> {
        let Standing { pace: ours, demotion } = self.standing();
        let theirs = advert.pace();
        let demotions = advert.demotion.cmp(&demotion);
        let intervals = theirs.interval().cmp(&ours.interval());
        match (demotions, intervals) {
            (Ordering::Less, _) => {
                Some(Reason::LessDemoted { from, theirs: advert.demotion, ours: demotion })
            }
            (Ordering::Equal, Ordering::Less) => Some(Reason::Faster { from, theirs, ours }),
            (Ordering::Equal, Ordering::Equal) => self.loses_tie(from, theirs, demotion),
            (Ordering::Equal, Ordering::Greater) | (Ordering::Greater, _) => None,
        }
    }

    /// An equal wins by its address, or because we have none.
    fn loses_tie(&self, from: IpAddr, pace: Pace, demotion: u8) -> Option<Reason> {
        let family = Family::of(from);
        if Family::ALL.into_iter().find(|family| self.counts(*family)) != Some(family) {
            return None;
        }
        let source = self.sources[family as usize];
        let loses = |source| match demotion {
            0 => from_the_last_octet(from) < from_the_last_octet(source),
            _ => from > source,
        };
        source.is_none_or(loses).then_some(Reason::Tie { from, pace, demotion, source })
    }
}
