//! What visitors are told: from its join until it leaves each gets every message once and in order, or a `gap`
//! tells what it does not get.

use countersign_protocol::server::GapPush;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::error::Result;
use crate::order::{Order, Seen};
use crate::story::split::Pool;
use crate::story::told::COUNTS_PREFIX;
use crate::wire::reply::{Frame, Frames};
use crate::wire::scan::NumberField;

/// Messages to visitors, those that had left included.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitorTally {
    /// Received, each once per visit.
    pub delivered: u64,
    /// Not received and told so by `gap`.
    pub told: u64,
    /// Neither: skipped before one that arrived, or made known to anybody before the visitor's time was over.
    pub lost: u64,
    /// Received again at the same offset.
    pub duplicated: u64,
    /// Received after a later one.
    pub out_of_order: u64,
    /// Too old to say whether late or again.
    pub unclear: u64,
    /// Messages and gaps that could not be read.
    pub malformed: u64,
}

impl VisitorTally {
    /// All that was not once and in order, nor told.
    pub fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.out_of_order + self.unclear
    }
}

impl Pool for VisitorTally {
    fn pool(&mut self, other: VisitorTally) -> Result<()> {
        self.delivered += other.delivered;
        self.told += other.told;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.unclear += other.unclear;
        self.malformed += other.malformed;
        Ok(())
    }
}

/// One visit, from the reply to its `join`.
#[derive(Debug)]
struct Visit {
    order: Order,
    /// Once its time is over: the newest message it must have by then, and how long it waits for that.
    over: Option<(u64, Nanos)>,
}

/// The books of all who visit, one visit per slot at a time.
#[derive(Debug)]
pub(super) struct Visitors {
    visits: Vec<Option<Visit>>,
    offset: NumberField<9>,
    frames: Frames,
    tally: VisitorTally,
}

impl Visitors {
    /// Nobody is there yet.
    pub(super) fn new(slots: usize) -> Visitors {
        Visitors {
            visits: std::iter::repeat_with(|| None).take(slots).collect(),
            offset: NumberField::new(b"\"offset\":"),
            frames: Frames::default(),
            tally: VisitorTally::default(),
        }
    }

    /// A visit begins after `offset`.
    pub(super) fn joined(&mut self, slot: usize, offset: u64) {
        if let Some(visit) = self.visits.get_mut(slot) {
            *visit = Some(Visit {
                order: Order::after(offset),
                over: None,
            });
        }
    }

    /// A message push.
    pub(super) fn message(&mut self, slot: usize, payload: &[u8]) {
        let Some(Some(visit)) = self.visits.get_mut(slot) else {
            return;
        };
        let Some(offset) = self.offset.find(payload) else {
            self.tally.malformed += 1;
            return;
        };
        match visit.order.observe(offset) {
            // What is skipped is counted when the visit ends: until then it may come late, or be told.
            Seen::InOrder | Seen::Ahead(_) => self.tally.delivered += 1,
            Seen::Late => {
                self.tally.delivered += 1;
                self.tally.out_of_order += 1;
            }
            Seen::Duplicate => self.tally.duplicated += 1,
            Seen::Unclear => self.tally.unclear += 1,
        }
    }

    /// Anything but a message: gaps are noted.
    pub(super) fn other(&mut self, slot: usize, payload: &[u8]) {
        // Most of what a visitor gets, and nothing to it.
        if payload.starts_with(COUNTS_PREFIX) {
            return;
        }
        let Some(Some(visit)) = self.visits.get_mut(slot) else {
            return;
        };
        match self.frames.read(payload) {
            Frame::Push { kind } if kind == "gap" => match serde_json::from_slice::<GapPush>(payload) {
                Ok(gap) => self.tally.told += visit.order.told(gap.from, gap.to),
                Err(_) => self.tally.malformed += 1,
            },
            Frame::Push { .. } | Frame::Reply { .. } => {}
            Frame::Unreadable => self.tally.malformed += 1,
        }
    }

    /// Whether a visitor whose time is over may go, which ends its visit. `top` is the newest message of its room
    /// that anybody was told of: it waits until it has all up to what that was when this was first asked, at
    /// most for `patience`. What it lacks then is lost.
    pub(super) fn may_go(&mut self, slot: usize, top: u64, now: Nanos, patience: Nanos) -> bool {
        let Some(Some(visit)) = self.visits.get_mut(slot) else {
            return true;
        };
        let (top, until) = *visit.over.get_or_insert((top, now.saturating_add(patience)));
        if visit.order.next() <= top && now < until {
            return false;
        }
        self.end(slot, top);
        true
    }

    /// A visitor was sent away or lost its connection: it knows that it lacks what came after, so that only what
    /// was skipped before is lost.
    pub(super) fn ended(&mut self, slot: usize) {
        self.end(slot, 0);
    }

    fn end(&mut self, slot: usize, top: u64) {
        if let Some(visit) = self.visits.get_mut(slot).and_then(Option::take) {
            self.tally.lost += visit.order.missing(top);
        }
    }

    /// Ends all visits that have not, and counts.
    pub(super) fn settle(mut self) -> VisitorTally {
        for slot in 0..self.visits.len() {
            self.ended(slot);
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    fn message(visitors: &mut Visitors, slot: usize, offset: u64) {
        let push = format!(r#"{{"type":"message","room":"a:b","offset":{offset},"at_ms":1,"body":1}}"#);
        visitors.message(slot, push.as_bytes());
    }

    fn gap(visitors: &mut Visitors, slot: usize, from: u64, to: u64) {
        let push = format!(r#"{{"type":"gap","room":"a:b","from":{from},"to":{to}}}"#);
        visitors.other(slot, push.as_bytes());
    }

    #[test]
    fn each_message_that_is_skipped_is_lost_and_what_is_told_is_not() {
        let mut visitors = Visitors::new(2);
        visitors.joined(0, 10);
        visitors.joined(1, 10);
        message(&mut visitors, 0, 11);
        message(&mut visitors, 0, 15);
        gap(&mut visitors, 1, 11, 14);
        message(&mut visitors, 1, 15);
        assert!(visitors.may_go(0, 15, 0, SECOND) && visitors.may_go(1, 15, 0, SECOND));
        let tally = visitors.settle();
        assert_eq!(
            (tally.delivered, tally.lost, tally.told, tally.faults()),
            (3, 3, 4, 3)
        );
    }

    #[test]
    fn what_comes_late_or_again_is_not_lost_besides() {
        let mut visitors = Visitors::new(1);
        visitors.joined(0, 0);
        for offset in [1, 3, 2, 3] {
            message(&mut visitors, 0, offset);
        }
        // Told afterwards, and read in another order of its keys.
        message(&mut visitors, 0, 6);
        visitors.other(0, br#"{"from":4,"to":5,"room":"a:b","type":"gap"}"#);
        assert!(visitors.may_go(0, 6, 0, 0));
        let expected = VisitorTally {
            delivered: 4,
            told: 2,
            duplicated: 1,
            out_of_order: 1,
            ..VisitorTally::default()
        };
        assert_eq!(visitors.settle(), expected);
    }

    #[test]
    fn who_lacks_the_newest_waits_for_it_and_then_has_lost_it() {
        let mut visitors = Visitors::new(1);
        visitors.joined(0, 5);
        message(&mut visitors, 0, 6);
        assert!(!visitors.may_go(0, 8, 100, 50));
        message(&mut visitors, 0, 7);
        assert!(!visitors.may_go(0, 20, 149, 50), "what came since is not awaited");
        assert!(visitors.may_go(0, 20, 150, 50));
        assert!(visitors.may_go(0, 20, 151, 50), "nobody is there any more");
        message(&mut visitors, 0, 8);
        assert_eq!(visitors.tally.lost, 1);
        // The next visit of the slot begins anew.
        visitors.joined(0, 8);
        message(&mut visitors, 0, 9);
        assert!(visitors.may_go(0, 9, 200, 50));
        assert_eq!((visitors.tally.delivered, visitors.settle().lost), (3, 1));
    }

    #[test]
    fn who_is_sent_away_has_lost_what_was_skipped_before() {
        let mut visitors = Visitors::new(2);
        visitors.joined(0, 0);
        visitors.joined(1, 0);
        message(&mut visitors, 0, 3);
        message(&mut visitors, 1, 2);
        assert!(!visitors.may_go(0, 9, 0, SECOND));
        visitors.ended(0);
        assert_eq!(visitors.settle().lost, 3, "the other is still there at the end");
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        let mut visitors = Visitors::new(1);
        visitors.joined(0, 0);
        visitors.message(0, b"{\"type\":\"message\"}");
        visitors.other(0, b"{\"type\":\"gap\"}");
        visitors.other(0, b"no");
        visitors.other(0, b"{\"type\":\"counts\",");
        visitors.other(0, b"{\"type\":\"presence\"}");
        assert_eq!(visitors.tally.malformed, 3);
        assert_eq!(visitors.settle().faults(), 0);
    }
}
