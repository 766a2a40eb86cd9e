//! Networks of routers in simulated time.
//!
//! A [`Scenario`] is data: routers, each a [`Node`](lb_node::Node) built from a configuration, the
//! segments that join them, and what befalls them. [`run`] plays it in one thread, from one seed,
//! without a socket or a clock, and watches over promises ([`Promise`]) all the time.

mod bound;
mod chance;
mod generate;
mod host;
mod judge;
mod outcome;
mod scenario;
mod segment;
mod shrink;
mod story;
mod table;
pub mod trial;
mod wiring;
mod world;

pub use chance::Chance;
pub use generate::generate;
pub use judge::{Promise, Violation};
pub use outcome::{Change, Count, Entry, Note, Outcome, Said, View, Why};
pub use scenario::{
    Deed, MAX_ROUTERS, MAX_STRANGERS, Router, Scenario, Stranger, Weather, What, Wire,
};
pub use shrink::shrink;
pub use story::tell;
pub use table::{Patience, Table, Terms, VirtualRouter};
pub use world::{observe, run};

/// Simulated nanoseconds since the beginning.
type Time = u64;
