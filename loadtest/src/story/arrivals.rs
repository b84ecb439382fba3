//! Members that come in one by one, and again: connect, upgrade, `hello`, `join`, with or without a
//! position to recover from. Unlike [`Fleet`](crate::fleet::Fleet), which brings all up before anything is
//! measured, what goes wrong here is counted and does not end the run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet, VecDeque};

use countersign_protocol::PROTOCOL_VERSION;
use countersign_protocol::client::{InRoom, Position};
use countersign_protocol::codec::command_json;
use countersign_protocol::error::ErrorReply;
use countersign_protocol::server::{Hello, Joined};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::split::Pool;
use super::{count, idle, reason};
use crate::accounts::Session;
use crate::clock::{MILLI, Nanos, SECOND, from_seconds};
use crate::engine::upgrade::Identity;
use crate::engine::{Ended, Io};
use crate::error::Result;
use crate::fleet::Pace;
use crate::room::Stage;
use crate::target::{Sources, Target};
use crate::wire::command::{JOIN_ID, join_after};

/// Most tries of one arrival.
pub const TRIES_MAX: u8 = 30;
/// Most connections begun before the sockets have their turn again.
const BEGIN_MAX: usize = 64;
/// First pause after a failure without a time; it doubles with each.
const BACKOFF: Nanos = 200 * MILLI;
/// Longest of those pauses.
const BACKOFF_MAX: Nanos = 10 * SECOND;
/// Least spread of those that were all told to come back after the same time.
const SPREAD_MIN: Nanos = 100 * MILLI;
/// The id of a `leave`.
const LEAVE_ID: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Not wanted: not yet, left, cut or given up.
    Away,
    /// Asked for, and not begun or told to wait.
    Waiting,
    /// TCP and upgrade.
    Opening,
    /// The first frame is awaited.
    Hello,
    /// The reply to `join` is awaited, or the time to send it again.
    Joining,
    Inside,
    /// Said `leave` and closed; the server's close is awaited.
    Leaving,
}

/// One who may come.
#[derive(Debug, Clone)]
struct Guest {
    room: usize,
    session: Option<usize>,
    step: Step,
    tries: u8,
    /// Which coming this is: notes about an earlier one are void.
    turn: u32,
    after: Option<Position>,
}

/// What a frame was.
#[derive(Debug)]
pub enum Heard<'p> {
    /// Part of coming or leaving; nothing is left to do.
    Way,
    /// The reply to `join`.
    Joined(Box<Joined<'p>>),
    /// A message before the reply to `join`, which the contract excludes.
    Early,
    /// The frame is for who is inside.
    Inside,
}

/// Whose end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Somebody who was inside.
    Inside,
    /// Somebody on the way, who comes again or is in [`Arrivals::given_up`].
    Coming,
    /// Somebody who had said `leave`.
    Left,
    /// Nobody who was awaited.
    Away,
}

/// Tries that were refused or failed and are made again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Arrivals that had to wait at least once.
    pub arrivals: u64,
    /// Tries after which the server said how long to wait, and those after which the pause grows by itself.
    pub told: u64,
    pub untold: u64,
    /// The longest time that was said, nanoseconds.
    pub longest_told: Nanos,
}

impl Pool for Waits {
    fn pool(&mut self, other: Waits) -> Result<()> {
        self.arrivals += other.arrivals;
        self.told += other.told;
        self.untold += other.untold;
        self.longest_told = self.longest_told.max(other.longest_told);
        Ok(())
    }
}

/// Who comes, and how far they are.
pub struct Arrivals<'a> {
    target: &'a Target,
    sources: Sources,
    sessions: &'a [Session],
    /// How fast connections are begun; may be changed at any time.
    pub pace: Pace,
    rooms: Vec<String>,
    guests: Vec<Guest>,
    waiting: VecDeque<(usize, u32)>,
    again: BinaryHeap<Reverse<(Nanos, usize, u32)>>,
    next_at: Nanos,
    on_their_way: usize,
    inside: usize,
    leaving: usize,
    refused: BTreeMap<String, u64>,
    /// Since it was last set; may be changed at any time.
    pub waits: Waits,
    given_up: Vec<(usize, String)>,
    rng: SmallRng,
}

/// What is read of a frame to know whether it is the reply to `join`.
#[derive(Deserialize)]
struct Head<'a> {
    id: Option<u64>,
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

impl<'a> Arrivals<'a> {
    /// Nobody yet.
    pub fn new(stage: &Stage<'a>, rooms: Vec<String>) -> Arrivals<'a> {
        Arrivals {
            target: stage.target,
            sources: stage.sources,
            sessions: stage.sessions,
            pace: stage.pace,
            rooms,
            guests: Vec::new(),
            waiting: VecDeque::new(),
            again: BinaryHeap::new(),
            next_at: 0,
            on_their_way: 0,
            inside: 0,
            leaving: 0,
            refused: BTreeMap::new(),
            waits: Waits::default(),
            given_up: Vec::new(),
            rng: SmallRng::seed_from_u64(rand::random()),
        }
    }

    /// Adds a guest for `room` with a session or none; returns its number, which is its connection's.
    pub fn add(&mut self, room: usize, session: Option<usize>) -> usize {
        self.guests.push(Guest {
            room,
            session: session.filter(|s| *s < self.sessions.len()),
            step: Step::Away,
            tries: 0,
            turn: 0,
            after: None,
        });
        self.guests.len() - 1
    }

    /// Lets a guest come, to recover from `after` if given.
    pub fn ask(&mut self, member: usize, after: Option<Position>) {
        let Some(guest) = self.guests.get_mut(member).filter(|g| g.step == Step::Away) else {
            return;
        };
        guest.turn = guest.turn.wrapping_add(1);
        guest.tries = 0;
        guest.after = after;
        guest.step = Step::Waiting;
        self.waiting.push_back((member, guest.turn));
    }

    /// Drops the socket without a word.
    pub fn cut(&mut self, io: &mut Io, member: usize) {
        self.step(member, Step::Away);
        io.cut(member);
    }

    /// Says `leave` and closes.
    pub fn leave(&mut self, io: &mut Io, member: usize) {
        if !self.is_inside(member) {
            return;
        }
        let room = std::borrow::Cow::Borrowed(self.room_name(member));
        let leave = command_json(LEAVE_ID, "leave", &InRoom { room });
        io.send(member, &leave);
        io.close(member);
        self.step(member, Step::Leaving);
    }

    /// Begins what is due; returns when there is more to do.
    pub fn begin_due(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        while let Some(Reverse((at, member, turn))) = self.again.peek().copied() {
            if at > now {
                break;
            }
            self.again.pop();
            match self.guests.get(member) {
                Some(g) if g.turn == turn && g.step == Step::Joining => self.join(io, member),
                Some(g) if g.turn == turn && g.step == Step::Waiting => {
                    self.waiting.push_back((member, turn))
                }
                _ => {}
            }
        }
        for _ in 0..BEGIN_MAX {
            if self.on_their_way >= self.pace.in_flight || (self.pace.per_second > 0.0 && now < self.next_at)
            {
                break;
            }
            let Some((member, turn)) = self.waiting.pop_front() else {
                break;
            };
            if self.guests[member].turn == turn && self.guests[member].step == Step::Waiting {
                self.begin(io, member, now);
            }
        }
        let again = self.again.peek().map_or(idle(now), |r| r.0.0);
        let next = if self.waiting.is_empty() {
            idle(now)
        } else if self.on_their_way >= self.pace.in_flight {
            now + MILLI
        } else {
            self.next_at.max(now)
        };
        again.min(next)
    }

    fn begin(&mut self, io: &mut Io, member: usize, now: Nanos) {
        if self.pace.per_second > 0.0 {
            // What could not begin in the last tenth of a second is made up for, no more.
            let gap = from_seconds(1.0 / self.pace.per_second);
            self.next_at = self.next_at.max(now.saturating_sub(SECOND / 10)) + gap;
        }
        let anonymous = Identity::default();
        let identity = self.guests[member]
            .session
            .and_then(|s| self.sessions.get(s))
            .map_or(&anonymous, |s| &s.identity);
        let source = self.sources.of(member);
        match io.connect(member, self.target, &self.target.path, source, identity) {
            Ok(()) => self.step(member, Step::Opening),
            Err(e) => self.later(member, &e.to_string(), None, now),
        }
    }

    fn join(&mut self, io: &mut Io, member: usize) {
        let guest = &self.guests[member];
        let room = self.rooms.get(guest.room).map_or("", String::as_str);
        io.send(member, &join_after(room, guest.after.clone()));
    }

    /// The upgrade was accepted.
    pub fn opened(&mut self, member: usize) {
        if self.guests.get(member).is_some_and(|g| g.step == Step::Opening) {
            self.step(member, Step::Hello);
        }
    }

    /// A frame arrived.
    pub fn heard<'p>(&mut self, io: &mut Io, member: usize, payload: &'p [u8], now: Nanos) -> Heard<'p> {
        match self.guests.get(member).map(|g| g.step) {
            Some(Step::Inside) => Heard::Inside,
            Some(Step::Hello) => {
                match serde_json::from_slice::<Hello>(payload) {
                    Ok(hello) if hello.protocol == PROTOCOL_VERSION => {
                        self.step(member, Step::Joining);
                        self.join(io, member);
                    }
                    _ => self.give_up(io, member, "the first frame is no hello"),
                }
                Heard::Way
            }
            Some(Step::Joining) => self.joining(io, member, payload, now),
            _ => Heard::Way,
        }
    }

    fn joining<'p>(&mut self, io: &mut Io, member: usize, payload: &'p [u8], now: Nanos) -> Heard<'p> {
        let Ok(head) = serde_json::from_slice::<Head<'_>>(payload) else {
            self.give_up(io, member, "a frame that cannot be read");
            return Heard::Way;
        };
        if head.id != Some(JOIN_ID) {
            return if head.kind == "message" {
                Heard::Early
            } else {
                Heard::Way
            };
        }
        if head.kind == "ok" {
            if let Ok(joined) = serde_json::from_slice::<Joined<'p>>(payload) {
                self.step(member, Step::Inside);
                return Heard::Joined(Box::new(joined));
            }
            self.give_up(io, member, "a reply to join that cannot be read");
            return Heard::Way;
        }
        match serde_json::from_slice::<ErrorReply>(payload) {
            Ok(e) if e.retry => {
                let what = format!("join {}", e.code.name());
                self.later(member, &what, e.after_ms.map(|ms| ms * MILLI), now);
            }
            Ok(e) => self.give_up(io, member, &format!("join {}", e.code.name())),
            Err(_) => self.give_up(io, member, "a reply to join that cannot be read"),
        }
        Heard::Way
    }

    /// A connection ended.
    pub fn ended(&mut self, member: usize, how: &Ended, now: Nanos) -> Fate {
        let Some(was) = self.guests.get(member).map(|g| g.step) else {
            return Fate::Away;
        };
        match was {
            Step::Away | Step::Waiting => return Fate::Away,
            Step::Inside | Step::Leaving => {
                self.step(member, Step::Away);
                return if was == Step::Inside {
                    Fate::Inside
                } else {
                    Fate::Left
                };
            }
            _ => {}
        }
        self.step(member, Step::Waiting);
        let (again, after) = match how {
            Ended::Refused {
                status: 429 | 503,
                after_s,
                ..
            } => (true, *after_s),
            // Of closes only these ask to come back, by the contract.
            Ended::Closed { code } => (matches!(code, 1012 | 1013 | 4000..=4499), None),
            Ended::Lost(_) | Ended::Failed(_) => (true, None),
            Ended::Refused { .. } => (false, None),
        };
        if again {
            self.later(member, &reason(how), after.map(|s| s * SECOND), now);
        } else {
            self.bar(member, &reason(how));
        }
        Fate::Coming
    }

    /// Another try after the time the server named, or one that grows; spread either way.
    fn later(&mut self, member: usize, what: &str, after: Option<Nanos>, now: Nanos) {
        count(&mut self.refused, what);
        let guest = &mut self.guests[member];
        self.waits.arrivals += u64::from(guest.tries == 0);
        self.waits.told += u64::from(after.is_some());
        self.waits.untold += u64::from(after.is_none());
        self.waits.longest_told = self.waits.longest_told.max(after.unwrap_or(0));
        guest.tries = guest.tries.saturating_add(1);
        if guest.tries >= TRIES_MAX {
            self.bar(member, &format!("{what} {TRIES_MAX} times"));
            return;
        }
        let doubled = BACKOFF << u32::from(guest.tries - 1).min(10);
        let pause = after.unwrap_or_else(|| doubled.min(BACKOFF_MAX));
        let spread = self.rng.random_range(0..=(pause / 2).max(SPREAD_MIN));
        self.again
            .push(Reverse((now + pause + spread, member, guest.turn)));
    }

    fn give_up(&mut self, io: &mut Io, member: usize, why: &str) {
        io.cut(member);
        self.bar(member, why);
    }

    fn bar(&mut self, member: usize, why: &str) {
        self.step(member, Step::Away);
        self.given_up.push((member, why.to_owned()));
    }

    fn step(&mut self, member: usize, to: Step) {
        let Some(guest) = self.guests.get_mut(member) else {
            return;
        };
        let from = std::mem::replace(&mut guest.step, to);
        let on_way = |s| matches!(s, Step::Opening | Step::Hello | Step::Joining);
        self.on_their_way = self.on_their_way + usize::from(on_way(to)) - usize::from(on_way(from));
        self.inside = self.inside + usize::from(to == Step::Inside) - usize::from(from == Step::Inside);
        self.leaving = self.leaving + usize::from(to == Step::Leaving) - usize::from(from == Step::Leaving);
    }

    fn room_name(&self, member: usize) -> &str {
        let room = self.guests.get(member).map_or(0, |g| g.room);
        self.rooms.get(room).map_or("", String::as_str)
    }

    /// Guests in their rooms.
    pub fn inside(&self) -> usize {
        self.inside
    }

    /// Guests whose `leave` and close the server has not answered.
    pub fn leaving(&self) -> usize {
        self.leaving
    }

    /// Whether this one is in its room.
    pub fn is_inside(&self, member: usize) -> bool {
        self.guests.get(member).is_some_and(|g| g.step == Step::Inside)
    }

    /// The room a guest is for.
    pub fn room_of(&self, member: usize) -> usize {
        self.guests.get(member).map_or(0, |g| g.room)
    }

    /// For each room, the connections in it and the distinct users they are signed in as.
    pub fn present(&self) -> Vec<(u64, u64)> {
        let mut viewers = vec![0; self.rooms.len()];
        let mut users: Vec<HashSet<usize>> = vec![HashSet::new(); self.rooms.len()];
        for guest in self.guests.iter().filter(|g| g.step == Step::Inside) {
            viewers[guest.room] += 1;
            users[guest.room].extend(guest.session);
        }
        viewers
            .into_iter()
            .zip(users.iter().map(|u| u.len() as u64))
            .collect()
    }

    /// Tries that were refused or failed and made again, by what.
    pub fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// Those that cannot come, and why, since this was last asked.
    pub fn given_up(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.given_up)
    }
}
