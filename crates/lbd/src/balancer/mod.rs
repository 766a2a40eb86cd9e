//! The balancer engine: checks servers, keeps their health, and programs the dataplane.
//!
//! It runs in a thread of its own with a runtime of its own, so that nothing it does can delay an
//! advertisement. The supervisor holds a [`Balancer`] and speaks to the thread by messages.

mod originals;
mod owners;
mod plan;
mod plane;
mod pool;
mod presence;
mod shortage;
mod status;
mod sync;

use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lb_config::model::Scheduling;
use lb_control::status::{Relay, StateSync, VirtualServer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

pub use plan::Plan;
pub use pool::Legacy;

use crate::engine::{EventSink, panic_message};
use crate::mailbox::{Inbox, Message, Sender, mailbox};
use pool::Pool;
use sync::{Kernel, Synchroniser};

/// How often the dataplane is asked whether its table is still as it should be.
const AUDIT: Duration = Duration::from_secs(1);

/// `--dataplane`: who forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataplaneChoice {
    /// The kernel if it has IPVS and we may use it, else this process.
    #[default]
    Auto,
    /// The kernel.
    Ipvs,
    /// This process.
    Relay,
    /// Nobody: health checks and notifications alone.
    None,
}

/// How the engine works, whatever its configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who forwards.
    pub dataplane: DataplaneChoice,
    /// `-I`: a stop leaves the entries in IPVS.
    pub dont_release_ipvs: bool,
    /// What the engine left whose place this one takes: it goes on with the health that was known
    /// and with the kernel's table, empties nothing, and takes a server that nothing is known of
    /// for up until a check says otherwise.
    pub legacy: Option<Legacy>,
    /// Where the kernel's timeouts are kept while others are in force, for one who comes after a crash.
    pub originals: Option<PathBuf>,
    /// Scheduling of the engine's thread.
    pub scheduling: Scheduling,
    /// Determines the start jitter of the checkers.
    pub seed: u64,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host gave no thread or no epoll instance.
    #[error("cannot start the balancer's thread")]
    Thread(#[from] io::Error),
    /// IPVS was asked for and cannot be had.
    #[error("dataplane ipvs: {0}")]
    Ipvs(#[source] lb_ipvs::Error),
    /// The relay cannot start.
    #[error("dataplane relay: {0}")]
    Relay(#[source] lb_relay::Error),
    /// There can be no checks.
    #[error("cannot check servers")]
    Checks(#[from] lb_check::Error),
    /// The thread failed before it had begun.
    #[error("the balancer failed while starting: {0}")]
    Panic(String),
}

enum Command {
    Apply(Box<Plan>, oneshot::Sender<Result<(), String>>),
    Status(oneshot::Sender<Snapshot>),
    Send(bool),
    Stop(oneshot::Sender<()>),
    Panic(String),
}

/// Commands that wait at most. One that finds no room is dropped, and with it its reply.
const COMMANDS: usize = 256;

impl Message for Command {
    const MERGES: bool = true;

    fn voids(&self, earlier: &Self) -> bool {
        matches!((self, earlier), (Self::Send(_), Self::Send(_)))
    }

    fn always(&self) -> bool {
        matches!(self, Self::Apply(..) | Self::Send(_) | Self::Stop(_) | Self::Panic(_))
    }
}

/// What the engine says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Who forwards: `ipvs`, `relay` or `none`.
    pub dataplane: String,
    /// How full the relay is, if that is it.
    pub relay: Option<Relay>,
    /// In the order of the configuration.
    pub virtual_servers: Vec<VirtualServer>,
    /// How connections are copied to the other director, if that is configured.
    pub state_sync: Option<StateSync>,
}

/// The running engine. Dropping it stops the engine without waiting for its end.
#[derive(Debug)]
pub struct Balancer {
    commands: Sender<Command>,
    panics: mpsc::Receiver<(String, Option<Legacy>)>,
    legacy: Option<Legacy>,
}

impl Balancer {
    /// Starts the engine. Returns when the dataplane has the first table.
    ///
    /// # Errors
    /// When there is no thread, or not the dataplane that was asked for.
    pub fn start(plan: Plan, options: Options, events: EventSink) -> Result<Self, Error> {
        let (commands, inbox) = mailbox(COMMANDS);
        let (panicked, panics) = mpsc::channel(1);
        // A result, and a panic after it.
        let (started, wait) = std::sync::mpsc::sync_channel(2);
        let farewell = started.clone();
        thread::Builder::new().name("lbd-balancer".to_owned()).spawn(move || {
            let mut pool = None; // outlives a panic
            let engine = || run(plan, options, events, inbox, &started, &mut pool);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(engine)) {
                let message = panic_message(payload.as_ref());
                let _ = farewell.try_send(Err(Error::Panic(message.clone()))); // heard while starting
                let _ = panicked.try_send((message, pool.map(Pool::into_legacy))); // and later
            }
        })?;
        match wait.recv() {
            Ok(Ok(())) => Ok(Self { commands, panics, legacy: None }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Panic("it ended".to_owned())),
        }
    }

    /// Puts another configuration in force: only what differs reaches the dataplane, and what is
    /// the same keeps its health. The answer says why it cannot be; all is as before then.
    pub fn apply(&self, plan: Plan) -> oneshot::Receiver<Result<(), String>> {
        self.send(|reply| Command::Apply(Box::new(plan), reply))
    }

    /// Asks how it is.
    pub fn status(&self) -> oneshot::Receiver<Snapshot> {
        self.send(Command::Status)
    }

    /// Where an instance decides that: this host's connections are sent from now on, or others' are taken.
    pub fn sends(&self, sends: bool) {
        let _ = self.commands.send(Command::Send(sends)); // gone is as good
    }

    /// Stops the engine: notifications of `omega`, scripts ended, entries removed. The answer
    /// comes when all is done.
    pub fn stop(&self) -> oneshot::Receiver<()> {
        self.send(Command::Stop)
    }

    /// Waits until the engine fails and says why. Never resolves for one that was stopped.
    pub async fn ended(&mut self) -> String {
        match self.panics.recv().await {
            Some((message, legacy)) => {
                self.legacy = legacy;
                message
            }
            None => pending().await,
        }
    }

    /// What it has left to another engine; after [`Balancer::ended`].
    pub fn take_legacy(&mut self) -> Option<Legacy> {
        self.legacy.take()
    }

    /// Makes the engine fail, to test what the supervisor makes of it.
    #[doc(hidden)]
    pub fn fail(&self, message: &str) {
        let _ = self.commands.send(Command::Panic(message.to_owned())); // gone is as good
    }

    fn send<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        // Where the engine has ended, dropping the command closes the answer.
        let _ = self.commands.send(command(reply));
        answer
    }
}

/// The thread.
fn run(
    mut plan: Plan,
    options: Options,
    events: EventSink,
    inbox: Inbox<Command>,
    started: &std::sync::mpsc::SyncSender<Result<(), Error>>,
    pool: &mut Option<Pool>,
) {
    schedule(options.scheduling);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        let mut synchroniser = Synchroniser::new(options.dataplane, events.clone());
        let wanted = plan.sync.take();
        let result = match Pool::new(options, events) {
            Ok(new) => pool.insert(new).start(plan),
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        if !failed {
            synchroniser.apply(wanted);
        }
        let _ = started.send(result);
        if failed {
            return;
        }
        let stopped = match pool.as_mut() {
            Some(pool) => {
                pool.log_checks();
                serve(pool, &mut synchroniser, inbox).await
            }
            None => None,
        };
        synchroniser.stop();
        if let Some(pool) = pool.take() {
            pool.stop().await;
        }
        if let Some(reply) = stopped {
            let _ = reply.send(());
        }
    });
}

/// What is refused is told, and the engine works all the same.
fn schedule(Scheduling { nice, realtime, no_swap }: Scheduling) {
    let complain = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            warn!("cannot set {what} of the balancer: {error}");
        }
    };
    if let Some(nice) = nice {
        complain("the nice value", lb_net::set_nice(nice));
    }
    if let Some(priority) = realtime {
        complain("the real-time priority", lb_net::set_realtime(priority));
    }
    if no_swap {
        complain("the memory lock", lb_net::lock_memory());
    }
}

/// Works until it is told to stop (and then returns where to say that it is done), or forgotten.
async fn serve(
    pool: &mut Pool,
    synchroniser: &mut Synchroniser<Kernel>,
    mut inbox: Inbox<Command>,
) -> Option<oneshot::Sender<()>> {
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = Vec::new();
    loop {
        tokio::select! {
            biased;
            command = inbox.recv() => match command {
                Some(Command::Apply(mut plan, reply)) => {
                    let wanted = plan.sync.take();
                    let result = pool.apply(*plan).map_err(|error| error.to_string());
                    let in_force = result.is_ok();
                    if in_force {
                        synchroniser.apply(wanted);
                    }
                    let _ = reply.send(result); // who asked may have gone
                    if in_force {
                        pool.log_checks();
                    }
                }
                Some(Command::Status(reply)) => {
                    let state_sync = synchroniser.status();
                    let _ = reply.send(Snapshot { state_sync, ..pool.status() });
                }
                Some(Command::Send(sends)) => {
                    synchroniser.send(sends);
                }
                Some(Command::Panic(message)) => panic!("{message}"),
                Some(Command::Stop(reply)) => return Some(reply),
                None => return None,
            },
            result = presence::changed(pool.presence.as_mut()) => pool.addresses_changed(result),
            () = pool.checks.next(&mut reports) => pool.take(&mut reports),
            _ = audit.tick(), if pool.wants_audits() || synchroniser.wants_audits() => {
                pool.audit();
                synchroniser.audit();
            }
        }
    }
}
