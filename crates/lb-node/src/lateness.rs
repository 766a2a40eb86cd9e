//! Masters that the machine did not let speak in time.

use std::time::{Duration, Instant};

use lb_control::EventKind;
use lb_election::Role;

use super::{Action, InstanceId, Node};

/// One line a second says enough: a machine that stands still makes every master late at once.
const PAUSE: Duration = Duration::from_secs(1);

/// When lateness was told last.
#[derive(Debug, Default)]
pub(crate) struct Lateness(Option<Instant>);

impl Node {
    /// Tells that an instance is a master whose advertisement should have left an interval ago.
    pub(crate) fn notice_lateness(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Action>) {
        let Some(slot) = self.slot(id).filter(|slot| slot.role() == Role::Master) else { return };
        let Some(due) = slot.protocol.deadline() else { return };
        let (late, interval) = (now.saturating_duration_since(due), slot.protocol.interval());
        let told = self.lateness.0.is_some_and(|told| now.duration_since(told) < PAUSE);
        if late < interval || told {
            return;
        }
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        out.push(Action::event(EventKind::VrrpLate {
            name: slot.config.name().to_owned(),
            late_ms: milliseconds(late),
            interval_ms: milliseconds(interval),
        }));
        self.lateness = Lateness(Some(now));
    }
}
