//! Chance that a seed repeats.
//!
//! Written out rather than taken from a crate: what a seed means must stay the same for as long as
//! somebody may want to repeat it, and the fate of a packet must not depend on how many came before.

use std::ops::RangeInclusive;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// What this seed has in store.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// What becomes of something that these values tell from everything else. Taking any other
    /// thing away changes nothing here, so a scenario that shrinks stays recognisable.
    #[must_use]
    pub fn of(seed: u64, what: [u64; 2]) -> Self {
        Self(mix(mix(mix(seed) ^ what[0]) ^ what[1]))
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product: even to one part in 2^64 / limit.
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in a range.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True in so many of a million cases.
    pub fn happens(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // The published test vector of SplitMix64 for the state 1234567.
        let mut chance = Chance(1_234_567);
        let bits: Vec<u64> = (0..3).map(|_| chance.bits()).collect();
        assert_eq!(
            bits,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn ranges_hold() {
        let mut chance = Chance::new(1);
        let drawn: Vec<u64> = (0..1_000).map(|_| chance.within(3..=5)).collect();
        assert!([3, 4, 5].iter().all(|number| drawn.contains(number)));
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
        assert!(!Chance::new(1).happens(0) && Chance::new(1).happens(1_000_000));
    }
}
