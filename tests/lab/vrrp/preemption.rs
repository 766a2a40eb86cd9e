//! When a better router that comes back takes the VIP, and when it does not.

use std::time::Duration;

use lb_tests::Test;

use crate::config::{Daemon, Router, Vrrp};
use crate::stage::{both_ways, stage};

#[test]
fn with_nopreempt_the_better_one_waits_until_the_other_stops() -> Test {
    both_ways(nopreempt)
}

fn nopreempt(high: Daemon, low: Daemon) -> Test {
    let one = Vrrp::new(150).with("nopreempt");
    let two = Vrrp::new(100);
    stage(&[Router::new("d1", high, &[&one]), Router::new("d2", low, &[&two])], |stage| {
        let started = stage.start("d2")?;
        stage.takes("d2", &two, started.start, started.end)?;
        stage.start("d1")?;
        // Three intervals and the skew, and more.
        stage.reigns("d2", &two, 7)?;
        stage.stops("d2", "d1", &one)?;
        // The other way round a lower priority never preempts.
        stage.start("d2")?;
        stage.reigns("d1", &one, 7)
    })
}

#[test]
fn with_preempt_delay_the_better_one_comes_so_much_later() -> Test {
    both_ways(preempt_delay)
}

fn preempt_delay(high: Daemon, low: Daemon) -> Test {
    const DELAY: Duration = Duration::from_secs(1);
    let one = Vrrp::new(150).with("preempt_delay 1");
    let two = Vrrp::new(100);
    stage(&[Router::new("d1", high, &[&one]), Router::new("d2", low, &[&two])], |stage| {
        let started = stage.start("d2")?;
        stage.takes("d2", &two, started.start, started.end)?;
        let started = stage.start("d1")?;
        // The delay starts with the first advertisement of a lower priority; the last one respected within it
        // restarts the timer.
        let earliest = started.start + DELAY - two.interval;
        let latest = started.end + two.interval + DELAY;
        stage.takes("d1", &one, earliest, latest)?;
        // Nothing is delayed where nobody is there.
        stage.stop("d2")?;
        stage.crash("d1")?;
        stage.boot("d1")?;
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)
    })
}
