//! The counters of what we send.

use std::net::IpAddr;

/// Counters that were sent and are remembered.
const REMEMBERED: usize = 8;

/// Where the next counter comes from.
///
/// Like FreeBSD and ucarp we go on where the peer is that was heard last, but in random steps: two
/// nodes that heard the same counter and both send do not say the same next one, so that a counter
/// of our own that comes back is our own packet. An old counter is no reason to refuse a packet:
/// OpenBSD's is constant, the others' is random while they hear nobody.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    random: u64,
    last: u64,
    sent: [Option<u64>; REMEMBERED],
    /// Where the next one is remembered.
    place: usize,
}

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        let mut sequence = Self { random: seed, last: 0, sent: [None; REMEMBERED], place: 0 };
        sequence.last = sequence.draw();
        sequence
    }

    /// Parts the sequences of nodes that were given the same seed.
    pub(crate) fn mix(&mut self, source: IpAddr) {
        let bits = match source {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64 ^ address.to_bits() as u64,
        };
        self.random = self.random.rotate_left(29) ^ bits;
    }

    pub(crate) fn next(&mut self) -> u64 {
        let step = 1 + (self.draw() >> 40);
        self.last = self.last.wrapping_add(step);
        self.sent[self.place] = Some(self.last);
        self.place = (self.place + 1) % REMEMBERED;
        self.last
    }

    pub(crate) fn heard(&mut self, counter: u64) {
        self.last = counter;
    }

    pub(crate) fn is_own(&self, counter: u64) -> bool {
        self.sent.contains(&Some(counter))
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_the_peer_is() {
        let mut sequence = Sequence::new(1);
        sequence.heard(1_000);
        let next = sequence.next();
        assert!((1_001..=1_000 + (1 << 24)).contains(&next));
        assert!(sequence.is_own(next) && !sequence.is_own(1_000));
        // Beyond the end it begins anew.
        sequence.heard(u64::MAX);
        assert!(sequence.next() < 1 << 24);
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut sequence = Sequence::new(1);
        let sent = [(); REMEMBERED + 1].map(|()| sequence.next());
        assert!(!sequence.is_own(sent[0]));
        assert!(sent[1..].iter().all(|counter| sequence.is_own(*counter)));
    }

    #[test]
    fn nodes_with_one_seed_are_parted_by_their_addresses() {
        let [mut a, mut b] = [Sequence::new(1), Sequence::new(1)];
        a.mix([192, 0, 2, 1].into());
        b.mix([192, 0, 2, 2].into());
        a.heard(7);
        b.heard(7);
        assert_ne!(a.next(), b.next());
    }
}
