//! `perf`: every row of the table of targets by the method, one verdict per line.
//!
//! Each measurement runs against gateways started for it alone, by this program's own commands as child
//! processes, so that every row's document is kept and can be had again by its command line.

pub mod about;
pub mod curves;
pub mod evidence;
pub mod gateway;
pub mod measure;
pub mod page;
pub mod publish;
pub mod rows;
pub mod runner;
pub mod supervised;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use self::about::About;
use self::curves::Curves;
use self::measure::{MEASUREMENTS, Measurement};
use self::publish::{Report, RowResult};
use self::rows::{ROWS, Row};
use self::runner::{Measured, Runner};
use crate::clock::{self, Nanos};
use crate::error::{Error, Result};
use crate::host::limits;
use crate::output::{Bar, Progress, complain, note};

/// Fewer valid pairs than this are an indication.
pub const PAIRS_MIN: usize = 12;
/// Pairs of `--quick`.
const PAIRS_QUICK: usize = 3;
/// Measured span of a side of a pair, seconds.
const SECONDS: f64 = 3.0;
/// The shortest when scaled.
const SECONDS_LEAST: f64 = 0.2;

/// Options of `perf`.
#[derive(Debug, Clone, Args)]
pub struct PerfArgs {
    /// The gateway's program; a release build.
    #[arg(long, default_value = "target/release/countersign")]
    pub gateway: PathBuf,
    /// Folder for perf.json, perf.md, perf.html and the document of each measurement.
    #[arg(long, default_value = "target/perf")]
    pub out: PathBuf,
    /// Only these rows; default: all.
    #[arg(long, value_name = "ROW", num_args = 1.., value_delimiter = ',')]
    pub only: Vec<String>,
    /// Three pairs, one run of what is not a pair: an indication, never "met".
    #[arg(long)]
    pub quick: bool,
    /// Valid pairs wanted; fewer than 12 are an indication. Default 12.
    #[arg(long)]
    pub pairs: Option<usize>,
    /// Smaller loads and shorter spans by this factor, up to 1, to try the suite out: an indication at most.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Processor of gateway and floor.
    #[arg(long, default_value_t = 0)]
    pub server_cpu: usize,
    /// Processor of the tester.
    #[arg(long, default_value_t = 1)]
    pub tester_cpu: usize,
}

/// What all measurements share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Setup {
    /// Valid pairs wanted.
    pub pairs: usize,
    /// Measured span of a side, seconds.
    pub seconds: f64,
    pub scale: f64,
    pub server_cpu: usize,
    pub tester_cpu: usize,
    /// Too few pairs or too small loads to decide anything.
    pub indication: bool,
}

impl Setup {
    fn of(args: &PerfArgs) -> Result<Setup> {
        let pairs = args
            .pairs
            .unwrap_or(if args.quick { PAIRS_QUICK } else { PAIRS_MIN });
        if !(1..=1_000).contains(&pairs) {
            return Err(Error::Usage("--pairs is 1 to 1000".to_owned()));
        }
        if !(args.scale > 0.0 && args.scale <= 1.0) {
            return Err(Error::Usage("--scale is above 0 and at most 1".to_owned()));
        }
        if args.server_cpu == args.tester_cpu {
            return Err(Error::Usage(
                "--server-cpu and --tester-cpu must differ: who measures must not take time from the measured"
                    .to_owned(),
            ));
        }
        Ok(Setup {
            pairs,
            seconds: (SECONDS * args.scale).max(SECONDS_LEAST),
            scale: args.scale,
            server_cpu: args.server_cpu,
            tester_cpu: args.tester_cpu,
            indication: args.quick || pairs < PAIRS_MIN || args.scale < 1.0,
        })
    }

    /// A number of connections, members or rooms, scaled but not below `least`.
    fn scaled(&self, n: usize, least: usize) -> usize {
        // Numbers of connections, far below the type's bound.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let scaled = (n as f64 * self.scale).round() as usize;
        scaled.max(least)
    }

    /// A span, scaled, seconds.
    fn shortened(&self, seconds: f64) -> f64 {
        seconds * self.scale
    }
}

/// Runs the rows that were asked for; whether all of them are met.
///
/// # Errors
/// Options that cannot be, no gateway, or not one row that could be run.
pub fn run(args: &PerfArgs) -> Result<bool> {
    let setup = Setup::of(args)?;
    let rows = chosen(&args.only)?;
    if !args.gateway.is_file() {
        return Err(Error::Usage(format!(
            "no gateway at {}: build it with `cargo build --release`, or say --gateway",
            args.gateway.display()
        )));
    }
    std::fs::create_dir_all(&args.out).map_err(Error::io("making the folder of --out"))?;
    // Gateway and measurements inherit it.
    limits::raise()?;
    let tester = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let runner = Runner {
        tester: &tester,
        gateway: &args.gateway,
        out: &args.out,
        setup: &setup,
    };
    let mut report = Report::new(About::here(), setup, &rows);
    let result = measure_all(&runner, &rows, &mut report);
    report.print();
    result?;
    if report
        .rows
        .iter()
        .all(|row| row.verdict == verdict::Verdict::NotRun)
    {
        return Err(Error::Process(format!(
            "no row could be run: {}",
            report.rows.first().map_or("", |row| row.why.as_str())
        )));
    }
    Ok(report.all_met)
}

/// Makes the measurements that `rows` need. What is known is written after each, so that a run that is
/// broken off has not been for nothing.
fn measure_all(runner: &Runner<'_>, rows: &[Row], report: &mut Report) -> Result<()> {
    let wanted: Vec<&Measurement> = MEASUREMENTS
        .iter()
        .filter(|m| rows.iter().any(|row| row.measurement == m.name))
        .collect();
    let total: f64 = wanted.iter().map(|m| m.seconds(runner.setup)).sum();
    let began = clock::now();
    note(&format!(
        "{} rows from {} measurements, {} pairs each where there are pairs: about {}{}",
        rows.len(),
        wanted.len(),
        runner.setup.pairs,
        clock_text(total),
        if runner.setup.indication {
            "; an indication, nothing can be met"
        } else {
            ""
        }
    ));
    for (i, measurement) in wanted.iter().enumerate() {
        note(&format!(
            "[{:>2}/{}] {}: about {}, {} of {} gone",
            i + 1,
            wanted.len(),
            measurement.name,
            clock_text(measurement.seconds(runner.setup)),
            clock_text(clock::seconds(clock::now() - began)),
            clock_text(total),
        ));
        let bar = Progress::on_terminal().bar("perf", whole_seconds(total));
        bar.say(measurement.name.to_owned());
        let measured = runner.measure(measurement, &mut || tick(&bar, began));
        bar.done();
        if let Err(e) = &measured {
            complain(&format!("        {} could not be run: {e}", measurement.name));
        }
        for row in rows.iter().filter(|row| row.measurement == measurement.name) {
            let result = RowResult::of(row, &measured, runner.setup.indication);
            note(&format!("        {}", result.line()));
            report.put(result);
        }
        if let Ok(Measured {
            version,
            curves,
            evidence,
            ..
        }) = &measured
        {
            report.about.gateway.clone_from(version);
            let pooled = Curves::of(measurement.name, rows, (curves, evidence));
            report.curves.extend(pooled);
        }
        report.seconds = clock::seconds(clock::now() - began);
        report.write(runner.out)?;
    }
    Ok(())
}

fn tick(bar: &Bar, began: Nanos) {
    bar.set(whole_seconds(clock::seconds(clock::now() - began)));
}

/// The rows of these names, in the table's order.
fn chosen(names: &[String]) -> Result<Vec<Row>> {
    if let Some(unknown) = names.iter().find(|n| ROWS.iter().all(|row| row.name != *n)) {
        let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(Error::Usage(format!(
            "--only {unknown}: no such row; there are {}",
            known.join(" ")
        )));
    }
    let asked = |row: &&Row| names.is_empty() || names.iter().any(|n| n == row.name);
    Ok(ROWS.iter().filter(asked).copied().collect())
}

fn whole_seconds(seconds: f64) -> usize {
    // Durations of runs, far below the type's bound.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.clamp(0.0, 1e9) as usize;
    whole
}

/// Minutes and seconds.
fn clock_text(seconds: f64) -> String {
    let whole = whole_seconds(seconds.ceil());
    format!("{}:{:02}", whole / 60, whole % 60)
}
