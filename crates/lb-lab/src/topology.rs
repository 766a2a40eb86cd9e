//! What a lab consists of, as a value and as TOML.
//!
//! ```toml
//! switches = ["lan"]
//!
//! [[host]]
//! name = "d1"
//! interface = [{ name = "eth0", switch = "lan", addresses = ["10.0.0.2/24"] }]
//! route = [{ via = "10.0.0.1" }]                     # no `to`: the default route
//! sysctl = { "net.ipv4.ip_forward" = "1" }
//! file = [{ path = "/etc/keepalived/keepalived.conf", from = "d1.conf" }]
//! program = [{ run = ["lbd", "-n", "-l", "-D"] }]
//!
//! [[host]]
//! name = "web1"
//! interface = [{ name = "eth0", switch = "lan", addresses = ["10.0.0.11/24"] }]
//! program = [{ serve = "10.0.0.11:80" }]             # the built-in web server
//! ```

mod check;
mod make;
mod play;
mod prefix;
mod read;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use play::{FaultKind, FaultSpec, MASTER, Play};
pub use prefix::Prefix;
pub use read::TopologyError;

/// Hosts and the switches they are plugged into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topology {
    /// Names of the switches.
    #[serde(default)]
    pub switches: Vec<String>,
    /// In the order in which their programs start.
    #[serde(default, rename = "host")]
    pub hosts: Vec<HostSpec>,
    /// What a demonstration does with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub play: Option<Play>,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HostSpec {
    /// Letters, digits and `-`; also its host name.
    pub name: String,
    /// Its network cards, each with a cable to a switch.
    #[serde(default, rename = "interface", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceSpec>,
    /// Beyond those of its interfaces.
    #[serde(default, rename = "route", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
    /// Settings below `/proc/sys/net`, with dots, such as `net.ipv4.ip_forward`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Directories that are its own and empty at start. `/run` always is, and `/etc`, `/tmp` and `/var` keep what it
    /// changes to itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<PathBuf>,
    /// Written at every start, before the programs.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// Started at every start, in this order.
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramSpec>,
}

/// One network card and its cable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InterfaceSpec {
    /// Such as `eth0`; at most 15 octets.
    pub name: String,
    /// The switch at the other end.
    pub switch: String,
    /// With prefix lengths.
    #[serde(default)]
    pub addresses: Vec<Prefix>,
}

/// A route through a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RouteSpec {
    /// Where to; `None` is everywhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Prefix>,
    /// The gateway.
    pub via: IpAddr,
}

/// A file of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSpec {
    /// Absolute path in the host.
    pub path: PathBuf,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Or the file that holds the content, beside the topology; [`Topology::load`] reads it into `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
}

/// A program of a host: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProgramSpec {
    /// A command and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// Added to the environment of `run`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The address of the built-in server: HTTP on TCP, and UDP, both answer with the host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "switches = [\"lan\", \"back\"]\n[[host]]\nname = \"a\"\n";

    #[test]
    fn a_topology_reads_and_writes_the_same() {
        let text = format!(
            "{HEAD}interface = [{{ name = \"eth0\", switch = \"lan\", addresses = [\"10.0.0.1/24\", \"fd00::1/64\"] }}]\n\
             route = [{{ via = \"10.0.0.254\" }}, {{ to = \"10.9.0.0/16\", via = \"10.0.0.253\" }}]\n\
             file = [{{ path = \"/etc/x\", text = \"y\" }}]\n\
             program = [{{ run = [\"lbd\", \"-n\"] }}, {{ serve = \"10.0.0.1:80\" }}]\n\
             [play]\nclient = \"a\"\nvip = \"10.0.0.1:80\"\n[[play.fault]]\nkind = \"kill\"\ntarget = \"master\"\n"
        );
        let topology = Topology::parse(&text).unwrap();
        let play = topology.play.as_ref().unwrap();
        assert_eq!((play.path.as_str(), play.interval_ms, play.timeout_ms), ("/", 10, 500));
        assert_eq!(Topology::parse(&toml::to_string(&topology).unwrap()).unwrap(), topology);

        let a = HostSpec::new("a")
            .interface("eth0", "lan", ["10.0.0.1/24", "fd00::1/64"])
            .gateway([10, 0, 0, 254])
            .file("/etc/x", "y")
            .run(["lbd", "-n"])
            .serve("10.0.0.1:80".parse().unwrap());
        assert_eq!(topology.hosts[0].interfaces, a.interfaces);
        assert_eq!(
            (&topology.hosts[0].files, &topology.hosts[0].programs),
            (&a.files, &a.programs)
        );
        assert_eq!(topology.hosts[0].routes[0], a.routes[0]);
    }
}
