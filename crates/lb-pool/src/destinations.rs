//! The destinations of a service.
//!
//! Tens of thousands are made, compared and thrown away at each reload, and most services have a
//! handful. So those of a service stand in one allocation, sorted. The order in which they came is
//! kept beside it where it is another: schedulers that hash take destinations in the order in which
//! the kernel got them, and two directors send a client to the same one only if both orders agree.

use serde::{Serialize, Serializer};

use crate::table::{Destination, DestinationKey};

/// Destinations of a service by key, each with what it is set to: in the words of the table, or in
/// those of a dataplane.
///
/// Equal are those that have the same in any order.
#[derive(Clone, Debug)]
pub struct Destinations<D = Destination> {
    sorted: Vec<(DestinationKey, D)>,
    /// Places in `sorted`, in the order in which they came; empty where that is the order of keys.
    came: Vec<u32>,
}

/// A service has fewer than 2^32 of them.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl<D> Destinations<D> {
    /// All of `all`. Of those with the same key the first stays, as `join` makes it with each of the
    /// others in turn.
    #[must_use]
    pub fn joined(mut all: Vec<(DestinationKey, D)>, mut join: impl FnMut(&mut D, D)) -> Self
    where
        D: Copy,
    {
        let mut keys = Vec::new();
        if !all.is_sorted_by_key(|(key, _)| *key) {
            keys.extend(all.iter().map(|(key, _)| *key));
            all.sort_by_key(|(key, _)| *key);
        }
        all.dedup_by(|(key, more), (kept, settings)| {
            let same = key == kept;
            if same {
                join(settings, *more);
            }
            same
        });
        let mut joined = Self { sorted: all, came: Vec::new() };
        let mut seen = vec![false; joined.sorted.len()];
        for key in keys {
            let at = joined.position(&key).unwrap_or_default();
            if !std::mem::replace(&mut seen[at], true) {
                joined.came.push(place(at));
            }
        }
        joined
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> std::slice::Iter<'_, (DestinationKey, D)> {
        self.sorted.iter()
    }

    /// All, in the order in which they came.
    pub fn as_they_came(&self) -> impl Iterator<Item = &(DestinationKey, D)> {
        let sorted = if self.came.is_empty() { &self.sorted[..] } else { &[] };
        sorted.iter().chain(self.came.iter().map(|&at| &self.sorted[at as usize]))
    }

    /// Number of destinations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// What the destination is set to.
    #[must_use]
    pub fn get(&self, key: &DestinationKey) -> Option<&D> {
        self.position(key).ok().map(|at| &self.sorted[at].1)
    }

    /// Adds a destination, unless it is there already. Says whether it did.
    pub fn add(&mut self, key: DestinationKey, settings: D) -> bool {
        let place = self.position(&key);
        if let Err(at) = place {
            self.insert(at, key, settings);
        }
        place.is_err()
    }

    /// Sets a destination, if it is there. Says whether it did.
    pub fn edit(&mut self, key: &DestinationKey, settings: D) -> bool {
        let place = self.position(key);
        if let Ok(at) = place {
            self.sorted[at].1 = settings;
        }
        place.is_ok()
    }

    /// Adds a destination, or sets the one that is there.
    pub fn set(&mut self, key: DestinationKey, settings: D) {
        match self.position(&key) {
            Ok(at) => self.sorted[at].1 = settings,
            Err(at) => self.insert(at, key, settings),
        }
    }

    /// Removes a destination, if it is there. Says whether it did.
    pub fn remove(&mut self, key: &DestinationKey) -> bool {
        let place = self.position(key);
        if let Ok(at) = place {
            self.sorted.remove(at);
            self.came.retain(|&other| other as usize != at);
            self.came
                .iter_mut()
                .filter(|other| **other as usize > at)
                .for_each(|other| *other -= 1);
        }
        place.is_ok()
    }

    fn insert(&mut self, at: usize, key: DestinationKey, settings: D) {
        let last = self.sorted.len();
        if self.came.is_empty() && at < last {
            self.came.extend((0..last).map(place));
        }
        if !self.came.is_empty() || at < last {
            self.came
                .iter_mut()
                .filter(|other| **other as usize >= at)
                .for_each(|other| *other += 1);
            self.came.push(place(at));
        }
        self.sorted.insert(at, (key, settings));
    }

    fn position(&self, key: &DestinationKey) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(key, |(key, _)| *key)
    }
}

impl<D> Default for Destinations<D> {
    fn default() -> Self {
        Self { sorted: Vec::new(), came: Vec::new() }
    }
}

impl<D: PartialEq> PartialEq for Destinations<D> {
    fn eq(&self, other: &Self) -> bool {
        self.sorted == other.sorted
    }
}

impl<D: Eq> Eq for Destinations<D> {}

impl<D: Serialize> Serialize for Destinations<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sorted.serialize(serializer)
    }
}

/// Of two with the same key the first stays.
impl<D: Copy> FromIterator<(DestinationKey, D)> for Destinations<D> {
    fn from_iter<T: IntoIterator<Item = (DestinationKey, D)>>(all: T) -> Self {
        Self::joined(all.into_iter().collect(), |_, _| {})
    }
}

impl<D> IntoIterator for Destinations<D> {
    type Item = (DestinationKey, D);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted.into_iter()
    }
}

impl<'d, D> IntoIterator for &'d Destinations<D> {
    type Item = &'d (DestinationKey, D);
    type IntoIter = std::slice::Iter<'d, (DestinationKey, D)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn key(last: u8) -> DestinationKey {
        DestinationKey { address: IpAddr::from([10, 0, 0, last]), port: 80 }
    }

    fn of(all: &[(u8, u32)]) -> Vec<(DestinationKey, u32)> {
        all.iter().map(|(last, weight)| (key(*last), *weight)).collect()
    }

    #[test]
    fn they_are_sorted_and_the_first_of_a_key_stays() {
        let all: Destinations<u32> =
            of(&[(3, 30), (1, 10), (3, 31), (2, 20), (1, 11)]).into_iter().collect();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), of(&[(1, 10), (2, 20), (3, 30)]));
    }

    #[test]
    fn the_order_in_which_they_came_is_kept() {
        let came =
            |all: &Destinations<u32>| all.as_they_came().map(|(_, n)| *n).collect::<Vec<_>>();
        let mut all: Destinations<u32> =
            [(key(5), 5), (key(2), 2), (key(5), 9), (key(7), 7)].into_iter().collect();
        assert_eq!(came(&all), [5, 2, 7]);
        all.set(key(1), 1);
        all.add(key(9), 9);
        assert_eq!(came(&all), [5, 2, 7, 1, 9]);
        assert!(all.remove(&key(2)));
        assert_eq!(came(&all), [5, 7, 1, 9]);
        let sorted: Destinations<u32> = all.iter().copied().collect();
        assert_eq!((came(&sorted), &sorted), (vec![1, 5, 7, 9], &all));
        let mut last = sorted;
        last.set(key(10), 10);
        last.set(key(3), 3);
        assert_eq!(came(&last), [1, 5, 7, 9, 10, 3]);
    }

    #[test]
    fn those_of_a_key_are_joined_in_their_order() {
        let all = of(&[(2, 1), (1, 7), (2, 2), (2, 3)]);
        let all = Destinations::joined(all, |kept, more| *kept = *kept * 10 + more);
        assert_eq!(all.into_iter().collect::<Vec<_>>(), of(&[(1, 7), (2, 123)]));
    }

    #[test]
    fn each_change_says_whether_it_was_one() {
        let mut all: Destinations<u32> = of(&[(1, 10), (3, 30)]).into_iter().collect();
        assert!(all.add(key(2), 20) && !all.add(key(2), 21));
        assert!(all.edit(&key(3), 31) && !all.edit(&key(4), 40));
        assert!(all.remove(&key(1)) && !all.remove(&key(1)));
        all.set(key(2), 22);
        all.set(key(4), 40);
        assert_eq!((all.get(&key(4)), all.get(&key(1)), all.len()), (Some(&40), None, 3));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), of(&[(2, 22), (3, 31), (4, 40)]));
    }
}
