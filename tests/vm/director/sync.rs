//! The kernel's sync daemons: who runs when, and what they are for.

use anyhow::{Context, Result};
use lb_lab::{Host, HostSpec, Topology, wait_until};

use crate::site::{Director, SOON, Session, client, run, start, virtual_server};
use crate::tap::Tap;

/// What `ipvsadm` says of the daemons, in words: `backup eth2 51`.
fn daemons(host: &Host) -> Result<Vec<String>> {
    let text = run(host, "ipvsadm --list --daemon")?;
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.contains("sync daemon")) {
        let (role, rest) = line.split_once(' ').context("a role")?;
        let settings = rest.split_once("mcast=").context("an interface")?.1;
        let (interface, rest) = settings.split_once(',').context("an interface")?;
        let id = rest.split_once("syncid=").context("an id")?.1;
        let id: String = id.chars().take_while(char::is_ascii_digit).collect();
        found.push(format!("{role} {interface} {id}"));
    }
    Ok(found)
}

fn reaches(host: &Host, expected: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    let done = wait_until(&format!("{} runs {expected:?}", host.name()), SOON, || {
        last = daemons(host).unwrap_or_default();
        last == expected
    });
    done.with_context(|| format!("{last:?}"))?;
    Ok(())
}

/// A director `d` with an interface for state synchronisation, and nothing to forward.
fn lone() -> Topology {
    Topology::new(["out", "sync"]).host(
        HostSpec::new("d").interface("eth0", "out", ["192.0.2.1/24"]).interface(
            "eth2",
            "sync",
            ["10.9.9.1/24"],
        ),
    )
}

fn globals(line: &str) -> String {
    format!("global_defs {{\n  vrrp_version 3\n  {line}\n}}\n")
}

fn vrrp(name: &str, interface: &str, vrid: u8, priority: u8, vip: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n  state BACKUP\n  interface {interface}\n  virtual_router_id {vrid}\n  \
         priority {priority}\n  advert_int 0.5\n  virtual_ipaddress {{\n    {vip}\n  }}\n}}\n"
    )
}

#[test]
fn without_an_instance_both_daemons_run_from_start_to_stop() -> Result<()> {
    let Some(lab) = start(lone())? else { return Ok(()) };
    let d = lab.host("d")?;
    let tap = Tap::new(d)?;
    let config = globals("lvs_sync_daemon eth2 id 3 port 9000");
    let director = Director::start(d, &config)?;
    assert_eq!(daemons(d)?, ["master eth2 3", "backup eth2 3"]);
    assert_eq!(tap.changes()?, ["NEW_DAEMON", "NEW_DAEMON"]);
    let status = director.status()?.state_sync.context("no status of it")?;
    assert_eq!((status.running, status.failure), (vec!["master".into(), "backup".into()], None));

    // What is as it should be is not touched: by a reload, by a crash and a new start, by a panic.
    tap.clear()?;
    director.reload(&config)?;
    director.lbd.kill();
    let director = Director::start_with(d, &config, &["--test-fault", "balancer"])?;
    let said = director.said();
    d.exec(["bash", "-c", "kill -RTMAX $(cat /run/lbd.pid)"])?;
    director.says(said, "the balancer failed and was started again")?;
    director.says(said, "the master and the backup daemon run on eth2, id 3")?;
    assert_eq!(tap.changes()?, [""; 0]);

    // What others do is repaired.
    tap.clear()?;
    let said = director.said();
    run(d, "ipvsadm --stop-daemon master")?;
    director.says(said, "the master daemon was stopped by another program; repaired")?;
    assert_eq!(tap.changes()?, ["DEL_DAEMON", "NEW_DAEMON"]);
    assert_eq!(daemons(d)?, ["master eth2 3", "backup eth2 3"]);

    // A reload changes what it changes.
    director.reload(&globals("lvs_sync_daemon eth2 id 4 port 9000"))?;
    assert_eq!(daemons(d)?, ["master eth2 4", "backup eth2 4"]);
    director.reload(&globals(""))?;
    assert_eq!(daemons(d)?, [""; 0]);
    director.reload(&config)?;
    director.stop()?;
    assert_eq!(daemons(d)?, [""; 0]);
    Ok(())
}

#[test]
fn an_interface_without_which_nothing_is_copied_demotes_carp() -> Result<()> {
    let Some(lab) = start(lone())? else { return Ok(()) };
    let d = lab.host("d")?;
    let carp = "carp_instance C {\n  interface eth0\n  vhid 7\n  advbase 1\n  pass secret\n  \
                virtual_ipaddress {\n    192.0.2.100/24\n  }\n}\n";
    let config = globals("carp_log 3\n  lvs_sync_daemon eth2 inst C") + carp;
    let director = Director::start(d, &config)?;
    reaches(d, &["backup eth2 7"])?;
    director.says(0, "BACKUP -> MASTER")?;
    reaches(d, &["master eth2 7"])?;
    let demotion = || -> Result<(i32, i32)> {
        let carp = director.status()?.carp.context("no CARP")?;
        let group = carp.groups.first().context("no group")?;
        Ok((group.demotion, group.by_state_sync))
    };
    assert_eq!(demotion()?, (0, 0));
    let interface = |state: &str| run(d, &format!("ip link set eth2 {state}"));

    let said = director.said();
    interface("down")?;
    director.says(
        said,
        "demoted group carp by 1 to 1 (state synchronisation has failed: interface eth2 is down)",
    )?;
    assert_eq!(demotion()?, (1, 1));
    interface("up")?;
    director.says(said, "promoted group carp by 1 to 0 (state synchronisation works again)")?;
    assert_eq!(demotion()?, (0, 0));

    // An address is needed too, and nothing but time passes until there is one again.
    let said = director.said();
    run(d, "ip addr flush dev eth2")?;
    director.says(said, "interface eth2 has no IPv4 address to send from")?;
    run(d, "ip addr add 10.9.9.1/24 dev eth2")?;
    director.says(said, "promoted group carp by 1 to 0")?;

    // The interface that is made anew is another one: the old daemon is deaf.
    let said = director.said();
    run(d, "ip link del eth2")?;
    director.says(said, "there is no interface eth2")?;
    run(d, "ip link add eth2 type dummy")?;
    run(d, "ip addr add 10.9.9.1/24 dev eth2")?;
    interface("up")?;
    director.says(said, "promoted group carp by 1 to 0")?;
    reaches(d, &["master eth2 7"])?;
    director.stop()?;
    assert_eq!(daemons(d)?, [""; 0]);
    Ok(())
}

#[test]
fn an_established_connection_survives_the_death_of_its_director() -> Result<()> {
    let director = |n: u8| {
        HostSpec::new(format!("d{n}"))
            .interface("eth0", "out", [format!("192.0.2.{n}/24").as_str()])
            .interface("eth1", "in", [format!("10.0.0.{n}/24").as_str()])
            .interface("eth2", "sync", [format!("10.9.9.{n}/24").as_str()])
            .sysctl("net.ipv4.ip_forward", "1")
            // Every packet is news: the test need not send fifty.
            .sysctl("net.ipv4.vs.sync_threshold", "0 1")
    };
    let server =
        HostSpec::new("w1").interface("eth0", "in", ["10.0.0.11/24"]).gateway([10, 0, 0, 254]);
    let site = Topology::new(["out", "in", "sync"]).host(client()).host(server);
    let Some(lab) = start(site.host(director(1)).host(director(2)))? else { return Ok(()) };
    let (c, h1, h2) = (lab.host("c")?, lab.host("d1")?, lab.host("d2")?);
    let _server = lab.host("w1")?.serve("10.0.0.11:80".parse()?)?;
    let config = |priority| {
        [
            globals("lvs_sync_daemon eth2 inst OUT"),
            "vrrp_sync_group BOTH {\n  group {\n    OUT\n    IN\n  }\n}\n".to_owned(),
            vrrp("OUT", "eth0", 51, priority, "192.0.2.100/24"),
            vrrp("IN", "eth1", 52, priority, "10.0.0.254/24"),
            virtual_server(
                "192.0.2.100 80",
                "protocol TCP\n  lvs_sched rr\n  lvs_method NAT",
                &["10.0.0.11 80"],
            ),
        ]
        .concat()
    };
    let d1 = Director::start(h1, &config(150))?;
    reaches(h1, &["master eth2 51"])?;
    let _d2 = Director::start(h2, &config(100))?;
    reaches(h2, &["backup eth2 51"])?;
    wait_until("d1 alone has the VIPs", SOON, || {
        lab.holders([192, 0, 2, 100]) == ["d1"] && lab.holders([10, 0, 0, 254]) == ["d1"]
    })?;

    let mut session = Session::open(c, "192.0.2.100:80")?;
    assert_eq!(session.ask()?, "w1");
    wait_until("d2 knows of the connection", SOON, || {
        let known = run(h2, "ipvsadm --list --connection --numeric").unwrap_or_default();
        let ours = |line: &&str| line.contains("192.0.2.100:80") && line.contains("10.0.0.11:80");
        known.lines().filter(ours).any(|line| line.contains("ESTABLISHED"))
    })?;

    lab.crash("d1")?;
    reaches(h2, &["master eth2 51"])?;
    assert_eq!(session.ask()?, "w1");
    drop(d1);

    // It comes back, and with it the roles.
    lab.boot("d1")?;
    let _d1 = Director::start(h1, &config(150))?;
    reaches(h1, &["master eth2 51"])?;
    reaches(h2, &["backup eth2 51"])?;
    Ok(())
}
