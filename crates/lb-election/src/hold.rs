//! How long a master that hands over holds the addresses.

use std::time::Duration;

/// How long a master that stops waits for its successor before it lets go all the same: 9/8 of its
/// advertisement `interval`, at least a second and at most `master_down`, after which a successor
/// that missed the word would have taken over by itself.
#[must_use]
pub fn hold_time(interval: Duration, master_down: Duration) -> Duration {
    (interval * 9 / 8).max(Duration::from_secs(1)).min(master_down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_has_an_interval_and_an_eighth_within_reason() {
        let ms = Duration::from_millis;
        assert_eq!(hold_time(ms(1_000), ms(3_500)), ms(1_125));
        assert_eq!(hold_time(ms(8_000), ms(27_500)), ms(9_000));
        // Not so long that silence alone would have brought a successor.
        assert_eq!(hold_time(ms(10), ms(35)), ms(35));
        assert_eq!(hold_time(ms(500), ms(1_750)), ms(1_000));
    }
}
