//! Hosts, switches and cables out of network namespaces.
//!
//! ```no_run
//! use std::time::Duration;
//! use lb_lab::{HostSpec, Lab, Topology, wait_until};
//!
//! # fn main() -> lb_lab::Result<()> {
//! let lab = Lab::start(
//!     Topology::new(["lan"])
//!         .host(HostSpec::new("d1").interface("eth0", "lan", ["10.0.0.2/24"]))
//!         .host(HostSpec::new("d2").interface("eth0", "lan", ["10.0.0.3/24"])),
//! )?;
//! let d1 = lab.host("d1")?;
//! d1.write_file("/run/keepalived.conf", "vrrp_instance VI_1 { ... }")?;
//! let lbd = d1.spawn(["lbd", "-n", "-l", "-f", "/run/keepalived.conf"])?;
//! lbd.wait_for_line("Entering MASTER STATE", Duration::from_secs(5))?;
//! lab.cut("d1", "eth0")?;
//! wait_until("d1 gives the VIP up", Duration::from_secs(1), || !d1.has_address([10, 0, 0, 50]))?;
//! # Ok(())
//! # }
//! ```
//!
//! A host is a set of namespaces (network, mounts, processes, host name), a cable is a pair of veth interfaces, and
//! the switches are bridges in a network namespace of their own. Nothing has a name outside of the lab and nothing
//! outlives its owner, however that ends.

mod capture;
mod error;
mod host;
mod lab;
mod namespace;
mod play;
mod privilege;
mod probe;
mod process;
mod topology;
mod wait;
mod web;
mod wire;

pub use capture::{Capture, Frame, IpHeader};
pub use error::{Error, Result};
pub use host::Host;
pub use lab::{Lab, Options};
pub use play::{Fault, Latency, Progress, Report, inflict, play};
pub use privilege::become_root;
pub use probe::{Answered, Probe, Prober, Sent, Trace};
pub use process::{Line, Process, Program};
pub use topology::{
    FaultKind, FaultSpec, FileSpec, HostSpec, InterfaceSpec, MASTER, Play, Prefix, ProgramSpec,
    RouteSpec, Topology, TopologyError,
};
pub use wait::{wait_for, wait_until};
pub use web::{Answer, SERVER_HEADER, Server, serve_forever};
