//! Ctrl-C ends a lab, even where whoever started us ignores it.
//!
//! A shell without job control starts what it runs in the background with SIGINT ignored, which
//! programs inherit, and so would the daemons of the lab.

// The C library cannot promise what a handler may do; the default action runs none.
#![allow(unsafe_code)]

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, Signal, signal};

/// Lets SIGINT end this process again, and with it the lab: the kernel takes its hosts away.
pub fn ends_us() -> Result<()> {
    // SAFETY: no handler is installed, and none is there that this could replace.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.context("cannot attend to Ctrl-C")?;
    Ok(())
}
