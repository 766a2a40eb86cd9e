//! Counts tracked processes: as the kernel tells of them where it does, else by looking.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lb_config::model::{Buffer, TrackProcess};
use lb_node::track::process::{is_meant, wants_command};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::connector::{Connector, Event};
use super::findings::Findings;
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
    results: Findings,
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
    results: Findings,
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
        let mut old = mem::take(&mut self.kinds);
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
                let forked = mem::take(&mut kind.forked);
                // The supervisor may have ended.
                self.results.put(Observation::Process { name, running, forked });
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::{Child, Command};

    use lb_config::model::ArgumentMatch;
    use tempfile::TempDir;

    use super::*;

    /// A program of which nobody else runs a copy, and who follows it.
    struct Scene {
        program: PathBuf,
        _dir: TempDir,
        _wanted: watch::Sender<Vec<TrackProcess>>,
        results: Findings,
        children: Vec<Child>,
    }

    impl Scene {
        fn new(listening: bool) -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            // A name of 12 letters, with what is different in its directory's.
            let unique = dir.path().file_name().unwrap().to_str().unwrap();
            let name = format!("nap-{}", unique.trim_start_matches(".tmp"));
            let program = dir.path().join(&name);
            fs::copy("/bin/sleep", &program).unwrap();
            let definition = TrackProcess {
                name: "p".into(),
                process: vec![name],
                arguments: ArgumentMatch::None,
                weight: 0,
                reverse: false,
                quorum: 1,
                quorum_max: None,
                terminate_delay: Duration::ZERO,
                fork_delay: Duration::ZERO,
                full_command: false,
            };
            let (wanted, receiver) = watch::channel(vec![definition]);
            let results = Findings::default();
            if listening {
                if let Err(error) = Connector::open(Buffer::default()) {
                    lb_skip::skip(format_args!("no connector: {error}"));
                    return None;
                }
                tokio::spawn(start(receiver, Buffer::default(), results.clone()));
            } else {
                let ticks = interval_at(Instant::now(), Duration::from_millis(20));
                let mut processes =
                    Processes { kinds: Vec::new(), found: Found::new(), results: results.clone() };
                processes.apply(&receiver.borrow());
                tokio::spawn(processes.follow(Source::Looking(ticks), receiver));
            }
            Some(Self { program, _dir: dir, _wanted: wanted, results, children: Vec::new() })
        }

        fn run(&mut self) {
            self.children.push(Command::new(&self.program).arg("1000").spawn().unwrap());
        }

        fn kill(&mut self) {
            self.children.remove(0).kill().unwrap(); // and not waited for: it stays a zombie
        }

        async fn running(&mut self) -> u32 {
            match self.results.next().await {
                Observation::Process { name, running, .. } if name == "p" => running,
                other => panic!("{other:?}"),
            }
        }

        async fn play(mut self) {
            assert_eq!(self.running().await, 0);
            self.run();
            assert_eq!(self.running().await, 1);
            self.run();
            assert_eq!(self.running().await, 2);
            self.kill();
            assert_eq!(self.running().await, 1);
            self.kill();
            assert_eq!(self.running().await, 0);
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            for child in &mut self.children {
                let _ = child.kill();
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_tells_of_every_beginning_and_end() {
        if let Some(scene) = Scene::new(true) {
            scene.play().await;
        }
    }

    #[tokio::test]
    async fn who_is_not_told_looks() {
        Scene::new(false).unwrap().play().await;
    }

    #[test]
    fn a_copy_is_what_its_parent_is_until_it_becomes_something_else() {
        let results = Findings::default();
        let definition = TrackProcess {
            name: "p".into(),
            process: vec!["/nowhere".into()],
            arguments: ArgumentMatch::None,
            weight: 0,
            reverse: false,
            quorum: 1,
            quorum_max: None,
            terminate_delay: Duration::ZERO,
            fork_delay: Duration::ZERO,
            full_command: true,
        };
        let kind = Kind { definition, running: 0, forked: false, reported: None };
        let mut processes =
            Processes { kinds: vec![kind], found: Found::new(), results: results.clone() };
        let said = |running, forked| Observation::Process { name: "p".into(), running, forked };
        // Numbers above any that the kernel gives.
        let [parent, child] = [u32::MAX - 1, u32::MAX];
        processes.set(parent, vec![0], false);
        processes.report();
        assert_eq!(results.take(), Some(said(1, false)));
        processes.handle(Event::Fork { parent, child });
        processes.report();
        assert_eq!(results.take(), Some(said(2, true)));
        processes.handle(Event::Exec { pid: child });
        processes.report();
        assert_eq!(results.take(), Some(said(1, false)));
        processes.handle(Event::Exit { pid: parent });
        processes.handle(Event::Exit { pid: child });
        processes.report();
        assert_eq!(results.take(), Some(said(0, false)));
    }

    #[test]
    fn a_name_may_hold_anything_and_the_dead_have_none() {
        assert_eq!(running_name(b"7 (nginx) S 1 7"), Some(&b"nginx"[..]));
        assert_eq!(running_name(b"7 (a) b (c) R 1"), Some(&b"a) b (c"[..]));
        assert_eq!(running_name(b"7 (nginx) Z 1 7"), None);
        assert_eq!(running_name(b"7 ngi"), None);
        assert_eq!(running_name(b")("), None);
    }
}
