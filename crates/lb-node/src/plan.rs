//! What the advertiser needs of a configuration.

use std::sync::Arc;
use std::time::Duration;

use lb_config::model::{Model, SyncGroup, VrrpInstance, VrrpScript};

/// The advertiser's part of a [`Model`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order of the file.
    pub instances: Vec<Arc<VrrpInstance>>,
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
            instances: model.vrrp_instances.clone(),
            groups: model.sync_groups.clone(),
            scripts: model.vrrp_scripts.clone(),
            startup_delay: model.global.vrrp_startup_delay,
        }
    }
}
