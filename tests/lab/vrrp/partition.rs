//! After a partition has healed, clients find the MASTER.

use std::net::{IpAddr, UdpSocket};
use std::time::SystemTime;

use anyhow::Context;
use lb_lab::{Host, wait_until};
use lb_tests::{SOON, Test, run, wait_notes, write_note};

use crate::config::Daemon::{Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{Stage, side_by_side, stage};

/// The phase of the two masters to each other decides who hears the other first.
const TIMES: usize = 3;

#[test]
fn clients_find_the_master_when_a_partition_has_healed() -> Test {
    // A keepalived that yields without a word leaves the other in ignorance.
    let speaks = "higher_prio_send_advert on";
    let pairs = [(Lbd, Lbd, ""), (Keepalived, Lbd, ""), (Lbd, Keepalived, speaks)];
    let cells = pairs.into_iter().flat_map(|(high, low, more)| {
        [false, true].map(|ipv6| {
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            let vrrp = |priority| {
                let vrrp = Vrrp::new(priority).with("notify /run/note");
                if ipv6 { vrrp.ipv6() } else { vrrp }
            };
            let (one, two) = (vrrp(150), vrrp(100).with(more));
            (format!("{high:?} before {low:?}, {family}"), (high, low, one, two))
        })
    });
    side_by_side(cells, |(high, low, one, two)| {
        let client = Router { host: "d3", daemon: Lbd, config: String::new() };
        let routers = [Router::new("d1", high, &[&one]), Router::new("d2", low, &[&two]), client];
        stage(&routers, |stage| play(stage, &one, &two))
    })
}

fn play(stage: &mut Stage, one: &Vrrp, two: &Vrrp) -> Test {
    for host in ["d1", "d2"] {
        write_note(stage.host(host)?)?;
    }
    run(stage.host("d3")?, &["ip", "address", "add", "2001:db8::103/64", "dev", "eth0", "nodad"])?;
    let started = stage.start("d2")?;
    stage.takes("d2", two, started.start, started.end)?;
    let started = stage.start("d1")?;
    stage.takes("d1", one, started.start, started.end)?;
    let enters = |state: &str, priority: u8| format!("INSTANCE VI_1 {state} {priority}");
    let its = ["BACKUP", "MASTER"].map(|state| enters(state, 150));
    let mut others = ["BACKUP", "MASTER", "BACKUP"].map(|state| enters(state, 100)).to_vec();
    for time in 1..=TIMES {
        let vip = one.vip();
        is_found(stage, vip, "d1")?;
        // The client is on the other side.
        stage.part("d1", "eth0")?;
        is_found(stage, vip, "d2")?;
        stage.mend("d1", "eth0")?;
        stage.alone(vip, "d1", SystemTime::now())?;
        leads_to(stage, vip, "d1").with_context(|| format!("time {time}"))?;
        // No script runs that a change of state does not run.
        others.extend(["MASTER", "BACKUP"].map(|state| enters(state, 100)));
        for (host, notes) in [("d1", &its[..]), ("d2", &others[..])] {
            let notes: Vec<&str> = notes.iter().map(String::as_str).collect();
            wait_notes(stage.host(host)?, &notes).context(host)?;
        }
    }
    Ok(())
}

/// The client asks for the address and has found it at a host.
fn is_found(stage: &Stage, vip: IpAddr, host: &str) -> Test {
    let client = stage.host("d3")?;
    let unspecified = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // Where nobody listens, whoever hears it.
    client.run(|| UdpSocket::bind(unspecified)?.send_to(&[0], (vip, 9)))??;
    leads_to(stage, vip, host)
}

/// What the client remembers of the address leads to a host, soon.
fn leads_to(stage: &Stage, vip: IpAddr, host: &str) -> Test {
    let client = stage.host("d3")?;
    let mac = stage.host(host)?.read_file("/sys/class/net/eth0/address")?;
    let what = format!("the client finds {vip} at {host}");
    let found = || remembered(client, vip).is_ok_and(|found| found.contains(mac.trim()));
    wait_until(&what, SOON, found)
        .map(drop)
        .with_context(|| format!("{host} is {mac}; {:?}", remembered(client, vip)))
}

fn remembered(client: &Host, vip: IpAddr) -> anyhow::Result<String> {
    Ok(run(client, &["ip", "neighbour", "show", "to", &vip.to_string(), "dev", "eth0"])?.1)
}
