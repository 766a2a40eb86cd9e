//! The topology that comes with the program, from `etc/lab`.

use std::io;
use std::path::Path;

use lb_lab::{Result, Topology};

const FAILOVER: &str = include_str!("../../../../etc/lab/failover.toml");
const FILES: [(&str, &str); 2] = [
    ("d1.conf", include_str!("../../../../etc/lab/d1.conf")),
    ("d2.conf", include_str!("../../../../etc/lab/d2.conf")),
];

/// The client, two directors and three web servers of `etc/lab/failover.toml`.
pub fn topology() -> Result<Topology> {
    Topology::parse_with(FAILOVER, |path| {
        let found = FILES.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_topology_is_complete() {
        let topology = topology().unwrap();
        let names: Vec<_> = topology.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["client", "d1", "d2", "web1", "web2", "web3"]);
        let files = topology.hosts.iter().flat_map(|host| &host.files);
        assert!(
            files
                .map(|file| file.text.as_deref().unwrap_or_default())
                .all(|text| text.contains("virtual_server"))
        );
        assert_eq!(topology.play.unwrap().faults.len(), 2);
    }
}
