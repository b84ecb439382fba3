//! A histogram that is written to without a lock: the library's own has one, and it would be taken inside the
//! engine's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::tally::Spread;

/// How many things were how large. Clones share their counts.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper bounds, rising, each included.
    bounds: &'static [u64],
    /// How many of what is counted are one of what is told: of milliseconds 1,000 are a second.
    per_unit: f64,
    /// One for each bound, and one for what is larger.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of spans of time in milliseconds, told in seconds.
    pub(super) fn of_ms(bounds_ms: &'static [u64]) -> Self {
        Self::new(bounds_ms, 1e3)
    }

    /// The same, in microseconds.
    pub(super) fn of_us(bounds_us: &'static [u64]) -> Self {
        Self::new(bounds_us, 1e6)
    }

    /// Of counts, told as they are.
    pub(super) fn of_counts(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        Self(Arc::new(Inner {
            bounds,
            per_unit,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }))
    }

    /// Counts one.
    pub(super) fn observe(&self, size: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < size);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.0.sum.fetch_add(size, Ordering::Relaxed);
        }
    }

    /// What somebody else has counted, by the same bounds.
    pub(super) fn store(&self, counted: &Spread) {
        for (count, n) in self.0.counts.iter().zip(&counted.counts) {
            count.store(*n, Ordering::Relaxed);
        }
        self.0.sum.store(counted.sum, Ordering::Relaxed);
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53: of microseconds 285 years"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// Of milliseconds.
pub(super) fn seconds(ms: u64) -> f64 {
    float(ms) / 1e3
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let inner = &*self.0;
        let told = |size: u64| float(size) / inner.per_unit;
        let bounds = inner.bounds.iter().map(|bound| told(*bound));
        let buckets: Vec<_> = bounds
            .chain([f64::INFINITY])
            .zip(inner.counts.iter().map(|count| count.load(Ordering::Relaxed)))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = told(inner.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::tally::Buckets;

    fn text(histogram: Histogram) -> String {
        let mut registry = Registry::default();
        registry.register("waits", "waits", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_bound_is_included_and_buckets_add_up() {
        let histogram = Histogram::of_ms(&[10, 1_000]);
        for ms in [0, 10, 11, 1_000, 1_001, 5_000] {
            histogram.observe(ms);
        }
        let text = text(histogram);
        for line in [
            "waits_sum 7.022",
            "waits_count 6",
            "waits_bucket{le=\"0.01\"} 2",
            "waits_bucket{le=\"1.0\"} 4",
            "waits_bucket{le=\"+Inf\"} 6",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn what_was_counted_elsewhere_is_told_the_same() {
        let (there, here) = (Buckets::new(&[10, 250]), Histogram::of_us(&[10, 250]));
        for us in [3, 200, 999] {
            there.observe(us);
            here.observe(us);
        }
        let stored = Histogram::of_us(&[10, 250]);
        stored.store(&Buckets::spread([&there].into_iter()));
        let text = text(stored);
        assert_eq!(text, self::text(here));
        assert!(text.contains("waits_bucket{le=\"0.00025\"} 2"), "{text}");
    }
}
