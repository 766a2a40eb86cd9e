//! A typed client of the family.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lb_pool::ServiceKey;
use neli::consts::genl::{CtrlAttr, CtrlCmd};
use neli::consts::nl::{GenlId, NlmF};
use nix::errno::Errno;

use crate::attributes::{Command, FAMILY, InfoAttribute, Top, VERSION};
use crate::batch::Batch;
use crate::change::Change;
use crate::entry::{Daemon, DestinationEntry, Role, ServiceEntry};
use crate::error::{Error, Failure};
use crate::message::{Body, find, replies, u16_at, u32_at};
use crate::request;
use crate::snapshot::{ServiceState, Snapshot};
use crate::socket::{Counter, Netlink};

/// Changes a send. Every one of them may fail, and the replies must fit the receive queue at its
/// smallest (212992 octets by default, of which an error takes about 1 KiB).
const CHANGES_PER_SEND: usize = 128;

/// Questions a send. Each answer takes a page or two of the receive queue.
const QUESTIONS_PER_SEND: usize = 16;

/// Speaks to the IPVS of the network namespace of the thread that opened it.
pub struct Client {
    socket: Netlink,
    counter: Option<Counter>,
    family: u16,
    seq: u32,
    batch: Batch,
    requests: u64,
    sends: u64,
}

/// What the kernel says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version of IPVS: major, minor, patch.
    pub version: (u8, u8, u8),
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

/// How long a silent connection is kept, in whole seconds. Zero leaves the kernel's value as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// TCP, established; 900 s unless set.
    pub tcp: Duration,
    /// TCP after a FIN; 120 s unless set.
    pub tcp_fin: Duration,
    /// UDP; 300 s unless set.
    pub udp: Duration,
}

impl Client {
    /// Opens a client, loading `ip_vs` if the kernel does not do so by itself (it does since 5.16).
    ///
    /// # Errors
    /// [`Error::NoIpvs`], [`Error::Permission`], [`Error::Socket`].
    pub fn open() -> Result<Self, Error> {
        let mut client = Self {
            socket: Netlink::open()?,
            counter: None,
            family: 0,
            seq: 0,
            batch: Batch::default(),
            requests: 0,
            sends: 0,
        };
        client.family = match client.resolve()? {
            Some(family) => family,
            None => {
                load_module();
                client.resolve()?.ok_or(Error::NoIpvs)?
            }
        };
        // Asks something at once, because only the family's own commands check permission.
        match client.info() {
            Err(Error::Refused { errno: Errno::EPERM, .. }) => return Err(Error::Permission),
            info => drop(info?),
        }
        client.counter = Counter::open().ok();
        Ok(client)
    }

    /// Version and size of the connection table.
    ///
    /// # Errors
    /// As every request that stands alone: [`Error::Refused`], [`Error::Socket`] and the like.
    pub fn info(&mut self) -> Result<Info, Error> {
        self.ask("read its version", Command::GetInfo, parse_info)
    }

    /// Every service, sorted. A change made meanwhile may or may not be in it.
    ///
    /// # Errors
    /// See [`Client::info`].
    pub fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let mut services =
            self.dump("list services", Command::GetService, |_| {}, ServiceEntry::parse)?;
        services.sort_by_key(|service| service.key);
        // The kernel resumes a dump by index, so a change made meanwhile can show an entry twice.
        services.dedup_by_key(|service| service.key);
        Ok(services)
    }

    /// The services of those keys that exist, in the order of `keys`.
    ///
    /// # Errors
    /// See [`Client::info`]; a service that does not exist is no error.
    pub fn services_of(&mut self, keys: &[ServiceKey]) -> Result<Vec<ServiceEntry>, Error> {
        const REQUEST: &str = "read services";
        let mut services = Vec::new();
        for keys in keys.chunks(QUESTIONS_PER_SEND) {
            let first = self.begin();
            for key in keys {
                self.request(Command::GetService, NlmF::empty(), |m| request::service_key(m, key));
            }
            let mut refusal = None;
            self.exchange(REQUEST, first, |_, body| match body {
                Body::Payload { attributes } => services.extend(ServiceEntry::parse(attributes)),
                Body::Failed { errno: Errno::ESRCH, .. } | Body::Done => {}
                Body::Failed { errno, text } => refusal = Some(refused(REQUEST, errno, text)),
            })?;
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
        }
        Ok(services)
    }

    /// The destinations of one service, sorted; none if there is no such service.
    ///
    /// # Errors
    /// See [`Client::info`].
    pub fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<DestinationEntry>, Error> {
        let mut destinations = self.dump(
            "list destinations",
            Command::GetDestination,
            |m| request::service_key(m, key),
            |attributes| DestinationEntry::parse(attributes, key.family()),
        )?;
        destinations.sort_by_key(|destination| destination.key);
        destinations.dedup_by_key(|destination| destination.key);
        Ok(destinations)
    }

    /// Everything: one dump, and one more for each service.
    ///
    /// # Errors
    /// See [`Client::info`].
    pub fn table(&mut self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::new();
        for ServiceEntry { key, settings, .. } in self.services()? {
            let destinations = self.destinations(&key)?;
            snapshot.insert(key, ServiceState::dumped(settings, &destinations));
        }
        Ok(snapshot)
    }

    /// Carries out `changes` in their order, many a send, and returns those that were refused.
    ///
    /// A refused change does not keep the ones after it from being carried out.
    ///
    /// # Errors
    /// Where the socket itself fails; which changes were carried out is then unknown.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Vec<Failure>, Error> {
        let mut failures = Vec::new();
        for changes in changes.chunks(CHANGES_PER_SEND) {
            let first = self.begin();
            for change in changes {
                tracing::trace!(%change, "IPVS");
                self.request(request::command(change), NlmF::empty(), |m| {
                    request::change(m, change);
                });
            }
            // Success is silent: only the last request asks for an acknowledgement, and when it
            // comes, the failures of all before it have come too.
            self.exchange("change the table", first, |at, body| {
                if let (Body::Failed { errno, text }, Some(change)) = (body, changes.get(at)) {
                    failures.push(Failure {
                        change: *change,
                        errno,
                        text: text.map(str::to_owned),
                    });
                }
            })?;
        }
        Ok(failures)
    }

    /// How long silent connections are kept.
    ///
    /// # Errors
    /// See [`Client::info`].
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.ask("read the timeouts", Command::GetConfig, parse_timeouts)
    }

    /// Sets those that are not zero; each counts from a connection's next packet.
    ///
    /// # Errors
    /// See [`Client::info`]; `EINVAL` for more than 2147483 s.
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Error> {
        let timeouts = [
            (Top::TimeoutTcp, timeouts.tcp),
            (Top::TimeoutTcpFin, timeouts.tcp_fin),
            (Top::TimeoutUdp, timeouts.udp),
        ];
        self.tell("set the timeouts", Command::SetConfig, |m| {
            for (kind, timeout) in timeouts {
                let seconds = timeout.as_secs().try_into().unwrap_or(u32::MAX);
                m.attribute(kind, &seconds.to_ne_bytes());
            }
        })
    }

    /// The sync daemons that run, at most one of each role.
    ///
    /// # Errors
    /// See [`Client::info`].
    pub fn daemons(&mut self) -> Result<Vec<Daemon>, Error> {
        self.dump("list sync daemons", Command::GetDaemon, |_| {}, Daemon::parse)
    }

    /// Starts a sync daemon.
    ///
    /// # Errors
    /// See [`Client::info`]; `EEXIST` if one of that role runs, `ENODEV` if there is no such
    /// interface, `EINVAL` while destinations of the other family exist or for a group that is
    /// not multicast.
    pub fn start_daemon(&mut self, daemon: &Daemon) -> Result<(), Error> {
        self.tell("start the sync daemon", Command::NewDaemon, |m| {
            request::daemon(m, daemon);
        })
    }

    /// Stops the sync daemon of that role.
    ///
    /// # Errors
    /// See [`Client::info`]; `ESRCH` if none runs.
    pub fn stop_daemon(&mut self, role: Role) -> Result<(), Error> {
        self.tell("stop the sync daemon", Command::DelDaemon, |m| {
            request::role(m, role);
        })
    }

    /// Sets the counters of a service, or all of them, to zero.
    ///
    /// # Errors
    /// See [`Client::info`]; `ESRCH` if there is no such service.
    pub fn zero(&mut self, key: Option<&ServiceKey>) -> Result<(), Error> {
        self.tell("zero the counters", Command::Zero, |m| {
            if let Some(key) = key {
                request::service_key(m, key);
            }
        })
    }

    /// Removes every service of the namespace, other programs' too.
    ///
    /// # Errors
    /// See [`Client::info`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.tell("flush the table", Command::Flush, |_| {})
    }

    /// Number of IPv4 services in the namespace, for one cheap system call; `None` where the
    /// kernel does not say. Those of IPv6 are not in it.
    #[must_use]
    pub fn count_services(&self) -> Option<u32> {
        self.counter.as_ref()?.services().ok()
    }

    /// Requests sent so far: each change, question and dump is one.
    #[must_use]
    pub fn requests_sent(&self) -> u64 {
        self.requests
    }

    /// Datagrams sent so far; one carries many requests.
    #[must_use]
    pub fn sends(&self) -> u64 {
        self.sends
    }

    /// The number of the family, if the kernel has it.
    fn resolve(&mut self) -> Result<Option<u16>, Error> {
        const REQUEST: &str = "find the IPVS family";
        let first = self.begin();
        self.seq = self.seq.wrapping_add(1);
        self.batch.message(
            GenlId::Ctrl.into(),
            NlmF::REQUEST,
            self.seq,
            (CtrlCmd::Getfamily.into(), 1),
            |m| m.string(CtrlAttr::FamilyName, FAMILY),
        );
        let mut answer = Err(Error::Malformed(REQUEST));
        self.exchange(REQUEST, first, |_, body| match body {
            Body::Payload { attributes } => {
                if let Some(family) =
                    find(attributes, CtrlAttr::FamilyId).and_then(|value| u16_at(value, 0))
                {
                    answer = Ok(Some(family));
                }
            }
            Body::Failed { errno: Errno::ENOENT, .. } => answer = Ok(None),
            Body::Failed { errno, text } => answer = Err(refused(REQUEST, errno, text)),
            Body::Done => {}
        })?;
        answer
    }

    /// Asks for a dump and reads it to its end.
    fn dump<T>(
        &mut self,
        request: &'static str,
        command: Command,
        fill: impl FnOnce(&mut Batch),
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let first = self.begin();
        self.request(command, NlmF::DUMP, fill);
        let mut entries = Vec::new();
        let mut result = Ok(());
        self.exchange(request, first, |_, body| match body {
            Body::Payload { attributes } => entries.extend(parse(attributes)),
            Body::Failed { errno, text } => result = Err(refused(request, errno, text)),
            Body::Done => {}
        })?;
        result.map(|()| entries)
    }

    /// Asks for one answer.
    fn ask<T>(
        &mut self,
        request: &'static str,
        command: Command,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        let first = self.begin();
        self.request(command, NlmF::empty(), |_| {});
        let mut answer = Err(Error::Malformed(request));
        self.exchange(request, first, |_, body| match body {
            Body::Payload { attributes } => {
                answer = parse(attributes).ok_or(Error::Malformed(request));
            }
            Body::Failed { errno, text } => answer = Err(refused(request, errno, text)),
            Body::Done => {}
        })?;
        answer
    }

    /// Sends one request that has no answer.
    fn tell(
        &mut self,
        request: &'static str,
        command: Command,
        fill: impl FnOnce(&mut Batch),
    ) -> Result<(), Error> {
        let first = self.begin();
        self.request(command, NlmF::empty(), fill);
        let mut result = Ok(());
        self.exchange(request, first, |_, body| {
            if let Body::Failed { errno, text } = body {
                result = Err(refused(request, errno, text));
            }
        })?;
        result
    }

    /// Starts an empty batch; returns the sequence number its first request will have.
    fn begin(&mut self) -> u32 {
        self.batch.clear();
        self.seq.wrapping_add(1)
    }

    /// Adds a request to the batch.
    fn request(&mut self, command: Command, flags: NlmF, fill: impl FnOnce(&mut Batch)) {
        self.seq = self.seq.wrapping_add(1);
        self.batch.message(
            self.family,
            NlmF::REQUEST | flags,
            self.seq,
            (command.into(), VERSION),
            fill,
        );
    }

    /// Sends the batch and hands each answer to `each`, with the index of its request in the
    /// batch, until the last request is answered. The kernel works through a batch in order and
    /// within the send, so every answer is waiting by then.
    fn exchange(
        &mut self,
        request: &'static str,
        first: u32,
        mut each: impl FnMut(usize, Body<'_>),
    ) -> Result<(), Error> {
        self.batch.flag_last(NlmF::ACK);
        let last = self.seq;
        self.requests += u64::from(last.wrapping_sub(first)) + 1;
        self.sends += 1;
        self.socket.send(self.batch.bytes())?;
        loop {
            let datagram = match self.socket.receive() {
                Ok(datagram) => datagram,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Error::NoAnswer(request));
                }
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Err(Error::NoAnswer(request));
                }
                Err(e) => return Err(e.into()),
            };
            if deliver(datagram, first, last, &mut each).is_break() {
                return Ok(());
            }
        }
    }
}

/// Hands out the answers of a datagram; breaks at the one that ends the last request.
fn deliver(
    datagram: &[u8],
    first: u32,
    last: u32,
    each: &mut impl FnMut(usize, Body<'_>),
) -> ControlFlow<()> {
    for reply in replies(datagram) {
        let index = reply.seq.wrapping_sub(first);
        // What is left of an exchange that was given up is nobody's answer.
        if index > last.wrapping_sub(first) {
            continue;
        }
        let ends = reply.seq == last && !matches!(reply.body, Body::Payload { .. });
        each(index as usize, reply.body);
        if ends {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

fn refused(request: &'static str, errno: Errno, text: Option<&str>) -> Error {
    let text = text.map(str::to_owned);
    Error::Refused { request, errno, text }
}

pub(crate) fn parse_info(attributes: &[u8]) -> Option<Info> {
    let version = u32_at(find(attributes, InfoAttribute::Version)?, 0)?;
    let [_, major, minor, patch] = version.to_be_bytes();
    Some(Info {
        version: (major, minor, patch),
        connection_table_size: u32_at(find(attributes, InfoAttribute::TableSize)?, 0)?,
    })
}

pub(crate) fn parse_timeouts(attributes: &[u8]) -> Option<Timeouts> {
    let seconds = |kind: Top| {
        let value = u32_at(find(attributes, kind)?, 0)?;
        Some(Duration::from_secs(value.into()))
    };
    Some(Timeouts {
        tcp: seconds(Top::TimeoutTcp)?,
        tcp_fin: seconds(Top::TimeoutTcpFin)?,
        udp: seconds(Top::TimeoutUdp)?,
    })
}

/// Where modprobe is; the PATH of whoever started us says nothing about that.
const MODPROBE: [&str; 3] = ["/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe"];
/// It takes milliseconds, on a slow disk a second.
const MODPROBE_LIMIT: Duration = Duration::from_secs(5);

/// Runs `modprobe ip_vs`, for a few seconds at most. Whether it helped shows when the family is asked
/// for again, and the error that comes then says what to do: nothing is said here.
fn load_module() {
    let Some(place) = MODPROBE.into_iter().find(|place| Path::new(place).exists()) else { return };
    let child = Process::new(place)
        .args(["-q", "--", "ip_vs"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return };
    let deadline = Instant::now() + MODPROBE_LIMIT;
    while let Ok(None) = child.try_wait() {
        if Instant::now() >= deadline {
            // One that the kernel does not let go of even then is left to it.
            let _ = child.kill();
            let _ = child.try_wait();
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error reply as the kernel sends it with `NETLINK_CAP_ACK`.
    fn error(seq: u32, code: i32) -> Vec<u8> {
        let mut message = Batch::default();
        message.message(2, NlmF::CAPPED, seq, (0, 0), |_| {});
        let mut bytes = message.bytes().to_vec();
        bytes[0] = 36;
        bytes[16..20].copy_from_slice(&code.to_ne_bytes());
        bytes.resize(36, 0);
        bytes
    }

    fn delivered(datagram: &[u8], first: u32, last: u32) -> (Vec<(usize, bool)>, bool) {
        let mut seen = Vec::new();
        let end = deliver(datagram, first, last, &mut |at, body| {
            seen.push((at, matches!(body, Body::Failed { .. })));
        });
        (seen, end.is_break())
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn an_error_goes_to_its_request_and_the_last_answer_ends() {
        let mut datagram = error(12, -libc::EEXIST);
        datagram.extend(error(14, -libc::ESRCH));
        assert_eq!(delivered(&datagram, 10, 15), (vec![(2, true), (4, true)], false));
        datagram.extend(error(15, 0));
        datagram.extend(error(13, -libc::ESRCH));
        let before_the_end = vec![(2, true), (4, true), (5, false)];
        assert_eq!(delivered(&datagram, 10, 15), (before_the_end, true));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn what_an_earlier_exchange_left_is_ignored_and_numbers_may_wrap() {
        let mut datagram = error(u32::MAX - 5, -libc::ESRCH);
        datagram.extend(error(u32::MAX, -libc::ESRCH));
        datagram.extend(error(1, -libc::ESRCH));
        assert_eq!(delivered(&datagram, u32::MAX - 1, 1), (vec![(1, true), (3, true)], true));
    }
}
