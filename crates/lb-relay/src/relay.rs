//! The dataplane: services come and go, their connections run on a runtime of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use lb_pool::{
    Connections, Dataplane, DataplaneError, DestinationKey, ForwardingMethod, Protocol, Scheduler,
    Service, ServiceKey, Table,
};
use nix::errno::Errno;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::balance::Balance;
use crate::flows::Clients;
use crate::scheduler::nearest;
use crate::site::{Context, Site};
use crate::sockets::{self, Egress};
use crate::{guard, owner, tcp, udp};

/// How a relay works; the defaults are those of IPVS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that move data, at least 1.
    pub workers: usize,
    /// How connections to servers leave.
    pub egress: Egress,
    /// A server that has not answered by then is passed over.
    pub connect_timeout: Duration,
    /// While a server is silent for this long, another is tried beside it, two at a time; as RFC 8305 §5
    /// has it between addresses.
    pub attempt_delay: Duration,
    /// A TCP connection in which nothing moves is reset after this.
    pub tcp_timeout: Duration,
    /// The same when one side has said its last.
    pub tcp_fin_timeout: Duration,
    /// A UDP client that says and hears nothing is forgotten after this.
    pub udp_timeout: Duration,
    /// Clients at once, and half as many of one service. A TCP client takes two descriptors, three while
    /// its server is silent, and two more while much moves; one of UDP takes one.
    pub most_flows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, usize::from).clamp(1, 4),
            egress: Egress::default(),
            connect_timeout: Duration::from_secs(5),
            attempt_delay: Duration::from_millis(250),
            tcp_timeout: Duration::from_secs(900),
            tcp_fin_timeout: Duration::from_secs(120),
            udp_timeout: Duration::from_secs(300),
            most_flows: 65_536,
        }
    }
}

/// A relay that cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host gave no threads or no epoll instance.
    #[error("cannot start the relay's threads")]
    Runtime(#[source] io::Error),
}

/// Serves the forwarding table in user space.
///
/// Dropping it closes every listener and connection before it returns.
#[derive(Debug)]
pub struct Relay {
    /// `None` only while dropping.
    runtime: Option<Runtime>,
    context: Arc<Context>,
    services: BTreeMap<ServiceKey, Entry>,
    /// Schedulers whose stand-in was named in the log.
    replaced: BTreeSet<Scheduler>,
    explained: bool,
}

/// One wanted service.
#[derive(Debug)]
enum Entry {
    Running(Running),
    /// It could not be opened, and this is what was said about it.
    Failed {
        want: Service,
        why: String,
    },
}

#[derive(Debug)]
struct Running {
    site: Arc<Site>,
    task: AbortHandle,
    closed: Receiver<()>,
}

/// A socket whose end can be waited for.
struct Open<T> {
    // In this order they are dropped: first the socket, then whoever waits for it hears of it.
    socket: T,
    _closed: SyncSender<()>,
}

impl<T> AsRef<T> for Open<T> {
    fn as_ref(&self) -> &T {
        &self.socket
    }
}

impl Relay {
    /// Starts the threads of a relay that serves nothing yet.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub fn start(options: Options) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.workers.max(1))
            .thread_name("lb-relay")
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::Runtime)?;
        Ok(Self {
            runtime: Some(runtime),
            context: Arc::new(Context::new(options)),
            services: BTreeMap::new(),
            replaced: BTreeSet::new(),
            explained: false,
        })
    }

    /// How full it is.
    #[must_use]
    pub fn clients(&self) -> Clients {
        self.context.flows.clients()
    }

    fn make_so(&mut self, key: &ServiceKey, want: &Service) -> Result<usize, String> {
        if let Some(Entry::Running(running)) = self.services.get(key) {
            let changes = guard(&running.site.balance).update(want);
            self.explain(key, want);
            return Ok(changes);
        }
        match self.open(key, want) {
            Ok(running) => {
                self.explain(key, want);
                self.services.insert(*key, Entry::Running(running));
                Ok(1 + want.destinations.len())
            }
            Err(why) => {
                self.services.insert(*key, Entry::Failed { want: want.clone(), why: why.clone() });
                Err(why)
            }
        }
    }

    fn open(&self, key: &ServiceKey, want: &Service) -> Result<Running, String> {
        let ServiceKey::Address { protocol, address } = *key else {
            return Err(format!(
                "{key}: the relay sees no firewall marks; name addresses and ports in the virtual \
                 server, or load the kernel's IPVS (modprobe ip_vs)"
            ));
        };
        if address.port() == 0 {
            return Err(format!(
                "{key}: the relay cannot serve every port; name the ports, or load the kernel's \
                 IPVS (modprobe ip_vs)"
            ));
        }
        let runtime =
            self.runtime.as_ref().ok_or_else(|| format!("{key}: the relay is stopping"))?;
        let balance = Balance::new(want);
        let site = Arc::new(Site::new(protocol, address, balance, Arc::clone(&self.context)));
        let (sender, closed) = mpsc::sync_channel(1);
        let ours = Arc::clone(&site);
        // Sockets register with the runtime they are made in.
        let _inside = runtime.enter();
        let task = match protocol {
            Protocol::Tcp => {
                let socket = sockets::listen_tcp(address).and_then(TcpListener::from_std);
                let socket = socket.map_err(|error| refusal(protocol, address, &error))?;
                let open = Open { socket, _closed: sender };
                // `as_ref` takes all of it into the task, not the socket alone.
                runtime.spawn(async move { tcp::serve(open.as_ref(), &ours).await })
            }
            Protocol::Udp => {
                let socket = sockets::listen_udp(address).and_then(UdpSocket::from_std);
                let socket = socket.map_err(|error| refusal(protocol, address, &error))?;
                let open = Arc::new(Open { socket, _closed: sender });
                runtime.spawn(async move { udp::serve(&open, &ours).await })
            }
            Protocol::Sctp => {
                return Err(format!(
                    "{key}: the relay does not speak SCTP; load the kernel's IPVS (modprobe ip_vs)"
                ));
            }
        };
        Ok(Running { site, task: task.abort_handle(), closed })
    }

    fn remove(&mut self, key: &ServiceKey) -> usize {
        match self.services.remove(key) {
            Some(Entry::Running(running)) => {
                running.close();
                1
            }
            Some(Entry::Failed { .. }) | None => 0,
        }
    }

    /// Says once what is done differently here.
    fn explain(&mut self, key: &ServiceKey, want: &Service) {
        let mut methods = want.destinations.iter().map(|(_, d)| d.method);
        if !self.explained
            && let Some(method) = methods.find(|m| *m != ForwardingMethod::Nat)
        {
            self.explained = true;
            info!("{key}: the relay serves {method} as a proxy: servers see this host's address");
        }
        let (wanted, used) = (want.scheduler, nearest(want.scheduler));
        if wanted != used && self.replaced.insert(wanted) {
            warn!("{key}: the relay has no scheduler {wanted} and uses {used}");
        }
    }
}

impl Running {
    /// Ends the service: returns when its address is free again.
    fn close(&self) {
        self.task.abort();
        guard(&self.site.balance).close();
        // Nothing is ever sent: the sender goes with the socket. The bound only guards against a
        // stalled worker.
        let _ = self.closed.recv_timeout(Duration::from_secs(5));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for entry in self.services.values() {
            if let Entry::Running(running) = entry {
                running.close();
            }
        }
        // A runtime must not be dropped inside another one, where our owner may well be.
        let runtime = self.runtime.take();
        let _ = thread::spawn(move || drop(runtime)).join();
    }
}

impl Dataplane for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn replace(&mut self, table: &Table) -> Result<usize, DataplaneError> {
        let gone: Vec<_> =
            self.services.keys().filter(|key| !table.contains_key(key)).copied().collect();
        let mut changes = gone.iter().map(|key| self.remove(key)).sum();
        let mut failures = Vec::new();
        for (key, want) in table {
            match self.make_so(key, want) {
                Ok(made) => changes += made,
                Err(why) => failures.push(why),
            }
        }
        if failures.is_empty() { Ok(changes) } else { Err(DataplaneError { failures }) }
    }

    fn apply(&mut self, key: &ServiceKey, want: Option<&Service>) -> Result<usize, DataplaneError> {
        match want {
            Some(want) => {
                self.make_so(key, want).map_err(|why| DataplaneError { failures: vec![why] })
            }
            None => Ok(self.remove(key)),
        }
    }

    /// Tries once more to open what could not be opened. A failure is told again only if its
    /// reason changed.
    fn audit(&mut self) -> Result<usize, DataplaneError> {
        let failed = self.services.iter().filter_map(|(key, entry)| match entry {
            Entry::Failed { want, why } => Some((*key, want.clone(), why.clone())),
            Entry::Running(_) => None,
        });
        let (mut repairs, mut failures) = (0, Vec::new());
        for (key, want, before) in failed.collect::<Vec<_>>() {
            match self.make_so(&key, &want) {
                Ok(_) => repairs += 1,
                Err(why) if why != before => failures.push(why),
                Err(_) => {}
            }
        }
        if failures.is_empty() { Ok(repairs) } else { Err(DataplaneError { failures }) }
    }

    fn connections(&mut self, key: &ServiceKey) -> BTreeMap<DestinationKey, Connections> {
        match self.services.get(key) {
            Some(Entry::Running(running)) => guard(&running.site.balance).connections().collect(),
            _ => BTreeMap::new(),
        }
    }
}

/// Why an address cannot be listened on, and what to do about it.
fn refusal(protocol: Protocol, address: SocketAddr, error: &io::Error) -> String {
    let any = |errno| sockets::errno_is(error, &[errno]);
    if any(Errno::EADDRINUSE) {
        let who = owner::of(protocol, address).unwrap_or_else(|| "another program".into());
        format!(
            "{protocol} {address}: {who} listens there already; stop it or bind it to another address"
        )
    } else if any(Errno::EACCES) {
        format!(
            "{protocol} {address}: {error}; ports below net.ipv4.ip_unprivileged_port_start need \
             CAP_NET_BIND_SERVICE"
        )
    } else if sockets::is_shortage(error) {
        format!("{protocol} {address}: {error}; raise the limit of open files (LimitNOFILE=)")
    } else {
        format!("{protocol} {address}: cannot listen: {error}")
    }
}
