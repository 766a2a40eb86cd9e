//! Configurations of one virtual router, the times the protocol gives it, and who runs it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The VIP of most tests.
pub const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));

/// A `vrrp_instance`, written as keepalived.conf(5) has it.
#[derive(Clone, Debug)]
pub struct Vrrp {
    pub name: &'static str,
    pub interface: &'static str,
    pub vrid: u8,
    pub version: u8,
    pub interval: Duration,
    pub priority: u8,
    /// Its own address, then those of its peers.
    pub unicast: Option<(&'static str, Vec<&'static str>)>,
    pub password: Option<&'static str>,
    pub vips: Vec<&'static str>,
    /// Further lines.
    pub more: String,
}

impl Vrrp {
    /// Version 3, multicast on `eth0`, five advertisements a second, no password.
    pub fn new(priority: u8) -> Self {
        Self {
            name: "VI_1",
            interface: "eth0",
            vrid: 51,
            version: 3,
            interval: Duration::from_millis(200),
            priority,
            unicast: None,
            password: None,
            vips: vec!["192.0.2.100/24"],
            more: String::new(),
        }
    }

    /// The same as version 2, whose interval is a whole second.
    pub fn version2(mut self) -> Self {
        (self.version, self.interval) = (2, Duration::from_secs(1));
        self
    }

    /// The same with IPv6 addresses, one of them local to the link as RFC 9568 §5.2.9 wants it.
    pub fn ipv6(mut self) -> Self {
        self.vips = vec!["fe80::100/64", "2001:db8::100/64"];
        self
    }

    /// The last of its VIPs.
    pub fn vip(&self) -> IpAddr {
        let last = self.vips.last().and_then(|vip| vip.split_once('/')?.0.parse().ok());
        last.unwrap_or(VIP)
    }

    /// With another line.
    pub fn with(mut self, line: &str) -> Self {
        self.more.push_str(line);
        self.more.push('\n');
        self
    }

    /// With another interval.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// RFC 3768 §6.1: of a second; RFC 9568 §6.1: of the interval.
    pub fn skew(&self) -> Duration {
        let whole = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        whole * (256 - u32::from(self.priority)) / 256
    }

    /// How long it hears nothing before it becomes MASTER. RFC 9568 §6.1.
    pub fn master_down(&self) -> Duration {
        3 * self.interval + self.skew()
    }
}

impl fmt::Display for Vrrp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, interface, vrid, version, priority, more, .. } = self;
        let interval = self.interval.as_secs_f64();
        let state = if *priority == 255 { "MASTER" } else { "BACKUP" };
        writeln!(
            f,
            "vrrp_instance {name} {{\n state {state}\n interface {interface}\n virtual_router_id {vrid}\n \
             version {version}\n priority {priority}\n advert_int {interval}\n garp_master_delay 1"
        )?;
        if let Some((source, peers)) = &self.unicast {
            let peers = peers.join("\n  ");
            writeln!(f, " unicast_src_ip {source}\n unicast_peer {{\n  {peers}\n }}")?;
        }
        if let Some(password) = self.password {
            writeln!(f, " authentication {{\n  auth_type PASS\n  auth_pass {password}\n }}")?;
        }
        let vips = self.vips.join("\n  ");
        if self.vip().is_ipv6() && self.version == 3 {
            writeln!(f, " native_ipv6")?;
        }
        write!(f, " virtual_ipaddress {{\n  {vips}\n }}\n{more}}}\n")
    }
}

/// Whose program a router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Lbd,
    Keepalived,
}

/// Before all else: scripts run as the user that the last such line named.
const GLOBALS: &str = "global_defs {\n script_user root\n enable_script_security\n}\n";

/// One router.
#[derive(Clone)]
pub struct Router {
    pub host: &'static str,
    pub daemon: Daemon,
    pub config: String,
}

impl Router {
    /// A router with these instances.
    pub fn new(host: &'static str, daemon: Daemon, instances: &[&Vrrp]) -> Self {
        let blocks = instances.iter().map(|instance| instance.to_string());
        Self { host, daemon, config: std::iter::once(GLOBALS.to_owned()).chain(blocks).collect() }
    }

    /// With another block before the instances.
    pub fn with(mut self, block: &str) -> Self {
        self.config.insert_str(GLOBALS.len(), block);
        self
    }
}
