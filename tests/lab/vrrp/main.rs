//! VRRP against Debian's keepalived: who holds the VIP after every fault, and every octet on the wire.
//!
//! Times are taken where they mean something: of packets by the kernel, at the switch's end of each cable; of
//! addresses when the kernel of the host reports them. A test that fails tells what it saw, in order.

mod config;
mod stage;
mod times;

mod dumps;
mod election;
mod failover;
mod guard;
mod lines;
mod log;
mod packets;
mod partition;
mod preemption;
mod reload;
mod rename;
mod sending;
mod strangers;
mod tracking;
mod vmac;
