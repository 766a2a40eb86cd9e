//! IPVS over generic netlink: a typed client of the whole family and a reconciler on top of it.
//!
//! [`Client`] speaks the family: services, destinations, sync daemons, timeouts, counters. It
//! packs many requests into one datagram and still knows which of them failed.
//! [`Reconciler`] holds the table that is wanted, compares it with the one that is, and sends the
//! difference. Between the two stand values: [`Snapshot`] is what the kernel has, [`diff`] says
//! which [`Change`]s lead from it to a [`Table`](lb_pool::Table).
//!
//! IPVS belongs to a network namespace: a client speaks to that of the thread that opened it.
//! Every request, reading ones too, needs `CAP_NET_ADMIN` in the first user namespace.
//! Source of the numbers: the kernel's `linux/ip_vs.h`.

mod attributes;
mod batch;
mod change;
mod client;
mod entry;
mod error;
mod message;
mod reconciler;
mod request;
mod settings;
mod snapshot;
mod socket;

pub use change::{Change, diff};
pub use client::{Client, Info, Timeouts};
pub use entry::{Daemon, DestinationEntry, Role, ServiceEntry, Statistics};
pub use error::{Error, Failure};
pub use reconciler::{Kernel, Reconciler};
pub use settings::{
    DestinationSettings, Flags, Method, Name, Netmask, ServiceSettings, Tunnel, TunnelKind,
};
pub use snapshot::{Destinations, ServiceState, Snapshot, snapshot};

/// Reads one datagram of replies as the client would and forgets it: the door for fuzzers.
///
/// Never panics, whatever the octets.
pub fn parse_replies(datagram: &[u8]) {
    for reply in message::replies(datagram) {
        if let message::Body::Payload { attributes, .. } = reply.body {
            let _ = ServiceEntry::parse(attributes);
            let _ = DestinationEntry::parse(attributes, lb_pool::table::Family::Inet);
            let _ = Daemon::parse(attributes);
            let _ = client::parse_info(attributes);
            let _ = client::parse_timeouts(attributes);
        }
    }
}
