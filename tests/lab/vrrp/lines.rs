//! What the kernel shows of addresses and links with every option: the same for both daemons.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, ensure};
use lb_lab::Host;
use lb_tests::{SOON, Test};
use serde_json::{Map, Value};

use crate::config::Daemon::{self, Keepalived, Lbd};
use crate::config::{Router, Vrrp};
use crate::stage::{Stage, stage};

/// One kind of option each, and what keepalived does with those of the other family.
const INET: [&str; 17] = [
    "192.0.2.100/24",
    "192.0.2.101",
    "192.0.2.102/24 brd +",
    "192.0.2.103/24 brd 192.0.2.99",
    "192.0.2.104/24 brd -",
    "198.51.100.105/24 scope link label eth0:vip",
    "192.0.2.106 peer 198.51.101.1",
    "192.0.2.107/24 brd + peer 198.51.101.2",
    "192.0.2.108/24 noprefixroute",
    "192.0.2.109/24 preferred_lft 0",
    "192.0.2.110/24 preferred_lft 3600",
    "192.0.2.111/24 preferred_lft forever",
    "192.0.2.112/24 home",
    "192.0.2.113/24 -nodad",
    "192.0.2.114/24 mngtmpaddr",
    "239.1.2.3 autojoin",
    "192.0.2.115/24 peer 198.51.101.3/28",
];
const INET6: [&str; 14] = [
    "fe80::100/64",
    "2001:db8::101/64",
    "2001:db8::102",
    "2001:db8::103/64 home",
    "2001:db8::104/64 -nodad",
    "2001:db8::105/64 mngtmpaddr",
    "2001:db8::106/64 noprefixroute",
    "ff05::107/64 autojoin",
    "2001:db8::108/64 preferred_lft 0",
    "2001:db8::109/64 preferred_lft 3600",
    "2001:db8::10a preferred_lft forever",
    "2001:db8::10b preferred_lft 7200",
    "2001:db8::10c/64 peer 2001:db8:1::1",
    "2001:db8::10d/64 -nodad home mngtmpaddr noprefixroute",
];

/// What `ip address` shows of each address but its own of the host.
fn shown(host: &Host) -> anyhow::Result<BTreeMap<String, Map<String, Value>>> {
    let shown = host.exec(["ip", "-d", "-j", "address", "show", "dev", "eth0"])?;
    let links: Vec<Map<String, Value>> = serde_json::from_slice(&shown.stdout)?;
    let addresses = links.first().and_then(|link| link["addr_info"].as_array());
    let mut found = BTreeMap::new();
    for address in addresses.context("no eth0")? {
        let mut address = address.as_object().context("no address")?.clone();
        // Whose it is, in words that only one of them uses; and how far duplicates are looked for.
        for of_no_interest in ["protocol", "tentative"] {
            address.remove(of_no_interest);
        }
        // It may run down by some seconds.
        if let Some(left) = address.get("preferred_life_time").and_then(Value::as_u64)
            && (1..u32::MAX.into()).contains(&left)
        {
            let hours = left.div_ceil(3_600) * 3_600;
            address.insert("preferred_life_time".into(), hours.into());
        }
        let local = address.get("local").and_then(Value::as_str).context("no local address")?;
        found.insert(local.to_owned(), address);
    }
    Ok(found)
}

fn same_addresses(router: &Vrrp) -> Test {
    // Both are the owner of what they hold, each on its own.
    let routers = [Router::new("d1", Lbd, &[router]), Router::new("d2", Keepalived, &[router])];
    stage(&routers, |stage| {
        let last = router.vip();
        let mut seen = Vec::new();
        for host in ["d1", "d2"] {
            stage.start(host)?;
            lb_lab::wait_until("the addresses are there", SOON, || {
                stage.host(host).is_ok_and(|host| host.has_address(last))
            })?;
            let mut found = shown(stage.host(host)?)?;
            // Its own are the only ones that differ.
            found.retain(|address, _| {
                router.vips.iter().any(|vip| vip.split([' ', '/']).next() == Some(address))
            });
            seen.push(found);
            stage.stop(host)?;
            lb_lab::wait_until("the addresses are gone", SOON, || {
                stage.host(host).is_ok_and(|host| !host.has_address(last))
            })?;
        }
        let [ours, theirs] = &seen[..] else { return Ok(()) };
        ensure!(theirs.len() == router.vips.len(), "keepalived adds {theirs:#?}");
        for (address, theirs) in theirs {
            let ours = ours.get(address).with_context(|| format!("{address} is missing"))?;
            ensure!(ours == theirs, "lbd has {ours:?}\nkeepalived {theirs:?}");
        }
        Ok(())
    })
}

#[test]
fn every_option_of_an_address_does_what_it_does_with_keepalived() -> Test {
    let owner = Vrrp::new(255);
    same_addresses(&Vrrp { vips: INET.to_vec(), ..owner.clone() })?;
    same_addresses(&Vrrp { vips: INET6.to_vec(), ..owner })
}

fn promotes(host: &Host) -> anyhow::Result<String> {
    let path = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
    Ok(host.run(|| fs::read_to_string(path))??.trim().to_owned())
}

fn sets_and_restores(daemon: Daemon) -> Test {
    let one = Vrrp::new(255).with("promote_secondaries");
    stage(&[Router::new("d1", daemon, &[&one])], |stage| {
        stage.host("d1")?.set_sysctl("net.ipv4.conf.eth0.promote_secondaries", "0")?;
        stage.start("d1")?;
        lb_lab::wait_until("the VIP is there", SOON, || {
            stage.host("d1").is_ok_and(|host| host.has_address(one.vip()))
        })?;
        let set = promotes(stage.host("d1")?)?;
        ensure!(set == "1", "promote_secondaries is {set}");
        stage.stop("d1")?;
        lb_lab::wait_until("it is restored", SOON, || {
            stage.host("d1").is_ok_and(|host| promotes(host).is_ok_and(|found| found == "0"))
        })?;
        Ok(())
    })
}

#[test]
fn secondary_addresses_are_kept_for_as_long_as_it_runs() -> Test {
    sets_and_restores(Lbd)?;
    sets_and_restores(Keepalived)
}

#[test]
fn a_virtual_mac_is_in_the_group_of_its_interface_or_in_another() -> Test {
    let theirs = Vrrp::new(255).with("use_vmac");
    let own = Vrrp::new(255).with("use_vmac group 7");
    stage(&[Router::new("d1", Lbd, &[&theirs])], |stage| {
        let in_group = |stage: &Stage, group: &str| -> anyhow::Result<bool> {
            let host = stage.host("d1")?;
            let shown = host.exec(["ip", "-brief", "link", "show", "group", group])?;
            Ok(String::from_utf8_lossy(&shown.stdout).contains("vrrp.51@eth0"))
        };
        stage.host("d1")?.exec(["ip", "link", "set", "dev", "eth0", "group", "42"])?;
        stage.start("d1")?;
        lb_lab::wait_until("the VIP is there", SOON, || {
            stage.host("d1").is_ok_and(|host| host.has_address(own.vip()))
        })?;
        ensure!(in_group(stage, "42")?, "not in the group of its interface");
        stage.reload("d1", &Router::new("d1", Lbd, &[&own]).config)?;
        lb_lab::wait_until("it is in its own", SOON, || {
            in_group(stage, "7").is_ok_and(|found| found)
        })?;
        Ok(())
    })
}
