//! What both daemons log of the same events.
//!
//! People, alerts and log analysers know keepalived's lines: they are an interface. One scenario is
//! played by two pairs, one of either daemon, and each kind of line that keepalived logs with `-D`
//! has to be in our log too.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::ensure;
use lb_tests::{SOON, Test};

use crate::config::{Daemon, Router, Vrrp};
use crate::stage::{Stage, stage};

/// Lines of keepalived that tell of itself: its files, sockets and processes.
const OWN: [&str; 14] = [
    "Starting Keepalived",
    "Running on Linux",
    "Command line:",
    "              ",
    "Opening file",
    "NOTICE: setting config option max_auto_priority",
    "Registering ",
    "Child process ",
    "Assigned address",
    "VRRP sockpool:",
    "CPU usage",
    "Stopped Keepalived",
    "Stopped - used",
    // Of one reload it logs two lines.
    "Reloading\n",
];

const SCRIPT: &str = "vrrp_script chk {\n script \"/usr/bin/test -e /run/healthy\"\n interval 1\n \
                      weight 60\n fall 1\n rise 1\n}\n";

#[test]
fn each_line_that_keepalived_logs_of_an_election_is_logged() -> Test {
    let theirs = play(Daemon::Keepalived)?;
    let ours = play(Daemon::Lbd)?;
    let (Some(theirs), Some(ours)) = (theirs, ours) else { return Ok(()) };
    for ((host, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        let missing: Vec<_> = theirs.difference(ours).collect();
        ensure!(missing.is_empty(), "{host} does not log {missing:#?}; it logs {ours:#?}");
    }
    Ok(())
}

/// The kinds of lines of each router; `None` where there are no labs.
fn play(daemon: Daemon) -> anyhow::Result<Option<Vec<(&'static str, BTreeSet<String>)>>> {
    let one = Vrrp::new(90).with("track_script {\n chk\n}");
    let two = Vrrp::new(100);
    let routers =
        [Router::new("d1", daemon, &[&one]).with(SCRIPT), Router::new("d2", daemon, &[&two])];
    let mut kinds = None;
    stage(&routers, |stage| {
        kinds = Some(scenario(stage)?);
        Ok(())
    })?;
    Ok(kinds)
}

fn scenario(stage: &mut Stage) -> anyhow::Result<Vec<(&'static str, BTreeSet<String>)>> {
    let vip = Vrrp::new(100).vip();
    stage.start("d2")?;
    let mut at = stage.step("d2 alone".into());
    stage.alone(vip, "d2", at)?;
    stage.start("d1")?;
    // A better one comes, is worse, and is better again.
    at = stage.act("d1", "heals", |host| host.write_file("/run/healthy", ""))?;
    stage.alone(vip, "d1", at)?;
    at = stage
        .act("d1", "falls ill", |host| host.run(|| fs::remove_file("/run/healthy")).map(drop))?;
    stage.alone(vip, "d2", at)?;
    at = stage.act("d1", "heals", |host| host.write_file("/run/healthy", ""))?;
    stage.alone(vip, "d1", at)?;
    // Its interface fails.
    at = stage.cut("d1", "eth0")?;
    stage.alone(vip, "d2", at)?;
    at = stage.mend("d1", "eth0")?;
    stage.alone(vip, "d1", at)?;
    stage.daemon("d1")?.wait_for_line("Netlink reports eth0 up", SOON)?;
    // A reload without a change, and the end.
    let file = stage.host("d1")?.read_file(lb_tests::CONFIG)?;
    stage.reload("d1", &file)?;
    stage.daemon("d1")?.wait_for_line("Reload complete", SOON)?;
    at = stage.stop("d1")?;
    stage.alone(vip, "d2", at)?;
    stage.daemon("d1")?.wait(SOON)?;
    // The second block of announcements comes a second after the first.
    stage.wait_to_read("d2", at + Duration::from_millis(900), 1, SOON, |_| Some(()))?;
    stage.stop("d2")?;
    stage.daemon("d2")?.wait(SOON)?;
    ["d1", "d2"].map(|host| Ok((host, lines(&stage.daemon(host)?.output())))).into_iter().collect()
}

/// The kinds of lines in a log: without times, numbers of processes, and what we append.
fn lines(log: &str) -> BTreeSet<String> {
    let kind = |line: &str| {
        // "Mon Nov 30 16:01:50 2026: "
        let text = line.split_once(" 20")?.1.split_once(": ")?.1;
        let own = format!("{text}\n");
        if OWN.iter().any(|start| own.starts_with(start)) {
            return None;
        }
        let text = match text.split_once(" STATE (") {
            Some((before, _)) => format!("{before} STATE"),
            None => text.to_owned(),
        };
        let text = match text.split_once("pid=") {
            Some((before, _)) => before.to_owned(),
            None => text,
        };
        let text =
            text.split_once("Reload complete").map_or(text.clone(), |_| "Reload complete".into());
        Some(text)
    };
    log.lines().filter_map(kind).collect()
}
