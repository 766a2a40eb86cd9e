//! A running lab.

use std::ffi::OsString;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::capture::Capture;
use crate::error::{Error, Result, list};
use crate::host::Host;
use crate::namespace;
use crate::topology::{InterfaceSpec, Topology};
use crate::wire::Fabric;

/// How to run a lab; the default suits tests.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where programs named without a slash are looked for before `PATH`.
    pub path: Vec<PathBuf>,
    /// The command that runs [`serve_forever`](crate::serve_forever) with two arguments more, address and name.
    /// Without one the built-in servers are threads of this process.
    pub server: Option<Vec<OsString>>,
}

/// Hosts, switches and cables that exist as long as this value does.
///
/// Nothing of it has a name outside: any number of labs run beside each other, and nothing is left of one whose
/// owner was killed. Dropping it kills every process in it.
pub struct Lab {
    topology: Topology,
    hosts: Vec<Host>,
    fabric: Fabric,
}

impl Lab {
    /// Makes the hosts and starts their programs.
    ///
    /// The process must be root, of the machine or of a user namespace: see [`become_root`](crate::become_root).
    ///
    /// # Errors
    /// [`Error::Unprivileged`] says what is missing; [`Error::Topology`]; [`Error::NoProgram`];
    /// [`Error::System`] and [`Error::Netlink`] when the kernel refuses something.
    pub fn start(topology: Topology) -> Result<Self> {
        Self::start_with(topology, Options::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Lab::start`].
    pub fn start_with(topology: Topology, options: Options) -> Result<Self> {
        topology.check()?;
        let fabric = Fabric::new(&topology.switches)?;
        let options = Arc::new(options);
        let hosts = topology
            .hosts
            .iter()
            .map(|spec| Host::new(spec.clone(), Arc::clone(&options)))
            .collect();
        let lab = Self { topology, hosts, fabric };
        // Every cable is plugged in before the first program speaks.
        for host in &lab.hosts {
            host.power_on(|net| lab.plug(host, net))?;
        }
        for host in &lab.hosts {
            host.start_programs()?;
        }
        Ok(lab)
    }

    fn plug(&self, host: &Host, net: &File) -> Result<()> {
        host.spec().interfaces.iter().try_for_each(|interface| {
            let (port, mac) = self.cable(host, interface);
            self.fabric.plug(net, interface, &port, mac)
        })
    }

    /// Name of the port and hardware address of the card; the address tells host and card.
    fn cable(&self, host: &Host, interface: &InterfaceSpec) -> (String, [u8; 6]) {
        let h = self.hosts.iter().position(|other| std::ptr::eq(other, host)).unwrap_or_default();
        let i = host
            .spec()
            .interfaces
            .iter()
            .position(|other| other.name == interface.name)
            .unwrap_or_default();
        let readable = format!("{}-{}", host.name(), interface.name);
        let clash = self.topology.switches.contains(&readable);
        let port = if readable.len() > 15 || clash { format!("p{h}-{i}") } else { readable };
        let octet = |n: usize| n.to_be_bytes().last().copied().unwrap_or_default();
        (port, [0x02, 0, octet(h >> 8), octet(h + 1), 0, octet(i)])
    }

    /// What it was made from.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// All hosts, in the order of the topology.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One host.
    ///
    /// # Errors
    /// [`Error::NoHost`], which lists those there are.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.iter().find(|host| host.name() == name).ok_or_else(|| Error::NoHost {
            name: name.to_owned(),
            known: list(self.hosts.iter().map(Host::name)),
        })
    }

    /// The hosts whose kernels have this address, in the order of the topology.
    pub fn holders(&self, address: impl Into<IpAddr>) -> Vec<&str> {
        let address = address.into();
        self.hosts.iter().filter(|host| host.has_address(address)).map(Host::name).collect()
    }

    fn port(&self, host: &str, interface: &str) -> Result<(String, &InterfaceSpec)> {
        let host = self.host(host)?;
        let found = host.spec().interfaces.iter().find(|other| other.name == interface);
        let interface = found.ok_or_else(|| host.no_interface(interface))?;
        Ok((self.cable(host, interface).0, interface))
    }

    /// Pulls a cable at the switch: the host sees its carrier go.
    ///
    /// # Errors
    /// [`Error::NoHost`], [`Error::NoInterface`], [`Error::Netlink`].
    pub fn cut(&self, host: &str, interface: &str) -> Result<()> {
        self.fabric.carrier(&self.port(host, interface)?.0, false)
    }

    /// Breaks a cable beyond the first switch: the carrier stays, and nothing passes.
    ///
    /// # Errors
    /// As [`Lab::cut`].
    pub fn cut_silently(&self, host: &str, interface: &str) -> Result<()> {
        self.fabric.connect(&self.port(host, interface)?.0, None)
    }

    /// Makes a hub of a switch: it forgets at once where it has seen a hardware address, and gives every frame to all.
    ///
    /// # Errors
    /// [`Error::System`] without such a switch, [`Error::Netlink`].
    pub fn make_hub(&self, switch: &str) -> Result<()> {
        self.fabric.make_hub(switch)
    }

    /// Repairs what [`Lab::cut`] or [`Lab::cut_silently`] did.
    ///
    /// # Errors
    /// As [`Lab::cut`].
    pub fn mend(&self, host: &str, interface: &str) -> Result<()> {
        let (port, interface) = self.port(host, interface)?;
        self.fabric.connect(&port, Some(&interface.switch))?;
        self.fabric.carrier(&port, true)
    }

    /// Cuts the host's power: its cables are dead at once, then every process in it is killed.
    ///
    /// # Errors
    /// As [`Lab::cut`]; a host without power stays so.
    pub fn crash(&self, host: &str) -> Result<()> {
        let host = self.host(host)?;
        if !host.is_up() {
            return Ok(());
        }
        for interface in &host.spec().interfaces {
            self.cut(host.name(), &interface.name)?;
        }
        host.power_off();
        for interface in &host.spec().interfaces {
            self.fabric.unplug(&self.cable(host, interface).0)?;
        }
        Ok(())
    }

    /// Gives a crashed host power again: new network, empty `/run`, its files of the topology, its programs.
    ///
    /// # Errors
    /// As [`Lab::start`]; a host that has power is left alone.
    pub fn boot(&self, host: &str) -> Result<()> {
        let host = self.host(host)?;
        if host.is_up() {
            return Ok(());
        }
        host.power_on(|net| self.plug(host, net))?;
        host.start_programs()
    }

    /// Collects every frame that passes the switch's port of a host's cable from now on.
    ///
    /// # Errors
    /// [`Error::NoHost`], [`Error::NoInterface`], [`Error::System`].
    pub fn capture_port(&self, host: &str, interface: &str) -> Result<Capture> {
        let (port, _) = self.port(host, interface)?;
        namespace::in_network(&self.fabric.net, || Capture::start(&port))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.power_off();
        }
    }
}
