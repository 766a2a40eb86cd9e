//! Instances that the machine did not run in time: masters that speak late, and backups whose
//! timers come so late that they listen again.

use std::time::{Duration, Instant};

use lb_control::EventKind;
use lb_election::Role;

use super::{Action, InstanceId, Node};

/// One line a second says enough: a machine that stands still makes every instance late at once.
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
        if late < interval {
            return;
        }
        let event = EventKind::VrrpLate {
            name: slot.config.name().to_owned(),
            late_ms: milliseconds(late),
            interval_ms: milliseconds(interval),
        };
        self.tell_lateness(now, event, out);
    }

    /// Tells that a backup listens again because its timer, due at `due`, came too late.
    pub(crate) fn notice_listening(
        &mut self,
        now: Instant,
        id: InstanceId,
        due: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot(id) else { return };
        let until = slot.protocol.deadline().unwrap_or(now);
        let event = EventKind::VrrpListensAgain {
            name: slot.config.name().to_owned(),
            late_ms: milliseconds(now.saturating_duration_since(due)),
            listens_ms: milliseconds(until.saturating_duration_since(now)),
        };
        self.tell_lateness(now, event, out);
    }

    fn tell_lateness(&mut self, now: Instant, event: EventKind, out: &mut Vec<Action>) {
        let told = self.lateness.0.is_some_and(|told| now.duration_since(told) < PAUSE);
        if !told {
            out.push(Action::event(event));
            self.lateness = Lateness(Some(now));
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
