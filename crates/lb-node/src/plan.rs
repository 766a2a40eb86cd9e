//! What the advertiser needs of a configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use lb_config::model::{self, Model, SyncGroup, TrackFile, TrackProcess, VrrpScript};

use crate::config::{Carp, InstanceConfig};
use crate::vmac::VmacPrefixes;

/// The advertiser's part of a [`Model`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// VRRP instances in the order of the file, then those of CARP.
    pub instances: Vec<InstanceConfig>,
    /// In the order of the file.
    pub groups: Vec<SyncGroup>,
    /// Every `vrrp_script`, referenced or not, in the order of the file.
    pub scripts: Vec<VrrpScript>,
    /// Every `track_file`, likewise.
    pub files: Vec<TrackFile>,
    /// Every `vrrp_track_process`, likewise.
    pub processes: Vec<TrackProcess>,
    /// Advertisements are ignored and timers wait for so long after the start.
    pub startup_delay: Duration,
    /// What holds for every CARP instance.
    pub carp: model::Carp,
    /// How names of virtual MACs begin.
    pub vmac_prefixes: VmacPrefixes,
}

impl Plan {
    /// Which of `masters`, whose engine failed so long ago, may resume as MASTER without asking:
    /// those that nobody else can have taken for dead. The others listen first, as after any start.
    #[must_use]
    pub fn resumable(&self, masters: &BTreeSet<String>, ago: Duration) -> BTreeSet<String> {
        let young = self.instances.iter().filter(|config| ago < config.respected_for());
        let names = young.map(InstanceConfig::name).filter(|name| masters.contains(*name));
        names.map(str::to_owned).collect()
    }
}

impl From<&Model> for Plan {
    fn from(model: &Model) -> Self {
        let vrrp = model.vrrp_instances.iter().cloned().map(InstanceConfig::Vrrp);
        let carp = model.carp_instances.iter().flat_map(Carp::all_of).map(InstanceConfig::Carp);
        Self {
            instances: vrrp.chain(carp).collect(),
            groups: model.sync_groups.clone(),
            scripts: model.vrrp_scripts.clone(),
            files: model.track_files.clone(),
            processes: model.track_processes.clone(),
            startup_delay: model.global.vrrp_startup_delay,
            carp: model.global.carp,
            vmac_prefixes: VmacPrefixes::from(&model.global),
        }
    }
}
