//! Nodes that share one address: each question is answered by one of them, and the loss of a node moves its share
//! and no other.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lb_control::State;
use lb_lab::{Capture, Frame, Host, HostSpec, Lab, Server, Topology};
use lb_tests::play::side_by_side;
use lb_tests::wire::{asked, told};
use lb_tests::{SOON, Test, lbd, wait_status};

use crate::config::Carp;
use crate::stage::LATENESS;

const NODES: [&str; 3] = ["d1", "d2", "d3"];
/// Each is first in another one, and takes over what is the next one's.
const CARPNODES: [&str; 3] = ["11:0,12:100,13:200", "11:200,12:0,13:100", "11:100,12:200,13:0"];
const VHIDS: [u8; 3] = [11, 12, 13];
/// Who takes over hears nothing for so long.
const HEIR_ADVSKEW: u8 = 100;
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100));
const ROUNDS: usize = 5;
/// Between two rounds while a share has no master.
const STEP: Duration = Duration::from_millis(10);

/// One client address and its socket, and the host it is on.
struct Client {
    address: String,
    socket: UdpSocket,
}

/// Which way a load is shared, of which address, and who is lost.
#[derive(Clone, Copy, Debug)]
struct Case {
    mode: &'static str,
    vip: IpAddr,
    lost: usize,
}

impl Case {
    /// Who is MASTER of what the lost one had.
    fn heir(&self) -> usize {
        (self.lost + NODES.len() - 1) % NODES.len()
    }

    /// The MACs that may be told of the address.
    fn macs(&self) -> Vec<[u8; 6]> {
        match (self.mode, self.vip) {
            ("arp", _) => VHIDS.map(|vhid| [0, 0, 0x5e, 0, 1, vhid]).into(),
            ("ip", IpAddr::V4(_)) => vec![[1, 0, 0x5e, 0, 1, VHIDS[0]]],
            _ => vec![[0, 0, 0x5e, 0, 1, VHIDS[0]]],
        }
    }
}

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
    side_by_side(cases.into_iter().map(|case| (format!("{case:?}"), case)), share)
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

    let before = who_answers(&clients)?;
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
    for client in &moving {
        client.drain()?;
    }
    // They have to ask for the hardware address again, too.
    for host in client_hosts(&lab) {
        lb_tests::run(host, &["ip", "neighbour", "flush", "dev", "eth0"])?;
    }
    let after = who_answers(&clients)?;
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

fn config(instances: &str) -> String {
    format!("global_defs {{\n carp_preempt on\n}}\n{instances}")
}

fn web(carpnodes: &str, mode: &str, vips: &[IpAddr]) -> String {
    let length = |vip: &IpAddr| if vip.is_ipv4() { 24 } else { 64 };
    let vips: String = vips.iter().map(|vip| format!("  {vip}/{}\n", length(vip))).collect();
    format!(
        "carp_instance WEB {{\n interface eth0\n pass secret\n carpnodes {carpnodes}\n balancing {mode}\n \
         virtual_ipaddress {{\n{vips} }}\n}}\n"
    )
}

/// Every answer to a client's question for the hardware address tells the right one, no question has two, and a
/// switch never learns where a shared one is.
fn is_told_once(case: Case, frames: &[Frame]) -> Test {
    let vip = case.vip;
    let questions = frames.iter().filter(|frame| frame.outgoing && asked(frame) == Some(vip));
    let answers = frames.iter().filter(|frame| !frame.outgoing).filter_map(told);
    let answers: Vec<_> = answers.filter(|(of, _)| *of == vip).map(|(_, mac)| mac).collect();
    let questions = questions.count();
    ensure!(!answers.is_empty(), "nobody told where {vip} is");
    ensure!(answers.len() <= questions, "{} answers to {questions} questions", answers.len());
    let wrong = answers.iter().find(|mac| !case.macs().contains(mac));
    ensure!(wrong.is_none(), "{vip} is said to be at {wrong:?}");
    let hidden = [0, 0, 0x5e, 0, 1, VHIDS[0]];
    let learnt = frames.iter().any(|frame| !frame.outgoing && frame.from == hidden);
    ensure!(!learnt || !["ip", "ip-stealth"].contains(&case.mode), "it came from {hidden:02x?}");
    Ok(())
}

/// Many addresses on one host; where the hardware address decides, many hosts.
fn topology(case: Case) -> Topology {
    let prefix = |number: u8| match case.vip {
        IpAddr::V4(_) => format!("192.0.2.{number}/24"),
        IpAddr::V6(_) => format!("2001:db8::{number}/64"),
    };
    let mut topology = Topology::new(["lan"]);
    for (node, number) in NODES.iter().zip(1..) {
        let address = prefix(number);
        topology = topology.host(
            HostSpec::new(*node)
                .interface("eth0", "lan", [address.as_str()])
                .private("/etc/keepalived"),
        );
    }
    let client = |name: String, numbers: std::ops::Range<u8>| {
        let addresses: Vec<_> = numbers.map(prefix).collect();
        HostSpec::new(name).interface("eth0", "lan", addresses.iter().map(String::as_str))
    };
    match case.mode {
        "arp" => (110..126).fold(topology, |topology, number| {
            topology.host(client(format!("c{number}"), number..number + 1))
        }),
        _ => topology.host(client("client".to_owned(), 110..170)),
    }
}

fn client_hosts(lab: &Lab) -> impl Iterator<Item = &Host> {
    lab.hosts().iter().filter(|host| !NODES.contains(&host.name()))
}

/// What every client sees from now on.
fn wires(lab: &Lab) -> anyhow::Result<Vec<Capture>> {
    client_hosts(lab).map(|host| Ok(host.capture("eth0")?)).collect()
}

fn clients(lab: &Lab, server: SocketAddr) -> anyhow::Result<Vec<Client>> {
    let clients = client_hosts(lab).flat_map(|host| {
        let addresses = host.spec().interfaces.iter().flat_map(|eth| &eth.addresses);
        addresses.map(|prefix| {
            let socket = host.run(|| {
                let socket = UdpSocket::bind((prefix.address, 0))?;
                socket.connect(server).map(|()| socket)
            })??;
            Ok(Client { address: prefix.address.to_string(), socket })
        })
    });
    clients.collect()
}

impl Client {
    /// Who answers a question; `None` when nobody does in time.
    fn ask(&self, limit: Duration) -> anyhow::Result<Option<String>> {
        self.socket.set_read_timeout(Some(limit))?;
        self.socket.send(b"?\n")?;
        self.answer()
    }

    fn answer(&self) -> anyhow::Result<Option<String>> {
        let mut octets = [0; 64];
        match self.socket.recv(&mut octets) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(&octets[..length]).trim_end().into())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error).context("no answer"),
        }
    }

    /// Takes the answers that nobody waited for; how many there were.
    fn drain(&self) -> anyhow::Result<usize> {
        self.socket.set_nonblocking(true)?;
        let mut count = 0;
        while self.answer()?.is_some() {
            count += 1;
        }
        self.socket.set_nonblocking(false)?;
        Ok(count)
    }
}

/// Asks from every client several times: by whom each is answered, always the same one, and only by that one.
fn who_answers(clients: &[Client]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut by: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for client in clients {
            let name =
                client.ask(SOON)?.with_context(|| format!("{}: no answer", client.address))?;
            let first = by.entry(client.address.clone()).or_insert_with(|| name.clone());
            ensure!(*first == name, "{}: answered by {first} and {name}", client.address);
        }
    }
    for client in clients {
        let more = client.drain()?;
        ensure!(more == 0, "{}: {more} answers too many", client.address);
    }
    Ok(by)
}

fn count(by: &BTreeMap<String, String>) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for node in by.values() {
        *shares.entry(node.as_str()).or_default() += 1;
    }
    shares
}

fn states(lab: &Lab, node: &str) -> anyhow::Result<Vec<(u8, State)>> {
    let status = lb_tests::status(lab.host(node)?)?;
    let instances = status.carp.into_iter().flat_map(|carp| carp.instances);
    Ok(instances.map(|carp| (carp.vhid, carp.state)).collect())
}

/// Waits until a node is MASTER of exactly these vhids.
fn is_master_of(lab: &Lab, node: &str, vhids: &[u8]) -> Test {
    let what = format!("{node} is MASTER of {vhids:?}");
    wait_status(lab.host(node)?, &what, |status| {
        let instances = status.carp.iter().flat_map(|carp| &carp.instances);
        let masters = instances.filter(|carp| carp.state == State::Master);
        masters.map(|carp| carp.vhid).eq(vhids.iter().copied())
    })
    .map(drop)
}
