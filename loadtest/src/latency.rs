//! Latency histograms and the percentiles reported of them.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::{MICRO, Nanos, SECOND};
use crate::error::{Error, Result};

/// Longest latency told apart; longer ones are counted here. One minute.
const LONGEST: Nanos = 60 * SECOND;

/// Spans in nanoseconds, three significant digits, half a microsecond at the finest.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    pub fn new() -> Result<Latency> {
        Latency::up_to(LONGEST)
    }

    /// An empty histogram that tells spans up to `longest` apart, nanoseconds.
    pub fn up_to(longest: Nanos) -> Result<Latency> {
        Histogram::new_with_bounds(MICRO, longest, 3)
            .map(Latency)
            .map_err(|e| Error::Usage(format!("histogram: {e}")))
    }

    /// Counts one span. Above the longest it counts as the longest.
    pub fn record(&mut self, span: Nanos) {
        self.0.saturating_record(span);
    }

    /// Adds all spans of another histogram; the longest told apart is then the longer of both.
    pub fn pool(&mut self, other: &Latency) -> Result<()> {
        let sum = if other.0.high() > self.0.high() {
            let own = std::mem::replace(&mut self.0, other.0.clone());
            self.0.add(&own)
        } else {
            self.0.add(&other.0)
        };
        sum.map_err(|e| Error::Usage(format!("histogram: {e}")))
    }

    /// The spans counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles of a report; zeros when nothing was counted.
    pub fn percentiles(&self) -> Percentiles {
        let at = |q: f64| {
            if self.0.is_empty() {
                0.0
            } else {
                self.0.value_at_quantile(q) as f64 / MICRO as f64
            }
        };
        Percentiles {
            count: self.0.len(),
            mean_us: if self.0.is_empty() {
                0.0
            } else {
                self.0.mean() / MICRO as f64
            },
            p50_us: at(0.50),
            p75_us: at(0.75),
            p90_us: at(0.90),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: if self.0.is_empty() {
                0.0
            } else {
                self.0.max() as f64 / MICRO as f64
            },
        }
    }
}

/// Points of a curve in each half of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;

/// One point of a cumulative distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// 0 to 1.
    pub quantile: f64,
    /// This share of the spans was not longer than that, nanoseconds.
    pub span: Nanos,
    /// Spans up to here.
    pub count: u64,
}

/// What a curve is annotated with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Nanoseconds.
    pub mean: f64,
    pub deviation: f64,
    pub min: Nanos,
    pub max: Nanos,
    pub count: u64,
    /// Of the histogram itself.
    pub buckets: u32,
    pub sub_buckets: u32,
}

impl Latency {
    /// The distribution, five points in each half of the distance to 100 %: at most about 200. Empty when
    /// nothing was counted.
    pub fn curve(&self) -> Vec<CurvePoint> {
        let mut count = 0;
        self.0
            .iter_quantiles(TICKS_PER_HALF)
            .map(|v| {
                count += v.count_since_last_iteration();
                CurvePoint {
                    quantile: v.quantile_iterated_to(),
                    span: v.value_iterated_to(),
                    count,
                }
            })
            .collect()
    }

    /// Mean, deviation and ends; zeros when nothing was counted.
    pub fn moments(&self) -> Moments {
        let some = !self.0.is_empty();
        // Two for each of 10³ units, rounded up to a power of two.
        let sub_buckets = (2 * 10_u32.pow(u32::from(self.0.sigfig()))).next_power_of_two();
        Moments {
            mean: if some { self.0.mean() } else { 0.0 },
            deviation: if some { self.0.stdev() } else { 0.0 },
            min: if some { self.0.min() } else { 0 },
            max: if some { self.0.max() } else { 0 },
            count: self.0.len(),
            buckets: u32::from(self.0.buckets()),
            sub_buckets,
        }
    }
}

/// As pairs of a value, nanoseconds, and how often it was counted: read back it is the same histogram.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(
            self.0
                .iter_recorded()
                .map(|v| (v.value_iterated_to(), v.count_at_value())),
        )
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Latency, D::Error> {
        let spans = Vec::<(u64, u64)>::deserialize(d)?;
        let longest = spans.iter().map(|(value, _)| *value).fold(LONGEST, Nanos::max);
        let mut latency = Latency::up_to(longest).map_err(de::Error::custom)?;
        for (value, count) in spans {
            latency.0.record_n(value, count).map_err(de::Error::custom)?;
        }
        Ok(latency)
    }
}

/// Percentiles of a latency distribution, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Spans counted.
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p75_us: f64,
    pub p90_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub max_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_told_apart_where_they_may_be_and_survive_pooling_and_writing() {
        let hours = |n: u64| n * 3_600 * SECOND;
        let mut long = Latency::up_to(hours(24)).unwrap();
        long.record(hours(5));
        let text = serde_json::to_string(&long).unwrap();
        let read: Latency = serde_json::from_str(&text).unwrap();
        let mut pooled = Latency::new().unwrap();
        pooled.record(SECOND);
        pooled.pool(&read).unwrap();
        let p = pooled.percentiles();
        assert_eq!(p.count, 2);
        let five_us = (hours(5) / MICRO) as f64;
        assert!((p.max_us - five_us).abs() / five_us < 0.001, "{}", p.max_us);
        // What is longer than the longest is the longest.
        let mut short = Latency::new().unwrap();
        short.record(hours(5));
        assert!(short.percentiles().max_us < 70e6);
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        // 1 µs, 2 µs, … 100,000 µs, once each: the q-quantile is q · 100,000 µs.
        let mut latency = Latency::new().unwrap();
        for us in (1..=100_000_u64).rev() {
            latency.record(us * MICRO);
        }
        let p = latency.percentiles();
        assert_eq!(p.count, 100_000);
        for (got, want) in [
            (p.p50_us, 50_000.0),
            (p.p75_us, 75_000.0),
            (p.p90_us, 90_000.0),
            (p.p95_us, 95_000.0),
            (p.p99_us, 99_000.0),
            (p.p99_9_us, 99_900.0),
            (p.max_us, 100_000.0),
            (p.mean_us, 50_000.5),
        ] {
            assert!((got - want).abs() / want < 0.001, "{got} for {want}");
        }
    }

    // Ranks and microseconds are far below the types' bounds, and not negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn whole(value: f64) -> u64 {
        value as u64
    }

    /// Checks the percentiles and the curve of `sample` (microseconds) against its exact quantiles, within
    /// three significant digits and the histogram's half microsecond.
    fn agrees(mut sample: Vec<u64>) {
        let mut latency = Latency::new().unwrap();
        sample.iter().for_each(|us| latency.record(us * MICRO));
        sample.sort_unstable();
        // The smallest value that at least this share of the sample does not exceed.
        let exact = |q: f64| {
            let rank = usize::try_from(whole((q * sample.len() as f64).ceil().max(1.0))).unwrap();
            sample[rank.min(sample.len()) - 1] as f64
        };
        let p = latency.percentiles();
        for (q, got) in [
            (0.5, p.p50_us),
            (0.75, p.p75_us),
            (0.9, p.p90_us),
            (0.95, p.p95_us),
            (0.99, p.p99_us),
            (0.999, p.p99_9_us),
            (1.0, p.max_us),
        ] {
            let want = exact(q);
            assert!((got - want).abs() <= want * 0.001 + 0.55, "{q}: {got} for {want}");
        }
        let curve = latency.curve();
        assert!(curve.len() < 250 && curve.windows(2).all(|w| w[0].span <= w[1].span));
        for point in &curve {
            let got = point.span as f64 / MICRO as f64;
            let want = exact(point.quantile);
            assert!((got - want).abs() <= want * 0.001 + 0.55, "{point:?} for {want}");
        }
        assert_eq!(curve.last().unwrap().count, sample.len() as u64);
    }

    #[test]
    fn known_distributions_are_told_truly() {
        let n = 200_000_u64;
        let at = |i: u64| (i as f64 + 0.5) / n as f64;
        // Uniform, 10 to 1,010 ms.
        agrees((0..n).map(|i| 10_000 + i * 5).collect());
        // Exponential with a mean of 2 ms, by its inverse.
        agrees((0..n).map(|i| whole(-2_000.0 * (1.0 - at(i)).ln()) + 1).collect());
        // Two heaps: 98 % about 400 µs, 2 % about 3 s; p95 is in one, p99 in the other.
        let heap = |i: u64| {
            if i.is_multiple_of(50) {
                3_000_000 + i % 999
            } else {
                400 + i % 37
            }
        };
        agrees((0..n).map(heap).collect());
    }

    #[test]
    fn nothing_and_too_much() {
        let mut latency = Latency::new().unwrap();
        assert_eq!(latency.percentiles(), Percentiles::default());
        latency.record(u64::MAX);
        assert!((latency.percentiles().max_us - 60_000_000.0).abs() < 60_000.0);
    }

    #[test]
    fn a_histogram_is_read_back_as_it_was() {
        let mut latency = Latency::new().unwrap();
        for us in [1, 2, 2, 999, 1_234_567, 60_000_000] {
            latency.record(us * MICRO);
        }
        latency.record(u64::MAX);
        let text = serde_json::to_string(&latency).unwrap();
        let back: Latency = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (back.percentiles(), back.0 == latency.0),
            (latency.percentiles(), true)
        );
    }

    #[test]
    fn pooled_histograms_count_both() {
        let (mut a, mut b) = (Latency::new().unwrap(), Latency::new().unwrap());
        a.record(MICRO);
        b.record(3 * MICRO);
        a.pool(&b).unwrap();
        assert_eq!(a.count(), 2);
        assert!((a.percentiles().mean_us - 2.0).abs() < 0.6);
    }
}
