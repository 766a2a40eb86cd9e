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

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use lb_control::{
    DEFAULT_SOCKET, PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody, Status,
};
use lb_lab::{Host, Lab, Options, Process, Topology, wait_for};

/// What a test returns.
pub type Test = anyhow::Result<()>;

/// How long things may take that take milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(10);
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
            eprintln!("skipped: {why}");
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
        eprintln!("skipped: no `{program}`; it is in package {package}");
    }
    found
}

/// Writes a configuration into a host and starts `lbd -n -l -D` there, with `more` arguments.
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

/// Runs a program in a host to its end: its exit status, and what it wrote to both outputs.
///
/// # Errors
/// It cannot be started.
pub fn run(host: &Host, command: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = host.exec(command)?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}
