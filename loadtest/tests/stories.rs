//! Scenarios whose connections come and go, on a gateway in miniature: what it does wrong is reported by the
//! metric for it, and a clean one is not accused.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::lively::{Fault, Lively};
use common::newcomer::Wrong;
use common::{stage, target};
use countersign_loadtest::accounts::Session;
use countersign_loadtest::churn::{self, ChurnPlan, ChurnResult};
use countersign_loadtest::clock::{MILLI, Nanos, SECOND};
use countersign_loadtest::counts::{self, CountsPlan, CountsResult};
use countersign_loadtest::engine::upgrade::Identity;
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::host::server::Server;
use countersign_loadtest::metric::Metrics;
use countersign_loadtest::room::Stage;
use countersign_loadtest::storm::{self, StormPlan, StormResult};
use countersign_loadtest::story::visits::VisitPlan;

const MEMBERS: usize = 6;
/// A run in which something is missing waits this long for it: long enough for everything else to come on a
/// machine that is busy with other things.
const NEVER_SETTLED: Nanos = 4 * SECOND;

fn sessions(users: usize) -> Vec<Session> {
    (0..users)
        .map(|n| Session {
            user: format!("u{n}"),
            identity: Identity {
                device: None,
                token: Some(format!("u{n}")),
            },
            expires_in_ms: 900_000,
        })
        .collect()
}

/// Runs on a fake with this fault; returns how often it was planted too.
fn on<T>(fault: Fault, drive: impl FnOnce(&Stage<'_>) -> T) -> (T, u64) {
    let lively = Lively::start(fault);
    let target = target(lively.addr);
    let sessions = sessions(4);
    let result = drive(&Stage {
        sessions: &sessions,
        server: Some(Server::Pid(std::process::id())),
        ..stage(&target, Dialect::Countersign)
    });
    (result, lively.planted())
}

fn value(metrics: &Metrics, name: &str) -> f64 {
    metrics.named(name).unwrap().value.unwrap()
}

/// Asserts that all these metrics are 0 but the ones `except` names.
fn zero(metrics: &Metrics, names: &[&str], except: &[&str]) {
    for name in names.iter().filter(|n| !except.contains(n)) {
        let found = value(metrics, name);
        assert!(found.abs() < 0.5, "{name} is {found}: {metrics:?}");
    }
}

fn visits() -> VisitPlan {
    VisitPlan {
        per_second: 80.0,
        stay: 40 * MILLI,
        dropped: 0.5,
    }
}

// --- counts ---------------------------------------------------------------------------------------------

const COUNTS_ZERO: &[&str] = &[
    "unsent",
    "refused",
    "unanswered",
    "likes_lost",
    "likes_unexpected",
    "stale_at_end",
    "unseen",
    "unnoted",
    "fell",
    "version_fell",
    "viewers_wrong",
    "members_wrong",
    "malformed",
    "closed",
    "visits_failed",
    "visits_no_slot",
    "connect_refused",
];

fn counts(fault: Fault, change: impl FnOnce(&mut CountsPlan)) -> (CountsResult, u64) {
    let mut plan = CountsPlan {
        rooms: 1,
        per_room: MEMBERS,
        likers: MEMBERS,
        per_second: 100.0,
        n: 3,
        visits: None,
        warmup: 50 * MILLI,
        window: 300 * MILLI,
        drain: if fault == Fault::None {
            20 * SECOND
        } else {
            NEVER_SETTLED
        },
    };
    change(&mut plan);
    on(fault, |stage| counts::run(&plan, stage).unwrap())
}

#[test]
fn true_counts_are_not_accused() {
    let (result, _) = counts(Fault::None, |plan| {
        plan.rooms = 3;
        plan.visits = Some(visits());
    });
    let metrics = result.metrics();
    zero(&metrics, COUNTS_ZERO, &[]);
    assert!(result.accepted >= 30 && result.acknowledged == 3 * result.accepted);
    assert!(value(&metrics, "visits") > 10.0);
    // Each like of the measured span reaches each member of its room.
    let measured = result.latency.count;
    assert_eq!(measured, result.answer.count * MEMBERS as u64);
    assert!(measured > 0 && result.after_answer.count == measured);
    assert!(result.pushes_per_member > 0.0 && result.counts_wire_bytes > 80.0);
    assert!(result.rss_bytes.is_some() && result.cpu_us_per_push.is_some());
}

#[test]
fn a_like_that_is_acknowledged_and_not_counted_is_lost() {
    let (result, planted) = counts(Fault::LoseLike(5), |_| ());
    assert!(planted > 0);
    assert_eq!(result.likes_lost, 3 * planted);
    assert_eq!(result.stale_at_end, MEMBERS as u64);
    zero(
        &result.metrics(),
        COUNTS_ZERO,
        &["likes_lost", "stale_at_end", "unseen"],
    );
}

#[test]
fn a_like_that_counts_twice_is_unexpected() {
    let (result, planted) = counts(Fault::LikeTwice(5), |_| ());
    assert!(planted > 0);
    assert_eq!(result.likes_unexpected, planted);
    zero(
        &result.metrics(),
        COUNTS_ZERO,
        &["likes_unexpected", "stale_at_end"],
    );
}

#[test]
fn a_counter_that_falls_is_seen() {
    let (result, planted) = counts(Fault::Fall(4), |_| ());
    assert!(planted > 0);
    assert_eq!(result.counts.fell, planted);
    zero(&result.metrics(), COUNTS_ZERO, &["fell"]);
}

#[test]
fn a_member_that_is_told_nothing_is_stale() {
    let (result, _) = counts(Fault::Deaf, |_| ());
    assert_eq!(result.stale_at_end, 1);
    assert_eq!(result.unseen, result.answer.count);
    zero(
        &result.metrics(),
        COUNTS_ZERO,
        // Others joined after it; that, too, it was not told.
        &["stale_at_end", "unseen", "viewers_wrong", "members_wrong"],
    );
}

#[test]
fn a_viewer_that_stays_counted_is_seen() {
    let (result, planted) = counts(Fault::LeakViewer(4), |plan| plan.visits = Some(visits()));
    assert!(planted > 0);
    assert_eq!(result.viewers_wrong, MEMBERS as u64);
    zero(&result.metrics(), COUNTS_ZERO, &["viewers_wrong"]);
}

// --- churn ----------------------------------------------------------------------------------------------

const CHURN_ZERO: &[&str] = &[
    "arrivals_failed",
    "arrivals_no_slot",
    "connect_refused",
    "visits_ended",
    "hanging",
    "unsent",
    "refused",
    "unanswered",
    "told",
    "lost",
    "members_short",
    "unexpected",
    "duplicated",
    "out_of_order",
    "gaps",
    "disagreed",
    "foreign",
    "malformed",
    "visitor_told",
    "visitor_lost",
    "visitor_duplicated",
    "visitor_out_of_order",
    "visitor_faults",
    "early",
    "closed",
    "version_fell",
    "viewers_wrong",
    "members_wrong",
];

fn churn(fault: Fault, change: impl FnOnce(&mut ChurnPlan)) -> (ChurnResult, u64) {
    let mut plan = ChurnPlan {
        rooms: 1,
        per_room: MEMBERS,
        publishers: 2,
        messages_per_second: 60.0,
        body_bytes: 128,
        visits: visits(),
        anonymous_visitors: false,
        calm: 100 * MILLI,
        warmup: 50 * MILLI,
        window: 300 * MILLI,
        drain: if fault == Fault::None {
            20 * SECOND
        } else {
            NEVER_SETTLED
        },
        quiet: 20 * MILLI,
    };
    change(&mut plan);
    on(fault, |stage| churn::run(&plan, stage).unwrap())
}

#[test]
fn coming_and_going_is_accounted_for() {
    for anonymous in [false, true] {
        let (result, _) = churn(Fault::None, |plan| {
            plan.rooms = 2;
            plan.anonymous_visitors = anonymous;
        });
        zero(&result.metrics(), CHURN_ZERO, &[]);
        let visits = &result.visits;
        assert!(visits.due >= 28, "{visits:?}");
        assert_eq!(
            (visits.joined, visits.left + visits.dropped),
            (visits.due, visits.due)
        );
        assert!(
            visits.left.abs_diff(visits.dropped) <= 1,
            "half of them by a dropped socket"
        );
        // Those meant within the measured span, which has 24 of them.
        assert_eq!(result.latency.count, 24);
        assert_eq!(result.loss.expected, result.messages.accepted * MEMBERS as u64);
        assert_eq!(result.messages.delivered, result.loss.expected);
        assert!(result.visitor_messages.delivered > 0);
        assert!(result.message.count > 0 && result.calm_message.count > 0);
        assert!(result.leak_bytes.is_some() && result.leak_steady_bytes.is_some());
        assert!(result.cpu_us_per_arrival.is_some() && result.cpu_us_per_arrival_net.is_some());
    }
}

#[test]
fn a_viewer_that_is_never_let_go_is_seen() {
    let (result, planted) = churn(Fault::LeakViewer(7), |_| ());
    assert!(planted > 0);
    assert_eq!(result.viewers_wrong, MEMBERS as u64);
    zero(&result.metrics(), CHURN_ZERO, &["viewers_wrong"]);
}

#[test]
fn refused_arrivals_are_told_by_reason() {
    let (result, planted) = churn(Fault::Ban(9), |_| ());
    assert!(planted > 0);
    assert_eq!(result.visits.failed.get("join not_allowed"), Some(&planted));
    assert_eq!(result.visits.joined + planted, result.visits.due);
    zero(&result.metrics(), CHURN_ZERO, &["arrivals_failed"]);
    let (result, planted) = churn(Fault::Busy(9), |_| ());
    assert!(planted > 0);
    assert_eq!(result.connect_refused.get("upgrade 503"), Some(&planted));
    assert_eq!(result.visits.joined, result.visits.due);
    zero(&result.metrics(), CHURN_ZERO, &["connect_refused"]);
}

/// A run in which every fourth who joins, the fourth member and visitors, has its first three messages done wrong.
/// Stays are far longer than three messages take.
fn newcomers(wrong: Wrong) -> (ChurnResult, u64) {
    let (result, planted) = churn(Fault::Newcomer(4, wrong), |plan| {
        plan.visits = VisitPlan {
            per_second: 20.0,
            stay: 2 * SECOND,
            dropped: 0.5,
        };
    });
    assert_eq!(result.visits.joined, result.visits.due, "nobody joined twice");
    (result, planted)
}

#[test]
fn each_message_a_visitor_does_not_get_is_lost() {
    let (result, planted) = newcomers(Wrong::Lost);
    // Three of the member that stays, the others of visitors.
    assert_eq!((result.loss.lost, result.messages.gaps), (3, 1));
    assert!(planted > 3);
    assert_eq!(result.visitor_messages.lost, planted - 3);
    assert_eq!(result.visitor_faults, planted - 3);
    assert_eq!(result.visitor_messages.told, 0);
    zero(
        &result.metrics(),
        CHURN_ZERO,
        &["lost", "members_short", "gaps", "visitor_lost", "visitor_faults"],
    );
}

#[test]
fn what_a_visitor_is_told_by_gap_is_no_loss() {
    let (result, planted) = newcomers(Wrong::Told);
    assert!(planted > 3);
    assert_eq!(
        (result.messages.told, result.visitor_messages.told),
        (3, planted - 3)
    );
    zero(&result.metrics(), CHURN_ZERO, &["told", "visitor_told"]);
}

#[test]
fn what_a_visitor_gets_again_or_late_is_counted_as_that() {
    let (result, planted) = newcomers(Wrong::Repeated);
    assert!(planted > 3);
    assert_eq!(
        (result.messages.duplicated, result.visitor_messages.duplicated),
        (3, planted - 3)
    );
    zero(
        &result.metrics(),
        CHURN_ZERO,
        &["duplicated", "visitor_duplicated", "visitor_faults"],
    );
    let (result, planted) = newcomers(Wrong::Late);
    assert!(planted > 1);
    assert_eq!(
        (result.messages.out_of_order, result.visitor_messages.out_of_order),
        (1, planted - 1)
    );
    zero(
        &result.metrics(),
        CHURN_ZERO,
        &["out_of_order", "gaps", "visitor_out_of_order", "visitor_faults"],
    );
}

#[test]
fn the_last_message_before_a_visitor_leaves_is_missed() {
    // Who joins first after the members; nothing comes after that would show the message skipped.
    let (result, planted) = churn(Fault::LoseLast(MEMBERS as u64 + 1), |plan| {
        plan.visits.stay = 2 * SECOND;
    });
    assert_eq!(planted, 1);
    assert!(result.messages.refused.contains_key("muted"));
    assert_eq!(
        (
            result.visitor_messages.lost,
            result.visitor_faults,
            result.loss.lost
        ),
        (1, 1, 0)
    );
    zero(
        &result.metrics(),
        CHURN_ZERO,
        &["refused", "visitor_lost", "visitor_faults"],
    );
}

// --- storm ----------------------------------------------------------------------------------------------

const STORM_ZERO: &[&str] = &[
    "not_current",
    "given_up",
    "recovered_false",
    "recovery_short",
    "epoch_changed",
    "connect_refused",
    "storm_refused",
    "storm_waited",
    "storm_told_when",
    "storm_wait_max",
    "unsent",
    "refused",
    "unanswered",
    "told",
    "lost",
    "members_short",
    "unexpected",
    "duplicated",
    "out_of_order",
    "gaps",
    "unclear",
    "disagreed",
    "foreign",
    "malformed",
    "early",
    "stayed_closed",
    "ended_again",
    "version_fell",
    "viewers_wrong",
    "members_wrong",
];

fn storm(fault: Fault) -> (StormResult, u64) {
    storm_with(fault, |_| ())
}

fn storm_with(fault: Fault, change: impl FnOnce(&mut StormPlan)) -> (StormResult, u64) {
    let mut plan = StormPlan {
        rooms: 2,
        per_room: MEMBERS,
        publishers: 1,
        stayers: 1,
        messages_per_second: 50.0,
        body_bytes: 128,
        before: 200 * MILLI,
        away: 400 * MILLI,
        returns_per_second: 0.0,
        limit: match fault {
            // Those who lack something are never current.
            Fault::LoseAtResume | Fault::Mute => NEVER_SETTLED,
            _ => 30 * SECOND,
        },
        after: 100 * MILLI,
        drain: if fault == Fault::None {
            20 * SECOND
        } else {
            NEVER_SETTLED
        },
    };
    change(&mut plan);
    on(fault, |stage| storm::run(&plan, stage).unwrap())
}

/// Connections that are made before the cut.
const ALL: u64 = 2 * MEMBERS as u64;
/// Connections that are cut: four of six in each of two rooms.
const CUT: u64 = 8;

#[test]
fn all_come_back_and_nothing_is_missing() {
    let (result, _) = storm(Fault::None);
    let metrics = result.metrics();
    zero(&metrics, STORM_ZERO, &[]);
    assert_eq!(
        (result.cut, result.stayed, result.current, result.recovered),
        (CUT, 4, CUT, CUT)
    );
    assert_eq!((result.latency.count, result.rejoin.count), (CUT, CUT));
    assert!(
        value(&metrics, "all_current") >= 400_000.0,
        "they were away that long"
    );
    assert!(result.messages.replayed > 0);
    assert_eq!(result.messages.delivered, result.loss.expected);
    assert_eq!(result.loss.expected, result.messages.accepted * MEMBERS as u64);
    assert!(result.storm_message.count > 0 && result.before_message.count > 0);
    assert!(result.rss_peak_bytes.is_some() && result.cpu_us_per_return.is_some());
}

#[test]
fn what_a_recovery_leaves_out_is_lost() {
    let (result, planted) = storm(Fault::LoseAtResume);
    assert!(planted > 0);
    assert_eq!((result.recovery_short, result.loss.lost), (planted, planted));
    assert_eq!((result.not_current, result.all_current_us), (planted, None));
    zero(
        &result.metrics(),
        STORM_ZERO,
        // The hole in what one member has is a gap at its next message.
        &["recovery_short", "lost", "members_short", "not_current", "gaps"],
    );
    let (result, planted) = storm(Fault::Mute);
    assert!(planted > 0);
    assert_eq!(result.loss.lost, planted);
}

#[test]
fn what_a_recovery_repeats_is_duplicated() {
    let (result, planted) = storm(Fault::RepeatAtResume);
    assert!(planted > 0);
    assert_eq!(result.messages.duplicated, planted);
    zero(&result.metrics(), STORM_ZERO, &["duplicated"]);
}

#[test]
fn a_break_that_is_told_is_no_loss() {
    let (result, planted) = storm(Fault::Trim(3));
    assert!(planted > 0 && result.recovered_false > 0);
    assert_eq!(result.messages.told, planted);
    assert_eq!(
        (result.current, result.recovered + result.recovered_false),
        (CUT, CUT)
    );
    zero(&result.metrics(), STORM_ZERO, &["recovered_false", "told"]);
}

#[test]
fn another_epoch_is_said() {
    let (result, planted) = storm(Fault::OtherEpoch);
    assert_eq!((planted, result.epoch_changed), (CUT, CUT));
}

#[test]
fn a_busy_server_is_come_back_to() {
    let (result, planted) = storm(Fault::Busy(4));
    assert!(planted > 0);
    let refused: u64 = result
        .storm_refused
        .values()
        .chain(result.connect_refused.values())
        .sum();
    assert_eq!(refused, planted);
    assert_eq!(result.current, CUT);
    zero(
        &result.metrics(),
        STORM_ZERO,
        &[
            "storm_refused",
            "storm_waited",
            "storm_told_when",
            "connect_refused",
        ],
    );
}

/// The metrics of [`STORM_ZERO`] that are not, when a server refused those who came back.
const OVERRUN: &[&str] = &[
    "storm_refused",
    "storm_waited",
    "storm_told_when",
    "storm_wait_max",
];

#[test]
fn who_is_refused_in_the_storm_waits_as_told_and_comes_again() {
    let (result, planted) = storm(Fault::Overrun(ALL, CUT, Some(1)));
    assert_eq!(planted, CUT);
    assert_eq!(result.storm_refused.get("upgrade 503"), Some(&CUT));
    assert_eq!((result.waits.told, result.waits.untold), (CUT, 0));
    assert_eq!(result.waits.longest_told, SECOND);
    assert!((1..=CUT).contains(&result.waits.arrivals));
    assert_eq!((result.current, result.recovered), (CUT, CUT));
    let all_current = result.all_current_us.unwrap();
    assert!(all_current >= 1_400_000.0, "away, then told to wait a second");
    assert_eq!(result.loss.expected, result.messages.delivered);
    zero(&result.metrics(), STORM_ZERO, OVERRUN);
}

#[test]
fn who_is_refused_without_a_time_waits_ever_longer() {
    // Four times each, as long as none overtakes another.
    let (result, planted) = storm(Fault::Overrun(ALL, 4 * CUT, None));
    assert_eq!(planted, 4 * CUT);
    assert_eq!(result.storm_refused.get("upgrade 503"), Some(&planted));
    assert_eq!((result.waits.told, result.waits.untold), (0, planted));
    assert_eq!(result.current, CUT);
    // Somebody was refused four times or more: 0.2, 0.4, 0.8 and 1.6 s.
    let all_current = result.all_current_us.unwrap();
    assert!(all_current >= 3_400_000.0, "{all_current} µs");
    zero(&result.metrics(), STORM_ZERO, OVERRUN);
}

#[test]
fn who_returns_is_paced_when_that_is_asked_for() {
    let (result, _) = storm_with(Fault::None, |plan| plan.returns_per_second = 4.0);
    zero(&result.metrics(), STORM_ZERO, &[]);
    assert_eq!(result.current, CUT);
    // The eighth begins seven quarters of a second after the first, less a tenth that may be made up for.
    let all_current = result.all_current_us.unwrap();
    assert!(all_current >= 400_000.0 + 1_650_000.0, "{all_current} µs");
}

#[test]
fn one_who_stayed_and_was_dropped_is_told() {
    let (result, planted) = storm(Fault::CutAnother);
    assert_eq!(planted, 1);
    assert_eq!(result.stayed_ended.values().sum::<u64>(), 1);
}

// --- the program ----------------------------------------------------------------------------------------

/// The files of a run say what its document says.
fn files_agree(name: &str, document: &serde_json::Value, file: impl Fn(&str) -> PathBuf) {
    let read = |kind: &str| std::fs::read_to_string(file(kind)).unwrap();
    let csv = read("csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let column = |name: &str| head.iter().position(|h| *h == name).unwrap();
    let sum = |name: &str| {
        let cells = rows.iter().map(|r| r[column(name)].parse::<f64>().unwrap());
        Some(cells.sum::<f64>())
    };
    // What is sent and received, and the percentiles' count.
    let (sent, received) = match name {
        "counts" => ("likes", "pushes"),
        _ => ("sent", "delivered"),
    };
    assert_eq!(sum("sent"), document["metrics"][sent].as_f64(), "{name}: {csv}");
    assert_eq!(
        sum("received"),
        document["metrics"][received].as_f64(),
        "{name}: {csv}"
    );
    assert_eq!(rows.last().unwrap()[column("missing")], "0", "{name}");
    let phases: Vec<&str> = document["series"]["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["phase"].as_str().unwrap())
        .collect();
    let expected: &[&str] = match name {
        "counts" => &["connecting", "warmup", "measured", "draining"],
        "churn" => &[
            "connecting",
            "quiet",
            "reference",
            "warmup",
            "measured",
            "draining",
            "quiet",
        ],
        _ => &["connecting", "reference", "measured", "after", "draining"],
    };
    assert_eq!(phases, expected, "{name}");
    let count = document["result"]["latency"]["count"].as_u64().unwrap();
    assert!(count > 0);
    assert_eq!(document["curves"][0]["percentiles"]["count"], count, "{name}");
    assert!(read("hgrm").contains(&format!("Total count    = {count:>12}]")));
    assert!(read("html").contains("<svg"));
    let sessions = &document["k6"]["ws_sessions"]["count"];
    assert_eq!(
        sessions.as_f64(),
        document["metrics"]["ws_sessions"].as_f64(),
        "{name}"
    );
    assert!(sessions.as_u64() >= Some(10), "{name}: {sessions}");
}

#[test]
fn each_is_a_subcommand_with_assertions_and_a_document() {
    let lively = Lively::start(Fault::None);
    let target = format!("ws://{}", lively.addr);
    let pid = std::process::id().to_string();
    let dir = tempfile::tempdir().unwrap();
    let counts: &[&str] = &[
        "--churn-rate",
        "50",
        "--churn-stay",
        "0.05",
        "--warmup",
        "0",
        "--assert",
        "fell==0",
    ];
    let churn: &[&str] = &[
        "--arrivals",
        "50",
        "--stay",
        "0.05",
        "--calm",
        "0.1",
        "--warmup",
        "0",
        "--quiet",
        "0",
        "--assert",
        "hanging==0",
    ];
    let storm: &[&str] = &["--before", "0.1", "--after", "0", "--assert", "not_current==0"];
    for (name, options) in [("counts", counts), ("churn", churn), ("storm", storm)] {
        let json = dir.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-loadtest"));
        command.args([
            name,
            "--target",
            &target,
            "--pid",
            &pid,
            "--rooms",
            "2",
            "--members",
            "5",
        ]);
        command
            .args(["--profile", "bench", "--assert", "viewers_wrong==0", "--json"])
            .arg(&json);
        let file = |kind: &str| dir.path().join(format!("{name}.{kind}"));
        for kind in ["csv", "hgrm", "html"] {
            command.arg(format!("--{kind}")).arg(file(kind));
        }
        if name != "storm" {
            command.args(["--seconds", "0.2"]);
        }
        let output = command.args(options).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let document: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert_eq!(
            (&document["scenario"], &document["passed"]),
            (&name.into(), &true.into())
        );
        assert!(document["metrics"]["p99"].is_number() && document["result"]["usage"].is_object());
        files_agree(name, &document, file);
    }
    for (args, why) in [
        (&["counts", "--n", "0"][..], "--n"),
        (&["churn", "--dropped", "2"][..], "--dropped"),
        (&["storm", "--members", "2", "--stay", "1"][..], "nobody is left"),
        (&["storm", "--protocol", "floor"][..], "--protocol countersign"),
        (&["churn", "--protocol", "nats"][..], "--protocol countersign"),
        (&["counts", "--protocol", "ws"][..], "--protocol countersign"),
        (&["counts", "--assert", "lost==0"][..], "no metric"),
        (
            &["churn", "--seconds", "99999", "--arrivals", "1"][..],
            "--seconds",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-loadtest"));
        let output = command.args(args).args(["--target", &target]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(why), "{args:?}: {text}");
    }
}
