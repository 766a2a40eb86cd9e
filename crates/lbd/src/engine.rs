//! What every engine has in common: a way to say what happened.

use jiff::Timestamp;
use lb_control::{Event, EventKind};
use tokio::sync::mpsc;

/// Where engines put what happens. Never blocks; an event after the supervisor's end is dropped.
#[derive(Clone, Debug)]
pub struct EventSink(mpsc::UnboundedSender<Event>);

impl EventSink {
    /// A sink and the end the supervisor reads.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Puts one event, stamped with the wall clock.
    pub fn emit(&self, kind: EventKind) {
        let event = Event { at: Timestamp::now(), kind };
        // The supervisor reads until every engine has ended.
        let _ = self.0.send(event);
    }
}
