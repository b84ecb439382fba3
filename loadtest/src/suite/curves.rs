//! The latencies of measurements whose histograms are pooled over their pairs, both sides in one chart, with what
//! a target asks for at its percentile.

use serde_json::Value;

use super::evidence::Evidence;
use super::rows::Row;
use crate::document::Curve;
use crate::document::charts::distributions;
use crate::metric::{Unit, show};
use crate::report::{Block, Line, Section};

/// One measurement's distributions.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    pub measurement: &'static str,
    /// Of both sides, over the valid pairs.
    pub curves: Vec<Curve>,
    pub limits: Vec<Limit>,
}

/// The most that a target allows at a percentile.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub name: String,
    /// 0 to 1.
    pub quantile: f64,
    pub ms: f64,
}

/// The distributions in the document of a measurement of pairs, under the names that readers of the suite know.
pub fn pooled(document: &Value) -> Vec<Curve> {
    let all: Vec<Curve> = serde_json::from_value(document["curves"].clone()).unwrap_or_default();
    all.into_iter()
        .filter(|curve| curve.percentiles.count > 0)
        .map(|curve| match curve.name.as_str() {
            "product" | "a" => named("gateway", curve),
            // `versus` says in its method what it is.
            "b" => {
                let label = document["method"]["b"]["label"].as_str().unwrap_or("b");
                named(label, curve)
            }
            _ => curve,
        })
        .collect()
}

fn named(name: &str, curve: Curve) -> Curve {
    Curve {
        name: name.to_owned(),
        ..curve
    }
}

impl Curves {
    /// Of a measurement that decides `rows`; none when nothing was pooled.
    pub fn of(
        measurement: &'static str,
        rows: &[Row],
        (curves, evidence): (&[Curve], &Evidence),
    ) -> Option<Curves> {
        let own = rows.iter().filter(|row| row.measurement == measurement);
        (!curves.is_empty()).then(|| Curves {
            measurement,
            curves: curves.to_vec(),
            limits: own.filter_map(|row| Limit::of(row, evidence)).collect(),
        })
    }

    fn blocks(&self) -> Vec<Block> {
        let curves: Vec<(String, &Curve)> = self.curves.iter().map(|c| (c.name.clone(), c)).collect();
        let limit = |l: &Limit| Line::new(&l.name, vec![(l.quantile, l.ms)]);
        distributions(
            &format!("Latency by percentile: {}", self.measurement),
            &curves,
            self.limits.iter().map(limit).collect(),
        )
    }
}

impl Limit {
    /// Of a row whose figure is the ratio of a percentile of both sides.
    fn of(row: &Row, evidence: &Evidence) -> Option<Limit> {
        let ((_, against), target) = (row.sides?, row.target?);
        if row.unit != Unit::Ratio {
            return None;
        }
        let (side, percentile) = against.rsplit_once("_p")?;
        let quantile = match percentile {
            "50" => 0.5,
            "99" => 0.99,
            _ => return None,
        };
        let us = evidence.figure(against)?.value * target;
        Some(Limit {
            name: format!(
                "target: p{percentile} ≤ {} × {}'s",
                show(target, Unit::Ratio),
                side.split('_').next().unwrap_or(side)
            ),
            quantile,
            ms: us / 1e3,
        })
    }
}

/// The section of a report; none when no measurement has such histograms.
pub fn section(all: &[Curves]) -> Option<Section> {
    let text = "Over all valid pairs of a measurement. Runs that are not pairs have their curves in their own \
                documents.";
    (!all.is_empty()).then(|| Section {
        heading: "Latency".to_owned(),
        blocks: std::iter::once(Block::Text(text.to_owned()))
            .chain(all.iter().flat_map(Curves::blocks))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::suite::rows::ROWS;

    fn curve(name: &str, count: u64) -> Value {
        let p = json!({
            "count": count, "mean_us": 1.0, "p50_us": 1.0, "p75_us": 1.0, "p90_us": 1.0, "p95_us": 1.0,
            "p99_us": 2.0, "p99_9_us": 3.0, "max_us": 4.0,
        });
        json!({ "name": name, "percentiles": p, "points_ms": [[0.0, 0.001], [0.5, 0.002], [1.0, 0.004]] })
    }

    #[test]
    fn both_sides_are_drawn_with_what_the_target_allows() {
        let document = json!({
            "metrics": { "floor_p99": 400.0, "product_p99": 500.0 },
            "curves": [curve("product", 100), curve("floor", 100)],
        });
        let curves = pooled(&document);
        let evidence = Evidence::of_pairs(&document, 1);
        let found = Curves::of("paced", &ROWS, (&curves, &evidence)).unwrap();
        let names: Vec<&str> = found.curves.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["gateway", "floor"]);
        // 1.5 times the floor's 400 µs; rows of processor time have no place in the chart.
        assert_eq!(found.limits.len(), 1);
        let limit = found.limits[0].clone();
        assert!((limit.ms - 0.6).abs() < 1e-9 && (limit.quantile - 0.99).abs() < 1e-9);
        assert_eq!(limit.name, "target: p99 ≤ 1.500 × floor's");
        let section = section(&[found]).unwrap();
        let Some(Block::Chart(chart)) = section.blocks.get(1) else {
            panic!("no chart: {section:?}")
        };
        assert_eq!(chart.title, "Latency by percentile: paced");
        assert_eq!(chart.lines.len(), 3);
        assert_eq!(chart.lines[2].points, [(0.99, limit.ms)]);
    }

    #[test]
    fn what_counted_nothing_is_not_drawn() {
        for document in [
            json!({ "curves": [curve("product", 0), curve("floor", 0)] }),
            json!({ "curves": "?" }),
            json!({}),
        ] {
            let curves = pooled(&document);
            assert_eq!(Curves::of("paced", &ROWS, (&curves, &Evidence::default())), None);
        }
        assert_eq!(section(&[]), None);
    }
}
