//! Whoever is MASTER and however it goes: exactly one of two routers holds the VIP within the protocol's bound.

use std::time::SystemTime;

use anyhow::ensure;
use lb_tests::Test;

use crate::config::Daemon::{Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{side_by_side, stage};
use crate::times::lateness;

/// What two routers agree on.
#[derive(Clone, Copy, Debug)]
enum Form {
    V2,
    V3,
    V3Ipv6,
    /// `auth_type AH`
    V2Header,
    V2Ipv6,
}

#[test]
fn exactly_one_of_two_holds_the_vip_after_every_fault() -> Test {
    use Form::{V2, V3, V3Ipv6};
    duels(&[(V2, false), (V2, true), (V3, false), (V3, true), (V3Ipv6, false)])
}

#[test]
fn so_it_is_with_an_authentication_header_and_with_version_2_of_ipv6() -> Test {
    use Form::{V2Header, V2Ipv6};
    duels(&[(V2Header, false), (V2Header, true), (V2Ipv6, false)])
}

/// In these forms, multicast or unicast, with each pair of routers.
fn duels(forms: &[(Form, bool)]) -> Test {
    // The router of higher priority, then the other.
    let pairs = [(Lbd, Keepalived), (Keepalived, Lbd), (Lbd, Lbd)];
    let cells = pairs.iter().flat_map(|(high, low)| {
        forms.iter().map(move |(form, unicast)| {
            let cast = if *unicast { "unicast" } else { "multicast" };
            let name = format!("{high:?} before {low:?}, {form:?} {cast}");
            let one = vrrp(150, *form, unicast.then_some(("192.0.2.1", "192.0.2.2")));
            let two = vrrp(100, *form, unicast.then_some(("192.0.2.2", "192.0.2.1")));
            (name, (*high, *low, one, two))
        })
    });
    side_by_side(cells, |(high, low, one, two)| {
        let routers = [Router::new("d1", high, &[&one]), Router::new("d2", low, &[&two])];
        duel(&routers, &one, &two)
    })
}

fn vrrp(priority: u8, form: Form, unicast: Option<(&'static str, &'static str)>) -> Vrrp {
    let vrrp = Vrrp::new(priority);
    let mut vrrp = match form {
        Form::V2 => Vrrp { password: Some("s3cret"), ..vrrp.version2() },
        Form::V3 => vrrp,
        Form::V3Ipv6 => vrrp.ipv6(),
        Form::V2Ipv6 => vrrp.version2().ipv6(),
        Form::V2Header => {
            vrrp.version2().with("authentication {\n auth_type AH\n auth_pass s3cret\n}")
        }
    };
    vrrp.unicast = unicast.map(|(own, peer)| (own, vec![peer]));
    vrrp
}

fn duel(routers: &[Router], one: &Vrrp, two: &Vrrp) -> Test {
    stage(routers, |stage| {
        // So that it speaks on to a peer whose cable is cut: otherwise it asks for its hardware address first.
        stage.host("d2")?.set_sysctl("net.ipv4.neigh.eth0.base_reachable_time_ms", "600000")?;
        // The one of lower priority first: it serves until the other has come, and no longer.
        let started = stage.start("d2")?;
        stage.takes("d2", two, started.start, started.end)?;
        let started = stage.start("d1")?;
        stage.takes("d1", one, started.start, started.end)?;

        let at = stage.crash("d1")?;
        let last = stage.last_advert("d1", SystemTime::now())?.at;
        ensure!(last >= at - one.interval - lateness(one), "d1 was silent before it crashed");
        stage.takes("d2", two, last, last)?;
        stage.boot("d1")?;
        let started = stage.start("d1")?;
        stage.takes("d1", one, started.start, started.end)?;

        stage.stops("d1", "d2", two)?;
        let started = stage.start("d1")?;
        stage.takes("d1", one, started.start, started.end)?;

        stage.cut("d1", "eth0")?;
        let last = stage.last_advert("d1", SystemTime::now())?.at;
        stage.takes("d2", two, last, last)?;
        let at = stage.mend("d1", "eth0")?;
        stage.takes("d1", one, at, SystemTime::now())?;
        let stale = stage.adverts("d1", at).iter().any(|advert| advert.priority == 0);
        ensure!(!stale || routers[0].daemon == Keepalived, "a stop of the past was sent late");

        // What happens to the other is nobody's business.
        stage.stop("d2")?;
        stage.reigns("d1", one, 4)
    })
}
