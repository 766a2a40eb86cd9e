//! What events, logs and scripts call virtual and real servers: keepalived's names.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use lb_config::Model;
use lb_config::model::{Protocol, VirtualServer, VirtualServerKey};

/// A virtual server's name: `[192.0.2.1]:tcp:80`, `FWM 1`, or `[GROUP]:N` with its place among those
/// that use the group. Two may have one name: a mark of both families, a block that is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Name<'m> {
    server: &'m VirtualServer,
    place: usize,
}

impl<'m> Name<'m> {
    /// That of a server; `place` counts those before it that use its group, or have its name.
    #[must_use]
    pub fn new(server: &'m VirtualServer, place: usize) -> Self {
        Self { server, place }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server.key {
            VirtualServerKey::Address(address) => {
                let protocol = protocol(self.server.protocol);
                write!(f, "[{}]:{protocol}:{}", address.ip(), address.port())
            }
            VirtualServerKey::Fwmark(mark) => write!(f, "FWM {mark}"),
            VirtualServerKey::Group(group) => write!(f, "[{group}]:{}", self.place),
        }
    }
}

/// Every virtual server with its place among those that use its group, or have its name.
pub fn places(model: &Model) -> impl Iterator<Item = (usize, &Arc<VirtualServer>)> {
    let mut users: HashMap<(&VirtualServerKey, Option<Protocol>), usize> = HashMap::new();
    model.virtual_servers.iter().map(move |server| {
        // Those of a group are numbered, whatever their protocol; a mark has none.
        let is_address = matches!(server.key, VirtualServerKey::Address(_));
        let users = users.entry((&server.key, is_address.then_some(server.protocol))).or_default();
        *users += 1;
        (*users - 1, server)
    })
}

/// Every virtual server with its name, and its place as in [`places`].
pub fn virtual_servers(model: &Model) -> impl Iterator<Item = (Name<'_>, usize, &VirtualServer)> {
    places(model).map(|(place, server)| (Name::new(server, place), place, &**server))
}

/// `[10.0.0.1]:tcp:80`; `[10.0.0.1]:none:0` behind a firewall mark, which has no protocol.
#[must_use]
pub fn real_server(of: &VirtualServer, address: IpAddr, port: u16) -> String {
    let protocol = match of.key {
        VirtualServerKey::Fwmark(_) => "none",
        VirtualServerKey::Address(_) | VirtualServerKey::Group(_) => protocol(of.protocol),
    };
    format!("[{address}]:{protocol}:{port}")
}

/// `tcp`, `udp` or `sctp`.
#[must_use]
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
