//! Requests and their answers.

use serde::{Deserialize, Serialize};

use crate::status::{Status, Transition};

/// Version of this protocol; a daemon answers requests of its own version only.
pub const PROTOCOL_VERSION: u32 = 1;

/// One line from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL_VERSION`] of the client.
    pub v: u32,
    /// What it wants.
    #[serde(flatten)]
    pub body: RequestBody,
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum RequestBody {
    /// The whole status. Allowed to everyone who may open the socket.
    Status,
    /// The same as SIGHUP; answered when the new configuration is in force or refused. Root only.
    Reload,
    /// The configuration in force. Root only: it holds passwords.
    Config,
    /// Another router is to take over from a MASTER. Root only. Answered when one has, or when
    /// none did within the time that the instance waits for it, which is an error.
    Handover {
        /// Name of the instance; those of its sync group follow.
        name: String,
    },
    /// Routers in maintenance are the last choice in the election. Root only.
    Maintenance {
        /// Name of an instance; its sync group follows. `None`: of all, those to come included.
        name: Option<String>,
        /// It begins; `false`: it ends, whether it was to outlive a restart or not.
        on: bool,
        /// It outlives a restart of the daemon. Means nothing when it ends.
        #[serde(default)]
        persist: bool,
    },
    /// The last changes of role of an instance, and why. Allowed to everyone who may open the
    /// socket.
    Why {
        /// Name of the instance.
        name: String,
    },
    /// Changes what the operator adds to the demotion counter of a group of CARP instances, as
    /// `carpdemote` of OpenBSD's ifconfig(8). Root only.
    Demote {
        /// Name of the group.
        group: String,
        /// Added; negative to promote. What the operator adds never falls below zero.
        by: i32,
    },
}

impl RequestBody {
    /// What only root may ask, in the words that follow "only root may"; `None`: everyone may.
    #[must_use]
    pub fn reserved(&self) -> Option<&'static str> {
        match self {
            Self::Status | Self::Why { .. } => None,
            Self::Reload => Some("reload"),
            Self::Config => Some("see the configuration in force"),
            Self::Handover { .. } => Some("have an instance hand over"),
            Self::Maintenance { .. } => Some("begin or end maintenance"),
            Self::Demote { .. } => Some("change a demotion counter"),
        }
    }
}

/// One line from the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`PROTOCOL_VERSION`] of the daemon.
    pub v: u32,
    /// What it says.
    #[serde(flatten)]
    pub body: ResponseBody,
}

/// What a daemon may answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ResponseBody {
    /// To [`RequestBody::Status`].
    Status {
        /// The snapshot.
        status: Box<Status>,
    },
    /// To [`RequestBody::Config`].
    Config {
        /// Path of the file it was read from, as the daemon was given it.
        config: String,
        /// The model, as its fields are named.
        model: Box<serde_json::Value>,
    },
    /// To [`RequestBody::Why`].
    Why {
        /// Name of the instance.
        name: String,
        /// Its last changes of role, oldest first.
        transitions: Vec<Transition>,
    },
    /// To a command that worked.
    Done {
        /// One sentence.
        message: String,
    },
    /// To a request that was not understood, not allowed or did not work.
    Error {
        /// What, where and what to do.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_flat_objects() {
        let line = |body| serde_json::to_string(&Request { v: PROTOCOL_VERSION, body }).unwrap();
        let maintenance = RequestBody::Maintenance { name: None, on: true, persist: false };
        assert_eq!(
            line(maintenance.clone()),
            r#"{"v":1,"command":"maintenance","name":null,"on":true,"persist":false}"#
        );
        let short = r#"{"v":1,"command":"maintenance","on":true}"#;
        assert_eq!(serde_json::from_str::<Request>(short).unwrap().body, maintenance);
        assert_eq!(
            line(RequestBody::Demote { group: "carp".into(), by: -1 }),
            r#"{"v":1,"command":"demote","group":"carp","by":-1}"#
        );
    }
}
