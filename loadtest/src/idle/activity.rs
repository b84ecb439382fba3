//! One message from each connection of an idle run, and the count of what arrives.

use std::collections::BTreeMap;
use std::ops::Range;

use super::IdlePlan;
use super::crowd::Messages;
use crate::clock::{self, MILLI, Nanos};
use crate::dialect::{Dialect, Ready, nats};
use crate::engine::{Ended, Engine, Handler, Io};
use crate::error::{Error, Result};
use crate::room::Stage;
use crate::series::{Phase, Series};
use crate::wire::MESSAGE_PREFIX;
use crate::wire::command::FIRST_SEND_ID;
use crate::wire::reply::{Answer, Frame, Frames};
use crate::wire::stamp::{Finder, Stamp};

/// Most messages unanswered while connections become active.
const IN_FLIGHT_MAX: usize = 64;
/// Longest wait of one turn.
pub(super) const TURN_MAX: Nanos = 100 * MILLI;
/// Wait after a refusal without a time.
const REFUSED_PAUSE: Nanos = 100 * MILLI;

/// One message from each connection, and the count of what arrives.
pub(super) struct Activity {
    run: u32,
    dialect: Dialect,
    per_room: usize,
    frames: Frames,
    stamps: Finder,
    commands: Vec<Ready>,
    /// NATS: how the messages of each room begin.
    arriving: Vec<Vec<u8>>,
    members_of: Vec<u64>,
    /// Waiting for their turn, and until when.
    queue: Vec<(Nanos, usize)>,
    in_flight: usize,
    number: u64,
    sent: u64,
    accepted: u64,
    expected: u64,
    delivered: u64,
    refused: BTreeMap<String, u64>,
    ended: BTreeMap<String, u64>,
    /// The course of the run; lent to the fleet while it connects.
    pub(super) series: Option<Series>,
}

impl Activity {
    /// Ready to send, when the plan says so.
    pub(super) fn new(plan: &IdlePlan, stage: &Stage<'_>, rooms: &[String]) -> Result<Activity> {
        if plan.active && stage.dialect == Dialect::Countersign && stage.sessions.is_empty() {
            return Err(Error::Usage(
                "--active needs signed-in connections: anonymous ones cannot send".to_owned(),
            ));
        }
        let mut activity = Activity {
            run: stage.run,
            dialect: stage.dialect,
            per_room: plan.per_room.max(1),
            frames: Frames::default(),
            stamps: Finder::default(),
            commands: Vec::new(),
            arriving: rooms.iter().map(|room| nats::arriving(room)).collect(),
            members_of: vec![0; rooms.len()],
            queue: Vec::new(),
            in_flight: 0,
            number: 0,
            sent: 0,
            accepted: 0,
            expected: 0,
            delivered: 0,
            refused: BTreeMap::new(),
            ended: BTreeMap::new(),
            series: None,
        };
        if plan.active {
            activity.speak(rooms, plan.body_bytes)?;
        }
        Ok(activity)
    }

    /// What goes on from now on.
    pub(super) fn phase(&mut self, phase: Phase) {
        if let Some(series) = &mut self.series {
            series.phase(phase);
        }
    }

    fn tick(&mut self, io: &Io, now: Nanos) {
        if let Some(series) = &mut self.series {
            series.tick(now, io.live());
        }
    }

    /// From now on messages have bodies of `body_bytes`.
    pub(super) fn speak(&mut self, rooms: &[String], body_bytes: usize) -> Result<()> {
        let commands: Result<Vec<Ready>> = rooms
            .iter()
            .map(|room| self.dialect.ready(room, body_bytes))
            .collect();
        self.commands = commands?;
        Ok(())
    }

    /// `members` are in their rooms now and receive what is sent there.
    pub(super) fn enter(&mut self, members: Range<usize>) {
        for member in members {
            self.members_of[member / self.per_room] += 1;
        }
    }

    /// Lets `members` send one message each and waits for all replies and deliveries.
    pub(super) fn run(
        &mut self,
        engine: &mut Engine,
        members: Range<usize>,
        stage: &Stage<'_>,
    ) -> Result<()> {
        let (began, until) = (clock::now(), stage.until);
        let bar = stage.progress.bar("messages", members.len());
        let accepted_before = self.accepted;
        self.queue = members.rev().map(|member| (0, member)).collect();
        loop {
            let now = clock::now();
            if now >= until {
                return Err(Error::Deadline {
                    phase: "one message each",
                    limit: now - began,
                    state: format!(
                        "{} to send, {} unanswered, {} of {} delivered",
                        self.queue.len(),
                        self.in_flight,
                        self.delivered,
                        self.expected
                    ),
                });
            }
            while self.in_flight < IN_FLIGHT_MAX
                && let Some(at) = self.queue.iter().rposition(|(at, _)| *at <= now)
            {
                let (_, member) = self.queue.swap_remove(at);
                self.send(&mut engine.io, member, now);
            }
            let lost = self.ended.values().sum::<u64>() > 0;
            if self.queue.is_empty() && self.in_flight == 0 && (self.delivered >= self.expected || lost) {
                bar.done();
                return Ok(());
            }
            engine.turn(self, TURN_MAX)?;
            bar.set(usize::try_from(self.accepted - accepted_before).unwrap_or(0));
            self.tick(&engine.io, clock::now());
        }
    }

    /// Sends nothing for `span`; pings are answered.
    pub(super) fn rest(
        &mut self,
        engine: &mut Engine,
        what: &'static str,
        span: Nanos,
        stage: &Stage<'_>,
    ) -> Result<()> {
        let began = clock::now();
        let end = (began + span).min(stage.until);
        let steps = |span: Nanos| usize::try_from(span / TURN_MAX).unwrap_or(0);
        let bar = stage.progress.bar(what, steps(span));
        loop {
            let now = clock::now();
            self.tick(&engine.io, now);
            if now >= end {
                bar.done();
                return Ok(());
            }
            bar.set(steps(now - began));
            engine.turn(self, TURN_MAX.min(end - now))?;
        }
    }

    fn send(&mut self, io: &mut Io, member: usize, intended_at: Nanos) {
        let stamp = Stamp {
            run: self.run,
            // Where the message is its own answer, its sender must know it.
            number: if self.dialect.echoes() {
                member as u64
            } else {
                self.number
            },
            intended_at,
        };
        let Some(command) = self.commands.get_mut(member / self.per_room) else {
            return;
        };
        if io.send(member, command.with(&stamp)) {
            self.number += 1;
            self.sent += 1;
            if let Some(series) = &mut self.series {
                series.sent(1);
            }
            self.in_flight += 1;
        }
    }

    /// A message of a target that echoes.
    fn echoed(&mut self, member: usize, payload: &[u8]) {
        if let Some(stamp) = self.stamps.find(payload).filter(|s| s.run == self.run) {
            self.delivered += 1;
            if let Some(series) = &mut self.series {
                series.received(1);
            }
            if stamp.number == member as u64 {
                let answer = Answer::Ok {
                    offset: Some(0),
                    after_ms: None,
                };
                self.answered(member, answer);
            }
        }
    }

    fn answered(&mut self, member: usize, answer: Answer) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let again = match answer {
            Answer::Ok { offset: Some(_), .. } => {
                self.accepted += 1;
                self.expected += self.members_of[member / self.per_room];
                return;
            }
            Answer::Ok { after_ms, .. } => {
                *self.refused.entry("shed".to_owned()).or_default() += 1;
                after_ms
            }
            Answer::Error {
                code,
                retry,
                after_ms,
            } => {
                *self.refused.entry(code.name().to_owned()).or_default() += 1;
                if !retry {
                    return;
                }
                after_ms
            }
        };
        let pause = again.map_or(REFUSED_PAUSE, |ms| ms * MILLI);
        self.queue.push((clock::now() + pause, member));
    }

    /// Everything that was counted.
    pub(super) fn counted(self) -> Messages {
        Messages {
            sent: self.sent,
            accepted: self.accepted,
            refused: self.refused,
            expected: self.expected,
            delivered: self.delivered,
            ended: self.ended,
        }
    }
}

impl Handler for Activity {
    fn opened(&mut self, _: &mut Io, _: usize) {}

    fn text(&mut self, _: &mut Io, member: usize, payload: &[u8], _: Nanos) {
        if self.dialect.echoes() {
            self.echoed(member, payload);
        } else if payload.starts_with(MESSAGE_PREFIX) {
            self.delivered += 1;
            if let Some(series) = &mut self.series {
                series.received(1);
            }
        } else if let Frame::Reply { id: Some(id), answer } = self.frames.read(payload)
            && id >= FIRST_SEND_ID
        {
            self.answered(member, answer);
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
                    *self.ended.entry(format!("error: {what}")).or_default() += 1;
                    used
                }
                nats::Next::Broken => {
                    *self
                        .ended
                        .entry("a line NATS does not have".to_owned())
                        .or_default() += 1;
                    rest.len()
                }
                nats::Next::Info { used }
                | nats::Next::Pong { used }
                | nats::Next::Ok { used }
                | nats::Next::Stray { used } => used,
            };
        }
    }

    fn ended(&mut self, _: &mut Io, _: usize, how: Ended) {
        let how = match how {
            Ended::Closed { code } => format!("closed {code}"),
            other => format!("{other:?}"),
        };
        *self.ended.entry(how).or_default() += 1;
    }
}
