//! All instances of this host as one value: inputs and time in, actions out.
//!
//! The node owns every deadline of the advertiser, so one timer is armed for all of them. It joins
//! instances (`lb-vrrp`) with what they share: links and source addresses, tracked scripts, sync
//! groups, gratuitous ARP blocks, VIPs. It never touches the kernel: a simulator runs it as well.
//!
//! How to drive it:
//! 1. [`Node::new`], then [`Input::Link`] and [`Input::Address`] for everything there is, and
//!    [`Input::File`] and [`Input::Process`] for what is tracked, then [`Input::Start`].
//! 2. Sleep until [`Node::deadline`] or until a socket is readable. First give every packet that
//!    waits, then link and address changes, then [`Input::Timer`], all with one `now`.
//! 3. Do the actions of that `now` in their order, those of a reload before any further input;
//!    `Send` by [`Node::emit`] into one buffer for all consecutive `Send`s, then one `sendmmsg(2)`
//!    a socket.
//! 4. After [`Input::Stop`] go on until [`Node::stopped`]: masters that hand over hold their addresses
//!    until a successor is heard, each for [`hold_time`](lb_election::hold_time) at most. A second
//!    [`Input::Stop`] ends that at once.

mod config;
mod conflict;
mod deadlines;
mod demotion;
mod demux;
mod drive;
mod election;
mod first_word;
mod followed;
pub mod group;
mod guard;
mod kernel;
mod last_word;
mod lateness;
mod links;
mod message;
mod operator;
mod plan;
mod protocol;
pub mod record;
mod release;
mod reload;
mod scripts;
mod shares;
mod slot;
mod status;
#[cfg(test)]
mod tests;
pub mod track;
mod users;
mod vmac;
mod why;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb_config::model::{self, Peers, VirtualAddress};
use lb_control::status::Maintenance;
use lb_election::Role;

pub use config::{Carp, InstanceConfig, ProtocolKind};
pub use demotion::STATE_SYNC_GROUP;
pub use guard::Guarded;
pub use message::{Action, Datagram, Input, InstanceId, LinkIndex, Socket, SocketFamily, Vip};
pub use plan::Plan;
pub use protocol::Advert;
pub use shares::Shared;
pub use status::Status;
pub use vmac::{Vmac, VmacPrefixes};

use deadlines::Deadlines;
use demotion::Demotions;
use demux::Demux;
use followed::Followed;
use lateness::Lateness;
use links::Links;
use protocol::Together;
use scripts::Scripts;
use slot::Slot;
use users::Users;
use vmac::Vmacs;
use why::{Trigger, Words};

/// All instances of this host. See the [module](self).
#[derive(Debug)]
pub struct Node {
    /// By [`InstanceId`]; a free one is `None`.
    slots: Vec<Option<Slot>>,
    /// In the order of the configuration.
    order: Vec<InstanceId>,
    groups: Vec<Group>,
    /// What holds for every CARP instance.
    carp: model::Carp,
    demotions: Demotions,
    /// Where the seeds of instances come from.
    seeds: Seeds,
    scripts: Scripts,
    followed: Followed,
    links: Links,
    /// Whose VIP an address is.
    vip_users: Users,
    /// Who depends on a link, by its name.
    link_users: HashMap<String, BTreeSet<InstanceId>>,
    /// Whose source an address is, if that is tracked.
    source_users: Users,
    demux: Demux,
    sockets: BTreeSet<Socket>,
    vmacs: Vmacs,
    balance: shares::Balance,
    deadlines: Deadlines,
    lateness: Lateness,
    /// No more in the configuration, but not yet let go of their addresses.
    departing: Vec<InstanceId>,
    /// Why the addresses that must not accept packets are not guarded.
    unguarded: Option<(BTreeSet<IpAddr>, String)>,
    /// Removed by the last input.
    departed: Vec<InstanceId>,
    /// Slots that are `None`.
    free: Vec<InstanceId>,
    startup_delay: Duration,
    /// Advertisements with an authentication header are numbered above this one.
    number: u32,
    /// Names to resume as MASTER.
    adopt: BTreeSet<String>,
    phase: Phase,
    /// Of all instances, those to come included.
    maintenance: Option<Maintenance>,
    /// What is being handled.
    trigger: Trigger,
    /// What was said last of a reason.
    words: Words,
    /// The member that moves its group just now.
    mover: Option<InstanceId>,
    /// Empty between inputs; kept for its memory.
    scratch: Vec<protocol::Action>,
    /// The same.
    later: Vec<InstanceId>,
}

/// A sync group.
#[derive(Debug)]
struct Group {
    name: String,
    members: Vec<InstanceId>,
    together: Together,
    role: Role,
    /// It waited for a tracked script before its first role.
    waited: bool,
    /// Its last member has stopped, and that was told.
    stopped: bool,
}

/// A different number each time, out of one: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Seeds(u64);

impl Seeds {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// Told to stop; some hold their addresses until they hear a successor.
    Stopping,
    Stopped,
}

impl Node {
    /// A node that has not started. Instances whose name is in `adopt` resume as MASTER at once:
    /// the VIPs are still on this host after the engine failed and was started again.
    ///
    /// `seed` should be one that nobody can guess; with the same one a node does the same.
    #[must_use]
    pub fn new(plan: Plan, adopt: &BTreeSet<String>, seed: u64) -> Self {
        let mut node = Self {
            slots: Vec::new(),
            order: Vec::new(),
            groups: Vec::new(),
            carp: plan.carp,
            demotions: Demotions::default(),
            seeds: Seeds(seed),
            scripts: Scripts::default(),
            followed: Followed::default(),
            links: Links::default(),
            vip_users: Users::default(),
            link_users: HashMap::new(),
            source_users: Users::default(),
            demux: Demux::default(),
            sockets: BTreeSet::new(),
            vmacs: Vmacs::default(),
            balance: shares::Balance::default(),
            deadlines: Deadlines::default(),
            lateness: Lateness::default(),
            departing: Vec::new(),
            unguarded: None,
            departed: Vec::new(),
            free: Vec::new(),
            startup_delay: plan.startup_delay,
            number: 0,
            adopt: adopt.clone(),
            phase: Phase::New,
            maintenance: None,
            trigger: Trigger::default(),
            words: Words::default(),
            mover: None,
            scratch: Vec::new(),
            later: Vec::new(),
        };
        let tracked = (plan.instances.iter())
            .filter(|instance| adopt.contains(instance.name()))
            .flat_map(|instance| {
                instance.router().track_scripts.iter().map(|tracked| tracked.name.clone())
            });
        let tracked: BTreeSet<String> = tracked.collect();
        node.install(plan);
        node.scripts.trust(&tracked);
        node
    }

    /// Numbers advertisements with `auth_type AH` above this one; to be called before the start. Peers
    /// refuse numbers that they have heard: the seconds since 1970 are more than any router has sent,
    /// because version 2 sends one a second, and more than an earlier process here began with.
    pub fn number_from(&mut self, number: u32) {
        self.number = number;
        let slots = self.slots.iter_mut().flatten();
        slots.for_each(|slot| slot.protocol.number_from(number));
    }

    /// Takes one input at `now` and pushes what to do, in the order to do it.
    ///
    /// Never blocks, reads a clock or fails. `now` never goes backwards. What many instances do at
    /// one moment is pushed in two parts, so that it can be done in batches: what makes each MASTER
    /// or not, instance by instance, then the announcements and events of all. The order within
    /// each instance stays.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Action>) {
        for id in self.departed.drain(..) {
            self.slots[id.index()] = None;
            self.free.push(id);
        }
        self.trigger = Trigger::of(&input);
        let first = out.len();
        match (self.phase, input) {
            (Phase::Running | Phase::Stopping, Input::Packet { link, packet }) => {
                self.packet(now, link, packet, out);
            }
            (Phase::Running | Phase::Stopping, Input::Advertise) => {
                self.run_timers(now, Slot::advertises, out);
            }
            (Phase::Running | Phase::Stopping, Input::Timer) => {
                self.run_process_timers(now, out);
                self.run_timers(now, |_| true, out);
                batch(&mut out[first..]);
            }
            (Phase::New | Phase::Running | Phase::Stopping, Input::Link { link, name, up }) => {
                let changed = self.links.set(link, name, up);
                self.links_changed(now, &changed, out);
            }
            (Phase::New | Phase::Running | Phase::Stopping, Input::LinkGone { link }) => {
                let changed = self.links.remove(link);
                self.links_changed(now, changed.as_slice(), out);
            }
            (Phase::New | Phase::Running, Input::Address { link, address, present }) => {
                self.address(now, link, address, present, out);
            }
            (Phase::Running, Input::Script { name, success }) => {
                self.script(now, name, success, out);
            }
            (Phase::Running, Input::Handover { name }) => self.hand_over(now, name, out),
            (Phase::New | Phase::Running, Input::Maintenance { name, state }) => {
                self.maintain(now, name, state.as_ref(), out);
            }
            (Phase::Running, Input::Claim { link, address, mac }) => {
                self.claim(now, link, address, mac, out);
            }
            (Phase::New | Phase::Running, Input::File { name, value }) => {
                self.file(now, name, value, out);
            }
            (Phase::New | Phase::Running, Input::Process { name, running, forked }) => {
                self.process(now, name, running, forked, out);
            }
            (Phase::Running, Input::Demote { group, by }) => self.demote(now, group, by, out),
            (Phase::New | Phase::Running, Input::StateSync { failure }) => {
                self.state_sync(now, failure, out);
            }
            (Phase::New, Input::Start) => {
                self.start(now, out);
                batch(&mut out[first..]);
            }
            (Phase::Running, Input::Reload(plan)) => self.reload(now, plan, out),
            (Phase::Running | Phase::Stopping, Input::Stop) => {
                self.stop(now, out);
                batch(&mut out[first..]);
            }
            (Phase::New, Input::Stop) => self.phase = Phase::Stopped,
            (
                Phase::New | Phase::Running | Phase::Stopping,
                Input::VmacFailed { name, reason, taken },
            ) => {
                self.vmac_failed(now, name, reason, taken, out);
            }
            (Phase::New | Phase::Running, Input::Sharing { failure }) => {
                self.sharing(now, failure, out);
            }
            (Phase::New | Phase::Running, Input::Guarding { open, reason }) => {
                self.guarding(now, open, reason, out);
            }
            (Phase::New | Phase::Running | Phase::Stopping | Phase::Stopped, _) => {}
        }
        self.rebalance(out);
        self.note_announcements(now, out.get(first..).unwrap_or_default());
    }

    /// When to give [`Input::Timer`]; `None` while nothing is timed. Never later than any timer,
    /// at times earlier than the first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if !matches!(self.phase, Phase::Running | Phase::Stopping) {
            return None;
        }
        [self.deadlines.first(), self.followed.deadline()].into_iter().flatten().min()
    }

    /// Appends one advertisement of an instance, to everybody or `to` one router: its octets to
    /// `payload`, and to `datagrams` one entry a destination.
    ///
    /// Appends nothing when the instance cannot send: no link or source, or a link that is down. The kernel would keep what goes to a peer until the link is up again, and
    /// then an old "I stop" would be believed.
    pub fn emit(
        &self,
        instance: InstanceId,
        advert: Advert,
        to: Option<IpAddr>,
        payload: &mut Vec<u8>,
        datagrams: &mut Vec<Datagram>,
    ) {
        let Some(slot) = self.slot(instance) else { return };
        let router = slot.config.router();
        let on = slot.link.or(slot.left);
        if router.interface.is_some() {
            let link = on.and_then(|link| self.links.get(link));
            if !link.is_some_and(|link| link.up || router.dont_track_primary) {
                return;
            }
        }
        // The switch must not believe that a virtual MAC is here because of what is said to the one
        // that has it.
        let through = slot.speaks_through(&self.links).filter(|_| to.is_none());
        let mut send = |source: IpAddr, destination: IpAddr, ttl: Option<u8>| {
            let start = payload.len();
            // A digest covers it; such a datagram has one.
            let covered = ttl.unwrap_or_default();
            let ah = slot.protocol.emit(advert, (source, destination), covered, payload);
            let payload = start..payload.len();
            let (link, protocol) = (on, slot.config.kind());
            datagrams.push(Datagram {
                link,
                through,
                source,
                destination,
                protocol,
                ttl,
                ah,
                payload,
            });
        };
        if let Some(to) = to {
            if let Some(source) = slot.sources.to(to) {
                let ttl = match &router.peers {
                    Peers::Unicast { ttl, .. } => ttl.or(to.is_ipv4().then_some(255)),
                    Peers::Multicast { .. } => Some(255),
                };
                send(source, to, ttl);
            }
            return;
        }
        for family in slot.config.families() {
            let Some(source) = slot.sources.of(family) else { continue };
            match (slot.config.group(family), &router.peers) {
                (Some(group), _) => send(source, group, Some(255)),
                (None, Peers::Unicast { peers, ttl, .. }) => {
                    let ttl = ttl.or(source.is_ipv4().then_some(255));
                    let peers = peers.iter().map(|peer| peer.address);
                    let of_family = peers.filter(|peer| peer.is_ipv4() == source.is_ipv4());
                    of_family.for_each(|peer| send(source, peer, ttl));
                }
                (None, Peers::Multicast { .. }) => {}
            }
        }
    }

    /// The VIPs of an instance whose links exist, the advertised ones first.
    pub fn vips(&self, instance: InstanceId) -> impl Iterator<Item = (LinkIndex, &VirtualAddress)> {
        self.slot(instance).into_iter().flat_map(|slot| slot.vips(&self.links))
    }

    /// One VIP of each link that switches hear of by `garp_extra_if` alone.
    pub fn extra_vips(
        &self,
        instance: InstanceId,
    ) -> impl Iterator<Item = (LinkIndex, &VirtualAddress)> {
        self.slot(instance).into_iter().flat_map(|slot| slot.extra_vips(&self.links))
    }

    /// Name of an instance; those that the last input removed are still known.
    #[must_use]
    pub fn name(&self, instance: InstanceId) -> Option<&str> {
        Some(self.slot(instance)?.config.name())
    }

    /// Whether an instance is MASTER no longer and still has its addresses, for a moment.
    #[must_use]
    pub fn lets_go(&self, name: &str) -> bool {
        self.living().any(|slot| slot.config.name() == name && slot.release_at().is_some())
    }

    /// Announces what masters hold on a link whose MAC has changed.
    pub fn announce_link(&self, link: LinkIndex, out: &mut Vec<Action>) {
        for id in &self.order {
            let Some(slot) = self.slot(*id).filter(|slot| slot.role() == Role::Master) else {
                continue;
            };
            if slot.held.vips().iter().any(|vip| vip.link == link) {
                slot.announce(*id, slot.config.router().garp.repeat, out);
            }
        }
    }

    /// Addresses whose claims by others are to be told, and where: those that this host alone should
    /// answer for, which are what it holds and what its advertisements come from, and those that it
    /// held until a moment ago.
    #[must_use]
    pub fn held(&self) -> Vec<(LinkIndex, IpAddr)> {
        let masters = self.living().filter(|slot| slot.role() == Role::Master);
        let alone = masters.filter(|slot| shares::balanced(slot).is_none());
        let vips = alone.flat_map(|slot| slot.held.vips());
        let vips = vips.map(|vip| (vip.link, vip.address.address));
        let sources = self.living().flat_map(|slot| {
            let families = slot.config.families();
            families.filter_map(|family| Some((slot.link?, slot.sources.of(family)?)))
        });
        let yielded =
            self.living().filter(|slot| slot.role() != Role::Master && slot.last_word.is_some());
        let yielded = yielded.flat_map(|slot| slot.vips(&self.links));
        let yielded = yielded.map(|(link, vip)| (link, vip.address));
        let all: BTreeSet<_> = vips.chain(sources).chain(yielded).collect();
        all.into_iter().collect()
    }

    /// Every VIP of the configuration whose link exists, whoever is MASTER.
    #[must_use]
    pub fn configured_vips(&self) -> HashSet<(LinkIndex, IpAddr)> {
        let present = self.order.iter().chain(&self.departing).filter_map(|id| self.slot(*id));
        let vips = present.flat_map(|slot| slot.vips(&self.links));
        vips.map(|(link, vip)| (link, vip.address)).collect()
    }

    /// The sockets to have open now.
    #[must_use]
    pub fn sockets(&self) -> &BTreeSet<Socket> {
        &self.sockets
    }

    /// Names of the instances that are MASTER, to be given to [`Node::new`] after a failure.
    #[must_use]
    pub fn masters(&self) -> BTreeSet<String> {
        let masters = self.living().filter(|slot| slot.role() == Role::Master);
        masters.map(|slot| slot.config.name().to_owned()).collect()
    }

    /// State of every instance. `wall` is the wall clock at `now`.
    #[must_use]
    pub fn status(&self, now: Instant, wall: Timestamp) -> Status {
        self.snapshot(now, wall)
    }

    /// Whether [`Input::Stop`] was given and every instance has let go.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    fn slot(&self, id: InstanceId) -> Option<&Slot> {
        self.slots.get(id.index())?.as_ref()
    }

    fn slot_mut(&mut self, id: InstanceId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    /// In the order of the configuration.
    fn living(&self) -> impl Iterator<Item = &Slot> {
        self.order.iter().filter_map(|id| self.slot(*id))
    }
}

/// Orders actions by their urgency. Steady advertising is of one kind and costs nothing.
fn batch(actions: &mut [Action]) {
    let rank = |action: &Action| match action {
        Action::Sockets => 0,
        Action::Send { .. }
        | Action::RemoveVips { .. }
        | Action::Shares(_)
        | Action::AddVips { .. }
        | Action::Confirm { .. } => 1,
        Action::Announce { .. } | Action::AnnounceExtra { .. } => 2,
        Action::Event(_) => 3,
        Action::Vmacs | Action::Promote => 4,
    };
    if !actions.is_sorted_by_key(rank) {
        actions.sort_by_key(rank);
    }
}
