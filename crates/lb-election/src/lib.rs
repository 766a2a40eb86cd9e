//! What the protocols that elect a master among routers have in common.
//!
//! An instance of `lb-vrrp` or `lb-carp` is a value: it takes an [`Input`] and the time, returns
//! [`Action`]s, and says when its next timer is due. Whoever runs it need not know which protocol
//! it is. Pure: no socket, no clock, no global.

mod family;
mod hold;
mod leave;
mod message;
mod packet;
mod peers;
mod role;
mod selector;

pub use family::Family;
pub use hold::hold_time;
pub use leave::Leave;
pub use message::{Action, Input};
pub use packet::IpPacket;
pub use peers::{Peer, Peers};
pub use role::Role;
pub use selector::Selector;
