//! What a node is told and what it says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use lb_config::model::{Family, VirtualAddress};
use lb_control::EventKind;
use lb_control::status::Maintenance;
use lb_election::IpPacket;

use crate::config::ProtocolKind;
use crate::plan::Plan;
use crate::protocol::Advert;
use crate::shares::Shared;

/// Index of a link in the kernel, never 0.
pub type LinkIndex = u32;

/// An instance of a node; the same for as long as the instance lives, reloads included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub(crate) u32);

impl InstanceId {
    /// The instance at this place of its node.
    #[must_use]
    pub fn new(place: u32) -> Self {
        Self(place)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node is told. Strings and packets are borrowed, nothing is kept of them.
#[derive(Debug)]
pub enum Input<'a> {
    /// Everything known about links, addresses, files and processes has been told: begin. Once, and
    /// first of all but [`Input::Link`], [`Input::Address`], [`Input::File`] and [`Input::Process`].
    Start,
    /// Masters whose advertisement is due are to send it; nothing else is timed by this. It may be given
    /// before what waits in the sockets, so that no flood holds advertisements up.
    Advertise,
    /// A deadline may have passed. Early and repeated ones are harmless.
    ///
    /// After a late wake-up give what waits in the sockets first: a backup whose master's
    /// advertisement was queued must hear it before its timer is judged.
    Timer,
    /// A packet of IP protocol 112.
    Packet {
        /// Where it arrived.
        link: LinkIndex,
        /// The packet.
        packet: IpPacket<'a>,
    },
    /// A link exists, with these properties now.
    Link {
        /// Its index.
        link: LinkIndex,
        /// Its name now; a renamed link is the same link.
        name: &'a str,
        /// `IFF_UP` and `IFF_RUNNING`.
        up: bool,
    },
    /// A link has been deleted, and its addresses with it.
    LinkGone {
        /// Its former index.
        link: LinkIndex,
    },
    /// An address has been added to a link, or removed from it.
    ///
    /// Addresses of one link are told in the kernel's order (dump order, then as they come), the
    /// primary one first. Changes that this node's own actions caused may be told or left out when
    /// they add; a removal that an own action caused **must be left out** (`nlmsg_pid` of the
    /// notification is the port of the requesting socket): a told removal of a VIP is taken for
    /// somebody else's.
    Address {
        /// Where.
        link: LinkIndex,
        /// Which.
        address: IpAddr,
        /// Added, not removed.
        present: bool,
    },
    /// One run of a tracked script ended. Rise and fall are counted here.
    Script {
        /// Its name in the configuration.
        name: &'a str,
        /// Exit status 0, in time.
        success: bool,
    },
    /// What a tracked file says: on a change, and of each before the start if possible.
    File {
        /// Its name in the configuration.
        name: &'a str,
        /// The number in it ([`track::file::parse`](crate::track::file::parse)); 0 if there is none.
        value: i32,
    },
    /// How many of the tracked processes run: on a change, and of each before the start if
    /// possible. Quorum and delays are reckoned here.
    Process {
        /// Their name in the configuration.
        name: &'a str,
        /// So many.
        running: u32,
        /// The last one has come by a fork, and may be about to become another program.
        forked: bool,
    },
    /// The operator wants another router to take over from an instance, and from its whole group.
    Handover {
        /// Its name.
        name: &'a str,
    },
    /// Routers in maintenance are the last choice in the election.
    Maintenance {
        /// Of this instance and its group; `None`: of all, those to come included.
        name: Option<&'a str>,
        /// Who asked for it; `None` ends it.
        state: Option<Maintenance>,
    },
    /// The operator changes the demotion counter of a group of CARP instances.
    Demote {
        /// Name of the group.
        group: &'a str,
        /// Added to the counter.
        by: i32,
    },
    /// Connections are copied to the other router as configured, or (with a reason) they are not: that
    /// demotes the group [`carp`](crate::STATE_SYNC_GROUP).
    StateSync {
        /// Why not.
        failure: Option<&'a str>,
    },
    /// Somebody was heard to claim an address by ARP or neighbour discovery.
    Claim {
        /// Where.
        link: LinkIndex,
        /// Which.
        address: IpAddr,
        /// For this MAC address, which is none of ours.
        mac: [u8; 6],
    },
    /// A virtual MAC of [`Node::vmacs`](crate::Node::vmacs) could not be made.
    VmacFailed {
        /// Its name.
        name: &'a str,
        /// Why.
        reason: &'a str,
        /// A link of another kind has its name: it gets another one.
        taken: bool,
    },
    /// What [`Action::Shares`] asks for could not be done, or was done after that.
    Sharing {
        /// Why not.
        failure: Option<&'a str>,
    },
    /// Not all addresses of [`Plan::guarded`] could be guarded, or all are so after that.
    Guarding {
        /// Those that are not.
        open: &'a BTreeSet<IpAddr>,
        /// Why not.
        reason: &'a str,
    },
    /// A new configuration is in force. After [`Input::Start`].
    Reload(Plan),
    /// End: masters say so and let go; again: they wait for no successor any longer.
    /// [`Node::stopped`](crate::Node::stopped) tells when it is done.
    Stop,
}

/// What a node wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send one advertisement; [`Node::emit`](crate::Node::emit) makes it.
    Send {
        /// Whose.
        instance: InstanceId,
        /// What to say.
        advert: Advert,
        /// To this router alone; `None`: to the group or to every peer.
        to: Option<IpAddr>,
    },
    /// Add these addresses; adding one that is there already is no error.
    AddVips {
        /// Whose.
        instance: InstanceId,
        /// In order.
        vips: Vec<Vip>,
    },
    /// Remove these addresses; removing one that is not there is no error.
    RemoveVips {
        /// Whose.
        instance: InstanceId,
        /// In order.
        vips: Vec<Vip>,
    },
    /// Send gratuitous ARP or neighbour advertisements now: `rounds` times over
    /// [`Node::vips`](crate::Node::vips). Delayed and repeated blocks are announced again when due.
    Announce {
        /// Whose.
        instance: InstanceId,
        /// At least 1.
        rounds: u32,
    },
    /// Send one gratuitous ARP or neighbour advertisement now for each of
    /// [`Node::extra_vips`](crate::Node::extra_vips).
    AnnounceExtra {
        /// Whose.
        instance: InstanceId,
    },
    /// [`Node::sockets`](crate::Node::sockets) is another set now: open and close the difference.
    Sockets,
    /// [`Node::vmacs`](crate::Node::vmacs) are others now, or one of them has gone: make and delete
    /// the difference, after everything before it. [`Input::Link`] tells when one is there.
    Vmacs,
    /// [`Node::promoted`](crate::Node::promoted) are other links now.
    Promote,
    /// Share exactly this load from now on.
    Shares(Vec<Shared>),
    /// Tell the world.
    Event(Box<EventKind>),
}

impl Action {
    /// An event on its way. Boxed, because actions are many and events few.
    pub(crate) fn event(event: EventKind) -> Self {
        Self::Event(Box::new(event))
    }
}

/// A virtual address and the link it is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vip {
    /// The link: that of its `dev`, else of the instance. It existed when this was said.
    pub link: LinkIndex,
    /// The address with its options.
    pub address: VirtualAddress,
}

/// One advertisement ready for `sendmmsg(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Out of this link; `None`: as routed (unicast without an interface).
    pub link: Option<LinkIndex>,
    /// By this virtual MAC on that link.
    pub through: Option<LinkIndex>,
    /// From this address.
    pub source: IpAddr,
    /// To this group or peer.
    pub destination: IpAddr,
    /// Of this protocol, which has its own type of service.
    pub protocol: ProtocolKind,
    /// TTL or hop limit; `None`: the kernel's default.
    pub ttl: Option<u8>,
    /// It begins with an authentication header: of IP protocol 51, and its IP header has this id, which
    /// the digest covers.
    pub ah: Option<u16>,
    /// Where the payload is in the buffer given to [`Node::emit`](crate::Node::emit): what follows
    /// the IP header, checksum included, for IPv6 too.
    pub payload: Range<usize>,
}

/// A socket the node has to be heard and to speak through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket {
    /// Bound to this link; `None`: to none (unicast without an interface).
    pub link: Option<LinkIndex>,
    /// Family of the advertisements.
    pub family: SocketFamily,
    /// Of IP protocol 51, the authentication header, instead of 112.
    pub ah: bool,
    /// Multicast group to be a member of on that link; `None` for unicast.
    pub group: Option<IpAddr>,
}

/// Family of a [`Socket`], ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketFamily {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl From<Family> for SocketFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Inet => Self::Inet,
            Family::Inet6 => Self::Inet6,
        }
    }
}
