//! The IP authentication header before an advertisement: `auth_type AH` of version 2 over IPv4.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! | next header   | length in     |               0               |
//! |           112 | words, less 2 |                               |
//! +---------------+---------------+-------------------------------+
//! |       security parameters index: the source address           |
//! +---------------------------------------------------------------+
//! |                       sequence number                         |
//! +---------------------------------------------------------------+
//! | 12 octets: the first ones of HMAC-MD5 (RFC 2403) over the IP  |
//! | header, this one with zeros here, and the advertisement       |
//! ```
//!
//! RFC 2338 §5.3.6.3, RFC 2402, and keepalived, which covers the TTL of multicast. Type of service,
//! flags, fragment offset and checksum, and the TTL of unicast, count as zero: they change on the way.
//! All routers number their advertisements in one sequence: who takes over goes on after the last number
//! that it heard. Where to begin is told by [`Instance::number_from`](crate::Instance::number_from):
//! keepalived begins with 1, so that the peers of an owner refuse its advertisements until it has heard
//! one of theirs.

use std::net::{IpAddr, Ipv4Addr};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use crate::error::WireError;

/// Octets of the header.
pub const LEN: usize = 24;
/// The highest number that is sent; a router that has come so far repeats it and is heard no more,
/// as with keepalived. At an advertisement a millisecond that is after seven weeks, at one a second
/// after 136 years.
pub(crate) const LAST: u32 = u32::MAX - 1;

/// Octets of the authentication data.
const DIGEST_LEN: usize = 12;
const IP_HEADER_LEN: usize = 20;
/// IP protocol of the header itself, and of what follows it.
const PROTOCOL: u8 = 51;
const VRRP: u8 = 112;
const TYPE_OF_SERVICE: u8 = 0xc0;

/// What the digest of a header has to be: that of everything but what changes on the way.
fn digest(ip: &[u8], header: &[u8], message: &[u8], key: &[u8; 8]) -> Hmac<Md5> {
    let mut ip = ip.to_vec();
    let unicast = ip.get(16).is_some_and(|octet| octet >> 4 != 0xe);
    for at in [1, 6, 7, 10, 11].into_iter().chain(unicast.then_some(8)) {
        if let Some(octet) = ip.get_mut(at) {
            *octet = 0;
        }
    }
    let mut mac =
        <Hmac<Md5> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&ip);
    mac.update(header.get(..LEN - DIGEST_LEN).unwrap_or_default());
    mac.update(&[0; DIGEST_LEN]);
    mac.update(message);
    mac
}

/// Checks the headers before an advertisement: the IPv4 header with its options, and the one of
/// authentication. Gives its number, which is for the caller to judge.
///
/// # Errors
/// [`WireError::NextHeader`] and [`WireError::Digest`].
pub(crate) fn verify(
    headers: &[u8],
    message: &[u8],
    source: IpAddr,
    key: &[u8; 8],
) -> Result<u32, WireError> {
    let short = WireError::Truncated { len: headers.len() };
    let at = headers.len().checked_sub(LEN).filter(|at| *at >= IP_HEADER_LEN).ok_or(short)?;
    let (ip, header) = headers.split_at(at);
    let (fixed, _) = header.split_first_chunk::<LEN>().ok_or(short)?;
    let word = |at: usize| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
    if fixed[0] != VRRP {
        return Err(WireError::NextHeader { found: fixed[0] });
    }
    let number = u32::from_be_bytes(word(8));
    if IpAddr::from(word(4)) != source
        || digest(ip, header, message, key)
            .verify_truncated_left(&fixed[LEN - DIGEST_LEN..])
            .is_err()
    {
        return Err(WireError::Digest);
    }
    Ok(number)
}

/// Id of the IP header around an advertisement of this number: the digest covers it.
pub(crate) fn id(number: u32) -> u16 {
    (number as u16).max(1)
}

/// Fills in the header that `out` begins with, before an advertisement that is complete.
pub(crate) fn seal(
    out: &mut [u8],
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    key: &[u8; 8],
    number: u32,
) {
    let len = u16::try_from(IP_HEADER_LEN + out.len()).unwrap_or(u16::MAX);
    let Some((header, message)) = out.split_first_chunk_mut::<LEN>() else { return };
    let mut ip = [0; IP_HEADER_LEN];
    (ip[0], ip[1]) = (0x45, TYPE_OF_SERVICE);
    ip[2..4].copy_from_slice(&len.to_be_bytes());
    ip[4..6].copy_from_slice(&id(number).to_be_bytes());
    (ip[8], ip[9]) = (ttl, PROTOCOL);
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..].copy_from_slice(&destination.octets());
    *header = [0; LEN];
    (header[0], header[1]) = (VRRP, (LEN / 4 - 2) as u8);
    header[4..8].copy_from_slice(&source.octets());
    header[8..12].copy_from_slice(&number.to_be_bytes());
    let digest = digest(&ip, header, message, key).finalize().into_bytes();
    header[LEN - DIGEST_LEN..].copy_from_slice(&digest[..DIGEST_LEN]);
}
