//! What stands in the way of sending: advertisements that the kernel refuses, and a MAC that changes.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use lb_control::{State, Status};
use lb_lab::wait_until;
use lb_tests::vrrp::Spoken;
use lb_tests::{SOON, Test, run, wait_status};

use crate::config::Daemon::Lbd;
use crate::config::{Router, Vrrp};
use crate::stage::{Stage, stage};

/// Runs a command on the router, which has to succeed.
fn does(stage: &Stage, command: &str) -> Test {
    let (status, output) = run(stage.host("d1")?, &["sh", "-c", command])?;
    ensure!(status == Some(0), "{command}: {output}");
    Ok(())
}

#[test]
fn advertisements_that_cannot_be_sent_have_a_line_when_that_begins_and_one_when_it_ends() -> Test {
    if !lb_tests::installed("nft", "nftables") {
        return Ok(());
    }
    let vrrp = Vrrp::new(100);
    let other = Vrrp { name: "VI_2", vrid: 52, vips: vec!["192.0.2.102/24"], ..vrrp.clone() };
    // Whatever the kernel says of its interface, it goes on as MASTER.
    let third = Vrrp {
        name: "VI_3",
        vrid: 53,
        interface: "eth1",
        vips: vec!["198.51.100.103/24"],
        ..vrrp.clone()
    };
    let third = third.with("dont_track_primary");
    let routers = [Router::new("d1", Lbd, &[&vrrp, &other, &third])];
    stage(&routers, |stage| {
        stage.start("d1")?;
        wait_status(stage.host("d1")?, "three masters", |status| {
            status.vrrp.iter().all(|instance| instance.state == State::Master)
        })?;
        let spells: [(&str, &str, &[&str], &str); 2] = [
            (
                "nft 'add table inet t; add chain inet t o { type filter hook output priority 0; }; \
                 add rule inet t o meta l4proto 112 drop'",
                "nft delete table inet t",
                &["VI_1", "VI_2", "VI_3"],
                "eth",
            ),
            ("ip link set eth1 down", "ip link set eth1 up", &["VI_3"], "eth1"),
        ];
        for (number, (begin, end, names, place)) in (1..).zip(spells) {
            let told = |name: &str, words: &str| -> Vec<String> {
                let output = stage.daemon("d1").map(|daemon| daemon.output()).unwrap_or_default();
                let begins = format!("({name}) advertisements {words} on {place}");
                output.lines().filter(|line| line.contains(&begins)).map(str::to_owned).collect()
            };
            let before: Vec<usize> =
                names.iter().map(|name| told(name, "cannot be sent").len()).collect();
            does(stage, begin)?;
            for (name, before) in names.iter().zip(&before) {
                wait_until(&format!("spell {number} of {name}"), SOON, || {
                    told(name, "cannot be sent").len() > *before
                })?;
            }
            // Many more are refused meanwhile; how many is said in the end.
            let sent = |status: &Status| -> Vec<u64> {
                status.vrrp.iter().map(|instance| instance.counters.advert_sent).collect()
            };
            let so_far = sent(&lb_tests::status(stage.host("d1")?)?);
            wait_status(stage.host("d1")?, "more advertisements", |status| {
                sent(status).iter().zip(&so_far).all(|(now, before)| *now >= before + 6)
            })?;
            does(stage, end)?;
            for (name, before) in names.iter().zip(before) {
                wait_until(&format!("the end of spell {number} of {name}"), SOON, || {
                    told(name, "are sent").len() > before
                })?;
                let began = told(name, "cannot be sent");
                ensure!(began.len() == before + 1, "{began:?}");
                let ended = told(name, "are sent");
                ensure!(ended.len() == before + 1, "{ended:?}");
                let count = ended.last().and_then(|line| {
                    line.split_once("; ")?.1.split(' ').next()?.parse::<u32>().ok()
                });
                ensure!(count.is_some_and(|count| count >= 5), "{ended:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_master_whose_interface_has_another_mac_announces_its_addresses_again() -> Test {
    let six = Vrrp { name: "VI_2", vrid: 52, ..Vrrp::new(100).ipv6() };
    let four = Vrrp::new(100);
    stage(&[Router::new("d1", Lbd, &[&four, &six])], |stage| {
        let started = stage.start("d1")?;
        let vips: [IpAddr; 2] = [four.vip(), six.vip()];
        for vip in vips {
            stage.alone(vip, "d1", started.start)?;
            stage.announces("d1", vip, started.start, 6)?;
        }
        // The second block comes a second after the first; after that nothing is due.
        wait_until("the end of the announcements", SOON, || {
            let said = stage.said("d1").into_iter().rev();
            let mut said = said.filter(|said| matches!(said, Spoken::Announcement { .. }));
            let last = said.next().and_then(|said| said.at().elapsed().ok());
            last.is_some_and(|ago| ago > Duration::from_millis(1_500))
        })?;
        let at = SystemTime::now();
        does(stage, "ip link set eth0 address 02:00:00:00:00:77")?;
        for vip in vips {
            stage.announces("d1", vip, at, 1)?;
        }
        let mac = [2, 0, 0, 0, 0, 0x77];
        wait_until("what is announced has the new MAC", SOON, || {
            let from = |vip| {
                stage.said("d1").into_iter().any(|said| match said {
                    Spoken::Announcement { at: sent, vip: of, frame } => {
                        sent >= at && of == vip && frame.get(6..12) == Some(&mac)
                    }
                    Spoken::Advert(_) => false,
                })
            };
            vips.into_iter().all(from)
        })?;
        Ok(())
    })
}
