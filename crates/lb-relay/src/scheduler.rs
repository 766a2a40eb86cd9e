//! Which destination takes a connection: the schedulers of IPVS over plain numbers.
//!
//! A service with thousands of destinations costs `rr` one look; every other scheduler looks at
//! each of them once, as the kernel does.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use lb_pool::{DestinationKey, Scheduler};

/// A destination as a scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Who it is; `sh` hashes it.
    pub key: DestinationKey,
    /// Share of new connections; 0 takes none.
    pub weight: u32,
    /// May take a connection now: neither overloaded nor tried before.
    pub available: bool,
    /// Established connections.
    pub active: u64,
    /// Connections in any other state.
    pub inactive: u64,
}

impl Candidate {
    fn eligible(&self) -> bool {
        self.weight > 0 && self.available
    }

    /// What `lc` and `wlc` compare: one established connection is worth 256 others.
    fn overhead(&self) -> u128 {
        u128::from(self.active) * 256 + u128::from(self.inactive)
    }
}

/// The flags of `sh`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashFlags {
    /// Another destination where the hashed one takes no connection.
    pub fallback: bool,
    /// The client's port takes part.
    pub port: bool,
}

/// The scheduler that serves in place of `wanted`; the same where user space has it.
#[must_use]
pub fn nearest(wanted: Scheduler) -> Scheduler {
    match wanted {
        // A relay's service has one address, so hashing it would choose one server for all.
        Scheduler::Dh | Scheduler::Mh => Scheduler::Sh,
        Scheduler::Lblc | Scheduler::Lblcr | Scheduler::Twos => Scheduler::Wlc,
        same => same,
    }
}

/// What a scheduler remembers from one connection to the next.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// `rr`: where the next look begins.
    cursor: usize,
    /// `wrr`: how many turns each destination is owed, in units of the total weight.
    credit: Vec<i128>,
}

impl Memory {
    /// Forgets turns owed; to be called when destinations or weights change.
    pub fn reset(&mut self) {
        self.credit.clear();
    }

    /// Chooses among `len` destinations, in their order; `None` if none may take the connection.
    pub fn pick(
        &mut self,
        scheduler: Scheduler,
        flags: HashFlags,
        client: SocketAddr,
        len: usize,
        at: impl Fn(usize) -> Candidate,
    ) -> Option<usize> {
        let eligible = || (0..len).map(|i| (i, at(i))).filter(|(_, c)| c.eligible());
        let chosen = match nearest(scheduler) {
            Scheduler::Rr => {
                let turn = (0..len).map(|step| (self.cursor + step) % len);
                let next = turn.into_iter().find(|i| at(*i).eligible())?;
                self.cursor = next + 1;
                return Some(next);
            }
            Scheduler::Wrr => return self.weighted_turn(len, at),
            Scheduler::Lc => eligible().min_by_key(|(_, c)| c.overhead()),
            // a / wa < b / wb, without dividing.
            Scheduler::Wlc => eligible().reduce(|best, next| {
                let (a, b) = (best.1.overhead(), next.1.overhead());
                if b * u128::from(best.1.weight) < a * u128::from(next.1.weight) {
                    next
                } else {
                    best
                }
            }),
            Scheduler::Nq => match eligible().find(|(_, c)| c.active == 0) {
                Some(idle) => Some(idle),
                None => shortest_delay(eligible()),
            },
            Scheduler::Sed => shortest_delay(eligible()),
            Scheduler::Fo => eligible().min_by_key(|(_, c)| Reverse(c.weight)),
            Scheduler::Ovf => eligible()
                .filter(|(_, c)| c.active < u64::from(c.weight))
                .min_by_key(|(_, c)| Reverse(c.weight)),
            _ => {
                let port = if flags.port { client.port() } else { 0 };
                let score = |c: &Candidate| rendezvous(client.ip(), port, c);
                let best = |a: (usize, Candidate), b: (usize, Candidate)| {
                    if score(&b.1) > score(&a.1) { b } else { a }
                };
                let all = (0..len).map(|i| (i, at(i))).filter(|(_, c)| c.weight > 0);
                match all.reduce(best) {
                    Some((_, c)) if !c.available && flags.fallback => eligible().reduce(best),
                    hashed => hashed.filter(|(_, c)| c.available),
                }
            }
        };
        chosen.map(|(i, _)| i)
    }

    /// Smooth weighted round robin: everybody earns its weight each turn, the richest pays the
    /// total. Over as many turns as the weights' sum each has exactly its weight, spread evenly.
    fn weighted_turn(&mut self, len: usize, at: impl Fn(usize) -> Candidate) -> Option<usize> {
        self.credit.resize(len, 0);
        let (mut total, mut richest) = (0, None);
        for (i, credit) in self.credit.iter_mut().enumerate() {
            let candidate = at(i);
            if !candidate.eligible() {
                continue;
            }
            *credit += i128::from(candidate.weight);
            total += i128::from(candidate.weight);
            if richest.is_none_or(|(_, most)| *credit > most) {
                richest = Some((i, *credit));
            }
        }
        let (chosen, _) = richest?;
        self.credit[chosen] -= total;
        Some(chosen)
    }
}

/// `sed`: the least (active + 1) / weight.
fn shortest_delay(
    eligible: impl Iterator<Item = (usize, Candidate)>,
) -> Option<(usize, Candidate)> {
    eligible.reduce(|best, next| {
        let delay = |c: &Candidate| u128::from(c.active) + 1;
        let (a, b) = (delay(&best.1), delay(&next.1));
        if b * u128::from(best.1.weight) < a * u128::from(next.1.weight) { next } else { best }
    })
}

/// Weighted rendezvous hashing: each destination draws a number from the client and itself, the
/// highest wins. When a destination goes, only its own clients move; the kernel's table of 256
/// buckets moves others too.
fn rendezvous(client: IpAddr, port: u16, candidate: &Candidate) -> f64 {
    let mut hash = mix(u64::from(port) << 16 | u64::from(candidate.key.port));
    for address in [client, candidate.key.address] {
        let bits = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        hash = mix(hash ^ (bits >> 64) as u64);
        hash = mix(hash ^ bits as u64);
    }
    // 53 bits make a number in (0, 1) exactly.
    let drawn = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight) / drawn.ln()
}

/// One step of SplitMix64: the same on every director, so that a fail-over keeps clients.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let candidate = |(last, weight): (u8, &u32)| Candidate {
            key: DestinationKey { address: IpAddr::from([10, 0, 0, last]), port: 80 },
            weight: *weight,
            available: true,
            active: 0,
            inactive: 0,
        };
        (1..).zip(weights).map(candidate).collect()
    }

    /// Candidates of (weight, active, inactive).
    fn loaded(rows: &[(u32, u64, u64)]) -> Vec<Candidate> {
        let mut all = candidates(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
        for (candidate, row) in all.iter_mut().zip(rows) {
            (candidate.active, candidate.inactive) = (row.1, row.2);
        }
        all
    }

    fn client(last: u16) -> SocketAddr {
        let [a, b] = last.to_be_bytes();
        SocketAddr::from(([192, 0, a, b], 1024 + last))
    }

    fn pick(
        memory: &mut Memory,
        scheduler: Scheduler,
        from: SocketAddr,
        all: &[Candidate],
    ) -> Option<usize> {
        memory.pick(scheduler, HashFlags::default(), from, all.len(), |i| all[i])
    }

    fn turns(scheduler: Scheduler, all: &[Candidate], n: usize) -> Vec<Option<usize>> {
        let mut memory = Memory::default();
        (0..n).map(|_| pick(&mut memory, scheduler, client(1), all)).collect()
    }

    #[test]
    fn rr_takes_turns_and_skips_who_may_not() {
        let mut all = candidates(&[1, 7, 0, 1]);
        all[3].available = false;
        assert_eq!(turns(Scheduler::Rr, &all, 5), [0, 1, 0, 1, 0].map(Some));
        assert_eq!(turns(Scheduler::Rr, &[], 1), [None]);
        assert_eq!(turns(Scheduler::Rr, &candidates(&[0, 0]), 1), [None]);
    }

    #[test]
    fn wrr_is_exact_and_interleaved() {
        let all = candidates(&[3, 2, 1]);
        let six = [0, 1, 0, 2, 1, 0].map(Some);
        let got = turns(Scheduler::Wrr, &all, 600);
        assert_eq!(got[..6], six);
        assert_eq!(
            [0, 1, 2].map(|i| got.iter().filter(|g| **g == Some(i)).count()),
            [300, 200, 100]
        );
        // Proportions count, not absolute weights.
        let big = candidates(&[300_000_000, 200_000_000, 100_000_000, 0]);
        assert_eq!(turns(Scheduler::Wrr, &big, 600), got);
    }

    #[test]
    fn wrr_shares_out_what_the_unavailable_leave() {
        let mut all = candidates(&[3, 2, 1]);
        all[0].available = false;
        let got = turns(Scheduler::Wrr, &all, 300);
        assert_eq!([0, 1, 2].map(|i| got.iter().filter(|g| **g == Some(i)).count()), [0, 200, 100]);
    }

    #[test]
    fn least_loads_win() {
        use Scheduler::{Fo, Lblc, Lc, Nq, Ovf, Sed, Twos, Wlc};
        // (scheduler, (weight, active, inactive) each, chosen)
        for (scheduler, rows, chosen) in [
            (Lc, vec![(1, 2, 0), (1, 1, 255), (1, 2, 0)], Some(1)),
            (Lc, vec![(1, 1, 0), (9, 0, 256), (1, 0, 255)], Some(2)),
            (Lc, vec![(0, 0, 0), (1, 5, 5)], Some(1)),
            (Lc, vec![(1, 1, 1), (1, 1, 1)], Some(0)),
            (Wlc, vec![(1, 1, 0), (3, 2, 0)], Some(1)),
            (Wlc, vec![(1, 1, 0), (3, 3, 0)], Some(0)),
            (Wlc, vec![(2_147_483_647, u64::MAX, 0), (1, u64::MAX, 0)], Some(0)),
            (Wlc, vec![(0, 0, 0)], None),
            (Lblc, vec![(1, 1, 0), (3, 2, 0)], Some(1)),
            (Twos, vec![(1, 1, 0), (3, 2, 0)], Some(1)),
            // (0 + 1) / 1 > (1 + 1) / 3
            (Sed, vec![(1, 0, 9), (3, 1, 0)], Some(1)),
            (Nq, vec![(1, 0, 9), (3, 1, 0)], Some(0)),
            (Nq, vec![(1, 1, 0), (3, 2, 0)], Some(1)),
            (Fo, vec![(1, 0, 0), (3, 99, 0), (3, 0, 0)], Some(1)),
            (Ovf, vec![(1, 0, 0), (3, 3, 0), (2, 1, 0)], Some(2)),
            (Ovf, vec![(1, 1, 0), (3, 3, 0)], None),
        ] {
            let got = pick(&mut Memory::default(), scheduler, client(1), &loaded(&rows));
            assert_eq!(got, chosen, "{scheduler} {rows:?}");
        }
    }

    #[test]
    fn sh_keeps_a_client_and_shares_by_weight() {
        let all = candidates(&[3, 2, 1, 0]);
        let mut counts = [0_u32; 4];
        for n in 0..6000 {
            let pick = || pick(&mut Memory::default(), Scheduler::Sh, client(n), &all).unwrap();
            let chosen = pick();
            assert_eq!(chosen, pick());
            counts[chosen] += 1;
        }
        for (got, expected) in counts.into_iter().zip([3000, 2000, 1000, 0]) {
            assert!(got.abs_diff(expected) < 150, "{counts:?}");
        }
    }

    #[test]
    fn sh_moves_only_the_clients_of_who_went() {
        let (before, after) = (candidates(&[1, 1, 1]), candidates(&[1, 0, 1]));
        let at = |n, all: &[_]| pick(&mut Memory::default(), Scheduler::Sh, client(n), all);
        for n in 0..500 {
            let was = at(n, &before);
            assert!(was == Some(1) || at(n, &after) == was);
        }
    }

    #[test]
    fn sh_refuses_or_falls_back_when_the_hashed_one_may_not() {
        let mut all = candidates(&[1, 1, 1]);
        let at = |flags, all: &[Candidate]| {
            Memory::default().pick(Scheduler::Sh, flags, client(7), all.len(), |i| all[i])
        };
        let plain = HashFlags::default();
        let fallback = HashFlags { fallback: true, ..plain };
        let hashed = at(plain, &all).unwrap();
        all[hashed].available = false;
        assert_eq!(at(plain, &all), None);
        assert!(at(fallback, &all).is_some_and(|other| other != hashed));
    }

    #[test]
    fn sh_takes_the_port_in_only_if_asked() {
        let all = candidates(&[1; 8]);
        let chosen = |port| -> Vec<_> {
            let flags = HashFlags { fallback: false, port };
            let from = |p| SocketAddr::from(([192, 0, 2, 1], p));
            let mut all: Vec<_> = (1..50)
                .map(|p| {
                    Memory::default().pick(Scheduler::Sh, flags, from(p), all.len(), |i| all[i])
                })
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        assert_eq!(chosen(false).len(), 1);
        assert_eq!(chosen(true).len(), 8);
    }
}
