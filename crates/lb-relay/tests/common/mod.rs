//! Free addresses, small servers and tables for the tests.
#![allow(dead_code)] // each test program uses its own part

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_pool::{Destination, DestinationKey, Protocol, Scheduler, Service, ServiceKey};
use lb_relay::{Options, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// A relay with short timeouts for servers that do not answer.
pub fn relay() -> Relay {
    Relay::start(Options { connect_timeout: Duration::from_millis(500), ..Options::default() })
        .unwrap()
}

/// An address of the loopback network that no other test uses, with a port that is free there.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let net = std::process::id() % 100 + 100;
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    let ip = Ipv4Addr::from_bits(127 << 24 | net << 16 | host);
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

pub fn tcp(address: SocketAddr) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address }
}

pub fn udp(address: SocketAddr) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Udp, address }
}

pub fn key(address: SocketAddr) -> DestinationKey {
    DestinationKey { address: address.ip(), port: address.port() }
}

/// A service over servers of these weights.
pub fn service(scheduler: Scheduler, servers: &[(SocketAddr, u32)]) -> Service {
    let destination = |(at, weight): &(SocketAddr, u32)| {
        (key(*at), Destination { weight: *weight, ..Default::default() })
    };
    let destinations = servers.iter().map(destination).collect();
    Service { scheduler, destinations, ..Service::default() }
}

/// Listens on a free port and hands every connection to `serve`, in a task of its own.
pub async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => _ = tokio::spawn(serve(stream)),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    address
}

/// A server that says one octet, then echoes.
pub async fn named(name: u8) -> SocketAddr {
    server(move |mut stream| async move {
        if stream.write_all(&[name]).await.is_ok() {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    })
    .await
}

/// A server whose queue is full, so that it leaves connection requests unanswered, as a host that
/// lost its power does. It is one for as long as what is returned lives.
pub async fn silent() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    // A connection request that is answered is answered at once.
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    (address, (listener, queue))
}

/// Connects and returns the octet that names the server.
pub async fn connect(to: SocketAddr) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let name = stream.read_u8().await.unwrap();
    (stream, name)
}

/// Which server answers now.
pub async fn who(to: SocketAddr) -> u8 {
    connect(to).await.1
}

/// Whether the connection still reaches an echoing server.
pub async fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"?").await.is_ok() && stream.read_u8().await.is_ok_and(|octet| octet == b'?')
}

/// Waits until `done`; panics after ten seconds.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(tokio::time::Instant::now() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
