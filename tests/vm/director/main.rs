//! `lbd` as a director: real IPVS, real requests, `ipvsadm` as the witness.
//!
//! Every test builds a lab of its own. Where the kernel has no IPVS, or labs are not allowed, they say so and pass;
//! `tests/vm/check` runs them in a machine that has it, and sets `LB_IPVS_REQUIRED` so that none is left out.

mod failover;
mod forwarding;
mod life;
mod site;
mod sync;
mod table;
mod tap;
