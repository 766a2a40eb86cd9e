//! What can go wrong with a lab.

use std::io;
use std::time::Duration;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process may not make namespaces; the text says what is missing and how to allow it.
    #[error("cannot make network namespaces: {0}")]
    Unprivileged(String),
    /// The topology makes no sense.
    #[error(transparent)]
    Topology(#[from] crate::topology::TopologyError),
    /// A file of the topology could not be read.
    #[error("cannot read {path}")]
    File {
        /// Where it should be.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No host of that name.
    #[error("no host `{name}` in this lab; there are {known}")]
    NoHost {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// No such interface on that host.
    #[error("host `{host}` has no interface `{interface}`; it has {known}")]
    NoInterface {
        /// The host.
        host: String,
        /// What was asked for.
        interface: String,
        /// The names there are.
        known: String,
    },
    /// No switch of that name.
    #[error("no switch `{name}` in this lab; there are {known}")]
    NoSwitch {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The host was killed and not started again.
    #[error("host `{0}` is down; start it first")]
    HostDown(String),
    /// A program is nowhere to be found.
    #[error("no program `{program}`; looked in {looked}")]
    NoProgram {
        /// Its name.
        program: String,
        /// Directories, separated by colons.
        looked: String,
    },
    /// A program that should run has ended with a failure.
    #[error("`{program}` on `{host}` has failed ({status})")]
    Failed {
        /// Where.
        host: String,
        /// Its command line.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The kernel refused something.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// Netlink refused something.
    #[error("cannot {what}")]
    Netlink {
        /// What was tried.
        what: String,
        /// Why it did not work.
        source: rtnetlink::Error,
    },
    /// What was waited for did not happen.
    #[error("{what} did not happen within {timeout:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout: Duration,
    },
    /// An HTTP exchange failed.
    #[error("no answer from http://{address}: {reason}")]
    Http {
        /// Where it went.
        address: std::net::SocketAddr,
        /// Why it failed.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was tried when a system call failed.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::System { what: what(), source: error.into() })
    }
}

/// Names for a message: `a, b and c`.
pub(crate) fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
