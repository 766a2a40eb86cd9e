//! The family's numbers, as `linux/ip_vs.h` has them.

use neli::neli_enum;

/// Name of the family, resolved to a number when a client opens.
pub(crate) const FAMILY: &str = "IPVS";
/// Its only version.
pub(crate) const VERSION: u8 = 1;

#[neli_enum(serialized_type = "u8")]
pub(crate) enum Command {
    NewService = 1,
    SetService = 2,
    DelService = 3,
    GetService = 4,
    NewDestination = 5,
    SetDestination = 6,
    DelDestination = 7,
    GetDestination = 8,
    NewDaemon = 9,
    DelDaemon = 10,
    GetDaemon = 11,
    SetConfig = 12,
    GetConfig = 13,
    GetInfo = 15,
    Zero = 16,
    Flush = 17,
}

#[neli_enum(serialized_type = "u16")]
pub(crate) enum Top {
    Service = 1,
    Destination = 2,
    Daemon = 3,
    TimeoutTcp = 4,
    TimeoutTcpFin = 5,
    TimeoutUdp = 6,
}

/// Top level of the answer to `GET_INFO`, which numbers its attributes by itself.
#[neli_enum(serialized_type = "u16")]
pub(crate) enum InfoAttribute {
    Version = 1,
    TableSize = 2,
}

#[neli_enum(serialized_type = "u16")]
pub(crate) enum ServiceAttribute {
    Family = 1,
    Protocol = 2,
    Address = 3,
    Port = 4,
    Fwmark = 5,
    Scheduler = 6,
    Flags = 7,
    Timeout = 8,
    Netmask = 9,
    Stats = 10,
    Engine = 11,
    Stats64 = 12,
}

#[neli_enum(serialized_type = "u16")]
pub(crate) enum DestinationAttribute {
    Address = 1,
    Port = 2,
    Method = 3,
    Weight = 4,
    UpperThreshold = 5,
    LowerThreshold = 6,
    ActiveConnections = 7,
    InactiveConnections = 8,
    PersistentConnections = 9,
    Stats = 10,
    Family = 11,
    Stats64 = 12,
    TunnelType = 13,
    TunnelPort = 14,
    TunnelFlags = 15,
}

#[neli_enum(serialized_type = "u16")]
pub(crate) enum StatisticsAttribute {
    Connections = 1,
    PacketsIn = 2,
    PacketsOut = 3,
    BytesIn = 4,
    BytesOut = 5,
    ConnectionRate = 6,
    PacketRateIn = 7,
    PacketRateOut = 8,
    ByteRateIn = 9,
    ByteRateOut = 10,
}

#[neli_enum(serialized_type = "u16")]
pub(crate) enum DaemonAttribute {
    State = 1,
    Interface = 2,
    SyncId = 3,
    MaxLength = 4,
    Group = 5,
    Group6 = 6,
    Port = 7,
    Ttl = 8,
}
