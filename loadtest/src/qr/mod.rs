//! The `qr` scenario: whole QR logins at a rate, on open sockets and kept connections of phones, beside an echo on
//! WebSockets of the same run.

mod args;
mod attempt;
mod driver;
mod result;
mod tally;

use serde::Serialize;

pub use self::args::{QrArgs, command};
use self::driver::Driver;
pub use self::result::QrResult;
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::history::tap::Tap;
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::login::speaks;
use crate::room::Stage;
use crate::series::Phase;
use crate::story::{Story, check, drive, drive_until, end, gather};

/// Connecting may take this much beyond the spans.
const MARGIN: Nanos = SECOND;

/// What a run does.
#[derive(Debug, Clone, Serialize)]
pub struct QrPlan {
    /// PCs with an open socket, each with a person of its own and that person's phone.
    pub pcs: usize,
    /// Attempts meant to begin in a second, all PCs together.
    pub per_second: f64,
    /// Sockets that echo, and echoes in a second, all of them together.
    pub echo_sockets: usize,
    pub echoes_per_second: f64,
    pub warmup: Nanos,
    /// The measured span.
    pub window: Nanos,
    /// Longest wait for what is still under way afterwards.
    pub drain: Nanos,
}

impl QrPlan {
    /// All connections: a socket and a phone's connection for each PC, and the echoes.
    pub fn connections(&self) -> usize {
        2 * self.pcs + self.echo_sockets
    }

    fn lasts(&self) -> Nanos {
        self.warmup + self.window + self.drain + MARGIN
    }
}

/// Connects, logs in for the warm-up and the measured span, waits for what is under way, and counts. `tap` records a
/// history.
pub fn run(plan: &QrPlan, stage: &Stage<'_>, tap: Option<Box<Tap>>) -> Result<QrResult> {
    run_until(plan, stage, tap, |unfinished| unfinished == 0)
}

/// As [`run`], for who knows that some attempts never end: at the end it waits until `settled` says so of the number that
/// are under way.
pub fn run_until(
    plan: &QrPlan,
    stage: &Stage<'_>,
    tap: Option<Box<Tap>>,
    settled: impl Fn(u64) -> bool,
) -> Result<QrResult> {
    speaks(stage.dialect)?;
    check(stage, plan.lasts())?;
    if stage.sessions.len() < plan.pcs {
        return Err(Error::Usage(format!(
            "each of {} PCs is signed in by a person of its own: --users is at least as many",
            plan.pcs
        )));
    }
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage)?;
    engine.io.tap = tap.map(|mut tap| {
        tap.users = driver.users();
        tap
    });
    driver.phase(Phase::Connecting);
    let mut result = QrResult::default();
    let bar = stage.progress.bar("connecting", plan.connections());
    gather(&mut engine, &mut driver, plan.connections(), stage.until, &bar)?;
    bar.done();

    let start = clock::now() + MILLI;
    let (from, to) = (start + plan.warmup, start + plan.warmup + plan.window);
    driver.begin(start, (from, to));
    driver.phase(Phase::Warmup);
    drive(&mut engine, &mut driver, from)?;
    driver.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    let before = driver.tally.completed;
    drive(&mut engine, &mut driver, to)?;
    result.usage = watch.end()?;
    result.completed_in_window = driver.tally.completed - before;
    result.rss_bytes = stage.server.map(resident_bytes).transpose()?;
    driver.stop();
    driver.phase(Phase::Draining);
    let until = clock::now() + plan.drain;
    drive_until(&mut engine, &mut driver, until, |d, _| {
        d.quiet() && settled(d.unfinished())
    })?;
    if let Some(mut tap) = engine.io.tap.take() {
        tap.quiet(clock::now());
        tap.finish()?;
    }
    (result.requests, result.answers) = (engine.io.traffic.requests, engine.io.traffic.answers);
    let ended = end(&engine, &mut driver);
    result.conclude(driver, plan, ended);
    engine.close_all()?;
    Ok(result)
}
