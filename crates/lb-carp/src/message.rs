//! What an instance says, in the terms of CARP.

use std::net::IpAddr;

use crate::error::WireError;
use crate::pace::Pace;
use crate::wire::Advert;

/// What an instance wants done. An advertisement to be sent goes to every family that has
/// addresses, as the same octets.
pub type Action = lb_election::Action<Advert, WireError>;

/// Another node of this vhid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// How often it says to advertise.
    pub pace: Pace,
    /// Its demotion; only OpenBSD and we say one.
    pub demotion: u8,
}
