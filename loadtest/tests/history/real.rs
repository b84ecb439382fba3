//! Histories recorded of real runs, against the miniature gateway and its faults, decided by the program.

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::fake::{Fake, Fault};
use common::{LOSSY_DRAIN, ONE_BY_ONE, plan, stage, target};
use countersign_loadtest::accounts::{self, AccountPlan};
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::history::check::{Options, Rule, Verdict};
use countersign_loadtest::history::read;
use countersign_loadtest::history::tap::Tap;
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::{self, Load, Records, Stage};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");

/// Drives a room of four on a gateway with this fault and records into `path`.
fn record(fault: Fault, path: &Path) {
    let fake = Fake::start(fault);
    let target = target(fake.addr);
    let stage = stage(&target, Dialect::Countersign);
    let accounts = AccountPlan {
        users: 3,
        at_once: 2,
        until: stage.until,
    };
    let (sessions, _) =
        accounts::make(&target, stage.sources, stage.run, &accounts, &Progress::hidden()).unwrap();
    let mut plan = plan(1, 4, Load::Paced { per_second: 200.0 });
    plan.drain = LOSSY_DRAIN;
    let stage = Stage {
        sessions: &sessions,
        pace: ONE_BY_ONE,
        ..stage
    };
    let tap = Tap::create(path).unwrap();
    let records = Records {
        tap: Some(Box::new(tap)),
        series: None,
    };
    room::recorded(&plan, &stage, records).unwrap();
}

fn decide(fault: Fault) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    record(fault, &path);
    read::files(&[path], Options::default()).unwrap()
}

#[test]
fn a_clean_run_is_not_accused() {
    for fault in [Fault::None, Fault::Limit(3), Fault::Shed(9)] {
        let verdict = decide(fault);
        assert!(verdict.passed, "{fault:?}: {}", verdict.text().join("\n"));
        assert!(verdict.notes.is_empty(), "{:?}", verdict.notes);
        let s = &verdict.summary;
        assert!(
            s.sends > 50 && s.acknowledged > 30 && s.deliveries > 3 * s.acknowledged,
            "{s:?}"
        );
        assert_eq!((s.connections, s.stays, s.quiet_points), (4, 4, 1));
        assert_eq!(s.gaps > 0, fault == Fault::Shed(9));
    }
}

#[test]
fn faults_of_a_gateway_are_reported_by_their_rules() {
    for (fault, rules) in [
        (Fault::Lose(7), &[Rule::R5, Rule::R6][..]),
        // Acknowledged, and nobody has it.
        (Fault::LoseAll(7), &[Rule::R5, Rule::R6]),
        (Fault::Repeat(5), &[Rule::R4]),
        (Fault::Swap(6), &[Rule::R3]),
        (Fault::Forge(4), &[Rule::R1, Rule::R2]),
        (Fault::Alter(4), &[Rule::R1, Rule::R2]),
        (Fault::Disagree(4), &[Rule::R1, Rule::R2]),
        (Fault::Twice(10), &[Rule::R4]),
    ] {
        let verdict = decide(fault);
        let violated = verdict.violated();
        assert!(
            rules.iter().all(|rule| violated.contains(rule)),
            "{fault:?} violates {violated:?}: {}",
            verdict.text().join("\n")
        );
    }
}

fn check(files: &[PathBuf], more: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("check").args(files).args(more);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_program_tells_clean_faulty_and_unreadable_apart() {
    let dir = tempfile::tempdir().unwrap();
    let [clean, faulty, json] = ["clean", "faulty", "json"].map(|name| dir.path().join(name));
    record(Fault::None, &clean);
    record(Fault::Repeat(5), &faulty);
    let output = check(std::slice::from_ref(&clean), &[]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{}", text(&output.stderr));
    assert_eq!(stdout.matches("\npass R").count(), Rule::ALL.len(), "{stdout}");

    let output = check(
        std::slice::from_ref(&faulty),
        &["--reports", "2", "--json", json.to_str().unwrap()],
    );
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains("FAIL R4") && stdout.contains("a second time"),
        "{stdout}"
    );
    let doc: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(
        (&doc["passed"], doc["reports"].as_array().unwrap().len()),
        (&false.into(), 2)
    );
    assert!(doc["violations"]["R4"].as_u64().unwrap() > 2 && doc["violations"]["R1"] == 0);
    let line = &doc["reports"][0]["lines"][0];
    let history = std::fs::read_to_string(&faulty).unwrap();
    let number = usize::try_from(line["line"].as_u64().unwrap()).unwrap();
    let shown = history.lines().nth(number - 1).unwrap();
    assert!(shown.starts_with(r#"{"e":"message""#), "{shown}");

    // Two files of one clock are one history: the same connections once more are others.
    let output = check(&[clean.clone(), faulty], &[]);
    assert_eq!(output.status.code(), Some(1));

    let whole = std::fs::read_to_string(&clean).unwrap();
    let head = whole.lines().next().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let connect = r#"{"e":"connect","at":1,"conn":1}"#;
    for (name, content, why) in [
        ("empty", String::new(), "first line"),
        ("headless", format!("{connect}\n"), "first line"),
        ("garbage", format!("{head}\nno json\n"), "garbage:2"),
        (
            "future",
            head.replace(r#""version":1"#, r#""version":2"#) + "\n",
            "version 2",
        ),
        ("long", format!("{head}\n{}\n", "x".repeat(300_000)), "longer"),
        (
            "lossy",
            format!("{head}\n{{\"e\":\"lost\",\"at\":1,\"lines\":3}}\n"),
            "could not write 3",
        ),
        (
            "stranger",
            format!("{head}\n{{\"e\":\"close\",\"at\":1,\"conn\":7}}\n"),
            "connection 7",
        ),
        ("again", format!("{head}\n{connect}\n{connect}\n"), "used once"),
        ("twice", format!("{head}\n{head}\n"), "second head"),
    ] {
        let output = check(&[write(name, &content)], &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output.stdout));
        assert!(stderr.contains(why), "{name}: {stderr}");
    }
    let other_clock = write("other", &format!("{}\n", head.replace("monotonic", "elsewhere")));
    let output = check(&[clean, other_clock], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("clock"));
    assert_eq!(check(&[dir.path().join("missing")], &[]).status.code(), Some(2));
}

#[test]
fn what_is_not_judged_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history");
    let lines = [
        r#"{"e":"history","at":0,"version":1,"clock":"c","digest":"d"}"#,
        r#"{"e":"connect","at":1,"conn":1,"user":"ann"}"#,
        r#"{"e":"invoke","at":2,"conn":1,"id":1,"op":"join","room":"chat:a"}"#,
        r#"{"e":"ok","at":3,"conn":1,"id":1,"epoch":"e","offset":4,"future":[1]}"#,
        r#"{"e":"invoke","at":4,"conn":1,"id":2,"op":"orbit"}"#,
        r#"{"e":"ok","at":5,"conn":1,"id":2}"#,
        r#"{"e":"message","at":6,"conn":1,"room":"chat:a","offset":5,"source":"server","body":"b"}"#,
        r#"{"e":"planet","at":7}"#,
        r#"{"e":"other","at":8,"conn":1,"what":"presence"}"#,
        r#"{"e":"fault","at":9,"what":"a broken line"}"#,
        r#"{"e":"mess"#,
    ];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let verdict = read::files(&[path], Options::default()).unwrap();
    assert!(verdict.passed, "{}", verdict.text().join("\n"));
    let kinds: Vec<&str> = verdict.not_checked.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "command orbit",
            "event planet",
            "frame presence",
            "message of the server API (origin, R1)"
        ]
    );
    assert_eq!(verdict.summary.faults, 1);
    assert_eq!(
        verdict.notes.len(),
        2,
        "a torn line and no quiet point: {:?}",
        verdict.notes
    );
}

#[test]
fn a_run_of_the_program_records_on_request() {
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let target = format!("ws://{}", fake.addr);
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["room", "--target", &target, "--members", "5", "--rate", "100"]);
        command.args(["--seconds", "0.2", "--warmup", "0.05", "--assert", "lost==0"]);
        command.args(["--history", path.to_str().unwrap()]).args(more);
        command.output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = check(std::slice::from_ref(&path), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&["--protocol", "floor"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
}
