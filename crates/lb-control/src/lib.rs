//! What `lbd` and its clients say to each other over the control socket, as types.
//!
//! Newline-delimited JSON over a Unix stream socket: a [`Request`] a line, a [`Response`] a line.
//! Pure: this crate opens no socket.

pub mod event;
pub mod protocol;
pub mod status;

pub use event::{Event, EventKind, State};
pub use protocol::{PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody};
pub use status::Status;

/// Where `lbd` listens and `lbctl` asks, unless `--socket` or `LBD_SOCKET` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lbd/lbd.sock";
