//! The thread that makes links and rules.
//!
//! Virtual MACs and shares of a load take other programs (`nft`), which may hang. Neither addresses nor
//! advertisements wait for them, nor does anybody who stops: each program has its time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use lb_net::{Error, Guard, GuardedAddress, Share, SharedAddress, VmacSpec, Vmacs, Waker};

use crate::advertiser::queue::Then;
use crate::advertiser::thread::with_sources;

/// Rules that others may have changed are looked at so often, and what could not be guarded is tried
/// again.
const AGAIN: Duration = Duration::from_secs(10);

/// Addresses that are not guarded as they should be, and why not; none when all are again.
pub(super) type Unguarded = (BTreeSet<IpAddr>, Option<Error>);

/// Hands the thread what is wanted. Dropping it waits until that is done.
#[derive(Debug)]
pub(super) struct Rules {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What both sides see.
#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

/// What is wanted, the last of each kind, and what became of it.
#[derive(Default)]
struct Desk {
    guarded: Option<BTreeSet<GuardedAddress>>,
    shares: Option<Vec<SharedAddress>>,
    vmacs: Option<Vec<VmacSpec>>,
    /// One of each reload and stop at most.
    then: Vec<Then>,
    ended: bool,
    /// Why each virtual MAC could not be made, the last time.
    vmac_failures: BTreeMap<String, Error>,
    /// Whether the last shares could be taken, if that is news.
    sharing: Option<Result<(), Error>>,
    /// Whether the last addresses could be guarded, if that is news.
    guarding: Option<Unguarded>,
}

impl Desk {
    /// Nothing is wanted.
    fn is_empty(&self) -> bool {
        self.guarded.is_none()
            && self.shares.is_none()
            && self.vmacs.is_none()
            && self.then.is_empty()
    }
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

impl Rules {
    /// Starts the thread, whose rules are in tables of this name. `waker` is woken when there is something to take.
    pub(super) fn start(vmacs: Vmacs, table: &str, waker: Arc<Waker>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut hands = Hands {
            guard: Guard::new(table),
            table: table.to_owned(),
            wanted: BTreeSet::new(),
            guards: true,
            share: None,
            shares: Vec::new(),
            balances: true,
            vmacs,
            waker,
            shared: Arc::clone(&shared),
        };
        let thread =
            std::thread::Builder::new().name("lbd-rules".into()).spawn(move || hands.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes exactly these shares of the load.
    pub(super) fn share(&self, shares: Vec<SharedAddress>) -> io::Result<()> {
        self.give(|desk| desk.shares = Some(shares))
    }

    /// Makes exactly these virtual MACs.
    pub(super) fn vmacs(&self, vmacs: Vec<VmacSpec>) -> io::Result<()> {
        self.give(|desk| desk.vmacs = Some(vmacs))
    }

    /// What calls something when everything before it is done; from any thread.
    pub(super) fn later(&self) -> Later {
        Later(Arc::clone(&self.shared))
    }

    /// Virtual MACs that could not be made, since the last time.
    pub(super) fn vmac_failures(&self) -> BTreeMap<String, Error> {
        mem::take(&mut self.shared.desk().vmac_failures)
    }

    /// Why no shares could be taken, or that they can be again, since the last time.
    pub(super) fn sharing(&self) -> Option<Result<(), Error>> {
        self.shared.desk().sharing.take()
    }

    /// Which addresses could not be guarded, or that all can be again, since the last time.
    pub(super) fn guarding(&self) -> Option<Unguarded> {
        self.shared.desk().guarding.take()
    }

    /// Fails when the thread has.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(io::Error::other("the thread that makes links and rules failed"));
        }
        Ok(())
    }

    fn give(&self, task: impl FnOnce(&mut Desk)) -> io::Result<()> {
        self.check()?;
        task(&mut self.shared.desk());
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.shared.desk().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been said by the panic hook.
            let _ = thread.join();
        }
    }
}

/// See [`Rules::later`].
pub(super) struct Later(Arc<Shared>);

impl Later {
    /// Accepts no packets to exactly these addresses.
    pub(super) fn guard(&self, addresses: BTreeSet<GuardedAddress>) {
        self.0.desk().guarded = Some(addresses);
        self.0.changed.notify_one();
    }

    /// Calls `f` when everything wanted before it is done, or drops it when the thread has ended.
    pub(super) fn then(&self, f: impl FnOnce() + Send + 'static) {
        self.0.desk().then.push(Box::new(f));
        self.0.changed.notify_one();
    }
}

/// What the thread owns.
struct Hands {
    guard: Guard,
    /// Name of the tables of rules.
    table: String,
    /// What has to be guarded, whether it could be or not.
    wanted: BTreeSet<GuardedAddress>,
    /// It could be, the last time.
    guards: bool,
    /// Once there was something to share.
    share: Option<Share>,
    /// What is to be shared.
    shares: Vec<SharedAddress>,
    /// The last shares could be taken.
    balances: bool,
    vmacs: Vmacs,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
}

impl Hands {
    fn run(&mut self) {
        loop {
            let mut desk = self.shared.desk();
            while desk.is_empty() {
                if desk.ended {
                    return;
                }
                let changed = &self.shared.changed;
                if self.wanted.is_empty() && self.shares.is_empty() {
                    desk = changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let (waited, timeout) =
                    changed.wait_timeout(desk, AGAIN).unwrap_or_else(PoisonError::into_inner);
                drop(waited);
                if timeout.timed_out() {
                    self.look_after();
                }
                desk = self.shared.desk();
            }
            let guarded = desk.guarded.take();
            let (shares, vmacs) = (desk.shares.take(), desk.vmacs.take());
            let then = mem::take(&mut desk.then);
            drop(desk);
            if let Some(guarded) = guarded {
                self.guard(guarded);
            }
            if let Some(shares) = shares {
                self.share(shares);
            }
            if let Some(vmacs) = vmacs {
                self.make_vmacs(&vmacs);
            }
            then.into_iter().for_each(|f| f());
        }
    }

    /// Puts rules back that others have changed or deleted, and tries again what could not be guarded.
    fn look_after(&mut self) {
        let guard = self.guard.is_disturbed();
        if guard || !self.guards {
            self.guard(self.wanted.clone());
        }
        let share = self.share.as_mut().is_some_and(Share::is_disturbed);
        if share {
            self.share(self.shares.clone());
        }
        if guard && self.guards || share && self.balances {
            tracing::warn!(
                "another program changed the rules of nftables table {} (nft flush ruleset?), which \
                 were made anew",
                self.table
            );
        }
    }

    fn guard(&mut self, addresses: BTreeSet<GuardedAddress>) {
        self.wanted = addresses;
        let done = self.guard.apply(&self.wanted);
        let before = mem::replace(&mut self.guards, done.is_ok());
        if !(done.is_ok() && before) {
            let wanted = self.wanted.iter().map(|guarded| guarded.address);
            let open = wanted.filter(|address| !self.guard.guards(address)).collect();
            self.shared.desk().guarding = Some((open, done.err()));
            self.waker.wake();
        }
    }

    fn share(&mut self, shares: Vec<SharedAddress>) {
        self.shares = shares;
        let taken = self.try_share();
        let balanced = mem::replace(&mut self.balances, taken.is_ok());
        if !(taken.is_ok() && balanced) {
            self.shared.desk().sharing = Some(taken);
            self.waker.wake();
        }
    }

    fn try_share(&mut self) -> Result<(), Error> {
        let share = match &mut self.share {
            Some(share) => share,
            None => self.share.insert(Share::open(&self.table)?),
        };
        share.apply(&self.shares)
    }

    fn make_vmacs(&mut self, wanted: &[VmacSpec]) {
        let results = match self.vmacs.reconcile(wanted) {
            Ok(results) => results,
            Err(error) => {
                tracing::error!("{}", with_sources(&error));
                return;
            }
        };
        let failures = wanted
            .iter()
            .zip(results)
            .filter_map(|(spec, result)| result.err().map(|error| (spec.name.clone(), error)));
        let failures: BTreeMap<_, _> = failures.collect();
        if !failures.is_empty() {
            self.shared.desk().vmac_failures.extend(failures);
            self.waker.wake();
        }
    }
}
