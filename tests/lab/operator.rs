//! What an operator tells a daemon and asks of it: hand-over, maintenance, demotion, why, records.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb_control::{State, Status};
use lb_lab::{Host, Lab, Process, wait_until};
use lb_tests::pulse::undisturbed;
use lb_tests::{
    CONFIG, SOON, Test, lbd, on_one_switch, run, start, status, wait_for_holder, wait_status,
};
use nix::sys::signal::Signal;
use serde_json::Value;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
/// Where hosts keep what outlives a daemon.
const STATE: &[&str] = &["--state-dir", "/run/state"];

/// Two directors on one switch.
fn network() -> anyhow::Result<Option<Lab>> {
    start(on_one_switch(&[("d1", 2), ("d2", 3)]))
}

fn vrrp(priority: u8, more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n \
         priority {priority}\n version 3\n advert_int 0.2\n \
         virtual_ipaddress {{\n {VIP}/24\n }}\n {more}\n}}\n"
    )
}

fn carp(advskew: u8) -> String {
    format!(
        "carp_instance LAN {{\n interface eth0\n vhid 1\n pass secret\n advskew {advskew}\n \
         preempt\n virtual_ipaddress {{\n {VIP}/24\n }}\n}}\n"
    )
}

/// Exit status and output of an `lbctl` command.
fn lbctl(host: &Host, words: &str) -> anyhow::Result<(Option<i32>, String)> {
    run(host, &std::iter::once("lbctl").chain(words.split(' ')).collect::<Vec<_>>())
}

/// What an `lbctl` command says that works.
fn said(host: &Host, words: &str) -> anyhow::Result<String> {
    let (code, text) = lbctl(host, words)?;
    anyhow::ensure!(code == Some(0), "lbctl {words} ends with {code:?}: {text}");
    Ok(text)
}

/// Ends a daemon in order.
fn stop(lbd: &Process) -> Test {
    lbd.signal(Signal::SIGTERM)?;
    assert_eq!(lbd.wait(SOON)?.code(), Some(0));
    Ok(())
}

fn maintained(status: &Status) -> bool {
    status.vrrp[0].maintenance.as_ref().is_some_and(|maintenance| maintenance.persistent)
}

#[test]
fn a_master_hands_over_on_command_and_says_why() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
        let _first = lbd(d1, &vrrp(150, "nopreempt"), STATE)?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        let second = lbd(d2, &vrrp(100, "nopreempt"), STATE)?;
        wait_status(d2, "d2 knows its master", |status| status.vrrp[0].master.is_some())?;

        let answer = said(d1, "handover VI_1")?;
        assert!(answer.starts_with("VI_1 has handed over and is BACKUP now; "), "{answer}");
        assert!(answer.contains("`lbctl maintenance off VI_1`"), "{answer}");
        wait_for_holder(&lab, "d2", VIP, SOON)?;
        let shown = said(d1, "status")?;
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("VI_1 was handed over: "), "{shown}");
        assert!(words.contains("until `lbctl maintenance off VI_1`"), "{shown}");
        let why = said(d1, "why VI_1")?;
        assert!(
            why.contains("MASTER -> BACKUP") && why.contains("the operator handed over"),
            "{why}"
        );
        let why: Value = serde_json::from_str(&said(d1, "why VI_1 --json")?)?;
        let last = why["transitions"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null);
        assert_eq!((&last["from"], &last["to"]), (&"MASTER".into(), &"BACKUP".into()), "{why}");

        let (code, refusal) = lbctl(d1, "handover VI_1")?;
        assert!(code == Some(1) && refusal.contains("only a MASTER"), "{refusal}");
        let (code, refusal) = lbctl(d1, "handover vi_1")?;
        assert!(code == Some(1) && refusal.contains("did you mean `VI_1`"), "{refusal}");

        // With nobody to take over it goes on.
        stop(&second)?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        let (code, refusal) = lbctl(d1, "handover VI_1")?;
        assert!(code == Some(1) && refusal.contains("MASTER still"), "{refusal}");
        assert!(d1.has_address(VIP));
        assert!(!said(d1, "status")?.contains("handed over"));

        // A reload gives it another name, under which it is MASTER as before.
        d1.write_file(CONFIG, vrrp(150, "nopreempt").replace("VI_1", "LAN"))?;
        said(d1, "reload")?;
        let (code, refusal) = lbctl(d1, "handover LAN")?;
        assert!(code == Some(1) && refusal.contains("LAN is MASTER still"), "{refusal}");
        Ok(())
    })
}

#[test]
fn maintenance_outlives_failures_and_restarts() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
        let options = [STATE, &["--test-fault", "advertiser"]].concat();
        let first = lbd(d1, &vrrp(150, ""), &options)?;
        let _second = lbd(d2, &vrrp(100, ""), STATE)?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;

        let answer = said(d1, "maintenance on --persist")?;
        assert!(answer.contains("over restarts too"), "{answer}");
        wait_for_holder(&lab, "d2", VIP, SOON)?;
        let shown = status(d1)?;
        assert!(maintained(&shown), "{shown:?}");
        let text = said(d1, "status")?;
        assert!(text.contains("is in maintenance by root since"), "{text}");

        // The advertiser fails: the next one is in maintenance from its start.
        let sigrtmax = ["kill", "-64", &shown.daemon.pid.to_string()];
        assert_eq!(run(d1, &sigrtmax)?.0, Some(0));
        first.wait_for_line("the advertiser failed and was started again", SOON)?;
        let shown = wait_status(d1, "it runs again", |status| !status.vrrp.is_empty())?;
        assert!(maintained(&shown), "{shown:?}");

        stop(&first)?;
        let first = lbd(d1, &vrrp(150, ""), STATE)?;
        let shown =
            wait_status(d1, "d1 knows its master", |status| status.vrrp[0].master.is_some())?;
        assert!(maintained(&shown), "{shown:?}");
        assert_eq!((shown.vrrp[0].state, shown.vrrp[0].effective_priority), (State::Backup, 1));
        assert!(first.lines().iter().all(|line| !line.text.contains("MASTER STATE")));

        // A reload keeps it, also for the instance of another interface or number.
        d1.write_file(CONFIG, vrrp(150, "").replace("_id 51", "_id 52"))?;
        said(d1, "reload")?;
        wait_status(d1, "the new instance is in maintenance", |status| {
            status.vrrp[0].vrid == 52 && maintained(status)
        })?;
        d1.write_file(CONFIG, vrrp(150, ""))?;
        said(d1, "reload")?;

        assert!(said(d1, "maintenance off")?.contains("no instance is in maintenance any longer"));
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        stop(&first)?;
        let _first = lbd(d1, &vrrp(150, ""), STATE)?;
        assert_eq!(status(d1)?.vrrp[0].maintenance, None);
        Ok(())
    })
}

#[test]
fn a_broken_state_file_keeps_nobody_from_starting() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let d1 = lab.host("d1")?;
    d1.write_file("/run/state/maintenance.json", "{\"version\": 1, \"all\"")?;
    let first = lbd(d1, &vrrp(150, ""), STATE)?;
    first.wait_for_line("nothing is in maintenance", SOON)?;
    wait_for_holder(&lab, "d1", VIP, SOON).map(drop)
}

#[test]
fn a_demoted_carp_router_gives_way_and_comes_back() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
        let _first = lbd(d1, &carp(0), STATE)?;
        let _second = lbd(d2, &carp(100), STATE)?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        let shown = said(d1, "carp")?;
        assert!(shown.contains("\tcarp: MASTER vhid 1 advbase 1 advskew 0\n"), "{shown}");

        let answer = said(d1, "carp demote carp 50")?;
        assert!(answer.contains("demoted by 50"), "{answer}");
        wait_for_holder(&lab, "d2", VIP, SOON)?;
        let shown = said(d1, "carp")?;
        assert!(shown.contains("group carp demotion 50 (50 by the operator)"), "{shown}");
        assert_eq!(said(d1, "carp promote carp 50")?, "group carp is not demoted\n");
        wait_for_holder(&lab, "d1", VIP, SOON)?;

        let (code, refusal) = lbctl(d1, "carp demote crap")?;
        assert!(code == Some(1) && refusal.contains("did you mean `carp`"), "{refusal}");
        Ok(())
    })
}

#[test]
fn a_recorded_incident_replays_with_the_same_transitions() -> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
        let options = [STATE, &["--record", "/run/record"]].concat();
        let first = lbd(d1, &vrrp(150, ""), &options)?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        lab.cut("d1", "eth0")?;
        first.wait_for_line("(VI_1) Entering FAULT STATE", SOON)?;
        let seen = first.lines().len();
        lab.mend("d1", "eth0")?;
        first.wait_for_line_after(seen, "(VI_1) Entering MASTER STATE", SOON)?;
        let second = lbd(d2, &vrrp(200, ""), STATE)?;
        wait_for_holder(&lab, "d2", VIP, SOON)?;
        d1.write_file(CONFIG, vrrp(120, ""))?;
        said(d1, "reload")?;
        stop(&second)?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        stop(&first)?;

        let story: Value = serde_json::from_str(&said(d1, "replay --json /run/record")?)?;
        let run = &story["runs"][0];
        assert!(run["ended"].is_number(), "{run}");
        let happenings = run["story"].as_array().cloned().unwrap_or_default();
        let roles = happenings.iter().filter(|one| one["what"] == "role");
        let replayed: Vec<String> =
            roles.map(|role| role["to"].as_str().unwrap_or_default().to_owned()).collect();
        let lines = first.lines();
        let entered = lines.iter().filter_map(|line| line.text.split_once("(VI_1) Entering "));
        let mut lived: Vec<&str> =
            entered.filter_map(|(_, rest)| Some(rest.split_once(' ')?.0)).collect();
        lived.push("STOP");
        assert_eq!(replayed, lived, "{run}");
        assert!(lived.len() >= 8, "{lived:?}");
        let text = said(d1, "replay /run/record")?;
        assert!(text.contains("another configuration is put in force"), "{text}");
        assert!(text.contains("the record ends in order"), "{text}");
        wait_until("d1 has let go", Duration::from_secs(1), || !d1.has_address(VIP))?;
        Ok(())
    })
}
