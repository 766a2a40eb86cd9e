//! Where an instance stands.

/// Where an instance or a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not started.
    #[default]
    Init,
    /// Listens.
    Backup,
    /// Holds the addresses.
    Master,
    /// Cannot take part.
    Fault,
}
