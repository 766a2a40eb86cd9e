//! `keepalived.json` of both daemons for the same configuration.
//!
//! Exporters read it by key and type, so keys, types and values are those of keepalived, but for
//! times and the password.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lb_tests::{SOON, Test};
use serde_json::{Map, Value};

use crate::config::{Daemon, Router};
use crate::stage::{Stage, stage};

/// `keepalived --signum=JSON`: SIGRTMIN + 2.
const JSON: &str = "-36";
const FILE: &str = "/tmp/keepalived.json";

/// What differs from run to run, or on purpose: no password is written.
const NOT_COMPARED: [&str; 2] = ["last_transition", "auth_data"];

const PEER: &str = "vrrp_instance VI_B {\n state BACKUP\n interface eth0\n virtual_router_id 59\n priority 200\n \
                    version 3\n advert_int 2\n virtual_ipaddress {\n  192.0.2.109/24\n }\n}\n";

const CONFIG: &str = "\
global_defs {
    script_user root
    vrrp_garp_lower_prio_delay 3
}
vrrp_script chk {
    script \"/usr/bin/test -e /etc/passwd\"
    interval 1
    weight 10
}
vrrp_script nok {
    script \"/usr/bin/test -e /nowhere\"
    interval 1
    weight -5
}
vrrp_sync_group G {
    group {
        VI_1
        VI_4
    }
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 150
    smtp_alert
    authentication {
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        192.0.2.100/24 noprefixroute
        192.0.2.104/24 dev eth0 label eth0:v
    }
    virtual_ipaddress_excluded {
        192.0.2.105
    }
}
vrrp_instance VI_2 {
    state BACKUP
    interface eth0
    use_vmac
    virtual_router_id 52
    priority 100
    version 3
    advert_int 0.5
    preempt_delay 7
    virtual_ipaddress {
        192.0.2.101/24
    }
    track_script {
        chk
        nok
    }
    track_interface {
        eth1 weight 7
    }
}
vrrp_instance VI_3 {
    state BACKUP
    interface eth0
    virtual_router_id 53
    priority 100
    version 3
    nopreempt
    unicast_src_ip 192.0.2.1
    unicast_peer {
        192.0.2.2
    }
    virtual_ipaddress {
        192.0.2.103/24
    }
}
vrrp_instance VI_4 {
    state BACKUP
    interface eth1
    virtual_router_id 54
    priority 100
    virtual_ipaddress {
        198.51.100.100/24
    }
}
vrrp_instance VI_6 {
    state BACKUP
    interface eth0
    virtual_router_id 56
    priority 100
    virtual_ipaddress {
        fe80::100/64
        2001:db8::100/64
    }
}
vrrp_instance VI_B {
    state BACKUP
    interface eth0
    virtual_router_id 59
    priority 100
    version 3
    virtual_ipaddress {
        192.0.2.109/24
    }
}
";

#[test]
fn the_json_dump_has_keepalived_s_keys_types_and_values() -> Test {
    let (theirs, ours) = (dump(Daemon::Keepalived)?, dump(Daemon::Lbd)?);
    let (Some(theirs), Some(ours)) = (theirs, ours) else { return Ok(()) };
    let names = |dump: &[Map<String, Value>]| dump.iter().map(|it| it["iname"].clone()).collect();
    let (mut wrong, named): (Vec<String>, Vec<Value>) = (Vec::new(), names(&ours));
    ensure!(named == names(&theirs), "instances {named:?}");
    for (theirs, ours) in theirs.iter().zip(&ours) {
        for key in
            theirs.keys().chain(ours.keys()).filter(|key| !NOT_COMPARED.contains(&key.as_str()))
        {
            if theirs.get(key) != ours.get(key) {
                let (name, theirs, ours) = (&ours["iname"], theirs.get(key), ours.get(key));
                wrong.push(format!("{name} {key}: {ours:?}, keepalived {theirs:?}"));
            }
        }
        ensure!(ours["last_transition"].is_f64(), "{:?}", ours["last_transition"]);
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// `data` of each instance, in the order of the file.
fn dump(daemon: Daemon) -> anyhow::Result<Option<Vec<Map<String, Value>>>> {
    let router = |host, daemon, config: &str| Router { host, daemon, config: config.to_owned() };
    let routers = [router("d1", daemon, CONFIG), router("d2", Daemon::Lbd, PEER)];
    let mut found = None;
    stage(&routers, |stage| {
        stage.start("d2")?;
        let all = ["192.0.2.100", "192.0.2.101", "192.0.2.103", "198.51.100.100", "2001:db8::100"];
        let started = stage.start("d1")?;
        for vip in all {
            stage.alone(vip.parse()?, "d1", started.start)?;
        }
        found = Some(ask(stage)?);
        Ok(())
    })?;
    Ok(found)
}

fn ask(stage: &Stage) -> anyhow::Result<Vec<Map<String, Value>>> {
    let host = stage.host("d1")?;
    let pid = stage.daemon("d1")?.pid().to_string();
    // A moment for what comes after the last address.
    std::thread::sleep(Duration::from_secs(1));
    ensure!(Command::new("kill").args([JSON, &pid]).status()?.success(), "kill {JSON} {pid}");
    lb_lab::wait_until("the dump", SOON, || {
        host.read_file(FILE).is_ok_and(|text| !text.is_empty())
    })?;
    let text = host.read_file(FILE)?;
    let dump: Vec<Value> = serde_json::from_str(&text).with_context(|| text.clone())?;
    let data = |entry: &Value| entry["data"].as_object().cloned().context("no data");
    dump.iter().map(data).collect()
}
