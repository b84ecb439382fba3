//! The `idle` scenario: what a connection that does nothing costs in memory and processor time.

pub mod split;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{self, MILLI, Nanos};
use crate::engine::socket::Acks;
use crate::engine::{Ended, Engine, Handler, Io};
use crate::error::{Error, Result};
use crate::fleet::{Dialect, Fleet, Ramp, Seat};
use crate::host::process::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::Bar;
use crate::room::{Share, Stage};
use crate::wire::MESSAGE_PREFIX;
use crate::wire::command::{FIRST_SEND_ID, SendCommand};
use crate::wire::reply::{Answer, Frame, Frames};
use crate::wire::stamp::Stamp;
use crate::workers::WorkerShare;

/// Most messages unanswered while connections become active.
const IN_FLIGHT_MAX: usize = 64;
/// Longest wait of one turn.
const TURN_MAX: Nanos = 100 * MILLI;
/// Wait after a refusal without a time.
const REFUSED_PAUSE: Nanos = 100 * MILLI;

/// What a run does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdlePlan {
    /// Memory is read at each of these numbers of connections; the last is all.
    pub stops: Vec<usize>,
    /// The slope is taken between these two, which are among the stops.
    pub slope: (usize, usize),
    /// Members of a room.
    pub per_room: usize,
    /// Each connection sends one message, and so receives as many as its room has members.
    pub active: bool,
    /// Length of that message's body, bytes of JSON.
    pub body_bytes: usize,
    /// Nothing is sent for this long before memory is read.
    pub quiet: Nanos,
}

/// Figures at one number of connections.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stop {
    pub connections: usize,
    /// Resident memory of the server after the quiet span, bytes.
    pub rss_bytes: Option<u64>,
    /// The quiet span.
    pub quiet: Usage,
    /// Connecting (and the activity, if any) up to here.
    pub ramp: Usage,
}

/// The result of an `idle` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IdleResult {
    /// Resident memory of the server before the first connection, bytes.
    pub rss_before_bytes: Option<u64>,
    pub stops: Vec<Stop>,
    /// Resident memory per connection between the two stops of the slope, bytes.
    pub bytes_per_connection: Option<f64>,
    /// Server processor time per connection while connecting, µs; without activity only.
    pub connect_cpu_us: Option<f64>,
    /// Messages sent, acknowledged, and refused by code.
    pub sent: u64,
    pub accepted: u64,
    pub refused: BTreeMap<String, u64>,
    /// Deliveries there should have been, and were.
    pub expected: u64,
    pub delivered: u64,
    /// Upgrades and joins told to wait.
    pub connect_refused: BTreeMap<String, u64>,
    /// Connections that ended, by how.
    pub ended: BTreeMap<String, u64>,
    /// The processes that drove the connections in the last quiet span, when they were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerShare>,
}

/// Connects in stops, lets each become active if asked, waits, and reads memory.
pub fn run(plan: &IdlePlan, stage: &Stage<'_>) -> Result<IdleResult> {
    let mut crowd = Crowd::new(plan, stage, Share::WHOLE)?;
    let mut result = IdleResult {
        rss_before_bytes: stage.pid.map(resident_bytes).transpose()?,
        ..IdleResult::default()
    };
    let bar = stage.progress.bar("connecting", crowd.members.len());
    for &upto in &plan.stops {
        let watch = Watch::begin(stage.pid)?;
        crowd.reach(upto, &bar)?;
        let ramp = watch.end(stage.pid)?;
        bar.say(format!("quiet at {upto}"));
        let watch = Watch::begin(stage.pid)?;
        crowd.rest(plan.quiet)?;
        result.stops.push(Stop {
            connections: upto,
            quiet: watch.end(stage.pid)?,
            rss_bytes: stage.pid.map(resident_bytes).transpose()?,
            ramp,
        });
    }
    bar.done();
    result.add(crowd.leave()?);
    result.conclude(plan);
    Ok(result)
}

/// The connections of a run, or those of one process of it: whole rooms.
struct Crowd<'a> {
    engine: Engine,
    fleet: Fleet<'a>,
    /// They send, too.
    active: bool,
    /// Their numbers in the run, rising.
    members: Vec<usize>,
    activity: Activity,
    reached: usize,
    until: Nanos,
}

impl<'a> Crowd<'a> {
    fn new(plan: &IdlePlan, stage: &Stage<'a>, share: Share) -> Result<Crowd<'a>> {
        let total = plan.stops.last().copied().unwrap_or(0);
        let per_room = plan.per_room.max(1);
        let members = members_of(plan, share);
        let rooms: Vec<String> = (0..share.count(total.div_ceil(per_room)))
            .map(|r| format!("{}:lt-{:08x}-{:05}", stage.namespace, stage.run, share.global(r)))
            .collect();
        let users = stage.sessions.len();
        let seats = members.iter().enumerate().map(|(local, member)| Seat {
            room: local / per_room,
            session: (users > 0).then(|| member % users),
        });
        Ok(Crowd {
            engine: Engine::new(Acks::Prompt)?,
            activity: Activity::new(plan, stage, &rooms)?,
            active: plan.active,
            fleet: Fleet {
                target: stage.target,
                dialect: stage.dialect,
                sources: stage.sources,
                sessions: stage.sessions,
                rooms,
                seats: seats.collect(),
                pace: stage.pace,
                state: Ramp::default(),
            },
            members,
            reached: 0,
            until: stage.until,
        })
    }

    /// Connects what is driven here of the first `upto` connections of the run, and lets it become active.
    fn reach(&mut self, upto: usize, bar: &Bar) -> Result<()> {
        let upto = self.members.partition_point(|member| *member < upto);
        bar.say(format!("to {upto}"));
        self.fleet.raise(&mut self.engine, upto, self.until, bar)?;
        if self.active {
            bar.say("sending".to_owned());
            let new = self.reached..upto;
            self.activity.run(&mut self.engine, new, self.until)?;
        }
        self.reached = upto;
        Ok(())
    }

    fn rest(&mut self, span: Nanos) -> Result<()> {
        self.activity.rest(&mut self.engine, span, self.until)
    }

    /// Closes all connections; what was counted.
    fn leave(mut self) -> Result<Count> {
        self.engine.close_all()?;
        Ok(Count {
            connect_refused: self.fleet.state.refused().clone(),
            ..self.activity.count()
        })
    }
}

/// The members of a share: those of every `of`-th room.
fn members_of(plan: &IdlePlan, share: Share) -> Vec<usize> {
    let total = plan.stops.last().copied().unwrap_or(0);
    let ours = |member: &usize| share.local(member / plan.per_room.max(1)).is_some();
    (0..total).filter(ours).collect()
}

/// What one process counted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Count {
    sent: u64,
    accepted: u64,
    refused: BTreeMap<String, u64>,
    expected: u64,
    delivered: u64,
    connect_refused: BTreeMap<String, u64>,
    ended: BTreeMap<String, u64>,
}

impl IdleResult {
    /// Adds what one process counted.
    fn add(&mut self, count: Count) {
        self.sent += count.sent;
        self.accepted += count.accepted;
        self.expected += count.expected;
        self.delivered += count.delivered;
        for (ours, theirs) in [
            (&mut self.refused, count.refused),
            (&mut self.connect_refused, count.connect_refused),
            (&mut self.ended, count.ended),
        ] {
            for (name, n) in theirs {
                *ours.entry(name).or_default() += n;
            }
        }
    }

    fn conclude(&mut self, plan: &IdlePlan) {
        let at = |n: usize| {
            if n == 0 {
                return self.rss_before_bytes;
            }
            self.stops.iter().find(|s| s.connections == n)?.rss_bytes
        };
        let (from, to) = plan.slope;
        if let (Some(a), Some(b)) = (at(from), at(to))
            && to > from
        {
            self.bytes_per_connection = Some((b as f64 - a as f64) / (to - from) as f64);
        }
        if !plan.active {
            let cpu: Option<f64> = self.stops.iter().map(|s| s.ramp.server_cpu_seconds).sum();
            let total = self.stops.last().map_or(0, |s| s.connections);
            self.connect_cpu_us = cpu.filter(|_| total > 0).map(|s| s * 1e6 / total as f64);
        }
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let last = self.stops.last().cloned().unwrap_or_default();
        let count = |name, map: &BTreeMap<String, u64>| Metric::count(name, map.values().sum());
        Metrics(vec![
            Metric::count("connections", last.connections as u64),
            Metric::new("bytes_per_connection", Unit::Bytes, self.bytes_per_connection),
            Metric::new("rss_before", Unit::Bytes, self.rss_before_bytes.map(|b| b as f64)),
            Metric::new("rss", Unit::Bytes, last.rss_bytes.map(|b| b as f64)),
            Metric::new("quiet_cpu", Unit::Share, last.quiet.server_cores()),
            Metric::new("connect_cpu_us", Unit::Micros, self.connect_cpu_us),
            Metric::count("sent", self.sent),
            Metric::count("accepted", self.accepted),
            count("refused", &self.refused),
            Metric::count("expected", self.expected),
            Metric::count("delivered", self.delivered),
            Metric::count("lost", self.expected.saturating_sub(self.delivered)),
            Metric::count("unexpected", self.delivered.saturating_sub(self.expected)),
            count("connect_refused", &self.connect_refused),
            count("closed", &self.ended),
            Metric::new("tester", Unit::Share, last.quiet.tester_share),
            Metric::new("steal", Unit::Share, last.quiet.steal),
        ])
    }
}

/// One message from each connection, and the count of what arrives.
struct Activity {
    run: u32,
    per_room: usize,
    frames: Frames,
    commands: Vec<SendCommand>,
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
}

impl Activity {
    fn new(plan: &IdlePlan, stage: &Stage<'_>, rooms: &[String]) -> Result<Activity> {
        let commands: Result<Vec<SendCommand>> = if plan.active {
            rooms
                .iter()
                .map(|room| SendCommand::new(room, plan.body_bytes))
                .collect()
        } else {
            Ok(Vec::new())
        };
        if plan.active && stage.dialect == Dialect::Countersign && stage.sessions.is_empty() {
            return Err(Error::Usage(
                "--active needs signed-in connections: anonymous ones cannot send".to_owned(),
            ));
        }
        Ok(Activity {
            run: stage.run,
            per_room: plan.per_room.max(1),
            frames: Frames::default(),
            commands: commands?,
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
        })
    }

    /// Lets `members` send one message each and waits for all replies and deliveries.
    fn run(&mut self, engine: &mut Engine, members: std::ops::Range<usize>, until: Nanos) -> Result<()> {
        let began = clock::now();
        for member in members.clone() {
            self.members_of[member / self.per_room] += 1;
        }
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
                return Ok(());
            }
            engine.turn(self, TURN_MAX)?;
        }
    }

    /// Sends nothing for `span`; pings are answered.
    fn rest(&mut self, engine: &mut Engine, span: Nanos, until: Nanos) -> Result<()> {
        let end = (clock::now() + span).min(until);
        loop {
            let now = clock::now();
            if now >= end {
                return Ok(());
            }
            engine.turn(self, TURN_MAX.min(end - now))?;
        }
    }

    fn send(&mut self, io: &mut Io, member: usize, intended_at: Nanos) {
        let stamp = Stamp {
            run: self.run,
            number: self.number,
            intended_at,
        };
        let Some(command) = self.commands.get_mut(member / self.per_room) else {
            return;
        };
        if io.send(member, command.with(&stamp)) {
            self.number += 1;
            self.sent += 1;
            self.in_flight += 1;
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

    fn count(self) -> Count {
        Count {
            sent: self.sent,
            accepted: self.accepted,
            refused: self.refused,
            expected: self.expected,
            delivered: self.delivered,
            ended: self.ended,
            connect_refused: BTreeMap::new(),
        }
    }
}

impl Handler for Activity {
    fn opened(&mut self, _: &mut Io, _: usize) {}

    fn text(&mut self, _: &mut Io, member: usize, payload: &[u8], _: Nanos) {
        if payload.starts_with(MESSAGE_PREFIX) {
            self.delivered += 1;
        } else if let Frame::Reply { id: Some(id), answer } = self.frames.read(payload)
            && id >= FIRST_SEND_ID
        {
            self.answered(member, answer);
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
