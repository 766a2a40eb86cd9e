//! The thread that may wait.
//!
//! Changing an address takes the kernel's one lock for network configuration, which other programs
//! hold for seconds at times. Advertisements must not wait for it, so everything else that a change
//! of role brings about is done here, in its order: addresses, their announcements, and the events
//! that tell of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use lb_config::model::{AddressFlags, Lifetime};
use lb_net::{
    Address, AddressOptions, Announcement, Announcer, Change, Error, FOREVER, Guard,
    GuardedAddress, Outcome, Promotions, RouteSocket, Share, SharedAddress, VmacSpec, Vmacs, Waker,
};
use lb_node::Vip;

use crate::advertiser::thread::with_sources;

/// Nothing is left to do when nothing has come for so long.
const REST: Duration = Duration::from_secs(1);
/// Guarding what could not be guarded is tried again so often.
const AGAIN: Duration = Duration::from_secs(10);
/// Name of our nftables tables.
const TABLE: &str = "lbd";

/// One VIP to be there or not.
#[derive(Clone, Debug)]
pub(super) struct VipChange {
    pub vip: Vip,
    pub present: bool,
}

/// Addresses that are not guarded as they should be, and why not.
pub(super) type Unguarded = (BTreeSet<IpAddr>, Option<Error>);

/// Something to do after everything before it.
enum Task {
    Change(Vec<VipChange>),
    /// Each with its number of rounds: a round of all, then the next, because the repetitions are
    /// for what gets lost in a burst.
    Announce(Vec<(Announcement, u32)>),
    /// Take exactly these shares of the load.
    Share(Vec<SharedAddress>),
    /// Accept no packets to exactly these addresses.
    Guard(BTreeSet<GuardedAddress>),
    /// Make exactly these virtual MACs.
    Vmacs(Vec<VmacSpec>),
    /// Have exactly these links keep a second address of a subnet when the first goes.
    Promote(BTreeSet<u32>),
    Then(Box<dyn FnOnce() + Send>),
}

/// Hands tasks to the thread. Dropping it waits until they are done.
#[derive(Debug)]
pub(super) struct Keeper {
    tasks: Option<mpsc::Sender<Task>>,
    /// Changes that the kernel did not make as asked.
    exceptions: mpsc::Receiver<(VipChange, Outcome)>,
    /// Virtual MACs that could not be made, by name.
    vmac_failures: mpsc::Receiver<(String, Error)>,
    /// Shares that could not be taken, and the first that could after that.
    sharing: mpsc::Receiver<Result<(), Error>>,
    /// Addresses that could not be guarded and why not, and that all could after that.
    guarding: mpsc::Receiver<Unguarded>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. `waker` is woken when there are exceptions.
    pub(super) fn start(
        route: RouteSocket,
        announcer: Announcer,
        vmacs: Vmacs,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let (tasks, inbox) = mpsc::channel();
        let (report, exceptions) = mpsc::channel();
        let (deplore, vmac_failures) = mpsc::channel();
        let (shared, sharing) = mpsc::channel();
        let (guarded, guarding) = mpsc::channel();
        let (share, promotions, balances) = (None, None, true);
        let hands = Hands {
            route,
            announcer,
            share,
            balances,
            promotions,
            vmacs,
            report,
            deplore,
            shared,
            guard: Guard::new(TABLE),
            wanted: BTreeSet::new(),
            guards: true,
            guarded,
            waker,
        };
        let thread = std::thread::Builder::new()
            .name("lbd-addresses".into())
            .spawn(move || hands.run(&inbox))?;
        let (tasks, thread) = (Some(tasks), Some(thread));
        Ok(Self { tasks, exceptions, vmac_failures, sharing, guarding, thread })
    }

    /// Makes changes in their order.
    pub(super) fn change(&self, changes: Vec<VipChange>) -> io::Result<()> {
        self.give(Task::Change(changes))
    }

    /// Announces each as often as it says.
    pub(super) fn announce(&self, announcements: Vec<(Announcement, u32)>) -> io::Result<()> {
        self.give(Task::Announce(announcements))
    }

    /// Takes exactly these shares of the load.
    pub(super) fn share(&self, shares: Vec<SharedAddress>) -> io::Result<()> {
        self.give(Task::Share(shares))
    }

    /// Accepts no packets to exactly these addresses from now on.
    pub(super) fn guard(&self, addresses: BTreeSet<GuardedAddress>) -> io::Result<()> {
        self.give(Task::Guard(addresses))
    }

    /// Makes exactly these virtual MACs.
    pub(super) fn vmacs(&self, vmacs: Vec<VmacSpec>) -> io::Result<()> {
        self.give(Task::Vmacs(vmacs))
    }

    /// Has exactly these links keep a second address of a subnet when the first goes.
    pub(super) fn promote(&self, links: BTreeSet<u32>) -> io::Result<()> {
        self.give(Task::Promote(links))
    }

    /// Calls `f` when everything before it is done.
    pub(super) fn then(&self, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.give(Task::Then(Box::new(f)))
    }

    /// Changes that were refused, or not needed, since the last time.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = (VipChange, Outcome)> {
        self.exceptions.try_iter()
    }

    /// Virtual MACs that could not be made, since the last time.
    pub(super) fn vmac_failures(&self) -> impl Iterator<Item = (String, Error)> {
        self.vmac_failures.try_iter()
    }

    /// Why no shares could be taken, or that they can be again, since the last time.
    pub(super) fn sharing(&self) -> impl Iterator<Item = Result<(), Error>> {
        self.sharing.try_iter()
    }

    /// Why addresses could not be guarded, or that they can be again, since the last time.
    pub(super) fn guarding(&self) -> impl Iterator<Item = Unguarded> {
        self.guarding.try_iter()
    }

    fn give(&self, task: Task) -> io::Result<()> {
        let given = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        if given { Ok(()) } else { Err(io::Error::other("the thread that keeps addresses failed")) }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tasks = None;
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
    /// Once there was something to share.
    share: Option<Share>,
    /// The last shares could be taken.
    balances: bool,
    /// Once a link was to be promoted.
    promotions: Option<Promotions>,
    vmacs: Vmacs,
    report: mpsc::Sender<(VipChange, Outcome)>,
    deplore: mpsc::Sender<(String, Error)>,
    shared: mpsc::Sender<Result<(), Error>>,
    guard: Guard,
    /// What has to be guarded, whether it could be or not.
    wanted: BTreeSet<GuardedAddress>,
    /// It could be, the last time.
    guards: bool,
    guarded: mpsc::Sender<Unguarded>,
    waker: Arc<Waker>,
}

/// The next task. When none has come for a while, gives back what the last ones needed: the roles of
/// thousands of instances change at once.
fn next(inbox: &mpsc::Receiver<Task>) -> Option<Task> {
    match inbox.recv_timeout(REST) {
        Err(RecvTimeoutError::Timeout) => {
            lb_net::release_memory();
            inbox.recv().ok()
        }
        other => other.ok(),
    }
}

impl Hands {
    fn run(mut self, inbox: &mpsc::Receiver<Task>) {
        loop {
            let task = match self.guards {
                true => next(inbox).ok_or(RecvTimeoutError::Disconnected),
                false => inbox.recv_timeout(AGAIN),
            };
            let task = match task {
                Ok(task) => task,
                Err(RecvTimeoutError::Timeout) => Task::Guard(self.wanted.clone()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match task {
                Task::Change(changes) => self.change(changes),
                Task::Announce(announcements) => self.announce(announcements),
                Task::Share(shares) => {
                    let taken = self.share(&shares);
                    let balanced = mem::replace(&mut self.balances, taken.is_ok());
                    if !(taken.is_ok() && balanced) {
                        // The advertiser may be gone.
                        let _ = self.shared.send(taken);
                        self.waker.wake();
                    }
                }
                Task::Guard(addresses) => self.guard(addresses),
                Task::Vmacs(vmacs) => self.vmacs(&vmacs),
                Task::Promote(links) => {
                    if let Err(error) = self.promote(&links) {
                        tracing::error!("{}", with_sources(&error));
                    }
                }
                Task::Then(f) => f(),
            }
        }
    }

    fn guard(&mut self, addresses: BTreeSet<GuardedAddress>) {
        self.wanted = addresses;
        let done = self.guard.apply(&self.wanted);
        let before = mem::replace(&mut self.guards, done.is_ok());
        if !(done.is_ok() && before) {
            // The advertiser may be gone.
            let wanted = self.wanted.iter().map(|guarded| guarded.address);
            let open = wanted.filter(|address| !self.guard.guards(address)).collect();
            let _ = self.guarded.send((open, done.err()));
            self.waker.wake();
        }
    }

    /// Leaves out, and reports as refused, what would be there unguarded.
    fn guarded_only(&self, changes: Vec<VipChange>) -> Vec<VipChange> {
        let wanted: BTreeSet<_> = self.wanted.iter().map(|guarded| guarded.address).collect();
        let (open, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| {
            let address = change.vip.address.address;
            change.present && wanted.contains(&address) && !self.guard.guards(&address)
        });
        for change in open {
            let error = io::Error::other("packets to it cannot be dropped");
            let _ = self.report.send((change, Outcome::Refused(error)));
            self.waker.wake();
        }
        rest
    }

    fn change(&mut self, changes: Vec<VipChange>) {
        let changes = if self.guards { changes } else { self.guarded_only(changes) };
        let requests: Vec<_> = changes.iter().map(request).collect();
        let outcomes = match self.route.change(&requests) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::error!("changing {} addresses: {error}", changes.len());
                return;
            }
        };
        let mut any = false;
        for (change, outcome) in changes.into_iter().zip(outcomes) {
            if !matches!(outcome, Outcome::Done) {
                any = true;
                // The advertiser may be gone.
                let _ = self.report.send((change, outcome));
            }
        }
        if any {
            self.waker.wake();
        }
    }

    fn share(&mut self, shares: &[SharedAddress]) -> Result<(), Error> {
        let share = match &mut self.share {
            Some(share) => share,
            None => self.share.insert(Share::open(TABLE)?),
        };
        share.apply(shares)
    }

    fn promote(&mut self, links: &BTreeSet<u32>) -> Result<(), Error> {
        let promotions = match &mut self.promotions {
            Some(promotions) => promotions,
            None => self.promotions.insert(Promotions::open()?),
        };
        promotions.apply(links)
    }

    fn vmacs(&mut self, wanted: &[VmacSpec]) {
        let results = match self.vmacs.reconcile(wanted) {
            Ok(results) => results,
            Err(error) => {
                tracing::error!("{}", with_sources(&error));
                return;
            }
        };
        let mut any = false;
        for (spec, result) in wanted.iter().zip(results) {
            if let Err(error) = result {
                any = true;
                // The advertiser may be gone.
                let _ = self.deplore.send((spec.name.clone(), error));
            }
        }
        if any {
            self.waker.wake();
        }
    }

    fn announce(&mut self, mut announcements: Vec<(Announcement, u32)>) {
        while !announcements.is_empty() {
            for (announcement, rounds) in &mut announcements {
                self.announcer.queue(announcement);
                if self.announcer.is_full() {
                    self.flush();
                }
                *rounds = rounds.saturating_sub(1);
            }
            announcements.retain(|(_, rounds)| *rounds > 0);
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.announcer.flush(|_, error| tracing::debug!("sending gratuitous ARP: {error}"));
    }
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
