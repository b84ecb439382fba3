//! The table, and whether all is well.

use std::process::ExitCode;

use crate::baseline::Baseline;
use crate::paths::Path;

/// One path, counted.
pub struct Line {
    pub name: &'static str,
    /// Median of the runs.
    pub instructions: u64,
    unit: &'static str,
    units: u64,
    /// Largest less smallest of the runs.
    spread: u64,
    baseline: Option<u64>,
    tolerance_percent: f64,
}

/// How a path stands to its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    More,
    Less,
    New,
}

/// Prints what the columns are.
pub fn heading() {
    println!(
        "{:<28} {:>12} {:>10} {:<11} {:>12} {:>9} {:>8}",
        "path", "instructions", "each", "unit", "baseline", "change", "spread"
    );
}

impl Line {
    /// `counts` are sorted, and there is at least one.
    pub fn new(path: &Path, counts: &[u64], known: &Baseline) -> Self {
        let (first, last) = (counts.first().copied(), counts.last().copied());
        Self {
            name: path.name,
            instructions: counts.get(counts.len() / 2).copied().unwrap_or_default(),
            unit: path.unit,
            units: path.units,
            spread: last.unwrap_or_default() - first.unwrap_or_default(),
            baseline: known.paths.get(path.name).map(|entry| entry.instructions),
            tolerance_percent: known.tolerance_percent(path.name),
        }
    }

    /// In percent of the baseline.
    fn change(&self) -> Option<f64> {
        let baseline = self.baseline.filter(|n| *n > 0)?;
        Some((self.instructions as f64 / baseline as f64 - 1.0) * 100.0)
    }

    fn verdict(&self) -> Verdict {
        match self.change() {
            None => Verdict::New,
            Some(percent) if percent > self.tolerance_percent => Verdict::More,
            Some(percent) if percent < -self.tolerance_percent => Verdict::Less,
            Some(_) => Verdict::Same,
        }
    }

    /// Prints the line.
    pub fn print(&self) {
        let mark = match self.verdict() {
            Verdict::Same => "",
            Verdict::More => "  MORE",
            Verdict::Less => "  LESS",
            Verdict::New => "  NEW",
        };
        println!(
            "{:<28} {:>12} {:>10.1} {:<11} {:>12} {:>9} {:>7.2}%{mark}",
            self.name,
            self.instructions,
            self.instructions as f64 / self.units as f64,
            self.unit,
            self.baseline.map_or("-".into(), |n| n.to_string()),
            self.change().map_or("-".into(), |p| format!("{p:+.2}%")),
            self.spread as f64 / self.instructions as f64 * 100.0,
        );
    }
}

/// Says what is beyond its tolerance. Less is as wrong as more: the next loss would hide in the gain.
pub fn verdict(lines: &[Line]) -> ExitCode {
    let mut beyond = 0;
    println!();
    for line in lines.iter().filter(|line| line.verdict() != Verdict::Same) {
        beyond += 1;
        match line.change() {
            Some(percent) => println!(
                "{}: {percent:+.2} %, and {} % is tolerated",
                line.name, line.tolerance_percent
            ),
            None => println!("{}: has no baseline", line.name),
        }
    }
    if beyond == 0 {
        println!("{} paths, all within their tolerance", lines.len());
        return ExitCode::SUCCESS;
    }
    println!(
        "{beyond} of {} paths are not as the baseline says. When that is meant, \
         `make bench BENCH_FLAGS=--update` writes a new one; say why in the commit.",
        lines.len()
    );
    ExitCode::FAILURE
}
