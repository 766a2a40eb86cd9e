//! Routes and rules, static and of instances. Names as in ip-route(8) and ip-rule(8).

use std::net::IpAddr;

use serde::Serialize;

use super::Family;

/// An address and its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Prefix {
    /// Address.
    pub address: IpAddr,
    /// Length.
    pub length: u8,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Route {
    /// Family.
    pub family: Family,
    /// Where to; `None` for everything.
    pub destination: Option<Prefix>,
    /// `RTN_*` of `rtnetlink(7)`: 1 unicast, 6 blackhole, 7 unreachable, 8 prohibit.
    pub kind: u8,
    /// `src`: preferred source.
    pub source: Option<IpAddr>,
    /// `from`: packets from there only, IPv6.
    pub from: Option<Prefix>,
    /// `via`
    pub gateway: Option<IpAddr>,
    /// `dev`
    pub interface: Option<String>,
    /// `vrf`: in the table of this VRF.
    pub vrf: Option<String>,
    /// `table`; main when absent.
    pub table: Option<u32>,
    /// `protocol`; keepalived's when absent.
    pub protocol: Option<u8>,
    /// `scope`
    pub scope: Option<u8>,
    /// `metric`
    pub metric: Option<u32>,
    /// `tos`
    pub tos: u8,
    /// `onlink`
    pub onlink: bool,
    /// `encap`
    pub encap: Option<Encap>,
    /// `expires`, seconds.
    pub expires: Option<u32>,
    /// Metrics of connections over it.
    pub metrics: RouteMetrics,
    /// `realms`, from and to.
    pub realms: Option<(u16, u16)>,
    /// `pref`: RFC 4191; 0 medium, 1 high, 3 low.
    pub preference: Option<u8>,
    /// `ttl-propagate`
    pub ttl_propagate: Option<bool>,
    /// `add`, `append` or `prepend`.
    pub placement: RoutePlacement,
    /// `nexthop`, repeated.
    pub next_hops: Vec<NextHop>,
    /// `no_track`: its loss is no reason to step down.
    pub no_track: bool,
    /// `track_group`, static routes only.
    pub track_group: Option<String>,
}

/// `RTAX_*`: with `lock` the kernel leaves the value alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct RouteMetrics {
    /// `mtu`
    pub mtu: Option<Locked<u32>>,
    /// `hoplimit`
    pub hop_limit: Option<u8>,
    /// `advmss`
    pub advmss: Option<Locked<u32>>,
    /// `rtt`, in eighths of a millisecond.
    pub rtt: Option<Locked<u32>>,
    /// `rttvar`, in quarters of a millisecond.
    pub rttvar: Option<Locked<u32>>,
    /// `reordering`
    pub reordering: Option<Locked<u32>>,
    /// `window`
    pub window: Option<u32>,
    /// `cwnd`
    pub cwnd: Option<Locked<u32>>,
    /// `ssthresh`
    pub ssthresh: Option<Locked<u32>>,
    /// `rto_min`, milliseconds.
    pub rto_min: Option<Locked<u32>>,
    /// `initcwnd`
    pub initcwnd: Option<u32>,
    /// `initrwnd`
    pub initrwnd: Option<u32>,
    /// `features ecn`
    pub ecn: bool,
    /// `quickack`
    pub quickack: Option<bool>,
    /// `congctl`
    pub congestion_control: Option<Locked<String>>,
    /// `fastopen_no_cookie`
    pub fastopen_no_cookie: Option<bool>,
}

/// A value, and whether it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Locked<T> {
    /// The value.
    pub value: T,
    /// `lock`
    pub locked: bool,
}

/// How a route is put beside those that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum RoutePlacement {
    /// Before them.
    #[default]
    Prepend,
    /// Only if there is none.
    Add,
    /// After them.
    Append,
}

/// One of several ways of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct NextHop {
    /// `via`
    pub gateway: Option<IpAddr>,
    /// `dev`
    pub interface: Option<String>,
    /// `weight`, 1 to 256.
    pub weight: u16,
    /// `onlink`
    pub onlink: bool,
    /// `encap`
    pub encap: Option<Encap>,
    /// `realms`, from and to.
    pub realms: Option<(u16, u16)>,
}

/// A lightweight tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Encap {
    /// `encap ip` and `encap ip6`
    Ip {
        /// Outer family.
        family: Family,
        /// `id`
        id: u64,
        /// `dst`
        destination: Option<IpAddr>,
        /// `src`
        source: Option<IpAddr>,
        /// `tos` or `tc`
        tos: u8,
        /// `ttl` or `hoplimit`
        ttl: u8,
        /// `flags`
        flags: u16,
    },
    /// `encap mpls`: labels, the outer first.
    Mpls(Vec<u32>),
    /// `encap ila`: locator.
    Ila(u64),
}

/// A policy rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Rule {
    /// Family.
    pub family: Family,
    /// `from`; `None` for all.
    pub from: Option<Prefix>,
    /// `to`; `None` for all.
    pub to: Option<Prefix>,
    /// What a packet that fits meets.
    pub action: RuleAction,
    /// `not`: those that do not fit.
    pub invert: bool,
    /// `preference`
    pub preference: Option<u32>,
    /// `tos`
    pub tos: u8,
    /// `fwmark` and its mask.
    pub fwmark: Option<(u32, u32)>,
    /// `realms`, from and to.
    pub realms: Option<(u16, u16)>,
    /// `suppress_prefixlength`
    pub suppress_prefix_length: Option<u32>,
    /// `suppress_ifgroup`
    pub suppress_group: Option<u32>,
    /// `iif`
    pub input: Option<String>,
    /// `oif`
    pub output: Option<String>,
    /// `tunnel-id`
    pub tunnel_id: Option<u64>,
    /// `uidrange`
    pub users: Option<(u32, u32)>,
    /// `l3mdev`: the table of the VRF.
    pub l3mdev: bool,
    /// `protocol`; keepalived's when absent.
    pub protocol: Option<u8>,
    /// `ipproto`
    pub ip_protocol: Option<u8>,
    /// `sport`
    pub source_ports: Option<(u16, u16)>,
    /// `dport`
    pub destination_ports: Option<(u16, u16)>,
    /// `no_track`: its loss is no reason to step down.
    pub no_track: bool,
    /// `track_group`, static rules only.
    pub track_group: Option<String>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum RuleAction {
    /// Nothing is said.
    #[default]
    None,
    /// `table`
    Table(u32),
    /// `goto`: on to the rule of this preference.
    Goto(u32),
    /// `nop`
    Nop,
    /// `blackhole`
    Blackhole,
    /// `prohibit`
    Prohibit,
    /// `unreachable`
    Unreachable,
}
