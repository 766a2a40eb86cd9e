//! What every engine has in common: ways to say what happened, and why it failed.

use std::any::Any;

use jiff::Timestamp;
use lb_control::{Event, EventKind};

use crate::mailbox::{Inbox, Message, Sender, mailbox};

/// Events that wait for the supervisor at most: many of every instance and server of a large
/// configuration. It says how many were dropped.
const EVENTS: usize = 65_536;

impl Message for Event {}

/// Where engines put what happens. Never blocks; an event after the supervisor's end is dropped, and
/// one that finds no room.
#[derive(Clone, Debug)]
pub struct EventSink(Sender<Event>);

impl EventSink {
    /// A sink and the end the supervisor reads.
    #[must_use]
    pub fn channel() -> (Self, Inbox<Event>) {
        let (sender, receiver) = mailbox(EVENTS);
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
