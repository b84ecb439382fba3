//! `--assert 'p99<5ms'`: a metric, a comparison and a bound.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::{Metrics, Unit, show};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

impl Comparison {
    /// Two-character signs first: `<` is the start of `<=`.
    const SIGNS: [(&'static str, Comparison); 6] = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<", Comparison::Less),
        (">", Comparison::More),
    ];

    fn holds(self, value: f64, bound: f64) -> bool {
        // Bounds are written by people in the precision they mean.
        let equal = (value - bound).abs() <= f64::EPSILON * bound.abs().max(1.0);
        match self {
            Comparison::Less => value < bound && !equal,
            Comparison::AtMost => value < bound || equal,
            Comparison::More => value > bound && !equal,
            Comparison::AtLeast => value > bound || equal,
            Comparison::Equal => equal,
            Comparison::Unequal => !equal,
        }
    }
}

/// A number with the unit it was written in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    /// `None`: a plain number.
    unit: Option<Unit>,
}

/// What a result must satisfy.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    text: String,
    metric: String,
    comparison: Comparison,
    bound: Bound,
}

/// How an assertion went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub assertion: String,
    pub passed: bool,
    /// The value found, for people.
    pub found: String,
}

impl FromStr for Assertion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why} in {text:?}; an assertion is like p99<5ms or lost==0");
        let (at, sign, comparison) = text
            .char_indices()
            .find_map(|(at, _)| {
                Comparison::SIGNS
                    .iter()
                    .find(|(sign, _)| text[at..].starts_with(sign))
                    .map(|(sign, comparison)| (at, sign, *comparison))
            })
            .ok_or_else(|| wrong("no comparison"))?;
        let metric = text[..at].trim();
        let name_bytes = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        if metric.is_empty() || !metric.bytes().all(name_bytes) {
            return Err(wrong("no metric"));
        }
        let bound = parse_bound(text[at + sign.len()..].trim()).ok_or_else(|| wrong("no bound"))?;
        Ok(Assertion {
            text: text.to_owned(),
            metric: metric.to_owned(),
            comparison,
            bound,
        })
    }
}

fn parse_bound(text: &str) -> Option<Bound> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '_'))
        .unwrap_or(text.len());
    let number: f64 = text[..split].replace('_', "").parse().ok()?;
    let (factor, unit) = match text[split..].trim() {
        "" => (1.0, None),
        "ns" => (0.001, Some(Unit::Micros)),
        "us" | "µs" => (1.0, Some(Unit::Micros)),
        "ms" => (1_000.0, Some(Unit::Micros)),
        "s" => (1_000_000.0, Some(Unit::Micros)),
        "B" => (1.0, Some(Unit::Bytes)),
        "KB" => (1_000.0, Some(Unit::Bytes)),
        "KiB" => (1_024.0, Some(Unit::Bytes)),
        "MB" => (1_000_000.0, Some(Unit::Bytes)),
        "MiB" => (1_048_576.0, Some(Unit::Bytes)),
        "%" => (0.01, Some(Unit::Share)),
        "/s" => (1.0, Some(Unit::PerSecond)),
        _ => return None,
    };
    number.is_finite().then_some(Bound {
        value: number * factor,
        unit,
    })
}

impl std::fmt::Display for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Assertion {
    /// Whether its metric is among `known`.
    pub fn is_known(&self, known: &Metrics) -> bool {
        known.named(&self.metric).is_some()
    }

    /// Refuses, before a run, what could not be decided after it: an unknown metric, or a unit that is
    /// not the metric's. Times need theirs; elsewhere a plain number will do.
    pub fn check(&self, known: &Metrics) -> Result<()> {
        let Some(metric) = known.named(&self.metric) else {
            let names: Vec<&str> = known.0.iter().map(|m| m.name.as_ref()).collect();
            return Err(Error::Usage(format!(
                "--assert {}: no metric {}; there are {}",
                self.text,
                self.metric,
                names.join(" ")
            )));
        };
        match self.bound.unit {
            Some(unit) if unit != metric.unit => Err(Error::Usage(format!(
                "--assert {}: {} is not counted in that unit",
                self.text, self.metric
            ))),
            None if metric.unit == Unit::Micros => Err(Error::Usage(format!(
                "--assert {}: a time needs a unit (ns us ms s)",
                self.text
            ))),
            _ => Ok(()),
        }
    }

    /// Decides. What was not measured does not pass.
    pub fn decide(&self, metrics: &Metrics) -> Verdict {
        let metric = metrics.named(&self.metric);
        let value = metric.and_then(|m| m.value);
        Verdict {
            assertion: self.text.clone(),
            passed: value.is_some_and(|v| self.comparison.holds(v, self.bound.value)),
            found: match (metric, value) {
                (Some(m), Some(v)) => show(v, m.unit),
                _ => "not measured".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;

    fn metrics() -> Metrics {
        Metrics(vec![
            Metric::new("p99", Unit::Micros, 4_999.0),
            Metric::new("p99_9", Unit::Micros, 5_000.0),
            Metric::count("lost", 0),
            Metric::new("rss", Unit::Bytes, 4_096.0),
            Metric::new("tester", Unit::Share, 0.5),
            Metric::new("cpu", Unit::Micros, None),
        ])
    }

    fn passes(text: &str) -> bool {
        let assertion: Assertion = text.parse().unwrap();
        assertion.check(&metrics()).unwrap();
        assertion.decide(&metrics()).passed
    }

    #[test]
    fn comparisons_and_units() {
        for text in [
            "p99<5ms",
            "p99 <= 4999us",
            "p99>4.998ms",
            "p99.9==5ms",
            "p99_9>=0.005s",
            "p99 != 5ms",
            "lost==0",
            "lost<1",
            "rss<=4KiB",
            "rss==4096",
            "tester<51%",
            "tester<0.51",
            "tester==50%",
        ] {
            assert!(passes(text), "{text}");
        }
        for text in [
            "p99<4ms",
            "p99_9<5ms",
            "lost!=0",
            "lost>0",
            "rss<4KiB",
            "tester>90%",
            "cpu<1s",
        ] {
            assert!(!passes(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_assertion() {
        for text in [
            "",
            "p99",
            "<5ms",
            "p99<",
            "p99<x",
            "p99<5parsec",
            "p99=5ms",
            "a b<1",
            "p99<1e400",
        ] {
            assert!(text.parse::<Assertion>().is_err(), "{text}");
        }
        for text in ["p98<5ms", "p99<5", "p99<5KiB", "lost<1ms"] {
            let assertion: Assertion = text.parse().unwrap();
            assert!(assertion.check(&metrics()).is_err(), "{text}");
        }
    }
}
