//! One instance with everything the node keeps for it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use lb_config::model::{self, ExtraGarp, Garp, Peers, VirtualAddress};
use lb_control::State;
use lb_control::status::Maintenance;
use lb_election::Role;

use super::config::InstanceConfig;
use super::conflict::{Lines, Ongoing};
use super::first_word::FirstWord;
use super::last_word::LastWord;
use super::links::Links;
use super::protocol::{Protocol, Sources, Together};
use super::release::Held;
use super::vmac::Named;
use super::why::History;
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
        self.pass_every(SHORTEST, now)
    }

    /// The same with an interval of its own.
    pub(crate) fn pass_every(&mut self, interval: Duration, now: Instant) -> bool {
        let due = self.0.is_none_or(|last| now.duration_since(last) >= interval);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// An instance and what belongs to it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) config: InstanceConfig,
    pub(crate) protocol: Protocol,
    /// Where its advertisements come from, as the links are now.
    pub(crate) sources: Sources,
    /// The link of its interface, while that exists.
    pub(crate) link: Option<LinkIndex>,
    /// The link that had the name of its interface before, while none has it: that of its last word.
    pub(crate) left: Option<LinkIndex>,
    /// Its virtual MACs.
    pub(crate) vmacs: Vec<Named>,
    /// Its sync group: an index into the node's.
    pub(crate) group: Option<usize>,
    /// Why it has to be in FAULT, a sentence each.
    pub(crate) faults: Vec<String>,
    /// What is tracked and makes it weaker, a sentence each.
    pub(crate) weaknesses: Vec<String>,
    /// What it adds to the demotion counters of its groups.
    pub(crate) unfit: i32,
    /// What it waits for before it can start or leave FAULT, a sentence each.
    pub(crate) waits: Vec<String>,
    pub(crate) garp: GarpTimers,
    /// Addresses that it has put on this host.
    pub(crate) held: Held,
    /// As MASTER: what it says first, and has not said yet.
    pub(crate) first_word: Option<Box<FirstWord>>,
    /// What is still to be said to the router that is MASTER now.
    pub(crate) last_word: Option<Box<LastWord>>,
    pub(crate) history: History,
    /// Who put it into maintenance.
    pub(crate) maintenance: Option<Box<Maintenance>>,
    /// What is wrong on the wire, or may be.
    pub(crate) ongoing: Vec<Ongoing>,
    /// It is no more in the configuration, and that was told.
    pub(crate) parted: bool,
    /// What was logged of packets, and when.
    pub(crate) lines: Lines,
    /// The state that was told last.
    pub(crate) told: State,
    /// When it entered its role; `None` before the start.
    pub(crate) since: Option<Since>,
    /// Of lower priorities that are told.
    pub(crate) lower: Limit,
    /// Of lower priorities that are told as BACKUP.
    pub(crate) discarded: Limit,
    /// Of masters that stop.
    pub(crate) stops: Limit,
    /// Of announcements after lower priorities.
    pub(crate) lower_announced: Limit,
    /// When its addresses were announced last.
    pub(crate) announced_at: Option<Instant>,
    /// When another router announced them last, such that clients follow that one.
    pub(crate) others_announced_at: Option<Instant>,
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

    /// How long that is before `now`.
    pub(crate) fn ago(&self, now: Instant) -> Duration {
        now.duration_since(self.at)
    }

    /// The wall clock at that time, by both clocks as they are now.
    pub(crate) fn wall(&self, now: Instant, wall: Timestamp) -> Timestamp {
        *self.wall.get_or_init(|| {
            let ago = SignedDuration::try_from(self.ago(now)).ok();
            ago.and_then(|ago| wall.checked_sub(ago).ok()).unwrap_or(wall)
        })
    }
}

/// When to announce once more after becoming MASTER, in milliseconds: the predecessor may hold the
/// addresses until a moment after it heard us, and its last word must not be the one that switches
/// and neighbours remember.
const ECHOES: [u64; 4] = [1, 3, 6, 30];

/// When to announce the VIPs again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GarpTimers {
    /// Since when, and how many of [`ECHOES`] are over.
    pub(crate) echo: Option<(Instant, usize)>,
    /// The second block after becoming MASTER.
    pub(crate) second_at: Option<Instant>,
    /// The next refresh.
    pub(crate) refresh_at: Option<Instant>,
    /// The second block after a lower priority.
    pub(crate) lower_at: Option<Instant>,
    /// The next announcement of the links that its advertisements do not leave by.
    pub(crate) extra_at: Option<Instant>,
}

impl GarpTimers {
    /// After becoming MASTER.
    pub(crate) fn start(&mut self, now: Instant, garp: &Garp) {
        self.echo = Some((now, 0));
        self.second_at = after(now, garp.delay);
        self.refresh_at = after(now, garp.refresh);
    }

    /// Again from now on.
    pub(crate) fn restart_echoes(&mut self, now: Instant) {
        self.echo = Some((now, 0));
    }

    /// After becoming MASTER, or with another configuration.
    pub(crate) fn start_extra(&mut self, now: Instant, extra: Option<ExtraGarp>) {
        self.extra_at = extra.and_then(|extra| after(now, extra.interval));
    }

    /// Whether those links are due; sets the next time.
    pub(crate) fn extra_due(&mut self, now: Instant, extra: Option<ExtraGarp>) -> bool {
        let due = self.extra_at.is_some_and(|at| at <= now);
        if due {
            self.start_extra(now, extra);
        }
        due
    }

    /// After a lower priority.
    pub(crate) fn lower(&mut self, now: Instant, garp: &Garp) {
        self.lower_at = self.lower_at.or(after(now, garp.lower_prio_delay));
    }

    /// Rounds that are due; sets the next refresh.
    pub(crate) fn due(&mut self, now: Instant, garp: &Garp) -> u32 {
        let mut rounds = 0;
        while self.echo_at().is_some_and(|at| at <= now) {
            rounds = 1;
            self.echo = self.echo.map(|(start, over)| (start, over + 1));
        }
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
        let timers =
            [self.echo_at(), self.second_at, self.refresh_at, self.lower_at, self.extra_at];
        timers.into_iter().flatten().min()
    }

    /// When it is announced next because of becoming MASTER just now.
    pub(crate) fn echo_at(&self) -> Option<Instant> {
        let (start, over) = self.echo?;
        ECHOES.get(over).map(|millis| start + Duration::from_millis(*millis))
    }
}

fn after(now: Instant, delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| now + delay)
}

impl Slot {
    pub(crate) fn new(config: InstanceConfig, group: Option<Together>, seed: u64) -> Self {
        Self {
            protocol: Protocol::new(&config, group, seed),
            config,
            sources: Sources::default(),
            link: None,
            left: None,
            vmacs: Vec::new(),
            group: None,
            faults: Vec::new(),
            weaknesses: Vec::new(),
            unfit: 0,
            waits: Vec::new(),
            garp: GarpTimers::default(),
            held: Held::default(),
            first_word: None,
            last_word: None,
            parted: false,
            history: History::default(),
            maintenance: None,
            ongoing: Vec::new(),
            lines: Lines::default(),
            told: State::Init,
            since: None,
            lower: Limit::default(),
            discarded: Limit::default(),
            stops: Limit::default(),
            lower_announced: Limit::default(),
            announced_at: None,
            others_announced_at: None,
            armed: None,
            resume: false,
        }
    }

    /// Whether it cannot start or leave FAULT.
    pub(crate) fn held(&self) -> bool {
        !self.faults.is_empty() || !self.waits.is_empty()
    }

    pub(crate) fn role(&self) -> Role {
        self.protocol.role()
    }

    /// Whether its protocol's timer is for the next advertisement as MASTER.
    pub(crate) fn advertises(&self) -> bool {
        self.role() == Role::Master && !self.protocol.leaving()
    }

    /// Everything it is timed by.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = [self.protocol.deadline(), self.garp.deadline(), self.release_at()];
        let others = [self.conflict_deadline(), self.first_word_at(), self.last_word_at()];
        own.into_iter().chain(others).flatten().min()
    }

    /// Its VIPs, the advertised ones first, on links that exist.
    pub(crate) fn vips<'a>(
        &'a self,
        links: &'a Links,
    ) -> impl Iterator<Item = (LinkIndex, &'a VirtualAddress)> {
        self.config.router().vips.iter().chain(&self.config.router().excluded_vips).filter_map(
            |vip| {
                let link = match self.vmac_of(vip).or(vip.interface.as_deref()) {
                    Some(name) => links.named(name)?.0,
                    None => self.link?,
                };
                Some((link, vip))
            },
        )
    }

    /// The first VIP of each link whose MAC switches would forget, because the advertisements do not
    /// leave by it: of virtual MACs, or of `all`.
    pub(crate) fn extra_vips<'a>(
        &'a self,
        links: &'a Links,
    ) -> impl Iterator<Item = (LinkIndex, &'a VirtualAddress)> {
        let extra = self.config.router().garp_extra;
        let spoken_by = self.speaks_through(links).or(self.link);
        let mut seen = HashSet::new();
        self.vips(links).filter(move |(link, vip)| {
            let wanted = extra.is_some_and(|extra| extra.all || self.vmac_of(vip).is_some());
            wanted && Some(*link) != spoken_by && seen.insert(*link)
        })
    }

    /// All its VIPs as the kernel has them: whether we track one is our own affair.
    pub(crate) fn owned_vips(&self, links: &Links) -> Vec<Vip> {
        let vip = |(link, address): (LinkIndex, &VirtualAddress)| Vip {
            link,
            address: VirtualAddress { no_track: false, ..address.clone() },
        };
        self.vips(links).map(vip).collect()
    }

    /// Finds where its advertisements come from, as the links are now.
    pub(crate) fn find_sources(&self, links: &Links, is_vip: impl Fn(IpAddr) -> bool) -> Sources {
        let mut sources = Sources::default();
        let found =
            self.config.families().filter_map(|family| self.find_source(links, family, &is_vip));
        found.for_each(|source| sources.add(source));
        sources
    }

    fn find_source(
        &self,
        links: &Links,
        family: model::Family,
        is_vip: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let router = self.config.router();
        if let Some(source) = router.source.filter(|source| is_family(*source, family)) {
            return Some(source);
        }
        let link = links.get(self.link.or(self.left)?)?;
        // The owner's own address may be the VIP itself.
        link.source(family, is_vip).or_else(|| link.source(family, |_| !self.protocol.owner()))
    }

    /// Why links and addresses make it a FAULT.
    pub(crate) fn link_faults(&self, links: &Links) -> Vec<String> {
        let mut faults = Vec::new();
        let config = self.config.router();
        match &config.interface {
            Some(name) => match links.named(name) {
                None => faults.push(format!("interface {name} does not exist")),
                Some((_, link)) => {
                    if !link.up && !config.dont_track_primary {
                        faults.push(format!("interface {name} is down"));
                    }
                    faults.extend(self.no_source(name));
                }
            },
            None if self.sources.any().is_none() => {
                faults.push("no source address: set unicast_src_ip or interface".to_owned());
            }
            None => {}
        }
        if config.unicast_fault_no_peer && matches!(config.peers, Peers::Multicast { .. }) {
            faults.push("no unicast peer: add unicast_peer".to_owned());
        }
        if let Some(source) = config.source.filter(|_| config.track_source) {
            let there = match self.link {
                Some(link) => links.get(link).is_some_and(|link| link.has(source)),
                None => links.have(source),
            };
            if !there {
                faults.push(format!("source address {source} is on no interface of this instance"));
            }
        }
        let vips = config.vips.iter().chain(&config.excluded_vips);
        let vip_links = vips
            .filter(|vip| !vip.no_track && vip.interface != config.interface)
            .filter_map(|vip| vip.interface.as_ref());
        let tracked = config.track_interfaces.iter().filter(|tracked| tracked.weight == 0);
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

    /// Of the family that has none.
    fn no_source(&self, interface: &str) -> Option<String> {
        let family = self.config.families().find(|family| self.sources.of(*family).is_none())?;
        let option = match self.config.router().peers {
            Peers::Multicast { .. } => "mcast_src_ip",
            Peers::Unicast { .. } => "unicast_src_ip",
        };
        let kind = match family {
            model::Family::Inet => "IPv4",
            model::Family::Inet6 => "link-local IPv6",
        };
        Some(format!(
            "no {kind} address on {interface}: add one or set {option}, different on each router"
        ))
    }
}

fn is_family(address: IpAddr, family: model::Family) -> bool {
    address.is_ipv4() == (family == model::Family::Inet)
}
