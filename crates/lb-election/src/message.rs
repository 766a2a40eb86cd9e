//! What an instance is told and what it says.

use std::net::IpAddr;

use crate::packet::IpPacket;
use crate::role::Role;

/// What an instance is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Begin.
    Startup,
    /// End.
    Shutdown,
    /// A deadline may have passed.
    Timer,
    /// A packet with the number of this instance arrived.
    Packet(IpPacket<'a>),
    /// What is tracked adds this to its strength in the election; below zero it weakens.
    Tracked(i32),
    /// A cause of FAULT arose: its own, or that of another member of its group.
    Fault {
        /// Its own.
        own: bool,
    },
    /// The last cause of FAULT is gone.
    Recover,
    /// As MASTER, advertise once more and keep to the grid: something may take long.
    Advertise,
    /// Somebody else removed a virtual address.
    VipLost,
    /// The sync group becomes MASTER; or the instance was MASTER before its engine failed.
    Promote,
    /// The sync group ceases to be MASTER.
    Demote,
    /// As MASTER, let another router take over: say that we stop, hold the addresses until the
    /// successor is heard, and then listen. If nobody takes over, go on as MASTER.
    Handover,
    /// Be the last choice in the election from now on, and hand over if MASTER; or no more.
    Maintenance(bool),
}

/// What an instance wants done, in this order. `A` is what its protocol says in an advertisement,
/// `E` what may be wrong with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<A, E> {
    /// Send this advertisement; the instance's `emit` makes it.
    Send(A),
    /// Add the virtual addresses.
    AddVips,
    /// Remove the virtual addresses; announce them no more.
    RemoveVips,
    /// The same for the sake of a successor that has just been heard: not before its announcement
    /// of the addresses can have arrived everywhere.
    ReleaseVips,
    /// Announce the virtual addresses by gratuitous ARP, now and later again.
    Announce,
    /// Announce them again, since somebody weaker believed it were MASTER.
    AnnounceAgain,
    /// Announce them again, since another master said that it stops: what clients and switches
    /// remember may lead to that one.
    AnnounceAlone,
    /// A role was entered.
    Notify(Role),
    /// A member of a sync group would become MASTER: ask the group.
    Willing,
    /// As MASTER, somebody weaker was heard who believes to be it too.
    Weaker {
        /// Who.
        from: IpAddr,
        /// What it said.
        advert: A,
    },
    /// As BACKUP, a weaker master was heard and is not respected: its time runs out.
    Discard {
        /// Who.
        from: IpAddr,
        /// What it said.
        advert: A,
    },
    /// As BACKUP, a master was heard that stops.
    MasterStops,
    /// A packet broke a rule: the first time since the state or the sender changed.
    Report {
        /// Who sent it.
        from: IpAddr,
        /// The rule.
        error: E,
    },
}

impl<A, E> Action<A, E> {
    /// The same in other terms.
    pub fn map<B, F>(
        self,
        advert: impl FnOnce(A) -> B,
        error: impl FnOnce(E) -> F,
    ) -> Action<B, F> {
        match self {
            Self::Send(said) => Action::Send(advert(said)),
            Self::AddVips => Action::AddVips,
            Self::RemoveVips => Action::RemoveVips,
            Self::ReleaseVips => Action::ReleaseVips,
            Self::Announce => Action::Announce,
            Self::AnnounceAgain => Action::AnnounceAgain,
            Self::AnnounceAlone => Action::AnnounceAlone,
            Self::Notify(role) => Action::Notify(role),
            Self::Willing => Action::Willing,
            Self::Weaker { from, advert: said } => Action::Weaker { from, advert: advert(said) },
            Self::Discard { from, advert: said } => Action::Discard { from, advert: advert(said) },
            Self::MasterStops => Action::MasterStops,
            Self::Report { from, error: rule } => Action::Report { from, error: error(rule) },
        }
    }
}
