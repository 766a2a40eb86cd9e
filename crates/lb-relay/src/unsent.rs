//! How much of what was written to a TCP socket its peer has not taken yet.
//!
//! Unsafe because no crate of ours wraps `SIOCOUTQ` (tcp(7)), which writes one `int`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::TcpStream;

nix::ioctl_read_bad!(tiocoutq, libc::TIOCOUTQ, libc::c_int);

/// Octets sent or waiting to be sent that the peer may still acknowledge.
pub fn unsent(stream: &TcpStream) -> io::Result<usize> {
    // A connection that was reset keeps its count for ever.
    let mut state = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    if poll(&mut state, PollTimeout::ZERO)? > 0 {
        return Ok(0);
    }
    let mut octets = 0;
    // SAFETY: the stream is open, and the kernel writes one int to where `octets` is.
    unsafe { tiocoutq(stream.as_raw_fd(), &raw mut octets) }?;
    Ok(usize::try_from(octets).unwrap_or(0))
}
