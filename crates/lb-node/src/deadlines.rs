//! One heap for every timer of the advertiser.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::InstanceId;

/// Lower bounds of the instances' deadlines, the earliest first.
///
/// A deadline that moves away, as with every advertisement a backup hears, leaves the heap alone:
/// when its old entry comes up, it is put in again. Who puts in keeps the time of the entry that
/// counts ([`Deadlines::arm`]'s `armed`); any other entry of that instance is stale.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<(Instant, InstanceId)>>);

impl Deadlines {
    /// Sees to it that the heap has an entry no later than `deadline`.
    pub(crate) fn arm(
        &mut self,
        id: InstanceId,
        deadline: Option<Instant>,
        armed: &mut Option<Instant>,
    ) {
        if let Some(at) = deadline.filter(|at| armed.is_none_or(|armed| *at < armed)) {
            self.0.push(Reverse((at, id)));
            *armed = Some(at);
        }
    }

    /// Takes the first entry if it is no later than `horizon`.
    pub(crate) fn pop(&mut self, horizon: Instant) -> Option<(Instant, InstanceId)> {
        self.first().filter(|at| *at <= horizon)?;
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// When the first entry comes up.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}
