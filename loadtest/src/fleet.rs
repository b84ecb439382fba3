//! Bringing many connections into their rooms: connect, upgrade, `hello`, `join`, with bounds on how many
//! are on their way and how many begin in a second. What is refused with a time to wait is tried again
//! and counted.

use std::collections::BTreeMap;

use countersign_protocol::error::ErrorReply;
use countersign_protocol::server::Hello;
use countersign_protocol::{ErrorCode, PROTOCOL_VERSION};
use serde::{Deserialize, Serialize};

use crate::accounts::Session;
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::upgrade::Identity;
use crate::engine::{Ended, Engine, Handler, Io};
use crate::error::{Error, Result};
use crate::output::Bar;
use crate::target::{Sources, Target};
use crate::wire::command::{JOIN_ID, join};

/// Most tries of one connection or join.
const TRIES_MAX: u8 = 30;
/// Pause before another try when the server named none.
const PAUSE: Nanos = 200 * MILLI;
/// Longest wait of one turn: how soon a bar moves and a deadline is seen.
const TURN_MAX: Nanos = 50 * MILLI;

/// What the target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `countersign.v1.json`.
    Countersign,
    /// The built-in floor: the room is the path, every text is broadcast.
    Floor,
}

/// One connection to be made.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    /// Index of its room.
    pub room: usize,
    /// Index of its session; none: anonymous.
    pub session: Option<usize>,
}

/// How fast connections are made.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Most on their way at once.
    pub in_flight: usize,
    /// Most begun in a second; 0: no bound.
    pub per_second: f64,
}

/// Everything needed to bring a fleet up.
pub struct Fleet<'a> {
    pub target: &'a Target,
    pub dialect: Dialect,
    pub sources: Sources,
    pub sessions: &'a [Session],
    pub rooms: Vec<String>,
    pub seats: Vec<Seat>,
    pub pace: Pace,
    pub state: Ramp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not begun, or to be begun again.
    Out,
    /// TCP and upgrade.
    Opening,
    /// The first frame is awaited.
    Hello,
    Joining,
    Ready,
}

/// How far the ramp is.
#[derive(Default)]
pub struct Ramp {
    stages: Vec<Stage>,
    bases: Vec<u64>,
    tries: Vec<u8>,
    /// Begun so far: the next seat to be taken.
    next: usize,
    on_their_way: usize,
    ready: usize,
    again: Vec<(Nanos, usize)>,
    refused: BTreeMap<String, u64>,
    fatal: Option<Error>,
}

impl Ramp {
    /// Refusals with a time to wait, by status or code, that were tried again.
    pub fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// The newest offset of its room when `member` joined.
    pub fn base(&self, member: usize) -> u64 {
        self.bases.get(member).copied().unwrap_or(0)
    }

    fn fail(&mut self, error: Error) {
        self.fatal.get_or_insert(error);
    }
}

/// What is read of a reply to `join`; history is skipped.
#[derive(Deserialize)]
struct JoinReply {
    id: Option<u64>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    offset: u64,
}

impl Fleet<'_> {
    /// Brings the first `upto` seats into their rooms, not later than `until`.
    pub fn raise(&mut self, engine: &mut Engine, upto: usize, until: Nanos, bar: &Bar) -> Result<()> {
        let upto = upto.min(self.seats.len());
        self.state.stages.resize(self.seats.len(), Stage::Out);
        self.state.bases.resize(self.seats.len(), 0);
        self.state.tries.resize(self.seats.len(), 0);
        let (began, first) = (clock::now(), self.state.next);
        while self.state.ready < upto {
            let now = clock::now();
            if now >= until {
                return Err(Error::Deadline {
                    phase: "connecting",
                    limit: now - began,
                    state: format!("{} of {upto} ready", self.state.ready),
                });
            }
            self.retry(&mut engine.io, now)?;
            let allowed = self.begun_by(now - began).saturating_add(first).min(upto);
            while self.state.next < allowed && self.state.on_their_way < self.pace.in_flight {
                let member = self.state.next;
                self.state.next += 1;
                self.begin(&mut engine.io, member)?;
            }
            let wait = if self.state.next < upto && self.state.on_their_way < self.pace.in_flight {
                MILLI
            } else {
                TURN_MAX
            };
            engine.turn(self, wait)?;
            bar.set(self.state.ready);
            if let Some(error) = self.state.fatal.take() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn begun_by(&self, elapsed: Nanos) -> usize {
        if self.pace.per_second <= 0.0 {
            return usize::MAX;
        }
        let n = self.pace.per_second * clock::seconds(elapsed);
        // Bounded far below by the seats there are.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let n = n.min(1e9) as usize;
        n + 1
    }

    fn begin(&mut self, io: &mut Io, member: usize) -> Result<()> {
        let Some(seat) = self.seats.get(member).copied() else {
            return Ok(());
        };
        let anonymous = Identity::default();
        let identity = seat
            .session
            .and_then(|s| self.sessions.get(s))
            .map_or(&anonymous, |s| &s.identity);
        let source = self.sources.of(member);
        match self.dialect {
            Dialect::Countersign => io.connect(member, self.target, &self.target.path, source, identity)?,
            Dialect::Floor => {
                let path = format!("/{}", self.room(member));
                io.connect(member, self.target, &path, source, identity)?;
            }
        }
        self.state.stages[member] = Stage::Opening;
        self.state.on_their_way += 1;
        Ok(())
    }

    /// Takes up again what was told to wait.
    fn retry(&mut self, io: &mut Io, now: Nanos) -> Result<()> {
        while let Some(at) = self.state.again.iter().position(|(at, _)| *at <= now) {
            let (_, member) = self.state.again.swap_remove(at);
            if self.state.stages[member] == Stage::Joining {
                io.send(member, &join(self.room(member)));
            } else {
                self.begin(io, member)?;
            }
        }
        Ok(())
    }

    fn later(&mut self, member: usize, what: &str, after: Option<Nanos>) {
        *self.state.refused.entry(what.to_owned()).or_default() += 1;
        self.state.tries[member] += 1;
        if self.state.tries[member] >= TRIES_MAX {
            self.state.fail(Error::Connect {
                member,
                why: format!("refused {TRIES_MAX} times, last with {what}"),
            });
        }
        // Spread, so that all that were refused together do not come back together.
        let spread = (member as u64 % 64) * 5 * MILLI;
        let at = clock::now() + after.unwrap_or(PAUSE) + spread;
        self.state.again.push((at, member));
    }

    fn room(&self, member: usize) -> &str {
        self.seats
            .get(member)
            .and_then(|s| self.rooms.get(s.room))
            .map_or("", String::as_str)
    }

    fn ready(&mut self, member: usize, base: u64) {
        self.state.stages[member] = Stage::Ready;
        self.state.bases[member] = base;
        self.state.on_their_way -= 1;
        self.state.ready += 1;
    }

    fn joined(&mut self, member: usize, payload: &[u8]) {
        match serde_json::from_slice::<JoinReply>(payload) {
            // A push, or the reply to something else.
            Ok(reply) if reply.id != Some(JOIN_ID) => {}
            Ok(reply) if reply.kind == "ok" => self.ready(member, reply.offset),
            Ok(_) => match serde_json::from_slice::<ErrorReply>(payload) {
                Ok(error) if error.code == ErrorCode::RateLimited || error.code == ErrorCode::Unavailable => {
                    let after = error.after_ms.map(|ms| ms * MILLI);
                    self.later(member, &format!("join {}", error.code.name()), after);
                }
                Ok(error) => self.state.fail(Error::Connect {
                    member,
                    why: format!("join: {} ({})", error.code.name(), error.message),
                }),
                Err(e) => self
                    .state
                    .fail(Error::Protocol(format!("a reply to join that is neither: {e}"))),
            },
            Err(e) => self
                .state
                .fail(Error::Protocol(format!("a frame that cannot be read: {e}"))),
        }
    }
}

impl Handler for Fleet<'_> {
    fn opened(&mut self, _: &mut Io, member: usize) {
        match self.dialect {
            Dialect::Countersign => self.state.stages[member] = Stage::Hello,
            Dialect::Floor => self.ready(member, 0),
        }
    }

    fn text(&mut self, io: &mut Io, member: usize, payload: &[u8], _: Nanos) {
        match self.state.stages[member] {
            Stage::Hello => match serde_json::from_slice::<Hello>(payload) {
                Ok(hello) if hello.protocol == PROTOCOL_VERSION => {
                    self.state.stages[member] = Stage::Joining;
                    io.send(member, &join(self.room(member)));
                }
                Ok(hello) => self
                    .state
                    .fail(Error::Protocol(format!("protocol {}", hello.protocol))),
                Err(e) => self
                    .state
                    .fail(Error::Protocol(format!("the first frame is no hello: {e}"))),
            },
            Stage::Joining => self.joined(member, payload),
            _ => {}
        }
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        let was = std::mem::replace(&mut self.state.stages[member], Stage::Out);
        match was {
            Stage::Ready => self.state.ready -= 1,
            Stage::Out => {}
            _ => self.state.on_their_way -= 1,
        }
        match how {
            Ended::Refused {
                status: status @ (429 | 503),
                after_s,
                ..
            } => self.later(member, &format!("upgrade {status}"), after_s.map(|s| s * SECOND)),
            Ended::Refused { status, detail, .. } => self.state.fail(Error::Connect {
                member,
                why: format!("the upgrade was answered {status} {detail}"),
            }),
            Ended::Closed { code } => self.state.fail(Error::Connect {
                member,
                why: format!("closed with {code} while others were connecting"),
            }),
            Ended::Failed(why) | Ended::Lost(why) => self.state.fail(Error::Connect { member, why }),
        }
    }
}
