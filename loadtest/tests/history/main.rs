//! The checker is checked: valid histories are not accused, and each planted fault is reported by its rule.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod logins;
mod model;
mod plant;
mod plant_logins;
mod real;

use countersign_loadtest::history::check::{Checker, Options, Rule, Verdict};
use countersign_loadtest::history::line::Line;
use model::{Random, history};
use plant::FAULTS;
use proptest::prelude::*;

const STEPS: usize = 600;
/// For a history of more than twenty thousand deliveries.
const LONG: usize = 20_000;

fn decide(files: &[Vec<Line<'static>>]) -> Verdict {
    let mut checker = Checker::new(Options::default());
    for (f, lines) in files.iter().enumerate() {
        checker.file(&format!("{f}.jsonl"));
        for (i, line) in lines.iter().enumerate() {
            checker
                .line(i as u64 + 1, line)
                .unwrap_or_else(|why| panic!("{f}:{}: {why}: {line:?}", i + 1));
        }
        checker.end_of_file().unwrap();
    }
    checker.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn valid_histories_are_not_accused(seed in any::<u64>(), steps in 1_usize..1_500, files in 1_usize..3) {
        let verdict = decide(&history(seed, steps, files));
        prop_assert!(verdict.passed, "seed {seed}: {}", verdict.text().join("\n"));
        prop_assert!(verdict.notes.is_empty() && verdict.violations.len() == 10);
    }

    #[test]
    fn valid_logins_are_not_accused(seed in any::<u64>(), steps in 1_usize..400) {
        let verdict = decide(&[logins::logins(seed, steps)]);
        prop_assert!(verdict.passed, "seed {seed}: {}", verdict.text().join("\n"));
        prop_assert!(verdict.notes.is_empty() && verdict.not_checked.is_empty());
    }

    #[test]
    fn planted_faults_are_reported_by_their_rule(seed in any::<u64>(), fault in 0..FAULTS.len()) {
        let (name, rule, plant) = FAULTS[fault];
        let mut files = history(seed, STEPS, 1);
        if plant(&mut files, &mut Random::new(seed)) {
            let verdict = decide(&files);
            prop_assert!(
                verdict.violated().contains(&rule),
                "seed {seed}: {name} is no violation of {rule:?}: {}",
                verdict.text().join("\n")
            );
        }
    }
}

#[test]
fn every_fault_is_planted_and_reported_once_at_least() {
    for (name, rule, plant) in FAULTS {
        let mut planted = 0;
        for seed in 0..40 {
            let mut files = history(seed, STEPS, 1);
            if !plant(&mut files, &mut Random::new(seed)) {
                continue;
            }
            planted += 1;
            let verdict = decide(&files);
            assert!(
                verdict.violated().contains(&rule),
                "seed {seed}: {name} is no violation of {rule:?}: {}",
                verdict.text().join("\n")
            );
            let report = verdict.reports.iter().find(|r| r.rule == rule).unwrap();
            assert!(
                report.lines.iter().all(|l| l.line > 1 && l.file == "0.jsonl"),
                "{report:?}"
            );
        }
        assert!(planted > 0, "{name} found no place");
    }
}

/// A rate is a reason to wait, as long as there is an answer in the end.
#[test]
fn a_loser_who_comes_again_is_not_accused() {
    let mut altered = 0;
    for seed in 0..30 {
        let mut file = logins::logins(seed, 150);
        if plant_logins::came_again(&mut file, &mut Random::new(seed)) {
            altered += 1;
            let verdict = decide(&[file]);
            assert!(verdict.passed, "seed {seed}: {}", verdict.text().join("\n"));
        }
    }
    assert!(altered > 0);
}

/// Rarer than one in ten thousand, among all that is legal.
#[test]
fn a_single_loss_among_twenty_thousand_deliveries_is_reported() {
    for seed in 0..3 {
        let mut files = history(seed, LONG, 1);
        let clean = decide(&files);
        assert!(
            clean.passed && clean.notes.is_empty(),
            "seed {seed}: {}",
            clean.text().join("\n")
        );
        assert!(clean.summary.deliveries > 20_000, "{:?}", clean.summary);
        assert!(plant::drop_single(&mut files, &mut Random::new(seed)));
        let verdict = decide(&files);
        assert_eq!(
            (verdict.summary.deliveries, verdict.violations[&Rule::R5]),
            (clean.summary.deliveries - 1, 1),
            "seed {seed}: {}",
            verdict.text().join("\n")
        );
    }
}

#[test]
fn every_fault_of_a_login_is_reported() {
    let mut sums = [0; 2];
    for (name, plant) in plant_logins::FAULTS {
        let mut planted = 0;
        for seed in 0..30 {
            let mut file = logins::logins(seed, 150);
            let summary = decide(std::slice::from_ref(&file)).summary;
            sums[0] += summary.logins;
            sums[1] += summary.login_sessions;
            if !plant(&mut file, &mut Random::new(seed)) {
                continue;
            }
            planted += 1;
            let verdict = decide(&[file]);
            assert_eq!(
                verdict.violated(),
                [Rule::R9],
                "seed {seed}: {name}: {}",
                verdict.text().join("\n")
            );
            // A history that is altered in more than one place may be accused of another thing.
            let said = match name {
                "a session without a confirmation" => "had not been confirmed",
                "a session of another user" => "session of another user",
                "a loser refused with internal" => "without a reason that ends it",
                "a lost scan told to come again" => "never so for good",
                _ => continue,
            };
            let mut whats = verdict.reports.iter().map(|report| report.what.as_str());
            assert!(
                whats.all(|what| what.contains(said)),
                "{name}: {:?}",
                verdict.reports
            );
        }
        assert!(planted > 0, "{name} found no place");
    }
    assert!(sums.iter().all(|n| *n > 100), "{sums:?}");
}

#[test]
fn models_do_what_they_are_for() {
    let mut sums = [0; 6];
    for seed in 0..20 {
        let s = decide(&history(seed, STEPS, 2)).summary;
        for (sum, n) in sums.iter_mut().zip([
            s.recoveries,
            s.gaps,
            s.acknowledged,
            s.likes,
            s.deliveries,
            s.stays,
        ]) {
            *sum += n;
        }
    }
    assert!(sums.iter().all(|n| *n > 20), "{sums:?}");
}
