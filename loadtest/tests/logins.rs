//! The scenario `qr` on a gateway in miniature: what it does wrong is reported by the metric for it, and a clean one is
//! not accused.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use common::desk::{Desk, Fault};
use common::{stage, target};
use countersign_loadtest::accounts::Session;
use countersign_loadtest::clock::{MILLI, SECOND};
use countersign_loadtest::engine::upgrade::Identity;
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::history::check::{Options, Rule, Verdict};
use countersign_loadtest::history::read;
use countersign_loadtest::history::tap::Tap;
use countersign_loadtest::qr::{self, QrPlan, QrResult};
use countersign_loadtest::room::Stage;

const PCS: usize = 20;

/// Drives a gateway with this fault: figures, how often it was planted, and what the history says.
fn drive(fault: Fault) -> (QrResult, u64, Verdict) {
    let desk = Desk::start(fault);
    let target = target(desk.addr);
    let sessions: Vec<Session> = (0..PCS)
        .map(|n| Session {
            user: format!("u{n}"),
            identity: Identity {
                device: Some(format!("d{n}")),
                token: Some(format!("u{n}")),
            },
            expires_in_ms: 900_000,
        })
        .collect();
    let plan = QrPlan {
        pcs: PCS,
        per_second: 50.0,
        echo_sockets: 1,
        echoes_per_second: 20.0,
        warmup: 0,
        window: 600 * MILLI,
        drain: 60 * SECOND,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let tap = Tap::create(&path).unwrap();
    let stage = Stage {
        sessions: &sessions,
        until: countersign_loadtest::clock::now() + 100 * SECOND,
        ..stage(&target, Dialect::Countersign)
    };
    // What a gateway loses is waited for in vain; everything else comes.
    let lost = || match fault {
        Fault::Lose(_) => desk.planted(),
        _ => 0,
    };
    let result = qr::run_until(&plan, &stage, Some(Box::new(tap)), |unfinished| {
        unfinished == lost()
    })
    .unwrap();
    let verdict = read::files(&[path], Options::default()).unwrap();
    (result, desk.planted(), verdict)
}

/// The counts that are 0 in a clean run.
fn accused(result: &QrResult) -> Vec<String> {
    let metrics = result.metrics();
    [
        "failed",
        "unfinished",
        "stray",
        "out_of_order",
        "malformed",
        "wrong_user",
        "closed",
        "echoes_refused",
        "echoes_unanswered",
    ]
    .into_iter()
    .filter(|name| metrics.named(name).unwrap().value.unwrap() > 0.0)
    .map(str::to_owned)
    .collect()
}

#[test]
fn a_clean_gateway_is_not_accused() {
    let (result, _, verdict) = drive(Fault::None);
    assert_eq!(accused(&result), [""; 0]);
    let tally = &result.tally;
    assert!(
        tally.completed >= 10 && tally.completed + tally.no_slot == tally.due,
        "{tally:?}"
    );
    assert!(
        verdict.passed && verdict.notes.is_empty(),
        "{}",
        verdict.text().join("\n")
    );
    assert_eq!(verdict.summary.login_sessions, tally.completed);
    // Without a pid nobody knows what it costs.
    assert!(result.cpu_us_per_attempt.is_none() && result.push_over_echo_p99_us.is_some());
}

#[test]
fn pushes_that_come_late_are_measured_as_late() {
    let (result, _, verdict) = drive(Fault::Late(80));
    assert_eq!(accused(&result), [""; 0]);
    for late in [result.scanned, result.confirmed, result.push] {
        assert!(late.count > 0 && late.p50_us >= 79_000.0, "{late:?}");
    }
    assert!(verdict.passed, "{}", verdict.text().join("\n"));
}

#[test]
fn what_a_gateway_does_wrong_is_reported() {
    for (fault, metric) in [
        (Fault::Lose(5), "unfinished"),
        (Fault::Repeat(5), "out_of_order"),
        (Fault::Stray(5), "stray"),
        (Fault::Refuse(5), "failed"),
        (Fault::WrongUser(5), "wrong_user"),
    ] {
        let (result, planted, verdict) = drive(fault);
        assert_eq!(accused(&result), [metric], "{fault:?}");
        let found = result.metrics().named(metric).unwrap().value.unwrap();
        assert!(
            planted > 0 && (found - planted as f64).abs() < 0.5,
            "{fault:?}: {found} of {planted}"
        );
        // Of these, who is signed in as somebody else is what a history shows.
        let (wrong_users, rules) = match fault {
            Fault::WrongUser(_) => (planted, &[Rule::R1, Rule::R9][..]),
            _ => (0, &[][..]),
        };
        let in_history = verdict.violations.get(&Rule::R9).copied();
        assert!(
            in_history.unwrap_or_default() == wrong_users
                && verdict.violated().iter().all(|rule| rules.contains(rule)),
            "{fault:?}: {}",
            verdict.text().join("\n")
        );
    }
}

#[test]
fn a_ticket_that_a_phone_is_told_is_in_the_history() {
    let (result, planted, verdict) = drive(Fault::Leak(5));
    assert_eq!(accused(&result), [""; 0], "the PC is served all the same");
    assert_eq!(verdict.violated(), [Rule::R9], "{}", verdict.text().join("\n"));
    assert_eq!(verdict.violations[&Rule::R9], planted);
    assert!(
        verdict.reports[0].what.contains("ticket"),
        "{:?}",
        verdict.reports[0]
    );
}
