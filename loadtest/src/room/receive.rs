//! What arrives: the part of the `room` scenario that runs for every frame.

use countersign_protocol::server::{CountsPush, GapPush};

use super::Load;
use super::agreement::{Expected, is_as_sent};
use super::driver::{Driver, REFUSED_PAUSE, class_of};
use super::echo::Echo;
use super::stall;
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
        let seen = seat.order.observe(offset);
        let fresh = self.tally.arrived(seen);
        if let Some(series) = &mut self.series {
            series.seen(seen);
        }
        let Some(stamp) = stamp.filter(|s| s.run == self.run) else {
            self.tally.foreign += 1;
            return;
        };
        if fresh {
            seat.delivered += 1;
            let (room, stalls) = (seat.room, seat.stalls);
            let book = &mut self.rooms[room].book;
            book.top = book.top.max(offset);
            if let Some(ledger) = &mut book.ledger {
                ledger.note(offset, class_of(stamp.number));
            }
            self.delivered((room, stalls), payload.len(), &stamp, at);
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
        let room = seat.room;
        let Some(seen) = echo.observe(member, room, stamp.number) else {
            self.tally.foreign += 1;
            return;
        };
        if let Some(series) = &mut self.series {
            series.seen(seen);
        }
        if self.tally.arrived(seen) {
            seat.delivered += 1;
            self.delivered((room, false), wire_bytes, &stamp, at);
            if Echo::publisher(stamp.number) == member {
                self.tally.answered += 1;
                self.tally.accepted += 1;
                self.accounts.note(room, 0, |a| a.counts.accepted += 1);
                if self.sending && matches!(self.plan.load, Load::InFlight { .. }) {
                    self.send_again(io, member, at);
                }
            }
        }
        if self.decodes() {
            self.decode(member, payload, 0, stamp);
        }
    }

    /// Counts a message that was not here before, in `room`, by a member that reads or `stalls`.
    fn delivered(&mut self, (room, stalls): (usize, bool), bytes: usize, stamp: &Stamp, at: Nanos) {
        self.tally.delivered += 1;
        self.tally.counted += u64::from(self.counting);
        self.tally.message_bytes += bytes as u64;
        // What those who do not read get late is their own doing.
        let latency = (!stalls).then(|| at.saturating_sub(stamp.intended_at));
        match (&mut self.series, latency) {
            (Some(series), Some(latency)) => series.delivered(latency),
            (Some(series), None) => series.received(1),
            (None, _) => {}
        }
        self.timed(room, stamp, latency);
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

    /// Counts a delivery and its latency where they belong.
    fn timed(&mut self, room: usize, stamp: &Stamp, latency: Option<Nanos>) {
        let within = |span: (Nanos, Nanos)| stamp.intended_at >= span.0 && stamp.intended_at < span.1;
        let measured = latency.filter(|_| within(self.window));
        if let Some(latency) = measured {
            self.latency.record(latency);
        } else if let Some(latency) = latency.filter(|_| within(self.reference_window)) {
            self.reference.record(latency);
        }
        self.accounts.note(room, class_of(stamp.number), |account| {
            account.counts.delivered += 1;
            if let Some(latency) = measured {
                account.latency.record(latency);
            }
        });
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
            Frame::Push { kind } => self.push(member, kind, payload, at),
            Frame::Unreadable => self.tally.malformed += 1,
        }
    }

    fn answered(&mut self, io: &mut Io, member: usize, number: u64, answer: Answer, at: Nanos) {
        self.tally.answered += 1;
        let (room, class) = (self.members.get(member).map_or(0, |m| m.room), class_of(number));
        let pause = match answer {
            Answer::Ok {
                offset: Some(offset), ..
            } => {
                self.accepted(member, offset, number);
                0
            }
            Answer::Ok { after_ms, .. } => {
                self.tally.shed += 1;
                self.accounts.note(room, class, |a| a.counts.shed += 1);
                after_ms.map_or(REFUSED_PAUSE, |ms| ms * MILLI)
            }
            Answer::Error { code, after_ms, .. } => {
                *self.tally.refused.entry(code.name().to_owned()).or_default() += 1;
                self.accounts.note(room, class, |a| a.counts.refused += 1);
                after_ms.map_or(REFUSED_PAUSE, |ms| ms * MILLI)
            }
        };
        if self.sending && matches!(self.plan.load, Load::InFlight { .. }) {
            if pause == 0 {
                self.send_again(io, member, at);
            } else {
                self.held.push((at + pause, member));
            }
        }
    }

    fn accepted(&mut self, member: usize, offset: u64, number: u64) {
        self.tally.accepted += 1;
        let index = self.members.get(member).map_or(0, |m| m.room);
        if let Some(room) = self.rooms.get_mut(index) {
            room.book.accepted += 1;
            room.book.top = room.book.top.max(offset);
            if let Some(ledger) = &mut room.book.ledger {
                ledger.note(offset, class_of(number));
            }
        }
        let members = self.layout.size(index) as u64;
        self.accounts.note(index, class_of(number), |a| {
            a.counts.accepted += 1;
            a.counts.expected += members;
        });
        if let Some(agreement) = &mut self.agreement {
            self.tally.disagreed += u64::from(!agreement.agrees(index, offset, number));
        }
    }

    /// A gap is counted by offset, the rest by name.
    fn push(&mut self, member: usize, kind: String, payload: &[u8], at: Nanos) {
        if kind == "gap"
            && let Ok(gap) = serde_json::from_slice::<GapPush>(payload)
            && let Some(seat) = self.members.get_mut(member)
        {
            let room = seat.room;
            let before = seat.order.holes();
            let mut ledger = self.rooms.get_mut(room).and_then(|r| r.book.ledger.as_mut());
            let told = seat.order.told_each(gap.from, gap.to, |from, to| {
                if let Some(ledger) = &mut ledger {
                    ledger.told(from, to);
                }
            });
            if let Some(series) = &mut self.series {
                series.missing(seat.order.holes().cast_signed() - before.cast_signed());
            }
            seat.told += told;
            self.tally.told += told;
            if let Some(account) = self.accounts.group(room) {
                account.counts.told += told;
            }
        }
        if kind == "counts" && self.stalled_at.is_some() {
            self.viewers(member, payload, at);
        }
        *self.tally.pushes.entry(kind).or_default() += 1;
    }
}

impl Driver {
    /// Counts tell when members that do not read have left.
    fn viewers(&mut self, member: usize, payload: &[u8], at: Nanos) {
        let Some(seat) = self.members.get(member).filter(|m| !m.stalls) else {
            return;
        };
        let index = seat.room;
        if let Some(room) = self.rooms.get_mut(index)
            && let Ok(counts) = serde_json::from_slice::<CountsPush>(payload)
        {
            let (size, stalled) = (self.layout.size(index), self.layout.stalled(index));
            room.book.stall.seen(at, counts.viewers, size, stalled);
        }
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

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        let tells = stall::tells(&how);
        let how = stall::name_of(how);
        match self.members.get_mut(member) {
            Some(seat) if seat.stalls && self.stalled_at.is_some() => {
                seat.cut = tells;
                seat.ended = Some(how);
                if tells && let Some(room) = self.rooms.get_mut(seat.room) {
                    room.cut += 1;
                    self.cut_accounted += seat.accounted();
                }
            }
            _ => *self.tally.ended.entry(how).or_default() += 1,
        }
    }
}
