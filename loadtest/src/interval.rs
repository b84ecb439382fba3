//! Median and 90 % interval of a few figures.

use serde::Serialize;

/// Where a handful of figures lie.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Interval {
    pub count: usize,
    pub median: f64,
    /// 5th percentile, interpolated.
    pub low: f64,
    /// 95th percentile, interpolated.
    pub high: f64,
    /// Half the distance from low to high, as a share of the median.
    pub half_width: f64,
    /// Interval that holds the true median with at least 90 % confidence, by order statistics; the whole
    /// range when there are too few figures for that.
    pub median_low: f64,
    pub median_high: f64,
}

impl Interval {
    /// Of any figures; `None` without any.
    pub fn of(figures: &[f64]) -> Option<Interval> {
        let mut sorted: Vec<f64> = figures.iter().copied().filter(|f| f.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let (median, low, high) = (
            quantile(&sorted, 0.5),
            quantile(&sorted, 0.05),
            quantile(&sorted, 0.95),
        );
        let k = rank_of_confidence(sorted.len());
        Some(Interval {
            count: sorted.len(),
            median,
            low,
            high,
            half_width: if median == 0.0 {
                0.0
            } else {
                (high - low) / 2.0 / median
            },
            median_low: k.and_then(|k| sorted.get(k - 1).copied()).unwrap_or(first),
            median_high: k
                .and_then(|k| sorted.get(sorted.len() - k).copied())
                .unwrap_or(last),
        })
    }
}

/// The q-quantile of sorted figures, interpolated between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = q.clamp(0.0, 1.0) * last as f64;
    // Within 0 to last by the clamp.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// The largest k so that the k-th smallest and k-th largest of `n` figures enclose the median with at
/// least 90 % confidence: P(Binomial(n, ½) < k) ≤ 5 %.
fn rank_of_confidence(n: usize) -> Option<usize> {
    let mut term = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut sum = term;
    let mut k = 0;
    while sum <= 0.05 && k < n {
        k += 1;
        term *= (n + 1 - k) as f64 / k as f64;
        sum += term;
    }
    (k > 0).then_some(k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn of_a_known_list() {
        let figures: Vec<f64> = (1..=21).rev().map(f64::from).collect();
        let i = Interval::of(&figures).unwrap();
        assert!(near(i.median, 11.0) && near(i.low, 2.0) && near(i.high, 20.0));
        assert!(near(i.half_width, 9.0 / 11.0));
        // Binomial(21, ½): P(X ≤ 6) = 3.9 %, P(X ≤ 7) = 9.5 %.
        assert!(near(i.median_low, 7.0) && near(i.median_high, 15.0));
    }

    #[test]
    fn of_few() {
        assert_eq!(Interval::of(&[]), None);
        let i = Interval::of(&[2.0, f64::NAN]).unwrap();
        assert!(i.count == 1 && near(i.median, 2.0) && near(i.median_low, 2.0) && near(i.half_width, 0.0));
        // Twelve figures: the third smallest and third largest.
        assert_eq!(rank_of_confidence(12), Some(3));
        assert_eq!(rank_of_confidence(4), None);
        assert_eq!(rank_of_confidence(5), Some(1));
    }
}
