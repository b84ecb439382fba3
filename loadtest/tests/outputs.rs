//! The files a run leaves: they agree with each other and with the run, and `compare` reads them back.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::fake::{Fake, Fault};
use common::{FloorThread, LOSSY_DRAIN, plan, stage, target};
use countersign_loadtest::accounts::{self, AccountPlan};
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::{self, Load, Records, Stage};
use countersign_loadtest::series::{Phase, Series};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");

fn call(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Outputs {
    // Keeps the files while they are read.
    _dir: tempfile::TempDir,
    json: PathBuf,
    csv: String,
    hgrm: String,
    html: String,
}

impl Outputs {
    fn document(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.json).unwrap()).unwrap()
    }
}

/// A run against the floor that leaves everything.
fn run() -> Outputs {
    let floor = FloorThread::start(300, false);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, hgrm, html) = (path("a.json"), path("a.csv"), path("a.hgrm"), path("a.html"));
    let output = call(&[
        "room",
        "--protocol",
        "floor",
        "--target",
        &format!("ws://{}", floor.addr),
        "--pid",
        &std::process::id().to_string(),
        "--members",
        "10",
        "--rate",
        "100",
        "--seconds",
        "1.5",
        "--warmup",
        "0.2",
        "--json",
        &json,
        "--csv",
        &csv,
        "--hgrm",
        &hgrm,
        "--html",
        &html,
        "--assert",
        "ws_sessions==10",
        "--assert",
        "ws_connecting_p95<60s",
        "--assert",
        "vus_max==10",
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    Outputs {
        json: json.into(),
        csv: read(&csv),
        hgrm: read(&hgrm),
        html: read(&html),
        _dir: dir,
    }
}

#[test]
fn all_outputs_of_a_run_agree() {
    let outputs = run();
    let doc = outputs.document();
    let metric = |name: &str| doc["metrics"][name].as_f64().unwrap();

    // One row a second, adding up to the run.
    let mut lines = outputs.csv.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| head.iter().position(|h| *h == name).unwrap();
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    assert!(rows.len() >= 2 && rows.iter().all(|r| r.len() == head.len()));
    let sum = |name: &str| {
        rows.iter()
            .map(|r| r[column(name)].parse::<f64>().unwrap())
            .sum::<f64>()
    };
    assert!((sum("sent") - metric("sent")).abs() < 0.5);
    assert!((sum("received") - metric("delivered")).abs() < 0.5);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row[column("second")], i.to_string());
        assert_eq!(row[column("at_s")], i.to_string());
        assert!(row[column("rss_bytes")].parse::<u64>().unwrap() > 100_000);
    }
    assert!(outputs.csv.contains(",measured,"));
    assert_eq!(rows.last().unwrap()[column("missing")], "0");

    // The document has the same columns, and the curve of the histogram.
    let stored = doc["series"]["columns"]["received"].as_array().unwrap();
    assert_eq!(stored.len(), rows.len());
    let curve = &doc["curves"][0];
    assert_eq!(curve["name"], "delivery");
    let last = curve["points_ms"].as_array().unwrap().last().unwrap();
    assert!((last[1].as_f64().unwrap() * 1e3 - metric("max")).abs() < metric("max") * 0.002);
    let total = curve["percentiles"]["count"].as_u64().unwrap();
    assert!(
        outputs.hgrm.contains(&format!("Total count    = {total:>12}]")),
        "{}",
        outputs.hgrm
    );

    // k6's names, counted over all connections: 10 upgrades, and an answer to each message at least.
    let k6 = &doc["k6"];
    assert_eq!(k6["ws_sessions"]["count"], 10);
    assert_eq!(k6["ws_connecting"]["count"], 10);
    assert!(k6["ws_connecting"]["p(95)"].as_f64().unwrap() > 0.0);
    // All of them were held from before the warm-up until after the measured span, and no longer than the run.
    let session = |part: &str| k6["ws_session_duration"][part].as_f64().unwrap();
    let rows_ms = sum("seconds") * 1e3;
    assert!((session("count") - 10.0).abs() < 0.5);
    assert!(
        session("min") >= 1_700.0 && session("max") <= rows_ms + 100.0,
        "{k6}"
    );
    assert!((k6["ws_msgs_sent"]["count"].as_f64().unwrap() - metric("sent")).abs() < 0.5);
    let received = metric("delivered") + metric("sent");
    assert!((k6["ws_msgs_received"]["count"].as_f64().unwrap() - received).abs() < 0.5);
    // Every delivery is a frame of 300 bytes.
    assert!(k6["data_received"]["count"].as_f64().unwrap() > metric("delivered") * 300.0);

    // The report: charts, verdicts, and nothing from elsewhere.
    for part in [
        "Latency by percentile",
        "Latency over time",
        "Server memory",
        "ws_sessions==10",
        "pass",
    ] {
        assert!(outputs.html.contains(part), "{part}");
    }
    for outside in ["http://", "https://", " src=", " href=", "url("] {
        assert!(!outputs.html.contains(outside), "{outside}");
    }
}

#[test]
fn missing_messages_are_in_the_course_while_they_are_missed() {
    let fake = Fake::start(Fault::Lose(7));
    let target = target(fake.addr);
    let stage = stage(&target, Dialect::Countersign);
    let accounts = AccountPlan {
        users: 2,
        at_once: 2,
        until: stage.until,
    };
    let (sessions, _) =
        accounts::make(&target, stage.sources, stage.run, &accounts, &Progress::hidden()).unwrap();
    let stage = Stage {
        sessions: &sessions,
        ..stage
    };
    let mut plan = plan(1, 3, Load::Paced { per_second: 200.0 });
    plan.drain = LOSSY_DRAIN;
    let outcome = room::recorded(
        &plan,
        &stage,
        Records {
            series: Some(Series::new(None).unwrap()),
            tap: None,
        },
    )
    .unwrap();
    let course = outcome.course.unwrap();
    let received: u64 = course.rows.iter().map(|r| r.received).sum();
    assert_eq!(received, outcome.result.tally.delivered);
    assert!(outcome.result.lost > 0);
    assert_eq!(course.rows.last().unwrap().missing, outcome.result.lost);
    let phases: Vec<Phase> = course.phases.iter().map(|p| p.phase).collect();
    assert_eq!(
        phases,
        [Phase::Connecting, Phase::Warmup, Phase::Measured, Phase::Draining]
    );
}

/// The document at `path` with a change, as a file beside it.
fn changed(path: &Path, change: impl FnOnce(&mut Value)) -> String {
    let mut doc: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut doc);
    let other = path.with_file_name("b.json");
    std::fs::write(&other, doc.to_string()).unwrap();
    other.to_str().unwrap().to_owned()
}

#[test]
fn compare_reports_what_was_planted() {
    let outputs = run();
    let a = outputs.json.to_str().unwrap();

    let output = call(&[
        "compare",
        a,
        a,
        "--assert",
        "differences==0",
        "--assert",
        "delivered_ratio==1",
    ]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{}", text(&output.stderr));
    assert!(!stdout.contains("not taken the same way"), "{stdout}");

    let b = changed(&outputs.json, |doc| {
        doc["profile"] = "bench".into();
        doc["machine"]["kernel"] = "0.0.1".into();
        doc["tool"]["version"] = "99.0.0".into();
        doc["method"]["per_room"] = 11.into();
        doc["metrics"]["p99"] = (doc["metrics"]["p99"].as_f64().unwrap() * 2.0).into();
        doc["metrics"]["delivered"] = 0.into();
        doc["metrics"]["cpu_us_per_delivery"] = Value::Null;
        doc["warnings"] = serde_json::json!(["SATURATED: <planted>"]);
    });
    let html = outputs.json.with_file_name("compare.html");
    let compare = |assertion: &str| {
        call(&[
            "compare",
            a,
            &b,
            "--html",
            html.to_str().unwrap(),
            "--assert",
            assertion,
        ])
    };
    let output = compare("p99_ratio<1.1");
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("FAIL p99_ratio<1.1 (found 2.000)"), "{stdout}");
    for said in [
        "limits profile: default / bench",
        " / 0.0.1",
        " / 99.0.0",
        "method.per_room: 10 / 11",
        "b: SATURATED: <planted>",
    ] {
        assert!(stdout.contains(said), "{said}: {stdout}");
    }
    assert!(text(&output.stderr).contains("NOT COMPARABLE"));
    let page = std::fs::read_to_string(&html).unwrap();
    for said in [
        "NOT COMPARABLE",
        "b: SATURATED: &lt;planted&gt;",
        "a, delivery",
        "b, delivery",
        "99.0.0",
        "FAIL",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("<planted>"));

    for (assertion, code) in [
        ("p99_ratio<=2.001", 0),
        // One more when this machine was busy during the run.
        ("flagged>=1", 0),
        ("differences==4", 0),
        // Not measured in b: cannot pass.
        ("cpu_us_per_delivery_ratio<9", 1),
        ("delivered_difference<0", 0),
        // No such figure, and a time without a unit.
        ("p98_ratio<1", 2),
        ("p99_difference<1", 2),
    ] {
        let output = compare(assertion);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{assertion}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn compare_refuses_what_is_no_document_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    for (content, why) in [("{}", "no document"), ("not json", "no document")] {
        std::fs::write(&file, content).unwrap();
        let path = file.to_str().unwrap();
        let output = call(&["compare", path, path]);
        assert_eq!(output.status.code(), Some(2));
        let stderr = text(&output.stderr);
        assert!(stderr.contains(why) && stderr.contains("x.json"), "{stderr}");
    }
    let output = call(&["compare", "/dev/zero", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("larger than 16 MiB"));
}

#[test]
fn files_that_cannot_be_are_refused_before_the_run() {
    for (args, why) in [
        (
            &["room", "--rate", "1", "--html", "/no/folder/x.html"][..],
            "no file can be written",
        ),
        (&["idle", "--hgrm", "x.hgrm"][..], "no latency"),
        (&["ratio", "--rate", "1", "--csv", "x.csv"][..], "no course"),
    ] {
        let output = call(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(why), "{args:?}: {stderr}");
    }
}
