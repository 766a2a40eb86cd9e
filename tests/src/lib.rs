//! What the end-to-end tests share: the programs under test, labs to run them in, and their status.
//!
//! A test needs root, or user namespaces for everybody; where neither is to be had it says so and passes:
//!
//! ```no_run
//! # use lb_lab::Topology;
//! # fn test() -> lb_tests::Test {
//! let Some(lab) = lb_tests::start(Topology::new(["lan"]))? else { return Ok(()) };
//! # Ok(())
//! # }
//! ```

pub mod forged;
pub mod play;
pub mod pulse;
pub mod timing;
pub mod vrrp;
pub mod watch;
pub mod wire;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lb_control::{
    DEFAULT_SOCKET, PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody, Status,
};
use lb_lab::{Frame, Host, HostSpec, Lab, Options, Process, Topology, wait_for, wait_until};

// Test binaries of ordinary users become root of a user namespace; with every test that links this crate.
lb_lab::become_root_at_start!();

/// What a test returns.
pub type Test = anyhow::Result<()>;

/// How long things may take that take milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(10);
/// IP protocol number of VRRP and CARP.
pub const VRRP: u8 = 112;
/// The configuration that [`lbd`] writes.
pub const CONFIG: &str = "/etc/keepalived/keepalived.conf";

/// The directory with the programs of this workspace, as the tests themselves were built.
///
/// # Errors
/// They have not been built.
pub fn programs() -> anyhow::Result<PathBuf> {
    let test = env::current_exe().context("cannot find the test program")?;
    // target/debug/deps/test-0123456789abcdef
    let directory = test.ancestors().nth(2).unwrap_or(Path::new("/"));
    for name in ["lbd", "lbctl"] {
        if !directory.join(name).is_file() {
            bail!("no {name} in {}: run `cargo build --workspace` first", directory.display());
        }
    }
    Ok(directory.to_owned())
}

/// Starts a lab whose hosts find `lbd` and `lbctl`; `None`, and a message, where the machine allows no labs.
///
/// # Errors
/// As [`Lab::start`], and [`programs`].
pub fn start(topology: Topology) -> anyhow::Result<Option<Lab>> {
    let options = Options { path: vec![programs()?], server: None };
    match Lab::start_with(topology, options) {
        Err(lb_lab::Error::Unprivileged(why)) => {
            lb_skip::skip(&why);
            Ok(None)
        }
        other => Ok(other.map(Some)?),
    }
}

/// Whether a program of the distribution is installed; says which package has it where it is not.
pub fn installed(program: &str, package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = env::split_paths(&path).chain(sbin).any(|dir| dir.join(program).is_file());
    if !found {
        lb_skip::skip(format_args!("no `{program}`; it is in package {package}"));
    }
    found
}

/// Writes a configuration into a host and starts `lbd -n -l -D` there, with `more` arguments.
///
/// For ordinary users, who may not write the machine's own directory, the host needs [`CONFIG`]'s private.
///
/// Returns when it has started up.
///
/// # Errors
/// It does not; the error shows what it said.
pub fn lbd(host: &Host, config: &str, more: &[&str]) -> anyhow::Result<Process> {
    host.write_file(CONFIG, config)?;
    let lbd = host.spawn([&["lbd", "-n", "-l", "-D", "-G"], more].concat())?;
    lbd.wait_for_line("Startup complete", SOON)?;
    Ok(lbd)
}

/// Hosts on the switch `lan`, each with the last octet of its address in 10.0.0.0/24, and an `/etc/keepalived` of its
/// own.
#[must_use]
pub fn on_one_switch(hosts: &[(&str, u8)]) -> Topology {
    hosts.iter().fold(Topology::new(["lan"]), |topology, (name, octet)| {
        let address = format!("10.0.0.{octet}/24");
        let host = HostSpec::new(*name).interface("eth0", "lan", [address.as_str()]);
        topology.host(host.private("/etc/keepalived"))
    })
}

/// The status of the `lbd` in a host, from its control socket.
///
/// # Errors
/// Nobody answers there.
pub fn status(host: &Host) -> anyhow::Result<Status> {
    host.run(|| {
        let mut stream = UnixStream::connect(DEFAULT_SOCKET)?;
        stream.set_read_timeout(Some(SOON))?;
        let request = Request { v: PROTOCOL_VERSION, body: RequestBody::Status };
        writeln!(stream, "{}", serde_json::to_string(&request)?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        match serde_json::from_str::<Response>(&line)?.body {
            ResponseBody::Status { status } => Ok(*status),
            other => bail!("asked for the status, the daemon says {other:?}"),
        }
    })?
}

/// Waits until the status is as wanted, and returns it.
///
/// # Errors
/// It is not within [`SOON`]; the error shows how it is.
pub fn wait_status(
    host: &Host,
    what: &str,
    mut wanted: impl FnMut(&Status) -> bool,
) -> anyhow::Result<Status> {
    let found = wait_for(what, SOON, || status(host).ok().filter(|status| wanted(status)));
    found.with_context(|| match status(host) {
        Ok(status) => format!("the status is {status:#?}"),
        Err(error) => format!("there is no status: {error:#}"),
    })
}

/// Waits until `host` and nobody else holds `address`, and returns how long that took.
///
/// # Errors
/// It is not so within `timeout`; the error says who holds it.
pub fn wait_for_holder(
    lab: &Lab,
    host: &str,
    address: impl Into<IpAddr>,
    timeout: Duration,
) -> anyhow::Result<Duration> {
    let address = address.into();
    let what = format!("{host} alone with {address}");
    wait_until(&what, timeout, || lab.holders(address) == [host])
        .with_context(|| format!("held by {:?}", lab.holders(address)))
}

/// Whether a frame is an advertisement of `source`.
pub fn is_advert(frame: &Frame, source: impl Into<IpAddr>) -> bool {
    frame.is_ip(VRRP) && frame.source() == Some(source.into())
}

/// The times between consecutive frames.
pub fn intervals(frames: &[Frame]) -> Vec<Duration> {
    frames
        .windows(2)
        .map(|pair| pair[1].at.duration_since(pair[0].at).unwrap_or_default())
        .collect()
}

/// Runs a program in a host to its end: its exit status, and what it wrote to both outputs.
///
/// # Errors
/// It cannot be started.
pub fn run(host: &Host, command: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = host.exec(command)?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

/// Writes the script `/run/note` into a host, which keeps its arguments for [`notes`].
///
/// # Errors
/// As [`Host::write_script`].
pub fn write_note(host: &Host) -> anyhow::Result<()> {
    host.write_file("/run/notes", "")?;
    Ok(host.write_script("/run/note", "#!/bin/sh\necho \"$$ $*\" >>/run/notes\n")?)
}

/// What `/run/note` was called with, in the order in which its runs were started: they may overtake each other.
///
/// # Errors
/// There is no [`write_note`] before.
pub fn notes(host: &Host) -> anyhow::Result<Vec<String>> {
    let text = host.read_file("/run/notes")?;
    // The numbers of processes grow; those of a host begin at 1.
    let mut notes: Vec<(u32, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(pid, words)| Ok((pid.parse()?, words)))
        .collect::<anyhow::Result<_>>()?;
    notes.sort_unstable();
    Ok(notes.into_iter().map(|(_, words)| words.to_owned()).collect())
}

/// Waits until `/run/note` was called with exactly this, in this order.
///
/// # Errors
/// It was not within [`SOON`]; the error shows what it was called with.
pub fn wait_notes(host: &Host, expected: &[&str]) -> anyhow::Result<()> {
    let found = wait_for("the scripts run", SOON, || notes(host).ok().filter(|n| n == expected));
    found.map(drop).with_context(|| format!("they ran with {:?}", notes(host)))
}

/// An HTTP connection that lasts: requests on it go to the server that it was given at first.
pub struct KeptAlive(BufReader<TcpStream>);

impl KeptAlive {
    /// Connects from a host.
    ///
    /// # Errors
    /// Nobody accepts.
    pub fn open(client: &Host, to: SocketAddr) -> anyhow::Result<Self> {
        let stream = client.run(|| TcpStream::connect_timeout(&to, SOON))??;
        stream.set_read_timeout(Some(SOON))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The name of the built-in server that answers.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn ask(&mut self) -> anyhow::Result<String> {
        self.0.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the connection has ended");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(String::from_utf8(body)?.trim_end().to_owned())
    }
}
