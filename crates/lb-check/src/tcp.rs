//! `TCP_CHECK`: opens a connection and closes it. Nothing is sent.

use crate::Outcome;
use crate::socket::{self, Begun};
use crate::spec::Connection;

/// Waits until a connection stands, and closes it.
pub(crate) async fn probe(begun: Begun, to: &Connection) -> Outcome {
    match socket::finish(begun, to).await {
        Ok(_) => Outcome::Up { weight: None },
        Err(outcome) => outcome,
    }
}
