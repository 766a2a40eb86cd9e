//! What an instance is told and what it says.

use std::net::IpAddr;

use crate::error::WireError;
use crate::group::Role;
use crate::types::{IpPacket, Priority};

/// What an instance is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Begin. RFC 9568 §6.4.1.
    Startup,
    /// End.
    Shutdown,
    /// A deadline may have passed.
    Timer,
    /// A packet for this VRID arrived.
    Packet(IpPacket<'a>),
    /// What is tracked gives this priority.
    Priority(Priority),
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
}

/// What an instance wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement of this priority: [`Instance::emit`](crate::Instance::emit).
    Send(Priority),
    /// Add the virtual addresses.
    AddVips,
    /// Remove the virtual addresses; announce them no more.
    RemoveVips,
    /// Announce the virtual addresses by gratuitous ARP, now and later again.
    Announce,
    /// Announce them again, since a lower priority believed it were MASTER.
    AnnounceLower,
    /// A role was entered.
    Notify(Role),
    /// A member of a sync group would become MASTER: ask the group.
    Willing,
    /// As MASTER, a lower priority was heard.
    LowerPriority(Sender),
    /// A packet broke a rule: the first time since the state or the sender changed.
    Report {
        /// Who sent it.
        from: IpAddr,
        /// The rule.
        error: WireError,
    },
}

/// Another router of this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// Priority in them.
    pub priority: Priority,
}
