//! `.hgrm`: the percentile distribution as HdrHistogram's `outputPercentileDistribution` prints it, which its
//! plotters read. Values are milliseconds; the last comment says so.

use std::fmt::Write;

use crate::latency::Latency;

const MILLIS: f64 = 1e6;

/// The distribution of `latency` as text.
pub(super) fn text(latency: &Latency) -> String {
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for point in latency.curve() {
        let value = point.span as f64 / MILLIS;
        // Writing to a string cannot fail.
        let _ = write!(out, "{value:12.3} {:.12} {:>10}", point.quantile, point.count);
        let _ = if point.quantile < 1.0 {
            writeln!(out, " {:>14.2}", 1.0 / (1.0 - point.quantile))
        } else {
            writeln!(out)
        };
    }
    let m = latency.moments();
    let _ = write!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n\
         #[Unit    = {:>12}]\n",
        m.mean / MILLIS,
        m.deviation / MILLIS,
        m.max as f64 / MILLIS,
        m.count,
        m.buckets,
        m.sub_buckets,
        "ms"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MICRO;

    #[test]
    fn what_is_written_reads_back_equal() {
        let mut latency = Latency::new().unwrap();
        (1..=20_000_u64).for_each(|us| latency.record(us * us % 77_777 * MICRO + MICRO));
        let text = text(&latency);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("       Value     Percentile TotalCount 1/(1-Percentile)")
        );
        assert_eq!(lines.next(), Some(""));
        let rows: Vec<Vec<f64>> = lines
            .clone()
            .take_while(|l| !l.starts_with('#'))
            .map(|l| l.split_whitespace().map(|n| n.parse().unwrap()).collect())
            .collect();
        let curve = latency.curve();
        assert!(rows.len() == curve.len() && rows.len() > 30);
        for (row, point) in rows.iter().zip(&curve) {
            assert!((row[0] - point.span as f64 / 1e6).abs() <= 0.000_5, "{row:?}");
            assert!((row[1] - point.quantile).abs() < 1e-11);
            assert!((row[2] - point.count as f64).abs() < 0.5);
            match row.get(3) {
                Some(inverse) => assert!((inverse - 1.0 / (1.0 - point.quantile)).abs() < 0.01),
                None => assert!((row[1] - 1.0).abs() < 1e-12, "only 100 % has none"),
            }
        }
        assert!((rows.last().unwrap()[2] - 20_000.0).abs() < 0.5);
        assert!(text.ends_with("#[Unit    =           ms]\n"));
        assert!(text.contains("Total count    =        20000]"), "{text}");
    }

    #[test]
    fn nothing_is_still_a_file() {
        let text = text(&Latency::new().unwrap());
        assert!(text.contains("Total count    =            0]"));
    }
}
