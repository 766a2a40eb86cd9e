//! Contact with the kernel's network: links, addresses, gratuitous ARP and raw sockets.
//!
//! Everything here is synchronous and made for a thread with an event loop of its own: a [`Poller`]
//! says which descriptor is ready, a [`Timer`] wakes it to the nanosecond, a [`Waker`] lets other
//! threads in. Packets leave and arrive in batches; what the steady state needs is allocated once.
//!
//! [`RouteSocket`] changes addresses and [`Announcer`] tells the neighbours; nothing else here
//! changes anything outside of the process.

mod advert;
mod announce;
mod capability;
mod error;
mod filter;
mod link;
mod membership;
mod mmsg;
mod monitor;
mod netlink;
mod nft;
mod packet;
mod poll;
mod route;
mod schedule;
mod share;
mod timer;
mod vmac;
mod watch;

pub use advert::{AdvertSocket, Family, Inbox, Interface, Received};
pub use announce::{Announcement, Announcer, ArpForm, is_ipv6_router};
pub use capability::require_capabilities;
pub use error::Error;
pub use filter::VridSet;
pub use link::MacvlanMode;
pub use monitor::{Event, Monitor};
pub use netlink::{ADDRESS_PROTOCOL, Address, Change, InterfaceAddress, Link};
pub use packet::{Envelope, Marking};
pub use poll::{Poller, Waker};
pub use route::{Outcome, RouteSocket};
pub use schedule::{lock_memory, prefer_latency, release_memory, set_nice, set_realtime};
pub use share::{Balancing, Buckets, Share, SharedAddress};
pub use timer::Timer;
pub use vmac::{VmacSpec, Vmacs, carp_mac, vrrp_mac};
pub use watch::{Claim, Watch};
