//! Lets a task wait for a descriptor of a library that has no tokio.
//!
//! Unsafe for one call: tokio wants the word of whoever registers a descriptor that it stays the
//! same and open.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Becomes ready when there is something to read, also after `fd` itself has been closed.
pub(super) fn watch(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = fd.try_clone_to_owned()?;
    // SAFETY: it owns its descriptor, nobody else has it, and the `AsyncFd` closes it after it has
    // deregistered it.
    Ok(unsafe { AsyncFd::register(duplicate) }?)
}
