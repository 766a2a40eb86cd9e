//! How long a network may take to agree.
//!
//! Let nothing be lost from a moment on, and let every packet arrive within `d`, every timer fire
//! and every process react within `l`, and every clock be right to one part in `1 / r`. Let `D` be
//! the longest Active_Down_Interval that any router may have (RFC 9568 §6.1: `down_timer_adverts`
//! intervals of the slowest master it may have heard, and the skew of priority 1, the longest).
//!
//! - What was sent before arrives within the longest delay there was, `s`. From then on everything
//!   that is heard is true.
//! - Whoever starts to listen then does so after the start-up delay `u`, and whoever waits for a
//!   script knows its verdict after `rise` or `fall` runs, `k`.
//! - Consider the best router that preempts, or if somebody better is MASTER, that one. Nobody's
//!   advertisement restarts the best one's timer but a better or equal router's, and it is the
//!   best: it is MASTER within `D`. Its members of a sync group are all willing by then, and
//!   willing they stay, since nobody better is heard.
//! - It advertises at once; everybody else hears it within `d + l` and yields. Two that become
//!   MASTER at the same time hear each other's first advertisement, one of the two yields in the
//!   same `d + l`. One that was MASTER before is heard within its interval, less than `D`. A
//!   yielding member takes its group with it in no time.
//! - `preempt_delay`, at most `p`, runs from the first advertisement of a weaker master. If there
//!   is none yet, there will be one within `D`; it is put up with for `p`, and for what is left of
//!   the timer that the last advertisement within `p` has restarted, `D` again.
//! - In CARP a router that preempts does so when it hears a slower master, and everybody's patience
//!   is a matter of its own: 3 advbase and the advskew, which a demotion may raise to 254. Nothing
//!   takes longer than above.
//!
//! - A stranger of CARP has a patience of its own, which counts for `D` too. OpenBSD and FreeBSD
//!   yield to an equal as we may at the same time; then the wait begins again, once a stranger.
//!
//! So everybody agrees after `s + u + k + (1 + 2r) (D + p + D′) + n (d + l)` where `D′` is `D` with
//! `preempt_delay` and 0 without, and `n` counts the exchanges above, the answers to them, and one
//! for a wake-up that is shared (an advertisement may leave 1 ms early).

use std::time::Duration;

use crate::scenario::{Scenario, Weather};
use crate::table::Table;

/// Exchanges of packets in the derivation.
const EXCHANGES: u32 = 4;

/// How long the scenario's routers take to agree when nothing hinders them any more. See the
/// [module](self); this is without what is still under way.
#[must_use]
pub(crate) fn agreement(scenario: &Scenario, table: &Table) -> Duration {
    let mut slowest = vec![Duration::ZERO; table.virtual_routers.len()];
    let all =
        || scenario.plans().flat_map(|(router, plan)| table.terms(&scenario.routers[router], plan));
    for terms in all() {
        slowest[terms.vr] = slowest[terms.vr].max(terms.interval);
    }
    let silence = all().map(|terms| terms.patience.longest(slowest[terms.vr]));
    let strangers = scenario
        .strangers
        .iter()
        .map(|stranger| stranger.config.pace().master_down(stranger.config.dead_ratio));
    let silence = silence.chain(strangers).max().unwrap_or_default();
    let ties = silence * scenario.strangers.len() as u32;
    let patience = all().map(|terms| terms.preempt_delay).max().unwrap_or_default();
    let again = if patience.is_zero() { Duration::ZERO } else { silence };
    let plans = || scenario.plans().map(|(_, plan)| plan);
    let startup = plans().map(|plan| plan.startup_delay).max().unwrap_or_default();
    let scripts = plans().flat_map(|plan| &plan.scripts);
    let verdict = scripts.map(|script| script.interval * script.rise.max(script.fall));
    let verdict = verdict.max().unwrap_or_default();
    let timers = startup + verdict + silence + patience + again + ties;
    let exchange = scenario.calm.longest() + scenario.lateness + Duration::from_millis(1);
    timers + stretch(scenario, timers) + exchange * EXCHANGES
}

/// By how much clocks may disagree over a time.
pub(crate) fn stretch(scenario: &Scenario, time: Duration) -> Duration {
    let ppm = scenario.routers.iter().map(|router| router.drift_ppm.unsigned_abs()).max();
    time * ppm.unwrap_or(0) * 2 / 1_000_000
}

/// How long what was sent in this weather may still be under way, duplicates and stragglers
/// included.
pub(crate) fn under_way(worst: Weather) -> Duration {
    worst.longest()
}
