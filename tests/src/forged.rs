//! Advertisements of a router that is not there.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use lb_lab::Host;
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::folded;
use crate::{Test, VRRP};

/// How often the router that is not there advertises.
const INTERVAL: Duration = Duration::from_millis(100);

/// An advertisement over IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Forged {
    /// Of the protocol.
    pub version: u8,
    /// Number of the virtual router.
    pub vrid: u8,
    /// 0 to stop.
    pub priority: u8,
    /// Its virtual address.
    pub vip: Ipv4Addr,
    /// Address of the router.
    pub source: Ipv4Addr,
    /// All routers, or one.
    pub destination: Ipv4Addr,
    /// Of the IP header.
    pub ttl: u8,
}

impl Forged {
    /// Version 3, multicast, of VRID 51 from 192.0.2.2 with 192.0.2.100.
    #[must_use]
    pub const fn new(priority: u8) -> Self {
        Self {
            version: 3,
            vrid: 51,
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
        let mut message = vec![self.version << 4 | 1, self.vrid, self.priority, 1];
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
    repeated: Arc<Mutex<Vec<Forged>>>,
}

impl Speaker {
    /// Sends from this host, whose address is 192.0.2.2.
    ///
    /// # Errors
    /// The host is down or may not.
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
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn say(&self, forged: &Forged) -> Test {
        send(&self.socket, forged).context("send a forged advertisement")
    }

    /// Sends these, ten times a second, until told otherwise.
    pub fn repeat(&self, forged: Vec<Forged>) {
        *self.repeated.lock().unwrap_or_else(PoisonError::into_inner) = forged;
    }
}

fn repeat(socket: &Socket, repeated: &Weak<Mutex<Vec<Forged>>>) {
    while let Some(repeated) = repeated.upgrade() {
        let forged = repeated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        drop(repeated);
        for forged in forged {
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
