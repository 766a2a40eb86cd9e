//! Nodes that share one address: each question is answered by one of them, and the loss of a node moves its share
//! and no other.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};
use lb_control::State;
use lb_lab::Server;
use lb_tests::play::side_by_side;
use lb_tests::pulse::undisturbed;
use lb_tests::{SOON, Test, lbd};

use crate::balanced::{
    CARPNODES, Case, Client, NODES, STEP, VHIDS, VIP, VIP6, client_hosts, clients, config, count,
    is_master_of, is_told_once, states, topology, web, who_answers_at_last, wires,
};
use crate::config::Carp;
use crate::stage::LATENESS;

/// Who takes over hears nothing for so long.
const HEIR_ADVSKEW: u8 = 100;

#[test]
fn each_question_has_one_answer_and_a_lost_node_moves_its_share_alone() -> Test {
    play(["ip", "ip-stealth", "ip-unicast", "arp"].map(|mode| Case { mode, vip: VIP, lost: 1 }))
}

#[test]
fn ipv6_is_shared_alike() -> Test {
    play(["ip", "ip-stealth", "ip-unicast"].map(|mode| Case { mode, vip: VIP6, lost: 1 }))
}

#[test]
fn who_answered_for_the_hardware_address_may_be_lost_too() -> Test {
    play([("ip", VIP), ("ip-stealth", VIP6)].map(|(mode, vip)| Case { mode, vip, lost: 0 }))
}

fn play(cases: impl IntoIterator<Item = Case>) -> Test {
    side_by_side(cases.into_iter().map(|case| (format!("{case:?}"), case)), |case| {
        undisturbed(|| share(case))
    })
}

fn share(case: Case) -> Test {
    let Case { mode, vip, lost } = case;
    let (lost, heir) = (NODES[lost], NODES[case.heir()]);
    let Some(lab) = lb_tests::start(topology(case))? else { return Ok(()) };
    if mode == "ip-unicast" {
        lab.make_hub("lan")?;
    }
    let mut daemons = Vec::new();
    for (node, carpnodes) in NODES.iter().zip(CARPNODES) {
        let config = config(&web(carpnodes, mode, &[vip]));
        daemons.push(lbd(lab.host(node)?, &config, &[])?);
    }
    for (node, vhid) in NODES.iter().zip(VHIDS) {
        is_master_of(&lab, node, &[vhid])?;
    }
    let address = SocketAddr::new(vip, 7);
    let serve = |node: &&str| Ok(lab.host(node)?.serve(address)?);
    let _servers: Vec<Server> = NODES.iter().map(serve).collect::<anyhow::Result<_>>()?;
    let wires = wires(&lab)?;
    let clients = clients(&lab, address)?;

    let before = who_answers_at_last(&clients)?;
    let shares = count(&before);
    println!("{mode} {vip}: {} clients: {shares:?}", clients.len());
    ensure!(shares.len() == NODES.len(), "some have no share: {shares:?}");

    let crashed = Instant::now();
    lab.crash(lost)?;
    let moves = |client: &&Client| before[&client.address] == lost;
    let (moving, staying): (Vec<_>, Vec<_>) = clients.iter().partition(moves);
    // The others go on as if nothing were.
    let mut rounds = 0;
    let inherited = VHIDS[case.lost];
    while !states(&lab, heir)?.contains(&(inherited, State::Master)) {
        for client in &staying {
            let by = client.ask(SOON)?.context("no answer")?;
            ensure!(by == before[&client.address], "{} moved to {by}", client.address);
        }
        rounds += 1;
        ensure!(crashed.elapsed() < SOON, "nobody takes over");
        thread::sleep(STEP);
    }
    let ask = || moving.first().map_or(Ok(None), |client| client.ask(STEP));
    lb_lab::wait_until("the share is served", SOON, || ask().is_ok_and(|by| by.is_some()))?;
    let moved = crashed.elapsed();
    // They have to ask for the hardware address again, too.
    for host in client_hosts(&lab) {
        lb_tests::run(host, &["ip", "neighbour", "flush", "dev", "eth0"])?;
    }
    let after = who_answers_at_last(&clients)?;
    println!(
        "{mode} {vip}: the loss of {lost} moves {} of {} clients to {heir} in {:.3} s, the others are asked {rounds} \
         times meanwhile: {:?}",
        moving.len(),
        clients.len(),
        moved.as_secs_f64(),
        count(&after)
    );
    for (client, by) in &after {
        let expected = if before[client] == lost { heir } else { &before[client] };
        ensure!(by == expected, "{client} is served by {by} instead of {expected}");
    }
    let bound = Carp::new(HEIR_ADVSKEW).master_down() + LATENESS;
    ensure!(moved < bound, "moved after {moved:?}, later than {bound:?}");
    for (place, node) in NODES.iter().enumerate().filter(|(place, _)| *place != case.lost) {
        let kept = |vhid: &usize| *vhid == place || place == case.heir() && *vhid == case.lost;
        let vhids: Vec<u8> = (0..VHIDS.len()).filter(kept).map(|vhid| VHIDS[vhid]).collect();
        is_master_of(&lab, node, &vhids)?;
    }
    wires.iter().try_for_each(|wire| is_told_once(case, &wire.frames()))
}
