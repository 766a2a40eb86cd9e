//! Whoever is MASTER and however it goes: exactly one of two nodes holds the VIP within the protocol's bound.

use std::time::{Duration, SystemTime};

use anyhow::ensure;
use lb_tests::play::side_by_side;
use lb_tests::timing::is_after;
use lb_tests::{SOON, Test};
use nix::sys::signal::Signal;

use crate::config::Daemon::{Lbd, Ucarp};
use crate::config::{Carp, Daemon, Node};
use crate::stage::{LATENESS, Stage, stage};
use crate::wire::Advert;

const ONE: Carp = Carp::new(20).preempting();
const TWO: Carp = Carp::new(100).preempting();

#[test]
fn exactly_one_of_two_holds_the_vip_after_every_fault() -> Test {
    // The faster node, then the other.
    let pairs = [(Lbd, Ucarp), (Ucarp, Lbd), (Lbd, Lbd)];
    type Play = fn(&mut Stage, Daemon) -> Test;
    let plays: [(&str, Play); 2] = [("host", power_and_cable), ("daemon", stop_and_kill)];
    let cases = pairs.iter().flat_map(|(fast, slow)| {
        let name = move |what| format!("{what} of {fast:?} before {slow:?}");
        plays.iter().map(move |(what, play)| (name(what), (*fast, *slow, *play)))
    });
    side_by_side(cases, |(fast, slow, play)| {
        stage(&[Node::new("d1", fast, &[ONE]), Node::new("d2", slow, &[TWO])], |stage| {
            // The slower one first: it serves until the other has come, and no longer.
            let started = stage.start("d2")?;
            stage.takes_in_silence("d2", &TWO, started)?;
            let started = stage.start("d1")?;
            stage.preempts("d1", &ONE, &TWO, started)?;
            play(stage, fast)?;
            // What happens to the other is nobody's business.
            stage.signal("d2", Signal::SIGTERM)?;
            stage.reigns("d1", &ONE, 3)
        })
    })
}

fn power_and_cable(stage: &mut Stage, fast: Daemon) -> Test {
    stage.crash("d1")?;
    let last = stage.last_advert("d1", &ONE)?.at;
    stage.takes_in_silence("d2", &TWO, last..last)?;
    stage.boot("d1")?;
    let started = stage.start("d1")?;
    stage.preempts("d1", &ONE, &TWO, started)?;

    let at = stage.cut("d1", "eth0")?;
    let last = stage.last_advert("d1", &ONE)?.at;
    stage.takes_in_silence("d2", &TWO, last..last)?;
    is_after("cut", last, at, Duration::ZERO, ONE.interval() + LATENESS)?;
    let at = stage.mend("d1", "eth0")?;
    stage.preempts("d1", &ONE, &TWO, at..SystemTime::now() + Stage::nap(fast))
}

fn stop_and_kill(stage: &mut Stage, fast: Daemon) -> Test {
    stops(stage, fast)?;
    let started = stage.start("d1")?;
    stage.preempts("d1", &ONE, &TWO, started)?;

    // Nobody takes the address off the host of a daemon that was killed, but the network is told where it is.
    stage.signal("d1", Signal::SIGKILL)?;
    stage.daemon("d1")?.wait(SOON)?;
    let last = stage.last_advert("d1", &ONE)?.at;
    let first = stage.takes("d2", &TWO, last..last, TWO.master_down())?;
    stage.announces("d2", &TWO, last)?;
    ensure!(stage.host("d2")?.has_address(TWO.vip), "d2 has no VIP at {first:?}");
    let started = stage.start("d1")?;
    stage.preempts("d1", &ONE, &TWO, started)
}

/// `d1` is told to stop, and `d2` takes over: at once if it is told, as lbd and OpenBSD do and ucarp does not.
fn stops(stage: &mut Stage, daemon: Daemon) -> Test {
    let at = stage.signal("d1", Signal::SIGTERM)?;
    match daemon {
        Lbd => {
            let bows_out = |advert: &Advert| advert.bows_out();
            let says = stage.wait_for_adverts_like("d1", &ONE, at, 1, bows_out)?.remove(0);
            let first = stage.takes("d2", &TWO, says.at..says.at, Duration::ZERO)?;
            stage.daemon("d1")?.wait(SOON)?;
            stage.serves("d2", &TWO, first)
        }
        Ucarp => {
            stage.daemon("d1")?.wait(SOON)?;
            let last = stage.last_advert("d1", &ONE)?.at;
            stage.takes_in_silence("d2", &TWO, last..last)
        }
    }
}
