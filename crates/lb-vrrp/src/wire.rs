//! Advertisements as they are on the wire.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |version| type  |     VRID      |   priority    |     count     |
//! +-------+-------+---------------+---------------+---------------+
//! | v2: auth type | v2: seconds   |           checksum            |
//! | v3: 0 | centiseconds          |                               |
//! +-------------------------------+-------------------------------+
//! | count addresses of 4 or 16 octets; v2 over IPv4: 8 of password|
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb_election::{IpPacket, Peers};
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, u8};
use nom::{IResult, Parser};

use crate::ah;
use crate::checksum::Checksum;
use crate::config::{Config, OldUnicastChecksum};
use crate::error::WireError;
use crate::timing::centiseconds;
use crate::types::{Family, Priority, Version, Vrid};

/// Octets before the addresses.
const HEADER_LEN: usize = 8;
/// Octets of authentication data after the addresses: v2 over IPv4.
const AUTH_LEN: usize = 8;
/// Octets of the longest advertisement: 255 IPv6 addresses.
pub const MAX_LEN: usize = HEADER_LEN + 255 * 16;
/// Octets of a CARP packet, and what its fourth octet is: its length from there in words.
const CARP_LEN: usize = 36;
const CARP_AUTH_LEN: u8 = 7;

/// An advertisement. What [`Advert::parse`] gave has passed every receive rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert<'a> {
    /// Protocol version.
    pub version: Version,
    /// Whose it is.
    pub vrid: Vrid,
    /// Priority of the sender; [`Priority::STOP`] when it stops.
    pub priority: Priority,
    /// Its interval. v2: whole seconds; v3: multiples of 10 ms. Never zero when parsed.
    pub adver_int: Duration,
    /// The addresses it advertises.
    pub addresses: Addresses<'a>,
    /// v2 only.
    pub auth: Auth,
    /// Form of its checksum.
    pub checksum: Checksum,
}

/// Authentication of v2. RFC 2338 §5.3.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Type 0.
    None,
    /// Type 1.
    Password([u8; AUTH_LEN]),
    /// Type 2: in an IP authentication header before the advertisement, with this number.
    Header {
        /// Number of the advertisement.
        number: u32,
    },
}

impl Auth {
    fn kind(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Password(_) => 1,
            Self::Header { .. } => 2,
        }
    }
}

/// Addresses as they are in an advertisement: borrowed, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses<'a> {
    family: Family,
    octets: &'a [u8],
}

impl<'a> Addresses<'a> {
    pub(crate) fn new(family: Family, octets: &'a [u8]) -> Self {
        Self { family, octets }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len() / self.family.address_len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let (v4, v6) = match self.family {
            Family::Inet => (self.octets, &[][..]),
            Family::Inet6 => (&[][..], self.octets),
        };
        let v4 = v4.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets).into());
        v4.chain(v6.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets).into()))
    }
}

/// The fixed part, as it is.
struct Header {
    version: u8,
    kind: u8,
    vrid: u8,
    priority: u8,
    count: u8,
    /// Octets 4 and 5: their meaning depends on the version.
    timing: [u8; 2],
}

fn header(input: &[u8]) -> IResult<&[u8], Header> {
    let (rest, (first, vrid, priority, count, high, low, _checksum)) =
        (be_u8, u8, u8, u8, u8, u8, be_u16).parse(input)?;
    let (version, kind) = (first >> 4, first & 0x0f);
    Ok((rest, Header { version, kind, vrid, priority, count, timing: [high, low] }))
}

/// The VRID of a payload, to find the instance that parses it. Says nothing about validity: what is
/// cut off behind it is for that instance to refuse and count.
#[must_use]
pub fn vrid(payload: &[u8]) -> Option<u8> {
    payload.get(1).copied()
}

impl<'a> Advert<'a> {
    /// Reads an advertisement for the instance that `config` describes.
    ///
    /// The rules come in keepalived's order, RFC 9568 §7.1 with the authentication of RFC 2338
    /// §7.1 in between. Whether addresses agree is left to the caller, since that is no reason to
    /// refuse. The length is judged by the version that the packet itself names, so that the
    /// other version is reported as such. Of IPv4 checksums both forms of v3 are accepted: either
    /// proves the packet whole, and RFC 5798 and RFC 9568 disagree about which one it is.
    ///
    /// # Errors
    /// The first rule that fails.
    pub fn parse(packet: &IpPacket<'a>, config: &Config) -> Result<Self, WireError> {
        let payload = packet.payload;
        let truncated = WireError::Truncated { len: payload.len() };
        let (rest, header) = header(payload).map_err(|_| truncated)?;
        if payload.len() == CARP_LEN && payload[0] == 0x21 && header.count == CARP_AUTH_LEN {
            return Err(WireError::Carp { vhid: header.vrid });
        }
        let vrid = Vrid::new(header.vrid)
            .filter(|vrid| *vrid == config.vrid)
            .ok_or(WireError::Vrid { vrid: header.vrid })?;
        match (packet.ah.is_some(), config.header_key.is_some()) {
            (true, false) => return Err(WireError::AuthTypeMismatch { found: 2 }),
            (false, true) => return Err(WireError::AuthTypeMismatch { found: 0 }),
            (true, true) | (false, false) => {}
        }

        let has_auth = config.family == Family::Inet && header.version == 2;
        let auth_len = if has_auth { AUTH_LEN } else { 0 };
        let addresses_len = usize::from(header.count) * config.family.address_len();
        let expected = HEADER_LEN + addresses_len + auth_len;
        let wrong_length = WireError::Length { count: header.count, expected, len: payload.len() };
        if payload.len() != expected && !is_padded(payload.len(), expected, config.family) {
            return Err(wrong_length);
        }
        let (rest, octets) = take_exact(rest, addresses_len).map_err(|_| wrong_length)?;
        let (_, auth_data) = take_exact(rest, auth_len).map_err(|_| wrong_length)?;

        let unicast = !packet.destination.is_multicast();
        match (&config.peers, packet.ttl) {
            (Peers::Multicast, Some(ttl)) if ttl != 255 => return Err(WireError::Ttl { ttl }),
            _ => {}
        }
        if header.version != config.version.number() {
            return Err(WireError::Version { found: header.version });
        }
        let (auth, adver_int) = match config.version {
            Version::V2 => {
                let adver_int = Duration::from_secs(header.timing[1].into());
                let auth = match (packet.ah, config.header_key) {
                    (Some(headers), Some(key)) => {
                        let message = payload.get(..expected).ok_or(wrong_length)?;
                        let kind = header.timing[0];
                        authenticate_header(kind, headers, message, packet.source, &key)?
                    }
                    _ => authenticate(header.timing[0], auth_data, config)?,
                };
                (auth, adver_int)
            }
            Version::V3 => {
                let interval_cs = u16::from_be_bytes(header.timing) & 0x0fff;
                (Auth::None, Duration::from_millis(u64::from(interval_cs) * 10))
            }
        };
        // v3 learns the interval, but none at all would mean a dead master at once.
        if adver_int.is_zero() || config.version == Version::V2 && adver_int != config.adver_int {
            return Err(WireError::Interval { found: adver_int });
        }
        if header.kind != 1 {
            return Err(WireError::Kind { found: header.kind });
        }
        if let Some(declared) = packet.declared_len.filter(|declared| *declared != expected) {
            return Err(WireError::TotalLength { declared, expected });
        }
        let checksum = verify(&payload[..expected], packet, config).ok_or(WireError::Checksum)?;
        match &config.peers {
            // A router that yielded says to the master alone that it stopped.
            Peers::Multicast if unicast && header.priority != Priority::STOP.0 => {
                return Err(WireError::Destination { unicast });
            }
            Peers::Unicast { .. } if !unicast => return Err(WireError::Destination { unicast }),
            Peers::Unicast { peers, check_source: true } => {
                let peer = peers.iter().find(|peer| peer.address == packet.source);
                let peer = peer.ok_or(WireError::Source)?;
                if let Some(ttl) =
                    packet.ttl.filter(|ttl| !(peer.min_ttl..=peer.max_ttl).contains(ttl))
                {
                    return Err(WireError::PeerTtl { ttl });
                }
            }
            _ => {}
        }
        Ok(Self {
            version: config.version,
            vrid,
            priority: Priority(header.priority),
            adver_int,
            addresses: Addresses::new(config.family, octets),
            auth,
            checksum,
        })
    }

    /// Octets that [`Advert::emit`] appends.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an advertisement is never empty
    pub fn len(&self) -> usize {
        HEADER_LEN + self.addresses.octets.len() + self.auth_len()
    }

    /// Appends exactly [`len`](Advert::len) octets: what follows the IP header from `source` to
    /// `destination`, checksum included, for IPv6 too. At most 255 addresses are written.
    pub fn emit(&self, source: IpAddr, destination: IpAddr, out: &mut Vec<u8>) {
        let start = out.len();
        let timing = match self.version {
            Version::V2 => {
                let seconds = self.adver_int.as_secs().clamp(1, 255);
                [self.auth.kind(), seconds as u8]
            }
            Version::V3 => (centiseconds(self.adver_int).clamp(1, 4095) as u16).to_be_bytes(),
        };
        out.extend([
            self.version.number() << 4 | 1,
            self.vrid.value(),
            self.priority.0,
            self.addresses.len() as u8, // `Vips` and the wire have no more than 255
            timing[0],
            timing[1],
            0,
            0,
        ]);
        out.extend_from_slice(self.addresses.octets);
        if self.auth_len() != 0 {
            out.extend(match self.auth {
                Auth::None | Auth::Header { .. } => [0; AUTH_LEN],
                Auth::Password(password) => password,
            });
        }
        let checksum = self.checksum.compute(&out[start..], source, destination);
        out[start + 6..start + HEADER_LEN].copy_from_slice(&checksum.to_be_bytes());
    }

    fn auth_len(&self) -> usize {
        match (self.version, self.addresses.family) {
            (Version::V2, Family::Inet) => AUTH_LEN,
            _ => 0,
        }
    }
}

fn take_exact(input: &[u8], len: usize) -> IResult<&[u8], &[u8]> {
    take(len).parse(input)
}

/// Ethernet pads an IP packet to 46 octets. Padding of another length is no padding.
fn is_padded(len: usize, expected: usize, family: Family) -> bool {
    const IP_HEADER_LEN: usize = 20;
    const ETHERNET_MIN: usize = 46;
    family == Family::Inet
        && len > expected
        && IP_HEADER_LEN + expected < ETHERNET_MIN
        && (len - expected) % 4 == 2
}

/// RFC 2338 §7.1: the type is known, is ours, and its data are right.
fn authenticate(kind: u8, data: &[u8], config: &Config) -> Result<Auth, WireError> {
    // Over IPv6 there is no place for a password.
    let ours = config.password.filter(|_| config.family == Family::Inet);
    match (kind, ours) {
        (3.., _) => Err(WireError::AuthTypeUnknown { found: kind }),
        (0, None) => Ok(Auth::None),
        (1, Some(ours)) => {
            // Every octet is looked at, so that the time says nothing about the first wrong one.
            let wrong = ours.iter().zip(data).fold(0, |wrong, (a, b)| wrong | (a ^ b));
            if wrong == 0 { Ok(Auth::Password(ours)) } else { Err(WireError::Password) }
        }
        _ => Err(WireError::AuthTypeMismatch { found: kind }),
    }
}

/// The same for `auth_type AH`.
fn authenticate_header(
    kind: u8,
    headers: &[u8],
    message: &[u8],
    source: IpAddr,
    key: &[u8; AUTH_LEN],
) -> Result<Auth, WireError> {
    match kind {
        3.. => Err(WireError::AuthTypeUnknown { found: kind }),
        2 => Ok(Auth::Header { number: ah::verify(headers, message, source, key)? }),
        _ => Err(WireError::AuthTypeMismatch { found: kind }),
    }
}

/// The form in which the checksum is right, the likely one first.
fn verify(message: &[u8], packet: &IpPacket<'_>, config: &Config) -> Option<Checksum> {
    let forms: &[Checksum] = match (config.version, config.family, &config.peers) {
        (_, Family::Inet6, _) => &[Checksum::Pseudo],
        (Version::V2, Family::Inet, _) => &[Checksum::Plain],
        (Version::V3, Family::Inet, Peers::Unicast { .. })
            if config.old_unicast_checksum != OldUnicastChecksum::Never =>
        {
            &[Checksum::Pseudo, Checksum::OldUnicast, Checksum::Plain]
        }
        (Version::V3, Family::Inet, _) => &[Checksum::Pseudo, Checksum::Plain],
    };
    let lenient =
        config.version == Version::V3 && config.family == Family::Inet && config.v3_checksum_as_v2;
    forms
        .iter()
        .copied()
        .find(|form| form.verifies(message, packet.source, packet.destination))
        .or(lenient.then_some(Checksum::Unverified))
}

#[cfg(test)]
mod tests;
