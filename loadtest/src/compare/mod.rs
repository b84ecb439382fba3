//! `compare`: two documents side by side. Says what differs in how they were taken before it says how they
//! differ in what they found.

mod page;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use self::page::{page, table};
use crate::assertion::{Assertion, Verdict};
use crate::document::Stored;
use crate::error::{Error, Result};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::{complain, files, note};
use crate::report;

/// The options of `compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The document to compare with, written by --json.
    pub a: PathBuf,
    /// The document that is compared; ratios are b divided by a.
    pub b: PathBuf,
    /// Write one HTML report with the curves of both.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the comparison as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What must hold of a metric's _ratio or _difference, like p99_ratio<1.1, or of `differences` and
    /// `flagged`; may be repeated. Exit code 1 when one does not.
    #[arg(long = "assert", value_name = "ASSERTION")]
    pub assertions: Vec<Assertion>,
}

/// One metric in both documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    pub metric: String,
    pub unit: Unit,
    /// `None`: not there, or not measured.
    pub a: Option<f64>,
    pub b: Option<f64>,
    /// b − a.
    pub difference: Option<f64>,
    /// b ÷ a; `None` when a is 0.
    pub ratio: Option<f64>,
}

/// Something that was not the same when the documents were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: String,
    pub a: String,
    pub b: String,
}

/// Two documents compared.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Machine, program, profile, method: with any, the figures are not comparable as they are.
    pub differences: Vec<Difference>,
    /// Why either document's figures are not to be believed.
    pub flags: Vec<String>,
    pub pairs: Vec<Pair>,
}

impl Comparison {
    /// Compares `b` with `a`.
    pub fn of(a: &Stored, b: &Stored) -> Comparison {
        let mut names: Vec<&String> = a.metrics.keys().chain(b.metrics.keys()).collect();
        names.sort();
        names.dedup();
        let pair = |name: &String| {
            let value = |doc: &Stored| doc.metrics.get(name).copied().flatten();
            let (x, y) = (value(a), value(b));
            let both = x.zip(y);
            Pair {
                metric: name.clone(),
                unit: *a.units.get(name).or(b.units.get(name)).unwrap_or(&Unit::Count),
                a: x,
                b: y,
                difference: both.map(|(x, y)| y - x),
                ratio: both.filter(|(x, _)| *x != 0.0).map(|(x, y)| y / x),
            }
        };
        Comparison {
            differences: differences(a, b),
            flags: flags("a", a).into_iter().chain(flags("b", b)).collect(),
            pairs: names.into_iter().map(pair).collect(),
        }
    }

    /// What assertions ask for: `p99_ratio`, `p99_difference`, `differences`, `flagged`.
    pub fn metrics(&self) -> Metrics {
        let mut all = vec![
            Metric::count("differences", self.differences.len() as u64),
            Metric::count("flagged", self.flags.len() as u64),
        ];
        for pair in &self.pairs {
            all.push(Metric::new(
                format!("{}_ratio", pair.metric),
                Unit::Ratio,
                pair.ratio,
            ));
            let name = format!("{}_difference", pair.metric);
            all.push(Metric::new(name, pair.unit, pair.difference));
        }
        Metrics(all)
    }
}

/// Lines of the context that are not the same.
fn differences(a: &Stored, b: &Stored) -> Vec<Difference> {
    let (left, right) = (a.context(), b.context());
    let find = |lines: &[(String, String)], name: &str| {
        let found = lines.iter().find(|(n, _)| n == name);
        found.map_or_else(|| "not said".to_owned(), |(_, v)| v.clone())
    };
    let mut names: Vec<&String> = left.iter().chain(&right).map(|(n, _)| n).collect();
    // Machine first, as it stands in the context; what only one has comes at its end.
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|n| seen.insert(*n));
    names
        .into_iter()
        .map(|name| Difference {
            what: name.clone(),
            a: find(&left, name),
            b: find(&right, name),
        })
        .filter(|d| d.a != d.b)
        .collect()
}

/// Why the figures of `doc` are not to be believed.
fn flags(name: &str, doc: &Stored) -> Vec<String> {
    let mut out: Vec<String> = doc.warnings.iter().map(|w| format!("{name}: {w}")).collect();
    if let Some(Some(void)) = doc.metrics.get("pairs_void")
        && *void > 0.0
    {
        out.push(format!("{name}: VOID: {void:.0} pairs do not count"));
    }
    let failed = doc.assertions.iter().filter(|v| !v.passed).count();
    if failed > 0 {
        out.push(format!(
            "{name}: FAILED: {failed} of {} assertions",
            doc.assertions.len()
        ));
    }
    out
}

/// Compares two files as the command line says. False: an assertion does not hold.
pub fn run(args: &CompareArgs) -> Result<bool> {
    let (a, b) = (Stored::read(&args.a)?, Stored::read(&args.b)?);
    let comparison = Comparison::of(&a, &b);
    let metrics = comparison.metrics();
    for assertion in &args.assertions {
        check(assertion, &metrics)?;
    }
    let verdicts: Vec<Verdict> = args.assertions.iter().map(|x| x.decide(&metrics)).collect();
    print(args, &comparison, &verdicts);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&comparison).map_err(|e| Error::Usage(e.to_string()))?;
        files::write(path, &(text + "\n"))?;
    }
    if let Some(path) = &args.html {
        files::write(path, &report::html(&page(&a, &b, &comparison, &verdicts)))?;
    }
    Ok(verdicts.iter().all(|v| v.passed))
}

/// Two documents have hundreds of names; the message names only the form.
fn check(assertion: &Assertion, metrics: &Metrics) -> Result<()> {
    if assertion.is_known(metrics) {
        return assertion.check(metrics);
    }
    Err(Error::Usage(format!(
        "--assert {assertion}: no such figure; there are differences, flagged, and <metric>_ratio and \
         <metric>_difference of each metric in the table"
    )))
}

fn print(args: &CompareArgs, comparison: &Comparison, verdicts: &[Verdict]) {
    note(&format!("a: {}\nb: {}", args.a.display(), args.b.display()));
    if !comparison.differences.is_empty() {
        complain("NOT COMPARABLE as they are: a and b were not taken the same way");
        note("not taken the same way:");
        for d in &comparison.differences {
            note(&format!("  {}: {} / {}", d.what, d.a, d.b));
        }
    }
    comparison.flags.iter().for_each(|flag| note(flag));
    let rows = table(comparison);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..5).map(|c| width(c).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| {
            if i == 0 {
                format!("{cell:width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        note(&format!("  {}", cells.collect::<Vec<_>>().join("  ")));
    }
    for verdict in verdicts {
        let word = if verdict.passed { "pass" } else { "FAIL" };
        note(&format!("{word} {} (found {})", verdict.assertion, verdict.found));
    }
}
