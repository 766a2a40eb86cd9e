//! What is known of the links of this host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use lb_config::model::Family;

use super::LinkIndex;

/// Links by index and by name.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<LinkIndex, Link>,
    names: HashMap<String, LinkIndex>,
}

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) up: bool,
    /// In the kernel's order. Addresses that were VIPs when they were told are left out.
    addresses: Vec<IpAddr>,
}

impl Links {
    /// Sets a link's name and state. Returns the names that now mean something else.
    pub(crate) fn set(&mut self, index: LinkIndex, name: &str, up: bool) -> Vec<String> {
        let mut changed = Vec::new();
        match self.links.get_mut(&index) {
            Some(link) if link.name == name && link.up == up => return changed,
            Some(link) => {
                if link.name != name {
                    // Another link may have taken the name in between.
                    if self.names.get(&link.name) == Some(&index) {
                        self.names.remove(&link.name);
                    }
                    changed.push(std::mem::replace(&mut link.name, name.to_owned()));
                }
                link.up = up;
            }
            None => {
                let link = Link { name: name.to_owned(), up, addresses: Vec::new() };
                self.links.insert(index, link);
            }
        }
        self.names.insert(name.to_owned(), index);
        changed.push(name.to_owned());
        changed
    }

    /// Forgets a link. Returns its name.
    pub(crate) fn remove(&mut self, index: LinkIndex) -> Option<String> {
        let link = self.links.remove(&index)?;
        // Another link may have taken the name in between.
        if self.names.get(&link.name) == Some(&index) {
            self.names.remove(&link.name);
        }
        Some(link.name)
    }

    /// The link of this name.
    pub(crate) fn named(&self, name: &str) -> Option<(LinkIndex, &Link)> {
        let index = *self.names.get(name)?;
        self.links.get(&index).map(|link| (index, link))
    }

    /// The link with this index.
    pub(crate) fn get(&self, index: LinkIndex) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Adds or removes an address. Returns the link's name if it is known.
    pub(crate) fn set_address(
        &mut self,
        index: LinkIndex,
        address: IpAddr,
        present: bool,
    ) -> Option<&str> {
        let link = self.links.get_mut(&index)?;
        let known = link.addresses.iter().position(|known| *known == address);
        match (known, present) {
            (None, true) => link.addresses.push(address),
            (Some(position), false) => drop(link.addresses.remove(position)),
            _ => {}
        }
        Some(&link.name)
    }

    /// Every address on every link.
    pub(crate) fn addresses(&self) -> HashSet<(LinkIndex, IpAddr)> {
        self.links
            .iter()
            .flat_map(|(index, link)| link.addresses.iter().map(|address| (*index, *address)))
            .collect()
    }

    /// Whether any link has this address.
    pub(crate) fn have(&self, address: IpAddr) -> bool {
        self.links.values().any(|link| link.addresses.contains(&address))
    }
}

impl Link {
    /// Whether this link has this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// The primary address of a family that `is_vip` does not disown: the first, for IPv6 the
    /// first link-local one. RFC 9568 §5.1.1.1, §5.1.2.1.
    pub(crate) fn source(&self, family: Family, is_vip: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| {
            let fits = match (family, address) {
                (Family::Inet, IpAddr::V4(_)) => true,
                (Family::Inet6, IpAddr::V6(address)) => address.is_unicast_link_local(),
                _ => false,
            };
            fits && !is_vip(*address)
        })
    }
}
