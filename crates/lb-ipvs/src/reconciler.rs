//! Keeps the kernel's table as it is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use lb_pool::table::Family;
use lb_pool::{Connections, Dataplane, DataplaneError, DestinationKey, Service, ServiceKey, Table};

use crate::change::{Change, diff, diff_service};
use crate::client::Client;
use crate::entry::{DestinationEntry, ServiceEntry};
use crate::error::{Error, Failure};
use crate::snapshot::{ServiceState, Snapshot, snapshot};

/// Services that one audit looks at closely: two requests each.
const AUDITED: usize = 32;

/// Services that are brought in order in one go, so that changes need no more memory the more there are.
const AT_ONCE: usize = 128;

/// Failures that are told one by one; of a thousand, nobody reads the rest.
const TOLD: usize = 32;

/// What a reconciler asks of IPVS. [`Client`] is the kernel's; tests have one of their own.
pub trait Kernel: Send {
    /// See [`Client::services`].
    ///
    /// # Errors
    /// If the answer is not complete.
    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error>;

    /// See [`Client::services_of`].
    ///
    /// # Errors
    /// If the answer is not complete.
    fn services_of(&mut self, keys: &[ServiceKey]) -> Result<Vec<ServiceEntry>, Error>;

    /// See [`Client::destinations`].
    ///
    /// # Errors
    /// If the answer is not complete.
    fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<DestinationEntry>, Error>;

    /// See [`Client::apply`].
    ///
    /// # Errors
    /// If it is unknown which changes are in force.
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Failure>, Error>;

    /// See [`Client::count_services`].
    fn count_services(&self) -> Option<u32>;
}

impl Kernel for Client {
    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        self.services()
    }

    fn services_of(&mut self, keys: &[ServiceKey]) -> Result<Vec<ServiceEntry>, Error> {
        self.services_of(keys)
    }

    fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<DestinationEntry>, Error> {
        self.destinations(key)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Failure>, Error> {
        self.apply(changes)
    }

    fn count_services(&self) -> Option<u32> {
        self.count_services()
    }
}

/// The dataplane `ipvs`: makes the kernel's table what is wanted, with as few requests as differ.
///
/// # Whose entries
///
/// A service is ours from the moment it is first wanted until it was removed. Ours are adopted as
/// found, with their connections, so a restart after a crash with the same configuration changes
/// nothing. Within one of ours, destinations that are not wanted are removed. Services that were
/// never wanted belong to other programs and are left alone, as keepalived does without
/// `lvs_flush`; [`Client::flush`] is the way to be rid of them, too.
///
/// # Memory instead of dumps
///
/// The first [`replace`](Dataplane::replace) lists the kernel's services, and the destinations of
/// those that are wanted and there. From then on the reconciler remembers, so a reload costs what
/// it changes. If the kernel says that an entry was not as remembered (`EEXIST`, `ESRCH`,
/// `ENOENT`), that service is looked at again and its difference is sent once more.
///
/// # Audit
///
/// The kernel does not tell of changes that others make. Each [`audit`](Dataplane::audit)
/// compares the kernel's count of IPv4 services with the expected one, a single system call; if it
/// is off, one dump tells whether ours are all there. Then it looks closely, destinations and
/// all, at the next 32 of our services, so that a stray weight or an IPv6 service is found too,
/// after at most (services / 32) audits. Whatever is found missing or altered leads to a look at
/// every one of ours and to its repair. Changes that were refused before are tried again.
pub struct Reconciler<K = Client> {
    kernel: K,
    desired: Snapshot,
    /// Services which the kernel has otherwise than desired, and how: failures, or what was found.
    /// All others are as desired, so the table is kept once. Boxed, because at a start all are odd
    /// and none is there.
    odd: BTreeMap<ServiceKey, Option<Box<ServiceState>>>,
    /// Whether that holds: not before the first look and not after a broken exchange.
    known: bool,
    /// What the kernel's count of services is expected to be.
    count: Option<u32>,
    /// The service at which the last audit stopped.
    audited: Option<ServiceKey>,
}

impl Reconciler {
    /// Opens a client and takes it.
    ///
    /// # Errors
    /// See [`Client::open`].
    pub fn open() -> Result<Self, Error> {
        Client::open().map(Self::new)
    }

    /// See [`Client::requests_sent`].
    #[must_use]
    pub fn requests_sent(&self) -> u64 {
        self.kernel.requests_sent()
    }

    /// The client, for what is no part of the table: timeouts, sync daemons, a flush.
    pub fn client(&mut self) -> &mut Client {
        &mut self.kernel
    }
}

impl<K: Kernel> Reconciler<K> {
    /// A reconciler that wants nothing yet and has not looked.
    #[must_use]
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            desired: Snapshot::new(),
            odd: BTreeMap::new(),
            known: false,
            count: None,
            audited: None,
        }
    }

    /// What the kernel has of the service, as far as we know.
    fn actual(&self, key: &ServiceKey) -> Option<&ServiceState> {
        match self.odd.get(key) {
            Some(state) => state.as_deref(),
            None => self.desired.get(key),
        }
    }

    /// Remembers what the kernel has of the service.
    fn note(&mut self, key: ServiceKey, state: Option<ServiceState>) {
        if state.as_ref() == self.desired.get(&key) {
            self.odd.remove(&key);
        } else {
            self.odd.insert(key, state.map(Box::new));
        }
    }

    /// Lists the kernel's services and looks at each that is ours.
    fn look_at_all(&mut self) -> Result<(), Error> {
        self.count = self.kernel.count_services();
        let services = self.kernel.services()?;
        let Self { kernel, desired, odd, .. } = self;
        let ours = |key: &ServiceKey| desired.contains_key(key) || odd.contains_key(key);
        let mut seen = dump(kernel, &services, ours)?;
        let not_as_desired = desired.iter().filter_map(|(key, want)| {
            let state = seen.remove(key);
            (state.as_ref() != Some(want)).then(|| (*key, state.map(Box::new)))
        });
        *odd = not_as_desired.collect();
        odd.extend(seen.into_iter().map(|(key, state)| (key, Some(Box::new(state)))));
        self.known = true;
        Ok(())
    }

    /// Takes the kernel's word for `keys`, of which `services` are there. Says whether all was
    /// as remembered.
    fn look(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
        services: &[ServiceEntry],
    ) -> Result<bool, Error> {
        let mut seen = dump(&mut self.kernel, services, |key| keys.contains(key))?;
        let mut as_remembered = true;
        for key in keys {
            let state = seen.remove(key);
            as_remembered &= state.as_ref() == self.actual(key);
            self.note(*key, state);
        }
        Ok(as_remembered)
    }

    /// Makes every odd service as desired, after a look at all if need be.
    fn settle(&mut self) -> Result<usize, DataplaneError> {
        if !self.known {
            self.look_at_all().map_err(|e| broken(&e))?;
        }
        let mut odd = std::mem::take(&mut self.odd).into_iter();
        let mut outcome = Outcome::default();
        let mut changes = Vec::new();
        loop {
            let services: Vec<_> = odd.by_ref().take(AT_ONCE).collect();
            if services.is_empty() {
                return outcome.report();
            }
            changes.clear();
            self.diff_all(&services, &mut changes);
            let actual = services.into_iter().filter_map(|(key, state)| Some((key, *state?)));
            match self.carry_out(&changes, actual.collect()) {
                Ok(more) => outcome.add(more),
                Err(error) => {
                    self.odd.extend(odd);
                    return Err(error);
                }
            }
        }
    }

    /// Makes the whole table so.
    fn want(&mut self, desired: Snapshot) -> Result<usize, DataplaneError> {
        let mut actual = std::mem::replace(&mut self.desired, desired);
        for (key, state) in std::mem::take(&mut self.odd) {
            match state {
                Some(state) => actual.insert(key, *state),
                None => actual.remove(&key),
            };
        }
        if !self.known {
            // Ours to remove, if they are there: the look tells.
            for (key, state) in actual {
                self.note(key, Some(state));
            }
            return self.settle();
        }
        let changes = diff(&self.desired, &actual);
        self.carry_out(&changes, actual)?.report()
    }

    /// What makes services as desired where they are as `actual`, which is sorted.
    fn diff_all(
        &self,
        actual: &[(ServiceKey, Option<Box<ServiceState>>)],
        changes: &mut Vec<Change>,
    ) {
        let (Some((first, _)), Some((last, _))) = (actual.first(), actual.last()) else { return };
        let mut desired = self.desired.range(first..=last).peekable();
        for (key, actual) in actual {
            while desired.next_if(|(other, _)| *other < key).is_some() {}
            let want = desired.next_if(|(other, _)| *other == key).map(|(_, want)| want);
            diff_from(key, want, actual.as_deref(), changes);
        }
    }

    /// What makes one service as desired.
    fn diff_odd(&self, key: &ServiceKey, changes: &mut Vec<Change>) {
        diff_from(key, self.desired.get(key), self.actual(key), changes);
    }

    /// Sends changes that make the services of `actual`, and those that are not there, as desired.
    /// Where the kernel's table was not as remembered, looks and sends once more.
    fn carry_out(
        &mut self,
        changes: &[Change],
        actual: Snapshot,
    ) -> Result<Outcome, DataplaneError> {
        let mut failures = self.send(changes, actual)?;
        let mut done = changes.len() - failures.len();
        let stale: BTreeSet<_> = failures
            .iter()
            .filter(|failure| failure.is_stale())
            .map(|failure| failure.change.service())
            .collect();
        if !stale.is_empty() {
            failures.retain(|failure| !stale.contains(&failure.change.service()));
            let keys: Vec<_> = stale.iter().copied().collect();
            self.kernel
                .services_of(&keys)
                .and_then(|services| self.look(&stale, &services))
                .map_err(|e| self.lost(&e))?;
            let mut again = Vec::new();
            for key in &stale {
                self.diff_odd(key, &mut again);
            }
            let found = |key| Some((key, self.actual(&key)?.clone()));
            let actual = keys.into_iter().filter_map(found).collect();
            let refused = self.send(&again, actual)?;
            done += again.len() - refused.len();
            failures.extend(refused);
        }
        Ok(Outcome { done, failures })
    }

    /// Sends changes that lead from `actual` to what is desired, and remembers which services the
    /// kernel did not make so.
    fn send(
        &mut self,
        changes: &[Change],
        mut actual: Snapshot,
    ) -> Result<Vec<Failure>, DataplaneError> {
        let failures = match self.kernel.apply(changes) {
            Ok(failures) => failures,
            Err(error) => {
                // What was to be removed stays ours until a look shows that it is gone.
                for (key, state) in actual {
                    self.note(key, Some(state));
                }
                return Err(self.lost(&error));
            }
        };
        let troubled: BTreeSet<_> = failures.iter().map(|f| f.change.service()).collect();
        let mut refused = failures.iter().map(|failure| failure.change).peekable();
        actual.retain(|key, _| troubled.contains(key));
        // The changes of a service follow one another.
        for same in changes.chunk_by(|a, b| a.service() == b.service()) {
            let service = same[0].service();
            if !troubled.contains(&service) {
                same.iter().for_each(|change| self.expect(change));
                self.odd.remove(&service);
                continue;
            }
            for change in same {
                if refused.next_if_eq(change).is_none() {
                    self.expect(change);
                    change.apply(&mut actual);
                }
            }
        }
        for key in troubled {
            let state = actual.remove(&key);
            self.note(key, state);
        }
        Ok(failures)
    }

    /// Counts a service as the kernel does, which leaves IPv6 out.
    fn expect(&mut self, change: &Change) {
        let Some(count) = &mut self.count else { return };
        match change {
            Change::AddService(key, _) if key.family() == Family::Inet => {
                *count = count.saturating_add(1);
            }
            Change::DelService(key) if key.family() == Family::Inet => {
                *count = count.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// Looks for what others changed: see the type's description.
    fn verify(&mut self) -> Result<(), Error> {
        let count = self.kernel.count_services();
        if count != self.count {
            self.count = count;
            let services: BTreeMap<_, _> = (self.kernel.services()?.into_iter())
                .map(|service| (service.key, service.settings))
                .collect();
            let untouched = |key: &ServiceKey| {
                services.get(key) == self.actual(key).map(|state| &state.settings)
            };
            if !self.desired.keys().all(untouched) {
                return self.look_at_all();
            }
        }
        let keys = self.next_to_audit();
        let services = self.kernel.services_of(&keys)?;
        if !self.look(&keys.into_iter().collect(), &services)? {
            return self.look_at_all();
        }
        Ok(())
    }

    /// The next of our services, at most [`AUDITED`], starting over after the last.
    fn next_to_audit(&mut self) -> Vec<ServiceKey> {
        let after = self.audited.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.desired.range((after, Bound::Unbounded));
        let keys: Vec<_> = rest
            .chain(&self.desired)
            .map(|(key, _)| *key)
            .take(AUDITED.min(self.desired.len()))
            .collect();
        self.audited = keys.last().copied();
        keys
    }

    /// Notes that nothing is known for sure any more; the next call looks at everything.
    fn lost(&mut self, error: &Error) -> DataplaneError {
        self.known = false;
        broken(error)
    }
}

impl<K: Kernel> Dataplane for Reconciler<K> {
    fn name(&self) -> &'static str {
        "ipvs"
    }

    fn replace(&mut self, table: &Table) -> Result<usize, DataplaneError> {
        self.want(snapshot(table))
    }

    fn fill(
        &mut self,
        services: &mut dyn Iterator<Item = (ServiceKey, Service)>,
    ) -> Result<usize, DataplaneError> {
        let state = |(key, service)| (key, ServiceState::new(&key, &service));
        self.want(services.map(state).collect())
    }

    fn apply(&mut self, key: &ServiceKey, want: Option<&Service>) -> Result<usize, DataplaneError> {
        let before = match want {
            Some(service) => self.desired.insert(*key, ServiceState::new(key, service)),
            None => self.desired.remove(key),
        };
        // What was odd is odd still; what was as desired before may be odd now.
        let actual = self.odd.remove(key).map_or(before, |state| state.map(|state| *state));
        self.note(*key, actual.clone());
        if !self.known {
            return self.settle();
        }
        let mut changes = Vec::new();
        self.diff_odd(key, &mut changes);
        let actual = actual.map(|state| (*key, state)).into_iter().collect();
        self.carry_out(&changes, actual)?.report()
    }

    fn audit(&mut self) -> Result<usize, DataplaneError> {
        if self.known {
            self.verify().map_err(|e| self.lost(&e))?;
        }
        let repairs = self.settle()?;
        if repairs > 0 {
            tracing::warn!(repairs, "the IPVS table was not as wanted; repaired");
        }
        Ok(repairs)
    }

    fn connections(&mut self, key: &ServiceKey) -> BTreeMap<DestinationKey, Connections> {
        let destinations = self.kernel.destinations(key).unwrap_or_else(|error| {
            tracing::debug!(%error, %key, "no connection counts");
            Vec::new()
        });
        let counts = |d: DestinationEntry| {
            let connections = Connections { active: d.active.into(), inactive: d.inactive.into() };
            (d.key, connections)
        };
        destinations.into_iter().map(counts).collect()
    }
}

/// What makes a service as wanted where it is `actual`.
fn diff_from(
    key: &ServiceKey,
    want: Option<&ServiceState>,
    actual: Option<&ServiceState>,
    changes: &mut Vec<Change>,
) {
    match (want, actual) {
        (Some(want), have) => diff_service(key, want, have, changes),
        (None, Some(_)) => changes.push(Change::DelService(*key)),
        (None, None) => {}
    }
}

/// Those of `services` that are ours, with their destinations.
fn dump(
    kernel: &mut impl Kernel,
    services: &[ServiceEntry],
    ours: impl Fn(&ServiceKey) -> bool,
) -> Result<Snapshot, Error> {
    let mut seen = Snapshot::new();
    for service in services.iter().filter(|service| ours(&service.key)) {
        let destinations = kernel.destinations(&service.key)?;
        seen.insert(service.key, ServiceState::dumped(service.settings, &destinations));
    }
    Ok(seen)
}

/// What became of changes.
#[derive(Debug, Default)]
struct Outcome {
    /// Number of those that are in force.
    done: usize,
    failures: Vec<Failure>,
}

impl Outcome {
    fn add(&mut self, more: Self) {
        self.done += more.done;
        self.failures.extend(more.failures);
    }

    fn report(self) -> Result<usize, DataplaneError> {
        if self.failures.is_empty() { Ok(self.done) } else { Err(report(&self.failures)) }
    }
}

/// One sentence a failure. A service that could not be made speaks for its destinations.
fn report(failures: &[Failure]) -> DataplaneError {
    let missing: BTreeSet<_> = failures
        .iter()
        .filter(|failure| matches!(failure.change, Change::AddService(..)))
        .map(|failure| failure.change.service())
        .collect();
    let follows = |failure: &&Failure| {
        matches!(failure.change, Change::AddDestination(..))
            && missing.contains(&failure.change.service())
    };
    let told = failures.iter().filter(|failure| !follows(failure));
    let more = told.clone().count().saturating_sub(TOLD);
    let mut failures: Vec<_> = told.take(TOLD).map(Failure::to_string).collect();
    if more > 0 {
        failures.push(format!("and {more} more entries failed"));
    }
    DataplaneError { failures }
}

/// A failure of the socket, with its cause.
fn broken(error: &Error) -> DataplaneError {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}"));
    DataplaneError { failures: vec![format!("{error}{}", cause.unwrap_or_default())] }
}

#[cfg(test)]
mod tests;
