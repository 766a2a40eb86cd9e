//! Without preemption a faster node that comes back waits, until the other stops or both are MASTER.

use std::time::Duration;

use lb_lab::wait_until;
use lb_tests::play::side_by_side;
use lb_tests::timing::is_after;
use lb_tests::{SOON, Test};
use nix::sys::signal::Signal;

use crate::config::{Carp, Daemon, Node};
use crate::stage::{LATENESS, both_ways, stage};

#[test]
fn without_preempt_the_faster_one_waits_and_of_equals_the_address_decides() -> Test {
    type Play = fn(Daemon, Daemon) -> Test;
    let plays: [(&str, Play); 2] = [("faster", no_preempt), ("equal", tie)];
    side_by_side(plays, both_ways)
}

fn no_preempt(fast: Daemon, slow: Daemon) -> Test {
    let one = Carp::new(20);
    let two = Carp::new(100);
    stage(&[Node::new("d1", fast, &[one]), Node::new("d2", slow, &[two])], |stage| {
        let started = stage.start("d2")?;
        stage.takes_in_silence("d2", &two, started)?;
        stage.start("d1")?;
        // Longer than the patience of the other.
        stage.reigns("d2", &two, 4)?;

        // Nobody takes the address off the host of a daemon that was killed, until it starts again.
        stage.signal("d2", Signal::SIGKILL)?;
        stage.daemon("d2")?.wait(SOON)?;
        let last = stage.last_advert("d2", &two)?.at;
        stage.takes("d1", &one, last..last, one.master_down())?;
        let started = stage.start("d2")?;
        stage.serves("d1", &one, started.end)?;

        // Two that do not hear each other are both MASTER; when they do the slower one yields.
        let at = stage.part("d1", "eth0")?;
        let last = stage.last_advert("d1", &one)?.at;
        is_after("part", last, at, Duration::ZERO, one.interval() + LATENESS)?;
        stage.takes("d2", &two, last..last, two.master_down())?;
        // The address follows the first advertisement.
        let host = stage.host("d2")?;
        wait_until("d2 has the address too", SOON, || host.has_address(one.vip))?;
        let at = stage.mend("d1", "eth0")?;
        let alone = stage.alone(one.vip.into(), "d1", at)?;
        let bound = one.interval() + stage.lateness_of_others("d1");
        is_after("the slower one yields", at, alone, Duration::ZERO, bound)?;
        stage.reigns("d1", &one, 2)
    })
}

/// Of equals the one is MASTER whose address is lower, read from behind.
fn tie(low: Daemon, high: Daemon) -> Test {
    let carp = Carp::new(20);
    // Compared from the last octet, as ucarp does on the processors of our day.
    let nodes = [
        Node::new("d1", low, &[carp]).at([192, 0, 3, 1].into()),
        Node::new("d2", high, &[carp]).at([192, 0, 2, 2].into()),
    ];
    stage(&nodes, |stage| {
        let started = stage.start("d2")?;
        stage.takes_in_silence("d2", &carp, started)?;
        // One that is as fast is no reason to take over.
        stage.start("d1")?;
        stage.reigns("d2", &carp, 3)?;
        stage.part("d1", "eth0")?;
        let last = stage.last_advert("d2", &carp)?.at;
        stage.takes("d1", &carp, last..last, carp.master_down())?;
        let host = stage.host("d1")?;
        wait_until("d1 has the address too", SOON, || host.has_address(carp.vip))?;
        let at = stage.mend("d1", "eth0")?;
        let alone = stage.alone(carp.vip.into(), "d1", at)?;
        let bound = carp.interval() + stage.lateness_of_others("d1");
        is_after("the other one yields", at, alone, Duration::ZERO, bound)?;
        stage.reigns("d1", &carp, 3)
    })
}
