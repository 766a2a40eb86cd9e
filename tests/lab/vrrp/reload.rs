//! A reload while MASTER.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use lb_tests::{SOON, Test};

use crate::config::Daemon::{self, Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::stage;
use crate::times::{is_after, lateness};

#[test]
fn a_master_adds_and_removes_a_vip_without_missing_an_advertisement() -> Test {
    let one = Vrrp::new(150);
    // keepalived 2.2 does not respect a master that advertises other addresses than its own.
    let excluded = one.clone().with("virtual_ipaddress_excluded {\n 192.0.2.101/24\n}");
    let advertised = Vrrp { vips: vec!["192.0.2.100/24", "192.0.2.101/24"], ..one.clone() };
    reload(Keepalived, &one, &excluded)?;
    reload(Lbd, &one, &advertised)
}

fn reload(other: Daemon, one: &Vrrp, more: &Vrrp) -> Test {
    let added: IpAddr = [192, 0, 2, 101].into();
    let routers = [Router::new("d1", Lbd, &[one]), Router::new("d2", other, &[&Vrrp::new(100)])];
    stage(&routers, |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", one, started.start, started.end)?;
        stage.start("d2")?;

        let since = stage.reload("d1", &Router::new("d1", Lbd, &[more]).config)?;
        let alone = stage.alone(added, "d1", since)?;
        is_after("the added VIP", since, alone, Duration::ZERO, Duration::from_secs(1))?;
        stage.announces("d1", added, since, 10)?;
        let last = stage.wait_for_adverts("d1", alone, 4)?.pop();
        let advertised = last.map(|advert| advert.addresses.len());
        ensure!(advertised == Some(more.vips.len()), "advertises {advertised:?} VIPs");
        stage.reigns("d1", one, 2)?;

        let at = stage.reload("d1", &routers[0].config)?;
        lb_lab::wait_until("the VIP is removed", SOON, || {
            stage.host("d1").is_ok_and(|host| !host.has_address(added))
        })?;
        stage.wait_for_adverts_like("d1", at, 4, |advert| advert.addresses.len() == 1)?;

        // One that is refused changes nothing.
        let at = stage.reload("d1", "vrrp_instance VI_1 {\n virtual_router_id 0\n")?;
        stage.daemon("d1")?.wait_for_line("refused", SOON)?;
        stage.wait_for_adverts("d1", at, 4)?;
        stage.reigns("d1", one, 2)?;

        // A master says at a reload that it is there, out of turn; otherwise all is as ever.
        for pair in stage.adverts("d1", since).windows(2) {
            let bound = one.interval + lateness(one);
            is_after("interval", pair[0].at, pair[1].at, Duration::ZERO, bound)?;
        }
        let heard = stage.adverts("d2", since).len();
        ensure!(heard == 0, "the other advertised {heard} times");
        Ok(())
    })
}
