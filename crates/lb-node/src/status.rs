//! What `lbctl status` shows of an instance.

use std::time::Instant;

use jiff::Timestamp;
use lb_config::model::{Family, VrrpInstance, VrrpVersion};
use lb_control::status::{Carp, Master, Vrrp, VrrpCounters};
use lb_election::Role;
use lb_vrrp::{Counters, Instance};

use super::Node;
use super::config::InstanceConfig;
use super::drive::state;
use super::protocol::Protocol;
use super::slot::Slot;

/// State of every instance, each protocol in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// VRRP instances.
    pub vrrp: Vec<Vrrp>,
    /// What CARP does; `None` without CARP instances.
    pub carp: Option<Carp>,
}

impl Node {
    pub(crate) fn snapshot(&self, now: Instant, wall: Timestamp) -> Status {
        let mut status = Status::default();
        for slot in self.living() {
            match (&slot.config, &slot.protocol) {
                (InstanceConfig::Vrrp(config), Protocol::Vrrp(instance)) => {
                    status.vrrp.push(self.vrrp(slot, config, instance, now, wall));
                }
            }
        }
        status
    }

    fn vrrp(
        &self,
        slot: &Slot,
        config: &VrrpInstance,
        instance: &Instance,
        now: Instant,
        wall: Timestamp,
    ) -> Vrrp {
        let role = slot.role();
        let known = match role {
            Role::Master => instance.source().map(|source| (source, instance.effective_priority())),
            _ => instance.master().map(|master| (master.address, master.priority)),
        };
        Vrrp {
            name: config.router.name.clone(),
            interface: config.router.interface.clone().unwrap_or_default(),
            vrid: config.vrid,
            family: match config.family {
                Family::Inet => "inet".to_owned(),
                Family::Inet6 => "inet6".to_owned(),
            },
            version: match config.version {
                VrrpVersion::V2 => 2,
                VrrpVersion::V3 => 3,
            },
            state: state(role),
            since: slot.since.as_ref().map_or(wall, |since| since.wall(now, wall)),
            priority: config.priority,
            effective_priority: instance.effective_priority().0,
            group: slot.group.map(|group| self.groups[group].name.clone()),
            vips: (config.router.vips.iter().chain(&config.router.excluded_vips))
                .map(|vip| format!("{}/{}", vip.address, vip.prefix))
                .collect(),
            master: known.map(|(address, priority)| Master {
                address: address.to_string(),
                priority: priority.0,
            }),
            faults: self.reasons(slot),
            maintenance: None,
            conflicts: Vec::new(),
            counters: counters(instance.counters()),
        }
    }

    /// Why it takes no part; of a group's member perhaps only that another one cannot.
    fn reasons(&self, slot: &Slot) -> Vec<String> {
        let own: Vec<String> = slot.faults.iter().chain(&slot.waits).cloned().collect();
        match slot.group {
            Some(group) if own.is_empty() && slot.role() == Role::Fault => self.groups[group]
                .members
                .iter()
                .filter_map(|id| self.slot(*id))
                .filter(|member| member.held())
                .map(|member| format!("{} of the same sync group cannot", member.config.name()))
                .collect(),
            _ => own,
        }
    }
}

fn counters(counters: &Counters) -> VrrpCounters {
    VrrpCounters {
        advert_rcvd: counters.advert_rcvd,
        advert_sent: counters.advert_sent,
        become_master: counters.become_master,
        release_master: counters.release_master,
        packet_len_err: counters.packet_len_err,
        advert_interval_err: counters.advert_interval_err,
        ip_ttl_err: counters.ip_ttl_err,
        invalid_type_rcvd: counters.invalid_type_rcvd,
        addr_list_err: counters.addr_list_err,
        invalid_authtype: counters.invalid_authtype,
        authtype_mismatch: counters.authtype_mismatch,
        auth_failure: counters.auth_failure,
        checksum_err: counters.checksum_err,
        version_err: counters.version_err,
        pri_zero_rcvd: counters.pri_zero_rcvd,
        pri_zero_sent: counters.pri_zero_sent,
    }
}
