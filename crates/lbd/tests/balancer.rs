//! The balancer engine against real servers on the loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb_config::RealSystem;
use lb_control::status::VirtualServer;
use lb_control::{Event, EventKind};
use lbd::balancer::{Balancer, DataplaneChoice, Options, Plan};
use lbd::engine::EventSink;
use lbd::mailbox::Inbox;
use tokio::time::{sleep, timeout};

/// Every wait of these tests; none of them comes near it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that says its name to whoever connects, until it is dropped.
struct Server {
    address: SocketAddr,
    alive: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(name: &'static str) -> Self {
        Self::at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn at(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("listener");
        let address = listener.local_addr().expect("address");
        let alive = Arc::new(AtomicBool::new(true));
        let until = Arc::clone(&alive);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if !until.load(Ordering::SeqCst) {
                    return;
                }
                // A checker hangs up without a word.
                let _ = stream.and_then(|mut stream| stream.write_all(name.as_bytes()));
            }
        });
        Self { address, alive, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes it
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut answer = String::new();
    TcpStream::connect(address)?.read_to_string(&mut answer)?;
    Ok(answer)
}

/// An address that nobody listens on.
fn vacant() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listener");
    listener.local_addr().expect("address")
}

/// `keyword IP PORT { ... }`
fn block(keyword: &str, address: SocketAddr, body: &str) -> String {
    format!("{keyword} {} {} {{\n{body}\n}}\n", address.ip(), address.port())
}

/// A virtual server that checks its servers twenty times a second.
fn virtual_server(address: SocketAddr, body: &str) -> String {
    let head =
        "delay_loop 0.05\n delay_before_retry 0.02\n lb_algo rr\n lb_kind NAT\n protocol TCP";
    block("virtual_server", address, &format!("{head}\n{body}"))
}

/// A real server with a TCP_CHECK.
fn real(address: SocketAddr) -> String {
    block("real_server", address, "TCP_CHECK {\n connect_timeout 1\n }")
}

fn plan(text: &str) -> Plan {
    let options = lb_config::Options::default();
    let loaded = lb_config::parse_str("test.conf", text, &options, &RealSystem);
    Plan::from(&loaded.model.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)))
}

fn start(text: &str, dataplane: DataplaneChoice) -> (Balancer, Inbox<Event>) {
    let (sink, events) = EventSink::channel();
    let options = Options { dataplane, ..Options::default() };
    (Balancer::start(plan(text), options, sink).expect("engine"), events)
}

/// The next event but the quorum that a healthy pool gains at its start.
async fn next(events: &mut Inbox<Event>) -> String {
    let event = loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("an event in time");
        let event = event.expect("an event");
        if !matches!(event.kind, EventKind::Quorum { up: true, start: true, .. }) {
            break event;
        }
    };
    match event.kind {
        EventKind::Checker { real_server, up, reason, .. } => {
            format!("checker {real_server} {up} {reason}")
        }
        EventKind::RealServer { real_server, up, .. } => format!("real {real_server} {up}"),
        EventKind::Quorum { up, weight, quorum, .. } => format!("quorum {up} {weight}/{quorum}"),
        EventKind::SorryServer { active, .. } => format!("sorry {active}"),
        other => format!("{other:?}"),
    }
}

fn name(address: SocketAddr) -> String {
    format!("[{}]:tcp:{}", address.ip(), address.port())
}

/// The first status of the first virtual server in which `done` holds.
async fn status_when(balancer: &Balancer, done: impl Fn(&VirtualServer) -> bool) -> VirtualServer {
    let poll = async {
        loop {
            let server = balancer.status().await.expect("status").virtual_servers.remove(0);
            if done(&server) {
                return server;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, poll).await.expect("that status in time")
}

fn checked(server: &VirtualServer) -> bool {
    let mut checks = server.real_servers.iter().flat_map(|real| &real.checks);
    checks.all(|check| check.last.is_some())
}

async fn reload(balancer: &Balancer, text: &str) {
    balancer.apply(plan(text)).await.expect("answer").expect("reload");
}

async fn stop(balancer: Balancer) {
    timeout(PATIENCE, balancer.stop()).await.expect("stop in time").expect("stop");
}

#[tokio::test]
async fn a_dying_server_is_told_in_keepaliveds_order_and_comes_back() {
    let server = Server::start("one");
    let (address, sorry) = (server.address, vacant());
    let sorry = format!("sorry_server {} {}\n", sorry.ip(), sorry.port());
    let text = virtual_server(vacant(), &(sorry + &real(address)));
    let (balancer, mut events) = start(&text, DataplaneChoice::None);
    let status = status_when(&balancer, checked).await;
    assert_eq!(status.dataplane, "none");
    assert!(status.quorum_met && status.real_servers[0].alive);
    assert_eq!(status.real_servers[0].checks[0].kind, "TCP_CHECK");

    drop(server);
    let of = name(address);
    assert_eq!(next(&mut events).await, format!("checker {of} false connection refused"));
    assert_eq!(next(&mut events).await, format!("real {of} false"));
    assert_eq!(next(&mut events).await, "quorum false 0/1");
    assert_eq!(next(&mut events).await, "sorry true");
    let status = status_when(&balancer, |status| status.sorry_active).await;
    assert_eq!(status.real_servers[0].effective_weight, 0);
    assert!(status.real_servers[0].checks[0].failures >= 2, "a failure and a retry");

    let _server = Server::at("one", address);
    assert_eq!(next(&mut events).await, format!("checker {of} true ok"));
    assert_eq!(next(&mut events).await, format!("real {of} true"));
    assert_eq!(next(&mut events).await, "quorum true 1/1");
    assert_eq!(next(&mut events).await, "sorry false");
    stop(balancer).await;
}

#[tokio::test]
async fn the_relay_serves_who_is_alive_and_follows_a_reload() {
    let (one, two, three) = (Server::start("one"), Server::start("two"), Server::start("three"));
    let vip = vacant();
    let with = |servers: &[SocketAddr]| {
        virtual_server(vip, &servers.iter().map(|address| real(*address)).collect::<String>())
    };
    let text = with(&[one.address, two.address]);
    let (balancer, mut events) = start(&text, DataplaneChoice::Relay);
    let mut both = [ask(vip).expect("answer"), ask(vip).expect("answer")];
    both.sort();
    assert_eq!(both, ["one", "two"]);

    status_when(&balancer, checked).await;
    let dead = one.address;
    drop(one);
    let of = name(dead);
    assert_eq!(next(&mut events).await, format!("checker {of} false connection refused"));
    assert_eq!(next(&mut events).await, format!("real {of} false"));
    assert_eq!(ask(vip).expect("answer"), "two");

    reload(&balancer, &with(&[dead, two.address, three.address])).await;
    let mut both = [ask(vip).expect("answer"), ask(vip).expect("answer")];
    both.sort();
    assert_eq!(both, ["three", "two"], "a reload does not raise the dead");
    let status = status_when(&balancer, |_| true).await;
    let alive: Vec<_> = status.real_servers.iter().map(|real| real.alive).collect();
    assert_eq!(alive, [false, true, true]);

    reload(&balancer, &with(&[three.address])).await;
    assert_eq!(next(&mut events).await, format!("real {} false", name(two.address)));
    assert_eq!(ask(vip).expect("answer"), "three");
    stop(balancer).await;
    assert_eq!(ask(vip).expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn checks_that_a_reload_leaves_alone_go_on_and_changed_ones_remember() {
    let server = Server::start("one");
    let vip = vacant();
    let (balancer, mut events) =
        start(&virtual_server(vip, &real(server.address)), DataplaneChoice::None);
    status_when(&balancer, checked).await;
    let address = server.address;
    drop(server);
    let of = name(address);
    assert_eq!(next(&mut events).await, format!("checker {of} false connection refused"));
    assert_eq!(next(&mut events).await, format!("real {of} false"));
    assert_eq!(next(&mut events).await, "quorum false 0/1");
    let before = status_when(&balancer, |_| true).await.real_servers[0].checks[0].failures;

    reload(&balancer, &virtual_server(vip, &real(address))).await;
    let slower = block("real_server", address, "TCP_CHECK {\n connect_timeout 1\n retry 7\n }");
    reload(&balancer, &virtual_server(vip, &slower)).await;
    let status = status_when(&balancer, |_| true).await;
    let check = &status.real_servers[0].checks[0];
    assert!(!status.real_servers[0].alive && !check.up && check.failures >= before);

    let _server = Server::at("one", address);
    assert_eq!(next(&mut events).await, format!("checker {of} true ok"));
    stop(balancer).await;
}

#[tokio::test]
async fn a_script_sets_the_weight() {
    let directory = tempfile::tempdir().expect("directory");
    let script = directory.path().join("check");
    std::fs::write(&script, "#!/bin/sh\nexit 12\n").expect("script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("mode");
    let check =
        format!("weight 3\nMISC_CHECK {{\nmisc_path {}\nmisc_dynamic\n}}", script.display());
    let text = virtual_server(vacant(), &block("real_server", vacant(), &check));
    let (balancer, _events) = start(&text, DataplaneChoice::None);
    let status = status_when(&balancer, |s| s.real_servers[0].effective_weight != 3).await;
    let real = &status.real_servers[0];
    assert_eq!((real.weight, real.effective_weight), (3, 10));
    stop(balancer).await;
}

#[tokio::test]
async fn alpha_waits_and_omega_says_goodbye() {
    let server = Server::start("one");
    let text = virtual_server(vacant(), &("alpha\nomega\n".to_owned() + &real(server.address)));
    let (balancer, mut events) = start(&text, DataplaneChoice::None);
    let status = status_when(&balancer, |_| true).await;
    assert!(!status.quorum_met && !status.real_servers[0].alive);
    let of = name(server.address);
    assert_eq!(next(&mut events).await, format!("checker {of} true ok"));
    assert_eq!(next(&mut events).await, format!("real {of} true"));
    assert_eq!(next(&mut events).await, "quorum true 1/1");
    stop(balancer).await;
    assert_eq!(next(&mut events).await, format!("real {of} false"));
    assert_eq!(next(&mut events).await, "quorum false 1/1");
}

#[tokio::test]
async fn a_panic_is_reported_and_another_engine_knows_what_the_first_knew() {
    let (up, down) = (Server::start("one"), vacant());
    let with = |servers: &[SocketAddr]| {
        let servers: String = servers.iter().map(|address| real(*address)).collect();
        virtual_server(vacant(), &format!("alpha\n{servers}"))
    };
    let text = with(&[up.address, down]);
    let (mut balancer, _events) = start(&text, DataplaneChoice::None);
    status_when(&balancer, |s| s.real_servers[0].alive && checked(s)).await;
    balancer.fail("for the test");
    let why = timeout(PATIENCE, balancer.ended()).await.expect("end in time");
    assert_eq!(why, "for the test");
    balancer.status().await.expect_err("nobody answers");

    let legacy = balancer.take_legacy();
    assert!(legacy.is_some() && balancer.take_legacy().is_none());
    let (sink, mut events) = EventSink::channel();
    let options = Options { dataplane: DataplaneChoice::None, legacy, ..Options::default() };
    let balancer = Balancer::start(plan(&text), options, sink).expect("engine");
    let status = status_when(&balancer, |_| true).await;
    let alive: Vec<_> = status.real_servers.iter().map(|real| real.alive).collect();
    assert_eq!(alive, [true, false], "neither is the dead one trusted nor the living one doubted");
    assert!(status.real_servers[1].checks[0].failures > 0, "what was counted counts on");
    let server = Server::at("two", down);
    assert_eq!(next(&mut events).await, format!("checker {} true ok", name(server.address)));
    stop(balancer).await;
}

#[tokio::test]
async fn a_relay_that_fails_with_probes_under_way_leaves_its_ports_to_the_next() {
    let (one, vip, silent) = (Server::start("one"), vacant(), TcpListener::bind("127.0.0.1:0"));
    let silent = silent.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (silent, _listener) = silent.expect("a server that never answers");
    let get = "weight 0\nHTTP_GET {\n url {\n path /\n}\n}";
    let script = "weight 0\nMISC_CHECK {\n misc_path \"/bin/sleep 100\"\n misc_timeout 100\n}";
    let text = virtual_server(
        vip,
        &(real(one.address)
            + &block("real_server", silent, get)
            + &block("real_server", vacant(), script)),
    );
    let (mut balancer, _events) = start(&text, DataplaneChoice::Relay);
    // The other two began when this one did, and have not ended.
    status_when(&balancer, |s| s.real_servers[0].checks[0].last.is_some()).await;
    balancer.fail("for the test");
    timeout(PATIENCE, balancer.ended()).await.expect("end in time");
    let legacy = balancer.take_legacy();
    let (sink, _events) = EventSink::channel();
    let options = Options { dataplane: DataplaneChoice::Relay, legacy, ..Options::default() };
    let balancer = Balancer::start(plan(&text), options, sink).expect("engine");
    assert_eq!(ask(vip).expect("answer"), "one");
    stop(balancer).await;
}

#[tokio::test]
async fn nothing_to_balance_needs_no_dataplane() {
    let (balancer, _events) = start("", DataplaneChoice::Ipvs);
    let status = balancer.status().await.expect("status");
    assert_eq!((status.dataplane.as_str(), status.virtual_servers), ("none", Vec::new()));
    assert_eq!(status.state_sync, None);
    stop(balancer).await;
}

#[tokio::test]
async fn a_server_that_cannot_be_checked_serves_nobody() {
    let (blind, seen) = (vacant(), vacant());
    let server = |address: SocketAddr, check: &str| block("real_server", address, check);
    let text = virtual_server(vacant(), &(server(blind, "DNS_CHECK {\n}") + &server(seen, "")));
    let (balancer, mut events) = start(&text, DataplaneChoice::None);
    let event = timeout(PATIENCE, events.recv()).await.expect("in time").expect("an event");
    let gained =
        matches!(event.kind, EventKind::Quorum { up: true, start: true, weight: 1, quorum: 1, .. });
    assert!(gained, "{event:?}");
    let status = status_when(&balancer, |_| true).await;
    let [blind, seen] = &status.real_servers[..] else { panic!("{status:?}") };
    assert_eq!((blind.health.as_str(), blind.alive, blind.effective_weight), ("unknown", false, 0));
    assert_eq!((seen.health.as_str(), seen.alive, seen.effective_weight), ("up", true, 1));
    stop(balancer).await;
}

#[tokio::test]
async fn a_reload_says_goodbye_to_a_virtual_server_that_it_removes() {
    let (one, two, real) = (vacant(), vacant(), vacant());
    let with = |vips: &[SocketAddr]| -> String {
        let body = block("real_server", real, "");
        vips.iter().map(|vip| virtual_server(*vip, &body)).collect()
    };
    let (balancer, mut events) = start(&with(&[one]), DataplaneChoice::None);
    reload(&balancer, &with(&[two])).await;
    assert_eq!(next(&mut events).await, format!("real {} false", name(real)));
    assert_eq!(next(&mut events).await, "quorum false 1/1");
    let event = timeout(PATIENCE, events.recv()).await.expect("in time").expect("an event");
    assert!(matches!(event.kind, EventKind::Quorum { up: true, start: true, .. }), "{event:?}");
    stop(balancer).await;
}
