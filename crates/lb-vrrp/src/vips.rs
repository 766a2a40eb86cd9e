//! The advertised addresses of an instance.

use std::net::IpAddr;

use crate::types::Family;
use crate::wire::Addresses;

/// Advertised addresses, of one family and at most 255, kept as the wire has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vips {
    family: Family,
    /// In the order of the configuration.
    octets: Box<[u8]>,
    /// To look up what a packet says.
    sorted: Box<[IpAddr]>,
}

impl Vips {
    /// Takes the addresses of `family`, in order; those of the other family and any beyond 255
    /// are left out, for the wire has no place for them.
    #[must_use]
    pub fn new(family: Family, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut octets = Vec::new();
        let mut sorted = Vec::new();
        for address in
            addresses.into_iter().filter(|address| Family::of(*address) == family).take(255)
        {
            match address {
                IpAddr::V4(address) => octets.extend(address.octets()),
                IpAddr::V6(address) => octets.extend(address.octets()),
            }
            sorted.push(address);
        }
        sorted.sort_unstable();
        Self { family, octets: octets.into(), sorted: sorted.into() }
    }

    /// As they are in an advertisement.
    #[must_use]
    pub fn addresses(&self) -> Addresses<'_> {
        Addresses::new(self.family, &self.octets)
    }

    /// Whether an advertisement lists the same addresses, in any order. Does not allocate.
    #[must_use]
    pub fn agree_with(&self, theirs: Addresses<'_>) -> bool {
        let ours = self.addresses();
        ours == theirs
            || ours.len() == theirs.len()
                && theirs.iter().all(|address| self.sorted.binary_search(&address).is_ok())
    }
}
