//! Health checkers: one probe per kind, one scheduler for all of them.
//!
//! A probe says what it saw once. When it runs, how often it is tried again and what its results mean
//! is written once, in [`schedule`]; what an HTTP server answers is read in [`exchange`]; both are
//! without I/O. [`Checks`] joins them for any number of checkers: one heap of times, one armed timer,
//! one epoll instance, no task per checker, and no buffer for a server that is silent.

mod checks;
mod chunks;
pub mod exchange;
mod flight;
mod flights;
mod poller;
pub mod schedule;
mod script;
mod socket;
mod spec;
mod tls;

pub use checks::{Checks, Error, Id, Report};
pub use spec::{
    Command, Connection, Http, HttpVersion, Probe, Script, Sni, Spec, Timing, Tls, Url,
};

/// What one run of a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answers as it should.
    Up {
        /// The weight a script wishes its server to have; `None` for the configured one.
        weight: Option<u8>,
    },
    /// It does not.
    Down(Failure),
    /// The probe could not run for a reason of this host, such as a lack of file descriptors.
    /// Says nothing about the server.
    NotRun(String),
}

/// What is wrong with a server. The messages appear in logs, status and mail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// No answer within the checker's time.
    #[error("timeout while {0}")]
    Timeout(&'static str),
    /// Another error of the connection.
    #[error("{0}")]
    Connection(String),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// What came is not HTTP.
    #[error("bad response: {0}")]
    Response(String),
    /// The status is not among the accepted ones.
    #[error("{url}: status {status}")]
    Status {
        /// Path of the URL.
        url: String,
        /// What the server answered.
        status: u16,
    },
    /// The body is another one than the digest says.
    #[error("{url}: digest {}", hex(found))]
    Digest {
        /// Path of the URL.
        url: String,
        /// MD5 of the body.
        found: [u8; 16],
    },
    /// The script cannot be run, and why.
    #[error("{0}")]
    Spawn(String),
    /// The run before is in the way.
    #[error("the script of an earlier run has not ended, not even by SIGKILL")]
    Stuck,
    /// The script failed.
    #[error("exited with status {0}")]
    Exit(i32),
    /// The script was killed.
    #[error("killed by signal {0}")]
    Signal(i32),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
