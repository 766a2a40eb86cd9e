//! Checks that cannot be made for a reason of this host, such as a lack of file descriptors: told when
//! it begins and, with a count, when it is over.

use std::collections::BTreeMap;

use tracing::{info, warn};

/// What is amiss now, by its reason.
#[derive(Debug, Default)]
pub(super) struct Shortages(BTreeMap<Box<str>, Shortage>);

#[derive(Debug, Default)]
struct Shortage {
    /// Checkers whose last run was left out for this reason.
    checkers: usize,
    /// Runs left out since it began.
    runs: u64,
}

/// What one checker waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lack(Option<Box<str>>);

impl Shortages {
    /// Takes a run that could not be made. `who` names its checker.
    pub fn left_out(&mut self, lack: &mut Lack, reason: &str, who: impl FnOnce() -> String) {
        if lack.0.as_deref() != Some(reason) {
            self.over(lack);
            lack.0 = Some(reason.into());
            let shortage = self.0.entry(reason.into()).or_default();
            shortage.checkers += 1;
            if shortage.checkers == 1 {
                let who = who();
                warn!(
                    "{who} cannot run, as perhaps others: {reason}; it says nothing about its server, \
                     and is tried again"
                );
            }
        }
        if let Some(shortage) = self.0.get_mut(reason) {
            shortage.runs += 1;
        }
    }

    /// Takes a run that was made, or that nobody will make again. Returns how many were left out in
    /// all, where this ends it.
    pub fn over(&mut self, lack: &mut Lack) -> Option<u64> {
        let reason = lack.0.take()?;
        let shortage = self.0.get_mut(&reason)?;
        shortage.checkers = shortage.checkers.saturating_sub(1);
        if shortage.checkers > 0 {
            return None;
        }
        let runs = shortage.runs;
        self.0.remove(&reason);
        info!("checks run again; {runs} were left out: {reason}");
        Some(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_once_and_is_over_with_its_last_checker() {
        let mut shortages = Shortages::default();
        let [mut one, mut two] = [Lack::default(), Lack::default()];
        let told = std::cell::Cell::new(0);
        let who = || {
            told.set(told.get() + 1);
            "TCP_CHECK".to_owned()
        };
        for _ in 0..5 {
            shortages.left_out(&mut one, "no descriptors", who);
            shortages.left_out(&mut two, "no descriptors", who);
        }
        assert_eq!(told.get(), 1);
        assert_eq!(shortages.over(&mut one), None);
        assert_eq!(shortages.over(&mut one), None, "once is enough");
        assert_eq!(shortages.over(&mut two), Some(10));
        // Another spell, and another reason in its course.
        shortages.left_out(&mut one, "no descriptors", who);
        shortages.left_out(&mut one, "no memory", who);
        assert_eq!(told.get(), 3);
        assert_eq!(shortages.over(&mut one), Some(1));
        assert!(shortages.0.is_empty());
    }
}
