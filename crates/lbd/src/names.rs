//! What events, logs and scripts call virtual and real servers: keepalived's names.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_config::Model;
use lb_config::model::{Protocol, VirtualServer, VirtualServerKey};

/// Every virtual server with its name: `[192.0.2.1]:tcp:80`, `FWM 1`, or `[GROUP]:N` with its
/// place among those that use the group.
pub fn virtual_servers(model: &Model) -> impl Iterator<Item = (String, &VirtualServer)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    model.virtual_servers.iter().map(move |server| {
        let name = match &server.key {
            VirtualServerKey::Address(address) => {
                format!("[{}]:{}:{}", address.ip(), protocol(server.protocol), address.port())
            }
            VirtualServerKey::Fwmark(mark) => format!("FWM {mark}"),
            VirtualServerKey::Group(group) => {
                let place = places.entry(group).or_default();
                let name = format!("[{group}]:{place}");
                *place += 1;
                name
            }
        };
        (name, server)
    })
}

/// `[10.0.0.1]:tcp:80`
#[must_use]
pub fn real_server(of: Protocol, address: IpAddr, port: u16) -> String {
    format!("[{address}]:{}:{port}", protocol(of))
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
