//! Who says to have which address.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, SockaddrIn6, recvfrom, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Error, filter};

/// Somebody on the wire says where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The interface that heard it.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// The MAC that it is said to have.
    pub hardware: [u8; 6],
}

/// Hears what others on the wire say about addresses of interest: senders of ARP requests and
/// replies, and neighbour advertisements that name their MAC.
///
/// Other packets cost nothing: ARP has a socket of its own, neighbour advertisements come from one
/// that sees the ICMPv6 for this host only, and the kernel compares addresses before it wakes
/// anybody. Our own frames are not heard. One descriptor for both, readable as long as a claim waits.
#[derive(Debug)]
pub struct Watch {
    arp: Socket,
    /// None in a kernel without IPv6.
    nd: Option<Socket>,
    epoll: Epoll,
    interest: HashSet<(u32, IpAddr)>,
}

/// Claims of each kind read at once: a storm must not keep the caller.
const BATCH: usize = 64;

impl Watch {
    /// Is interested in nothing yet, on any interface of the calling thread's namespace.
    ///
    /// # Errors
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    pub fn open() -> Result<Self, Error> {
        Self::try_open().map_err(Error::system("opening the sockets that watch ARP", "CAP_NET_RAW"))
    }

    fn try_open() -> io::Result<Self> {
        let protocol = (libc::ETH_P_ARP as u16).to_be();
        // A socket of one protocol is not shown what this host sends.
        let arp = Socket::new(
            Domain::PACKET,
            Type::DGRAM.nonblocking(),
            Some(Protocol::from(i32::from(protocol))),
        )?;
        arp.attach_filter(&filter::nothing())?;
        let nd = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6));
        let nd = match nd {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            other => Some(other?),
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&arp, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        if let Some(nd) = &nd {
            nd.attach_filter(&filter::nothing())?;
            setsockopt(nd, sockopt::Ipv6RecvPacketInfo, &true)?;
            nd.set_recv_hoplimit_v6(true)?;
            epoll.add(nd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        Ok(Self { arp, nd, epoll, interest: HashSet::new() })
    }

    /// Is interested in exactly these from now on: interface and address.
    ///
    /// # Errors
    /// When the kernel is out of memory for filters.
    pub fn set(&mut self, interest: impl IntoIterator<Item = (u32, IpAddr)>) -> Result<(), Error> {
        self.interest = interest.into_iter().collect();
        let failed = || Error::system("filtering ARP", "CAP_NET_RAW");
        let four = self.interest.iter().filter_map(|(_, address)| match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        });
        self.arp.attach_filter(&filter::arp_senders(four)).map_err(failed())?;
        if let Some(nd) = &self.nd {
            let six = self.interest.iter().filter_map(|(_, address)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(*address),
            });
            nd.attach_filter(&filter::advertised_targets(six)).map_err(failed())?;
        }
        Ok(())
    }

    /// Yields the claims that wait, up to some; the descriptor stays readable while there are more.
    ///
    /// # Errors
    /// When a socket itself fails; never because nothing waits.
    pub fn drain(&mut self, mut each: impl FnMut(Claim)) -> io::Result<()> {
        let mut each = |claim: Claim| {
            if self.interest.contains(&(claim.ifindex, claim.address)) {
                each(claim);
            }
        };
        for _ in 0..BATCH {
            match receive_arp(&self.arp) {
                Ok(claim) => claim.into_iter().for_each(&mut each),
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        for _ in 0..BATCH {
            match self.nd.as_ref().map_or(Err(Errno::EAGAIN), receive_advertisement) {
                Ok(claim) => claim.into_iter().for_each(&mut each),
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

fn receive_arp(socket: &Socket) -> Result<Option<Claim>, Errno> {
    let mut packet = [0; 28];
    let (len, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut packet)?;
    let ifindex = from.and_then(|from| u32::try_from(from.ifindex()).ok());
    Ok(ifindex.and_then(|ifindex| {
        let (address, hardware) = parse_arp(packet.get(..len)?)?;
        Some(Claim { ifindex, address: address.into(), hardware })
    }))
}

/// What an ARP packet of an Ethernet says about its sender. RFC 826.
fn parse_arp(packet: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let rest = packet.strip_prefix(&[0, 1, 8, 0, 6, 4, 0])?;
    let (hardware, rest) = rest.get(1..)?.split_first_chunk()?;
    let address: [u8; 4] = *rest.first_chunk()?;
    Some((address.into(), *hardware))
}

fn receive_advertisement(socket: &Socket) -> Result<Option<Claim>, Errno> {
    let mut packet = [0; 256];
    let mut slices = [io::IoSliceMut::new(&mut packet)];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let (mut ifindex, mut hop_limit) = (None, None);
    for item in message.cmsgs()? {
        match item {
            ControlMessageOwned::Ipv6PacketInfo(info) => ifindex = Some(info.ipi6_ifindex),
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = Some(limit),
            _ => {}
        }
    }
    let len = message.bytes;
    // RFC 4861 §7.1.2: what has passed a router is no neighbour's.
    let ifindex = ifindex.filter(|_| hop_limit == Some(255));
    Ok(ifindex.and_then(|ifindex| {
        let (address, hardware) = parse_advertisement(packet.get(..len)?)?;
        Some(Claim { ifindex, address: address.into(), hardware })
    }))
}

/// Target and its MAC of a neighbour advertisement. RFC 4861 §4.4, §4.6.1.
fn parse_advertisement(packet: &[u8]) -> Option<(Ipv6Addr, [u8; 6])> {
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    let (header, mut options) = packet.split_first_chunk::<24>()?;
    let [136, 0, ..] = *header else { return None };
    let target: [u8; 16] = *header.last_chunk()?;
    loop {
        // In units of 8 octets; 0 would never end.
        let (&[kind, units], _) = options.split_first_chunk()?;
        let len = usize::from(units) * 8;
        let option = options.get(..len).filter(|option| !option.is_empty())?;
        if kind == TARGET_LINK_LAYER_ADDRESS && len == 8 {
            return Some((target.into(), *option.last_chunk()?));
        }
        options = &options[len..];
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn an_arp_packet_claims_its_sender() {
        let arp = hex!("0001 0800 06 04 0002 02000000000a c0000232 ffffffffffff c0000201");
        let claim = (Ipv4Addr::new(192, 0, 2, 50), hex!("02000000000a"));
        assert_eq!(parse_arp(&arp), Some(claim));
        assert!((0..18).all(|len| parse_arp(&arp[..len]).is_none()));
        let token_ring = hex!("0006 0800 06 04 0002 02000000000a c0000232 ffffffffffff c0000201");
        assert_eq!(parse_arp(&token_ring), None);
    }

    #[test]
    fn an_advertisement_claims_its_target_if_it_names_a_mac() {
        let advertisement = hex!(
            "88 00 0000 20000000 20010db8000000000000000000000050"
            "0e01 000000000000" // a nonce before it
            "0201 02000000000a"
        );
        let claim = ("2001:db8::50".parse().unwrap(), hex!("02000000000a"));
        assert_eq!(parse_advertisement(&advertisement), Some(claim));
        assert!((0..40).all(|len| parse_advertisement(&advertisement[..len]).is_none()));
        let mut endless = advertisement;
        endless[25] = 0;
        assert_eq!(parse_advertisement(&endless), None);
        let mut solicitation = advertisement;
        solicitation[0] = 135;
        assert_eq!(parse_advertisement(&solicitation), None);
    }
}
