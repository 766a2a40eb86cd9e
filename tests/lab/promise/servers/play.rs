//! The life of a director, with the parts of all rows in one configuration.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use lb_lab::{Host, HostSpec, Lab, Options, Process, Topology};
use lb_tests::{CONFIG, notes, run, write_note};
use nix::sys::signal::Signal;

use super::web::{Asked, Web};
use crate::process::{Thread, locked, threads};
use crate::scene::Daemon;

/// Longer than anything here takes, in an emulated machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// The clock of all scenes: a server that is checked once a second. What should happen has happened after so many of
/// its checks, on a slow machine too.
const CLOCK: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// What a director is told, and what it meets.
pub struct Scene {
    pub config: String,
    /// Then it gets this one.
    pub reload: Option<String>,
    /// A service that is there before it starts.
    pub found: bool,
}

/// What is seen of it.
#[derive(Default)]
pub struct Record {
    /// After the first checks, and before the stop: `ipvsadm --save`.
    pub early: String,
    pub table: String,
    /// After the stop.
    pub left: String,
    /// Before the stop, destinations in the kernel's order, with thresholds.
    pub order: String,
    pub thresholds: String,
    /// Before the stop, and after it.
    pub timeouts: [String; 2],
    pub sync: String,
    pub threads: Vec<Thread>,
    pub locked: bool,
    pub asked: Vec<Asked>,
    pub notes: Vec<String>,
    pub log: String,
}

/// The director `d` and the host `w` of all real servers. A packet with mark 7 comes from 10.0.0.7.
fn topology() -> Topology {
    Topology::new(["out", "in"])
        .host(
            HostSpec::new("d")
                .interface("eth0", "out", ["192.0.2.1/24"])
                .interface("eth1", "in", ["10.0.0.1/24", "10.0.0.5/24", "10.0.0.7/24"])
                .interface("eth2", "in", ["10.0.0.2/24"])
                .private("/etc/keepalived"),
        )
        .host(HostSpec::new("w").interface("eth0", "in", ["10.0.0.11/24"]))
}

const ROUTES: [&str; 5] = [
    "route add 10.1.0.0/16 via 10.0.0.11 dev eth1 src 10.0.0.1",
    "route add 10.9.0.0/16 via 10.0.0.11 dev eth1 src 10.0.0.1",
    "route add 10.1.0.0/16 via 10.0.0.11 dev eth2 src 10.0.0.2 metric 9",
    "route add 10.1.0.0/16 via 10.0.0.11 dev eth1 src 10.0.0.7 table 7",
    "rule add fwmark 7 lookup 7",
];

impl Scene {
    /// Plays it; `None`, and a message, where the machine allows no labs.
    pub fn play(&self, daemon: Daemon) -> anyhow::Result<Option<Record>> {
        // Beside this program, as it was built, or in the machine of tests/vm in the usual place.
        let beside = std::env::current_exe()?.ancestors().nth(2).map(Path::to_owned);
        let options = Options { path: beside.into_iter().collect(), ..Options::default() };
        let lab = match Lab::start_with(topology(), options) {
            Err(lb_lab::Error::Unprivileged(why)) => {
                lb_skip::skip(&why);
                return Ok(None);
            }
            lab => lab?,
        };
        let d = lab.host("d")?;
        for words in ROUTES {
            command(d, &format!("ip {words}"))?;
        }
        if self.found {
            command(d, "ipvsadm -A -t 192.0.2.200:22 -s rr")?;
        }
        let web = Web::start(lab.host("w")?)?;
        prepare(d)?;

        let mut record = Record::default();
        d.write_file(CONFIG, &self.config)?;
        let name = if daemon == Daemon::Lbd { "lbd" } else { "keepalived" };
        let process = d.spawn([name, "-n", "-l", "-G", "-D"])?;
        ticks(&web, &process, 5)?;
        record.early = command(d, "ipvsadm --save --numeric")?;
        web.die();
        run(d, &["rm", "/run/alive"])?;
        if let Some(config) = &self.reload {
            d.write_file(CONFIG, config)?;
            process.signal(Signal::SIGHUP)?;
        }
        ticks(&web, &process, 10)?;
        record.table = command(d, "ipvsadm --save --numeric")?;
        record.order = command(d, "ipvsadm --list --numeric --nosort")?;
        record.thresholds = command(d, "ipvsadm --list --numeric --thresholds")?;
        record.timeouts[0] = command(d, "ipvsadm --list --timeout")?;
        record.sync = command(d, "ipvsadm --list --daemon")?;
        record.threads = threads(process.pid().as_raw());
        record.locked = locked(process.pid().as_raw());
        process.signal(Signal::SIGTERM)?;
        process.wait(PATIENCE)?;
        record.left = command(d, "ipvsadm --save --numeric")?;
        record.timeouts[1] = command(d, "ipvsadm --list --timeout")?;
        record.asked = web.asked();
        record.notes = notes(d)?;
        record.log = process.output();
        Ok(Some(record))
    }
}

/// Scripts: `/run/note WORD...`, `/run/who WORD...` and `/run/alive-check`.
fn prepare(d: &Host) -> anyhow::Result<()> {
    write_note(d)?;
    command(d, "chmod 666 /run/notes")?;
    d.write_script("/run/who", "#!/bin/sh\necho \"$$ $* `id -u`\" >>/run/notes\n")?;
    d.write_script("/run/health", "#!/bin/sh\n[ -e /run/alive ]\n")?;
    d.write_script("/run/exit", "#!/bin/sh\nexit $1\n")?;
    d.write_file("/run/alive", "")?;
    d.write_file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    d.write_file("/etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    Ok(())
}

/// Waits for so many more checks of the server that is the clock.
fn ticks(web: &Web, process: &Process, count: usize) -> anyhow::Result<()> {
    let end = web.count(CLOCK) + count;
    let began = Instant::now();
    while web.count(CLOCK) < end {
        ensure!(process.is_running(), "it has ended:\n{}", process.tail(40));
        ensure!(began.elapsed() < PATIENCE, "the clock stands still:\n{}", process.tail(40));
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Runs a program, which must succeed, and returns what it writes.
fn command(host: &Host, command: &str) -> anyhow::Result<String> {
    let (status, output) = run(host, &command.split(' ').collect::<Vec<_>>())?;
    ensure!(status == Some(0), "{command}: {output}");
    Ok(output)
}
