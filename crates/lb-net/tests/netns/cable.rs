//! Two network namespaces joined by a cable, for the length of a test.

use std::fs::File;
use std::io::Read;
use std::iter;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lb_net::{Event, Interface, Link, Monitor, Poller, RouteSocket};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Pid, gettid};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

pub const PATIENCE: Duration = Duration::from_secs(10);

/// Namespaces A, with interface `a`, and B, with interface `b`.
pub struct Cable {
    a: File,
    b: File,
}

/// Runs the test on a thread whose namespace is A; says so and does nothing without privileges.
pub fn with_cable(test: impl FnOnce(&Cable) + Send + 'static) {
    let body = || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            lb_skip::skip(format_args!("a network namespace needs root ({error})"));
            return;
        }
        let a = own_namespace();
        let b = new_namespace(|peer| {
            ip(&format!(
                "link add name a address 02:00:00:00:00:0a type veth peer name b netns {peer}"
            ));
        });
        let cable = Cable { a, b };
        cable.in_b(|| ip("link set dev b address 02:00:00:00:00:0b up"));
        cable.in_b(|| ip("address add 192.0.2.2/24 dev b"));
        cable.in_b(|| ip("address add 2001:db8::2/64 dev b nodad"));
        ip("link set dev a up");
        ip("address add 192.0.2.1/24 dev a");
        ip("address add 2001:db8::1/64 dev a nodad");
        wait_until_up("a");
        cable.in_b(|| wait_until_up("b"));
        test(&cable);
    };
    thread::spawn(body).join().unwrap();
}

impl Cable {
    /// Does something in B; sockets that are opened there stay there.
    pub fn in_b<T>(&self, body: impl FnOnce() -> T) -> T {
        setns(&self.b, CloneFlags::CLONE_NEWNET).unwrap();
        let done = body();
        setns(&self.a, CloneFlags::CLONE_NEWNET).unwrap();
        done
    }
}

/// A new namespace, which `connect` may call by the number of a process in it.
pub fn new_namespace(connect: impl FnOnce(Pid)) -> File {
    thread::scope(|scope| {
        let (tell, told) = mpsc::sync_channel(1);
        let (release, released) = mpsc::sync_channel::<()>(1);
        scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send((gettid(), own_namespace())).unwrap();
            let _ = released.recv();
        });
        let (process, namespace) = told.recv().unwrap();
        connect(process);
        drop(release);
        namespace
    })
}

pub fn own_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// Runs `ip` of iproute2 in the namespace of the calling thread.
pub fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

/// A link of the calling thread's namespace.
pub fn link(name: &str) -> Link {
    let links = RouteSocket::open().unwrap().links().unwrap();
    links.into_iter().find(|link| link.name == name).unwrap()
}

pub fn interface(name: &str) -> Interface {
    Interface { index: NonZeroU32::new(link(name).index).unwrap(), name: name.into() }
}

pub fn wait_until_up(name: &str) {
    let mut monitor = Monitor::open(0).unwrap();
    let mut poller = Poller::new().unwrap();
    poller.add(&monitor, 0).unwrap();
    let mut up = link(name).up;
    while !up {
        assert_ne!(poller.wait(Some(PATIENCE)).unwrap().count(), 0, "{name} does not come up");
        let seen = |event| up |= matches!(event, Event::Link(link) if link.name == name && link.up);
        monitor.drain(seen).unwrap();
    }
}

/// Everything of one kind that arrives at an interface of the calling thread's namespace, with its
/// Ethernet header.
pub struct Capture(Socket);

impl Capture {
    pub fn new(interface: &Interface, ethertype: u16) -> Self {
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        socket.bind(&packet_address(interface.index.get(), ethertype)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub fn next(&mut self) -> Vec<u8> {
        self.try_next().unwrap()
    }

    /// `None` when nothing comes for the patience of the capture.
    pub fn try_next(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        let len = self.0.read(&mut frame).ok()?;
        frame.truncate(len);
        Some(frame)
    }

    /// Whether a frame like this has arrived up to now.
    pub fn has(&mut self, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let found = iter::from_fn(|| self.try_next()).any(|frame| wanted(&frame));
        self.0.set_nonblocking(false).unwrap();
        found
    }
}

#[allow(unsafe_code)] // socket2 has no constructor for packet(7) addresses
fn packet_address(ifindex: u32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the addresses that the storage has room for.
    unsafe {
        let address = storage.view_as::<libc::sockaddr_ll>();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ethertype.to_be();
        address.sll_ifindex = ifindex.cast_signed();
        SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    }
}
