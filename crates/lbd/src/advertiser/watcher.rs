//! The thread that hears who else claims our VIPs.
//!
//! Gratuitous ARP comes in storms when a router with many VIPs takes over, and whoever wants can
//! make one. The advertiser is told of each address once in a while.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lb_net::{Claim, Poller, Waker, Watch};
use lb_node::LinkIndex;
use tokio::sync::mpsc::error::TryRecvError;

use crate::mailbox::{Inbox, Message, Sender, mailbox};

/// A claim of the same address is passed on again after so long: sooner than a router that yielded
/// would say its last word for want of one.
const REPEAT: Duration = Duration::from_millis(20);

const CLAIMS: u64 = 0;
const INTEREST: u64 = 1;

/// Addresses whose claims matter, and where. The last one that is told counts.
struct Interest(Vec<(LinkIndex, IpAddr)>);

impl Message for Interest {
    const MERGES: bool = true;

    fn voids(&self, _earlier: &Self) -> bool {
        true
    }
}

/// Hands the thread what to listen for. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Watcher {
    interest: Option<Sender<Interest>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts the thread, which is interested in nothing yet and calls `tell` for claims.
    pub(super) fn start(tell: impl Fn(Claim) + Send + 'static) -> Result<Self, lb_net::Error> {
        let system = |source| lb_net::Error::System { what: "watching ARP".into(), source };
        let (watch, poller) = (Watch::open()?, Poller::new().map_err(system)?);
        let waker = Arc::new(Waker::new().map_err(system)?);
        poller.add(&watch, CLAIMS).map_err(system)?;
        poller.add(&*waker, INTEREST).map_err(system)?;
        let (interest, inbox) = mailbox(1);
        let mut ears =
            Ears { watch, poller, waker: Arc::clone(&waker), inbox, passed: HashMap::new() };
        let run = move || {
            if let Err(error) = ears.run(&tell) {
                tracing::warn!("claims of our addresses are no longer heard: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("lbd-watch".into()).spawn(run);
        Ok(Self { interest: Some(interest), waker, thread: Some(thread.map_err(system)?) })
    }

    /// Listens for exactly these from now on.
    pub(super) fn follow(&self, interest: Vec<(LinkIndex, IpAddr)>) {
        if let Some(sender) = &self.interest {
            // A thread that failed has said so.
            let _ = sender.send(Interest(interest));
            self.waker.wake();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.interest = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been said by the panic hook.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Ears {
    watch: Watch,
    poller: Poller,
    waker: Arc<Waker>,
    inbox: Inbox<Interest>,
    /// When a claim was passed on last; at most one a VIP.
    passed: HashMap<(LinkIndex, IpAddr), Instant>,
}

impl Ears {
    fn run(&mut self, tell: &dyn Fn(Claim)) -> io::Result<()> {
        loop {
            let ready: Vec<u64> = self.poller.wait(None)?.collect();
            if ready.contains(&INTEREST) {
                self.waker.clear();
                match self.inbox.try_recv() {
                    Ok(interest) => self.follow(interest),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            if ready.contains(&CLAIMS) {
                let Self { watch, passed, .. } = self;
                watch.drain(|claim| {
                    let (now, key) = (Instant::now(), (claim.ifindex, claim.address));
                    if passed.get(&key).is_none_or(|last| now.duration_since(*last) >= REPEAT) {
                        passed.insert(key, now);
                        tell(claim);
                    }
                })?;
            }
        }
    }

    fn follow(&mut self, Interest(interest): Interest) {
        self.passed.clear();
        if let Err(error) = self.watch.set(interest) {
            tracing::warn!("claims of our addresses are not heard: {error}");
        }
        // What the change of many roles needed is needed no more.
        lb_net::release_memory();
    }
}
