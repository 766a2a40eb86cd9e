//! Elections among more than two, among equals, and against the owner of the address.

use std::time::{Duration, SystemTime};

use anyhow::ensure;
use lb_lab::wait_for;
use lb_tests::{SOON, Test};

use crate::config::Daemon::{Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{both_ways, side_by_side, stage};
use crate::times::{is_after, lateness};

#[test]
fn of_three_the_best_that_lives_is_master() -> Test {
    let (one, two, three) = (Vrrp::new(200), Vrrp::new(150), Vrrp::new(100));
    let routers = [
        Router::new("d1", Lbd, &[&one]),
        Router::new("d2", Keepalived, &[&two]),
        Router::new("d3", Lbd, &[&three]),
    ];
    stage(&routers, |stage| {
        // One after the other: two that become MASTER at one moment have more to say to each other.
        for (host, vrrp) in [("d3", &three), ("d2", &two), ("d1", &one)] {
            let started = stage.start(host)?;
            stage.takes(host, vrrp, started.start, started.end)?;
        }
        stage.crash("d1")?;
        let last = stage.last_advert("d1", SystemTime::now())?.at;
        stage.takes("d2", &two, last, last)?;
        stage.crash("d2")?;
        let last = stage.last_advert("d2", SystemTime::now())?.at;
        stage.takes("d3", &three, last, last)?;
        stage.boot("d2")?;
        let started = stage.start("d2")?;
        stage.takes("d2", &two, started.start, started.end)?;
        stage.boot("d1")?;
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        stage.stops("d1", "d2", &two)
    })
}

#[test]
fn of_equals_the_higher_address_wins() -> Test {
    let vrrp = Vrrp::new(100);
    let pairs = [(Lbd, Keepalived), (Keepalived, Lbd), (Lbd, Lbd)];
    let named = pairs.map(|pair| (format!("{pair:?}"), pair));
    side_by_side(named, |(first, second)| {
        let routers = [Router::new("d1", first, &[&vrrp]), Router::new("d2", second, &[&vrrp])];
        stage(&routers, |stage| {
            // Apart, both become MASTER.
            stage.part("d1", "eth0")?;
            stage.start("d1")?;
            stage.start("d2")?;
            wait_for("two masters", SOON, || {
                let holds = |host| stage.host(host).is_ok_and(|host| host.has_address(vrrp.vip()));
                (holds("d1") && holds("d2")).then_some(())
            })?;
            stage.mend("d1", "eth0")?;
            let met = SystemTime::now();
            let alone = stage.alone(vrrp.vip(), "d2", met)?;
            let bound = vrrp.interval + lateness(&vrrp);
            is_after("one master", met, alone, Duration::ZERO, bound)?;
            stage.reigns("d2", &vrrp, 4)
        })
    })
}

#[test]
fn the_owner_of_the_address_is_master_at_once() -> Test {
    // The address of the card is the VIP. keepalived 2.2 takes its own address away when it starts and then has none
    // to speak from: it can only own another.
    both_ways(|high, low| {
        let vip = if high == Lbd { "192.0.2.1/24" } else { "192.0.2.100/24" };
        let owner = Vrrp { vips: vec![vip], ..Vrrp::new(255) };
        let two = Vrrp { vips: vec![vip], ..Vrrp::new(100) };
        let routers = [Router::new("d1", high, &[&owner]), Router::new("d2", low, &[&two])];
        stage(&routers, |stage| {
            // Otherwise its kernel refuses what comes from an address that is its own now: the owner's word.
            stage.host("d2")?.set_sysctl("net.ipv4.conf.all.accept_local", "1")?;
            stage.start("d2")?;
            let started = stage.start("d1")?;
            let first = stage.wait_for_adverts("d1", started.start, 1)?.remove(0);
            ensure!(first.priority == 255, "the owner advertises priority {}", first.priority);
            let startup = started.end.duration_since(started.start)?;
            let bound = startup + lateness(&owner);
            is_after("the first word", started.start, first.at, Duration::ZERO, bound)?;
            stage.reigns("d1", &owner, 4)?;

            stage.crash("d1")?;
            let last = stage.last_advert("d1", SystemTime::now())?.at;
            stage.takes("d2", &two, last, last)?;
            stage.boot("d1")?;
            let started = stage.start("d1")?;
            let alone = stage.alone(owner.vip(), "d1", started.end)?;
            is_after("the owner is back", started.end, alone, Duration::ZERO, lateness(&owner))?;
            stage.reigns("d1", &owner, 4)
        })
    })
}
