//! Replies, read out of a datagram without copying.
//!
//! The kernel is trusted to mean well and not to be without faults: a length that does not fit
//! ends the reading, nothing indexes past a slice.

use neli::consts::alignto;
use neli::consts::nl::{NlmF, Nlmsg, NlmsgerrAttr};
use nix::errno::Errno;

use crate::batch::{GENERIC_HEADER, HEADER};

/// One message of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    /// Sequence number of the request it answers.
    pub(crate) seq: u32,
    pub(crate) body: Body<'a>,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// The request was carried out, or its dump is complete.
    Done,
    /// It failed; newer kernels say more in words.
    Failed { errno: Errno, text: Option<&'a str> },
    /// An answer, one of many in a dump.
    Payload { attributes: &'a [u8] },
}

/// The messages of a datagram, up to the first whose length does not fit.
pub(crate) fn replies(mut datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        loop {
            let length = u32_at(datagram, 0)? as usize;
            let message = datagram.get(..length).filter(|m| m.len() >= HEADER)?;
            datagram = datagram.get(alignto(length)..).unwrap_or_default();
            if let Some(body) = body(message) {
                let seq = u32_at(message, 8)?;
                return Some(Reply { seq, body });
            }
        }
    })
}

/// `None` for a message that says nothing (`NLMSG_NOOP`) or is too short for its kind.
fn body(message: &[u8]) -> Option<Body<'_>> {
    let kind = Nlmsg::from(u16_at(message, 4)?);
    let payload = &message[HEADER..];
    match kind {
        Nlmsg::Noop => None,
        Nlmsg::Overrun => Some(Body::Failed { errno: Errno::ENOBUFS, text: None }),
        // A dump ends with its error code, or in old kernels with nothing.
        Nlmsg::Done => match u32_at(payload, 0).unwrap_or(0) as i32 {
            0.. => Some(Body::Done),
            code => Some(failed(code, payload.get(4..).unwrap_or_default())),
        },
        Nlmsg::Error => match u32_at(payload, 0)? as i32 {
            0 => Some(Body::Done),
            code => {
                let flags = NlmF::from_bits_truncate(u16_at(message, 6)?);
                // The request comes back whole, or its header alone (NETLINK_CAP_ACK).
                let echo = if flags.contains(NlmF::CAPPED) {
                    HEADER
                } else {
                    alignto(u32_at(payload, 4)? as usize)
                };
                let words = (flags.contains(NlmF::ACK_TLVS))
                    .then(|| payload.get(echo.checked_add(4)?..))
                    .flatten();
                Some(failed(code, words.unwrap_or_default()))
            }
        },
        _ => Some(Body::Payload { attributes: payload.get(GENERIC_HEADER..)? }),
    }
}

fn failed(code: i32, words: &[u8]) -> Body<'_> {
    let text = attributes(words)
        .find(|(kind, _)| NlmsgerrAttr::from(*kind) == NlmsgerrAttr::Msg)
        .and_then(|(_, value)| string(value));
    Body::Failed { errno: Errno::from_raw(code.saturating_neg()), text }
}

/// Attributes as type (without its flag bits) and value, up to the first that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(alignto(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of that type.
pub(crate) fn find(bytes: &[u8], kind: impl Into<u16>) -> Option<&[u8]> {
    let kind = kind.into();
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

/// Text up to its NUL.
pub(crate) fn string(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let value = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*value))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let value = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*value))
}

/// A counter of 32 or 64 bits.
pub(crate) fn counter(value: &[u8]) -> Option<u64> {
    match value.first_chunk() {
        Some(wide) => Some(u64::from_ne_bytes(*wide)),
        None => u32_at(value, 0).map(u64::from),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Batch;
    use crate::entry::{DestinationEntry, ServiceEntry, Statistics};
    use crate::parse_replies;

    fn error(code: i32, seq: u32, flags: NlmF, rest: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend_from_slice(&((HEADER + 4 + rest.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&2_u16.to_ne_bytes());
        message.extend_from_slice(&flags.bits().to_ne_bytes());
        message.extend_from_slice(&seq.to_ne_bytes());
        message.extend_from_slice(&99_u32.to_ne_bytes());
        message.extend_from_slice(&code.to_ne_bytes());
        message.extend_from_slice(rest);
        message
    }

    /// The header of a request of 20 octets.
    fn echo(length: u32) -> Vec<u8> {
        let mut header = length.to_ne_bytes().to_vec();
        header.resize(HEADER, 0);
        header
    }

    #[test]
    fn an_acknowledgement_and_an_error_are_told_apart() {
        let mut datagram = error(-libc::ESRCH, 7, NlmF::CAPPED, &echo(20));
        datagram.extend(error(0, 8, NlmF::CAPPED, &echo(20)));
        let failed = Body::Failed { errno: Errno::ESRCH, text: None };
        assert_eq!(
            replies(&datagram).collect::<Vec<_>>(),
            [Reply { seq: 7, body: failed }, Reply { seq: 8, body: Body::Done }]
        );
    }

    #[test]
    fn the_kernels_own_words_are_found_behind_a_short_and_a_whole_echo() {
        let mut words = Batch::default();
        words.string(1_u16, "bad weight");
        for (flags, length, kept) in [(NlmF::CAPPED, 60, 16), (NlmF::empty(), 20, 20)] {
            let mut rest = echo(length);
            rest.resize(kept, 0);
            rest.extend_from_slice(words.bytes());
            let datagram = error(-libc::ERANGE, 1, flags | NlmF::ACK_TLVS, &rest);
            let failed = Body::Failed { errno: Errno::ERANGE, text: Some("bad weight") };
            assert_eq!(replies(&datagram).collect::<Vec<_>>(), [Reply { seq: 1, body: failed }]);
        }
    }

    #[test]
    fn the_end_of_a_dump_may_carry_an_error() {
        let mut done = error(-libc::EINTR, 3, NlmF::MULTI, &[]);
        done[4..6].copy_from_slice(&3_u16.to_ne_bytes());
        let failed = Body::Failed { errno: Errno::EINTR, text: None };
        assert_eq!(replies(&done).collect::<Vec<_>>(), [Reply { seq: 3, body: failed }]);
    }

    /// A service as Linux 6.1 dumps it: both kinds of counters, nests without their flag, the
    /// hashed flag set.
    fn dumped_service() -> Batch {
        let mut m = Batch::default();
        m.message(28, NlmF::MULTI, 5, (1, 1), |m| {
            let mut nest = Batch::default();
            nest.attribute(1_u16, &2_u16.to_ne_bytes());
            nest.attribute(2_u16, &17_u16.to_ne_bytes());
            nest.attribute(3_u16, &[192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            nest.attribute(4_u16, &53_u16.to_be_bytes());
            nest.string(6_u16, "wlc");
            let flags: Vec<_> = [6_u32, u32::MAX].iter().flat_map(|n| n.to_ne_bytes()).collect();
            nest.attribute(7_u16, &flags);
            nest.attribute(8_u16, &0_u32.to_ne_bytes());
            nest.attribute(9_u16, &[255, 255, 255, 0]);
            let mut narrow = Batch::default();
            narrow.attribute(1_u16, &5_u32.to_ne_bytes());
            narrow.attribute(4_u16, &77_u64.to_ne_bytes());
            nest.attribute(10_u16, narrow.bytes());
            let mut wide = Batch::default();
            wide.attribute(1_u16, &(u64::from(u32::MAX) + 5).to_ne_bytes());
            wide.attribute(11_u16, &[]);
            nest.attribute(12_u16, wide.bytes());
            m.attribute(1_u16, nest.bytes());
        });
        m
    }

    fn payload(datagram: &[u8]) -> &[u8] {
        match replies(datagram).next().expect("a reply").body {
            Body::Payload { attributes } => attributes,
            other => panic!("no payload: {other:?}"),
        }
    }

    #[test]
    fn a_dumped_service_is_read_with_the_wide_counters() {
        let datagram = dumped_service();
        let entry = ServiceEntry::parse(payload(datagram.bytes())).expect("a whole service");
        assert_eq!(entry.key.to_string(), "UDP 192.0.2.9:53");
        assert_eq!(entry.settings.scheduler.as_str(), "wlc");
        assert_eq!(entry.settings.flags, crate::Flags::ONE_PACKET);
        assert_eq!(entry.settings.netmask, crate::Netmask::new(entry.key.family(), Some(24)));
        assert_eq!(entry.statistics.connections, u64::from(u32::MAX) + 5);
    }

    #[test]
    fn an_old_kernel_has_narrow_counters_and_names_no_family() {
        let mut m = Batch::default();
        m.nest(2_u16, |m| {
            m.attribute(1_u16, &[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            m.attribute(2_u16, &80_u16.to_be_bytes());
            m.attribute(3_u16, &3_u32.to_ne_bytes());
            m.attribute(4_u16, &1_u32.to_ne_bytes());
            m.attribute(7_u16, &9_u32.to_ne_bytes());
            m.nest(10_u16, |m| {
                m.attribute(1_u16, &5_u32.to_ne_bytes());
                m.attribute(4_u16, &77_u64.to_ne_bytes());
            });
        });
        let entry = DestinationEntry::parse(m.bytes(), lb_pool::table::Family::Inet)
            .expect("a whole destination");
        assert_eq!(entry.key.to_string(), "10.0.0.1:80");
        assert_eq!(entry.settings.method, crate::Method::Route);
        assert_eq!(entry.active, 9);
        let expected = Statistics { connections: 5, bytes_in: 77, ..Statistics::default() };
        assert_eq!(entry.statistics, expected);
    }

    #[test]
    fn every_truncation_is_survived() {
        let whole = dumped_service();
        for end in 0..whole.bytes().len() {
            // As it came, and with a length that fits what is left.
            let mut short = whole.bytes()[..end].to_vec();
            parse_replies(&short);
            if let Some(length) = short.get_mut(..4) {
                length.copy_from_slice(&(end as u32).to_ne_bytes());
            }
            parse_replies(&short);
        }
        let mut words = Batch::default();
        words.string(1_u16, "no");
        let mut rest = echo(20);
        rest.extend_from_slice(words.bytes());
        let failed = error(-1, 1, NlmF::CAPPED | NlmF::ACK_TLVS, &rest);
        for end in 0..failed.len() {
            let mut short = failed[..end].to_vec();
            if let Some(length) = short.get_mut(..4) {
                length.copy_from_slice(&(end as u32).to_ne_bytes());
            }
            parse_replies(&short);
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            flips in proptest::collection::vec((0_usize..400, any::<u8>()), 0..8),
        ) {
            parse_replies(&noise);
            let mut datagram = dumped_service().bytes().to_vec();
            for (at, value) in flips {
                if let Some(octet) = datagram.get_mut(at) {
                    *octet = value;
                }
            }
            parse_replies(&datagram);
        }
    }
}
