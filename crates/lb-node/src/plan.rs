//! What the advertiser needs of a configuration.

use std::time::Duration;

use lb_config::model::{Model, SyncGroup, VrrpScript};

use crate::config::InstanceConfig;

/// The advertiser's part of a [`Model`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order of the file.
    pub instances: Vec<InstanceConfig>,
    /// In the order of the file.
    pub groups: Vec<SyncGroup>,
    /// Every `vrrp_script`, referenced or not, in the order of the file.
    pub scripts: Vec<VrrpScript>,
    /// Advertisements are ignored and timers wait for so long after the start.
    pub startup_delay: Duration,
}

impl From<&Model> for Plan {
    fn from(model: &Model) -> Self {
        Self {
            instances: model.vrrp_instances.iter().cloned().map(InstanceConfig::Vrrp).collect(),
            groups: model.sync_groups.clone(),
            scripts: model.vrrp_scripts.clone(),
            startup_delay: model.global.vrrp_startup_delay,
        }
    }
}
