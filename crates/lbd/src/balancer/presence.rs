//! Which addresses this host has: checkers of `ha_suspend` run only where their VIP is.
//!
//! Unsafe for one call: tokio wants the word of whoever registers a descriptor that it stays the
//! same and open.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::net::IpAddr;

use lb_net::{Event, InterfaceAddress, Monitor, RouteSocket};
use tokio::io::unix::AsyncFd;

/// The addresses of this host's links, kept up to date by the kernel's notifications.
pub(super) struct Presence {
    route: RouteSocket,
    monitor: AsyncFd<Monitor>,
    /// Each with the index of its link: two links may have the same one.
    addresses: BTreeSet<(IpAddr, u32)>,
}

impl Presence {
    /// Learns what there is, in the network namespace of this thread.
    pub fn open() -> Result<Self, lb_net::Error> {
        let system = |source| lb_net::Error::System { what: "listing addresses".into(), source };
        let route = RouteSocket::open()?;
        // That socket changes nothing, so nothing is left out.
        let monitor = Monitor::open(route.port())?;
        // SAFETY: a monitor owns its socket, never replaces it, and closes it when it is dropped,
        // which the `AsyncFd` does after it has deregistered it.
        let monitor = unsafe { AsyncFd::register(monitor) };
        let monitor = monitor.map_err(|error| system(error.into()))?;
        let mut presence = Self { route, monitor, addresses: BTreeSet::new() };
        presence.survey().map_err(system)?;
        Ok(presence)
    }

    /// Whether some link has this address, ready for use.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.range((address, 0)..=(address, u32::MAX)).next().is_some()
    }

    /// Waits until an address has come or gone. Cancel safe.
    async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut events = Vec::new();
            let mut ready = self.monitor.readable_mut().await?;
            ready.get_inner_mut().drain(|event| events.push(event))?;
            ready.clear_ready();
            let mut changed = false;
            for event in events {
                changed |= self.take(&event)?;
            }
            if changed {
                return Ok(());
            }
        }
    }

    /// Returns whether that changes something.
    fn take(&mut self, event: &Event) -> io::Result<bool> {
        Ok(match event {
            Event::Address(address) => self.add(address),
            Event::AddressGone { address: gone, .. } => {
                self.addresses.remove(&(gone.address, gone.ifindex))
            }
            Event::LinkGone { index } => {
                let before = self.addresses.len();
                self.addresses.retain(|(_, link)| link != index);
                self.addresses.len() != before
            }
            Event::Overrun => {
                self.survey()?;
                true
            }
            Event::Link(_) => false,
        })
    }

    fn add(&mut self, found: &InterfaceAddress) -> bool {
        !found.tentative && self.addresses.insert((found.address, found.ifindex))
    }

    fn survey(&mut self) -> io::Result<()> {
        let found = self.route.addresses()?;
        self.addresses.clear();
        for address in &found {
            self.add(address);
        }
        Ok(())
    }
}

/// Waits until an address has come or gone; forever where nobody asks. Cancel safe.
pub(super) async fn changed(presence: Option<&mut Presence>) -> io::Result<()> {
    match presence {
        Some(presence) => presence.changed().await,
        None => pending().await,
    }
}
