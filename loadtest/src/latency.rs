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
        Histogram::new_with_bounds(MICRO, LONGEST, 3)
            .map(Latency)
            .map_err(|e| Error::Usage(format!("histogram: {e}")))
    }

    /// Counts one span. Above the longest it counts as the longest.
    pub fn record(&mut self, span: Nanos) {
        self.0.saturating_record(span);
    }

    /// Adds all spans of another histogram.
    pub fn pool(&mut self, other: &Latency) -> Result<()> {
        self.0
            .add(&other.0)
            .map_err(|e| Error::Usage(format!("histogram: {e}")))
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
        let mut latency = Latency::new().map_err(de::Error::custom)?;
        for (value, count) in Vec::<(u64, u64)>::deserialize(d)? {
            latency.0.record_n(value, count).map_err(de::Error::custom)?;
        }
        Ok(latency)
    }
}

/// Percentiles of a latency distribution, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
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
