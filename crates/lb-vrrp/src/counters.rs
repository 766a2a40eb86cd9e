//! What an instance counts.

use crate::error::WireError;

/// Counters since start, named as in keepalived's JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements accepted.
    pub advert_rcvd: u64,
    /// Advertisements sent.
    pub advert_sent: u64,
    /// Times it became MASTER.
    pub become_master: u64,
    /// Times it ceased to be MASTER.
    pub release_master: u64,
    /// Wrong length.
    pub packet_len_err: u64,
    /// Wrong advertisement interval.
    pub advert_interval_err: u64,
    /// TTL or hop limit not as it has to be.
    pub ip_ttl_err: u64,
    /// Not an advertisement.
    pub invalid_type_rcvd: u64,
    /// Other addresses than ours; accepted all the same.
    pub addr_list_err: u64,
    /// Unknown authentication type.
    pub invalid_authtype: u64,
    /// Authentication type other than ours.
    pub authtype_mismatch: u64,
    /// Wrong password, or wrong or repeated authentication header.
    pub auth_failure: u64,
    /// Wrong checksum.
    pub checksum_err: u64,
    /// Another protocol version.
    pub version_err: u64,
    /// Priority 0 received.
    pub pri_zero_rcvd: u64,
    /// Priority 0 sent.
    pub pri_zero_sent: u64,
}

impl Counters {
    /// The counter of a broken rule; rules that keepalived does not count have none.
    pub(crate) fn of(&mut self, error: WireError) -> Option<&mut u64> {
        Some(match error {
            WireError::Truncated { .. }
            | WireError::Length { .. }
            | WireError::TotalLength { .. } => &mut self.packet_len_err,
            WireError::Ttl { .. } | WireError::PeerTtl { .. } => &mut self.ip_ttl_err,
            WireError::Version { .. } => &mut self.version_err,
            WireError::AuthTypeUnknown { .. } => &mut self.invalid_authtype,
            WireError::AuthTypeMismatch { .. } => &mut self.authtype_mismatch,
            WireError::Password | WireError::Digest | WireError::Replayed { .. } => {
                &mut self.auth_failure
            }
            WireError::Interval { .. } => &mut self.advert_interval_err,
            WireError::Kind { .. } => &mut self.invalid_type_rcvd,
            WireError::Checksum => &mut self.checksum_err,
            WireError::AddressList => &mut self.addr_list_err,
            WireError::Carp { .. }
            | WireError::Vrid { .. }
            | WireError::Destination { .. }
            | WireError::Source
            | WireError::NextHeader { .. }
            | WireError::OwnAddress => return None,
        })
    }
}
