//! Nodes that come and go, and instances that a reload adds and removes: nobody answers what is not its share, and
//! what goes is handed over.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use lb_control::State;
use lb_lab::{Host, Lab, Process, Server, wait_until};
use lb_tests::play::side_by_side;
use lb_tests::pulse::undisturbed;
use lb_tests::{CONFIG, SOON, Test, lbd, run, wait_status};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;

use crate::balanced::{
    CARPNODES, Case, Client, NODES, VHIDS, VIP, VIP6, client_hosts, clients, config, is_master_of,
    is_told_once, states, topology, web, who_answers, who_answers_at_last, wires,
};
use crate::stage::LATENESS;
use crate::wire::Advert;

/// BACKUP of everything.
const IDLE: &str = "11:254,12:254,13:254";
/// How long a client that is handed over waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_millis(20);
/// Between an answer and the next question.
const STEP: Duration = Duration::from_millis(1);

fn play(cases: &[(&'static str, IpAddr)], run: impl Fn(Case) -> Test + Sync) -> Test {
    let case = |&(mode, vip)| Case { mode, vip, lost: 0 };
    side_by_side(cases.iter().map(case).map(|case| (format!("{case:?}"), case)), |case| {
        undisturbed(|| run(case))
    })
}

/// The first `count` nodes answer questions to the VIP as soon as they get any, even before they have it.
fn eager(lab: &Lab, vip: IpAddr, count: usize) -> anyhow::Result<Vec<Server>> {
    let serve = |node: &&str| {
        let host = lab.host(node)?;
        for family in ["ipv4", "ipv6"] {
            host.set_sysctl(&format!("net.{family}.ip_nonlocal_bind"), "1")?;
        }
        Ok(host.serve(SocketAddr::new(vip, 7))?)
    };
    NODES[..count].iter().map(serve).collect()
}

#[test]
fn who_comes_and_goes_without_a_share_answers_nothing() -> Test {
    play(&[("ip", VIP), ("ip", VIP6), ("ip-stealth", VIP), ("ip-stealth", VIP6)], |case| {
        let Case { mode, vip, .. } = case;
        let Some(lab) = lb_tests::start(topology(case))? else { return Ok(()) };
        let _servers = eager(&lab, vip, 3)?;
        let mut daemons = Vec::new();
        for (node, carpnodes) in NODES.iter().zip(CARPNODES).take(2) {
            daemons.push(lbd(lab.host(node)?, &config(&web(carpnodes, mode, &[vip])), &[])?);
        }
        is_master_of(&lab, "d1", &[11])?;
        is_master_of(&lab, "d2", &[12, 13])?;
        let clients = clients(&lab, SocketAddr::new(vip, 7))?;
        let before = who_answers_at_last(&clients)?;

        let wires = wires(&lab)?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking = scope.spawn(|| -> anyhow::Result<usize> {
                let mut rounds = 0;
                while !over.load(Ordering::Relaxed) {
                    for host in client_hosts(&lab) {
                        run(host, &["ip", "neighbour", "flush", "dev", "eth0"])?;
                    }
                    ensure!(who_answers(&clients, SOON)? == before, "others answer");
                    rounds += 1;
                }
                Ok(rounds)
            });
            let visit = || -> Test {
                let idle = lab.host("d3")?;
                let daemon = lbd(idle, &config(&web(IDLE, mode, &[vip])), &[])?;
                wait_until("it has the address", SOON, || idle.has_address(vip))?;
                ensure!(states(&lab, "d3")?.iter().all(|(_, state)| *state == State::Backup));
                daemon.signal(Signal::SIGTERM)?;
                daemon.wait(SOON)?;
                is_gone(idle, vip)
            };
            let visited = visit();
            over.store(true, Ordering::Relaxed);
            let rounds = asking.join().map_err(|_| anyhow::anyhow!("panicked"))??;
            println!("{mode} {vip}: asked {rounds} times while a node came and went");
            visited
        })?;
        wires.iter().try_for_each(|wire| is_told_once(case, &wire.frames()))
    })
}

/// Nothing is left of what was balanced.
fn is_gone(host: &Host, vip: IpAddr) -> Test {
    ensure!(!host.has_address(vip), "the address is still there");
    let (_, rules) = run(host, &["nft", "list", "ruleset"])?;
    ensure!(!rules.contains("table netdev lbd {"), "rules are left: {rules}");
    let (_, links) = run(host, &["ip", "link", "show", "type", "macvlan"])?;
    ensure!(links.is_empty(), "a virtual MAC is left: {links}");
    Ok(())
}

#[test]
fn a_reload_brings_an_address_at_once_and_hands_it_over_when_it_takes_it_away() -> Test {
    play(&[("ip", VIP6), ("ip-stealth", VIP), ("ip-unicast", VIP), ("ip-unicast", VIP6)], |case| {
        let Case { mode, vip, .. } = case;
        let Some(lab) = lb_tests::start(topology(case))? else { return Ok(()) };
        if mode == "ip-unicast" {
            lab.make_hub("lan")?;
        }
        let _servers = eager(&lab, vip, 2)?;
        let (first, second) = (lab.host("d1")?, lab.host("d2")?);
        let with = |carpnodes| other(vip) + &web(carpnodes, mode, &[vip]);
        let (one, two) =
            (lbd(first, &config(&other(vip)), &[])?, lbd(second, &config(&other(vip)), &[])?);
        reload(first, &one, &with("11:0,12:0"))?;
        reload(second, &two, &with("11:100,12:100"))?;
        // Nobody is MASTER of anything yet.
        wait_until("both have the address", Duration::from_secs(2), || {
            first.has_address(vip) && second.has_address(vip)
        })?;
        ensure!(states(&lab, "d2")?[1..] == [11, 12].map(|vhid| (vhid, State::Backup)));
        wait_until("d1 is MASTER", SOON, || {
            states(&lab, "d1").is_ok_and(|all| all[1..].iter().all(|(_, s)| *s == State::Master))
        })?;
        let clients = clients(&lab, SocketAddr::new(vip, 7))?;
        let by = who_answers_at_last(&clients)?;
        ensure!(by.values().all(|name| name == "d1"), "{by:?}");

        reload(first, &one, &other(vip))?;
        let silence = clients
            .iter()
            .step_by(10)
            .map(|client| silence(client, "d1"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        println!("{mode} {vip}: handed over in {:?}", silence.iter().max());
        ensure!(silence.iter().all(|silence| *silence < LATENESS), "{silence:?}");
        wait_until("d1 has let go", SOON, || is_gone(first, vip).is_ok())?;
        let by = who_answers_at_last(&clients)?;
        ensure!(by.values().all(|name| name == "d2"), "{by:?}");
        Ok(())
    })
}

#[test]
fn a_share_that_is_handed_over_takes_its_hardware_address_to_another_port_of_the_switch() -> Test {
    play(&[("arp", VIP)], |case| {
        let Some(lab) = lb_tests::start(topology(case))? else { return Ok(()) };
        let _servers = eager(&lab, VIP, 3)?;
        let mut daemons = Vec::new();
        for (node, carpnodes) in NODES.iter().zip(CARPNODES) {
            daemons.push(lbd(lab.host(node)?, &config(&web(carpnodes, "arp", &[VIP])), &[])?);
        }
        for (node, vhid) in NODES.iter().zip(VHIDS) {
            is_master_of(&lab, node, &[vhid])?;
        }
        let wires = wires(&lab)?;
        let clients = clients(&lab, SocketAddr::new(VIP, 7))?;
        let before = who_answers_at_last(&clients)?;
        // Its cable stays, and no client asks for the hardware address again.
        daemons[1].signal(Signal::SIGTERM)?;
        let moving = clients.iter().filter(|client| before[&client.address] == "d2");
        let silence = moving.map(|client| silence(client, "d2"));
        let silence = silence.collect::<anyhow::Result<Vec<_>>>()?;
        println!("arp: handed over in {:?}", silence.iter().max());
        ensure!(silence.iter().all(|silence| *silence < LATENESS), "{silence:?}");
        let frames = wires.iter().flat_map(|wire| wire.frames());
        let adverts: Vec<_> =
            frames.filter_map(|frame| Some((frame.from, Advert::read(&frame)?))).collect();
        ensure!(!adverts.is_empty(), "nobody advertises");
        for (from, advert) in adverts {
            ensure!(from == [0, 0, 0x5e, 0, 1, advert.vhid], "{advert} is from {from:02x?}");
        }
        Ok(())
    })
}

#[test]
fn without_nft_a_balanced_instance_takes_no_part_and_says_why() -> Test {
    let case = Case { mode: "ip", vip: VIP, lost: 0 };
    let Some(lab) = lb_tests::start(topology(case))? else { return Ok(()) };
    let host = lab.host("d1")?;
    host.write_file(CONFIG, config(&(other(VIP) + &web("11:0,12:0", "ip", &[VIP]))))?;
    // Where lbd looks for nft there is nothing.
    host.run(|| {
        let (tmpfs, none) = (Some("tmpfs"), None::<&str>);
        ["/usr/sbin", "/usr/local/sbin", "/sbin"]
            .into_iter()
            .filter(|place| Path::new(place).is_dir())
            .try_for_each(|place| mount(tmpfs, place, tmpfs, MsFlags::empty(), none))
    })??;
    let path = lb_tests::programs()?.join("lbd");
    let lbd = [path.as_os_str(), "-n".as_ref(), "-l".as_ref(), "-D".as_ref()];
    let _lbd = host.spawn(lbd)?;
    wait_status(host, "only the other one is MASTER", |status| {
        let instances = status.carp.iter().flat_map(|carp| &carp.instances);
        let states = instances.map(|carp| (carp.state, carp.faults.join("; ")));
        let why = "cannot balance: balancing needs the program nft: install the package nftables";
        let fault = (State::Fault, why.to_owned());
        states.eq([(State::Master, String::new()), fault.clone(), fault])
    })?;
    ensure!(!host.has_address(VIP), "it has the address");
    Ok(())
}

/// An instance that stays.
fn other(vip: IpAddr) -> String {
    let prefix = if vip.is_ipv4() { "192.0.2.200/24" } else { "2001:db8::200/64" };
    format!(
        "carp_instance OTHER {{\n interface eth0\n vhid 9\n pass secret\n virtual_ipaddress {{\n  {prefix}\n }}\n}}\n"
    )
}

fn reload(host: &Host, lbd: &Process, instances: &str) -> Test {
    host.write_file(CONFIG, config(instances))?;
    Ok(lbd.signal(Signal::SIGHUP)?)
}

/// Asks until another node than that one answers; the longest time without any answer.
fn silence(client: &Client, former: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let (mut last, mut longest) = (start, Duration::ZERO);
    loop {
        let by = client.ask(PATIENCE)?;
        longest = longest.max(last.elapsed());
        if let Some(name) = by {
            last = Instant::now();
            if name != former {
                return Ok(longest);
            }
        }
        // Who asks without a pause keeps the kernel from changing its rules.
        thread::sleep(STEP);
        ensure!(start.elapsed() < SOON, "nobody but {former} answers {}", client.address);
    }
}
