//! The signals of keepalived's parent process.

use std::io;

use libc::{SIGRTMAX, SIGRTMIN};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::dump::Dump;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// HUP.
    Reload,
    /// TERM and INT.
    Stop,
    /// USR1, USR2, RTMIN+2, and with `clear` RTMAX−1.
    Dump {
        /// Which file.
        dump: Dump,
        /// Counters start at 0 again.
        clear: bool,
    },
    /// RTMAX.
    ThreadDump,
}

/// Names that `--signum` knows, and their numbers.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    Some(match name {
        "STOP" => libc::SIGTERM,
        "RELOAD" => libc::SIGHUP,
        "DATA" => libc::SIGUSR1,
        "STATS" => libc::SIGUSR2,
        "STATS_CLEAR" => SIGRTMAX() - 1,
        "JSON" => SIGRTMIN() + 2,
        "TDUMP" => SIGRTMAX(),
        _ => return None,
    })
}

/// The signals as they come. SIGPIPE is ignored by the language's runtime.
#[derive(Debug)]
pub struct Signals {
    ignore_sigint: bool,
    hup: Stream,
    term: Stream,
    int: Stream,
    usr1: Stream,
    usr2: Stream,
    json: Stream,
    clear: Stream,
    threads: Stream,
}

impl Signals {
    /// Takes the signals over from here on.
    ///
    /// # Errors
    /// As `sigaction(2)`.
    pub fn new(ignore_sigint: bool) -> io::Result<Self> {
        let raw = |number| signal(SignalKind::from_raw(number));
        Ok(Self {
            ignore_sigint,
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            json: raw(SIGRTMIN() + 2)?,
            clear: raw(SIGRTMAX() - 1)?,
            threads: raw(SIGRTMAX())?,
        })
    }

    /// Waits until one says to stop. What others ask for is kept. Cancel safe.
    pub async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => {
                    if !self.ignore_sigint {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for the next one. Several of a kind that came meanwhile count as one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        let dump = |dump| Signal::Dump { dump, clear: false };
        loop {
            return tokio::select! {
                biased;
                _ = self.term.recv() => Signal::Stop,
                _ = self.int.recv() => {
                    if self.ignore_sigint {
                        continue;
                    }
                    Signal::Stop
                }
                _ = self.hup.recv() => Signal::Reload,
                _ = self.usr1.recv() => dump(Dump::Data),
                _ = self.usr2.recv() => dump(Dump::Stats),
                _ = self.json.recv() => dump(Dump::Json),
                _ = self.clear.recv() => Signal::Dump { dump: Dump::Stats, clear: true },
                _ = self.threads.recv() => Signal::ThreadDump,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_c_library() {
        // language of scripts: kill -36, kill -63
        assert_eq!(number("JSON"), Some(36));
        assert_eq!(number("STATS_CLEAR"), Some(63));
        assert_eq!(number("RELOAD"), Some(1));
        assert_eq!(number("stop"), None);
    }
}
