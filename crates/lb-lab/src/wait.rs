//! Waiting for something to become true, bounded.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Asks `done` every millisecond until it gives a value, for at most `timeout`.
///
/// Asks once more after the time is over, so a slow machine gets a fair answer.
///
/// # Errors
/// [`Error::Timeout`] with `what`, a clause such as `d1 takes the VIP`.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut done: impl FnMut() -> Option<T>,
) -> Result<T> {
    let end = Instant::now() + timeout;
    loop {
        let last = Instant::now() >= end;
        if let Some(value) = done() {
            return Ok(value);
        }
        if last {
            return Err(Error::Timeout { what: what.to_owned(), timeout });
        }
        sleep(Duration::from_millis(1));
    }
}

/// Asks `done` every millisecond until it is true, for at most `timeout`, and returns how long that took.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut done: impl FnMut() -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    wait_for(what, timeout, || done().then(|| start.elapsed()))
}
