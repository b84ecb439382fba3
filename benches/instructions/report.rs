//! The table, and whether all is well.

use std::process::ExitCode;

use crate::compare::{Compared, Verdict};

/// One path, counted.
pub struct Line {
    pub name: &'static str,
    /// What the instructions are divided by, and how many of it one run has.
    pub unit: &'static str,
    pub units: u64,
    pub compared: Compared,
}

/// Prints what the columns are.
pub fn heading() {
    println!(
        "{:<28} {:>12} {:>10} {:<11} {:>12} {:>9} {:>8} {:>11} {:>8} {:>8} {:>6}",
        "path",
        "instructions",
        "each",
        "unit",
        "baseline",
        "change",
        "spread",
        "allocations",
        "each",
        "baseline",
        "spread"
    );
}

/// Words for the end of a line.
fn mark(what: &str, verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Same => return String::new(),
        Verdict::More => "MORE",
        Verdict::Less => "LESS",
        Verdict::New => "NEW",
    };
    format!("  {word} {what}")
}

impl Line {
    /// Prints the line.
    pub fn print(&self) {
        let compared = &self.compared;
        let allocated = &compared.allocations;
        print!(
            "{:<28} {:>12} {:>10.1} {:<11} {:>12} {:>9} {:>7.2}%",
            self.name,
            compared.instructions,
            compared.instructions as f64 / self.units as f64,
            self.unit,
            compared.baseline.map_or("-".into(), |n| n.to_string()),
            compared.change().map_or("-".into(), |p| format!("{p:+.2}%")),
            compared.spread as f64 / compared.instructions as f64 * 100.0,
        );
        println!(
            " {:>11} {:>8.2} {:>8} {:>6}{}{}",
            allocated.allocations,
            allocated.allocations as f64 / self.units as f64,
            allocated.baseline.map_or("-".into(), |n| n.to_string()),
            allocated.spread,
            mark("instructions", compared.verdict()),
            mark("allocations", allocated.verdict()),
        );
    }

    /// Says what has changed.
    fn explain(&self) {
        let (name, compared) = (self.name, &self.compared);
        if compared.verdict() != Verdict::Same {
            match compared.change() {
                Some(percent) => println!(
                    "{name}: {percent:+.2} % instructions, and {} % is tolerated",
                    compared.tolerance_percent
                ),
                None => println!("{name}: has no baseline"),
            }
        }
        let allocated = &compared.allocations;
        if allocated.verdict() != Verdict::Same {
            match allocated.baseline {
                Some(baseline) => println!(
                    "{name}: {} allocations in place of {baseline}, and {} more or less is tolerated",
                    allocated.allocations, allocated.tolerance
                ),
                None => println!("{name}: has no baseline of allocations"),
            }
        }
    }
}

/// Says what is beyond its tolerance; a failure when anything is.
pub fn verdict(lines: &[Line]) -> ExitCode {
    let mut beyond = 0;
    println!();
    for line in lines {
        if line.compared.is_same() {
            continue;
        }
        beyond += 1;
        line.explain();
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
