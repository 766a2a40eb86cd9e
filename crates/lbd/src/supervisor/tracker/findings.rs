//! What trackers have found and the supervisor has not passed on yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Kind;
use crate::advertiser::Observation;

type Key = (Kind, String);

/// At most one finding of each tracked thing: a newer one takes the place of one that still waits.
/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Key>,
    findings: BTreeMap<Key, Observation>,
}

impl Findings {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one in; never blocks.
    pub fn put(&self, finding: Observation) {
        let key = Kind::of(&finding);
        let mut waiting = self.waiting();
        if waiting.findings.insert(key.clone(), finding).is_none() {
            waiting.order.push_back(key);
        }
        drop(waiting);
        self.0.more.notify_one();
    }

    /// Takes the oldest, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Observation> {
        let mut waiting = self.waiting();
        let key = waiting.order.pop_front()?;
        waiting.findings.remove(&key)
    }

    /// Waits for one. Cancel safe; for one reader.
    pub async fn next(&self) -> Observation {
        loop {
            match self.take() {
                Some(finding) => return finding,
                None => self.0.more.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_last_finding_of_a_thing_waits() {
        let findings = Findings::default();
        let file = |name: &str, value| Observation::File { name: name.into(), value };
        for value in 0..1_000 {
            findings.put(file("a", value));
            findings.put(file("b", -value));
        }
        assert_eq!(findings.next().await, file("a", 999));
        assert_eq!(findings.next().await, file("b", -999));
        assert_eq!(findings.take(), None);
    }
}
