//! Entries as the kernel dumps them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_pool::table::Family;
use lb_pool::{DestinationKey, Protocol, ServiceKey};

use crate::attributes::{
    DaemonAttribute, DestinationAttribute, ServiceAttribute, StatisticsAttribute, Top,
};
use crate::message::{attributes, counter, find, string, u16_at, u32_at};
use crate::settings::{
    DestinationSettings, Flags, Method, Name, Netmask, ServiceSettings, Tunnel, TunnelKind,
    family_from_number,
};

/// A service as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Which one.
    pub key: ServiceKey,
    /// What it is set to.
    pub settings: ServiceSettings,
    /// What it has done.
    pub statistics: Statistics,
}

/// A destination as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationEntry {
    /// Which one.
    pub key: DestinationKey,
    /// What it is set to.
    pub settings: DestinationSettings,
    /// Established connections.
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
    /// Clients that are bound to it.
    pub persistent: u32,
    /// What it has done.
    pub statistics: Statistics,
}

/// Counters since the entry was made or zeroed, and averaged rates a second. The kernel renews
/// them every two seconds, unless `net.ipv4.vs.run_estimation` is 0. Replies of routed and tunnelled destinations bypass the host and are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Connections.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Octets from clients.
    pub bytes_in: u64,
    /// Octets to clients.
    pub bytes_out: u64,
    /// Connections a second.
    pub connection_rate: u64,
    /// Packets from clients a second.
    pub packet_rate_in: u64,
    /// Packets to clients a second.
    pub packet_rate_out: u64,
    /// Octets from clients a second.
    pub byte_rate_in: u64,
    /// Octets to clients a second.
    pub byte_rate_out: u64,
}

/// What a sync daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends this host's connections.
    Master,
    /// Takes those of others.
    Backup,
}

/// A thread of the kernel that replicates connections by multicast, without authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What it does.
    pub role: Role,
    /// Interface it uses, at most 15 octets; needs an address.
    pub interface: String,
    /// Group of daemons that exchange, 0 to 255; a backup with 0 takes those of all.
    pub sync_id: u32,
    /// Octets of UDP payload; 0 lets the kernel choose.
    pub max_length: u16,
    /// Multicast group; the kernel's own, 224.0.0.81, if none.
    pub group: Option<IpAddr>,
    /// UDP port; 0 for the kernel's own, 8848.
    pub port: u16,
    /// Routers the messages may pass; 0 for the kernel's own, 1.
    pub ttl: u8,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

impl Daemon {
    /// The kernel's own group. `ip_vs.h`: `IP_VS_SYNC_GROUP`.
    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    /// The kernel's own port. `IP_VS_SYNC_PORT`.
    const PORT: u16 = 8848;
    /// The kernel's own TTL.
    const TTL: u8 = 1;

    /// Whether the kernel, told to start `wanted`, could have this one. What is left to the kernel it has
    /// filled in; the length depends on the interface at that time, so any will do.
    #[must_use]
    pub fn is_as(&self, wanted: &Self) -> bool {
        let number_or = |number, usual| if number == 0 { usual } else { number };
        self.role == wanted.role
            && self.interface == wanted.interface
            && self.sync_id == wanted.sync_id
            && (wanted.max_length == 0 || self.max_length == wanted.max_length)
            && self.group.unwrap_or(Self::GROUP) == wanted.group.unwrap_or(Self::GROUP)
            && number_or(self.port, Self::PORT) == number_or(wanted.port, Self::PORT)
            && number_or(self.ttl.into(), Self::TTL.into())
                == number_or(wanted.ttl.into(), Self::TTL.into())
    }
}

impl ServiceEntry {
    /// Reads the attributes of one `NEW_SERVICE` message; `None` if one that identifies is missing.
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        let nest = find(message, Top::Service)?;
        let family = family_from_number(u16_at(find(nest, ServiceAttribute::Family)?, 0)?)?;
        let key = match find(nest, ServiceAttribute::Fwmark) {
            Some(mark) => ServiceKey::Fwmark { family, mark: u32_at(mark, 0)? },
            None => ServiceKey::Address {
                protocol: protocol(u16_at(find(nest, ServiceAttribute::Protocol)?, 0)?)?,
                address: SocketAddr::new(
                    address(family, find(nest, ServiceAttribute::Address)?)?,
                    port(find(nest, ServiceAttribute::Port)?)?,
                ),
            },
        };
        let mut entry = Self {
            key,
            settings: ServiceSettings {
                scheduler: Name::default(),
                flags: Flags::default(),
                timeout: 0,
                netmask: Netmask::new(family, None),
                engine: Name::default(),
            },
            statistics: Statistics::parse(
                find(nest, ServiceAttribute::Stats64),
                find(nest, ServiceAttribute::Stats),
            ),
        };
        let settings = &mut entry.settings;
        for (kind, value) in attributes(nest) {
            match ServiceAttribute::from(kind) {
                ServiceAttribute::Scheduler => settings.scheduler = Name::new(string(value)?),
                ServiceAttribute::Engine => settings.engine = Name::new(string(value)?),
                ServiceAttribute::Flags => settings.flags = Flags::from_bits(u32_at(value, 0)?),
                ServiceAttribute::Timeout => settings.timeout = u32_at(value, 0)?,
                ServiceAttribute::Netmask => {
                    settings.netmask = Netmask::from_octets(family, *value.first_chunk()?);
                }
                _ => {}
            }
        }
        Some(entry)
    }
}

impl DestinationEntry {
    /// Reads the attributes of one `NEW_DEST` message. `family` is that of the service, for
    /// kernels that name none for the destination.
    pub(crate) fn parse(message: &[u8], family: Family) -> Option<Self> {
        let nest = find(message, Top::Destination)?;
        let family = find(nest, DestinationAttribute::Family)
            .and_then(|value| u16_at(value, 0))
            .map_or(Some(family), family_from_number)?;
        let mut entry = Self {
            key: DestinationKey {
                address: address(family, find(nest, DestinationAttribute::Address)?)?,
                port: port(find(nest, DestinationAttribute::Port)?)?,
            },
            settings: DestinationSettings {
                method: Method::Masquerade,
                weight: 0,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: Tunnel::default(),
            },
            active: 0,
            inactive: 0,
            persistent: 0,
            statistics: Statistics::parse(
                find(nest, DestinationAttribute::Stats64),
                find(nest, DestinationAttribute::Stats),
            ),
        };
        let settings = &mut entry.settings;
        for (kind, value) in attributes(nest) {
            match DestinationAttribute::from(kind) {
                DestinationAttribute::Method => {
                    settings.method = Method::from_bits(u32_at(value, 0)?);
                }
                DestinationAttribute::Weight => settings.weight = u32_at(value, 0)?,
                DestinationAttribute::UpperThreshold => {
                    settings.upper_threshold = u32_at(value, 0)?;
                }
                DestinationAttribute::LowerThreshold => {
                    settings.lower_threshold = u32_at(value, 0)?;
                }
                DestinationAttribute::TunnelType => {
                    settings.tunnel.kind = TunnelKind::from_number(*value.first()?);
                }
                DestinationAttribute::TunnelPort => settings.tunnel.port = port(value)?,
                DestinationAttribute::TunnelFlags => settings.tunnel.flags = u16_at(value, 0)?,
                DestinationAttribute::ActiveConnections => entry.active = u32_at(value, 0)?,
                DestinationAttribute::InactiveConnections => entry.inactive = u32_at(value, 0)?,
                DestinationAttribute::PersistentConnections => {
                    entry.persistent = u32_at(value, 0)?;
                }
                _ => {}
            }
        }
        Some(entry)
    }
}

impl Statistics {
    /// Reads the nest of 64-bit counters (since Linux 4.1) or, where there is none, the older one.
    fn parse(wide: Option<&[u8]>, narrow: Option<&[u8]>) -> Self {
        let mut statistics = Self::default();
        for (kind, value) in attributes(wide.or(narrow).unwrap_or_default()) {
            let field = match StatisticsAttribute::from(kind) {
                StatisticsAttribute::Connections => &mut statistics.connections,
                StatisticsAttribute::PacketsIn => &mut statistics.packets_in,
                StatisticsAttribute::PacketsOut => &mut statistics.packets_out,
                StatisticsAttribute::BytesIn => &mut statistics.bytes_in,
                StatisticsAttribute::BytesOut => &mut statistics.bytes_out,
                StatisticsAttribute::ConnectionRate => &mut statistics.connection_rate,
                StatisticsAttribute::PacketRateIn => &mut statistics.packet_rate_in,
                StatisticsAttribute::PacketRateOut => &mut statistics.packet_rate_out,
                StatisticsAttribute::ByteRateIn => &mut statistics.byte_rate_in,
                StatisticsAttribute::ByteRateOut => &mut statistics.byte_rate_out,
                StatisticsAttribute::UnrecognizedConst(_) => continue,
            };
            *field = counter(value).unwrap_or(0);
        }
        statistics
    }
}

impl Daemon {
    /// Reads the attributes of one `NEW_DAEMON` message.
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        let nest = find(message, Top::Daemon)?;
        let mut daemon = Self {
            role: match u32_at(find(nest, DaemonAttribute::State)?, 0)? {
                1 => Role::Master,
                2 => Role::Backup,
                _ => return None,
            },
            interface: string(find(nest, DaemonAttribute::Interface)?)?.to_owned(),
            sync_id: u32_at(find(nest, DaemonAttribute::SyncId)?, 0)?,
            max_length: 0,
            group: None,
            port: 0,
            ttl: 0,
        };
        for (kind, value) in attributes(nest) {
            match DaemonAttribute::from(kind) {
                DaemonAttribute::MaxLength => daemon.max_length = u16_at(value, 0)?,
                DaemonAttribute::Group => daemon.group = address(Family::Inet, value),
                DaemonAttribute::Group6 => daemon.group = address(Family::Inet6, value),
                // In the host's order, unlike every other port of the family.
                DaemonAttribute::Port => daemon.port = u16_at(value, 0)?,
                DaemonAttribute::Ttl => daemon.ttl = *value.first()?,
                _ => {}
            }
        }
        Some(daemon)
    }
}

fn protocol(number: u16) -> Option<Protocol> {
    match i32::from(number) {
        libc::IPPROTO_TCP => Some(Protocol::Tcp),
        libc::IPPROTO_UDP => Some(Protocol::Udp),
        libc::IPPROTO_SCTP => Some(Protocol::Sctp),
        _ => None,
    }
}

/// An address out of a union of 16 octets, of which IPv4 uses the first four.
fn address(family: Family, value: &[u8]) -> Option<IpAddr> {
    Some(match family {
        Family::Inet => Ipv4Addr::from(*value.first_chunk::<4>()?).into(),
        Family::Inet6 => Ipv6Addr::from(*value.first_chunk::<16>()?).into(),
    })
}

fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}
