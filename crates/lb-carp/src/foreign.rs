//! Other people's CARP: models of ucarp, FreeBSD and OpenBSD that know their election and no more.
//!
//! For simulations and tests of how [`Instance`](crate::Instance) gets along with them. None of
//! them says anything when it stops, and none waits for a successor; only OpenBSD has a demotion,
//! and reads ours. Its own is always 0 here. Sources: `ip_carp.c` of both systems, ucarp(8).

use std::net::IpAddr;
use std::time::Instant;

use crate::config::{Config, Vhid, from_the_last_octet};
use crate::pace::Pace;
use crate::wire::Advert;

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On a little-endian host: it compares addresses from their last octet.
    Ucarp,
    /// Yields to an equal, whoever it is.
    FreeBsd,
    /// The same, with demotions.
    OpenBsd,
}

/// One of them, as a value. Nobody else's packet may be given to it than one that is authentic.
#[derive(Clone, Debug)]
pub struct Foreign {
    kind: Kind,
    vhid: Vhid,
    preempt: bool,
    pace: Pace,
    dead_ratio: u8,
    source: IpAddr,
    master: bool,
    /// To advertise, or to take over.
    next_at: Instant,
    /// OpenBSD's never changes, and tells it its own packets; the others follow what they hear.
    counter: u64,
}

impl Foreign {
    /// One that begins to listen at `now`. Of the configuration the vhid, the pace, the dead ratio
    /// and whether it preempts count.
    #[must_use]
    pub fn new(kind: Kind, config: &Config, source: IpAddr, counter: u64, now: Instant) -> Self {
        let Config { vhid, preempt, dead_ratio, .. } = *config;
        let pace = config.pace();
        let next_at = now + pace.master_down(dead_ratio);
        Self { kind, vhid, preempt, pace, dead_ratio, source, master: false, next_at, counter }
    }

    /// Whether it has the addresses.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.master
    }

    /// How often it advertises.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// When to call [`timer`](Self::timer).
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.next_at
    }

    /// What it says when its timer has run out, if it has.
    pub fn timer(&mut self, now: Instant) -> Option<Advert> {
        (now >= self.next_at).then(|| self.become_master(now))
    }

    /// What it says to an advertisement.
    pub fn hear(&mut self, now: Instant, heard: &Advert, from: IpAddr) -> Option<Advert> {
        if self.kind == Kind::OpenBsd {
            if heard.counter == self.counter {
                return None;
            }
        } else {
            self.counter = heard.counter;
        }
        let demotion = if self.kind == Kind::OpenBsd { heard.demotion } else { 0 };
        let (ours, theirs) = (self.pace.interval(), heard.pace().interval());
        let patience = self.pace.master_down(self.dead_ratio);
        if self.master {
            let (yields, last_word) = match self.kind {
                Kind::Ucarp => {
                    let lower = from_the_last_octet(from) < from_the_last_octet(self.source);
                    (theirs < ours || theirs == ours && lower, theirs < ours)
                }
                Kind::FreeBsd | Kind::OpenBsd => (theirs <= ours && demotion == 0, false),
            };
            if !yields {
                return None;
            }
            let said = last_word.then(|| self.advertise(now));
            self.master = false;
            self.next_at = now + patience;
            said
        } else if self.preempt && ours < theirs || demotion > 0 || patience < theirs {
            Some(self.become_master(now))
        } else {
            self.next_at = now + patience;
            None
        }
    }

    fn become_master(&mut self, now: Instant) -> Advert {
        self.master = true;
        self.advertise(now)
    }

    fn advertise(&mut self, now: Instant) -> Advert {
        if self.kind != Kind::OpenBsd {
            self.counter = self.counter.wrapping_add(1);
        }
        self.next_at = now + self.pace.interval();
        let Pace { advbase, advskew } = self.pace;
        Advert { vhid: self.vhid, advskew, demotion: 0, advbase, counter: self.counter }
    }
}
