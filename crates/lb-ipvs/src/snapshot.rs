//! The table as the kernel has it, or would have it.

use std::collections::BTreeMap;

use lb_pool::{Service, ServiceKey, Table};

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
pub type Destinations = lb_pool::Destinations<DestinationSettings>;

impl ServiceState {
    /// What the kernel would show of `service`.
    #[must_use]
    pub fn new(key: &ServiceKey, service: &Service) -> Self {
        Self {
            settings: ServiceSettings::new(key, service),
            destinations: service
                .destinations
                .as_they_came()
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
