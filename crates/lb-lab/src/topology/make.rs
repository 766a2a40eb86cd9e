//! Topologies made in code.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::{FileSpec, HostSpec, InterfaceSpec, ProgramSpec, RouteSpec, Topology};

impl Topology {
    /// One with these switches and no hosts yet.
    pub fn new(switches: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { switches: switches.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// With one host more.
    #[must_use]
    pub fn host(mut self, host: HostSpec) -> Self {
        self.hosts.push(host);
        self
    }
}

impl HostSpec {
    /// A host without cables.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With a cable from `interface` to `switch` and these addresses.
    ///
    /// # Panics
    /// When an address has no valid prefix length; this is for literals.
    #[must_use]
    pub fn interface<'a>(
        mut self,
        interface: &str,
        switch: &str,
        addresses: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let prefix = |text: &str| text.parse().unwrap_or_else(|wrong: String| panic!("{wrong}"));
        self.interfaces.push(InterfaceSpec {
            name: interface.to_owned(),
            switch: switch.to_owned(),
            addresses: addresses.into_iter().map(prefix).collect(),
        });
        self
    }

    /// With a default route.
    #[must_use]
    pub fn gateway(mut self, via: impl Into<IpAddr>) -> Self {
        self.routes.push(RouteSpec { to: None, via: via.into() });
        self
    }

    /// With a setting such as `net.ipv4.ip_forward`.
    #[must_use]
    pub fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.sysctl.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a directory of its own, empty at start.
    #[must_use]
    pub fn private(mut self, dir: impl Into<PathBuf>) -> Self {
        self.private.push(dir.into());
        self
    }

    /// With a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push(FileSpec { path: path.into(), text: Some(text.into()), from: None });
        self
    }

    /// With a program.
    #[must_use]
    pub fn run(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.programs.push(ProgramSpec {
            run: command.into_iter().map(Into::into).collect(),
            ..ProgramSpec::default()
        });
        self
    }

    /// With the built-in server: HTTP and UDP at `address`, answering the host's name.
    #[must_use]
    pub fn serve(mut self, address: SocketAddr) -> Self {
        self.programs.push(ProgramSpec { serve: Some(address), ..ProgramSpec::default() });
        self
    }
}
