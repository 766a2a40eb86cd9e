//! Messages that make, change and delete links. `rtnetlink(7)`, `if_link.h`.
//!
//! IPv4 settings of a link go through netlink too: that works where `/proc/sys` is read-only, as in
//! containers, and many links are set in one system call.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};

use crate::netlink::{self, LINK_HEADER, Link, attributes, nested, text};

/// How the macvlans of one base see each other and what comes from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Macvlans of one base never hear each other; keepalived's choice.
    ///
    /// A broadcast or multicast frame from the wire whose source is the macvlan's own MAC, which is
    /// how another router of the same virtual MAC sends, is handed to that macvlan **only**: sockets
    /// on the base do not hear it, and its kernel answers a gratuitous ARP request
    /// ([`ArpForm`](crate::ArpForm)).
    Private,
    /// Macvlans of one base hear each other. A frame of the same virtual MAC from the wire is heard
    /// by the base and not by the macvlan: one socket on the base hears all routers' advertisements,
    /// and the kernel of an old master never answers the announcement of the new one.
    #[default]
    Bridge,
}

impl MacvlanMode {
    /// `MACVLAN_MODE_` of `if_link.h`.
    const fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Bridge => 4,
        }
    }
}

/// IPv4 settings of a link: `IPV4_DEVCONF_` of `ip.h`, which is `/proc/sys/net/ipv4/conf/*/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Setting {
    RpFilter = 8,
    ArpFilter = 13,
    ArpAnnounce = 18,
    ArpIgnore = 19,
    PromoteSecondaries = 20,
    AcceptLocal = 23,
}

/// Where a link belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Belonging {
    /// `ip link set group`.
    pub group: Option<u32>,
    /// Index of a VRF, or of a bridge or bond; a link that has a macvlan cannot be in these.
    pub master: Option<u32>,
}

/// What to do with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkChange<'a> {
    /// Makes a macvlan that is down.
    Create {
        name: &'a str,
        base: u32,
        hardware: [u8; 6],
        mode: MacvlanMode,
        belonging: Belonging,
    },
    /// Marks a link for the next [`LinkChange::DeleteLeaving`].
    Leave {
        index: u32,
    },
    /// Deletes all that were marked at once: the kernel waits for other processors once for all of
    /// them, and not some 20 ms for each.
    DeleteLeaving,
    Set {
        index: u32,
        settings: &'a [(Setting, u32)],
    },
    /// `ip link set alias`; at most 255 octets.
    Alias {
        index: u32,
        alias: &'a str,
    },
    /// `ip link set group`; the kernel tells of the link even if it is the same.
    Group {
        index: u32,
        group: u32,
    },
    /// No IPv6 address comes by itself.
    NoAddressGeneration {
        index: u32,
    },
    Up {
        index: u32,
    },
}

/// A link group that nobody else uses, for links about to be deleted.
const LEAVING: u32 = u32::from_be_bytes(*b"lbd-");
const MACVLAN: &str = "macvlan";
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// Appends one attribute whose value `write` appends.
fn attribute(out: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 2]);
    out.extend(kind.to_ne_bytes());
    write(out);
    let len = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    out[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    out.resize(start + usize::from(len).next_multiple_of(4), 0);
}

fn value(out: &mut Vec<u8>, kind: u16, octets: &[u8]) {
    attribute(out, kind, |out| out.extend(octets));
}

/// `struct ifinfomsg` of `rtnetlink(7)`.
fn header(out: &mut Vec<u8>, index: u32, up: bool) {
    let up = if up { libc::IFF_UP.cast_unsigned() } else { 0 };
    out.extend([0; 4]);
    out.extend(index.to_ne_bytes());
    out.extend(up.to_ne_bytes());
    out.extend(up.to_ne_bytes());
}

/// Appends a request for a change.
pub(crate) fn push_change(out: &mut Vec<u8>, change: &LinkChange<'_>, sequence: u32, ack: bool) {
    let (kind, flags) = match change {
        LinkChange::Create { .. } => (libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL),
        LinkChange::DeleteLeaving => (libc::RTM_DELLINK, 0),
        _ => (libc::RTM_SETLINK, 0),
    };
    let flags = NLM_F_REQUEST | flags | if ack { NLM_F_ACK } else { 0 };
    netlink::push(out, kind, flags, sequence, |out| match *change {
        LinkChange::Create { name, base, hardware, mode, belonging } => {
            header(out, 0, false);
            value(out, libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
            value(out, libc::IFLA_LINK, &base.to_ne_bytes());
            value(out, libc::IFLA_ADDRESS, &hardware);
            for (kind, number) in
                [(libc::IFLA_GROUP, belonging.group), (libc::IFLA_MASTER, belonging.master)]
            {
                number.into_iter().for_each(|number| value(out, kind, &number.to_ne_bytes()));
            }
            attribute(out, libc::IFLA_LINKINFO, |out| {
                value(out, libc::IFLA_INFO_KIND, MACVLAN.as_bytes());
                attribute(out, libc::IFLA_INFO_DATA, |out| {
                    value(out, IFLA_MACVLAN_MODE, &mode.number().to_ne_bytes());
                });
            });
        }
        LinkChange::Leave { index } => {
            header(out, index, false);
            value(out, libc::IFLA_GROUP, &LEAVING.to_ne_bytes());
        }
        LinkChange::DeleteLeaving => {
            header(out, 0, false);
            value(out, libc::IFLA_GROUP, &LEAVING.to_ne_bytes());
        }
        LinkChange::Set { index, settings } => {
            header(out, index, false);
            attribute(out, libc::IFLA_AF_SPEC, |out| {
                attribute(out, libc::AF_INET as u16, |out| {
                    attribute(out, IFLA_INET_CONF, |out| {
                        for (setting, number) in settings {
                            value(out, *setting as u16, &number.to_ne_bytes());
                        }
                    });
                });
            });
        }
        LinkChange::Alias { index, alias } => {
            header(out, index, false);
            value(out, libc::IFLA_IFALIAS, alias.as_bytes());
        }
        LinkChange::Group { index, group } => {
            header(out, index, false);
            value(out, libc::IFLA_GROUP, &group.to_ne_bytes());
        }
        LinkChange::NoAddressGeneration { index } => {
            header(out, index, false);
            attribute(out, libc::IFLA_AF_SPEC, |out| {
                attribute(out, libc::AF_INET6 as u16, |out| {
                    value(out, IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
                });
            });
        }
        LinkChange::Up { index } => header(out, index, true),
    });
}

/// More about a link than everybody needs to know.
#[derive(Clone, Debug)]
pub(crate) struct LinkDetails {
    pub link: Link,
    /// `ip link set alias`.
    pub alias: Option<String>,
    pub belonging: Belonging,
    macvlan_mode: Option<u32>,
    /// IPv4 settings in the kernel's order, the first of which has the number 1.
    settings: Vec<u32>,
}

impl LinkDetails {
    /// Whether it is a macvlan of this base, MAC and mode.
    pub(crate) fn is_macvlan(&self, base: u32, hardware: [u8; 6], mode: MacvlanMode) -> bool {
        self.link.kind.as_deref() == Some(MACVLAN)
            && self.link.parent == Some(base)
            && self.link.hardware == Some(hardware)
            && self.macvlan_mode == Some(mode.number())
    }

    /// The kind that stands in the way of a macvlan of the same name.
    pub(crate) fn other_kind(&self) -> Option<&str> {
        match self.link.kind.as_deref() {
            Some(MACVLAN) => None,
            kind => Some(kind.unwrap_or("hardware")),
        }
    }

    /// One of its IPv4 settings; `None` where the kernel has no IPv4 on it.
    pub(crate) fn setting(&self, setting: Setting) -> Option<u32> {
        self.settings.get(usize::from(setting as u16) - 1).copied()
    }
}

/// Reads `RTM_NEWLINK`.
pub(crate) fn parse_details(body: &[u8]) -> Option<LinkDetails> {
    let link = netlink::parse_link(body)?;
    let (mut alias, mut macvlan_mode, mut settings) = (None, None, Vec::new());
    let mut belonging = Belonging::default();
    let number = |value: &[u8]| value.try_into().ok().map(u32::from_ne_bytes);
    for (kind, value) in attributes(body, LINK_HEADER) {
        match kind {
            libc::IFLA_IFALIAS => alias = Some(text(value)),
            libc::IFLA_GROUP => belonging.group = number(value),
            libc::IFLA_MASTER => belonging.master = number(value),
            libc::IFLA_LINKINFO if link.kind.as_deref() == Some(MACVLAN) => {
                macvlan_mode =
                    nested(value, &[libc::IFLA_INFO_DATA, IFLA_MACVLAN_MODE]).and_then(number);
            }
            libc::IFLA_AF_SPEC => {
                let all = nested(value, &[libc::AF_INET as u16, IFLA_INET_CONF]);
                settings = all
                    .unwrap_or_default()
                    .chunks_exact(4)
                    .map(|number| u32::from_ne_bytes([number[0], number[1], number[2], number[3]]))
                    .collect();
            }
            _ => {}
        }
    }
    Some(LinkDetails { link, alias, belonging, macvlan_mode, settings })
}
