//! The state machine of one vhid.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use lb_election::{Family, Input, IpPacket, Leave, Role};

use crate::config::Config;
use crate::counters::Counters;
use crate::digest::Digest;
use crate::error::WireError;
use crate::message::{Action, Sender};
use crate::pace::Pace;
use crate::reason::Reason;
use crate::sequence::Sequence;
use crate::wire::Advert;

mod ask;
mod rank;

/// A demoted node advertises with at least this advskew: FreeBSD and ucarp do not read the
/// demotion, but say so themselves when they are unfit.
const DEMOTED_SKEW: u8 = 240;
/// With this one in maintenance: the highest that can be configured.
const LAST_SKEW: u8 = 254;
/// The demotion of a node in maintenance, and of one that bows out: OpenBSD would yield to a
/// smaller one even if it is about to be gone.
const LAST_DEMOTION: u8 = 255;
/// Bow-outs whose counters are remembered.
const BOW_OUTS: usize = 16;
/// The copies of one bow-out arrive within this time.
const SAME_TIME: Duration = Duration::from_millis(500);

/// A vhid of this host, as a value.
///
/// Which of two masters yields: the one demoted more; then the slower one; then, when both are
/// exactly as fast, the one whose address is higher when compared from its *last* octet. That is
/// ucarp's rule (on the usual little-endian hosts), which would stay MASTER beside us under any
/// other. OpenBSD and FreeBSD yield to an equal whoever it is: to us when we stay; and when we
/// yield as well because both spoke at once, we wait a quarter of an interval longer than it, so
/// that it is MASTER next. Equals that are both demoted are never FreeBSD or ucarp: between them the
/// higher address wins, as in VRRP, so that of two nodes in maintenance the same one is better in
/// both protocols and a sync group of both agrees. With addresses of both families a tie is decided in the first in which
/// we can send, lest each node yields in another one.
#[derive(Clone, Debug)]
pub struct Instance {
    config: Config,
    digest: Digest,
    state: State,
    reason: Reason,
    /// Why it would be MASTER but for its group.
    wish: Reason,
    /// What is tracked says how unfit we are.
    tracked: u8,
    /// The last choice in the election.
    maintenance: bool,
    /// After a hand-over: a master demoted no more than this is left alone.
    content: Option<u8>,
    /// Where our advertisements come from, by [`Family`].
    sources: [Option<IpAddr>; 2],
    /// Families that count: of addresses, and in which we can send as far as we know.
    families: [bool; 2],
    /// Nothing is heard and no timer runs before.
    deaf_until: Option<Instant>,
    sequence: Sequence,
    /// The master we respect.
    master: Option<Sender>,
    /// When it is to be heard again.
    due_at: Option<Instant>,
    /// Whom we heard last, respected or not.
    heard: Option<IpAddr>,
    /// Counters of the last bow-outs, and when each was heard first.
    bow_outs: VecDeque<(u64, Instant)>,
    /// [`WireError::bit`]s that have been reported.
    reported: u32,
    counters: Counters,
}

/// State with the deadlines that exist only in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or shut down.
    Init,
    /// Listens.
    Backup {
        /// When the master is dead if nothing is heard, by [`Family`]; `None` for one without
        /// addresses, or in which we cannot send. Silence in either makes us MASTER.
        down_at: [Option<Instant>; 2],
        /// Would be MASTER but for the sync group.
        willing: bool,
        /// A timer came late by an interval or more, and a second time is waited for.
        late: bool,
    },
    /// Holds the addresses.
    Master {
        /// When to advertise next.
        next_at: Instant,
        /// Another master has been answered since the last time.
        answered: bool,
    },
    /// Has bowed out, and holds the addresses silently until the successor is heard.
    Leaving {
        /// How long.
        until: Instant,
        /// Why.
        leave: Leave,
    },
    /// Cannot take part; BSD's INIT of an interface that is down.
    Fault,
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

/// How good we are: what we say in an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    pace: Pace,
    demotion: u8,
}

/// What the transition table sees.
#[derive(Clone, Copy)]
enum Event {
    Startup,
    Shutdown,
    Timer,
    Advert(Advert, IpAddr),
    /// Our standing is another one; this is what it was.
    Standing(Standing),
    Fault {
        own: bool,
    },
    Recover,
    Advertise,
    VipLost,
    Promote,
    Demote,
    Leave(Leave),
    /// Maintenance is over; this was our standing in it.
    Return(Standing),
}

impl Instance {
    /// An instance in INIT. `seed` makes the counters in its packets; it should be another one on
    /// each node and at each start, for with a repeated one a recorded packet counts as new.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let sources = [None; 2];
        Self {
            digest: Digest::new(&config),
            families: counting(&config, sources),
            config,
            state: State::Init,
            reason: Reason::New,
            wish: Reason::New,
            tracked: 0,
            maintenance: false,
            content: None,
            sources,
            deaf_until: None,
            sequence: Sequence::new(seed),
            master: None,
            due_at: None,
            heard: None,
            bow_outs: VecDeque::new(),
            reported: 0,
            counters: Counters::default(),
        }
    }

    /// Takes one input at `now` and pushes what to do, in the order to do it.
    ///
    /// Never blocks, reads a clock or fails; an input that means nothing in this state pushes
    /// nothing. `now` never goes backwards.
    ///
    /// - [`Input::Tracked`] below zero is our demotion, up to 255. We say it as OpenBSD does, and
    ///   raise the advskew to 240 at least, as FreeBSD and ucarp do when they are unfit.
    /// - [`Input::Maintenance`] is a demotion of 255 with an advskew of 254.
    /// - [`Input::Handover`] makes a BACKUP that is content: it does not preempt until it was
    ///   MASTER again, [`Input::Maintenance`]`(false)` comes, or the master's demotion rises.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut impl Extend<Action>) {
        self.follow_families(now);
        let before = self.standing();
        let event = match input {
            Input::Packet(packet) => match self.receive(now, &packet, out) {
                Some(advert) => Event::Advert(advert, packet.source),
                None => return,
            },
            Input::Startup => Event::Startup,
            Input::Shutdown => Event::Shutdown,
            Input::Timer => Event::Timer,
            Input::Tracked(total) => {
                self.tracked = total.saturating_neg().clamp(0, 255) as u8;
                Event::Standing(before)
            }
            Input::Fault { own } => Event::Fault { own },
            Input::Recover => Event::Recover,
            Input::Advertise => Event::Advertise,
            Input::VipLost => Event::VipLost,
            Input::Promote => Event::Promote,
            Input::Demote => Event::Demote,
            Input::Handover => Event::Leave(Leave::Handover),
            Input::Maintenance(true) => {
                self.maintenance = true;
                match self.state {
                    State::Master { .. } => Event::Leave(Leave::Maintenance),
                    _ => Event::Standing(before),
                }
            }
            Input::Maintenance(false) => {
                self.maintenance = false;
                self.content = None;
                Event::Return(before)
            }
        };
        self.transition(now, event, out);
    }

    /// When to give [`Input::Timer`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Backup { down_at, .. } => down_at.into_iter().flatten().min(),
            State::Master { next_at, .. } => Some(next_at),
            State::Leaving { until, .. } => Some(until),
            State::Init | State::Fault => None,
        }
    }

    fn transition(&mut self, now: Instant, event: Event, out: &mut impl Extend<Action>) {
        match (self.state, event) {
            (State::Init, Event::Startup) => {
                self.content = None;
                self.become_backup(self.patience_ends(now), Reason::Startup, out);
            }
            (State::Fault, Event::Recover) => {
                self.become_backup(self.patience_ends(now), Reason::Recovered, out);
            }
            (State::Init | State::Backup { willing: false, .. }, Event::Promote) => {
                self.become_master(now, Reason::Promoted, out);
            }
            (State::Backup { willing: true, .. }, Event::Promote) => {
                self.become_master(now, self.wish, out);
            }

            // Nothing heard in one of the families.
            (State::Backup { down_at, late, .. }, Event::Timer) => {
                let silent =
                    |family: &Family| down_at[*family as usize].is_some_and(|at| now >= at);
                let Some(family) = Family::ALL.into_iter().find(silent) else { return };
                // This host stood still, perhaps with its network, so that silence says nothing of
                // the master: listens once more.
                let due_at = down_at[family as usize].unwrap_or(now);
                if !late && now >= due_at + self.interval() {
                    let down_at = self.down_at(now + self.master_down());
                    self.state = State::Backup { down_at, willing: false, late: true };
                    return;
                }
                let reason = match (self.reason, self.master) {
                    (Reason::VipLost, None) => Reason::Retaken,
                    _ => {
                        let (waited, dead_ratio) = (self.standing().pace, self.config.dead_ratio);
                        Reason::Silence { family, waited, dead_ratio }
                    }
                };
                self.take_over(now, reason, out);
            }
            (State::Backup { down_at, .. }, Event::Advert(advert, from)) => {
                if let Some(reason) = self.outdoes(&advert, from) {
                    // Somebody better is MASTER and puts the sender in its place, or has done so
                    // while this was under way. If it is not there any more, silence tells.
                    if self.knows_better_than(from) {
                        return;
                    }
                    return self.take_over(now, reason, out);
                }
                // A master we respect; it is heard in this family. One that has just been put in
                // its place does not make us forget by whom.
                if !self.is_late(now, &advert, from) {
                    self.respect(now, &advert, from);
                }
                let mut down_at = down_at;
                let family = Family::of(from);
                down_at[family as usize] = self.counts(family).then(|| now + self.master_down());
                self.state = State::Backup { down_at, willing: false, late: false };
            }
            (State::Backup { .. }, Event::Standing(before) | Event::Return(before)) => {
                self.shift(now, before.pace.master_down(self.config.dead_ratio));
            }

            // The interval is over.
            (State::Master { next_at, .. }, Event::Timer)
                if now + self.config.advert_slack >= next_at =>
            {
                // On the grid, unless it has been left by more than an interval.
                let on_grid = next_at + self.interval();
                let next_at = if now < on_grid { on_grid } else { now + self.interval() };
                self.advertise(next_at, out);
            }
            // Another master stops, and may wait to hear us.
            (State::Master { next_at, answered }, Event::Advert(advert, _))
                if advert.bows_out() =>
            {
                self.answer(next_at, answered, out);
                if self.config.handover.is_some() {
                    out.extend([Action::AnnounceAlone]);
                }
            }
            (State::Master { next_at, answered }, Event::Advert(advert, from)) => {
                if let Some(reason) = self.beaten_by(&advert, from) {
                    return self.yield_to(now, &advert, from, reason, out);
                }
                // A worse one: it yields when it hears us. The BSDs leave it at the next
                // advertisement; once in an interval we do not, and so two that both think
                // themselves better do not shout each other down.
                out.extend([Action::Weaker { from, advert }]);
                self.answer(next_at, answered, out);
                out.extend([Action::AnnounceAgain]);
            }
            // Everybody is to know at once how good we are now.
            (State::Master { .. }, Event::Standing(before) | Event::Return(before)) => {
                if self.standing() != before {
                    self.advertise(now + self.interval(), out);
                }
            }
            (State::Master { .. }, Event::Advertise) => self.send(out),
            // Somebody meddles: let go, and retake it when nobody else does.
            (State::Master { .. }, Event::VipLost) => {
                self.bow_out(out);
                self.leave_master(Action::RemoveVips, out);
                self.become_backup(now + self.interval(), Reason::VipLost, out);
            }
            // The group has a successor.
            (State::Master { .. }, Event::Demote) => {
                self.leave_master(self.yielding(), out);
                self.become_backup(self.patience_ends(now), Reason::Demoted, out);
            }
            (State::Master { .. }, Event::Shutdown) => self.leave(now, Leave::Stop, out),
            (State::Master { .. }, Event::Leave(leave)) => self.leave(now, leave, out),

            // The successor: it has the addresses now.
            (State::Leaving { leave, .. }, Event::Advert(advert, from)) if !advert.bows_out() => {
                self.leave_master(Action::ReleaseVips, out);
                self.left(now, leave, Reason::TookOver { by: from, leave }, out);
                self.respect(now, &advert, from);
            }
            (State::Leaving { until, leave: Leave::Stop }, Event::Timer) if now >= until => {
                self.leave_master(Action::RemoveVips, out);
                self.left(now, Leave::Stop, Reason::Alone { leave: Leave::Stop }, out);
            }
            (State::Leaving { until, leave }, Event::Timer) if now >= until => {
                self.stay(now, Reason::Alone { leave }, out);
            }
            (State::Leaving { leave: Leave::Stop, .. }, Event::Startup)
            | (State::Leaving { leave: Leave::Maintenance, .. }, Event::Return(_))
            | (State::Leaving { .. }, Event::Promote) => self.stay(now, Reason::Stayed, out),
            (State::Leaving { until, .. }, Event::Shutdown) => {
                self.state = State::Leaving { until, leave: Leave::Stop };
                self.reason = Reason::Leaving(Leave::Stop);
            }
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
                    self.bow_out(out);
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
    fn receive(
        &mut self,
        now: Instant,
        packet: &IpPacket<'_>,
        out: &mut impl Extend<Action>,
    ) -> Option<Advert> {
        if matches!(self.state, State::Init | State::Fault)
            || self.deaf_until.is_some_and(|until| now < until)
        {
            return None;
        }
        let advert = match Advert::parse(packet, &self.config, &self.digest) {
            Ok(advert) => advert,
            Err(error) => {
                self.report(packet.source, error, out);
                return None;
            }
        };
        let backup = matches!(self.state, State::Backup { .. });
        if backup
            && advert.bows_out()
            && !packet.destination.is_multicast()
            && self.is_multicast(packet)
        {
            // Meant for the master, which we may have been.
            return None;
        }
        if self.sources.contains(&Some(packet.source)) || self.sequence.is_own(advert.counter) {
            self.report(packet.source, WireError::Loop, out);
            return None;
        }
        self.sequence.heard(advert.counter);
        if self.heard != Some(packet.source) {
            self.heard = Some(packet.source);
            self.reported = 0;
        }
        self.counters.advert_rcvd += 1;
        if advert.bows_out() {
            self.counters.bow_out_rcvd += 1;
            if self.is_replayed(now, advert.counter) {
                self.report(packet.source, WireError::Replay, out);
            }
        }
        Some(advert)
    }

    fn is_multicast(&self, packet: &IpPacket<'_>) -> bool {
        self.config.peers(Family::of(packet.source)).next().is_none()
    }

    /// Whether a bow-out was heard before; at the same time it comes over both families.
    fn is_replayed(&mut self, now: Instant, counter: u64) -> bool {
        if let Some((_, first)) = self.bow_outs.iter().find(|(heard, _)| *heard == counter) {
            return now.duration_since(*first) >= SAME_TIME;
        }
        self.bow_outs.truncate(BOW_OUTS - 1);
        self.bow_outs.push_front((counter, now));
        false
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

    fn respect(&mut self, now: Instant, advert: &Advert, from: IpAddr) {
        let (pace, demotion) = (advert.pace(), advert.demotion);
        self.master = Some(Sender { address: from, pace, demotion });
        self.due_at = Some(now + pace.interval());
        self.content = self.content.map(|content| content.min(demotion));
    }

    /// Becomes MASTER, or says that it would.
    fn take_over(&mut self, now: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        if self.config.grouped {
            self.wish = reason;
            let down_at = self.down_at(now + self.master_down());
            self.state = State::Backup { down_at, willing: true, late: false };
            out.extend([Action::Willing]);
        } else {
            self.become_master(now, reason, out);
        }
    }

    fn become_backup(&mut self, at: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        let down_at = self.down_at(at);
        self.enter(State::Backup { down_at, willing: false, late: false }, reason, out);
    }

    fn become_master(&mut self, now: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        self.master = None;
        self.content = None;
        self.counters.become_master += 1;
        self.send(out);
        out.extend([Action::AddVips, Action::Announce]);
        let next_at = now + self.interval();
        self.enter(State::Master { next_at, answered: false }, reason, out);
    }

    fn yield_to(
        &mut self,
        now: Instant,
        advert: &Advert,
        from: IpAddr,
        reason: Reason,
        out: &mut impl Extend<Action>,
    ) {
        self.leave_master(self.yielding(), out);
        // An equal of the BSDs may have yielded to us meanwhile: its timer is to run out first.
        // To FreeBSD and ucarp we are its equal even if we are demoted.
        let equals = advert.pace().interval() == self.interval();
        let head_start = if equals { self.interval() / 4 } else { Duration::ZERO };
        self.become_backup(self.patience_ends(now) + head_start, reason, out);
        self.respect(now, advert, from);
    }

    /// Bows out, and lets go when another node took over, or at once.
    fn leave(&mut self, now: Instant, leave: Leave, out: &mut impl Extend<Action>) {
        self.bow_out(out);
        self.reason = Reason::Leaving(leave);
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
        match leave {
            Leave::Stop => {
                self.state = State::Init;
                self.reason = reason;
            }
            Leave::Handover => {
                self.content = Some(LAST_DEMOTION);
                self.become_backup(self.patience_ends(now), reason, out);
            }
            Leave::Maintenance => self.become_backup(self.patience_ends(now), reason, out),
        }
    }

    /// Goes on as MASTER, whose addresses it still has.
    fn stay(&mut self, now: Instant, reason: Reason, out: &mut impl Extend<Action>) {
        self.reason = reason;
        self.reported = 0;
        self.advertise(now + self.interval(), out);
    }

    /// How the addresses are let go to a successor that is there already.
    fn yielding(&self) -> Action {
        if self.config.handover.is_some() { Action::ReleaseVips } else { Action::RemoveVips }
    }

    fn leave_master(&mut self, let_go: Action, out: &mut impl Extend<Action>) {
        self.counters.release_master += 1;
        out.extend([let_go]);
    }

    fn enter(&mut self, state: State, reason: Reason, out: &mut impl Extend<Action>) {
        self.state = state;
        self.reason = reason;
        self.reported = 0;
        out.extend([Action::Notify(state.role())]);
    }

    /// One advertisement as MASTER, the next one at `next_at`.
    fn advertise(&mut self, next_at: Instant, out: &mut impl Extend<Action>) {
        self.send(out);
        self.state = State::Master { next_at, answered: false };
    }

    /// One more advertisement to another master, unless there was one since the last regular one.
    fn answer(&mut self, next_at: Instant, answered: bool, out: &mut impl Extend<Action>) {
        if !answered {
            self.send(out);
            self.state = State::Master { next_at, answered: true };
        }
    }

    fn send(&mut self, out: &mut impl Extend<Action>) {
        self.say(self.standing(), out);
    }

    fn bow_out(&mut self, out: &mut impl Extend<Action>) {
        let advert = self.last_word();
        out.extend([Action::Send(advert)]);
    }

    fn say(&mut self, standing: Standing, out: &mut impl Extend<Action>) {
        let advert = self.next_advert(standing);
        out.extend([Action::Send(advert)]);
    }

    fn next_advert(&mut self, standing: Standing) -> Advert {
        self.counters.advert_sent += 1;
        let Standing { pace: Pace { advbase, advskew }, demotion } = standing;
        let counter = self.sequence.next();
        Advert { vhid: self.config.vhid, advskew, demotion, advbase, counter }
    }

    fn interval(&self) -> Duration {
        self.standing().pace.interval()
    }

    fn master_down(&self) -> Duration {
        self.standing().pace.master_down(self.config.dead_ratio)
    }

    /// When silence from now on is too long; what is not heard is no silence.
    fn patience_ends(&self, now: Instant) -> Instant {
        self.deaf_until.map_or(now, |until| until.max(now)) + self.master_down()
    }

    /// `at` for each family that counts.
    fn down_at(&self, at: Instant) -> [Option<Instant>; 2] {
        Family::ALL.map(|family| self.counts(family).then_some(at))
    }

    fn counts(&self, family: Family) -> bool {
        self.families[family as usize]
    }

    /// Starts the timer of a family that came, and stops that of one that went.
    fn follow_families(&mut self, now: Instant) {
        let State::Backup { mut down_at, willing, late } = self.state else { return };
        let fresh = self.down_at(self.patience_ends(now));
        for (at, fresh) in down_at.iter_mut().zip(fresh) {
            *at = fresh.map(|fresh| at.unwrap_or(fresh));
        }
        self.state = State::Backup { down_at, willing, late };
    }

    /// Moves the running timers by the difference of two patiences; never before `now`.
    fn shift(&mut self, now: Instant, before: Duration) {
        let after = self.master_down();
        let State::Backup { down_at, .. } = &mut self.state else { return };
        for at in down_at.iter_mut().flatten() {
            *at = match after.checked_sub(before) {
                Some(longer) => *at + longer,
                None => at.checked_sub(before - after).map_or(now, |at| at.max(now)),
            };
        }
    }
}

/// While no source is known, every family that has addresses counts.
fn counting(config: &Config, sources: [Option<IpAddr>; 2]) -> [bool; 2] {
    let has = Family::ALL.map(|family| config.has(family));
    let can_send =
        Family::ALL.map(|family| has[family as usize] && sources[family as usize].is_some());
    if can_send.contains(&true) { can_send } else { has }
}

#[cfg(test)]
mod tests;
