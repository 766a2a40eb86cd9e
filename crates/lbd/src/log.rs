//! Where log lines go: syslog, console and file, in keepalived's form.
//!
//! `tracing` events are formatted where they happen and written by a thread of their own, through
//! a queue that never blocks: a terminal that stands still or a syslog that hangs costs lines, not
//! advertisements. How many were lost is said when it runs again. What has gathered meanwhile, as
//! when thousands of instances change at once, goes into one write.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::iter;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;
/// Lines in one write.
const BATCH: usize = 256;
/// The C library's address of syslog; the console is never written in its place.
const SYSLOG: &str = "/dev/log";
/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// Where to log, and how much.
#[derive(Clone, Debug)]
pub struct Config {
    /// Also to stderr.
    pub console: bool,
    /// To syslog under this facility.
    pub syslog: Option<Facility>,
    /// Also to this file, appended.
    pub file: Option<PathBuf>,
    /// 0: what happens; 1: with details; 2: everything.
    pub detail: u8,
}

/// A syslog facility, as its number in RFC 3164 §4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl FromStr for Facility {
    type Err = String;

    /// `0` to `7` and `local0` to `local7`, `user`, `daemon`.
    fn from_str(text: &str) -> Result<Self, String> {
        let local =
            |digits: &str| digits.parse().ok().filter(|n| *n <= 7).map(|n: u8| Self(16 + n));
        match text {
            "user" => Some(Self(1)),
            "daemon" => Some(Self(3)),
            _ => local(text.strip_prefix("local").unwrap_or(text)),
        }
        .ok_or_else(|| "use 0 to 7, local0 to local7, user or daemon".to_owned())
    }
}

/// The running log. Its end writes what waits.
#[derive(Debug)]
pub struct Log {
    queue: Queue,
}

/// The near end of the queue, which takes memory only for lines that wait.
#[derive(Clone, Debug)]
struct Queue {
    sender: Sender<Message>,
    count: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    /// Lines in the queue.
    waiting: AtomicUsize,
    /// Lines that found it full since that was last said.
    lost: AtomicUsize,
}

enum Message {
    Line(Line),
    Flush(SyncSender<()>),
}

struct Line {
    at: Timestamp,
    level: Level,
    ident: &'static str,
    text: String,
}

impl Log {
    /// Starts logging for the whole process. May be called once.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread is to be had.
    pub fn start(config: &Config) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "lines that wait are counted, up to `QUEUE`")]
        let (sender, receiver) = mpsc::channel();
        let queue = Queue { sender, count: Arc::default() };
        let console = config.console;
        let file = config.file.as_deref().map(append).transpose()?;
        let syslog = config.syslog.map(Syslog::new);
        let count = Arc::clone(&queue.count);
        let writer = Writer { console, file, syslog, count, text: String::new() };
        thread::Builder::new().name("log".into()).spawn(move || writer.run(&receiver))?;
        let level = match config.detail {
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let layer = Lines { level, queue: queue.clone() };
        // Only a second log in one process could be in the way, and the first one serves.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(layer));
        Ok(Self { queue })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.queue.sender.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

impl Queue {
    fn put(&self, line: Line) {
        if self.count.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            // The writer lives as long as the process.
            let _ = self.sender.send(Message::Line(line));
        } else {
            self.count.waiting.fetch_sub(1, Ordering::Relaxed);
            self.count.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The name of the process that says the same in keepalived: filters of syslog go by it.
fn ident(target: &str) -> &'static str {
    let target = target.strip_prefix("lbd::").unwrap_or(target);
    let krate = target.split("::").next().unwrap_or(target);
    match krate {
        "advertiser" | "lb_node" | "lb_vrrp" | "lb_carp" | "lb_net" => "Keepalived_vrrp",
        "balancer" | "lb_check" | "lb_pool" | "lb_ipvs" | "lb_relay" => "Keepalived_healthcheckers",
        _ => "Keepalived",
    }
}

/// The `tracing` end.
struct Lines {
    level: LevelFilter,
    queue: Queue,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries below us explain themselves in errors; their own logs would repeat it.
        *metadata.level() <= self.level && metadata.target().starts_with("lb")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        self.queue.put(Line {
            at: Timestamp::now(),
            level: *metadata.level(),
            ident: ident(metadata.target()),
            text: text.0,
        });
    }
}

/// The message, then each field as ` name=value`.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

struct Writer {
    console: bool,
    file: Option<File>,
    syslog: Option<Syslog>,
    count: Arc<Count>,
    /// Lines that wait for the next write; kept for its memory.
    text: String,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            let mut flushes = Vec::new();
            for message in iter::once(first).chain(receiver.try_iter()).take(BATCH) {
                match message {
                    Message::Line(line) => {
                        self.count.waiting.fetch_sub(1, Ordering::Relaxed);
                        self.take(&line);
                    }
                    Message::Flush(done) => flushes.push(done),
                }
            }
            let lost = self.count.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let text =
                    format!("{lost} log lines were lost: the log could not be written fast enough");
                let (at, level, ident) = (Timestamp::now(), Level::WARN, ident(""));
                self.take(&Line { at, level, ident, text });
            }
            self.write();
            for done in flushes {
                let _ = done.send(());
            }
        }
    }

    fn take(&mut self, line: &Line) {
        // Here and not where it happened: the first look for the time zone reads directories.
        let at = line.at.to_zoned(TimeZone::system());
        if self.console || self.file.is_some() {
            let time = at.strftime("%a %b %e %H:%M:%S %Y");
            let severity = match line.level {
                // A complaint about a configuration names its place first, then its severity.
                _ if line.text.contains("error: ") || line.text.contains("warning: ") => "",
                Level::ERROR => "error: ",
                Level::WARN => "warning: ",
                _ => "",
            };
            // Writing to a string does not fail.
            let _ = writeln!(self.text, "{time}: {severity}{}", line.text);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.send(line, &at);
        }
    }

    /// There is nowhere to complain when a log cannot be written.
    fn write(&mut self) {
        if self.console {
            let _ = io::stderr().write_all(self.text.as_bytes());
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(self.text.as_bytes());
        }
        self.text.clear();
    }
}

/// The datagram socket of `syslog(3)`.
struct Syslog {
    facility: Facility,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    fn new(facility: Facility) -> Self {
        Self { facility, socket: Self::connect() }
    }

    fn connect() -> Option<UnixDatagram> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(FLUSH)).ok()?;
        socket.connect(SYSLOG).ok()?;
        Some(socket)
    }

    fn send(&mut self, line: &Line, at: &Zoned) {
        let severity = match line.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let datagram = format!(
            "<{}>{} {}[{}]: {}",
            self.facility.0 * 8 + severity,
            at.strftime("%b %e %H:%M:%S"),
            line.ident,
            process::id(),
            line.text
        );
        let sent =
            self.socket.as_ref().is_some_and(|socket| socket.send(datagram.as_bytes()).is_ok());
        if !sent {
            // It is started again like any other daemon.
            self.socket = Self::connect();
            if let Some(socket) = &self.socket {
                let _ = socket.send(datagram.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_are_those_of_keepalived() {
        assert_eq!("daemon".parse(), Ok(Facility(3)));
        assert_eq!("user".parse(), Ok(Facility(1)));
        assert_eq!("0".parse(), Ok(Facility(16)));
        assert_eq!("local7".parse(), Ok(Facility(23)));
        assert!("8".parse::<Facility>().is_err());
        assert!("local8".parse::<Facility>().is_err());
    }

    #[test]
    fn an_engine_speaks_under_the_name_of_its_counterpart() {
        assert_eq!(ident("lbd::advertiser::vips"), "Keepalived_vrrp");
        assert_eq!(ident("lb_net::socket"), "Keepalived_vrrp");
        assert_eq!(ident("lb_ipvs"), "Keepalived_healthcheckers");
        assert_eq!(ident("lbd::supervisor"), "Keepalived");
    }
}
