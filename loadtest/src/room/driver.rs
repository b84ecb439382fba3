//! The running `room` scenario: its state, and when what is sent. What arrives is in [`super::receive`].

use super::account::Accounts;
use super::agreement::Agreement;
use super::books::{Books, Member, RoomBook};
use super::echo::Echo;
use super::gather::Gathered;
use super::layout::{Layout, Share};
use super::ledger::Ledger;
use super::schedule::{Due, Schedule};
use super::tally::Tally;
use super::variant::CLASSES;
use super::{Load, RoomPlan};
use crate::clock::{MILLI, Nanos, SECOND};
use crate::dialect::{Dialect, Ready, nats};
use crate::engine::Io;
use crate::error::Result;
use crate::latency::Latency;
use crate::series::{Phase, Series};
use crate::wire::command::SENDS_MAX;
use crate::wire::reply::Frames;
use crate::wire::scan::NumberField;
use crate::wire::stamp::{Finder, Stamp, body};

/// Most paced sends made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;
/// A slot of a burst that was refused without a time waits this long.
pub(super) const REFUSED_PAUSE: Nanos = 10 * MILLI;
/// The lowest bits of a message's number are the code of its priority.
const CLASS_BITS: u32 = 2;

/// The code of the priority of message `number`.
pub(super) fn class_of(number: u64) -> usize {
    usize::try_from(number & ((1 << CLASS_BITS) - 1)).unwrap_or(0)
}

/// One room of the run.
pub(super) struct Room {
    pub name: String,
    /// One for each priority that is sent, by code.
    commands: Vec<Option<Ready>>,
    /// NATS: how each message of the room begins.
    pub arriving: Vec<u8>,
    /// Users who publish; empty when the target does not say who sent.
    pub users: Vec<String>,
    pub book: RoomBook,
    /// Messages sent into it in a burst.
    turn: u64,
    /// Members here whose end told them that they miss something.
    pub cut: u64,
}

/// The running scenario.
pub(super) struct Driver {
    pub(super) plan: RoomPlan,
    pub(super) layout: Layout,
    share: Share,
    pub(super) dialect: Dialect,
    pub(super) run: u32,
    pub rooms: Vec<Room>,
    /// The members driven here.
    pub members: Vec<Member>,
    pub tally: Tally,
    pub(super) accounts: Accounts,
    /// From the intended send to the read that brought the message.
    pub latency: Latency,
    /// The same for messages intended before members stop reading.
    pub(super) reference: Latency,
    /// From the intended send to the send: the tester's own lateness.
    pub lag: Latency,
    /// Messages intended in this span are in the histograms.
    pub window: (Nanos, Nanos),
    /// … and in this span in that of the reference.
    pub reference_window: (Nanos, Nanos),
    /// Deliveries are counted for the processor time per delivery.
    pub counting: bool,
    /// When members stopped reading.
    pub(super) stalled_at: Option<Nanos>,
    /// What members had when their end cut them off.
    pub(super) cut_accounted: u64,
    pub(super) sending: bool,
    schedules: Vec<Schedule>,
    /// Slots of a burst that wait, and until when.
    pub(super) held: Vec<(Nanos, usize)>,
    /// Sends so far; numbers of messages follow from it.
    serial: u64,
    /// The codes of priorities in the order they are sent.
    pattern: Vec<u8>,
    pub(super) since_decoded: u64,
    pub(super) offset: NumberField<9>,
    pub(super) replies: Frames,
    pub(super) stamps: Finder,
    pub(super) agreement: Option<Agreement>,
    /// Where the target echoes: the accounts in place of offsets and replies.
    pub(super) echo: Option<Echo>,
    pub(super) body: (String, usize),
    /// The course of the run, when it is recorded.
    pub(super) series: Option<Series>,
}

impl Driver {
    /// A driver for members that have joined.
    pub(super) fn new(
        plan: &RoomPlan,
        dialect: Dialect,
        run: u32,
        share: Share,
        joined: Gathered,
    ) -> Result<Driver> {
        let layout = Layout::of(plan);
        let pattern = plan.variant.mix.map_or_else(|| vec![0], |mix| mix.pattern());
        let bases = &joined.bases;
        let members: Vec<Member> = (0..bases.len())
            .map(|local| {
                let member = share.global(local);
                Member::new(layout.room_of(member), bases[local], layout.stalls(member))
            })
            .collect();
        let mut base_of = vec![u64::MAX; layout.rooms()];
        for (member, base) in members.iter().zip(bases) {
            base_of[member.room] = base_of[member.room].min(*base);
        }
        let count = joined.rooms.len();
        let echo = dialect
            .echoes()
            .then(|| Echo::new(count, members.len(), plan.publishers));
        let rooms: Result<Vec<Room>> = joined
            .rooms
            .into_iter()
            .zip(base_of)
            .map(|((name, users), base)| {
                // A room of which no member is driven here: any offset may be the first.
                let base = if base == u64::MAX { 0 } else { base };
                Room::new((name, users), (plan, dialect), &pattern, (base, count))
            })
            .collect();
        let (text, at) = body(plan.body_bytes);
        Ok(Driver {
            rooms: rooms?,
            members,
            accounts: Accounts::of(&plan.variant)?,
            plan: plan.clone(),
            layout,
            share,
            dialect,
            run,
            tally: Tally::default(),
            latency: Latency::new()?,
            reference: Latency::new()?,
            lag: Latency::new()?,
            window: (0, 0),
            reference_window: (0, 0),
            counting: false,
            stalled_at: None,
            cut_accounted: 0,
            sending: false,
            schedules: Vec::new(),
            held: Vec::new(),
            serial: 0,
            pattern,
            since_decoded: 0,
            offset: NumberField::new(b"\"offset\":"),
            replies: Frames::default(),
            stamps: Finder::default(),
            agreement: plan.check.then(Agreement::default),
            echo: echo.transpose()?,
            body: (String::from_utf8(text).unwrap_or_default(), at),
            series: joined.series,
        })
    }

    /// Begins to send: the schedules, or all slots of the burst.
    pub(super) fn begin(&mut self, io: &mut Io, start: Nanos) {
        self.sending = true;
        match self.plan.load {
            Load::Paced { per_second } => {
                let small = Schedule::new(start, self.layout.small(), per_second);
                let big = self.plan.variant.big;
                let big = big.map(|b| Schedule::new(start, 0..1, b.per_second));
                self.schedules = big.into_iter().chain([small]).collect();
            }
            Load::InFlight { messages } => {
                for member in self.publishers() {
                    for _ in 0..messages {
                        self.send_again(io, member, start);
                    }
                }
            }
        }
    }

    /// No message is sent from now on.
    pub(super) fn stop(&mut self) {
        self.sending = false;
        self.schedules.clear();
        self.held.clear();
    }

    /// Members that are to stop reading do so, or begin again.
    pub(super) fn stall(&mut self, io: &mut Io, stalled: bool, now: Nanos) -> Result<()> {
        for (member, _) in self.members.iter().enumerate().filter(|(_, m)| m.stalls) {
            io.pause(member, stalled)?;
        }
        self.stalled_at.get_or_insert(now);
        Ok(())
    }

    /// Sends what is due at `now`; returns when the next is.
    pub(super) fn send_due(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        for _ in 0..CATCH_UP_MAX {
            let next = self.schedules.iter_mut().min_by_key(|s| s.due_at());
            let Some(schedule) = next.filter(|s| s.due_at() <= now) else {
                break;
            };
            let due = schedule.take(&self.layout);
            // Another process drives the others.
            if let Some(member) = self.share.local(due.member) {
                self.lag.record(now - due.at);
                self.send(io, member, due);
            }
        }
        while let Some(at) = self.held.iter().position(|(at, _)| *at <= now) {
            let (_, member) = self.held.swap_remove(at);
            self.send_again(io, member, now);
        }
        let held = self.held.iter().map(|(at, _)| *at).min();
        let due = self.schedules.iter().map(Schedule::due_at).min();
        due.into_iter().chain(held).min().unwrap_or(now + SECOND)
    }

    /// Whether every send is answered and every acknowledged message accounted for.
    pub(super) fn settled(&self) -> bool {
        let rooms = self.rooms.iter().enumerate();
        let expected: u64 = rooms
            .map(|(i, r)| r.book.accepted * (self.layout.size(i) as u64).saturating_sub(r.cut))
            .sum();
        self.tally.answered >= self.tally.sent && self.accounted() >= expected
    }

    /// Deliveries had or told of, without those of members that were cut off.
    pub(super) fn accounted(&self) -> u64 {
        (self.tally.delivered + self.tally.told).saturating_sub(self.cut_accounted)
    }

    /// What goes on from now on.
    pub(super) fn phase(&mut self, phase: Phase) {
        if let Some(series) = &mut self.series {
            series.phase(phase);
        }
    }

    /// Tells the course the time.
    pub(super) fn tick(&mut self, io: &Io, now: Nanos) {
        if let Some(series) = &mut self.series {
            series.tick(now, io.live());
        }
    }

    /// Everything that was counted.
    pub(super) fn into_books(self) -> Books {
        Books {
            tally: self.tally,
            rooms: self.rooms.into_iter().map(|r| r.book).collect(),
            members: self.members,
            accounts: self.accounts,
            latency: self.latency,
            reference: self.reference,
            lag: self.lag,
            agreement: self.agreement,
            echo: self.echo,
        }
    }

    /// The members driven here that publish.
    fn publishers(&self) -> Vec<usize> {
        let of_room = |room| (0..self.layout.publishers(room)).map(move |k| (room, k));
        (0..self.layout.rooms())
            .flat_map(of_room)
            .filter_map(|(room, k)| self.share.local(self.layout.first(room) + k))
            .collect()
    }

    /// One more message of a burst.
    pub(super) fn send_again(&mut self, io: &mut Io, member: usize, at: Nanos) {
        let room = self.members.get(member).map_or(0, |m| m.room);
        let turn = self.rooms.get_mut(room).map_or(0, |room| {
            room.turn += 1;
            room.turn - 1
        });
        self.send(io, member, Due { at, member, turn });
    }

    /// Sends `due` from the member of this number here.
    fn send(&mut self, io: &mut Io, member: usize, due: Due) {
        let index = self.members.get(member).map_or(0, |m| m.room);
        let place = usize::try_from(due.turn % self.pattern.len().max(1) as u64).unwrap_or(0);
        let class = self.pattern.get(place).copied().unwrap_or(0);
        let command = self
            .rooms
            .get_mut(index)
            .and_then(|r| r.commands.get_mut(usize::from(class))?.as_mut());
        let Some(command) = command else {
            return;
        };
        let number = match &self.echo {
            Some(echo) => echo.next(member),
            None => {
                // Each process has numbers of its own.
                let serial = self.serial * self.share.of as u64 + self.share.index as u64;
                Some((serial << CLASS_BITS) | u64::from(class)).filter(|n| *n < SENDS_MAX)
            }
        };
        let stamp = number.map(|number| Stamp {
            run: self.run,
            number,
            intended_at: due.at,
        });
        if stamp.is_some_and(|stamp| io.send(member, command.with(&stamp))) {
            self.sent(member, index, usize::from(class));
        } else {
            self.tally.unsent += 1;
            self.accounts
                .note(index, usize::from(class), |a| a.counts.unsent += 1);
        }
    }

    /// A message was handed to the socket.
    fn sent(&mut self, member: usize, room: usize, class: usize) {
        self.serial += 1;
        self.tally.sent += 1;
        self.accounts.note(room, class, |a| a.counts.sent += 1);
        if let Some(echo) = &mut self.echo {
            echo.sent(member, room);
            // Nothing will acknowledge it: it is due to everybody from here on.
            self.rooms[room].book.accepted += 1;
            let members = self.layout.size(room) as u64;
            self.accounts.note(room, class, |a| a.counts.expected += members);
        }
        if let Some(series) = &mut self.series {
            series.sent(1);
        }
    }
}

impl Room {
    fn new(
        (name, users): (String, Vec<String>),
        (plan, dialect): (&RoomPlan, Dialect),
        pattern: &[u8],
        (base, rooms): (u64, usize),
    ) -> Result<Room> {
        let commands = CLASSES.iter().enumerate().map(|(code, priority)| {
            let used = pattern.iter().any(|c| usize::from(*c) == code);
            used.then(|| dialect.ready_with_priority(&name, plan.body_bytes, *priority))
                .transpose()
        });
        Ok(Room {
            commands: commands.collect::<Result<_>>()?,
            arriving: nats::arriving(&name),
            name,
            users,
            book: RoomBook {
                ledger: plan.variant.mix.map(|_| Ledger::new(base, rooms)),
                ..RoomBook::default()
            },
            turn: 0,
            cut: 0,
        })
    }
}
