//! A count against its baseline, without I/O: `tests/instructions.rs` tests it.

use crate::baseline::Baseline;

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
}

impl Compared {
    /// `counts` are sorted, and there is at least one.
    pub fn new(name: &str, counts: &[u64], known: &Baseline) -> Self {
        let (first, last) = (counts.first().copied(), counts.last().copied());
        Self {
            instructions: counts.get(counts.len() / 2).copied().unwrap_or_default(),
            spread: last.unwrap_or_default() - first.unwrap_or_default(),
            baseline: known.paths.get(name).map(|entry| entry.instructions),
            tolerance_percent: known.tolerance_percent(name),
        }
    }

    /// In percent of the baseline.
    pub fn change(&self) -> Option<f64> {
        let baseline = self.baseline.filter(|n| *n > 0)?;
        Some((self.instructions as f64 / baseline as f64 - 1.0) * 100.0)
    }

    /// Less is as wrong as more: the next loss would hide in the gain.
    pub fn verdict(&self) -> Verdict {
        match self.change() {
            None => Verdict::New,
            Some(percent) if percent > self.tolerance_percent => Verdict::More,
            Some(percent) if percent < -self.tolerance_percent => Verdict::Less,
            Some(_) => Verdict::Same,
        }
    }
}
