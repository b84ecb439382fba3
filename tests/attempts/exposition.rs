//! A strict reader of what `/metrics` answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use countersign::ops::metrics::Format;
use countersign::ops::metrics::catalog::{ALL, Kind, Metric};

use crate::common::{request, within};

/// Every sample by its name and labels, as written.
pub(crate) struct Exposition(BTreeMap<String, f64>);

impl Exposition {
    pub(crate) async fn read(operator: SocketAddr) -> Self {
        let answer = request(operator, "GET", "/metrics")
            .header("accept", Format::OpenMetrics.media_type())
            .send()
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some(Format::OpenMetrics.media_type())
        );
        Self::parse(&answer.text())
    }

    /// When all is counted that `counted` waits for: what is told to a PC is counted right after it, not before.
    pub(crate) async fn when(operator: SocketAddr, counted: impl Fn(&Self) -> bool) -> Self {
        within("what happened is counted", async {
            loop {
                let now = Self::read(operator).await;
                if counted(&now) {
                    return now;
                }
            }
        })
        .await
    }

    /// A sample, such as `countersign_qr_live{state="waiting"}`.
    #[track_caller]
    pub(crate) fn get(&self, sample: &str) -> f64 {
        *self
            .0
            .get(sample)
            .unwrap_or_else(|| panic!("no {sample} among {:?}", self.0.keys()))
    }

    /// The samples of a metric that are not 0, by their labels.
    pub(crate) fn nonzero(&self, metric: &str) -> BTreeMap<String, f64> {
        let prefix = format!("{metric}{{");
        self.0
            .iter()
            .filter(|(_, value)| **value != 0.0)
            .filter_map(|(name, value)| {
                let labels = name.strip_prefix(&prefix)?.strip_suffix('}')?;
                Some((labels.replace('"', ""), *value))
            })
            .collect()
    }

    /// Every family of the catalog once, described, in its order, with its labels and no others.
    pub(crate) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with an EOF");
        let mut lines = body.lines().peekable();
        let mut samples = BTreeMap::new();
        for metric in ALL {
            let family = metric.family();
            let help = format!("# HELP {family} {}.", metric.meaning);
            assert_eq!(lines.next(), Some(help.as_str()));
            let kind = format!("# TYPE {family} {}", metric.kind.name());
            assert_eq!(lines.next(), Some(kind.as_str()));
            let mut of_family = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let value: f64 = value.parse().unwrap();
                assert!(value.is_finite(), "{line}");
                check_name(metric, name);
                of_family.push((name.to_owned(), value));
            }
            assert!(!of_family.is_empty(), "{family} has no sample");
            if metric.kind == Kind::Histogram {
                check_buckets(&of_family);
            }
            for (name, value) in of_family {
                assert_eq!(samples.insert(name.clone(), value), None, "{name} is there twice");
            }
        }
        assert_eq!(lines.next(), None, "nothing that is not in the catalog");
        Self(samples)
    }
}

fn check_name(metric: &Metric, sample: &str) {
    let (name, labels) = match sample.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        None => (sample, ""),
    };
    let suffixes: &[&str] = match metric.kind {
        Kind::Counter => &["_total"],
        Kind::Gauge => &[""],
        Kind::Histogram => &["_bucket", "_sum", "_count"],
    };
    let suffix = name.strip_prefix(metric.family()).unwrap();
    assert!(suffixes.contains(&suffix), "{sample}");
    let names: BTreeSet<&str> = labels
        .split(',')
        .filter(|label| !label.is_empty())
        .map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(
                !value.is_empty() && !value.contains(['"', '\\', '\n']),
                "{sample}"
            );
            name
        })
        .collect();
    let mut expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
    if suffix == "_bucket" {
        expected.insert("le");
    }
    assert_eq!(names, expected, "{sample}");
}

/// Buckets rise, and the last is the count.
fn check_buckets(samples: &[(String, f64)]) {
    let (mut last, mut count) = (0.0, None);
    for (name, value) in samples {
        if name.contains("_count") {
            (last, count) = (0.0, Some(*value));
        } else if name.contains("_bucket") {
            assert!(*value >= last, "{name}");
            last = *value;
            if name.contains("+Inf") {
                assert_eq!(Some(last), count, "{name}");
            }
        }
    }
    assert!(count.is_some());
}
