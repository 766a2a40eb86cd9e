//! TCP through the relay, over real sockets.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::{
    connect, echoes, eventually, free_address, key, named, relay, server, service, silent, tcp, who,
};
use lb_pool::{Connections, Dataplane, Persistence, Scheduler, Service};
use lb_relay::{Options, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

#[tokio::test]
async fn wrr_gives_exact_shares_of_600_requests() {
    let (vip, mut relay) = (free_address(), relay());
    let servers = [(named(0).await, 3), (named(1).await, 2), (named(2).await, 1)];
    relay.apply(&tcp(vip), Some(&service(Scheduler::Wrr, &servers))).unwrap();
    let mut shares = [0; 3];
    for _ in 0..600 {
        shares[usize::from(who(vip).await)] += 1;
    }
    assert_eq!(shares, [300, 200, 100]);
}

#[tokio::test]
async fn a_client_sticks_to_its_server() {
    let (vip, mut relay) = (free_address(), relay());
    let servers = [(named(0).await, 1), (named(1).await, 1)];
    let persistence = Some(Persistence { timeout: Duration::from_secs(60), engine: None });
    let sticky = Service { persistence, ..service(Scheduler::Rr, &servers) };
    relay.apply(&tcp(vip), Some(&sticky)).unwrap();
    let from = async |client: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(client.parse().unwrap()).unwrap();
        socket.connect(vip).await.unwrap().read_u8().await.unwrap()
    };
    let (first, second) = (from("127.0.0.2:0").await, from("127.0.0.3:0").await);
    assert_ne!(first, second);
    for _ in 0..5 {
        assert_eq!((from("127.0.0.2:0").await, from("127.0.0.3:0").await), (first, second));
    }
}

#[tokio::test]
async fn a_quiesced_server_keeps_its_connections_also_when_it_leaves() {
    let (vip, mut relay) = (free_address(), relay());
    let (a, b) = (named(0).await, named(1).await);
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(a, 1)]))).unwrap();
    let (mut old, _) = connect(vip).await;

    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(a, 0), (b, 1)]))).unwrap();
    assert_eq!((who(vip).await, who(vip).await), (1, 1));
    assert!(echoes(&mut old).await);

    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(b, 1)]))).unwrap();
    assert!(echoes(&mut old).await);

    relay.apply(&tcp(vip), None).unwrap();
    assert!(!echoes(&mut old).await);
}

#[tokio::test]
async fn a_server_that_fails_takes_its_connections_with_it() {
    let (vip, mut relay) = (free_address(), relay());
    let (a, b) = (named(0).await, named(1).await);
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(a, 1)]))).unwrap();
    let (mut old, _) = connect(vip).await;
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(b, 1)]))).unwrap();
    assert_eq!(old.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(who(vip).await, 1);
}

#[tokio::test]
async fn a_reload_keeps_connections() {
    let (vip, mut relay) = (free_address(), relay());
    let (a, b) = (named(0).await, named(1).await);
    let before = [(tcp(vip), service(Scheduler::Rr, &[(a, 1)]))].into();
    assert_eq!(relay.replace(&before).unwrap(), 2);
    assert_eq!(relay.replace(&before).unwrap(), 0);
    let (mut old, _) = connect(vip).await;
    let after = [(tcp(vip), service(Scheduler::Wlc, &[(a, 5), (b, 5)]))].into();
    assert_eq!(relay.replace(&after).unwrap(), 3, "scheduler, a weight and a server");
    assert!(echoes(&mut old).await);
    assert_eq!(who(vip).await, 1, "the old connection counts");
    assert_eq!(relay.replace(&Default::default()).unwrap(), 1);
    assert!(TcpStream::connect(vip).await.is_err());
}

#[tokio::test]
async fn connections_are_counted_while_they_last() {
    let (vip, mut relay) = (free_address(), relay());
    let a = named(0).await;
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(a, 1)]))).unwrap();
    let held = (connect(vip).await, connect(vip).await);
    let mut active = || relay.connections(&tcp(vip))[&key(a)];
    assert_eq!(active(), Connections { active: 2, inactive: 0 });
    drop(held);
    eventually("connections end", || active() == Connections::default()).await;
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over() {
    let (vip, mut relay) = (free_address(), relay());
    // Nobody listens on the first and the last.
    let servers = [(free_address(), 1), (named(7).await, 1), (free_address(), 1)];
    for scheduler in [Scheduler::Rr, Scheduler::Wlc, Scheduler::Sh, Scheduler::Fo] {
        relay.apply(&tcp(vip), Some(&service(scheduler, &servers))).unwrap();
        for _ in 0..6 {
            assert_eq!(who(vip).await, 7, "{scheduler}");
        }
    }
}

#[tokio::test]
async fn while_a_server_is_silent_another_answers() {
    let (silent, _queue) = silent().await;
    let options = Options { connect_timeout: Duration::from_secs(60), ..Options::default() };
    let (vip, mut relay) = (free_address(), Relay::start(options).unwrap());
    relay
        .apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(silent, 1), (named(7).await, 1)])))
        .unwrap();
    for _ in 0..4 {
        assert_eq!(timeout(Duration::from_secs(10), who(vip)).await.unwrap(), 7);
    }
    eventually("attempts that lost leave nothing", || {
        relay.connections(&tcp(vip)).values().all(|c| c.active + c.inactive == 0)
    })
    .await;
}

/// Connection requests to any of these that are not answered yet, by their two ports.
/// `/proc/net/tcp`, TCP_SYN_SENT.
///
/// The kernel writes that table bucket by bucket while connections come and go, so one reading may
/// show one that ended beside the one that took its place: what stands in two readings was there
/// between them.
fn unanswered(servers: &[(SocketAddr, u32)]) -> BTreeSet<(u16, u16)> {
    let port = |end: &str| u16::from_str_radix(end.split(':').nth(1)?, 16).ok();
    let ports = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (port(fields.get(1)?)?, port(fields.get(2)?)?);
        let ours = servers.iter().any(|(at, _)| at.port() == remote);
        (ours && fields.get(3) == Some(&"02")).then_some((local, remote))
    };
    let reading = || -> BTreeSet<_> {
        fs::read_to_string("/proc/self/net/tcp").unwrap().lines().filter_map(ports).collect()
    };
    &reading() & &reading()
}

#[tokio::test]
async fn silent_servers_are_passed_over_two_at_a_time() {
    let mut queues = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..8 {
        let (address, queue) = silent().await;
        servers.push((address, 1));
        queues.push(queue);
    }
    let all = [&servers[..], &[(named(7).await, 1)]].concat();
    let options = Options {
        connect_timeout: Duration::from_secs(60),
        attempt_delay: Duration::from_millis(50),
        ..Options::default()
    };
    let (vip, mut relay) = (free_address(), Relay::start(options).unwrap());
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &all))).unwrap();
    for _ in 0..9 {
        let (mut most, answered) = (0, who(vip));
        tokio::pin!(answered);
        let name = loop {
            match timeout(Duration::from_millis(10), &mut answered).await {
                Ok(name) => break name,
                Err(_) => most = most.max(unanswered(&servers).len()),
            }
        };
        assert!(name == 7 && most <= 2, "{most} connections at a time");
    }
}

#[tokio::test]
async fn a_client_whose_server_is_silent_gives_its_place_to_another() {
    let (silent, _queue) = silent().await;
    let options =
        Options { connect_timeout: Duration::from_secs(60), most_flows: 2, ..Options::default() };
    let (vip, mut relay) = (free_address(), Relay::start(options).unwrap());
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(silent, 1)]))).unwrap();
    let mut first = TcpStream::connect(vip).await.unwrap();
    eventually("the first has its place", || relay.clients().now == 1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await; // then it counts as idle
    let _second = TcpStream::connect(vip).await.unwrap();
    let end = timeout(Duration::from_secs(10), first.read_u8()).await.expect("an end");
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(relay.clients().displaced, 1);
}

#[tokio::test]
async fn without_a_server_a_client_is_reset() {
    let (vip, mut relay) = (free_address(), relay());
    // Nobody, nobody willing, nobody there, and itself.
    for servers in [vec![], vec![(named(0).await, 0)], vec![(free_address(), 1)], vec![(vip, 1)]] {
        relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &servers))).unwrap();
        // The reset may come before `connect` has looked.
        let answer = async { TcpStream::connect(vip).await?.read(&mut [0]).await };
        assert_eq!(answer.await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_half_close_is_passed_on_and_the_answer_still_comes() {
    let (vip, mut relay) = (free_address(), relay());
    let reverser = server(|mut stream| async move {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).await.unwrap();
        request.reverse();
        stream.write_all(&request).await.unwrap();
    });
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(reverser.await, 1)]))).unwrap();
    let mut stream = TcpStream::connect(vip).await.unwrap();
    stream.write_all(b"relay").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"yaler");
}

#[tokio::test]
async fn a_reset_is_passed_on() {
    let (vip, mut relay) = (free_address(), relay());
    let rude = server(|mut stream| async move {
        stream.write_all(b"half an ans").await.unwrap();
        // Once the client has that.
        stream.read_u8().await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(rude.await, 1)]))).unwrap();
    let mut stream = TcpStream::connect(vip).await.unwrap();
    let mut half = [0; 11];
    stream.read_exact(&mut half).await.unwrap();
    stream.write_u8(0).await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!((&half, error.kind()), (b"half an ans", io::ErrorKind::ConnectionReset));
}

/// Octets whose every position is distinguishable, so that loss, repetition and exchange show.
fn pattern(seed: u64, at: u64) -> u8 {
    ((seed + at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (8 * (at % 8))) as u8
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), seed: u64, len: u64) {
    let mut chunk = Vec::new();
    for start in (0..len).step_by(100_000) {
        chunk.clear();
        chunk.extend((start..len.min(start + 100_000)).map(|at| pattern(seed, at)));
        to.write_all(&chunk).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

async fn expect(from: &mut (impl AsyncReadExt + Unpin), seed: u64, len: u64) {
    let (mut at, mut chunk) = (0, vec![0; 70_000]);
    loop {
        let got = from.read(&mut chunk).await.unwrap();
        if got == 0 {
            break;
        }
        let wrong = chunk[..got].iter().zip(at..).find(|(octet, at)| **octet != pattern(seed, *at));
        assert_eq!(wrong, None);
        at += got as u64;
    }
    assert_eq!(at, len);
}

#[tokio::test]
async fn much_data_arrives_whole_in_both_directions_at_once() {
    const LEN: u64 = 64 << 20;
    let (vip, mut relay) = (free_address(), relay());
    let peer = server(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        tokio::join!(send(&mut write, 1, LEN), expect(&mut read, 2, LEN));
    });
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(peer.await, 1)]))).unwrap();
    let mut stream = TcpStream::connect(vip).await.unwrap();
    let (mut read, mut write) = stream.split();
    tokio::join!(send(&mut write, 2, LEN), expect(&mut read, 1, LEN));
}

#[tokio::test]
async fn a_slow_reader_stops_the_writer_and_loses_nothing() {
    const LEN: u64 = 8 << 20;
    let (vip, mut relay) = (free_address(), relay());
    let peer = server(|mut stream| async move { send(&mut stream, 3, LEN).await });
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(peer.await, 1)]))).unwrap();
    let mut stream = TcpStream::connect(vip).await.unwrap();
    for at in 0..1000 {
        assert_eq!(stream.read_u8().await.unwrap(), pattern(3, at));
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len() as u64, LEN - 1000);
    assert!(rest.iter().zip(1000..).all(|(octet, at)| *octet == pattern(3, at)));
}

#[tokio::test]
async fn a_connection_in_which_nothing_moves_is_reset() {
    let vip = free_address();
    let options = Options { tcp_timeout: Duration::from_millis(100), ..Options::default() };
    let mut relay = Relay::start(options).unwrap();
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(named(0).await, 1)]))).unwrap();
    let (mut stream, _) = connect(vip).await;
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn ipv6_clients_reach_ipv4_servers() {
    let mut relay = relay();
    let probe = std::net::TcpListener::bind("[::1]:0").unwrap();
    let vip = probe.local_addr().unwrap();
    drop(probe);
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(named(4).await, 1)]))).unwrap();
    assert_eq!(who(vip).await, 4);
}

#[tokio::test]
async fn servers_see_the_client_only_if_asked() {
    for transparent in [false, true] {
        let vip = free_address();
        let mut options = Options::default();
        options.egress.transparent = transparent;
        let mut relay = Relay::start(options).unwrap();
        let teller = server(|mut stream| async move {
            let peer = stream.peer_addr().unwrap().to_string();
            stream.write_all(peer.as_bytes()).await.unwrap();
        });
        relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(teller.await, 1)]))).unwrap();
        let client = free_address();
        let socket = TcpSocket::new_v4().unwrap();
        // On one host client and relay share the address.
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::new(client.ip(), 0)).unwrap();
        let mut stream = socket.connect(vip).await.unwrap();
        let mut seen = String::new();
        stream.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen == stream.local_addr().unwrap().to_string(), transparent, "{seen}");
    }
}
