//! Requests and their answers.

use serde::{Deserialize, Serialize};

use crate::status::Status;

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
