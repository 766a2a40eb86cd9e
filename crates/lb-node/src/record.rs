//! What a node was told, as lines of JSON: an incident that can be looked at, and played again.
//!
//! A record is a [`Line`] a line. Each run of a node opens with an [`Entry::Node`], which says what
//! the node was made of; a file holds several runs when the engine failed in between. Inputs
//! follow in their order, each with its time since that start. The same node told the same does the
//! same.
//!
//! A record holds the configurations whole, passwords included.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use lb_control::status::Maintenance;
use lb_election::IpPacket;
use serde::{Deserialize, Serialize};

use crate::{Input, LinkIndex};

/// Version of the shape of a record.
pub const FORMAT: u32 = 1;

/// The longest payload of an IP packet, in octets.
const LONGEST: usize = 65_535;

/// One line of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Nanoseconds since the start of this run, by the monotonic clock. Never less than in the
    /// line before.
    #[serde(rename = "t")]
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a node was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Name and version of the program.
    pub program: String,
    /// The wall clock at the start.
    pub wall: Timestamp,
    /// The monotonic clock at the start, in nanoseconds; the same in every run since the boot.
    pub monotonic: u64,
    /// Seed of the node's randomness.
    pub seed: u64,
    /// Names of the instances that resumed as MASTER.
    pub adopt: BTreeSet<String>,
    /// Advertisements with `auth_type AH` are numbered above this one.
    #[serde(default)]
    pub number: u32,
    /// The configuration in force, as TOML.
    pub config: String,
}

/// What happened: an [`Input`] with data of its own, or something about the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// A node was made. First of every run.
    Node(Header),
    /// [`Input::Start`]
    Start,
    /// [`Input::Advertise`]
    Advertise,
    /// [`Input::Timer`]; those before any deadline are left out, as they do nothing.
    Timer,
    /// [`Input::Packet`]
    Packet {
        /// Index of the link.
        link: LinkIndex,
        /// Sender.
        source: IpAddr,
        /// Destination.
        destination: IpAddr,
        /// TTL or hop limit.
        ttl: Option<u8>,
        /// Length of the payload by the IP header, in octets.
        declared_len: Option<usize>,
        /// IPv4 header and authentication header, in the same form; empty without the latter.
        #[serde(default, with = "hex", skip_serializing_if = "Vec::is_empty")]
        ah: Vec<u8>,
        /// What follows the IP header and the authentication header, two hexadecimal digits an octet.
        #[serde(with = "hex")]
        payload: Vec<u8>,
    },
    /// [`Input::Link`]
    Link {
        /// Index of the link.
        link: LinkIndex,
        /// Its name.
        name: String,
        /// It works.
        up: bool,
    },
    /// [`Input::LinkGone`]
    LinkGone {
        /// Index of the link.
        link: LinkIndex,
    },
    /// [`Input::Address`]
    Address {
        /// Index of the link.
        link: LinkIndex,
        /// Which.
        address: IpAddr,
        /// Added, not removed.
        present: bool,
    },
    /// [`Input::Script`]
    Script {
        /// Its name.
        name: String,
        /// It succeeded.
        success: bool,
    },
    /// [`Input::File`]
    File {
        /// Its name.
        name: String,
        /// The number in it.
        value: i32,
    },
    /// [`Input::Process`]
    Process {
        /// Their name.
        name: String,
        /// So many run.
        running: u32,
        /// The last one came by a fork.
        forked: bool,
    },
    /// [`Input::Handover`]
    Handover {
        /// Of this instance.
        name: String,
    },
    /// [`Input::Maintenance`]
    Maintenance {
        /// Of this instance; `None`: of all.
        name: Option<String>,
        /// `None`: it ends.
        state: Option<Maintenance>,
    },
    /// [`Input::Demote`]
    Demote {
        /// Of this group.
        group: String,
        /// By so much.
        by: i32,
    },
    /// [`Input::StateSync`]
    StateSync {
        /// Why not.
        failure: Option<String>,
    },
    /// [`Input::Claim`]
    Claim {
        /// Index of the link.
        link: LinkIndex,
        /// Which.
        address: IpAddr,
        /// Octets of the MAC address.
        #[serde(with = "hex")]
        mac: [u8; 6],
    },
    /// [`Input::VmacFailed`]
    VmacFailed {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
        /// Its name was taken.
        taken: bool,
    },
    /// [`Input::Sharing`]
    Sharing {
        /// Why not.
        failure: Option<String>,
    },
    /// [`Input::Guarding`]
    Guarding {
        /// Those that are not guarded.
        open: BTreeSet<IpAddr>,
        /// Why not.
        reason: String,
    },
    /// [`Input::Reload`]
    Reload {
        /// The new configuration, as TOML.
        config: String,
    },
    /// [`Input::Stop`]
    Stop,
    /// So many inputs are missing here: the disk was too slow for them.
    Gap {
        /// How many.
        lost: u64,
    },
    /// The run ended in order. Without it the record, or the node, was cut short.
    End,
}

/// Why a line of a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is no JSON of this shape.
    #[error("not a line of a record")]
    Json(#[from] serde_json::Error),
    /// A packet from IPv4 to IPv6 or the reverse.
    #[error("a packet from {source_address} to {destination}, which is of another family")]
    Families {
        /// Sender.
        source_address: IpAddr,
        /// Destination.
        destination: IpAddr,
    },
    /// No IP packet is so long.
    #[error("a packet of {len} octets is longer than there are any")]
    Long {
        /// Octets.
        len: usize,
    },
    /// Another version of the format.
    #[error("format {format} of records is unknown here, only {FORMAT} is")]
    Format {
        /// What it says.
        format: u32,
    },
}

impl Line {
    /// Reads one line, its end included or not.
    ///
    /// # Errors
    /// It is not a line of a record, or holds a packet that cannot be.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let line: Self = serde_json::from_slice(line)?;
        match &line.entry {
            Entry::Node(header) if header.format != FORMAT => {
                Err(RecordError::Format { format: header.format })
            }
            Entry::Packet { source, destination, .. }
                if source.is_ipv4() != destination.is_ipv4() =>
            {
                Err(RecordError::Families { source_address: *source, destination: *destination })
            }
            Entry::Packet { ah, payload, .. } if ah.len() + payload.len() > LONGEST => {
                Err(RecordError::Long { len: ah.len() + payload.len() })
            }
            _ => Ok(line),
        }
    }

    /// Appends the line, its end included.
    pub fn emit(&self, out: &mut Vec<u8>) {
        // Strings and numbers all the way down, into memory: nothing in them fails to serialise.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }
}

impl Entry {
    /// What a node is told, but for a reload, of which the plan does not hold all.
    #[must_use]
    pub fn of(input: &Input<'_>) -> Option<Self> {
        Some(match input {
            Input::Start => Self::Start,
            Input::Advertise => Self::Advertise,
            Input::Timer => Self::Timer,
            Input::Packet { link, packet } => Self::Packet {
                link: *link,
                source: packet.source,
                destination: packet.destination,
                ttl: packet.ttl,
                declared_len: packet.declared_len,
                ah: packet.ah.unwrap_or_default().to_vec(),
                payload: packet.payload.to_vec(),
            },
            Input::Link { link, name, up } => {
                Self::Link { link: *link, name: (*name).to_owned(), up: *up }
            }
            Input::LinkGone { link } => Self::LinkGone { link: *link },
            Input::Address { link, address, present } => {
                Self::Address { link: *link, address: *address, present: *present }
            }
            Input::Script { name, success } => {
                Self::Script { name: (*name).to_owned(), success: *success }
            }
            Input::File { name, value } => Self::File { name: (*name).to_owned(), value: *value },
            Input::Process { name, running, forked } => {
                Self::Process { name: (*name).to_owned(), running: *running, forked: *forked }
            }
            Input::Handover { name } => Self::Handover { name: (*name).to_owned() },
            Input::Maintenance { name, state } => {
                Self::Maintenance { name: name.map(str::to_owned), state: state.clone() }
            }
            Input::Demote { group, by } => Self::Demote { group: (*group).to_owned(), by: *by },
            Input::StateSync { failure } => Self::StateSync { failure: failure.map(str::to_owned) },
            Input::Claim { link, address, mac } => {
                Self::Claim { link: *link, address: *address, mac: *mac }
            }
            Input::VmacFailed { name, reason, taken } => Self::VmacFailed {
                name: (*name).to_owned(),
                reason: (*reason).to_owned(),
                taken: *taken,
            },
            Input::Sharing { failure } => Self::Sharing { failure: failure.map(str::to_owned) },
            Input::Guarding { open, reason } => {
                Self::Guarding { open: (*open).clone(), reason: (*reason).to_owned() }
            }
            Input::Reload(_) => return None,
            Input::Stop => Self::Stop,
        })
    }

    /// What the node was told; `None` for a reload, whose plan the caller makes of the
    /// configuration, and for what is about the record.
    #[must_use]
    pub fn input(&self) -> Option<Input<'_>> {
        Some(match self {
            Self::Start => Input::Start,
            Self::Advertise => Input::Advertise,
            Self::Timer => Input::Timer,
            Self::Packet { link, source, destination, ttl, declared_len, ah, payload } => {
                let (source, destination) = (*source, *destination);
                let packet = IpPacket {
                    source,
                    destination,
                    ttl: *ttl,
                    declared_len: *declared_len,
                    ah: (!ah.is_empty()).then_some(ah),
                    payload,
                };
                Input::Packet { link: *link, packet }
            }
            Self::Link { link, name, up } => Input::Link { link: *link, name, up: *up },
            Self::LinkGone { link } => Input::LinkGone { link: *link },
            Self::Address { link, address, present } => {
                Input::Address { link: *link, address: *address, present: *present }
            }
            Self::Script { name, success } => Input::Script { name, success: *success },
            Self::File { name, value } => Input::File { name, value: *value },
            Self::Process { name, running, forked } => {
                Input::Process { name, running: *running, forked: *forked }
            }
            Self::Handover { name } => Input::Handover { name },
            Self::Maintenance { name, state } => {
                Input::Maintenance { name: name.as_deref(), state: state.clone() }
            }
            Self::Demote { group, by } => Input::Demote { group, by: *by },
            Self::StateSync { failure } => Input::StateSync { failure: failure.as_deref() },
            Self::Claim { link, address, mac } => {
                Input::Claim { link: *link, address: *address, mac: *mac }
            }
            Self::VmacFailed { name, reason, taken } => {
                Input::VmacFailed { name, reason, taken: *taken }
            }
            Self::Sharing { failure } => Input::Sharing { failure: failure.as_deref() },
            Self::Guarding { open, reason } => Input::Guarding { open, reason },
            Self::Stop => Input::Stop,
            Self::Node(_) | Self::Reload { .. } | Self::Gap { .. } | Self::End => return None,
        })
    }
}

/// Octets as hexadecimal digits.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(super) fn serialize<S: Serializer>(
        octets: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let digit = |value: u8| char::from(DIGITS[usize::from(value & 0xf)]);
        let octets = octets.as_ref().iter();
        let text: String = octets.flat_map(|octet| [digit(octet >> 4), digit(*octet)]).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |digit: &u8| Some(char::from(*digit).to_digit(16)? as u8);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let octets = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
        let octets: Option<Vec<u8>> = octets.collect();
        let octets = octets.filter(|_| rest.is_empty());
        octets
            .and_then(|octets| octets.try_into().ok())
            .ok_or_else(|| Error::custom("octets are two hexadecimal digits each, as many as due"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, entry: Entry) -> Line {
        Line { at, entry }
    }

    fn every_kind() -> Vec<Line> {
        let maintenance = Maintenance {
            by: "anna".into(),
            since: "2026-11-21T08:00:00Z".parse().unwrap(),
            persistent: true,
        };
        let address = IpAddr::from([10, 0, 0, 1]);
        let header = Header {
            format: FORMAT,
            program: "lbd 0.1.0".into(),
            wall: maintenance.since,
            monotonic: 77,
            seed: u64::MAX,
            adopt: ["VI_1".to_owned()].into(),
            number: 5,
            config: "[global]\n".into(),
        };
        let (name, state) = (Some("VI_1".to_owned()), Some(maintenance));
        vec![
            line(0, Entry::Node(header)),
            line(0, Entry::Link { link: 2, name: "eth0".into(), up: true }),
            line(0, Entry::Address { link: 2, address, present: true }),
            line(0, Entry::Maintenance { name, state }),
            line(0, Entry::Start),
            line(5, Entry::Timer),
            line(
                6,
                Entry::Packet {
                    link: 2,
                    source: address,
                    destination: [224, 0, 0, 18].into(),
                    ttl: Some(255),
                    declared_len: None,
                    ah: Vec::new(),
                    payload: vec![0x31, 0xff, 0x00],
                },
            ),
            line(7, Entry::Script { name: "up".into(), success: false }),
            line(8, Entry::Handover { name: "VI_1".into() }),
            line(8, Entry::Maintenance { name: None, state: None }),
            line(8, Entry::Demote { group: "carp".into(), by: -3 }),
            line(8, Entry::StateSync { failure: Some("interface eth1 is down".into()) }),
            line(9, Entry::Claim { link: 2, address, mac: [2, 0, 0, 0, 0, 9] }),
            line(
                9,
                Entry::VmacFailed { name: "vrrp.1".into(), reason: String::new(), taken: true },
            ),
            line(9, Entry::Sharing { failure: Some("no nft".into()) }),
            line(9, Entry::Guarding { open: [address].into(), reason: "no nft".into() }),
            line(9, Entry::Gap { lost: 12 }),
            line(9, Entry::Reload { config: String::new() }),
            line(9, Entry::LinkGone { link: 2 }),
            line(10, Entry::Stop),
            line(11, Entry::End),
        ]
    }

    #[test]
    fn every_line_is_read_as_it_was_written() {
        for line in every_kind() {
            let mut text = Vec::new();
            line.emit(&mut text);
            assert_eq!(text.iter().filter(|octet| **octet == b'\n').count(), 1);
            assert_eq!(Line::parse(&text).unwrap(), line);
            if let Some(input) = line.entry.input() {
                assert_eq!(Entry::of(&input), Some(line.entry.clone()));
            }
            for short in 0..text.len() - 1 {
                assert!(Line::parse(&text[..short]).is_err());
            }
        }
    }

    #[test]
    fn lines_have_this_shape() {
        let mut text = Vec::new();
        line(9, Entry::Claim { link: 2, address: [10, 0, 0, 1].into(), mac: [2, 0, 0, 0, 0, 9] })
            .emit(&mut text);
        let expected = "{\"t\":9,\"what\":\"claim\",\"link\":2,\"address\":\"10.0.0.1\",\"mac\":\"020000000009\"}\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, complaint) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"t":-1,"what":"start"}"#, "invalid"),
            (r#"{"t":1,"what":"dance"}"#, "unknown variant"),
            (r#"{"t":1,"what":"claim","link":2,"address":"10.0.0.1","mac":"02"}"#, "hexadecimal"),
            (
                r#"{"t":1,"what":"packet","link":2,"source":"10.0.0.1","destination":"ff02::12","payload":"0"}"#,
                "hexadecimal",
            ),
            (
                r#"{"t":1,"what":"packet","link":2,"source":"10.0.0.1","destination":"ff02::12","payload":"00"}"#,
                "another family",
            ),
            (
                r#"{"t":0,"what":"node","format":2,"program":"","wall":"2026-11-21T08:00:00Z","monotonic":0,"seed":0,"adopt":[],"config":""}"#,
                "format 2",
            ),
        ] {
            let error = match Line::parse(text.as_bytes()).unwrap_err() {
                RecordError::Json(error) => error.to_string(),
                error => error.to_string(),
            };
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
