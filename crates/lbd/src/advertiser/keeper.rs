//! The thread that may wait for the kernel.
//!
//! Changing an address takes the kernel's one lock for network configuration, which other programs
//! hold for seconds at times. Advertisements must not wait for it, so everything else that a change
//! of role brings about is done here, in its order: addresses and the events that tell of them, and
//! when there is nothing else to do, announcements. What takes other programs is not done here
//! (`rules`). What waits is bounded (`queue`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use lb_config::model::{AddressFlags, Lifetime};
use lb_control::EventKind;
use lb_net::{
    Address, AddressOptions, Announcement, Announcer, Change, Error, FOREVER, Outcome, Promotions,
    RouteSocket, Waker,
};
use nix::net::if_::if_indextoname;

use crate::advertiser::queue::{Owner, Place, Queue, Step, VipChange};
use crate::advertiser::thread::with_sources;
use crate::engine::EventSink;

/// Nothing is left to do when nothing has come for so long.
const REST: Duration = Duration::from_secs(1);

/// Hands tasks to the thread. Dropping it waits until they are done, but for announcements.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What both sides see.
#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    queue: Queue,
    ended: bool,
    /// Changes that the kernel did not make as asked. No more than changes wait: the advertiser takes
    /// them whenever it wakes up, before it asks for others.
    exceptions: Vec<(VipChange, Outcome)>,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Starts the thread, which tells `events`. `waker` is woken when there are exceptions.
    pub(super) fn start(
        route: RouteSocket,
        announcer: Announcer,
        events: EventSink,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let promotions = None;
        let hands =
            Hands { route, announcer, promotions, events, waker, shared: Arc::clone(&shared) };
        let thread =
            std::thread::Builder::new().name("lbd-addresses".into()).spawn(move || hands.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes changes in their order. Yields the places whose removal waits already, and will be made
    /// once less than asked for.
    pub(super) fn change(&self, changes: Vec<VipChange>) -> io::Result<Vec<Place>> {
        self.give(|queue| queue.change(changes))
    }

    /// Announces for an instance, so many rounds; the last one that waits for it counts.
    pub(super) fn announce(
        &self,
        owner: Owner,
        frames: Vec<Announcement>,
        rounds: u32,
    ) -> io::Result<()> {
        self.give(|queue| queue.announce(owner, frames, rounds))
    }

    /// Has exactly these links keep a second address of a subnet when the first goes.
    pub(super) fn promote(&self, links: BTreeSet<u32>) -> io::Result<()> {
        self.give(|queue| queue.promote(links))
    }

    /// Tells events when everything before them is done.
    pub(super) fn tell(&self, events: Vec<EventKind>) -> io::Result<()> {
        self.give(|queue| queue.tell(events))
    }

    /// Calls `f` when everything before it is done.
    pub(super) fn then(&self, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.give(|queue| queue.then(Box::new(f)))
    }

    /// Changes that were refused, or not needed, since the last time.
    pub(super) fn exceptions(&self) -> Vec<(VipChange, Outcome)> {
        mem::take(&mut self.shared.desk().exceptions)
    }

    fn give<T>(&self, task: impl FnOnce(&mut Queue) -> T) -> io::Result<T> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(io::Error::other("the thread that keeps addresses failed"));
        }
        let given = task(&mut self.shared.desk().queue);
        self.shared.changed.notify_one();
        Ok(given)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut desk = self.shared.desk();
        desk.queue.end();
        desk.ended = true;
        drop(desk);
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been said by the panic hook.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Hands {
    route: RouteSocket,
    announcer: Announcer,
    /// Once a link was to be promoted.
    promotions: Option<Promotions>,
    events: EventSink,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
}

impl Hands {
    fn run(mut self) {
        while let Some(step) = self.next() {
            match step {
                Step::Change(changes) => self.change(changes),
                Step::Announce(frames) => self.announce(&frames),
                Step::Promote(links) => {
                    if let Err(error) = self.promote(&links) {
                        tracing::error!("{}", with_sources(&error));
                    }
                }
                Step::Tell(events, dropped) => {
                    if dropped > 0 {
                        tracing::error!(
                            "{dropped} events were not told, because the kernel changed no address \
                             for so long"
                        );
                    }
                    events.into_iter().for_each(|event| self.events.emit(event));
                }
                Step::Then(f) => f(),
            }
        }
    }

    /// The next step; `None` at the end. When none has come for a while, gives back what the last
    /// ones needed: the roles of thousands of instances change at once.
    fn next(&self) -> Option<Step> {
        let mut desk = self.shared.desk();
        let mut rested = false;
        loop {
            if let Some(step) = desk.queue.pop() {
                return Some(step);
            }
            if desk.ended {
                return None;
            }
            if rested {
                desk = self.shared.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.shared.changed.wait_timeout(desk, REST);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            desk = again;
            if timeout.timed_out() {
                rested = true;
                drop(desk);
                lb_net::release_memory();
                desk = self.shared.desk();
            }
        }
    }

    fn change(&mut self, changes: Vec<VipChange>) {
        let requests: Vec<_> = changes.iter().map(request).collect();
        let outcomes = match self.route.change(&requests) {
            Ok(outcomes) => outcomes,
            // What of it was made the kernel's notifications tell; the rest was not.
            Err(error) => {
                let again = || io::Error::new(error.kind(), error.to_string());
                changes.iter().map(|_| Outcome::Refused(again())).collect()
            }
        };
        let exceptions = changes.into_iter().zip(outcomes);
        let exceptions: Vec<_> =
            exceptions.filter(|(_, outcome)| !matches!(outcome, Outcome::Done)).collect();
        if !exceptions.is_empty() {
            self.shared.desk().exceptions.extend(exceptions);
            self.waker.wake();
        }
    }

    fn promote(&mut self, links: &BTreeSet<u32>) -> Result<(), Error> {
        let promotions = match &mut self.promotions {
            Some(promotions) => promotions,
            None => self.promotions.insert(Promotions::open()?),
        };
        promotions.apply(links)
    }

    fn announce(&mut self, frames: &[Announcement]) {
        let logged = tracing::enabled!(tracing::Level::DEBUG);
        for frame in frames {
            if logged {
                log_announcement(frame);
            }
            self.announcer.queue(frame);
            if self.announcer.is_full() {
                self.flush();
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.announcer.flush(|_, error| tracing::debug!("sending gratuitous ARP: {error}"));
    }
}

/// The line that keepalived logs with `-D` of each frame.
fn log_announcement(frame: &Announcement) {
    let link = if_indextoname(frame.ifindex);
    let link = link.as_ref().map(|name| name.to_string_lossy()).unwrap_or_default();
    let what = match frame.address {
        IpAddr::V4(_) => "Sending gratuitous ARP",
        IpAddr::V6(_) => "Sending unsolicited Neighbour Advert",
    };
    tracing::debug!("{what} on {link} for {}", frame.address);
}

fn request(VipChange { vip, present }: &VipChange) -> Change<'_> {
    let address = Address {
        ifindex: vip.link,
        address: vip.address.address,
        prefix: vip.address.prefix,
        broadcast: vip.address.broadcast,
        scope: vip.address.scope,
        label: vip.address.label.as_deref(),
        options: options(&vip.address.flags),
    };
    if *present { Change::Add(address) } else { Change::Remove(address) }
}

fn options(flags: &AddressFlags) -> AddressOptions {
    AddressOptions {
        peer: flags.peer,
        preferred: flags.preferred.map(|lifetime| match lifetime {
            Lifetime::Forever => FOREVER,
            Lifetime::Seconds(seconds) => seconds,
        }),
        home: flags.home,
        detect_duplicates: flags.detect_duplicates,
        manage_temporary: flags.manage_temporary,
        no_prefix_route: flags.no_prefix_route,
        autojoin: flags.autojoin,
    }
}
