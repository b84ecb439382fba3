//! Counts against their baseline, without I/O: `tests/instructions.rs` tests it.

use crate::baseline::Baseline;
use crate::profile::Profile;

/// How a path stands to its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Same,
    More,
    Less,
    New,
}

/// The counts of one path beside its baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// Median of the runs.
    pub instructions: u64,
    /// Largest less smallest of the runs.
    pub spread: u64,
    pub baseline: Option<u64>,
    pub tolerance_percent: f64,
    pub allocations: Allocated,
}

/// The allocations of one path beside their baseline. They are few and whole, so what is tolerated is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// Median of the runs.
    pub allocations: u64,
    /// Largest less smallest of the runs.
    pub spread: u64,
    pub baseline: Option<u64>,
    pub tolerance: u64,
}

impl Compared {
    /// `counts` are those of the runs, at least one.
    pub fn new(name: &str, counts: &[Profile], known: &Baseline) -> Self {
        let entry = known.paths.get(name);
        let (instructions, spread) = median(counts.iter().map(|count| count.instructions));
        Self {
            instructions,
            spread,
            baseline: entry.map(|entry| entry.instructions),
            tolerance_percent: known.tolerance_percent(name),
            allocations: {
                let (allocations, spread) = median(counts.iter().map(|count| count.allocations.total()));
                Allocated {
                    allocations,
                    spread,
                    baseline: entry.and_then(|entry| entry.allocations),
                    tolerance: known.allocations_tolerance(name),
                }
            },
        }
    }

    /// In percent of the baseline.
    pub fn change(&self) -> Option<f64> {
        let baseline = self.baseline.filter(|n| *n > 0)?;
        Some((self.instructions as f64 / baseline as f64 - 1.0) * 100.0)
    }

    /// Of the instructions. Less is as wrong as more: the next loss would hide in the gain.
    pub fn verdict(&self) -> Verdict {
        match self.change() {
            None => Verdict::New,
            Some(percent) if percent > self.tolerance_percent => Verdict::More,
            Some(percent) if percent < -self.tolerance_percent => Verdict::Less,
            Some(_) => Verdict::Same,
        }
    }

    /// Whether neither instructions nor allocations have changed.
    pub fn is_same(&self) -> bool {
        self.verdict() == Verdict::Same && self.allocations.verdict() == Verdict::Same
    }
}

impl Allocated {
    /// Less is as wrong as more, for the same reason.
    pub fn verdict(&self) -> Verdict {
        match self.baseline {
            None => Verdict::New,
            Some(n) if self.allocations > n + self.tolerance => Verdict::More,
            Some(n) if self.allocations + self.tolerance < n => Verdict::Less,
            Some(_) => Verdict::Same,
        }
    }
}

/// Median, and largest less smallest.
fn median(counts: impl Iterator<Item = u64>) -> (u64, u64) {
    let mut sorted: Vec<u64> = counts.collect();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)) - at(0))
}
