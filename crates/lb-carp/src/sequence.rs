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
        let step = 1 + (self.draw() & 0xffff);
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
