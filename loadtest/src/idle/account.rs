//! Who should have received what: an account for each member, so that what one received twice does not hide
//! what another never did. 80 bytes a member.

use super::messages::Messages;
use crate::order::{Order, Seen};

/// One member.
#[derive(Debug)]
struct Member {
    room: usize,
    order: Order,
    /// Messages its room had accepted before it came.
    before: u64,
    /// Messages of this run received, each once, and messages it was told it misses.
    accounted: u64,
    /// Its connection ended.
    gone: bool,
}

/// One room.
#[derive(Debug, Clone, Default)]
struct Room {
    /// Messages acknowledged with an offset; all that were sent where nothing is acknowledged.
    accepted: u64,
    /// The newest offset anybody was told.
    top: u64,
    /// Members whose connection is open.
    live: u64,
}

/// The accounts of all members and rooms of one process.
#[derive(Debug)]
pub(super) struct Accounts {
    members: Vec<Member>,
    rooms: Vec<Room>,
    /// Deliveries still due to open connections, all together; what came before its acknowledgement is negative.
    outstanding: i64,
}

impl Accounts {
    /// Accounts of so many rooms, with nobody in them.
    pub(super) fn new(rooms: usize) -> Accounts {
        Accounts {
            members: Vec::new(),
            rooms: vec![Room::default(); rooms],
            outstanding: 0,
        }
    }

    /// The next member is in `room` now. `base` is the newest offset when it joined; `None`: the newest known here.
    pub(super) fn enter(&mut self, room: usize, base: Option<u64>) {
        let Some(book) = self.rooms.get_mut(room) else {
            return;
        };
        book.live += 1;
        self.members.push(Member {
            room,
            order: Order::after(base.unwrap_or(book.top)),
            before: book.accepted,
            accounted: 0,
            gone: false,
        });
    }

    /// The newest offset of `room` that anybody was told.
    pub(super) fn top(&self, room: usize) -> u64 {
        self.rooms.get(room).map_or(0, |r| r.top)
    }

    /// A message of `room` stands at `offset`, and is due to everybody there.
    pub(super) fn accepted(&mut self, room: usize, offset: u64) {
        if let Some(book) = self.rooms.get_mut(room) {
            book.accepted += 1;
            book.top = book.top.max(offset);
            self.outstanding += book.live.cast_signed();
        }
    }

    /// `member` received something at `offset`; `ours`: a message of this run.
    pub(super) fn arrived(&mut self, member: usize, offset: u64, ours: bool) -> Option<Seen> {
        let member = self.members.get_mut(member)?;
        let seen = member.order.observe(offset);
        if ours && matches!(seen, Seen::InOrder | Seen::Ahead(_) | Seen::Late) {
            member.accounted += 1;
            self.outstanding -= 1;
            if let Some(room) = self.rooms.get_mut(member.room) {
                room.top = room.top.max(offset);
            }
        }
        Some(seen)
    }

    /// `member` was told that it misses what is `from` to `to`. How many of these had not arrived, and by how
    /// many the holes in what it has changed.
    pub(super) fn told(&mut self, member: usize, from: u64, to: u64) -> (u64, i64) {
        let Some(member) = self.members.get_mut(member) else {
            return (0, 0);
        };
        let before = member.order.holes();
        let told = member.order.told(from, to);
        member.accounted += told;
        self.outstanding -= told.cast_signed();
        (told, member.order.holes().cast_signed() - before.cast_signed())
    }

    /// The connection of `member` ended: nothing more will come.
    pub(super) fn gone(&mut self, member: usize) {
        let Some(member) = self.members.get_mut(member).filter(|m| !m.gone) else {
            return;
        };
        member.gone = true;
        if let Some(room) = self.rooms.get_mut(member.room) {
            room.live = room.live.saturating_sub(1);
            let due = (room.accepted - member.before).cast_signed();
            self.outstanding -= due - member.accounted.cast_signed();
        }
    }

    /// Whether every open connection has all that is due to it. The sum is looked at first, as that is cheap: when
    /// it is positive somebody lacks something, and otherwise somebody else may have too much.
    pub(super) fn settled(&self) -> bool {
        let has_all = |m: &Member| m.gone || m.accounted >= self.due(m);
        self.outstanding <= 0 && self.members.iter().all(has_all)
    }

    /// Deliveries due to a member.
    fn due(&self, member: &Member) -> u64 {
        let accepted = self.rooms.get(member.room).map_or(0, |r| r.accepted);
        accepted.saturating_sub(member.before)
    }

    /// Counts what was due, what is missing, and what is too much.
    pub(super) fn settle(&self, messages: &mut Messages) {
        for member in &self.members {
            let due = self.due(member);
            // Two ways to count, by offset and by number: a fault in one does not hide in the other.
            let by_offset = member.order.missing(self.top(member.room));
            let missing = by_offset.max(due.saturating_sub(member.accounted));
            messages.expected += due;
            messages.lost += missing;
            messages.members_short += u64::from(missing > 0);
            if messages.unanswered == 0 {
                messages.unexpected += member.accounted.saturating_sub(due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(accounts: &Accounts) -> Messages {
        let mut messages = Messages::default();
        accounts.settle(&mut messages);
        messages
    }

    #[test]
    fn too_much_here_does_not_hide_too_little_there() {
        let mut accounts = Accounts::new(1);
        (0..2).for_each(|_| accounts.enter(0, Some(5)));
        accounts.accepted(0, 6);
        // One has the message and one that nobody acknowledged, the other has none: two of two.
        accounts.arrived(0, 6, true);
        assert!(!accounts.settled());
        accounts.arrived(0, 7, true);
        assert!(!accounts.settled(), "the sum is even, the second has nothing");
        let m = settled(&accounts);
        assert_eq!((m.expected, m.unexpected), (2, 1));
        // The second misses both offsets that are known of.
        assert_eq!((m.lost, m.members_short), (2, 1));
        accounts.arrived(1, 6, true);
        accounts.arrived(1, 7, true);
        assert!(accounts.settled() && settled(&accounts).lost == 0);
    }

    #[test]
    fn a_delivery_may_come_before_its_acknowledgement_and_a_duplicate_is_none() {
        let mut accounts = Accounts::new(1);
        (0..2).for_each(|_| accounts.enter(0, None));
        assert_eq!(accounts.arrived(0, 1, true), Some(Seen::InOrder));
        assert_eq!(accounts.arrived(0, 1, true), Some(Seen::Duplicate));
        accounts.accepted(0, 1);
        assert!(!accounts.settled());
        assert_eq!(settled(&accounts).lost, 1);
        assert_eq!(accounts.told(1, 1, 1), (1, 0));
        assert!(accounts.settled() && settled(&accounts).lost == 0);
    }

    #[test]
    fn who_comes_later_is_due_what_is_said_later_and_who_is_gone_is_not_waited_for() {
        let mut accounts = Accounts::new(2);
        accounts.enter(1, Some(0));
        accounts.accepted(1, 1);
        accounts.arrived(0, 1, true);
        accounts.enter(1, None);
        accounts.enter(1, Some(1));
        assert!(accounts.settled());
        accounts.accepted(1, 2);
        for member in 0..2 {
            assert!(!accounts.settled());
            accounts.arrived(member, 2, true);
        }
        accounts.gone(2);
        accounts.gone(2);
        assert!(accounts.settled(), "nothing more comes");
        accounts.accepted(1, 3);
        for member in 0..2 {
            assert!(!accounts.settled());
            accounts.arrived(member, 3, true);
        }
        assert!(accounts.settled());
        let m = settled(&accounts);
        assert_eq!(
            (m.expected, m.lost, m.members_short, m.unexpected),
            (3 + 2 + 2, 2, 1, 0)
        );
    }

    #[test]
    fn messages_of_others_are_no_deliveries() {
        let mut accounts = Accounts::new(1);
        accounts.enter(0, Some(0));
        accounts.accepted(0, 2);
        accounts.arrived(0, 1, false);
        assert!(!accounts.settled());
        accounts.arrived(0, 2, true);
        assert!(accounts.settled());
        assert_eq!(accounts.arrived(7, 1, true), None);
    }
}
