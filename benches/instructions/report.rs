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
        "{:<28} {:>12} {:>10} {:<11} {:>12} {:>9} {:>8}",
        "path", "instructions", "each", "unit", "baseline", "change", "spread"
    );
}

impl Line {
    /// Prints the line.
    pub fn print(&self) {
        let compared = &self.compared;
        let mark = match compared.verdict() {
            Verdict::Same => "",
            Verdict::More => "  MORE",
            Verdict::Less => "  LESS",
            Verdict::New => "  NEW",
        };
        println!(
            "{:<28} {:>12} {:>10.1} {:<11} {:>12} {:>9} {:>7.2}%{mark}",
            self.name,
            compared.instructions,
            compared.instructions as f64 / self.units as f64,
            self.unit,
            compared.baseline.map_or("-".into(), |n| n.to_string()),
            compared.change().map_or("-".into(), |p| format!("{p:+.2}%")),
            compared.spread as f64 / compared.instructions as f64 * 100.0,
        );
    }
}

/// Says what is beyond its tolerance; a failure when anything is.
pub fn verdict(lines: &[Line]) -> ExitCode {
    let mut beyond = 0;
    println!();
    for line in lines {
        let compared = &line.compared;
        if compared.verdict() == Verdict::Same {
            continue;
        }
        beyond += 1;
        match compared.change() {
            Some(percent) => println!(
                "{}: {percent:+.2} %, and {} % is tolerated",
                line.name, compared.tolerance_percent
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
