//! CARP: packets, their digest, and the state machine of one vhid.
//!
//! Pure: no socket, no clock, no global. There is no standard; the rules are what OpenBSD, FreeBSD
//! and ucarp have in common, and where they differ, what gets along with each of them.
//!
//! - [`Advert`] is a packet: [`Advert::parse`] is the only door in, [`Advert::emit`] the way out.
//! - [`Instance`] is a vhid on this host: [`Input`](lb_election::Input) and time in, [`Action`]s
//!   out, and a [`Reason`] for each transition.
//! - [`foreign`] has models of the others.
//!
//! The digest proves that a sender knows the passphrase and has the same addresses. It does not
//! cover advskew, advbase and demotion, so that whoever can send on the link may repeat an
//! advertisement with others. No implementation can tell; keep strangers off the link.

mod config;
mod counters;
mod digest;
mod error;
pub mod foreign;
mod instance;
mod message;
mod pace;
mod reason;
mod sequence;
mod wire;

pub use config::{Config, Vhid};
pub use counters::Counters;
pub use digest::Digest;
pub use error::WireError;
pub use instance::{Instance, State};
pub use message::{Action, Sender};
pub use pace::Pace;
pub use reason::Reason;
pub use wire::{Advert, LEN, vhid};
