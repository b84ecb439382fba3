//! The `idle` scenario: what a connection that does nothing costs in memory and processor time.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::{self, MILLI, Nanos};
use crate::dialect::{Dialect, Ready, nats};
use crate::engine::socket::Acks;
use crate::engine::{Ended, Engine, Handler, Io};
use crate::error::{Error, Result};
use crate::fleet::{Fleet, Ramp, Seat};
use crate::host::process::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::k6::Wire;
use crate::metric::{Metric, Metrics, Unit};
use crate::room::Stage;
use crate::series::{Course, Phase, Series};
use crate::wire::MESSAGE_PREFIX;
use crate::wire::command::FIRST_SEND_ID;
use crate::wire::reply::{Answer, Frame, Frames};
use crate::wire::stamp::{Finder, Stamp};

/// Most messages unanswered while connections become active.
const IN_FLIGHT_MAX: usize = 64;
/// Longest wait of one turn.
const TURN_MAX: Nanos = 100 * MILLI;
/// Wait after a refusal without a time.
const REFUSED_PAUSE: Nanos = 100 * MILLI;

/// What a run does.
#[derive(Debug, Clone, Serialize)]
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
    /// All connections, until the last quiet span was over.
    pub wire: Wire,
    /// The run second by second.
    #[serde(skip)]
    pub course: Course,
}

/// Connects in stops, lets each become active if asked, waits, and reads memory.
pub fn run(plan: &IdlePlan, stage: &Stage<'_>) -> Result<IdleResult> {
    let total = plan.stops.last().copied().unwrap_or(0);
    let per_room = plan.per_room.max(1);
    let rooms: Vec<String> = (0..total.div_ceil(per_room))
        .map(|r| format!("{}:lt-{:08x}-{r:05}", stage.namespace, stage.run))
        .collect();
    let mut active = Activity::new(plan, stage, &rooms)?;
    let users = stage.sessions.len();
    let mut fleet = Fleet {
        target: stage.target,
        dialect: stage.dialect,
        sources: stage.sources,
        sessions: stage.sessions,
        rooms,
        seats: (0..total)
            .map(|i| Seat {
                room: i / per_room,
                session: (users > 0).then(|| i % users),
            })
            .collect(),
        pace: stage.pace,
        state: Ramp::default(),
    };
    active.series = Some(Series::new(stage.pid)?);
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut result = IdleResult {
        rss_before_bytes: stage.pid.map(resident_bytes).transpose()?,
        ..IdleResult::default()
    };
    let mut from = 0;
    for &upto in &plan.stops {
        let watch = Watch::begin(stage.pid)?;
        active.phase(Phase::Connecting);
        let bar = stage.progress.bar("connecting", total);
        fleet.state.series = active.series.take();
        fleet.raise(&mut engine, upto, stage.until, &bar)?;
        active.series = fleet.state.series.take();
        bar.done();
        if plan.active {
            active.phase(Phase::Warmup);
            active.run(&mut engine, from..upto, stage)?;
        }
        let ramp = watch.end(stage.pid)?;
        active.phase(Phase::Quiet);
        let watch = Watch::begin(stage.pid)?;
        active.rest(&mut engine, plan.quiet, stage)?;
        result.stops.push(Stop {
            connections: upto,
            quiet: watch.end(stage.pid)?,
            rss_bytes: stage.pid.map(resident_bytes).transpose()?,
            ramp,
        });
        from = upto;
    }
    result.wire = Wire::of(&engine.io);
    let live = engine.io.live();
    result.course = active.series.take().map(|s| s.finish(live)).unwrap_or_default();
    engine.close_all()?;
    result.connect_refused = fleet.state.refused().clone();
    active.report(&mut result);
    result.conclude(plan);
    Ok(result)
}

impl IdleResult {
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
        let mut all = vec![
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
        ];
        all.extend(self.wire.metrics());
        Metrics(all)
    }
}

/// One message from each connection, and the count of what arrives.
struct Activity {
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
    series: Option<Series>,
}

impl Activity {
    fn new(plan: &IdlePlan, stage: &Stage<'_>, rooms: &[String]) -> Result<Activity> {
        let commands: Result<Vec<Ready>> = if plan.active {
            rooms
                .iter()
                .map(|room| stage.dialect.ready(room, plan.body_bytes))
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
            dialect: stage.dialect,
            per_room: plan.per_room.max(1),
            frames: Frames::default(),
            stamps: Finder::default(),
            commands: commands?,
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
        })
    }

    /// What goes on from now on.
    fn phase(&mut self, phase: Phase) {
        if let Some(series) = &mut self.series {
            series.phase(phase);
        }
    }

    fn tick(&mut self, io: &Io, now: Nanos) {
        if let Some(series) = &mut self.series {
            series.tick(now, io.live());
        }
    }

    /// Lets `members` send one message each and waits for all replies and deliveries.
    fn run(&mut self, engine: &mut Engine, members: std::ops::Range<usize>, stage: &Stage<'_>) -> Result<()> {
        let (began, until) = (clock::now(), stage.until);
        let bar = stage.progress.bar("messages", members.len());
        let accepted_before = self.accepted;
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
                bar.done();
                return Ok(());
            }
            engine.turn(self, TURN_MAX)?;
            bar.set(usize::try_from(self.accepted - accepted_before).unwrap_or(0));
            self.tick(&engine.io, clock::now());
        }
    }

    /// Sends nothing for `span`; pings are answered.
    fn rest(&mut self, engine: &mut Engine, span: Nanos, stage: &Stage<'_>) -> Result<()> {
        let began = clock::now();
        let end = (began + span).min(stage.until);
        let steps = |span: Nanos| usize::try_from(span / TURN_MAX).unwrap_or(0);
        let bar = stage.progress.bar("quiet", steps(span));
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

    fn report(self, result: &mut IdleResult) {
        result.sent = self.sent;
        result.accepted = self.accepted;
        result.refused = self.refused;
        result.expected = self.expected;
        result.delivered = self.delivered;
        result.ended = self.ended;
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
