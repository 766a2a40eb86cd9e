//! What the end-to-end tests share: a lab with the programs of this build in it, and questions to `lbd`.
//!
//! ```no_run
//! use lb_tests::{SOON, lab, status, wait_for_state};
//! use lb_control::VrrpState;
//! use lb_lab::{HostSpec, Topology};
//!
//! # fn main() -> anyhow::Result<()> {
//! let director = |name: &str, address| HostSpec::new(name).interface("eth0", "lan", [address]).private("/etc/keepalived");
//! let topology = Topology::new(["lan"]).host(director("d1", "10.0.0.1/24")).host(director("d2", "10.0.0.2/24"));
//! let Some(lab) = lab(topology)? else { return Ok(()) };
//! let d1 = lab.host("d1")?;
//! d1.write_file("/etc/keepalived/keepalived.conf", "vrrp_instance VI_1 { ... }")?;
//! let lbd = d1.spawn(["lbd", "-n", "-l", "-D"])?;
//! wait_for_state(d1, "VI_1", VrrpState::Master, SOON)?;
//! assert_eq!(status(d1)?.vrrp.len(), 1);
//! # Ok(())
//! # }
//! ```

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lb_control::{
    DEFAULT_SOCKET, PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody, Status,
    VrrpState,
};
use lb_lab::{Frame, Host, Lab, Options, Topology, wait_for};

// Test binaries of ordinary users become root of a user namespace; with every test that links this crate.
lb_lab::become_root_at_start!();

/// For what happens at once on an idle machine.
pub const SOON: Duration = Duration::from_secs(10);

/// IP protocol number of VRRP and CARP.
pub const VRRP: u8 = 112;

/// The directory with `lbd` and `lbctl` of this build.
pub fn bin_dir() -> Result<PathBuf> {
    // A test binary is target/PROFILE/deps/NAME-HASH.
    let me = std::env::current_exe().context("cannot find the test binary")?;
    Ok(me.ancestors().nth(2).context("the test binary is not below target")?.to_owned())
}

/// Starts a lab whose hosts find the programs of this build.
///
/// `None`, with a message, where the machine does not allow labs; the test then has nothing to show.
pub fn lab(topology: Topology) -> Result<Option<Lab>> {
    match Lab::start_with(topology, Options { path: vec![bin_dir()?], server: None }) {
        Err(lb_lab::Error::Unprivileged(why)) => {
            eprintln!("skipped: {why}");
            Ok(None)
        }
        other => Ok(Some(other?)),
    }
}

/// Whether a program of the distribution is installed; says so when it is not.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = dirs.map(|dir| dir.join(program)).any(|file| file.is_file());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Sends one request to the `lbd` of a host, at its default socket.
pub fn ask(host: &Host, body: RequestBody) -> Result<ResponseBody> {
    host.run(|| {
        let mut stream = UnixStream::connect(DEFAULT_SOCKET).context("cannot connect to lbd")?;
        stream.set_read_timeout(Some(SOON))?;
        let request = serde_json::to_string(&Request { v: PROTOCOL_VERSION, body })?;
        writeln!(stream, "{request}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let response: Response =
            serde_json::from_str(&line).with_context(|| format!("answer `{line}`"))?;
        ensure!(response.v == PROTOCOL_VERSION, "answer of version {}", response.v);
        Ok(response.body)
    })?
}

/// The status of the `lbd` of a host.
pub fn status(host: &Host) -> Result<Status> {
    match ask(host, RequestBody::Status)? {
        ResponseBody::Status { status } => Ok(*status),
        other => bail!("no status but {other:?}"),
    }
}

/// Waits until an instance of the `lbd` of a host is in a state.
pub fn wait_for_state(
    host: &Host,
    instance: &str,
    state: VrrpState,
    timeout: Duration,
) -> Result<()> {
    let what = format!("{state} of {instance} on {}", host.name());
    wait_for(&what, timeout, || {
        let status = status(host).ok()?;
        status.vrrp.iter().any(|vrrp| vrrp.name == instance && vrrp.state == state).then_some(())
    })?;
    Ok(())
}

/// Waits until `host` and nobody else holds `address`, and returns how long that took.
pub fn wait_for_holder(
    lab: &Lab,
    host: &str,
    address: impl Into<IpAddr>,
    timeout: Duration,
) -> Result<Duration> {
    let (address, start) = (address.into(), Instant::now());
    let mut last = Vec::new();
    let what = format!("{host} alone with {address}");
    let held = wait_for(&what, timeout, || {
        last = lab.holders(address);
        (last == [host]).then(|| start.elapsed())
    });
    held.with_context(|| format!("held by {last:?}"))
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
