//! What came of a scenario.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use lb_control::State;

use crate::judge::Violation;
use crate::table::VirtualRouter;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first broken promise; the world ended there.
    pub violation: Option<Violation>,
    /// What the indexes below are of.
    pub virtual_routers: Vec<VirtualRouter>,
    /// How long routers may take to agree.
    pub bound: Duration,
    /// Every change of a state.
    pub roles: Vec<Change>,
    /// Every virtual address as clients saw it.
    pub views: Vec<View>,
    /// Everything of note, if that was asked for.
    pub notes: Vec<Entry>,
    /// How much happened.
    pub count: Count,
}

/// An instance changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Since the beginning.
    pub at: Duration,
    /// Where.
    pub router: usize,
    /// Index into [`Outcome::virtual_routers`].
    pub virtual_router: usize,
    /// The state entered; INIT also when the process ends.
    pub state: State,
}

/// A virtual address as clients saw it.
#[derive(Clone, Debug)]
pub struct View {
    /// Where.
    pub segment: usize,
    /// The address.
    pub address: IpAddr,
    /// Who forwarded it from when on; changes only. `None`: nobody did.
    pub served: Vec<(Duration, Option<usize>)>,
}

impl View {
    /// Times in which nobody forwarded it, after it was served for the first time. The last one
    /// may last until `end`.
    pub fn outages(&self, end: Duration) -> impl Iterator<Item = (Duration, Duration)> {
        let ends = self.served.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let periods = self.served.iter().zip(ends);
        periods.filter(|((_, server), _)| server.is_none()).map(|((from, _), to)| (*from, to))
    }
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Events of any kind.
    pub events: u64,
    /// Advertisements that a process received.
    pub packets: u64,
    /// Simulated time, once for each router.
    pub router_time: Duration,
}

/// Something of note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub note: Note,
}

/// What may be of note. Routers and virtual routers by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Note {
    /// The deed with this index.
    Deed(usize),
    /// A stall is over.
    GoesOn { router: usize },
    /// The network has healed.
    Healed,
    /// Everybody has had time to agree.
    Verdict,
    /// An instance enters a state.
    Enters { router: usize, virtual_router: usize, state: State, priority: u8, why: Why },
    /// The priority of an instance changes.
    Priority { router: usize, virtual_router: usize, priority: u8 },
    /// A master says that it stops.
    SaysStop { router: usize, virtual_router: usize },
    /// An advertisement does not arrive.
    Lost { from: usize, to: usize, virtual_router: usize, blocked: bool },
    /// Clients of an address are served by another router now, or by none.
    Serves { segment: usize, address: IpAddr, router: Option<usize> },
}

/// What an advertisement says of its sender, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// It stops.
    Stop,
    /// The demotion and the interval of CARP.
    Carp(Reverse<u8>, Reverse<Duration>),
    /// The priority of VRRP.
    Vrrp(u8),
}

/// Why an instance may change its state: the input that is being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Why {
    /// The process starts.
    Start,
    /// The process starts and resumes what it was.
    Resume,
    /// An advertisement.
    Heard { from: usize, said: Said },
    /// A timer.
    Silence,
    /// A carrier came or went.
    Carrier { wire: usize, up: bool },
    /// Somebody removed an address.
    Removed(IpAddr),
    /// A script ended.
    Script { success: bool },
    /// Another configuration.
    Reload,
    /// The operator ends it.
    Stop,
    /// The operator wants another router.
    Handover,
    /// Maintenance begins or ends.
    Maintenance,
}
