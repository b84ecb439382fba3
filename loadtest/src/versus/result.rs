//! What pairs of runs amount to.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::host::usage::{SATURATED_SHARE, STEAL_SHARE};
use crate::interval::Interval;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::room::RoomResult;

/// One side of a pair.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Side {
    pub cpu_us_per_delivery: f64,
    pub deliveries_per_second: f64,
    pub latency: Percentiles,
    /// Mean length of a message on the wire, bytes.
    pub message_wire_bytes: f64,
    pub expected: u64,
    pub delivered: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    pub refused: u64,
    /// Connections that ended during the run.
    pub closed: u64,
    /// Messages that were due and could not be handed to a socket.
    pub unsent: u64,
    /// Cores the server used.
    pub server_cores: Option<f64>,
    /// The server had no processor time left: its latency is that of its queue.
    pub saturated: bool,
    pub tester_share: f64,
    pub tester_wait: f64,
    pub server_wait: Option<f64>,
    pub steal: f64,
}

/// Which side of a pair ran first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum First {
    A,
    B,
}

/// A run of each, next to each other in time.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// `a` and `b` in turn, so that what drifts hits both alike.
    pub first: First,
    pub a: Side,
    pub b: Side,
    /// A divided by B.
    pub cpu_ratio: f64,
    pub throughput_ratio: f64,
    /// `None` when one of them measured no latency.
    pub p99_ratio: Option<f64>,
    /// Why the pair does not count.
    pub void: Option<&'static str>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VersusResult {
    pub pairs: Vec<Pair>,
    /// A divided by B, over the valid pairs.
    pub cpu_ratio: Option<Interval>,
    pub throughput_ratio: Option<Interval>,
    pub p99_ratio: Option<Interval>,
    /// Over the valid pairs.
    pub a_cpu_us: Option<Interval>,
    pub b_cpu_us: Option<Interval>,
    pub a_deliveries_per_second: Option<Interval>,
    pub b_deliveries_per_second: Option<Interval>,
    /// Pooled over the valid pairs.
    pub a_latency: Percentiles,
    pub b_latency: Percentiles,
    /// The histograms of these two, for outputs.
    #[serde(skip)]
    pub pools: Option<(Latency, Latency)>,
}

impl Side {
    fn of(result: &RoomResult, processors: usize) -> Result<Side> {
        let cpu = result
            .cpu_us_per_delivery
            .ok_or_else(|| Error::Process("no processor time per delivery: nothing arrived".to_owned()))?;
        let tally = &result.tally;
        Ok(Side {
            cpu_us_per_delivery: cpu,
            deliveries_per_second: result.deliveries_per_second,
            latency: result.latency,
            message_wire_bytes: result.message_wire_bytes,
            expected: result.expected,
            delivered: tally.delivered,
            lost: result.lost,
            duplicated: tally.duplicated,
            out_of_order: tally.out_of_order,
            refused: tally.refused.values().sum(),
            closed: tally.ended.values().sum(),
            unsent: tally.unsent,
            server_cores: result.usage.server_cores(),
            saturated: result.usage.server_saturated(processors),
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
    /// A pair of results, each with the number of processors its server may use.
    pub(super) fn of(first: First, a: (&RoomResult, usize), b: (&RoomResult, usize)) -> Result<Pair> {
        let (a, b) = (Side::of(a.0, a.1)?, Side::of(b.0, b.1)?);
        let p99 = b.latency.p99_us;
        Ok(Pair {
            first,
            cpu_ratio: a.cpu_us_per_delivery / b.cpu_us_per_delivery,
            throughput_ratio: a.deliveries_per_second / b.deliveries_per_second,
            p99_ratio: (p99 > 0.0 && a.latency.p99_us > 0.0).then(|| a.latency.p99_us / p99),
            void: a.void().or(b.void()),
            a,
            b,
        })
    }
}

impl VersusResult {
    pub(super) fn conclude(&mut self) {
        let valid: Vec<&Pair> = self.pairs.iter().filter(|p| p.void.is_none()).collect();
        let over = |figure: fn(&Pair) -> Option<f64>| {
            let figures: Vec<f64> = valid.iter().filter_map(|p| figure(p)).collect();
            Interval::of(&figures)
        };
        let cpu_ratio = over(|p| Some(p.cpu_ratio));
        let throughput_ratio = over(|p| Some(p.throughput_ratio));
        let p99_ratio = over(|p| p.p99_ratio);
        let cpu = (
            over(|p| Some(p.a.cpu_us_per_delivery)),
            over(|p| Some(p.b.cpu_us_per_delivery)),
        );
        let rate = (
            over(|p| Some(p.a.deliveries_per_second)),
            over(|p| Some(p.b.deliveries_per_second)),
        );
        (self.cpu_ratio, self.throughput_ratio, self.p99_ratio) = (cpu_ratio, throughput_ratio, p99_ratio);
        (self.a_cpu_us, self.b_cpu_us) = cpu;
        (self.a_deliveries_per_second, self.b_deliveries_per_second) = rate;
    }

    /// Pairs that count, and pairs that do not.
    pub fn counted(&self) -> (usize, usize) {
        let void = self.pairs.iter().filter(|p| p.void.is_some()).count();
        (self.pairs.len() - void, void)
    }

    /// The p99 of A's pooled latencies divided by that of B's.
    pub fn pooled_p99_ratio(&self) -> Option<f64> {
        (self.b_latency.p99_us > 0.0).then(|| self.a_latency.p99_us / self.b_latency.p99_us)
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let (valid, void) = self.counted();
        let ratio = |name, value: Option<f64>| Metric::new(name, Unit::Ratio, value);
        let width = |name, of: Option<Interval>| Metric::new(name, Unit::Share, of.map(|i| i.half_width));
        let (cpu, rate, p99) = (self.cpu_ratio, self.throughput_ratio, self.p99_ratio);
        let mut all = vec![
            Metric::count("pairs", valid as u64),
            Metric::count("pairs_void", void as u64),
            ratio("cpu_ratio", cpu.map(|i| i.median)),
            ratio("cpu_ratio_low", cpu.map(|i| i.low)),
            ratio("cpu_ratio_high", cpu.map(|i| i.high)),
            width("cpu_ratio_half_width", cpu),
            ratio("cpu_ratio_median_low", cpu.map(|i| i.median_low)),
            ratio("cpu_ratio_median_high", cpu.map(|i| i.median_high)),
            ratio("throughput_ratio", rate.map(|i| i.median)),
            ratio("throughput_ratio_low", rate.map(|i| i.low)),
            ratio("throughput_ratio_high", rate.map(|i| i.high)),
            width("throughput_ratio_half_width", rate),
            ratio("p99_ratio", self.pooled_p99_ratio()),
            ratio("p99_ratio_median", p99.map(|i| i.median)),
            ratio("p99_ratio_low", p99.map(|i| i.low)),
            ratio("p99_ratio_high", p99.map(|i| i.high)),
            width("p99_ratio_half_width", p99),
        ];
        all.extend(self.figures());
        all.extend(self.counts());
        Metrics(all)
    }

    /// Each side's own figures: medians of the valid pairs, percentiles pooled.
    fn figures(&self) -> Vec<Metric> {
        let median = |of: Option<Interval>| of.map(|i| i.median);
        let over = |figure: &dyn Fn(&Pair) -> Option<f64>| {
            let valid = self.pairs.iter().filter(|p| p.void.is_none());
            median(Interval::of(&valid.filter_map(figure).collect::<Vec<f64>>()))
        };
        let us = |name, value: Option<f64>| Metric::new(name, Unit::Micros, value);
        let rate = |name, of| Metric::new(name, Unit::PerSecond, median(of));
        let cores = |name, value| Metric::new(name, Unit::Ratio, value);
        let bytes = |name, value| Metric::new(name, Unit::Bytes, value);
        vec![
            us("a_cpu_us", median(self.a_cpu_us)),
            us("b_cpu_us", median(self.b_cpu_us)),
            rate("a_deliveries_per_second", self.a_deliveries_per_second),
            rate("b_deliveries_per_second", self.b_deliveries_per_second),
            Metric::span("a_p50", self.a_latency.p50_us),
            Metric::span("b_p50", self.b_latency.p50_us),
            Metric::span("a_p99", self.a_latency.p99_us),
            Metric::span("b_p99", self.b_latency.p99_us),
            cores("a_cores", over(&|p| p.a.server_cores)),
            cores("b_cores", over(&|p| p.b.server_cores)),
            bytes("a_wire_bytes", over(&|p| Some(p.a.message_wire_bytes))),
            bytes("b_wire_bytes", over(&|p| Some(p.b.message_wire_bytes))),
        ]
    }

    /// Each side's sums over all pairs, void ones too: a machine's noise is no excuse for a loss.
    fn counts(&self) -> Vec<Metric> {
        /// Names of A and B, and what is summed.
        type Count = ([&'static str; 2], fn(&Side) -> u64);
        let counts: [Count; 9] = [
            (["a_expected", "b_expected"], |s| s.expected),
            (["a_delivered", "b_delivered"], |s| s.delivered),
            (["a_lost", "b_lost"], |s| s.lost),
            (["a_duplicated", "b_duplicated"], |s| s.duplicated),
            (["a_out_of_order", "b_out_of_order"], |s| s.out_of_order),
            (["a_refused", "b_refused"], |s| s.refused),
            (["a_unsent", "b_unsent"], |s| s.unsent),
            (["a_closed", "b_closed"], |s| s.closed),
            (["a_saturated", "b_saturated"], |s| u64::from(s.saturated)),
        ];
        counts
            .iter()
            .flat_map(|([a, b], count)| {
                let sum = |side: fn(&Pair) -> &Side| self.pairs.iter().map(|p| count(side(p))).sum();
                [Metric::count(*a, sum(|p| &p.a)), Metric::count(*b, sum(|p| &p.b))]
            })
            .collect()
    }

    /// What a reader must know of a side before believing its figures.
    pub fn warnings(&self, a: &str, b: &str) -> Vec<String> {
        let mut out = Vec::new();
        for (label, side) in [(a, (|p| &p.a) as fn(&Pair) -> &Side), (b, |p| &p.b)] {
            let sides = || self.pairs.iter().map(side);
            let saturated = sides().filter(|s| s.saturated).count();
            if saturated > 0 {
                out.push(format!(
                    "{label} SATURATED its processor in {saturated} of {} runs: its latency is that of its queue",
                    self.pairs.len()
                ));
            }
            let lost: u64 = sides().map(|s| s.lost).sum();
            let wrong: u64 = sides().map(|s| s.duplicated + s.out_of_order).sum();
            let closed: u64 = sides().map(|s| s.closed).sum();
            if lost + wrong + closed > 0 {
                out.push(format!(
                    "{label} LOST {lost} deliveries, {wrong} came twice or out of order, {closed} connections ended"
                ));
            }
        }
        out
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
            latency: Percentiles {
                p99_us: cpu * 10.0,
                ..Percentiles::default()
            },
            usage: Usage {
                seconds: 1.0,
                server_cpu_seconds: Some(0.5),
                steal,
                tester_share,
                ..Usage::default()
            },
            ..RoomResult::default()
        }
    }

    fn pair(a: &RoomResult, b: &RoomResult) -> Pair {
        Pair::of(First::A, (a, 1), (b, 1)).unwrap()
    }

    #[test]
    fn void_pairs_do_not_count_but_their_losses_do() {
        let b = result(2.0, 0.0, 0.5);
        let mut stolen = result(90.0, 0.06, 0.5);
        stolen.lost = 3;
        let mut versus = VersusResult {
            pairs: vec![
                pair(&result(3.0, 0.0, 0.5), &b),
                pair(&stolen, &b),
                pair(&result(90.0, 0.0, 0.95), &b),
                pair(&result(90.0, 0.0, 0.5), &result(2.0, 0.0, 0.91)),
            ],
            ..VersusResult::default()
        };
        versus.conclude();
        let metrics = versus.metrics();
        for (name, want) in [
            ("cpu_ratio", 1.5),
            ("throughput_ratio", 1.0),
            ("p99_ratio_median", 1.5),
            ("a_cpu_us", 3.0),
            ("b_cpu_us", 2.0),
            ("a_cores", 0.5),
            ("pairs", 1.0),
            ("pairs_void", 3.0),
            ("a_lost", 3.0),
            ("b_lost", 0.0),
            ("a_saturated", 0.0),
        ] {
            let value = metrics.named(name).unwrap().value.unwrap();
            assert!((value - want).abs() < 1e-9, "{name} is {value}");
        }
        let warnings = versus.warnings("new", "old");
        assert!(
            warnings.len() == 1 && warnings[0].starts_with("new LOST 3"),
            "{warnings:?}"
        );
        assert!(Pair::of(First::A, (&RoomResult::default(), 1), (&b, 1)).is_err());
    }

    #[test]
    fn a_side_without_processor_time_left_is_told() {
        let mut full = result(2.0, 0.0, 0.5);
        full.usage.server_cpu_seconds = Some(0.97);
        let versus = VersusResult {
            pairs: vec![pair(&result(2.0, 0.0, 0.5), &full)],
            ..VersusResult::default()
        };
        let warnings = versus.warnings("new", "old");
        assert!(
            warnings.len() == 1 && warnings[0].starts_with("old SATURATED"),
            "{warnings:?}"
        );
    }
}
