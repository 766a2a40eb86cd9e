//! Why a packet is not an advertisement for us.

use lb_election::Family;
use thiserror::Error;

/// The first receive rule that a packet breaks, in the order of the rules. Each kind has its
/// counter in [`Counters`](crate::Counters) or none, and is reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A VRRP packet, which shares the protocol number. Never reported.
    #[error("a VRRP packet with VRID {vrid}: use different numbers for CARP and VRRP")]
    Vrrp {
        /// Its number, in the place of the vhid.
        vrid: u8,
    },
    /// For another instance. Neither counted nor reported.
    #[error("vhid {vhid} is not ours")]
    Vhid {
        /// What it says.
        vhid: u8,
    },
    /// It came from beyond the link.
    #[error("TTL {ttl} is not 255: it was forwarded by a router or is forged")]
    Ttl {
        /// What it says.
        ttl: u8,
    },
    /// Too short.
    #[error("{len} octets are too short for CARP, which has 36")]
    Truncated {
        /// Octets received.
        len: usize,
    },
    /// Damaged on its way.
    #[error("wrong checksum")]
    Checksum,
    /// Another version.
    #[error("CARP version {found} is unknown")]
    Version {
        /// What it says.
        found: u8,
    },
    /// Not an advertisement.
    #[error("CARP packet type {found} is not an advertisement")]
    Kind {
        /// What it says.
        found: u8,
    },
    /// Not counter and digest as we know them.
    #[error("its authentication has {found} words where CARP has 7")]
    AuthLen {
        /// Words that it says.
        found: u8,
    },
    /// Unicast to a multicast instance or the reverse.
    #[error(
        "it came by {} where we use {}: set `peer` on all nodes or on none",
        cast(*unicast), cast(!unicast)
    )]
    Destination {
        /// It is unicast.
        unicast: bool,
    },
    /// Not one of the configured peers.
    #[error("the sender is not one of our unicast peers")]
    Source,
    /// A peer, but too far or too near.
    #[error("TTL {ttl} is not within the limits of this unicast peer")]
    PeerTtl {
        /// What it says.
        ttl: u8,
    },
    /// In a family of which we have no address.
    #[error("it came over {0}, of which we have no address: set the same ones on all nodes")]
    Family(Family),
    /// Another passphrase, or other addresses.
    #[error(
        "wrong digest: set the same `pass` and the same virtual addresses on all nodes \
         (their prefix lengths may differ)"
    )]
    Digest,
    /// Our own advertisement. Not counted as received.
    #[error(
        "our own advertisement came back: packets are looped or replayed, or another host has our address"
    )]
    Loop,
    /// A bow-out that was heard before. Counted and reported; it is believed all the same, as the
    /// protocol has it.
    #[error(
        "it leaves once more with a counter that was heard already, so somebody replays its packets: \
         find who else sends with this vhid on this link"
    )]
    Replay,
}

fn cast(unicast: bool) -> &'static str {
    if unicast { "unicast" } else { "multicast" }
}

impl WireError {
    /// How much it matters: the smallest `net.inet.carp.log` with which OpenBSD logs it, 4 to 7.
    /// `carp(4)`.
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            Self::Ttl { .. } | Self::Version { .. } | Self::Kind { .. } | Self::PeerTtl { .. } => 5,
            Self::Truncated { .. }
            | Self::Checksum
            | Self::AuthLen { .. }
            | Self::Destination { .. }
            | Self::Source
            | Self::Family(_)
            | Self::Digest => 6,
            Self::Loop | Self::Replay => 4,
            Self::Vrrp { .. } | Self::Vhid { .. } => 7,
        }
    }

    /// One bit a kind, to report each once; zero for what is never reported.
    pub(crate) fn bit(self) -> u32 {
        match self {
            Self::Vrrp { .. } | Self::Vhid { .. } => 0,
            Self::Ttl { .. } => 1,
            Self::Truncated { .. } => 1 << 1,
            Self::Checksum => 1 << 2,
            Self::Version { .. } => 1 << 3,
            Self::Kind { .. } => 1 << 4,
            Self::AuthLen { .. } => 1 << 5,
            Self::Destination { .. } => 1 << 6,
            Self::Source => 1 << 7,
            Self::PeerTtl { .. } => 1 << 8,
            Self::Family(_) => 1 << 9,
            Self::Digest => 1 << 10,
            Self::Loop => 1 << 11,
            Self::Replay => 1 << 12,
        }
    }
}
