//! Which priority stands at which offset of a room, so that what was dropped can be told by priority.

use serde::{Deserialize, Serialize};

use super::variant::CLASSES;

/// Most offsets remembered in all rooms together; what lies beyond is in no priority's account.
const OFFSETS_MAX: usize = 4_000_000;
const UNKNOWN: u8 = u8::MAX;

/// Messages by priority, in the order of [`CLASSES`].
pub(super) type ByClass = [u64; CLASSES.len()];

/// One room's offsets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Offsets up to here are not ours.
    base: u64,
    limit: usize,
    classes: Vec<u8>,
    /// Times told, as differences: at an offset, how many more members were told of it than of the one
    /// before.
    told: Vec<i64>,
}

impl Ledger {
    /// An empty ledger for offsets after `base`, one of `rooms`.
    pub(super) fn new(base: u64, rooms: usize) -> Ledger {
        Ledger {
            base,
            limit: OFFSETS_MAX / rooms.max(1),
            ..Ledger::default()
        }
    }

    fn place(&self, offset: u64) -> Option<usize> {
        let at = usize::try_from(offset.checked_sub(self.base)?.checked_sub(1)?).ok()?;
        (at < self.limit).then_some(at)
    }

    /// A message of `class` stands at `offset`.
    pub(super) fn note(&mut self, offset: u64, class: usize) {
        if let Some(at) = self.place(offset) {
            if self.classes.len() <= at {
                self.classes.resize(at + 1, UNKNOWN);
            }
            self.classes[at] = u8::try_from(class).unwrap_or(UNKNOWN);
        }
    }

    /// One member was told that it was not sent `from` to `to`.
    pub(super) fn told(&mut self, from: u64, to: u64) {
        let Some(first) = self.place(from.max(self.base + 1)) else {
            return;
        };
        self.step(first, 1);
        if let Some(end) = self.place(to.saturating_add(1)) {
            self.step(end, -1);
        }
    }

    fn step(&mut self, at: usize, by: i64) {
        if self.told.len() <= at {
            self.told.resize(at + 1, 0);
        }
        self.told[at] += by;
    }

    /// Adds what another process of the same run knows of the room.
    pub(super) fn pool(&mut self, other: &Ledger) {
        for (at, class) in other.classes.iter().enumerate().filter(|(_, c)| **c != UNKNOWN) {
            self.note(other.base + 1 + at as u64, usize::from(*class));
        }
        for (at, by) in other.told.iter().enumerate().filter(|(_, by)| **by != 0) {
            if let Some(at) = self.place(other.base + 1 + at as u64) {
                self.step(at, *by);
            }
        }
    }

    /// What members were told they were not sent, each counted once per member.
    pub(super) fn told_by_class(&self) -> ByClass {
        let mut sums = ByClass::default();
        let mut members = 0_i64;
        for (at, class) in self.classes.iter().enumerate() {
            members += self.told.get(at).copied().unwrap_or(0);
            if let Some(sum) = sums.get_mut(usize::from(*class)) {
                *sum += u64::try_from(members).unwrap_or(0);
            }
        }
        sums
    }

    /// The messages at `from` to `to`.
    pub(super) fn count(&self, from: u64, to: u64) -> ByClass {
        let mut sums = ByClass::default();
        let first = self.place(from.max(self.base + 1)).unwrap_or(self.classes.len());
        let beyond = to.saturating_sub(self.base);
        let end = usize::try_from(beyond)
            .unwrap_or(usize::MAX)
            .min(self.classes.len());
        for class in self.classes.get(first..end).unwrap_or_default() {
            if let Some(sum) = sums.get_mut(usize::from(*class)) {
                *sum += 1;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_found_by_priority_in_one_ledger_or_two() {
        let mut one = Ledger::new(10, 1);
        let (mut a, mut b) = (one.clone(), Ledger::new(12, 1));
        // 11 to 20: normal, low, high, normal, …
        for offset in 11..=20_u64 {
            let class = usize::try_from((offset - 11) % 3).unwrap();
            one.note(offset, class);
            if offset % 2 == 0 { &mut b } else { &mut a }.note(offset, class);
        }
        a.note(12, 1);
        for (from, to, other) in [(12, 14, false), (13, 13, true), (19, 30, false), (3, 11, false)] {
            one.told(from, to);
            if other { &mut b } else { &mut a }.told(from, to);
        }
        // 12 low, 13 high, 14 normal; 13 high; 19 high, 20 normal; 11 normal.
        assert_eq!(one.told_by_class(), [3, 1, 3]);
        a.pool(&b);
        assert_eq!(a, one);
        assert_eq!(one.count(11, 13), [1, 1, 1]);
        assert_eq!(one.count(0, 99), [4, 3, 3]);
        assert_eq!(one.count(30, 40), [0, 0, 0]);
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut ledger = Ledger::new(0, OFFSETS_MAX / 2);
        ledger.note(2, 0);
        ledger.note(3, 0);
        ledger.told(3, 9);
        assert_eq!((ledger.classes.len(), ledger.told.len()), (2, 0));
    }
}
