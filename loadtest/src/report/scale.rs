//! Axes: where a value stands, and which values are labelled.

/// Most decades of a logarithmic axis.
const DECADES_MAX: i32 = 12;
/// Most nines of a percentile axis.
const NINES_MAX: f64 = 7.0;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0 (or the lowest value below it), even steps.
    Linear,
    /// Decades.
    Log,
    /// Quantiles, by 1 / (1 − q).
    Nines,
}

/// A scale with its ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    scale: Scale,
    /// Ends in the scale's own measure: the value, its logarithm, or the number of nines.
    low: f64,
    high: f64,
}

/// A labelled value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// 0 to 1 along the axis.
    pub at: f64,
    pub label: String,
}

impl Range {
    /// A range that holds all finite `values`; `tight` ends at the last value rather than a round one.
    pub(super) fn of(scale: Scale, values: impl Iterator<Item = f64>, tight: bool) -> Range {
        let finite = values.filter(|v| v.is_finite());
        let (low, high) = match scale {
            Scale::Linear => {
                let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
                let high = if high > low { high } else { low + 1.0 };
                if tight {
                    (low, high)
                } else {
                    let step = step(high - low);
                    ((low / step).floor() * step, (high / step).ceil() * step)
                }
            }
            Scale::Log => {
                let (low, high) = finite
                    .filter(|v| *v > 0.0)
                    .map(f64::log10)
                    .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
                if low > high {
                    (0.0, 1.0)
                } else {
                    // Half decades, so that a narrow distribution still fills its chart.
                    let (low, high) = ((low * 2.0).floor() / 2.0, (high * 2.0).ceil() / 2.0);
                    let high = if high > low { high } else { low + 0.5 };
                    (low.max(high - f64::from(DECADES_MAX)), high)
                }
            }
            Scale::Nines => (0.0, finite.map(nines).fold(1.0, f64::max)),
        };
        Range { scale, low, high }
    }

    /// Whether it is of that scale.
    pub(super) fn is(&self, scale: Scale) -> bool {
        self.scale == scale
    }

    /// Where `value` stands, 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let own = match self.scale {
            Scale::Linear => value,
            Scale::Log if value > 0.0 => value.log10(),
            Scale::Log => self.low,
            Scale::Nines => nines(value),
        };
        ((own - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The labelled values, low to high.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let tick = |value: f64, label: String| Tick {
            at: self.place(value),
            label,
        };
        match self.scale {
            Scale::Linear => {
                let step = step(self.high - self.low);
                (0..=12)
                    .map(|i| (self.low / step).ceil() * step + f64::from(i) * step)
                    .take_while(|v| *v <= self.high + step * 1e-6)
                    .map(|v| tick(v, short(v)))
                    .collect()
            }
            Scale::Log => self.log_ticks(),
            Scale::Nines => [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999]
                .into_iter()
                .filter(|q| nines(*q) <= self.high + 1e-9)
                .map(|q| tick(q, format!("{}%", trim(format!("{:.5}", q * 100.0)))))
                .collect(),
        }
    }

    /// 1, 2 and 5 of each decade, or only 1 when there are many.
    fn log_ticks(&self) -> Vec<Tick> {
        let mantissas: &[f64] = if self.high - self.low <= 3.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        (-DECADES_MAX * 2..=DECADES_MAX * 2)
            .flat_map(|decade| mantissas.iter().map(move |m| m * 10_f64.powi(decade)))
            .filter(|v| v.log10() >= self.low - 1e-9 && v.log10() <= self.high + 1e-9)
            .map(|v| Tick {
                at: self.place(v),
                label: short(v),
            })
            .collect()
    }
}

/// How many nines a quantile has: 0.99 has two.
fn nines(q: f64) -> f64 {
    let rest = 1.0 - q.clamp(0.0, 1.0);
    if rest > 0.0 {
        (-rest.log10()).min(NINES_MAX)
    } else {
        NINES_MAX
    }
}

/// A round step that divides `span` into 3 to 8 parts.
fn step(span: f64) -> f64 {
    let rough = (span / 5.0).max(f64::MIN_POSITIVE);
    let decade = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|f| f * decade >= rough * 0.999)
        .unwrap_or(10.0);
    factor * decade
}

/// A value in three or four significant digits, thousands as k, M and G.
pub(super) fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        v if v >= 1_000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        v if v >= 1.0 => 3,
        v if v >= 0.01 => 4,
        _ => 6,
    };
    format!("{}{suffix}", trim(format!("{scaled:.digits$}")))
}

/// Without zeros that say nothing.
fn trim(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, values: &[f64]) -> Vec<String> {
        let range = Range::of(scale, values.iter().copied(), false);
        range.ticks().into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(
            labels(Scale::Linear, &[3.0, 9.4]),
            ["0", "2", "4", "6", "8", "10"]
        );
        assert_eq!(labels(Scale::Linear, &[0.0, 48_000.0]).last().unwrap(), "50k");
        assert_eq!(labels(Scale::Log, &[0.4, 9.0]), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(
            labels(Scale::Nines, &[0.5, 0.999]),
            ["0%", "50%", "90%", "99%", "99.9%"]
        );
        // Nothing, or nothing but zero: still an axis.
        assert!(!labels(Scale::Linear, &[]).is_empty() && !labels(Scale::Log, &[0.0]).is_empty());
    }

    #[test]
    fn places_are_even_in_their_own_measure() {
        let range = Range::of(Scale::Nines, [0.0, 0.9999].into_iter(), false);
        for (q, at) in [(0.0, 0.0), (0.9, 0.25), (0.99, 0.5), (0.9999, 1.0), (1.0, 1.0)] {
            assert!((range.place(q) - at).abs() < 1e-6, "{q}");
        }
        let range = Range::of(Scale::Log, [1.0, 100.0].into_iter(), false);
        assert!((range.place(10.0) - 0.5).abs() < 1e-9);
        assert!(range.place(0.0).abs() < 1e-9 && range.place(-1.0).abs() < 1e-9);
    }

    #[test]
    fn short_numbers() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (1234.0, "1234"),
            (12_340.0, "12.34k"),
            (2_000_000.0, "2M"),
            (-3.5, "-3.5"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
