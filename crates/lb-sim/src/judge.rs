//! What must hold whatever befalls the network.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use lb_carp::Pace;
use lb_control::State;

use crate::Time;
use crate::host::Host;
use crate::outcome::Said;
use crate::scenario::Scenario;
use crate::table::{Patience, Table, Terms};

/// How long addresses may stay for the sake of a successor: 25 ms, by a clock that may be slow.
const LINGER: Time = 25_100_000;

/// A promise, and with it what breaking it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// When nothing hinders it any more, a virtual router has one master within the bound.
    OneMaster,
    /// That is the best of those that preempt.
    TheBest,
    /// After that nothing changes.
    Rest,
    /// A master that hears a better one yields at once.
    Yield,
    /// A master advertises every interval.
    Advertise,
    /// A router with `nopreempt` takes over only from the dead.
    NoPreempt,
    /// A router whose process failed resumes as MASTER only while nobody else is.
    Resume,
    /// The members of a sync group are MASTER together or not at all.
    Group,
    /// The VIPs are where the instance is MASTER, and nowhere else.
    Addresses,
    /// Whoever leaves on purpose, or is preempted, lets nobody wait.
    HandOver,
    /// When everybody agrees, no client looks for an address at a router that is BACKUP.
    Clients,
    /// A timer that was handled is no more due.
    Timer,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, since the beginning.
    pub at: Duration,
    /// Which.
    pub promise: Promise,
    /// How, as a sentence.
    pub how: String,
    /// The virtual router it is about.
    pub virtual_router: Option<usize>,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneMaster => "one master within the bound",
            Self::TheBest => "the best that preempts is master",
            Self::Rest => "what has been agreed stays",
            Self::Yield => "a master yields to a better one",
            Self::Advertise => "a master advertises every interval",
            Self::NoPreempt => "nopreempt takes over only from the dead",
            Self::Resume => "whoever resumes as master is the only one",
            Self::Group => "a sync group is master as a whole",
            Self::Addresses => "addresses are with the master",
            Self::HandOver => "a planned hand-over has no moment without a forwarder",
            Self::Clients => "clients find the master",
            Self::Timer => "a handled timer is not due",
        })
    }
}

/// What is known of an instance from outside.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seat {
    pub(crate) state: State,
    /// Of VRRP.
    pub(crate) priority: u8,
    /// When it last heard a master that it has to let be, and for how long it has to.
    heard: Option<(Time, Time)>,
    /// When it last advertised as MASTER.
    sent: Option<Time>,
    /// What it said last. One that said it stops holds the addresses for its successor.
    pub(crate) said: Option<Said>,
    /// When it was MASTER last.
    left: Option<Time>,
    /// It handed over, and lets a weaker master be.
    content: bool,
    /// It is the last choice.
    maintenance: bool,
}

/// Watches over the promises.
#[derive(Debug)]
pub(crate) struct Judge {
    /// By router and virtual router.
    seats: Vec<Vec<Seat>>,
    /// From when on nothing may change; `None` while the network is disturbed.
    pub(crate) rest_since: Option<Time>,
    pub(crate) violation: Option<Violation>,
    lateness: Time,
}

impl Judge {
    pub(crate) fn new(scenario: &Scenario, table: &Table) -> Self {
        let seats = vec![Seat::default(); table.virtual_routers.len()];
        Self {
            seats: vec![seats; scenario.routers.len()],
            rest_since: None,
            violation: None,
            lateness: scenario.lateness.as_nanos() as u64,
        }
    }

    pub(crate) fn seat(&self, router: usize, vr: usize) -> Seat {
        self.seats[router][vr]
    }

    /// The first violation counts.
    pub(crate) fn complain(
        &mut self,
        now: Time,
        promise: Promise,
        vr: Option<usize>,
        how: impl FnOnce() -> String,
    ) {
        if self.violation.is_none() {
            let at = Duration::from_nanos(now);
            self.violation = Some(Violation { at, promise, how: how(), virtual_router: vr });
        }
    }

    /// An instance is gone.
    pub(crate) fn forget(&mut self, router: usize, vr: usize) {
        self.seats[router][vr] = Seat::default();
    }

    /// The instance hears a master that it has to let be for so long, or another one.
    pub(crate) fn heard(&mut self, now: Time, router: usize, vr: usize, patience: Option<Time>) {
        self.seats[router][vr].heard = patience.map(|patience| (now, patience));
    }

    /// How good an instance is, as far as is known.
    pub(crate) fn standing(&self, router: usize, terms: &Terms) -> Said {
        let seat = self.seats[router][terms.vr];
        match (terms.patience, seat.state, seat.said) {
            (Patience::Vrrp { .. }, ..) => Said::Vrrp(seat.priority),
            (Patience::Carp(_), State::Master, Some(said)) => said,
            (Patience::Carp(pace), ..) if seat.maintenance => {
                let last = Pace { advskew: 254, ..pace };
                Said::Carp(Reverse(255), Reverse(last.interval()))
            }
            (Patience::Carp(pace), ..) => Said::Carp(Reverse(0), Reverse(pace.interval())),
        }
    }

    pub(crate) fn priority(&mut self, router: usize, vr: usize, priority: u8) {
        self.seats[router][vr].priority = priority;
    }

    /// An instance advertises.
    pub(crate) fn sent(
        &mut self,
        now: Time,
        router: usize,
        host: &Host,
        terms: &Terms,
        said: Said,
    ) {
        let seat = &mut self.seats[router][terms.vr];
        let before = std::mem::replace(&mut seat.sent, (said != Said::Stop).then_some(now));
        let last = seat.said.replace(said);
        let Some(before) = before.filter(|before| *before >= host.awake_since) else { return };
        let paces = [last, Some(said)].into_iter().flatten().filter_map(|said| match said {
            Said::Carp(_, Reverse(interval)) => Some(interval),
            Said::Stop | Said::Vrrp(_) => None,
        });
        let interval = paces.chain([terms.interval]).max().unwrap_or_default();
        let interval = interval.as_nanos() as u64;
        // Its clock may be slow; a wake-up may be late at the end, and was early at the beginning.
        let longest = interval + interval / 500 + self.lateness + 1_000_000;
        if seat.state == State::Master && now - before > longest {
            let gap = Duration::from_nanos(now - before);
            self.complain(now, Promise::Advertise, Some(terms.vr), || {
                format!("{} was silent for {gap:?} as MASTER", terms.name)
            });
        }
    }

    /// An instance enters a state. `yielding` to what it just heard, if so; `resumed` what it was
    /// before its engine failed.
    pub(crate) fn entered(
        &mut self,
        now: Time,
        (router, name): (usize, &str),
        terms: &Terms,
        (state, priority): (State, u8),
        cause: Option<Cause>,
    ) {
        let rest = self.rest_since.is_some_and(|since| now >= since);
        let seat = &mut self.seats[router][terms.vr];
        let heard = seat.heard;
        if seat.state == State::Master && state != State::Master {
            seat.left = Some(now);
        }
        seat.content &= state != State::Master;
        (seat.state, seat.priority) = (state, priority);
        seat.sent = seat.sent.filter(|_| state != State::Master);
        if cause != Some(Cause::Packet) {
            seat.heard = None;
        }
        if rest {
            self.complain(now, Promise::Rest, Some(terms.vr), || {
                format!("{name} enters {state} though nothing happened")
            });
        }
        let Some((at, patience)) = heard
            .filter(|_| state == State::Master && terms.nopreempt && cause != Some(Cause::Resume))
        else {
            return;
        };
        // Fast clocks; and an advertisement counts when it is read, a little late.
        if now - at + patience / 500 + self.lateness < patience {
            self.complain(now, Promise::NoPreempt, Some(terms.vr), || {
                let ago = Duration::from_nanos(now - at);
                format!("{name} takes over {ago:?} after it heard a master, in spite of nopreempt")
            });
        }
    }

    /// A process was started again, and nothing else happened since it failed.
    pub(crate) fn resumed(&mut self, now: Time, (router, name): (usize, &str), hosts: &[Host]) {
        // An owner is MASTER whenever it starts.
        for terms in hosts[router].terms.iter().filter(|terms| !terms.owner) {
            let master = |seats: &Vec<Seat>| seats[terms.vr].state == State::Master;
            // One that stalls does not know yet that it is not.
            let others = self.seats.iter().enumerate();
            let others = others.filter(|(other, _)| *other != router && hosts[*other].awake());
            if master(&self.seats[router]) && others.map(|(_, seats)| seats).any(master) {
                self.complain(now, Promise::Resume, Some(terms.vr), || {
                    format!("{name} resumes as MASTER of {} beside another one", terms.name)
                });
            }
        }
    }

    /// A stranger changes its state.
    pub(crate) fn at_rest(&mut self, now: Time, vr: usize, what: impl FnOnce() -> String) {
        if self.rest_since.is_some_and(|since| now >= since) {
            self.complain(now, Promise::Rest, Some(vr), || {
                format!("{} though nothing happened", what())
            });
        }
    }

    /// The members of each group of a host stand together.
    pub(crate) fn groups(&mut self, now: Time, (router, name): (usize, &str), terms: &[Terms]) {
        for (index, one) in terms.iter().enumerate() {
            let master = |terms: &Terms| self.seats[router][terms.vr].state == State::Master;
            let Some(group) = one.group else { continue };
            let other = terms[..index].iter().find(|other| other.group == Some(group));
            if let Some(other) = other
                && master(one) != master(other)
            {
                self.complain(now, Promise::Group, Some(one.vr), || {
                    let [one, other] = [one, other].map(|terms| terms.name.as_str());
                    format!("{one} and {other} of one group of {name} disagree who is MASTER")
                });
            }
        }
    }

    /// Addresses of a host are with its masters.
    pub(crate) fn addresses(&mut self, now: Time, router: usize, name: &str, host: &Host) {
        for terms in host.terms.iter().filter(|terms| !terms.owner) {
            let seat = self.seats[router][terms.vr];
            let master = seat.state == State::Master;
            let lingers = seat.left.is_some_and(|left| now <= left + LINGER + self.lateness);
            for (wire, address) in &terms.vips {
                let here = host.vips.contains(&(*wire as u32 + 1, *address));
                if here != master && !(here && lingers) {
                    self.complain(now, Promise::Addresses, Some(terms.vr), || {
                        let (has, is) = if here { ("has", "is not") } else { ("lacks", "is") };
                        format!("{name} {has} {address} though {} {is} MASTER", terms.name)
                    });
                }
            }
        }
    }

    /// An instance is told to hand over, and its group with it.
    pub(crate) fn hand_over(&mut self, router: usize, host: &Host, name: &str) {
        let Some(told) = host.terms.iter().find(|terms| terms.name == name) else { return };
        for terms in &host.terms {
            if terms.vr == told.vr || terms.group.is_some() && terms.group == told.group {
                let seat = &mut self.seats[router][terms.vr];
                seat.content |= seat.state == State::Master;
            }
        }
    }

    /// A router has another configuration: what its instances said and heard is history.
    pub(crate) fn reloaded(&mut self, router: usize) {
        for seat in &mut self.seats[router] {
            seat.said = seat.said.filter(|said| *said == Said::Stop);
            seat.heard = None;
        }
    }

    /// Maintenance of a router begins or ends.
    pub(crate) fn maintain(&mut self, router: usize, on: bool) {
        for seat in &mut self.seats[router] {
            seat.maintenance = on;
            // One that is leaving is content when it has left.
            seat.content &= on || seat.state == State::Master && seat.said == Some(Said::Stop);
        }
    }

    /// Whether an instance takes over from a weaker master: its group must want to as a whole.
    fn preempts(&self, router: usize, host: &Host, terms: &Terms) -> bool {
        let alone = |one: &Terms| !one.nopreempt && !self.seats[router][one.vr].content;
        match terms.group {
            None => alone(terms),
            Some(_) => host.terms.iter().filter(|one| one.group == terms.group).all(alone),
        }
    }

    /// Whether a virtual router has somebody to take over so that nobody notices.
    pub(crate) fn has_heirs(&self, vr: usize, hosts: &[Host]) -> bool {
        let heir = |(router, host): (usize, &Host)| {
            host.awake()
                && host.terms.iter().any(|terms| terms.vr == vr)
                && matches!(self.seats[router][vr].state, State::Backup | State::Master)
        };
        hosts.iter().enumerate().filter(|one| heir(*one)).count() > 1
    }

    /// Everybody has had time to agree. `strangers` are those that are MASTER, what of, and what
    /// they say.
    pub(crate) fn agreed(
        &mut self,
        now: Time,
        scenario: &Scenario,
        hosts: &[Host],
        strangers: &[(usize, &str, Said)],
    ) {
        for vr in 0..self.seats.first().map_or(0, Vec::len) {
            let mut able = Vec::new();
            for (router, host) in hosts.iter().enumerate().filter(|(_, host)| host.awake()) {
                let Some(terms) = host.terms.iter().find(|terms| terms.vr == vr) else { continue };
                let seat = self.seats[router][vr];
                if matches!(seat.state, State::Backup | State::Master) {
                    let preempts = self.preempts(router, host, terms);
                    able.push((router, seat, preempts, self.standing(router, terms)));
                }
            }
            if able.is_empty() {
                continue;
            }
            let name = |router: usize| scenario.routers[router].name.as_str();
            let ours = able.iter().filter(|(_, seat, ..)| seat.state == State::Master);
            let ours = ours.map(|(router, _, _, said)| (name(*router), *said));
            let theirs = strangers.iter().filter(|(of, ..)| *of == vr);
            let masters: Vec<_> =
                ours.chain(theirs.map(|(_, name, said)| (*name, *said))).collect();
            let [(master, said)] = masters[..] else {
                self.complain(now, Promise::OneMaster, Some(vr), || {
                    let names: Vec<&str> = masters.iter().map(|(name, _)| *name).collect();
                    match names[..] {
                        [] => "nobody is MASTER".to_owned(),
                        _ => format!("{} are MASTER", names.join(" and ")),
                    }
                });
                continue;
            };
            let better = able.iter().find(|(_, _, preempts, other)| *preempts && *other > said);
            if let Some((better, _, _, other)) = better {
                self.complain(now, Promise::TheBest, Some(vr), || {
                    format!("{master} with {said} is MASTER, not {} with {other}", name(*better))
                });
            }
        }
    }
}

/// What makes an instance change its state, as far as promises depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Packet,
    Resume,
}
