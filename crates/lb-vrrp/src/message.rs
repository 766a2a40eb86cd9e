//! What an instance says, in the terms of VRRP.

use std::net::IpAddr;

use crate::error::WireError;
use crate::types::Priority;

/// What an instance wants done. An advertisement is told by its priority.
pub type Action = lb_election::Action<Priority, WireError>;

/// Another router of this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// Priority in them.
    pub priority: Priority,
}
