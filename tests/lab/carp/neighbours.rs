//! Several virtual routers on one segment, of both protocols and under the same number.

use std::net::IpAddr;
use std::time::SystemTime;

use anyhow::ensure;
use lb_tests::play::side_by_side;
use lb_tests::timing::seconds;
use lb_tests::{SOON, Test, VRRP, wait_status};
use nix::sys::signal::Signal;

use crate::config::Daemon::{Lbd, Ucarp};
use crate::config::{Carp, Node};
use crate::stage::stage;

#[test]
fn virtual_routers_of_one_segment_do_not_disturb_each_other() -> Test {
    type Play = fn() -> Test;
    let plays: [(&str, Play); 2] = [("two vhids", two_vhids), ("VRRP", vrrp_and_carp)];
    side_by_side(plays, |play| play())
}

/// Each has a master of its own.
fn two_vhids() -> Test {
    let at = |advskew, name, vhid, last: u8| {
        Carp::new(advskew).preempting().numbered(name, vhid, [192, 0, 2, last].into())
    };
    let ours = [at(20, "WEB", 7, 100), at(100, "MAIL", 9, 101)];
    let theirs = [at(100, "WEB", 7, 100), at(20, "MAIL", 9, 101)];
    stage(&[Node::new("d1", Lbd, &ours), Node::new("d2", Ucarp, &theirs)], |stage| {
        let started = stage.start("d1")?;
        for carp in &ours {
            stage.takes_in_silence("d1", carp, started.clone())?;
        }
        let started = stage.start("d2")?;
        stage.preempts("d2", &theirs[1], &ours[1], started)?;
        stage.reigns("d1", &ours[0], 3)?;
        stage.reigns("d2", &theirs[1], 3)?;
        stage.crash("d2")?;
        let last = stage.last_advert("d2", &theirs[1])?.at;
        stage.takes_in_silence("d1", &ours[1], last..last)?;
        stage.reigns("d1", &ours[0], 2)
    })
}

/// keepalived's and ours, with the number of the vhid; `PRIORITY` is to be filled in.
const VRRP_INSTANCE: &str = "vrrp_instance VI {\n state BACKUP\n interface eth0\n virtual_router_id 7\n version 2\n \
     priority PRIORITY\n advert_int 1\n virtual_ipaddress {\n  192.0.2.200/24\n }\n}\n";

/// Both under one number.
fn vrrp_and_carp() -> Test {
    if !lb_tests::installed("keepalived", "keepalived") {
        return Ok(());
    }
    let vip = IpAddr::from([192, 0, 2, 200]);
    let carp = Carp::new(20).preempting();
    let slow = Carp::new(100).preempting();
    let vrrp = |priority: &str| VRRP_INSTANCE.replace("PRIORITY", priority);
    let ours = Node { more: vrrp("150"), ..Node::new("d1", Lbd, &[carp]) };
    stage(&[ours, Node::new("d2", Ucarp, &[slow])], |stage| {
        let started = stage.start("d2")?;
        let other = stage.host("d2")?;
        other.write_file(lb_tests::CONFIG, vrrp("100"))?;
        let keepalived = other.spawn(["keepalived", "-n", "-l", "-G", "-D"])?;
        keepalived.wait_for_line("Entering MASTER STATE", SOON)?;
        stage.takes_in_silence("d2", &slow, started)?;

        // Each takes what is its own.
        let started = stage.start("d1")?;
        stage.preempts("d1", &carp, &slow, started)?;
        stage.alone(vip, "d1", SystemTime::now())?;
        let since = SystemTime::now();
        stage.wait_for_adverts("d1", &carp, since, 6)?;
        stage.reigns("d1", &carp, 2)?;
        let vrrp_said = |host: &str| {
            let said = stage.sent(host).into_iter().filter(|frame| frame.at >= since);
            said.filter(|frame| frame.is_ip(VRRP) && frame.payload.len() == 20).count()
        };
        let (ours, theirs) = (vrrp_said("d1"), vrrp_said("d2"));
        ensure!(ours >= 5 && theirs == 0, "{ours} and {theirs} advertisements of VRRP");
        let status = wait_status(stage.host("d1")?, "a status", |_| true)?;
        let vrrp = status.vrrp.first().map(|vrrp| vrrp.counters);
        let carp_counters = status.carp.and_then(|carp| carp.instances.first().map(|c| c.counters));
        println!("VRRP {vrrp:?}\nCARP {carp_counters:?}");
        ensure!(vrrp.is_some_and(|counters| counters.become_master == 1), "{vrrp:?}");
        ensure!(carp_counters.is_some_and(|c| c.become_master == 1), "{carp_counters:?}");

        // And leaves it to the other of its kind.
        stage.signal("d1", Signal::SIGTERM)?;
        stage.daemon("d1")?.wait(SOON)?;
        let first = stage.wait_for_adverts("d2", &slow, since, 1)?.remove(0);
        stage.serves("d2", &slow, first.at)?;
        let at = stage.alone(vip, "d2", since)?;
        println!("VRRP and CARP left {:.3} s apart", seconds(first.at, at).abs());
        ensure!(keepalived.is_running(), "keepalived ended");
        Ok(())
    })
}
