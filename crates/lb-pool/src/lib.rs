//! Virtual servers as values: health, weights and quorum go in, a forwarding table comes out.
//!
//! Pure: no sockets, no clock, no globals. [`table`] is what a [`Dataplane`] is given; the
//! [`pool`] that makes it owns quorum, hysteresis, sorry servers and inhibition.

pub mod dataplane;
pub mod destinations;
pub mod pool;
pub mod quorum;
pub mod table;

pub use dataplane::{Dataplane, DataplaneError};
pub use destinations::Destinations;
pub use pool::{
    CheckerConfig, Health, Input, Output, RealServerConfig, SorryServer, VirtualServer,
    VirtualServerConfig,
};
pub use quorum::Quorum;
pub use table::{
    Connections, Destination, DestinationKey, ForwardingMethod, Persistence, Protocol, Scheduler,
    Service, ServiceKey, Table, TunnelType,
};
