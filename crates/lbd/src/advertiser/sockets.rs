//! The sockets that advertisements go through: one an interface and family.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use lb_election::Selector;
use lb_net::{AdvertSocket, Envelope, Inbox, Interface, Marking, Poller, Received};

use lb_node::Plan;
use lb_node::{Datagram, InstanceId, LinkIndex, ProtocolKind, Socket, SocketFamily, Vmac};

use crate::advertiser::thread::with_sources;

/// What tells sockets apart; the last is whether an authentication header is before each packet.
type Key = (Option<LinkIndex>, SocketFamily, bool);

/// All sockets that are open, and what they are watched by.
#[derive(Debug)]
pub(super) struct Sockets {
    open: BTreeMap<Key, Open>,
    /// What is sent through virtual MACs, whichever. They hear nothing.
    senders: BTreeMap<SocketFamily, AdvertSocket>,
    /// By interface, family and authentication header, from the plan.
    served: BTreeMap<(Option<String>, SocketFamily, bool), Served>,
    inbox: Inbox,
    /// Tokens of strays that are not watched before a time, the first one first.
    resting: VecDeque<(Instant, u64)>,
    queued: Queued,
    /// How many datagrams of an instance the kernel has refused since it took the last one.
    unsent: BTreeMap<InstanceId, u64>,
    /// Grows for ever, so that a late readiness of a closed socket finds none.
    next_token: u64,
}

/// What a socket is for.
#[derive(Clone, Debug, Default)]
struct Served {
    selectors: Vec<Selector>,
    /// `kernel_rx_buf_size` of all instances together, bytes.
    room: usize,
}

#[derive(Debug)]
struct Open {
    socket: AdvertSocket,
    /// Of its interface, for messages.
    name: String,
    /// The next one is that of its strays.
    token: u64,
    lost: Lost,
    groups: BTreeSet<IpAddr>,
}

/// Batches that are read of a socket before others get a word in.
const TURN: usize = 2;
/// How long strays are not read after a batch of them was.
const REST: Duration = Duration::from_millis(100);
/// So many are read at most.
const STRAYS_PER_SECOND: u32 = 640;
/// How long nothing is said of lost ones after something was.
const SILENCE: Duration = Duration::from_secs(60);

/// Strays that found no room.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    /// How many have been told of.
    told: u32,
    told_at: Option<Instant>,
}

impl Lost {
    /// Takes the count of the kernel; yields how many are to be told of.
    fn count(&mut self, now: Instant, counted: u32) -> Option<u32> {
        let untold = counted.wrapping_sub(self.told);
        let silent = self.told_at.is_some_and(|at| now.duration_since(at) < SILENCE);
        if untold == 0 || silent {
            return None;
        }
        (self.told, self.told_at) = (counted, Some(now));
        Some(untold)
    }
}

impl Sockets {
    /// None is open. Tokens are given out from `first_token` on.
    pub(super) fn new(plan: &Plan, first_token: u64) -> Self {
        let mut sockets = Self {
            open: BTreeMap::new(),
            senders: BTreeMap::new(),
            served: BTreeMap::new(),
            inbox: Inbox::new(),
            resting: VecDeque::new(),
            queued: Queued::new(),
            unsent: BTreeMap::new(),
            next_token: first_token,
        };
        sockets.serve(plan);
        sockets
    }

    /// Takes the selectors and buffers of another plan; [`Sockets::reconcile`] puts them in force.
    pub(super) fn serve(&mut self, plan: &Plan) {
        self.served.clear();
        for instance in &plan.instances {
            for family in instance.families() {
                let router = instance.router();
                let key = (router.interface.clone(), family.into(), instance.has_ah());
                let served = self.served.entry(key).or_default();
                served.selectors.push(instance.selector(family));
                let room = router.kernel_rx_buf_size.unwrap_or_default() as usize;
                served.room = served.room.saturating_add(room);
            }
        }
    }

    /// Opens, closes, joins and leaves until exactly the wanted ones are there, and goes on past
    /// what cannot be done.
    ///
    /// # Errors
    /// The first thing that could not be done.
    pub(super) fn reconcile<'a>(
        &mut self,
        wanted: &BTreeSet<Socket>,
        name: impl Fn(LinkIndex) -> Option<&'a str>,
        poller: &Poller,
    ) -> Result<(), lb_net::Error> {
        let mut groups: BTreeMap<Key, BTreeSet<_>> = BTreeMap::new();
        for socket in wanted {
            groups.entry((socket.link, socket.family, socket.ah)).or_default().extend(socket.group);
        }
        // A closed socket is watched no longer.
        self.open.retain(|key, _| groups.contains_key(key));
        self.queued.retain(|(link, family, ah, through), _| {
            *through || groups.contains_key(&(*link, *family, *ah))
        });
        let mut result = Ok(());
        for (key, groups) in groups {
            let interface = match key.0 {
                None => None,
                Some(link) => match (NonZeroU32::new(link), name(link)) {
                    (Some(index), Some(name)) => Some(Interface { index, name: name.to_owned() }),
                    // It is gone; the node will be told so.
                    _ => continue,
                },
            };
            let done = self.provide(key, interface, groups, poller);
            result = result.and(done);
        }
        result
    }

    fn provide(
        &mut self,
        key: Key,
        interface: Option<Interface>,
        groups: BTreeSet<IpAddr>,
        poller: &Poller,
    ) -> Result<(), lb_net::Error> {
        let name = interface.as_ref().map(|interface| interface.name.clone());
        let of = (name, key.1, key.2);
        let Served { selectors, room } = self.served.get(&of).cloned().unwrap_or_default();
        let (name, ..) = of;
        let open = match self.open.entry(key) {
            Entry::Occupied(entry) => {
                let open = entry.into_mut();
                open.socket.serve(&selectors)?;
                open
            }
            Entry::Vacant(entry) => {
                let family = match key.1 {
                    SocketFamily::Inet => lb_net::Family::Inet,
                    SocketFamily::Inet6 => lb_net::Family::Inet6,
                };
                let socket = match key.2 {
                    true => AdvertSocket::open_ah(interface, &selectors)?,
                    false => AdvertSocket::open(family, interface, &selectors)?,
                };
                let token = self.next_token;
                self.next_token += 2;
                let strays = |fd| poller.add_once(fd, token + 1);
                poller
                    .add(&socket, token)
                    .and_then(|()| socket.strays().map_or(Ok(()), strays))
                    .map_err(|source| lb_net::Error::System {
                        what: "watching a socket".into(),
                        source,
                    })?;
                let name = name.unwrap_or_else(|| "any interface".into());
                entry.insert(Open {
                    socket,
                    name,
                    token,
                    lost: Lost::default(),
                    groups: BTreeSet::new(),
                })
            }
        };
        open.socket.reserve(room)?;
        for group in open.groups.difference(&groups) {
            // Left already when its interface has gone.
            let _ = open.socket.leave(*group);
        }
        open.groups.retain(|group| groups.contains(group));
        for group in groups {
            if !open.groups.contains(&group) {
                open.socket.join(group)?;
                open.groups.insert(group);
            }
        }
        Ok(())
    }

    /// Opens what advertisements leave by that go out of virtual MACs. Without it they leave by the
    /// interface below, which is heard as well.
    pub(super) fn speak_through(&mut self, vmacs: &[Vmac]) {
        let families = [
            (SocketFamily::Inet, lb_net::Family::Inet, vmacs.iter().any(|vmac| vmac.ipv4)),
            (SocketFamily::Inet6, lb_net::Family::Inet6, vmacs.iter().any(|vmac| vmac.ipv6)),
        ];
        for (family, of, wanted) in families {
            if !wanted {
                self.senders.remove(&family);
            } else if let Entry::Vacant(entry) = self.senders.entry(family) {
                match AdvertSocket::open_sender(of) {
                    Ok(sender) => drop(entry.insert(sender)),
                    Err(error) => tracing::error!("{}", with_sources(&error)),
                }
            }
        }
    }

    /// Reads what waits in the socket of this token, a batch at a time. With `all`, it reads everything
    /// that had arrived when it began, and no more than the buffer holds; otherwise [`TURN`] batches at
    /// most, so that a flood keeps nobody here. Of strays one batch, and then none for a while.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        token: u64,
        all: bool,
        mut each: impl FnMut(LinkIndex, Received<'_>),
    ) {
        let Some((key, open)) =
            self.open.iter_mut().find(|(_, open)| [open.token, open.token + 1].contains(&token))
        else {
            return;
        };
        let link = key.0.unwrap_or_default();
        let strays = token != open.token;
        let batches = match (strays, all) {
            (true, _) => 1,
            (false, true) => open.socket.batches(),
            (false, false) => TURN,
        };
        for _ in 0..batches {
            let received = match strays {
                true => open.socket.receive_strays(&mut self.inbox),
                false => open.socket.receive(&mut self.inbox),
            };
            // Its interface went down; netlink tells the same in more words.
            let more = received.unwrap_or_else(|error| {
                tracing::debug!("receiving on {}: {error}", open.name);
                false
            });
            self.inbox.iter().for_each(|packet| each(link, packet));
            if !more {
                break;
            }
        }
        if strays {
            self.resting.push_back((now + REST, token));
            if let Ok(lost) = open.socket.lost_strays()
                && let Some(count) = open.lost.count(now, lost)
            {
                tracing::warn!(
                    "{}: {count} packets that no instance can accept, though they bear the number of \
                     one, were not looked at: more than {STRAYS_PER_SECOND} a second come",
                    open.name
                );
            }
        }
    }

    /// When strays are to be watched again that were read a moment ago.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resting.front().map(|(at, _)| *at)
    }

    /// Watches strays again that have rested for long enough.
    pub(super) fn watch_strays(&mut self, now: Instant, poller: &Poller) {
        while let Some((_, token)) = self.resting.front().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_front();
            let strays = self.open.values().find(|open| open.token + 1 == token);
            if let Some(fd) = strays.and_then(|open| open.socket.strays())
                && let Err(error) = poller.again(fd, token)
            {
                tracing::error!("watching packets that no instance accepts: {error}");
            }
        }
    }

    /// Queues a datagram of an advertisement until [`Sockets::flush`].
    pub(super) fn queue(&mut self, instance: InstanceId, datagram: &Datagram, payload: &[u8]) {
        let family = match datagram.destination {
            IpAddr::V4(_) => SocketFamily::Inet,
            IpAddr::V6(_) => SocketFamily::Inet6,
        };
        let mut envelope = Envelope {
            source: datagram.source,
            destination: datagram.destination,
            ttl: datagram.ttl.unwrap_or(DEFAULT_TTL),
            marking: match datagram.protocol {
                ProtocolKind::Vrrp => Marking::VRRP,
                ProtocolKind::Carp => Marking::CARP,
            },
            ah: datagram.ah,
            through: datagram.through.and_then(NonZeroU32::new),
        };
        let key = (datagram.link, family, datagram.ah.is_some());
        match (self.senders.get_mut(&family), self.open.get_mut(&key)) {
            (Some(sender), _) if envelope.through.is_some() => {
                sender.queue(&envelope, payload);
                self.queued.entry((None, family, false, true)).or_default().push(instance);
            }
            (_, Some(open)) => {
                envelope.through = None;
                open.socket.queue(&envelope, payload);
                self.queued.entry((key.0, key.1, key.2, false)).or_default().push(instance);
            }
            _ => {}
        }
    }

    /// Sends what is queued, one system call a socket. `instance` names those that cannot send.
    pub(super) fn flush<'a>(&mut self, instance: impl Fn(InstanceId) -> Option<&'a str>) {
        let Self { senders, open, queued, unsent, .. } = self;
        // A number that is free is given to another instance some day.
        unsent.retain(|id, _| instance(*id).is_some());
        for (family, sender) in senders {
            if sender.has_queued() {
                let of = queued.get_mut(&(None, *family, false, true));
                flush_one(sender, "a virtual MAC", of, unsent, &instance);
            }
        }
        for (key, Open { socket, name, .. }) in open {
            if socket.has_queued() {
                let of = queued.get_mut(&(key.0, key.1, key.2, false));
                flush_one(socket, name, of, unsent, &instance);
            }
        }
    }
}

/// Instances whose datagrams wait, in their order; by socket, or by family for what leaves through
/// virtual MACs.
type Queued = BTreeMap<(Option<LinkIndex>, SocketFamily, bool, bool), Vec<InstanceId>>;

/// Sends what one socket has queued. An instance whose advertisements the kernel refuses has a line
/// when that begins and one when it ends.
fn flush_one<'a>(
    socket: &mut AdvertSocket,
    place: &str,
    queued: Option<&mut Vec<InstanceId>>,
    unsent: &mut BTreeMap<InstanceId, u64>,
    instance: &impl Fn(InstanceId) -> Option<&'a str>,
) {
    let Some(queued) = queued else { return };
    let mut refused = Vec::new();
    socket.flush(|index, error| refused.extend(queued.get(index).map(|id| (*id, error))));
    for (id, error) in &refused {
        let count = unsent.entry(*id).or_default();
        *count += 1;
        if *count == 1 {
            let name = instance(*id).unwrap_or_default();
            tracing::warn!("({name}) advertisements cannot be sent on {place}: {error}");
        }
    }
    if !unsent.is_empty() {
        for id in queued.iter().filter(|id| !refused.iter().any(|(refused, _)| refused == *id)) {
            if let Some(count) = unsent.remove(id) {
                let name = instance(*id).unwrap_or_default();
                tracing::warn!(
                    "({name}) advertisements are sent on {place} again; {count} could not be"
                );
            }
        }
    }
    queued.clear();
}

/// Of the kernel (`net.ipv4.ip_default_ttl`, `net.ipv6.conf.*.hop_limit`) unless changed.
const DEFAULT_TTL: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_strays_are_told_of_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut lost = Lost::default();
        assert_eq!(lost.count(at(0), 0), None);
        assert_eq!(lost.count(at(1), 7), Some(7));
        assert_eq!(lost.count(at(60), 10), None);
        assert_eq!(lost.count(at(61), 12), Some(5), "those of the minute before, too");
        assert_eq!(lost.count(at(200), 12), None);
        assert_eq!(lost.count(at(300), 2), Some(u32::MAX - 9), "the count wraps around");
    }
}
