//! All probes under way, and until when each of them may take. No clock, no I/O but through their wires.
//!
//! A probe is looked at when its connection is ready and when its time is over, and not otherwise:
//! thousands that hang cost nothing while they hang.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::flight::{Flight, Question, Shared, Wait, Wire};
use crate::{Id, Outcome, tls};

/// A probe takes at most this many times its timeout, however steadily its server drips: five waits
/// are enough for connection, handshake, head and body, and with the defaults (5 s, and a run each
/// 60 s) the verdict on a server that drips comes before the next run is due. keepalived has no such
/// limit and waits for as long as something comes.
pub(crate) const WAITS: u32 = 5;

/// Probes under way.
pub(crate) struct Flights<W> {
    flying: HashMap<Id, Box<Timed<W>>>,
    /// One element for each of them.
    alarms: BTreeSet<(Instant, Id)>,
    shared: Shared,
}

struct Timed<W> {
    flight: Flight<W>,
    begun: Instant,
    /// What it waits for.
    wait: Wait,
    /// When this wait is over.
    until: Instant,
    /// When it is looked at: no later than that.
    alarm: Instant,
    /// When all its time is over.
    end: Instant,
}

/// A probe that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub id: Id,
    pub begun: Instant,
    pub outcome: Outcome,
}

/// What to do with the connection of a probe that goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// As before.
    Stay,
    /// Watch it for something else from now on.
    Watch(Wait),
    /// Nothing: there is no such probe.
    Gone,
    /// The probe is over.
    Over(Ended),
}

impl<W: Wire> Flights<W> {
    pub(crate) fn new(tls: tls::Client) -> Self {
        Self { flying: HashMap::new(), alarms: BTreeSet::new(), shared: Shared::new(tls) }
    }

    pub(crate) fn len(&self) -> usize {
        self.flying.len()
    }

    /// Begins a probe over a connection that has been begun. Where it has to wait, returns what to
    /// watch its connection for; [`Flights::wire`] has it.
    pub(crate) fn begin(&mut self, id: Id, now: Instant, wire: W, question: Question) -> Next {
        let mut flight = Flight::new(wire, question);
        let wait = match flight.advance(&mut self.shared, false) {
            Ok(wait) => wait,
            Err(outcome) => return Next::Over(Ended { id, begun: now, outcome }),
        };
        flight.moved();
        let timeout = flight.timeout();
        let until = now + timeout;
        let end = now + timeout.saturating_mul(WAITS);
        let timed = Timed { flight, begun: now, wait, until, alarm: until, end };
        self.alarms.insert((until, id));
        if let Some(before) = self.flying.insert(id, Box::new(timed)) {
            self.alarms.remove(&(before.alarm, id));
        }
        Next::Watch(wait)
    }

    /// The connection of a probe.
    pub(crate) fn wire(&self, id: Id) -> Option<&W> {
        Some(self.flying.get(&id)?.flight.wire())
    }

    /// Goes on with a probe whose connection is ready; `hangup` says that nothing will come after
    /// what is there.
    pub(crate) fn ready(&mut self, id: Id, now: Instant, hangup: bool) -> Next {
        let Some(timed) = self.flying.get_mut(&id) else { return Next::Gone };
        match timed.flight.advance(&mut self.shared, hangup) {
            Err(outcome) => self.over(id, outcome),
            Ok(wait) => {
                if timed.flight.moved() {
                    timed.until = (now + timed.flight.timeout()).min(timed.end);
                }
                if std::mem::replace(&mut timed.wait, wait) == wait {
                    Next::Stay
                } else {
                    Next::Watch(wait)
                }
            }
        }
    }

    /// When [`Flights::expire`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Ends one of the probes whose time is over, if there is any.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Ended> {
        while let Some(&(at, id)) = self.alarms.first().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, id));
            let Some(timed) = self.flying.get_mut(&id) else { continue };
            if timed.until > now {
                timed.alarm = timed.until;
                self.alarms.insert((timed.until, id));
                continue;
            }
            let timed = self.flying.remove(&id)?;
            return Some(Ended { id, begun: timed.begun, outcome: timed.flight.overdue() });
        }
        None
    }

    /// Ends a probe for a reason of this host, or because nobody wants to know any more.
    pub(crate) fn end(&mut self, id: Id, outcome: Outcome) -> Next {
        if self.flying.contains_key(&id) { self.over(id, outcome) } else { Next::Gone }
    }

    fn over(&mut self, id: Id, outcome: Outcome) -> Next {
        match self.flying.remove(&id) {
            Some(timed) => {
                self.alarms.remove(&(timed.alarm, id));
                Next::Over(Ended { id, begun: timed.begun, outcome })
            }
            None => Next::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, ErrorKind, Read, Write};
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::spec::{Connection, Http, HttpVersion, Url};
    use crate::{Failure, tls};

    const TIMEOUT: Duration = Duration::from_secs(2);
    /// Milliseconds; all that happens here happens at a multiple of them.
    const STEP: u64 = 10;
    const HEAD: &[u8] = b"HTTP/1.0 200 OK\r\n\r\n";
    const UP: Outcome = Outcome::Up { weight: None };

    /// What a server does, in milliseconds since the connection was begun.
    #[derive(Clone, Debug)]
    struct Server {
        /// It takes the connection.
        connects: Option<u64>,
        /// It sends this; nothing is the end of the connection.
        sends: Vec<(u64, &'static [u8])>,
    }

    /// A connection in simulated time. Counts what is asked of it.
    struct Simulated {
        clock: Rc<Cell<u64>>,
        begun: u64,
        server: Server,
        calls: Rc<Cell<usize>>,
    }

    impl Simulated {
        fn ready(&self, wait: Wait) -> bool {
            let passed = self.clock.get() - self.begun;
            match wait {
                Wait::Writable => self.server.connects.is_some_and(|at| at <= passed),
                Wait::Readable => self.server.sends.first().is_some_and(|(at, _)| *at <= passed),
            }
        }

        fn call(&self, wait: Wait) -> io::Result<()> {
            self.calls.set(self.calls.get() + 1);
            if self.ready(wait) { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
        }
    }

    impl Read for Simulated {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.call(Wait::Readable)?;
            let (_, octets) = self.server.sends.remove(0);
            buffer[..octets.len()].copy_from_slice(octets);
            Ok(octets.len())
        }
    }

    impl Write for Simulated {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.call(Wait::Writable).map(|()| octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Wire for Simulated {
        fn connected(&mut self) -> io::Result<bool> {
            match self.call(Wait::Writable) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                other => other.map(|()| true),
            }
        }
    }

    fn connection() -> Connection {
        let to = "192.0.2.1:80".parse().expect("address");
        Connection { to, bind: None, interface: None, fwmark: 0, timeout: TIMEOUT }
    }

    fn http() -> Question {
        let url = Url {
            path: "/".to_owned(),
            host: None,
            tls_host: None,
            status_codes: vec![(200, 299)],
            digest: None,
        };
        let http = Http {
            connection: connection(),
            tls: None,
            version: HttpVersion::Http10,
            urls: vec![url],
            fast_recovery: false,
        };
        Question::Http(Arc::new(http), 0)
    }

    /// What a run came to.
    struct Result {
        outcome: Outcome,
        /// When, in milliseconds.
        at: u64,
        /// How often the connection was asked for something.
        calls: usize,
    }

    /// Runs one probe of each server, all at once, in milliseconds of simulated time. As epoll does,
    /// tells of a connection for as long as it is ready for what is waited for.
    fn run(question: &Question, servers: &[Server]) -> Vec<Result> {
        let start = Instant::now();
        let clock = Rc::new(Cell::new(0));
        let calls: Vec<_> = servers.iter().map(|_| Rc::new(Cell::new(0))).collect();
        let mut flights = Flights::new(tls::Client::new().expect("cipher suites"));
        let mut over: Vec<Option<(Outcome, u64)>> = vec![None; servers.len()];
        let mut waits = HashMap::new();
        for (n, server) in servers.iter().enumerate() {
            let (clock, calls, server) = (clock.clone(), calls[n].clone(), server.clone());
            let wire = Simulated { clock, begun: 0, server, calls };
            match flights.begin(Id(n as u64), start, wire, question.clone()) {
                Next::Watch(wait) => drop(waits.insert(Id(n as u64), wait)),
                Next::Over(ended) => over[n] = Some((ended.outcome, 0)),
                next => panic!("{next:?}"),
            }
        }
        while flights.len() > 0 {
            let now = start + Duration::from_millis(clock.get());
            let ready = |(id, wait): (&Id, &Wait)| {
                flights.wire(*id).is_some_and(|wire| wire.ready(*wait)).then_some(*id)
            };
            let ready: Vec<Id> = waits.iter().filter_map(ready).collect();
            for id in &ready {
                match flights.ready(*id, now, false) {
                    Next::Stay => {}
                    Next::Watch(wait) => drop(waits.insert(*id, wait)),
                    Next::Over(ended) => {
                        waits.remove(id);
                        over[id.0 as usize] = Some((ended.outcome, clock.get()));
                    }
                    Next::Gone => panic!("{id:?} is not under way"),
                }
            }
            while let Some(ended) = flights.expire(now) {
                waits.remove(&ended.id);
                over[ended.id.0 as usize] = Some((ended.outcome, clock.get()));
            }
            if ready.is_empty() {
                clock.set(clock.get() + STEP);
            }
        }
        assert_eq!(flights.deadline(), None, "no alarm outlives its probe");
        let results = over.into_iter().zip(calls).map(|(over, calls)| {
            let (outcome, at) = over.expect("all are over");
            Result { outcome, at, calls: calls.get() }
        });
        results.collect()
    }

    fn timeout(doing: &'static str) -> Outcome {
        Outcome::Down(Failure::Timeout(doing))
    }

    #[test]
    fn five_thousand_probes_under_way_cost_a_few_calls_each() {
        let kinds = [
            // Never connects; asked when it begins, and not again.
            (Server { connects: None, sends: vec![] }, timeout("connecting"), 2_000, 1),
            // Connects at once and is silent: one request.
            (
                Server { connects: Some(0), sends: vec![] },
                timeout("waiting for the answer"),
                2_000,
                1,
            ),
            // Far away: one attempt, one request, two reads.
            (Server { connects: Some(30), sends: vec![(60, HEAD), (90, b"")] }, UP, 90, 4),
            // In six pieces.
            (
                Server {
                    connects: Some(0),
                    sends: vec![
                        (100, &HEAD[..5]),
                        (900, &HEAD[5..18]),
                        (1_700, &HEAD[18..]),
                        (2_500, b"a"),
                        (3_300, b"b"),
                        (4_100, b""),
                    ],
                },
                UP,
                4_100,
                7,
            ),
            // Half an answer and then nothing: the wait counts from what came last.
            (Server { connects: Some(0), sends: vec![(500, HEAD)] }, timeout("reading"), 2_500, 2),
        ];
        let servers: Vec<_> = (0..5_000).map(|n| kinds[n % kinds.len()].0.clone()).collect();
        for (n, result) in run(&http(), &servers).into_iter().enumerate() {
            let (server, outcome, at, calls) = &kinds[n % kinds.len()];
            let found = (&result.outcome, result.at, result.calls);
            assert_eq!(found, (outcome, *at, *calls), "{server:?}");
        }
    }

    #[test]
    fn a_server_that_drips_has_five_waits_in_all() {
        let drips = (0..1_000).map(|n| (n * 100, if n == 0 { HEAD } else { b"x".as_slice() }));
        let server = Server { connects: Some(0), sends: drips.collect() };
        let slow_head = (0..1_000).map(|n| (n * 1_000, b"H".as_slice()));
        let slow_head = Server { connects: Some(0), sends: slow_head.collect() };
        let results = run(&http(), &[server, slow_head]);
        assert_eq!((&results[0].outcome, results[0].at), (&timeout("reading"), 10_000));
        let waiting = timeout("waiting for the answer");
        assert_eq!((&results[1].outcome, results[1].at), (&waiting, 10_000));
    }

    #[test]
    fn a_connection_is_all_that_tcp_asks() {
        let question = Question::Tcp(Arc::new(connection()));
        let servers = [Some(0), Some(700), None].map(|connects| Server { connects, sends: vec![] });
        let results = run(&question, &servers);
        let found = results.iter().map(|result| (result.outcome.clone(), result.at, result.calls));
        let expected = [(UP, 0, 1), (UP, 700, 2), (timeout("connecting"), 2_000, 1)];
        assert!(found.eq(expected));
    }

    #[test]
    fn a_probe_that_is_ended_leaves_nothing() {
        let mut flights = Flights::new(tls::Client::new().expect("cipher suites"));
        let now = Instant::now();
        let wire = || Simulated {
            clock: Rc::default(),
            begun: 0,
            server: Server { connects: None, sends: vec![] },
            calls: Rc::default(),
        };
        assert_eq!(flights.begin(Id(1), now, wire(), http()), Next::Watch(Wait::Writable));
        assert!(matches!(flights.end(Id(1), UP), Next::Over(_)));
        assert_eq!(flights.end(Id(1), UP), Next::Gone);
        assert_eq!(flights.ready(Id(1), now, false), Next::Gone);
        assert_eq!((flights.deadline(), flights.len()), (None, 0));
        assert_eq!(flights.expire(now + TIMEOUT), None);
    }
}
