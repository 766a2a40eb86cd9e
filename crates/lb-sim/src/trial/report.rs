//! What came of the trials.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Everything that came of the trials. Times are seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Who is joined with whom.
    pub segments: Vec<SegmentReport>,
    /// Every virtual router.
    pub virtual_routers: Vec<VirtualRouterReport>,
    /// How long the nodes may take to agree by the standard.
    #[serde(serialize_with = "seconds")]
    pub bound: Duration,
    /// From power-on to the first agreement.
    pub election: Trial,
    /// One for each way in which each node fails.
    pub trials: Vec<Trial>,
}

/// A segment.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentReport {
    /// Its name.
    pub name: String,
    /// What is on it.
    pub ports: Vec<Port>,
}

/// An interface on a segment.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Index into [`Report::nodes`].
    pub node: usize,
    /// Its name.
    pub interface: String,
    /// What its advertisements may come from; made up unless it is configured.
    pub addresses: Vec<IpAddr>,
}

/// A virtual router.
#[derive(Clone, Debug, Serialize)]
pub struct VirtualRouterReport {
    /// Its name on the first node that has it.
    pub name: String,
    /// `vrrp` or `carp`
    pub protocol: &'static str,
    /// VRID or vhid.
    pub id: u8,
    /// Index into [`Report::segments`].
    pub segment: usize,
    /// Its addresses.
    pub vips: Vec<IpAddr>,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// What happens.
    pub fault: Fault,
    /// To which node; `None` for the first election.
    pub node: Option<usize>,
    /// To which interface.
    pub interface: Option<String>,
    /// How long before it is undone; absent when nothing is.
    #[serde(serialize_with = "maybe_seconds")]
    pub undone: Option<Duration>,
    /// How long it was watched from when it happened.
    #[serde(serialize_with = "seconds")]
    pub end: Duration,
    /// For each virtual router who was MASTER when.
    pub masters: Vec<Vec<Reign>>,
    /// For each VIP what its clients saw.
    pub vips: Vec<VipReport>,
    /// What should not be, as a sentence: two masters that stay, a group that is split.
    pub complaint: Option<String>,
}

/// What may happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Everybody is turned on.
    Election,
    /// The host vanishes, and is turned on again.
    Kill,
    /// The host sees its cable gone, and back.
    Cut,
    /// A cable is gone where the host does not see it.
    Isolate,
    /// The process does not run for 5 s.
    Stall,
    /// The process is stopped, and started again.
    Stop,
    /// The same within half a second.
    Restart,
}

/// A time in which a node was MASTER, since what happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reign {
    /// Index into [`Report::nodes`].
    pub node: usize,
    /// From when on; 0 for one that was MASTER before.
    #[serde(serialize_with = "seconds")]
    pub from: Duration,
    /// Until when.
    #[serde(serialize_with = "seconds")]
    pub to: Duration,
}

/// What clients of a VIP saw.
#[derive(Clone, Debug, Serialize)]
pub struct VipReport {
    /// Index into [`Report::virtual_routers`].
    pub virtual_router: usize,
    /// The address.
    pub address: IpAddr,
    /// Since when somebody has forwarded it: 0 if that was so before, absent when nobody ever did.
    #[serde(serialize_with = "maybe_seconds")]
    pub since: Option<Duration>,
    /// The longest time in which nobody forwarded it.
    #[serde(serialize_with = "seconds")]
    pub worst: Duration,
    /// Every such time, since what happened.
    #[serde(serialize_with = "spans")]
    pub outages: Vec<(Duration, Duration)>,
}

impl Report {
    /// The longest outage of any VIP in any trial.
    #[must_use]
    pub fn worst(&self) -> Duration {
        let all = self.trials.iter().flat_map(|trial| &trial.vips);
        all.map(|vip| vip.worst).max().unwrap_or_default()
    }
}

impl VipReport {
    /// Whether nobody forwards it when a trial ends.
    #[must_use]
    pub fn lasts(&self, end: Duration) -> bool {
        self.since.is_none() || self.outages.iter().any(|(_, to)| *to == end)
    }
}

impl Trial {
    /// Whether anybody would notice.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.complaint.is_none()
            && self.masters.iter().all(|reigns| {
                matches!(&reigns[..], [only] if only.from.is_zero() && only.to == self.end)
                    || reigns.is_empty()
            })
            && self.vips.iter().all(|vip| vip.outages.is_empty())
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

fn spans<S: Serializer>(spans: &[(Duration, Duration)], serializer: S) -> Result<S::Ok, S::Error> {
    let spans = spans.iter().map(|(from, to)| [from.as_secs_f64(), to.as_secs_f64()]);
    serializer.collect_seq(spans)
}
