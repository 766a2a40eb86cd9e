//! What `lbctl status` shows of an instance.

use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;
use lb_config::model::{self, Balancing, Family, VirtualRouter, VrrpInstance, VrrpVersion};
use lb_control::status::{
    Carp, CarpCounters, CarpInstance, CarpMaster, Master, Vrrp, VrrpCounters,
};
use lb_election::Role;
use lb_vrrp::{Counters, Instance};

use super::Node;
use super::config::{self, InstanceConfig};
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
                (InstanceConfig::Carp(config), Protocol::Carp(instance)) => {
                    let carp = status.carp.get_or_insert_with(|| self.carp());
                    carp.instances.push(self.vhid(slot, config, instance, now, wall));
                }
                // The protocol is part of what makes an instance the same one.
                (InstanceConfig::Vrrp(_), Protocol::Carp(_))
                | (InstanceConfig::Carp(_), Protocol::Vrrp(_)) => {}
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
            vips: vips(&config.router),
            master: known.map(|(address, priority)| Master {
                address: address.to_string(),
                priority: priority.0,
            }),
            master_interval: instance.master_interval().as_secs_f64(),
            master_down_interval: instance.takes_over_after().as_secs_f64(),
            source: instance.source().map(|source| source.to_string()),
            vmac: slot.own_vmac().map(str::to_owned),
            faults: self.reasons(slot),
            maintenance: slot.maintenance.as_deref().cloned(),
            handed_over: instance.handed_over(),
            conflicts: slot.conflicts(),
            counters: counters(instance.counters()),
        }
    }

    /// What holds for every vhid.
    fn carp(&self) -> Carp {
        let model::Carp { allow, preempt, log } = self.carp;
        let groups = self.demotions.groups(&self.slots).collect();
        Carp { allow, preempt, log, groups, instances: Vec::new() }
    }

    fn vhid(
        &self,
        slot: &Slot,
        config: &config::Carp,
        instance: &lb_carp::Instance,
        now: Instant,
        wall: Timestamp,
    ) -> CarpInstance {
        let role = slot.role();
        let master = |address: IpAddr, pace: lb_carp::Pace, demotion| CarpMaster {
            address: address.to_string(),
            advbase: pace.advbase,
            advskew: pace.advskew,
            demotion,
        };
        let ours = || Some(master(slot.sources.any()?, instance.pace(), instance.demotion()));
        let heard = || instance.master().map(|m| master(m.address, m.pace, m.demotion));
        let settings = &config.instance;
        CarpInstance {
            name: config.name.clone(),
            interface: settings.router.interface.clone().unwrap_or_default(),
            vhid: config.node.vhid,
            state: state(role),
            since: slot.since.as_ref().map_or(wall, |since| since.wall(now, wall)),
            advbase: settings.advbase,
            advskew: config.node.advskew,
            demotion: instance.demotion(),
            preempt: settings.preempt,
            groups: settings.groups.clone(),
            group: slot.group.map(|group| self.groups[group].name.clone()),
            balancing: (!settings.nodes.is_empty()).then(|| balancing(settings.balancing)),
            vips: vips(&settings.router),
            master: if role == Role::Master { ours() } else { heard() },
            faults: self.reasons(slot),
            maintenance: slot.maintenance.as_deref().cloned(),
            handed_over: instance.handed_over(),
            conflicts: slot.conflicts(),
            counters: carp_counters(instance.counters()),
        }
    }

    /// Why it takes no part; of a group's member perhaps only that another one cannot.
    fn reasons(&self, slot: &Slot) -> Vec<String> {
        let own: Vec<String> = slot.faults.iter().chain(&slot.waits).cloned().collect();
        match slot.group {
            Some(group) if own.is_empty() && matches!(slot.role(), Role::Init | Role::Fault) => {
                self.groups[group]
                    .members
                    .iter()
                    .filter_map(|id| self.slot(*id))
                    .filter(|member| member.held())
                    .map(|member| format!("{} of the same sync group cannot", member.config.name()))
                    .collect()
            }
            _ => own,
        }
    }
}

fn vips(router: &VirtualRouter) -> Vec<String> {
    let vips = router.vips.iter().chain(&router.excluded_vips);
    vips.map(|vip| format!("{}/{}", vip.address, vip.prefix)).collect()
}

/// In the words of the configuration.
fn balancing(balancing: Balancing) -> String {
    match balancing {
        Balancing::Ip => "ip",
        Balancing::IpStealth => "ip-stealth",
        Balancing::IpUnicast => "ip-unicast",
        Balancing::Arp => "arp",
    }
    .to_owned()
}

fn carp_counters(counters: &lb_carp::Counters) -> CarpCounters {
    CarpCounters {
        received: counters.advert_rcvd,
        sent: counters.advert_sent,
        bad_ttl: counters.ttl_err,
        bad_length: counters.len_err,
        bad_checksum: counters.checksum_err,
        bad_version: counters.version_err,
        bad_digest: counters.digest_err,
        bad_peer: counters.peer_err,
        looped: counters.loops,
        vrrp: counters.vrrp_rcvd,
        become_master: counters.become_master,
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
