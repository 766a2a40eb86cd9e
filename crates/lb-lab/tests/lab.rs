//! The lab on this machine's kernel: cables, switches, hosts, processes and captures.
//!
//! Needs root, or user namespaces for everybody; without either each test says so and passes.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use lb_lab::{HostSpec, Lab, Probe, Prober, Topology, wait_until};

lb_lab::become_root_at_start!();

type Test = Result<(), Box<dyn Error>>;

const SOON: Duration = Duration::from_secs(5);

/// Two hosts on one switch; `None` with a message where the machine does not allow labs.
fn pair() -> Result<Option<Lab>, lb_lab::Error> {
    start(
        Topology::new(["lan"])
            .host(HostSpec::new("a").interface("eth0", "lan", ["10.0.0.1/24", "fd00::1/64"]))
            .host(HostSpec::new("b").interface("eth0", "lan", ["10.0.0.2/24", "fd00::2/64"])),
    )
}

fn start(topology: Topology) -> Result<Option<Lab>, lb_lab::Error> {
    match Lab::start(topology) {
        Err(lb_lab::Error::Unprivileged(why)) => {
            lb_skip::skip(&why);
            Ok(None)
        }
        other => other.map(Some),
    }
}

#[test]
fn hosts_on_a_switch_reach_each_other() -> Test {
    let Some(lab) = pair()? else { return Ok(()) };
    let address = "10.0.0.2:80".parse()?;
    let _server = lab.host("b")?.serve(address)?;
    let answer = lab.host("a")?.http_get(address, "/", SOON)?;
    assert_eq!(
        (answer.status.as_u16(), answer.by.as_str(), answer.body.as_ref()),
        (200, "b", b"b\n".as_slice())
    );

    let over6 = "[fd00::2]:80".parse()?;
    let _server = lab.host("b")?.serve(over6)?;
    assert_eq!(lab.host("a")?.http_get(over6, "/", SOON)?.by, "b");

    let udp = lab.host("a")?.run(|| UdpSocket::bind("10.0.0.1:0"))??;
    udp.set_read_timeout(Some(SOON))?;
    udp.send_to(b"who?", address)?;
    let mut answer = [0; 16];
    let (length, _) = udp.recv_from(&mut answer)?;
    assert_eq!(&answer[..length], b"b\n");
    Ok(())
}

#[test]
fn a_cut_cable_takes_the_carrier_and_mending_brings_it_back() -> Test {
    let Some(lab) = pair()? else { return Ok(()) };
    let (a, address) = (lab.host("a")?, "10.0.0.2:80".parse()?);
    let _server = lab.host("b")?.serve(address)?;
    lab.cut("b", "eth0")?;
    wait_until("carrier loss", SOON, || !lab.host("b").unwrap().is_running("eth0").unwrap())?;
    assert!(a.http_get(address, "/", Duration::from_millis(100)).is_err());
    assert!(a.is_running("eth0")?);
    lab.mend("b", "eth0")?;
    wait_until("carrier", SOON, || lab.host("b").unwrap().is_running("eth0").unwrap())?;
    assert_eq!(a.http_get(address, "/", SOON)?.by, "b");

    lab.cut_silently("b", "eth0")?;
    assert!(a.http_get(address, "/", Duration::from_millis(100)).is_err());
    assert!(lab.host("b")?.is_running("eth0")?);
    lab.mend("b", "eth0")?;
    assert_eq!(a.http_get(address, "/", SOON)?.by, "b");
    Ok(())
}

#[test]
fn programs_live_in_their_host_and_die_with_it() -> Test {
    let Some(lab) = pair()? else { return Ok(()) };
    let a = lab.host("a")?;
    let told = a.exec([
        "sh",
        "-c",
        "hostname; cat /proc/sys/kernel/ns_last_pid; ls /sys/class/net; ls -A /run",
    ])?;
    let told = String::from_utf8(told.stdout)?;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.first(), Some(&"a"), "{told}");
    assert!(lines.ends_with(&["eth0", "lo"]), "{told}");

    let sleeper = a.spawn([
        "sh",
        "-c",
        "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done",
    ])?;
    sleeper.wait_for_line("up", SOON)?;
    sleeper.signal(nix::sys::signal::Signal::SIGTERM)?;
    assert_eq!(sleeper.wait(SOON)?.code(), Some(7));
    assert_eq!(sleeper.output(), "up\nbye\n");
    assert!(sleeper.signal(nix::sys::signal::Signal::SIGTERM).is_err());

    // A daemon's way: the program ends, its child goes on.
    let daemon = a.spawn(["sh", "-c", "sleep 1000 & echo started"])?;
    assert!(daemon.wait(SOON)?.success());
    let foreground = a.spawn(["sleep", "1000"])?;
    let ps = || {
        a.exec(["sh", "-c", "cat /proc/[0-9]*/comm"])
            .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let before = ps()?;
    assert_eq!(before.matches("sleep").count(), 2, "{before}");
    lab.crash("a")?;
    assert!(!foreground.is_running());
    assert!(a.exec(["true"]).is_err());
    lab.boot("a")?;
    let after = ps()?;
    assert_eq!(after.matches("sleep").count(), 0, "{after}");
    assert!(a.has_address("10.0.0.1".parse::<IpAddr>()?));
    let address = "10.0.0.2:80".parse()?;
    let _server = lab.host("b")?.serve(address)?;
    assert_eq!(a.http_get(address, "/", SOON)?.by, "b");
    Ok(())
}

#[test]
fn files_of_a_host_are_its_own() -> Test {
    let Some(lab) = start(
        Topology::new(["lan"])
            .host(HostSpec::new("a"))
            .host(HostSpec::new("b").file("/etc/lab-b/x", "y")),
    )?
    else {
        return Ok(());
    };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    for path in ["/run/lbd/x", "/etc/lab-test/x", "/tmp/lab-test/x", "/var/lib/lab-test/x"] {
        a.write_file(path, "1")?;
        assert_eq!(a.read_file(path)?, "1");
        assert!(b.read_file(path).is_err());
        assert!(!std::path::Path::new(path).exists());
    }
    assert_eq!(b.read_file("/etc/lab-b/x")?, "y");
    Ok(())
}

#[test]
fn captures_read_frames() -> Test {
    let Some(lab) = pair()? else { return Ok(()) };
    let (at_a, at_port) = (lab.host("a")?.capture("eth0")?, lab.capture_port("b", "eth0")?);
    let udp = lab.host("a")?.run(|| UdpSocket::bind("10.0.0.1:0"))??;
    udp.send_to(b"hello", "10.0.0.2:9")?;
    let ours = |frame: &lb_lab::Frame| frame.is_ip(17) && frame.payload.ends_with(b"hello");
    let sent = at_a.wait_for(ours, SOON)?;
    let seen = at_port.wait_for(ours, SOON)?;
    assert!(sent.outgoing && seen.outgoing, "the port sends it on to b");
    assert_eq!(sent.octets, seen.octets);
    let ip = sent.ip.ok_or("no IP header")?;
    assert_eq!((ip.source, ip.destination, ip.ttl), ("10.0.0.1".parse()?, "10.0.0.2".parse()?, 64));
    assert_eq!((sent.ethertype, sent.payload.len()), (0x0800, 8 + 5));
    assert!(at_port.frames().iter().any(|frame| frame.ethertype == 0x0806), "ARP came first");
    at_port.clear();
    assert!(at_port.wait_for(ours, Duration::from_millis(10)).is_err());
    Ok(())
}

#[test]
fn labs_do_not_collide() -> Test {
    let Some(one) = pair()? else { return Ok(()) };
    let Some(two) = pair()? else { return Ok(()) };
    let address = "10.0.0.2:80".parse()?;
    let _one = one.host("b")?.serve(address)?;
    let _two = two.host("b")?.serve(address)?;
    assert_eq!(one.host("a")?.http_get(address, "/", SOON)?.by, "b");
    assert_eq!(two.host("a")?.http_get(address, "/", SOON)?.by, "b");
    assert_eq!(one.holders("10.0.0.2".parse::<IpAddr>()?), ["b"]);
    Ok(())
}

#[test]
fn a_prober_sees_the_outage() -> Test {
    let Some(lab) = pair()? else { return Ok(()) };
    let (a, address) = (lab.host("a")?, "10.0.0.2:80".parse()?);
    let server = lab.host("b")?.serve(address)?;
    for probe in [Probe::Http("/".into()), Probe::Tcp, Probe::Udp] {
        let limit = Duration::from_millis(200);
        let prober = Prober::start(a, address, probe.clone(), Duration::from_millis(5), limit)?;
        wait_until("answers", SOON, || prober.trace().answered() >= 10)?;
        lab.cut("b", "eth0")?;
        let cut = std::time::Instant::now();
        wait_until("losses", SOON, || prober.trace().lost() >= 10)?;
        lab.mend("b", "eth0")?;
        let down = cut.elapsed();
        let answered = prober.trace().answered();
        wait_until("answers again", SOON, || prober.trace().answered() >= answered + 10)?;
        let trace = prober.finish();
        assert!(trace.lost() >= 10, "{probe:?}");
        // Never shorter than the cable was dead but for one step; some longer, as TCP and ARP have timers.
        assert!(
            trace.outage() + Duration::from_millis(10) >= down,
            "{probe:?}: {:?} of {down:?}",
            trace.outage()
        );
        assert!(
            trace.outage() < down + Duration::from_secs(2),
            "{probe:?}: {:?} of {down:?}",
            trace.outage()
        );
        let by = if probe == Probe::Tcp { "" } else { "b" };
        assert_eq!(trace.by().keys().collect::<Vec<_>>(), [by], "{probe:?}");
    }
    drop(server);
    Ok(())
}

/// The processes of the machine whose command line contains `marker`.
fn processes(marker: &str) -> usize {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| line.windows(marker.len()).any(|part| part == marker.as_bytes()))
        .count()
}

fn links() -> Vec<std::ffi::OsString> {
    let mut all: Vec<_> = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    all.sort();
    all
}

/// Not a test of its own: the process that the next one kills.
#[test]
#[ignore = "run by `nothing_is_left_when_the_owner_is_killed`"]
fn owner() -> Test {
    let Ok(marker) = std::env::var("LAB_MARKER") else { return Ok(()) };
    let Some(lab) = pair()? else {
        println!("no lab");
        return Ok(());
    };
    lab.host("a")?.spawn([
        "sh",
        "-c",
        &format!("setsid sh -c 'trap \"\" HUP TERM INT; sleep {marker}' & exec sleep {marker}"),
    ])?;
    lab.host("b")?.spawn(["sleep", &marker])?;
    println!("\nready");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_when_the_owner_is_killed() -> Test {
    // sleep(1) takes it for a number of seconds; the pid makes it ours.
    let marker = format!("9{:07}.25", std::process::id());
    let before = links();
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "owner", "--ignored", "--nocapture"])
        .env("LAB_MARKER", &marker)
        .stdout(Stdio::piped())
        .spawn()?;
    let out = owner.stdout.take().ok_or("no output")?;
    let said = BufReader::new(out)
        .lines()
        .map_while(Result::ok)
        .find(|line| line == "ready" || line == "no lab");
    if said.as_deref() == Some("no lab") {
        return Ok(());
    }
    assert_eq!(said.as_deref(), Some("ready"));
    wait_until("every program to run", SOON, || processes(&marker) >= 4)?;
    owner.kill()?;
    owner.wait()?;
    wait_until("every program to be gone", SOON, || processes(&marker) == 0)?;
    assert_eq!(links(), before);
    Ok(())
}
