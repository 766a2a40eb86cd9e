//! What a demonstration does with a topology.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What `lbctl lab` does before the eyes of its user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Play {
    /// The host that sends the requests.
    pub client: String,
    /// Where to: the VIP and the port.
    pub vip: SocketAddr,
    /// Of the requests.
    #[serde(default = "Play::root")]
    pub path: String,
    /// A request is sent each so many milliseconds.
    #[serde(default = "Play::interval_ms")]
    pub interval_ms: u64,
    /// A request without an answer after so many milliseconds is lost.
    #[serde(default = "Play::timeout_ms")]
    pub timeout_ms: u64,
    /// What befalls the hosts, in this order.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSpec>,
}

impl Play {
    fn root() -> String {
        "/".to_owned()
    }

    fn interval_ms() -> u64 {
        10
    }

    fn timeout_ms() -> u64 {
        500
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultSpec {
    /// What happens.
    pub kind: FaultKind,
    /// To which host; `master` is the one that holds the VIP at that moment.
    pub target: String,
    /// It is over when so many milliseconds have passed without a lost request.
    #[serde(default = "FaultSpec::calm_ms")]
    pub calm_ms: u64,
}

impl FaultSpec {
    fn calm_ms() -> u64 {
        1000
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The power fails: cables dead, every process killed.
    Kill,
    /// SIGTERM to its programs, as on a planned stop.
    Stop,
    /// Every cable is pulled.
    Cut,
    /// It is started again, or its cables are plugged in again.
    Mend,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Mend => "mend",
        })
    }
}

/// The name that stands for the holder of the VIP in [`FaultSpec::target`].
pub const MASTER: &str = "master";
