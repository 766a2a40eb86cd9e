//! Scripts whose result decides something, where the host makes it hard for them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lb_control::State;
use lb_lab::{Host, Process, wait_until};
use lb_tests::{CONFIG, SOON, Test, on_one_switch, programs, run, start, status, wait_status};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// An instance that tracks a script, and a virtual server with what `checks` says of its server.
fn config(script: &str, checks: &str) -> String {
    format!(
        "vrrp_script tracked {{\n script \"{script}\"\n interval 0.3\n timeout 0.3\n user nobody\n}}\n\
         vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n priority 150\n advert_int 0.2\n\
         version 3\n virtual_ipaddress {{\n  10.0.0.100/24\n }}\n track_script {{\n  tracked\n }}\n}}\n\
         virtual_server 10.0.0.2 8080 {{\n delay_loop 1\n protocol TCP\n lb_algo rr\n lb_kind NAT\n\
         real_server 10.0.0.66 80 {{\n  {checks}\n }}\n}}\n"
    )
}

/// Starts lbd by way of another program.
fn start_by(host: &Host, way: &[&str], config: &str, more: &[&str]) -> anyhow::Result<Process> {
    host.write_file(CONFIG, config)?;
    let program = programs()?.join("lbd").display().to_string();
    let lbd = host.spawn([way, &[&program, "-n", "-l", "-D", "-G"], more].concat())?;
    lbd.wait_for_line("Startup complete", SOON)?;
    Ok(lbd)
}

/// Waits for what is not a matter of the lab.
fn is_state(host: &Host, state: State) -> Test {
    let what = format!("VI_1 in {state}");
    wait_status(host, &what, |status| status.vrrp[0].state == state).map(drop)
}

#[test]
fn a_thousand_idle_clients_of_the_relay_take_nothing_from_a_tracked_script() -> Test {
    const CLIENTS: usize = 1_024;
    let Some(lab) = start(on_one_switch(&[("d1", 2), ("other", 66)]))? else { return Ok(()) };
    let (d1, other) = (lab.host("d1")?, lab.host("other")?);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let server = other.run(|| TcpListener::bind("10.0.0.66:80"))??;
    thread::spawn(move || server.incoming().collect::<Vec<_>>()); // all of them are kept
    let limit = ["prlimit", "--nofile=2048:2048"];
    let lbd = start_by(d1, &limit, &config("/bin/true", ""), &["--dataplane", "relay"])?;
    is_state(d1, State::Master)?;

    let service: SocketAddr = "10.0.0.2:8080".parse()?;
    let clients = other.run(|| {
        let connect = |_| TcpStream::connect_timeout(&service, SOON).ok();
        (0..CLIENTS).filter_map(connect).collect::<Vec<_>>()
    })?;
    let full = wait_status(d1, "a full relay", |status| {
        let relay = status.daemon.relay.unwrap_or_default();
        relay.displaced + relay.refused + relay.clients >= CLIENTS as u64
    })?;
    let relay = full.daemon.relay.unwrap_or_default();
    assert!(relay.clients > 0 && relay.clients <= relay.most / 2, "{relay:?}");
    // Its next runs, a dozen of them.
    let until = std::time::Instant::now() + Duration::from_secs(4);
    while std::time::Instant::now() < until {
        let status = status(d1)?;
        let script = &status.daemon.tracked_scripts[0];
        assert!(script.success && script.not_run == 0, "{script:?}");
        assert_eq!(status.vrrp[0].state, State::Master);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!lbd.output().contains("Too many open files"), "{}", lbd.tail(20));
    let (_, shown) = run(d1, &["lbctl", "status"])?;
    assert!(shown.contains(&format!("clients of {}", relay.most)), "{shown}");
    drop(clients); // not before
    Ok(())
}

/// A script that succeeds, and hangs once there is a file; each of its runs is a line of `RUNS`.
fn hanging(name: &str) -> String {
    format!("#!/bin/sh\necho run >>/run/{name}.runs\nwhile test -e /run/hang; do sleep 0.1; done\n")
}

/// What SIGKILL does not end is played by a script of another user, whom this lbd may not signal.
#[test]
fn a_script_that_does_not_end_by_sigkill_has_failed_and_is_not_started_again() -> Test {
    let Some(lab) = start(on_one_switch(&[("d1", 2), ("other", 66)]))? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    let (code, text) = run(d1, &["setpriv", "--reuid=65534", "--clear-groups", "true"])?;
    if code != Some(0) {
        lb_skip::skip(format_args!("only root can run what it may not signal: {text}"));
        return Ok(());
    }
    for name in ["tracked", "check"] {
        d1.write_script(format!("/run/{name}"), hanging(name))?;
        let runs = format!("/run/{name}.runs");
        d1.write_file(&runs, "")?;
        let (code, text) = run(d1, &["chmod", "666", &runs])?;
        anyhow::ensure!(code == Some(0), "{text}");
    }
    let check =
        "MISC_CHECK {\n misc_path \"/run/check\"\n misc_timeout 1\n user nobody\n warmup 0\n }";
    let way = ["setpriv", "--bounding-set=-kill"];
    let config = config("/run/tracked", check);
    let lbd = start_by(d1, &way, &config, &["--dataplane", "none"])?;
    is_state(d1, State::Master)?;
    wait_status(d1, "a checked server", |status| {
        let real = &status.virtual_servers[0].real_servers[0];
        real.health == "up" && real.checks.iter().all(|check| check.last.is_some())
    })?;

    d1.write_file("/run/hang", "")?;
    is_state(d1, State::Fault)?;
    wait_status(d1, "a server that is down", |status| {
        let real = &status.virtual_servers[0].real_servers[0];
        real.health == "down" && format!("{:?}", real.checks).contains("not even by SIGKILL")
    })?;
    let runs =
        |name: &str| Ok::<_, anyhow::Error>(d1.read_file(format!("/run/{name}.runs"))?.len());
    let before = (runs("tracked")?, runs("check")?);
    let failed = status(d1)?.daemon.tracked_scripts.remove(0);
    assert!(failed.last.is_some_and(|last| last.contains("not even by SIGKILL")));
    // Several times that both are due.
    thread::sleep(Duration::from_secs(3));
    assert_eq!((runs("tracked")?, runs("check")?), before);
    let said = lbd.output().matches("Script `tracked` now returning a failure").count();
    assert_eq!(said, 1, "{}", lbd.output());

    let (code, text) = run(d1, &["rm", "/run/hang"])?;
    anyhow::ensure!(code == Some(0), "{text}");
    is_state(d1, State::Master)?;
    wait_until("the server up again", SOON, || {
        status(d1).is_ok_and(|s| s.virtual_servers[0].real_servers[0].health == "up")
    })?;
    Ok(())
}
