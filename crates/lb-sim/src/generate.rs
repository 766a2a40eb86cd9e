//! A scenario out of a seed.
//!
//! Whatever it makes is sane: an operator could mean it. All instances of a virtual router speak
//! one version, and those of a sync group rank the routers alike, for a group that wants two masters
//! at once never comes to rest. Times are in units of the advertisement interval, so that fast
//! networks see as much as slow ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lb_carp::Vhid;
use lb_carp::foreign::Kind;
use lb_config::model::{
    AddressFlags, CarpInstance, Family, InitialState, Notify, Peers, Script, SyncGroup, Tracked,
    UnicastPeer, VirtualAddress, VirtualRouter, VrrpInstance, VrrpScript, VrrpVersion,
};
use lb_node::{Carp, InstanceConfig, Plan};

use crate::bound;
use crate::chance::Chance;
use crate::scenario::{Deed, MAX_STRANGERS, Router, Scenario, Stranger, Weather, What, Wire};
use crate::table::Table;

/// The tracked script of a router that has one.
const SCRIPT: &str = "chk";

/// The passphrase of CARP.
const KEY: [u8; 20] = *b"open sesame\0\0\0\0\0\0\0\0\0";

/// The scenario of a seed; always the same.
#[must_use]
pub fn generate(seed: u64) -> Scenario {
    let mut maker = Maker::new(seed);
    let routers = maker.routers();
    let mut scenario = Scenario {
        seed,
        segments: (0..maker.segments).map(|index| format!("lan{index}")).collect(),
        routers,
        strangers: maker.strangers(),
        deeds: Vec::new(),
        // Two heirs at once announce, hear each other, and announce again: a third of the time
        // that addresses linger with whoever is relieved.
        calm: Weather {
            delay: (maker.beat / 500).min(Duration::from_millis(1)),
            jitter: (maker.beat / 200).min(Duration::from_micros(1_500)),
            ..Weather::default()
        },
        lateness: (maker.beat / 100).min(Duration::from_millis(2)),
        patience: maker.beat,
        heal_at: Duration::ZERO,
        end: Duration::ZERO,
    };
    maker.storm(&mut scenario);
    maker.calm(&mut scenario);
    scenario
}

struct Maker {
    chance: Chance,
    /// The unit of time: the usual interval.
    beat: Duration,
    segments: usize,
    virtual_routers: Vec<Draft>,
    /// Virtual routers of each sync group.
    groups: Vec<Vec<usize>>,
    /// Every reload removes the last instance; never does one bring it back.
    removes: bool,
}

/// What instances of a virtual router have in common.
struct Draft {
    carp: bool,
    segment: usize,
    vrid: u8,
    version: VrrpVersion,
    family: Family,
    unicast: bool,
    check_source: bool,
    down_adverts: u32,
    password: bool,
    intervals: bool,
    /// By router.
    priorities: Vec<u8>,
    nopreempt: Vec<bool>,
    delay: Duration,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let beat = *chance.pick(&[10, 20, 50, 100, 250, 1_000, 1_000, 1_000, 1_000, 3_000]);
        let routers = match chance.below(100) {
            0..70 => chance.within(2..=4),
            70..95 => chance.within(5..=8),
            _ => chance.within(9..=16),
        } as usize;
        let count = match chance.below(100) {
            0..75 => chance.within(1..=3),
            _ => chance.within(4..=8),
        } as usize;
        let segments = chance.within(1..=count.min(3) as u64) as usize;
        let mut maker = Self {
            chance,
            beat: Duration::from_millis(beat),
            segments,
            virtual_routers: Vec::new(),
            groups: Vec::new(),
            removes: false,
        };
        if count > 1 && maker.one_in(3) {
            maker.groups.push((0..maker.chance.within(2..=count as u64) as usize).collect());
            let left = maker.groups[0].len()..count;
            if left.len() > 1 && maker.one_in(2) {
                maker.groups.push(left.collect());
            }
        }
        maker.removes = maker.groups.is_empty() && maker.one_in(3);
        for index in 0..count {
            let draft = maker.draft(index, routers);
            maker.virtual_routers.push(draft);
        }
        for group in maker.groups.clone() {
            let [first, others @ ..] = &group[..] else { continue };
            for other in others {
                let priorities = maker.virtual_routers[*first].priorities.clone();
                maker.virtual_routers[*other].priorities = priorities;
            }
        }
        maker
    }

    fn one_in(&mut self, cases: u64) -> bool {
        self.chance.below(cases) == 0
    }

    fn draft(&mut self, index: usize, routers: usize) -> Draft {
        let whole = self.beat.subsec_nanos() == 0;
        let v2 = whole && self.one_in(3);
        let family = if !v2 && self.one_in(6) { Family::Inet6 } else { Family::Inet };
        let few = self.chance.within(2..=254);
        let grouped = self.groups.iter().any(|group| group.contains(&index));
        let carp = self.one_in(3) && (!grouped || self.beat.as_secs() > 0);
        // Equals are told apart by their address in either protocol, but not in the same way.
        let ties = !grouped && self.one_in(5);
        let priorities = (0..routers).map(|_| match ties {
            true => self.chance.within(few / 2 + 1..=few / 2 + 2) as u8,
            false => self.chance.within(1..=254) as u8,
        });
        let mut priorities: Vec<u8> = priorities.collect();
        if grouped {
            // Halved by a reload they are even, and still nobody's equals.
            let order = self.chance.below(routers as u64) as usize;
            for (router, priority) in priorities.iter_mut().enumerate() {
                *priority = ((router + order) % routers) as u8 * 8 + 101;
            }
        }
        if !grouped && !carp && self.one_in(20) {
            priorities[0] = 255;
        }
        let stays = self.chance.below(10);
        let nopreempt = (0..routers).map(|_| match stays {
            0..6 => false,
            6..8 => true,
            _ => self.one_in(2),
        });
        let nopreempt = nopreempt.collect();
        Draft {
            carp,
            segment: self.chance.below(self.segments as u64) as usize,
            vrid: index as u8 * 7 + 1,
            version: if v2 { VrrpVersion::V2 } else { VrrpVersion::V3 },
            family,
            unicast: self.one_in(6),
            check_source: self.one_in(2),
            down_adverts: *self.chance.pick(&[3, 3, 3, 3, 2, 5]),
            password: v2 && self.one_in(3),
            intervals: !v2 && self.one_in(6),
            priorities,
            nopreempt,
            delay: if self.one_in(5) { self.beats(1, 6) } else { Duration::ZERO },
        }
    }

    /// A time of so many beats.
    fn beats(&mut self, least: u64, most: u64) -> Duration {
        let beat = self.beat.as_micros() as u64;
        Duration::from_micros(self.chance.within(least * beat..=most * beat))
    }

    fn routers(&mut self) -> Vec<Router> {
        let count = self.virtual_routers.first().map_or(0, |draft| draft.priorities.len());
        let drift = self.one_in(2);
        (0..count)
            .map(|router| Router {
                name: format!("gw{}", router + 1),
                plan: self.plan(router, count),
                wires: (0..self.segments)
                    .map(|segment| Wire {
                        name: format!("eth{segment}"),
                        segment,
                        addresses: vec![
                            address(Family::Inet, segment, router),
                            address(Family::Inet6, segment, router),
                        ],
                    })
                    .collect(),
                drift_ppm: if drift { self.chance.within(0..=400) as i32 - 200 } else { 0 },
            })
            .collect()
    }

    /// Others in the virtual routers of CARP that stand alone and that they can understand: ucarp
    /// and FreeBSD have no intervals below a second.
    fn strangers(&mut self) -> Vec<Stranger> {
        let whole = self.beat.as_secs() > 0;
        let fits = |vr: &usize| {
            let draft = &self.virtual_routers[*vr];
            let grouped = self.groups.iter().any(|group| group.contains(vr));
            whole && draft.carp && !draft.unicast && !grouped
        };
        let open: Vec<usize> = (0..self.virtual_routers.len()).filter(fits).collect();
        let count = if open.is_empty() { 0 } else { self.chance.within(0..=MAX_STRANGERS as u64) };
        (0..count as usize).filter_map(|index| self.stranger(&open, index)).collect()
    }

    fn stranger(&mut self, open: &[usize], index: usize) -> Option<Stranger> {
        let vr = *self.chance.pick(open);
        let kind = *self.chance.pick(&[Kind::Ucarp, Kind::FreeBsd, Kind::OpenBsd]);
        // Never as slow as one of ours in maintenance: ucarp and FreeBSD know it by that alone.
        // Nor are two of them equals: FreeBSD and OpenBSD would yield to each other for ever.
        let advskew = (self.chance.within(0..=125) as usize * MAX_STRANGERS + index) as u8;
        let preempt = self.one_in(2);
        let from = self.beats(0, 8);
        let Draft { segment, family, vrid, .. } = self.virtual_routers[vr];
        Some(Stranger {
            name: format!("stranger{}", index + 1),
            kind,
            segment,
            source: address(family, segment, 50 + index),
            config: lb_carp::Config {
                advbase: self.beat.as_secs() as u8,
                advskew,
                preempt,
                ..lb_carp::Config::new(Vhid::new(vrid)?, KEY, vec![vip(family, segment, vr)])
            },
            from,
        })
    }

    fn plan(&mut self, router: usize, routers: usize) -> Plan {
        let script = self.one_in(6);
        let follows = self.one_in(10);
        let mut plan = Plan::default();
        if self.one_in(20) {
            plan.startup_delay = self.beats(1, 5);
        }
        if script {
            plan.scripts.push(VrrpScript {
                name: SCRIPT.to_owned(),
                script: Script { argv: vec!["/bin/check".to_owned()], owner: None },
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

    /// Turns everything on and lets things happen until the network heals.
    fn storm(&mut self, scenario: &mut Scenario) {
        let length = self.beat * self.chance.within(4..=40) as u32;
        let early = self.one_in(2);
        for router in 0..scenario.routers.len() {
            let at = if early { Duration::ZERO } else { self.beats(0, 8).min(length) };
            scenario.deeds.push(Deed { at, what: What::PowerOn { router } });
        }
        for _ in 0..self.chance.within(0..=10) {
            let at = self.until(length);
            let (what, end) = self.trouble(scenario);
            scenario.deeds.push(Deed { at, what });
            let left = length.saturating_sub(at);
            if let Some(end) = end.filter(|_| self.chance.below(4) > 0) {
                let at = at + self.until(left);
                scenario.deeds.push(Deed { at, what: end });
            }
        }
        scenario.deeds.sort_by_key(|deed| deed.at);
        scenario.heal_at = length;
        scenario.end = length;
    }

    fn until(&mut self, end: Duration) -> Duration {
        Duration::from_nanos(self.chance.within(0..=end.as_nanos() as u64))
    }

    /// Something that goes wrong, and perhaps how it ends.
    fn trouble(&mut self, scenario: &Scenario) -> (What, Option<What>) {
        let router = self.chance.below(scenario.routers.len() as u64) as usize;
        let other = self.chance.below(scenario.routers.len() as u64) as usize;
        let segment = self.chance.below(self.segments as u64) as usize;
        match self.chance.below(18) {
            16 => {
                let vr = self.chance.below(self.virtual_routers.len() as u64) as usize;
                (What::Handover { router, name: format!("V{}", vr + 1) }, None)
            }
            17 => {
                let maintenance = |on| What::Maintenance { router, on };
                (maintenance(true), Some(maintenance(false)))
            }
            0 => (What::PowerOff { router }, Some(What::PowerOn { router })),
            1 | 2 => {
                let adopt = self.one_in(2);
                (What::Crash { router }, Some(What::Start { router, adopt }))
            }
            3 => (What::Stop { router }, Some(What::Start { router, adopt: false })),
            4 | 5 => {
                let longest = (self.beat * 10).min(Duration::from_secs(5));
                (What::Stall { router, time: self.until(longest) }, None)
            }
            6 => (self.reload(scenario, router), None),
            7 => {
                let cut = |cut| What::Cut { router, wire: segment, cut };
                (cut(true), Some(cut(false)))
            }
            8 => {
                let carrier = |up| What::Carrier { router, wire: segment, up };
                (carrier(false), Some(carrier(true)))
            }
            9..12 => {
                let deafen = |deaf| What::Deafen { segment, from: other, to: router, deaf };
                (deafen(true), Some(deafen(false)))
            }
            12 => {
                let script = |success| What::Script { router, name: SCRIPT.to_owned(), success };
                (script(false), Some(script(true)))
            }
            13 => {
                let vr = self.chance.below(self.virtual_routers.len() as u64) as usize;
                let draft = &self.virtual_routers[vr];
                let address = vip(draft.family, draft.segment, vr);
                (What::Meddle { router, address }, None)
            }
            _ => {
                let (weather, calm) = (self.weather(), scenario.calm);
                (What::Weather { segment, weather }, Some(What::Weather { segment, weather: calm }))
            }
        }
    }

    fn weather(&mut self) -> Weather {
        let ppm = |chance: &mut Chance, most| match chance.below(2) {
            0 => 0,
            _ => chance.below(most) as u32,
        };
        Weather {
            delay: self.beats(0, 2),
            jitter: self.beats(0, 2),
            loss_ppm: ppm(&mut self.chance, 800_000),
            duplicate_ppm: ppm(&mut self.chance, 500_000),
            reorder_ppm: ppm(&mut self.chance, 500_000),
        }
    }

    /// The same configuration with other numbers.
    fn reload(&mut self, scenario: &Scenario, router: usize) -> What {
        let mut plan = scenario.routers[router].plan.clone();
        // What keeps the ranks of a group keeps its peace.
        let weaker = self.chance.below(2) as u8;
        let stays = self.one_in(4);
        for instance in &mut plan.instances {
            match instance {
                InstanceConfig::Vrrp(vrrp) => {
                    let vrrp = Arc::make_mut(vrrp);
                    if vrrp.priority < 255 {
                        vrrp.priority = (vrrp.priority / (1 + weaker)).max(1);
                    }
                    vrrp.nopreempt |= stays && vrrp.priority < 255;
                }
                InstanceConfig::Carp(carp) => {
                    let instance = Arc::make_mut(&mut carp.instance);
                    let priority = ((254 - instance.advskew) / (1 + weaker)).max(1);
                    if instance.advbase > 0 {
                        instance.advskew = 254 - priority;
                        carp.node.advskew = instance.advskew;
                    }
                    instance.preempt &= !stays;
                }
            }
        }
        if self.removes && plan.instances.len() > 1 {
            plan.instances.pop();
        }
        What::Reload { router, plan: Box::new(plan) }
    }

    /// After the network has healed: one thing at a time, with time to agree in between.
    fn calm(&mut self, scenario: &mut Scenario) {
        let table = Table::new(scenario);
        let bound = bound::agreement(scenario, &table);
        // What is under way when it heals.
        let under_way = self.beat * 4;
        scenario.end += under_way + bound + self.beat * 2;
        for _ in 0..self.chance.below(4) {
            let router = self.chance.below(scenario.routers.len() as u64) as usize;
            let at = scenario.end;
            let vr = self.chance.below(self.virtual_routers.len() as u64) as usize;
            let segment = self.chance.below(self.segments as u64) as usize;
            // Of a process that fails: at once mostly, or when somebody else has taken over.
            let pauses = *self.chance.pick(&[1, 1, 10, 20, 35, 60]);
            let mut then = |what, later: Duration| {
                scenario.deeds.push(Deed { at: at + later, what });
                scenario.end = at + later + bound + self.beat * 2;
            };
            match self.chance.below(12) {
                8 | 9 => {
                    let name = format!("V{}", vr + 1);
                    then(What::Handover { router, name }, Duration::ZERO);
                }
                10 => then(What::Maintenance { router, on: true }, Duration::ZERO),
                11 => then(What::Maintenance { router, on: false }, Duration::ZERO),
                0 => then(What::PowerOff { router }, Duration::ZERO),
                1 => then(What::PowerOn { router }, Duration::ZERO),
                2 => then(What::Stop { router }, Duration::ZERO),
                3 => then(What::Start { router, adopt: false }, Duration::ZERO),
                4 => {
                    then(What::Crash { router }, Duration::ZERO);
                    let pause = self.beat / 10 * pauses;
                    then(What::Start { router, adopt: true }, pause);
                }
                5 => then(
                    What::Stall { router, time: (self.beat * 8).min(Duration::from_secs(5)) },
                    Duration::ZERO,
                ),
                6 => {
                    then(What::Carrier { router, wire: segment, up: false }, Duration::ZERO);
                    then(What::Carrier { router, wire: segment, up: true }, bound);
                }
                _ => {
                    then(What::Cut { router, wire: segment, cut: true }, Duration::ZERO);
                    then(What::Cut { router, wire: segment, cut: false }, self.beat * 6);
                }
            }
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

/// The address of a router on a segment: routers rank alike on all of them.
fn address(family: Family, segment: usize, router: usize) -> IpAddr {
    let (segment, host) = (segment as u8, router as u8 + 1);
    match family {
        Family::Inet => Ipv4Addr::new(10, 0, segment, host).into(),
        Family::Inet6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, segment.into(), host.into()).into(),
    }
}

fn vip(family: Family, segment: usize, index: usize) -> IpAddr {
    address(family, segment, 100 + index)
}
