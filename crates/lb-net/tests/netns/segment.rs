//! Hosts on one switch, for the length of a test.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use crate::cable::{PATIENCE, ip, new_namespace, own_namespace, wait_until_up};

/// Hosts 1, 2, …, each with an interface `e` of MAC 02:00:00:00:00:0N, 192.0.2.N and 2001:db8::N,
/// at the port `pN` of the bridge `br`.
pub struct Segment {
    switch: File,
    hosts: Vec<File>,
}

/// MAC of a host's interface.
pub fn mac(host: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, host]
}

/// Runs the test on a thread whose namespace is the switch's; says so and does nothing without
/// privileges.
pub fn with_segment(hosts: u8, test: impl FnOnce(&Segment) + Send + 'static) {
    let body = move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            lb_skip::skip(format_args!("a network namespace needs root ({error})"));
            return;
        }
        ip("link add name br type bridge mcast_snooping 0");
        ip("link set dev br up");
        let connect = |host: u8| {
            new_namespace(|process| {
                ip(&format!(
                    "link add name p{host} type veth peer name e address 02:00:00:00:00:{host:02x} \
                     netns {process}"
                ));
                ip(&format!("link set dev p{host} master br up"));
            })
        };
        let hosts: Vec<File> = (1..=hosts).map(connect).collect();
        let segment = Segment { switch: own_namespace(), hosts };
        for host in segment.hosts() {
            segment.on(host, || {
                ip("link set dev lo up");
                ip("link set dev e up");
                ip(&format!("address add 192.0.2.{host}/24 dev e"));
                ip(&format!("address add 2001:db8::{host:x}/64 dev e nodad"));
                wait_until_up("e");
            });
        }
        test(&segment);
    };
    thread::spawn(body).join().unwrap();
}

impl Segment {
    pub fn hosts(&self) -> impl Iterator<Item = u8> + use<> {
        1..=u8::try_from(self.hosts.len()).unwrap()
    }

    /// Does something on a host; sockets that are opened there stay there.
    pub fn on<T>(&self, host: u8, body: impl FnOnce() -> T) -> T {
        let host = &self.hosts[usize::from(host) - 1];
        setns(host, CloneFlags::CLONE_NEWNET).unwrap();
        let done = body();
        setns(&self.switch, CloneFlags::CLONE_NEWNET).unwrap();
        done
    }

    /// Port of the switch where it has learned a MAC.
    pub fn port_of(&self, mac: [u8; 6]) -> Option<String> {
        let table = output("bridge fdb show br br");
        let line = table.lines().find(|line| line.starts_with(&text(mac)))?;
        line.split(' ').nth(2).map(str::to_owned)
    }
}

/// What a host believes to be the MAC of an address.
pub fn neighbour(address: IpAddr) -> Option<String> {
    let table = output(&format!("ip neighbour show to {address} dev e"));
    let after = table.split_once("lladdr ")?.1;
    after.split_ascii_whitespace().next().map(str::to_owned)
}

pub fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// Runs a program in the namespace of the calling thread.
pub fn output(command: &str) -> String {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

/// Whether one of so many pings a tenth of a second apart is answered.
pub fn pings(address: Ipv4Addr) -> bool {
    output(&format!("ping -n -c 3 -i 0.1 -W 1 {address}")).contains(" bytes from ")
}

/// Looks again until it is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}
