//! What a client sees of a service while things fail: a probe every few milliseconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::error::{Context, Result};
use crate::host::Host;
use crate::web;

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// An HTTP `GET` of the path over a connection of its own; a status of 500 and above is lost.
    Http(String),
    /// A TCP connection, opened and closed.
    Tcp,
    /// A datagram from a socket of its own to a server that answers with its name, such as the built-in one.
    Udp,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was asked.
    pub at: Instant,
    /// The answer; `None` when there was none in time.
    pub answer: Option<Answered>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The server's name; empty for [`Probe::Tcp`].
    pub by: String,
    /// From the question to the end of the answer.
    pub took: Duration,
}

/// Asks in even steps, never waiting for an answer before it asks again.
///
/// A question without an answer within its limit is lost; an answer that comes later does not count.
pub struct Prober {
    records: Arc<Mutex<Vec<Sent>>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Starts asking `target` from `client`, every `step`, each question with `limit` to be answered.
    ///
    /// # Errors
    /// [`Error::HostDown`](crate::Error::HostDown), [`Error::System`](crate::Error::System).
    pub fn start(
        client: &Host,
        target: SocketAddr,
        probe: Probe,
        step: Duration,
        limit: Duration,
    ) -> Result<Self> {
        let records = Arc::<Mutex<Vec<Sent>>>::default();
        let (stop, stopped) = watch::channel(false);
        let into = Arc::clone(&records);
        let runtime = web::runtime()?;
        let thread = client
            .thread(move || runtime.block_on(ask(target, probe, step, limit, into, stopped)))?;
        Ok(Self { records, stop, thread: Some(thread) })
    }

    /// The questions so far that have been answered or lost.
    pub fn trace(&self) -> Trace {
        Trace::new(self.records.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Stops asking, waits for the last answers and returns everything.
    pub fn finish(mut self) -> Trace {
        self.end();
        self.trace()
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.end();
    }
}

async fn ask(
    target: SocketAddr,
    probe: Probe,
    step: Duration,
    limit: Duration,
    into: Arc<Mutex<Vec<Sent>>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(step.max(Duration::from_micros(100)));
    // After a pause of the machine there is nothing to catch up with: what was not asked was not lost.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let (probe, into) = (probe.clone(), Arc::clone(&into));
                open.spawn(async move {
                    let at = Instant::now();
                    let by = timeout(limit, once(target, &probe, limit)).await.ok().and_then(Result::ok);
                    let answer = by.map(|by| Answered { by, took: at.elapsed() });
                    into.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { at, answer });
                });
            }
            Some(_) = open.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    while open.join_next().await.is_some() {}
}

/// Asks once and says who answered.
async fn once(target: SocketAddr, probe: &Probe, limit: Duration) -> Result<String> {
    let what = || format!("ask {target}");
    match probe {
        Probe::Http(path) => {
            let answer = web::fetch(target, path, limit)
                .await
                .map_err(std::io::Error::other)
                .context(what)?;
            if answer.status.is_server_error() {
                return Err(std::io::Error::other(answer.status.to_string())).context(what);
            }
            Ok(answer.by)
        }
        Probe::Tcp => TcpStream::connect(target).await.map(|_| String::new()).context(what),
        Probe::Udp => {
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await.context(what)?;
            socket.connect(target).await.context(what)?;
            socket.send(b"?\n").await.context(what)?;
            let mut answer = [0; 256];
            let length = socket.recv(&mut answer).await.context(what)?;
            let answer =
                String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned();
            Ok(answer.trim_end().to_owned())
        }
    }
}

/// Questions in the order in which they were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    sent: Vec<Sent>,
}

impl Trace {
    /// Sorts them.
    pub fn new(mut sent: Vec<Sent>) -> Self {
        sent.sort_by_key(|sent| sent.at);
        Self { sent }
    }

    /// All of them.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Those asked at `from` or later, and before `to`.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        Self {
            sent: self
                .sent
                .iter()
                .filter(|sent| sent.at >= from && sent.at < to)
                .cloned()
                .collect(),
        }
    }

    /// Those that had no answer yet at `from`, and those asked after it and before `to`; `limit` is how
    /// long a question waits.
    #[must_use]
    pub fn open_between(&self, from: Instant, to: Instant, limit: Duration) -> Self {
        let open = |sent: &&Sent| {
            sent.at + sent.answer.as_ref().map_or(limit, |answer| answer.took) >= from
        };
        Self { sent: self.sent.iter().filter(|sent| sent.at < to).filter(open).cloned().collect() }
    }

    /// How many were answered.
    pub fn answered(&self) -> usize {
        self.sent.iter().filter(|sent| sent.answer.is_some()).count()
    }

    /// How many were lost.
    pub fn lost(&self) -> usize {
        self.sent.len() - self.answered()
    }

    /// How many each server answered, by name.
    pub fn by(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for answer in self.sent.iter().filter_map(|sent| sent.answer.as_ref()) {
            *count.entry(answer.by.clone()).or_default() += 1;
        }
        count
    }

    /// The longest time without an answer: from the last question answered before a run of lost ones to the first
    /// answered after it. Zero when none was lost; a run at either end counts from its first or to its last question.
    pub fn outage(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let mut good = self.sent.first().map(|sent| sent.at);
        let mut lost = false;
        for sent in &self.sent {
            lost |= sent.answer.is_none();
            if let (true, Some(good)) = (lost, good) {
                longest = longest.max(sent.at - good);
            }
            if sent.answer.is_some() {
                (good, lost) = (Some(sent.at), false);
            }
        }
        longest
    }

    /// When the last lost question was asked.
    pub fn last_lost(&self) -> Option<Instant> {
        self.sent.iter().rev().find(|sent| sent.answer.is_none()).map(|sent| sent.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(answers: &[Option<&str>]) -> (Instant, Trace) {
        let start = Instant::now();
        let sent = answers.iter().enumerate().map(|(n, by)| Sent {
            at: start + Duration::from_millis(10 * n as u64),
            answer: by.map(|by| Answered { by: by.to_owned(), took: Duration::ZERO }),
        });
        (start, Trace::new(sent.rev().collect()))
    }

    #[test]
    fn a_question_that_waits_when_a_fault_strikes_belongs_to_it() {
        let (start, seen) = trace(&[Some("a"), None, Some("a"), None]);
        let at = |ms| start + Duration::from_millis(ms);
        let open = seen.open_between(at(25), at(30), Duration::from_millis(20));
        assert_eq!((open.sent().len(), open.lost()), (1, 1));
        assert_eq!(seen.open_between(at(15), at(40), Duration::ZERO).sent().len(), 2);
    }

    #[test]
    fn an_outage_lasts_from_the_last_good_question_to_the_next_good_one() {
        let (start, seen) = trace(&[Some("a"), Some("b"), None, None, Some("b"), None, Some("b")]);
        assert_eq!(seen.outage(), Duration::from_millis(30));
        assert_eq!((seen.sent().len(), seen.answered(), seen.lost()), (7, 4, 3));
        assert_eq!(seen.by(), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 3)]));
        assert_eq!(seen.last_lost(), Some(start + Duration::from_millis(50)));
        let later =
            seen.between(start + Duration::from_millis(40), start + Duration::from_millis(60));
        assert_eq!((later.sent().len(), later.outage()), (2, Duration::from_millis(10)));
    }

    #[test]
    fn nothing_lost_is_no_outage_and_nothing_answered_is_all_of_it() {
        assert_eq!(trace(&[Some("a"); 5]).1.outage(), Duration::ZERO);
        assert_eq!(trace(&[None; 5]).1.outage(), Duration::from_millis(40));
        assert_eq!(trace(&[]).1.outage(), Duration::ZERO);
    }
}
