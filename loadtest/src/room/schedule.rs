//! When messages are due: open loops on fixed schedules, one for each group of rooms.

use std::ops::Range;

use super::layout::Layout;
use crate::clock::{self, Nanos};

/// The schedule of rooms that get the same rate.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    start: Nanos,
    rooms: Range<usize>,
    /// Messages in a second, all its rooms together.
    per_second: f64,
    /// Messages decided so far.
    next: u64,
}

/// A message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub at: Nanos,
    /// Who sends it, by number in the run.
    pub member: usize,
    /// The how manieth of its room it is.
    pub turn: u64,
}

impl Schedule {
    /// Each of `rooms` gets `per_second` messages a second, beginning at `start`.
    pub(super) fn new(start: Nanos, rooms: Range<usize>, per_second: f64) -> Schedule {
        Schedule {
            start,
            per_second: per_second * rooms.len() as f64,
            rooms,
            next: 0,
        }
    }

    /// When the next message is due.
    pub(super) fn due_at(&self) -> Nanos {
        self.start + clock::from_seconds(self.next as f64 / self.per_second)
    }

    /// The next message: rooms in turn, and within a room its publishers in turn.
    pub(super) fn take(&mut self, layout: &Layout) -> Due {
        let at = self.due_at();
        let rooms = self.rooms.len().max(1) as u64;
        let (place, turn) = (self.next % rooms, self.next / rooms);
        self.next += 1;
        let room = self.rooms.start + usize::try_from(place).unwrap_or(0);
        let publisher = turn % layout.publishers(room) as u64;
        Due {
            at,
            member: layout.first(room) + usize::try_from(publisher).unwrap_or(0),
            turn,
        }
    }
}
