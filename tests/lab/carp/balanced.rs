//! Nodes that share one address, and the clients that ask it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lb_control::State;
use lb_lab::{Capture, Frame, Host, HostSpec, Lab, Topology};
use lb_tests::wire::{asked, told};
use lb_tests::{SOON, Test, wait_status};

pub const NODES: [&str; 3] = ["d1", "d2", "d3"];
/// Each is first in another one, and takes over what is the next one's.
pub const CARPNODES: [&str; 3] = ["11:0,12:100,13:200", "11:200,12:0,13:100", "11:100,12:200,13:0"];
pub const VHIDS: [u8; 3] = [11, 12, 13];
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100));
const ROUNDS: usize = 5;
/// What comes later came for an earlier question.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Between two questions while nobody answers.
pub const STEP: Duration = Duration::from_millis(10);

/// One client address and its socket, and the host it is on.
pub struct Client {
    pub address: String,
    socket: UdpSocket,
}

/// Which way a load is shared, of which address, and who is lost.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub mode: &'static str,
    pub vip: IpAddr,
    pub lost: usize,
}

impl Case {
    /// Who is MASTER of what the lost one had.
    pub fn heir(&self) -> usize {
        (self.lost + NODES.len() - 1) % NODES.len()
    }

    /// The MACs that may be told of the address.
    pub fn macs(&self) -> Vec<[u8; 6]> {
        match (self.mode, self.vip) {
            ("arp", _) => VHIDS.map(|vhid| [0, 0, 0x5e, 0, 1, vhid]).into(),
            ("ip", IpAddr::V4(_)) => vec![[1, 0, 0x5e, 0, 1, VHIDS[0]]],
            _ => vec![[0, 0, 0x5e, 0, 1, VHIDS[0]]],
        }
    }
}

pub fn config(instances: &str) -> String {
    format!("global_defs {{\n carp_preempt on\n}}\n{instances}")
}

pub fn web(carpnodes: &str, mode: &str, vips: &[IpAddr]) -> String {
    let length = |vip: &IpAddr| if vip.is_ipv4() { 24 } else { 64 };
    let vips: String = vips.iter().map(|vip| format!("  {vip}/{}\n", length(vip))).collect();
    format!(
        "carp_instance WEB {{\n interface eth0\n pass secret\n carpnodes {carpnodes}\n balancing {mode}\n \
         virtual_ipaddress {{\n{vips} }}\n}}\n"
    )
}

/// Every answer to a client's question for the hardware address tells the right one, no question has two, and a
/// switch never learns where a shared one is.
pub fn is_told_once(case: Case, frames: &[Frame]) -> Test {
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
pub fn topology(case: Case) -> Topology {
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

pub fn client_hosts(lab: &Lab) -> impl Iterator<Item = &Host> {
    lab.hosts().iter().filter(|host| !NODES.contains(&host.name()))
}

/// What every client sees from now on.
pub fn wires(lab: &Lab) -> anyhow::Result<Vec<Capture>> {
    client_hosts(lab).map(|host| Ok(host.capture("eth0")?)).collect()
}

pub fn clients(lab: &Lab, server: SocketAddr) -> anyhow::Result<Vec<Client>> {
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
    pub fn ask(&self, limit: Duration) -> anyhow::Result<Option<String>> {
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
    pub fn drain(&self) -> anyhow::Result<usize> {
        self.socket.set_nonblocking(true)?;
        let mut count = 0;
        while self.answer()?.is_some() {
            count += 1;
        }
        self.socket.set_nonblocking(false)?;
        Ok(count)
    }
}

/// By whom each client is answered, once that has settled: who becomes MASTER has its share a moment after it says
/// so, and who gives way lets go a moment after it has heard that.
pub fn who_answers_at_last(clients: &[Client]) -> anyhow::Result<BTreeMap<String, String>> {
    let start = Instant::now();
    loop {
        match who_answers(clients, AT_ONCE) {
            Err(_) if start.elapsed() < SOON => {}
            settled => return settled,
        }
        for client in clients {
            client.drain()?;
        }
    }
}

/// Asks from every client several times: by whom each is answered, always the same one, and only by that one.
pub fn who_answers(
    clients: &[Client],
    limit: Duration,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut by: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for client in clients {
            let name =
                client.ask(limit)?.with_context(|| format!("{}: no answer", client.address))?;
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

pub fn count(by: &BTreeMap<String, String>) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for node in by.values() {
        *shares.entry(node.as_str()).or_default() += 1;
    }
    shares
}

pub fn states(lab: &Lab, node: &str) -> anyhow::Result<Vec<(u8, State)>> {
    let status = lb_tests::status(lab.host(node)?)?;
    let instances = status.carp.into_iter().flat_map(|carp| carp.instances);
    Ok(instances.map(|carp| (carp.vhid, carp.state)).collect())
}

/// Waits until a node is MASTER of exactly these vhids.
pub fn is_master_of(lab: &Lab, node: &str, vhids: &[u8]) -> Test {
    let what = format!("{node} is MASTER of {vhids:?}");
    wait_status(lab.host(node)?, &what, |status| {
        let instances = status.carp.iter().flat_map(|carp| &carp.instances);
        let masters = instances.filter(|carp| carp.state == State::Master);
        masters.map(|carp| carp.vhid).eq(vhids.iter().copied())
    })
    .map(drop)
}
