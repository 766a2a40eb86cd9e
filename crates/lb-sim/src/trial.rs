//! What an operator's own nodes do when each of them fails in each way.
//!
//! Every trial begins with all nodes up and agreed. Then one thing happens to one node; when the
//! others have had time to react it is undone, and everybody has time to agree again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_control::State;
use lb_node::{Plan, ProtocolKind};

use crate::bound;
use crate::outcome::Outcome;
use crate::scenario::{Deed, MAX_ROUTERS, Router, Scenario, Weather, What};
use crate::table::Table;
use crate::wiring;

pub use crate::wiring::Placement;
pub use report::{
    Fault, Port, Reign, Report, SegmentReport, Trial, VipReport, VirtualRouterReport,
};

mod report;

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

/// What happens to whom.
struct Case {
    fault: Fault,
    node: Option<usize>,
    interface: Option<String>,
    undone: Option<Duration>,
    /// Each so long after it began.
    deeds: Vec<(Duration, What)>,
}

impl Case {
    const ELECTION: Self = Self {
        fault: Fault::Election,
        node: None,
        interface: None,
        undone: None,
        deeds: Vec::new(),
    };
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
        let case = Case {
            fault,
            node: Some(node),
            interface: name,
            undone: Some(undone),
            deeds: deeds.collect(),
        };
        // Between two advertisements, and as the worst of it.
        let moments = (0..MOMENTS).map(|moment| {
            let at = self.bound + MOMENT + self.slowest * moment / MOMENTS;
            let trial = self.play(&case, at, Duration::ZERO);
            // Whoever believes in a router that does not answer finds out in the end.
            let lasts = trial.vips.iter().any(|vip| vip.lasts(trial.end));
            if lasts { self.play(&case, at, PATIENCE) } else { trial }
        });
        let worst = |trial: &Trial| {
            let longest = trial.vips.iter().map(|vip| vip.worst).max();
            (trial.complaint.is_some(), longest)
        };
        moments.max_by_key(worst).unwrap_or_else(|| self.election())
    }

    fn election(&self) -> Trial {
        self.play(&Case::ELECTION, Duration::ZERO, Duration::ZERO)
    }

    /// Lets a case happen at a time, and watches longer than it takes by the standard.
    fn play(&self, case: &Case, at: Duration, longer: Duration) -> Trial {
        let mut scenario = self.scenario.clone();
        let deeds = case.deeds.iter().cloned();
        scenario.deeds.extend(deeds.map(|(after, what)| Deed { at: at + after, what }));
        let end = case.undone.unwrap_or_default() + self.bound + MOMENT + longer;
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
            fault: case.fault,
            node: case.node,
            interface: case.interface.clone(),
            undone: case.undone,
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
