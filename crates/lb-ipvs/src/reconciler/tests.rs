//! The reconciler on a kernel of its own, which others change too.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lb_pool::table::Family;
use lb_pool::{Destination, ForwardingMethod, Persistence, Protocol, Scheduler};
use nix::errno::Errno;
use proptest::prelude::*;

use super::*;
use crate::entry::Statistics;
use crate::snapshot::Destinations;

/// A kernel's table that test and reconciler share, and what was asked of it.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    table: Snapshot,
    applied: Vec<Change>,
    service_dumps: usize,
    destination_dumps: usize,
    questions: usize,
    broken: bool,
    /// The kernel has no such scheduler.
    without: Option<Scheduler>,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a test thread panicked")
    }

    /// What was applied since the last call.
    fn applied(&self) -> Vec<Change> {
        std::mem::take(&mut self.state().applied)
    }
}

fn lost() -> Error {
    Error::NoAnswer("change the table")
}

fn entry(key: &ServiceKey, state: &ServiceState) -> ServiceEntry {
    ServiceEntry { key: *key, settings: state.settings, statistics: Statistics::default() }
}

impl Kernel for Fake {
    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let mut state = self.state();
        state.service_dumps += 1;
        Ok(state.table.iter().map(|(key, s)| entry(key, s)).collect())
    }

    fn services_of(&mut self, keys: &[ServiceKey]) -> Result<Vec<ServiceEntry>, Error> {
        let mut state = self.state();
        state.questions += keys.len();
        let found = |key: &ServiceKey| state.table.get(key).map(|s| entry(key, s));
        Ok(keys.iter().filter_map(found).collect())
    }

    fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<DestinationEntry>, Error> {
        let mut state = self.state();
        state.destination_dumps += 1;
        let service = state.table.get(key);
        let entries = service.into_iter().flat_map(|s| s.destinations.iter());
        Ok(entries
            .map(|(key, settings)| DestinationEntry {
                key: *key,
                settings: *settings,
                active: 3,
                inactive: 4,
                persistent: 0,
                statistics: Statistics::default(),
            })
            .collect())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Failure>, Error> {
        let mut state = self.state();
        if state.broken {
            return Err(lost());
        }
        state.applied.extend(changes);
        let mut failures = Vec::new();
        for change in changes {
            if let Some(errno) = state.refusal(change) {
                let text = None;
                failures.push(Failure { change: *change, errno, text });
                continue;
            }
            assert!(change.apply(&mut state.table));
        }
        Ok(failures)
    }

    fn count_services(&self) -> Option<u32> {
        let state = self.state();
        let v4 = state.table.keys().filter(|key| key.family() == Family::Inet);
        Some(v4.count() as u32)
    }
}

impl State {
    fn refusal(&self, change: &Change) -> Option<Errno> {
        let service = self.table.get(&change.service());
        match change {
            Change::AddService(..) if service.is_some() => Some(Errno::EEXIST),
            Change::AddService(_, s) | Change::EditService(_, s)
                if self.without.is_some_and(|name| s.scheduler.as_str() == name.name()) =>
            {
                Some(Errno::ENOENT)
            }
            Change::AddService(..) => None,
            _ if service.is_none() => Some(Errno::ESRCH),
            Change::AddDestination(_, to, _) if service?.destinations.get(to).is_some() => {
                Some(Errno::EEXIST)
            }
            Change::EditDestination(_, to, _) | Change::DelDestination(_, to)
                if service?.destinations.get(to).is_none() =>
            {
                Some(Errno::ENOENT)
            }
            _ => None,
        }
    }
}

fn key(n: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: ([192, 0, 2, (n >> 8) as u8], n).into(),
    }
}

fn key6(n: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: (std::net::Ipv6Addr::LOCALHOST, n).into(),
    }
}

fn to(n: u8) -> DestinationKey {
    DestinationKey { address: [10, 0, 0, n].into(), port: 80 }
}

fn service(destinations: std::ops::Range<u8>) -> Service {
    let destination =
        Destination { method: ForwardingMethod::Route, weight: 1, ..Destination::default() };
    Service {
        destinations: destinations.map(|n| (to(n), destination)).collect(),
        ..Service::default()
    }
}

fn table(services: u16) -> Table {
    (0..services).map(|n| (key(n), service(0..4))).collect()
}

/// A reconciler that has programmed `table`.
fn running(table: &Table) -> (Fake, Reconciler<Fake>) {
    let kernel = Fake::default();
    let mut reconciler = Reconciler::new(kernel.clone());
    reconciler.replace(table).expect("the kernel takes the table");
    kernel.applied();
    (kernel, reconciler)
}

#[test]
fn a_fresh_table_takes_one_dump_and_an_equal_one_nothing() {
    let kernel = Fake::default();
    let mut reconciler = Reconciler::new(kernel.clone());
    assert_eq!(reconciler.replace(&table(100)), Ok(500));
    assert_eq!(kernel.state().service_dumps, 1);
    assert_eq!(kernel.state().destination_dumps, 0);
    assert_eq!(kernel.state().table, snapshot(&table(100)));
    kernel.applied();
    assert_eq!(reconciler.replace(&table(100)), Ok(0));
    assert_eq!(kernel.state().service_dumps, 1);
    assert_eq!(kernel.applied(), []);
}

#[test]
fn a_restart_adopts_what_it_finds() {
    let (kernel, _) = running(&table(100));
    assert_eq!(Reconciler::new(kernel.clone()).replace(&table(100)), Ok(0));
    assert_eq!(kernel.applied(), []);
}

#[test]
fn one_more_server_is_one_change() {
    let (kernel, mut reconciler) = running(&table(100));
    let mut more = table(100);
    more.insert(key(7), service(0..5));
    assert_eq!(reconciler.replace(&more), Ok(1));
    let added =
        Destination { method: ForwardingMethod::Route, weight: 1, ..Destination::default() };
    let expected = Change::AddDestination(key(7), to(4), (&added).into());
    assert_eq!(kernel.applied(), [expected]);
    assert_eq!(reconciler.apply(&key(7), Some(&service(0..4))), Ok(1));
    assert_eq!(kernel.applied(), [Change::DelDestination(key(7), to(4))]);
}

#[test]
fn what_is_never_wanted_is_left_alone() {
    let kernel = Fake::default();
    let foreign = snapshot(&table(3));
    kernel.state().table = foreign.clone();
    let mut reconciler = Reconciler::new(kernel.clone());
    let ours = Table::from([(key(99), service(0..2))]);
    assert_eq!(reconciler.replace(&ours), Ok(3));
    assert_eq!(reconciler.audit(), Ok(0));
    assert_eq!(reconciler.replace(&Table::new()), Ok(1));
    assert_eq!(kernel.state().table, foreign);
}

#[test]
fn strange_destinations_of_an_adopted_service_go() {
    let kernel = Fake::default();
    let found = Table::from([(key(0), service(1..6))]);
    kernel.state().table = snapshot(&found);
    let mut reconciler = Reconciler::new(kernel.clone());
    assert_eq!(reconciler.replace(&table(1)), Ok(3));
    assert_eq!(kernel.state().table, snapshot(&table(1)));
}

#[test]
fn stopping_deletes_services_and_no_destination() {
    let (kernel, mut reconciler) = running(&table(50));
    assert_eq!(reconciler.replace(&Table::new()), Ok(50));
    let expected: Vec<_> = table(50).keys().map(|key| Change::DelService(*key)).collect();
    assert_eq!(kernel.applied(), expected);
}

#[test]
fn an_emptied_table_is_filled_again() {
    let mut wanted = table(100);
    wanted.insert(key6(80), service(0..1));
    let (kernel, mut reconciler) = running(&wanted);
    kernel.state().table.clear();
    assert_eq!(reconciler.audit(), Ok(502));
    assert_eq!(kernel.state().table, snapshot(&wanted));
    assert_eq!(reconciler.audit(), Ok(0));
}

#[test]
fn a_flush_between_audits_is_not_hidden_by_a_change_of_ours() {
    let (kernel, mut reconciler) = running(&table(100));
    kernel.state().table.clear();
    // Its service is gone, so all of it comes back: the service and five destinations.
    assert_eq!(reconciler.apply(&key(3), Some(&service(0..5))), Ok(6));
    assert_eq!(reconciler.audit(), Ok(495));
}

#[test]
fn a_quiet_audit_costs_the_same_for_any_table() {
    let (kernel, mut reconciler) = running(&table(1000));
    assert_eq!(reconciler.audit(), Ok(0));
    let state = kernel.state();
    assert_eq!((state.service_dumps, state.questions), (1, AUDITED));
    assert_eq!(state.destination_dumps, AUDITED);
}

#[test]
fn a_changed_weight_is_found_within_one_round() {
    let (kernel, mut reconciler) = running(&table(100));
    let change = |table: &mut Snapshot| {
        let service = table.get_mut(&key(99)).expect("the last service");
        let mut settings = *service.destinations.get(&to(2)).expect("its third server");
        settings.weight = 9;
        assert!(service.destinations.edit(&to(2), settings));
    };
    change(&mut kernel.state().table);
    // 100 services are four audits.
    let repairs: Vec<_> = (0..4).map(|_| reconciler.audit()).collect();
    assert_eq!(repairs, [Ok(0), Ok(0), Ok(0), Ok(1)]);
    assert_eq!(kernel.state().table, snapshot(&table(100)));
}

#[test]
fn an_ipv6_service_that_vanished_is_found_although_the_kernel_does_not_count_it() {
    let (kernel, mut reconciler) = running(&Table::from([(key6(80), service(0..2))]));
    kernel.state().table.clear();
    assert_eq!(reconciler.audit(), Ok(3));
}

#[test]
fn another_programs_service_makes_no_repair() {
    let (kernel, mut reconciler) = running(&table(2));
    let stranger = ServiceState::new(&key(500), &service(0..1));
    kernel.state().table.insert(key(500), stranger);
    assert_eq!(reconciler.audit(), Ok(0));
    assert_eq!(kernel.state().service_dumps, 2);
    assert_eq!(reconciler.audit(), Ok(0));
    assert_eq!(kernel.state().service_dumps, 2);
}

#[test]
fn a_service_the_kernel_refuses_is_one_failure_and_the_rest_is_in_force() {
    let kernel = Fake::default();
    kernel.state().without = Some(Scheduler::Mh);
    let mut reconciler = Reconciler::new(kernel.clone());
    let mut wanted = table(3);
    wanted.get_mut(&key(1)).expect("the second service").scheduler = Scheduler::Mh;
    let error = reconciler.replace(&wanted).expect_err("mh is missing");
    assert_eq!(
        error.failures,
        ["cannot add TCP 192.0.2.0:1: the kernel has no scheduler `mh` (ENOENT); \
          load ip_vs_mh or choose another"]
    );
    assert_eq!(kernel.state().table.len(), 2);
    // The module was loaded meanwhile.
    kernel.state().without = None;
    assert_eq!(reconciler.audit(), Ok(5));
    assert_eq!(kernel.state().table, snapshot(&wanted));
}

#[test]
fn of_many_failures_some_are_told_and_the_rest_is_counted() {
    let kernel = Fake::default();
    kernel.state().without = Some(Scheduler::Wlc);
    let error = Reconciler::new(kernel.clone()).replace(&table(100)).expect_err("wlc is missing");
    assert_eq!(error.failures.len(), TOLD + 1);
    assert_eq!(error.failures[TOLD], "and 68 more entries failed");
}

#[test]
fn a_broken_exchange_is_reported_and_then_healed() {
    let (kernel, mut reconciler) = running(&table(3));
    kernel.state().broken = true;
    let error = reconciler.apply(&key(1), None).expect_err("the answer is lost");
    assert_eq!(error.failures, ["the kernel's answer to `change the table` was lost"]);
    kernel.state().broken = false;
    assert_eq!(reconciler.audit(), Ok(1));
    assert_eq!(kernel.state().table.len(), 2);
}

#[test]
fn a_removal_before_the_first_look_still_removes() {
    let kernel = Fake::default();
    kernel.state().table = snapshot(&table(2));
    let mut reconciler = Reconciler::new(kernel.clone());
    kernel.state().broken = true;
    let mut wanted = table(2);
    wanted.get_mut(&key(0)).expect("the first service").scheduler = Scheduler::Rr;
    reconciler.replace(&wanted).expect_err("the answer is lost");
    kernel.state().broken = false;
    wanted.remove(&key(1));
    assert_eq!(reconciler.replace(&wanted), Ok(2));
    assert_eq!(kernel.state().table, snapshot(&wanted));
}

#[test]
fn connections_are_told_by_destination() {
    let (_, mut reconciler) = running(&table(1));
    let connections = reconciler.connections(&key(0));
    assert_eq!(connections.len(), 4);
    assert_eq!(connections.get(&to(3)), Some(&Connections { active: 3, inactive: 4 }));
    assert_eq!(reconciler.connections(&key(77)), BTreeMap::new());
}

/// What happens to the table, by us and by others.
#[derive(Clone, Debug)]
enum Step {
    Replace(Vec<(u16, u8, bool)>),
    Apply(u16, Option<(u8, bool)>),
    TheyDelete(u16),
    TheyEmpty(u16),
    Audit,
}

fn step() -> impl Strategy<Value = Step> {
    let wanted = (0_u8..4, any::<bool>());
    prop_oneof![
        proptest::collection::vec((0_u16..6, 0_u8..4, any::<bool>()), 0..6).prop_map(Step::Replace),
        (0_u16..6, proptest::option::of(wanted)).prop_map(|(n, want)| Step::Apply(n, want)),
        (0_u16..6).prop_map(Step::TheyDelete),
        (0_u16..6).prop_map(Step::TheyEmpty),
        Just(Step::Audit),
    ]
}

fn variant(destinations: u8, sticky: bool) -> Service {
    Service {
        persistence: sticky
            .then_some(Persistence { timeout: Duration::from_secs(50), engine: None }),
        ..service(0..destinations)
    }
}

proptest! {
    #[test]
    fn whatever_others_do_the_next_audit_restores_what_is_wanted(
        steps in proptest::collection::vec(step(), 0..20)
    ) {
        let kernel = Fake::default();
        let mut reconciler = Reconciler::new(kernel.clone());
        let mut wanted = Table::new();
        for step in steps {
            match step {
                Step::Replace(services) => {
                    wanted = services.iter().map(|(n, d, s)| (key(*n), variant(*d, *s))).collect();
                    prop_assert!(reconciler.replace(&wanted).is_ok());
                }
                Step::Apply(n, None) => {
                    wanted.remove(&key(n));
                    prop_assert!(reconciler.apply(&key(n), None).is_ok());
                }
                Step::Apply(n, Some((destinations, sticky))) => {
                    let service = variant(destinations, sticky);
                    prop_assert!(reconciler.apply(&key(n), Some(&service)).is_ok());
                    wanted.insert(key(n), service);
                }
                Step::TheyDelete(n) => drop(kernel.state().table.remove(&key(n))),
                Step::TheyEmpty(n) => {
                    if let Some(service) = kernel.state().table.get_mut(&key(n)) {
                        service.destinations = Destinations::default();
                    }
                }
                Step::Audit => prop_assert!(reconciler.audit().is_ok()),
            }
        }
        prop_assert!(reconciler.audit().is_ok());
        prop_assert_eq!(&kernel.state().table, &snapshot(&wanted));
        prop_assert_eq!(reconciler.audit(), Ok(0));
    }
}
