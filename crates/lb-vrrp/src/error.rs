//! Why a packet is not an advertisement for us.

use std::time::Duration;

use thiserror::Error;

/// The first receive rule that a packet breaks, in the order of the rules. Each kind has its
/// counter in [`Counters`](crate::Counters) or none, and is reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A CARP packet, which shares the protocol number. Neither counted nor reported.
    #[error("a CARP packet with vhid {vhid}: use different numbers for CARP and VRRP")]
    Carp {
        /// Its number, in the place of the VRID.
        vhid: u8,
    },
    /// For another instance. Neither counted nor reported.
    #[error("VRID {vrid} is not ours")]
    Vrid {
        /// What it says.
        vrid: u8,
    },
    /// Too short for a header.
    #[error("{len} octets are too short for VRRP")]
    Truncated {
        /// Octets received.
        len: usize,
    },
    /// Not as long as its address count says.
    #[error("{len} octets where its {count} addresses make {expected}")]
    Length {
        /// Addresses it announces.
        count: u8,
        /// Octets they make.
        expected: usize,
        /// Octets received.
        len: usize,
    },
    /// It came from beyond the link. RFC 9568 §7.1.
    #[error("TTL {ttl} is not 255: it was forwarded by a router or is forged")]
    Ttl {
        /// What it says.
        ttl: u8,
    },
    /// Another version.
    #[error("VRRP version {found} is not ours: set the same `version` on all routers")]
    Version {
        /// What it says.
        found: u8,
    },
    /// An authentication type nobody defined.
    #[error("authentication type {found} is unknown")]
    AuthTypeUnknown {
        /// What it says.
        found: u8,
    },
    /// Another authentication type.
    #[error("authentication type {found} is not ours: set the same `auth_type` on all routers")]
    AuthTypeMismatch {
        /// 0 none, 1 password, 2 IP authentication header.
        found: u8,
    },
    /// Another password.
    #[error("wrong password: set the same `auth_pass` on all routers")]
    Password,
    /// What follows the authentication header is not VRRP. Reported, not counted.
    #[error("protocol {found} follows the authentication header where VRRP has to")]
    NextHeader {
        /// What it says.
        found: u8,
    },
    /// The digest of the authentication header is wrong, or its index is not the sender.
    #[error("wrong digest of the authentication header: set the same `auth_pass` on all routers")]
    Digest,
    /// An advertisement that was heard before, or one that is older than that.
    #[error(
        "number {number} of the authentication header was used before, and {last} is the last one heard: it is \
         repeated by a host between, or is forged"
    )]
    Replayed {
        /// What it says.
        number: u32,
        /// The last one heard or sent.
        last: u32,
    },
    /// Another interval where it has to be the same, or none.
    #[error(
        "advertisement interval of {found:?} is not ours: set the same `advert_int` on all routers"
    )]
    Interval {
        /// What it says.
        found: Duration,
    },
    /// Not an advertisement.
    #[error("VRRP packet type {found} is not an advertisement")]
    Kind {
        /// What it says.
        found: u8,
    },
    /// Cut or padded beyond reason.
    #[error("the IP header announces {declared} octets where the addresses make {expected}")]
    TotalLength {
        /// Octets by the IP header.
        declared: usize,
        /// Octets by the address count.
        expected: usize,
    },
    /// Damaged on its way, or another checksum form.
    #[error("wrong checksum")]
    Checksum,
    /// Unicast to a multicast instance or the reverse.
    #[error("it came by {} where we use {}", cast(*unicast), cast(!unicast))]
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
    /// Other addresses than ours. Counted and reported; the advertisement is accepted all the same.
    #[error("its virtual addresses are not ours (accepted): set the same ones on all routers")]
    AddressList,
    /// As MASTER we hear our own priority from our own address. Reported, not counted.
    #[error("our own priority from our own address: another host has it, or packets are looped")]
    OwnAddress,
}

fn cast(unicast: bool) -> &'static str {
    if unicast { "unicast" } else { "multicast" }
}

impl WireError {
    /// One bit a kind, to report each once; zero for what is never reported.
    pub(crate) fn bit(self) -> u32 {
        match self {
            Self::Carp { .. } | Self::Vrid { .. } => 0,
            Self::Truncated { .. } => 1,
            Self::Length { .. } => 1 << 1,
            Self::Ttl { .. } => 1 << 2,
            Self::Version { .. } => 1 << 3,
            Self::AuthTypeUnknown { .. } => 1 << 4,
            Self::AuthTypeMismatch { .. } => 1 << 5,
            Self::Password => 1 << 6,
            Self::Interval { .. } => 1 << 7,
            Self::Kind { .. } => 1 << 8,
            Self::TotalLength { .. } => 1 << 9,
            Self::Checksum => 1 << 10,
            Self::Destination { .. } => 1 << 11,
            Self::Source => 1 << 12,
            Self::PeerTtl { .. } => 1 << 13,
            Self::AddressList => 1 << 14,
            Self::OwnAddress => 1 << 15,
            Self::NextHeader { .. } => 1 << 16,
            Self::Digest => 1 << 17,
            Self::Replayed { .. } => 1 << 18,
        }
    }
}
