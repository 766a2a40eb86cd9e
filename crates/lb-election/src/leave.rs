//! Why a master leaves.

use std::fmt;

/// Why a master leaves on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// To end. Nobody there to take over does not keep it.
    Stop,
    /// The operator wants another one.
    Handover,
    /// Maintenance.
    Maintenance,
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stop => "it was stopped",
            Self::Handover => "the operator handed over",
            Self::Maintenance => "maintenance began",
        })
    }
}
