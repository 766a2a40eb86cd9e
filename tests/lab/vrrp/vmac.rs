//! `use_vmac`: addresses behind the virtual router's MAC, which stays what it is whoever is MASTER.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use lb_lab::{Frame, Host};
use lb_tests::{SOON, Test};

use crate::config::Daemon::{self, Keepalived, Lbd};
use crate::config::{Router, VIP, Vrrp};
use crate::stage::{Stage, side_by_side, stage};
use lb_tests::vrrp::{Advert, Spoken};

/// RFC 9568 §7.3, VRID 51.
const VMAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const VMAC_6: [u8; 6] = [0, 0, 0x5e, 0, 2, 51];

fn with_vmac(priority: u8) -> Vrrp {
    Vrrp::new(priority).with("use_vmac")
}

/// Two routers and a client that runs nothing.
fn stage_with_client(routers: [(Daemon, &Vrrp); 2], play: impl FnMut(&mut Stage) -> Test) -> Test {
    let [(first, one), (second, two)] = routers;
    let client = Router { host: "d3", daemon: Lbd, config: String::new() };
    stage(&[Router::new("d1", first, &[one]), Router::new("d2", second, &[two]), client], play)
}

/// Whether somebody answers at an address: that nobody listens at a port there.
fn answers(vip: IpAddr) -> anyhow::Result<()> {
    let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(SOON))?;
    socket.connect((vip, 9))?;
    socket.send(b"?")?;
    let refused = socket.recv(&mut [0; 8]).err().context("somebody listens")?;
    ensure!(refused.kind() == std::io::ErrorKind::ConnectionRefused, "{vip}: {refused}");
    Ok(())
}

/// The client reaches the VIP, which is where it always was.
fn client_is_served(stage: &Stage) -> Test {
    let client = stage.host("d3")?;
    client.run(|| answers(VIP))??;
    let entry = client.exec(["ip", "neigh", "show", "192.0.2.100"])?;
    let entry = String::from_utf8_lossy(&entry.stdout);
    ensure!(entry.contains("lladdr 00:00:5e:00:01:33 "), "the VIP is at {entry}");
    Ok(())
}

/// Everything that a router said about the virtual router was said with this MAC.
fn spoke_as(stage: &Stage, host: &str, mac: [u8; 6]) -> Test {
    let mut count = 0;
    for said in stage.said(host) {
        let (Spoken::Advert(Advert { frame, .. }) | Spoken::Announcement { frame, .. }) = &said;
        ensure!(frame[6..12] == mac, "{host} {said} as {:02x?}", &frame[6..12]);
        count += 1;
    }
    ensure!(count > 0, "{host} said nothing");
    Ok(())
}

/// Names of the macvlans on a host.
fn macvlans(host: &Host) -> anyhow::Result<String> {
    let shown = host.exec(["ip", "-brief", "link", "show", "type", "macvlan"])?;
    Ok(String::from_utf8_lossy(&shown.stdout).into_owned())
}

fn setting(host: &Host, name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/sys/net/{name}");
    let value = host.run(|| fs::read_to_string(&path))?.with_context(|| path.clone())?;
    Ok(value.trim().to_owned())
}

#[test]
fn the_mac_of_the_vip_stays_through_every_takeover() -> Test {
    let pairs = [(Lbd, Lbd), (Lbd, Keepalived), (Keepalived, Lbd)];
    let named = pairs.map(|(high, low)| (format!("{high:?} before {low:?}"), (high, low)));
    side_by_side(named, |(high, low)| takeovers(high, low))
}

/// keepalived lets its kernel ask for the client's MAC in the name of the VIP with the MAC of the interface, and the
/// client believes it. With lbd this is not needed.
fn help_keepalived(stage: &Stage, host: &str, daemon: Daemon) -> Test {
    if daemon == Keepalived {
        stage.host(host)?.set_sysctl("net.ipv4.conf.all.arp_announce", "2")?;
    }
    Ok(())
}

fn takeovers(high: Daemon, low: Daemon) -> Test {
    let (one, two) = (with_vmac(150), with_vmac(100));
    stage_with_client([(high, &one), (low, &two)], |stage| {
        help_keepalived(stage, "d1", high)?;
        help_keepalived(stage, "d2", low)?;
        let started = stage.start("d2")?;
        stage.takes("d2", &two, started.start, started.end)?;
        client_is_served(stage)?;
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        client_is_served(stage)?;
        stage.reigns("d1", &one, 4)?;

        let at = stage.crash("d1")?;
        let last = stage.last_advert("d1", at)?.at;
        stage.takes("d2", &two, last, last)?;
        client_is_served(stage)?;
        stage.boot("d1")?;
        help_keepalived(stage, "d1", high)?;
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        client_is_served(stage)?;
        stage.stops("d1", "d2", &two)?;
        client_is_served(stage)?;
        stage.reigns("d2", &two, 4)?;

        spoke_as(stage, "d1", VMAC)?;
        spoke_as(stage, "d2", VMAC)
    })
}

#[test]
fn a_virtual_mac_over_ipv6_speaks_from_the_address_of_its_interface() -> Test {
    let pairs = [(Lbd, Lbd), (Lbd, Keepalived), (Keepalived, Lbd)];
    let named = pairs.map(|(high, low)| (format!("{high:?} before {low:?}"), (high, low)));
    side_by_side(named, |(high, low)| {
        let (one, two) = (with_vmac(150).ipv6(), with_vmac(100).ipv6());
        stage_with_client([(high, &one), (low, &two)], |stage| {
            let started = stage.start("d2")?;
            stage.takes("d2", &two, started.start, started.end)?;
            let started = stage.start("d1")?;
            stage.takes("d1", &one, started.start, started.end)?;
            stage.stops("d1", "d2", &two)?;
            spoke_as(stage, "d1", VMAC_6)?;
            spoke_as(stage, "d2", VMAC_6)?;
            let own = stage.host("d2")?.addresses()?;
            for advert in stage.adverts("d2", SystemTime::UNIX_EPOCH) {
                let source = advert.ip.source;
                ensure!(own.contains(&("eth0".to_owned(), source)), "{source} is not of eth0");
            }
            Ok(())
        })
    })
}

#[test]
fn with_vmac_xmit_base_only_the_addresses_have_the_virtual_mac() -> Test {
    let (one, two) = (with_vmac(150).with("vmac_xmit_base"), with_vmac(100).with("vmac_xmit_base"));
    stage_with_client([(Lbd, &one), (Lbd, &two)], |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        stage.start("d2")?;
        client_is_served(stage)?;
        stage.stops("d1", "d2", &two)?;
        client_is_served(stage)?;
        for said in stage.said("d1").into_iter().chain(stage.said("d2")) {
            let (own, frame) = match &said {
                Spoken::Advert(advert) => (true, &advert.frame),
                Spoken::Announcement { frame, .. } => (false, frame),
            };
            ensure!((frame[6..12] == VMAC) != own, "{said} as {:02x?}", &frame[6..12]);
        }
        Ok(())
    })
}

#[test]
fn everything_is_as_before_when_lbd_has_stopped() -> Test {
    const SETTINGS: [&str; 3] =
        ["ipv4/conf/eth0/arp_ignore", "ipv4/conf/eth0/arp_filter", "ipv4/conf/all/rp_filter"];
    let one = with_vmac(150);
    stage(&[Router::new("d1", Lbd, &[&one])], |stage| {
        stage.host("d1")?.set_sysctl("net.ipv4.conf.all.rp_filter", "1")?;
        let all = |stage: &Stage| -> anyhow::Result<Vec<String>> {
            SETTINGS.iter().map(|name| setting(stage.host("d1")?, name)).collect()
        };
        let before = all(stage)?;
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        let there = macvlans(stage.host("d1")?)?;
        ensure!(there.starts_with("vrrp.51@eth0") && there.lines().count() == 1, "{there}");
        ensure!(all(stage)? == ["1", "1", "0"], "{:?}", all(stage)?);

        // What an lbd leaves that is killed, the next one finds and clears away.
        stage.daemon("d1")?.kill();
        stage.daemon("d1")?.wait(SOON)?;
        ensure!(macvlans(stage.host("d1")?)? == there, "the macvlan went with its daemon");
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        stage.stop("d1")?;
        stage.daemon("d1")?.wait(SOON)?;
        let left = macvlans(stage.host("d1")?)?;
        ensure!(left.is_empty(), "it leaves {left}");
        ensure!(all(stage)? == before, "{:?} was {before:?}", all(stage)?);
        Ok(())
    })
}

#[test]
fn a_virtual_mac_that_somebody_deletes_is_made_again() -> Test {
    let one = with_vmac(150);
    stage(&[Router::new("d1", Lbd, &[&one])], |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", &one, started.start, started.end)?;
        let at = stage.act("d1", "delete vrrp.51", |host| {
            host.exec(["ip", "link", "delete", "vrrp.51"]).map(drop)
        })?;
        stage.daemon("d1")?.wait_for_line("Entering FAULT STATE", SOON)?;
        lb_lab::wait_until("the VIP is back", SOON, || {
            stage.host("d1").is_ok_and(|host| host.has_address(VIP))
        })?;
        stage.announces("d1", VIP, at, 1)?;
        // That it lets go it can only say through its interface.
        let lives = |advert: &Advert| advert.priority != 0;
        for advert in stage.wait_for_adverts_like("d1", at, 2, lives)? {
            ensure!(advert.frame[6..12] == VMAC, "advertises as {:02x?}", &advert.frame[6..12]);
        }
        Ok(())
    })
}

#[test]
fn a_reload_gives_and_takes_the_virtual_mac() -> Test {
    let (plain, one) = (Vrrp::new(150), with_vmac(150));
    stage_with_client([(Lbd, &plain), (Lbd, &Vrrp::new(100))], |stage| {
        let started = stage.start("d1")?;
        stage.takes("d1", &plain, started.start, started.end)?;
        let of_vip =
            |mac: [u8; 6]| move |frame: &Frame| frame.ethertype == 0x0806 && frame.from == mac;
        let hear = stage.host("d3")?.capture("eth0")?;
        stage.reload("d1", &Router::new("d1", Lbd, &[&one]).config)?;
        hear.wait_for(of_vip(VMAC), SOON)?;
        client_is_served(stage)?;
        stage.reload("d1", &Router::new("d1", Lbd, &[&plain]).config)?;
        lb_lab::wait_until("the macvlan is gone", SOON, || {
            stage.host("d1").is_ok_and(|host| macvlans(host).is_ok_and(|there| there.is_empty()))
        })?;
        ensure!(stage.host("d1")?.has_address(VIP), "the VIP went with it");
        stage.host("d3")?.run(|| answers(VIP))?
    })
}

#[test]
fn a_virtual_mac_that_says_nothing_is_announced_every_so_often() -> Test {
    let base = with_vmac(255).with("vmac_xmit_base").with("garp_master_delay 0");
    let one = base.clone().with("garp_extra_if 1");
    stage(&[Router::new("d1", Lbd, &[&one])], |stage| {
        let started = stage.start("d1")?;
        // The first announcements end with an echo after 30 ms.
        let later = started.end + Duration::from_millis(500);
        stage.announces("d1", VIP, later, 3)?;
        for said in stage.said("d1") {
            let (frame, by_vmac) = match said {
                Spoken::Announcement { frame, .. } => (frame, true),
                Spoken::Advert(Advert { frame, .. }) => (frame, false),
            };
            ensure!((frame[6..12] == VMAC) == by_vmac, "{frame:02x?}");
        }
        Ok(())
    })
}

#[test]
fn carp_has_the_same_virtual_mac() -> Test {
    let router = |host, skew: u8| Router {
        host,
        daemon: Lbd,
        config: format!(
            "carp_instance C {{\n interface eth0\n vhid 51\n pass secret\n advskew {skew}\n preempt\n use_vmac\n \
             virtual_ipaddress {{\n 192.0.2.100/24\n }}\n}}\n"
        ),
    };
    let client = Router { host: "d3", daemon: Lbd, config: String::new() };
    stage(&[router("d1", 0), router("d2", 100), client], |stage| {
        let started = stage.start("d2")?;
        stage.alone(VIP, "d2", started.start)?;
        client_is_served(stage)?;
        let there = macvlans(stage.host("d2")?)?;
        ensure!(there.starts_with("carp.51@eth0"), "{there}");
        let started = stage.start("d1")?;
        stage.alone(VIP, "d1", started.start)?;
        client_is_served(stage)?;
        let at = stage.crash("d1")?;
        stage.alone(VIP, "d2", at)?;
        client_is_served(stage)?;
        spoke_as(stage, "d1", VMAC)?;
        spoke_as(stage, "d2", VMAC)
    })
}
