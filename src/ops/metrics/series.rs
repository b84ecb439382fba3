//! Metrics with labels whose series are all there from the start, each reached by its place and not by its labels.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::catalog::Metric;
use super::histogram::Histogram;
use super::{register, whole};

type LabelSet = Vec<(&'static str, &'static str)>;

/// A row's labels: the metric's names with these values.
fn labels(metric: &Metric, values: &[&'static str]) -> LabelSet {
    metric
        .labels
        .iter()
        .copied()
        .zip(values.iter().copied())
        .collect()
}

/// Counters of one metric.
#[derive(Debug)]
pub(super) struct Counts(Vec<Counter>);

impl Counts {
    /// One for each row of label values.
    pub(super) fn of<R: AsRef<[&'static str]>>(
        registry: &mut Registry,
        metric: &Metric,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        let family = Family::<LabelSet, Counter>::default();
        let rows = rows.into_iter();
        let counts = rows.map(|row| family.get_or_create_owned(&labels(metric, row.as_ref())));
        let counts = Self(counts.collect());
        register(registry, metric, family);
        counts
    }

    /// The only one, without labels.
    pub(super) fn one_of(registry: &mut Registry, metric: &Metric) -> Self {
        let counter = Counter::default();
        register(registry, metric, counter.clone());
        Self(vec![counter])
    }

    /// So many more of the one at a place.
    pub(super) fn add(&self, at: usize, n: u64) {
        if let Some(counter) = self.0.get(at) {
            counter.inc_by(n);
        }
    }

    /// What somebody else has counted.
    pub(super) fn store(&self, counted: impl IntoIterator<Item = u64>) {
        for (counter, n) in self.0.iter().zip(counted) {
            counter.inner().store(n, Ordering::Relaxed);
        }
    }

    /// All of them, in their order.
    pub(super) fn get(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(Counter::get)
    }
}

/// Gauges of one metric.
#[derive(Debug)]
pub(super) struct Gauges(Vec<Gauge>);

impl Gauges {
    /// One for each row of label values.
    pub(super) fn of<R: AsRef<[&'static str]>>(
        registry: &mut Registry,
        metric: &Metric,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        let family = Family::<LabelSet, Gauge>::default();
        let rows = rows.into_iter();
        let gauges = rows.map(|row| family.get_or_create_owned(&labels(metric, row.as_ref())));
        let gauges = Self(gauges.collect());
        register(registry, metric, family);
        gauges
    }

    /// The only one, without labels.
    pub(super) fn one_of(registry: &mut Registry, metric: &Metric) -> Self {
        let gauge = Gauge::default();
        register(registry, metric, gauge.clone());
        Self(vec![gauge])
    }

    /// How it is now.
    pub(super) fn store(&self, now: impl IntoIterator<Item = usize>) {
        for (gauge, n) in self.0.iter().zip(now) {
            gauge.set(whole(n));
        }
    }
}

/// Histograms of one metric with one label.
pub(super) fn histograms(
    registry: &mut Registry,
    metric: &Metric,
    values: &[&'static str],
    make: fn() -> Histogram,
) -> Vec<Histogram> {
    let family = Family::<LabelSet, Histogram, _>::new_with_constructor(make);
    let all = values
        .iter()
        .map(|value| family.get_or_create_owned(&labels(metric, &[value])));
    let all = all.collect();
    register(registry, metric, family);
    all
}
