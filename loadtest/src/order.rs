//! What one member has seen of one room: by offset, so that loss, duplication and reordering are told
//! apart exactly, for a comparison per frame in the common case.

use serde::{Deserialize, Serialize};

/// Most separate holes remembered per member; older ones are counted as missing for good.
const HOLES_MAX: usize = 1_024;

/// How an offset relates to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The next one.
    InOrder,
    /// Beyond the next one: this many are missing before it.
    Ahead(u64),
    /// One that was missing, after a later one.
    Late,
    /// One that was here before.
    Duplicate,
    /// Older than what is remembered: late or a duplicate.
    Unclear,
}

/// The offsets one connection has received of one room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    next: u64,
    /// Missing ranges, both ends included, ascending; empty unless something is wrong.
    holes: Vec<(u64, u64)>,
    /// Offsets up to here are no longer told apart; 0 while all are.
    forgotten_to: u64,
    missing_for_good: u64,
}

impl Order {
    /// After `base`, the newest offset when the member joined.
    pub fn after(base: u64) -> Order {
        Order {
            next: base.saturating_add(1),
            holes: Vec::new(),
            forgotten_to: 0,
            missing_for_good: 0,
        }
    }

    /// The offset expected next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Notes an offset.
    pub fn observe(&mut self, offset: u64) -> Seen {
        if offset == self.next {
            self.next += 1;
            return Seen::InOrder;
        }
        if offset > self.next {
            let missing = offset - self.next;
            self.dig(self.next, offset - 1);
            self.next = offset.saturating_add(1);
            return Seen::Ahead(missing);
        }
        if offset <= self.forgotten_to {
            Seen::Unclear
        } else if self.fill(offset, offset, &mut |_, _| ()) == 1 {
            Seen::Late
        } else {
            Seen::Duplicate
        }
    }

    /// Notes that the server said it dropped `from` to `to` for this member. Returns how many of them
    /// had not arrived.
    pub fn told(&mut self, from: u64, to: u64) -> u64 {
        self.told_each(from, to, |_, _| ())
    }

    /// The same; `each` is given the ranges of those that had not arrived, both ends included.
    pub fn told_each(&mut self, from: u64, to: u64, mut each: impl FnMut(u64, u64)) -> u64 {
        if to < from {
            return 0;
        }
        let mut told = self.fill(from, to, &mut each);
        if to >= self.next {
            if from > self.next {
                self.dig(self.next, from - 1);
            }
            let first = from.max(self.next);
            told += to - first + 1;
            each(first, to);
            self.next = to.saturating_add(1);
        }
        told
    }

    /// Offsets up to `top` that neither arrived nor were told.
    pub fn missing(&self, top: u64) -> u64 {
        let holes: u64 = self.holes.iter().map(|(a, b)| b - a + 1).sum();
        holes + self.missing_for_good + (top.saturating_add(1)).saturating_sub(self.next)
    }

    /// Offsets that are missing before one that arrived or was told.
    pub fn holes(&self) -> u64 {
        self.missing(self.next.saturating_sub(1))
    }

    /// The same as ranges, both ends included; without those too old to be remembered.
    pub fn missing_ranges(&self, top: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let tail = (self.next <= top).then_some((self.next, top));
        self.holes.iter().copied().chain(tail)
    }

    fn dig(&mut self, from: u64, to: u64) {
        if self.holes.len() >= HOLES_MAX {
            let (a, b) = self.holes.remove(0);
            self.missing_for_good += b - a + 1;
            self.forgotten_to = b;
        }
        self.holes.push((from, to));
    }

    /// Takes what is missing of `from..=to` out of the holes, counts it and gives its ranges to `each`.
    fn fill(&mut self, from: u64, to: u64, each: &mut impl FnMut(u64, u64)) -> u64 {
        let mut filled = 0;
        let mut at = self.holes.partition_point(|(_, end)| *end < from);
        while let Some(&(a, b)) = self.holes.get(at) {
            if a > to {
                break;
            }
            let (left, right) = (a.max(from), b.min(to));
            filled += right - left + 1;
            each(left, right);
            match (a < left, right < b) {
                (false, false) => {
                    self.holes.remove(at);
                }
                (true, false) => {
                    self.holes[at].1 = left - 1;
                    at += 1;
                }
                (false, true) => {
                    self.holes[at].0 = right + 1;
                    at += 1;
                }
                (true, true) => {
                    self.holes[at].1 = left - 1;
                    self.holes.insert(at + 1, (right + 1, b));
                    at += 2;
                }
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_stream() {
        let mut order = Order::after(10);
        for offset in 11..1_000 {
            assert_eq!(order.observe(offset), Seen::InOrder);
        }
        assert_eq!((order.next(), order.missing(999)), (1_000, 0));
        assert_eq!(order.missing(1_003), 4, "the tail is missing too");
    }

    #[test]
    fn loss_lateness_and_duplication_are_told_apart() {
        let mut order = Order::after(0);
        assert_eq!(order.observe(1), Seen::InOrder);
        assert_eq!(order.observe(5), Seen::Ahead(3));
        assert_eq!(order.observe(3), Seen::Late);
        assert_eq!(order.observe(3), Seen::Duplicate);
        assert_eq!(order.observe(5), Seen::Duplicate);
        assert_eq!(order.missing(5), 2);
        assert_eq!(order.observe(2), Seen::Late);
        assert_eq!(order.observe(4), Seen::Late);
        assert_eq!(order.missing(5), 0);
    }

    #[test]
    fn what_the_server_tells_is_not_missing() {
        let mut order = Order::after(0);
        assert_eq!(order.told(1, 3), 3);
        assert_eq!(order.observe(4), Seen::InOrder);
        assert_eq!(order.told(7, 8), 2, "5 and 6 remain a silent hole");
        assert_eq!(order.missing(8), 2);
        assert_eq!(order.told(4, 6), 2, "told afterwards; 4 had arrived");
        assert_eq!(order.missing(8), 0);
        assert_eq!(order.told(9, 8), 0);
        order.observe(10);
        order.observe(12);
        assert_eq!(
            order.missing_ranges(14).collect::<Vec<_>>(),
            [(9, 9), (11, 11), (13, 14)]
        );
        let mut ranges = Vec::new();
        assert_eq!(order.told_each(8, 13, |a, b| ranges.push((a, b))), 3);
        assert_eq!(ranges, [(9, 9), (11, 11), (13, 13)]);
    }

    #[test]
    fn memory_of_holes_is_bounded_and_loses_no_count() {
        let mut order = Order::after(0);
        let top = 10_000;
        for offset in (2..=top).step_by(2) {
            order.observe(offset);
        }
        assert_eq!(order.holes.len(), HOLES_MAX);
        assert_eq!(order.missing(top), top / 2);
        assert_eq!(order.observe(1), Seen::Unclear);
        assert_eq!(order.observe(top - 1), Seen::Late);
        assert_eq!(order.missing(top), top / 2 - 1);
    }
}
