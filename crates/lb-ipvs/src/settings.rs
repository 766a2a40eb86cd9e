//! What a service or destination is set to, in the kernel's own words.
//!
//! Small copies of what the family's attributes hold, so that comparing what is wanted with what
//! is there needs no guess about how the kernel would have written it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use lb_pool::table::{Family, TunnelChecksum};
use lb_pool::{Destination, ForwardingMethod, Service, ServiceKey, TunnelType};

/// Name of a scheduler or persistence engine: at most 15 octets, as in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Name([u8; 16]);

impl Name {
    /// That name, cut after 15 octets (no module has so long a name, so the kernel refuses it).
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut octets = [0; 16];
        let fits = |end: &usize| name.is_char_boundary(*end);
        let end = (0..=15).rev().find(fits).unwrap_or(0);
        octets[..end].copy_from_slice(&name.as_bytes()[..end]);
        Self(octets)
    }

    /// The name; empty for none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        crate::message::string(&self.0).unwrap_or_default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Flags of a service (`IP_VS_SVC_F_*`), without the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    /// Connections of one client go to one server.
    pub const PERSISTENT: Self = Self(0x1);
    /// Each UDP datagram is scheduled by itself.
    pub const ONE_PACKET: Self = Self(0x4);
    /// First flag of the scheduler: `sh-fallback`, `mh-fallback`.
    pub const FALLBACK: Self = Self(0x8);
    /// Second flag of the scheduler: `sh-port`, `mh-port`.
    pub const HASH_PORT: Self = Self(0x10);
    /// Third flag of the scheduler, which none uses yet.
    pub const SCHEDULER_3: Self = Self(0x20);
    /// The service is in the kernel's hash table: says nothing.
    const HASHED: u32 = 0x2;

    /// The kernel's bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The flags of those bits, unknown ones too.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & !Self::HASHED)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`, if `on`.
    #[must_use]
    fn with(self, other: Self, on: bool) -> Self {
        Self(if on { self.0 | other.0 } else { self.0 })
    }
}

/// Everything about a service that can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Module that chooses; `none` for no scheduling.
    pub scheduler: Name,
    /// How it behaves.
    pub flags: Flags,
    /// Seconds that a client stays with its server; 0 unless persistent.
    pub timeout: u32,
    /// Clients that share these bits share their persistence.
    pub netmask: Netmask,
    /// Persistence engine, empty for none.
    pub engine: Name,
}

/// Which bits of a client's address count for persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// IPv4: a mask.
    Inet(Ipv4Addr),
    /// IPv6: the number of leading bits, 1 to 128.
    Inet6(u32),
}

impl Netmask {
    /// The leading `bits` of an address of that family, or all of them.
    #[must_use]
    pub fn new(family: Family, bits: Option<u8>) -> Self {
        match family {
            Family::Inet => {
                let host_bits = 32_u32.saturating_sub(bits.unwrap_or(32).into());
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                Self::Inet(mask.into())
            }
            Family::Inet6 => Self::Inet6(bits.unwrap_or(128).into()),
        }
    }

    /// As the attribute has it.
    pub(crate) fn octets(self) -> [u8; 4] {
        match self {
            Self::Inet(mask) => mask.octets(),
            Self::Inet6(bits) => bits.to_ne_bytes(),
        }
    }

    /// Out of the attribute.
    pub(crate) fn from_octets(family: Family, octets: [u8; 4]) -> Self {
        match family {
            Family::Inet => Self::Inet(octets.into()),
            Family::Inet6 => Self::Inet6(u32::from_ne_bytes(octets)),
        }
    }
}

impl ServiceSettings {
    /// What `service` means in the kernel's words.
    #[must_use]
    pub fn new(key: &ServiceKey, service: &Service) -> Self {
        let persistence = service.persistence.as_ref();
        let seconds = |p: &lb_pool::Persistence| p.timeout.as_secs().try_into().unwrap_or(u32::MAX);
        Self {
            scheduler: Name::new(service.scheduler.name()),
            flags: Flags::default()
                .with(Flags::PERSISTENT, persistence.is_some())
                .with(Flags::ONE_PACKET, service.one_packet)
                .with(Flags::FALLBACK, service.fallback)
                .with(Flags::HASH_PORT, service.hash_port)
                .with(Flags::SCHEDULER_3, service.flag_3),
            timeout: persistence.map_or(0, seconds),
            netmask: Netmask::new(key.family(), service.granularity),
            engine: persistence
                .and_then(|p| p.engine.as_deref())
                .map(Name::new)
                .unwrap_or_default(),
        }
    }
}

/// How packets reach a destination (`IP_VS_CONN_F_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Masquerading.
    Masquerade,
    /// The destination is this host.
    Local,
    /// Encapsulated.
    Tunnel,
    /// Direct routing.
    Route,
    /// To the address the client meant.
    Bypass,
    /// A method of a kernel to come.
    Other(u32),
}

impl Method {
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Masquerade => 0,
            Self::Local => 1,
            Self::Tunnel => 2,
            Self::Route => 3,
            Self::Bypass => 4,
            Self::Other(bits) => bits,
        }
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits & 0x7 {
            0 => Self::Masquerade,
            1 => Self::Local,
            2 => Self::Tunnel,
            3 => Self::Route,
            4 => Self::Bypass,
            other => Self::Other(other),
        }
    }
}

/// Encapsulation of a tunnel (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TunnelKind {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
    /// One of a kernel to come.
    Other(u8),
}

impl TunnelKind {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ipip => 0,
            Self::Gue => 1,
            Self::Gre => 2,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ipip,
            1 => Self::Gue,
            2 => Self::Gre,
            other => Self::Other(other),
        }
    }
}

/// Parameters of a tunnel; the kernel keeps them for other methods too and ignores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tunnel {
    /// Encapsulation.
    pub kind: TunnelKind,
    /// UDP port of GUE, 0 for the others.
    pub port: u16,
    /// 1 for a checksum in the outer header, 2 for remote checksum offload.
    pub flags: u16,
}

impl From<TunnelType> for Tunnel {
    fn from(tunnel: TunnelType) -> Self {
        let (kind, port, flags) = match tunnel {
            TunnelType::Ipip => (TunnelKind::Ipip, 0, 0),
            TunnelType::Gue { port, checksum } => {
                let flags = match checksum {
                    TunnelChecksum::None => 0,
                    TunnelChecksum::Outer => 1,
                    TunnelChecksum::Remote => 2,
                };
                (TunnelKind::Gue, port, flags)
            }
            TunnelType::Gre { checksum } => (TunnelKind::Gre, 0, checksum.into()),
        };
        Self { kind, port, flags }
    }
}

/// Everything about a destination that can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationSettings {
    /// How packets reach it.
    pub method: Method,
    /// Share of new connections.
    pub weight: u32,
    /// New connections stop at this many; 0 for no limit.
    pub upper_threshold: u32,
    /// And start again below this many.
    pub lower_threshold: u32,
    /// Of use for [`Method::Tunnel`] only.
    pub tunnel: Tunnel,
}

impl From<&Destination> for DestinationSettings {
    fn from(destination: &Destination) -> Self {
        let (method, tunnel) = match destination.method {
            ForwardingMethod::Nat => (Method::Masquerade, Tunnel::default()),
            ForwardingMethod::Tunnel(tunnel) => (Method::Tunnel, tunnel.into()),
            ForwardingMethod::Route => (Method::Route, Tunnel::default()),
        };
        Self {
            method,
            weight: destination.weight,
            upper_threshold: destination.upper_threshold,
            lower_threshold: destination.lower_threshold,
            tunnel,
        }
    }
}

/// The kernel's number of an address family.
pub(crate) fn family_number(family: Family) -> u16 {
    match family {
        Family::Inet => libc::AF_INET as u16,
        Family::Inet6 => libc::AF_INET6 as u16,
    }
}

pub(crate) fn family_from_number(number: u16) -> Option<Family> {
    match i32::from(number) {
        libc::AF_INET => Some(Family::Inet),
        libc::AF_INET6 => Some(Family::Inet6),
        _ => None,
    }
}

/// Family of an address.
pub(crate) fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Inet,
        IpAddr::V6(_) => Family::Inet6,
    }
}
