//! What a measurement's documents say: figures with where they lie, and how many runs count.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::measure::Span;
use crate::host::usage::{SATURATED_SHARE, STEAL_SHARE};
use crate::interval::Interval;

/// A figure and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// Median, or the pooled figure.
    pub value: f64,
    /// 5th and 95th percentile of the pairs or runs.
    pub low: f64,
    pub high: f64,
    /// Half their distance, as a share of the median; none for a single figure.
    pub half_width: Option<f64>,
    /// 90 % confidence interval of the true median, when it is known; for information.
    pub median_interval: Option<(f64, f64)>,
    /// The largest of all.
    pub worst: f64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// By name of the metric.
    pub figures: BTreeMap<String, Figure>,
    /// Pairs or runs that count, that do not, and that were wanted.
    pub valid: usize,
    pub void: usize,
    pub wanted: usize,
    /// What must hold besides the target and does not.
    pub broken: Vec<String>,
}

impl Figure {
    /// A figure by itself.
    pub fn single(value: f64) -> Figure {
        Figure {
            value,
            low: value,
            high: value,
            half_width: None,
            median_interval: None,
            worst: value,
        }
    }

    fn of(figures: &[f64]) -> Option<Figure> {
        let interval = Interval::of(figures)?;
        Some(Figure {
            value: interval.median,
            low: interval.low,
            high: interval.high,
            half_width: Some(interval.half_width),
            median_interval: Some((interval.median_low, interval.median_high)),
            worst: figures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

impl Evidence {
    /// The figure of that name.
    pub fn figure(&self, name: &str) -> Option<Figure> {
        self.figures.get(name).copied()
    }

    /// From one document of `ratio` or `versus`, which have counted their pairs themselves.
    pub fn of_pairs(document: &Value, wanted: usize) -> Evidence {
        let metrics = metrics(document);
        let count = |name: &str| metrics.get(name).map_or(0, |n| whole(*n));
        let mut figures: BTreeMap<String, Figure> = BTreeMap::new();
        for (name, value) in &metrics {
            let part = |end: &str| metrics.get(&format!("{name}_{end}")).copied();
            let figure = match (part("low"), part("high"), part("half_width")) {
                (Some(low), Some(high), half_width) => Figure {
                    value: *value,
                    low,
                    high,
                    half_width,
                    median_interval: part("median_low").zip(part("median_high")),
                    worst: high,
                },
                _ => Figure::single(*value),
            };
            figures.insert(name.clone(), figure);
        }
        Evidence {
            figures,
            valid: count("pairs"),
            void: count("pairs_void"),
            wanted,
            broken: broken(document),
        }
    }

    /// From the documents of repeated runs.
    pub fn of_runs(documents: &[Value], span: Span, wanted: usize) -> Evidence {
        let valid: Vec<&Value> = documents.iter().filter(|d| span_is_valid(d, span)).collect();
        let mut lists: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for document in &valid {
            for (name, value) in metrics(document) {
                lists.entry(name).or_default().push(value);
            }
        }
        let whole = |list: &Vec<f64>| list.len() == valid.len();
        Evidence {
            figures: lists
                .into_iter()
                .filter(|(_, list)| whole(list))
                .filter_map(|(name, list)| Some((name, Figure::of(&list)?)))
                .collect(),
            valid: valid.len(),
            void: documents.len() - valid.len(),
            wanted,
            broken: all_broken(documents),
        }
    }

    /// From pairs of `room` documents, one worker pinned and all workers unpinned.
    pub fn of_workers(pairs: &[(Value, Value)], wanted: usize) -> Evidence {
        let cpu = |document: &Value| metrics(document).get("cpu_us_per_delivery").copied();
        let (mut ratios, mut pinned_us, mut unpinned_us) = (Vec::new(), Vec::new(), Vec::new());
        for (pinned, unpinned) in pairs {
            if let (Some(a), Some(b)) = (cpu(pinned), cpu(unpinned))
                && a > 0.0
                && run_is_valid(pinned)
                && run_is_valid(unpinned)
            {
                ratios.push(b / a);
                pinned_us.push(a);
                unpinned_us.push(b);
            }
        }
        let figures = [
            ("cpu_ratio", &ratios),
            ("pinned_cpu_us", &pinned_us),
            ("unpinned_cpu_us", &unpinned_us),
        ];
        Evidence {
            figures: figures
                .into_iter()
                .filter_map(|(name, list)| Some((name.to_owned(), Figure::of(list)?)))
                .collect(),
            valid: ratios.len(),
            void: pairs.len() - ratios.len(),
            wanted,
            broken: all_broken(pairs.iter().flat_map(|(a, b)| [a, b])),
        }
    }
}

/// Whether a run of a scenario with one measured span counts.
pub fn run_is_valid(document: &Value) -> bool {
    let metrics = metrics(document);
    let at_most = |name: &str, most: f64| metrics.get(name).is_some_and(|share| *share <= most);
    at_most("steal", STEAL_SHARE) && at_most("tester", SATURATED_SHARE)
}

/// Whether that span of a run counts; of `idle` at all of its stops.
pub fn span_is_valid(document: &Value, span: Span) -> bool {
    let name = match span {
        Span::Ramp => "ramp",
        Span::Quiet => "quiet",
        Span::Measured => return run_is_valid(document),
    };
    let result = &document["result"];
    let stops = result["stops"].as_array().map_or(&[][..], Vec::as_slice);
    let then = Some(&result["then"]).filter(|then| then.is_object());
    let at_most = |usage: &Value, what: &str, most: f64| usage[what].as_f64().is_some_and(|n| n <= most);
    !stops.is_empty()
        && stops.iter().chain(then).all(|stop| {
            at_most(&stop[name], "steal", STEAL_SHARE)
                && at_most(&stop[name], "tester_share", SATURATED_SHARE)
        })
}

/// The metrics that were measured.
fn metrics(document: &Value) -> BTreeMap<String, f64> {
    let all = document["metrics"].as_object();
    all.into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
        .collect()
}

/// Assertions that did not hold, with what was found.
fn broken(document: &Value) -> Vec<String> {
    let verdicts = document["assertions"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |verdict: &Value, key: &str| verdict[key].as_str().unwrap_or("?").to_owned();
    verdicts
        .iter()
        .filter(|verdict| verdict["passed"] != true)
        .map(|v| {
            format!(
                "{} does not hold (found {})",
                text(v, "assertion"),
                text(v, "found")
            )
        })
        .collect()
}

fn all_broken<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let mut all: Vec<String> = documents.into_iter().flat_map(broken).collect();
    all.sort();
    all.dedup();
    all
}

/// A count that travelled as a number of JSON.
fn whole(n: f64) -> usize {
    // Counts of pairs, far below the type's bound.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let n = n.clamp(0.0, 1e6) as usize;
    n
}
