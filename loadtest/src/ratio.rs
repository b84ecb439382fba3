//! Product against floor: a comparison whose B is the floor, started by itself, with frames as long as the
//! product's.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::floor::FloorOptions;
use crate::floor::child;
use crate::floor::probe::{SendCost, send_cost};
use crate::host::server::Server;
use crate::interval::Interval;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::room::{RoomPlan, Stage};
use crate::target::{Remote, Sources, Target};
use crate::versus::{self, Side, VersusResult};

/// Batches of the probe of one send.
const PROBE_BATCHES: usize = 200;
/// Connections to the floor from one source address: it has no limit of its own.
const PER_SOURCE: usize = 1_000;

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
    /// What a reader must know of either side.
    pub warnings: Vec<String>,
    /// The histograms of these two, for outputs.
    #[serde(skip)]
    pub pools: Option<(Latency, Latency)>,
}

/// What is said when the gateway is not watched by its process id.
pub fn needs_pid() -> Error {
    Error::Usage(
        "a ratio of processor times needs the gateway's --pid, not --metrics: the floor has no metrics, and two ways \
         of measuring do not compare"
            .to_owned(),
    )
}

/// Runs pairs until enough are valid. `product` is the gateway; the floor is started from `program`.
pub fn run(load: &RoomPlan, plan: &RatioPlan, product: &Stage<'_>, program: &Path) -> Result<RatioResult> {
    if product.server.and_then(Server::pid).is_none() {
        return Err(needs_pid());
    }
    let frame_bytes = match plan.frame_bytes {
        Some(bytes) => bytes,
        None => versus::first_run(load, product)?,
    };
    let options = FloorOptions {
        frame_bytes,
        coalesce: plan.coalesce,
    };
    let child = child::start(program, options, plan.deadline_seconds, plan.pin_server)?;
    let target = Target::parse(&format!("ws://{}", child.authority), Remote::Refused)?;
    let floor = Stage {
        target: &target,
        dialect: Dialect::Floor,
        sources: Sources::new(&target, PER_SOURCE),
        sessions: &[],
        server: Some(Server::Pid(child.pid())),
        ..*product
    };
    let cost = send_cost(frame_bytes, PROBE_BATCHES)?;
    let pairs = versus::run(load, plan.pairs, product, &floor)?;
    Ok(RatioResult {
        frame_bytes,
        send_cost: Some(cost),
        ..RatioResult::from(pairs)
    })
}

impl From<VersusResult> for RatioResult {
    fn from(versus: VersusResult) -> RatioResult {
        RatioResult {
            frame_bytes: 0,
            send_cost: None,
            warnings: versus.warnings("product", "floor"),
            cpu_ratio: versus.cpu_ratio,
            throughput_ratio: versus.throughput_ratio,
            product_cpu_us: versus.a_cpu_us,
            floor_cpu_us: versus.b_cpu_us,
            pools: versus.pools,
            product_latency: versus.a_latency,
            floor_latency: versus.b_latency,
            pairs: versus
                .pairs
                .into_iter()
                .map(|pair| Pair {
                    product: pair.a,
                    floor: pair.b,
                    cpu_ratio: pair.cpu_ratio,
                    throughput_ratio: pair.throughput_ratio,
                    void: pair.void,
                })
                .collect(),
        }
    }
}

impl RatioResult {
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
            Metric::span("product_p50", self.product_latency.p50_us),
            Metric::span("floor_p50", self.floor_latency.p50_us),
            Metric::span("product_p99", self.product_latency.p99_us),
            Metric::span("floor_p99", self.floor_latency.p99_us),
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

    #[test]
    fn a_comparison_becomes_a_ratio() {
        let side = |cpu, lost| Side {
            cpu_us_per_delivery: cpu,
            lost,
            ..Side::default()
        };
        let pair = |void| versus::Pair {
            first: versus::First::A,
            a: side(3.0, 1),
            b: side(2.0, 0),
            cpu_ratio: 1.5,
            throughput_ratio: 1.0,
            p99_ratio: None,
            void,
        };
        let ratio = RatioResult::from(VersusResult {
            pairs: vec![pair(None), pair(Some("steal above 5 %"))],
            cpu_ratio: Interval::of(&[1.5]),
            ..VersusResult::default()
        });
        let metrics = ratio.metrics();
        for (name, want) in [
            ("cpu_ratio", 1.5),
            ("pairs", 1.0),
            ("pairs_void", 1.0),
            ("lost", 2.0),
        ] {
            let value = metrics.named(name).unwrap().value.unwrap();
            assert!((value - want).abs() < 1e-9, "{name} is {value}");
        }
        assert!((ratio.pairs[0].floor.cpu_us_per_delivery - 2.0).abs() < 1e-9);
        assert!(
            ratio.warnings[0].starts_with("product LOST 2"),
            "{:?}",
            ratio.warnings
        );
    }
}
