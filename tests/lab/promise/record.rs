//! What is kept of a scene.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lb_lab::Frame;
use lb_tests::vrrp::{Advert, Spoken};

use crate::process::Thread;

/// All that could be seen of a router from outside.
#[derive(Debug, Default)]
pub struct Record {
    pub started: Option<SystemTime>,
    /// When it last heard a forged advertisement, or began to.
    pub heard: Option<SystemTime>,
    /// When it was told to stop.
    pub stopped: Option<SystemTime>,
    /// When it had stopped.
    pub ended: Option<SystemTime>,
    /// What it sent, by interface, in order.
    pub frames: Vec<(&'static str, Frame)>,
    /// What its scripts were called with.
    pub notes: Vec<String>,
    /// Whether its address answered, each time that was tried.
    pub reached: Vec<bool>,
    /// Before it was told to stop, or at the end.
    pub state: State,
    pub log: String,
}

/// What there is to see while the daemon runs.
#[derive(Debug, Default)]
pub struct State {
    /// `ip -d -j address`.
    pub addresses: String,
    /// The largest receive buffer of its sockets for advertisements, octets.
    pub advert_buffer: Option<usize>,
    /// Of its threads.
    pub threads: Vec<Thread>,
    /// Whether memory of it may not be swapped.
    pub locked: bool,
    /// What it dumped.
    pub dump: String,
    /// What it had counted then.
    pub counters: String,
    /// The mode of the file that it dumped.
    pub dump_mode: Option<u32>,
    /// `promote_secondaries` of `eth0`.
    pub promoted: bool,
    /// Whether the daemon is there.
    pub running: bool,
}

impl Record {
    /// Advertisements with the interfaces they left by, in order.
    pub fn adverts(&self) -> impl Iterator<Item = (&'static str, Advert)> {
        self.frames.iter().filter_map(|(by, frame)| Some((*by, Advert::read(frame)?)))
    }

    /// When addresses were announced, in order.
    pub fn announcements(&self) -> impl Iterator<Item = (SystemTime, IpAddr)> {
        self.frames.iter().filter_map(|(_, frame)| match Spoken::read(frame)? {
            Spoken::Announcement { at, vip, .. } => Some((at, vip)),
            Spoken::Advert(_) => None,
        })
    }

    /// How many advertisements that do not say stop it sent from `from` to `to` after a moment.
    pub fn adverts_between(
        &self,
        after: Option<SystemTime>,
        from: Duration,
        to: Duration,
    ) -> usize {
        let Some(after) = after else { return 0 };
        let within = |advert: &Advert| {
            advert.priority != 0 && (after + from..after + to).contains(&advert.at)
        };
        self.adverts().filter(|(_, advert)| within(advert)).count()
    }
}
