//! The forwarding table served in user space, for TCP and UDP on hosts without IPVS.
//!
//! A [`Relay`] is a [`lb_pool::Dataplane`]. It listens on the services' addresses, whether the
//! host has them now or not, and connects on to the servers, so it differs from IPVS in what a
//! proxy cannot do or can do better:
//!
//! - Servers see this host as their client, whatever the forwarding method, unless
//!   [`Egress::transparent`] asks otherwise. No service by firewall mark, of every port or of SCTP.
//! - A server that refuses a connection or does not answer in time is passed over for another.
//!   Where no server takes it, a TCP client is accepted and reset.
//! - The connections of a destination that leaves the table are reset at once, because a failed
//!   server would let them hang; those of one that had weight 0, as a draining server has, run on.
//!   Those of a service that leaves always end.
//! - It has room for so many clients ([`Options::most_flows`]); one that comes when it is full takes the
//!   place of the one that has been idle longest.
//! - TCP connections are active while both sides are connected and inactive before. UDP clients
//!   are inactive, as in IPVS.
//! - `sh` hashes so that only the clients of a lost server move; `dh` and `mh` are served as `sh`,
//!   and `lblc`, `lblcr` and `twos` as `wlc`.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod balance;
mod flows;
mod owner;
mod pump;
mod relay;
mod scheduler;
mod site;
mod sockets;
mod tcp;
mod udp;
mod unsent;

pub use flows::Clients;
pub use relay::{Error, Options, Relay};
pub use sockets::Egress;

/// Locks; a panic elsewhere leaves nothing half-done behind our locks.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
