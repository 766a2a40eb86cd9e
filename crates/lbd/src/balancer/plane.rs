//! Which dataplane forwards, and its life around the table: timeouts, flush, farewell.

use std::collections::{BTreeMap, BTreeSet};

use lb_config::model::{FlushOnStop, LvsTimeouts};
use lb_control::status;
use lb_ipvs::{Reconciler, Timeouts};
use lb_pool::{Connections, Dataplane, DataplaneError, DestinationKey, Service, ServiceKey, Table};
use lb_relay::{Clients, Relay};
use tracing::{info, warn};

use super::originals::Originals;
use super::{DataplaneChoice, Error, Plan};

/// Descriptors of a client of the relay: two sockets, and now and then a pipe or a third socket.
const FILES_A_CLIENT: usize = 3;

/// The dataplane in force.
pub(super) struct Plane {
    kind: Kind,
    originals: Originals,
    /// What was refused and has been told, so that it is told once.
    told: BTreeSet<String>,
}

enum Kind {
    /// There was nothing to balance yet.
    Undecided(Nothing),
    Ipvs(Box<Reconciler>),
    Relay(Relay),
    None(Nothing),
}

/// Forwards nothing: health checks and notifications alone.
struct Nothing;

impl Plane {
    /// No dataplane until there is something to balance.
    pub fn undecided(originals: Originals) -> Self {
        Self { kind: Kind::Undecided(Nothing), originals, told: BTreeSet::new() }
    }

    /// The kernel's timeouts before we set ours, if we did.
    pub fn saved(&self) -> Option<Timeouts> {
        self.originals.get()
    }

    /// Opens the dataplane of `choice` if none is open yet and `plan` needs one; a relay may have so
    /// many open files. Returns whether it did.
    pub fn decide(
        &mut self,
        choice: DataplaneChoice,
        plan: &Plan,
        files: usize,
    ) -> Result<bool, Error> {
        if plan.is_empty() || !matches!(self.kind, Kind::Undecided(_)) {
            return Ok(false);
        }
        let relay = || -> Result<Kind, Error> {
            let mut options = lb_relay::Options::default();
            let LvsTimeouts { tcp, tcp_fin, udp } = plan.timeouts;
            options.tcp_timeout = tcp.filter(|t| !t.is_zero()).unwrap_or(options.tcp_timeout);
            let fin = options.tcp_fin_timeout;
            options.tcp_fin_timeout = tcp_fin.filter(|t| !t.is_zero()).unwrap_or(fin);
            options.most_flows = files / FILES_A_CLIENT;
            options.udp_timeout = udp.filter(|t| !t.is_zero()).unwrap_or(options.udp_timeout);
            Ok(Kind::Relay(Relay::start(options).map_err(Error::Relay)?))
        };
        self.kind = match choice {
            DataplaneChoice::Ipvs => Kind::Ipvs(Box::new(Reconciler::open().map_err(Error::Ipvs)?)),
            DataplaneChoice::Relay => relay()?,
            DataplaneChoice::None => Kind::None(Nothing),
            DataplaneChoice::Auto => match Reconciler::open() {
                Ok(reconciler) => Kind::Ipvs(Box::new(reconciler)),
                Err(why) => {
                    info!("dataplane relay: {why}");
                    self.kind = relay()?;
                    return Ok(true);
                }
            },
        };
        if matches!(self.kind, Kind::Ipvs(_)) {
            info!("Initializing ipvs");
        }
        info!("dataplane {}", self.name());
        Ok(true)
    }

    /// `ipvs`, `relay` or `none`.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Undecided(nothing) | Kind::None(nothing) => nothing.name(),
            Kind::Ipvs(reconciler) => reconciler.name(),
            Kind::Relay(relay) => relay.name(),
        }
    }

    /// How full the relay is, if it forwards.
    pub fn relay(&self) -> Option<status::Relay> {
        let Kind::Relay(relay) = &self.kind else { return None };
        let Clients { now: clients, most, displaced, refused } = relay.clients();
        Some(status::Relay { clients, most, displaced, refused })
    }

    /// Whether somebody else can change its table, or it may succeed later where it failed.
    pub fn wants_audits(&self) -> bool {
        matches!(self.kind, Kind::Ipvs(_) | Kind::Relay(_))
    }

    /// Empties the kernel's table, other programs' entries too.
    pub fn flush(&mut self) {
        if let Kind::Ipvs(reconciler) = &mut self.kind
            && let Err(error) = reconciler.client().flush()
        {
            warn!("lvs_flush: {error}");
        }
    }

    /// Sets the connection timeouts that are configured and puts back those that no longer are. Returns
    /// whether they are in force.
    pub fn set_timeouts(&mut self, timeouts: LvsTimeouts) -> bool {
        let Kind::Ipvs(reconciler) = &mut self.kind else {
            return false;
        };
        let client = reconciler.client();
        let wanted = Timeouts {
            tcp: timeouts.tcp.unwrap_or_default(),
            tcp_fin: timeouts.tcp_fin.unwrap_or_default(),
            udp: timeouts.udp.unwrap_or_default(),
        };
        let result = match (self.originals.get(), wanted == Timeouts::default()) {
            (None, true) => Ok(()),
            (None, false) => client.timeouts().and_then(|before| {
                self.originals.keep(before);
                client.set_timeouts(&wanted)
            }),
            (Some(before), _) => {
                client.set_timeouts(&before).and_then(|()| client.set_timeouts(&wanted))
            }
        };
        result.inspect_err(|error| warn!("lvs_timeouts: {error}")).is_ok()
    }

    /// Makes the whole table of these services. Returns what could not be done.
    pub fn fill(
        &mut self,
        services: &mut dyn Iterator<Item = (ServiceKey, Service)>,
    ) -> Vec<String> {
        self.told.clear();
        let result = self.dataplane().fill(services);
        self.new_failures(result)
    }

    /// Makes one service so. Returns what could not be done and was not told before.
    pub fn apply(&mut self, key: &ServiceKey, want: Option<&Service>) -> Vec<String> {
        let result = self.dataplane().apply(key, want);
        self.new_failures(result)
    }

    /// Repairs the table. Returns the number of repairs of what others did, and what could not be
    /// done and was not told before.
    pub fn audit(&mut self) -> (usize, Vec<String>) {
        let result = self.dataplane().audit();
        let repairs = match (&self.kind, &result) {
            (Kind::Ipvs(_), Ok(repairs)) => *repairs,
            (Kind::Relay(_), Ok(opened @ 1..)) => {
                info!("the relay could open {opened} services that it could not open before");
                0
            }
            _ => 0,
        };
        (repairs, self.new_failures(result))
    }

    pub fn connections(&mut self, key: &ServiceKey) -> BTreeMap<DestinationKey, Connections> {
        self.dataplane().connections(key)
    }

    /// Leaves the kernel as it was found, or (`keep`) our entries where they are.
    pub fn close(mut self, flush: FlushOnStop, keep: bool) {
        if !keep {
            if flush == FlushOnStop::Everything {
                self.flush();
            } else {
                for failure in self.fill(&mut std::iter::empty()) {
                    warn!("{failure}");
                }
            }
        }
        if self.set_timeouts(LvsTimeouts::default()) {
            self.originals.forget();
        }
    }

    fn dataplane(&mut self) -> &mut dyn Dataplane {
        match &mut self.kind {
            Kind::Undecided(nothing) | Kind::None(nothing) => nothing,
            Kind::Ipvs(reconciler) => &mut **reconciler,
            Kind::Relay(relay) => relay,
        }
    }

    fn new_failures(&mut self, result: Result<usize, DataplaneError>) -> Vec<String> {
        let failures = result.err().unwrap_or_default().failures;
        failures.into_iter().filter(|failure| self.told.insert(failure.clone())).collect()
    }
}

impl Dataplane for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn replace(&mut self, _: &Table) -> Result<usize, DataplaneError> {
        Ok(0)
    }

    fn apply(&mut self, _: &ServiceKey, _: Option<&Service>) -> Result<usize, DataplaneError> {
        Ok(0)
    }

    fn audit(&mut self) -> Result<usize, DataplaneError> {
        Ok(0)
    }

    fn connections(&mut self, _: &ServiceKey) -> BTreeMap<DestinationKey, Connections> {
        BTreeMap::new()
    }
}
