//! The `poll` scenario: many PCs that wait for a QR login, told by push over WebSockets on one side, asking once a second
//! over HTTP on the other, in turn on one gateway. What each side costs the server, how much goes over the wire, and how
//! late a PC learns what its phone did.

mod args;
mod driver;
mod pc;
mod result;

use serde::Serialize;

pub use self::args::{PollArgs, command};
use self::driver::Driver;
pub use self::result::{Pair, PollResult, Side};
use crate::clock::{self, MILLI, Nanos, SECOND, seconds};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::latency::Latency;
use crate::login::speaks;
use crate::room::Stage;
use crate::story::{check, drive, drive_until, gather};

/// A login waits at most 300 s by the contract's default: a side has to be over before.
const SIDE_MAX: Nanos = 280 * SECOND;
/// Pairs are tried at most this many times the number wanted.
const TRIES: usize = 2;
/// Bringing the PCs of one side up, at most; only for telling whether a run fits.
const RAMP: Nanos = 20 * SECOND;
/// Longest wait until PCs that still wait have cancelled.
const LEAVE: Nanos = 20 * SECOND;

/// How PCs learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A WebSocket that watches, with heartbeats of both sides.
    Push,
    /// One kept connection of HTTP for each PC.
    KeepAlive,
    /// A connection for each question.
    Connect,
}

/// What a run does.
#[derive(Debug, Clone, Serialize)]
pub struct PollPlan {
    /// PCs that wait.
    pub pcs: usize,
    /// How the other side asks: [`Mode::KeepAlive`] or [`Mode::Connect`].
    pub method: Mode,
    /// Valid pairs of both sides wanted, in order A B B A; at most twice as many are tried.
    pub pairs: usize,
    /// From one question of a PC to its next.
    pub interval: Nanos,
    /// A PC on a WebSocket that has heard nothing for this long sends a `ping`, as pages do.
    pub heartbeat: Nanos,
    /// Logins that are scanned, confirmed and redeemed in a second of the measured span.
    pub logins_per_second: f64,
    /// Phones they are made by.
    pub phones: usize,
    /// After all wait and before the measured span.
    pub settle: Nanos,
    /// The measured span.
    pub window: Nanos,
    /// Longest wait for logins under way afterwards.
    pub drain: Nanos,
}

impl PollPlan {
    /// All connections at once.
    pub fn connections(&self) -> usize {
        self.pcs + self.phones
    }

    fn side(&self) -> Nanos {
        RAMP + self.settle + self.window + self.drain + LEAVE
    }

    fn lasts(&self) -> Nanos {
        2 * self.pairs as u64 * self.side()
    }
}

/// Runs all pairs.
pub fn run(plan: &PollPlan, stage: &Stage<'_>) -> Result<PollResult> {
    speaks(stage.dialect)?;
    check(stage, plan.lasts())?;
    if plan.side() > SIDE_MAX {
        return Err(Error::Usage(format!(
            "a login waits 300 s: --settle, --seconds and --drain together are at most {} s",
            seconds(SIDE_MAX - RAMP - LEAVE)
        )));
    }
    if stage.sessions.len() < plan.phones {
        return Err(Error::Usage(
            "each phone has an account: --users is at least --phones".to_owned(),
        ));
    }
    let mut result = PollResult::new(plan)?;
    for pair in 0..plan.pairs * TRIES {
        if result.valid() >= plan.pairs {
            break;
        }
        let first = if pair % 2 == 0 { Mode::Push } else { plan.method };
        let second = if pair % 2 == 0 { plan.method } else { Mode::Push };
        let mut sides = [one(plan, stage, first)?, one(plan, stage, second)?];
        if pair % 2 == 1 {
            sides.reverse();
        }
        let [(push, push_late), (poll, poll_late)] = sides;
        result.add(push, poll, (&push_late, &poll_late))?;
    }
    result.conclude();
    Ok(result)
}

/// Runs one side.
fn one(plan: &PollPlan, stage: &Stage<'_>, mode: Mode) -> Result<(Side, Latency)> {
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, mode, stage)?;
    let rss = || stage.server.map(resident_bytes).transpose();
    let before = rss()?;
    let bar = stage.progress.bar("opening", plan.connections());
    gather(&mut engine, &mut driver, plan.connections(), stage.until, &bar)?;
    bar.done();
    let from = clock::now() + MILLI + plan.settle;
    let to = from + plan.window;
    driver.begin((from, to));
    drive(&mut engine, &mut driver, from)?;
    let after = rss()?;

    let watch = Watch::begin(stage.server)?;
    let (counts, traffic) = (driver.counts.clone(), engine.io.traffic.clone());
    drive(&mut engine, &mut driver, to)?;
    let usage = watch.end()?;
    let mut side = Side {
        mode: Some(mode),
        usage,
        requests: engine.io.traffic.requests - traffic.requests,
        bytes_sent: engine.io.traffic.bytes_sent - traffic.bytes_sent,
        bytes_received: engine.io.traffic.bytes_received - traffic.bytes_received,
        polls: driver.counts.polled - counts.polled,
        polls_skipped: driver.counts.skipped - counts.skipped,
        rss_growth: before
            .zip(after)
            .map(|(before, after)| after as f64 - before as f64),
        ..Side::default()
    };
    driver.stop();
    let until = clock::now() + plan.drain;
    drive_until(&mut engine, &mut driver, until, |d, _| d.settled())?;
    side.unlearned = driver.unlearned();
    driver.leave();
    let until = clock::now() + LEAVE;
    if !drive_until(&mut engine, &mut driver, until, |d, _| d.left())? {
        let late = driver.unleft() as u64;
        *driver
            .counts
            .failed
            .entry("cancel: not in time".to_owned())
            .or_default() += late;
    }
    side.connect_refused = std::mem::take(&mut driver.sockets.refused);
    side.counts = driver.counts;
    side.lateness = driver.lateness.percentiles();
    // What is closed politely has a place at the server no more when the next side begins.
    engine.close_all()?;
    Ok((side, driver.lateness))
}
