//! Scenarios whose connections come and go, shared among processes by whole rooms, and what all processes recorded: the
//! course by the second and the history.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::fake::{self, Fake};
use common::lively::{Fault, Lively};
use common::newcomer::Wrong;
use common::{LOSSY_DRAIN, ONE_BY_ONE, stage, target};
use countersign_loadtest::accounts::Session;
use countersign_loadtest::churn::{self, ChurnPlan, ChurnResult};
use countersign_loadtest::clock::{MILLI, SECOND};
use countersign_loadtest::counts::{self, CountsPlan, CountsResult};
use countersign_loadtest::engine::upgrade::Identity;
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::history::check::{Options, Rule, Verdict};
use countersign_loadtest::history::read;
use countersign_loadtest::host::server::Server;
use countersign_loadtest::output::files::Trace;
use countersign_loadtest::room::Stage;
use countersign_loadtest::series::Phase;
use countersign_loadtest::storm::{self, StormPlan, StormResult};
use countersign_loadtest::story::visits::VisitPlan;
use countersign_loadtest::workers::crew::Hands;
use countersign_loadtest::workers::history_part;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");
const MEMBERS: usize = 6;

fn hands(workers: usize) -> Hands<'static> {
    Hands::of(Path::new(PROGRAM), workers)
}

/// Runs on a fake with this fault; returns how often it was planted too.
fn on<T>(fault: Fault, drive: impl FnOnce(&Stage<'_>) -> T) -> (T, u64) {
    let lively = Lively::start(fault);
    let target = target(lively.addr);
    let session = |n| Session {
        user: format!("u{n}"),
        identity: Identity {
            device: None,
            token: Some(format!("u{n}")),
        },
        expires_in_ms: 900_000,
    };
    let sessions: Vec<Session> = (0..4).map(session).collect();
    let result = drive(&Stage {
        sessions: &sessions,
        server: Some(Server::Pid(std::process::id())),
        ..stage(&target, Dialect::Countersign)
    });
    (result, lively.planted())
}

fn visits() -> VisitPlan {
    VisitPlan {
        per_second: 80.0,
        stay: 40 * MILLI,
        dropped: 0.5,
    }
}

/// The course of all processes: what it adds up to, and that it has the server and each of these phases.
fn course(trace: &Trace, phases: &[Phase]) -> (u64, u64) {
    let course = trace.course.as_ref().unwrap();
    let entered: Vec<Phase> = course.phases.iter().map(|p| p.phase).collect();
    assert_eq!(entered, phases);
    assert!(course.rows.iter().all(|row| row.rss_bytes.is_some()));
    assert!(
        course
            .rows
            .iter()
            .enumerate()
            .all(|(i, row)| (row.at_s - i as f64).abs() < 1e-9)
    );
    let sum = |of: fn(&countersign_loadtest::series::Row) -> u64| course.rows.iter().map(of).sum();
    (sum(|row| row.sent), sum(|row| row.received))
}

// --- counts ---------------------------------------------------------------------------------------------

fn counts(fault: Fault, workers: usize) -> (CountsResult, u64) {
    let plan = CountsPlan {
        rooms: 3,
        per_room: MEMBERS,
        likers: MEMBERS,
        per_second: 60.0,
        n: 3,
        visits: (fault == Fault::None).then(visits),
        warmup: 50 * MILLI,
        window: 300 * MILLI,
        drain: if fault == Fault::None {
            20 * SECOND
        } else {
            LOSSY_DRAIN
        },
    };
    on(fault, |stage| match workers {
        1 => counts::run(&plan, stage).unwrap(),
        _ => counts::split::run(&plan, stage, hands(workers)).unwrap(),
    })
}

#[test]
fn several_processes_like_and_count_what_one_does() {
    let (one, _) = counts(Fault::None, 1);
    let (two, _) = counts(Fault::None, 2);
    let figures = |r: &CountsResult| {
        let visits = r.visits.clone().unwrap();
        let likes = (r.members, r.likes, r.accepted, r.acknowledged);
        (likes, r.latency.count, r.answer.count, visits.due, visits.joined)
    };
    assert_eq!(figures(&one), figures(&two));
    for r in [&one, &two] {
        assert_eq!(r.likes, r.accepted);
        assert_eq!(
            (r.likes_lost, r.likes_unexpected, r.unseen, r.stale_at_end),
            (0, 0, 0, 0)
        );
        assert_eq!((r.viewers_wrong, r.members_wrong, r.unanswered), (0, 0, 0));
        let phases = [Phase::Connecting, Phase::Warmup, Phase::Measured, Phase::Draining];
        assert_eq!(course(&r.trace, &phases), (r.likes, r.counts.pushes));
        assert!(r.rss_bytes.is_some() && r.pushes_per_member > 0.0);
    }
    assert!(one.workers.is_empty());
    // Two rooms and one of the three, and slots for those who visit them.
    let connections: Vec<usize> = two.workers.iter().map(|w| w.connections).collect();
    let slots = |share: f64| (80.0 * share * 5.04_f64).ceil();
    let expected = [12.0 + slots(2.0 / 3.0), 6.0 + slots(1.0 / 3.0)];
    assert!(
        connections
            .iter()
            .zip(expected)
            .all(|(n, e)| (*n as f64 - e).abs() < 1.5),
        "{connections:?}"
    );
}

#[test]
fn likes_lost_in_the_rooms_of_any_process_are_lost() {
    let (result, planted) = counts(Fault::LoseLike(5), 3);
    assert!(planted > 0);
    assert_eq!(result.likes_lost, 3 * planted);
    assert!(result.stale_at_end > 0 && result.stale_at_end.is_multiple_of(MEMBERS as u64));
    let course = result.trace.course.unwrap();
    assert_eq!(course.rows.last().unwrap().missing, 3 * planted);
}

// --- churn ----------------------------------------------------------------------------------------------

fn churn(fault: Fault, workers: usize) -> (ChurnResult, u64) {
    let clean = fault == Fault::None;
    let plan = ChurnPlan {
        rooms: 2,
        per_room: MEMBERS,
        publishers: 2,
        messages_per_second: 60.0,
        body_bytes: 128,
        visits: if clean {
            visits()
        } else {
            VisitPlan {
                per_second: 20.0,
                stay: 2 * SECOND,
                ..visits()
            }
        },
        anonymous_visitors: false,
        calm: 100 * MILLI,
        warmup: 50 * MILLI,
        window: 300 * MILLI,
        drain: if clean { 20 * SECOND } else { LOSSY_DRAIN },
        quiet: 20 * MILLI,
    };
    on(fault, |stage| {
        // A joins' number says who it is: one by one.
        let stage = Stage {
            pace: if clean { stage.pace } else { ONE_BY_ONE },
            ..*stage
        };
        match workers {
            1 => churn::run(&plan, &stage).unwrap(),
            _ => churn::split::run(&plan, &stage, hands(workers)).unwrap(),
        }
    })
}

#[test]
fn visitors_of_several_processes_are_those_of_one() {
    let (one, _) = churn(Fault::None, 1);
    let (two, _) = churn(Fault::None, 2);
    assert_eq!(
        (one.visits.due, one.latency.count),
        (two.visits.due, two.latency.count)
    );
    for r in [&one, &two] {
        let v = &r.visits;
        assert_eq!((v.joined, v.left + v.dropped), (v.due, v.due));
        assert_eq!(
            (r.loss.lost, r.visitor_faults, r.hanging, r.viewers_wrong),
            (0, 0, 0, 0)
        );
        assert_eq!(r.loss.expected, r.messages.accepted * MEMBERS as u64);
        assert_eq!(r.messages.delivered, r.loss.expected);
        assert!(r.calm_message.count > 0 && r.message.count > 0);
        assert!(r.leak_bytes.is_some() && r.cpu_us_per_arrival.is_some());
        let phases = [
            Phase::Connecting,
            Phase::Quiet,
            Phase::Reference,
            Phase::Warmup,
            Phase::Measured,
            Phase::Draining,
            Phase::Quiet,
        ];
        assert_eq!(course(&r.trace, &phases), (r.messages.sent, r.messages.delivered));
    }
    assert_eq!(two.workers.len(), 2);
}

#[test]
fn what_members_and_visitors_of_any_process_lack_is_lost() {
    let (result, planted) = churn(Fault::Newcomer(4, Wrong::Lost), 2);
    assert_eq!(result.visits.joined, result.visits.due);
    assert!(result.loss.lost > 0 && result.visitor_messages.lost > 0);
    assert_eq!(result.loss.lost + result.visitor_messages.lost, planted);
}

// --- storm ----------------------------------------------------------------------------------------------

fn storm(fault: Fault, workers: usize) -> (StormResult, u64) {
    let plan = StormPlan {
        rooms: 3,
        per_room: MEMBERS,
        publishers: 1,
        stayers: 1,
        messages_per_second: 50.0,
        body_bytes: 128,
        before: 200 * MILLI,
        away: 400 * MILLI,
        returns_per_second: 0.0,
        limit: if fault == Fault::None {
            30 * SECOND
        } else {
            LOSSY_DRAIN
        },
        after: 100 * MILLI,
        drain: if fault == Fault::None {
            20 * SECOND
        } else {
            LOSSY_DRAIN
        },
    };
    on(fault, |stage| {
        storm::split::run(&plan, stage, hands(workers)).unwrap()
    })
}

#[test]
fn all_of_all_processes_come_back() {
    let (r, _) = storm(Fault::None, 2);
    // Four of six in each of three rooms.
    assert_eq!((r.cut, r.stayed, r.current, r.recovered), (12, 6, 12, 12));
    assert_eq!((r.latency.count, r.rejoin.count), (12, 12));
    assert!(r.all_current_us.unwrap() >= 400_000.0, "they were away that long");
    assert!((r.all_current_us.unwrap() - r.latency.max_us).abs() < r.latency.max_us * 0.01);
    assert!(r.messages.replayed > 0 && r.loss.lost == 0 && r.viewers_wrong == 0);
    assert_eq!(r.messages.delivered, r.loss.expected);
    assert_eq!(r.loss.expected, r.messages.accepted * MEMBERS as u64);
    assert!(r.storm_message.count > 0 && r.before_message.count > 0);
    assert!(r.rss_peak_bytes.is_some() && r.cpu_us_per_return.is_some());
    assert_eq!((r.wire.ws_sessions, r.workers.len()), (18 + 12, 2));
    let phases = [
        Phase::Connecting,
        Phase::Reference,
        Phase::Measured,
        Phase::After,
        Phase::Draining,
    ];
    assert_eq!(course(&r.trace, &phases), (r.messages.sent, r.messages.delivered));
}

#[test]
fn what_a_recovery_leaves_out_in_any_process_is_lost() {
    let (r, planted) = storm(Fault::LoseAtResume, 3);
    assert!(planted > 0);
    assert_eq!((r.recovery_short, r.loss.lost), (planted, planted));
    assert_eq!((r.not_current, r.all_current_us), (planted, None));
}

// --- the program ----------------------------------------------------------------------------------------

fn program(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

/// `room` of four members on two workers, two of each room's in each.
fn room(fault: fake::Fault, rooms: &str, more: &[&str]) -> (Option<i32>, String) {
    let fake = Fake::start(fault);
    let target = format!("ws://{}", fake.addr);
    let mut args = vec!["room", "--workers", "2", "--target", &target, "--rooms", rooms];
    args.extend(["--members", "4", "--rate", "100", "--seconds", "0.3"]);
    // What is lost never comes, and is waited for so long.
    let drain = if fault == fake::Fault::None { "20" } else { "4" };
    args.extend(["--warmup", "0", "--drain", drain, "--users", "4"]);
    args.extend(more);
    program(&args)
}

#[test]
fn every_file_has_the_course_of_all_processes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, html) = (path("a.json"), path("a.csv"), path("a.html"));
    // Every seventh message does not reach the second who joined: it is missing in one process.
    let files = ["--json", &json, "--csv", &csv, "--html", &html];
    let (code, text) = room(fake::Fault::Lose(7), "1", &files);
    assert_eq!(code, Some(0), "{text}");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let document: Value = serde_json::from_str(&read(&json)).unwrap();
    let number = |name: &str| document["metrics"][name].as_f64().unwrap();
    let sum = |column: &str| -> f64 {
        let values = document["series"]["columns"][column].as_array().unwrap();
        values.iter().filter_map(Value::as_f64).sum()
    };
    assert!(number("lost") > 0.0);
    for (column, metric) in [("sent", "sent"), ("received", "delivered")] {
        assert!((sum(column) - number(metric)).abs() < 0.5, "{column}: {text}");
    }
    let last = |column: &str| {
        let values = document["series"]["columns"][column].as_array().unwrap();
        values.iter().filter_map(Value::as_f64).fold(0.0, f64::max)
    };
    assert!((last("missing") - number("lost")).abs() < 0.5);
    assert!((last("connections") - 4.0).abs() < 0.5);
    assert!(last("p99_ms") > 0.0 && last("max_ms") >= last("p99_ms"));
    let csv = read(&csv);
    let (head, rows) = csv.split_once('\n').unwrap();
    let column = head.split(',').position(|name| name == "received").unwrap();
    let received = rows.lines().map(|row| row.split(',').nth(column).unwrap());
    let received: f64 = received.map(|n| n.parse::<f64>().unwrap()).sum();
    assert!((received - number("delivered")).abs() < 0.5, "{csv}");
    assert!(read(&html).contains("<svg"));
}

/// A history of two workers on a fake with this fault.
fn history(fault: fake::Fault) -> (Verdict, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    let (code, text) = room(fault, "2", &["--history", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!path.exists() && text.contains("h.jsonl.0 to "), "{text}");
    let parts: Vec<PathBuf> = (0..2).map(|index| history_part(&path, index)).collect();
    let verdict = read::files(&parts, Options::default()).unwrap();
    // By the command as well.
    let mut args = vec!["check"];
    args.extend(parts.iter().map(|part| part.to_str().unwrap()));
    let (code, told) = program(&args);
    assert_eq!(code, Some(i32::from(!verdict.passed)), "{told}");
    (verdict, text)
}

#[test]
fn histories_of_all_processes_are_one() {
    let (verdict, _) = history(fake::Fault::None);
    let told = verdict.text().join("\n");
    assert!(verdict.passed && verdict.notes.is_empty(), "{told}");
    // Members of each room are in both files: what one sent, all of both got.
    assert_eq!(
        (verdict.summary.quiet_points, verdict.summary.connections),
        (2, 8)
    );
    assert_eq!(verdict.summary.deliveries, 2 * 4 * 30, "{told}");
}

#[test]
fn what_one_process_lacks_is_found_in_the_histories_of_all() {
    // Who sends is in the first process; who lacks something is the second who joined, in either.
    let (verdict, text) = history(fake::Fault::Lose(7));
    let told = verdict.text().join("\n");
    assert!(verdict.violated().contains(&Rule::R6), "{told}\n{text}");
    // At the end it has no later message that would show a hole: only what all were to have by then does.
    let (verdict, _) = history(fake::Fault::Mute(20));
    assert_eq!(verdict.violated(), [Rule::R6], "{}", verdict.text().join("\n"));
}

#[test]
fn what_is_shared_by_rooms_needs_a_room_for_each() {
    for scenario in ["counts", "churn", "storm"] {
        let (code, text) = program(&[scenario, "--rooms", "2", "--workers", "3"]);
        assert_eq!(code, Some(2), "{scenario}: {text}");
        assert!(
            text.contains("whole rooms") && text.contains("there are 2"),
            "{text}"
        );
    }
}

#[test]
fn a_part_of_another_history_is_not_taken_for_one_of_this() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h");
    std::fs::write(history_part(&path, 2), "").unwrap();
    let (code, text) = room(fake::Fault::None, "1", &["--history", path.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("h.2") && text.contains("another run"), "{text}");
    assert!(!history_part(&path, 0).exists());
}
