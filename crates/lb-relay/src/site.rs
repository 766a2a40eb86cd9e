//! What all connections of one service share.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lb_pool::{DestinationKey, Protocol, ServiceKey};
use socket2::{Socket, Type};
use tracing::warn;

use crate::balance::{Balance, Lease};
use crate::pump::Pipes;
use crate::{Options, guard, sockets};

/// What all services of a relay share.
#[derive(Debug)]
pub struct Context {
    /// As the relay was started.
    pub options: Options,
    /// Pipes to splice through.
    pub pipes: Pipes,
    short: AtomicBool,
}

impl Context {
    /// Nothing is running yet.
    pub fn new(options: Options) -> Self {
        Self { options, pipes: Pipes::default(), short: AtomicBool::new(false) }
    }

    /// Says, once, that the host has no more to give.
    pub fn report_shortage(&self, error: &io::Error) {
        if !self.short.swap(true, Relaxed) {
            warn!(
                "relay: {error}: new connections wait; raise the limit of open files (LimitNOFILE=)"
            );
        }
    }
}

/// One service of a running relay.
#[derive(Debug)]
pub struct Site {
    /// Its name in messages.
    pub key: ServiceKey,
    address: SocketAddr,
    /// Where its connections go.
    pub balance: Mutex<Balance>,
    /// The relay it belongs to.
    pub context: Arc<Context>,
    unreachable: AtomicBool,
}

impl Site {
    /// A service nobody has connected to yet.
    pub fn new(
        protocol: Protocol,
        address: SocketAddr,
        balance: Balance,
        context: Arc<Context>,
    ) -> Self {
        let key = ServiceKey::Address { protocol, address };
        let unreachable = AtomicBool::new(false);
        Self { key, address, balance: Mutex::new(balance), context, unreachable }
    }

    /// Says, once until a server is reached again, that a client was turned away.
    pub fn report_unreachable(&self, tried: usize, last: &io::Error) {
        if !self.unreachable.swap(true, Relaxed) {
            warn!("{}: none of {tried} servers could be reached: {last}", self.key);
        }
    }

    /// A server was reached.
    pub fn report_reached(&self) {
        self.unreachable.store(false, Relaxed);
    }

    /// A place at a destination that is not among `tried`, and the address to reach it at.
    pub fn assign(
        &self,
        client: SocketAddr,
        tried: &[DestinationKey],
    ) -> Option<(Lease, SocketAddr)> {
        let lease = guard(&self.balance).assign(Instant::now(), client, tried)?;
        let server = lease.server(self.address.port());
        Some((lease, server))
    }

    /// A socket towards a server, for a client.
    pub fn dial(&self, server: SocketAddr, client: SocketAddr, kind: Type) -> io::Result<Socket> {
        if server == self.address {
            return Err(io::Error::other("the server is the virtual server itself"));
        }
        sockets::connect(server, client, kind, &self.context.options.egress)
    }
}
