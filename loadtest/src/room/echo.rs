//! Accounts of targets that echo: no offsets and no acknowledgements. Everything handed to a socket is
//! expected at every member of the room; each publisher counts its own messages in the stamp, and a member
//! checks the order of each publisher by itself. Between publishers such targets promise none.

use crate::error::{Error, Result};
use crate::order::{Order, Seen};

/// Bits of a stamp's number that count a publisher's messages; those above name the publisher.
const SEQUENCE_BITS: u32 = 28;
/// Most messages of one publisher in a run.
const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;
/// Most pairs of a member and a publisher it hears, about 48 bytes each.
const PAIRS_MAX: usize = 4_000_000;

/// Who sent how much, and what each member has seen of whom.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// By member: messages sent.
    sent: Vec<u64>,
    /// By member: its place among the publishers of its room, once it has sent.
    slots: Vec<Option<usize>>,
    /// By room: its publishers by place.
    publishers: Vec<Vec<usize>>,
    /// By member: by publisher's place, what was seen.
    orders: Vec<Vec<Order>>,
}

impl Echo {
    /// Accounts for `members` in `rooms`, each of which hears `publishers`.
    pub(super) fn new(rooms: usize, members: usize, publishers: usize) -> Result<Echo> {
        if members.saturating_mul(publishers) > PAIRS_MAX {
            return Err(Error::Usage(format!(
                "this protocol has no offsets, and {members} members that hear {publishers} publishers each are \
                 more than {PAIRS_MAX} orders to keep: say fewer --publishers"
            )));
        }
        Ok(Echo {
            sent: vec![0; members],
            slots: vec![None; members],
            publishers: vec![Vec::new(); rooms],
            orders: vec![Vec::new(); members],
        })
    }

    /// The stamp's number for the next message of `member`; `None`: it has sent all it can.
    pub(super) fn next(&self, member: usize) -> Option<u64> {
        let sequence = self.sent.get(member)? + 1;
        (sequence <= SEQUENCE_MAX).then_some(((member as u64) << SEQUENCE_BITS) | sequence)
    }

    /// That message was handed to the socket, for `room`.
    pub(super) fn sent(&mut self, member: usize, room: usize) {
        if let Some(sent) = self.sent.get_mut(member) {
            *sent += 1;
        }
        if let (Some(slot @ None), Some(publishers)) =
            (self.slots.get_mut(member), self.publishers.get_mut(room))
        {
            *slot = Some(publishers.len());
            publishers.push(member);
        }
    }

    /// Who sent the message with this number.
    pub(super) fn publisher(number: u64) -> usize {
        usize::try_from(number >> SEQUENCE_BITS).unwrap_or(usize::MAX)
    }

    /// `member` of `room` received the message with this number. `None`: nobody sent it into that room.
    pub(super) fn observe(&mut self, member: usize, room: usize, number: u64) -> Option<Seen> {
        let publisher = Echo::publisher(number);
        let sequence = number & SEQUENCE_MAX;
        let slot = self.slots.get(publisher).copied().flatten()?;
        let known = self.publishers.get(room)?.get(slot) == Some(&publisher);
        if !known || sequence > self.sent[publisher] {
            return None;
        }
        let orders = self.orders.get_mut(member)?;
        if orders.len() <= slot {
            orders.resize_with(slot + 1, || Order::after(0));
        }
        Some(orders[slot].observe(sequence))
    }

    /// Messages sent into `room` that `member` did not receive.
    pub(super) fn missing(&self, member: usize, room: usize) -> u64 {
        let publishers = self.publishers.get(room).map_or(&[][..], Vec::as_slice);
        publishers
            .iter()
            .enumerate()
            .map(|(slot, publisher)| {
                let sent = self.sent[*publisher];
                let order = self.orders.get(member).and_then(|orders| orders.get(slot));
                order.map_or(sent, |order| order.missing(sent))
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_publisher_is_counted_by_itself() {
        // Members 0 to 2 in room 0, 3 in room 1; 0 and 1 publish.
        let mut echo = Echo::new(2, 4, 2).unwrap();
        let mut send = |member| {
            let number = echo.next(member).unwrap();
            echo.sent(member, 0);
            number
        };
        let (a1, a2, a3, b1) = (send(0), send(0), send(0), send(1));
        assert_eq!((Echo::publisher(a3), Echo::publisher(b1)), (0, 1));
        assert_eq!(echo.observe(2, 0, a1), Some(Seen::InOrder));
        assert_eq!(echo.observe(2, 0, a3), Some(Seen::Ahead(1)));
        assert_eq!(
            echo.missing(2, 0),
            2,
            "the second of one and the first of the other"
        );
        assert_eq!(echo.observe(2, 0, b1), Some(Seen::InOrder));
        assert_eq!(echo.observe(2, 0, b1), Some(Seen::Duplicate));
        assert_eq!(echo.observe(2, 0, a2), Some(Seen::Late));
        assert_eq!((echo.missing(2, 0), echo.missing(0, 0)), (0, 4));
        assert_eq!(echo.observe(3, 1, a1), None, "of another room");
        assert_eq!(echo.observe(2, 0, a3 + 1), None, "never sent");
        assert_eq!(
            echo.observe(2, 0, (2 << SEQUENCE_BITS) | 1),
            None,
            "nobody who sends"
        );
        assert_eq!(echo.missing(3, 1), 0);
    }

    #[test]
    fn memory_is_bounded() {
        assert!(Echo::new(1, 100_000, 1_000).is_err());
        let mut echo = Echo::new(1, 1, 1).unwrap();
        echo.sent[0] = SEQUENCE_MAX;
        assert_eq!(echo.next(0), None);
        assert_eq!(echo.next(9), None);
    }
}
