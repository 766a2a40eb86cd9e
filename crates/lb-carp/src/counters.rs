//! What an instance counts.

use crate::error::WireError;

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements accepted, those that bow out included.
    pub advert_rcvd: u64,
    /// Advertisements sent, those that bow out included; one for both families and all peers.
    pub advert_sent: u64,
    /// Times it became MASTER.
    pub become_master: u64,
    /// Times it ceased to be MASTER.
    pub release_master: u64,
    /// Masters that bowed out.
    pub bow_out_rcvd: u64,
    /// Times it bowed out.
    pub bow_out_sent: u64,
    /// TTL or hop limit not as it has to be.
    pub ttl_err: u64,
    /// Too short.
    pub len_err: u64,
    /// Wrong checksum.
    pub checksum_err: u64,
    /// Another version, type or length of authentication.
    pub version_err: u64,
    /// Wrong digest: passphrase or addresses.
    pub digest_err: u64,
    /// Not from a peer, not by the way we use, or in a family that we do not have.
    pub peer_err: u64,
    /// Our own, come back.
    pub loops: u64,
    /// Bow-outs with a counter that was heard before.
    pub replays: u64,
    /// VRRP packets with our number; no error of theirs, but a number to be changed.
    pub vrrp_rcvd: u64,
}

impl Counters {
    /// The counter of a broken rule.
    pub(crate) fn of(&mut self, error: WireError) -> Option<&mut u64> {
        Some(match error {
            WireError::Ttl { .. } | WireError::PeerTtl { .. } => &mut self.ttl_err,
            WireError::Truncated { .. } => &mut self.len_err,
            WireError::Checksum => &mut self.checksum_err,
            WireError::Version { .. } | WireError::Kind { .. } | WireError::AuthLen { .. } => {
                &mut self.version_err
            }
            WireError::Digest => &mut self.digest_err,
            WireError::Destination { .. } | WireError::Source | WireError::Family(_) => {
                &mut self.peer_err
            }
            WireError::Loop => &mut self.loops,
            WireError::Replay => &mut self.replays,
            WireError::Vrrp { .. } => &mut self.vrrp_rcvd,
            WireError::Vhid { .. } => return None,
        })
    }
}
