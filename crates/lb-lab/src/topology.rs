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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result, list};

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
    /// Directories that are its own and empty at start. `/run` always is, and `/etc` and `/tmp` keep what it
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

/// What `lbctl lab` does before the eyes of its user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Play {
    /// The host that sends the requests.
    pub client: String,
    /// Where to: the VIP and the port.
    pub vip: SocketAddr,
    /// Of the requests.
    #[serde(default = "Play::root")]
    pub path: String,
    /// A request is sent each so many milliseconds.
    #[serde(default = "Play::interval_ms")]
    pub interval_ms: u64,
    /// A request without an answer after so many milliseconds is lost.
    #[serde(default = "Play::timeout_ms")]
    pub timeout_ms: u64,
    /// What befalls the hosts, in this order.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSpec>,
}

impl Play {
    fn root() -> String {
        "/".to_owned()
    }

    fn interval_ms() -> u64 {
        10
    }

    fn timeout_ms() -> u64 {
        500
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultSpec {
    /// What happens.
    pub kind: FaultKind,
    /// To which host; `master` is the one that holds the VIP at that moment.
    pub target: String,
    /// It is over when so many milliseconds have passed without a lost request.
    #[serde(default = "FaultSpec::calm_ms")]
    pub calm_ms: u64,
}

impl FaultSpec {
    fn calm_ms() -> u64 {
        1000
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The power fails: cables dead, every process killed.
    Kill,
    /// SIGTERM to its programs, as on a planned stop.
    Stop,
    /// Every cable is pulled.
    Cut,
    /// It is started again, or its cables are plugged in again.
    Mend,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Mend => "mend",
        })
    }
}

/// The name that stands for the holder of the VIP in [`FaultSpec::target`].
pub const MASTER: &str = "master";

/// An address and the length of its prefix, `10.0.0.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// 0 to 32, or to 128 for IPv6.
    pub length: u8,
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong =
            || format!("`{text}` is not an address with its prefix length, such as 10.0.0.1/24");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length = length.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most { Err(wrong()) } else { Ok(Self { address, length }) }
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

/// Why a topology makes no sense, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct TopologyError {
    /// Name of the file, when there is one.
    pub file: Option<String>,
    /// Counted from 1; `None` for a topology made in code.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl TopologyError {
    fn place(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, Some(line)) => format!("line {line}: "),
            (None, None) => String::new(),
        }
    }
}

impl Topology {
    /// Reads and checks a topology. Files named by `from` are asked of `read`.
    ///
    /// # Errors
    /// [`Error::Topology`] with the line, [`Error::File`] for a `from` that cannot be read.
    pub fn parse_with(text: &str, read: impl Fn(&Path) -> std::io::Result<String>) -> Result<Self> {
        let line_at = |offset: usize| {
            Some(1 + text.bytes().take(offset).filter(|octet| *octet == b'\n').count())
        };
        let mut topology: Self = toml::from_str(text).map_err(|error| TopologyError {
            file: None,
            line: error.span().and_then(|span| line_at(span.start)),
            message: error.message().to_owned(),
        })?;
        topology.validate().map_err(|fault| TopologyError {
            file: None,
            line: locate(text, &fault.path).and_then(line_at),
            message: fault.message,
        })?;
        for file in topology.hosts.iter_mut().flat_map(|host| &mut host.files) {
            if let Some(from) = file.from.take() {
                let content = read(&from)
                    .map_err(|source| Error::File { path: from.display().to_string(), source })?;
                file.text = Some(content);
            }
        }
        Ok(topology)
    }

    /// Reads and checks a topology whose files are relative to the working directory.
    ///
    /// # Errors
    /// As [`Topology::parse_with`].
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, |path| std::fs::read_to_string(path))
    }

    /// Reads and checks the file `path`; the files it names are relative to it.
    ///
    /// # Errors
    /// As [`Topology::parse_with`], with the name of the file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::File { path: path.display().to_string(), source })?;
        let beside = path.parent().unwrap_or(Path::new("."));
        Self::parse_with(&text, |name| std::fs::read_to_string(beside.join(name))).map_err(
            |error| match error {
                Error::Topology(error) => {
                    TopologyError { file: Some(path.display().to_string()), ..error }.into()
                }
                other => other,
            },
        )
    }

    /// Checks what the types do not say: names and references.
    ///
    /// # Errors
    /// The first thing that is wrong, without a line.
    pub fn check(&self) -> std::result::Result<(), TopologyError> {
        self.validate().map_err(|fault| TopologyError {
            file: None,
            line: None,
            message: fault.message,
        })
    }

    fn validate(&self) -> std::result::Result<(), Fault> {
        let mut switches = BTreeSet::new();
        for (n, name) in self.switches.iter().enumerate() {
            let at = || vec![Step::Key("switches"), Step::Index(n)];
            check_name("switch", name, 15).map_err(|message| Fault { path: at(), message })?;
            if !switches.insert(name.as_str()) {
                return Err(Fault {
                    path: at(),
                    message: format!("switch `{name}` is declared twice; drop one"),
                });
            }
        }
        let mut hosts = BTreeSet::new();
        for (n, host) in self.hosts.iter().enumerate() {
            let host_at = [Step::Key("host"), Step::Index(n)];
            let fault = |rest: &[Step], message: String| Fault {
                path: host_at.iter().chain(rest).copied().collect(),
                message,
            };
            let name = [Step::Key("name")];
            check_name("host", &host.name, 63).map_err(|message| fault(&name, message))?;
            if !hosts.insert(host.name.as_str()) {
                return Err(fault(
                    &name,
                    format!("two hosts are called `{}`; rename one", host.name),
                ));
            }
            host.validate(&switches).map_err(|inner| {
                fault(&inner.path, format!("host `{}`: {}", host.name, inner.message))
            })?;
        }
        let Some(play) = &self.play else { return Ok(()) };
        let known = |path: Vec<Step>, name: &str| {
            if hosts.contains(name) {
                return Ok(());
            }
            Err(Fault { path, message: format!("no host `{name}`; there are {}", list(&hosts)) })
        };
        known(vec![Step::Key("play"), Step::Key("client")], &play.client)?;
        if play.interval_ms == 0 {
            return Err(Fault {
                path: vec![Step::Key("play"), Step::Key("interval-ms")],
                message: "an interval of 0 ms is no interval; use 1 or more".to_owned(),
            });
        }
        for (n, fault) in play.faults.iter().enumerate() {
            if fault.target != MASTER {
                known(
                    vec![
                        Step::Key("play"),
                        Step::Key("fault"),
                        Step::Index(n),
                        Step::Key("target"),
                    ],
                    &fault.target,
                )?;
            }
        }
        Ok(())
    }
}

impl HostSpec {
    fn validate(&self, switches: &BTreeSet<&str>) -> std::result::Result<(), Fault> {
        let mut interfaces = BTreeSet::new();
        for (n, interface) in self.interfaces.iter().enumerate() {
            let at = |key| vec![Step::Key("interface"), Step::Index(n), Step::Key(key)];
            check_name("interface", &interface.name, 15)
                .map_err(|message| Fault { path: at("name"), message })?;
            if interface.name == "lo" || !interfaces.insert(interface.name.as_str()) {
                let message = format!(
                    "there is an interface `{}` already; choose another name",
                    interface.name
                );
                return Err(Fault { path: at("name"), message });
            }
            if !switches.contains(interface.switch.as_str()) {
                let message = format!(
                    "no switch `{}`; declare it in `switches`, which has {}",
                    interface.switch,
                    list(switches)
                );
                return Err(Fault { path: at("switch"), message });
            }
        }
        for (n, file) in self.files.iter().enumerate() {
            let fault = |key, message: &str| Fault {
                path: vec![Step::Key("file"), Step::Index(n), Step::Key(key)],
                message: format!("file `{}`: {message}", file.path.display()),
            };
            if !file.path.is_absolute() {
                return Err(fault("path", "give an absolute path"));
            }
            if file.text.is_some() == file.from.is_some() {
                return Err(fault(
                    "path",
                    "give its content in `text`, or the file that has it in `from`",
                ));
            }
        }
        for (n, program) in self.programs.iter().enumerate() {
            if program.run.is_empty() != program.serve.is_some() {
                return Err(Fault {
                    path: vec![Step::Key("program"), Step::Index(n)],
                    message: "a program needs a command in `run`, or an address in `serve` for the built-in server".to_owned(),
                });
            }
        }
        for (n, dir) in self.private.iter().enumerate() {
            if !dir.is_absolute() {
                return Err(Fault {
                    path: vec![Step::Key("private"), Step::Index(n)],
                    message: format!(
                        "private directory `{}`: give an absolute path",
                        dir.display()
                    ),
                });
            }
        }
        Ok(())
    }
}

fn check_name(what: &str, name: &str, most: usize) -> std::result::Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if name.is_empty()
        || name.len() > most
        || !name.chars().all(good)
        || name.starts_with(['-', '.'])
    {
        return Err(format!(
            "`{name}` cannot name a {what}; use 1 to {most} letters, digits and `-`"
        ));
    }
    if what == "host" && name == MASTER {
        return Err(format!(
            "`{MASTER}` stands for the holder of the VIP; give the host another name"
        ));
    }
    Ok(())
}

/// A complaint and the place in the tree it is about.
struct Fault {
    path: Vec<Step>,
    message: String,
}

#[derive(Clone, Copy)]
enum Step {
    Key(&'static str),
    Index(usize),
}

/// The offset of the value at `path`, or of the nearest thing around it that exists.
fn locate(text: &str, path: &[Step]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut offset = root.span().start;
    let (mut table, mut value) = (Some(root.get_ref()), None::<&DeValue<'_>>);
    for step in path {
        let next = match *step {
            Step::Key(key) => table.or_else(|| value?.as_table()).and_then(|table| table.get(key)),
            Step::Index(index) => {
                value.and_then(DeValue::as_array).and_then(|array| array.get(index))
            }
        };
        let Some(next) = next else { break };
        offset = next.span().start;
        (table, value) = (None, Some(next.get_ref()));
    }
    Some(offset)
}

/// Making topologies in code.
impl Topology {
    /// One with these switches and no hosts yet.
    pub fn new(switches: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { switches: switches.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// With one host more.
    #[must_use]
    pub fn host(mut self, host: HostSpec) -> Self {
        self.hosts.push(host);
        self
    }
}

/// Making hosts in code.
impl HostSpec {
    /// A host without cables.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With a cable from `interface` to `switch` and these addresses.
    ///
    /// # Panics
    /// When an address has no valid prefix length; this is for literals.
    #[must_use]
    pub fn interface<'a>(
        mut self,
        interface: &str,
        switch: &str,
        addresses: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let prefix = |text: &str| text.parse().unwrap_or_else(|wrong: String| panic!("{wrong}"));
        self.interfaces.push(InterfaceSpec {
            name: interface.to_owned(),
            switch: switch.to_owned(),
            addresses: addresses.into_iter().map(prefix).collect(),
        });
        self
    }

    /// With a default route.
    #[must_use]
    pub fn gateway(mut self, via: impl Into<IpAddr>) -> Self {
        self.routes.push(RouteSpec { to: None, via: via.into() });
        self
    }

    /// With a setting such as `net.ipv4.ip_forward`.
    #[must_use]
    pub fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.sysctl.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a directory of its own, empty at start.
    #[must_use]
    pub fn private(mut self, dir: impl Into<PathBuf>) -> Self {
        self.private.push(dir.into());
        self
    }

    /// With a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push(FileSpec { path: path.into(), text: Some(text.into()), from: None });
        self
    }

    /// With a program.
    #[must_use]
    pub fn run(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.programs.push(ProgramSpec {
            run: command.into_iter().map(Into::into).collect(),
            ..ProgramSpec::default()
        });
        self
    }

    /// With the built-in server: HTTP and UDP at `address`, answering the host's name.
    #[must_use]
    pub fn serve(mut self, address: SocketAddr) -> Self {
        self.programs.push(ProgramSpec { serve: Some(address), ..ProgramSpec::default() });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Topology::parse(text).unwrap_err().to_string()
    }

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

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        for (text, expected) in [
            (
                "interface = [\n  { name = \"eth0\", switch = \"bakc\" },\n]",
                "line 5: host `a`: no switch `bakc`; declare it in `switches`, which has `back` and `lan`",
            ),
            (
                "interface = [{ name = \"eth0\", switch = \"lan\" },\n{ name = \"eth0\", switch = \"lan\" }]",
                "line 5: host `a`: there is an interface `eth0` already; choose another name",
            ),
            ("[[host]]\nname = \"a\"", "line 5: two hosts are called `a`; rename one"),
            (
                "[[host]]\nname = \"a b\"",
                "line 5: `a b` cannot name a host; use 1 to 63 letters, digits and `-`",
            ),
            (
                "[[host.program]]\nenv = { A = \"b\" }",
                "line 4: host `a`: a program needs a command in `run`, or an address in `serve` for the built-in server",
            ),
            (
                "file = [{ path = \"etc/x\", text = \"\" }]",
                "line 4: host `a`: file `etc/x`: give an absolute path",
            ),
            (
                "file = [{ path = \"/etc/x\" }]",
                "line 4: host `a`: file `/etc/x`: give its content in `text`, or the file that has it in `from`",
            ),
            ("[play]\nclient = \"c\"\nvip = \"10.0.0.1:80\"", "line 5: no host `c`; there are `a`"),
            (
                "[play]\nclient = \"a\"\nvip = \"10.0.0.1:80\"\n[[play.fault]]\nkind = \"kill\"\ntarget = \"b\"",
                "line 9: no host `b`; there are `a`",
            ),
            (
                "interface = [{ name = \"eth0\", switch = \"lan\", addresses = [\"10.0.0.1\"] }]",
                "line 4: `10.0.0.1` is not an address with its prefix length, such as 10.0.0.1/24",
            ),
        ] {
            assert_eq!(refusal(&format!("{HEAD}{text}")), expected);
        }
        let unknown = refusal(&format!("{HEAD}adress = 1"));
        assert!(unknown.starts_with("line 4: unknown field `adress`"), "{unknown}");
        assert!(refusal("switches = [").starts_with("line 1: "));
        assert!(
            refusal("switches = [\"lan\",\n\"lan\"]")
                .starts_with("line 2: switch `lan` is declared twice")
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let text = format!("{HEAD}file = [{{ path = \"/etc/x\", from = \"missing.conf\" }}]");
        let error =
            Topology::parse_with(&text, |_| Err(std::io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot read missing.conf");
        let read = Topology::parse_with(&text, |path| Ok(path.display().to_string())).unwrap();
        assert_eq!(read.hosts[0].files[0].text.as_deref(), Some("missing.conf"));
        let error = Topology::load(Path::new("/nowhere/lab.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/lab.toml");
    }
}
