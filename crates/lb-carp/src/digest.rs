//! The digest of an advertisement: HMAC-SHA1 over who is meant, the addresses and the counter.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::config::Config;

/// Octets of the digest.
pub(crate) const DIGEST_LEN: usize = 20;

/// Makes and verifies the digests of one vhid.
///
/// The message is version, type, vhid, the addresses of both families, each sorted and once, and
/// the counter. Key and addresses are the same in every packet: they are hashed here, so that a
/// packet costs two or three blocks.
#[derive(Clone)]
pub struct Digest {
    /// Without link-local addresses: sent, and accepted.
    sent: Hmac<Sha1>,
    /// With them, where there are some: accepted. FreeBSD sends this form, and OpenBSD once did.
    with_link_local: Option<Hmac<Sha1>>,
}

impl Digest {
    /// The digests of the vhid that `config` describes.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in &config.addresses {
            match address {
                IpAddr::V4(address) => v4.push(*address),
                IpAddr::V6(address) => v6.push(*address),
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        // The others go upwards from the lowest address there can be to the highest, and so never
        // meet these two.
        v4.retain(|address| *address != Ipv4Addr::UNSPECIFIED && *address != Ipv4Addr::BROADCAST);
        v6.retain(|address| ![0, u128::MAX].contains(&address.to_bits()));
        let form = |v6: &mut dyn Iterator<Item = &Ipv6Addr>| {
            let mut mac = hmac(&config.key);
            mac.update(&[2, 1]);
            if let Some(address) = &config.link_address {
                mac.update(address);
            }
            mac.update(&[config.vhid.value()]);
            v4.iter().for_each(|address| mac.update(&address.octets()));
            v6.for_each(|address| mac.update(&address.octets()));
            mac
        };
        let link_local = v6.iter().any(Ipv6Addr::is_unicast_link_local);
        Self {
            sent: form(&mut v6.iter().filter(|address| !address.is_unicast_link_local())),
            with_link_local: link_local.then(|| form(&mut v6.iter())),
        }
    }

    /// The digest that we send with this counter.
    pub(crate) fn of(&self, counter: u64) -> [u8; DIGEST_LEN] {
        self.sent.clone().chain_update(counter.to_be_bytes()).finalize().into_bytes().into()
    }

    /// Whether a digest is right in either form. The time it takes does not tell how wrong.
    pub(crate) fn verifies(&self, counter: u64, digest: &[u8; DIGEST_LEN]) -> bool {
        let right = |mac: &Hmac<Sha1>| {
            mac.clone().chain_update(counter.to_be_bytes()).verify(digest.into()).is_ok()
        };
        right(&self.sent) || self.with_link_local.as_ref().is_some_and(right)
    }
}

/// Without what is made of the key.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").finish_non_exhaustive()
    }
}

fn hmac(key: &[u8; 20]) -> Hmac<Sha1> {
    // A key no longer than a block is zero padded.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block.into())
}
