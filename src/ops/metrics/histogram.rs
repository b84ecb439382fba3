//! A histogram that is written to without a lock: the library's own has one, and it would be taken inside the
//! engine's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use serde::Serialize;

/// How many spans of time were how long. Clones share their counts.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper bounds, milliseconds, rising, each included.
    bounds_ms: &'static [u64],
    /// One for each bound, and one for what is longer.
    counts: Box<[AtomicU64]>,
    sum_ms: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds_ms: &'static [u64]) -> Self {
        Self(Arc::new(Inner {
            bounds_ms,
            counts: (0..=bounds_ms.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_ms: AtomicU64::new(0),
        }))
    }

    /// Counts one span, milliseconds.
    pub(super) fn observe(&self, ms: u64) {
        let bucket = self.0.bounds_ms.partition_point(|bound| *bound < ms);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.0.sum_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53 milliseconds, more than 285,000 years"
)]
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// A histogram as plain numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Upper bounds, milliseconds, rising, each included.
    pub bounds_ms: &'static [u64],
    /// How many were within each bound and not the one before; one more for what was longer.
    pub counts: Vec<u64>,
}

impl Counted {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Histogram {
    /// As it stands now.
    pub(super) fn counted(&self) -> Counted {
        let counts = self.0.counts.iter();
        Counted {
            bounds_ms: self.0.bounds_ms,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Inner {
            bounds_ms,
            counts,
            sum_ms,
        } = &*self.0;
        let bounds = bounds_ms.iter().map(|ms| seconds(*ms)).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds
            .zip(counts.iter().map(|count| count.load(Ordering::Relaxed)))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(sum_ms.load(Ordering::Relaxed));
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

    #[test]
    fn a_bound_is_included_and_buckets_add_up() {
        let histogram = Histogram::new(&[10, 1_000]);
        for ms in [0, 10, 11, 1_000, 1_001, 5_000] {
            histogram.observe(ms);
        }
        let mut registry = Registry::default();
        registry.register("waits", "waits", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
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
}
