//! What happens to the table while servers die, files change, and others meddle; and what does not.

use anyhow::{Context, Result};
use lb_lab::{Host, Lab, Server};
use nix::sys::signal::Signal;

use crate::site::{Director, Session, ask, behind_a_gateway, run, start, virtual_server};
use crate::tap::Tap;

const VIP: &str = "192.0.2.100:80";
const SERVICE: &str = "-A -t 192.0.2.100:80 -s rr";
const W1: &str = "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -m -w 1";
const W2: &str = "-a -t 192.0.2.100:80 -r 10.0.0.12:80 -m -w 1";
const W3: &str = "-a -t 192.0.2.100:80 -r 10.0.0.13:80 -m -w 1";

fn config(servers: &[&str]) -> String {
    with("", servers)
}

fn with(more: &str, servers: &[&str]) -> String {
    let settings = format!("protocol TCP\n  lvs_sched rr\n  lvs_method NAT\n  {more}");
    virtual_server("192.0.2.100 80", &settings, servers)
}

fn serve(lab: &Lab, names: &[&str]) -> Result<Vec<Server>> {
    let serve = |name: &&str| {
        let host = lab.host(name)?;
        let number = name.trim_start_matches('w');
        Ok(host.serve(format!("10.0.0.1{number}:80").parse()?)?)
    };
    names.iter().map(serve).collect()
}

/// The connections that the status counts at each server.
fn connections(director: &Director<'_>) -> Result<Vec<u64>> {
    let status = director.status()?;
    let server = status.virtual_servers.first().context("no virtual server")?;
    Ok(server.real_servers.iter().map(|real| real.connections.active).collect())
}

#[test]
fn a_dying_server_leaves_and_the_sorry_server_serves_when_all_are_dead() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(3))? else { return Ok(()) };
    let (c, d) = (lab.host("c")?, lab.host("d")?);
    let mut servers = serve(&lab, &["w1", "w2", "w3"])?;
    let config = with("sorry_server 10.0.0.13 80", &["10.0.0.11 80", "10.0.0.12 80"]);
    let director = Director::start(d, &config)?;
    assert_eq!(director.table()?, [SERVICE, W1, W2]);

    // The kernel hears of it before the log.
    drop(servers.remove(1));
    director.says(0, "Removing service [10.0.0.12]:tcp:80 from VS [192.0.2.100]:tcp:80")?;
    assert_eq!(director.table()?, [SERVICE, W1]);
    assert_eq!(ask(c, VIP, 4)?, ["w1"; 4]);

    drop(servers.remove(0));
    director.says(0, "Adding sorry server")?;
    assert_eq!(director.table()?, [SERVICE, W3]);
    assert_eq!(ask(c, VIP, 4)?, ["w3"; 4]);
    assert!(director.status()?.virtual_servers.iter().all(|server| server.sorry_active));

    servers.extend(serve(&lab, &["w2"])?);
    director.says(0, "Removing sorry server")?;
    assert_eq!(director.table()?, [SERVICE, W2]);
    assert_eq!(ask(c, VIP, 4)?, ["w2"; 4]);
    Ok(())
}

#[test]
fn an_inhibited_server_stays_with_weight_0() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(2))? else { return Ok(()) };
    let mut servers = serve(&lab, &["w1", "w2"])?;
    let config = with("inhibit_on_failure", &["10.0.0.11 80", "10.0.0.12 80"]);
    let director = Director::start(lab.host("d")?, &config)?;
    let mut old = Session::open(lab.host("c")?, VIP)?;
    let by = old.ask()?;
    drop(servers.remove(1));
    director.says(0, "Disabling service [10.0.0.12]:tcp:80 of VS")?;
    let gone = W2.replace("-w 1", "-w 0");
    assert_eq!(director.table()?, [SERVICE, W1, gone.as_str()]);
    if by == "w1" {
        assert_eq!(old.ask()?, by);
    }
    Ok(())
}

#[test]
fn a_reload_with_one_more_server_sends_one_request() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(3))? else { return Ok(()) };
    let (c, d) = (lab.host("c")?, lab.host("d")?);
    let _servers = serve(&lab, &["w1", "w2", "w3"])?;
    let tap = Tap::new(d)?;
    let director = Director::start(d, &config(&["10.0.0.11 80", "10.0.0.12 80"]))?;
    // The tap tells what it takes to make a table: this is what the reload must not do again.
    assert_eq!(tap.changes()?, ["NEW_SERVICE", "NEW_DEST", "NEW_DEST"]);
    let mut old = Session::open(c, VIP)?;
    let by = old.ask()?;

    tap.clear()?;
    director.reload(&config(&["10.0.0.11 80", "10.0.0.12 80", "10.0.0.13 80"]))?;
    assert_eq!(tap.changes()?, ["NEW_DEST"]);
    assert_eq!(director.table()?, [SERVICE, W1, W2, W3]);
    assert_eq!(old.ask()?, by);

    // The same file again changes nothing, and one server less is one request again.
    tap.clear()?;
    director.reload(&config(&["10.0.0.11 80", "10.0.0.12 80", "10.0.0.13 80"]))?;
    assert_eq!(tap.changes()?, [""; 0]);
    director.reload(&config(&["10.0.0.11 80", "10.0.0.12 80"]))?;
    assert_eq!(tap.changes()?, ["DEL_DEST"]);

    // A file that is refused changes nothing either.
    tap.clear()?;
    let nonsense = "vrrp_instance VI {\n  interface eth0\n}\n";
    d.write_file("/run/lbd.conf", config(&["10.0.0.14 80"]) + nonsense)?;
    director.lbd.signal(Signal::SIGHUP)?;
    director.says(0, "refused, the old configuration runs on")?;
    assert_eq!(tap.changes()?, [""; 0]);
    assert_eq!(director.table()?, [SERVICE, W1, W2]);
    Ok(())
}

#[test]
fn what_others_do_to_the_table_is_repaired() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(2))? else { return Ok(()) };
    let (c, d) = (lab.host("c")?, lab.host("d")?);
    let _servers = serve(&lab, &["w1", "w2"])?;
    let director = Director::start(d, &config(&["10.0.0.11 80", "10.0.0.12 80"]))?;
    for meddling in [
        "ipvsadm -C",
        "ipvsadm -D -t 192.0.2.100:80",
        "ipvsadm -d -t 192.0.2.100:80 -r 10.0.0.12:80",
        "ipvsadm -e -t 192.0.2.100:80 -r 10.0.0.12:80 -m -w 0",
        "ipvsadm -a -t 192.0.2.100:80 -r 10.0.0.99:80 -m",
        "ipvsadm -E -t 192.0.2.100:80 -s lc",
    ] {
        let said = director.said();
        run(d, meddling)?;
        director.says(said, "changed by another program; repaired").context(meddling)?;
        assert_eq!(director.table()?, [SERVICE, W1, W2], "{meddling}");
    }
    assert_eq!(ask(c, VIP, 4)?, ["w1", "w1", "w2", "w2"]);
    Ok(())
}

/// Runs `again`, which replaces what manages the table, and shows that connections and table do not notice.
fn survives<'a>(
    lab: &'a Lab,
    options: &[&str],
    again: impl FnOnce(Director<'a>, &Host) -> Result<Director<'a>>,
) -> Result<()> {
    let (c, d) = (lab.host("c")?, lab.host("d")?);
    let _servers = serve(lab, &["w1", "w2"])?;
    let tap = Tap::new(d)?;
    let director = Director::start_with(d, &config(&["10.0.0.11 80", "10.0.0.12 80"]), options)?;
    let mut old = Vec::new();
    for _ in 0..2 {
        let mut session = Session::open(c, VIP)?;
        old.push((session.ask()?, session));
    }
    old.sort_by_key(|(by, _)| by.clone());
    let [(one, _), (other, _)] = &old[..] else { unreachable!("there are two") };
    assert_eq!((one.as_str(), other.as_str()), ("w1", "w2"));
    assert_eq!(connections(&director)?, [1, 1]);

    tap.clear()?;
    let director = again(director, d)?;
    assert_eq!(tap.changes()?, [""; 0], "the table was right already");
    assert_eq!(director.table()?, [SERVICE, W1, W2]);
    for (by, session) in &mut old {
        assert_eq!(&session.ask()?, by);
    }
    assert_eq!(connections(&director)?, [1, 1]);
    director.stop()?;
    assert_eq!(director.table()?, [""; 0]);
    Ok(())
}

#[test]
fn a_restart_after_kill_9_keeps_established_connections() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(2))? else { return Ok(()) };
    survives(&lab, &[], |director, d| {
        director.lbd.kill();
        assert_eq!(director.table()?, [SERVICE, W1, W2], "nobody removed anything");
        Director::start(director.host, &d.read_file("/run/lbd.conf")?)
    })
}

#[test]
fn a_panic_of_the_balancer_keeps_established_connections() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(2))? else { return Ok(()) };
    survives(&lab, &["--test-fault", "balancer"], |director, d| {
        d.exec(["bash", "-c", "kill -RTMAX $(cat /run/lbd.pid)"])?;
        director.says(0, "the balancer failed and was started again")?;
        Ok(director)
    })
}
