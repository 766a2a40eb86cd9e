//! Counts tracked processes: as the kernel tells of them where it does, else by looking.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lb_config::model::{Buffer, TrackProcess};
use lb_node::track::process::{is_meant, wants_command};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::connector::{Connector, Event};
use crate::advertiser::Observation;

/// Without word from the kernel all processes are looked at so often.
const LOOK: Duration = Duration::from_secs(1);
/// Events read at once: a storm of them must not keep the supervisor.
const BATCH: usize = 256;

/// Processes that are meant, each with the indices of the definitions that mean it.
type Found = HashMap<u32, Vec<usize>>;

/// Reports how many processes of each kind run, at once and whenever that changes, until `wanted`
/// is closed.
pub(super) fn start(
    wanted: watch::Receiver<Vec<TrackProcess>>,
    buffer: Buffer,
    results: mpsc::UnboundedSender<Observation>,
) -> impl Future<Output = ()> {
    // Before the first look, so that nothing is missed between.
    let source = match listen(buffer) {
        Ok((connector, readable)) => {
            tracing::debug!("the kernel tells of processes that begin and end");
            Source::Connector { connector, readable }
        }
        Err(error) => {
            tracing::debug!("looking for processes every {LOOK:?}: no connector: {error}");
            let mut ticks = interval_at(Instant::now() + LOOK, LOOK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Source::Looking(ticks)
        }
    };
    let mut processes = Processes { kinds: Vec::new(), found: Found::new(), results };
    processes.apply(&wanted.borrow());
    processes.follow(source, wanted)
}

fn listen(buffer: Buffer) -> io::Result<(Connector, AsyncFd<OwnedFd>)> {
    let connector = Connector::open(buffer)?;
    let readable = super::readable::watch(connector.as_fd())?;
    Ok((connector, readable))
}

enum Source {
    Connector { connector: Connector, readable: AsyncFd<OwnedFd> },
    Looking(Interval),
}

/// What happened.
enum News {
    /// The kernel has something to say.
    Events,
    /// These are all there are now, of these definitions.
    Looked(Vec<TrackProcess>, Found),
    /// The runtime ends.
    End,
}

impl Source {
    /// Cancel safe, but that a look may be for nothing.
    async fn news(&mut self, processes: &Processes) -> News {
        match self {
            Self::Connector { readable, .. } => match readable.readable().await {
                Ok(mut ready) => {
                    ready.clear_ready();
                    News::Events
                }
                Err(_) => News::End,
            },
            Self::Looking(ticks) => {
                ticks.tick().await;
                let definitions = processes.definitions();
                let looked = spawn_blocking(move || {
                    let found = look(&definitions);
                    News::Looked(definitions, found)
                });
                looked.await.unwrap_or(News::End)
            }
        }
    }
}

struct Processes {
    kinds: Vec<Kind>,
    found: Found,
    results: mpsc::UnboundedSender<Observation>,
}

/// Processes of one definition.
struct Kind {
    definition: TrackProcess,
    running: u32,
    /// The last one has come by a fork.
    forked: bool,
    /// What was reported last.
    reported: Option<u32>,
}

impl Processes {
    async fn follow(mut self, mut source: Source, mut wanted: watch::Receiver<Vec<TrackProcess>>) {
        loop {
            let news = tokio::select! {
                news = source.news(&self) => Some(news),
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return; // the supervisor has ended
                    }
                    None
                }
            };
            match (news, &source) {
                (None, _) => {
                    let wanted = wanted.borrow_and_update().clone();
                    self.apply(&wanted);
                }
                (Some(News::Events), Source::Connector { connector, .. }) => {
                    while !self.drain(connector) {
                        tokio::task::yield_now().await;
                    }
                }
                (Some(News::Looked(definitions, found)), _)
                    if definitions == self.definitions() =>
                {
                    self.replace(found);
                    self.report();
                }
                (Some(News::Events | News::Looked(..)), _) => {}
                (Some(News::End), _) => return,
            }
        }
    }

    fn definitions(&self) -> Vec<TrackProcess> {
        self.kinds.iter().map(|kind| kind.definition.clone()).collect()
    }

    /// Makes the definitions those that are wanted, and looks for them.
    fn apply(&mut self, wanted: &[TrackProcess]) {
        let mut old = std::mem::take(&mut self.kinds);
        self.kinds = (wanted.iter().cloned())
            .map(|definition| {
                let same = |kind: &Kind| kind.definition == definition;
                let known = old.iter().position(same).map(|index| old.swap_remove(index));
                known.unwrap_or(Kind { definition, running: 0, forked: false, reported: None })
            })
            .collect();
        self.replace(look(wanted));
        self.report();
    }

    /// Takes what waits, up to some. Whether that was all.
    fn drain(&mut self, connector: &Connector) -> bool {
        for _ in 0..BATCH {
            match connector.next() {
                Ok(Some(event)) => self.handle(event),
                Ok(None) => {
                    self.report();
                    return true;
                }
                Err(error) => {
                    // Nobody knows what the lost events said.
                    tracing::debug!("looking at all processes: {error}");
                    self.replace(look(&self.definitions()));
                }
            }
        }
        self.report();
        false
    }

    fn handle(&mut self, event: Event) {
        match event {
            // It costs nothing to know what a copy is.
            Event::Fork { parent, child } => {
                if let Some(kinds) = self.found.get(&parent).cloned() {
                    self.set(child, kinds, true);
                }
            }
            Event::Exec { pid } => {
                let definitions = self.kinds.iter().map(|kind| &kind.definition);
                let kinds = kinds_of(pid, definitions).unwrap_or_default();
                self.set(pid, kinds, false);
            }
            Event::Exit { pid } => self.set(pid, Vec::new(), false),
        }
    }

    /// A process is of these kinds now.
    fn set(&mut self, pid: u32, kinds: Vec<usize>, forked: bool) {
        let before = self.found.remove(&pid).unwrap_or_default();
        for index in before.iter().filter(|index| !kinds.contains(index)) {
            self.kinds[*index].running -= 1;
        }
        for index in kinds.iter().filter(|index| !before.contains(index)) {
            self.kinds[*index].running += 1;
            self.kinds[*index].forked = forked;
        }
        if !kinds.is_empty() {
            self.found.insert(pid, kinds);
        }
    }

    fn replace(&mut self, found: Found) {
        for (index, kind) in self.kinds.iter_mut().enumerate() {
            kind.running = found.values().filter(|kinds| kinds.contains(&index)).count() as u32;
            kind.forked = false;
        }
        self.found = found;
    }

    fn report(&mut self) {
        for kind in &mut self.kinds {
            let running = kind.running;
            if kind.reported.replace(running) != Some(running) {
                let name = kind.definition.name.clone();
                let forked = kind.forked;
                // The supervisor may have ended.
                let _ = self.results.send(Observation::Process { name, running, forked });
            }
        }
    }
}

/// All processes that are meant.
fn look(definitions: &[TrackProcess]) -> Found {
    let Ok(entries) = fs::read_dir("/proc") else { return Found::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let kinds = |pid| Some((pid, kinds_of(pid, definitions)?));
    pids.filter_map(kinds).filter(|(_, kinds)| !kinds.is_empty()).collect()
}

/// Which definitions mean a process; `None` when it has ended. `proc_pid_stat(5)`,
/// `proc_pid_cmdline(5)`.
fn kinds_of<'a>(
    pid: u32,
    definitions: impl IntoIterator<Item = &'a TrackProcess>,
) -> Option<Vec<usize>> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name = running_name(&stat)?;
    let mut line = None;
    let mut kinds = Vec::new();
    for (index, definition) in definitions.into_iter().enumerate() {
        let mut command = Vec::new();
        if wants_command(definition) {
            let line = line.get_or_insert_with(|| {
                fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
            });
            let words = line.strip_suffix(&[0]).unwrap_or(line);
            command.extend(words.split(|byte| *byte == 0));
        }
        if is_meant(definition, name, &command) {
            kinds.push(index);
        }
    }
    Some(kinds)
}

/// The name in a line `PID (NAME) STATE ...`; `None` of a process that has ended and only waits
/// for its parent.
fn running_name(stat: &[u8]) -> Option<&[u8]> {
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let running = !matches!(stat.get(end + 2)?, b'Z' | b'X');
    stat.get(begin..end).filter(|_| running)
}
