//! Product against floor in pairs, A B B A: what a noisy machine does to one it does to the other.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::floor::FloorOptions;
use crate::floor::child::FloorChild;
use crate::floor::probe::{SendCost, send_cost};
use crate::host::pin;
use crate::host::usage::{SATURATED_SHARE, STEAL_SHARE};
use crate::interval::Interval;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::room::{self, RoomPlan, RoomResult, Stage};
use crate::target::{Remote, Sources, Target};

/// Runs are tried at most this many times the pairs wanted.
const ATTEMPTS_PER_PAIR: usize = 2;
/// Measured and warm-up span of the first run, which only learns the length of a frame.
const LEARN_SECONDS: f64 = 1.0;
/// Batches of the probe of one send.
const PROBE_BATCHES: usize = 200;

/// What is compared.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RatioPlan {
    /// Valid pairs wanted.
    pub pairs: usize,
    /// The floor joins what is pending for a socket into one send.
    pub coalesce: bool,
    /// Length of the floor's frames; `None`: learnt from the product.
    pub frame_bytes: Option<usize>,
    /// Processor of server and floor.
    pub pin_server: Option<usize>,
    /// How long the floor's process may live, seconds.
    pub deadline_seconds: f64,
}

/// One side of a pair.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    pub cpu_us_per_delivery: f64,
    pub deliveries_per_second: f64,
    pub latency: Percentiles,
    pub expected: u64,
    pub delivered: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    pub refused: u64,
    pub tester_share: f64,
    pub tester_wait: f64,
    pub server_wait: Option<f64>,
    pub steal: f64,
}

/// A run of each, next to each other in time.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    pub product: Side,
    pub floor: Side,
    /// Product divided by floor.
    pub cpu_ratio: f64,
    pub throughput_ratio: f64,
    /// Why the pair does not count.
    pub void: Option<&'static str>,
}

/// The result of a `ratio` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RatioResult {
    /// Length of the floor's frames, bytes.
    pub frame_bytes: usize,
    /// One send of that length on one loopback pair.
    pub send_cost: Option<SendCost>,
    pub pairs: Vec<Pair>,
    /// Over the valid pairs.
    pub cpu_ratio: Option<Interval>,
    pub throughput_ratio: Option<Interval>,
    pub product_cpu_us: Option<Interval>,
    pub floor_cpu_us: Option<Interval>,
    /// Pooled over the valid pairs.
    pub product_latency: Percentiles,
    pub floor_latency: Percentiles,
    /// The histograms of these two, for outputs.
    #[serde(skip)]
    pub pools: Option<(Latency, Latency)>,
}

/// Runs pairs until enough are valid. `product` is the gateway; the floor is started from `program`.
pub fn run(load: &RoomPlan, plan: &RatioPlan, product: &Stage<'_>, program: &Path) -> Result<RatioResult> {
    if product.pid.is_none() {
        return Err(Error::Usage(
            "a ratio of processor times needs the gateway's --pid".to_owned(),
        ));
    }
    let frame_bytes = match plan.frame_bytes {
        Some(bytes) => bytes,
        None => learn_frame_bytes(load, product)?,
    };
    let options = FloorOptions {
        frame_bytes,
        coalesce: plan.coalesce,
    };
    let child = FloorChild::start(program, options, plan.deadline_seconds)?;
    match plan.pin_server {
        Some(cpu) => pin::process(child.pid(), cpu)?,
        None => pin::release(child.pid())?,
    }
    let target = Target::parse(&format!("ws://{}", child.authority), Remote::Refused)?;
    let floor = Stage {
        target: &target,
        dialect: Dialect::Floor,
        sources: Sources::new(&target, 1_000),
        sessions: &[],
        pid: Some(child.pid()),
        ..*product
    };
    let mut result = RatioResult {
        frame_bytes,
        send_cost: Some(send_cost(frame_bytes, PROBE_BATCHES)?),
        ..RatioResult::default()
    };
    let (mut product_pool, mut floor_pool) = (Latency::new()?, Latency::new()?);
    let mut valid = 0;
    for attempt in 0..plan.pairs * ATTEMPTS_PER_PAIR {
        if valid >= plan.pairs {
            break;
        }
        let runs = u32::try_from(attempt).unwrap_or(0) * 2;
        let of = |stage: &Stage<'_>, n: u32| {
            let run = stage.run.wrapping_add(1 + n);
            room::run(load, &Stage { run, ..*stage })
        };
        // A B, then B A, and so on.
        let (a, b) = if attempt % 2 == 0 {
            let a = of(product, runs)?;
            (a, of(&floor, runs + 1)?)
        } else {
            let b = of(&floor, runs)?;
            (of(product, runs + 1)?, b)
        };
        let pair = Pair::of(&a.result, &b.result)?;
        if pair.void.is_none() {
            valid += 1;
            product_pool.pool(&a.latency)?;
            floor_pool.pool(&b.latency)?;
        }
        result.pairs.push(pair);
    }
    result.product_latency = product_pool.percentiles();
    result.floor_latency = floor_pool.percentiles();
    result.pools = Some((product_pool, floor_pool));
    result.conclude();
    Ok(result)
}

/// A short run of the product, for the length of its frames; warms both up besides.
fn learn_frame_bytes(load: &RoomPlan, product: &Stage<'_>) -> Result<usize> {
    let mut short = load.clone();
    short.window = short.window.min(crate::clock::from_seconds(LEARN_SECONDS));
    short.warmup = short.warmup.min(short.window);
    let wire = room::run(&short, product)?.result.message_wire_bytes;
    // A frame's length, far below the type's bound.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bytes = wire.round().clamp(0.0, 65_535.0) as usize;
    if bytes == 0 {
        return Err(Error::Protocol(
            "the product delivered nothing in the first run".to_owned(),
        ));
    }
    Ok(bytes)
}

impl Side {
    fn of(result: &RoomResult) -> Result<Side> {
        let cpu = result
            .cpu_us_per_delivery
            .ok_or_else(|| Error::Process("no processor time per delivery: nothing arrived".to_owned()))?;
        Ok(Side {
            cpu_us_per_delivery: cpu,
            deliveries_per_second: result.deliveries_per_second,
            latency: result.latency,
            expected: result.expected,
            delivered: result.tally.delivered,
            lost: result.lost,
            duplicated: result.tally.duplicated,
            out_of_order: result.tally.out_of_order,
            refused: result.tally.refused.values().sum(),
            tester_share: result.usage.tester_share,
            tester_wait: result.usage.tester_wait,
            server_wait: result.usage.server_wait,
            steal: result.usage.steal,
        })
    }

    fn void(&self) -> Option<&'static str> {
        if self.steal > STEAL_SHARE {
            Some("steal above 5 %")
        } else if self.tester_share > SATURATED_SHARE {
            Some("tester above 90 % of its core")
        } else {
            None
        }
    }
}

impl Pair {
    fn of(product: &RoomResult, floor: &RoomResult) -> Result<Pair> {
        let (product, floor) = (Side::of(product)?, Side::of(floor)?);
        Ok(Pair {
            cpu_ratio: product.cpu_us_per_delivery / floor.cpu_us_per_delivery,
            throughput_ratio: product.deliveries_per_second / floor.deliveries_per_second,
            void: product.void().or(floor.void()),
            product,
            floor,
        })
    }
}

impl RatioResult {
    fn conclude(&mut self) {
        let over = |figure: &dyn Fn(&Pair) -> f64| {
            let figures: Vec<f64> = self
                .pairs
                .iter()
                .filter(|p| p.void.is_none())
                .map(figure)
                .collect();
            Interval::of(&figures)
        };
        let cpu_ratio = over(&|p| p.cpu_ratio);
        let throughput_ratio = over(&|p| p.throughput_ratio);
        let product_cpu_us = over(&|p| p.product.cpu_us_per_delivery);
        let floor_cpu_us = over(&|p| p.floor.cpu_us_per_delivery);
        (
            self.cpu_ratio,
            self.throughput_ratio,
            self.product_cpu_us,
            self.floor_cpu_us,
        ) = (cpu_ratio, throughput_ratio, product_cpu_us, floor_cpu_us);
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let void = self.pairs.iter().filter(|p| p.void.is_some()).count();
        let sum = |figure: fn(&Side) -> u64| self.pairs.iter().map(|p| figure(&p.product)).sum();
        let ratio = |name, value: Option<f64>| Metric::new(name, Unit::Ratio, value);
        let us = |name, value: Option<f64>| Metric::new(name, Unit::Micros, value);
        let p99 = (self.floor_latency.p99_us > 0.0)
            .then(|| self.product_latency.p99_us / self.floor_latency.p99_us);
        let cpu = self.cpu_ratio;
        Metrics(vec![
            Metric::count("pairs", (self.pairs.len() - void) as u64),
            Metric::count("pairs_void", void as u64),
            ratio("cpu_ratio", cpu.map(|i| i.median)),
            ratio("cpu_ratio_low", cpu.map(|i| i.low)),
            ratio("cpu_ratio_high", cpu.map(|i| i.high)),
            Metric::new("cpu_ratio_half_width", Unit::Share, cpu.map(|i| i.half_width)),
            ratio("cpu_ratio_median_low", cpu.map(|i| i.median_low)),
            ratio("cpu_ratio_median_high", cpu.map(|i| i.median_high)),
            us("product_cpu_us", self.product_cpu_us.map(|i| i.median)),
            us("floor_cpu_us", self.floor_cpu_us.map(|i| i.median)),
            ratio("throughput_ratio", self.throughput_ratio.map(|i| i.median)),
            ratio("p99_ratio", p99),
            us("product_p50", Some(self.product_latency.p50_us)),
            us("floor_p50", Some(self.floor_latency.p50_us)),
            us("product_p99", Some(self.product_latency.p99_us)),
            us("floor_p99", Some(self.floor_latency.p99_us)),
            us("send_cost", self.send_cost.map(|c| c.median_us)),
            Metric::new("frame_bytes", Unit::Bytes, self.frame_bytes as f64),
            Metric::count("expected", sum(|s| s.expected)),
            Metric::count("delivered", sum(|s| s.delivered)),
            Metric::count("lost", sum(|s| s.lost)),
            Metric::count("duplicated", sum(|s| s.duplicated)),
            Metric::count("out_of_order", sum(|s| s.out_of_order)),
            Metric::count("refused", sum(|s| s.refused)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::usage::Usage;

    fn result(cpu: f64, steal: f64, tester_share: f64) -> RoomResult {
        RoomResult {
            cpu_us_per_delivery: Some(cpu),
            deliveries_per_second: 10.0,
            usage: Usage {
                steal,
                tester_share,
                ..Usage::default()
            },
            ..RoomResult::default()
        }
    }

    #[test]
    fn void_pairs_do_not_count() {
        let floor = result(2.0, 0.0, 0.5);
        let mut ratio = RatioResult {
            pairs: vec![
                Pair::of(&result(3.0, 0.0, 0.5), &floor).unwrap(),
                Pair::of(&result(90.0, 0.06, 0.5), &floor).unwrap(),
                Pair::of(&result(90.0, 0.0, 0.95), &floor).unwrap(),
                Pair::of(&result(90.0, 0.0, 0.5), &result(2.0, 0.0, 0.91)).unwrap(),
            ],
            ..RatioResult::default()
        };
        ratio.conclude();
        let metrics = ratio.metrics();
        let value = |name: &str| metrics.named(name).unwrap().value.unwrap();
        assert!((value("cpu_ratio") - 1.5).abs() < 1e-9);
        assert!((value("pairs") - 1.0).abs() < 1e-9 && (value("pairs_void") - 3.0).abs() < 1e-9);
        assert!(Pair::of(&RoomResult::default(), &floor).is_err());
    }
}
