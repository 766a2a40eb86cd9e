//! Packets that are not for us.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use lb_control::status::VrrpCounters;
use lb_tests::{SOON, Test, wait_status};

use crate::config::Daemon::{Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{side_by_side, stage};
use crate::times::{is_after, lateness};

#[test]
fn what_breaks_a_rule_is_ignored_and_counted() -> Test {
    type Counter = fn(&VrrpCounters) -> u64;
    let ours = Vrrp { password: Some("right"), ..Vrrp::new(100).version2() };
    let theirs = |password| Vrrp { password, priority: 200, ..ours.clone() };
    let slow = ours.clone().every(Duration::from_secs(2));
    let cases: [(&str, Vrrp, Vrrp, Counter); 4] = [
        ("another password", ours.clone(), theirs(Some("wrong")), |c| c.auth_failure),
        ("no password", ours.clone(), theirs(None), |c| c.authtype_mismatch),
        ("another interval", slow, theirs(Some("right")), |c| c.advert_interval_err),
        ("another version", ours.clone(), Vrrp::new(200), |c| c.version_err),
    ];
    let named = cases.map(|(name, ours, theirs, counter)| (name, (ours, theirs, counter)));
    side_by_side(named, |(ours, theirs, counter)| {
        let routers = [Router::new("d1", Lbd, &[&ours]), Router::new("d2", Keepalived, &[&theirs])];
        stage(&routers, |stage| {
            stage.start("d2")?;
            stage.wait_for_adverts("d2", UNIX_EPOCH, 1)?;
            let started = stage.start("d1")?;
            // As if nobody were there.
            let first = stage.wait_for_adverts("d1", started.start, 1)?.remove(0);
            let late = started.end.duration_since(started.start)? + lateness(&ours);
            is_after("MASTER", started.start, first.at, ours.master_down(), late)?;
            let sent = stage.wait_for_adverts("d2", started.end, 3)?.len() as u64;
            let status = wait_status(stage.host("d1")?, "the packets counted", |status| {
                status.vrrp.iter().any(|vrrp| counter(&vrrp.counters) >= sent)
            })?;
            let counters = status.vrrp.first().context("no instance")?.counters;
            ensure!(counters.advert_rcvd == 0, "accepted some: {counters:?}");
            // Said once, not with every packet.
            let said = stage.daemon("d1")?.output();
            let said = said.lines().filter(|line| line.contains("192.0.2.2")).count();
            ensure!(said == 1, "said {said} times");
            Ok(())
        })
    })
}

#[test]
fn virtual_routers_of_others_do_not_wake_us() -> Test {
    let ours = Vrrp::new(100).every(Duration::from_secs(1));
    let theirs = Vrrp {
        vrid: 52,
        vips: vec!["192.0.2.200/24"],
        ..Vrrp::new(100).every(Duration::from_millis(10))
    };
    let routers = [Router::new("d1", Lbd, &[&ours]), Router::new("d2", Keepalived, &[&theirs])];
    stage(&routers, |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", &ours, started.start, started.end)?;
        let started = stage.start("d2")?;
        stage.wait_for_adverts("d2", started.start, 1)?;
        let pid = stage.daemon("d1")?.pid().as_raw();
        let before = wake_ups(pid)?;
        let since = SystemTime::now();
        let foreign = stage.wait_for_adverts("d2", since, 150)?.len() as u64;
        let woken = wake_ups(pid)? - before;
        // Its own advertisements and announcements, a few in that time.
        ensure!(woken < foreign / 5, "woken {woken} times by {foreign} foreign advertisements");
        let status = wait_status(stage.host("d1")?, "a status", |_| true)?;
        let counters = status.vrrp.first().context("no instance")?.counters;
        ensure!(counters.advert_rcvd == 0, "heard a foreign router: {counters:?}");
        stage.daemon("d1")?.signal(nix::sys::signal::Signal::SIGTERM)?;
        stage.daemon("d1")?.wait(SOON)?;
        Ok(())
    })
}

/// How often the advertiser's thread has gone to sleep of its own accord. proc_pid_status(5).
fn wake_ups(pid: i32) -> anyhow::Result<u64> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let value = |key: &str| {
            status
                .lines()
                .find_map(|line| Some(line.strip_prefix(key)?.trim_start_matches(':').trim()))
        };
        // The kernel keeps the first 15 octets of a thread's name.
        if value("Name").is_some_and(|name| name.starts_with("lbd-advertiser")) {
            return Ok(value("voluntary_ctxt_switches").context("no such counter")?.parse()?);
        }
    }
    anyhow::bail!("no thread of the advertiser in process {pid}")
}

#[test]
fn a_stranger_with_our_address_is_named_with_its_mac() -> Test {
    let ours = Vrrp::new(100).every(Duration::from_millis(100));
    let theirs = Vrrp { vrid: 52, ..ours.clone() };
    let routers = [Router::new("d1", Lbd, &[&ours]), Router::new("d2", Keepalived, &[&theirs])];
    stage(&routers, |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", &ours, started.start, started.end)?;
        stage.start("d2")?;
        let status = wait_status(stage.host("d1")?, "the stranger named", |status| {
            status.vrrp.iter().any(|vrrp| !vrrp.conflicts.is_empty())
        })?;
        let conflict = status.vrrp[0].conflicts.first().context("no conflict")?;
        ensure!(conflict.kind == "foreign_mac", "{conflict:?}");
        let address = stage.host("d2")?.exec(["cat", "/sys/class/net/eth0/address"])?;
        let address = String::from_utf8_lossy(&address.stdout);
        ensure!(address.trim() == conflict.from, "{} is not {address}", conflict.from);
        stage.daemon("d1")?.wait_for_line(&conflict.verdict, SOON)?;
        Ok(())
    })
}
