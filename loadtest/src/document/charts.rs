//! The charts of documents: distributions, and courses over time.

use super::page::label;
use super::{Curve, Stored};
use crate::metric::{Unit, show};
use crate::report::{Axis, Block, Cell, Chart, Line, Span, Table};
use crate::series::{Columns, Phase};

/// Rows shorter than this are not drawn, seconds.
const SHORTEST: f64 = 0.1;

pub(super) fn latency(docs: &[(&str, &Stored)]) -> Vec<Block> {
    let curves: Vec<(String, &Curve)> = docs
        .iter()
        .flat_map(|(name, doc)| {
            doc.curves
                .iter()
                .filter(|c| c.percentiles.count > 0)
                .map(move |c| (label(name, &c.name, docs.len()), c))
        })
        .collect();
    distributions("Latency by percentile", &curves, Vec::new())
}

/// Distributions by name in one chart, with their percentiles below it; nothing when there is none. `marks` are
/// lines that belong to the chart alone.
pub(crate) fn distributions(title: &str, curves: &[(String, &Curve)], marks: Vec<Line>) -> Vec<Block> {
    if curves.is_empty() {
        return Vec::new();
    }
    let columns = [
        "", "count", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "max",
    ];
    let rows = curves
        .iter()
        .map(|(name, c)| {
            let p = &c.percentiles;
            let us = [
                p.mean_us, p.p50_us, p.p75_us, p.p90_us, p.p95_us, p.p99_us, p.p99_9_us, p.max_us,
            ];
            [Cell::text(name), Cell::number(show(p.count as f64, Unit::Count))]
                .into_iter()
                .chain(us.into_iter().map(|v| Cell::number(show(v, Unit::Micros))))
                .collect()
        })
        .collect();
    vec![
        Block::Chart(Chart {
            title: title.to_owned(),
            x: Axis::nines("percentile"),
            y: Axis::log("ms"),
            lines: curves
                .iter()
                .map(|(name, c)| Line::new(name, resolved(c)))
                .chain(marks)
                .collect(),
            spans: Vec::new(),
        }),
        Block::Table(Table {
            caption: String::new(),
            columns: columns.map(str::to_owned).to_vec(),
            rows,
        }),
    ]
}

/// The points of a curve as far as there are spans to tell them apart: of a thousand spans the longest stands
/// at 99.9 %, and nothing is known beyond.
fn resolved(curve: &Curve) -> Vec<(f64, f64)> {
    let end = 1.0 - 1.0 / (curve.percentiles.count.max(2) as f64);
    let mut points: Vec<(f64, f64)> = curve
        .points_ms
        .iter()
        .copied()
        .filter(|(q, _)| *q < end)
        .collect();
    points.push((end, curve.percentiles.max_us / 1e3));
    points
}

/// One chart: its title, its y axis, and the columns that are its lines.
struct Course {
    title: &'static str,
    y: Axis,
    /// Column, the line's name, what its values are multiplied by.
    lines: &'static [(&'static str, &'static str, f64)],
    /// Per second rather than per row.
    rate: bool,
}

fn courses() -> [Course; 5] {
    const MIB: f64 = 1.0 / 1024.0 / 1024.0;
    let course = |title, y, lines, rate| Course {
        title,
        y,
        lines,
        rate,
    };
    [
        course(
            "Latency over time",
            Axis::log("ms"),
            &[("p50_ms", "p50", 1.0), ("p99_ms", "p99", 1.0)],
            false,
        ),
        course(
            "Messages received",
            Axis::linear("per second"),
            &[("received", "received", 1.0)],
            true,
        ),
        course(
            "Messages sent",
            Axis::linear("per second"),
            &[("sent", "sent", 1.0)],
            true,
        ),
        course(
            "Server memory",
            Axis::linear("resident, MiB"),
            &[("rss_bytes", "resident memory", MIB)],
            false,
        ),
        course(
            "Processor time",
            Axis::linear("cores"),
            &[("server_cores", "server", 1.0), ("tester_share", "tester", 1.0)],
            false,
        ),
    ]
}

pub(super) fn over_time(docs: &[(&str, &Stored)]) -> Vec<Block> {
    let with_series: Vec<(&str, &Columns)> = docs
        .iter()
        .filter_map(|(name, doc)| doc.series.as_ref().map(|s| (*name, s)))
        .collect();
    let mut blocks = Vec::new();
    for course in courses() {
        let mut lines = Vec::new();
        for (name, series) in &with_series {
            for (column, line, factor) in course.lines {
                let points = points(series, column, *factor, course.rate);
                // A column nothing was measured for is no line at 0.
                if points.iter().any(|p| p.1.is_finite()) {
                    lines.push(Line::new(label(name, line, docs.len()), points));
                }
            }
        }
        if !lines.is_empty() {
            blocks.push(Block::Chart(Chart {
                title: course.title.to_owned(),
                x: Axis::linear("second of the run"),
                y: course.y,
                lines,
                spans: spans(&with_series, docs.len()),
            }));
        }
    }
    blocks
}

fn points(series: &Columns, column: &str, factor: f64, rate: bool) -> Vec<(f64, f64)> {
    let seconds = series.get("seconds");
    series
        .get("at_s")
        .iter()
        .zip(series.get(column))
        .enumerate()
        .filter_map(|(i, (at, value))| {
            let length = seconds.get(i).copied().flatten().unwrap_or(1.0);
            // The last row is what is left of a second: a few milliseconds say nothing.
            if length < SHORTEST && i > 0 {
                return None;
            }
            let value = value.map_or(f64::NAN, |v| v * factor);
            // Memory is read at a row's end; what is counted over a row stands in its middle.
            let within = if column == "rss_bytes" {
                length
            } else {
                length / 2.0
            };
            Some(((*at)? + within, if rate { value / length } else { value }))
        })
        .collect()
}

/// The measured and quiet spans of the first series, and what they are compared with: those of several series
/// would hide each other.
fn spans(series: &[(&str, &Columns)], docs: usize) -> Vec<Span> {
    let Some((name, first)) = series.first() else {
        return Vec::new();
    };
    first
        .phases
        .iter()
        .filter(|p| matches!(p.phase, Phase::Reference | Phase::Measured | Phase::Quiet))
        .map(|p| Span {
            from: p.from_s,
            to: p.to_s,
            label: label(name, p.phase.name(), docs),
            reference: p.phase == Phase::Reference,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_its_spans_do() {
        let curve = Curve {
            percentiles: crate::latency::Percentiles {
                count: 100,
                max_us: 7_000.0,
                ..Default::default()
            },
            points_ms: vec![(0.0, 1.0), (0.5, 2.0), (0.995, 7.0), (1.0, 7.0)],
            ..Curve::default()
        };
        assert_eq!(resolved(&curve), [(0.0, 1.0), (0.5, 2.0), (0.99, 7.0)]);
    }
}
