//! A virtual address that accepts no packets, as keepalived has it: who pings it hears nothing, as MASTER too.

use anyhow::ensure;
use lb_lab::wait_until;
use lb_tests::{SOON, Test, run};

use crate::config::Daemon::{Keepalived, Lbd};
use crate::config::{Daemon, Router, Vrrp};
use crate::stage::{side_by_side, stage};

const STRICT: &str = "global_defs {\n vrrp_strict\n}\n";

#[test]
fn a_guarded_address_answers_as_little_as_under_keepalived() -> Test {
    // What is configured, and whether the VIP answers then.
    let plain = || Vrrp::new(100);
    let cases = [
        ("plain", "", plain(), true),
        ("no_accept", "", plain().with("no_accept"), false),
        ("no_accept, version 2", "", plain().version2().with("no_accept"), false),
        ("no_accept, then accept", "", plain().with("no_accept\naccept"), true),
        ("no_accept over IPv6", "", plain().ipv6().with("no_accept"), false),
        ("vrrp_strict", STRICT, plain(), false),
        ("strict_mode", "", plain().with("strict_mode"), false),
        ("vrrp_strict and accept", STRICT, plain().with("accept"), true),
        ("the owner, strict", STRICT, Vrrp::new(255), true),
    ];
    let cells = cases.iter().flat_map(|(name, globals, vrrp, answers)| {
        [Lbd, Keepalived].map(|daemon| {
            (format!("{name}, {daemon:?}"), (daemon, *globals, vrrp.clone(), *answers))
        })
    });
    side_by_side(cells, |(daemon, globals, vrrp, answers)| guarded(daemon, globals, &vrrp, answers))
}

#[test]
fn another_instance_with_another_address_is_guarded_from_its_first_moment() -> Test {
    let old = Vrrp::new(100).with("no_accept");
    let new = Vrrp { name: "VI_2", vrid: 52, vips: vec!["192.0.2.101/24"], ..old.clone() };
    let router = Router::new("d1", Lbd, &[&old]);
    stage(&[router.clone(), Router { host: "d2", ..router }], |stage| {
        stage.start("d1")?;
        wait_until("the first address is there", SOON, || {
            stage.host("d1").is_ok_and(|host| host.has_address(old.vip()))
        })?;
        stage.reload("d1", &Router::new("d1", Lbd, &[&new]).config)?;
        wait_until("the address is another", SOON, || {
            stage
                .host("d1")
                .is_ok_and(|host| host.has_address(new.vip()) && !host.has_address(old.vip()))
        })?;
        let ping = ["ping", "-n", "-c", "1", "-W", "1", "192.0.2.101"];
        ensure!(run(stage.host("d2")?, &ping)?.0 != Some(0), "the other address answers");
        wait_until("the rules are those of the other address", SOON, || {
            let rules = stage.host("d1").and_then(|host| run(host, &["nft", "list", "ruleset"]));
            rules.is_ok_and(|(_, rules)| {
                rules.contains("192.0.2.101") && !rules.contains("192.0.2.100")
            })
        })?;
        ensure!(run(stage.host("d2")?, &ping)?.0 != Some(0), "the other address answers now");
        Ok(())
    })
}

fn guarded(daemon: Daemon, globals: &str, vrrp: &Vrrp, answers: bool) -> Test {
    // The second router listens at most: it is the client.
    let router = Router::new("d1", daemon, &[vrrp]).with(globals);
    stage(&[router.clone(), Router { host: "d2", ..router }], |stage| {
        let inet6 = ["ip", "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad"];
        ensure!(run(stage.host("d2")?, &inet6)?.0 == Some(0), "the client has no IPv6 address");
        let started = stage.start("d1")?;
        let first = stage.wait_for_adverts("d1", started.start, 1)?.remove(0);
        stage.alone(vrrp.vip(), "d1", first.at)?;
        stage.wait_for_adverts("d1", started.start, 3)?;
        let ping = |address: &str| -> anyhow::Result<bool> {
            let client = stage.host("d2")?;
            Ok(run(client, &["ping", "-n", "-c", "1", "-W", "1", address])?.0 == Some(0))
        };
        ensure!(ping("192.0.2.1")?, "its own address does not answer");
        let vip = vrrp.vip().to_string();
        ensure!(ping(&vip)? == answers, "{vip} answers: {}", !answers);
        // It can be found all the same.
        let client = stage.host("d2")?;
        let (_, known) = run(client, &["ip", "neigh", "show", &vip])?;
        ensure!(known.contains("lladdr"), "nobody tells where {vip} is: {known}");
        stage.stop("d1")?;
        stage.daemon("d1")?.wait(SOON)?;
        let (_, rules) = run(stage.host("d1")?, &["nft", "list", "ruleset"])?;
        ensure!(!rules.contains("drop"), "rules are left:\n{rules}");
        Ok(())
    })
}
