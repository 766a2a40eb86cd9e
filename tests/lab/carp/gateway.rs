//! A pair of gateways as the books about BSD have it: when one network fails both addresses move together.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use lb_lab::{HostSpec, Probe, Prober, Topology};
use lb_tests::play::{Play, side_by_side};
use lb_tests::pulse::undisturbed;
use lb_tests::timing::seconds;
use lb_tests::{SOON, Test, lbd};

use crate::config::Carp;
use crate::stage::LATENESS;

const WAN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
const LAN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
/// Between two questions from the inside to the outside, and for an answer.
const STEP: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_millis(500);

#[test]
fn one_cable_moves_both_addresses_and_they_return() -> Test {
    side_by_side([("of the WAN", "eth0"), ("of the LAN", "eth1")], |cable| {
        undisturbed(|| pull(cable))
    })
}

fn pull(cable: &'static str) -> Test {
    let outside: SocketAddr = "198.51.100.50:7".parse()?;
    let gateway = |name: &str, number: u8| {
        HostSpec::new(name)
            .interface("eth0", "wan", [format!("198.51.100.{number}/24").as_str()])
            .interface("eth1", "lan", [format!("10.0.0.{number}/24").as_str()])
            .sysctl("net.ipv4.ip_forward", "1")
            .private("/etc/keepalived")
    };
    let topology = Topology::new(["wan", "lan"])
        .host(gateway("gw1", 2))
        .host(gateway("gw2", 3))
        .host(HostSpec::new("inside").interface("eth0", "lan", ["10.0.0.50/24"]).gateway(LAN))
        .host(
            HostSpec::new("outside")
                .interface("eth0", "wan", ["198.51.100.50/24"])
                .gateway(WAN)
                .serve(outside),
        );
    let Some(lab) = lb_tests::start(topology)? else { return Ok(()) };
    let mut play = Play::new(lab, ["gw1", "gw2"])?;

    // The file that is given to users is for the first of the two, and says what is different on the other.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/carp.conf");
    let first = fs::read_to_string(&sample).with_context(|| format!("no {}", sample.display()))?;
    let other = first.replace("advskew 0 ", "advskew 100 ");
    ensure!(first != other, "the sample has no `advskew 0`");
    let _gw1 = lbd(play.host("gw1")?, &first, &[])?;
    let _gw2 = lbd(play.host("gw2")?, &other, &[])?;
    let result = pull_and_mend(&mut play, cable, outside);
    let vips = [WAN, LAN].into_iter();
    result.map_err(|error| error.context(play.story([], vips)))
}

fn pull_and_mend(play: &mut Play, cable: &str, outside: SocketAddr) -> Test {
    let (fast, slow) = (Carp::new(0), Carp::new(100));
    both_at(play, "gw1", play.began())?;
    let prober = Prober::start(play.host("inside")?, outside, Probe::Udp, STEP, LIMIT)?;
    lb_lab::wait_until("the outside answers", SOON, || prober.trace().answered() > 100)?;

    let (pulled, at) = (Instant::now(), play.cut("gw1", cable)?);
    let (wan, lan) = both_at(play, "gw2", at)?;
    let served = prober.trace().answered();
    lb_lab::wait_until("the outside answers", SOON, || prober.trace().answered() > served + 100)?;

    let (mended, back) = (Instant::now(), play.mend("gw1", cable)?);
    let (wan_back, lan_back) = both_at(play, "gw1", back)?;
    let served = prober.trace().answered();
    lb_lab::wait_until("the outside answers", SOON, || prober.trace().answered() > served + 100)?;
    let trace = prober.finish();

    let before = trace.between(trace.sent()[0].at, pulled - LIMIT);
    ensure!(before.lost() == 0, "{} lost while nothing happened", before.lost());
    let away = trace.between(pulled, mended);
    let home = trace.between(mended, Instant::now());
    println!(
        "{cable} pulled: WAN moved after {:.3} s, LAN after {:.3} s, {} of {} questions lost in {:.3} s; \
         mended: WAN back after {:.3} s, LAN after {:.3} s, {} of {} lost in {:.3} s",
        seconds(at, wan),
        seconds(at, lan),
        away.lost(),
        away.sent().len(),
        away.outage().as_secs_f64(),
        seconds(back, wan_back),
        seconds(back, lan_back),
        home.lost(),
        home.sent().len(),
        home.outage().as_secs_f64(),
    );
    // On the pulled side nothing is heard any more; on the other the demotion is, which moves that address at once.
    let bound = slow.master_down() + LATENESS;
    let (pulled_side, other_side) = if cable == "eth0" { (wan, lan) } else { (lan, wan) };
    ensure!(seconds(at, pulled_side) < bound.as_secs_f64(), "the pulled side moves late");
    ensure!(seconds(at, other_side) < LATENESS.as_secs_f64(), "the other side moves late");
    ensure!(away.outage() < bound + STEP, "lost for {:?}", away.outage());
    // Each returns at the first advertisement of the slower one, and both sides forward all the while.
    let bound = (slow.interval().max(fast.interval()) + LATENESS).as_secs_f64();
    let late = [wan_back, lan_back].into_iter().any(|at| seconds(back, at) > bound);
    ensure!(!late, "they return late");
    ensure!(home.outage() < LATENESS, "lost for {:?} at the return", home.outage());
    Ok(())
}

/// Waits until one gateway alone has both addresses, and says since when it has each.
fn both_at(
    play: &Play,
    gateway: &str,
    since: SystemTime,
) -> anyhow::Result<(SystemTime, SystemTime)> {
    let both = (play.alone(WAN, gateway, since)?, play.alone(LAN, gateway, since)?);
    let only = BTreeSet::from([gateway.to_owned()]);
    let has = |vip| play.holders(vip).last().is_some_and(|(_, holders)| *holders == only);
    ensure!(has(WAN) && has(LAN), "{gateway} does not keep both");
    Ok(both)
}
