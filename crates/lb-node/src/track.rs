//! Tracked things: how often a script has to fail, and what that adds to the strength of an instance.
//!
//! Knows no protocol.

pub mod file;
pub mod process;

/// A script's verdict out of its results, with hysteresis: `rise` successes in a row make it up,
/// `fall` failures in a row down. The first result decides alone.
///
/// One counter from 0 to `rise + fall - 1`; from `rise` on the script is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    rise: u32,
    fall: u32,
    /// `None` before the first result, unless that is taken for a failure.
    counter: Option<u32>,
    /// It counts as failed and has neither failed nor risen yet.
    presumed: bool,
}

impl Script {
    /// A script without result; with `init_fail` it counts as failed until it has risen.
    /// `rise` and `fall` of 0 are taken for 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32, init_fail: bool) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            counter: init_fail.then_some(0),
            presumed: init_fail,
        }
    }

    /// `None` until the first result.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        self.counter.map(|counter| counter >= self.rise)
    }

    /// Whether it counts as failed although no run has: `init_fail`, until it fails or has risen.
    #[must_use]
    pub fn is_presumed(&self) -> bool {
        self.presumed
    }

    /// Takes the result of one run. `Some` when the verdict is another one now, or is no longer
    /// presumed.
    pub fn handle(&mut self, success: bool) -> Option<bool> {
        let before = (self.up(), self.presumed);
        let top = self.rise.saturating_add(self.fall) - 1;
        self.counter = Some(match (self.counter, success) {
            (None, true) => top,
            (None, false) => 0,
            (Some(counter), true) if counter + 1 >= self.rise => top,
            (Some(counter), true) => counter + 1,
            (Some(counter), false) if counter <= self.rise => 0,
            (Some(counter), false) => counter - 1,
        });
        self.presumed &= success && self.up() == Some(false);
        self.up().filter(|_| (self.up(), self.presumed) != before)
    }

    /// The same verdict under other thresholds, after a reload.
    #[must_use]
    pub fn with(&self, rise: u32, fall: u32) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        let counter = self.up().map(|up| if up { rise.saturating_add(fall) - 1 } else { 0 });
        Self { rise, fall, counter, presumed: self.presumed }
    }
}

/// What something tracked with a weight adds to the strength of an instance.
///
/// A positive weight counts while it is up, a negative one while it is down; `reverse` negates.
#[must_use]
pub fn contribution(weight: i16, reverse: bool, up: bool) -> i32 {
    let weight = i32::from(weight);
    let counts = if up { weight > 0 } else { weight < 0 };
    match (counts, reverse) {
        (false, _) => 0,
        (true, false) => weight,
        (true, true) => -weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verdicts after each result, `+` for success.
    fn verdicts(mut script: Script, results: &str) -> Vec<Option<bool>> {
        results
            .chars()
            .map(|result| {
                script.handle(result == '+');
                script.up()
            })
            .collect()
    }

    #[test]
    fn the_first_result_decides_alone() {
        assert_eq!(Script::new(3, 3, false).up(), None);
        assert_eq!(verdicts(Script::new(3, 3, false), "+"), [Some(true)]);
        assert_eq!(verdicts(Script::new(3, 3, false), "-"), [Some(false)]);
    }

    #[test]
    fn falling_and_rising_take_results_in_a_row() {
        let (up, down) = (Some(true), Some(false));
        assert_eq!(
            verdicts(Script::new(2, 3, false), "+--+---+-++"),
            [up, up, up, up, up, up, down, down, down, down, up]
        );
    }

    #[test]
    fn a_script_that_counts_as_failed_has_to_rise() {
        let script = Script::new(2, 1, true);
        assert_eq!(script.up(), Some(false));
        assert_eq!(verdicts(script, "++-"), [Some(false), Some(true), Some(false)]);
    }

    #[test]
    fn a_change_is_told_once() {
        let mut script = Script::new(1, 2, false);
        assert_eq!(script.handle(true), Some(true));
        assert_eq!(script.handle(true), None);
        assert_eq!(script.handle(false), None);
        assert_eq!(script.handle(false), Some(false));
    }

    #[test]
    fn other_thresholds_keep_the_verdict() {
        let mut script = Script::new(1, 1, false);
        script.handle(true);
        assert_eq!(verdicts(script.with(2, 2), "--"), [Some(true), Some(false)]);
        assert_eq!(Script::new(1, 1, false).with(5, 5).up(), None);
    }

    #[test]
    fn weights_count_up_when_positive_and_down_when_negative() {
        assert_eq!(contribution(20, false, true), 20);
        assert_eq!(contribution(20, false, false), 0);
        assert_eq!(contribution(-20, false, true), 0);
        assert_eq!(contribution(-20, false, false), -20);
        assert_eq!(contribution(20, true, true), -20);
        assert_eq!(contribution(-20, true, false), 20);
        assert_eq!(contribution(0, false, false), 0);
    }
}
