//! Whose an address is.

use std::net::IpAddr;

use super::InstanceId;

/// Instances by an address of theirs. There are thousands and they change with the configuration
/// only, so they are a sorted list.
#[derive(Debug, Default)]
pub(crate) struct Users(Vec<(IpAddr, InstanceId)>);

impl Users {
    /// Who uses this address.
    pub(crate) fn of(&self, address: IpAddr) -> impl Iterator<Item = InstanceId> {
        let first = self.0.partition_point(|(used, _)| *used < address);
        self.0[first..].iter().take_while(move |(used, _)| *used == address).map(|(_, id)| *id)
    }
}

impl FromIterator<(IpAddr, InstanceId)> for Users {
    fn from_iter<I: IntoIterator<Item = (IpAddr, InstanceId)>>(users: I) -> Self {
        let mut users: Vec<_> = users.into_iter().collect();
        // Those of one address stay in their order.
        users.sort_by_key(|(address, _)| *address);
        users.shrink_to_fit();
        Self(users)
    }
}
