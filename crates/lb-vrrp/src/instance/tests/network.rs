//! A few routers on a lossy segment, in simulated time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::config;
use lb_election::{Input, IpPacket};

use crate::{Action, Content, Instance, State};

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Segment {
    now: Instant,
    routers: Vec<Instance>,
    /// Receiver, sender and octets, by arrival.
    flying: BTreeMap<(Instant, usize), (usize, IpAddr, Vec<u8>)>,
    count: usize,
    random: Random,
    /// Per cent.
    loss: u64,
}

impl Segment {
    fn new(seed: u64, priorities: &[u8]) -> Self {
        let router = |(index, priority): (usize, &u8)| {
            let mut instance = Instance::new(config(*priority));
            instance.set_source(Some(address(index)));
            instance
        };
        let routers = priorities.iter().enumerate().map(router).collect();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (flying, count) = Default::default();
        let mut segment = Self { now: Instant::now(), routers, flying, count, random, loss: 0 };
        for index in 0..segment.routers.len() {
            segment.give(index, Input::Startup);
        }
        segment
    }

    fn give(&mut self, index: usize, input: Input<'_>) {
        let mut actions = Vec::new();
        self.routers[index].handle(self.now, input, &mut actions);
        for action in actions {
            if let Action::Send(content) = action {
                self.send(index, content);
            }
        }
    }

    fn send(&mut self, from: usize, content: Content) {
        let mut payload = Vec::new();
        let (source, group) = (address(from), IpAddr::from([224, 0, 0, 18]));
        self.routers[from].emit(content, (source, group), 255, &mut payload);
        for to in (0..self.routers.len()).filter(|to| *to != from) {
            if self.random.below(100) >= self.loss {
                let arrival = self.now + Duration::from_micros(100 + self.random.below(5_000));
                self.count += 1;
                self.flying.insert((arrival, self.count), (to, source, payload.clone()));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let timer = self.routers.iter().filter_map(Instance::deadline).min();
            let next = arrival.into_iter().chain(timer).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if let Some(entry) = self.flying.first_entry().filter(|e| e.key().0 <= self.now) {
                let (to, source, payload) = entry.remove();
                let packet = IpPacket {
                    source,
                    destination: IpAddr::from([224, 0, 0, 18]),
                    ttl: Some(255),
                    declared_len: None,
                    ah: None,
                    payload: &payload,
                };
                self.give(to, Input::Packet(packet));
                continue;
            }
            for index in 0..self.routers.len() {
                self.give(index, Input::Timer);
            }
        }
        self.now = end;
    }

    fn masters(&self) -> Vec<usize> {
        let master = |i: &usize| matches!(self.routers[*i].state(), State::Master { .. });
        (0..self.routers.len()).filter(master).collect()
    }
}

fn address(index: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, index as u8 + 1])
}

#[test]
fn after_a_lossy_time_there_is_one_master_within_the_bound() {
    for seed in 0..500 {
        let mut segment = Segment::new(seed, &[100, 200, 150]);
        segment.loss = 60;
        segment.run(Duration::from_secs(60));
        segment.loss = 0;
        // Three intervals and the longest skew of these, 3.609375 s, and the way of a packet.
        segment.run(Duration::from_millis(3_620));
        assert_eq!(segment.masters(), [1], "seed {seed}");
        // The master dies; the next one holds the place within its bound, 3.4140625 s.
        segment.give(1, Input::Fault { own: true });
        segment.flying.clear();
        segment.run(Duration::from_millis(3_420));
        assert_eq!(segment.masters(), [2], "seed {seed}");
    }
}

#[test]
fn equals_are_told_apart_by_their_address() {
    for seed in 0..100 {
        let mut segment = Segment::new(seed, &[100, 100]);
        segment.run(Duration::from_secs(20));
        assert_eq!(segment.masters(), [1], "seed {seed}");
    }
}
