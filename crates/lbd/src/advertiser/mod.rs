//! The advertiser: keeps the VIPs of this host's instances on exactly one router.
//!
//! A [`Node`](lb_node::Node) decides, in a value without sockets or clock; what is around it does as it says, on a
//! thread of its own that nothing else can delay. [`Advertiser`] is the supervisor's end of it.

mod keeper;
mod kernel;
mod outgoing;
mod queue;
mod recorder;
mod rules;
mod sockets;
mod thread;
mod watcher;

use std::collections::BTreeSet;
use std::future;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use lb_config::model::Scheduling;
use lb_control::status::{Maintenance, Transition};
use lb_net::Waker;
use lb_node::{Input, Plan};
use tokio::sync::oneshot;

use crate::advertiser::thread::{Command, ROOM, Start, Thread};
use crate::engine::{EventSink, panic_message};
use crate::mailbox::{Message, Sender, mailbox};

pub use recorder::{Recorder, Recording};

/// How an advertiser starts and ends.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of instances whose VIPs are still on this host because the engine failed and is started
    /// again: they are MASTER at once. VIPs of all others are removed first.
    pub adopt: BTreeSet<String>,
    /// Advertisements with `auth_type AH` are numbered above this one, and above the seconds since 1970.
    pub number: u32,
    /// At the end the VIPs stay and nobody is told (`--dont-release-vrrp`).
    pub keep_vips: bool,
    /// Scheduling of the thread.
    pub scheduling: Scheduling,
    /// What is in maintenance from the beginning: single instances, or all of them (`None`).
    pub maintenance: Vec<(Option<String>, Maintenance)>,
    /// Where every input of the node is written.
    pub recording: Option<Recording>,
    /// What is known of tracked files and processes.
    pub observed: Vec<Observation>,
    /// Why connections are not copied to the other router as they should be.
    pub state_sync: Option<String>,
}

/// What was seen of something tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// One run of a script ended.
    Script {
        /// Of the script in the configuration.
        name: String,
        /// Exit status 0, in time.
        success: bool,
    },
    /// A file says something else than before.
    File {
        /// Of the file in the configuration.
        name: String,
        /// The number in it.
        value: i32,
    },
    /// Another number of processes run than before.
    Process {
        /// Of the processes in the configuration.
        name: String,
        /// So many.
        running: u32,
        /// The last one has come by a fork, and may be about to become another program.
        forked: bool,
    },
}

impl Message for Observation {
    const MERGES: bool = true;

    fn voids(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::File { name, .. }, Self::File { name: other, .. })
            | (Self::Process { name, .. }, Self::Process { name: other, .. }) => name == other,
            // Each result of a script counts.
            _ => false,
        }
    }

    fn always(&self) -> bool {
        !matches!(self, Self::Script { .. })
    }
}

impl Observation {
    /// As a node is told.
    fn input(&self) -> Input<'_> {
        match *self {
            Self::Script { ref name, success } => Input::Script { name, success },
            Self::File { ref name, value } => Input::File { name, value },
            Self::Process { ref name, running, forked } => Input::Process { name, running, forked },
        }
    }
}

/// Why an advertiser does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refuses what the advertiser lives by.
    #[error(transparent)]
    Net(#[from] lb_net::Error),
    /// The thread does not start, or panicked before it ran.
    #[error("the advertiser's thread does not start")]
    Thread(#[source] io::Error),
}

/// The advertiser's thread, as the supervisor sees it. Dropped, it is stopped and not waited for.
#[derive(Debug)]
pub struct Advertiser {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    legacy: Kept,
    failed: Option<oneshot::Receiver<String>>,
}

/// What an advertiser that failed leaves to the one that is started in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// Names of the instances that are MASTER, VIPs and all.
    pub masters: BTreeSet<String>,
    /// The highest number of an advertisement with `auth_type AH` that was sent; 0 if there was none.
    pub number: u32,
}

/// Kept up to date by the thread; outlives its panic.
type Kept = Arc<Mutex<Legacy>>;

impl Advertiser {
    /// Starts the thread in the network namespace of the caller; returns when every socket is bound,
    /// which takes milliseconds. An interface that is missing is no error: its instances are in
    /// FAULT until it comes.
    ///
    /// # Errors
    /// [`Error::Net`] names the interface or capability and the remedy.
    pub fn start(plan: Plan, options: Options, events: EventSink) -> Result<Self, Error> {
        lb_net::require_capabilities()?;
        // On the caller's thread, whose allocator has room where the configuration was read.
        let start = panic::catch_unwind(AssertUnwindSafe(|| Start::new(plan, options)));
        let start = start
            .map_err(|panic| Error::Thread(io::Error::other(panic_message(panic.as_ref()))))?;
        let waker = Waker::new().map_err(Error::Thread)?;
        let waker = Arc::new(waker);
        let legacy = Kept::default();
        let (commands, inbox) = mailbox(ROOM);
        let (started, begun) = mpsc::sync_channel(1);
        let (failure, failed) = oneshot::channel();
        let body = {
            let (waker, legacy) = (Arc::clone(&waker), Arc::clone(&legacy));
            let inbox = (commands.clone(), inbox);
            move || {
                let run = || match Thread::new(start, events, inbox, waker, legacy) {
                    Ok(mut thread) => {
                        let _ = started.send(Ok(()));
                        thread.run().map_err(|error| format!("the kernel failed: {error}"))
                    }
                    Err(error) => {
                        let _ = started.send(Err(Error::Net(error)));
                        Ok(())
                    }
                };
                let ended = panic::catch_unwind(AssertUnwindSafe(run));
                let ended = ended.unwrap_or_else(|panic| Err(panic_message(panic.as_ref())));
                if let Err(reason) = ended {
                    // Nobody listens when the supervisor is gone.
                    let _ = failure.send(reason);
                }
            }
        };
        std::thread::Builder::new()
            .name("lbd-advertiser".into())
            .spawn(body)
            .map_err(Error::Thread)?;
        let panicked = |_| Err(Error::Thread(io::Error::other("it panicked")));
        begun.recv().unwrap_or_else(panicked)?;
        Ok(Self { commands, waker, legacy, failed: Some(failed) })
    }

    /// Puts another plan in force; what both have in common is not disturbed. Resolves when it is,
    /// with what could not be opened.
    pub fn apply(&self, plan: Plan) -> oneshot::Receiver<Result<(), String>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Apply { plan, reply });
        answer
    }

    /// Tells what was seen of something tracked.
    pub fn observe(&self, observation: Observation) {
        self.send(Command::Observe(observation));
    }

    /// Tells how the next plan that is put in force is written, for the record.
    pub fn announce(&self, config: Arc<str>) {
        self.send(Command::Announce { config });
    }

    /// Has another router take over from an instance and its sync group.
    pub fn handover(&self, name: &str) {
        self.send(Command::Handover { name: name.into() });
    }

    /// Begins or ends (`None`) the maintenance of one instance and its sync group, or of all.
    pub fn maintenance(&self, name: Option<&str>, state: Option<Maintenance>) {
        self.send(Command::Maintenance { name: name.map(str::to_owned), state });
    }

    /// Changes the demotion counter of a group of CARP instances.
    pub fn demote(&self, group: &str, by: i32) {
        self.send(Command::Demote { group: group.into(), by });
    }

    /// Tells that connections are copied to the other router, or (with a reason) that they are not.
    pub fn state_sync(&self, failure: Option<String>) {
        self.send(Command::StateSync { failure });
    }

    /// Asks for the last changes of role of an instance, the latest first; `None` when there is none of
    /// that name.
    pub fn why(&self, name: &str) -> oneshot::Receiver<Option<Vec<Transition>>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Why { name: name.into(), reply });
        answer
    }

    /// Asks for the state of every instance. However many ask, and how often, it takes the thread a
    /// twentieth of its time at most: then all wait a little and get the same answer.
    pub fn status(&self) -> oneshot::Receiver<lb_node::Status> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Status { reply });
        answer
    }

    /// Lets go: masters say so and wait for a successor, then the VIPs go away, then the thread ends
    /// and this resolves, with the VIPs that the kernel refused to remove. Asked a second time, they wait
    /// no longer.
    pub fn stop(&self) -> oneshot::Receiver<Result<(), String>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Stop { reply });
        answer
    }

    /// Resolves with the reason when the thread fails; never after an orderly end.
    pub async fn ended(&mut self) -> String {
        if let Some(failed) = &mut self.failed {
            let reason = failed.await;
            self.failed = None;
            if let Ok(reason) = reason {
                return reason;
            }
        }
        future::pending().await
    }

    /// What the next one is to take over, also after the thread has failed.
    #[must_use]
    pub fn legacy(&self) -> Legacy {
        self.legacy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the thread panic: how a test shows that the supervisor starts it again.
    #[doc(hidden)]
    pub fn fail(&self) {
        self.send(Command::Fail);
    }

    fn send(&self, command: Command) {
        // A thread that has ended drops the command and with it the reply: the caller sees that.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

impl Drop for Advertiser {
    fn drop(&mut self) {
        drop(self.stop());
    }
}
