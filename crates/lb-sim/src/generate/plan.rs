//! The configuration of each router.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lb_config::model::{
    AddressFlags, CarpInstance, Family, InitialState, Notify, Peers, Script, SyncGroup, Tracked,
    UnicastPeer, VirtualAddress, VirtualRouter, VrrpInstance, VrrpScript,
};
use lb_node::{Carp, InstanceConfig, Plan};

use super::{Draft, KEY, Maker, SCRIPT, address, vip};

impl Maker {
    pub(super) fn plan(&mut self, router: usize, routers: usize) -> Plan {
        let script = self.one_in(6);
        let follows = self.one_in(10);
        let mut plan = Plan::default();
        if self.one_in(20) {
            plan.startup_delay = self.beats(1, 5);
        }
        if script {
            plan.scripts.push(VrrpScript {
                name: SCRIPT.to_owned(),
                script: Script::new(["/bin/check"]),
                interval: self.beat * self.chance.within(1..=4) as u32,
                timeout: self.beat,
                rise: self.chance.within(1..=3) as u32,
                fall: self.chance.within(1..=3) as u32,
                init_fail: self.one_in(4),
            });
        }
        for index in 0..self.virtual_routers.len() {
            let grouped = self.groups.iter().any(|group| group.contains(&index));
            let draft = &self.virtual_routers[index];
            let mut instance = instance(draft, index, router, routers);
            let carp = draft.carp;
            let common = &mut instance.router;
            if script && self.chance.below(2) == 0 {
                let heavy = self.chance.within(0..=100) as i16 - 50;
                let weight = if grouped || carp { 0 } else { heavy };
                common.track_scripts.push(Tracked {
                    name: SCRIPT.to_owned(),
                    weight,
                    reverse: false,
                });
            }
            if follows && self.segments > 1 {
                let heavy = -(self.chance.within(0..=60) as i16);
                let weight = if grouped || carp { 0 } else { heavy };
                let name = format!("eth{}", self.segments - 1);
                common.track_interfaces.push(Tracked { name, weight, reverse: false });
            }
            let intervals = self.virtual_routers[index].intervals;
            let times = if intervals { self.chance.within(1..=3) } else { 1 };
            instance.advert_int = self.beat * times as u32;
            plan.instances.extend(match carp {
                true => {
                    Carp::all_of(&Arc::new(self.carp(instance))).map(InstanceConfig::Carp).collect()
                }
                false => vec![InstanceConfig::Vrrp(Arc::new(instance))],
            });
        }
        for (index, members) in self.groups.iter().enumerate() {
            plan.groups.push(SyncGroup {
                name: format!("G{}", index + 1),
                members: members.iter().map(|member| format!("V{}", member + 1)).collect(),
                tracking_weight: false,
                notify: Notify::default(),
                smtp_alert: false,
            });
        }
        plan
    }

    /// A CARP instance in the place of a VRRP instance: the better the priority, the faster.
    fn carp(&self, vrrp: VrrpInstance) -> CarpInstance {
        let slower = 254 - vrrp.priority.min(254);
        let beat = (self.beat.as_millis() * 256 / 1_000) as u32;
        let (advbase, advskew) = match self.beat.as_secs() {
            0 => (0, (beat + beat * u32::from(slower) / 254).min(254) as u8),
            seconds => (seconds as u8, slower),
        };
        CarpInstance {
            vhid: vrrp.vrid,
            key: KEY,
            advbase,
            advskew,
            preempt: !vrrp.nopreempt,
            router: vrrp.router,
            ..CarpInstance::default()
        }
    }
}

fn instance(draft: &Draft, index: usize, router: usize, routers: usize) -> VrrpInstance {
    let Draft { segment, family, priorities, .. } = draft;
    let others = (0..routers).filter(|other| *other != router);
    let peers = others
        .map(|other| UnicastPeer { address: address(*family, *segment, other), ttl: (0, 255) });
    let group = match family {
        Family::Inet => IpAddr::from([224, 0, 0, 18]),
        Family::Inet6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
    };
    let priority = priorities[router];
    VrrpInstance {
        router: VirtualRouter {
            name: format!("V{}", index + 1),
            state: if priority == 255 { InitialState::Master } else { InitialState::Backup },
            interface: Some(format!("eth{segment}")),
            peers: if draft.unicast {
                Peers::Unicast {
                    peers: peers.collect(),
                    check_source: draft.check_source,
                    ttl: None,
                }
            } else {
                Peers::Multicast { group }
            },
            vips: vec![virtual_address(vip(*family, *segment, index))],
            ..VirtualRouter::default()
        },
        vrid: draft.vrid,
        version: draft.version,
        family: *family,
        priority,
        advert_int: Duration::ZERO,
        down_timer_adverts: draft.down_adverts,
        nopreempt: draft.nopreempt[router] && priority < 255,
        preempt_delay: if priority < 255 { draft.delay } else { Duration::ZERO },
        password: draft.password.then_some(*b"sesame\0\0"),
        ..VrrpInstance::default()
    }
}

fn virtual_address(address: IpAddr) -> VirtualAddress {
    VirtualAddress {
        address,
        prefix: if address.is_ipv4() { 32 } else { 128 },
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        no_track: false,
        flags: AddressFlags::default(),
    }
}
