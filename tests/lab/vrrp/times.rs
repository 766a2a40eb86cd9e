//! Whether something came when it had to.

use std::time::Duration;

use lb_tests::Test;
pub use lb_tests::timing::is_after;

use crate::config::Vrrp;
use lb_tests::vrrp::Advert;

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
