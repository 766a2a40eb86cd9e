//! What all connections of one service share.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lb_pool::{DestinationKey, Protocol, ServiceKey};
use socket2::{Socket, Type};
use tracing::warn;

use crate::balance::{Balance, Lease};
use crate::flows::{Clients, Flows, Place, ServiceFlows};
use crate::pump::Pipes;
use crate::{Options, guard, sockets};

/// What all services of a relay share.
#[derive(Debug)]
pub struct Context {
    /// As the relay was started.
    pub options: Options,
    /// Pipes to splice through.
    pub pipes: Pipes,
    /// Places of clients.
    pub flows: Arc<Flows>,
    /// Clients that found no place when it was said last.
    told: Mutex<Option<Instant>>,
    short: AtomicBool,
}

impl Context {
    /// Nothing is running yet.
    pub fn new(options: Options) -> Self {
        let flows = Arc::new(Flows::new(options.most_flows));
        let short = AtomicBool::new(false);
        Self { options, pipes: Pipes::default(), flows, told: Mutex::default(), short }
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

/// How often it is said that there is no place for a client.
const TELL: Duration = Duration::from_secs(60);

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
    flows: Arc<ServiceFlows>,
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
        let flows = Arc::new(ServiceFlows::new(Arc::clone(&context.flows)));
        Self { key, address, balance: Mutex::new(balance), context, flows, unreachable }
    }

    /// A place for a client, or nothing, which is said once a minute.
    pub fn place(&self) -> Option<Arc<Place>> {
        let place = self.flows.take();
        if place.is_none() {
            let now = Instant::now();
            let mut told = guard(&self.context.told);
            if told.is_none_or(|before| now.duration_since(before) >= TELL) {
                *told = Some(now);
                let Clients { most, displaced, refused, .. } = self.context.flows.clients();
                warn!(
                    "{}: no place for another client: of {most} places a service has half, and nobody is idle; so \
                     far {refused} clients were turned away and {displaced} idle ones gave their place; raise the \
                     limit of open files (LimitNOFILE=)",
                    self.key
                );
            }
        }
        place
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
