//! The table as the kernel has it, or would have it.
//!
//! Tens of thousands of destinations are kept, compared and thrown away at each reload, and most
//! services have a handful. So a service's destinations stand in one allocation, sorted.

use std::collections::BTreeMap;

use lb_pool::{DestinationKey, Service, ServiceKey, Table};

use crate::entry::DestinationEntry;
use crate::settings::{DestinationSettings, ServiceSettings};

/// Services by key, in the kernel's words.
pub type Snapshot = BTreeMap<ServiceKey, ServiceState>;

/// One service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// What it is set to.
    pub settings: ServiceSettings,
    /// Where it sends connections.
    pub destinations: Destinations,
}

/// Destinations of a service by key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Destinations(Vec<(DestinationKey, DestinationSettings)>);

impl Destinations {
    /// All, in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(DestinationKey, DestinationSettings)> {
        self.0.iter()
    }

    /// What the destination is set to.
    #[must_use]
    pub fn get(&self, key: &DestinationKey) -> Option<&DestinationSettings> {
        self.position(key).ok().map(|at| &self.0[at].1)
    }

    /// Number of destinations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a destination, unless it is there already.
    pub(crate) fn add(&mut self, key: DestinationKey, settings: DestinationSettings) -> bool {
        let place = self.position(&key);
        if let Err(at) = place {
            self.0.insert(at, (key, settings));
        }
        place.is_err()
    }

    /// Sets a destination, if it is there.
    pub(crate) fn edit(&mut self, key: &DestinationKey, settings: DestinationSettings) -> bool {
        let place = self.position(key);
        if let Ok(at) = place {
            self.0[at].1 = settings;
        }
        place.is_ok()
    }

    /// Removes a destination, if it is there.
    pub(crate) fn remove(&mut self, key: &DestinationKey) -> bool {
        let place = self.position(key);
        if let Ok(at) = place {
            self.0.remove(at);
        }
        place.is_ok()
    }

    fn position(&self, key: &DestinationKey) -> Result<usize, usize> {
        self.0.binary_search_by_key(key, |(key, _)| *key)
    }
}

/// Of two with the same key the first stays.
impl FromIterator<(DestinationKey, DestinationSettings)> for Destinations {
    fn from_iter<T: IntoIterator<Item = (DestinationKey, DestinationSettings)>>(all: T) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        if !all.is_sorted_by_key(|(key, _)| *key) {
            all.sort_by_key(|(key, _)| *key);
        }
        all.dedup_by_key(|(key, _)| *key);
        Self(all)
    }
}

impl ServiceState {
    /// What the kernel would show of `service`.
    #[must_use]
    pub fn new(key: &ServiceKey, service: &Service) -> Self {
        Self {
            settings: ServiceSettings::new(key, service),
            destinations: service
                .destinations
                .iter()
                .map(|(key, destination)| (*key, destination.into()))
                .collect(),
        }
    }

    /// What a dump says.
    pub(crate) fn dumped(settings: ServiceSettings, destinations: &[DestinationEntry]) -> Self {
        Self { settings, destinations: destinations.iter().map(|d| (d.key, d.settings)).collect() }
    }
}

/// What the kernel would show of `table`.
#[must_use]
pub fn snapshot(table: &Table) -> Snapshot {
    table.iter().map(|(key, service)| (*key, ServiceState::new(key, service))).collect()
}
