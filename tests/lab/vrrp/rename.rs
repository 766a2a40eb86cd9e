//! An interface that gets another name while it is up, as udev or an operator gives it.

use std::time::SystemTime;

use anyhow::ensure;
use lb_tests::{Test, run};

use crate::config::Daemon::{Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{Stage, side_by_side, stage};

#[test]
fn a_renamed_interface_keeps_no_address_that_the_other_router_has() -> Test {
    let vrrp = |priority| Vrrp {
        vips: vec!["198.51.100.100/24 dev eth1", "192.0.2.100/24"],
        ..Vrrp::new(priority)
    };
    let (one, two) = (vrrp(150), vrrp(100));
    // The interface of the instance, and that of one of its addresses.
    let cells = [Keepalived, Lbd].into_iter().flat_map(|low| {
        ["eth0", "eth1"].map(|name| (format!("{name} before {low:?}"), (low, name)))
    });
    side_by_side(cells, |(low, name)| {
        let routers = [Router::new("d1", Lbd, &[&one]), Router::new("d2", low, &[&two])];
        stage(&routers, |stage| {
            let started = stage.start("d2")?;
            stage.takes("d2", &two, started.start, started.end)?;
            let started = stage.start("d1")?;
            stage.takes("d1", &one, started.start, started.end)?;
            for (old, new, holder) in [(name, "lan9", "d2"), ("lan9", name, "d1")] {
                let at = rename(stage, old, new)?;
                for vip in ["192.0.2.100", "198.51.100.100"] {
                    stage.alone(vip.parse()?, holder, at)?;
                }
            }
            stage.reigns("d1", &one, 4)?;
            // It knows its interfaces by their names of today.
            stage.stops("d1", "d2", &two)
        })
    })
}

fn rename(stage: &mut Stage, old: &str, new: &str) -> anyhow::Result<SystemTime> {
    let at = stage.step(format!("rename {old} of d1 to {new}"));
    let (status, output) = run(stage.host("d1")?, &["ip", "link", "set", old, "name", new])?;
    ensure!(status == Some(0), "{output}");
    Ok(at)
}
