//! `--record`: every input of the node to a file, without ever waiting for the disk.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_node::record::{Entry, FORMAT, Header, Line};
use lb_node::{Input, Node};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;

/// Lines that may wait for the disk.
const QUEUE: usize = 65_536;
/// After so long without a line those written are handed to the kernel.
const PAUSE: Duration = Duration::from_millis(200);

/// Where the lines go. All of its clones gone, the file is complete.
#[derive(Clone, Debug)]
pub struct Recorder(SyncSender<Line>);

impl Recorder {
    /// Makes the file, for its owner's eyes only as it holds passwords, and writes it on a thread
    /// of its own, which ends when every clone of the recorder is gone. A file that is there already is
    /// written anew if it is ours; a pipe or a device is written to.
    ///
    /// # Errors
    /// The file cannot be written, is a symbolic link or belongs to somebody else, or the thread does
    /// not start.
    pub fn create(path: &Path) -> io::Result<(Self, JoinHandle<()>)> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let found = file.metadata()?;
        if found.is_file() {
            // Its owner could read the passwords, and another name for it is somebody else's file.
            if found.uid() != geteuid().as_raw() || found.nlink() > 1 {
                let message = "it belongs to somebody else or has another name; remove it first";
                return Err(io::Error::other(message));
            }
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
            file.set_len(0)?;
        }
        let (lines, waiting) = mpsc::sync_channel(QUEUE);
        let path = path.to_owned();
        let writer = thread::Builder::new().name("lbd-record".into()).spawn(move || {
            if let Err(error) = write(file, &waiting) {
                tracing::error!(
                    "cannot write the record {}: {error}; recording ends",
                    path.display()
                );
            }
        })?;
        Ok((Self(lines), writer))
    }
}

fn write(file: File, lines: &Receiver<Line>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let mut text = Vec::new();
    loop {
        let line = match lines.recv_timeout(PAUSE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                file.flush()?;
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => return Ok(()),
                }
            }
            Err(RecvTimeoutError::Disconnected) => return file.flush(),
        };
        text.clear();
        line.emit(&mut text);
        file.write_all(&text)?;
    }
}

/// What a run of the advertiser is recorded with.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Where to.
    pub recorder: Recorder,
    /// The configuration that it starts with, as TOML.
    pub config: Arc<str>,
}

/// The thread's end of a recording. Without one it does nothing.
pub(super) struct Tape {
    recorder: Option<Recorder>,
    start: Instant,
    /// The configuration of the next reload.
    config: Arc<str>,
    /// Lines that found no room, and have not been told yet.
    lost: u64,
}

impl Tape {
    /// Opens a run: the node that is made of these.
    pub(super) fn new(
        recording: Option<&Recording>,
        start: Instant,
        (seed, number): (u64, u32),
        adopt: &BTreeSet<String>,
    ) -> Self {
        let mut tape = Self {
            recorder: recording.map(|recording| recording.recorder.clone()),
            start,
            config: recording.map(|recording| Arc::clone(&recording.config)).unwrap_or_default(),
            lost: 0,
        };
        if recording.is_some() {
            let header = Header {
                format: FORMAT,
                program: format!("lbd {}", env!("CARGO_PKG_VERSION")),
                wall: Timestamp::now(),
                monotonic: monotonic(),
                seed,
                adopt: adopt.clone(),
                number,
                config: tape.config.to_string(),
            };
            tape.write(start, Entry::Node(header));
        }
        tape
    }

    /// Notes what the node is about to be told at `now`.
    pub(super) fn note(&mut self, now: Instant, input: &Input<'_>, node: &Node) {
        if self.recorder.is_none() {
            return;
        }
        let entry = match input {
            // What does nothing need not be told again.
            Input::Timer if node.deadline().is_none_or(|deadline| deadline > now) => return,
            Input::Reload(_) => Entry::Reload { config: self.config.to_string() },
            input => match Entry::of(input) {
                Some(entry) => entry,
                None => return,
            },
        };
        self.write(now, entry);
    }

    /// The next reload will be to this configuration.
    pub(super) fn announce(&mut self, config: Arc<str>) {
        self.config = config;
    }

    /// The node has ended in order.
    pub(super) fn end(&mut self, now: Instant) {
        self.write(now, Entry::End);
    }

    fn write(&mut self, now: Instant, entry: Entry) {
        let at = u64::try_from(now.duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        if self.lost > 0 {
            let gap = Line { at, entry: Entry::Gap { lost: self.lost } };
            if !self.send(gap) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if !self.send(Line { at, entry }) {
            self.lost += 1;
        }
    }

    /// Whether there was room.
    fn send(&mut self, line: Line) -> bool {
        let Some(recorder) = &self.recorder else { return true };
        match recorder.0.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                // The writer has said why.
                self.recorder = None;
                true
            }
        }
    }
}

/// The monotonic clock, in nanoseconds.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_node::Plan;

    fn recording(recorder: Recorder) -> Recording {
        Recording { recorder, config: "[global]\n".into() }
    }

    fn entries(text: &str) -> Vec<Entry> {
        text.lines().map(|line| Line::parse(line.as_bytes()).unwrap().entry).collect()
    }

    #[test]
    fn what_is_told_is_in_the_file_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        std::fs::write(&path, "of another day").unwrap();
        let (recorder, writer) = Recorder::create(&path).unwrap();
        let start = Instant::now();
        let mut tape = Tape::new(Some(&recording(recorder)), start, (7, 0), &BTreeSet::new());
        let node = Node::new(Plan::default(), &BTreeSet::new(), 7);
        tape.note(start, &Input::Start, &node);
        tape.note(start, &Input::Timer, &node); // nothing is due
        tape.announce("[other]\n".into());
        tape.note(start + Duration::from_nanos(5), &Input::Reload(Plan::default()), &node);
        tape.end(start + Duration::from_nanos(9));
        drop(tape);
        writer.join().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let entries = entries(&text);
        assert!(matches!(&entries[0], Entry::Node(header) if header.config == "[global]\n"));
        assert_eq!(
            entries[1..],
            [Entry::Start, Entry::Reload { config: "[other]\n".into() }, Entry::End]
        );
        assert!(text.ends_with("{\"t\":9,\"what\":\"end\"}\n"), "{text}");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_link_or_a_file_of_somebody_else_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (link, precious) = (dir.path().join("link"), dir.path().join("precious"));
        std::fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        assert!(Recorder::create(&link).is_err());
        std::fs::remove_file(&link).unwrap();
        std::fs::hard_link(&precious, &link).unwrap();
        assert!(Recorder::create(&link).is_err());
        std::fs::remove_file(&link).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&precious, Some(65534), None).unwrap();
            assert!(Recorder::create(&precious).is_err());
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn a_full_queue_leaves_a_gap_that_is_told() {
        let (lines, waiting) = mpsc::sync_channel(2);
        let start = Instant::now();
        let mut tape =
            Tape::new(Some(&recording(Recorder(lines))), start, (7, 0), &BTreeSet::new());
        let node = Node::new(Plan::default(), &BTreeSet::new(), 7);
        for _ in 0..4 {
            tape.note(start, &Input::Start, &node); // one finds room, three do not
        }
        let mut told: Vec<Entry> = waiting.try_iter().skip(1).map(|line| line.entry).collect();
        tape.note(start, &Input::Stop, &node);
        told.extend(waiting.try_iter().map(|line| line.entry));
        assert_eq!(told, [Entry::Start, Entry::Gap { lost: 3 }, Entry::Stop]);
        drop(waiting);
        tape.end(start); // whom nobody reads any more
        assert!(tape.recorder.is_none());
    }
}
