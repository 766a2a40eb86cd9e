//! The state machine of one instance.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_election::{Input, IpPacket, Leave, Peers, Role};

use crate::ah;
use crate::checksum::Checksum;
use crate::config::Config;
use crate::counters::Counters;
use crate::error::WireError;
use crate::message::{Action, Content, Sender};
use crate::reason::{Patience, Reason};
use crate::types::{Priority, Version};
use crate::wire::{Advert, Auth};

mod ask;

/// For how long an answer holds: the shortest interval of version 3.
const ANSWERED_FOR: Duration = Duration::from_millis(10);

/// A VRRP instance of this host, as a value.
#[derive(Clone, Debug)]
pub struct Instance {
    config: Config,
    state: State,
    reason: Reason,
    /// Why it would be MASTER but for its group.
    wish: Reason,
    /// With what is tracked; without meaning for an owner.
    tracked: Priority,
    /// An owner that yielded to another owner is content with 254.
    lowered: bool,
    /// The last choice in the election.
    maintenance: bool,
    /// After a hand-over: puts up with a lower priority.
    content: bool,
    /// Where our advertisements come from: decides between equals.
    source: Option<IpAddr>,
    /// Interval of the master; ours until we heard one. RFC 9568 §6.1 Active_Adver_Interval.
    master_adver_int: Duration,
    /// Nothing is heard and no timer runs before.
    deaf_until: Option<Instant>,
    /// The master we respect.
    master: Option<Sender>,
    /// A master of lower priority, heard since.
    lower: Option<Sender>,
    /// Whom we heard last, respected or not.
    heard: Option<IpAddr>,
    /// [`WireError::bit`]s that have been reported.
    reported: u32,
    /// When another master was answered last.
    answered_at: Option<Instant>,
    /// Number of the last advertisement that was heard or sent with `auth_type AH`.
    number: u32,
    /// A peer computes the checksum of unicast in the old way, so we do.
    old_unicast: bool,
    counters: Counters,
}

/// State with the deadlines that exist only in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or shut down.
    Init,
    /// Listens.
    Backup {
        /// When the master is dead if nothing is heard.
        down_at: Instant,
        /// When a lower priority that is MASTER is no longer put up with (`preempt_delay`).
        preempt_at: Option<Instant>,
        /// Would be MASTER but for the sync group.
        willing: bool,
        /// The timer came late by an interval or more, and a second time is waited for.
        late: bool,
    },
    /// Holds the addresses.
    Master {
        /// When to advertise next.
        next_at: Instant,
        /// Against another owner of the same addresses.
        duel: Option<Duel>,
    },
    /// Has said that it stops, and holds the addresses silently until the successor is heard.
    Leaving {
        /// How long.
        until: Instant,
        /// Why.
        leave: Leave,
    },
    /// Cannot take part.
    Fault,
}

/// Two routers that both own the addresses: the one with the higher address gives the other two
/// more advertisements to see its mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duel {
    rival: IpAddr,
    /// Advertisements still to be sent.
    adverts: u8,
    /// Then the rival has so long to fall silent.
    patience: Duration,
    /// When that ends; `None` while advertisements are to be sent.
    until: Option<Instant>,
}

impl State {
    /// Without its deadlines.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Init => Role::Init,
            Self::Backup { .. } => Role::Backup,
            Self::Master { .. } | Self::Leaving { .. } => Role::Master,
            Self::Fault => Role::Fault,
        }
    }
}

/// What the transition table sees.
#[derive(Clone, Copy)]
enum Event<'a> {
    Startup,
    Shutdown,
    Timer,
    Advert(Advert<'a>, IpAddr),
    Priority(Priority),
    Fault { own: bool },
    Recover,
    Advertise,
    VipLost,
    Promote,
    Demote,
    Leave(Leave),
    Maintenance(bool),
}

impl Instance {
    /// An instance in INIT.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            state: State::Init,
            reason: Reason::New,
            wish: Reason::New,
            tracked: config.priority,
            lowered: false,
            maintenance: false,
            content: false,
            source: None,
            master_adver_int: config.adver_int,
            deaf_until: None,
            master: None,
            lower: None,
            answered_at: None,
            heard: None,
            reported: 0,
            number: 0,
            old_unicast: false,
            counters: Counters::default(),
            config,
        }
    }

    /// Takes one input at `now` and pushes what to do, in the order to do it.
    ///
    /// Never blocks, reads a clock or fails; an input that means nothing in this state pushes
    /// nothing. `now` never goes backwards. RFC 9568 §6.4; keepalived where it differs.
    ///
    /// - [`Input::Maintenance`] makes the priority 1, an owner's too; a reload does not end it.
    /// - [`Input::Handover`] makes a BACKUP that is content: it does not preempt until it was
    ///   MASTER again or [`Input::Maintenance`]`(false)` comes.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut impl Extend<Action>) {
        let event = match input {
            Input::Packet(packet) => match self.receive(now, &packet, out) {
                Some(advert) => Event::Advert(advert, packet.source),
                None => return,
            },
            Input::Startup => Event::Startup,
            Input::Shutdown => Event::Shutdown,
            Input::Timer => Event::Timer,
            Input::Tracked(total) => Event::Priority(self.tracked_priority(total)),
            Input::Fault { own } => Event::Fault { own },
            Input::Recover => Event::Recover,
            Input::Advertise => Event::Advertise,
            Input::VipLost => Event::VipLost,
            Input::Promote => Event::Promote,
            Input::Demote => Event::Demote,
            Input::Handover => Event::Leave(Leave::Handover),
            Input::Maintenance(on) => Event::Maintenance(on),
        };
        self.transition(now, event, out);
    }

    /// When to give [`Input::Timer`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Backup { down_at, .. } => Some(down_at),
            State::Master { next_at, .. } => Some(next_at),
            State::Leaving { until, .. } => Some(until),
            State::Init | State::Fault => None,
        }
    }

    fn transition(&mut self, now: Instant, event: Event<'_>, out: &mut impl Extend<Action>) {
        match (self.state, event) {
            // §6.4.1: the owner does not wait, and nothing is told of a BACKUP that it never is.
            (State::Init, Event::Startup) if self.owner_takes_all_at(now) => {
                self.become_master(now, Reason::Owner, out);
            }
            (State::Init, Event::Startup) | (State::Fault, Event::Recover) => {
                let started = matches!(self.state, State::Init);
                self.master_adver_int = self.config.adver_int;
                let start = self.deaf_until.map_or(now, |until| until.max(now));
                // keepalived has it wait a microsecond.
                let wait = if self.owner() && self.config.wants_master {
                    Duration::from_micros(1)
                } else {
                    self.down_interval()
                };
                let reason = if started { Reason::Startup } else { Reason::Recovered };
                self.become_backup(start + wait, reason, out);
            }
            (State::Backup { willing: true, .. }, Event::Promote) => {
                self.become_master(now, self.wish, out);
            }
            (State::Init | State::Backup { .. }, Event::Promote) => {
                self.become_master(now, Reason::Promoted, out);
            }

            // Not in the RFC: this host stood still, perhaps with its network, so that silence says
            // nothing of the master. Listens once more, but for an owner that starts.
            (State::Backup { down_at, preempt_at, late: false, .. }, Event::Timer)
                if now >= down_at + self.master_adver_int
                    && self.why_take_over() != Reason::Owner =>
            {
                let down_at = now + self.down_interval();
                self.state = State::Backup { down_at, preempt_at, willing: false, late: true };
            }
            // §6.4.2: nothing heard for Active_Down_Interval.
            (State::Backup { down_at, preempt_at, .. }, Event::Timer) if now >= down_at => {
                let reason = self.why_take_over();
                if self.config.grouped {
                    self.wish = reason;
                    // A preempt_delay that is over stays so: begun anew, it would make this one
                    // unwilling again before the others of the group are through with theirs.
                    let down_at = now + self.down_interval();
                    let late = false;
                    self.state = State::Backup { down_at, preempt_at, willing: true, late };
                    out.extend([Action::Willing]);
                } else {
                    self.become_master(now, reason, out);
                }
            }
            // §6.4.2: the master says it stops: wait Skew_Time instead. It is of the master's interval
            // even if we would have preempted and did not heed it: for so long it waits for us.
            (State::Backup { preempt_at, .. }, Event::Advert(advert, from))
                if advert.priority == Priority::STOP =>
            {
                self.heed_interval(&advert);
                self.master = Some(Sender { address: from, priority: advert.priority });
                self.lower = None;
                let down_at = now + self.skew();
                self.state = State::Backup { down_at, preempt_at, willing: false, late: false };
                out.extend([Action::MasterStops]);
            }
            (State::Backup { preempt_at, .. }, Event::Advert(advert, from)) => {
                let lower = advert.priority < self.effective_priority();
                let preempt_at = match preempt_at {
                    _ if !lower || self.config.nopreempt || self.content => None,
                    // The first lower priority starts the delay.
                    None => Some(now + self.config.preempt_delay),
                    running => running,
                };
                // §6.4.2: a lower priority that may be preempted is discarded: the timer runs on.
                if preempt_at.is_some_and(|at| now >= at) {
                    self.lower = Some(Sender { address: from, priority: advert.priority });
                    let State::Backup { preempt_at: at, .. } = &mut self.state else { return };
                    *at = preempt_at;
                    out.extend([Action::Discard { from, advert: advert.priority.into() }]);
                    return;
                }
                // §6.4.2: a master we respect; from now on its interval counts, not ours.
                self.respect(&advert, from);
                let down_at = now + self.down_interval();
                self.state = State::Backup { down_at, preempt_at, willing: false, late: false };
            }
            (State::Backup { down_at, preempt_at, willing, late }, Event::Priority(priority)) => {
                let before = self.down_interval();
                self.tracked = priority;
                let down_at = shift(now, down_at, before, self.down_interval());
                self.state = State::Backup { down_at, preempt_at, willing, late };
            }
            (State::Backup { down_at, preempt_at, willing, late }, Event::Maintenance(on)) => {
                let before = self.down_interval();
                self.maintain(on);
                let down_at = shift(now, down_at, before, self.down_interval());
                self.state = State::Backup { down_at, preempt_at, willing, late };
            }

            // §6.4.3: the interval is over.
            (State::Master { next_at, .. }, Event::Timer)
                if now + self.config.advert_slack >= next_at =>
            {
                // On the grid, unless it has been left by more than an interval.
                let on_grid = next_at + self.config.adver_int;
                let next_at = if now < on_grid { on_grid } else { now + self.config.adver_int };
                self.advertise(now, next_at, out);
            }
            // §6.4.3: another master stops: say at once that we are here, and to clients as well.
            (State::Master { .. }, Event::Advert(advert, _))
                if advert.priority == Priority::STOP =>
            {
                self.answer(now, out);
                if self.config.handover.is_some() {
                    out.extend([Action::AnnounceAlone]);
                }
            }
            // §6.4.3: a better master, by priority, then by address.
            (State::Master { .. }, Event::Advert(advert, from))
                if let Some(reason) = self.beaten_by(&advert, from) =>
            {
                if self.config.higher_prio_send_advert {
                    self.send(self.effective_priority(), out);
                }
                self.yield_to(now, &advert, from, reason, out);
            }
            (State::Master { .. }, Event::Advert(advert, from))
                if advert.priority == self.effective_priority() && self.source == Some(from) =>
            {
                self.report(from, WireError::OwnAddress, out);
            }
            // §6.4.3: a worse one: answer at once.
            (State::Master { next_at, duel }, Event::Advert(advert, from)) => {
                let duel = self.duel(now, duel, &advert, from);
                if duel.and_then(|duel| duel.until).is_some_and(|until| now >= until) {
                    self.lowered = true;
                    self.yield_to(now, &advert, from, Reason::Duel { from }, out);
                    return;
                }
                self.state = State::Master { next_at, duel };
                out.extend([Action::Weaker { from, advert: advert.priority.into() }]);
                if !self.config.lower_prio_no_advert {
                    self.answer(now, out);
                }
                out.extend([Action::AnnounceAgain]);
            }
            (State::Master { .. }, Event::Advertise) => self.send(self.effective_priority(), out),
            // Somebody meddles: let go and retake it soon.
            (State::Master { .. }, Event::VipLost) => {
                self.send(Priority::STOP, out);
                self.leave_master(Action::RemoveVips, out);
                self.become_backup(now + self.skew(), Reason::VipLost, out);
            }
            (State::Master { .. }, Event::Demote) => {
                self.leave_master(self.yielding(), out);
                self.become_backup(now + self.down_interval(), Reason::Demoted, out);
            }
            (State::Master { .. }, Event::Shutdown) => self.leave(now, Leave::Stop, out),
            (State::Master { .. }, Event::Leave(leave)) => self.leave(now, leave, out),
            (State::Master { .. }, Event::Maintenance(true)) => {
                self.maintain(true);
                self.leave(now, Leave::Maintenance, out);
            }

            // The successor: it has the addresses now.
            (State::Leaving { leave, .. }, Event::Advert(advert, from))
                if advert.priority != Priority::STOP && self.source != Some(from) =>
            {
                self.respect(&advert, from);
                self.leave_master(Action::ReleaseVips, out);
                self.left(now, leave, Reason::TookOver { by: from, leave }, out);
            }
            (State::Leaving { until, leave: Leave::Stop }, Event::Timer) if now >= until => {
                self.leave_master(Action::RemoveVips, out);
                self.left(now, Leave::Stop, Reason::Alone { leave: Leave::Stop }, out);
            }
            (State::Leaving { until, leave }, Event::Timer) if now >= until => {
                self.stay(now, Reason::Alone { leave }, out);
            }
            (State::Leaving { leave: Leave::Maintenance, .. }, Event::Maintenance(false)) => {
                self.maintain(false);
                self.stay(now, Reason::Stayed, out);
            }
            (State::Leaving { .. }, Event::Promote) => self.stay(now, Reason::Stayed, out),
            (State::Leaving { until, .. }, Event::Shutdown) => {
                self.state = State::Leaving { until, leave: Leave::Stop };
            }
            // The group has a successor.
            (State::Leaving { leave, .. }, Event::Demote) => {
                self.leave_master(Action::ReleaseVips, out);
                self.left(now, leave, Reason::Leaving(leave), out);
            }
            (State::Leaving { leave, .. }, Event::VipLost) => {
                self.leave_master(Action::RemoveVips, out);
                self.left(now, leave, Reason::VipLost, out);
            }
            (State::Leaving { .. }, Event::Fault { own }) => {
                self.leave_master(Action::RemoveVips, out);
                self.enter(State::Fault, Reason::Fault { own }, out);
            }

            (State::Master { .. }, Event::Fault { own }) => {
                // Twice for the instance that failed: one of them may be lost with it.
                for _ in 0..if own { 2 } else { 1 } {
                    self.send(Priority::STOP, out);
                }
                self.leave_master(Action::RemoveVips, out);
                self.enter(State::Fault, Reason::Fault { own }, out);
            }
            (State::Init | State::Backup { .. }, Event::Fault { own }) => {
                self.enter(State::Fault, Reason::Fault { own }, out);
            }
            (State::Backup { .. } | State::Fault, Event::Shutdown) => {
                self.state = State::Init;
                self.reason = Reason::Leaving(Leave::Stop);
            }

            (_, Event::Priority(priority)) => self.tracked = priority,
            (_, Event::Maintenance(on)) => self.maintain(on),
            (
                State::Init
                | State::Backup { .. }
                | State::Master { .. }
                | State::Leaving { .. }
                | State::Fault,
                _,
            ) => {}
        }
    }

    /// The receive rules beyond the packet itself.
    fn receive<'a>(
        &mut self,
        now: Instant,
        packet: &IpPacket<'a>,
        out: &mut impl Extend<Action>,
    ) -> Option<Advert<'a>> {
        if matches!(self.state, State::Init | State::Fault)
            || self.deaf_until.is_some_and(|until| now < until)
        {
            self.overhear(packet);
            return None;
        }
        let advert = match Advert::parse(packet, &self.config) {
            Ok(advert) => advert,
            Err(error) => {
                self.report(packet.source, error, out);
                return None;
            }
        };
        if let Auth::Header { number } = advert.auth {
            if number <= self.number {
                let error = WireError::Replayed { number, last: self.number };
                self.report(packet.source, error, out);
                return None;
            }
            self.number = number;
        }
        if self.owner() && self.config.owner_ignore_adverts {
            return None;
        }
        let backup = matches!(self.state, State::Backup { .. });
        if backup && advert.priority == Priority::STOP && self.is_aside(packet) {
            return None;
        }
        let new_sender = self.heard != Some(packet.source);
        if new_sender {
            self.heard = Some(packet.source);
            self.reported = 0;
        }
        let master = matches!(self.state, State::Master { .. });
        if (master || new_sender || !self.config.skip_check_adv_addr)
            && !self.config.vips.agree_with(advert.addresses)
        {
            self.report(packet.source, WireError::AddressList, out);
        }
        self.counters.advert_rcvd += 1;
        if advert.priority == Priority::STOP {
            self.counters.pri_zero_rcvd += 1;
        }
        if advert.checksum == Checksum::OldUnicast {
            self.old_unicast = true;
        }
        if new_sender || advert.priority != Priority::OWNER {
            self.lowered = false;
        }
        Some(advert)
    }

    /// Follows the numbers of the others while it takes no part, so that its first advertisement after
    /// that is no replay to them.
    fn overhear(&mut self, packet: &IpPacket<'_>) {
        if self.config.header_key.is_some()
            && let Ok(Advert { auth: Auth::Header { number }, .. }) =
                Advert::parse(packet, &self.config)
        {
            self.number_from(number);
        }
    }

    /// Whether a packet is meant for us alone, or cannot be of the master: a router that yielded says
    /// to the master that it stopped, and we may have ceased to be that.
    fn is_aside(&self, packet: &IpPacket<'_>) -> bool {
        let is = |known: Option<Sender>| known.is_some_and(|one| one.address == packet.source);
        match self.config.peers {
            Peers::Multicast => !packet.destination.is_multicast(),
            Peers::Unicast { .. } => {
                let master = self.master.filter(|master| master.priority != Priority::STOP);
                master.is_some() && !is(master) && !is(self.lower)
            }
        }
    }

    /// Counts always, reports once.
    fn report(&mut self, from: IpAddr, error: WireError, out: &mut impl Extend<Action>) {
        if let Some(counter) = self.counters.of(error) {
            *counter += 1;
        }
        if self.reported & error.bit() != error.bit() {
            self.reported |= error.bit();
            out.extend([Action::Report { from, error }]);
        }
    }

    /// By priority, then by address; equal in both is nobody's victory.
    fn beaten_by(&self, advert: &Advert<'_>, from: IpAddr) -> Option<Reason> {
        let (theirs, ours) = (advert.priority, self.effective_priority());
        match (theirs.cmp(&ours), self.source) {
            (Ordering::Greater, _) => Some(Reason::Higher { from, theirs, ours }),
            (Ordering::Equal, Some(source)) if from > source => {
                Some(Reason::Tie { from, priority: ours, source })
            }
            (Ordering::Less | Ordering::Equal, _) => None,
        }
    }

    /// What the timer that has run out was for.
    fn why_take_over(&self) -> Reason {
        let patience = self.patience();
        match (self.reason, self.lower, self.master) {
            (_, Some(lower), _) => Reason::Lower { from: lower, ours: self.effective_priority() },
            (_, None, Some(Sender { address, priority: Priority::STOP })) => {
                Reason::Stopped { from: address, patience }
            }
            (Reason::VipLost, None, None) => Reason::Retaken { patience },
            (Reason::Startup | Reason::Recovered, None, None)
                if self.owner() && self.config.wants_master =>
            {
                Reason::Owner
            }
            (_, None, last) => Reason::Silence { patience, last },
        }
    }

    /// Follows the duel of two owners, of whom we have the higher address.
    fn duel(
        &self,
        now: Instant,
        duel: Option<Duel>,
        advert: &Advert<'_>,
        from: IpAddr,
    ) -> Option<Duel> {
        if self.effective_priority() != Priority::OWNER || advert.priority != Priority::OWNER {
            return None;
        }
        // An old one, long decided, does not count.
        let running = duel.filter(|duel| {
            duel.rival == from && duel.until.is_none_or(|until| now < until + duel.patience)
        });
        let longest = self.config.adver_int.max(advert.adver_int);
        let begin = || Duel { rival: from, adverts: 2, patience: longest * 6 / 5, until: None };
        Some(running.unwrap_or_else(begin))
    }

    fn respect(&mut self, advert: &Advert<'_>, from: IpAddr) {
        self.master = Some(Sender { address: from, priority: advert.priority });
        self.lower = None;
        self.heed_interval(advert);
    }

    /// Version 2 refuses any but our own.
    fn heed_interval(&mut self, advert: &Advert<'_>) {
        if self.config.version == Version::V3 {
            self.master_adver_int = advert.adver_int;
        }
    }

    fn yield_to(
        &mut self,
        now: Instant,
        advert: &Advert<'_>,
        from: IpAddr,
        reason: Reason,
        out: &mut impl Extend<Action>,
    ) {
        self.leave_master(self.yielding(), out);
        self.respect(advert, from);
        self.become_backup(now + self.down_interval(), reason, out);
    }

    /// How to let go when somebody else is MASTER already.
    fn yielding(&self) -> Action {
        if self.config.handover.is_some() { Action::ReleaseVips } else { Action::RemoveVips }
    }

    fn become_backup(&mut self, down_at: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        let (preempt_at, willing, late) = (None, false, false);
        self.enter(State::Backup { down_at, preempt_at, willing, late }, reason, out);
    }

    fn become_master(&mut self, now: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        self.master_adver_int = self.config.adver_int;
        self.lowered = false;
        self.content = false;
        (self.master, self.lower) = (None, None);
        self.counters.become_master += 1;
        self.send(self.effective_priority(), out);
        out.extend([Action::AddVips, Action::Announce]);
        let next_at = now + self.config.adver_int;
        self.enter(State::Master { next_at, duel: None }, reason, out);
    }

    /// §6.4.3: says that it stops; lets go when another router took over, or at once.
    fn leave(&mut self, now: Instant, leave: Leave, out: &mut impl Extend<Action>) {
        self.send(Priority::STOP, out);
        if let Some(hold) = self.config.handover {
            self.state = State::Leaving { until: now + hold, leave };
            self.reported = 0;
        } else {
            self.leave_master(Action::RemoveVips, out);
            self.left(now, leave, Reason::Leaving(leave), out);
        }
    }

    /// The addresses are let go.
    fn left(&mut self, now: Instant, leave: Leave, reason: Reason, out: &mut impl Extend<Action>) {
        if leave == Leave::Stop {
            (self.state, self.reason) = (State::Init, reason);
            return;
        }
        self.content = leave == Leave::Handover;
        self.become_backup(now + self.down_interval(), reason, out);
    }

    /// Goes on as MASTER, whose addresses it still has.
    fn stay(&mut self, now: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        self.reason = reason;
        self.reported = 0;
        let next_at = now + self.config.adver_int;
        self.state = State::Master { next_at, duel: None };
        self.advertise(now, next_at, out);
    }

    fn leave_master(&mut self, let_go: Action, out: &mut impl Extend<Action>) {
        self.counters.release_master += 1;
        out.extend([let_go]);
    }

    fn enter(&mut self, state: State, reason: Reason, out: &mut impl Extend<Action>) {
        (self.state, self.reason) = (state, reason);
        self.reported = 0;
        out.extend([Action::Notify(state.role())]);
    }

    /// The end of maintenance ends the contentment after a hand-over too.
    fn maintain(&mut self, on: bool) {
        self.maintenance = on;
        self.content &= on;
    }

    /// One advertisement as MASTER, the next one at `next_at`.
    fn advertise(&mut self, now: Instant, next_at: Instant, out: &mut impl Extend<Action>) {
        self.send(self.effective_priority(), out);
        let State::Master { next_at: at, duel } = &mut self.state else { return };
        *at = next_at;
        if let Some(duel) = duel.as_mut().filter(|duel| duel.until.is_none()) {
            duel.adverts -= 1;
            if duel.adverts == 0 {
                duel.until = Some(now + duel.patience);
            }
        }
    }

    /// One advertisement to another master. One that speaks sooner again than any router may has heard
    /// the last answer, or heeds none.
    fn answer(&mut self, now: Instant, out: &mut impl Extend<Action>) {
        let answered = self.answered_at.is_some_and(|at| now.duration_since(at) < ANSWERED_FOR);
        if !answered {
            self.answered_at = Some(now);
            self.advertise(now, now + self.config.adver_int, out);
        }
    }

    fn send(&mut self, priority: Priority, out: &mut impl Extend<Action>) {
        self.counters.advert_sent += 1;
        if priority == Priority::STOP {
            self.counters.pri_zero_sent += 1;
        }
        out.extend([Action::Send(self.numbered(priority))]);
    }

    /// An advertisement with the next number, if it has one.
    fn numbered(&mut self, priority: Priority) -> Content {
        let number = match self.config.header_key {
            Some(_) => {
                self.number = self.next_number();
                self.number
            }
            None => 0,
        };
        Content { priority, number }
    }

    fn next_number(&self) -> u32 {
        self.number.saturating_add(1).min(ah::LAST)
    }

    /// An advertisement of one that is not MASTER. Its number is the next one, and stays that of the
    /// master: one that does not take this uses it itself, and must be heard.
    fn aside(&self, priority: Priority) -> Content {
        let number = self.config.header_key.map_or(0, |_| self.next_number());
        Content { priority, number }
    }

    /// The priority with what is tracked: 1 to 254, for an owner always its own.
    fn tracked_priority(&self, total: i32) -> Priority {
        if self.config.owner() {
            return self.config.priority;
        }
        let sum = i32::from(self.config.priority.0).saturating_add(total);
        Priority(sum.clamp(1, 254) as u8)
    }

    /// Whether the rules of an owner hold.
    fn owner(&self) -> bool {
        self.config.owner() && !self.maintenance
    }

    /// Whether it is MASTER at once when it starts: an owner that may, and is bound to nobody.
    fn owner_takes_all_at(&self, now: Instant) -> bool {
        let listens = self.deaf_until.is_none_or(|until| until <= now);
        self.owner() && self.config.wants_master && !self.config.grouped && listens
    }

    /// How long we wait; an owner as with 255 even while it is content with 254.
    fn patience(&self) -> Patience {
        let priority = match (self.maintenance, self.config.owner()) {
            (true, _) => Priority::LAST,
            (false, true) => Priority::OWNER,
            (false, false) => self.tracked,
        };
        let Config { version, down_timer_adverts, .. } = self.config;
        Patience { version, priority, adver_int: self.master_adver_int, down_timer_adverts }
    }

    fn skew(&self) -> Duration {
        self.patience().skew()
    }

    fn down_interval(&self) -> Duration {
        self.patience().down_interval()
    }
}

/// Moves an expiry by the difference of two intervals; never before `now`.
fn shift(now: Instant, at: Instant, before: Duration, after: Duration) -> Instant {
    match after.checked_sub(before) {
        Some(longer) => at + longer,
        None => at.checked_sub(before - after).map_or(now, |at| at.max(now)),
    }
}

#[cfg(test)]
mod tests;
