//! Reads what VRRP routers send, independently of the code under test.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::VRRP;
use crate::wire::{address, announced, folded};
use lb_lab::{Frame, IpHeader};

/// IP protocol of the authentication header.
const AH: u8 = 51;

/// An advertisement.
#[derive(Clone, Debug)]
pub struct Advert {
    /// When it was sent.
    pub at: SystemTime,
    /// Hardware address it went to.
    pub to: [u8; 6],
    /// Its IP header.
    pub ip: IpHeader,
    /// Of the protocol.
    pub version: u8,
    /// 1 for an advertisement.
    pub kind: u8,
    /// Number of the virtual router.
    pub vrid: u8,
    /// 0 to stop.
    pub priority: u8,
    /// v2: authentication type and seconds; v3: centiseconds.
    pub timing: [u8; 2],
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// What follows the addresses.
    pub rest: Vec<u8>,
    /// `None` when it is wrong.
    pub checksum: Option<Form>,
    /// IPv4 only.
    pub id: u16,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The message. RFC 3768 §5.3.8, RFC 9568 §5.2.8 over IPv4.
    Plain,
    /// The message and the pseudo header of its IP header. RFC 5798 §5.2.8.
    Pseudo,
}

impl Advert {
    /// Reads a frame; `None` when it is something else.
    pub fn read(frame: &Frame) -> Option<Self> {
        let ip = frame.ip?;
        let message = match ip.protocol {
            VRRP => frame.payload.as_slice(),
            // RFC 2402, with the digest of HMAC-MD5-96.
            AH if frame.payload.first() == Some(&VRRP) => frame.payload.get(24..)?,
            _ => return None,
        };
        let (header, rest) = message.split_first_chunk::<8>()?;
        let width = if ip.source.is_ipv4() { 4 } else { 16 };
        let (addresses, rest) = rest.split_at_checked(usize::from(header[3]) * width)?;
        Some(Self {
            at: frame.at,
            to: frame.to,
            ip,
            version: header[0] >> 4,
            kind: header[0] & 0xf,
            vrid: header[1],
            priority: header[2],
            timing: [header[4], header[5]],
            addresses: addresses.chunks_exact(width).filter_map(address).collect(),
            rest: rest.to_vec(),
            checksum: form(message, &ip),
            id: u16::from_be_bytes([frame.octets[18], frame.octets[19]]),
            frame: frame.octets.clone(),
        })
    }

    /// Whether the checksum of the IPv4 header is right; IPv6 has none.
    pub fn header_checksum_is_right(&self) -> bool {
        self.ip.source.is_ipv6() || folded(&self.frame[14..34]) == 0xffff
    }
}

/// In which form the checksum is right. RFC 1071 §1, RFC 793 §3.1, RFC 8200 §8.1.
fn form(message: &[u8], ip: &IpHeader) -> Option<Form> {
    let mut pseudo = Vec::new();
    for address in [ip.source, ip.destination] {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend([0, VRRP]);
    pseudo.extend(u16::try_from(message.len()).ok()?.to_be_bytes());
    pseudo.extend_from_slice(message);
    match (folded(message), folded(&pseudo)) {
        (0xffff, _) => Some(Form::Plain),
        (_, 0xffff) => Some(Form::Pseudo),
        _ => None,
    }
}

/// What is of interest on the wire.
#[derive(Clone, Debug)]
pub enum Spoken {
    /// An advertisement.
    Advert(Advert),
    /// A gratuitous ARP, or an unsolicited neighbour advertisement.
    Announcement {
        /// When it was sent.
        at: SystemTime,
        /// The address.
        vip: IpAddr,
        /// The whole frame.
        frame: Vec<u8>,
    },
}

impl Spoken {
    /// Reads a frame; `None` when it is something else.
    pub fn read(frame: &Frame) -> Option<Self> {
        Advert::read(frame).map(Self::Advert).or_else(|| {
            let vip = announced(frame)?;
            Some(Self::Announcement { at: frame.at, vip, frame: frame.octets.clone() })
        })
    }

    /// When it was sent.
    pub fn at(&self) -> SystemTime {
        match self {
            Self::Advert(advert) => advert.at,
            Self::Announcement { at, .. } => *at,
        }
    }

    /// All octets of the frame, those zero that differ from one to the next of its kind or between hosts: of IPv4 the
    /// id and the header checksum; of IPv6 the flow label and the class, which nobody prescribes for a neighbour
    /// advertisement.
    pub fn constant_octets(&self) -> Vec<u8> {
        let (Self::Advert(Advert { frame, .. }) | Self::Announcement { frame, .. }) = self;
        let mut octets = frame.clone();
        match octets[12..14] {
            [0x08, 0x00] => {
                octets[18..20].fill(0);
                octets[24..26].fill(0);
            }
            [0x86, 0xdd] => octets[14..18].fill(0),
            _ => {}
        }
        octets
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advert(advert) => {
                let Advert { version, vrid, priority, ip, .. } = advert;
                write!(f, "advert v{version} vrid {vrid} priority {priority} to {}", ip.destination)
            }
            Self::Announcement { vip, .. } => write!(f, "announces {vip}"),
        }
    }
}
