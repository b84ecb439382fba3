//! The `room` scenario: messages into rooms, and every delivery accounted for.

mod account;
mod agreement;
mod books;
mod driver;
mod echo;
mod gather;
mod layout;
mod ledger;
pub mod options;
mod receive;
mod schedule;
pub mod split;
mod stall;
mod tally;
#[cfg(test)]
mod tests;
pub mod variant;

use serde::{Deserialize, Serialize};

pub use self::account::{AccountResult, Counts};
use self::driver::Driver;
use self::gather::gather;
pub use self::layout::{Layout, Share};
use self::stall::Resident;
pub use self::stall::StalledResult;
pub use self::tally::{Groups, Priorities, RoomResult, Tally};
pub use self::variant::{Big, Mix, Variant};
use crate::accounts::Session;
use crate::clock::{self, MILLI, Nanos, SECOND, seconds};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::fleet::{Dialect, Pace};
use crate::history::tap::Tap;
use crate::host::server::{Server, resident_bytes, resident_bytes_meanwhile};
use crate::host::usage::{Usage, Watch};
use crate::k6::Wire;
use crate::latency::Latency;
use crate::output::{Bar, Progress};
use crate::series::{Course, Phase, Series};
use crate::target::{Sources, Target};

/// Longest wait of one turn.
const TURN_MAX: Nanos = 100 * MILLI;
/// After all is accounted for, nothing must arrive for this long: what comes twice is still counted.
const QUIET: Nanos = 20 * MILLI;
/// Longest wait for quiet after all is accounted for.
const QUIET_MAX: Nanos = SECOND;
/// How often the server's memory is looked at while members do not read.
const LOOK_EVERY: Nanos = 500 * MILLI;

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loop", rename_all = "snake_case")]
pub enum Load {
    /// Open loop: each room gets this many messages a second, whatever the server does.
    Paced { per_second: f64 },
    /// Closed loop: each publisher keeps this many messages unanswered.
    InFlight { messages: usize },
}

impl Load {
    /// What a reader must know about this kind of load.
    pub fn note(self) -> Option<String> {
        matches!(self, Load::InFlight { .. }).then(|| {
            "note: a burst is a closed loop: who waits for an answer does not send, so a stall delays few messages; \
             for latencies that contain stalls use --rate"
                .to_owned()
        })
    }

    /// How the tester acknowledges under this load, for every target alike.
    pub fn acks(self) -> Acks {
        match self {
            Load::Paced { .. } => Acks::Prompt,
            Load::InFlight { .. } => Acks::Delayed,
        }
    }
}

/// What a run does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomPlan {
    /// Rooms of equal size.
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
    pub variant: Variant,
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
    /// The server, where its processor time and memory are read.
    pub server: Option<Server<'a>>,
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
    /// Of the reference span; none when nobody stopped reading.
    pub reference: Option<Latency>,
    /// The run second by second, when it was recorded.
    pub course: Option<Course>,
}

/// Connects, sends for the warm-up and the measured span, waits for what is under way, and counts.
pub fn run(plan: &RoomPlan, stage: &Stage<'_>) -> Result<Outcome> {
    recorded(plan, stage, Records::default())
}

/// What is recorded of a run beside its figures.
#[derive(Debug, Default)]
pub struct Records {
    /// Its course: for runs that stand alone, not for the pairs of a ratio.
    pub series: Option<Series>,
    /// Its history.
    pub tap: Option<Box<Tap>>,
}

/// [`run`], recorded.
pub fn recorded(plan: &RoomPlan, stage: &Stage<'_>, records: Records) -> Result<Outcome> {
    let mut engine = Engine::new(plan.acks)?;
    engine.io.tap = records.tap;
    let (joined, mut result) = gather(&mut engine, plan, stage, Share::WHOLE, records.series)?;
    let mut driver = Driver::new(plan, stage.dialect, stage.run, Share::WHOLE, joined)?;
    let spans = Spans::of(plan, clock::now() + MILLI);
    spans.fit(stage.until)?;
    let measured = measure(&mut engine, &mut driver, plan, stage, &spans)?;
    (result.usage, result.rss_bytes) = (measured.usage, measured.rss_bytes);
    driver.phase(Phase::Draining);
    let bar = stage.progress.bar("draining", progress_steps(plan.drain));
    let stopped = clock::now();
    drain(
        &mut engine,
        &mut driver,
        (stopped + plan.drain).min(stage.until),
        &bar,
    )?;
    bar.done();
    if let Some(mut tap) = engine.io.tap.take() {
        tap.quiet(if driver.settled() { clock::now() } else { stopped });
        tap.finish()?;
    }
    result.wire = Wire::of(&engine.io);
    let live = engine.io.live();
    let mut course = driver.series.take().map(|s| s.finish(live));
    engine.close_all()?;

    let layout = Layout::of(plan);
    let mut books = driver.into_books();
    books.settle(plan, &mut result);
    let (since, resident) = (measured.stalled_at, measured.resident);
    books.settle_stall(&layout, since, resident, &mut result);
    result.conclude();
    if let Some(course) = &mut course {
        course.settle(result.lost);
    }
    Ok(Outcome {
        result,
        latency: books.latency,
        reference: plan.compared(books.reference),
        course,
    })
}

/// What was seen of the server and the tester while messages were sent.
struct Measured {
    usage: Usage,
    rss_bytes: Option<u64>,
    resident: Resident,
    stalled_at: Nanos,
}

/// Sends for the warm-up, the reference if there is one, and the measured span.
fn measure(
    engine: &mut Engine,
    driver: &mut Driver,
    plan: &RoomPlan,
    stage: &Stage<'_>,
    spans: &Spans,
) -> Result<Measured> {
    spans.apply(driver);
    let steps = progress_steps(spans.measure_to - spans.start);
    let bar = stage.progress.bar("messages", steps);
    driver.phase(Phase::Warmup);
    driver.begin(&mut engine.io, spans.start);
    let stalls = plan.variant.stalled > 0;
    if stalls {
        drive(engine, driver, spans.reference_from, spans.start, &bar)?;
        driver.phase(Phase::Reference);
    }
    drive(engine, driver, spans.measure_from, spans.start, &bar)?;
    driver.phase(Phase::Measured);
    let mut resident = Resident::default();
    if stalls {
        resident.before = look(stage)?;
        driver.stall(&mut engine.io, true, clock::now())?;
    }
    driver.counting = true;
    let watch = Watch::begin(stage.server)?;
    if stalls {
        for at in (spans.measure_from..spans.measure_to).step_by(step(LOOK_EVERY)) {
            drive(engine, driver, at.max(spans.start + 1), spans.start, &bar)?;
            resident.seen(glance(stage)?);
        }
    }
    drive(engine, driver, spans.measure_to, spans.start, &bar)?;
    driver.counting = false;
    let usage = watch.end()?;
    driver.stop();
    let rss_bytes = look(stage)?;
    if stalls {
        resident.seen(rss_bytes);
        driver.stall(&mut engine.io, false, clock::now())?;
    }
    bar.done();
    Ok(Measured {
        usage,
        rss_bytes,
        resident,
        stalled_at: driver.stalled_at.unwrap_or(spans.measure_from),
    })
}

/// The server's resident memory, if it is known.
fn look(stage: &Stage<'_>) -> Result<Option<u64>> {
    stage.server.map(resident_bytes).transpose()
}

/// The same while messages are on their way.
fn glance(stage: &Stage<'_>) -> Result<Option<u64>> {
    stage.server.map(resident_bytes_meanwhile).transpose()
}

/// The spans of a run, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spans {
    start: Nanos,
    /// The end of the warm-up, and the beginning of the reference if there is one.
    reference_from: Nanos,
    measure_from: Nanos,
    measure_to: Nanos,
}

impl Spans {
    fn of(plan: &RoomPlan, start: Nanos) -> Spans {
        let reference_from = start + plan.warmup;
        let measure_from = reference_from + plan.reference();
        Spans {
            start,
            reference_from,
            measure_from,
            measure_to: measure_from + plan.window,
        }
    }

    /// Whether the run ends before its deadline.
    fn fit(&self, until: Nanos) -> Result<()> {
        if self.measure_to <= until {
            return Ok(());
        }
        Err(Error::Usage(
            "the run does not fit before its deadline (--deadline)".to_owned(),
        ))
    }

    fn apply(&self, driver: &mut Driver) {
        driver.reference_window = (self.reference_from, self.measure_from);
        driver.window = (self.measure_from, self.measure_to);
    }
}

/// A span as the step of a range.
fn step(span: Nanos) -> usize {
    usize::try_from(span).unwrap_or(usize::MAX).max(1)
}

impl RoomResult {
    /// What a reader must know before believing the figures, span by span.
    pub fn warnings(&self) -> Vec<String> {
        let ramp = self.ramp.warnings_of("the ramp");
        ramp.into_iter().chain(self.usage.warnings()).collect()
    }

    /// The figures that follow from others.
    fn conclude(&mut self) {
        self.deliveries_per_second = self.tally.counted as f64 / self.usage.seconds.max(1e-9);
        self.cpu_us_per_delivery = self.usage.server_us_per(self.tally.counted);
        self.message_wire_bytes = wire_bytes(self.tally.message_bytes, self.tally.delivered);
    }
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
        driver.tick(&engine.io, now);
        let wake = due.min(to).min(now + TURN_MAX);
        engine.turn(driver, wake.saturating_sub(clock::now()))?;
    }
}

/// Receives what is under way until all is accounted for and nothing more comes, or `until`.
fn drain(engine: &mut Engine, driver: &mut Driver, until: Nanos, bar: &Bar) -> Result<()> {
    let (began, mut settled_at) = (clock::now(), None);
    loop {
        let now = clock::now();
        bar.set(progress_steps(now - began));
        driver.tick(&engine.io, now);
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
        seconds(self.warmup + self.reference() + self.window)
    }

    /// Length of the span before members stop reading, with which the measured one is compared.
    pub fn reference(&self) -> Nanos {
        if self.variant.stalled > 0 { self.window } else { 0 }
    }

    /// The histogram of that span, if there is one.
    fn compared(&self, reference: Latency) -> Option<Latency> {
        (self.variant.stalled > 0).then_some(reference)
    }

    /// All connections of a run.
    pub fn connections(&self) -> usize {
        Layout::of(self).members()
    }
}
