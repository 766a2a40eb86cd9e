//! What the tests are played on: a client outside, a director, real servers, and `lbd` between them.

use std::env;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lb_control::{
    DEFAULT_SOCKET, PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody, Status,
};
use lb_ipvs::Client;
use lb_lab::{Host, HostSpec, Lab, Options, Process, SERVER_HEADER, Topology};
use nix::sys::signal::Signal;

/// Longer than anything here takes, in an emulated machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(30);

/// Where `lbd` finds its configuration on a director.
const CONFIG: &str = "/run/lbd.conf";

/// Starts a lab; `None`, with the reason on stderr, where the machine does not allow it or has no IPVS.
pub fn start(topology: Topology) -> Result<Option<Lab>> {
    let program = env::current_exe()?;
    let beside = program.ancestors().nth(2).map(Path::to_owned);
    let why = match Client::open() {
        Err(error) => error.to_string(),
        Ok(_) => {
            let options = Options { path: beside.into_iter().collect(), ..Options::default() };
            match Lab::start_with(topology, options) {
                Err(lb_lab::Error::Unprivileged(why)) => why,
                lab => return Ok(Some(lab?)),
            }
        }
    };
    ensure!(env::var_os("LB_IPVS_REQUIRED").is_none(), "{why}");
    lb_skip::skip(&why);
    Ok(None)
}

/// A client `c` outside, a director `d` that routes, and servers `w1`, `w2`, ... inside whose gateway it is: what
/// NAT needs. VIPs are 192.0.2.100 and 2001:db8::100.
pub fn behind_a_gateway(servers: u8) -> Topology {
    let site = Topology::new(["out", "in"]).host(client()).host(
        HostSpec::new("d")
            .interface(
                "eth0",
                "out",
                ["192.0.2.1/24", "192.0.2.100/24", "2001:db8::1/64", "2001:db8::100/64"],
            )
            .interface("eth1", "in", ["10.0.0.1/24", "fd00::1/64"])
            .sysctl("net.ipv4.ip_forward", "1")
            .sysctl("net.ipv6.conf.all.forwarding", "1"),
    );
    (1..=servers).fold(site, |site, n| {
        let (v4, v6) = (format!("10.0.0.{}/24", 10 + n), format!("fd00::1{n}/64"));
        site.host(
            HostSpec::new(format!("w{n}"))
                .interface("eth0", "in", [v4.as_str(), v6.as_str()])
                .gateway([10, 0, 0, 1])
                .gateway([0xfd00, 0, 0, 0, 0, 0, 0, 1]),
        )
    })
}

/// The client of every site.
pub fn client() -> HostSpec {
    HostSpec::new("c").interface("eth0", "out", ["192.0.2.10/24", "2001:db8::10/64"])
}

/// A `virtual_server` block with checks that notice a death within seconds.
pub fn virtual_server(name: &str, settings: &str, servers: &[&str]) -> String {
    let mut text = format!("virtual_server {name} {{\n  delay_loop 1\n  {settings}\n");
    for server in servers {
        let _ = writeln!(
            text,
            "  real_server {server} {{\n    TCP_CHECK {{ connect_timeout 2 }}\n  }}"
        );
    }
    text + "}\n"
}

/// A running `lbd`.
pub struct Director<'a> {
    pub host: &'a Host,
    pub lbd: Process,
}

impl<'a> Director<'a> {
    /// Starts it with `config` and waits until all is in place.
    pub fn start(host: &'a Host, config: &str) -> Result<Self> {
        Self::start_with(host, config, &[])
    }

    /// The same with more options.
    pub fn start_with(host: &'a Host, config: &str, options: &[&str]) -> Result<Self> {
        host.write_file(CONFIG, config)?;
        let usual = ["lbd", "-n", "-l", "-G", "-D", "-f", CONFIG, "-p", "/run/lbd.pid"];
        let lbd = host.spawn([&usual, options].concat())?;
        lbd.wait_for_line("Startup complete", SOON)?;
        Ok(Self { host, lbd })
    }

    /// Puts another configuration in force with SIGHUP.
    pub fn reload(&self, config: &str) -> Result<()> {
        self.host.write_file(CONFIG, config)?;
        let said = self.lbd.lines().len();
        self.lbd.signal(Signal::SIGHUP)?;
        self.lbd.wait_for_line_after(said, "Reload complete", SOON)?;
        Ok(())
    }

    /// Waits until it says `needle`, after the first `said` lines.
    pub fn says(&self, said: usize, needle: &str) -> Result<()> {
        self.lbd.wait_for_line_after(said, needle, SOON)?;
        Ok(())
    }

    /// How much it has said.
    pub fn said(&self) -> usize {
        self.lbd.lines().len()
    }

    /// Stops it in order.
    pub fn stop(&self) -> Result<()> {
        self.lbd.signal(Signal::SIGTERM)?;
        let status = self.lbd.wait(SOON)?;
        ensure!(status.success(), "{status}:\n{}", self.lbd.tail(20));
        Ok(())
    }

    /// The kernel's table as `ipvsadm` would restore it, sorted.
    pub fn table(&self) -> Result<Vec<String>> {
        table(self.host)
    }

    /// What it says of itself.
    pub fn status(&self) -> Result<Status> {
        self.host.run(|| {
            let mut stream = UnixStream::connect(DEFAULT_SOCKET).context("connect to lbd")?;
            let request = Request { v: PROTOCOL_VERSION, body: RequestBody::Status };
            writeln!(stream, "{}", serde_json::to_string(&request)?)?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            match serde_json::from_str::<Response>(&line)?.body {
                ResponseBody::Status { status } => Ok(*status),
                other => bail!("lbd answers {other:?}"),
            }
        })?
    }
}

/// The kernel's table of a host as `ipvsadm` would restore it, sorted.
pub fn table(host: &Host) -> Result<Vec<String>> {
    let text = run(host, "ipvsadm --save --numeric")?;
    let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    Ok(lines)
}

/// Runs a program, which must succeed, and returns what it writes.
pub fn run(host: &Host, command: &str) -> Result<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    let output = host.exec(words)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command}: {}: {complaint}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Asks `count` times over a connection each and returns who answered, sorted.
pub fn ask(client: &Host, vip: &str, count: usize) -> Result<Vec<String>> {
    let vip = vip.parse()?;
    let mut by =
        (0..count).map(|_| Ok(client.http_get(vip, "/", SOON)?.by)).collect::<Result<Vec<_>>>()?;
    by.sort();
    Ok(by)
}

/// Sends `count` datagrams from a socket each and returns who answered, sorted.
pub fn ask_udp(client: &Host, from: &str, vip: &str, count: usize) -> Result<Vec<String>> {
    let (from, vip): (SocketAddr, SocketAddr) = (from.parse()?, vip.parse()?);
    let mut by = (0..count)
        .map(|_| {
            let socket = client.run(|| UdpSocket::bind(from))??;
            socket.set_read_timeout(Some(SOON))?;
            socket.connect(vip)?;
            socket.send(b"who?")?;
            let mut answer = [0; 64];
            let length = socket.recv(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).trim().to_owned())
        })
        .collect::<Result<Vec<_>>>()?;
    by.sort();
    Ok(by)
}

/// A connection that stays.
pub struct Session(TcpStream);

impl Session {
    /// Connects.
    pub fn open(client: &Host, vip: &str) -> Result<Self> {
        let vip: SocketAddr = vip.parse()?;
        let stream = client.run(|| TcpStream::connect_timeout(&vip, SOON))??;
        stream.set_read_timeout(Some(SOON))?;
        Ok(Self(stream))
    }

    /// Asks once more who is at the other end.
    pub fn ask(&mut self) -> Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: vip\r\n\r\n")?;
        let (mut answer, mut some) = (String::new(), [0; 1024]);
        // The body is the server's name and a line end, after the head's empty line.
        while !answer.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('\n')) {
            let length = self.0.read(&mut some).context("the connection broke")?;
            ensure!(length > 0, "the connection was closed after `{answer}`");
            answer.push_str(&String::from_utf8_lossy(&some[..length]));
        }
        let by =
            answer.lines().find_map(|line| line.strip_prefix(SERVER_HEADER)?.strip_prefix(": "));
        Ok(by.with_context(|| format!("nobody's answer: {answer}"))?.to_owned())
    }
}
