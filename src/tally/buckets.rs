//! How large many things were, by fixed bounds.

use super::Tally;

/// Counts by size. `N` is how many bounds there are.
#[derive(Debug)]
pub struct Buckets<const N: usize> {
    /// Upper bounds, rising, each included.
    bounds: &'static [u64; N],
    counts: [Tally; N],
    /// What is above the last bound.
    over: Tally,
    sum: Tally,
}

impl<const N: usize> Buckets<N> {
    /// Nothing counted yet.
    pub fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| Tally::default()),
            over: Tally::default(),
            sum: Tally::default(),
        }
    }

    /// Counts one.
    pub fn observe(&self, size: u64) {
        // Small ones are the usual ones, and the bounds are few.
        let at = self.bounds.iter().position(|bound| size <= *bound);
        let count = at.and_then(|at| self.counts.get(at)).unwrap_or(&self.over);
        count.one();
        self.sum.add(size);
    }

    /// What was counted in several of the same bounds, together.
    pub fn spread<'a>(all: impl Iterator<Item = &'a Self>) -> Spread {
        let mut spread = Spread::default();
        for buckets in all {
            spread.bounds = buckets.bounds;
            spread.counts.resize(N + 1, 0);
            let counts = buckets.counts.iter().chain([&buckets.over]);
            for (sum, count) in spread.counts.iter_mut().zip(counts) {
                *sum += count.get();
            }
            spread.sum += buckets.sum.get();
        }
        spread
    }
}

/// What [`Buckets`] held when somebody asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// Upper bounds, rising, each included.
    pub bounds: &'static [u64],
    /// How many were in each, and last those above all bounds. Not cumulative.
    pub counts: Vec<u64>,
    /// Of all sizes.
    pub sum: u64,
}

impl Spread {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound that a share of them, 0 to 1, did not exceed; the last bound where some were larger than any. `None`:
    /// there were none.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is a count; above 2^53 of them one more or less does not matter"
    )]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return self.bounds.get(at).or(self.bounds.last()).copied();
            }
        }
        None
    }

    /// What was counted since an earlier one of the same bounds.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().chain(std::iter::repeat(&0));
        Self {
            bounds: self.bounds,
            counts: self
                .counts
                .iter()
                .zip(before)
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_included_and_copies_add_up() {
        let (a, b) = (Buckets::new(&[1, 10]), Buckets::new(&[1, 10]));
        for size in [0, 1, 2, 10, 11] {
            a.observe(size);
        }
        let before = Buckets::spread([&a].into_iter());
        assert_eq!((&before.counts[..], before.sum), (&[2, 2, 1][..], 24));
        b.observe(7);
        let both = Buckets::spread([&a, &b].into_iter());
        assert_eq!(
            (&both.counts[..], both.sum, both.count()),
            (&[2, 3, 1][..], 31, 6)
        );
        let between = both.since(&before);
        assert_eq!((&between.counts[..], between.sum), (&[0, 1, 0][..], 7));
    }

    #[test]
    fn a_quantile_is_the_bound_it_stays_below() {
        let buckets = Buckets::new(&[1, 10, 100]);
        assert_eq!(Buckets::spread([&buckets].into_iter()).quantile(0.5), None);
        for _ in 0..99 {
            buckets.observe(5);
        }
        buckets.observe(1_000);
        let spread = Buckets::spread([&buckets].into_iter());
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| spread.quantile(share)),
            [Some(10), Some(10), Some(10), Some(100)]
        );
    }
}
