//! Messages that several processes accounted for, whole rooms each, added up.

use super::super::split::{Pool, add};
use super::{Loss, MessageTally};
use crate::error::Result;

impl Pool for MessageTally {
    fn pool(&mut self, other: MessageTally) -> Result<()> {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.answered += other.answered;
        self.accepted += other.accepted;
        add(&mut self.refused, other.refused);
        self.delivered += other.delivered;
        self.replayed += other.replayed;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.gaps += other.gaps;
        self.told += other.told;
        self.unclear += other.unclear;
        self.foreign += other.foreign;
        self.malformed += other.malformed;
        self.disagreed += other.disagreed;
        Ok(())
    }
}

impl Pool for Loss {
    fn pool(&mut self, other: Loss) -> Result<()> {
        self.expected += other.expected;
        self.lost += other.lost;
        self.members_short += other.members_short;
        self.unexpected += other.unexpected;
        self.unanswered += other.unanswered;
        if self.unanswered > 0 {
            // As in one process: what has no answer may be what was not expected.
            self.unexpected = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_without_an_answer_in_any_process_leaves_nothing_unexpected() {
        let loss = |unexpected, unanswered| Loss {
            expected: 10,
            lost: 1,
            members_short: 1,
            unexpected,
            unanswered,
        };
        for parts in [
            [loss(2, 0), loss(0, 1), loss(3, 0)],
            [loss(0, 1), loss(2, 0), loss(3, 0)],
        ] {
            let mut all = Loss::default();
            parts.into_iter().for_each(|part| all.pool(part).unwrap());
            let expected = Loss {
                expected: 30,
                lost: 3,
                members_short: 3,
                unexpected: 0,
                unanswered: 1,
            };
            assert_eq!(all, expected);
        }
        let mut all = loss(2, 0);
        all.pool(loss(3, 0)).unwrap();
        assert_eq!(all.unexpected, 5);
    }
}
