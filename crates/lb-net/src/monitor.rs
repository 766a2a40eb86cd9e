//! Says what happens to links and addresses.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use socket2::SockRef;

use crate::netlink::{self, InterfaceAddress, Link, Message};
use crate::route::{enlarge, receive};
use crate::{Error, filter};

/// Something that happened to a link or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link appeared or changed.
    Link(Link),
    /// A link was deleted, and its addresses with it, which may not be told.
    LinkGone {
        /// Its former index.
        index: u32,
    },
    /// An address appeared or changed. Of those that our own [`RouteSocket`](crate::RouteSocket) adds
    /// none of IPv4 is told; the kernel tells of those of IPv6 in its own name, before this host answers
    /// for them.
    Address(InterfaceAddress),
    /// An address was removed.
    AddressGone {
        /// Which.
        address: InterfaceAddress,
        /// By a request of our own `RouteSocket`, or in consequence of one: the kernel removes
        /// secondary addresses with their primary one unless `promote_secondaries` is set.
        by_us: bool,
    },
    /// Notifications were lost: what is must be asked for anew.
    Overrun,
}

/// A thousand addresses that come at once.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Datagrams read at once, each with one notification as a rule.
const BATCH: usize = 1024;

/// Listens to the kernel's notifications about links and addresses.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    own_port: u32,
    datagram: Vec<u8>,
}

impl Monitor {
    /// Listens from now on, in the network namespace of the calling thread. What the socket at
    /// `own_port` adds is not told: the kernel does not even wake us for it.
    ///
    /// # Errors
    /// When the process is out of descriptors or memory.
    pub fn open(own_port: u32) -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            SockRef::from(&socket).attach_filter(&filter::others_addresses(own_port))?;
            let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
            socket.bind(&SocketAddr::new(0, groups.cast_unsigned()))?;
            socket.set_non_blocking(true)?;
            enlarge(&socket, RECEIVE_BUFFER);
            Ok(Self { socket, own_port, datagram: Vec::new() })
        };
        open().map_err(Error::system("opening a netlink socket for notifications", "CAP_NET_ADMIN"))
    }

    /// Reads what waits, in the kernel's order, without blocking. In a storm it leaves some for the
    /// next time: the descriptor stays readable.
    ///
    /// # Errors
    /// When the socket itself fails; never because nothing waits.
    pub fn drain(&mut self, mut each: impl FnMut(Event)) -> io::Result<()> {
        for _ in 0..BATCH {
            match receive(&self.socket, &mut self.datagram, 0) {
                Ok(()) => netlink::messages(&self.datagram)
                    .filter_map(|message| self.event(message))
                    .for_each(&mut each),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Ok(()),
                    Some(Errno::ENOBUFS) => each(Event::Overrun),
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn event(&self, message: Message<'_>) -> Option<Event> {
        match message.kind {
            libc::RTM_NEWLINK if netlink::is_about_link(message.body) => {
                netlink::parse_link(message.body).map(Event::Link)
            }
            libc::RTM_DELLINK if netlink::is_about_link(message.body) => {
                netlink::parse_link(message.body).map(|link| Event::LinkGone { index: link.index })
            }
            libc::RTM_NEWADDR => netlink::parse_address(message.body).map(Event::Address),
            libc::RTM_DELADDR => {
                let by_us = message.port == self.own_port;
                let address = netlink::parse_address(message.body)?;
                Some(Event::AddressGone { address, by_us })
            }
            _ => None,
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
