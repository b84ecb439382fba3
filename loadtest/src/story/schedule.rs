//! Open loop: when things are meant to happen, whatever the server does.

use crate::clock::{Nanos, from_seconds};

/// Evenly spaced instants.
#[derive(Debug, Clone)]
pub struct Schedule {
    start: Nanos,
    per_second: f64,
    next: u64,
}

impl Schedule {
    /// From `start`, `per_second` times a second, above 0.
    pub fn new(start: Nanos, per_second: f64) -> Schedule {
        Schedule {
            start,
            per_second,
            next: 0,
        }
    }

    /// When the next is meant.
    pub fn due_at(&self) -> Nanos {
        self.start + from_seconds(self.next as f64 / self.per_second)
    }

    /// The next one's number and when it was meant, if that is not after `now`.
    pub fn take(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.due_at();
        if due > now {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MILLI, SECOND};

    #[test]
    fn lateness_does_not_move_what_was_meant() {
        let mut schedule = Schedule::new(SECOND, 100.0);
        assert_eq!(schedule.take(SECOND - 1), None);
        assert_eq!(schedule.take(SECOND), Some((0, SECOND)));
        assert_eq!(schedule.take(SECOND + MILLI), None);
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(SECOND + 35 * MILLI)).collect();
        let meant = |k: u64| (k, SECOND + k * 10 * MILLI);
        assert_eq!(late, [meant(1), meant(2), meant(3)]);
        assert_eq!(schedule.due_at(), SECOND + 40 * MILLI);
    }
}
