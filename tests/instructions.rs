//! What `make bench` makes of its counts: the harness has none of libtest's tests, so they are here.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "parts of the harness, of which this needs a few"
)]

#[path = "../benches/instructions/baseline.rs"]
mod baseline;
#[path = "../benches/instructions/compare.rs"]
mod compare;
#[path = "../benches/instructions/report.rs"]
mod report;

use std::process::ExitCode;

use baseline::Baseline;
use compare::{Compared, Verdict};
use report::Line;

/// 100,000 instructions each: `path` by the tolerance of the file, the others by their own.
fn known() -> Baseline {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baseline.toml");
    let text = "tolerance_percent = 1.0\n\
                [made_with]\nrustc = \"1\"\nvalgrind = \"3\"\ntarget = \"t\"\n\
                [paths]\n\
                path = { instructions = 100000 }\n\
                wide = { instructions = 100000, tolerance_percent = 2.0 }\n\
                narrow = { instructions = 100000, tolerance_percent = 0.5 }\n";
    std::fs::write(&file, text).unwrap();
    Baseline::read(&file).unwrap()
}

fn line(name: &'static str, instructions: u64) -> Line {
    Line {
        name,
        unit: "unit",
        units: 1,
        compared: Compared::new(name, &[instructions], &known()),
    }
}

#[test]
fn a_change_of_more_than_the_tolerance_fails_in_both_directions() {
    use Verdict::{Less, More, New, Same};
    for (name, instructions, verdict) in [
        ("path", 100_000, Same),
        ("path", 100_990, Same),
        ("path", 99_010, Same),
        ("path", 101_100, More),
        ("path", 98_900, Less),
        ("wide", 101_100, Same),
        ("wide", 98_900, Same),
        ("wide", 102_100, More),
        ("wide", 97_900, Less),
        ("narrow", 100_400, Same),
        ("narrow", 100_600, More),
        ("narrow", 99_400, Less),
        ("unheard of", 100_000, New),
    ] {
        let line = line(name, instructions);
        assert_eq!(line.compared.verdict(), verdict, "{name} {instructions}");
        let code = if verdict == Same {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
        assert_eq!(report::verdict(&[line]), code, "{name} {instructions}");
    }
}

#[test]
fn one_path_beyond_its_tolerance_is_enough() {
    let lines = |last| [line("path", 100_100), line("wide", 101_500), line("narrow", last)];
    assert_eq!(report::verdict(&lines(100_100)), ExitCode::SUCCESS);
    assert_eq!(report::verdict(&lines(101_500)), ExitCode::FAILURE);
    // A gain does not make up for a loss.
    assert_eq!(
        report::verdict(&[line("path", 98_000), line("path", 102_000)]),
        ExitCode::FAILURE
    );
}

#[test]
fn the_median_of_the_runs_is_compared_and_their_spread_is_told() {
    let compared = Compared::new("path", &[90_000, 100_500, 150_000], &known());
    assert_eq!((compared.instructions, compared.spread), (100_500, 60_000));
    assert_eq!(compared.verdict(), Verdict::Same);
    assert!((compared.change().unwrap() - 0.5).abs() < 1e-9);
}

#[test]
fn a_new_baseline_keeps_the_tolerance_of_a_path() {
    let updated = known().updated(
        baseline::MadeWith::default(),
        [("wide", 200_000), ("path", 5)].into_iter(),
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baseline.toml");
    updated.write(&file).unwrap();
    let read = Baseline::read(&file).unwrap();
    assert_eq!(read, updated);
    assert_eq!(
        ["path", "wide", "narrow"].map(|name| read.tolerance_percent(name)),
        [1.0, 2.0, 0.5]
    );
    assert_eq!(read.paths["wide"].instructions, 200_000);
}
