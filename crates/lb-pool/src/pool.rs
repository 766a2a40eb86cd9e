//! A virtual server: its servers' health and weights in, its entry of the forwarding table out.

use std::collections::BTreeMap;

use crate::destinations::Destinations;
use crate::quorum::Quorum;
use crate::table::{Destination, DestinationKey, ForwardingMethod, Service, ServiceKey};

/// The kernel keeps weights as signed 32-bit integers.
const MAX_WEIGHT: i64 = i32::MAX as i64;

/// What one virtual server is configured to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualServerConfig {
    /// Its services: one address, one fwmark, or every entry of a group.
    pub keys: Vec<ServiceKey>,
    /// Scheduler, flags and persistence of each of them. Its destinations are not looked at.
    pub service: Service,
    /// Live weight it needs.
    pub quorum: Quorum,
    /// Its servers' and its own end are announced when it stops.
    pub omega: bool,
    /// Serves alone while the quorum is not met.
    pub sorry_server: Option<SorryServer>,
    /// The real servers, keys unique, in the order of the file.
    pub real_servers: Vec<RealServerConfig>,
}

/// Who serves when too few others do. Its weight is 1 and nobody checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// Where it is.
    pub key: DestinationKey,
    /// How packets reach it.
    pub method: ForwardingMethod,
    /// Stays in the table with weight 0 while it is not needed.
    pub inhibit: bool,
}

/// What one real server is configured to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServerConfig {
    /// Where it is. Port 0 stands for the service's.
    pub key: DestinationKey,
    /// Weight before its checkers' adjustments.
    pub weight: u32,
    /// Stays in the table with weight 0 when it fails, so that its connections go on.
    pub inhibit_on_failure: bool,
    /// How packets reach it.
    pub method: ForwardingMethod,
    /// As [`Destination::upper_threshold`].
    pub upper_threshold: u32,
    /// As [`Destination::lower_threshold`].
    pub lower_threshold: u32,
    /// Its checkers; a server without any is always up, unless it is `unknowable`.
    pub checkers: Vec<CheckerConfig>,
    /// None of the checks that it is meant to have can be made here: it never counts as up.
    pub unknowable: bool,
}

impl RealServerConfig {
    /// Its key among the destinations of `service`, whose port it may have to take.
    #[must_use]
    pub fn behind(&self, service: &ServiceKey) -> DestinationKey {
        behind(service, self.key, self.method)
    }
}

/// What the pool has to know of one checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckerConfig {
    /// Stands for its kind and parameters, a hash of them for instance: a reload keeps the state
    /// where this is the same.
    pub spec: u64,
    /// Counts as failed until it first succeeds.
    pub alpha: bool,
    /// Its first failure is announced although its server, being alpha, was not up: keepalived's
    /// checkers do so, except those of HTTP.
    pub tells_first_failure: bool,
}

/// What is known of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// In service: no checker failed, or it has none.
    Up,
    /// A checker failed, or has yet to succeed.
    Down,
    /// Nobody looks, though somebody should: [`RealServerConfig::unknowable`]. As good as down.
    Unknown,
}

/// What happens to a virtual server. Servers and checkers are named by their place in the
/// configuration; a place that does not exist is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A checker has made up its mind; repeating itself is harmless.
    Verdict {
        /// Which real server.
        server: usize,
        /// Which of its checkers.
        checker: usize,
        /// What it found.
        up: bool,
    },
    /// A checker adjusts the weight; replaces its previous adjustment.
    Adjust {
        /// Which real server.
        server: usize,
        /// Which of its checkers.
        checker: usize,
        /// Added to the weight.
        by: i64,
    },
    /// The operator sets a weight in place of the configured one, or (`None`) takes that back.
    SetWeight {
        /// Which real server.
        server: usize,
        /// The weight.
        weight: Option<u32>,
    },
}

/// What came of it, in the order to announce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// [`VirtualServer::service`] has another answer now. Comes first: the dataplane is changed
    /// before anybody is told.
    Changed,
    /// A real server came up or went down.
    RealServer {
        /// Which one.
        server: usize,
        /// Where to.
        up: bool,
    },
    /// The first check of a real server that was not up yet has failed.
    StaysDown {
        /// Which one.
        server: usize,
    },
    /// A real server is not configured any more.
    Removed {
        /// Its place in the predecessor's configuration.
        server: usize,
        /// Whether it was up until then.
        was_up: bool,
    },
    /// The quorum was gained or lost.
    Quorum {
        /// Gained.
        up: bool,
        /// Live weight.
        weight: u64,
        /// What the configuration wants.
        quorum: Quorum,
    },
    /// The sorry server took over or went back.
    SorryServer {
        /// Took over.
        active: bool,
    },
}

/// A virtual server: configuration and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    config: VirtualServerConfig,
    servers: Vec<RealServer>,
    /// Sum of [`RealServer::live`], kept so that one verdict among thousands costs one.
    live: u64,
    quorum_met: bool,
}

/// State of one real server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RealServer {
    checkers: Vec<Checker>,
    /// The operator's weight.
    weight: Option<u32>,
    /// None of the checkers failed.
    alive: bool,
    /// Configured or set weight plus adjustments. A negative one counts as 0 but is remembered.
    effective: i64,
}

/// State of one checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checker {
    up: bool,
    /// Has given a verdict.
    ran: bool,
    adjustment: i64,
}

impl RealServer {
    fn new(config: &RealServerConfig, checkers: Vec<Checker>, weight: Option<u32>) -> Self {
        let mut server = Self { checkers, weight, alive: false, effective: 0 };
        server.refresh(config);
        server
    }

    fn fresh(config: &RealServerConfig) -> Self {
        let checker = |c: &CheckerConfig| Checker { up: !c.alpha, ran: false, adjustment: 0 };
        Self::new(config, config.checkers.iter().map(checker).collect(), None)
    }

    /// Takes over what the same server had before a reload.
    fn adopt(config: &RealServerConfig, old_config: &RealServerConfig, old: &Self) -> Self {
        // A checker that nobody knows yet does not take down a server that proved itself.
        let proven = old.alive && old.checkers.iter().any(|c| c.ran);
        let mut known: Vec<_> = old_config.checkers.iter().zip(&old.checkers).map(Some).collect();
        let checkers = config.checkers.iter().map(|new| {
            let same = known.iter_mut().find(|k| k.is_some_and(|(c, _)| c.spec == new.spec));
            match same.and_then(Option::take) {
                Some((_, state)) => *state,
                None => Checker { up: !new.alpha || proven, ran: false, adjustment: 0 },
            }
        });
        // The file's newer word ends the operator's.
        let weight = old.weight.filter(|_| config.weight == old_config.weight);
        Self::new(config, checkers.collect(), weight)
    }

    fn refresh(&mut self, config: &RealServerConfig) {
        let base = i64::from(self.weight.unwrap_or(config.weight));
        self.alive = !config.unknowable && self.checkers.iter().all(|c| c.up);
        self.effective = self.checkers.iter().fold(base, |sum, c| sum.saturating_add(c.adjustment));
    }

    fn weight(&self) -> u32 {
        u32::try_from(self.effective.clamp(0, MAX_WEIGHT)).unwrap_or(0)
    }

    /// What it counts towards the quorum.
    fn live(&self) -> u64 {
        if self.alive { u64::from(self.weight()) } else { 0 }
    }

    /// Its weight in the table while the sorry server does (not) serve; `None` if it is not there.
    fn programmed(&self, config: &RealServerConfig, sorry: bool) -> Option<u32> {
        match (self.alive && !sorry, config.inhibit_on_failure) {
            (true, _) => Some(self.weight()),
            (false, true) => Some(0),
            (false, false) => None,
        }
    }
}

impl VirtualServer {
    /// A virtual server that nobody has checked yet: servers are up unless a checker of theirs is
    /// alpha, and the quorum is met if they are enough to gain it.
    #[must_use]
    pub fn new(config: VirtualServerConfig) -> Self {
        let servers: Vec<_> = config.real_servers.iter().map(RealServer::fresh).collect();
        let live = servers.iter().map(RealServer::live).sum();
        let quorum_met = config.quorum.met(false, live);
        Self { config, servers, live, quorum_met }
    }

    /// Says what a start announces: servers that are up (`init_notifies`, keepalived's
    /// `rs_init_notifies`), and the quorum if it is met, or missing and a sorry server has to serve.
    ///
    /// The quorum counts as missing before: a healthy pool always gains it. One that is missing
    /// without a sorry server is not announced.
    pub fn start(&self, init_notifies: bool, out: &mut impl Extend<Output>) {
        out.extend([Output::Changed]);
        if init_notifies {
            out.extend(self.announce_alive(true));
        }
        if self.quorum_met || self.sorry_active() {
            out.extend([self.quorum_output()]);
        }
        if self.sorry_active() {
            out.extend([Output::SorryServer { active: true }]);
        }
    }

    /// Takes one input and pushes what came of it.
    pub fn handle(&mut self, input: Input, out: &mut impl Extend<Output>) {
        let (Input::Verdict { server, .. }
        | Input::Adjust { server, .. }
        | Input::SetWeight { server, .. }) = input;
        let (Some(state), Some(config)) =
            (self.servers.get_mut(server), self.config.real_servers.get(server))
        else {
            return;
        };
        let (was_alive, was_live) = (state.alive, state.live());
        let was_programmed = state.programmed(config, false);
        let mut stays_down = false;
        match input {
            Input::Verdict { checker: at, up, .. } => {
                let (Some(checker), Some(of)) =
                    (state.checkers.get_mut(at), config.checkers.get(at))
                else {
                    return;
                };
                stays_down = of.tells_first_failure && !checker.ran && !checker.up && !up;
                (checker.up, checker.ran) = (up, true);
            }
            Input::Adjust { checker, by, .. } => {
                let Some(checker) = state.checkers.get_mut(checker) else {
                    return;
                };
                checker.adjustment = by;
            }
            Input::SetWeight { weight, .. } => state.weight = weight,
        }
        state.refresh(config);
        self.live = self.live - was_live + state.live();

        let up = (state.alive != was_alive).then_some(state.alive);
        let moved = state.programmed(config, false) != was_programmed;
        let (was_met, was_sorry) = (self.quorum_met, self.sorry_active());
        self.quorum_met = self.config.quorum.met(was_met, self.live);

        // What moves behind a sorry server is remembered and not programmed.
        if was_sorry != self.sorry_active() || (moved && !was_sorry) {
            out.extend([Output::Changed]);
        }
        out.extend(up.map(|up| Output::RealServer { server, up }));
        out.extend(stays_down.then_some(Output::StaysDown { server }));
        self.announce_quorum(was_met, was_sorry, out);
    }

    /// Takes over the state of `old`, the same virtual server before a reload, and pushes what
    /// the new configuration changes about it.
    ///
    /// Servers are matched by key, checkers by [`CheckerConfig::spec`]; what is new starts as in
    /// [`VirtualServer::new`], except that an alpha checker does not take down a server whose
    /// other checks have succeeded. [`Output::Changed`] is not pushed: after a reload the whole
    /// table is programmed.
    pub fn adopt(&mut self, old: &Self, out: &mut impl Extend<Output>) {
        let mut known: BTreeMap<DestinationKey, usize> = old
            .config
            .real_servers
            .iter()
            .enumerate()
            .map(|(at, server)| (server.key, at))
            .collect();
        for (server, config) in self.config.real_servers.iter().enumerate() {
            let Some(at) = known.remove(&config.key) else {
                continue;
            };
            let state = RealServer::adopt(config, &old.config.real_servers[at], &old.servers[at]);
            if state.alive != old.servers[at].alive {
                out.extend([Output::RealServer { server, up: state.alive }]);
            }
            self.servers[server] = state;
        }
        out.extend(
            known
                .into_values()
                .map(|server| Output::Removed { server, was_up: old.servers[server].alive }),
        );

        self.live = self.servers.iter().map(RealServer::live).sum();
        self.quorum_met = self.config.quorum.met(old.quorum_met, self.live);
        self.announce_quorum(old.quorum_met, old.sorry_active(), out);
    }

    /// Says what a stop announces: with omega the end of every server that was up and of the
    /// quorum, even of one that was lost before, as keepalived does; without it nothing.
    pub fn stop(&self, out: &mut impl Extend<Output>) {
        if self.config.omega {
            out.extend(self.announce_alive(false));
            out.extend([self.lost_quorum()]);
        }
    }

    /// Says what the removal by a reload announces: the end of every server that was up and of the
    /// quorum, omega or not.
    pub fn remove(&self, out: &mut impl Extend<Output>) {
        out.extend(self.announce_alive(false));
        if self.quorum_met {
            out.extend([self.lost_quorum()]);
        }
    }

    fn lost_quorum(&self) -> Output {
        Output::Quorum { up: false, weight: self.live, quorum: self.config.quorum }
    }

    /// The entry of the forwarding table for one of its keys, as it should be now.
    ///
    /// Ports follow the key: the service's own for DR, TUN and servers of port 0; 0 for DR and
    /// TUN behind a fwmark. Where two servers become one destination by that, the heavier counts.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Service {
        let sorry = self.sorry_active();
        let mut all = Vec::with_capacity(self.servers.len() + 1);
        for (config, state) in self.config.real_servers.iter().zip(&self.servers) {
            let Some(weight) = state.programmed(config, sorry) else {
                continue;
            };
            let destination = Destination {
                method: config.method,
                weight,
                upper_threshold: config.upper_threshold,
                lower_threshold: config.lower_threshold,
            };
            all.push((config.behind(key), destination));
        }
        let mut destinations = Destinations::joined(all, |kept, more| {
            if kept.weight < more.weight {
                *kept = more;
            }
        });
        if let Some(server) = self.config.sorry_server {
            let at = behind(key, server.key, server.method);
            let destination =
                |weight| Destination { method: server.method, weight, ..Destination::default() };
            if sorry {
                destinations.set(at, destination(1));
            } else if server.inhibit {
                destinations.add(at, destination(0));
            }
        }
        Service { destinations, ..self.config.service.clone() }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &VirtualServerConfig {
        &self.config
    }

    /// Sum of the weights of the servers that are up.
    #[must_use]
    pub fn live_weight(&self) -> u64 {
        self.live
    }

    /// Whether the quorum is met.
    #[must_use]
    pub fn quorum_met(&self) -> bool {
        self.quorum_met
    }

    /// Whether the sorry server serves.
    #[must_use]
    pub fn sorry_active(&self) -> bool {
        !self.quorum_met && self.config.sorry_server.is_some()
    }

    /// Whether a real server is up; one that does not exist is not.
    #[must_use]
    pub fn alive(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|s| s.alive)
    }

    /// What is known of a real server; nothing of one that does not exist.
    #[must_use]
    pub fn health(&self, server: usize) -> Health {
        match (self.servers.get(server), self.config.real_servers.get(server)) {
            (Some(state), _) if state.alive => Health::Up,
            (Some(_), Some(config)) if !config.unknowable => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Whether a checker holds its server for up.
    #[must_use]
    pub fn checker_up(&self, server: usize, checker: usize) -> bool {
        self.servers.get(server).and_then(|s| s.checkers.get(checker)).is_some_and(|c| c.up)
    }

    /// Weight of a real server after adjustments and the operator's word, 0 to 2147483647, whether
    /// it is up or not.
    #[must_use]
    pub fn effective_weight(&self, server: usize) -> u32 {
        self.servers.get(server).map_or(0, RealServer::weight)
    }

    fn announce_alive(&self, up: bool) -> impl Iterator<Item = Output> {
        let alive = self.servers.iter().enumerate().filter(|(_, state)| state.alive);
        alive.map(move |(server, _)| Output::RealServer { server, up })
    }

    fn announce_quorum(&self, was_met: bool, was_sorry: bool, out: &mut impl Extend<Output>) {
        if self.quorum_met != was_met {
            out.extend([self.quorum_output()]);
        }
        if self.sorry_active() != was_sorry {
            out.extend([Output::SorryServer { active: self.sorry_active() }]);
        }
    }

    fn quorum_output(&self) -> Output {
        Output::Quorum { up: self.quorum_met, weight: self.live, quorum: self.config.quorum }
    }
}

/// The key of a server as a destination of one service: only NAT can change ports, and behind a
/// fwmark there is none to change to.
fn behind(
    service: &ServiceKey,
    server: DestinationKey,
    method: ForwardingMethod,
) -> DestinationKey {
    let port = match (service, method) {
        (ServiceKey::Address { address, .. }, ForwardingMethod::Nat) if server.port == 0 => {
            address.port()
        }
        (_, ForwardingMethod::Nat) => server.port,
        (ServiceKey::Address { address, .. }, _) => address.port(),
        (ServiceKey::Fwmark { .. }, _) => 0,
    };
    DestinationKey { port, ..server }
}
