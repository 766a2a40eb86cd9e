//! From a `carp_instance` to what `lb-carp` has to know.

use lb_carp::{Config, Vhid};

use super::{Together, peers};
use crate::config::Carp;
use crate::slot::MAX_SLACK;

pub(super) fn config(carp: &Carp, group: Option<Together>) -> Config {
    let instance = &carp.instance;
    let vhid = Vhid::new(carp.node.vhid).expect("the model holds no vhid 0");
    let addresses = instance.router.vips.iter().map(|vip| vip.address).collect();
    let mut config = Config {
        advbase: instance.advbase,
        advskew: carp.node.advskew,
        preempt: instance.preempt,
        peers: peers(&instance.router.peers),
        grouped: group.is_some(),
        ..Config::new(vhid, instance.key, addresses)
    };
    config.advert_slack = (config.pace().interval() / 100).min(MAX_SLACK);
    config.handover = instance.router.handover.then(|| Together::hold(group, config.hold_time()));
    config
}
