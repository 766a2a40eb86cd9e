//! Parts of an instance beyond the protocol: links of its own and HMAC.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::Prefix;

/// `use_vmac`: a macvlan with the virtual router's MAC address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vmac {
    /// Its name; prefix and VRID when absent.
    pub name: Option<String>,
    /// Its address; RFC 9568 §7.3 when absent.
    pub mac: Option<[u8; 6]>,
    /// `netlink_notify_msg`: the kernel tells of the interface below once more when it comes or goes.
    pub netlink_notify: bool,
    /// `group` of links; that of the interface below when absent.
    pub group: Option<u32>,
}

/// `use_ipvlan`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ipvlan {
    /// Its name; prefix and VRID when absent.
    pub name: Option<String>,
    /// Address of the advertisements.
    pub address: Option<Prefix>,
    /// Who hears whom.
    pub mode: IpvlanMode,
    /// `group` of links; that of the interface below when absent.
    pub group: Option<u32>,
}

/// Isolation of an ipvlan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum IpvlanMode {
    /// `bridge`
    #[default]
    Bridge,
    /// `private`
    Private,
    /// `vepa`
    Vepa,
}

/// `garp_extra_if`: gratuitous ARP on interfaces of VIPs that are not the instance's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExtraGarp {
    /// `all`: not only those on a MAC address of their own.
    pub all: bool,
    /// Every so often; zero for never.
    pub interval: Duration,
}

/// `auth_hmac`: advertisements signed with HMAC-SHA256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hmac {
    /// Keys with their numbers, 1 to 255; 32 to 64 bytes each.
    pub keys: Vec<HmacKey>,
    /// `active_key`: number of the key that signs.
    pub active: u8,
    /// `time_window`; three times the interval, 5 to 300 seconds, when absent.
    pub window: Option<Duration>,
    /// `anti_replay`
    pub replay: AntiReplay,
    /// `mode`
    pub mode: HmacMode,
}

/// A key of `auth_hmac`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HmacKey {
    /// Its number.
    pub id: u8,
    /// Where it is.
    pub secret: Secret,
}

/// Where a key's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Secret {
    /// In the file.
    Bytes(Vec<u8>),
    /// In a file of its own.
    File(String),
}

/// How a repeated advertisement is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum AntiReplay {
    /// By the time it was made.
    #[default]
    Time,
    /// By a counter.
    Monotonic,
}

/// What becomes of advertisements without a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum HmacMode {
    /// They are dropped.
    #[default]
    Enforce,
    /// They are taken.
    Permissive,
    /// They are taken, and none is signed.
    ReceiveOnly,
}

/// `preferred_lft` of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Lifetime {
    /// `forever`
    Forever,
    /// Seconds.
    Seconds(u32),
}

/// What a VIP may say about itself beyond its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct AddressFlags {
    /// `home`
    pub home: bool,
    /// `-nodad`: duplicates are looked for.
    pub detect_duplicates: bool,
    /// `mngtmpaddr`
    pub manage_temporary: bool,
    /// `noprefixroute`
    pub no_prefix_route: bool,
    /// `autojoin`
    pub autojoin: bool,
    /// `use_vmac`: on a MAC address of its own.
    pub vmac: bool,
    /// `preferred_lft`
    pub preferred: Option<Lifetime>,
    /// `peer` of a point-to-point address.
    pub peer: Option<IpAddr>,
}
