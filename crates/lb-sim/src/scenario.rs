//! What there is and what befalls it, as data: it can be generated, shrunk and told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb_carp::foreign::Kind;
use lb_node::Plan;

/// Routers a scenario may have.
pub const MAX_ROUTERS: usize = 16;

/// Strangers it may have; their indexes begin behind those of routers.
pub const MAX_STRANGERS: usize = 2;

/// Routers, the segments that join them, and what befalls them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Decides the fate of every packet and how late timers are.
    pub seed: u64,
    /// Names of the segments.
    pub segments: Vec<String>,
    /// At most [`MAX_ROUTERS`]. They are off until a deed turns them on.
    pub routers: Vec<Router>,
    /// Other people's routers, at most [`MAX_STRANGERS`].
    pub strangers: Vec<Stranger>,
    /// In the order of time.
    pub deeds: Vec<Deed>,
    /// Weather at the beginning and after the network has healed.
    pub calm: Weather,
    /// How late a timer may fire, and a process notice a packet, when nothing holds it up.
    pub lateness: Duration,
    /// How long a client whose packets get nowhere believes in its neighbour cache.
    pub patience: Duration,
    /// Then cables are mended, the weather is calm, tracked scripts succeed, stalled processes go
    /// on and crashed ones are started again. What is off or stopped stays so.
    pub heal_at: Duration,
    /// How long it lasts.
    pub end: Duration,
}

/// A host that runs a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// What it is called in stories.
    pub name: String,
    /// Its configuration at the start.
    pub plan: Plan,
    /// Its links; the first has the index 1.
    pub wires: Vec<Wire>,
    /// How much faster its clock runs than that of the world, in parts per million.
    pub drift_ppm: i32,
}

/// Somebody else's router in one virtual router of CARP, which nothing ever befalls.
///
/// It makes a difference to what is promised. It does not hand over, and does not wait for a
/// successor, so with one nobody promises that clients always get through. And it knows preemption
/// by its own rules only: that the best is MASTER is promised of the best of ours. Two that are
/// equals, and of which one yields to any equal as FreeBSD and OpenBSD do, may never agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Stranger {
    /// What it is called in stories.
    pub name: String,
    /// Whose rules it has.
    pub kind: Kind,
    /// Index into [`Scenario::segments`].
    pub segment: usize,
    /// Its address there.
    pub source: IpAddr,
    /// What it would be configured with, as one of ours.
    pub config: lb_carp::Config,
    /// When it begins to listen.
    pub from: Duration,
}

impl Stranger {
    /// Where its advertisements go.
    #[must_use]
    pub fn group(&self) -> IpAddr {
        match self.source {
            IpAddr::V4(_) => Ipv4Addr::new(224, 0, 0, 18).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
        }
    }
}

/// A link and the segment it is on.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    /// Name of the interface.
    pub name: String,
    /// Index into [`Scenario::segments`].
    pub segment: usize,
    /// Its own addresses, the primary ones first.
    pub addresses: Vec<IpAddr>,
}

/// What a segment does to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// How long each takes at least.
    pub delay: Duration,
    /// And up to so much longer. Packets of one sender to one receiver stay in order.
    pub jitter: Duration,
    /// So many of a million are lost.
    pub loss_ppm: u32,
    /// So many of a million arrive twice.
    pub duplicate_ppm: u32,
    /// So many of a million do not stay in order.
    pub reorder_ppm: u32,
}

impl Weather {
    /// The longest any packet takes.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.delay + self.jitter
    }
}

/// Something that befalls the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What befalls it. One that makes no sense at its time does nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A host is turned on, and the process starts.
    PowerOn {
        /// Which.
        router: usize,
    },
    /// A host vanishes, its addresses with it.
    PowerOff {
        /// Which.
        router: usize,
    },
    /// The process is killed; the addresses stay on the host.
    Crash {
        /// Of which.
        router: usize,
    },
    /// The process is started, with what its predecessor left on the host.
    Start {
        /// Of which.
        router: usize,
        /// What was MASTER when the engine failed resumes so: the supervisor restarted it.
        adopt: bool,
    },
    /// The process is told to stop.
    Stop {
        /// Of which.
        router: usize,
    },
    /// The process does not run for a while; packets and changes wait.
    Stall {
        /// Of which.
        router: usize,
        /// How long.
        time: Duration,
    },
    /// The whole host does not run for a while, as a virtual machine that is paused: packets for
    /// it are lost.
    Pause {
        /// Which.
        router: usize,
        /// How long.
        time: Duration,
    },
    /// Another configuration is put in force.
    Reload {
        /// Of which.
        router: usize,
        /// The configuration.
        plan: Box<Plan>,
    },
    /// A cable is cut behind a switch: the host does not notice.
    Cut {
        /// Of which.
        router: usize,
        /// Index of the wire.
        wire: usize,
        /// Cut, not mended.
        cut: bool,
    },
    /// The host sees its cable gone, or back.
    Carrier {
        /// Of which.
        router: usize,
        /// Index of the wire.
        wire: usize,
        /// Whether it is there.
        up: bool,
    },
    /// Nothing gets from one router to another on a segment, or does again.
    Deafen {
        /// Where.
        segment: usize,
        /// Who is not heard.
        from: usize,
        /// By whom.
        to: usize,
        /// Not heard, or heard again.
        deaf: bool,
    },
    /// A segment behaves otherwise from now on.
    Weather {
        /// Which.
        segment: usize,
        /// How.
        weather: Weather,
    },
    /// A tracked script will succeed or fail from now on.
    Script {
        /// Where.
        router: usize,
        /// Its name in the configuration.
        name: String,
        /// Whether it succeeds.
        success: bool,
    },
    /// The operator wants another router to take over.
    Handover {
        /// From which.
        router: usize,
        /// Name of the instance.
        name: String,
    },
    /// Maintenance begins or ends.
    Maintenance {
        /// Of which.
        router: usize,
        /// Begins, not ends.
        on: bool,
    },
    /// Somebody removes a virtual address by hand.
    Meddle {
        /// Where.
        router: usize,
        /// Which.
        address: IpAddr,
    },
}

impl Scenario {
    /// Every configuration a router has at any time, with the router.
    pub fn plans(&self) -> impl Iterator<Item = (usize, &Plan)> {
        let first = self.routers.iter().map(|router| &router.plan).enumerate();
        let later = self.deeds.iter().filter_map(|deed| match &deed.what {
            What::Reload { router, plan } => Some((*router, &**plan)),
            _ => None,
        });
        first.chain(later)
    }
}
