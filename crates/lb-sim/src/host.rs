//! A host: its clock, its kernel, and the process that runs the node.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lb_node::{LinkIndex, Node, Plan};

use crate::Time;
use crate::table::Terms;
use crate::world::Packet;

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) power: bool,
    /// `None` while the process does not run.
    pub(crate) node: Option<Node>,
    /// What its instances are about, under the configuration in force.
    pub(crate) terms: Vec<Terms>,
    /// The configuration it would be started with.
    pub(crate) plan: Plan,
    /// Whether each link has a carrier.
    pub(crate) carriers: Vec<bool>,
    /// Virtual addresses on its links.
    pub(crate) vips: BTreeSet<(LinkIndex, IpAddr)>,
    /// What was MASTER when the process crashed.
    pub(crate) legacy: BTreeSet<String>,
    /// When that was, as far as is known, and whether everybody agreed.
    pub(crate) crashed: (Time, bool),
    /// Tracked scripts that fail, by name.
    pub(crate) failing: BTreeSet<String>,
    /// The process does not run.
    pub(crate) stalled: Option<Stall>,
    /// When it went on after the last stall, or was started.
    pub(crate) awake_since: Time,
    /// It ignores what it hears until then.
    pub(crate) deaf_until: Time,
    /// It is told to stop, and to be started again afterwards if this is so.
    pub(crate) stopping: Option<bool>,
    /// Counts the lives of the process: what was meant for an earlier one is void.
    pub(crate) life: u32,
    /// When it last had to be woken at once.
    pub(crate) hurried: Time,
    /// When it will be woken.
    pub(crate) wake_at: Option<Time>,
    /// Packets in its sockets.
    pub(crate) sockets: VecDeque<(LinkIndex, Rc<Packet>)>,
    /// What the kernel has to tell.
    pub(crate) changes: VecDeque<Change>,
    /// What the operator has to tell.
    pub(crate) commands: VecDeque<Command>,
}

/// A time in which a process does not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    pub(crate) until: Time,
    /// Its host does not run either: what is sent to it is lost.
    pub(crate) host: bool,
    /// It concerns nobody as long as the network is not disturbed once more than this often.
    pub(crate) unnoticed: Option<u32>,
}

/// What the kernel tells a process.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A carrier came or went: index of the wire.
    Carrier(usize),
    /// Somebody removed an address.
    Removed(LinkIndex, IpAddr),
    /// Another router announces an address.
    Claimed(LinkIndex, IpAddr, usize),
}

/// What a process is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// A script ended: its name.
    Script(String),
    Reload(Box<Plan>),
    /// An instance's name.
    Handover(String),
    Maintenance(bool),
    Stop,
}

/// A clock that runs a little faster or slower than the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: Instant,
    ppm: i64,
}

impl Clock {
    pub(crate) fn new(zero: Instant, ppm: i32) -> Self {
        Self { zero, ppm: ppm.into() }
    }

    /// What it shows.
    pub(crate) fn at(&self, time: Time) -> Instant {
        self.zero + Duration::from_nanos(self.local(time))
    }

    /// When it will have reached this: the first nanosecond.
    pub(crate) fn when(&self, local: Instant) -> Time {
        let local = local.saturating_duration_since(self.zero).as_nanos() as u64;
        let million = 1_000_000_i128;
        let mut time = (i128::from(local) * million / (million + i128::from(self.ppm))) as u64;
        while self.local(time) < local {
            time += 1;
        }
        time
    }

    fn local(&self, time: Time) -> u64 {
        // Up to 292 years by an i128, which costs no more than the division.
        (i128::from(time) + i128::from(time) * i128::from(self.ppm) / 1_000_000) as u64
    }
}

impl Host {
    pub(crate) fn new(zero: Instant, ppm: i32, plan: Plan, wires: usize) -> Self {
        Self {
            clock: Clock::new(zero, ppm),
            power: false,
            node: None,
            terms: Vec::new(),
            plan,
            carriers: vec![true; wires],
            vips: BTreeSet::new(),
            legacy: BTreeSet::new(),
            crashed: (0, false),
            failing: BTreeSet::new(),
            stalled: None,
            awake_since: 0,
            deaf_until: 0,
            stopping: None,
            life: 0,
            hurried: Time::MAX,
            wake_at: None,
            sockets: VecDeque::new(),
            changes: VecDeque::new(),
            commands: VecDeque::new(),
        }
    }

    /// The process is gone, with everything that waited for it.
    pub(crate) fn end_process(&mut self) {
        self.node = None;
        self.stalled = None;
        self.stopping = None;
        self.wake_at = None;
        self.life += 1;
        self.sockets.clear();
        self.changes.clear();
        self.commands.clear();
    }

    /// Whether a process is there and not stalled.
    pub(crate) fn awake(&self) -> bool {
        self.node.is_some() && self.stalled.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_drifts_shows_a_time_and_reaches_it_again() {
        for ppm in [-500, -1, 0, 1, 500] {
            let clock = Clock::new(Instant::now(), ppm);
            for time in [0, 1, 999, 1_000_000_007, 86_400_000_000_000] {
                let reached = clock.when(clock.at(time));
                assert!(reached <= time && time - reached < 2, "{ppm} {time} {reached}");
                assert_eq!(clock.at(reached), clock.at(time));
            }
        }
        let fast = Clock::new(Instant::now(), 1_000);
        assert_eq!(fast.at(1_000_000) - fast.at(0), Duration::from_nanos(1_001_000));
    }
}
