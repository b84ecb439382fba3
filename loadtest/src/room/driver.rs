//! The running `room` scenario: its state, and when what is sent. What arrives is in [`super::receive`].

use super::agreement::Agreement;
use super::echo::Echo;
use super::tally::{Member, Tally};
use super::{Load, RoomPlan};
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::dialect::{Dialect, Ready, nats};
use crate::engine::Io;
use crate::error::Result;
use crate::latency::Latency;
use crate::wire::command::SENDS_MAX;
use crate::wire::reply::Frames;
use crate::wire::scan::NumberField;
use crate::wire::stamp::{Finder, Stamp, body};

/// Most paced sends made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;
/// A slot of a burst that was refused without a time waits this long.
pub(super) const REFUSED_PAUSE: Nanos = 10 * MILLI;

/// One room of the run.
pub(super) struct Room {
    pub name: String,
    pub command: Ready,
    /// NATS: how each message of the room begins.
    pub arriving: Vec<u8>,
    /// Users who publish; empty when the target does not say who sent.
    pub users: Vec<String>,
    /// Messages acknowledged with an offset; all that were sent where nothing is acknowledged.
    pub accepted: u64,
    /// The newest offset anybody was told.
    pub top: u64,
}

/// When messages are due.
struct Schedule {
    start: Nanos,
    /// Messages in a second, all rooms together.
    per_second: f64,
    /// Sends decided so far.
    next: u64,
}

impl Schedule {
    fn due_at(&self) -> Nanos {
        self.start + clock::from_seconds(self.next as f64 / self.per_second)
    }
}

/// The running scenario.
pub(super) struct Driver {
    pub(super) plan: RoomPlan,
    pub(super) dialect: Dialect,
    pub(super) run: u32,
    pub rooms: Vec<Room>,
    pub members: Vec<Member>,
    pub tally: Tally,
    /// From the intended send to the read that brought the message.
    pub latency: Latency,
    /// From the intended send to the send: the tester's own lateness.
    pub lag: Latency,
    /// Messages intended in this span are in the histograms.
    pub window: (Nanos, Nanos),
    /// Deliveries are counted for the processor time per delivery.
    pub counting: bool,
    pub(super) sending: bool,
    schedule: Option<Schedule>,
    /// Slots of a burst that wait, and until when.
    pub(super) held: Vec<(Nanos, usize)>,
    number: u64,
    pub(super) since_decoded: u64,
    pub(super) offset: NumberField<9>,
    pub(super) replies: Frames,
    pub(super) stamps: Finder,
    pub(super) agreement: Option<Agreement>,
    /// Where the target echoes: the accounts in place of offsets and replies.
    pub(super) echo: Option<Echo>,
    pub(super) body: (String, usize),
}

impl Driver {
    /// A driver for members that have joined; `bases` are the offsets they joined at.
    pub(super) fn new(
        plan: &RoomPlan,
        dialect: Dialect,
        run: u32,
        names: Vec<(String, Vec<String>)>,
        bases: &[u64],
    ) -> Result<Driver> {
        let rooms: Result<Vec<Room>> = names
            .into_iter()
            .map(|(name, users)| {
                Ok(Room {
                    command: dialect.ready(&name, plan.body_bytes)?,
                    arriving: nats::arriving(&name),
                    name,
                    users,
                    accepted: 0,
                    top: 0,
                })
            })
            .collect();
        let (text, at) = body(plan.body_bytes);
        let rooms = rooms?;
        let echo = dialect
            .echoes()
            .then(|| Echo::new(rooms.len(), bases.len(), plan.publishers));
        Ok(Driver {
            plan: plan.clone(),
            dialect,
            run,
            rooms,
            members: bases
                .iter()
                .enumerate()
                .map(|(i, base)| Member::new(i / plan.per_room.max(1), *base))
                .collect(),
            tally: Tally::default(),
            latency: Latency::new()?,
            lag: Latency::new()?,
            window: (0, 0),
            counting: false,
            sending: false,
            schedule: None,
            held: Vec::new(),
            number: 0,
            since_decoded: 0,
            offset: NumberField::new(b"\"offset\":"),
            replies: Frames::default(),
            stamps: Finder::default(),
            agreement: plan.check.then(Agreement::default),
            echo: echo.transpose()?,
            body: (String::from_utf8(text).unwrap_or_default(), at),
        })
    }

    /// Begins to send: the schedule, or all slots of the burst.
    pub(super) fn begin(&mut self, io: &mut Io, start: Nanos) {
        self.sending = true;
        match self.plan.load {
            Load::Paced { per_second } => {
                self.schedule = Some(Schedule {
                    start,
                    per_second: per_second * self.rooms.len() as f64,
                    next: 0,
                });
            }
            Load::InFlight { messages } => {
                for member in self.publishers() {
                    for _ in 0..messages {
                        self.send(io, member, start);
                    }
                }
            }
        }
    }

    /// No message is sent from now on.
    pub(super) fn stop(&mut self) {
        self.sending = false;
        self.schedule = None;
        self.held.clear();
    }

    /// Sends what is due at `now`; returns when the next is.
    pub(super) fn send_due(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        for _ in 0..CATCH_UP_MAX {
            let Some(schedule) = self.schedule.as_mut() else {
                break;
            };
            let due = schedule.due_at();
            if due > now {
                break;
            }
            let k = schedule.next;
            schedule.next += 1;
            let member = self.publisher_of(k);
            self.lag.record(now - due);
            self.send(io, member, due);
        }
        while let Some(at) = self.held.iter().position(|(at, _)| *at <= now) {
            let (_, member) = self.held.swap_remove(at);
            self.send(io, member, now);
        }
        let held = self.held.iter().map(|(at, _)| *at).min();
        let due = self.schedule.as_ref().map(Schedule::due_at);
        due.into_iter().chain(held).min().unwrap_or(now + SECOND)
    }

    /// Whether every send is answered and every acknowledged message accounted for.
    pub(super) fn settled(&self) -> bool {
        let expected: u64 = self.rooms.iter().map(|r| r.accepted).sum::<u64>() * self.plan.per_room as u64;
        self.tally.answered >= self.tally.sent && self.tally.delivered + self.tally.told >= expected
    }

    fn publishers(&self) -> Vec<usize> {
        let (rooms, per_room) = (self.rooms.len(), self.plan.per_room);
        let n = self.plan.publishers.min(per_room);
        (0..rooms)
            .flat_map(|room| (0..n).map(move |k| room * per_room + k))
            .collect()
    }

    /// Who sends message `k`: rooms in turn, and within a room its publishers in turn.
    fn publisher_of(&self, k: u64) -> usize {
        let rooms = self.rooms.len().max(1) as u64;
        let publishers = self.plan.publishers.clamp(1, self.plan.per_room.max(1)) as u64;
        let (room, turn) = (k % rooms, (k / rooms) % publishers);
        usize::try_from(room * self.plan.per_room as u64 + turn).unwrap_or(0)
    }

    pub(super) fn send(&mut self, io: &mut Io, member: usize, intended_at: Nanos) {
        let index = self.members.get(member).map_or(0, |m| m.room);
        let Some(room) = self.rooms.get_mut(index) else {
            return;
        };
        let number = match &self.echo {
            Some(echo) => echo.next(member),
            None => Some(self.number).filter(|n| *n < SENDS_MAX),
        };
        let stamp = number.map(|number| Stamp {
            run: self.run,
            number,
            intended_at,
        });
        if stamp.is_some_and(|stamp| io.send(member, room.command.with(&stamp))) {
            self.number += 1;
            self.tally.sent += 1;
            if let Some(echo) = &mut self.echo {
                echo.sent(member, index);
                room.accepted += 1;
            }
        } else {
            self.tally.unsent += 1;
        }
    }
}
