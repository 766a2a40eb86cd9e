//! Where log lines go: syslog, console and file, in keepalived's form.
//!
//! `tracing` events are formatted where they happen and written by a thread of their own, through
//! a queue that never blocks: a terminal that stands still or a syslog that hangs costs lines, not
//! advertisements. How many were lost is said when it runs again.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;
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
    sender: SyncSender<Message>,
}

enum Message {
    Line(Line),
    Flush(SyncSender<()>),
}

struct Line {
    at: Zoned,
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
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let lost = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            console: config.console,
            file: config.file.as_deref().map(append).transpose()?,
            syslog: config.syslog.map(Syslog::new),
            lost: Arc::clone(&lost),
        };
        thread::Builder::new().name("log".into()).spawn(move || writer.run(&receiver))?;
        let level = match config.detail {
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let layer = Lines { level, sender: sender.clone(), lost };
        // Only a second log in one process could be in the way, and the first one serves.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(layer));
        Ok(Self { sender })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
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
        "advertiser" | "lb_vrrp" | "lb_carp" | "lb_net" => "Keepalived_vrrp",
        "balancer" | "lb_check" | "lb_pool" | "lb_ipvs" | "lb_relay" => "Keepalived_healthcheckers",
        _ => "Keepalived",
    }
}

/// The `tracing` end.
struct Lines {
    level: LevelFilter,
    sender: SyncSender<Message>,
    lost: Arc<AtomicUsize>,
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
        let line = Line {
            at: Zoned::now(),
            level: *metadata.level(),
            ident: ident(metadata.target()),
            text: text.0,
        };
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
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
    lost: Arc<AtomicUsize>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Line(line) => self.write(&line),
                Message::Flush(done) => {
                    let _ = done.send(());
                }
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.write(&Line {
                    at: Zoned::now(),
                    level: Level::WARN,
                    ident: ident(""),
                    text: format!(
                        "{lost} log lines were lost: the log could not be written fast enough"
                    ),
                });
            }
        }
    }

    /// There is nowhere to complain when a log cannot be written.
    fn write(&mut self, line: &Line) {
        let time = line.at.strftime("%a %b %e %H:%M:%S %Y");
        let severity = match line.level {
            // A complaint about a configuration names its place first, then its severity.
            _ if line.text.contains("error: ") || line.text.contains("warning: ") => "",
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        if self.console {
            let _ = io::stderr().write_all(format!("{time}: {severity}{}\n", line.text).as_bytes());
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{time}: {severity}{}\n", line.text).as_bytes());
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.send(line);
        }
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

    fn send(&mut self, line: &Line) {
        let severity = match line.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let datagram = format!(
            "<{}>{} {}[{}]: {}",
            self.facility.0 * 8 + severity,
            line.at.strftime("%b %e %H:%M:%S"),
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
