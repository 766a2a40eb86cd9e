//! What an operator's own nodes do when each of them fails in each way.
//!
//! Every trial begins with all nodes up and agreed. Then one thing happens to one node; when the
//! others have had time to react it is undone, and everybody has time to agree again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_control::State;
use lb_node::{Plan, ProtocolKind};
use serde::{Serialize, Serializer};

use crate::bound;
use crate::outcome::Outcome;
use crate::scenario::{Deed, MAX_ROUTERS, Router, Scenario, Weather, What};
use crate::table::Table;
use crate::wiring;

pub use crate::wiring::Placement;

/// How long a process stalls.
const STALL: Duration = Duration::from_secs(5);
/// From the stop to the start of a restart.
const RESTART: Duration = Duration::from_millis(500);
/// So many times within an interval everything is tried, and the worst is told.
const MOMENTS: u32 = 10;
/// Nothing is watched for less than this.
const MOMENT: Duration = Duration::from_secs(2);
/// A neighbour cache of Linux: 30 s of belief, 5 s of doubt, three questions (`arp(7)`).
const PATIENCE: Duration = Duration::from_secs(38);

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

/// Why no trial can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// More nodes than [`MAX_ROUTERS`].
    TooMany,
    /// No instance on any interface.
    Nothing,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => write!(f, "at most {MAX_ROUTERS} nodes can be simulated"),
            Self::Nothing => f.write_str("no file has an instance with an interface"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Tries everything with nodes of these names and configurations.
///
/// # Errors
/// There are too many, or nothing to try.
pub fn all(nodes: &[(String, Plan)], placements: &[Placement], seed: u64) -> Result<Report, Unfit> {
    if nodes.len() > MAX_ROUTERS {
        return Err(Unfit::TooMany);
    }
    let stage = Stage::new(nodes, placements, seed);
    if stage.table.virtual_routers.is_empty() {
        return Err(Unfit::Nothing);
    }
    let mut trials = Vec::new();
    for (node, router) in stage.scenario.routers.iter().enumerate() {
        trials.push(stage.fault(Fault::Kill, node, None));
        for fault in [Fault::Cut, Fault::Isolate] {
            trials.extend((0..router.wires.len()).map(|wire| stage.fault(fault, node, Some(wire))));
        }
        for fault in [Fault::Stall, Fault::Stop, Fault::Restart] {
            trials.push(stage.fault(fault, node, None));
        }
    }
    Ok(Report {
        nodes: nodes.iter().map(|(name, _)| name.clone()).collect(),
        segments: stage.segments(),
        virtual_routers: stage.virtual_routers(),
        bound: stage.bound,
        election: stage.election(),
        trials,
    })
}

/// All nodes, about to be turned on.
struct Stage {
    scenario: Scenario,
    table: Table,
    bound: Duration,
    /// The longest interval between advertisements.
    slowest: Duration,
    /// VIPs with their segment, and the virtual router they are of.
    vips: BTreeMap<(usize, IpAddr), usize>,
}

impl Stage {
    fn new(nodes: &[(String, Plan)], placements: &[Placement], seed: u64) -> Self {
        let wiring = wiring::wire(nodes, placements);
        let routers = nodes.iter().zip(wiring.wires).map(|((name, plan), wires)| Router {
            name: name.clone(),
            plan: plan.clone(),
            wires,
            drift_ppm: 0,
        });
        let routers: Vec<Router> = routers.collect();
        let deeds = (0..routers.len())
            .map(|router| Deed { at: Duration::ZERO, what: What::PowerOn { router } });
        let scenario = Scenario {
            seed,
            segments: wiring.segments,
            deeds: deeds.collect(),
            routers,
            strangers: Vec::new(),
            calm: Weather {
                delay: Duration::from_micros(100),
                jitter: Duration::from_micros(100),
                ..Weather::default()
            },
            lateness: Duration::from_micros(200),
            patience: PATIENCE,
            heal_at: Duration::ZERO,
            end: Duration::ZERO,
        };
        let table = Table::new(&scenario);
        let mut vips = BTreeMap::new();
        for router in &scenario.routers {
            for terms in table.terms(router, &router.plan) {
                for (wire, address) in terms.vips {
                    vips.entry((router.wires[wire].segment, address)).or_insert(terms.vr);
                }
            }
        }
        let bound = bound::agreement(&scenario, &table) + scenario.calm.longest();
        let terms = scenario.routers.iter().flat_map(|router| table.terms(router, &router.plan));
        let slowest = terms.map(|terms| terms.interval).max().unwrap_or_default();
        Self { bound, slowest, vips, table, scenario }
    }

    fn fault(&self, fault: Fault, node: usize, wire: Option<usize>) -> Trial {
        let (router, index) = (node, wire.unwrap_or_default());
        let start = What::Start { router, adopt: false };
        let (deed, undo, undone) = match fault {
            Fault::Election => return self.election(),
            Fault::Kill => {
                (What::PowerOff { router }, Some(What::PowerOn { router }), self.bound + MOMENT)
            }
            Fault::Cut => (
                What::Carrier { router, wire: index, up: false },
                Some(What::Carrier { router, wire: index, up: true }),
                self.bound + MOMENT,
            ),
            Fault::Isolate => (
                What::Cut { router, wire: index, cut: true },
                Some(What::Cut { router, wire: index, cut: false }),
                self.bound + MOMENT,
            ),
            Fault::Stall => (What::Stall { router, time: STALL }, None, STALL),
            Fault::Stop => (What::Stop { router }, Some(start), self.bound + MOMENT),
            Fault::Restart => (What::Stop { router }, Some(start), RESTART),
        };
        let deeds = std::iter::once((Duration::ZERO, deed)).chain(undo.map(|undo| (undone, undo)));
        let name = wire.and_then(|wire| self.scenario.routers[node].wires.get(wire));
        let name = name.map(|wire| wire.name.clone());
        let deeds: Vec<(Duration, What)> = deeds.collect();
        // Between two advertisements, and as the worst of it.
        let moments = (0..MOMENTS).map(|moment| {
            let at = self.bound + MOMENT + self.slowest * moment / MOMENTS;
            self.play(fault, Some(node), name.clone(), at, deeds.clone(), Some(undone))
        });
        let worst = |trial: &Trial| {
            let longest = trial.vips.iter().map(|vip| vip.worst).max();
            (trial.complaint.is_some(), longest)
        };
        moments.max_by_key(worst).unwrap_or_else(|| self.election())
    }

    fn election(&self) -> Trial {
        self.play(Fault::Election, None, None, Duration::ZERO, Vec::new(), None)
    }

    fn play(
        &self,
        fault: Fault,
        node: Option<usize>,
        interface: Option<String>,
        at: Duration,
        deeds: Vec<(Duration, What)>,
        undone: Option<Duration>,
    ) -> Trial {
        let mut scenario = self.scenario.clone();
        let deeds = deeds.into_iter().map(|(after, what)| Deed { at: at + after, what });
        scenario.deeds.extend(deeds);
        let end = undone.unwrap_or_default() + self.bound + MOMENT;
        scenario.end = at + end;
        let outcome = crate::world::observe(&scenario);
        let complaint = outcome.violation.as_ref().map(|violation| {
            let vr = violation.virtual_router.map(|vr| &self.table.virtual_routers[vr].name);
            match vr {
                Some(name) => format!("{name}: {}", violation.how),
                None => violation.how.clone(),
            }
        });
        Trial {
            fault,
            node,
            interface,
            undone,
            end,
            masters: self.masters(&outcome, at, end),
            vips: self.outages(&outcome, at, end),
            complaint,
        }
    }

    fn masters(&self, outcome: &Outcome, at: Duration, end: Duration) -> Vec<Vec<Reign>> {
        let mut all = vec![Vec::new(); self.table.virtual_routers.len()];
        for node in 0..self.scenario.routers.len() {
            for (vr, reigns) in all.iter_mut().enumerate() {
                let mine =
                    |change: &&crate::Change| (change.router, change.virtual_router) == (node, vr);
                let mut since = None;
                let mut close = |since: &mut Option<Duration>, to: Duration| {
                    let Some(from) = since.take() else { return };
                    if to > at {
                        let (from, to) = (from.saturating_sub(at), to - at);
                        reigns.push(Reign { node, from, to });
                    }
                };
                for change in outcome.roles.iter().filter(mine) {
                    match change.state {
                        State::Master => since = since.or(Some(change.at)),
                        _ => close(&mut since, change.at),
                    }
                }
                close(&mut since, at + end);
            }
        }
        all.iter_mut().for_each(|reigns| reigns.sort_by_key(|reign| (reign.from, reign.to)));
        all
    }

    fn outages(&self, outcome: &Outcome, at: Duration, end: Duration) -> Vec<VipReport> {
        let views = outcome.views.iter().filter_map(|view| {
            let virtual_router = *self.vips.get(&(view.segment, view.address))?;
            let outages: Vec<(Duration, Duration)> = view
                .outages(at + end)
                .filter(|(_, to)| *to > at)
                .map(|(from, to)| (from.saturating_sub(at), to - at))
                .collect();
            let worst = outages.iter().map(|(from, to)| *to - *from).max().unwrap_or_default();
            let since = view.served.first().map(|(first, _)| first.saturating_sub(at));
            Some(VipReport { virtual_router, address: view.address, since, worst, outages })
        });
        views.collect()
    }

    fn segments(&self) -> Vec<SegmentReport> {
        let ports = |segment: usize| {
            let of = |(node, router): (usize, &Router)| {
                let here = router.wires.iter().filter(|wire| wire.segment == segment);
                here.map(|wire| Port {
                    node,
                    interface: wire.name.clone(),
                    addresses: wire.addresses.clone(),
                })
                .collect::<Vec<_>>()
            };
            self.scenario.routers.iter().enumerate().flat_map(of).collect()
        };
        let names = self.scenario.segments.iter().enumerate();
        names
            .map(|(index, name)| SegmentReport { name: name.clone(), ports: ports(index) })
            .collect()
    }

    fn virtual_routers(&self) -> Vec<VirtualRouterReport> {
        let all = self.table.virtual_routers.iter().enumerate();
        all.map(|(index, vr)| VirtualRouterReport {
            name: vr.name.clone(),
            protocol: match vr.kind {
                ProtocolKind::Vrrp => "vrrp",
                ProtocolKind::Carp => "carp",
            },
            id: vr.id,
            segment: vr.segment,
            vips: (self.vips.iter())
                .filter(|(_, of)| **of == index)
                .map(|((_, address), _)| *address)
                .collect(),
        })
        .collect()
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
