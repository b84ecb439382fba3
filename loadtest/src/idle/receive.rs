//! What arrives at the connections of an idle run, and whose account it goes into.

use countersign_protocol::server::GapPush;

use super::activity::{Activity, SERIAL_BITS, SERIAL_MAX};
use crate::clock::{self, MILLI, Nanos};
use crate::dialect::nats;
use crate::engine::{Ended, Handler, Io};
use crate::wire::MESSAGE_PREFIX;
use crate::wire::command::FIRST_SEND_ID;
use crate::wire::reply::{Answer, Frame};

/// Wait after a refusal without a time.
const REFUSED_PAUSE: Nanos = 100 * MILLI;

impl Activity {
    /// A message of a target with offsets.
    fn message(&mut self, member: usize, payload: &[u8]) {
        let Some(offset) = self.offset.find(payload) else {
            self.messages.malformed += 1;
            return;
        };
        let ours = self.stamps.find(payload).is_some_and(|s| s.run == self.run);
        self.arrived(member, offset, ours);
    }

    /// A message of a target that echoes.
    fn echoed(&mut self, member: usize, payload: &[u8]) {
        let room = member / self.per_room;
        let number = self
            .stamps
            .find(payload)
            .filter(|s| s.run == self.run && s.number >> SERIAL_BITS == room as u64)
            .map(|s| s.number);
        let serial = number.map_or(0, |n| n & SERIAL_MAX);
        let Some(number) = number.filter(|_| (1..=self.accounts.top(room)).contains(&serial)) else {
            self.messages.foreign += 1;
            return;
        };
        let fresh = self.arrived(member, serial, true);
        if fresh && self.asked.get(member) == Some(&Some(number)) {
            let offset = Some(serial);
            self.answered(
                member,
                number,
                Answer::Ok {
                    offset,
                    after_ms: None,
                },
            );
        }
    }

    /// Accounts for an arrival. Whether it is a message of this run that was not here before.
    fn arrived(&mut self, member: usize, offset: u64, ours: bool) -> bool {
        let Some(seen) = self.accounts.arrived(member, offset, ours) else {
            return false;
        };
        if let Some(series) = &mut self.series {
            series.seen(seen);
        }
        if !ours {
            self.messages.foreign += 1;
            return false;
        }
        let fresh = self.messages.arrived(seen, !self.dialect.echoes());
        if fresh {
            self.moved_at = clock::now();
            if let Some(series) = &mut self.series {
                series.received(1);
            }
        }
        fresh
    }

    /// The server says that it dropped something for `member`.
    fn gap(&mut self, member: usize, payload: &[u8]) {
        let Ok(gap) = serde_json::from_slice::<GapPush>(payload) else {
            self.messages.malformed += 1;
            return;
        };
        let (told, holes) = self.accounts.told(member, gap.from, gap.to);
        self.messages.told += told;
        if told > 0 {
            self.moved_at = clock::now();
        }
        if let Some(series) = &mut self.series {
            series.missing(holes);
        }
    }

    fn answered(&mut self, member: usize, number: u64, answer: Answer) {
        self.messages.answered += 1;
        self.moved_at = clock::now();
        // One that was given up, or is answered once more, holds no place.
        let awaited = self.asked.get_mut(member).filter(|asked| **asked == Some(number));
        let awaited = awaited.is_some_and(|asked| asked.take().is_some());
        self.in_flight = self.in_flight.saturating_sub(usize::from(awaited));
        let again = match answer {
            Answer::Ok {
                offset: Some(offset), ..
            } => {
                self.messages.accepted += 1;
                if !self.dialect.echoes() {
                    self.accounts.accepted(member / self.per_room, offset);
                }
                return;
            }
            Answer::Ok { after_ms, .. } => {
                *self.messages.refused.entry("shed".to_owned()).or_default() += 1;
                after_ms
            }
            Answer::Error {
                code,
                retry,
                after_ms,
            } => {
                let name = code.name().to_owned();
                *self.messages.refused.entry(name).or_default() += 1;
                if !retry {
                    return;
                }
                after_ms
            }
        };
        if awaited {
            let pause = again.map_or(REFUSED_PAUSE, |ms| ms * MILLI);
            self.queue.push((self.moved_at + pause, member));
        }
    }

    fn end(&mut self, how: String) {
        *self.messages.ended.entry(how).or_default() += 1;
    }
}

impl Handler for Activity {
    fn opened(&mut self, _: &mut Io, _: usize) {}

    fn text(&mut self, _: &mut Io, member: usize, payload: &[u8], _: Nanos) {
        if self.dialect.echoes() {
            return self.echoed(member, payload);
        }
        if payload.starts_with(MESSAGE_PREFIX) {
            return self.message(member, payload);
        }
        match self.frames.read(payload) {
            Frame::Reply { id: Some(id), answer } if id >= FIRST_SEND_ID => {
                self.answered(member, id - FIRST_SEND_ID, answer);
            }
            // A message with its keys in another order.
            Frame::Push { kind } if kind == "message" => self.message(member, payload),
            Frame::Push { kind } if kind == "gap" => self.gap(member, payload),
            Frame::Unreadable => self.messages.malformed += 1,
            Frame::Reply { .. } | Frame::Push { .. } => {}
        }
    }

    fn stream(&mut self, io: &mut Io, member: usize, bytes: &[u8], _: Nanos) -> usize {
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let arriving = self.arriving.get(member / self.per_room);
            done += match nats::next(rest, arriving.map_or(&[], Vec::as_slice)) {
                nats::Next::More => return done,
                nats::Next::Message { from, to, used } => {
                    self.echoed(member, &rest[from..to]);
                    used
                }
                nats::Next::Ping { used } => {
                    io.send(member, nats::PONG);
                    used
                }
                nats::Next::Error { what, used } => {
                    self.end(format!("error: {what}"));
                    used
                }
                nats::Next::Broken => {
                    self.end("a line NATS does not have".to_owned());
                    rest.len()
                }
                nats::Next::Stray { used } => {
                    self.messages.foreign += 1;
                    used
                }
                nats::Next::Info { used } | nats::Next::Pong { used } | nats::Next::Ok { used } => used,
            };
        }
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        self.accounts.gone(member);
        let unanswered = self.asked.get_mut(member).and_then(Option::take);
        self.in_flight = self.in_flight.saturating_sub(usize::from(unanswered.is_some()));
        let how = match how {
            Ended::Closed { code } => format!("closed {code}"),
            other => format!("{other:?}"),
        };
        self.end(how);
    }
}
