//! Whether something came when it had to.

use std::time::{Duration, SystemTime};

use anyhow::ensure;

use crate::Test;

/// Seconds from one time to another, also backwards.
pub fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// Sees that `to` is `expected` after `from`, or later by less than the lateness a busy machine is granted.
///
/// # Errors
/// It is not; the error has the figures.
pub fn is_after(
    what: &str,
    from: SystemTime,
    to: SystemTime,
    expected: Duration,
    lateness: Duration,
) -> Test {
    // Clocks tick in different places: nothing is exact to the last half millisecond.
    let early = Duration::from_millis(2);
    let found = seconds(from, to);
    let range = (expected.saturating_sub(early)).as_secs_f64()..(expected + lateness).as_secs_f64();
    ensure!(
        range.contains(&found),
        "{what}: {:.1} ms instead of {:.1} to {:.1}",
        found * 1e3,
        range.start * 1e3,
        range.end * 1e3
    );
    Ok(())
}
