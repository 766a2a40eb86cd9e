//! The supervisor process: joins the engines and owns signals, scripts and the control socket.

pub mod advertiser;
pub mod balancer;
pub mod engine;
pub mod names;
