//! `MISC_CHECK`: runs a program and takes its exit status.

use std::convert::Infallible;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use lb_script::Running;
use tokio::sync::oneshot;

use crate::spec::Script;
use crate::{Failure, Outcome};

/// From SIGTERM to SIGKILL for a script whose checker goes away.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Runs a script to its end. `owner` closes when nobody wants to know any more; the script is
/// stopped then. A script that outlives even SIGKILL comes back with its outcome.
///
/// A script that cannot be run is a server that is down; a want of this host says nothing of it.
pub(crate) async fn probe(
    script: &Script,
    owner: oneshot::Receiver<Infallible>,
) -> (Outcome, Option<Running>) {
    let mut running = match lb_script::start(&script.command, &[]) {
        Ok(running) => running,
        Err(error) if error.is_local() => return (Outcome::NotRun(error.to_string()), None),
        Err(error) => return (Outcome::Down(Failure::Spawn(error.to_string())), None),
    };
    let ended = tokio::select! {
        ended = running.wait_at_most(script.timeout) => ended,
        _ = owner => {
            running.end(CANCEL_GRACE).await;
            Ok(lb_script::Outcome::TimedOut)
        }
    };
    let outcome = match ended {
        Err(error) => Outcome::NotRun(error.to_string()),
        Ok(lb_script::Outcome::TimedOut) => Outcome::Down(Failure::Timeout("running the script")),
        Ok(lb_script::Outcome::Exited(status)) => match (status.code(), status.signal()) {
            (Some(0), _) => Outcome::Up { weight: None },
            (Some(code @ 2..=255), _) if script.dynamic => {
                Outcome::Up { weight: u8::try_from(code - 2).ok() }
            }
            (Some(code), _) => Outcome::Down(Failure::Exit(code)),
            (None, signal) => Outcome::Down(Failure::Signal(signal.unwrap_or_default())),
        },
    };
    (outcome, Some(running).filter(|running| !running.has_ended()))
}
