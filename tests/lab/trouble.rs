//! Bad input and bad surroundings: what is refused, what is tolerated, and what the messages say.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use anyhow::Context;
use lb_control::State;
use lb_control::status::VrrpCounters;
use lb_lab::{Host, HostSpec, Lab, Topology, wait_until};
use lb_tests::pulse::undisturbed;
use lb_tests::{CONFIG, SOON, Test, installed, lbd, programs, run, start, status, wait_status};
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// RFC 9568 §5.1.1.2
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// A director and somebody else on one switch.
fn network() -> anyhow::Result<Option<Lab>> {
    let d1 = HostSpec::new("d1").interface("eth0", "lan", ["10.0.0.2/24"]);
    start(
        Topology::new(["lan"])
            .host(d1.private("/etc/keepalived"))
            .host(HostSpec::new("other").interface("eth0", "lan", ["10.0.0.66/24"])),
    )
}

const GOOD: &str = r#"
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 150
    version 3
    advert_int 0.2
    virtual_ipaddress {
        10.0.0.100/24
    }
}
"#;

/// Runs what follows as a user without any rights.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Whether there is such a user: an ordinary user's lab has one user only.
fn has_nobody(host: &Host) -> anyhow::Result<bool> {
    let (code, text) = run(host, &[&NOBODY[..], &["true"]].concat())?;
    if code != Some(0) {
        lb_skip::skip(format_args!("in part: {text}"));
    }
    Ok(code == Some(0))
}

/// The path of one of our programs, for other programs to start.
fn program(name: &str) -> anyhow::Result<String> {
    Ok(programs()?.join(name).display().to_string())
}

/// Nothing of a daemon that did not start is there.
fn assert_nothing_started(d1: &Host) {
    assert!(!d1.has_address(VIP));
    for file in ["/run/keepalived.pid", "/run/lbd/lbd.sock"] {
        assert!(d1.read_file(file).is_err(), "{file} is there");
    }
}

#[test]
fn configurations_are_judged_with_keepalived_s_exit_codes() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    let peer = installed("keepalived", "keepalived");
    d1.write_script("/run/script", "#!/bin/sh\n")?;
    // (configuration, status of -t, what is said, status of a start that is refused)
    let with = |line: &str| GOOD.replacen("    priority 150", line, 1);
    let cases = [
        (GOOD.to_owned(), 0, "", None),
        (with("    priorty 150"), 5, "did you mean `priority`", None),
        (with("    priority 999"), 5, "999", None),
        (with("    notify /run/script"), 6, "enable_script_security", None),
        (with("    virtual_router_id"), 2, "virtual_router_id", Some(2)),
        (GOOD.replace("eth0", "eth7"), 5, "eth7", Some(2)),
        (GOOD.replace("virtual_router_id 51", ""), 5, "virtual_router_id", Some(2)),
    ];
    for (config, expected, said, start) in &cases {
        d1.write_file(CONFIG, config)?;
        let (code, text) = run(d1, &["lbd", "-t"])?;
        assert_eq!(code, Some(*expected), "{config}\n{text}");
        assert!(text.contains(said), "no `{said}` in\n{text}");
        // What is missing has no place.
        if ![0, 6].contains(expected) {
            assert!(text.contains(&format!("{CONFIG}:")), "{text}");
        }
        if peer {
            let (code, text) = run(d1, &["keepalived", "-t"])?;
            assert_eq!(code, Some(*expected), "keepalived on\n{config}\n{text}");
        }
        match start {
            Some(status) => {
                let (code, text) = run(d1, &["lbd", "-n", "-l", "-G"])?;
                assert_eq!(code, Some(*status), "{text}");
                assert!(text.contains(said) && text.contains(&format!("{CONFIG}:")), "{text}");
                assert_nothing_started(d1);
            }
            None if *expected != 0 => {
                // Tolerated: a warning, and it runs; --strict refuses it.
                let (code, text) = run(d1, &["lbd", "-n", "-l", "-G", "--strict"])?;
                assert_eq!(code, Some(2), "{text}");
                assert!(text.contains(said) && text.contains("--strict"), "{text}");
                assert_nothing_started(d1);
                let lbd = lbd(d1, config, &[])?;
                lbd.wait_for_line(said, SOON)?;
                lbd.wait_for_line("(VI_1) Entering MASTER STATE", SOON)?;
                lbd.signal(Signal::SIGTERM)?;
                assert_eq!(lbd.wait(SOON)?.code(), Some(0));
            }
            None => {}
        }
    }

    let (code, text) = run(d1, &["lbd", "-t", "-f", "/etc/nowhere.conf"])?;
    assert_eq!(code, Some(0), "as keepalived has it: {text}");
    let (code, text) = run(d1, &["lbd", "-n", "-l", "-G", "-f", "/etc/nowhere.conf"])?;
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("/etc/nowhere.conf"), "{text}");
    let (code, text) = run(d1, &["lbd", "--nonsense"])?;
    assert_eq!(code, Some(1), "{text}");
    assert_nothing_started(d1);
    Ok(())
}

#[test]
fn an_unreachable_control_socket_is_named_with_the_remedy() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    let lbctl = program("lbctl")?;
    let (code, text) = run(d1, &["lbctl", "status"])?;
    assert_eq!(code, Some(1));
    assert!(text.contains("cannot reach lbd at /run/lbd/lbd.sock"), "{text}");
    assert!(text.contains("is it running?") && text.contains("-S PATH"), "{text}");
    let (_, text) = run(d1, &["lbctl", "-S", "/run/other.sock", "status", "--json"])?;
    assert!(text.contains("/run/other.sock"), "{text}");

    let lbd = lbd(d1, GOOD, &["--socket", "/run/other.sock"])?;
    let (code, text) = run(d1, &["lbctl", "-S", "/run/other.sock", "status"])?;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(d1, &["env", "LBD_SOCKET=/run/other.sock", &lbctl, "status"])?;
    assert_eq!(code, Some(0), "{text}");
    // Whoever may not open it is told so.
    if has_nobody(d1)? {
        let words = [&NOBODY[..], &[&lbctl, "-S", "/run/other.sock", "status"]].concat();
        let (code, text) = run(d1, &words)?;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("permission denied") && text.contains("sudo"), "{text}");
    }
    lbd.kill();
    let (code, text) = run(d1, &["lbctl", "-S", "/run/other.sock", "status"])?;
    assert_eq!(code, Some(1));
    assert!(text.contains("is it running?"), "{text}");
    Ok(())
}

#[test]
fn a_port_in_use_names_who_has_it_and_is_taken_when_it_is_free() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    let config = format!(
        "{GOOD}virtual_server 10.0.0.100 8080 {{\n protocol TCP\n lb_algo rr\n lb_kind NAT\n real_server 10.0.0.66 80 {{\n }}\n }}\n"
    );
    let squatter = d1.run(|| TcpListener::bind("0.0.0.0:8080"))??;
    let me = std::fs::read_to_string("/proc/self/comm")?;
    let lbd = lbd(d1, &config, &[])?;
    let line = lbd.wait_for_line("10.0.0.100:8080", SOON)?;
    // The test itself has it: another PID namespace, so its number is not to be seen, perhaps not even its name.
    let named = line.text.contains(me.trim()) || line.text.contains("another program");
    assert!(named && line.text.contains("listens there already"), "{}", line.text);
    // VRRP does not mind.
    lbd.wait_for_line("(VI_1) Entering MASTER STATE", SOON)?;
    drop(squatter);
    lbd.wait_for_line("could not open before", SOON)?;
    let _web = lab.host("other")?.serve("0.0.0.0:80".parse()?)?;
    let answer = lab.host("other")?.http_get((VIP, 8080).into(), "/", SOON)?;
    assert_eq!(answer.by, "other");

    // A program of the same host is named.
    let nginx_like = d1.spawn(["lbctl", "lab-server", "10.0.0.2:8081", "d1"])?;
    let address = (Ipv4Addr::new(10, 0, 0, 2), 8081).into();
    wait_until("the port is taken", SOON, || d1.http_get(address, "/", SOON).is_ok())?;
    d1.write_file(CONFIG, config.replace("10.0.0.100 8080", "10.0.0.2 8081"))?;
    lbd.signal(Signal::SIGHUP)?;
    let line = lbd.wait_for_line("10.0.0.2:8081", SOON)?;
    assert!(line.text.contains("lbctl (pid "), "{}", line.text);
    nginx_like.kill();

    // So is a second daemon.
    let (code, text) = run(d1, &["lbd", "-n", "-l", "-G"])?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("runs already as process") && text.contains("-p"), "{text}");
    assert!(lbd.is_running() && d1.has_address(VIP));
    Ok(())
}

#[test]
fn a_missing_interface_is_named_with_the_remedy() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    d1.write_file(CONFIG, GOOD.replace("eth0", "eth7"))?;
    let (code, text) = run(d1, &["lbd", "-n", "-l", "-G"])?;
    assert_eq!(code, Some(2), "{text}");
    let line = text.lines().find(|line| line.contains("eth7")).context("a line about eth7")?;
    assert!(text.contains("dynamic_interfaces"), "no remedy in {line}");
    // With it the instance waits for its interface, in FAULT.
    let config =
        format!("global_defs {{\n dynamic_interfaces\n }}\n{}", GOOD.replace("eth0", "eth7"));
    let lbd = lbd(d1, &config, &[])?;
    let waiting = wait_status(d1, "it waits", |status| status.vrrp[0].state == State::Fault)?;
    assert!(waiting.vrrp[0].faults.iter().any(|why| why.contains("eth7")), "{waiting:?}");
    let (_, text) = run(d1, &["lbctl", "status"])?;
    assert!(text.contains("FAULT") && text.contains("eth7"), "{text}");
    let made = "ip link add eth7 type veth peer name eth8";
    let (code, text) = run(d1, &made.split(' ').collect::<Vec<_>>())?;
    anyhow::ensure!(code == Some(0), "{text}");
    for command in
        ["ip link set eth8 up", "ip address add 10.7.0.2/24 dev eth7", "ip link set eth7 up"]
    {
        let (code, text) = run(d1, &command.split(' ').collect::<Vec<_>>())?;
        anyhow::ensure!(code == Some(0), "{text}");
    }
    lbd.wait_for_line("(VI_1) Entering MASTER STATE", SOON)?;
    Ok(())
}

#[test]
fn a_missing_capability_is_named_with_the_remedy() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    d1.write_file(CONFIG, GOOD)?;
    let lbd = program("lbd")?;
    let cases = [
        (&["setpriv", "--bounding-set=-net_raw"][..], "CAP_NET_RAW"),
        (&["setpriv", "--bounding-set=-net_admin"], "CAP_NET_ADMIN"),
    ];
    for (without, capability) in cases {
        let (code, text) = run(d1, &[without, &[&lbd, "-n", "-l", "-G"]].concat())?;
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains(capability), "{text}");
        assert!(text.contains("run as root") && text.contains("setcap"), "no remedy in {text}");
        assert_nothing_started(d1);
    }
    if has_nobody(d1)? {
        let (code, text) = run(d1, &[&NOBODY[..], &[&lbd, "-n", "-l", "-G"]].concat())?;
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("/run/keepalived.pid") && text.contains("-p FILE"), "{text}");
    }
    Ok(())
}

/// A VRRPv3 advertisement of priority 250, without its checksum: it would win if it were sound.
fn advert(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = vec![0x31, 51, 250, 1, 0, 20, 0, 0, 10, 0, 0, 100];
    change(&mut octets);
    octets
}

/// Fills the checksum in, with the pseudo header of RFC 5798 §5.2.8 as keepalived does.
fn summed(mut octets: Vec<u8>, source: Ipv4Addr) -> Vec<u8> {
    let mut all = [source.octets(), GROUP.octets()].concat();
    all.extend([0, 112, 0, octets.len() as u8]);
    all.extend(&octets);
    let words =
        all.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = !(folded as u16);
    if let Some(field) = octets.get_mut(6..8) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    octets
}

#[test]
fn hostile_packets_are_counted_and_ignored() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, other) = (lab.host("d1")?, lab.host("other")?);
        let lbd = lbd(d1, GOOD, &[])?;
        lbd.wait_for_line("(VI_1) Entering MASTER STATE", SOON)?;
        let from = Ipv4Addr::new(10, 0, 0, 66);
        let socket = other.run(|| -> std::io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112)))?;
            socket.set_multicast_if_v4(&from)?;
            socket.set_multicast_ttl_v4(255)?;
            Ok(socket)
        })??;
        let send = |octets: &[u8]| socket.send_to(octets, &SocketAddrV4::new(GROUP, 0).into());
        let counters = || -> anyhow::Result<VrrpCounters> { Ok(status(d1)?.vrrp[0].counters) };
        let before = counters()?;

        let whole = summed(advert(|_| {}), from);
        // Cut anywhere from behind the VRID on: without that it is nobody's.
        for length in 2..whole.len() {
            send(&summed(whole[..length].to_vec(), from))?;
        }
        send(&summed(advert(|octets| octets[3] = 200), from))?; // 200 addresses, of which one is there
        let cut = (whole.len() - 2 + 1) as u64;
        // Version 2 has eight octets of authentication data behind the addresses.
        send(&summed(
            advert(|octets| {
                octets[0] = 0x21;
                octets.extend([0; 8]);
            }),
            from,
        ))?;
        send(&summed(advert(|octets| octets[0] = 0x32), from))?;
        send(&advert(|octets| octets[6] = 0xff))?;
        socket.set_multicast_ttl_v4(254)?;
        send(&whole)?;
        socket.set_multicast_ttl_v4(255)?;
        let expected = VrrpCounters {
            packet_len_err: cut,
            version_err: 1,
            invalid_type_rcvd: 1,
            checksum_err: 1,
            ip_ttl_err: 1,
            ..VrrpCounters::default()
        };
        let bad =
            |counters: VrrpCounters| VrrpCounters { advert_sent: 0, ..counters.since(&before) };
        let seen = wait_until("all are counted", SOON, || {
            counters().is_ok_and(|now| bad(now) == expected)
        });
        seen.with_context(|| format!("{:#?}", counters().map(bad)))?;

        // Noise under our VRID; the seed makes it the same every time.
        let mut seed: u32 = 51;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let count = 500;
        for n in 0..count {
            let mut octets: Vec<u8> = (0..2 + n % 90).map(|_| noise()).collect();
            octets[1] = 51;
            send(&octets)?;
        }
        let total = |c: VrrpCounters| {
            c.packet_len_err + c.version_err + c.invalid_type_rcvd + c.checksum_err + c.ip_ttl_err
        };
        wait_until("the noise is counted", SOON, || {
            counters().is_ok_and(|now| total(bad(now)) == total(expected) + count as u64)
        })
        .with_context(|| format!("{:#?}", counters().map(bad)))?;

        let after = status(d1)?;
        assert_eq!((after.vrrp[0].state, after.vrrp[0].counters.advert_rcvd), (State::Master, 0));
        assert!(d1.has_address(VIP));
        assert_eq!(lbd.output().matches("Entering BACKUP STATE").count(), 1, "{}", lbd.output());
        // It said so, once a kind, not once a packet.
        let said = lbd
            .lines()
            .iter()
            .filter(|line| line.text.contains("advertisement from 10.0.0.66"))
            .count();
        assert!((1..=20).contains(&said), "{}", lbd.output());
        // A sound one still counts.
        send(&whole)?;
        lbd.wait_for_line("Entering BACKUP STATE", SOON)?;
        wait_status(d1, "the better master is heard", |status| {
            status.vrrp[0].counters.advert_rcvd == 1
        })?;
        Ok(())
    })
}
