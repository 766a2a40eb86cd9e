//! Tells that a test could not run, so that it is not taken for one that passed.
//!
//! The test harness counts a test that returns as passed and hides what it prints. [`skip`] writes
//! past it, and into a list that `tests/run` counts and shows at its end.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::thread;

/// Environment variable with the path of the list; without it nothing is listed.
pub const LIST: &str = "LBD_SKIPPED";

/// Says that the test of this thread cannot run here, and why. The test then has to return.
pub fn skip(why: impl Display) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("skipped {test}: {why}\n");
    // A test that cannot run has no way to complain of that either.
    let _ = io::stderr().write_all(line.as_bytes());
    let Some(list) = std::env::var_os(LIST) else { return };
    // In one write, which no other test's line is mixed into.
    let _ = OpenOptions::new()
        .append(true)
        .create(true)
        .open(list)
        .and_then(|mut list| list.write_all(line.as_bytes()));
}
