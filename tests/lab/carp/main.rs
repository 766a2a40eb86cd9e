//! CARP against Debian's ucarp: who holds the VIP after every fault, and every octet on the wire; gateways whose
//! VIPs move together, and nodes that share one address.
//!
//! Times are taken where they mean something: of packets by the kernel, at the switch's end of each cable; of
//! addresses when the kernel of the host reports them. A test that fails tells what it saw, in order.

mod balanced;
mod config;
mod stage;
mod wire;

mod balancing;
mod failover;
mod gateway;
mod neighbours;
mod packets;
mod preemption;
mod resharing;
mod strangers;
