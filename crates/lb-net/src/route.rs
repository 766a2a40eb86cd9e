//! Asks the kernel for links and addresses and changes addresses.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Error;
use crate::link::{self, LinkChange, LinkDetails};
use crate::netlink::{self, Change, InterfaceAddress, Link, Message};

/// Changes in one send: the refusal of each must fit into the receive buffer.
const BATCH: usize = 256;
/// The kernel fills datagrams of a dump up to 32 KiB.
const DATAGRAM_MAX: usize = 64 << 10;
const RECEIVE_BUFFER: usize = 1 << 20;
/// How long the kernel may take for the next part of an answer. It does what it is asked within the
/// system call that asks, however long it waits for its lock there; this is for an answer that never
/// comes.
const LIMIT_MS: i64 = 10_000;
/// How long added IPv6 addresses may take until this host answers for them: the kernel leaves that to
/// a thread of its own. On a link that is down it is for later.
const READY: Duration = Duration::from_millis(20);
/// How often it is looked whether they are.
const READY_PAUSE: Duration = Duration::from_micros(50);
/// How often a dump is repeated that a change has overtaken.
const DUMP_TRIES: usize = 5;

/// What became of a [`Change`].
#[derive(Debug)]
pub enum Outcome {
    /// It has been made.
    Done,
    /// There was nothing to do: added what is there, or removed what is not.
    Already,
    /// The kernel refused it.
    Refused(io::Error),
}

impl Outcome {
    fn of(change: &Change<'_>, errno: Errno) -> Self {
        match (change, errno) {
            (Change::Add(_), Errno::EEXIST)
            | (Change::Remove(_), Errno::EADDRNOTAVAIL | Errno::ENODEV) => Self::Already,
            _ => Self::Refused(errno.into()),
        }
    }
}

/// A synchronous netlink socket: each call returns when the kernel has done all of it.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl RouteSocket {
    /// Opens the socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the process is out of descriptors or memory.
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            let port = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            // Refusals without a copy of what is refused.
            socket.set_cap_ack(true)?;
            enlarge(&socket, RECEIVE_BUFFER);
            let limit = TimeVal::milliseconds(LIMIT_MS);
            setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
            setsockopt(&socket, sockopt::SendTimeout, &limit)?;
            Ok(Self {
                socket,
                port,
                sequence: 0,
                request: Vec::new(),
                reply: Vec::with_capacity(DATAGRAM_MAX),
            })
        };
        open().map_err(Error::system("opening a netlink socket", "CAP_NET_ADMIN"))
    }

    /// Its port, which notifications of what it changes carry.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Makes changes in their order, many in one system call, and says what became of each.
    ///
    /// One that the kernel refuses does not hold up those after it. What has been added is answered
    /// for when this returns, but for addresses whose duplicates are looked for, and IPv6 addresses of
    /// links that are down.
    ///
    /// # Errors
    /// When the socket itself fails; some changes may have been made.
    pub fn change(&mut self, changes: &[Change<'_>]) -> io::Result<Vec<Outcome>> {
        let errors = self.batch(changes.len(), |out, index, sequence, ack| {
            netlink::push_change(out, &changes[index], sequence, ack);
        })?;
        let made = changes.iter().zip(&errors).filter(|(_, errno)| errno.is_none());
        self.wait_until_ready(made.map(|(change, _)| change))?;
        let outcome = |(change, errno): (_, Option<Errno>)| match errno {
            None => Outcome::Done,
            Some(errno) => Outcome::of(change, errno),
        };
        Ok(changes.iter().zip(errors).map(outcome).collect())
    }

    fn wait_until_ready<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change<'a>>,
    ) -> io::Result<()> {
        let mut until = None;
        for change in changes {
            let Change::Add(added) = change else { continue };
            let IpAddr::V6(address) = added.address else { continue };
            if added.options.detect_duplicates {
                continue;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + READY);
            while !self.answers_for(added.ifindex, address)? && Instant::now() < until {
                std::thread::sleep(READY_PAUSE);
            }
        }
        Ok(())
    }

    /// Whether packets to an address are for this host.
    fn answers_for(&mut self, ifindex: u32, address: Ipv6Addr) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.request.clear();
        netlink::push_get_route(&mut self.request, ifindex, address, sequence);
        let mut local = false;
        self.exchange(|message| {
            local |= message.kind == libc::RTM_NEWROUTE && netlink::is_local_route(message.body);
            message.sequence == sequence
        })?;
        Ok(local)
    }

    /// The same for links: what the kernel said against each.
    pub(crate) fn change_links(
        &mut self,
        changes: &[LinkChange<'_>],
    ) -> io::Result<Vec<Option<Errno>>> {
        self.batch(changes.len(), |out, index, sequence, ack| {
            link::push_change(out, &changes[index], sequence, ack);
        })
    }

    /// Sends `count` requests, each appended by `push` with its place, its sequence number and
    /// whether it asks for an acknowledgement.
    fn batch(
        &mut self,
        count: usize,
        push: impl Fn(&mut Vec<u8>, usize, u32, bool),
    ) -> io::Result<Vec<Option<Errno>>> {
        let mut errors = vec![None; count];
        for start in (0..count).step_by(BATCH) {
            let end = count.min(start + BATCH);
            let first = self.sequence.wrapping_add(1);
            self.request.clear();
            for index in start..end {
                self.sequence = self.sequence.wrapping_add(1);
                // Refusals are always told; the answer to the last, whichever it is, ends the batch.
                push(&mut self.request, index, self.sequence, index + 1 == end);
            }
            let last = self.sequence;
            self.exchange(|message| {
                let place = start.wrapping_add(message.sequence.wrapping_sub(first) as usize);
                if let (NLMSG_ERROR, Some(error)) = (message.kind, errors.get_mut(place)) {
                    let errno = netlink::parse_errno(message.body);
                    *error = errno.filter(|errno| *errno != 0).map(Errno::from_raw);
                }
                message.sequence == last
            })?;
        }
        Ok(errors)
    }

    /// Every link of the namespace.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        self.dump(netlink::push_dump_links, libc::RTM_NEWLINK, netlink::parse_link)
    }

    /// Every link with what else there is to know of it.
    pub(crate) fn link_details(&mut self) -> io::Result<Vec<LinkDetails>> {
        self.dump(netlink::push_dump_links, libc::RTM_NEWLINK, link::parse_details)
    }

    /// Every address of the namespace, in the kernel's order: the primary one of a link first.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn addresses(&mut self) -> io::Result<Vec<InterfaceAddress>> {
        self.dump(netlink::push_dump_addresses, libc::RTM_NEWADDR, netlink::parse_address)
    }

    /// Forgets who the neighbours of a link are: until it has to do with them again it does not look
    /// whether they are still there.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn forget_neighbours(&mut self, ifindex: u32) -> io::Result<()> {
        let ask =
            |out: &mut Vec<u8>, sequence| netlink::push_dump_neighbours(out, ifindex, sequence);
        let mut known = self.dump(ask, libc::RTM_NEWNEIGH, netlink::parse_neighbour)?;
        known.retain(|(link, _)| *link == ifindex);
        // One that is gone meanwhile is as good as forgotten.
        self.batch(known.len(), |out, index, sequence, ack| {
            netlink::push_forget(out, &known[index], sequence, ack);
        })?;
        Ok(())
    }

    fn dump<T>(
        &mut self,
        push: impl Fn(&mut Vec<u8>, u32),
        kind: u16,
        parse: fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            self.sequence = self.sequence.wrapping_add(1);
            let sequence = self.sequence;
            self.request.clear();
            push(&mut self.request, sequence);
            let (mut interrupted, mut refused) = (false, 0);
            self.exchange(|message| {
                if message.sequence != sequence {
                    return false;
                }
                interrupted |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE => return true,
                    NLMSG_ERROR => {
                        refused = netlink::parse_errno(message.body).unwrap_or(libc::EPROTO);
                        return true;
                    }
                    other if other == kind => found.extend(parse(message.body)),
                    _ => {}
                }
                false
            })?;
            if refused != 0 {
                return Err(io::Error::from_raw_os_error(refused));
            }
            if !interrupted {
                break;
            }
        }
        // After so many tries what we have is as good as what we would get; notifications follow.
        Ok(found)
    }

    /// Sends the request and reads until `last` has seen the message that ends the answer.
    fn exchange(&mut self, mut last: impl FnMut(Message<'_>) -> bool) -> io::Result<()> {
        self.socket.send(&self.request, 0)?;
        let mut ended = false;
        while !ended {
            receive(&self.socket, &mut self.reply, 0).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => {
                    io::Error::new(io::ErrorKind::TimedOut, "the kernel does not answer")
                }
                _ => error,
            })?;
            for message in netlink::messages(&self.reply) {
                ended |= last(message);
            }
        }
        Ok(())
    }
}

/// Replaces the buffer's content by the next datagram of the kernel.
pub(crate) fn receive(socket: &Socket, buffer: &mut Vec<u8>, flags: i32) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(DATAGRAM_MAX);
    loop {
        match socket.recv(buffer, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Makes the receive buffer large, past the limit of the system if we may.
pub(crate) fn enlarge(socket: &Socket, size: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &size).is_err() {
        // A smaller buffer overruns sooner, which is noticed and repaired.
        let _ = setsockopt(socket, sockopt::RcvBuf, &size);
    }
}
