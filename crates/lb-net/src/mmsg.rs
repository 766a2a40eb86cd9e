//! Many packets in one system call: `sendmmsg(2)` and `recvmmsg(2)` over buffers that are kept.
// Unsafe: nix ties its batches to the lifetime of one call and builds them anew for each, so the
// arrays of headers are kept here by hand. Every pointer is written from a live borrow right before
// the call that reads it, and is not followed afterwards.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use nix::errno::Errno;

/// The kernel takes no more at once (`UIO_MAXIOV`).
pub(crate) const SEND_MAX: usize = 1024;

/// A C socket address.
///
/// # Safety
/// Implementors are plain structures that `sendmsg(2)` accepts as `msg_name` with their whole size.
pub(crate) unsafe trait SocketAddress: Copy {}

// SAFETY: the addresses of ip(7), ipv6(7) and packet(7).
unsafe impl SocketAddress for libc::sockaddr_in {}
unsafe impl SocketAddress for libc::sockaddr_in6 {}
unsafe impl SocketAddress for libc::sockaddr_ll {}

/// A control message that names the link an IPv4 packet is to leave by. `IP_PKTINFO` of `ip(7)`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Through {
    header: libc::cmsghdr,
    info: libc::in_pktinfo,
}

impl Through {
    fn new(ifindex: u32) -> Self {
        // SAFETY: integers; musl's padding is why it is not written out.
        let mut through: Self = unsafe { mem::zeroed() };
        // The kernel's alignment of what follows the header is that of the structure.
        let len = mem::offset_of!(Self, info) + size_of::<libc::in_pktinfo>();
        through.header.cmsg_len = len as _;
        through.header.cmsg_level = libc::IPPROTO_IP;
        through.header.cmsg_type = libc::IP_PKTINFO;
        through.info.ipi_ifindex = ifindex.cast_signed();
        through
    }
}

/// One packet of an [`Outbox`].
struct Packet<A> {
    /// Where it ends in the octets; it begins where the one before it ends.
    end: usize,
    to: A,
    through: Option<Through>,
}

/// Packets that wait to be sent through one socket.
pub(crate) struct Outbox<A> {
    octets: Vec<u8>,
    packets: Vec<Packet<A>>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `slices` and `headers` are dead outside of `flush`.
unsafe impl<A: Send> Send for Outbox<A> {}

impl<A: SocketAddress> Outbox<A> {
    pub(crate) const fn new() -> Self {
        Self { octets: Vec::new(), packets: Vec::new(), slices: Vec::new(), headers: Vec::new() }
    }

    /// Queues the packet that `write` appends.
    pub(crate) fn push(&mut self, to: A, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.octets);
        self.packets.push(Packet { end: self.octets.len(), to, through: None });
    }

    /// The same for an IPv4 socket, to leave by a link that the socket is not bound to.
    pub(crate) fn push_through(&mut self, ifindex: u32, to: A, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.octets);
        let through = Some(Through::new(ifindex));
        self.packets.push(Packet { end: self.octets.len(), to, through });
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Sends everything in order and empties the box; a packet that the kernel refuses is reported
    /// with its place in the box and does not hold up the others.
    pub(crate) fn flush(&mut self, fd: impl AsFd, mut failed: impl FnMut(usize, io::Error)) {
        self.slices.clear();
        self.headers.clear();
        let mut start = 0;
        for &Packet { end, .. } in &self.packets {
            let packet = &mut self.octets[start..end];
            self.slices
                .push(libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() });
            start = end;
        }
        for (slice, packet) in self.slices.iter_mut().zip(&mut self.packets) {
            let mut header = empty_header();
            header.msg_hdr.msg_name = ptr::from_mut(&mut packet.to).cast();
            header.msg_hdr.msg_namelen = size_of::<A>() as libc::socklen_t;
            header.msg_hdr.msg_iov = slice;
            header.msg_hdr.msg_iovlen = 1;
            if let Some(through) = &mut packet.through {
                header.msg_hdr.msg_control = ptr::from_mut(through).cast();
                header.msg_hdr.msg_controllen = size_of::<Through>() as _;
            }
            self.headers.push(header);
        }
        let mut at = 0;
        while at < self.headers.len() {
            let count = (self.headers.len() - at).min(SEND_MAX);
            // SAFETY: `count` headers from `at` on are initialised, and what they point to is
            // borrowed mutably by this function.
            let sent = Errno::result(unsafe {
                libc::sendmmsg(
                    fd.as_fd().as_raw_fd(),
                    self.headers[at..].as_mut_ptr(),
                    count as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            });
            match sent {
                Ok(sent) => at += usize::try_from(sent).unwrap_or(0).max(1),
                Err(Errno::EINTR) => {}
                // The error is that of the first packet.
                Err(errno) => {
                    failed(at, errno.into());
                    at += 1;
                }
            }
        }
        self.octets.clear();
        self.packets.clear();
    }
}

/// Packets received at once, at most.
pub(crate) const RECEIVE_MAX: usize = 64;
/// The longest advertisement, 255 IPv6 addresses and a trailer, is 4,124 octets.
const PACKET_MAX: usize = 4224;
const CONTROL_MAX: usize = 128;

/// Keeps the alignment that control messages need.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_MAX]);

/// What was received at once; 300 KiB, of which short packets touch a page each.
pub(crate) struct Batch {
    octets: Vec<u8>,
    controls: [Control; RECEIVE_MAX],
    names: [libc::sockaddr_in6; RECEIVE_MAX],
    slices: [libc::iovec; RECEIVE_MAX],
    headers: [libc::mmsghdr; RECEIVE_MAX],
    received: usize,
}

// SAFETY: the pointers in `slices` and `headers` are dead outside of `receive`.
unsafe impl Send for Batch {}

/// One of a [`Batch`].
pub(crate) struct Datagram<'a> {
    /// As long as it fits; a longer one is cut.
    pub octets: &'a [u8],
    /// Sender, when it is an IPv6 socket.
    pub from: Ipv6Addr,
    /// `IPV6_HOPLIMIT` and `IPV6_PKTINFO`, when it is an IPv6 socket.
    pub ipv6: Option<(u8, Ipv6Addr)>,
}

impl Batch {
    pub(crate) fn new() -> Box<Self> {
        // SAFETY: integers, arrays of them and null pointers; zero is a value of each.
        let (names, slices) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Box::new(Self {
            octets: vec![0; RECEIVE_MAX * PACKET_MAX],
            controls: [Control([0; CONTROL_MAX]); RECEIVE_MAX],
            names,
            slices,
            headers: [empty_header(); RECEIVE_MAX],
            received: 0,
        })
    }

    /// Replaces the batch by what is there, without waiting; an empty batch when nothing is.
    /// Returns whether there may be more.
    pub(crate) fn receive(&mut self, fd: impl AsFd) -> io::Result<bool> {
        self.received = 0;
        for (index, octets) in self.octets.chunks_exact_mut(PACKET_MAX).enumerate() {
            self.slices[index] =
                libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
            let mut header = empty_header();
            header.msg_hdr.msg_name = ptr::from_mut(&mut self.names[index]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut self.slices[index];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_MAX;
            self.headers[index] = header;
        }
        // SAFETY: every header is initialised and points into `self`, borrowed mutably.
        let received = Errno::result(unsafe {
            libc::recvmmsg(
                fd.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                RECEIVE_MAX as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        });
        match received {
            Ok(received) => {
                self.received = usize::try_from(received).unwrap_or(0).min(RECEIVE_MAX);
                Ok(self.received == RECEIVE_MAX)
            }
            Err(Errno::EAGAIN) => Ok(false),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Forgets what it holds.
    pub(crate) fn clear(&mut self) {
        self.received = 0;
    }

    pub(crate) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let received = self.octets.chunks_exact(PACKET_MAX).take(self.received);
        received.enumerate().map(|(index, octets)| {
            let header = &self.headers[index];
            let len = (header.msg_len as usize).min(PACKET_MAX);
            Datagram {
                octets: &octets[..len],
                from: Ipv6Addr::from(self.names[index].sin6_addr.s6_addr),
                ipv6: ipv6_control(&self.controls[index], header.msg_hdr.msg_controllen),
            }
        })
    }
}

/// How many packets a socket had no room for, modulo 2^32. `SO_MEMINFO` of `socket(7)`.
pub(crate) fn drops(fd: &impl AsFd) -> io::Result<u32> {
    /// `SK_MEMINFO_VARS` and `SK_MEMINFO_DROPS` of `sock_diag.h`.
    const VARS: usize = 9;
    const DROPS: usize = 8;
    let mut values = [0u32; VARS];
    let mut len = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes `len` octets at most.
    Errno::result(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    Ok(values[DROPS])
}

/// Reads hop limit and destination from `len` octets of control messages. `cmsg(3)`.
fn ipv6_control(control: &Control, len: usize) -> Option<(u8, Ipv6Addr)> {
    let (mut hop_limit, mut destination) = (None, None);
    let mut header = empty_header().msg_hdr;
    header.msg_control = control.0.as_ptr().cast_mut().cast();
    header.msg_controllen = len.min(CONTROL_MAX);
    // SAFETY: the macros stay within `msg_controllen` octets of `control`, which the kernel has
    // filled with whole messages; each payload is as long as its type says, read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(head) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (head.cmsg_level, head.cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let value = data.cast::<libc::c_int>().read_unaligned();
                    hop_limit = u8::try_from(value).ok();
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Some((hop_limit?, destination?))
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: integers and null pointers; musl's padding is why it is not written out.
    unsafe { mem::zeroed() }
}
