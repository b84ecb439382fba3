//! WebSockets brought up as far as their `hello`, with bounds on how many are on their way and begin in a second. What is
//! refused with 429 or 503 is tried again and counted; anything else ends the run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use countersign_protocol::PROTOCOL_VERSION;
use countersign_protocol::server::Hello;

use crate::clock::{self, MILLI, Nanos, SECOND, from_seconds};
use crate::engine::upgrade::Identity;
use crate::engine::{Ended, Io};
use crate::fleet::Pace;
use crate::room::Stage;
use crate::story::{count, idle, reason};
use crate::target::{Sources, Target};

/// Most tries of one.
const TRIES_MAX: u8 = 30;
/// Pause before another try when the server named none.
const PAUSE: Nanos = 200 * MILLI;
/// Most begun before the sockets have their turn again.
const BEGIN_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Away,
    /// TCP, upgrade, and the first frame.
    Coming,
    Up,
}

/// What a frame was.
#[derive(Debug)]
pub enum Heard {
    /// The first one: the connection is up.
    Up,
    /// One of a connection that is up.
    Frame,
    /// One that concerns nobody.
    Stray,
}

/// Connections 0, 1, 2, … and how far they are.
pub struct Sockets<'a> {
    target: &'a Target,
    sources: Sources,
    pace: Pace,
    identities: Vec<Identity>,
    steps: Vec<Step>,
    tries: Vec<u8>,
    waiting: VecDeque<usize>,
    again: BinaryHeap<Reverse<(Nanos, usize)>>,
    next_at: Nanos,
    coming: usize,
    up: usize,
    /// Tries that were told to wait and made again, by what.
    pub refused: BTreeMap<String, u64>,
    failed: Option<(usize, String)>,
}

impl<'a> Sockets<'a> {
    /// One for each identity, none begun.
    pub fn new(stage: &Stage<'a>, identities: Vec<Identity>) -> Sockets<'a> {
        let n = identities.len();
        Sockets {
            target: stage.target,
            sources: stage.sources,
            pace: stage.pace,
            identities,
            steps: vec![Step::Away; n],
            tries: vec![0; n],
            waiting: (0..n).collect(),
            again: BinaryHeap::new(),
            next_at: 0,
            coming: 0,
            up: 0,
            refused: BTreeMap::new(),
            failed: None,
        }
    }

    /// How many are up, and the first that cannot come with the reason.
    pub fn up(&mut self) -> (usize, Option<(usize, String)>) {
        (self.up, self.failed.take())
    }

    /// Begins what is due; returns when there is more to do.
    pub fn begin_due(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        while let Some(Reverse((at, member))) = self.again.peek().copied() {
            if at > now {
                break;
            }
            self.again.pop();
            self.waiting.push_back(member);
        }
        for _ in 0..BEGIN_MAX {
            let bounded = self.pace.per_second > 0.0;
            if self.coming >= self.pace.in_flight || (bounded && now < self.next_at) {
                break;
            }
            let Some(member) = self.waiting.pop_front() else {
                break;
            };
            if bounded {
                let gap = from_seconds(1.0 / self.pace.per_second);
                self.next_at = self.next_at.max(now.saturating_sub(SECOND / 10)) + gap;
            }
            let (source, path) = (self.sources.of(member), self.target.path.as_str());
            match io.connect(member, self.target, path, source, &self.identities[member]) {
                Ok(()) => {
                    self.steps[member] = Step::Coming;
                    self.coming += 1;
                }
                Err(e) => self.fail(member, &e.to_string()),
            }
        }
        let again = self.again.peek().map_or(idle(now), |r| r.0.0);
        match self.waiting.is_empty() {
            true => again,
            false if self.coming >= self.pace.in_flight => again.min(now + MILLI),
            false => again.min(self.next_at.max(now)),
        }
    }

    /// A frame arrived.
    pub fn heard(&mut self, member: usize, payload: &[u8]) -> Heard {
        match self.steps.get(member) {
            Some(Step::Up) => Heard::Frame,
            Some(Step::Coming) => {
                let hello = serde_json::from_slice::<Hello>(payload);
                if hello.is_ok_and(|hello| hello.protocol == PROTOCOL_VERSION) {
                    self.steps[member] = Step::Up;
                    self.coming -= 1;
                    self.up += 1;
                    return Heard::Up;
                }
                self.fail(member, "the first frame is no hello");
                Heard::Stray
            }
            _ => Heard::Stray,
        }
    }

    /// A connection ended; whether it was up.
    pub fn ended(&mut self, member: usize, how: &Ended) -> bool {
        match self.steps.get(member).copied() {
            Some(Step::Up) => {
                self.steps[member] = Step::Away;
                self.up -= 1;
                true
            }
            Some(Step::Coming) => {
                self.steps[member] = Step::Away;
                self.coming -= 1;
                self.later(member, how);
                false
            }
            _ => false,
        }
    }

    fn later(&mut self, member: usize, how: &Ended) {
        self.tries[member] = self.tries[member].saturating_add(1);
        let after = match how {
            Ended::Refused {
                status: 429 | 503,
                after_s,
                ..
            } if self.tries[member] < TRIES_MAX => after_s.map_or(PAUSE, |s| s * SECOND),
            _ => return self.fail(member, &format!("{how:?}")),
        };
        count(&mut self.refused, &reason(how));
        // Spread, so that all that were refused together do not come back together.
        let spread = (member as u64 % 64) * 5 * MILLI;
        self.again.push(Reverse((clock::now() + after + spread, member)));
    }

    fn fail(&mut self, member: usize, why: &str) {
        self.failed.get_or_insert((member, why.to_owned()));
    }
}
