//! One stay of a connection in a room, from the answer to `join` on: what of the sequence it has seen (R3,
//! R4, R5).

use super::report::Place;

/// Most ranges that are missing or were told which one stay remembers; older ones are forgotten first, and
/// what arrives in those counts as a duplicate.
const RANGES_MAX: usize = 4_096;

/// Offsets a stay has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) from: u64,
    pub(super) to: u64,
    /// A `gap` said so. Otherwise `at` is the message that showed the hole.
    pub(super) told: bool,
    pub(super) at: Place,
}

/// What is wrong with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// After a later one: it was missing until now.
    Late,
    /// A gap had said that it was dropped.
    AfterGap,
    /// A second time.
    Twice,
    /// From before the position the stay was to go on from.
    BeforeStart,
}

/// What is wrong with a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongGap {
    /// First above last.
    Reversed,
    /// It is about offsets this stay has passed.
    Late,
}

/// Values last told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) version: u64,
    pub(super) viewers: u64,
    pub(super) counters: Vec<(u32, u64)>,
    pub(super) at: Option<Place>,
}

#[derive(Debug)]
pub(super) struct Stay {
    /// Room and epoch.
    pub(super) life: u32,
    /// The answer to `join`.
    pub(super) joined: Place,
    /// The client asked to leave: it need not be sent anything more.
    pub(super) leaving: bool,
    pub(super) told: Told,
    start: u64,
    next: u64,
    missing: Vec<Missing>,
    /// Untold ranges that were forgotten because there were too many.
    pub(super) forgotten: Vec<Missing>,
}

impl Stay {
    /// A stay that goes on after `position`.
    pub(super) fn after(position: u64, life: u32, joined: Place) -> Stay {
        Stay {
            life,
            joined,
            leaving: false,
            told: Told::default(),
            start: position,
            next: position.saturating_add(1),
            missing: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    /// The newest offset that was seen, or told to be missing.
    pub(super) fn position(&self) -> u64 {
        self.next - 1
    }

    /// A message arrives.
    pub(super) fn message(&mut self, offset: u64, at: Place) -> Result<(), Wrong> {
        if offset >= self.next {
            if offset > self.next {
                self.miss(self.next, offset - 1, false, at);
            }
            self.next = offset.saturating_add(1);
            return Ok(());
        }
        let Some(range) = self
            .missing
            .iter()
            .rposition(|m| m.from <= offset && offset <= m.to)
        else {
            return Err(if offset <= self.start {
                Wrong::BeforeStart
            } else {
                Wrong::Twice
            });
        };
        let was = self.missing.remove(range);
        if was.from < offset {
            self.missing.push(Missing {
                to: offset - 1,
                ..was
            });
        }
        if was.to > offset {
            self.missing.push(Missing {
                from: offset + 1,
                ..was
            });
        }
        Err(if was.told { Wrong::AfterGap } else { Wrong::Late })
    }

    /// A gap is told.
    pub(super) fn gap(&mut self, first: u64, last: u64, at: Place) -> Result<(), WrongGap> {
        if first > last {
            return Err(WrongGap::Reversed);
        }
        if first < self.next {
            self.next = self.next.max(last.saturating_add(1));
            return Err(WrongGap::Late);
        }
        if first > self.next {
            self.miss(self.next, first - 1, false, at);
        }
        self.miss(first, last, true, at);
        self.next = last.saturating_add(1);
        Ok(())
    }

    /// The stay is to be at `offset` by now: what it has not seen until there is missing.
    pub(super) fn reach(&mut self, offset: u64, at: Place) {
        if offset >= self.next {
            self.miss(self.next, offset, false, at);
            self.next = offset.saturating_add(1);
        }
    }

    /// What was never seen and never told.
    pub(super) fn holes(&self) -> impl Iterator<Item = Missing> + '_ {
        let kept = self.missing.iter().filter(|m| !m.told);
        self.forgotten.iter().chain(kept).copied()
    }

    fn miss(&mut self, from: u64, to: u64, told: bool, at: Place) {
        if self.missing.len() >= RANGES_MAX {
            let oldest = self.missing.remove(0);
            if !oldest.told {
                self.forgotten.push(oldest);
            }
        }
        self.missing.push(Missing { from, to, told, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64) -> Place {
        Place::new(0, line)
    }

    fn holes(stay: &Stay) -> Vec<(u64, u64)> {
        stay.holes().map(|m| (m.from, m.to)).collect()
    }

    #[test]
    fn holes_gaps_and_repeats_are_told_apart() {
        let mut stay = Stay::after(10, 0, at(1));
        assert_eq!(stay.message(11, at(2)), Ok(()));
        assert_eq!(stay.message(11, at(3)), Err(Wrong::Twice));
        assert_eq!(stay.message(10, at(3)), Err(Wrong::BeforeStart));
        assert_eq!(stay.message(15, at(4)), Ok(()));
        assert_eq!(stay.message(13, at(5)), Err(Wrong::Late));
        assert_eq!(stay.message(13, at(6)), Err(Wrong::Twice));
        assert_eq!(holes(&stay), [(12, 12), (14, 14)]);
        assert_eq!(stay.gap(16, 18, at(7)), Ok(()));
        assert_eq!(stay.message(17, at(8)), Err(Wrong::AfterGap));
        assert_eq!(stay.gap(14, 14, at(9)), Err(WrongGap::Late));
        assert_eq!(stay.gap(21, 20, at(9)), Err(WrongGap::Reversed));
        assert_eq!(stay.gap(20, 21, at(9)), Ok(()));
        assert_eq!(holes(&stay), [(12, 12), (14, 14), (19, 19)]);
        assert_eq!(stay.position(), 21);
        stay.reach(23, at(10));
        assert_eq!(holes(&stay).last(), Some(&(22, 23)));
        assert_eq!(stay.message(u64::MAX, at(11)), Ok(()));
    }

    #[test]
    fn what_is_forgotten_is_still_a_hole() {
        let mut stay = Stay::after(0, 0, at(1));
        let n = RANGES_MAX as u64 + 10;
        for i in 1..=n {
            assert_eq!(stay.message(2 * i, at(i)), Ok(()));
        }
        assert_eq!(stay.holes().count() as u64, n);
    }
}
