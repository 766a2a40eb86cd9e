//! The advertiser: keeps the VIPs of this host's instances on exactly one router.
//!
//! [`node`] decides, in a value without sockets or clock; what is around it does as it says.

pub mod node;
pub mod plan;
