//! A reload while MASTER.

use std::time::{Duration, SystemTime};

use anyhow::ensure;
use lb_tests::{SOON, Test};

use crate::config::Vrrp;
use crate::stage::Daemon::{Keepalived, Lbd};
use crate::stage::{Router, is_after, is_regular, lateness, stage};

#[test]
fn a_master_adds_and_removes_a_vip_without_missing_an_advertisement() -> Test {
    let one = Vrrp { vips: vec!["192.0.2.100/24"], ..Vrrp::new(150) };
    let more = Vrrp { vips: vec!["192.0.2.100/24", "192.0.2.101/24"], ..one.clone() };
    let two = Vrrp::new(100);
    let routers = [Router::new("d1", Lbd, &[&one]), Router::new("d2", Keepalived, &[&two])];
    let (less, more_config) = (routers[0].config.clone(), Router::new("d1", Lbd, &[&more]).config);
    stage(&routers, |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        stage.start("d2")?;

        let since = SystemTime::now();
        let at = stage.reload("d1", &more_config)?;
        let alone = stage.alone(more.vip(), "d1", at)?;
        is_after("the added VIP", at, alone, Duration::ZERO, Duration::from_secs(1))?;
        let with_two = |advert: &crate::wire::Advert| advert.addresses.len() == 2;
        stage.wait_for_adverts_like("d1", at, 4, with_two)?;
        stage.reigns("d1", &one, 2)?;

        let at = stage.reload("d1", &less)?;
        let with_one = |advert: &crate::wire::Advert| advert.addresses.len() == 1;
        stage.wait_for_adverts_like("d1", at, 4, with_one)?;
        ensure!(!stage.host("d1")?.has_address(more.vip()), "the removed VIP is still there");

        // One that is refused changes nothing.
        let at = stage.reload("d1", "vrrp_instance VI_1 {\n virtual_router_id 0\n")?;
        stage.daemon("d1")?.wait_for_line("refused", SOON)?;
        stage.wait_for_adverts("d1", at, 4)?;
        stage.reigns("d1", &one, 2)?;

        // A master says at a reload that it is there, out of turn; otherwise all is as ever.
        let adverts = stage.adverts("d1", since);
        for pair in adverts.windows(2) {
            let bound = one.interval + lateness(&one);
            is_after("interval", pair[0].at, pair[1].at, Duration::ZERO, bound)?;
        }
        is_regular(&stage.wait_for_adverts("d1", SystemTime::now(), 5)?, &one)?;
        let heard = stage.adverts("d2", since).len();
        ensure!(heard == 0, "the other advertised {heard} times");
        Ok(())
    })
}
