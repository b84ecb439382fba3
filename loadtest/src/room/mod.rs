//! The `room` scenario: messages into rooms, and every delivery accounted for.

mod agreement;
mod driver;
mod receive;
mod tally;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::driver::Driver;
pub use self::tally::RoomResult;
use crate::accounts::Session;
use crate::clock::{self, MILLI, Nanos, SECOND, seconds};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::fleet::{Dialect, Fleet, Pace, Ramp, Seat};
use crate::history::tap::Tap;
use crate::host::process::resident_bytes;
use crate::host::usage::Watch;
use crate::latency::Latency;
use crate::output::{Bar, Progress};
use crate::target::{Sources, Target};

/// Longest wait of one turn.
const TURN_MAX: Nanos = 100 * MILLI;
/// After all is accounted for, nothing must arrive for this long: what comes twice is still counted.
const QUIET: Nanos = 20 * MILLI;
/// Longest wait for quiet after all is accounted for.
const QUIET_MAX: Nanos = SECOND;

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "loop", rename_all = "snake_case")]
pub enum Load {
    /// Open loop: each room gets this many messages a second, whatever the server does.
    Paced { per_second: f64 },
    /// Closed loop: each publisher keeps this many messages unanswered.
    InFlight { messages: usize },
}

impl Load {
    /// How the tester acknowledges under this load, for every target alike.
    pub fn acks(self) -> Acks {
        match self {
            Load::Paced { .. } => Acks::Prompt,
            Load::InFlight { .. } => Acks::Delayed,
        }
    }
}

/// What a run does.
#[derive(Debug, Clone, Serialize)]
pub struct RoomPlan {
    pub rooms: usize,
    /// Members of each room, publishers included.
    pub per_room: usize,
    /// Members of each room that send.
    pub publishers: usize,
    pub load: Load,
    /// How the tester acknowledges what it receives, for every target alike; see [`Load::acks`].
    pub acks: Acks,
    /// Length of a message's body, bytes of JSON.
    pub body_bytes: usize,
    pub warmup: Nanos,
    /// The measured span.
    pub window: Nanos,
    /// Longest wait for what is still under way afterwards.
    pub drain: Nanos,
    /// Decode every frame and compare all members.
    pub check: bool,
    /// One frame in this many is decoded as JSON.
    pub decode_every: u64,
}

/// Where a run goes and as whom.
pub struct Stage<'a> {
    pub target: &'a Target,
    pub dialect: Dialect,
    pub sources: Sources,
    pub pace: Pace,
    /// Signed-in users; the publishers' come first.
    pub sessions: &'a [Session],
    /// Members that do not publish do not sign in.
    pub anonymous: bool,
    /// The server's process.
    pub pid: Option<u32>,
    /// Namespace of the rooms.
    pub namespace: &'a str,
    /// Tells runs apart: in stamps and room names.
    pub run: u32,
    /// Not later than this.
    pub until: Nanos,
    pub progress: Progress,
}

/// A run's figures, and its histogram for pooling.
pub struct Outcome {
    pub result: RoomResult,
    pub latency: Latency,
}

/// Connects, sends for the warm-up and the measured span, waits for what is under way, and counts.
pub fn run(plan: &RoomPlan, stage: &Stage<'_>) -> Result<Outcome> {
    run_recorded(plan, stage, None)
}

/// [`run`], with a history.
pub fn run_recorded(plan: &RoomPlan, stage: &Stage<'_>, tap: Option<Box<Tap>>) -> Result<Outcome> {
    let mut engine = Engine::new(plan.acks)?;
    engine.io.tap = tap;
    let (mut driver, mut result) = gather(&mut engine, plan, stage)?;
    let start = clock::now() + MILLI;
    let measure_from = start + plan.warmup;
    let measure_to = measure_from + plan.window;
    if measure_to > stage.until {
        return Err(Error::Usage(
            "the run does not fit before its deadline (--deadline)".to_owned(),
        ));
    }
    driver.window = (measure_from, measure_to);
    let bar = stage.progress.bar("messages", progress_steps(measure_to - start));
    driver.begin(&mut engine.io, start);

    drive(&mut engine, &mut driver, measure_from, start, &bar)?;
    driver.counting = true;
    let watch = Watch::begin(stage.pid)?;
    drive(&mut engine, &mut driver, measure_to, start, &bar)?;
    driver.counting = false;
    result.usage = watch.end(stage.pid)?;
    driver.stop();
    result.rss_bytes = stage.pid.map(resident_bytes).transpose()?;
    let stopped = clock::now();
    drain(
        &mut engine,
        &mut driver,
        (clock::now() + plan.drain).min(stage.until),
    )?;
    bar.done();
    if let Some(mut tap) = engine.io.tap.take() {
        tap.quiet(if driver.settled() { clock::now() } else { stopped });
        tap.finish()?;
    }
    engine.close_all()?;

    let Driver {
        rooms,
        members,
        tally,
        latency,
        lag,
        ..
    } = driver;
    result.tally = tally;
    result.settle(&rooms, &members);
    result.latency = latency.percentiles();
    result.send_lag = lag.percentiles();
    result.deliveries_per_second = result.tally.counted as f64 / result.usage.seconds.max(1e-9);
    result.cpu_us_per_delivery = result.usage.server_us_per(result.tally.counted);
    result.message_wire_bytes = wire_bytes(result.tally.message_bytes, result.tally.delivered);
    Ok(Outcome { result, latency })
}

/// Brings all members into their rooms.
fn gather(engine: &mut Engine, plan: &RoomPlan, stage: &Stage<'_>) -> Result<(Driver, RoomResult)> {
    let total = plan.rooms * plan.per_room;
    let rooms: Vec<String> = (0..plan.rooms)
        .map(|r| format!("{}:lt-{:08x}-{r:05}", stage.namespace, stage.run))
        .collect();
    let seats: Vec<Seat> = (0..total)
        .map(|i| Seat {
            room: i / plan.per_room,
            session: session_of(i, plan, stage),
        })
        .collect();
    if let Some(tap) = &mut engine.io.tap {
        let user = |seat: &Seat| Some(stage.sessions.get(seat.session?)?.user.clone());
        tap.users = seats.iter().map(user).collect();
    }
    let users: Vec<Vec<String>> = (0..plan.rooms)
        .map(|room| {
            (0..plan.publishers)
                .filter_map(|k| seats.get(room * plan.per_room + k)?.session)
                .filter_map(|s| stage.sessions.get(s).map(|s| s.user.clone()))
                .collect()
        })
        .collect();
    let mut fleet = Fleet {
        target: stage.target,
        dialect: stage.dialect,
        sources: stage.sources,
        sessions: stage.sessions,
        rooms,
        seats,
        pace: stage.pace,
        state: Ramp::default(),
    };
    let bar = stage.progress.bar("connecting", total);
    let watch = Watch::begin(stage.pid)?;
    fleet.raise(engine, total, stage.until, &bar)?;
    let usage = watch.end(stage.pid)?;
    bar.done();
    let result = RoomResult {
        connect_cpu_us: usage.server_us_per(total as u64),
        connect_seconds: usage.seconds,
        connect_refused: fleet.state.refused().clone(),
        ..RoomResult::default()
    };
    let bases: Vec<u64> = (0..total).map(|m| fleet.state.base(m)).collect();
    let names = fleet.rooms.into_iter().zip(users).collect();
    let driver = Driver::new(plan, stage.dialect, stage.run, names, &bases)?;
    Ok((driver, result))
}

fn session_of(member: usize, plan: &RoomPlan, stage: &Stage<'_>) -> Option<usize> {
    if stage.sessions.is_empty() {
        return None;
    }
    if !stage.anonymous {
        return Some(member % stage.sessions.len());
    }
    let (room, k) = (member / plan.per_room, member % plan.per_room);
    (k < plan.publishers).then(|| (room * plan.publishers + k) % stage.sessions.len())
}

/// Sends and receives until `to`. What was due until then is sent even when it is late: a schedule that
/// is cut short when the tester or the server stalls would hide the stall.
fn drive(engine: &mut Engine, driver: &mut Driver, to: Nanos, start: Nanos, bar: &Bar) -> Result<()> {
    loop {
        let now = clock::now();
        let due = driver.send_due(&mut engine.io, now.min(to - 1));
        if now >= to && due >= to {
            return Ok(());
        }
        bar.set(progress_steps(now.saturating_sub(start)));
        let wake = due.min(to).min(now + TURN_MAX);
        engine.turn(driver, wake.saturating_sub(clock::now()))?;
    }
}

/// Receives what is under way until all is accounted for and nothing more comes, or `until`.
fn drain(engine: &mut Engine, driver: &mut Driver, until: Nanos) -> Result<()> {
    let mut settled_at = None;
    loop {
        let now = clock::now();
        if now >= until || engine.io.live() == 0 {
            return Ok(());
        }
        if settled_at.is_none() && driver.settled() {
            settled_at = Some(now);
        }
        if settled_at.is_some_and(|at| now >= at + QUIET_MAX) {
            return Ok(());
        }
        let events = engine.turn(driver, QUIET)?;
        if events == 0 && settled_at.is_some() {
            return Ok(());
        }
    }
}

/// Tenths of a second, for a bar.
fn progress_steps(span: Nanos) -> usize {
    usize::try_from(span / (SECOND / 10)).unwrap_or(0)
}

/// Mean length of a frame whose payloads add up to `bytes`.
fn wire_bytes(bytes: u64, frames: u64) -> f64 {
    if frames == 0 {
        return 0.0;
    }
    let mean = bytes as f64 / frames as f64;
    let header = if mean < 126.0 {
        2.0
    } else if mean < 65_536.0 {
        4.0
    } else {
        10.0
    };
    mean + header
}

impl RoomPlan {
    /// Duration of one run without connecting and draining, seconds.
    pub fn seconds(&self) -> f64 {
        seconds(self.warmup + self.window)
    }

    /// All connections of a run.
    pub fn connections(&self) -> usize {
        self.rooms * self.per_room
    }
}
