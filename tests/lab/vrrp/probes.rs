//! A client that asks an address each so often whether it is there, and counts who did not answer.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use lb_lab::Host;
use socket2::{Domain, Protocol, Socket, Type};

/// Four in a millisecond.
const EVERY: Duration = Duration::from_micros(250);
/// What has not been answered by then is lost.
const LATEST: Duration = Duration::from_millis(300);

/// Echo requests that are being sent.
pub struct Probes {
    end: Arc<AtomicBool>,
    sender: JoinHandle<anyhow::Result<Vec<SystemTime>>>,
    receiver: JoinHandle<anyhow::Result<HashSet<u32>>>,
}

impl Probes {
    /// From a host to an address, from now on.
    pub fn start(host: &Host, to: IpAddr) -> anyhow::Result<Self> {
        let socket = host.run(|| open(to))?.with_context(|| format!("asking {to}"))?;
        let socket = Arc::new(socket);
        let end = Arc::new(AtomicBool::new(false));
        let sender = thread::spawn({
            let (socket, end) = (Arc::clone(&socket), Arc::clone(&end));
            move || send(&socket, to, &end)
        });
        let receiver = thread::spawn({
            let end = Arc::clone(&end);
            move || receive(&socket, to, &end)
        });
        Ok(Self { end, sender, receiver })
    }

    /// Stops, and says when those were sent that nobody answered, out of how many.
    pub fn end(self) -> anyhow::Result<(Vec<SystemTime>, usize)> {
        self.end.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        let answered = self.receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
        let lost = (0..).zip(&sent).filter(|(number, _)| !answered.contains(number));
        Ok((lost.map(|(_, at)| *at).collect(), sent.len()))
    }
}

fn open(to: IpAddr) -> std::io::Result<Socket> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_recv_buffer_size(1 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    Ok(socket)
}

fn send(socket: &Socket, to: IpAddr, end: &AtomicBool) -> anyhow::Result<Vec<SystemTime>> {
    let mut sent = Vec::new();
    let mut next = Instant::now();
    while !end.load(Ordering::Relaxed) {
        let number = u32::try_from(sent.len())?;
        let mut packet = [0; 12];
        packet[0] = if to.is_ipv4() { 8 } else { 128 };
        packet[8..].copy_from_slice(&number.to_be_bytes());
        if to.is_ipv4() {
            let sum: u32 = packet
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        sent.push(SystemTime::now());
        // While nobody knows the way it cannot leave, and is lost.
        let _ = socket.send(&packet);
        next = (next + EVERY).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}

fn receive(mut socket: &Socket, to: IpAddr, end: &AtomicBool) -> anyhow::Result<HashSet<u32>> {
    let mut answered = HashSet::new();
    let mut until = None;
    loop {
        if end.load(Ordering::Relaxed)
            && *until.get_or_insert_with(|| Instant::now() + LATEST) < Instant::now()
        {
            return Ok(answered);
        }
        let mut packet = [0; 128];
        let len = match socket.read(&mut packet) {
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            // Somebody says that it is not there: an answer may follow.
            Err(error) if error.raw_os_error().is_some() => continue,
            Err(error) => return Err(error.into()),
        };
        // IPv4 comes with its header.
        let (header, reply) = if to.is_ipv4() { (20, 0) } else { (0, 129) };
        if let Some(&[kind, _, _, _, _, _, _, _, a, b, c, d]) =
            packet[..len].get(header..header + 12)
            && kind == reply
        {
            answered.insert(u32::from_be_bytes([a, b, c, d]));
        }
    }
}
