//! A program that runs in a host.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};

/// A command to run in a host.
///
/// A name without a slash is looked for in the directories of [`Options::path`](crate::Options::path), then in `PATH`.
/// The working directory is `/`.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
}

impl Program {
    /// A command and its arguments.
    pub fn new(argv: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), env: BTreeMap::new() }
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), Some(value.into()));
        self
    }

    /// The command as one line.
    pub(crate) fn line(&self) -> String {
        self.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// What std needs to start it; `program` is what [`find`] found.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(self.argv.iter().skip(1)).current_dir("/").stdin(Stdio::null());
        // What the service manager of the machine told us is not meant for a host of ours.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

impl<T: Into<OsString>, const N: usize> From<[T; N]> for Program {
    fn from(argv: [T; N]) -> Self {
        Self::new(argv)
    }
}

impl<T: Into<OsString> + Clone> From<&[T]> for Program {
    fn from(argv: &[T]) -> Self {
        Self::new(argv.iter().cloned())
    }
}

impl<T: Into<OsString>> From<Vec<T>> for Program {
    fn from(argv: Vec<T>) -> Self {
        Self::new(argv)
    }
}

/// Finds the file of a program: as it is when it has a slash, else in `first`, else in `PATH`.
pub(crate) fn find(program: Option<&OsString>, first: &[PathBuf]) -> Result<PathBuf> {
    let program = program.map_or(Path::new(""), Path::new);
    if program.components().count() > 1 || program.is_absolute() {
        return Ok(program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The daemons are in sbin, which ordinary users often lack in PATH.
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let dirs: Vec<PathBuf> =
        first.iter().cloned().chain(std::env::split_paths(&path)).chain(sbin).collect();
    dirs.iter()
        .map(|dir| dir.join(program))
        .find(|file| !program.as_os_str().is_empty() && file.is_file())
        .ok_or_else(|| Error::NoProgram {
            program: program.display().to_string(),
            looked: dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":"),
        })
}

/// A line a program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Without its end.
    pub text: String,
}

/// A program that runs, or ran, in a host. Clones are handles of the same program; dropping them leaves it alone.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    command: String,
    pid: Pid,
    state: Mutex<State>,
    changed: Condvar,
}

/// A program that has just been started.
pub(crate) struct Started {
    child: Child,
    output: io::PipeReader,
    /// Our end of the pipe it writes to, for [`END`].
    ours: io::PipeWriter,
}

/// Written to a program's pipe after its end: what is read before it was written by the program.
const END: &[u8] = b"\0end of program\0\n";

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    /// Standard output and error are both at their end.
    silent: bool,
    /// Everything it wrote before its end is in `lines`.
    read_to_end: bool,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts it. Runs on a thread whose children live in the host; [`Process::watch`] does the rest elsewhere.
    pub(crate) fn start(mut command: Command) -> io::Result<Started> {
        let (output, write) = io::pipe()?;
        let ours = write.try_clone()?;
        command.stdout(write.try_clone()?).stderr(write).process_group(0);
        Ok(Started { child: command.spawn()?, output, ours })
    }

    /// Follows what it writes and when it ends.
    pub(crate) fn watch(line: String, started: Started) -> Result<Self> {
        let Started { mut child, output, mut ours } = started;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let shared = Arc::new(Shared {
            command: line,
            pid,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let reader = Arc::clone(&shared);
        let start = |name: &str, f: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .stack_size(128 << 10)
                .spawn(f)
                .context(|| "start a thread".into())
        };
        start(
            "output",
            Box::new(move || {
                let mut output = BufReader::new(output);
                let mut line = Vec::new();
                while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
                    let (written, ended) = match line.strip_suffix(END) {
                        Some(written) => (written, true),
                        None => (line.as_slice(), false),
                    };
                    let text = String::from_utf8_lossy(written);
                    let text = text.trim_end_matches(['\n', '\r']).to_owned();
                    let mut state = reader.lock();
                    if !(ended && text.is_empty()) {
                        state.lines.push(Line { at: Instant::now(), text });
                    }
                    state.read_to_end |= ended;
                    drop(state);
                    reader.changed.notify_all();
                    line.clear();
                }
                let mut state = reader.lock();
                (state.silent, state.read_to_end) = (true, true);
                drop(state);
                reader.changed.notify_all();
            }),
        )?;
        let waiter = Arc::clone(&shared);
        start(
            "life",
            Box::new(move || {
                // Reaped below under the lock, so that nobody signals a pid that is somebody else's already.
                while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
                    == Err(nix::Error::EINTR)
                {}
                // Who learns that it has ended finds everything it wrote.
                if ours.write_all(END).is_ok() {
                    drop(ours);
                    waiter.until(None, |state| state.read_to_end.then_some(()));
                }
                let mut state = waiter.lock();
                state.status = Some(child.wait().unwrap_or(ExitStatus::from_raw(0)));
                drop(state);
                waiter.changed.notify_all();
            }),
        )?;
        Ok(Self { shared })
    }

    /// The command, as one line.
    pub fn command(&self) -> &str {
        &self.shared.command
    }

    /// Its process id as the rest of the machine sees it; within the host it has another.
    pub fn pid(&self) -> Pid {
        self.shared.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`Error::System`] with `ESRCH` when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let state = self.shared.lock();
        let what = || format!("send {signal} to `{}`", self.command());
        if state.status.is_some() {
            return Err(nix::Error::ESRCH).context(what);
        }
        signal::kill(self.pid(), signal).context(what)
    }

    /// Kills it and waits until it is gone; nothing to do when it has ended.
    pub fn kill(&self) {
        if self.signal(Signal::SIGKILL).is_ok() {
            self.shared.until(None, |state| state.status);
        }
    }

    /// How it ended; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.lock().status
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        self.shared.until(Some(timeout), |state| state.status).ok_or_else(|| Error::Timeout {
            what: format!("the end of `{}`", self.command()),
            timeout,
        })
    }

    /// What it has written so far to standard output and error, with the time of each line.
    pub fn lines(&self) -> Vec<Line> {
        self.shared.lock().lines.clone()
    }

    /// The same as one text.
    pub fn output(&self) -> String {
        self.shared.lock().lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
    }

    /// Its last `count` lines, as one text.
    pub fn tail(&self, count: usize) -> String {
        let state = self.shared.lock();
        let skip = state.lines.len().saturating_sub(count);
        state.lines.iter().skip(skip).map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Waits for a line that contains `needle`, among those written already too, and returns the first.
    ///
    /// # Errors
    /// [`Error::Timeout`], also at once when the program has closed its output without such a line.
    pub fn wait_for_line(&self, needle: &str, timeout: Duration) -> Result<Line> {
        self.wait_for_line_after(0, needle, timeout)
    }

    /// The same without the first `skip` lines, such as [`Process::lines`]'s number of a moment ago.
    ///
    /// # Errors
    /// As [`Process::wait_for_line`].
    pub fn wait_for_line_after(
        &self,
        skip: usize,
        needle: &str,
        timeout: Duration,
    ) -> Result<Line> {
        self.shared
            .until(Some(timeout), |state| {
                let found =
                    state.lines.iter().skip(skip).find(|line| line.text.contains(needle)).cloned();
                (found.is_some() || state.silent).then_some(found)
            })
            .flatten()
            .ok_or_else(|| Error::Timeout {
                what: format!(
                    "a line with `{needle}` from `{}`, whose last lines are\n{}\nand which",
                    self.command(),
                    self.tail(20)
                ),
                timeout,
            })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until<T>(
        &self,
        timeout: Option<Duration>,
        mut done: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        loop {
            if let Some(value) = done(&state) {
                return Some(value);
            }
            state = match end.map(|end| end.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("command", &self.shared.command)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
