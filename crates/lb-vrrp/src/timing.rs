//! Timer arithmetic, in whole microseconds as keepalived does it: both ends must round alike.

use std::time::Duration;

use crate::types::{Priority, Version};

/// Skew_Time: the lower the priority, the longer. v2 ignores the interval. RFC 3768 §6.1,
/// RFC 9568 §6.1.
#[must_use]
pub fn skew_time(version: Version, priority: Priority, adver_int: Duration) -> Duration {
    let rank = 256 - u64::from(priority.0);
    Duration::from_micros(match version {
        Version::V2 => rank * 1_000_000 / 256,
        Version::V3 => rank * centiseconds(adver_int) * 625 / 16,
    })
}

/// Active_Down_Interval: silence after which a master is dead. RFC 9568 §6.1.
#[must_use]
pub fn master_down_interval(
    version: Version,
    priority: Priority,
    adver_int: Duration,
    down_timer_adverts: u32,
) -> Duration {
    adver_int * down_timer_adverts + skew_time(version, priority, adver_int)
}

/// The interval as v3 carries it.
pub(crate) fn centiseconds(interval: Duration) -> u64 {
    interval.as_secs() * 100 + u64::from(interval.subsec_millis()) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn skew_of_version_2_is_independent_of_the_interval() {
        // RFC 3768 §6.1: (256 - 100) / 256 s = 0.609375 s.
        let expected = Duration::from_micros(609_375);
        assert_eq!(skew_time(Version::V2, Priority(100), SECOND), expected);
        assert_eq!(skew_time(Version::V2, Priority(100), 5 * SECOND), expected);
        // (256 - 1) * 1000000 / 256 = 996093.75, cut off.
        assert_eq!(skew_time(Version::V2, Priority(1), SECOND), Duration::from_micros(996_093));
    }

    #[test]
    fn skew_of_version_3_is_a_part_of_the_interval() {
        // RFC 9568 §6.1: (256 - 100) * 10 cs / 256 = 6.09375 cs.
        let tenth = Duration::from_millis(100);
        assert_eq!(skew_time(Version::V3, Priority(100), tenth), Duration::from_micros(60_937));
        // (256 - 254) * 1 cs / 256 = 78.125 us, cut off.
        let shortest = Duration::from_millis(10);
        assert_eq!(skew_time(Version::V3, Priority(254), shortest), Duration::from_micros(78));
        // (256 - 1) * 4095 cs / 256 = 40.790039 s.
        let longest = Duration::from_millis(40_950);
        assert_eq!(skew_time(Version::V3, Priority(1), longest), Duration::from_micros(40_790_039));
    }

    #[test]
    fn a_master_is_dead_after_its_intervals_and_the_skew() {
        // 3 * 1 s + (256 - 128) / 256 s, in both versions.
        let expected = Duration::from_millis(3_500);
        assert_eq!(master_down_interval(Version::V2, Priority(128), SECOND, 3), expected);
        assert_eq!(master_down_interval(Version::V3, Priority(128), SECOND, 3), expected);
        assert_eq!(
            master_down_interval(Version::V3, Priority(128), SECOND, 1),
            Duration::from_millis(1_500)
        );
    }
}
