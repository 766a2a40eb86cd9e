//! One probe of a server on its way: what it does next when its connection is ready. No clock.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::exchange::{self, Answer};
use crate::spec::{Connection, Http, Sni, Url};
use crate::tls::{self, Session, Stop};
use crate::{Failure, Outcome, socket};

/// Octets that one read takes.
const READ: usize = 64 << 10;

/// Reads of one turn, after which other probes have theirs.
const READS: usize = 4;

/// A connection that never blocks: what is not ready is [`ErrorKind::WouldBlock`].
pub(crate) trait Wire: Read + Write {
    /// Whether the connection stands.
    ///
    /// # Errors
    /// Why it does not and will not.
    fn connected(&mut self) -> io::Result<bool>;
}

/// What a probe asks of its server.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// Whether it takes connections.
    Tcp(Arc<Connection>),
    /// One URL, by its place.
    Http(Arc<Http>, usize),
}

/// What a probe waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The server's octets.
    Readable,
    /// The connection, or room for ours.
    Writable,
}

/// What all probes share.
pub(crate) struct Shared {
    tls: tls::Client,
    /// What is read, for the moment of reading.
    input: Box<[u8]>,
    /// What is sent, for the moment of sending.
    output: Vec<u8>,
}

impl Shared {
    pub(crate) fn new(tls: tls::Client) -> Self {
        Self { tls, input: vec![0; READ].into_boxed_slice(), output: Vec::new() }
    }
}

/// A probe under way. While its server is silent it is a descriptor and a few words.
pub(crate) struct Flight<W> {
    question: Question,
    talk: Talk<W>,
}

struct Talk<W> {
    wire: W,
    step: Step,
    session: Option<Box<Session>>,
    /// Octets have come or gone, or the connection stands, since [`Flight::moved`] was asked.
    moved: bool,
}

enum Step {
    Connecting,
    Handshake,
    /// What is left of the request; what TLS has taken of it is in the session.
    Asking(Box<[u8]>),
    Answer(Answer),
}

impl<W: Wire> Flight<W> {
    /// A probe whose connection has been begun.
    pub(crate) fn new(wire: W, question: Question) -> Self {
        let talk = Talk { wire, step: Step::Connecting, session: None, moved: false };
        Self { question, talk }
    }

    /// Its connection.
    pub(crate) fn wire(&self) -> &W {
        &self.talk.wire
    }

    /// The time that each of its waits has.
    pub(crate) fn timeout(&self) -> Duration {
        match &self.question {
            Question::Tcp(to) => to.timeout,
            Question::Http(http, _) => http.connection.timeout,
        }
    }

    /// Whether it has come on since this was asked before.
    pub(crate) fn moved(&mut self) -> bool {
        std::mem::take(&mut self.talk.moved)
    }

    /// What it is when its time is over.
    pub(crate) fn overdue(&self) -> Outcome {
        let doing = match &self.talk.step {
            Step::Connecting => "connecting",
            Step::Handshake => "in the TLS handshake",
            Step::Answer(answer) if answer.has_head() => "reading",
            Step::Asking(_) | Step::Answer(_) => "waiting for the answer",
        };
        Outcome::Down(Failure::Timeout(doing))
    }

    /// Does what can be done now. `hangup` says that the server has sent all it will.
    ///
    /// # Errors
    /// The outcome, good or bad: the probe is over.
    pub(crate) fn advance(&mut self, shared: &mut Shared, hangup: bool) -> Result<Wait, Outcome> {
        match &self.question {
            Question::Tcp(_) if self.talk.connected()? => Err(Outcome::Up { weight: None }),
            Question::Tcp(_) => Ok(Wait::Writable),
            Question::Http(http, at) => match http.urls.get(*at) {
                Some(url) => self.talk.fetch(http, url, shared, hangup),
                None => Err(Outcome::NotRun("no URL to fetch".to_owned())),
            },
        }
    }
}

impl<W: Wire> Talk<W> {
    fn fetch(
        &mut self,
        http: &Http,
        url: &Url,
        shared: &mut Shared,
        hangup: bool,
    ) -> Result<Wait, Outcome> {
        match &self.step {
            Step::Connecting if http.tls.is_some() => {
                if !self.connected()? {
                    return Ok(Wait::Writable);
                }
                self.begin_session(http, url, shared)
            }
            // Sending asks for the connection too, and says why there is none.
            Step::Connecting => self.ask(http, url, shared),
            Step::Handshake => self.handshake(http, url, shared),
            Step::Asking(_) => self.go_on_asking(url),
            Step::Answer(_) => self.listen(http, url, shared, hangup),
        }
    }

    fn connected(&mut self) -> Result<bool, Outcome> {
        self.wire.connected().map_err(|error| socket::failed(&error))
    }

    fn begin_session(
        &mut self,
        http: &Http,
        url: &Url,
        shared: &mut Shared,
    ) -> Result<Wait, Outcome> {
        let sni = match http.tls.as_ref().map(|tls| &tls.sni) {
            None | Some(Sni::Off) => None,
            Some(Sni::Host) => url.tls_host.as_deref().and_then(|host| host.split(':').next()),
            Some(Sni::Name(name)) => Some(name.as_str()),
        };
        self.session = Some(shared.tls.session(&http.connection, sni).map_err(Outcome::Down)?);
        (self.step, self.moved) = (Step::Handshake, true);
        self.handshake(http, url, shared)
    }

    fn handshake(&mut self, http: &Http, url: &Url, shared: &mut Shared) -> Result<Wait, Outcome> {
        if let Some(session) = &mut self.session {
            self.moved = true; // a piece of it, or it ends here
            match session.handshake(&mut self.wire) {
                Ok(()) => {}
                Err(Stop::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(if session.wants_write() { Wait::Writable } else { Wait::Readable });
                }
                Err(Stop::Io(error)) => {
                    return Err(Outcome::Down(Failure::Tls(error.to_string())));
                }
                Err(Stop::Tls(error)) => return Err(Outcome::Down(tls::failure(&error))),
            }
        }
        self.ask(http, url, shared)
    }

    /// Sends the request, or as much of it as can be sent.
    fn ask(&mut self, http: &Http, url: &Url, shared: &mut Shared) -> Result<Wait, Outcome> {
        shared.output.clear();
        exchange::write_request(http, url, &mut shared.output).map_err(Outcome::Down)?;
        if let Some(session) = &mut self.session {
            session.write(&shared.output).map_err(|error| socket::failed(&error))?;
            self.step = Step::Asking(Box::default());
            return self.send(url, &[]);
        }
        self.send(url, &shared.output)
    }

    fn go_on_asking(&mut self, url: &Url) -> Result<Wait, Outcome> {
        let Step::Asking(rest) = &mut self.step else { return Ok(Wait::Readable) };
        let rest = std::mem::take(rest);
        let wait = self.send(url, &rest);
        // Where nothing could be sent the step is the same.
        if let Step::Asking(kept) = &mut self.step
            && kept.is_empty()
        {
            *kept = rest;
        }
        wait
    }

    /// Sends what is left of the request, or what its session has taken of it.
    fn send(&mut self, url: &Url, rest: &[u8]) -> Result<Wait, Outcome> {
        let sent = match &mut self.session {
            Some(session) => session.flush(&mut self.wire).map(|()| rest.len()),
            None => self.wire.write(rest),
        };
        match sent {
            Ok(sent) if sent == rest.len() => Ok(self.asked(url)),
            Ok(sent) => {
                (self.step, self.moved) = (Step::Asking(rest[sent..].into()), true);
                Ok(Wait::Writable)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Wait::Writable),
            Err(error) => Err(socket::failed(&error)),
        }
    }

    fn asked(&mut self, url: &Url) -> Wait {
        (self.step, self.moved) = (Step::Answer(Answer::new(url)), true);
        Wait::Readable
    }

    /// Takes what has come of the answer.
    fn listen(
        &mut self,
        http: &Http,
        url: &Url,
        shared: &mut Shared,
        hangup: bool,
    ) -> Result<Wait, Outcome> {
        let Step::Answer(answer) = &mut self.step else { return Ok(Wait::Readable) };
        let mut reads = 0;
        loop {
            let read = match &mut self.session {
                Some(session) => session.read(&mut self.wire, &mut shared.input),
                None => self.wire.read(&mut shared.input).map_err(Stop::Io),
            };
            let read = match read {
                Ok(read) => read,
                Err(Stop::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Wait::Readable);
                }
                Err(Stop::Io(error)) => return Err(socket::failed(&error)),
                Err(Stop::Tls(error)) => return Err(Outcome::Down(tls::failure(&error))),
            };
            self.moved = true;
            let verdict = if read == 0 {
                Some(std::mem::replace(answer, Answer::new(url)).end(url))
            } else {
                answer.take(url, &shared.input[..read])
            };
            if let Some(verdict) = verdict {
                if http.tls.as_ref().is_some_and(|tls| tls.compliant)
                    && let Some(session) = &mut self.session
                {
                    session.close(&mut self.wire);
                }
                return Err(verdict.map_or_else(Outcome::Down, |()| Outcome::Up { weight: None }));
            }
            reads += 1;
            // What a session has decrypted is nothing that the connection would tell of again.
            let more = match &self.session {
                Some(session) => session.has_decrypted() || reads < READS,
                None => reads < READS && (hangup || read == shared.input.len()),
            };
            if !more {
                return Ok(Wait::Readable);
            }
        }
    }
}
