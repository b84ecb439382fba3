//! Who is where: rooms, their members by number, and which of them this process drives.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::RoomPlan;

/// The part of a run's connections that one process drives: every `of`-th, beginning with `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub index: usize,
    pub of: usize,
}

impl Share {
    /// All of them.
    pub const WHOLE: Share = Share { index: 0, of: 1 };

    /// How many of `total` these are.
    pub fn count(self, total: usize) -> usize {
        (total + self.of - 1 - self.index) / self.of.max(1)
    }

    /// The number in the run of connection `local` of this process.
    pub fn global(self, local: usize) -> usize {
        local * self.of + self.index
    }

    /// The number in this process of connection `global` of the run, if it is driven here.
    pub fn local(self, global: usize) -> Option<usize> {
        (global % self.of == self.index).then_some(global / self.of)
    }
}

/// Rooms and members of a run. Members are numbered room by room, publishers first; room 0 is the big
/// one if there is one.
#[derive(Debug, Clone)]
pub struct Layout {
    big: Option<usize>,
    small_rooms: usize,
    per_room: usize,
    publishers: usize,
    stalled: usize,
}

impl Layout {
    /// The layout of a plan.
    pub fn of(plan: &RoomPlan) -> Layout {
        Layout {
            big: plan.variant.big.map(|b| b.members),
            small_rooms: plan.rooms,
            per_room: plan.per_room.max(1),
            publishers: plan.publishers,
            stalled: plan.variant.stalled,
        }
    }

    /// Number of rooms.
    pub fn rooms(&self) -> usize {
        self.small_rooms + usize::from(self.big.is_some())
    }

    /// The rooms of equal size; the big one is not among them.
    pub fn small(&self) -> Range<usize> {
        usize::from(self.big.is_some())..self.rooms()
    }

    /// Number of members in all rooms.
    pub fn members(&self) -> usize {
        self.small_rooms * self.per_room + self.big.unwrap_or(0)
    }

    /// Members of a room.
    pub fn size(&self, room: usize) -> usize {
        self.big.filter(|_| room == 0).unwrap_or(self.per_room)
    }

    /// The first member of a room.
    pub fn first(&self, room: usize) -> usize {
        match self.big {
            Some(_) if room == 0 => 0,
            Some(big) => big + (room - 1) * self.per_room,
            None => room * self.per_room,
        }
    }

    /// Members of a room that publish.
    pub fn publishers(&self, room: usize) -> usize {
        self.publishers.clamp(1, self.size(room).max(1))
    }

    /// The room of a member.
    pub fn room_of(&self, member: usize) -> usize {
        match self.big {
            Some(big) if member < big => 0,
            Some(big) => 1 + (member - big) / self.per_room,
            None => member / self.per_room,
        }
    }

    /// Members of a room that stop reading.
    pub fn stalled(&self, room: usize) -> usize {
        if self.big.is_some() && room != 0 {
            return 0;
        }
        self.stalled
    }

    /// Whether a member stops reading.
    pub fn stalls(&self, member: usize) -> bool {
        let room = self.room_of(member);
        member + self.stalled(room) >= self.first(room) + self.size(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_again() {
        let layout = Layout {
            big: Some(7),
            small_rooms: 3,
            per_room: 4,
            publishers: 2,
            stalled: 2,
        };
        assert_eq!((layout.rooms(), layout.members(), layout.small()), (4, 19, 1..4));
        for room in 0..layout.rooms() {
            let members = layout.first(room)..layout.first(room) + layout.size(room);
            assert!(members.clone().all(|m| layout.room_of(m) == room));
            assert_eq!(
                members.filter(|m| layout.stalls(*m)).count(),
                layout.stalled(room)
            );
        }
        assert!(layout.stalls(6) && layout.stalls(5) && !layout.stalls(4) && !layout.stalls(18));
    }

    #[test]
    fn shares_are_all_and_none_twice() {
        for total in [0, 1, 5, 12] {
            let shares: Vec<Share> = (0..3).map(|index| Share { index, of: 3 }).collect();
            assert_eq!(shares.iter().map(|s| s.count(total)).sum::<usize>(), total);
            for member in 0..total {
                let holders: Vec<_> = shares
                    .iter()
                    .filter_map(|s| Some((s, s.local(member)?)))
                    .collect();
                let [(share, local)] = holders[..] else {
                    panic!("{holders:?}")
                };
                assert!(local < share.count(total) && share.global(local) == member);
            }
        }
    }
}
