//! Configurations of one vhid, the times the protocol gives it, and who runs it.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The VIP of most tests.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// One vhid, as both daemons are told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carp {
    pub name: &'static str,
    pub vhid: u8,
    pub pass: &'static str,
    pub advbase: u8,
    pub advskew: u8,
    pub preempt: bool,
    pub vip: Ipv4Addr,
}

impl Carp {
    /// vhid 7 on `eth0`, an advertisement a second and a bit, without preemption.
    pub const fn new(advskew: u8) -> Self {
        Self {
            name: "LAN",
            vhid: 7,
            pass: "mekmitasdigoat",
            advbase: 1,
            advskew,
            preempt: false,
            vip: VIP,
        }
    }

    /// The same, which takes over from who is slower.
    pub const fn preempting(self) -> Self {
        Self { preempt: true, ..self }
    }

    /// The same, with another number and VIP.
    pub fn numbered(self, name: &'static str, vhid: u8, vip: Ipv4Addr) -> Self {
        Self { name, vhid, vip, ..self }
    }

    /// Between two advertisements.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.advbase.into()) + self.skew()
    }

    /// How long it hears nothing before it becomes MASTER: three times advbase, and advskew once.
    pub fn master_down(&self) -> Duration {
        Duration::from_secs(3 * u64::from(self.advbase)) + self.skew()
    }

    fn skew(&self) -> Duration {
        Duration::from_micros(u64::from(self.advskew) * 1_000_000 / 256)
    }

    /// The command that makes a ucarp of it; `source` is the address of its interface.
    pub fn ucarp(&self, source: Ipv4Addr) -> Vec<String> {
        let Self { vhid, pass, advbase, advskew, vip, .. } = self;
        let line = format!(
            "ucarp -i eth0 -s {source} -v {vhid} -p {pass} -a {vip} -b {advbase} -k {advskew} \
             -u /run/up -d /run/down -z -f none"
        );
        let preempt = self.preempt.then_some("-P");
        line.split_whitespace().chain(preempt).map(str::to_owned).collect()
    }
}

/// The `carp_instance` of lbd.
impl fmt::Display for Carp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, vhid, pass, advbase, advskew, preempt, vip } = self;
        let preempt = if *preempt { "on" } else { "off" };
        write!(
            f,
            "carp_instance {name} {{\n interface eth0\n vhid {vhid}\n pass {pass}\n advbase {advbase}\n \
             advskew {advskew}\n preempt {preempt}\n virtual_ipaddress {{\n  {vip}/24\n }}\n}}\n"
        )
    }
}

/// Whose program a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Lbd,
    Ucarp,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    pub host: &'static str,
    pub daemon: Daemon,
    /// Of `eth0`.
    pub address: Ipv4Addr,
    pub vhids: Vec<Carp>,
    /// Further blocks for lbd.
    pub more: String,
}

impl Node {
    /// `d1` at 192.0.2.1, `d2` at 192.0.2.2 and so on, with these vhids.
    pub fn new(host: &'static str, daemon: Daemon, vhids: &[Carp]) -> Self {
        let number = host.trim_start_matches('d').parse().unwrap_or(0);
        let address = Ipv4Addr::new(192, 0, 2, number);
        Self { host, daemon, address, vhids: vhids.to_vec(), more: String::new() }
    }

    /// The same at another address.
    pub fn at(self, address: Ipv4Addr) -> Self {
        Self { address, ..self }
    }

    /// What lbd reads.
    pub fn config(&self) -> String {
        let blocks = self.vhids.iter().map(Carp::to_string);
        blocks.chain([self.more.clone()]).collect()
    }
}
