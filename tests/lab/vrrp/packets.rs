//! Every octet on the wire, by the standards and next to keepalived's for the same configuration.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::ensure;
use lb_tests::{SOON, Test};

use crate::config::Daemon::{self, Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{side_by_side, stage};
use crate::times::{is_after, lateness};
use lb_tests::vrrp::{Advert, Form, Spoken};

/// A configuration and what its advertisements have to be.
struct Case {
    name: &'static str,
    vrrp: Vrrp,
    destination: &'static str,
    /// Ethernet address of the destination.
    to: [u8; 6],
    ttl: u8,
    /// Octets 4 and 5 of the message.
    timing: [u8; 2],
    checksum: Form,
    /// What follows the addresses.
    rest: &'static [u8],
}

const GROUP: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 0x12];
const GROUP_IPV6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x12];
const EXCLUDED: &str = "192.0.2.103/24";
/// The card of `d2`.
const PEER: [u8; 6] = [0x02, 0, 0, 2, 0, 0];

fn cases() -> Vec<Case> {
    let v2 = Vrrp::new(100).version2();
    let v3 = Vrrp::new(100);
    let case = |name, vrrp| Case {
        name,
        vrrp,
        destination: "224.0.0.18",
        to: GROUP,
        ttl: 255,
        timing: [0, 20],
        checksum: Form::Pseudo,
        rest: &[],
    };
    let unicast = Some(("192.0.2.1", vec!["192.0.2.2"]));
    vec![
        Case {
            timing: [0, 1],
            checksum: Form::Plain,
            rest: &[0; 8],
            ..case("version 2", v2.clone())
        },
        Case {
            timing: [1, 1],
            checksum: Form::Plain,
            rest: b"s3cret\0\0",
            ..case("version 2 with a password", Vrrp { password: Some("s3cret"), ..v2.clone() })
        },
        Case {
            timing: [1, 1],
            checksum: Form::Plain,
            rest: b"eightoct",
            destination: "192.0.2.2",
            to: PEER,
            ..case(
                "version 2, unicast, with a password that is cut",
                Vrrp { password: Some("eightoctets"), unicast: unicast.clone(), ..v2 },
            )
        },
        case("version 3", v3.clone()),
        Case {
            timing: [0x0f, 0xff],
            ..case(
                "the longest interval and the highest VRID",
                Vrrp { vrid: 255, priority: 255, ..v3.clone() }
                    .every(Duration::from_millis(40_950)),
            )
        },
        case(
            "three VIPs, one of them not advertised",
            Vrrp { vips: vec!["192.0.2.102/24", "192.0.2.101/32"], ..v3.clone() }
                .with(&format!("virtual_ipaddress_excluded {{\n {EXCLUDED}\n}}")),
        ),
        Case {
            destination: "192.0.2.2",
            to: PEER,
            ..case("version 3, unicast", Vrrp { unicast, ..v3.clone() })
        },
        Case { destination: "ff02::12", to: GROUP_IPV6, ..case("version 3 over IPv6", v3.ipv6()) },
    ]
}

#[test]
fn every_octet_is_as_the_standards_and_keepalived_have_it() -> Test {
    side_by_side(cases().into_iter().map(|case| (case.name, case)), |case| compare(&case))
}

fn compare(case: &Case) -> Test {
    let ours = life(&case.vrrp, Lbd)?;
    let adverts = ours.iter().filter_map(|said| match said {
        Spoken::Advert(advert) => Some(advert),
        Spoken::Announcement { .. } => None,
    });
    let adverts: Vec<&Advert> = adverts.collect();
    for advert in &adverts {
        is_right(case, advert)?;
    }
    if let [first, .., last] = adverts[..] {
        ensure!((first.priority, last.priority) == (case.vrrp.priority, 0), "priorities");
    }
    for pair in adverts.windows(2) {
        let fresh = pair[0].ip.source.is_ipv6() || pair[1].id == pair[0].id.wrapping_add(1);
        ensure!(fresh, "IP id {} after {}", pair[1].id, pair[0].id);
    }

    let announcements =
        ours.iter().filter(|said| matches!(said, Spoken::Announcement { .. })).count();
    let vips = announced(&case.vrrp).len();
    let expected = 10 * vips..=(10 + echoes(Lbd)) * vips;
    ensure!(expected.contains(&announcements), "{announcements} announcements of {vips}");

    let theirs = life(&case.vrrp, Keepalived)?;
    // An advertisement, then five announcements of each VIP.
    let opening = 1 + 5 * announced(&case.vrrp).len();
    let (ours, theirs) = (essence(&ours, opening), essence(&theirs, opening));
    ensure!(ours == theirs, "lbd says\n{}keepalived says\n{}", hex(&ours), hex(&theirs));
    Ok(())
}

/// The addresses that are announced: the excluded one too.
fn announced(vrrp: &Vrrp) -> Vec<IpAddr> {
    let excluded = vrrp.more.contains("excluded").then_some(EXCLUDED);
    let vips = vrrp.vips.iter().chain(excluded.as_ref());
    vips.filter_map(|vip| vip.split_once('/')?.0.parse().ok()).collect()
}

/// How often at most it announces each address once more in the first moments, lest a predecessor that lingers
/// has the last word: what is due at the same time, because the machine is late, is said once.
fn echoes(daemon: Daemon) -> usize {
    match daemon {
        Lbd => 4,
        Keepalived => 0,
    }
}

/// What a lone router says in its life, from the start to the stop.
fn life(vrrp: &Vrrp, daemon: Daemon) -> anyhow::Result<Vec<Spoken>> {
    let nobody = Router::new("d2", Lbd, &[vrrp]);
    let mut life = Vec::new();
    stage(&[Router::new("d1", daemon, &[vrrp]), nobody], |stage| {
        stage.start("d1")?;
        let first = stage.wait_for_adverts("d1", UNIX_EPOCH, 1)?.remove(0).at;
        // Five times at once, our echoes, and five a second later (`garp_master_delay 1`).
        let late = lateness(vrrp).min(Duration::from_millis(200));
        let later = Duration::from_secs(1);
        for vip in announced(vrrp) {
            let block = first + later - late;
            for at in stage.announces("d1", vip, block, 5)? {
                // Its time is that of the role, and the first advertisement may have left late.
                is_after("announcement", first - late, at, later, 2 * late)?;
            }
            let of_vip =
                |said: &Spoken| matches!(said, Spoken::Announcement { vip: of, .. } if *of == vip);
            let said = stage.said("d1");
            let soon: Vec<_> = said
                .iter()
                .filter(|said| of_vip(said) && said.at() < block)
                .map(Spoken::at)
                .collect();
            ensure!((5..=5 + echoes(daemon)).contains(&soon.len()), "{} at once", soon.len());
            for at in soon {
                is_after("announcement", first, at, Duration::ZERO, late)?;
            }
        }
        let at = stage.stop("d1")?;
        stage.wait_for_adverts_like("d1", at, 1, |advert| advert.priority == 0)?;
        stage.daemon("d1")?.wait(SOON)?;
        life = stage.said("d1");
        Ok(())
    })?;
    Ok(life)
}

/// An advertisement by RFC 9568 §5, RFC 3768 §5 with RFC 2338 §5.3.6.
fn is_right(case: &Case, advert: &Advert) -> Test {
    let Case { vrrp, destination, to, ttl, timing, checksum, rest, .. } = case;
    let vips: Vec<IpAddr> =
        (vrrp.vips.iter()).filter_map(|vip| vip.split_once('/')?.0.parse().ok()).collect();
    let source: IpAddr = match vips.first() {
        Some(IpAddr::V6(_)) => "fe80::ff:fe01:0".parse()?,
        _ => "192.0.2.1".parse()?,
    };
    let found = (advert.ip.source, advert.ip.destination, advert.to, advert.ip.ttl, advert.ip.tos);
    ensure!(found == (source, destination.parse()?, *to, *ttl, 0xc0), "envelope {found:?}");
    let found = (advert.version, advert.kind, advert.vrid, advert.timing);
    ensure!(found == (vrrp.version, 1, vrrp.vrid, *timing), "header {found:?}");
    ensure!([vrrp.priority, 0].contains(&advert.priority), "priority {}", advert.priority);
    ensure!(advert.addresses == vips, "addresses {:?}", advert.addresses);
    ensure!(advert.rest == *rest, "after the addresses {:?}", advert.rest);
    ensure!(advert.checksum == Some(*checksum), "checksum {:?}", advert.checksum);
    ensure!(advert.header_checksum_is_right(), "checksum of the IP header");
    Ok(())
}

/// What does not depend on how long it lived: its first words in their order, then whatever else it said, once each.
fn essence(life: &[Spoken], opening: usize) -> Vec<Vec<u8>> {
    let mut essence: Vec<_> = life.iter().map(Spoken::constant_octets).collect();
    for octets in essence.split_off(opening.min(essence.len())) {
        if !essence.contains(&octets) {
            essence.push(octets);
        }
    }
    essence
}

fn hex(frames: &[Vec<u8>]) -> String {
    let line = |frame: &Vec<u8>| {
        frame
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .chain(["\n".to_owned()])
            .collect::<String>()
    };
    frames.iter().map(line).collect()
}
