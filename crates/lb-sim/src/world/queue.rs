//! What is to happen, in the order of its time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::rc::Rc;

use super::packet::Packet;
use crate::Time;

/// What is to happen.
#[derive(Debug)]
pub(super) enum Event {
    Arrive {
        router: usize,
        wire: usize,
        packet: Rc<Packet>,
    },
    GuestHears {
        guest: usize,
        packet: Rc<Packet>,
    },
    GuestWakes {
        guest: usize,
    },
    /// Of a process in its so manieth life.
    Wake {
        router: usize,
        life: u32,
    },
    GoesOn {
        router: usize,
        life: u32,
    },
    ScriptEnds {
        router: usize,
        life: u32,
        script: usize,
    },
    /// Clients hear that a router has an address.
    Announced {
        router: usize,
        segment: usize,
        address: IpAddr,
        sent: Time,
    },
    /// Clients doubt what they believe.
    Doubt {
        segment: usize,
        address: IpAddr,
        since: Time,
    },
    Deed(usize),
    Heal,
    /// Everybody has had time to agree, unless something happened since.
    Verdict {
        disturbed: u32,
    },
}

/// Everything that is still to happen.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Queued>>,
    number: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.number += 1;
        self.heap.push(Reverse(Queued { at, number: self.number, event }));
    }

    /// What is next, and when.
    pub(super) fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }
}

#[derive(Debug)]
struct Queued {
    at: Time,
    /// Keeps the order of what is at one time.
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
