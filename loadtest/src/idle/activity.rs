//! One message from each connection of an idle run: who sends when, and how long is waited. What arrives is in
//! [`super::receive`].

use std::ops::Range;

use super::IdlePlan;
use super::account::Accounts;
use super::messages::Messages;
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::dialect::{Dialect, Ready, nats};
use crate::engine::{Engine, Io};
use crate::error::{Error, Result};
use crate::room::Stage;
use crate::series::{Phase, Series};
use crate::wire::reply::Frames;
use crate::wire::scan::NumberField;
use crate::wire::stamp::{Finder, Stamp};

/// Most messages unanswered while connections become active.
const IN_FLIGHT_MAX: usize = 64;
/// Longest wait of one turn.
pub(super) const TURN_MAX: Nanos = 100 * MILLI;
/// After all is accounted for, nothing must arrive for this long: what comes twice is still counted.
const QUIET: Nanos = 20 * MILLI;
/// Longest wait for quiet after all is accounted for.
const QUIET_MAX: Nanos = SECOND;
/// Where a message is its own answer, the lowest bits of its number count the messages of its room, in place of
/// an offset; those above name the room: a million of rooms fit into a stamp.
pub(super) const SERIAL_BITS: u32 = 28;
pub(super) const SERIAL_MAX: u64 = (1 << SERIAL_BITS) - 1;

/// One message from each connection, and the account of what arrives.
pub(super) struct Activity {
    pub(super) run: u32,
    pub(super) dialect: Dialect,
    pub(super) per_room: usize,
    /// A round without anything new for this long is over.
    drain: Nanos,
    pub(super) frames: Frames,
    pub(super) offset: NumberField<9>,
    pub(super) stamps: Finder,
    commands: Vec<Ready>,
    /// NATS: how the messages of each room begin.
    pub(super) arriving: Vec<Vec<u8>>,
    pub(super) accounts: Accounts,
    /// By member: the number of its message that is unanswered.
    pub(super) asked: Vec<Option<u64>>,
    /// Waiting for their turn, and until when.
    pub(super) queue: Vec<(Nanos, usize)>,
    pub(super) in_flight: usize,
    /// When something was last sent, answered, delivered or told.
    pub(super) moved_at: Nanos,
    number: u64,
    pub(super) messages: Messages,
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
            drain: plan.drain,
            frames: Frames::default(),
            offset: NumberField::new(b"\"offset\":"),
            stamps: Finder::default(),
            commands: Vec::new(),
            arriving: rooms.iter().map(|room| nats::arriving(room)).collect(),
            accounts: Accounts::new(rooms.len()),
            asked: Vec::new(),
            queue: Vec::new(),
            in_flight: 0,
            moved_at: 0,
            number: 0,
            messages: Messages::default(),
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

    /// The next members are in their rooms now and receive what is sent there; `bases` are the newest offsets
    /// when they joined.
    pub(super) fn enter(&mut self, bases: impl Iterator<Item = u64>) {
        for base in bases {
            // Who is not told an offset has joined after all that was sent so far.
            let base = (self.dialect == Dialect::Countersign).then_some(base);
            self.accounts.enter(self.asked.len() / self.per_room, base);
            self.asked.push(None);
        }
    }

    /// Lets `members` send one message each and waits until all replies and deliveries are there, or nothing new
    /// has come for as long as the plan says: what is missing then is found in the accounts.
    pub(super) fn run(
        &mut self,
        engine: &mut Engine,
        members: Range<usize>,
        stage: &Stage<'_>,
    ) -> Result<()> {
        let began = clock::now();
        let bar = stage.progress.bar("messages", members.len());
        let accepted_before = self.messages.accepted;
        self.queue = members.rev().map(|member| (0, member)).collect();
        self.moved_at = began;
        let mut settled_at: Option<Nanos> = None;
        loop {
            let now = clock::now();
            if now >= stage.until {
                return Err(self.late(now - began));
            }
            while self.in_flight < IN_FLIGHT_MAX
                && let Some(at) = self.queue.iter().rposition(|(at, _)| *at <= now)
            {
                let (_, member) = self.queue.swap_remove(at);
                self.send(&mut engine.io, member, now);
            }
            if settled_at.is_none() && self.settled() {
                settled_at = Some(now);
            }
            let wait = match settled_at {
                Some(at) if now >= at + QUIET_MAX => break,
                Some(_) => QUIET,
                None if self.stuck(now) => {
                    self.give_up();
                    break;
                }
                None => TURN_MAX,
            };
            let events = engine.turn(self, wait)?;
            if events == 0 && settled_at.is_some() {
                break;
            }
            bar.set(usize::try_from(self.messages.accepted - accepted_before).unwrap_or(0));
            self.tick(&engine.io, clock::now());
        }
        bar.done();
        Ok(())
    }

    /// Whether all have sent, and everything is answered and accounted for.
    fn settled(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0 && self.accounts.settled()
    }

    /// Whether nothing new has come for too long while nobody could send. Who was told to wait is no reason.
    fn stuck(&self, now: Nanos) -> bool {
        let waits = self.queue.is_empty() || self.in_flight >= IN_FLIGHT_MAX;
        waits && now >= self.moved_at.saturating_add(self.drain)
    }

    /// Ends a round that is stuck. An answer that comes yet is still counted.
    fn give_up(&mut self) {
        self.messages.unsent += self.queue.len() as u64;
        self.queue.clear();
        self.asked.fill(None);
        self.in_flight = 0;
    }

    fn late(&self, limit: Nanos) -> Error {
        Error::Deadline {
            phase: "one message each",
            limit,
            state: format!(
                "{} to send, {} unanswered, {} delivered",
                self.queue.len(),
                self.in_flight,
                self.messages.delivered
            ),
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
        let room = member / self.per_room;
        let serial = self.accounts.top(room) + 1;
        let stamp = Stamp {
            run: self.run,
            // Where the message is its own answer, its sender must know it.
            number: if self.dialect.echoes() {
                ((room as u64) << SERIAL_BITS) | (serial & SERIAL_MAX)
            } else {
                self.number
            },
            intended_at,
        };
        let Some(command) = self.commands.get_mut(room) else {
            return;
        };
        if !io.send(member, command.with(&stamp)) {
            self.messages.unsent += 1;
            return;
        }
        if self.dialect.echoes() {
            self.accounts.accepted(room, serial);
        }
        if let Some(asked) = self.asked.get_mut(member) {
            *asked = Some(stamp.number);
        }
        self.number += 1;
        self.messages.sent += 1;
        self.moved_at = intended_at;
        if let Some(series) = &mut self.series {
            series.sent(1);
        }
        self.in_flight += 1;
    }

    /// Everything that was counted.
    pub(super) fn counted(mut self) -> Messages {
        self.messages.unanswered = self.messages.sent.saturating_sub(self.messages.answered);
        self.accounts.settle(&mut self.messages);
        self.messages
    }
}
