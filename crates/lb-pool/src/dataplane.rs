//! What every way of forwarding has in common.

use std::collections::BTreeMap;

use crate::table::{Connections, DestinationKey, Service, ServiceKey, Table};

/// Takes the forwarding table and makes it so.
///
/// Calls block for as long as the kernel takes to answer, never for a peer.
pub trait Dataplane: Send {
    /// The word that status, log and `--dataplane` use: `ipvs`, `relay` or `none`.
    fn name(&self) -> &'static str;

    /// Makes the whole table so, adopting what is already there. Returns the number of changes.
    ///
    /// # Errors
    /// Every entry that could not be made so; the others are in force.
    fn replace(&mut self, table: &Table) -> Result<usize, DataplaneError>;

    /// As [`Dataplane::replace`] with the table of these services; of two with one key the last
    /// counts. A dataplane with a form of its own for them need not hold them all in this one.
    ///
    /// # Errors
    /// As [`Dataplane::replace`].
    fn fill(
        &mut self,
        services: &mut dyn Iterator<Item = (ServiceKey, Service)>,
    ) -> Result<usize, DataplaneError> {
        self.replace(&services.collect())
    }

    /// Makes one service so (`None`: it goes away). Costs only what differs within it.
    ///
    /// # Errors
    /// As [`Dataplane::replace`].
    fn apply(&mut self, key: &ServiceKey, want: Option<&Service>) -> Result<usize, DataplaneError>;

    /// Looks whether somebody else changed the table and repairs it. Returns the number of repairs.
    ///
    /// # Errors
    /// As [`Dataplane::replace`].
    fn audit(&mut self) -> Result<usize, DataplaneError>;

    /// Connections per destination of one service, for status.
    fn connections(&mut self, key: &ServiceKey) -> BTreeMap<DestinationKey, Connections>;
}

/// What a dataplane could not do. The rest of the table is in force.
#[derive(Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", failures.join("; "))]
pub struct DataplaneError {
    /// One sentence an entry: which one, what was wanted, what the kernel said, what to do.
    pub failures: Vec<String>,
}
