//! The life of a daemon: start, reload, stop, scripts, dumps, and engines that fail.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use lb_control::{State, Status};
use lb_lab::{Frame, Host, Lab, Process, wait_for, wait_until};
use lb_tests::pulse::undisturbed;
use lb_tests::{
    CONFIG, KeptAlive, SOON, Test, intervals, is_advert, lbd, on_one_switch, run, start, status,
    wait_notes, wait_status, write_note,
};
use nix::sys::signal::Signal;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const SERVICE: SocketAddr = SocketAddr::new(VIP, 80);
/// Of [`vrrp`].
const ADVERT_INT: Duration = Duration::from_millis(200);
/// The longest a backup waits: RFC 9568 §6.1, three intervals and the skew of priority 1.
const MASTER_DOWN: Duration = Duration::from_millis(800);

/// Two directors, a server and a client on one switch.
fn network() -> anyhow::Result<Option<Lab>> {
    start(on_one_switch(&[("d1", 2), ("d2", 3), ("s1", 11), ("s2", 12), ("client", 21)]))
}

/// One instance at the VIP. Without `enable_script_security`: in the user namespace of an ordinary user the machine's
/// directories are nobody's, and scripts in them would be disabled.
fn vrrp(priority: u8, more: &str) -> String {
    format!(
        r#"
global_defs {{
    script_user root
}}
vrrp_instance VI_1 {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    version 3
    advert_int 0.2
    virtual_ipaddress {{
        {VIP}/24
    }}
    {more}
}}
"#
    )
}

/// A virtual server at the VIP with these real servers, all of them checked.
fn service(servers: &[&str]) -> String {
    let real = |server: &&str| {
        format!("real_server {server} 80 {{\n TCP_CHECK {{\n connect_timeout 2\n }}\n }}\n")
    };
    format!(
        "virtual_server {VIP} 80 {{\n delay_loop 0.2\n lb_algo rr\n lb_kind NAT\n protocol TCP\n {} }}\n",
        servers.iter().map(real).collect::<String>()
    )
}

/// Waits until the log says MASTER: the VIP is on the host by then.
fn wait_master(host: &Host, lbd: &Process) -> Test {
    lbd.wait_for_line("(VI_1) Entering MASTER STATE", SOON)?;
    anyhow::ensure!(host.has_address(VIP), "MASTER without its VIP");
    Ok(())
}

/// Adverts of a host; `payload[2]` is the priority, RFC 9568 §5.2.
fn advert_of(host: &Host) -> impl Fn(&Frame) -> bool + use<> {
    let address = host.spec().interfaces[0].addresses[0].address;
    move |frame: &Frame| is_advert(frame, address)
}

fn reload(host: &Host, lbd: &Process, config: &str) -> Test {
    host.write_file(CONFIG, config)?;
    Ok(lbd.signal(Signal::SIGHUP)?)
}

#[test]
fn keepalived_s_command_line_starts_reloads_and_stops_it() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let (d1, client) = (lab.host("d1")?, lab.host("client")?);
    let _s1 = lab.host("s1")?.serve("0.0.0.0:80".parse()?)?;
    let _s2 = lab.host("s2")?.serve("0.0.0.0:80".parse()?)?;
    let capture = client.capture("eth0")?;
    let monitor = d1.spawn(["ip", "monitor", "address"])?;

    let first = vrrp(150, "") + &service(&["10.0.0.11"]);
    d1.write_file("/etc/lb/main.conf", &first)?;
    let options = ["-n", "-l", "-D", "-f", "/etc/lb/main.conf", "-p", "/run/lb.pid"];
    let lbd = d1.spawn([&["lbd"], &options[..]].concat())?;
    wait_master(d1, &lbd)?;
    let pid = d1.read_file("/run/lb.pid")?;
    let (code, _) = run(d1, &["kill", "-0", pid.trim()])?;
    assert_eq!(code, Some(0), "the PID file says {pid:?}");
    let before = status(d1)?;
    assert_eq!(before.daemon.pid.to_string(), pid.trim());
    assert_eq!(before.daemon.config, "/etc/lb/main.conf");
    assert_eq!(before.daemon.last_reload, None);
    let mut kept = KeptAlive::open(client, SERVICE)?;
    assert_eq!(kept.ask()?, "s1");

    // One server more: the connection and the VIP do not notice.
    let second = vrrp(150, "") + &service(&["10.0.0.11", "10.0.0.12"]);
    d1.write_file("/etc/lb/main.conf", &second)?;
    lbd.signal(Signal::SIGHUP)?;
    lbd.wait_for_line("Reload complete: /etc/lb/main.conf is in force", SOON)?;
    let mut by: Vec<_> = (0..2)
        .map(|_| client.http_get(SERVICE, "/", SOON).map(|answer| answer.by))
        .collect::<Result<_, _>>()?;
    by.sort();
    assert_eq!(by, ["s1", "s2"]);
    assert_eq!(kept.ask()?, "s1");
    let after = status(d1)?;
    let verdict = after.daemon.last_reload.context("a reload")?;
    assert!(verdict.accepted, "{}", verdict.verdict);
    assert_eq!(after.vrrp[0].since, before.vrrp[0].since);

    // A file that keepalived refuses: everything runs on as it was.
    d1.write_file(
        "/etc/lb/main.conf",
        second.replace("virtual_router_id 51", "virtual_router_id"),
    )?;
    lbd.signal(Signal::SIGHUP)?;
    let refused = lbd.wait_for_line("refused, the old configuration runs on", SOON)?;
    assert!(refused.text.contains("/etc/lb/main.conf:8:"), "{}", refused.text);
    let still = wait_status(d1, "the refusal shows", |status| {
        status.daemon.last_reload.as_ref().is_some_and(|reload| !reload.accepted)
    })?;
    let verdict = still.daemon.last_reload.context("a reload")?.verdict;
    assert!(verdict.contains("/etc/lb/main.conf:8:"), "{verdict}");
    assert!(verdict.contains("virtual_router_id"), "{verdict}");
    let (_, text) = run(d1, &["lbctl", "status"])?;
    assert!(text.contains("refused") && text.contains("/etc/lb/main.conf:8:"), "{text}");
    let (_, text) = run(d1, &["lbctl", "status", "--json"])?;
    let printed: Status = serde_json::from_str(&text)?;
    assert_eq!(printed.daemon.last_reload.map(|reload| reload.verdict), Some(verdict));
    assert_eq!(kept.ask()?, "s1");
    assert_eq!(still.vrrp[0].since, before.vrrp[0].since);
    assert_eq!(still.virtual_servers[0].real_servers.len(), 2);
    assert!(!monitor.output().contains("Deleted"), "{}", monitor.output());

    // In order: priority 0 first, then the VIP goes away, then it ends well.
    let clocks = (Instant::now(), SystemTime::now());
    lbd.signal(Signal::SIGTERM)?;
    assert_eq!(lbd.wait(SOON)?.code(), Some(0));
    lbd.wait_for_line("(VI_1) Stopped", SOON)?;
    assert!(!d1.has_address(VIP));
    let advert = advert_of(d1);
    let last = capture.wait_for(|frame| advert(frame) && frame.payload[2] == 0, SOON)?;
    let deleted = monitor.wait_for_line("Deleted", SOON)?;
    assert!(deleted.text.contains("10.0.0.100/24"), "{}", deleted.text);
    assert!(
        last.at.duration_since(clocks.1)? < deleted.at - clocks.0,
        "the VIP went before priority 0 was sent"
    );
    assert_eq!(capture.matching(&advert).last().map(|frame| frame.payload[2]), Some(0));
    assert_eq!(capture.matching(|frame| advert(frame) && frame.payload[2] == 0).len(), 1);
    for file in ["/run/lb.pid", "/run/lbd/lbd.sock"] {
        assert!(d1.read_file(file).is_err_and(|e| format!("{e:?}").contains("NotFound")), "{file}");
    }
    Ok(())
}

#[test]
fn scripts_hear_of_every_state_in_order() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let d1 = lab.host("d1")?;
        write_note(d1)?;
        let scripts = r#"
    notify_master "/run/note master"
    notify_backup "/run/note backup"
    notify_fault "/run/note fault"
    notify_stop "/run/note stop"
    notify /run/note"#;
        let lbd = lbd(d1, &vrrp(150, scripts), &[])?;
        wait_master(d1, &lbd)?;
        let mut expected =
            vec!["backup", "INSTANCE VI_1 BACKUP 150", "master", "INSTANCE VI_1 MASTER 150"];
        wait_notes(d1, &expected)?;

        lab.cut("d1", "eth0")?;
        lbd.wait_for_line("(VI_1) Entering FAULT STATE", SOON)?;
        expected.extend(["fault", "INSTANCE VI_1 FAULT 150"]);
        wait_notes(d1, &expected)?;
        assert!(!d1.has_address(VIP));
        let fault = status(d1)?;
        assert_eq!(fault.vrrp[0].state, State::Fault);
        assert!(fault.vrrp[0].faults.iter().any(|why| why.contains("eth0")), "{:?}", fault.vrrp[0]);

        let seen = lbd.lines().len();
        lab.mend("d1", "eth0")?;
        lbd.wait_for_line_after(seen, "(VI_1) Entering BACKUP STATE", SOON)?;
        lbd.wait_for_line_after(seen, "(VI_1) Entering MASTER STATE", SOON)?;
        expected.extend([
            "backup",
            "INSTANCE VI_1 BACKUP 150",
            "master",
            "INSTANCE VI_1 MASTER 150",
        ]);
        wait_notes(d1, &expected)?;

        lbd.signal(Signal::SIGTERM)?;
        assert_eq!(lbd.wait(SOON)?.code(), Some(0));
        // It waits for the last ones.
        expected.extend(["stop", "INSTANCE VI_1 STOP 150"]);
        assert_eq!(lb_tests::notes(d1)?, expected);
        Ok(())
    })
}

#[test]
fn signals_write_the_dump_files() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    let lbd = lbd(d1, &(vrrp(150, "") + &service(&["10.0.0.11"])), &[])?;
    wait_master(d1, &lbd)?;
    let dump = |signal: &str, file: &str| {
        // The machine's own may show through.
        run(d1, &["rm", "-f", file])?;
        let (code, text) = run(d1, &["kill", signal, &status(d1)?.daemon.pid.to_string()])?;
        anyhow::ensure!(code == Some(0), "{text}");
        let whole = || d1.read_file(file).ok().filter(|text| !text.is_empty());
        Ok(wait_for("the file is there", SOON, whole)?)
    };

    let data = dump("-USR1", "/tmp/keepalived.data")?;
    let heads: Vec<_> = data.lines().filter(|line| line.starts_with("------<")).collect();
    for head in ["Global definitions", "VRRP Topology"] {
        assert!(heads.iter().any(|line| *line == format!("------< {head} >------")), "{heads:?}");
    }
    for line in [" VRRP Instance = VI_1", "   Virtual Router ID = 51", "   Priority = 150"] {
        assert!(data.lines().any(|found| found == line), "no `{line}` in\n{data}");
    }

    let stats = dump("-USR2", "/tmp/keepalived.stats")?;
    let lines: Vec<_> = stats.lines().collect();
    assert_eq!(lines[..3], ["VRRP Instance: VI_1", "  Advertisements:", "    Received: 0"]);
    assert!(lines.contains(&"  Became master: 1"), "{stats}");
    assert_eq!(lines[lines.len() - 3..], ["  Priority Zero:", "    Received: 0", "    Sent: 0"]);

    // SIGRTMIN+2 of the C library
    let json: serde_json::Value = serde_json::from_str(&dump("-36", "/tmp/keepalived.json")?)?;
    assert_eq!(json[0]["data"]["iname"], "VI_1");
    assert_eq!(json[0]["data"]["vrid"], 51);
    assert_eq!(json[0]["data"]["state"], 2);
    assert_eq!(json[0]["stats"]["become_master"], 1);
    let (_, mode) = run(d1, &["stat", "-c", "%a", "/tmp/keepalived.data"])?;
    assert_eq!(mode.trim(), "600");
    Ok(())
}

/// Times an engine failed, by the status.
fn failures(status: &Status, engine: &str) -> u64 {
    let found = status.daemon.engines.iter().find(|found| found.name == engine);
    found.map_or(0, |engine| engine.failures)
}

fn fail_engine(host: &Host) -> Test {
    // SIGRTMAX
    let (code, text) = run(host, &["kill", "-64", &status(host)?.daemon.pid.to_string()])?;
    anyhow::ensure!(code == Some(0), "{text}");
    Ok(())
}

#[test]
fn an_advertiser_that_panics_is_started_again_and_adopts_the_vip() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
        let master = lbd(d1, &vrrp(150, ""), &["--test-fault", "advertiser"])?;
        wait_master(d1, &master)?;
        let backup = lbd(d2, &vrrp(100, ""), &[])?;
        wait_status(d2, "d2 hears d1", |status| {
            status.vrrp[0].master.as_ref().is_some_and(|master| master.priority == 150)
        })?;
        let capture = lab.host("client")?.capture("eth0")?;
        let monitor = d1.spawn(["ip", "monitor", "address"])?;
        let advert = advert_of(d1);
        capture.wait_for_count(2, &advert, SOON)?;

        fail_engine(d1)?;
        master.wait_for_line("thread lbd-advertiser panicked at", SOON)?;
        master.wait_for_line("the advertiser failed and was started again: asked to fail", SOON)?;
        let so_far = capture.matching(&advert).len();
        let adverts = capture.wait_for_count(so_far + 3, &advert, SOON)?;
        assert!(adverts.iter().all(|frame| frame.payload[2] == 150), "it did not let go");
        let longest = intervals(&adverts).into_iter().max().unwrap_or_default();
        assert!(
            longest < MASTER_DOWN,
            "no advert for {longest:?}, with an interval of {ADVERT_INT:?}"
        );
        let status = status(d1)?;
        assert_eq!(failures(&status, "advertiser"), 1);
        assert_eq!(status.vrrp[0].state, State::Master);
        assert!(d1.has_address(VIP) && !d2.has_address(VIP));
        assert!(!monitor.output().contains("Deleted"), "{}", monitor.output());
        assert!(!backup.output().contains("MASTER STATE"), "{}", backup.output());
        Ok(())
    })
}

#[test]
fn a_balancer_that_panics_is_started_again_and_vrrp_does_not_notice() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, client) = (lab.host("d1")?, lab.host("client")?);
        let _s1 = lab.host("s1")?.serve("0.0.0.0:80".parse()?)?;
        let config = vrrp(150, "") + &service(&["10.0.0.11"]);
        let lbd = lbd(d1, &config, &["--test-fault", "balancer"])?;
        wait_master(d1, &lbd)?;
        assert_eq!(client.http_get(SERVICE, "/", SOON)?.by, "s1");
        let before = status(d1)?;
        let capture = client.capture("eth0")?;
        let advert = advert_of(d1);

        fail_engine(d1)?;
        let line = lbd.wait_for_line("the balancer failed and was started again", SOON)?;
        assert!(line.text.contains("told to by --test-fault"), "{}", line.text);
        wait_until("the service answers", SOON, || {
            client.http_get(SERVICE, "/", SOON).is_ok_and(|answer| answer.by == "s1")
        })?;
        let after = status(d1)?;
        assert_eq!((failures(&after, "balancer"), failures(&after, "advertiser")), (1, 0));
        assert_eq!(after.vrrp[0].since, before.vrrp[0].since);
        assert!(after.virtual_servers[0].real_servers[0].alive);
        let adverts = capture.wait_for_count(3, &advert, SOON)?;
        assert!(intervals(&adverts).into_iter().all(|gap| gap < 2 * ADVERT_INT));
        Ok(())
    })
}

#[test]
fn a_new_instance_comes_and_goes_with_reloads() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let d1 = lab.host("d1")?;
        write_note(d1)?;
        let one = vrrp(150, "");
        let two = one.clone()
            + &vrrp(150, "notify /run/note")
                .replace("VI_1", "VI_2")
                .replace("id 51", "id 52")
                .replace("10.0.0.100", "10.0.0.101")
                .replace("global_defs", "ignored_block");
        let lbd = lbd(d1, &one, &[])?;
        wait_master(d1, &lbd)?;
        let since = status(d1)?.vrrp[0].since;
        // An unknown block is a complaint that keepalived tolerates, at reload as well.
        reload(d1, &lbd, &two)?;
        lbd.wait_for_line("(VI_2) Entering MASTER STATE", SOON)?;
        assert!(d1.has_address([10, 0, 0, 101]));
        let reloaded = status(d1)?;
        assert!(
            reloaded.daemon.last_reload.is_some_and(|reload| reload.verdict.contains("complaint"))
        );
        reload(d1, &lbd, &one)?;
        wait_until("the second VIP goes", SOON, || !d1.has_address([10, 0, 0, 101]))?;
        wait_status(d1, "VI_2 is gone", |status| status.vrrp.len() == 1)?;
        assert_eq!(status(d1)?.vrrp[0].since, since);
        wait_notes(
            d1,
            &["INSTANCE VI_2 BACKUP 150", "INSTANCE VI_2 MASTER 150", "INSTANCE VI_2 FAULT 150"],
        )
    })
}
