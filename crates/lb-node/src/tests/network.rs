//! A network in memory: hosts that each run a node, joined by segments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::model::{
    AddressFlags, Family, Garp, InitialState, Notify, OldUnicastChecksum, Peers, SyncGroup,
    Tracked, VirtualAddress, VirtualRouter, VrrpInstance, VrrpVersion,
};
use lb_control::EventKind;
use lb_election::IpPacket;
use lb_election::Role;

use crate::plan::Plan;
use crate::{Action, Advert, Datagram, Input, InstanceConfig, LinkIndex, Node, Phase, Socket};

/// How long a packet takes.
const LATENCY: Duration = Duration::from_millis(1);

/// An instance of version 3, multicast, one second, one VIP `10.0.VRID.100`.
pub fn instance(name: &str, interface: &str, vrid: u8, priority: u8) -> VrrpInstance {
    VrrpInstance {
        router: VirtualRouter {
            name: name.to_owned(),
            state: InitialState::Backup,
            interface: Some(interface.to_owned()),
            source: None,
            track_source: false,
            peers: Peers::Multicast { group: [224, 0, 0, 18].into() },
            vips: vec![vip([10, 0, vrid, 100])],
            excluded_vips: Vec::new(),
            dont_track_primary: false,
            track_interfaces: Vec::new(),
            track_scripts: Vec::new(),
            garp: Garp {
                repeat: 5,
                delay: Duration::from_secs(5),
                refresh: Duration::ZERO,
                refresh_repeat: 1,
                lower_prio_repeat: 5,
                lower_prio_delay: Duration::from_secs(5),
            },
            notify: Notify::default(),
            ..VirtualRouter::default()
        },
        vrid,
        version: VrrpVersion::V3,
        family: Family::Inet,
        priority,
        advert_int: Duration::from_secs(1),
        down_timer_adverts: 3,
        nopreempt: false,
        preempt_delay: Duration::ZERO,
        password: None,
        accept: true,
        skip_check_adv_addr: false,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        owner_ignore_adverts: false,
        v3_checksum_as_v2: false,
        old_unicast_checksum: OldUnicastChecksum::Detect,
        strict: false,
        ..VrrpInstance::default()
    }
}

pub fn vip(address: [u8; 4]) -> VirtualAddress {
    VirtualAddress {
        address: address.into(),
        prefix: 32,
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        no_track: false,
        flags: AddressFlags::default(),
    }
}

pub fn tracked(name: &str, weight: i16) -> Tracked {
    Tracked { name: name.to_owned(), weight, reverse: false }
}

pub fn group(name: &str, members: &[&str]) -> SyncGroup {
    SyncGroup {
        name: name.to_owned(),
        members: members.iter().map(|name| (*name).to_owned()).collect(),
        tracking_weight: false,
        notify: Notify::default(),
        smtp_alert: false,
    }
}

pub fn plan(instances: impl IntoIterator<Item = VrrpInstance>) -> Plan {
    Plan {
        instances: instances
            .into_iter()
            .map(|instance| InstanceConfig::Vrrp(Arc::new(instance)))
            .collect(),
        ..Plan::default()
    }
}

/// One host.
pub struct Host {
    pub node: Node,
    /// Addresses its node put on its links, and has not taken away.
    pub vips: BTreeSet<(LinkIndex, IpAddr)>,
    /// Rounds of announcements, and when, in milliseconds.
    pub announced: Vec<(u64, u32)>,
    /// Advertisements: when, priority.
    pub sent: Vec<(u64, u8)>,
    alive: bool,
}

/// Hosts whose link `n` (called `ethN`) is on segment `n`; host `h` has `10.0.n.(h + 1)` there.
pub struct Network {
    epoch: Instant,
    now: Instant,
    pub hosts: Vec<Host>,
    /// Events in their order: milliseconds, host, log line.
    pub log: Vec<(u64, usize, String)>,
    /// Packets under way by arrival; the number keeps their order.
    flying: BTreeMap<(Instant, u64), Flying>,
    count: u64,
    /// What a client talks to.
    watched: IpAddr,
    /// Whom it finds there, by the last announcement that reached it.
    learnt: Option<usize>,
    /// Announcements on their way to it and to the other hosts.
    announcing: BTreeMap<(Instant, u64), (usize, LinkIndex, IpAddr)>,
    /// How long it talked to somebody who does not hold the address.
    pub lost: Duration,
    /// How often other links were to be promoted.
    pub promoted: usize,
    /// Cables that are cut, by host and link.
    cut: BTreeSet<(usize, LinkIndex)>,
    deaf: BTreeSet<usize>,
    /// What hosts that are added are told by [`Node::number_from`].
    pub number_from: u32,
    /// One packet in this many is lost, by this generator's word.
    loss: Option<(u64, Random)>,
}

/// The IPv4 header before an authentication header.
fn ip_header(datagram: &Datagram, id: u16, payload: usize) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (datagram.source, datagram.destination)
    else {
        panic!("an authentication header is for IPv4");
    };
    let [len, id] = [20 + payload as u16, id].map(u16::to_be_bytes);
    let fixed = [0x45, 0xc0, len[0], len[1], id[0], id[1], 0, 0, datagram.ttl.unwrap(), 51, 0, 0];
    [&fixed[..], &source.octets(), &destination.octets()].concat()
}

/// xorshift64, good enough to lose packets by.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Flying {
    to: usize,
    link: LinkIndex,
    source: IpAddr,
    destination: IpAddr,
    ttl: Option<u8>,
    /// Octets of `payload` before the advertisement: the IP header and the one of authentication.
    ah: Option<usize>,
    payload: Vec<u8>,
}

impl Network {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            epoch: now,
            now,
            hosts: Vec::new(),
            log: Vec::new(),
            flying: BTreeMap::new(),
            count: 0,
            watched: [10, 0, 1, 100].into(),
            learnt: None,
            announcing: BTreeMap::new(),
            lost: Duration::ZERO,
            promoted: 0,
            cut: BTreeSet::new(),
            deaf: BTreeSet::new(),
            number_from: 0,
            loss: None,
        }
    }

    /// Loses one packet in `one_in`.
    pub fn lossy(mut self, one_in: u64, seed: u64) -> Self {
        self.loss = Some((one_in, Random::new(seed)));
        self
    }

    /// From now on nothing is lost.
    pub fn heal(&mut self) {
        self.loss = None;
        self.cut.clear();
        self.deaf.clear();
    }

    /// Adds a host with links 1 to `links` and starts it.
    pub fn host(&mut self, links: LinkIndex, plan: Plan) -> usize {
        self.resume(links, plan, &[])
    }

    /// The same for a host whose engine failed as MASTER of these.
    pub fn resume(&mut self, links: LinkIndex, plan: Plan, masters: &[&str]) -> usize {
        self.resume_knowing(links, plan, masters, [])
    }

    /// The same, told this before the start.
    pub fn resume_knowing<'a>(
        &mut self,
        links: LinkIndex,
        plan: Plan,
        masters: &[&str],
        known: impl IntoIterator<Item = Input<'a>>,
    ) -> usize {
        let adopt = masters.iter().map(|name| (*name).to_owned()).collect();
        let (vips, announced, sent) = Default::default();
        let mut node = Node::new(plan, &adopt, 0);
        node.number_from(self.number_from);
        self.hosts.push(Host { node, vips, announced, sent, alive: true });
        let host = self.hosts.len() - 1;
        for link in 1..=links {
            let name = format!("eth{link}");
            self.tell(host, Input::Link { link, name: &name, up: true });
            let address = IpAddr::from([10, 0, link as u8, host as u8 + 1]);
            self.tell(host, Input::Address { link, address, present: true });
        }
        known.into_iter().for_each(|input| self.tell(host, input));
        self.tell(host, Input::Start);
        host
    }

    /// Gives a node an input now.
    pub fn tell(&mut self, host: usize, input: Input<'_>) {
        let mut actions = Vec::new();
        self.hosts[host].node.handle(self.now, input, &mut actions);
        for action in actions {
            self.act(host, action);
        }
        let node = &self.hosts[host].node;
        for group in &node.groups {
            let members = group.members.iter().filter_map(|id| node.slot(*id));
            let masters = members.filter(|slot| slot.role() == Role::Master).count();
            assert!(
                masters == 0 || masters == group.members.len() || node.phase != Phase::Running,
                "host {host}: group {} is split",
                group.name
            );
        }
    }

    /// The host vanishes.
    pub fn kill(&mut self, host: usize) {
        self.hosts[host].alive = false;
        self.hosts[host].vips.clear();
    }

    /// Cuts or mends a cable; the kernel does not notice, as with a switch in between.
    pub fn cut(&mut self, host: usize, link: LinkIndex, cut: bool) {
        if cut {
            self.cut.insert((host, link));
        } else {
            self.cut.remove(&(host, link));
        }
    }

    /// The kernel sees the cable gone or back.
    pub fn carrier(&mut self, host: usize, link: LinkIndex, up: bool) {
        self.cut(host, link, !up);
        self.tell(host, Input::Link { link, name: &format!("eth{link}"), up });
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// The host hears nothing, but is heard; until all heals.
    pub fn deafen(&mut self, host: usize) {
        self.deaf.insert(host);
    }

    pub fn millis(&self) -> u64 {
        (self.now - self.epoch).as_millis() as u64
    }

    /// Runs until so many milliseconds after the beginning.
    pub fn run_until(&mut self, millis: u64) {
        let end = self.epoch + Duration::from_millis(millis);
        loop {
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let alive = self.hosts.iter().filter(|host| host.alive);
            let timer = alive.filter_map(|host| host.node.deadline()).min();
            let learns = self.announcing.keys().next().map(|(at, _)| *at);
            let next = arrival.into_iter().chain(timer).chain(learns).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.pass(at);
            while let Some(entry) = self.flying.first_entry().filter(|e| e.key().0 <= self.now) {
                let flying = entry.remove();
                self.deliver(&flying);
            }
            while let Some(e) = self.announcing.first_entry().filter(|e| e.key().0 <= self.now) {
                let (host, link, address) = e.remove();
                self.hear_announcement(host, link, address);
            }
            for host in 0..self.hosts.len() {
                let due = self.hosts[host].node.deadline().is_some_and(|at| at <= self.now);
                if self.hosts[host].alive && due {
                    self.tell(host, Input::Timer);
                    let next = self.hosts[host].node.deadline();
                    assert!(next.is_none_or(|at| at > self.now), "a timer stays due");
                }
            }
        }
        self.pass(end);
    }

    /// Lets time pass in which nothing happens.
    fn pass(&mut self, until: Instant) {
        let holds = |host: &Host| host.vips.iter().any(|(_, vip)| *vip == self.watched);
        let served = self.learnt.is_none_or(|host| holds(&self.hosts[host]));
        let passed = until.saturating_duration_since(self.now);
        if !served {
            self.lost += passed;
        }
        self.now += passed;
    }

    /// Hosts that hold a VIP.
    pub fn holders(&self, address: [u8; 4]) -> Vec<usize> {
        let address = IpAddr::from(address);
        let holds = |host: &Host| host.vips.iter().any(|(_, vip)| *vip == address);
        (0..self.hosts.len()).filter(|host| holds(&self.hosts[*host])).collect()
    }

    /// Tells of the virtual MACs that a node wants as if they had just been made.
    fn make_vmacs(&mut self, host: usize) {
        let vmacs = self.hosts[host].node.vmacs();
        for (number, vmac) in (1..).zip(vmacs) {
            let link = vmac.base + 100 * number;
            self.tell(host, Input::Link { link, name: &vmac.name, up: true });
        }
    }

    /// State changes since the last call: milliseconds, host, log line.
    pub fn story(&mut self) -> Vec<(u64, usize, String)> {
        std::mem::take(&mut self.log)
    }

    fn act(&mut self, host: usize, action: Action) {
        let millis = self.millis();
        match action {
            Action::Send { instance, advert, to } => {
                if let (Advert::Vrrp(content), None) = (advert, to) {
                    self.hosts[host].sent.push((millis, content.priority.0));
                }
                let (mut payload, mut datagrams) = (Vec::new(), Vec::new());
                self.hosts[host].node.emit(instance, advert, to, &mut payload, &mut datagrams);
                for datagram in datagrams {
                    self.send(host, &datagram, &payload[datagram.payload.clone()]);
                }
            }
            Action::AddVips { vips, .. } => {
                let added = vips.into_iter().map(|vip| (vip.link, vip.address.address));
                self.hosts[host].vips.extend(added);
            }
            Action::Confirm { link, address } => {
                self.tell(host, Input::Address { link, address, present: true });
            }
            Action::RemoveVips { vips, .. } => {
                for vip in vips {
                    self.hosts[host].vips.remove(&(vip.link, vip.address.address));
                }
            }
            Action::Announce { instance, rounds } => {
                let vips = self.hosts[host].node.vips(instance);
                let vips: Vec<_> = vips.map(|(link, vip)| (link, vip.address)).collect();
                assert!(!vips.is_empty());
                for (link, address) in vips {
                    if !self.cut.contains(&(host, link)) {
                        self.count += 1;
                        let arrival = (self.now + LATENCY, self.count);
                        self.announcing.insert(arrival, (host, link, address));
                    }
                }
                self.hosts[host].announced.push((millis, rounds));
            }
            Action::AnnounceExtra { instance } => {
                assert!(self.hosts[host].node.extra_vips(instance).next().is_some());
                self.hosts[host].announced.push((millis, 0));
            }
            Action::Promote => self.promoted += 1,
            Action::Sockets | Action::Shares(_) => {}
            Action::Vmacs => self.make_vmacs(host),
            Action::Event(event) => match *event {
                EventKind::Interface { .. }
                | EventKind::Script { .. }
                | EventKind::VrrpAdvertTimeout { .. }
                | EventKind::VrrpMasterRxHigherPri { .. }
                | EventKind::VrrpBackupRxLowerPri { .. }
                | EventKind::VrrpBackupRxStop { .. }
                | EventKind::VrrpTxStop { .. } => {}
                // Reasons have tests of their own.
                EventKind::VrrpInstance { name, from, state, priority, .. } => {
                    let event = EventKind::VrrpInstance {
                        name,
                        from,
                        state,
                        priority,
                        reason: String::new(),
                    };
                    self.log.push((millis, host, event.to_string()));
                }
                event => self.log.push((millis, host, event.to_string())),
            },
        }
    }

    fn send(&mut self, host: usize, datagram: &Datagram, payload: &[u8]) {
        let link = datagram.link.expect("every test instance has an interface");
        if self.cut.contains(&(host, link)) {
            return;
        }
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            if self.lose() {
                continue;
            }
            self.count += 1;
            let mut whole = datagram.ah.map(|id| ip_header(datagram, id, payload.len()));
            let ah = whole.as_ref().map(|ip| ip.len() + 24);
            let flying = Flying {
                to,
                link,
                source: datagram.source,
                destination: datagram.destination,
                ttl: datagram.ttl,
                ah,
                payload: [&whole.take().unwrap_or_default(), payload].concat(),
            };
            self.flying.insert((self.now + LATENCY, self.count), flying);
        }
    }

    fn deliver(&mut self, flying: &Flying) {
        let host = &self.hosts[flying.to];
        let Flying { link, source, destination, .. } = *flying;
        let group = destination.is_multicast().then_some(destination);
        let (family, ah) = (Family::Inet.into(), flying.ah.is_some());
        let sockets = host.node.sockets();
        let open = match group {
            Some(_) => sockets.contains(&Socket { link: Some(link), family, ah, group }),
            None => sockets.iter().any(|s| (s.link, s.family, s.ah) == (Some(link), family, ah)),
        };
        let here = IpAddr::from([10, 0, link as u8, flying.to as u8 + 1]);
        let ours = group.is_some() || destination == here;
        if !host.alive || !open || !ours || self.deafened(flying.to, link) {
            return;
        }
        let (headers, payload) = flying.payload.split_at(flying.ah.unwrap_or_default());
        let packet = IpPacket {
            source,
            destination,
            ttl: flying.ttl,
            declared_len: None,
            ah: ah.then_some(headers),
            payload,
        };
        self.tell(flying.to, Input::Packet { link, packet });
    }

    fn hear_announcement(&mut self, from: usize, link: LinkIndex, address: IpAddr) {
        if address == self.watched {
            self.learnt = Some(from);
        }
        let mac = [2, 0, 0, 0, 0, from as u8];
        for host in (0..self.hosts.len()).filter(|host| *host != from) {
            let hears = self.hosts[host].alive && !self.deafened(host, link);
            // Of two masters that claim an address the tests of conflicts tell themselves.
            let yielded = self.hosts[host].node.masters().is_empty();
            if hears && yielded && self.hosts[host].node.held().contains(&(link, address)) {
                self.tell(host, Input::Claim { link, address, mac });
            }
        }
    }

    fn deafened(&self, host: usize, link: LinkIndex) -> bool {
        self.cut.contains(&(host, link)) || self.deaf.contains(&host)
    }

    fn lose(&mut self) -> bool {
        match &mut self.loss {
            Some((one_in, random)) => random.below(*one_in) == 0,
            None => false,
        }
    }
}
