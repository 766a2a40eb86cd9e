//! When a virtual server counts as served: quorum and hysteresis.

use serde::Serialize;

/// How much live weight a virtual server needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quorum {
    /// Live weight it wants; 0 counts as 1, because nothing alive serves nobody.
    pub weight: u32,
    /// How far below `weight` it may fall before it is down, and how far above it has to come
    /// before it is up again. Below `weight`.
    pub hysteresis: u32,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { weight: 1, hysteresis: 0 }
    }
}

impl Quorum {
    /// Whether `live` is enough for a virtual server that was `up` until now.
    ///
    /// Between the two bounds the answer stays what it was.
    #[must_use]
    pub fn met(self, up: bool, live: u64) -> bool {
        let (weight, hysteresis) = (u64::from(self.weight.max(1)), u64::from(self.hysteresis));
        if up {
            live > 0 && live >= weight.saturating_sub(hysteresis)
        } else {
            live >= weight + hysteresis
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_hysteresis_apart_on_either_side() {
        let quorum = |weight, hysteresis| Quorum { weight, hysteresis };
        // (quorum, was up, live, is up)
        for (quorum, was, live, is) in [
            (quorum(1, 0), true, 1, true),
            (quorum(1, 0), true, 0, false),
            (quorum(1, 0), false, 0, false),
            (quorum(1, 0), false, 1, true),
            (quorum(5, 2), true, 3, true),
            (quorum(5, 2), true, 2, false),
            (quorum(5, 2), false, 6, false),
            (quorum(5, 2), false, 7, true),
            // Nothing alive is down, whatever hysteresis allows.
            (quorum(2, 2), true, 0, false),
            (quorum(2, 9), true, 1, true),
            (quorum(0, 0), false, 0, false),
            (quorum(0, 0), false, 1, true),
            (quorum(u32::MAX, u32::MAX - 1), false, 2 * u64::from(u32::MAX), true),
        ] {
            assert_eq!(quorum.met(was, live), is, "{quorum:?} {was} {live}");
        }
    }
}
