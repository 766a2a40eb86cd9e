//! What the advertiser needs of a configuration.

use std::time::Duration;

use lb_config::model::{Model, SyncGroup, VrrpInstance, VrrpScript};

/// The advertiser's part of a [`Model`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order of the file.
    pub instances: Vec<VrrpInstance>,
    /// In the order of the file.
    pub groups: Vec<SyncGroup>,
    /// Every `vrrp_script`, referenced or not, in the order of the file.
    pub scripts: Vec<VrrpScript>,
    /// Advertisements are ignored and timers wait for so long after the start.
    pub startup_delay: Duration,
}

impl From<&Model> for Plan {
    fn from(model: &Model) -> Self {
        let mut instances = model.vrrp_instances.clone();
        for instance in &mut instances {
            let group = model.sync_groups.iter().find(|g| g.members.contains(&instance.name));
            if group.is_some_and(|group| !group.tracking_weight) {
                drop_weights(instance);
            }
        }
        Self {
            instances,
            groups: model.sync_groups.clone(),
            scripts: model.vrrp_scripts.clone(),
            startup_delay: model.global.vrrp_startup_delay,
        }
    }
}

/// Members of a sync group move together, so weights of their own would only set them apart: a
/// tracked interface becomes a matter of FAULT, a weighted script is not tracked.
fn drop_weights(instance: &mut VrrpInstance) {
    for tracked in &mut instance.track_interfaces {
        tracked.weight = 0;
    }
    instance.track_scripts.retain(|tracked| tracked.weight == 0);
}
