//! Whether something came when it had to.

use std::time::{Duration, SystemTime};

use anyhow::ensure;
use lb_tests::Test;

use crate::config::Vrrp;
use crate::wire::Advert;

/// Seconds from one time to another, also backwards.
pub fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// Fails unless `to` is `expected` after `from`, or later by less than the lateness a busy machine is granted.
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

/// Fails unless one follows the other after the interval. One that is late may be followed the sooner, since
/// routers that keep to a grid do not let lateness add up.
pub fn is_regular(adverts: &[Advert], vrrp: &Vrrp) -> Test {
    let late = lateness(vrrp);
    for pair in adverts.windows(2) {
        let what = format!("interval of {}", pair[0].ip.source);
        is_after(&what, pair[0].at, pair[1].at, vrrp.interval - late, 2 * late)?;
    }
    let [first, .., last] = adverts else { return Ok(()) };
    let intervals = u32::try_from(adverts.len() - 1)?;
    let whole = vrrp.interval * intervals - late;
    is_after("all intervals", first.at, last.at, whole, 2 * late)
}

/// How late a busy machine may be; never so late that a missed interval passes for it.
pub fn lateness(vrrp: &Vrrp) -> Duration {
    (vrrp.interval * 3 / 4).min(Duration::from_millis(500))
}
