//! Whoever is MASTER and however it goes: exactly one of two nodes holds the VIP within the protocol's bound.

use std::time::{Duration, SystemTime};

use lb_tests::timing::is_after;
use lb_tests::{SOON, Test};
use nix::sys::signal::Signal;

use crate::config::Daemon::{Lbd, Ucarp};
use crate::config::{Carp, Daemon, Node};
use crate::stage::{LATENESS, Stage, both_ways, stage};

#[test]
fn exactly_one_of_two_holds_the_vip_after_every_fault() -> Test {
    both_ways(duel)
}

fn duel(fast: Daemon, slow: Daemon) -> Test {
    let one = Carp::new(20).preempting();
    let two = Carp::new(100).preempting();
    stage(&[Node::new("d1", fast, &[one]), Node::new("d2", slow, &[two])], |stage| {
        // The slower one first: it serves until the other has come, and no longer.
        let started = stage.start("d2")?;
        stage.takes_in_silence("d2", &two, started)?;
        let started = stage.start("d1")?;
        stage.preempts("d1", &one, &two, started)?;

        stage.crash("d1")?;
        let last = stage.last_advert("d1", &one)?.at;
        stage.takes_in_silence("d2", &two, last..last)?;
        stage.boot("d1")?;
        let started = stage.start("d1")?;
        stage.preempts("d1", &one, &two, started)?;

        stops(stage, fast, &one, &two)?;
        let started = stage.start("d1")?;
        stage.preempts("d1", &one, &two, started)?;

        let at = stage.cut("d1", "eth0")?;
        let last = stage.last_advert("d1", &one)?.at;
        stage.takes_in_silence("d2", &two, last..last)?;
        is_after("cut", last, at, Duration::ZERO, one.interval() + LATENESS)?;
        let at = stage.mend("d1", "eth0")?;
        stage.preempts("d1", &one, &two, at..SystemTime::now() + Stage::nap(fast))?;

        // Nobody takes the address off the host of a daemon that was killed, but the network is told where it is.
        stage.signal("d1", Signal::SIGKILL)?;
        stage.daemon("d1")?.wait(SOON)?;
        let last = stage.last_advert("d1", &one)?.at;
        stage.takes("d2", &two, last..last, two.master_down())?;
        let started = stage.start("d1")?;
        stage.preempts("d1", &one, &two, started)?;

        // What happens to the other is nobody's business.
        stage.signal("d2", Signal::SIGTERM)?;
        stage.reigns("d1", &one, 3)
    })
}

/// `d1` is told to stop, and `d2` takes over: at once if it is told, as lbd and OpenBSD do and ucarp does not.
fn stops(stage: &mut Stage, daemon: Daemon, one: &Carp, two: &Carp) -> Test {
    let at = stage.signal("d1", Signal::SIGTERM)?;
    match daemon {
        Lbd => {
            let bows_out = |advert: &crate::wire::Advert| advert.bows_out();
            let says = stage.wait_for_adverts_like("d1", one, at, 1, bows_out)?.remove(0);
            let first = stage.takes("d2", two, says.at..says.at, Duration::ZERO)?;
            stage.daemon("d1")?.wait(SOON)?;
            stage.serves("d2", two, first)
        }
        Ucarp => {
            stage.daemon("d1")?.wait(SOON)?;
            let last = stage.last_advert("d1", one)?.at;
            stage.takes_in_silence("d2", two, last..last)
        }
    }
}
