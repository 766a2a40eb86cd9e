//! Frames on the wire, collected while something happens.
//!
//! Unsafe is `bind(2)` to a `sockaddr_ll`, which nix can read but not make.
#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    recvmsg, setsockopt, socket, sockopt,
};

use crate::error::{Context, Error, Result};

/// A frame, read as far as most questions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When the kernel saw it.
    pub at: SystemTime,
    /// Sent by the interface rather than received by it.
    pub outgoing: bool,
    /// Hardware address it was sent to.
    pub to: [u8; 6],
    /// Hardware address it was sent from.
    pub from: [u8; 6],
    /// Such as 0x0800 for IPv4, 0x0806 for ARP.
    pub ethertype: u16,
    /// Its IP header, when it has one.
    pub ip: Option<IpHeader>,
    /// What follows the IP header, or else the Ethernet header.
    pub payload: Vec<u8>,
    /// All of it.
    pub octets: Vec<u8>,
}

/// What most questions ask of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Such as 112 for VRRP; of IPv6 the first next header.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
}

impl Frame {
    /// Whether it is IP and carries `protocol`.
    pub fn is_ip(&self, protocol: u8) -> bool {
        self.ip.is_some_and(|ip| ip.protocol == protocol)
    }

    /// Source address of an IP packet.
    pub fn source(&self) -> Option<IpAddr> {
        self.ip.map(|ip| ip.source)
    }

    /// Reads a frame; `None` when it is shorter than an Ethernet header.
    fn parse(octets: &[u8], at: SystemTime, outgoing: bool) -> Option<Self> {
        let (&to, rest) = octets.split_first_chunk::<6>()?;
        let (&from, rest) = rest.split_first_chunk::<6>()?;
        let (&ethertype, rest) = rest.split_first_chunk::<2>()?;
        let ethertype = u16::from_be_bytes(ethertype);
        let (ip, payload) = match ethertype {
            0x0800 => ipv4(rest),
            0x86dd => ipv6(rest),
            _ => None,
        }
        .map_or((None, rest), |(ip, payload)| (Some(ip), payload));
        Some(Self {
            at,
            outgoing,
            to,
            from,
            ethertype,
            ip,
            payload: payload.to_vec(),
            octets: octets.to_vec(),
        })
    }
}

fn ipv4(octets: &[u8]) -> Option<(IpHeader, &[u8])> {
    let header = octets.first_chunk::<20>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let address = |at: usize| {
        IpAddr::from(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]))
    };
    let ip = IpHeader {
        source: address(12),
        destination: address(16),
        protocol: header[9],
        ttl: header[8],
        tos: header[1],
    };
    // What lies behind the total length pads the frame.
    Some((ip, octets.get(length..total.min(octets.len()))?))
}

fn ipv6(octets: &[u8]) -> Option<(IpHeader, &[u8])> {
    let (header, payload) = octets.split_first_chunk::<40>()?;
    let address = |part: &[u8]| {
        <[u8; 16]>::try_from(part).ok().map(|octets| IpAddr::from(Ipv6Addr::from(octets)))
    };
    let ip = IpHeader {
        source: address(&header[8..24])?,
        destination: address(&header[24..40])?,
        protocol: header[6],
        ttl: header[7],
        tos: (header[0] << 4) | (header[1] >> 4),
    };
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    Some((ip, payload.get(..length.min(payload.len()))?))
}

/// A capture that runs until it is dropped.
pub struct Capture {
    shared: Arc<Shared>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Capture {
    /// Starts one in the network namespace of the calling thread.
    pub(crate) fn start(interface: &str) -> Result<Self> {
        let what = || format!("capture on {interface}");
        let socket = listen(interface).context(what)?;
        let stop = Arc::new(EventFd::new().context(what)?);
        let shared = Arc::new(Shared::default());
        let (into, until) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || collect(&socket, &until, &into))
            .context(|| "start a thread".into())?;
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// Every frame so far, in order.
    pub fn frames(&self) -> Vec<Frame> {
        self.shared.lock().clone()
    }

    /// The frames so far that `wanted` likes, in order.
    pub fn matching(&self, mut wanted: impl FnMut(&Frame) -> bool) -> Vec<Frame> {
        self.shared.lock().iter().filter(|frame| wanted(frame)).cloned().collect()
    }

    /// Forgets every frame so far.
    pub fn clear(&self) {
        self.shared.lock().clear();
    }

    /// Waits for a frame that `wanted` likes, among those so far too, and returns the first.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_for(&self, wanted: impl FnMut(&Frame) -> bool, timeout: Duration) -> Result<Frame> {
        let mut found = self.wait_for_count(1, wanted, timeout)?;
        Ok(found.swap_remove(0))
    }

    /// Waits until there are `count` frames that `wanted` likes, and returns these, in order.
    ///
    /// # Errors
    /// [`Error::Timeout`], which says how many there were.
    pub fn wait_for_count(
        &self,
        count: usize,
        mut wanted: impl FnMut(&Frame) -> bool,
        timeout: Duration,
    ) -> Result<Vec<Frame>> {
        let end = Instant::now() + timeout;
        let mut frames = self.shared.lock();
        loop {
            let found: Vec<&Frame> = frames.iter().filter(|frame| wanted(frame)).collect();
            if found.len() >= count {
                return Ok(found.into_iter().take(count).cloned().collect());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = format!(
                    "frame {count} of a kind ({} of it and {} in all came)",
                    found.len(),
                    frames.len()
                );
                return Err(Error::Timeout { what, timeout });
            }
            frames = self
                .shared
                .more
                .wait_timeout(frames, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(interface: &str) -> nix::Result<OwnedFd> {
    let index = if_nametoindex(interface)?;
    // No protocol yet: nothing arrives before the socket is bound to its interface.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None::<SockProtocol>)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RcvBuf, &(4 << 20))?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and the length are those of a sockaddr_ll that outlives the call.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    Errno::result(bound)?;
    Ok(socket)
}

fn collect(socket: &OwnedFd, stop: &EventFd, shared: &Shared) {
    let mut octets = vec![0u8; 1 << 16];
    let mut control = nix::cmsg_space!(libc::timespec);
    loop {
        let mut waiting = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        if waiting[1].any().unwrap_or(false) {
            return;
        }
        loop {
            let mut buffers = [IoSliceMut::new(&mut octets)];
            let received = recvmsg::<LinkAddr>(
                socket.as_raw_fd(),
                &mut buffers,
                Some(&mut control),
                MsgFlags::empty(),
            )
            .map(|message| {
                let at =
                    message.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
                        ControlMessageOwned::ScmTimestampns(at) => {
                            Some(UNIX_EPOCH + Duration::from(at))
                        }
                        _ => None,
                    });
                let outgoing =
                    message.address.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
                (message.bytes, at.unwrap_or_else(SystemTime::now), outgoing)
            });
            match received {
                Ok((length, at, outgoing)) => {
                    let frame =
                        octets.get(..length).and_then(|octets| Frame::parse(octets, at, outgoing));
                    shared.lock().extend(frame);
                    shared.more.notify_all();
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENETDOWN) => break,
                Err(_) => return,
            }
        }
    }
}
