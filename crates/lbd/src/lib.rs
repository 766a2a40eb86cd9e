//! The supervisor process: joins the engines and owns signals, scripts and the control socket.

pub mod advertiser;
pub mod balancer;
pub mod cli;
pub mod detach;
pub mod dump;
pub mod engine;
pub mod inherited;
pub mod init;
pub mod log;
pub mod mailbox;
pub mod names;
pub mod supervisor;
