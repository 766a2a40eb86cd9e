//! One instance with everything the node keeps for it.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use lb_config::model::{self, Garp, Peers, VirtualAddress, VrrpInstance};
use lb_election::{Peer, Role};
use lb_vrrp::{Config, Family, Instance, Priority, Version, Vips, Vrid};

use super::links::Links;
use super::{LinkIndex, Vip};

/// How early a master's advertisement may leave at most, to share a wake-up with others.
pub(crate) const MAX_SLACK: Duration = Duration::from_millis(1);

/// The shortest advertisement interval there is.
const SHORTEST: Duration = Duration::from_millis(10);

/// Lets things pass at most once an interval: whoever sends advertisements by the thousand fills no
/// queue and starts no thousand scripts.
#[derive(Debug, Default)]
pub(crate) struct Limit(Option<Instant>);

impl Limit {
    /// Whether one more may pass at `now`; it has by that.
    pub(crate) fn pass(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|last| now.duration_since(last) >= SHORTEST);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// An instance and what belongs to it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) config: Arc<VrrpInstance>,
    pub(crate) instance: Instance,
    /// The link of its interface, while that exists.
    pub(crate) link: Option<LinkIndex>,
    /// Its sync group: an index into the node's.
    pub(crate) group: Option<usize>,
    /// Why it has to be in FAULT, a sentence each.
    pub(crate) faults: Vec<String>,
    /// What it waits for before it can start or leave FAULT, a sentence each.
    pub(crate) waits: Vec<String>,
    pub(crate) garp: GarpTimers,
    /// When it entered its role; `None` before the start.
    pub(crate) since: Option<Since>,
    /// Of lower priorities that are told.
    pub(crate) lower: Limit,
    /// Time of its entry in the heap of deadlines.
    pub(crate) armed: Option<Instant>,
    /// It was MASTER when its engine failed, and resumes so.
    pub(crate) resume: bool,
}

/// When something began.
#[derive(Clone, Debug)]
pub(crate) struct Since {
    at: Instant,
    /// Settled when first asked for: who asks again is told the same, whatever the clocks did since.
    wall: OnceCell<Timestamp>,
}

impl Since {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, wall: OnceCell::new() }
    }

    /// The wall clock at that time, by both clocks as they are now.
    pub(crate) fn wall(&self, now: Instant, wall: Timestamp) -> Timestamp {
        *self.wall.get_or_init(|| {
            let ago = SignedDuration::try_from(now.duration_since(self.at)).ok();
            ago.and_then(|ago| wall.checked_sub(ago).ok()).unwrap_or(wall)
        })
    }
}

/// When to announce the VIPs again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GarpTimers {
    /// The second block after becoming MASTER.
    pub(crate) second_at: Option<Instant>,
    /// The next refresh.
    pub(crate) refresh_at: Option<Instant>,
    /// The second block after a lower priority.
    pub(crate) lower_at: Option<Instant>,
}

impl GarpTimers {
    /// After becoming MASTER.
    pub(crate) fn start(&mut self, now: Instant, garp: &Garp) {
        self.second_at = after(now, garp.delay);
        self.refresh_at = after(now, garp.refresh).map(|at| at + garp.delay);
    }

    /// After a lower priority.
    pub(crate) fn lower(&mut self, now: Instant, garp: &Garp) {
        self.lower_at = self.lower_at.or(after(now, garp.lower_prio_delay));
    }

    /// Rounds that are due; sets the next refresh.
    pub(crate) fn due(&mut self, now: Instant, garp: &Garp) -> u32 {
        let mut rounds = 0;
        if self.second_at.take_if(|at| *at <= now).is_some() {
            rounds = rounds.max(garp.repeat);
        }
        if self.lower_at.take_if(|at| *at <= now).is_some() {
            rounds = rounds.max(garp.lower_prio_repeat);
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            rounds = rounds.max(garp.refresh_repeat);
            self.refresh_at = after(now, garp.refresh);
        }
        rounds
    }

    fn deadline(&self) -> Option<Instant> {
        [self.second_at, self.refresh_at, self.lower_at].into_iter().flatten().min()
    }
}

fn after(now: Instant, delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| now + delay)
}

impl Slot {
    pub(crate) fn new(config: Arc<VrrpInstance>, grouped: bool) -> Self {
        Self {
            instance: Instance::new(vrrp_config(&config, grouped)),
            config,
            link: None,
            group: None,
            faults: Vec::new(),
            waits: Vec::new(),
            garp: GarpTimers::default(),
            since: None,
            lower: Limit::default(),
            armed: None,
            resume: false,
        }
    }

    /// Whether it cannot start or leave FAULT.
    pub(crate) fn held(&self) -> bool {
        !self.faults.is_empty() || !self.waits.is_empty()
    }

    pub(crate) fn role(&self) -> Role {
        self.instance.state().role()
    }

    /// Everything it is timed by.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.instance.deadline(), self.garp.deadline()].into_iter().flatten().min()
    }

    /// Its VIPs, the advertised ones first, on links that exist.
    pub(crate) fn vips<'a>(
        &'a self,
        links: &'a Links,
    ) -> impl Iterator<Item = (LinkIndex, &'a VirtualAddress)> {
        self.config.router.vips.iter().chain(&self.config.router.excluded_vips).filter_map(|vip| {
            let link = match &vip.interface {
                Some(name) => links.named(name)?.0,
                None => self.link?,
            };
            Some((link, vip))
        })
    }

    /// The same, to be handed out.
    pub(crate) fn owned_vips(&self, links: &Links) -> Vec<Vip> {
        self.vips(links).map(|(link, address)| Vip { link, address: address.clone() }).collect()
    }

    /// Where its advertisements come from, as the links are now.
    pub(crate) fn find_source(
        &self,
        links: &Links,
        is_vip: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        if self.config.router.source.is_some() {
            return self.config.router.source;
        }
        let link = links.get(self.link?)?;
        link.source(self.config.family, is_vip).or_else(|| {
            // The owner's own address may be the VIP itself.
            link.source(self.config.family, |_| self.config.priority != Priority::OWNER.0)
        })
    }

    /// Why links and addresses make it a FAULT.
    pub(crate) fn link_faults(&self, links: &Links) -> Vec<String> {
        let mut faults = Vec::new();
        let config = &self.config;
        match &config.router.interface {
            Some(name) => match links.named(name) {
                None => faults.push(format!("interface {name} does not exist")),
                Some((_, link)) => {
                    if !link.up && !config.router.dont_track_primary {
                        faults.push(format!("interface {name} is down"));
                    }
                    if self.instance.source().is_none() {
                        faults.push(self.no_source(name));
                    }
                }
            },
            None if self.instance.source().is_none() => {
                faults.push("no source address: set unicast_src_ip or interface".to_owned());
            }
            None => {}
        }
        if let Some(source) = config.router.source.filter(|_| config.router.track_source) {
            let there = match self.link {
                Some(link) => links.get(link).is_some_and(|link| link.has(source)),
                None => links.have(source),
            };
            if !there {
                faults.push(format!("source address {source} is on no interface of this instance"));
            }
        }
        let vips = config.router.vips.iter().chain(&config.router.excluded_vips);
        let vip_links = vips
            .filter(|vip| !vip.no_track && vip.interface != config.router.interface)
            .filter_map(|vip| vip.interface.as_ref());
        let tracked = config.router.track_interfaces.iter().filter(|tracked| tracked.weight == 0);
        let needed = vip_links.map(|name| (name, false));
        for (name, reverse) in needed.chain(tracked.map(|t| (&t.name, t.reverse))) {
            let fault = match (links.named(name).map(|(_, link)| link.up), reverse) {
                (Some(true), false) | (Some(false) | None, true) => continue,
                (Some(true), true) => format!("interface {name} is up"),
                (Some(false), false) => format!("interface {name} is down"),
                (None, false) => format!("interface {name} does not exist"),
            };
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        faults
    }

    fn no_source(&self, interface: &str) -> String {
        let option = match self.config.router.peers {
            Peers::Multicast { .. } => "mcast_src_ip",
            Peers::Unicast { .. } => "unicast_src_ip",
        };
        let kind = match self.config.family {
            model::Family::Inet => "IPv4",
            model::Family::Inet6 => "link-local IPv6",
        };
        format!("no {kind} address on {interface}: add one or set {option}")
    }
}

/// What the protocol has to know of an instance.
pub(crate) fn vrrp_config(instance: &VrrpInstance, grouped: bool) -> Config {
    let family = match instance.family {
        model::Family::Inet => Family::Inet,
        model::Family::Inet6 => Family::Inet6,
    };
    let version = match instance.version {
        model::VrrpVersion::V2 => Version::V2,
        model::VrrpVersion::V3 => Version::V3,
    };
    let vrid = Vrid::new(instance.vrid).expect("the model holds no VRID 0");
    let peers = match &instance.router.peers {
        Peers::Multicast { .. } => lb_election::Peers::Multicast,
        Peers::Unicast { peers, check_source, .. } => lb_election::Peers::Unicast {
            peers: peers
                .iter()
                .map(|peer| Peer {
                    address: peer.address,
                    min_ttl: peer.ttl.0,
                    max_ttl: peer.ttl.1,
                })
                .collect(),
            check_source: *check_source,
        },
    };
    Config {
        down_timer_adverts: instance.down_timer_adverts,
        wants_master: instance.router.state == model::InitialState::Master,
        nopreempt: instance.nopreempt,
        preempt_delay: instance.preempt_delay,
        password: instance.password,
        peers,
        vips: Vips::new(family, instance.router.vips.iter().map(|vip| vip.address)),
        skip_check_adv_addr: instance.skip_check_adv_addr,
        lower_prio_no_advert: instance.lower_prio_no_advert,
        higher_prio_send_advert: instance.higher_prio_send_advert,
        owner_ignore_adverts: instance.owner_ignore_adverts,
        v3_checksum_as_v2: instance.v3_checksum_as_v2,
        old_unicast_checksum: match instance.old_unicast_checksum {
            model::OldUnicastChecksum::Detect => lb_vrrp::OldUnicastChecksum::Detect,
            model::OldUnicastChecksum::Always => lb_vrrp::OldUnicastChecksum::Always,
            model::OldUnicastChecksum::Never => lb_vrrp::OldUnicastChecksum::Never,
        },
        grouped,
        advert_slack: (instance.advert_int / 100).min(MAX_SLACK),
        ..Config::new(version, family, vrid, Priority(instance.priority), instance.advert_int)
    }
}
