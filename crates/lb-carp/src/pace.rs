//! Timer arithmetic, in whole microseconds as everybody does it: both ends must round alike.

use std::fmt;
use std::time::Duration;

/// How often a node advertises: whole seconds and 256ths. What decides who is MASTER is the
/// interval they make, not either alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Seconds.
    pub advbase: u8,
    /// 256ths of a second.
    pub advskew: u8,
}

impl Pace {
    /// What a master says that stops: an interval so long that everybody else is better.
    pub const BOW_OUT: Self = Self { advbase: 255, advskew: 255 };

    /// Between two advertisements; of 0 and 0 a 256th of a second, as OpenBSD has it.
    #[must_use]
    pub fn interval(self) -> Duration {
        match (self.advbase, self.advskew) {
            (0, 0) => skew(1),
            (advbase, advskew) => Duration::from_secs(advbase.into()) + skew(advskew.into()),
        }
    }

    /// Silence after which a master is dead: `dead_ratio` times advbase, and advskew once. Of
    /// advbase 0 it is `dead_ratio` intervals, as OpenBSD has it.
    #[must_use]
    pub fn master_down(self, dead_ratio: u8) -> Duration {
        match self.advbase {
            0 => self.interval() * u32::from(dead_ratio),
            advbase => {
                Duration::from_secs(u64::from(advbase) * u64::from(dead_ratio))
                    + skew(self.advskew.into())
            }
        }
    }
}

fn skew(advskew: u64) -> Duration {
    Duration::from_micros(advskew * 1_000_000 / 256)
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { advbase, advskew } = self;
        write!(f, "{:.3} s (advbase {advbase}, advskew {advskew})", self.interval().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(advbase: u8, advskew: u8) -> Pace {
        Pace { advbase, advskew }
    }

    #[test]
    fn an_interval_is_seconds_and_256ths() {
        // 100 × 1000000 / 256 = 390625; 20: 78125, both as seen of ucarp.
        assert_eq!(pace(1, 100).interval(), Duration::from_micros(1_390_625));
        assert_eq!(pace(1, 20).interval(), Duration::from_micros(1_078_125));
        // 255 × 1000000 / 256 = 996093.75, cut off.
        assert_eq!(Pace::BOW_OUT.interval(), Duration::from_micros(255_996_093));
        assert_eq!(pace(0, 0).interval(), Duration::from_micros(3_906));
        assert_eq!(pace(0, 1).interval(), Duration::from_micros(3_906));
    }

    #[test]
    fn a_master_is_dead_after_its_seconds_and_one_skew() {
        assert_eq!(pace(1, 100).master_down(3), Duration::from_micros(3_390_625));
        assert_eq!(pace(2, 0).master_down(5), Duration::from_secs(10));
        assert_eq!(pace(0, 128).master_down(3), Duration::from_millis(1_500));
        assert_eq!(pace(0, 0).master_down(3), Duration::from_micros(3 * 3_906));
    }

    #[test]
    fn it_says_what_it_is_made_of() {
        assert_eq!(pace(1, 100).to_string(), "1.391 s (advbase 1, advskew 100)");
    }
}
