//! Contact with the kernel's network, for everything that makes an address virtual.
//!
//! | To | there is |
//! |---|---|
//! | send and hear advertisements | [`AdvertSocket`], told by [`Selector`](lb_election::Selector)s which, with [`Envelope`] and [`Inbox`]; one that only sends, through any link: [`AdvertSocket::open_sender`] |
//! | add and remove addresses, list them and the links | [`RouteSocket`] |
//! | be told when links and addresses change | [`Monitor`] |
//! | have links with a virtual MAC | [`Vmacs`] |
//! | tell the neighbours where an address is | [`Announcer`] |
//! | hear who else says to have it | [`Watch`] |
//! | have it on several nodes at a time | [`Share`] |
//! | take away what a process left that was killed | [`sweep`], [`clean`] |
//! | wait for all of this, exactly and undisturbed | [`Poller`], [`Timer`], [`Waker`], [`set_realtime`] and its neighbours |
//!
//! Everything here is synchronous and made for a thread with an event loop of its own: a [`Poller`]
//! says which descriptor is ready, a [`Timer`] wakes it to the nanosecond, a [`Waker`] lets other
//! threads in. Packets leave and arrive in batches; what the steady state needs is allocated once.
//! [`RouteSocket`], [`Vmacs`] and [`Share`] wait for the kernel, for milliseconds as a rule: they
//! belong on a thread that may wait.
//!
//! Every socket belongs to the network namespace of the thread that opens it.
//!
//! What outlives the process: addresses ([`RouteSocket`]), links and settings ([`Vmacs`]) and rules
//! ([`Share`]). None of them goes when its owner is dropped, so that a successor can adopt it; each
//! has a call that removes it. Everything else is gone with its descriptor.

mod advert;
mod announce;
mod before;
mod capability;
mod error;
mod filter;
mod guard;
mod leftovers;
mod link;
mod membership;
mod mmsg;
mod monitor;
mod netlink;
mod nft;
mod nftables;
mod packet;
mod poll;
mod promote;
mod quiet;
mod route;
mod schedule;
mod selection;
mod share;
mod timer;
mod vmac;
mod watch;

pub use advert::{AdvertSocket, Family, Inbox, Interface, Received};
pub use announce::{Announcement, Announcer, ArpForm, is_ipv6_router};
pub use capability::require_capabilities;
pub use error::Error;
pub use guard::{Guard, GuardedAddress};
pub use leftovers::{InUse, Presence, clean, sweep};
pub use link::MacvlanMode;
pub use monitor::{Event, Monitor};
pub use netlink::{
    ADDRESS_PROTOCOL, Address, AddressOptions, Change, FOREVER, InterfaceAddress, Link,
};
pub use packet::{Envelope, Marking};
pub use poll::{Poller, Waker};
pub use promote::Promotions;
pub use route::{Outcome, RouteSocket};
pub use schedule::{lock_memory, prefer_latency, release_memory, set_nice, set_realtime};
pub use share::{Balancing, Buckets, Share, SharedAddress};
pub use timer::Timer;
pub use vmac::{VmacSpec, Vmacs, carp_mac, vrrp_mac};
pub use watch::{Claim, Watch};
