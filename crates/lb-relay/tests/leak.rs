//! Thousands of connections leave nothing open. Alone in its process, where it can count.

mod common;

use std::fs;

use common::{eventually, free_address, named, relay, service, tcp, udp, who};
use lb_pool::{Dataplane, Scheduler};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn short_connections_and_flows_leave_nothing_open() {
    let before = open_files();
    let (vip, mut relay) = (free_address(), relay());
    let server = named(0).await;
    let want = service(Scheduler::Lc, &[(server, 1), (free_address(), 1)]);
    relay.apply(&tcp(vip), Some(&want)).unwrap();
    relay.apply(&udp(vip), Some(&want)).unwrap();
    let idle = open_files();

    for _ in 0..100 {
        let mut batch: JoinSet<_> = (0..40).map(|_| who(vip)).collect();
        while let Some(answer) = batch.join_next().await {
            answer.unwrap();
        }
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        datagrams.send_to(b"?", vip).await.unwrap();
    }
    relay.apply(&udp(vip), None).unwrap();
    eventually("connections end", || open_files() < idle).await;
    drop(relay);
    // The server's listener stays.
    eventually("the relay ends", || open_files() <= before + 1).await;
}
