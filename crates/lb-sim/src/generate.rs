//! A scenario out of a seed.
//!
//! Whatever it makes is sane: an operator could mean it. All instances of a virtual router speak
//! one version, and those of a sync group rank the routers alike, for a group that wants two masters
//! at once never comes to rest. Times are in units of the advertisement interval, so that fast
//! networks see as much as slow ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb_carp::Vhid;
use lb_carp::foreign::Kind;
use lb_config::model::{Family, VrrpVersion};

use crate::chance::Chance;
use crate::scenario::{MAX_STRANGERS, Router, Scenario, Stranger, Weather, Wire};

mod plan;
mod trouble;

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
        // As of Linux: 30 s of belief, 5 s of doubt, three questions (`arp(7)`).
        patience: Duration::from_secs(38),
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
