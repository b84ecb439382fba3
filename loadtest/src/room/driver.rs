//! Sends, and sees what arrives: the part of the `room` scenario that runs for every frame.

use countersign_protocol::error::ErrorReply;
use countersign_protocol::server::{GapPush, Sent};
use serde::Deserialize;

use super::agreement::{Agreement, Expected, is_as_sent};
use super::tally::{Member, Tally};
use super::{Load, RoomPlan};
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::{Ended, Handler, Io};
use crate::error::Result;
use crate::fleet::Dialect;
use crate::latency::Latency;
use crate::order::Seen;
use crate::wire::command::{FIRST_SEND_ID, SENDS_MAX, SendCommand};
use crate::wire::scan::{NumberField, number};
use crate::wire::stamp::{Finder, Stamp, body};
use crate::wire::{MESSAGE_PREFIX, REPLY_PREFIX};

/// Most paced sends made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;
/// A slot of a burst that was refused without a time waits this long.
const REFUSED_PAUSE: Nanos = 10 * MILLI;

/// One room of the run.
pub(super) struct Room {
    pub name: String,
    pub command: SendCommand,
    /// Users who publish; empty when the target does not say who sent.
    pub users: Vec<String>,
    /// Messages acknowledged with an offset.
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
    plan: RoomPlan,
    dialect: Dialect,
    run: u32,
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
    sending: bool,
    schedule: Option<Schedule>,
    /// Slots of a burst that wait, and until when.
    held: Vec<(Nanos, usize)>,
    number: u64,
    since_decoded: u64,
    offset: NumberField,
    reply_offset: NumberField,
    stamps: Finder,
    agreement: Option<Agreement>,
    body: (String, usize),
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
                    command: SendCommand::new(&name, plan.body_bytes)?,
                    name,
                    users,
                    accepted: 0,
                    top: 0,
                })
            })
            .collect();
        let (text, at) = body(plan.body_bytes);
        Ok(Driver {
            plan: plan.clone(),
            dialect,
            run,
            rooms: rooms?,
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
            reply_offset: NumberField::new(b"\"offset\":"),
            stamps: Finder::default(),
            agreement: plan.check.then(Agreement::default),
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

    fn send(&mut self, io: &mut Io, member: usize, intended_at: Nanos) {
        let room = self.members.get(member).map_or(0, |m| m.room);
        let Some(room) = self.rooms.get_mut(room) else {
            return;
        };
        let stamp = Stamp {
            run: self.run,
            number: self.number,
            intended_at,
        };
        if self.number < SENDS_MAX && io.send(member, room.command.with(&stamp)) {
            self.number += 1;
            self.tally.sent += 1;
        } else {
            self.tally.unsent += 1;
        }
    }

    fn message(&mut self, member: usize, payload: &[u8], at: Nanos) {
        let Some(offset) = self.offset.find(payload) else {
            self.tally.malformed += 1;
            return;
        };
        let stamp = self.stamps.find(payload);
        let Some(seat) = self.members.get_mut(member) else {
            return;
        };
        let fresh = match seat.order.observe(offset) {
            Seen::InOrder => true,
            Seen::Ahead(_) => {
                self.tally.gaps += 1;
                true
            }
            Seen::Late => {
                self.tally.out_of_order += 1;
                true
            }
            Seen::Duplicate => {
                self.tally.duplicated += 1;
                false
            }
            Seen::Unclear => {
                self.tally.unclear += 1;
                false
            }
        };
        let Some(stamp) = stamp.filter(|s| s.run == self.run) else {
            self.tally.foreign += 1;
            return;
        };
        if fresh {
            seat.delivered += 1;
            self.tally.delivered += 1;
            self.tally.counted += u64::from(self.counting);
            self.tally.message_bytes += payload.len() as u64;
            let room = &mut self.rooms[seat.room];
            room.top = room.top.max(offset);
            if stamp.intended_at >= self.window.0 && stamp.intended_at < self.window.1 {
                self.latency.record(at.saturating_sub(stamp.intended_at));
            }
        }
        self.since_decoded += 1;
        if self.since_decoded >= self.plan.decode_every {
            self.since_decoded = 0;
            self.decode(member, payload, offset, stamp);
        }
    }

    fn decode(&mut self, member: usize, payload: &[u8], offset: u64, stamp: Stamp) {
        let index = self.members[member].room;
        let room = &self.rooms[index];
        let publishers: Vec<&str> = room.users.iter().map(String::as_str).collect();
        let expected = Expected {
            dialect: self.dialect,
            room: &room.name,
            offset,
            stamp,
            body: &self.body.0,
            stamp_at: self.body.1,
            publishers: &publishers,
        };
        self.tally.decoded += 1;
        self.tally.mismatched += u64::from(!is_as_sent(payload, &expected));
        if let Some(agreement) = &mut self.agreement {
            self.tally.disagreed += u64::from(!agreement.agrees(index, offset, stamp.number));
        }
    }

    fn reply(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos) {
        let Some(id) = number(&payload[REPLY_PREFIX.len()..]).filter(|id| *id >= FIRST_SEND_ID) else {
            // The reply to something before the run, or an error about a frame without an id.
            *self.tally.pushes.entry("reply".to_owned()).or_default() += 1;
            return;
        };
        self.tally.answered += 1;
        let digits = payload[REPLY_PREFIX.len()..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let rest = &payload[REPLY_PREFIX.len() + digits..];
        let mut pause = 0;
        if rest.starts_with(b",\"type\":\"ok\"") {
            match self.reply_offset.find(payload) {
                Some(offset) => self.accepted(member, offset, id - FIRST_SEND_ID),
                None => {
                    let sent: Option<Sent> = serde_json::from_slice(payload).ok();
                    self.tally.shed += 1;
                    pause = sent.and_then(|s| s.after_ms).unwrap_or(0) * MILLI;
                }
            }
        } else {
            match serde_json::from_slice::<ErrorReply>(payload) {
                Ok(error) => {
                    *self
                        .tally
                        .refused
                        .entry(error.code.name().to_owned())
                        .or_default() += 1;
                    pause = error.after_ms.map_or(REFUSED_PAUSE, |ms| ms * MILLI);
                }
                Err(_) => self.tally.malformed += 1,
            }
        }
        if self.sending && matches!(self.plan.load, Load::InFlight { .. }) {
            if pause == 0 {
                self.send(io, member, at);
            } else {
                self.held.push((at + pause, member));
            }
        }
    }

    fn accepted(&mut self, member: usize, offset: u64, number: u64) {
        self.tally.accepted += 1;
        let index = self.members.get(member).map_or(0, |m| m.room);
        if let Some(room) = self.rooms.get_mut(index) {
            room.accepted += 1;
            room.top = room.top.max(offset);
        }
        if let Some(agreement) = &mut self.agreement {
            self.tally.disagreed += u64::from(!agreement.agrees(index, offset, number));
        }
    }

    /// Anything else the server says: a gap is counted by offset, the rest by name.
    fn push(&mut self, member: usize, payload: &[u8]) {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: String,
        }
        let Ok(Kind { kind }) = serde_json::from_slice(payload) else {
            self.tally.malformed += 1;
            return;
        };
        if kind == "gap"
            && let Ok(gap) = serde_json::from_slice::<GapPush>(payload)
            && let Some(seat) = self.members.get_mut(member)
        {
            let told = seat.order.told(gap.from, gap.to);
            seat.told += told;
            self.tally.told += told;
        }
        *self.tally.pushes.entry(kind).or_default() += 1;
    }
}

impl Handler for Driver {
    fn opened(&mut self, _: &mut Io, _: usize) {}

    fn text(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos) {
        if payload.starts_with(MESSAGE_PREFIX) {
            self.message(member, payload, at);
        } else if payload.starts_with(REPLY_PREFIX) {
            self.reply(io, member, payload, at);
        } else {
            self.push(member, payload);
        }
    }

    fn ended(&mut self, _: &mut Io, _: usize, how: Ended) {
        let how = match how {
            Ended::Closed { code } => format!("closed {code}"),
            Ended::Lost(_) => "lost".to_owned(),
            Ended::Failed(why) => why,
            Ended::Refused { status, .. } => format!("refused {status}"),
        };
        *self.tally.ended.entry(how).or_default() += 1;
    }
}
