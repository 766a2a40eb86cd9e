//! What routers watch beside each other: sync groups, interfaces, scripts, files.

use std::fs;
use std::time::{Duration, SystemTime};

use lb_tests::Test;

use crate::config::{Daemon, Router, Vrrp};
use crate::stage::{Stage, both_ways, stage};
use crate::times::{is_after, lateness};

#[test]
fn a_cut_cable_moves_every_vip_of_a_sync_group() -> Test {
    both_ways(sync_group)
}

fn sync_group(high: Daemon, low: Daemon) -> Test {
    let lan = Vrrp::new;
    let wan = |priority| Vrrp {
        name: "VI_2",
        interface: "eth1",
        vrid: 52,
        vips: vec!["198.51.100.100/24"],
        ..Vrrp::new(priority)
    };
    let router = |host, daemon, priority| {
        Router::new(host, daemon, &[&lan(priority), &wan(priority)])
            .with("vrrp_sync_group VG_1 {\n group {\n  VI_1\n  VI_2\n }\n}\n")
    };
    stage(&[router("d1", high, 150), router("d2", low, 100)], |stage| {
        let both = |stage: &Stage, host, from: SystemTime, bound: Duration| -> Test {
            for vrrp in [lan(100), wan(100)] {
                let alone = stage.alone(vrrp.vip(), host, from)?;
                is_after("both VIPs moved", from, alone, Duration::ZERO, bound)?;
            }
            stage.reigns(host, &lan(100), 4)
        };
        let bound = |priority| lan(priority).master_down() + lateness(&lan(priority));
        let started = stage.start("d2")?;
        both(stage, "d2", started.end, bound(100))?;
        let started = stage.start("d1")?;
        both(stage, "d1", started.end, bound(150))?;
        for interface in ["eth1", "eth0"] {
            let at = stage.cut("d1", interface)?;
            both(stage, "d2", at, bound(100))?;
            stage.mend("d1", interface)?;
            both(stage, "d1", SystemTime::now(), bound(150))?;
        }
        Ok(())
    })
}

#[test]
fn the_weight_of_an_interface_decides_the_election() -> Test {
    both_ways(|high, low| {
        let one = Vrrp::new(150).with("track_interface {\n eth1 weight -60\n}");
        let two = Vrrp::new(100);
        let routers = [Router::new("d1", high, &[&one]), Router::new("d2", low, &[&two])];
        stage(&routers, |stage| {
            for (host, vrrp) in [("d2", &two), ("d1", &one)] {
                let started = stage.start(host)?;
                stage.takes(host, vrrp, started.start, started.end)?;
            }
            let at = stage.cut("d1", "eth1")?;
            // What still says 150 is respected, the last of it at the latest now.
            stage.takes("d2", &two, at - one.interval, SystemTime::now())?;
            let at = stage.mend("d1", "eth1")?;
            // The timer runs since the last advertisement it respected, an interval ago at most.
            stage.takes("d1", &one, at - two.interval, SystemTime::now())
        })
    })
}

#[test]
fn the_weight_of_a_script_decides_the_election() -> Test {
    const SCRIPT: &str = "vrrp_script chk {\n script \"/usr/bin/test -e /run/healthy\"\n interval 1\n \
                          weight 60\n fall 1\n rise 1\n}\n";
    const INTERVAL: Duration = Duration::from_secs(1);
    both_ways(|high, low| {
        let one = Vrrp::new(90).with("track_script {\n chk\n}");
        let (healthy, two) = (Vrrp { priority: 150, ..one.clone() }, Vrrp::new(100));
        let routers =
            [Router::new("d1", high, &[&one]).with(SCRIPT), Router::new("d2", low, &[&two])];
        stage(&routers, |stage| {
            let started = stage.start("d2")?;
            stage.takes("d2", &two, started.start, started.end)?;
            stage.start("d1")?;
            stage.reigns("d2", &two, 7)?;
            let at = stage.act("d1", "heals", |host| host.write_file("/run/healthy", ""))?;
            stage.takes("d1", &healthy, at - two.interval, SystemTime::now() + INTERVAL)?;
            let at = stage.act("d1", "falls ill", |host| {
                host.run(|| fs::remove_file("/run/healthy")).map(drop)
            })?;
            stage.takes("d2", &two, at - one.interval, SystemTime::now() + INTERVAL)
        })
    })
}

#[test]
fn the_number_in_a_file_decides_the_election() -> Test {
    const FILE: &str = "track_file load {\n file \"/run/load\"\n weight -2\n}\n";
    both_ways(|high, low| {
        let one = Vrrp::new(150).with("track_file {\n load\n}");
        let two = Vrrp::new(100);
        let routers =
            [Router::new("d1", high, &[&one]).with(FILE), Router::new("d2", low, &[&two])];
        stage(&routers, |stage| {
            for (host, vrrp) in [("d2", &two), ("d1", &one)] {
                let started = stage.start(host)?;
                stage.takes(host, vrrp, started.start, started.end)?;
            }
            let at = stage.act("d1", "has a load", |host| host.write_file("/run/load", "30\n"))?;
            // What still says 150 is respected, the last of it at the latest now.
            stage.takes("d2", &two, at - one.interval, SystemTime::now())?;
            let at = stage.act("d1", "has none", |host| {
                host.run(|| fs::remove_file("/run/load")).map(drop)
            })?;
            stage.takes("d1", &one, at - two.interval, SystemTime::now())
        })
    })
}
