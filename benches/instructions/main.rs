//! `make bench`: how many instructions the gateway's paths take and how often they allocate, counted by valgrind's
//! callgrind and compared with `benches/baseline.toml`. Time on a shared machine says little; the count of the same work
//! stays the same.
//!
//! Every path is counted in a process of its own: the harness starts itself under callgrind, which counts between
//! the entry and the return of [`counted`] and nowhere else, so setting up is not counted. Run without callgrind, as
//! `cargo test` does, each path is carried out and checked, and the names are compared with the baseline's.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is run by hand, or as a test"
)]

mod baseline;
mod callgrind;
mod compare;
mod known;
mod options;
mod paths;
mod profile;
mod promise;
mod report;
mod stage;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;

use baseline::{Baseline, MadeWith};
use compare::Compared;
use options::{Mode, Options};
use paths::Path;

/// The part callgrind counts. It is found by its name, so it is never inlined.
#[inline(never)]
fn counted(run: &mut dyn FnMut() -> u64) -> u64 {
    let done = run();
    // Nothing is left to do here without this, and a jump in place of the call would end the counting too early.
    black_box(done)
}

/// Carries a path out, once to warm what the first call sets up, and once to be counted.
fn carry_out(path: Path) {
    let mut run = (path.prepare)();
    for done in [run(), counted(&mut run)] {
        assert_eq!(
            done, path.units,
            "{}: what was done is not what was asked",
            path.name
        );
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.toml")
}

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    match options.mode {
        Mode::Check => check(),
        Mode::Count { name } => count_here(&name),
        Mode::Bench => bench(&options),
    }
}

/// What `cargo test` runs: every path works, and the baseline knows each and nothing else.
fn check() -> ExitCode {
    let baseline = Baseline::read(&file()).unwrap();
    let names: Vec<_> = paths::all().into_iter().map(|path| path.name).collect();
    baseline.check_names(&names).unwrap();
    for path in paths::all() {
        carry_out(path);
    }
    carry_out(known::path());
    println!("{} paths carried out", names.len());
    ExitCode::SUCCESS
}

/// The process that callgrind watches.
fn count_here(name: &str) -> ExitCode {
    let mut all = paths::all().into_iter().chain([known::path()]);
    match all.find(|path| path.name == name) {
        Some(path) => {
            carry_out(path);
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("there is no path {name:?}");
            ExitCode::from(2)
        }
    }
}

/// Whether the allocations that callgrind finds are those that were made.
///
/// # Errors
/// What it found in their place.
fn check_counter() -> Result<(), String> {
    for found in callgrind::count(known::NAME, 1)? {
        if found.allocations != known::ALLOCATES {
            return Err(format!(
                "{}: the counter of allocations is not to be trusted here: it found {} in place of {}",
                known::NAME,
                found.allocations,
                known::ALLOCATES
            ));
        }
    }
    Ok(())
}

fn bench(options: &Options) -> ExitCode {
    let (made_with, known) = match begin(options) {
        Ok(ready) => ready,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if known.made_with != made_with {
        println!(
            "The baseline was made with {}; this is {made_with}.",
            known.made_with
        );
        println!(
            "Differences below may be the tools' and not ours: compare with a baseline of the same tools.\n"
        );
    }
    let mut lines = Vec::new();
    report::heading();
    for path in paths::all().into_iter().filter(|path| options.wants(path.name)) {
        let counts = match callgrind::count(path.name, options.runs) {
            Ok(counts) => counts,
            Err(problem) => {
                eprintln!("{}: {problem}", path.name);
                return ExitCode::from(2);
            }
        };
        let line = report::Line {
            name: path.name,
            unit: path.unit,
            units: path.units,
            compared: Compared::new(path.name, &counts, &known),
        };
        line.print();
        lines.push(line);
    }
    if let Err(broken) = promise::no_allocation_per_member(|name| {
        let line = lines.iter().find(|line| line.name == name)?;
        Some(line.compared.allocations.allocations)
    }) {
        println!("\n{broken}");
        return ExitCode::FAILURE;
    }
    if options.update {
        update(known, made_with, &lines);
        return ExitCode::SUCCESS;
    }
    report::verdict(&lines)
}

/// The tools, which were tried, and what is known.
///
/// # Errors
/// When a tool is missing, or does not count right, or there is nothing to compare with.
fn begin(options: &Options) -> Result<(MadeWith, Baseline), String> {
    let made_with = callgrind::versions()?;
    check_counter()?;
    let known = match Baseline::read(&file()) {
        // The first baseline has none before it.
        Err(_) if options.update => Baseline::default(),
        read => read?,
    };
    Ok((made_with, known))
}

fn update(known: Baseline, made_with: MadeWith, lines: &[report::Line]) {
    let names: Vec<_> = paths::all().into_iter().map(|path| path.name).collect();
    let counts = lines.iter().map(|line| {
        let compared = &line.compared;
        (line.name, compared.instructions, compared.allocations.allocations)
    });
    let updated = known.updated(made_with, counts).without_all_but(&names);
    updated.write(&file()).unwrap();
    println!("\nwritten to benches/baseline.toml");
}
