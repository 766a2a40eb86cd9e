//! What every engine has in common: ways to say what happened, and why it failed.

use std::any::Any;

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

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (_, Some(message)) => message.clone(),
        (None, None) => "no message".to_owned(),
    }
}
