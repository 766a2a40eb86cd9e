//! Further MACs that an interface accepts.
// Unsafe: neither socket2 nor nix knows the memberships of packet(7).
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

/// Accepts MACs beside those of the interfaces for as long as it lives, also past a crash of ours:
/// the kernel undoes it when the socket is closed. An interface without a filter for so many MACs
/// becomes promiscuous.
#[derive(Debug)]
pub(crate) struct Memberships {
    socket: Socket,
    joined: BTreeSet<(u32, [u8; 6])>,
}

impl Memberships {
    /// None yet.
    pub(crate) fn open() -> io::Result<Self> {
        // Protocol 0: nothing is received.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        Ok(Self { socket, joined: BTreeSet::new() })
    }

    /// The MACs that are accepted, each with the index of its interface.
    pub(crate) const fn joined(&self) -> &BTreeSet<(u32, [u8; 6])> {
        &self.joined
    }

    /// Accepts exactly these MACs from now on, each at the interface of an index.
    pub(crate) fn reconcile(&mut self, wanted: &BTreeSet<(u32, [u8; 6])>) -> io::Result<()> {
        for gone in self.joined.difference(wanted) {
            // Gone already with its interface.
            let _ = self.set(libc::PACKET_DROP_MEMBERSHIP, *gone);
        }
        self.joined.retain(|it| wanted.contains(it));
        for new in wanted {
            if !self.joined.contains(new) {
                self.set(libc::PACKET_ADD_MEMBERSHIP, *new)?;
                self.joined.insert(*new);
            }
        }
        Ok(())
    }

    fn set(&self, option: libc::c_int, (ifindex, mac): (u32, [u8; 6])) -> io::Result<()> {
        let is_group = mac[0] & 1 != 0;
        let kind = if is_group { libc::PACKET_MR_MULTICAST } else { libc::PACKET_MR_UNICAST };
        let mut address = [0; 8];
        address[..6].copy_from_slice(&mac);
        let request = libc::packet_mreq {
            mr_ifindex: ifindex.cast_signed(),
            mr_type: kind as libc::c_ushort,
            mr_alen: 6,
            mr_address: address,
        };
        // SAFETY: the option reads a packet_mreq, borrowed for the call.
        let done = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                (&raw const request).cast(),
                size_of_val(&request) as libc::socklen_t,
            )
        };
        Ok(Errno::result(done).map(drop)?)
    }
}
