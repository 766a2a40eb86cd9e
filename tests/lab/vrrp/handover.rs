//! What a planned hand-over behind a virtual MAC loses: measured to a quarter of a millisecond, and so run by itself on
//! a quiet machine (`cargo test -p lb-tests --test handover`). Others that change links at the same time keep the
//! kernel's lock from it.

// What the tests beside it need of the same stage.
#![allow(dead_code)]

mod config;
mod probes;
mod stage;
mod times;

use anyhow::{Context, ensure};
use lb_tests::Test;

use crate::config::Daemon::Lbd;
use crate::config::{Router, Vrrp};
use crate::probes::Probes;
use crate::stage::stage;

#[test]
fn a_planned_hand_over_loses_nothing() -> Test {
    // The client's address, the VIP, and the instance: in the subnet of the routers, in another one, and IPv6.
    let near = ("192.0.2.103/24", "192.0.2.100/24", false);
    let far = ("203.0.113.103/24", "203.0.113.100/24", false);
    let six = ("2001:db8::103/64", "2001:db8::100/64", true);
    let scenes = [("near", near), ("far", far), ("IPv6", six)];
    for (name, (address, vip, ipv6)) in scenes {
        let vrrp = |priority| {
            let vrrp = Vrrp::new(priority).with("use_vmac");
            let mut vrrp = if ipv6 { vrrp.ipv6() } else { vrrp };
            vrrp.vips.retain(|vip| vip.starts_with("fe80"));
            vrrp.vips.push(vip);
            vrrp
        };
        let (one, two) = (vrrp(150), vrrp(100));
        let client = Router { host: "d3", daemon: Lbd, config: String::new() };
        let routers = [Router::new("d1", Lbd, &[&one]), Router::new("d2", Lbd, &[&two]), client];
        stage(&routers, |stage| {
            let host = stage.host("d3")?;
            host.exec(["ip", "address", "add", address, "dev", "eth0", "nodad"])?;
            let started = stage.start("d2")?;
            stage.takes("d2", &two, started.start, started.end)?;
            let probes = Probes::start(stage.host("d3")?, one.vip())?;
            for _ in 0..3 {
                let started = stage.start("d1")?;
                stage.takes("d1", &one, started.start, started.end)?;
                stage.stops("d1", "d2", &two)?;
            }
            let (lost, of) = probes.end()?;
            ensure!(lost.is_empty(), "{} of {of} lost: {lost:?}", lost.len());
            ensure!(of > 4_000, "only {of} were sent");
            Ok(())
        })
        .context(name)?;
    }
    Ok(())
}
