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
#[path = "../benches/instructions/profile.rs"]
mod profile;
#[path = "../benches/instructions/promise.rs"]
mod promise;
#[path = "../benches/instructions/report.rs"]
mod report;

use std::process::ExitCode;

use baseline::Baseline;
use compare::{Compared, Verdict};
use profile::{Allocations, Profile};
use report::Line;

/// 100,000 instructions and 50 allocations each: `path` by the tolerance of the file, the others by their own.
fn known() -> Baseline {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baseline.toml");
    let text = "tolerance_percent = 1.0\n\
                [made_with]\nrustc = \"1\"\nvalgrind = \"3\"\ntarget = \"t\"\n\
                [paths]\n\
                path = { instructions = 100000, allocations = 50 }\n\
                wide = { instructions = 100000, tolerance_percent = 2.0, allocations = 50, \
                         allocations_tolerance = 2 }\n\
                narrow = { instructions = 100000, tolerance_percent = 0.5, allocations = 50 }\n\
                old = { instructions = 100000 }\n";
    std::fs::write(&file, text).unwrap();
    Baseline::read(&file).unwrap()
}

fn profile(instructions: u64, malloc: u64) -> Profile {
    let allocations = Allocations {
        malloc,
        ..Allocations::default()
    };
    Profile {
        instructions,
        allocations,
    }
}

fn line(name: &'static str, instructions: u64) -> Line {
    line_of(name, instructions, 50)
}

fn line_of(name: &'static str, instructions: u64, allocations: u64) -> Line {
    Line {
        name,
        unit: "unit",
        units: 1,
        compared: Compared::new(name, &[profile(instructions, allocations)], &known()),
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
    let counts = [profile(150_000, 50), profile(90_000, 53), profile(100_500, 49)];
    let compared = Compared::new("path", &counts, &known());
    assert_eq!((compared.instructions, compared.spread), (100_500, 60_000));
    let allocated = compared.allocations;
    assert_eq!((allocated.allocations, allocated.spread), (50, 4));
    assert_eq!(allocated.verdict(), Verdict::Same);
    assert_eq!(compared.verdict(), Verdict::Same);
    assert!((compared.change().unwrap() - 0.5).abs() < 1e-9);
}

#[test]
fn a_new_baseline_keeps_the_tolerances_of_a_path() {
    let updated = known().updated(
        baseline::MadeWith::default(),
        [("wide", 200_000, 60), ("path", 5, 7), ("new", 1, 0)].into_iter(),
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
    let counted = ["wide", "path", "new", "narrow", "old"].map(|name| {
        let entry = read.paths[name];
        (entry.instructions, entry.allocations)
    });
    assert_eq!(
        counted,
        [
            (200_000, Some(60)),
            (5, Some(7)),
            (1, Some(0)),
            (100_000, Some(50)),
            (100_000, None)
        ]
    );
    assert_eq!(
        ["wide", "path"].map(|name| read.allocations_tolerance(name)),
        [2, 0]
    );
}

#[test]
fn one_allocation_more_or_less_fails_where_nothing_else_is_tolerated() {
    use Verdict::{Less, More, New, Same};
    for (name, allocations, verdict) in [
        ("path", 50, Same),
        ("path", 51, More),
        ("path", 49, Less),
        ("path", 0, Less),
        ("wide", 52, Same),
        ("wide", 48, Same),
        ("wide", 53, More),
        ("wide", 47, Less),
        ("old", 50, New),
    ] {
        let line = line_of(name, 100_000, allocations);
        assert_eq!(line.compared.verdict(), Same, "the instructions are the same");
        assert_eq!(
            line.compared.allocations.verdict(),
            verdict,
            "{name} {allocations}"
        );
        let code = if verdict == Same {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
        assert_eq!(report::verdict(&[line]), code, "{name} {allocations}");
    }
}

/// As callgrind 3.19 writes it, with what it may meet: names that are given once and then by their number, to callers
/// and called alike; another file or object before the called; versions of symbols; names with blanks and brackets;
/// calls made before the counted function was entered, of which none is left.
const PROFILE: &str = "\
# callgrind format
version: 1
creator: callgrind-3.19.0
part: 1
desc: Trigger: --dump-after=_ZN12instructions7counted17h308a04d9e815c03cE

positions: line
events: Ir
summary: 8556

ob=(3) /usr/lib/x86_64-linux-gnu/libc.so.6
fl=(153) ./csu/../csu/libc-start.c
fn=(848) __libc_start_main@@GLIBC_2.34
cfi=(157) ./csu/../sysdeps/nptl/libc_start_call_main.h
cfn=(886) (below main)
calls=0 29 
360 8556

fl=(175) ./malloc/./malloc/malloc.c
fn=(1212) _mid_memalign.constprop.0
3512 20
cfn=(932) malloc
calls=40 3294 
3529 400

fn=(1210) posix_memalign@@GLIBC_2.2.5
5203 11
cfn=(1212)
calls=41 3500 
+9 1200

fn=(1300) __libc_realloc
3400 9
cfn=(932)
calls=400 3294 
3410 90

ob=(7) /gateway/instructions
fl=(160) ???
fn=(1356) _ZN5tokio4spawn17h28a2ccfa5b206079E
0 900
cob=(3)
cfi=(175)
cfn=(1210)
calls=2 5195 
0 700
cob=(3)
cfi=(175)
cfn=(932)
calls=3 3294 
0 80

fn=(1360) <alloc::vec::Vec<T> as core::clone::Clone>::clone
0 40
cob=(3)
cfi=(175)
cfn=(1300)
calls=1000 3380 
0 10
cob=(3)
cfi=(175)
cfn=(1400) __GI___libc_malloc
calls=10000 3294 
0 10
cob=(3)
cfi=(175)
cfn=(1402) calloc'2
calls=100000 3294 
0 10
cfn=(1410) _ZN5alloc7raw_vec7realloc17h739856a18cf95997E
calls=7 0 
0 10
cfn=(1410)
calls=9 0 
0 10

totals: 8556
";

#[test]
fn calls_of_the_allocator_are_found_in_what_callgrind_writes() {
    let read = Profile::read(PROFILE).unwrap();
    assert_eq!(read.instructions, 8_556);
    // The 40 and 400 are the allocator's of itself, and a function of ours may have `realloc` in its name.
    let allocations = Allocations {
        malloc: 10_003,
        calloc: 100_000,
        realloc: 1_000,
        aligned: 2,
    };
    assert_eq!(read.allocations, allocations);
    assert_eq!(read.allocations.total(), 111_005);
}

#[test]
fn what_callgrind_does_not_write_is_an_error() {
    for (instead_of, by) in [
        ("totals: 8556", "totals: 0"),
        ("totals: 8556", ""),
        ("calls=2 5195", "calls=two 5195"),
        ("fn=(1356) _ZN5tokio4spawn17h28a2ccfa5b206079E", "fn=(1356)"),
    ] {
        assert_eq!(PROFILE.matches(instead_of).count(), 1, "{instead_of}");
        let text = PROFILE.replace(instead_of, by);
        assert!(Profile::read(&text).is_err(), "{instead_of} -> {by:?}");
    }
}

#[test]
fn an_allocation_per_member_breaks_the_promise() {
    let promise = |large: Option<u64>, small: Option<u64>| {
        promise::no_allocation_per_member(|name| match name {
            promise::LARGE => large,
            promise::SMALL => small,
            _ => None,
        })
    };
    assert_eq!(promise(Some(7), Some(7)), Ok(()));
    assert_eq!(promise(Some(7 + promise::MORE_MAX), Some(7)), Ok(()));
    assert!(promise(Some(7 + promise::MORE_MAX + 1), Some(7)).is_err());
    // One for each member, in both rooms.
    assert!(promise(Some(1_007), Some(17)).is_err());
    // A part of the paths was asked for.
    assert_eq!(promise(Some(1_007), None), Ok(()));
    assert_eq!(promise(None, None), Ok(()));
    // The names are those of paths with a baseline.
    let file = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/baseline.toml"));
    let known = Baseline::read(file).unwrap();
    for name in [promise::LARGE, promise::SMALL] {
        assert!(known.paths.contains_key(name), "{name}");
    }
}
