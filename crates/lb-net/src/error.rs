//! What can go wrong between us and the kernel.

use std::io;

use nix::errno::Errno;

/// Why the kernel did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process lacks a capability.
    #[error(
        "{what} needs {capability}: run as root, or grant it with \
         `setcap cap_net_admin,cap_net_raw+ep` or `AmbientCapabilities=` in the systemd unit"
    )]
    Capability {
        /// What was attempted.
        what: String,
        /// `CAP_NET_RAW` or the like.
        capability: &'static str,
    },
    /// There is no interface of that name.
    #[error("interface {0} does not exist: create it, or correct the name in the configuration")]
    NoInterface(String),
    /// The name of a virtual MAC is that of something else.
    #[error(
        "the name {name} belongs to a link of kind {kind}, not to a virtual MAC: remove that link, \
         or name another with `use_vmac NAME`"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// `bridge` or the like; `hardware` for what is not made by a program.
        kind: String,
    },
    /// So many shares an address cannot have.
    #[error("an address cannot be shared by {0} nodes: use 1 to 32")]
    Shares(usize),
    /// There is no program `nft`.
    #[error("balancing needs the program nft: install the package nftables")]
    NoNft,
    /// What nft says against our rules.
    #[error("nft refuses the rules for balancing: {0}")]
    Nft(String),
    /// Any other system call that failed.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// Wraps a failed system call; `EPERM` and `EACCES` become [`Error::Capability`].
    pub(crate) fn system(
        what: impl Into<String>,
        capability: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let what = what.into();
            match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EPERM | Errno::EACCES) => Self::Capability { what, capability },
                _ => Self::System { what, source },
            }
        }
    }
}
