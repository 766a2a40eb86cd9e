//! `vrrp_instance`

use std::time::Duration;

use serde::Serialize;

use super::{Family, Hmac, VirtualRouter, VrrpVersion};

/// One `vrrp_instance`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VrrpInstance {
    /// What it has in common with CARP.
    #[serde(flatten)]
    pub router: VirtualRouter,
    /// `virtual_router_id`, 1 to 255.
    pub vrid: u8,
    /// `version`.
    pub version: VrrpVersion,
    /// Family of the advertised VIPs.
    pub family: Family,
    /// `priority`, 1 to 255.
    pub priority: u8,
    /// `advert_int`; v2: whole seconds 1 to 255; v3: multiples of 10 ms up to 40.95 s.
    pub advert_int: Duration,
    /// `down_timer_adverts`, 1 to 100.
    pub down_timer_adverts: u32,
    /// `nopreempt`.
    pub nopreempt: bool,
    /// `preempt_delay`, zero for none.
    pub preempt_delay: Duration,
    /// `auth_type PASS`: the password, zero padded. v2 only.
    pub password: Option<[u8; 8]>,
    /// `accept`: packets to the VIPs are accepted though we do not own them.
    pub accept: bool,
    /// `skip_check_adv_addr`: VIPs in advertisements are compared only when the sender changes.
    pub skip_check_adv_addr: bool,
    /// `lower_prio_no_advert`: a lower priority is not answered.
    pub lower_prio_no_advert: bool,
    /// `higher_prio_send_advert`: one more advertisement before yielding.
    pub higher_prio_send_advert: bool,
    /// `owner_ignore_adverts`.
    pub owner_ignore_adverts: bool,
    /// `v3_checksum_as_v2`: no pseudo header in the checksum.
    pub v3_checksum_as_v2: bool,
    /// `old_unicast_checksum`.
    pub old_unicast_checksum: OldUnicastChecksum,
    /// `strict_mode`.
    pub strict: bool,
    /// `auth_type AH`: the key, zero padded. v2 only.
    pub header_key: Option<[u8; 8]>,
    /// `auth_hmac`
    pub hmac: Option<Box<Hmac>>,
    /// `timer_expired_backup`: steps down when it slept too long; the highest priority of others.
    pub timer_expired_backup: Option<u8>,
}

/// An instance that says nothing.
impl Default for VrrpInstance {
    fn default() -> Self {
        Self {
            router: VirtualRouter::default(),
            vrid: 1,
            version: VrrpVersion::V2,
            family: Family::Inet,
            priority: 100,
            advert_int: Duration::from_secs(1),
            down_timer_adverts: 3,
            nopreempt: false,
            preempt_delay: Duration::ZERO,
            password: None,
            accept: true,
            skip_check_adv_addr: false,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            v3_checksum_as_v2: false,
            old_unicast_checksum: OldUnicastChecksum::Detect,
            strict: false,
            header_key: None,
            hmac: None,
            timer_expired_backup: None,
        }
    }
}

/// Checksum form of unicast v3, which old releases computed as for multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum OldUnicastChecksum {
    /// Learnt from what arrives.
    #[default]
    Detect,
    /// Always the old form.
    Always,
    /// Never.
    Never,
}
