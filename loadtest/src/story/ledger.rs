//! Messages accounted for over all connections of a member: by offset, so that what was lost, repeated or
//! reordered is told apart exactly, across a join that recovers as well as within one connection.

mod pool;

use std::collections::{BTreeMap, HashMap};

use countersign_protocol::client::Position;
use countersign_protocol::server::{GapPush, Joined};
use serde::{Deserialize, Serialize};

use super::count;
use crate::clock::Nanos;
use crate::engine::Io;
use crate::error::Result;
use crate::order::{Order, Seen};
use crate::series::Series;
use crate::wire::command::{FIRST_SEND_ID, SENDS_MAX, SendCommand};
use crate::wire::reply::{Answer, Frame, Frames};
use crate::wire::scan::NumberField;
use crate::wire::stamp::{Finder, Stamp};

/// Most messages whose place is remembered to compare what members are told.
const REMEMBERED_MAX: usize = 1_000_000;

/// Running counts of messages.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct MessageTally {
    /// Messages handed to a socket, and those that were due and could not be.
    pub sent: u64,
    pub unsent: u64,
    /// Sends that got any reply, and those with an offset.
    pub answered: u64,
    pub accepted: u64,
    /// Sends answered with an error (by code) or `shed`.
    pub refused: BTreeMap<String, u64>,
    /// Messages received, each once per member, replayed ones included.
    pub delivered: u64,
    /// Of these, in the reply to a `join`.
    pub replayed: u64,
    /// Received again at the same offset.
    pub duplicated: u64,
    /// Received after a later one.
    pub out_of_order: u64,
    /// Times an offset was skipped, filled later or not.
    pub gaps: u64,
    /// Not delivered and told so, by `gap` or by `recovered:false`.
    pub told: u64,
    /// Too old to say whether late or duplicate.
    pub unclear: u64,
    /// Messages in our rooms that this run did not send.
    pub foreign: u64,
    /// Frames that could not be read.
    pub malformed: u64,
    /// An offset or a message that was told differently to different members.
    pub disagreed: u64,
}

/// What is missing at the end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Deliveries there should have been: acknowledged messages times members of their room.
    pub expected: u64,
    /// Neither received nor told.
    pub lost: u64,
    /// Members that miss something.
    pub members_short: u64,
    /// Received beyond what was acknowledged, when every send was answered.
    pub unexpected: u64,
    /// Sends without any reply.
    pub unanswered: u64,
}

/// How a join went on from what the member had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// The first of this member.
    Begun,
    /// `recovered:true` (or nothing said), and all of it is there.
    Recovered,
    /// The same, and something is missing.
    Short,
    /// `recovered:false`: a break, and the member knows.
    Broken,
    /// Another epoch: another numbering.
    OtherEpoch,
}

struct Room {
    command: SendCommand,
    accepted: u64,
    top: u64,
}

struct Member {
    room: usize,
    epoch: Box<str>,
    order: Option<Order>,
    delivered: u64,
    told: u64,
    /// The numbering changed: no longer exactly accounted.
    renumbered: bool,
}

/// Who sends message `k`: rooms in turn, and within a room its first `publishers` in turn.
pub fn publisher_of(k: u64, rooms: usize, per_room: usize, publishers: usize) -> usize {
    let rooms = rooms.max(1) as u64;
    let (room, turn) = (k % rooms, (k / rooms) % publishers.max(1) as u64);
    usize::try_from(room * per_room as u64 + turn).unwrap_or(0)
}

/// All messages of a run.
pub struct Ledger {
    run: u32,
    rooms: Vec<Room>,
    members: Vec<Member>,
    pub tally: MessageTally,
    number: u64,
    offset: NumberField<9>,
    stamps: Finder,
    replies: Frames,
    number_at: HashMap<(usize, u64), u64>,
    /// The course of the run, while it is recorded: messages to members, those replayed without a latency.
    pub series: Option<Series>,
}

impl Ledger {
    /// For members of `rooms`, `room_of` each; nobody has joined.
    pub fn new(run: u32, rooms: &[String], body_bytes: usize, room_of: Vec<usize>) -> Result<Ledger> {
        let rooms: Result<Vec<Room>> = rooms
            .iter()
            .map(|name| {
                Ok(Room {
                    command: SendCommand::new(name, body_bytes)?,
                    accepted: 0,
                    top: 0,
                })
            })
            .collect();
        let member = |room| Member {
            room,
            epoch: Box::default(),
            order: None,
            delivered: 0,
            told: 0,
            renumbered: false,
        };
        Ok(Ledger {
            run,
            rooms: rooms?,
            members: room_of.into_iter().map(member).collect(),
            tally: MessageTally::default(),
            number: 0,
            offset: NumberField::new(b"\"offset\":"),
            stamps: Finder::default(),
            replies: Frames::default(),
            number_at: HashMap::new(),
            series: None,
        })
    }

    /// Sends a message as `member`, meant at `intended_at`.
    pub fn send(&mut self, io: &mut Io, member: usize, intended_at: Nanos) {
        let Some(room) = self.members.get(member).and_then(|m| self.rooms.get_mut(m.room)) else {
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
            if let Some(series) = &mut self.series {
                series.sent(1);
            }
        } else {
            self.tally.unsent += 1;
        }
    }

    /// Notes the reply to a `join`, and the messages in it.
    pub fn joined(&mut self, member: usize, joined: &Joined<'_>) -> Chain {
        let Some(seat) = self.members.get_mut(member) else {
            return Chain::Begun;
        };
        let room = seat.room;
        let top = &mut self.rooms[room].top;
        let Some(order) = seat.order.as_mut() else {
            seat.epoch = joined.epoch.as_str().into();
            seat.order = Some(Order::after(joined.offset));
            *top = (*top).max(joined.offset);
            return Chain::Begun;
        };
        let before = order.holes();
        if *seat.epoch != *joined.epoch {
            // Nothing of the old numbering is accounted any more.
            record_holes(self.series.as_mut(), before, 0);
            seat.epoch = joined.epoch.as_str().into();
            seat.order = Some(Order::after(joined.offset));
            seat.renumbered = true;
            return Chain::OtherEpoch;
        }
        *top = (*top).max(joined.offset);
        // A reply that does not say is not one that tells of a break.
        let whole = joined.recovered != Some(false);
        if !whole {
            // The newest are given; all before them and after what the member has are a break it is told of.
            let from = order.next();
            let to = joined
                .messages
                .first()
                .map_or(joined.offset, |m| m.offset.saturating_sub(1));
            let told = order.told(from, to);
            record_holes(self.series.as_mut(), before, order.holes());
            seat.told += told;
            self.tally.told += told;
        }
        for message in &joined.messages {
            let known = self.members[member].order.as_ref().map_or(0, Order::next);
            // With a break the newest may reach back to what the member has.
            if whole || message.offset >= known {
                let stamp = self.stamps.find(message.body.get().as_bytes());
                if self.note(member, message.offset, stamp).is_some() {
                    self.tally.replayed += 1;
                    if let Some(series) = &mut self.series {
                        series.received(1);
                    }
                }
            }
        }
        let complete = self.members[member]
            .order
            .as_ref()
            .is_some_and(|o| o.missing(joined.offset) == 0);
        match (whole, complete) {
            (true, true) => Chain::Recovered,
            (true, false) => Chain::Short,
            (false, _) => Chain::Broken,
        }
    }

    /// Notes a message push that was read at `at`; returns when it was meant to be sent, if it is one of this
    /// run and new.
    pub fn message(&mut self, member: usize, payload: &[u8], at: Nanos) -> Option<Nanos> {
        let Some(offset) = self.offset.find(payload) else {
            self.tally.malformed += 1;
            return None;
        };
        let stamp = self.stamps.find(payload);
        let intended_at = self.note(member, offset, stamp)?;
        if let Some(series) = &mut self.series {
            series.delivered(at.saturating_sub(intended_at));
        }
        Some(intended_at)
    }

    fn note(&mut self, member: usize, offset: u64, stamp: Option<Stamp>) -> Option<Nanos> {
        let seat = self.members.get_mut(member)?;
        let order = seat.order.as_mut()?;
        let seen = order.observe(offset);
        if let Some(series) = &mut self.series {
            series.seen(seen);
        }
        let fresh = match seen {
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
            return None;
        };
        let room = seat.room;
        if fresh {
            seat.delivered += 1;
            self.tally.delivered += 1;
            self.rooms[room].top = self.rooms[room].top.max(offset);
        }
        self.agree(room, offset, stamp.number);
        fresh.then_some(stamp.intended_at)
    }

    /// All members must be told the same message for the same offset.
    fn agree(&mut self, room: usize, offset: u64, number: u64) {
        if self.number_at.len() < REMEMBERED_MAX {
            let first = *self.number_at.entry((room, offset)).or_insert(number);
            self.tally.disagreed += u64::from(first != number);
        }
    }

    /// Anything but a message: replies to sends and gaps are noted; the name of another push is returned.
    pub fn other(&mut self, member: usize, payload: &[u8]) -> Option<String> {
        match self.replies.read(payload) {
            Frame::Reply { id: Some(id), answer } if id >= FIRST_SEND_ID => {
                self.answered(member, id - FIRST_SEND_ID, answer);
            }
            // To a `leave`, or about a frame whose id could not be read.
            Frame::Reply { .. } => {}
            Frame::Push { kind } if kind == "gap" => {
                if let Ok(gap) = serde_json::from_slice::<GapPush>(payload)
                    && let Some(seat) = self.members.get_mut(member)
                    && let Some(order) = seat.order.as_mut()
                {
                    let before = order.holes();
                    let told = order.told(gap.from, gap.to);
                    record_holes(self.series.as_mut(), before, order.holes());
                    seat.told += told;
                    self.tally.told += told;
                }
            }
            Frame::Push { kind } => return Some(kind),
            Frame::Unreadable => self.tally.malformed += 1,
        }
        None
    }

    fn answered(&mut self, member: usize, number: u64, answer: Answer) {
        self.tally.answered += 1;
        match answer {
            Answer::Ok {
                offset: Some(offset), ..
            } => {
                self.tally.accepted += 1;
                let room = self.members.get(member).map_or(0, |m| m.room);
                self.rooms[room].accepted += 1;
                self.rooms[room].top = self.rooms[room].top.max(offset);
                self.agree(room, offset, number);
            }
            Answer::Ok { .. } => count(&mut self.tally.refused, "shed"),
            Answer::Error { code, .. } => count(&mut self.tally.refused, code.name()),
        }
    }

    /// Where a member stands; `None` before its first join.
    pub fn position(&self, member: usize) -> Option<Position> {
        let seat = self.members.get(member)?;
        Some(Position {
            epoch: seat.epoch.to_string(),
            offset: seat.order.as_ref()?.next().saturating_sub(1),
        })
    }

    /// The newest offset of a room that anybody was told of, by the message, by a join or by an acknowledgement.
    pub fn top(&self, room: usize) -> u64 {
        self.rooms.get(room).map_or(0, |r| r.top)
    }

    /// Whether a member has, or was told that it does not have, all that anybody was told of its room.
    pub fn is_current(&self, member: usize) -> bool {
        self.members.get(member).is_some_and(|seat| {
            seat.order
                .as_ref()
                .is_some_and(|o| o.missing(self.rooms[seat.room].top) == 0)
        })
    }

    /// Whether every send is answered and everything acknowledged accounted for, of the members that
    /// `counts` names.
    pub fn settled(&self, counts: impl Fn(usize) -> bool) -> bool {
        self.tally.answered >= self.tally.sent
            && (0..self.members.len()).all(|m| !counts(m) || self.is_current(m))
    }

    /// What is missing of the members that `counts` names.
    pub fn settle(&self, counts: impl Fn(usize) -> bool) -> Loss {
        let mut loss = Loss {
            unanswered: self.tally.sent.saturating_sub(self.tally.answered),
            ..Loss::default()
        };
        for (_, seat) in self
            .members
            .iter()
            .enumerate()
            .filter(|(m, seat)| !seat.renumbered && counts(*m))
        {
            let room = &self.rooms[seat.room];
            let accounted = seat.delivered + seat.told;
            let by_offset = seat.order.as_ref().map_or(room.accepted, |o| o.missing(room.top));
            // Two ways to count, by offset and by number: a fault in one does not hide in the other.
            let missing = by_offset.max(room.accepted.saturating_sub(accounted));
            loss.expected += room.accepted;
            loss.lost += missing;
            loss.members_short += u64::from(missing > 0);
            if loss.unanswered == 0 {
                loss.unexpected += accounted.saturating_sub(room.accepted);
            }
        }
        loss
    }
}

/// A member misses `after` messages where it missed `before`.
fn record_holes(series: Option<&mut Series>, before: u64, after: u64) {
    if let Some(series) = series {
        series.missing(after.cast_signed() - before.cast_signed());
    }
}

#[cfg(test)]
mod tests;
