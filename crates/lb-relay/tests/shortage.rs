//! A relay that runs out of open files recovers. Alone in its process, whose limit it lowers.

mod common;

use std::fs;
use std::time::Duration;

use common::{free_address, named, relay, service, tcp};
use lb_pool::{Dataplane, Scheduler};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn too_many_open_files_pass() {
    let (vip, mut relay) = (free_address(), relay());
    relay.apply(&tcp(vip), Some(&service(Scheduler::Rr, &[(named(5).await, 1)]))).unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, open + 40, hard).unwrap();

    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(vip).await {
        clients.push(client);
    }
    drop(clients);

    let served = async {
        loop {
            let name = async { TcpStream::connect(vip).await?.read_u8().await };
            if let Ok(Ok(name)) = timeout(Duration::from_secs(1), name).await {
                return name;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(timeout(Duration::from_secs(20), served).await.unwrap(), 5);
}
