//! What arrives: the part of the `room` scenario that runs for every frame.

use countersign_protocol::server::GapPush;

use super::Load;
use super::agreement::{Expected, is_as_sent};
use super::driver::{Driver, REFUSED_PAUSE};
use super::echo::Echo;
use crate::clock::{MILLI, Nanos};
use crate::dialect::nats;
use crate::engine::{Ended, Handler, Io};
use crate::wire::MESSAGE_PREFIX;
use crate::wire::command::FIRST_SEND_ID;
use crate::wire::reply::{Answer, Frame};
use crate::wire::stamp::Stamp;

impl Driver {
    fn message(&mut self, member: usize, payload: &[u8], at: Nanos) {
        let Some(offset) = self.offset.find(payload) else {
            self.tally.malformed += 1;
            return;
        };
        let stamp = self.stamps.find(payload);
        let Some(seat) = self.members.get_mut(member) else {
            return;
        };
        let fresh = self.tally.arrived(seat.order.observe(offset));
        let Some(stamp) = stamp.filter(|s| s.run == self.run) else {
            self.tally.foreign += 1;
            return;
        };
        if fresh {
            seat.delivered += 1;
            let room = &mut self.rooms[seat.room];
            room.top = room.top.max(offset);
            self.delivered(payload.len(), &stamp, at);
        }
        if self.decodes() {
            self.decode(member, payload, offset, stamp);
        }
    }

    /// A message of a target that echoes: `payload` is its body, `wire_bytes` its length with what is around it.
    fn echoed(&mut self, io: &mut Io, member: usize, payload: &[u8], wire_bytes: usize, at: Nanos) {
        let stamp = self.stamps.find(payload).filter(|s| s.run == self.run);
        let (Some(stamp), Some(seat), Some(echo)) = (stamp, self.members.get_mut(member), &mut self.echo)
        else {
            self.tally.foreign += 1;
            return;
        };
        let Some(seen) = echo.observe(member, seat.room, stamp.number) else {
            self.tally.foreign += 1;
            return;
        };
        if self.tally.arrived(seen) {
            seat.delivered += 1;
            self.delivered(wire_bytes, &stamp, at);
            if Echo::publisher(stamp.number) == member {
                self.tally.answered += 1;
                self.tally.accepted += 1;
                if self.sending && matches!(self.plan.load, Load::InFlight { .. }) {
                    self.send(io, member, at);
                }
            }
        }
        if self.decodes() {
            self.decode(member, payload, 0, stamp);
        }
    }

    /// Counts a message that was not here before.
    fn delivered(&mut self, bytes: usize, stamp: &Stamp, at: Nanos) {
        self.tally.delivered += 1;
        self.tally.counted += u64::from(self.counting);
        self.tally.message_bytes += bytes as u64;
        if stamp.intended_at >= self.window.0 && stamp.intended_at < self.window.1 {
            self.latency.record(at.saturating_sub(stamp.intended_at));
        }
    }

    /// Whether it is this message's turn to be decoded.
    fn decodes(&mut self) -> bool {
        self.since_decoded += 1;
        let now = self.since_decoded >= self.plan.decode_every;
        if now {
            self.since_decoded = 0;
        }
        now
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
        if let Some(agreement) = &mut self.agreement
            && self.echo.is_none()
        {
            self.tally.disagreed += u64::from(!agreement.agrees(index, offset, stamp.number));
        }
    }

    /// Anything but a message.
    fn other(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos) {
        match self.replies.read(payload) {
            Frame::Reply { id: Some(id), answer } if id >= FIRST_SEND_ID => {
                self.answered(io, member, id - FIRST_SEND_ID, answer, at);
            }
            // To something before the run, or about a frame whose id could not be read.
            Frame::Reply { .. } => *self.tally.pushes.entry("reply".to_owned()).or_default() += 1,
            // A message with its keys in another order.
            Frame::Push { kind } if kind == "message" => self.message(member, payload, at),
            Frame::Push { kind } => self.push(member, kind, payload),
            Frame::Unreadable => self.tally.malformed += 1,
        }
    }

    fn answered(&mut self, io: &mut Io, member: usize, number: u64, answer: Answer, at: Nanos) {
        self.tally.answered += 1;
        let pause = match answer {
            Answer::Ok {
                offset: Some(offset), ..
            } => {
                self.accepted(member, offset, number);
                0
            }
            Answer::Ok { after_ms, .. } => {
                self.tally.shed += 1;
                after_ms.map_or(REFUSED_PAUSE, |ms| ms * MILLI)
            }
            Answer::Error { code, after_ms, .. } => {
                *self.tally.refused.entry(code.name().to_owned()).or_default() += 1;
                after_ms.map_or(REFUSED_PAUSE, |ms| ms * MILLI)
            }
        };
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

    /// A gap is counted by offset, the rest by name.
    fn push(&mut self, member: usize, kind: String, payload: &[u8]) {
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
        if self.echo.is_some() {
            self.echoed(io, member, payload, payload.len(), at);
        } else if payload.starts_with(MESSAGE_PREFIX) {
            self.message(member, payload, at);
        } else {
            self.other(io, member, payload, at);
        }
    }

    fn stream(&mut self, io: &mut Io, member: usize, bytes: &[u8], at: Nanos) -> usize {
        let room = self.members.get(member).map_or(0, |m| m.room);
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let arriving = self.rooms.get(room).map_or(&[][..], |r| &r.arriving);
            done += match nats::next(rest, arriving) {
                nats::Next::More => return done,
                nats::Next::Message { from, to, used } => {
                    self.echoed(io, member, &rest[from..to], used, at);
                    used
                }
                nats::Next::Stray { used } => {
                    self.tally.foreign += 1;
                    used
                }
                nats::Next::Ping { used } => {
                    io.send(member, nats::PONG);
                    used
                }
                nats::Next::Error { what, used } => {
                    *self.tally.pushes.entry(format!("error: {what}")).or_default() += 1;
                    used
                }
                nats::Next::Info { used } | nats::Next::Pong { used } | nats::Next::Ok { used } => used,
                nats::Next::Broken => {
                    // Where the next line begins is not known either.
                    self.tally.malformed += 1;
                    rest.len()
                }
            };
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
