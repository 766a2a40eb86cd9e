//! Advertisements of a router that is not there.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use lb_lab::Host;
use lb_tests::wire::folded;
use lb_tests::{Test, VRRP};
use socket2::{Domain, Protocol, Socket, Type};

/// How often the router that is not there advertises.
const INTERVAL: Duration = Duration::from_millis(100);

/// An advertisement over IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Forged {
    pub version: u8,
    pub priority: u8,
    pub vip: Ipv4Addr,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
}

impl Forged {
    /// Version 3, multicast, of VRID 51 from 192.0.2.2 with 192.0.2.100.
    pub const fn new(priority: u8) -> Self {
        Self {
            version: 3,
            priority,
            vip: Ipv4Addr::new(192, 0, 2, 100),
            source: Ipv4Addr::new(192, 0, 2, 2),
            destination: Ipv4Addr::new(224, 0, 0, 18),
            ttl: 255,
        }
    }

    /// The IP packet; the kernel sums its header. RFC 9568 §5.1, RFC 3768 §5.1.
    fn packet(&self) -> Vec<u8> {
        let timing = if self.version == 2 { [0, 1] } else { [0, 20] };
        let mut message = vec![self.version << 4 | 1, 51, self.priority, 1];
        message.extend(timing);
        message.extend([0, 0]);
        message.extend(self.vip.octets());
        let mut summed = Vec::new();
        if self.version == 2 {
            message.extend([0; 8]);
        } else {
            summed.extend(self.source.octets());
            summed.extend(self.destination.octets());
            summed.extend([0, VRRP, 0, message.len() as u8]);
        }
        summed.extend(&message);
        let checksum = !(folded(&summed) as u16);
        message[6..8].copy_from_slice(&checksum.to_be_bytes());
        let mut packet = vec![0x45, 0xc0, 0, 20 + message.len() as u8, 0, 0, 0, 0, self.ttl, VRRP];
        packet.extend([0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(message);
        packet
    }
}

/// Who sends them from a host.
pub struct Speaker {
    socket: Socket,
    repeated: Arc<Mutex<Option<Forged>>>,
}

impl Speaker {
    /// Sends from this host, whose address is 192.0.2.2.
    pub fn new(host: &Host) -> anyhow::Result<Self> {
        let open = || {
            // A raw socket of this protocol takes whole packets. raw(7).
            let raw = Protocol::from(nix::libc::IPPROTO_RAW);
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw))?;
            socket.set_multicast_if_v4(&Ipv4Addr::new(192, 0, 2, 2))?;
            Ok::<_, std::io::Error>(socket)
        };
        let speaker = Self { socket: host.run(open)??, repeated: Arc::default() };
        let socket = speaker.socket.try_clone()?;
        let repeated = Arc::downgrade(&speaker.repeated);
        thread::spawn(move || repeat(&socket, &repeated));
        Ok(speaker)
    }

    /// Sends it once.
    pub fn say(&self, forged: &Forged) -> Test {
        send(&self.socket, forged).context("send a forged advertisement")
    }

    /// Sends it until told otherwise.
    pub fn repeat(&self, forged: Forged) {
        *self.repeated.lock().unwrap_or_else(PoisonError::into_inner) = Some(forged);
    }
}

fn repeat(socket: &Socket, repeated: &Weak<Mutex<Option<Forged>>>) {
    while let Some(repeated) = repeated.upgrade() {
        let forged = repeated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        drop(repeated);
        if let Some(forged) = forged {
            // Its host may lose its power at any time.
            let _ = send(socket, &forged);
        }
        thread::sleep(INTERVAL);
    }
}

fn send(socket: &Socket, forged: &Forged) -> std::io::Result<()> {
    let to = SocketAddrV4::new(forged.destination, 0);
    socket.send_to(&forged.packet(), &to.into()).map(drop)
}
