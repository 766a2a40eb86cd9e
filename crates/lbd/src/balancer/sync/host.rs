//! What the daemons live by: the kernel's IPVS and an interface.

use std::error::Error as _;
use std::io;

use lb_ipvs::{Client, Daemon, Error, Role};
use lb_net::{Event, Monitor, RouteSocket};
use nix::errno::Errno;

/// The kernel, or what a test puts in its place. Errors are sentences for the operator.
pub trait Host {
    /// The daemons that run.
    fn daemons(&mut self) -> Result<Vec<Daemon>, String>;

    /// Starts one; none of its role runs.
    fn start(&mut self, daemon: &Daemon) -> Result<(), String>;

    /// Stops the one of that role; none need run.
    fn stop(&mut self, role: Role) -> Result<(), String>;

    /// Index of an interface over which a daemon can send and hear, by IPv6 or by IPv4.
    fn interface(&mut self, name: &str, inet6: bool) -> Result<u32, String>;
}

/// That of this thread's network namespace.
pub struct Kernel {
    client: Client,
    route: RouteSocket,
    monitor: Monitor,
    /// As of the last look.
    watched: Option<Watched>,
}

/// An interface, and what has become of it.
struct Watched {
    name: String,
    inet6: bool,
    index: Option<u32>,
    verdict: Result<u32, String>,
}

impl Kernel {
    /// Opens IPVS, loading it if need be.
    pub fn open() -> Result<Self, String> {
        let client = Client::open().map_err(|error| sentence(&error))?;
        let route = RouteSocket::open().map_err(|error| error.to_string())?;
        let monitor = Monitor::open(route.port()).map_err(|error| error.to_string())?;
        Ok(Self { client, route, monitor, watched: None })
    }

    /// Takes what the kernel has told since the last look. Returns that look if it holds still.
    fn current(&mut self, name: &str, inet6: bool) -> Option<Watched> {
        let watched = self.watched.take().filter(|last| last.name == name && last.inet6 == inet6);
        let index = watched.as_ref().and_then(|watched| watched.index);
        let mut holds = true;
        let drained = self.monitor.drain(|event| {
            holds &= match event {
                Event::Link(link) => link.name != name && Some(link.index) != index,
                Event::LinkGone { index: gone } => Some(gone) != index,
                Event::Address(address) | Event::AddressGone { address, .. } => {
                    Some(address.ifindex) != index
                }
                Event::Overrun => false,
            }
        });
        watched.filter(|_| holds && drained.is_ok())
    }

    fn look(&mut self, name: &str, inet6: bool) -> io::Result<Watched> {
        let link = self.route.links()?.into_iter().find(|link| link.name == name);
        let index = link.as_ref().map(|link| link.index);
        let verdict = match link {
            None => Err(format!("there is no interface {name}")),
            Some(link) if !link.up => Err(format!("interface {name} is down")),
            Some(link) => {
                let addresses = self.route.addresses()?;
                let mut here = addresses.iter().filter(|address| address.ifindex == link.index);
                let family = if inet6 { "IPv6" } else { "IPv4" };
                (here.any(|at| at.address.is_ipv6() == inet6 && !at.tentative))
                    .then_some(link.index)
                    .ok_or_else(|| format!("interface {name} has no {family} address to send from"))
            }
        };
        Ok(Watched { name: name.to_owned(), inet6, index, verdict })
    }
}

impl Host for Kernel {
    fn daemons(&mut self) -> Result<Vec<Daemon>, String> {
        self.client.daemons().map_err(|error| sentence(&error))
    }

    fn start(&mut self, daemon: &Daemon) -> Result<(), String> {
        self.client.start_daemon(daemon).map_err(|error| {
            let remedy = match error {
                Error::Refused { errno: Errno::EINVAL, .. } => {
                    "; none can run while a service has servers of another family"
                }
                _ => "",
            };
            format!("{} ({}, {}){remedy}", sentence(&error), daemon.role, daemon.interface)
        })
    }

    fn stop(&mut self, role: Role) -> Result<(), String> {
        match self.client.stop_daemon(role) {
            Ok(()) | Err(Error::Refused { errno: Errno::ESRCH, .. }) => Ok(()),
            Err(error) => Err(sentence(&error)),
        }
    }

    fn interface(&mut self, name: &str, inet6: bool) -> Result<u32, String> {
        let watched = match self.current(name, inet6) {
            Some(watched) => watched,
            None => self
                .look(name, inet6)
                .map_err(|error| format!("cannot look at interface {name}: {error}"))?,
        };
        self.watched.insert(watched).verdict.clone()
    }
}

/// An error and its cause.
fn sentence(error: &Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
