//! Every octet of an advertisement, by the protocol and next to ucarp's for the same configuration.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use anyhow::ensure;
use lb_lab::IpHeader;
use lb_tests::play::side_by_side;
use lb_tests::timing::{is_after, seconds};
use lb_tests::wire::hex;
use lb_tests::{SOON, Test, VRRP};
use nix::sys::signal::Signal;

use crate::config::Daemon::{self, Lbd, Ucarp};
use crate::config::{Carp, Node};
use crate::stage::{LATENESS, stage};
use crate::wire::{Advert, digests_are_right};

/// How many advertisements are read.
const COUNT: usize = 5;

#[test]
fn every_octet_is_as_the_protocol_and_ucarp_have_it() -> Test {
    let plain = Carp::new(0);
    let long = Carp {
        pass: "nineteen-chars-long",
        ..Carp::new(200).numbered("LONG", 255, [192, 0, 2, 255].into())
    };
    let slow = Carp { advbase: 2, ..Carp::new(20) };
    let cases = [("plain", plain), ("the longest password", long), ("two seconds", slow)];
    side_by_side(cases, |carp| {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        side_by_side(
            [("lbd", (Lbd, &mut ours)), ("ucarp", (Ucarp, &mut theirs))],
            |(who, said)| {
                *said = life(&carp, who)?;
                Ok(())
            },
        )?;
        // Nothing was sent where there is no lab, or no ucarp.
        let (Some(first), Some(other)) = (ours.first(), theirs.first()) else { return Ok(()) };
        let (first, other) = (first.constant_octets(), other.constant_octets());
        ensure!(first == other, "lbd says\n{}\nucarp says\n{}", hex(&first), hex(&other));
        Ok(())
    })
}

/// What a lone node says, from its first advertisement to the stop.
fn life(carp: &Carp, daemon: Daemon) -> anyhow::Result<Vec<Advert>> {
    let mut life = Vec::new();
    stage(&[Node::new("d1", daemon, &[*carp])], |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", carp, started, carp.master_down())?;
        stage.wait_for_adverts("d1", carp, UNIX_EPOCH, COUNT)?;
        let at = stage.signal("d1", Signal::SIGTERM)?;
        stage.daemon("d1")?.wait(SOON)?;
        life = stage.adverts("d1", carp, UNIX_EPOCH);
        let regular: Vec<&Advert> = life.iter().filter(|advert| advert.at < at).collect();
        for advert in &life {
            is_right(carp, advert)?;
        }
        for advert in &regular {
            ensure!((advert.advbase, advert.advskew) == (carp.advbase, carp.advskew), "{advert}");
            ensure!(advert.demotion == 0, "{advert}");
        }
        // The first one of ucarp has to wait for its script.
        let steady = &regular[1..];
        for pair in steady.windows(2) {
            let earliest = carp.interval().saturating_sub(LATENESS);
            is_after("interval", pair[0].at, pair[1].at, earliest, 2 * LATENESS)?;
        }
        let whole = carp.interval() * u32::try_from(steady.len() - 1)?;
        let (first, last) = (steady[0].at, steady[steady.len() - 1].at);
        println!(
            "{daemon:?}: an advertisement every {:.4} s; expected {:.4}",
            seconds(first, last) / (steady.len() - 1) as f64,
            carp.interval().as_secs_f64()
        );
        is_after("all intervals", first, last, whole.saturating_sub(LATENESS), 2 * LATENESS)?;
        let goodbyes: Vec<&Advert> = life.iter().filter(|advert| advert.at >= at).collect();
        match daemon {
            Lbd => ensure!(goodbyes.iter().any(|advert| advert.bows_out()), "no bow-out"),
            Ucarp => ensure!(goodbyes.is_empty(), "ucarp says good-bye"),
        }
        digests_are_right(&life.iter().collect::<Vec<_>>(), carp.pass, carp.vip)
    })?;
    Ok(life)
}

fn is_right(carp: &Carp, advert: &Advert) -> Test {
    const GROUP: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 0x12];
    let envelope = IpHeader {
        source: IpAddr::from([192, 0, 2, 1]),
        destination: IpAddr::from([224, 0, 0, 18]),
        protocol: VRRP,
        ttl: 255,
        tos: 0x10,
    };
    ensure!(
        advert.ip == envelope && advert.to == GROUP,
        "envelope {:?} to {:?}",
        advert.ip,
        advert.to
    );
    // Ethernet's header, IPv4's without options, 36 octets.
    ensure!(advert.frame.len() == 14 + 20 + 36, "{} octets", advert.frame.len());
    ensure!(advert.frame[14] == 0x45, "version and header length {:#x}", advert.frame[14]);
    ensure!(advert.frame[16..18] == [0, 56], "total length {:?}", &advert.frame[16..18]);
    ensure!(advert.frame[20..22] == [0x40, 0], "flags and offset {:?}", &advert.frame[20..22]);
    ensure!(advert.vhid == carp.vhid, "vhid {}", advert.vhid);
    ensure!(advert.header_checksum_is_right(), "checksum of the IP header");
    ensure!(advert.checksum, "checksum");
    Ok(())
}
