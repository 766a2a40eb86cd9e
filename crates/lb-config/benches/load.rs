//! What reading configurations of growing size costs, beside `keepalived -t` where that is installed:
//! `cargo bench -p lb-config`.
//!
//! Each row is one process of ours and one of keepalived's on the same file: user and system time of the
//! process and its children, and the largest resident set of any of them; ours says it as it ends, theirs is
//! looked at meanwhile, which may miss a little. keepalived runs in a network
//! namespace of its own, with an interface for each the file names; without root it is left out.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lb_config::{AnyInterface, Options};

#[path = "../tests/common/keepalived.rs"]
mod keepalived;

/// What a row is about: name, size, text.
type Case = (&'static str, usize, fn(usize) -> String);

const CASES: [Case; 7] = [
    ("virtual servers of 2", 2_500, virtual_servers),
    ("virtual servers of 2", 10_000, virtual_servers),
    ("real servers in one", 5_000, real_servers),
    ("real servers in one", 20_000, real_servers),
    ("VRRP instances", 250, instances),
    ("VRRP instances", 1_000, instances),
    ("VRRP instances", 4_000, instances),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    if let Some(file) = arguments.next() {
        return read(Path::new(&file));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let missing = keepalived::missing();
    if let Some(missing) = missing {
        println!("without keepalived: {missing} is not here");
    }
    println!(
        "  count what                   file KB   ours: CPU ms   MB/s  peak MB   keepalived: CPU ms  peak MB"
    );
    for (name, count, make) in CASES {
        let text = make(count);
        let file = dir.path().join("bench.conf");
        std::fs::write(&file, &text).expect("a file in it");
        let own = std::env::current_exe().expect("the path of this program");
        let ours = best(5, || Command::new(&own).arg(&file).stdout(Stdio::piped()).spawn());
        let rate = text.len() as f64 / 1e6 / ours.cpu.as_secs_f64();
        print!(
            "{count:7} {name:21} {:8.0} {:14.1} {rate:6.1} {:8.1}",
            text.len() as f64 / 1e3,
            ours.cpu.as_secs_f64() * 1e3,
            ours.peak_kb as f64 / 1e3
        );
        if missing.is_none() {
            let theirs = best(2, || in_namespace(&file, links(count)).spawn());
            print!(" {:20.1} {:8.1}", theirs.cpu.as_secs_f64() * 1e3, theirs.peak_kb as f64 / 1e3);
        }
        println!();
    }
}

/// Reads a file as `-t` does, complaints and lints included, and prints the largest resident set only.
fn read(file: &Path) {
    let options = Options { testing: true, ..Options::default() };
    let loaded = lb_config::load(file, &options, &AnyInterface);
    assert!(!loaded.is_refused(), "{}", loaded.render(false));
    print!("{}", peak_of(std::process::id()).unwrap_or_default());
}

/// Number of interfaces the file of so many instances names.
fn links(count: usize) -> usize {
    count.div_ceil(250)
}

fn in_namespace(file: &Path, links: usize) -> Command {
    // Bridges are made before: they are no part of what is measured, as their cost is not keepalived's.
    let script = "i=0; while [ $i -lt $LINKS ]; do
        ip link add eth$i type bridge && ip link set eth$i up; i=$((i + 1)); done
        exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", script, "keepalived", "-t", "-f"])
        .arg(file)
        .env("LINKS", links.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// What a process cost.
#[derive(Clone, Copy)]
struct Cost {
    cpu: Duration,
    peak_kb: u64,
}

/// The cheapest of some runs. A process whose output is taken says its peak itself.
fn best(runs: usize, spawn: impl Fn() -> std::io::Result<std::process::Child>) -> Cost {
    let cost = || {
        let mut child = spawn().expect("a process");
        let before = children();
        let peak = match child.stdout.take() {
            Some(output) => std::io::read_to_string(output).ok().and_then(|said| said.parse().ok()),
            None => Some(watch(child.id())),
        };
        child.wait().expect("its end");
        Cost { cpu: children() - before, peak_kb: peak.expect("its peak") }
    };
    (0..runs).map(|_| cost()).min_by_key(|cost| cost.cpu).expect("at least one run")
}

/// CPU time of children that have been waited for, theirs included.
fn children() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    let usage = usage.expect("getrusage");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// The largest resident set of a process and its children, looked at until it ends.
fn watch(pid: u32) -> u64 {
    let mut peak = 0;
    loop {
        let family = std::iter::once(pid).chain(offspring(pid));
        peak = family.filter_map(peak_of).fold(peak, u64::max);
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X'])) {
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn offspring(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split(' ').filter_map(|pid| pid.parse().ok()).collect()
}

fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn real_server(text: &mut String, address: std::net::Ipv4Addr) {
    let _ = writeln!(text, "  real_server {address} 80 {{");
    text.push_str("    weight 1\n    TCP_CHECK {\n      connect_timeout 3\n    }\n  }\n");
}

fn head(text: &mut String, address: std::net::Ipv4Addr) {
    let _ = writeln!(text, "virtual_server {address} 80 {{");
    text.push_str("  delay_loop 6\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n");
}

fn virtual_servers(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count as u32 {
        head(&mut text, (0x0a00_0000 + (number << 2)).into());
        real_server(&mut text, (0x0a00_0001 + (number << 2)).into());
        real_server(&mut text, (0x0a00_0002 + (number << 2)).into());
        text.push_str("}\n");
    }
    text
}

fn real_servers(count: usize) -> String {
    let mut text = String::new();
    head(&mut text, 0x0a00_0001.into());
    for number in 0..count as u32 {
        real_server(&mut text, (0x0a01_0000 + number).into());
    }
    text.push_str("}\n");
    text
}

fn instances(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = write!(
            text,
            "vrrp_instance VI_{number} {{\n  state BACKUP\n  interface eth{}\n  virtual_router_id {}\n  \
             priority 100\n  virtual_ipaddress {{\n    10.{}.{}.1/24\n  }}\n}}\n",
            number / 250,
            number % 250 + 1,
            number >> 8,
            number & 255,
        );
    }
    text
}
