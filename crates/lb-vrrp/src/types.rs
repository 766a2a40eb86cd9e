//! The small types everything else is made of.

use std::fmt;

pub use lb_election::Family;

/// Priority of a router in one instance, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// A master that stops. RFC 9568 §5.2.4.
    pub const STOP: Self = Self(0);
    /// The lowest that takes part in the election.
    pub const LAST: Self = Self(1);
    /// The owner of the addresses. RFC 9568 §5.2.4.
    pub const OWNER: Self = Self(255);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Virtual router identifier, 1 to 255. RFC 9568 §5.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(u8);

impl Vrid {
    /// `None` for 0.
    #[must_use]
    pub fn new(vrid: u8) -> Option<Self> {
        (vrid != 0).then_some(Self(vrid))
    }

    /// As it is on the wire.
    #[must_use]
    pub fn value(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768; with the authentication of RFC 2338.
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    /// As it is on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}
