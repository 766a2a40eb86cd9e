//! From a `vrrp_instance` to what `lb-vrrp` has to know.

use lb_config::model::{self, VrrpInstance};
use lb_vrrp::{Config, Family, Priority, Version, Vips, Vrid};

use super::{Together, peers};
use crate::slot::MAX_SLACK;

/// What the protocol has to know of an instance.
pub(super) fn config(instance: &VrrpInstance, group: Option<Together>) -> Config {
    let family = match instance.family {
        model::Family::Inet => Family::Inet,
        model::Family::Inet6 => Family::Inet6,
    };
    let version = match instance.version {
        model::VrrpVersion::V2 => Version::V2,
        model::VrrpVersion::V3 => Version::V3,
    };
    let vrid = Vrid::new(instance.vrid).expect("the model holds no VRID 0");
    let mut config = Config {
        down_timer_adverts: instance.down_timer_adverts,
        wants_master: instance.router.state == model::InitialState::Master,
        nopreempt: instance.nopreempt,
        preempt_delay: instance.preempt_delay,
        password: instance.password,
        header_key: instance.header_key,
        peers: peers(&instance.router.peers),
        vips: Vips::new(family, instance.router.vips.iter().map(|vip| vip.address)),
        skip_check_adv_addr: instance.skip_check_adv_addr,
        lower_prio_no_advert: instance.lower_prio_no_advert,
        higher_prio_send_advert: instance.higher_prio_send_advert,
        owner_ignore_adverts: instance.owner_ignore_adverts,
        v3_checksum_as_v2: instance.v3_checksum_as_v2,
        old_unicast_checksum: match instance.old_unicast_checksum {
            model::OldUnicastChecksum::Detect => lb_vrrp::OldUnicastChecksum::Detect,
            model::OldUnicastChecksum::Always => lb_vrrp::OldUnicastChecksum::Always,
            model::OldUnicastChecksum::Never => lb_vrrp::OldUnicastChecksum::Never,
        },
        grouped: group.is_some(),
        advert_slack: (instance.advert_int / 100).min(MAX_SLACK),
        ..Config::new(version, family, vrid, Priority(instance.priority), instance.advert_int)
    };
    config.handover = instance.router.handover.then(|| Together::hold(group, config.hold_time()));
    config
}
