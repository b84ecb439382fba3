//! Visitors: they come on a schedule, stay a while, and leave, some without a word.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::schedule::Schedule;
use super::split::{Part, Pool, add};
use super::{count, idle};
use crate::clock::{MILLI, Nanos, seconds};
use crate::engine::Io;
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::room::Share;

/// A visitor may need this long beyond its stay, to come and to be let go, seconds, before a slot is short.
const SLACK_SECONDS: f64 = 5.0;
/// Fewest slots.
const SLOTS_MIN: f64 = 16.0;
/// Most arrivals begun before the sockets have their turn again.
const CATCH_UP_MAX: usize = 64;
/// Who may not go yet is asked for again after this long.
const ASK_AGAIN: Nanos = MILLI;

/// How visitors come and go.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct VisitPlan {
    /// Arrivals per second, above 0, all rooms together.
    pub per_second: f64,
    /// Time in the room.
    pub stay: Nanos,
    /// Share, 0 to 1, that leaves by a dropped socket; the others say `leave` and close.
    pub dropped: f64,
}

impl VisitPlan {
    /// Visitors that there can be at once.
    pub fn slots(&self) -> usize {
        let n = self.per_second * (seconds(self.stay) + SLACK_SECONDS);
        // Bounded far below by the connections of a run.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let n = n.clamp(SLOTS_MIN, 1e9).ceil() as usize;
        n
    }

    /// Visitors that there can be at once in the rooms of one process; they add up to somewhat more than in one.
    pub fn slots_of(&self, rooms: usize, share: Share) -> usize {
        let ours = share.count(rooms) as f64 / rooms.max(1) as f64;
        let plan = VisitPlan {
            per_second: self.per_second * ours,
            ..*self
        };
        plan.slots()
    }

    /// The number in the run of the first of them: those of the processes before come first.
    pub fn first_slot(&self, rooms: usize, share: Share) -> usize {
        let before = (0..share.index).map(|index| Share { index, ..share });
        before.map(|share| self.slots_of(rooms, share)).sum()
    }
}

impl Pool for VisitTally {
    fn pool(&mut self, other: VisitTally) -> Result<()> {
        self.due += other.due;
        self.no_slot += other.no_slot;
        self.joined += other.joined;
        add(&mut self.failed, other.failed);
        self.left += other.left;
        self.dropped += other.dropped;
        add(&mut self.ended, other.ended);
        Ok(())
    }
}

/// Running counts of visits.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct VisitTally {
    /// Arrivals that were due.
    pub due: u64,
    /// Of these, could not begin: all slots were taken by visitors that had not come in or not got out.
    pub no_slot: u64,
    /// Came into their room.
    pub joined: u64,
    /// Could not, by why.
    pub failed: BTreeMap<String, u64>,
    /// Went by `leave` and close, and by a dropped socket.
    pub left: u64,
    pub dropped: u64,
    /// Were inside and ended by the server or the network, by how.
    pub ended: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Visit {
    intended_at: Nanos,
    /// Which visit of this slot; a departure noted for an earlier one is void.
    turn: u32,
}

/// The visitors of a run.
pub struct Visits {
    plan: VisitPlan,
    /// Whose rooms these visitors come to.
    part: Part,
    /// The guest number of the first slot.
    first: usize,
    schedule: Option<Schedule>,
    free: VecDeque<usize>,
    visits: Vec<Visit>,
    departures: BinaryHeap<Reverse<(Nanos, usize, u32)>>,
    owed: f64,
    /// Arrivals meant in this span are in the histogram and among the measured.
    pub window: (Nanos, Nanos),
    /// From the intended arrival to the reply to `join`.
    pub latency: Latency,
    /// How late the tester began an arrival.
    pub lag: Latency,
    pub tally: VisitTally,
}

impl Visits {
    /// Adds slots to `arrivals`, the rooms in turn; `session_of` names the session of a slot by its number here.
    pub fn new(
        plan: VisitPlan,
        part: Part,
        arrivals: &mut Arrivals<'_>,
        session_of: impl Fn(usize) -> Option<usize>,
    ) -> Result<Visits> {
        let (slots, rooms) = (plan.slots_of(part.rooms, part.share), part.rooms());
        let numbers: Vec<usize> = (0..slots)
            .map(|k| arrivals.add(k % rooms.max(1), session_of(k)))
            .collect();
        let first = *numbers
            .first()
            .ok_or_else(|| Error::Usage("no slots for visitors".to_owned()))?;
        Ok(Visits {
            plan,
            part,
            first,
            schedule: None,
            free: (0..slots).collect(),
            visits: vec![Visit::default(); slots],
            departures: BinaryHeap::new(),
            owed: 0.0,
            window: (0, 0),
            latency: Latency::new()?,
            lag: Latency::new()?,
            tally: VisitTally::default(),
        })
    }

    /// Visitors come from `start` on.
    pub fn begin(&mut self, start: Nanos) {
        self.schedule = Some(Schedule::new(start, self.plan.per_second));
    }

    /// Nobody comes any more; who is there stays its time.
    pub fn stop(&mut self) {
        self.schedule = None;
    }

    /// Whether `member` is a visitor.
    pub fn is_visitor(&self, member: usize) -> bool {
        member >= self.first && member - self.first < self.visits.len()
    }

    /// The slot of a visitor, which is that of others before and after it; `None` for who is none.
    pub fn slot_of(&self, member: usize) -> Option<usize> {
        self.is_visitor(member).then(|| member - self.first)
    }

    /// Visitors that are not gone yet.
    pub fn present(&self) -> usize {
        self.visits.len() - self.free.len()
    }

    /// Lets come and go who is due; returns when the next is. `may_go` is asked of each member whose time is
    /// over until it says so.
    pub fn tick(
        &mut self,
        io: &mut Io,
        arrivals: &mut Arrivals<'_>,
        now: Nanos,
        mut may_go: impl FnMut(&Arrivals<'_>, usize) -> bool,
    ) -> Nanos {
        for _ in 0..CATCH_UP_MAX {
            let Some((k, due)) = self.schedule.as_mut().and_then(|s| s.take(now)) else {
                break;
            };
            // Arrivals are meant for the rooms in turn; others are another process's.
            let room = usize::try_from(k % self.part.rooms.max(1) as u64).unwrap_or(0);
            if self.part.share.local(room).is_none() {
                continue;
            }
            self.tally.due += 1;
            self.lag.record(now - due);
            let Some(slot) = self.free.pop_front() else {
                self.tally.no_slot += 1;
                continue;
            };
            self.visits[slot].intended_at = due;
            self.visits[slot].turn = self.visits[slot].turn.wrapping_add(1);
            arrivals.ask(self.first + slot, None);
        }
        while let Some(Reverse((at, slot, turn))) = self.departures.peek().copied() {
            if at > now {
                break;
            }
            self.departures.pop();
            if self.visits[slot].turn != turn || !arrivals.is_inside(self.first + slot) {
                continue;
            }
            if may_go(arrivals, self.first + slot) {
                self.depart(io, arrivals, slot);
            } else {
                self.departures.push(Reverse((now + ASK_AGAIN, slot, turn)));
            }
        }
        let departure = self.departures.peek().map_or(idle(now), |r| r.0.0);
        let arrival = self.schedule.as_ref().map_or(idle(now), Schedule::due_at);
        departure.min(arrival)
    }

    fn depart(&mut self, io: &mut Io, arrivals: &mut Arrivals<'_>, slot: usize) {
        self.owed += self.plan.dropped;
        if self.owed >= 1.0 {
            self.owed -= 1.0;
            self.tally.dropped += 1;
            arrivals.cut(io, self.first + slot);
            self.free.push_back(slot);
        } else {
            self.tally.left += 1;
            arrivals.leave(io, self.first + slot);
        }
    }

    /// A visitor's `join` was answered.
    pub fn joined(&mut self, member: usize, at: Nanos) {
        let slot = member - self.first;
        let visit = self.visits[slot];
        self.tally.joined += 1;
        if visit.intended_at >= self.window.0 && visit.intended_at < self.window.1 {
            self.latency.record(at.saturating_sub(visit.intended_at));
        }
        self.departures
            .push(Reverse((at + self.plan.stay, slot, visit.turn)));
    }

    /// A visitor cannot come.
    pub fn failed(&mut self, member: usize, why: &str) {
        count(&mut self.tally.failed, why);
        self.free.push_back(member - self.first);
    }

    /// A visitor's connection ended: as it wished, or with `unasked` saying how.
    pub fn ended(&mut self, member: usize, unasked: Option<&str>) {
        if let Some(how) = unasked {
            count(&mut self.tally.ended, how);
        }
        self.free.push_back(member - self.first);
    }
}
