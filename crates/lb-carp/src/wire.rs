//! Advertisements as they are on the wire.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |version| type  |     vhid      |    advskew    |   authlen 7   |
//! +-------+-------+---------------+---------------+---------------+
//! |   demotion    |    advbase    |           checksum            |
//! +---------------+---------------+-------------------------------+
//! |                        counter, 8 octets                      |
//! +---------------------------------------------------------------+
//! |                 digest, 20 octets of HMAC-SHA1                |
//! ```

use lb_election::{Family, IpPacket, Peers};
use nom::bytes::complete::take;
use nom::number::complete::{be_u16, be_u64, u8};
use nom::{IResult, Parser};

use crate::config::{Config, Vhid};
use crate::digest::{DIGEST_LEN, Digest};
use crate::error::WireError;
use crate::pace::Pace;

/// Octets of an advertisement.
pub const LEN: usize = 36;
/// Version 2, type 1. VRRP version 2 begins alike.
pub(crate) const FIRST: u8 = 0x21;
/// Words of counter and digest. In VRRP, how many addresses there are.
const AUTH_LEN: u8 = 7;

/// An advertisement. What [`Advert::parse`] gave has passed every receive rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Whose it is.
    pub vhid: Vhid,
    /// 256ths of a second between two of the sender's.
    pub advskew: u8,
    /// How unfit the sender says it is; FreeBSD and ucarp send 0.
    pub demotion: u8,
    /// Seconds between two of the sender's.
    pub advbase: u8,
    /// What makes its digest unlike that of the last one.
    pub counter: u64,
}

/// The packet, as it is, without the vhid.
struct Raw<'a> {
    first: u8,
    advskew: u8,
    authlen: u8,
    demotion: u8,
    advbase: u8,
    counter: u64,
    digest: &'a [u8],
}

fn raw(input: &[u8]) -> IResult<&[u8], Raw<'_>> {
    let (rest, (first, _vhid, advskew, authlen, demotion, advbase, _checksum, counter, digest)) =
        (u8, u8, u8, u8, u8, u8, be_u16, be_u64, take(DIGEST_LEN)).parse(input)?;
    Ok((rest, Raw { first, advskew, authlen, demotion, advbase, counter, digest }))
}

/// The vhid of a payload that is CARP, to find the instance that parses it; `None` for VRRP and for
/// what may be a damaged piece of it. What is damaged or cut behind the first octets is for the
/// instance to refuse and count.
#[must_use]
pub fn vhid(payload: &[u8]) -> Option<u8> {
    match payload {
        [FIRST, vhid, _, AUTH_LEN, ..] if !is_vrrp(payload) => Some(*vhid),
        _ => None,
    }
}

/// VRRP has the same protocol number, and version 2 of it the same first octet.
///
/// 36 octets that begin with `FIRST` and say `AUTH_LEN` are CARP: as VRRP with 7 addresses they
/// would be 44. Of a longer payload the checksum decides.
fn is_vrrp(payload: &[u8]) -> bool {
    match payload {
        [first, ..] if first >> 4 == 3 => true,
        [FIRST, _, _, AUTH_LEN, ..] => payload.len() > LEN && checksum(&payload[..LEN]) != 0,
        [FIRST, _, _, count, ..] => payload.len() >= 8 + 4 * usize::from(*count),
        _ => false,
    }
}

impl Advert {
    /// Reads an advertisement for the instance that `config` and its `digest` describe.
    ///
    /// The rules come in the order of the BSDs, but for the vhid, which comes first: what is for
    /// another instance is none of our business. Nobody else looks at type and `authlen`; nobody
    /// sends others. What is behind the 36 octets is ignored, as by everybody.
    ///
    /// # Errors
    /// The first rule that fails.
    pub fn parse(
        packet: &IpPacket<'_>,
        config: &Config,
        digest: &Digest,
    ) -> Result<Self, WireError> {
        let payload = packet.payload;
        let truncated = WireError::Truncated { len: payload.len() };
        let number = *payload.get(1).ok_or(truncated)?;
        if is_vrrp(payload) {
            return Err(WireError::Vrrp { vrid: number });
        }
        if number != config.vhid.value() {
            return Err(WireError::Vhid { vhid: number });
        }
        let family = Family::of(packet.source);
        let multicast = config.peers(family).next().is_none();
        match packet.ttl {
            Some(ttl) if ttl != 255 && multicast => return Err(WireError::Ttl { ttl }),
            _ => {}
        }
        let (_, raw) = raw(payload).map_err(|_| truncated)?;
        if checksum(&payload[..LEN]) != 0 {
            return Err(WireError::Checksum);
        }
        let (version, kind) = (raw.first >> 4, raw.first & 0x0f);
        if version != FIRST >> 4 {
            return Err(WireError::Version { found: version });
        }
        if kind != FIRST & 0x0f {
            return Err(WireError::Kind { found: kind });
        }
        if raw.authlen != AUTH_LEN {
            return Err(WireError::AuthLen { found: raw.authlen });
        }
        // A router that yielded bows out to the master alone.
        let pace = Pace { advbase: raw.advbase, advskew: raw.advskew };
        let aside = multicast && pace == Pace::BOW_OUT;
        if packet.destination.is_multicast() != multicast && !aside {
            return Err(WireError::Destination { unicast: multicast });
        }
        if let (false, Peers::Unicast { check_source: true, .. }) = (multicast, &config.peers) {
            let peer = config.peers(family).find(|peer| peer.address == packet.source);
            let peer = peer.ok_or(WireError::Source)?;
            if let Some(ttl) = packet.ttl.filter(|ttl| !(peer.min_ttl..=peer.max_ttl).contains(ttl))
            {
                return Err(WireError::PeerTtl { ttl });
            }
        }
        if !config.has(family) {
            return Err(WireError::Family(family));
        }
        let right = raw.digest.try_into().is_ok_and(|octets| digest.verifies(raw.counter, octets));
        if !right {
            return Err(WireError::Digest);
        }
        Ok(Self {
            vhid: config.vhid,
            advskew: raw.advskew,
            demotion: raw.demotion,
            advbase: raw.advbase,
            counter: raw.counter,
        })
    }

    /// Appends exactly [`LEN`] octets: what follows the IP header, the same to everyone and in both
    /// families, for CARP has no pseudo header. `digest` is that of the vhid.
    pub fn emit(&self, digest: &Digest, out: &mut Vec<u8>) {
        let start = out.len();
        let Self { vhid, advskew, demotion, advbase, counter } = *self;
        out.extend([FIRST, vhid.value(), advskew, AUTH_LEN, demotion, advbase, 0, 0]);
        out.extend(counter.to_be_bytes());
        out.extend(digest.of(counter));
        let checksum = checksum(&out[start..]);
        out[start + 6..start + 8].copy_from_slice(&checksum.to_be_bytes());
    }

    /// How often the sender advertises.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { advbase: self.advbase, advskew: self.advskew }
    }

    /// Whether the sender stops: it is MASTER no more.
    #[must_use]
    pub fn bows_out(&self) -> bool {
        self.pace() == Pace::BOW_OUT
    }
}

/// Internet checksum over the message alone (RFC 1071); zero over one that has the right one.
fn checksum(message: &[u8]) -> u16 {
    let sum: u32 =
        message.as_chunks().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum + (sum >> 16)) as u16)
}

#[cfg(test)]
mod tests;
