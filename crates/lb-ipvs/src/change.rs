//! From the table that is to the table that is wanted.

use std::collections::btree_map::Entry;
use std::fmt;

use lb_pool::{DestinationKey, ServiceKey};

use crate::settings::{DestinationSettings, ServiceSettings};
use crate::snapshot::{Destinations, ServiceState, Snapshot};

/// One request that changes the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes a service, without destinations.
    AddService(ServiceKey, ServiceSettings),
    /// Sets an existing service anew; destinations and connections stay.
    EditService(ServiceKey, ServiceSettings),
    /// Removes a service with its destinations.
    DelService(ServiceKey),
    /// Makes a destination of an existing service.
    AddDestination(ServiceKey, DestinationKey, DestinationSettings),
    /// Sets an existing destination anew; its connections stay.
    EditDestination(ServiceKey, DestinationKey, DestinationSettings),
    /// Removes a destination.
    DelDestination(ServiceKey, DestinationKey),
}

impl Change {
    /// The service it is about.
    #[must_use]
    pub fn service(&self) -> ServiceKey {
        match *self {
            Self::AddService(key, _)
            | Self::EditService(key, _)
            | Self::DelService(key)
            | Self::AddDestination(key, ..)
            | Self::EditDestination(key, ..)
            | Self::DelDestination(key, _) => key,
        }
    }

    /// Does to `snapshot` what the kernel does to its table. Says whether the kernel would have
    /// done it: not so for an entry that exists already, or does not.
    pub fn apply(&self, snapshot: &mut Snapshot) -> bool {
        let change = |snapshot: &mut Snapshot, key, change: DestinationChange| {
            snapshot.get_mut(key).is_some_and(|service| change(&mut service.destinations))
        };
        match *self {
            Self::AddService(key, settings) => match snapshot.entry(key) {
                Entry::Vacant(vacant) => {
                    vacant.insert(ServiceState { settings, destinations: Destinations::default() });
                    true
                }
                Entry::Occupied(_) => false,
            },
            Self::EditService(ref key, settings) => {
                snapshot.get_mut(key).map(|service| service.settings = settings).is_some()
            }
            Self::DelService(ref key) => snapshot.remove(key).is_some(),
            Self::AddDestination(ref key, to, settings) => {
                change(snapshot, key, &|all| all.add(to, settings))
            }
            Self::EditDestination(ref key, to, settings) => {
                change(snapshot, key, &|all| all.edit(&to, settings))
            }
            Self::DelDestination(ref key, to) => change(snapshot, key, &|all| all.remove(&to)),
        }
    }
}

type DestinationChange<'a> = &'a dyn Fn(&mut Destinations) -> bool;

/// As a log line names it: `edit TCP 192.0.2.1:80 -> 10.0.0.1:80`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(key, _) => write!(f, "add {key}"),
            Self::EditService(key, _) => write!(f, "edit {key}"),
            Self::DelService(key) => write!(f, "delete {key}"),
            Self::AddDestination(key, to, _) => write!(f, "add {key} -> {to}"),
            Self::EditDestination(key, to, _) => write!(f, "edit {key} -> {to}"),
            Self::DelDestination(key, to) => write!(f, "delete {key} -> {to}"),
        }
    }
}

/// What leads from `actual` to `desired`: empty when both agree.
///
/// Every prefix leaves a working table. Within a service, destinations come before they go, and
/// those that take connections come before others are quiesced; services go last of all.
#[must_use]
pub fn diff(desired: &Snapshot, actual: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, want) in desired {
        diff_service(key, want, actual.get(key), &mut changes);
    }
    changes.extend(
        actual.keys().filter(|key| !desired.contains_key(key)).map(|key| Change::DelService(*key)),
    );
    changes
}

/// The part of [`diff`] that is about one service.
pub(crate) fn diff_service(
    key: &ServiceKey,
    want: &ServiceState,
    have: Option<&ServiceState>,
    changes: &mut Vec<Change>,
) {
    let Some(have) = have else {
        changes.push(Change::AddService(*key, want.settings));
        changes.extend(
            want.destinations
                .as_they_came()
                .map(|(to, settings)| Change::AddDestination(*key, *to, *settings)),
        );
        return;
    };
    if want.settings != have.settings {
        changes.push(Change::EditService(*key, want.settings));
    }
    if want.destinations == have.destinations {
        return;
    }
    let mut quiesced = Vec::new();
    for (to, wanted) in want.destinations.as_they_came() {
        let change = match have.destinations.get(to) {
            Some(settings) if settings == wanted => continue,
            Some(_) => Change::EditDestination(*key, *to, *wanted),
            None => Change::AddDestination(*key, *to, *wanted),
        };
        if wanted.weight == 0 {
            quiesced.push(change);
        } else {
            changes.push(change);
        }
    }
    changes.append(&mut quiesced);
    let gone = |(to, _): &(DestinationKey, _)| {
        (want.destinations.get(to).is_none()).then_some(Change::DelDestination(*key, *to))
    };
    changes.extend(have.destinations.iter().filter_map(gone));
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use lb_pool::Protocol;
    use lb_pool::table::Family;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{Flags, Method, Name, Netmask, Tunnel, TunnelKind};

    /// Few keys, so that random tables meet.
    fn service_key() -> impl Strategy<Value = ServiceKey> {
        prop_oneof![
            (0_u8..4).prop_map(|n| ServiceKey::Address {
                protocol: Protocol::Tcp,
                address: ([192, 0, 2, n], 80).into(),
            }),
            (1_u32..4).prop_map(|mark| ServiceKey::Fwmark { family: Family::Inet, mark }),
        ]
    }

    fn state() -> impl Strategy<Value = ServiceState> {
        let settings = (0_u32..3, 0_u8..3).prop_map(|(bits, scheduler)| ServiceSettings {
            scheduler: Name::new(["rr", "wrr", "mh"][usize::from(scheduler)]),
            flags: Flags::from_bits(bits << 3),
            timeout: bits,
            netmask: Netmask::new(Family::Inet, Some(24 + scheduler)),
            engine: Name::default(),
        });
        let destination =
            (0_u32..3, 0_u32..5, 0_u8..2).prop_map(|(weight, method, port)| DestinationSettings {
                method: Method::from_bits(method),
                weight,
                upper_threshold: weight,
                lower_threshold: 0,
                tunnel: Tunnel { kind: TunnelKind::from_number(port), port: port.into(), flags: 0 },
            });
        let destinations = btree_map((0_u8..5).prop_map(destination_key), destination, 0..5);
        (settings, destinations).prop_map(|(settings, destinations)| ServiceState {
            settings,
            destinations: destinations.into_iter().collect(),
        })
    }

    fn destination_key(n: u8) -> DestinationKey {
        DestinationKey { address: IpAddr::from([10, 0, 0, n]), port: 80 }
    }

    fn table() -> impl Strategy<Value = Snapshot> {
        btree_map(service_key(), state(), 0..6)
    }

    fn live(table: &Snapshot, key: &ServiceKey) -> bool {
        table.get(key).is_some_and(|service| service.destinations.iter().any(|(_, d)| d.weight > 0))
    }

    proptest! {
        #[test]
        fn the_difference_leads_to_what_is_wanted(desired in table(), actual in table()) {
            let mut now = actual.clone();
            for change in diff(&desired, &actual) {
                prop_assert!(change.apply(&mut now), "the kernel would refuse to {change}");
                for key in desired.keys().filter(|key| actual.contains_key(key)) {
                    prop_assert!(now.contains_key(key), "{key} is missing after: {change}");
                    if live(&desired, key) && live(&actual, key) {
                        prop_assert!(live(&now, key), "nobody serves {key} after: {change}");
                    }
                }
            }
            prop_assert_eq!(now, desired);
        }

        #[test]
        fn equal_tables_differ_in_nothing(table in table()) {
            prop_assert_eq!(diff(&table, &table), []);
        }
    }

    #[test]
    fn a_service_that_goes_takes_its_destinations_with_it() {
        let key = ServiceKey::Fwmark { family: Family::Inet, mark: 7 };
        let service = ServiceState {
            settings: ServiceSettings {
                scheduler: Name::new("rr"),
                flags: Flags::default(),
                timeout: 0,
                netmask: Netmask::new(Family::Inet, None),
                engine: Name::default(),
            },
            destinations: (0..9)
                .map(|n| (destination_key(n), (&lb_pool::Destination::default()).into()))
                .collect(),
        };
        let changes = diff(&Snapshot::new(), &Snapshot::from([(key, service)]));
        assert_eq!(changes, [Change::DelService(key)]);
    }
}
