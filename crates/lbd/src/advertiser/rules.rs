//! The thread that makes links and rules.
//!
//! Virtual MACs and shares of a load take other programs (`nft`), which may hang. Neither addresses nor
//! advertisements wait for them, nor does anybody who stops: each program has its time.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, mem};

use lb_net::{Error, Share, SharedAddress, VmacSpec, Vmacs, Waker};

use crate::advertiser::queue::Then;
use crate::advertiser::thread::with_sources;
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
    shares: Option<Vec<SharedAddress>>,
    vmacs: Option<Vec<VmacSpec>>,
    /// One of each reload and stop at most.
    then: Vec<Then>,
    ended: bool,
    /// Why each virtual MAC could not be made, the last time.
    vmac_failures: BTreeMap<String, Error>,
    /// Whether the last shares could be taken, if that is news.
    sharing: Option<Result<(), Error>>,
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
    /// Starts the thread. `waker` is woken when there is something to take.
    pub(super) fn start(vmacs: Vmacs, waker: Arc<Waker>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut hands =
            Hands { share: None, balances: true, vmacs, waker, shared: Arc::clone(&shared) };
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

    fn give(&self, task: impl FnOnce(&mut Desk)) -> io::Result<()> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(io::Error::other("the thread that makes links and rules failed"));
        }
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
    /// Calls `f` when everything wanted before it is done, or drops it when the thread has ended.
    pub(super) fn then(&self, f: impl FnOnce() + Send + 'static) {
        self.0.desk().then.push(Box::new(f));
        self.0.changed.notify_one();
    }
}

/// What the thread owns.
struct Hands {
    /// Once there was something to share.
    share: Option<Share>,
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
            while desk.shares.is_none() && desk.vmacs.is_none() && desk.then.is_empty() {
                if desk.ended {
                    return;
                }
                desk = self.shared.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            let (shares, vmacs) = (desk.shares.take(), desk.vmacs.take());
            let then = mem::take(&mut desk.then);
            drop(desk);
            if let Some(shares) = shares {
                self.share(&shares);
            }
            if let Some(vmacs) = vmacs {
                self.make_vmacs(&vmacs);
            }
            then.into_iter().for_each(|f| f());
        }
    }

    fn share(&mut self, shares: &[SharedAddress]) {
        let taken = self.try_share(shares);
        let balanced = mem::replace(&mut self.balances, taken.is_ok());
        if !(taken.is_ok() && balanced) {
            self.shared.desk().sharing = Some(taken);
            self.waker.wake();
        }
    }

    fn try_share(&mut self, shares: &[SharedAddress]) -> Result<(), Error> {
        let share = match &mut self.share {
            Some(share) => share,
            None => self.share.insert(Share::open(lb_net::SHARE_TABLE)?),
        };
        share.apply(shares)
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
