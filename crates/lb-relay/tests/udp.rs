//! UDP through the relay, over real sockets.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{eventually, free_address, key, relay, service, udp};
use lb_pool::{Connections, Dataplane, Scheduler, Service};
use lb_relay::{Options, Relay};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A server that answers with its name in front of what it got.
async fn named(name: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = vec![name; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut datagram[1..]).await {
            let _ = socket.send_to(&datagram[..=len], from).await;
        }
    });
    address
}

async fn client(vip: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Connected: an answer from any other address would not be taken.
    socket.connect(vip).await.unwrap();
    socket
}

/// Says something and returns the server's name and what it heard.
async fn ask(client: &UdpSocket, question: &[u8]) -> (u8, Vec<u8>) {
    client.send(question).await.unwrap();
    let mut answer = vec![0; 65_536];
    let len = timeout(Duration::from_secs(5), client.recv(&mut answer)).await.unwrap().unwrap();
    (answer[0], answer[1..len].to_vec())
}

#[tokio::test]
async fn datagrams_of_every_size_come_back_from_the_vip() {
    let (vip, mut relay) = (free_address(), relay());
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(named(9).await, 1)]))).unwrap();
    let client = client(vip).await;
    for len in [0, 1, 512, 1472, 9000, 60_000] {
        let question: Vec<_> = (0..len).map(|at| at as u8).collect();
        assert_eq!(ask(&client, &question).await, (9, question));
    }
}

#[tokio::test]
async fn a_client_stays_with_its_server_and_counts_until_it_is_silent() {
    let vip = free_address();
    let options = Options { udp_timeout: Duration::from_millis(200), ..Options::default() };
    let mut relay = Relay::start(options).unwrap();
    let (a, b) = (named(0).await, named(1).await);
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(a, 1), (b, 1)]))).unwrap();
    let clients = [client(vip).await, client(vip).await];
    let mut names = Vec::new();
    for _ in 0..3 {
        for client in &clients {
            names.push(ask(client, b"who").await.0);
        }
    }
    assert_eq!(names[..2], names[2..4]);
    assert_eq!(names[..2], names[4..]);
    assert_ne!(names[0], names[1]);
    let mut counts = || [a, b].map(|at| relay.connections(&udp(vip))[&key(at)]);
    assert_eq!(counts(), [Connections { active: 0, inactive: 1 }; 2]);
    eventually("flows end", || counts() == [Connections::default(); 2]).await;
}

#[tokio::test]
async fn in_one_packet_mode_each_datagram_is_scheduled() {
    let (vip, mut relay) = (free_address(), relay());
    let servers = [(named(0).await, 2), (named(1).await, 1)];
    let ops = Service { one_packet: true, ..service(Scheduler::Wrr, &servers) };
    relay.apply(&udp(vip), Some(&ops)).unwrap();
    let client = client(vip).await;
    let mut shares = [0; 2];
    for _ in 0..60 {
        shares[usize::from(ask(&client, b"?").await.0)] += 1;
    }
    assert_eq!(shares, [40, 20]);
}

#[tokio::test]
async fn a_client_whose_server_left_goes_to_another() {
    let (vip, mut relay) = (free_address(), relay());
    let (a, b) = (named(0).await, named(1).await);
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(a, 1)]))).unwrap();
    let client = client(vip).await;
    assert_eq!(ask(&client, b"?").await.0, 0);
    // Quiesced it keeps its client; gone it loses it.
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(a, 0), (b, 1)]))).unwrap();
    assert_eq!(ask(&client, b"?").await.0, 0);
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(a, 1), (b, 1)]))).unwrap();
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(b, 1)]))).unwrap();
    assert_eq!(ask(&client, b"?").await.0, 1);
}

#[tokio::test]
async fn a_server_that_refuses_loses_its_client() {
    let (vip, mut relay) = (free_address(), relay());
    // Nobody listens on the first.
    let servers = [(free_address(), 1), (named(1).await, 1)];
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &servers))).unwrap();
    let client = client(vip).await;
    let mut answer = [0; 16];
    let answered = async {
        loop {
            client.send(b"?").await.unwrap();
            if let Ok(got) = timeout(Duration::from_millis(50), client.recv(&mut answer)).await {
                got.unwrap();
                return answer[0];
            }
        }
    };
    assert_eq!(timeout(Duration::from_secs(5), answered).await.unwrap(), 1);
}

#[tokio::test]
async fn many_sources_do_not_take_every_descriptor() {
    let (vip, server) = (free_address(), named(7).await);
    let mut relay = Relay::start(Options { most_flows: 20, ..Options::default() }).unwrap();
    relay.apply(&udp(vip), Some(&service(Scheduler::Rr, &[(server, 1)]))).unwrap();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut sources = Vec::new();
    for _ in 0..100 {
        sources.push(client(vip).await);
    }
    let before = files();
    for source in &sources {
        source.send(b"flood").await.unwrap();
    }
    // Those that found a place have an answer; half of the places are one service's.
    eventually("ten flows", || relay.connections(&udp(vip))[&key(server)].inactive == 10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(files() <= before + 10, "{before} {}", files());
    // Once they are idle a newcomer takes the place of one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&client(vip).await, b"late").await, (7, b"late".to_vec()));
    eventually("ten flows", || relay.connections(&udp(vip))[&key(server)].inactive == 10).await;
}
