//! VRRP versions 2 and 3: packets and the state machine of one instance.
//!
//! Pure: no socket, no clock, no global. RFC 9568, RFC 3768, and keepalived where it decides what
//! both leave open.
//!
//! - [`Advert`] is a packet: [`Advert::parse`] is the only door in, [`Advert::emit`] the way out.
//! - [`Instance`] is a virtual router on this host: [`Input`](lb_election::Input) and time in,
//!   [`Action`]s out, and a [`Reason`] for each transition.

mod ah;
mod checksum;
mod config;
mod counters;
mod error;
mod instance;
mod message;
mod reason;
mod timing;
mod types;
mod vips;
mod wire;

pub use ah::LEN as AH_LEN;
pub use checksum::Checksum;
pub use config::{Config, OldUnicastChecksum};
pub use counters::Counters;
pub use error::WireError;
pub use instance::{Duel, Instance, State};
pub use message::{Action, Content, Sender};
pub use reason::{Patience, Reason};
pub use timing::{master_down_interval, skew_time};
pub use types::{Family, Priority, Version, Vrid};
pub use vips::Vips;
pub use wire::{Addresses, Advert, Auth, MAX_LEN, vrid};
