//! The state machine of one instance.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_election::{Input, IpPacket, Peers, Role};

use crate::checksum::Checksum;
use crate::config::{Config, OldUnicastChecksum};
use crate::counters::Counters;
use crate::error::WireError;
use crate::message::{Action, Sender};
use crate::timing::{master_down_interval, skew_time};
use crate::types::{Family, Priority, Version};
use crate::wire::{Advert, Auth};

/// A VRRP instance of this host, as a value.
#[derive(Clone, Debug)]
pub struct Instance {
    config: Config,
    state: State,
    /// With what is tracked; without meaning for an owner.
    tracked: Priority,
    /// An owner that yielded to another owner is content with 254.
    lowered: bool,
    /// Where our advertisements come from: decides between equals.
    source: Option<IpAddr>,
    /// Interval of the master; ours until we heard one. RFC 9568 §6.1 Active_Adver_Interval.
    master_adver_int: Duration,
    /// Nothing is heard and no timer runs before.
    deaf_until: Option<Instant>,
    /// The master we respect.
    master: Option<Sender>,
    /// Whom we heard last, respected or not.
    heard: Option<IpAddr>,
    /// [`WireError::bit`]s that have been reported.
    reported: u32,
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
    },
    /// Holds the addresses.
    Master {
        /// When to advertise next.
        next_at: Instant,
        /// Against another owner of the same addresses.
        duel: Option<Duel>,
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
            Self::Master { .. } => Role::Master,
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
}

impl Instance {
    /// An instance in INIT.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            state: State::Init,
            tracked: config.priority,
            lowered: false,
            source: None,
            master_adver_int: config.adver_int,
            deaf_until: None,
            master: None,
            heard: None,
            reported: 0,
            old_unicast: false,
            counters: Counters::default(),
            config,
        }
    }

    /// Takes one input at `now` and pushes what to do, in the order to do it.
    ///
    /// Never blocks, reads a clock or fails; an input that means nothing in this state pushes
    /// nothing. `now` never goes backwards. RFC 9568 §6.4; keepalived where it differs.
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
            Input::Handover | Input::Maintenance(_) => return,
        };
        self.transition(now, event, out);
    }

    /// When to give [`Input::Timer`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Backup { down_at, .. } => Some(down_at),
            State::Master { next_at, .. } => Some(next_at),
            State::Init | State::Fault => None,
        }
    }

    fn transition(&mut self, now: Instant, event: Event<'_>, out: &mut impl Extend<Action>) {
        match (self.state, event) {
            (State::Init, Event::Startup) | (State::Fault, Event::Recover) => {
                self.master_adver_int = self.config.adver_int;
                let start = self.deaf_until.map_or(now, |until| until.max(now));
                // §6.4.1: the owner does not wait; keepalived has it wait a microsecond.
                let wait = if self.config.owner() && self.config.wants_master {
                    Duration::from_micros(1)
                } else {
                    self.down_interval()
                };
                self.become_backup(start + wait, out);
            }
            (State::Init | State::Backup { .. }, Event::Promote) => {
                self.become_master(now, out);
            }

            // §6.4.2: nothing heard for Active_Down_Interval.
            (State::Backup { down_at, preempt_at, .. }, Event::Timer) if now >= down_at => {
                if self.config.grouped {
                    // A preempt_delay that is over stays so: begun anew, it would make this one
                    // unwilling again before the others of the group are through with theirs.
                    let down_at = now + self.down_interval();
                    self.state = State::Backup { down_at, preempt_at, willing: true };
                    out.extend([Action::Willing]);
                } else {
                    self.become_master(now, out);
                }
            }
            // §6.4.2: the master says it stops: wait Skew_Time instead.
            (State::Backup { preempt_at, .. }, Event::Advert(advert, from))
                if advert.priority == Priority::STOP =>
            {
                self.master = Some(Sender { address: from, priority: advert.priority });
                let down_at = now + self.skew();
                self.state = State::Backup { down_at, preempt_at, willing: false };
            }
            (State::Backup { preempt_at, .. }, Event::Advert(advert, from)) => {
                let lower = advert.priority < self.effective_priority();
                let preempt_at = match preempt_at {
                    _ if !lower || self.config.nopreempt => None,
                    // The first lower priority starts the delay.
                    None => Some(now + self.config.preempt_delay),
                    running => running,
                };
                // §6.4.2: a lower priority that may be preempted is discarded: the timer runs on.
                if preempt_at.is_some_and(|at| now >= at) {
                    let State::Backup { preempt_at: at, .. } = &mut self.state else { return };
                    *at = preempt_at;
                    return;
                }
                // §6.4.2: a master we respect; from now on its interval counts, not ours.
                self.respect(&advert, from);
                let down_at = now + self.down_interval();
                self.state = State::Backup { down_at, preempt_at, willing: false };
            }
            (State::Backup { down_at, preempt_at, willing }, Event::Priority(priority)) => {
                let before = self.down_interval();
                self.tracked = priority;
                let down_at = shift(now, down_at, before, self.down_interval());
                self.state = State::Backup { down_at, preempt_at, willing };
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
            // §6.4.3: another master stops: say at once that we are here.
            (State::Master { .. }, Event::Advert(advert, _))
                if advert.priority == Priority::STOP =>
            {
                self.advertise(now, now + self.config.adver_int, out);
            }
            // §6.4.3: a better master, by priority, then by address.
            (State::Master { .. }, Event::Advert(advert, from))
                if self.beaten_by(&advert, from) =>
            {
                if self.config.higher_prio_send_advert {
                    self.send(self.effective_priority(), out);
                }
                self.yield_to(now, &advert, from, out);
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
                    self.yield_to(now, &advert, from, out);
                    return;
                }
                self.state = State::Master { next_at, duel };
                out.extend([Action::Weaker { from, advert: advert.priority }]);
                if !self.config.lower_prio_no_advert {
                    self.advertise(now, now + self.config.adver_int, out);
                }
                out.extend([Action::AnnounceAgain]);
            }
            (State::Master { .. }, Event::Advertise) => self.send(self.effective_priority(), out),
            // Somebody meddles: let go and retake it soon.
            (State::Master { .. }, Event::VipLost) => {
                self.send(Priority::STOP, out);
                self.leave_master(out);
                self.become_backup(now + self.skew(), out);
            }
            (State::Master { .. }, Event::Demote) => {
                self.leave_master(out);
                self.become_backup(now + self.down_interval(), out);
            }

            (State::Master { .. }, Event::Fault { own }) => {
                // Twice for the instance that failed: one of them may be lost with it.
                for _ in 0..if own { 2 } else { 1 } {
                    self.send(Priority::STOP, out);
                }
                self.leave_master(out);
                self.enter(State::Fault, out);
            }
            (State::Init | State::Backup { .. }, Event::Fault { .. }) => {
                self.enter(State::Fault, out);
            }
            // §6.4.3: say that we stop, then let go.
            (State::Master { .. }, Event::Shutdown) => {
                self.send(Priority::STOP, out);
                self.leave_master(out);
                self.state = State::Init;
            }
            (State::Backup { .. } | State::Fault, Event::Shutdown) => self.state = State::Init,

            (State::Init | State::Master { .. } | State::Fault, Event::Priority(priority)) => {
                self.tracked = priority;
            }
            (State::Init | State::Backup { .. } | State::Master { .. } | State::Fault, _) => {}
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
            return None;
        }
        let advert = match Advert::parse(packet, &self.config) {
            Ok(advert) => advert,
            Err(error) => {
                self.report(packet.source, error, out);
                return None;
            }
        };
        if self.config.owner() && self.config.owner_ignore_adverts {
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
    fn beaten_by(&self, advert: &Advert<'_>, from: IpAddr) -> bool {
        let ours = self.effective_priority();
        advert.priority > ours
            || advert.priority == ours && self.source.is_some_and(|source| from > source)
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
        if self.config.version == Version::V3 {
            self.master_adver_int = advert.adver_int;
        }
    }

    fn yield_to(
        &mut self,
        now: Instant,
        advert: &Advert<'_>,
        from: IpAddr,
        out: &mut impl Extend<Action>,
    ) {
        self.leave_master(out);
        self.respect(advert, from);
        self.become_backup(now + self.down_interval(), out);
    }

    fn become_backup(&mut self, down_at: Instant, out: &mut impl Extend<Action>) {
        self.enter(State::Backup { down_at, preempt_at: None, willing: false }, out);
    }

    fn become_master(&mut self, now: Instant, out: &mut impl Extend<Action>) {
        self.master_adver_int = self.config.adver_int;
        self.lowered = false;
        self.master = None;
        self.counters.become_master += 1;
        self.send(self.effective_priority(), out);
        out.extend([Action::AddVips, Action::Announce]);
        self.enter(State::Master { next_at: now + self.config.adver_int, duel: None }, out);
    }

    fn leave_master(&mut self, out: &mut impl Extend<Action>) {
        self.counters.release_master += 1;
        out.extend([Action::RemoveVips]);
    }

    fn enter(&mut self, state: State, out: &mut impl Extend<Action>) {
        self.state = state;
        self.reported = 0;
        out.extend([Action::Notify(state.role())]);
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

    fn send(&mut self, priority: Priority, out: &mut impl Extend<Action>) {
        self.counters.advert_sent += 1;
        if priority == Priority::STOP {
            self.counters.pri_zero_sent += 1;
        }
        out.extend([Action::Send(priority)]);
    }

    /// The priority with what is tracked: 1 to 254, for an owner always its own.
    fn tracked_priority(&self, total: i32) -> Priority {
        if self.config.owner() {
            return self.config.priority;
        }
        let sum = i32::from(self.config.priority.0).saturating_add(total);
        Priority(sum.clamp(1, 254) as u8)
    }

    /// An owner's skew is that of 255 even while it is content with 254.
    fn timer_priority(&self) -> Priority {
        if self.config.owner() { Priority::OWNER } else { self.tracked }
    }

    fn skew(&self) -> Duration {
        skew_time(self.config.version, self.timer_priority(), self.master_adver_int)
    }

    fn down_interval(&self) -> Duration {
        master_down_interval(
            self.config.version,
            self.timer_priority(),
            self.master_adver_int,
            self.config.down_timer_adverts,
        )
    }
}

/// Moves an expiry by the difference of two intervals; never before `now`.
fn shift(now: Instant, at: Instant, before: Duration, after: Duration) -> Instant {
    match after.checked_sub(before) {
        Some(longer) => at + longer,
        None => at.checked_sub(before - after).map_or(now, |at| at.max(now)),
    }
}

/// What is asked and told without a transition.
impl Instance {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What it was configured with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The priority it advertises: with what is tracked, 255 or for a while 254 for an owner.
    #[must_use]
    pub fn effective_priority(&self) -> Priority {
        match (self.config.owner(), self.lowered) {
            (true, false) => Priority::OWNER,
            (true, true) => Priority(254),
            (false, _) => self.tracked,
        }
    }

    /// The master it respects; `None` while it is MASTER itself, or heard none.
    #[must_use]
    pub fn master(&self) -> Option<Sender> {
        self.master
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Our own source address, which decides between equals.
    pub fn set_source(&mut self, source: Option<IpAddr>) {
        self.source = source;
    }

    /// Where our advertisements come from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Hears nothing and starts no timer before `until` (`vrrp_startup_delay`). To be called
    /// before [`Input::Startup`].
    pub fn ignore_until(&mut self, until: Instant) {
        self.deaf_until = Some(until);
    }

    /// Takes a new configuration for the same virtual router, after a reload. State, counters and
    /// the known master stay: a MASTER stays MASTER even with a lower priority, and advertises
    /// within the new interval; in BACKUP the running timer is moved by what the new configuration
    /// makes it longer or shorter. The priority with what is tracked is told by
    /// [`Input::Tracked`].
    pub fn reconfigure(&mut self, now: Instant, config: Config) {
        let before = self.down_interval();
        if self.master_adver_int == self.config.adver_int || config.version == Version::V2 {
            self.master_adver_int = config.adver_int;
        }
        self.config = config;
        let after = self.down_interval();
        match &mut self.state {
            State::Backup { down_at, .. } => *down_at = shift(now, *down_at, before, after),
            State::Master { next_at, .. } => *next_at = (*next_at).min(now + self.config.adver_int),
            State::Init | State::Fault => {}
        }
    }

    /// Appends an advertisement of `priority` as it goes from `source` to `destination`.
    pub fn emit(&self, priority: Priority, source: IpAddr, destination: IpAddr, out: &mut Vec<u8>) {
        let config = &self.config;
        let old_unicast = match config.old_unicast_checksum {
            OldUnicastChecksum::Detect => self.old_unicast,
            OldUnicastChecksum::Always => true,
            OldUnicastChecksum::Never => false,
        };
        let checksum = match (config.version, config.family, &config.peers) {
            (Version::V2, ..) => Checksum::Plain,
            (Version::V3, Family::Inet6, _) => Checksum::Pseudo,
            (Version::V3, Family::Inet, _) if config.v3_checksum_as_v2 => Checksum::Plain,
            (Version::V3, Family::Inet, Peers::Unicast { .. }) if old_unicast => {
                Checksum::OldUnicast
            }
            (Version::V3, Family::Inet, _) => Checksum::Pseudo,
        };
        let advert = Advert {
            version: config.version,
            vrid: config.vrid,
            priority,
            adver_int: config.adver_int,
            addresses: config.vips.addresses(),
            auth: config.password.map_or(Auth::None, Auth::Password),
            checksum,
        };
        advert.emit(source, destination, out);
    }
}

#[cfg(test)]
mod tests;
