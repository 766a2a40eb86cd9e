//! What an instance is told once.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lb_election::{Family, Peer, Peers, Selector, hold_time};

use crate::pace::Pace;
use crate::wire::FIRST;

/// Virtual host identifier, 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vhid(u8);

impl Vhid {
    /// `None` for 0.
    #[must_use]
    pub const fn new(vhid: u8) -> Option<Self> {
        if vhid == 0 { None } else { Some(Self(vhid)) }
    }

    /// As it is on the wire.
    #[must_use]
    pub fn value(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Vhid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Configuration of an instance. [`Config::new`] has the defaults of all implementations.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its identifier on the link.
    pub vhid: Vhid,
    /// Passphrase, zero padded. The others' tools cut one at 19 octets.
    pub key: [u8; 20],
    /// Seconds between advertisements.
    pub advbase: u8,
    /// 256ths of a second more, 0 to 254: the smaller, the better. Above 240 FreeBSD would say 240.
    pub advskew: u8,
    /// Takes over from a slower master.
    pub preempt: bool,
    /// The virtual addresses, of both families, in any order; at least one. All nodes need the same
    /// ones, for they are in the digest.
    pub addresses: Vec<IpAddr>,
    /// Link-layer address in the digest: where an OpenBSD peer has one set by hand.
    pub link_address: Option<[u8; 6]>,
    /// Where advertisements go and come from. A family without a unicast peer uses its group.
    pub peers: Peers,
    /// Member of a sync group: does not become MASTER but says that it would.
    pub grouped: bool,
    /// How long a master that stops holds the addresses for its successor, usually
    /// [`hold_time`](Config::hold_time); `None` to let go at once, as BSD does.
    pub handover: Option<Duration>,
    /// Intervals of silence that make a master dead, 1 to 255. All nodes should have the same.
    pub dead_ratio: u8,
    /// A due advertisement may leave so much earlier, to share a wake-up. The grid stays.
    pub advert_slack: Duration,
}

impl Config {
    /// A multicast instance that does not preempt and lets go at once.
    #[must_use]
    pub fn new(vhid: Vhid, key: [u8; 20], addresses: Vec<IpAddr>) -> Self {
        Self {
            vhid,
            key,
            advbase: 1,
            advskew: 0,
            preempt: false,
            addresses,
            link_address: None,
            peers: Peers::Multicast,
            grouped: false,
            handover: None,
            dead_ratio: 3,
            advert_slack: Duration::ZERO,
        }
    }

    /// advbase and advskew, without what a demotion adds.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { advbase: self.advbase, advskew: self.advskew }
    }

    /// What every advertisement of a family shows that [`Advert::parse`](crate::Advert::parse) accepts.
    #[must_use]
    pub fn selector(&self, family: Family) -> Selector {
        let unicast = self.peers(family).next().is_some();
        let sources = match self.peers {
            Peers::Unicast { check_source: true, .. } if unicast => {
                Some(self.peers(family).map(|peer| peer.address).collect())
            }
            Peers::Unicast { .. } | Peers::Multicast => None,
        };
        let ttl = (!unicast).then_some(255);
        Selector { first: FIRST, id: self.vhid.value(), ttl, sources }
    }

    /// What [`handover`](Config::handover) usually is.
    #[must_use]
    pub fn hold_time(&self) -> Duration {
        hold_time(self.pace().interval(), self.pace().master_down(self.dead_ratio))
    }

    /// Whether there are addresses of a family, so that advertisements go out in it.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|address| Family::of(*address) == family)
    }

    /// The unicast peers of a family, in their order; none means its multicast group.
    pub fn peers(&self, family: Family) -> impl Iterator<Item = &Peer> {
        let peers = match &self.peers {
            Peers::Multicast => &[][..],
            Peers::Unicast { peers, .. } => peers,
        };
        peers.iter().filter(move |peer| Family::of(peer.address) == family)
    }
}

/// What ucarp compares on a little-endian host.
pub(crate) fn from_the_last_octet(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from_le_bytes(address.octets()).into(),
        IpAddr::V6(address) => u128::from_le_bytes(address.octets()),
    }
}
