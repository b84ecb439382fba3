//! A result as named numbers: what tables show, assertions ask for and JSON carries.

use std::borrow::Cow;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What a metric counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// Microseconds.
    Micros,
    Bytes,
    /// A share of one, shown as per cent.
    Share,
    /// Things in a second.
    PerSecond,
    /// One figure divided by another.
    Ratio,
}

/// A named number; `None` when it was not measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Fixed for a scenario; made from another's for a comparison.
    pub name: Cow<'static, str>,
    pub value: Option<f64>,
    pub unit: Unit,
}

impl Metric {
    /// A metric that was measured, or not.
    pub fn new(name: impl Into<Cow<'static, str>>, unit: Unit, value: impl Into<Option<f64>>) -> Metric {
        Metric {
            name: name.into(),
            value: value.into(),
            unit,
        }
    }

    /// A count.
    pub fn count(name: impl Into<Cow<'static, str>>, value: u64) -> Metric {
        Metric::new(name, Unit::Count, value as f64)
    }

    /// A percentile of a histogram, microseconds. It is 0 when nothing was counted, for a span that was counted has
    /// half a microsecond at least; then it was not measured, and no assertion on it holds.
    pub fn span(name: impl Into<Cow<'static, str>>, us: f64) -> Metric {
        Metric::new(name, Unit::Micros, (us > 0.0).then_some(us))
    }

    /// The value for people.
    pub fn text(&self) -> String {
        self.value
            .map_or_else(|| "not measured".to_owned(), |v| show(v, self.unit))
    }
}

/// `value` for people.
pub fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => thousands(value),
        Unit::PerSecond => format!("{}/s", thousands(value)),
        Unit::Micros if value.abs() >= 1_000_000.0 => format!("{:.2} s", value / 1_000_000.0),
        Unit::Micros if value.abs() >= 1_000.0 => format!("{:.2} ms", value / 1_000.0),
        Unit::Micros => format!("{value:.2} µs"),
        Unit::Bytes if value.abs() >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        Unit::Bytes if value.abs() >= 1024.0 => format!("{:.2} KiB", value / 1024.0),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::Ratio => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

/// Metrics as one JSON object, name to value.
#[derive(Debug, Clone, Default)]
pub struct Metrics(pub Vec<Metric>);

impl Metrics {
    /// The metric of that name; `p99.9` is the same as `p99_9`.
    pub fn named(&self, name: &str) -> Option<&Metric> {
        let plain = name.replace('.', "_");
        self.0.iter().find(|m| m.name == plain)
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for metric in &self.0 {
            map.serialize_entry(&metric.name, &metric.value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(show(1_234_567.0, Unit::Count), "1,234,567");
        assert_eq!(show(-12.0, Unit::Count), "-12");
        assert_eq!(show(999.0, Unit::PerSecond), "999/s");
        assert_eq!(show(1_500.0, Unit::Micros), "1.50 ms");
        assert_eq!(show(2048.0, Unit::Bytes), "2.00 KiB");
        assert_eq!(show(0.5, Unit::Share), "50.00 %");
        assert_eq!(Metric::new("x", Unit::Count, None).text(), "not measured");
        assert_eq!(Metric::span("x", 0.0).text(), "not measured");
        assert_eq!(Metric::span("x", 0.5).text(), "0.50 µs");
    }
}
