//! The same load on two targets in pairs, A B B A: what a noisy machine does to one it does to the other.

pub mod command;
mod result;
pub mod serve;
pub mod spec;

pub use self::result::{First, Pair, Side, VersusResult};
use crate::clock::from_seconds;
use crate::error::{Error, Result};
use crate::host::pin;
use crate::host::server::Server;
use crate::latency::Latency;
use crate::room::{self, RoomPlan, Stage};

/// Pairs are tried at most this many times those wanted.
const ATTEMPTS_PER_PAIR: usize = 2;
/// Longest measured and warm-up span of a first run, which is discarded.
const FIRST_SECONDS: f64 = 1.0;
/// Most pairs of a comparison.
const PAIRS_MAX: usize = 1_000;

/// Whether a number of pairs can be asked for.
pub fn check_pairs(pairs: usize) -> Result<()> {
    if (1..=PAIRS_MAX).contains(&pairs) {
        return Ok(());
    }
    Err(Error::Usage(format!("--pairs is 1 to {PAIRS_MAX}")))
}

/// Runs pairs on `a` and `b` until `pairs` are valid, or twice as many were tried.
pub fn run(load: &RoomPlan, pairs: usize, a: &Stage<'_>, b: &Stage<'_>) -> Result<VersusResult> {
    check_pairs(pairs)?;
    let processors = |stage: &Stage<'_>| {
        match stage.server.and_then(Server::pid) {
        Some(pid) => pin::processors(pid),
        None => Err(Error::Usage(
            "a ratio of processor times needs the pid of both servers: a floor has no metrics, and two ways of \
             measuring do not compare".to_owned(),
        )),
    }
    };
    let processors = (processors(a)?, processors(b)?);
    let mut result = VersusResult::default();
    let (mut a_pool, mut b_pool) = (Latency::new()?, Latency::new()?);
    let mut valid = 0;
    for attempt in 0..pairs * ATTEMPTS_PER_PAIR {
        if valid >= pairs {
            break;
        }
        let runs = u32::try_from(attempt).unwrap_or(0) * 2;
        let of = |stage: &Stage<'_>, n: u32| {
            let run = stage.run.wrapping_add(1 + n);
            room::run(load, &Stage { run, ..*stage })
        };
        // A B, then B A, and so on.
        let (first, of_a, of_b) = if attempt % 2 == 0 {
            let of_a = of(a, runs)?;
            (First::A, of_a, of(b, runs + 1)?)
        } else {
            let of_b = of(b, runs)?;
            (First::B, of(a, runs + 1)?, of_b)
        };
        let pair = Pair::of(first, (&of_a.result, processors.0), (&of_b.result, processors.1))?;
        if pair.void.is_none() {
            valid += 1;
            a_pool.pool(&of_a.latency)?;
            b_pool.pool(&of_b.latency)?;
        }
        result.pairs.push(pair);
    }
    result.a_latency = a_pool.percentiles();
    result.b_latency = b_pool.percentiles();
    result.pools = Some((a_pool, b_pool));
    result.conclude();
    Ok(result)
}

/// A short run that is discarded: it warms the server up, and tells how long a message is on its wire,
/// bytes, 1 to 65,535.
pub fn first_run(load: &RoomPlan, stage: &Stage<'_>) -> Result<usize> {
    let mut short = load.clone();
    short.window = short.window.min(from_seconds(FIRST_SECONDS));
    short.warmup = short.warmup.min(short.window);
    let wire = room::run(&short, stage)?.result.message_wire_bytes;
    // A frame's length, far below the type's bound.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bytes = wire.round().clamp(0.0, 65_535.0) as usize;
    if bytes == 0 {
        return Err(Error::Protocol(format!(
            "{} delivered nothing in the first run",
            stage.target.url()
        )));
    }
    Ok(bytes)
}
