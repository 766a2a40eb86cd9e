//! The virtual routers of a scenario: instances on one segment with one number.

use std::net::IpAddr;
use std::time::Duration;

use lb_carp::Pace;
use lb_config::model::{Family, VirtualAddress, VrrpVersion};
use lb_node::{InstanceConfig, Plan, ProtocolKind};
use lb_vrrp::{Priority, Version};

use crate::scenario::{Router, Scenario};

/// A virtual router: what instances of several hosts are together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// What the first router with it calls it.
    pub name: String,
    /// Where it is.
    pub segment: usize,
    /// How its master is elected.
    pub kind: ProtocolKind,
    /// Of its advertisements; a CARP instance with both families counts once, with IPv4.
    pub family: Family,
    /// VRID or vhid.
    pub id: u8,
}

/// All virtual routers of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In the order in which the configurations name them.
    pub virtual_routers: Vec<VirtualRouter>,
    /// By segment, family, protocol and number.
    index: Vec<Option<u16>>,
}

/// What one instance of one router has to do with a [`VirtualRouter`].
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its name.
    pub name: String,
    /// Index into [`Table::virtual_routers`].
    pub vr: usize,
    /// Its sync group, an index into those of the plan.
    pub group: Option<usize>,
    /// VIPs by the index of their wire.
    pub vips: Vec<(usize, IpAddr)>,
    /// Whether the addresses may be there by right.
    pub owner: bool,
    /// A weaker master keeps its place.
    pub nopreempt: bool,
    /// How long a weaker master is put up with.
    pub preempt_delay: Duration,
    /// How often it advertises at least.
    pub interval: Duration,
    /// When it takes a master for dead.
    pub patience: Patience,
    /// Not keepalived's way of leaving.
    pub handover: bool,
}

/// How long an instance waits for a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// By RFC 9568 §6.1: what the master says decides, and the priority.
    Vrrp {
        /// Decides the skew.
        version: Version,
        /// Intervals of silence.
        adverts: u32,
    },
    /// By its own interval alone.
    Carp(Pace),
}

/// Intervals of silence that make a CARP master dead.
const DEAD_RATIO: u8 = 3;

impl Patience {
    /// The longest for a master with this interval, whatever the priority.
    #[must_use]
    pub fn longest(&self, interval: Duration) -> Duration {
        match self {
            Self::Vrrp { version, adverts } => {
                lb_vrrp::master_down_interval(*version, Priority(1), interval, *adverts)
            }
            // Demotion and maintenance raise the advskew up to 254.
            Self::Carp(pace) => Pace { advskew: 254, ..*pace }.master_down(DEAD_RATIO),
        }
    }

    /// The shortest for a master with this interval, whatever the priority.
    #[must_use]
    pub fn shortest(&self, interval: Duration) -> Duration {
        match self {
            Self::Vrrp { adverts, .. } => interval * *adverts,
            Self::Carp(pace) => pace.master_down(DEAD_RATIO),
        }
    }
}

impl Table {
    /// The virtual routers of all configurations of a scenario.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let size = scenario.segments.len() << 10;
        let mut table = Self { virtual_routers: Vec::new(), index: vec![None; size] };
        for (router, plan) in scenario.plans() {
            for config in &plan.instances {
                table.add(&scenario.routers[router], config);
            }
        }
        table
    }

    fn add(&mut self, router: &Router, config: &InstanceConfig) {
        let Some(segment) = home(router, config).map(|wire| router.wires[wire].segment) else {
            return;
        };
        let (kind, id) = (config.kind(), config.id());
        let new = self.virtual_routers.len();
        let mut found = None;
        for family in config.families() {
            let place = place(segment, family, kind, id);
            found = found.or(self.index[place]);
            self.index[place] = found.or(Some(new as u16));
        }
        if let (None, Some(family)) = (found, config.families().next()) {
            let name = config.name().to_owned();
            self.virtual_routers.push(VirtualRouter { name, segment, kind, family, id });
        }
    }

    /// The one that an advertisement on a segment is of.
    #[must_use]
    pub fn find(
        &self,
        segment: usize,
        source: IpAddr,
        kind: ProtocolKind,
        id: u8,
    ) -> Option<usize> {
        let family = if source.is_ipv4() { Family::Inet } else { Family::Inet6 };
        self.index.get(place(segment, family, kind, id)).copied().flatten().map(usize::from)
    }

    /// What the instances of a plan have to do with them; those without a wire are left out.
    #[must_use]
    pub fn terms(&self, router: &Router, plan: &Plan) -> Vec<Terms> {
        let terms = |config: &InstanceConfig| {
            let wire = home(router, config)?;
            let segment = router.wires[wire].segment;
            let family = config.families().next()?;
            let vr = self.index[place(segment, family, config.kind(), config.id())]?;
            let group = plan
                .groups
                .iter()
                .position(|group| group.members.iter().any(|member| member == config.name()));
            let on = |vip: &VirtualAddress| match &vip.interface {
                Some(name) => router.wires.iter().position(|wire| wire.name == *name),
                None => Some(wire),
            };
            let common = config.router();
            let vips = common.vips.iter().chain(&common.excluded_vips);
            let vips = vips.filter_map(|vip| Some((on(vip)?, vip.address))).collect::<Vec<_>>();
            let name = config.name().to_owned();
            match config {
                InstanceConfig::Vrrp(vrrp) => Some(Terms {
                    name,
                    vr: vr.into(),
                    group,
                    vips,
                    owner: vrrp.priority == 255,
                    nopreempt: vrrp.nopreempt,
                    preempt_delay: vrrp.preempt_delay,
                    interval: vrrp.advert_int,
                    handover: common.handover,
                    patience: Patience::Vrrp {
                        version: match vrrp.version {
                            VrrpVersion::V2 => Version::V2,
                            VrrpVersion::V3 => Version::V3,
                        },
                        adverts: vrrp.down_timer_adverts,
                    },
                }),
                InstanceConfig::Carp(carp) => {
                    let pace = Pace { advbase: carp.instance.advbase, advskew: carp.node.advskew };
                    Some(Terms {
                        name,
                        vr: vr.into(),
                        group,
                        // Everybody has the addresses of a balanced instance.
                        vips: if carp.instance.nodes.is_empty() { vips } else { Vec::new() },
                        owner: false,
                        nopreempt: !carp.instance.preempt,
                        preempt_delay: Duration::ZERO,
                        interval: pace.interval(),
                        handover: common.handover,
                        patience: Patience::Carp(pace),
                    })
                }
            }
        };
        plan.instances.iter().filter_map(terms).collect()
    }
}

/// The wire an instance advertises on: that of its interface, else of its source address.
fn home(router: &Router, config: &InstanceConfig) -> Option<usize> {
    let common = config.router();
    router.wires.iter().position(|wire| match (&common.interface, common.source) {
        (Some(name), _) => wire.name == *name,
        (None, Some(source)) => wire.addresses.contains(&source),
        (None, None) => false,
    })
}

fn place(segment: usize, family: Family, kind: ProtocolKind, id: u8) -> usize {
    let family = usize::from(family == Family::Inet6);
    let kind = usize::from(kind == ProtocolKind::Carp);
    (segment << 10) | (family << 9) | (kind << 8) | usize::from(id)
}
