//! When each member first saw a value that holds a like: pushes and acknowledgements noted as they come and
//! matched at the end, since a push may overtake the acknowledgement of a like that is in it.

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::error::Result;
use crate::latency::Latency;

/// Most pushes noted, 16 bytes each; what comes after is counted and not in the latencies.
const NOTED_MAX: usize = 8_000_000;
/// Most likes noted.
const LIKES_MAX: usize = 2_000_000;

/// An acknowledged like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Liked {
    pub room: usize,
    /// The counter's value after it.
    pub value: u64,
    pub intended_at: Nanos,
    pub answered_at: Nanos,
}

/// What members saw, and what they should have.
#[derive(Debug)]
pub(super) struct Views {
    per_room: usize,
    /// Per member: value and time of each push that raised it.
    seen: Vec<Vec<(u64, Nanos)>>,
    noted: usize,
    likes: Vec<Liked>,
    /// Pushes or likes beyond what is noted.
    pub unnoted: u64,
}

/// The latencies of likes, over all members of their rooms.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spans {
    /// From the intended like to the push that holds it.
    pub from_intended: Latency,
    /// From its acknowledgement; 0 when the push was first.
    pub from_answer: Latency,
    /// Likes times members for which no push came.
    pub unseen: u64,
}

impl Views {
    /// For `rooms` of `per_room` members, numbered room by room.
    pub(super) fn new(rooms: usize, per_room: usize) -> Views {
        Views {
            per_room,
            seen: vec![Vec::new(); rooms * per_room],
            noted: 0,
            likes: Vec::new(),
            unnoted: 0,
        }
    }

    /// A member was told `value`.
    pub(super) fn saw(&mut self, member: usize, value: u64, at: Nanos) {
        let Some(seen) = self.seen.get_mut(member) else {
            return;
        };
        if seen.last().is_some_and(|(v, _)| *v >= value) {
            return;
        }
        if self.noted >= NOTED_MAX {
            self.unnoted += 1;
            return;
        }
        self.noted += 1;
        seen.push((value, at));
    }

    /// A like of the measured span was acknowledged.
    pub(super) fn liked(&mut self, like: Liked) {
        if self.likes.len() >= LIKES_MAX {
            self.unnoted += 1;
        } else {
            self.likes.push(like);
        }
    }

    /// Matches both. Members that `counts` does not name are left out.
    pub(super) fn spans(&self, counts: impl Fn(usize) -> bool) -> Result<Spans> {
        let mut spans = Spans {
            from_intended: Latency::new()?,
            from_answer: Latency::new()?,
            unseen: 0,
        };
        for like in &self.likes {
            let first = like.room * self.per_room;
            for member in (first..first + self.per_room).filter(|m| counts(*m)) {
                let seen = &self.seen[member];
                match seen.get(seen.partition_point(|(value, _)| *value < like.value)) {
                    Some((_, at)) => {
                        spans.from_intended.record(at.saturating_sub(like.intended_at));
                        spans.from_answer.record(at.saturating_sub(like.answered_at));
                    }
                    None => spans.unseen += 1,
                }
            }
        }
        Ok(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLI;

    #[test]
    fn the_first_push_that_holds_a_like_is_what_counts() {
        let mut views = Views::new(2, 2);
        // Members 2 and 3 are room 1. The second push overtakes the acknowledgement.
        for (value, at) in [(1, 10), (5, 200), (5, 300), (9, 400)] {
            views.saw(2, value, at * MILLI);
        }
        views.saw(3, 9, 500 * MILLI);
        views.liked(Liked {
            room: 1,
            value: 4,
            intended_at: 100 * MILLI,
            answered_at: 210 * MILLI,
        });
        let spans = views.spans(|_| true).unwrap();
        assert_eq!((spans.from_intended.count(), spans.unseen), (2, 0));
        let (intended, answer) = (spans.from_intended.percentiles(), spans.from_answer.percentiles());
        assert!((intended.p50_us - 100_000.0).abs() < 100.0, "{intended:?}");
        assert!((intended.max_us - 400_000.0).abs() < 400.0, "{intended:?}");
        assert!(answer.p50_us <= 1.0 && (answer.max_us - 290_000.0).abs() < 300.0);
        views.liked(Liked {
            room: 1,
            value: 10,
            intended_at: 0,
            answered_at: 0,
        });
        assert_eq!(views.spans(|m| m != 3).unwrap().unseen, 1);
    }
}
