//! How many clients a relay serves at once: never so many that descriptors run out, because others
//! in this process need some.
//!
//! A client that comes when all places are taken gets that of the one that has been idle longest.
//! Who is at work keeps its place: where nobody is idle the newcomer is turned away.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::guard;
use crate::pump::Activity;

/// Who moved something within this time is at work.
const AT_WORK: Duration = Duration::from_secs(1);

/// Places that are looked at to find an idle one.
const SEARCH: usize = 64;

/// How full a relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Clients that are served now.
    pub now: u64,
    /// Clients that there is room for; one service has half of it.
    pub most: u64,
    /// Idle clients that lost their place to another, since the start.
    pub displaced: u64,
    /// Clients that were turned away, because all places were taken and nobody was idle, since the start.
    pub refused: u64,
}

/// All places of a relay.
#[derive(Debug)]
pub struct Flows {
    most: usize,
    taken: AtomicUsize,
    /// Clients that lost their place to another.
    displaced: AtomicU64,
    /// Clients that found none.
    refused: AtomicU64,
}

/// Those of one service.
#[derive(Debug)]
pub struct ServiceFlows {
    all: Arc<Flows>,
    taken: AtomicUsize,
    /// Each with the time of its last activity when it was put in; the longest idle come first, and
    /// those that have moved since go to the back when they are met.
    queue: Mutex<VecDeque<(Weak<Place>, u64)>>,
}

/// One client's place. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    /// When something moved.
    pub activity: Activity,
    /// Another client takes the place: the flow has to end.
    pub displaced: Notify,
    of: Arc<ServiceFlows>,
}

impl Flows {
    /// Places for `most` clients, and for half as many of one service.
    pub fn new(most: usize) -> Self {
        let (displaced, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { most: most.max(2), taken: AtomicUsize::new(0), displaced, refused }
    }

    /// How full it is.
    pub fn clients(&self) -> Clients {
        Clients {
            now: self.taken.load(Relaxed) as u64,
            most: self.most as u64,
            displaced: self.displaced.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

impl ServiceFlows {
    /// A service without clients.
    pub fn new(all: Arc<Flows>) -> Self {
        Self { all, taken: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// A place for a client; `None` where all are taken and nobody is idle.
    pub fn take(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut queue = guard(&self.queue);
        let full = || {
            self.taken.load(Relaxed) >= self.all.most / 2
                || self.all.taken.load(Relaxed) >= self.all.most
        };
        if full() {
            match displace(&mut queue) {
                Displaced::One => _ = self.all.displaced.fetch_add(1, Relaxed),
                // What was displaced may need a moment to close its sockets.
                Displaced::Closing if !full() => {}
                Displaced::Closing | Displaced::Nobody => {
                    self.all.refused.fetch_add(1, Relaxed);
                    return None;
                }
            }
        }
        self.taken.fetch_add(1, Relaxed);
        self.all.taken.fetch_add(1, Relaxed);
        let (activity, displaced) = (Activity::new(), Notify::new());
        let place = Arc::new(Place { activity, displaced, of: Arc::clone(self) });
        queue.push_back((Arc::downgrade(&place), place.activity.last_ms()));
        // Those that have ended are left out now and then, so that the queue stays in proportion.
        if queue.len() > 2 * self.taken.load(Relaxed) + SEARCH {
            queue.retain(|(place, _)| place.strong_count() > 0);
        }
        Some(place)
    }
}

enum Displaced {
    /// A client has to go.
    One,
    /// Those that ended gave their places back.
    Closing,
    /// All are at work.
    Nobody,
}

/// Ends the flow that has been idle longest.
fn displace(queue: &mut VecDeque<(Weak<Place>, u64)>) -> Displaced {
    let mut ended = false;
    for _ in 0..SEARCH.min(queue.len()) {
        let Some((place, seen)) = queue.pop_front() else { break };
        let Some(flow) = place.upgrade() else {
            ended = true;
            continue;
        };
        let last = flow.activity.last_ms();
        if last == seen && flow.activity.idle_for() >= AT_WORK {
            flow.displaced.notify_one();
            return Displaced::One;
        }
        queue.push_back((place, last));
    }
    if ended { Displaced::Closing } else { Displaced::Nobody }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(1, Relaxed);
        self.of.all.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_gives_way_and_who_is_at_work_does_not() {
        let all = Arc::new(Flows::new(4));
        let service = Arc::new(ServiceFlows::new(Arc::clone(&all)));
        let (first, second) = (service.take().unwrap(), service.take().unwrap());
        // A service has half of the places, and both clients have just come.
        assert!(service.take().is_none());
        tokio::time::advance(Duration::from_secs(2)).await;
        first.activity.touch();
        let third = service.take().expect("the place of the second");
        tokio::time::timeout(Duration::ZERO, second.displaced.notified()).await.expect("told");
        assert_eq!(all.clients(), Clients { now: 3, most: 4, displaced: 1, refused: 1 });
        drop((first, second, third));
        assert!(service.take().is_some());
        let other = Arc::new(ServiceFlows::new(all));
        assert!(other.take().is_some(), "another service has places of its own");
    }
}
