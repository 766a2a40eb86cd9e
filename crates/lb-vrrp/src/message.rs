//! What an instance says, in the terms of VRRP.

use std::net::IpAddr;

use crate::error::WireError;
use crate::types::Priority;

/// What an instance wants done.
pub type Action = lb_election::Action<Content, WireError>;

/// What an advertisement says that is not in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its priority.
    pub priority: Priority,
    /// Its number with `auth_type AH`; else 0.
    pub number: u32,
}

/// An advertisement without a number.
impl From<Priority> for Content {
    fn from(priority: Priority) -> Self {
        Self { priority, number: 0 }
    }
}

/// Another router of this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// Priority in them.
    pub priority: Priority,
}
