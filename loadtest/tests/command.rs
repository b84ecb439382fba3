//! The program as a whole: exit codes, documents, the floor as a child, pairs.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::fake::{Fake, Fault};
use countersign_loadtest::floor::FloorOptions;
use countersign_loadtest::floor::child::FloorChild;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");

fn floor() -> FloorChild {
    let options = FloorOptions {
        frame_bytes: 300,
        coalesce: false,
    };
    FloorChild::start(Path::new(PROGRAM), options, 60.0).unwrap()
}

fn call(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_writes_its_document_and_decides_its_assertions() {
    let floor = floor();
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("result.json");
    let (target, pid) = (format!("ws://{}", floor.authority), floor.pid().to_string());
    let run = |assertions: &[&str]| {
        let mut args = vec![
            "room",
            "--protocol",
            "floor",
            "--target",
            &target,
            "--pid",
            &pid,
            "--members",
            "20",
            "--rate",
            "100",
            "--seconds",
            "0.3",
            "--warmup",
            "0.1",
            "--profile",
            "bench",
            "--json",
        ];
        args.push(json.to_str().unwrap());
        for assertion in assertions {
            args.extend(["--assert", assertion]);
        }
        call(&args)
    };
    let output = run(&["lost==0", "delivered>100", "p99<30s"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{}", text(&output.stderr));
    assert_eq!(stdout.matches("\npass ").count(), 3, "{stdout}");
    assert!(stdout.contains("deliveries_per_second"));
    assert!(
        output.stderr.is_empty(),
        "no bars where there is no terminal: {}",
        text(&output.stderr)
    );
    let doc = document(&json);
    for key in ["tool", "machine", "method", "result", "metrics", "assertions"] {
        assert!(!doc[key].is_null(), "{key}");
    }
    assert_eq!(
        (
            &doc["scenario"],
            &doc["profile"],
            &doc["protocol"],
            &doc["passed"]
        ),
        (&"room".into(), &"bench".into(), &"floor".into(), &true.into())
    );
    assert_eq!(doc["result"]["expected"], doc["result"]["delivered"]);
    assert_eq!(doc["metrics"]["lost"], 0.0);
    assert!(doc["metrics"]["cpu_us_per_delivery"].is_number() && doc["metrics"]["rss"].is_number());
    assert!(doc["machine"]["kernel"].is_string());

    let output = run(&["lost==0", "delivered<1"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("pass lost==0") && stdout.contains("FAIL delivered<1"),
        "{stdout}"
    );
    assert_eq!(document(&json)["passed"], false);
}

#[test]
fn what_cannot_be_run_is_refused_before_it_begins() {
    for (args, why) in [
        (
            &["room", "--rate", "1", "--target", "ws://192.0.2.1:1"][..],
            "loopback",
        ),
        (&["room", "--rate", "1", "--assert", "p98<1ms"][..], "no metric"),
        (&["room", "--rate", "1", "--assert", "p99<1"][..], "unit"),
        (&["room"][..], "--rate"),
        (
            &["room", "--rate", "1", "--message-bytes", "10"][..],
            "--message-bytes",
        ),
        (
            &["idle", "--slope-from", "9", "--slope-to", "3"][..],
            "--slope-from",
        ),
        (&["floor", "--listen", "192.0.2.1:0"][..], "loopback"),
        (&["floor", "--frame-bytes", "10"][..], "floor frame"),
        (&["ratio", "--rate", "1", "--pin-server", "0"][..], "--pid"),
    ] {
        let output = call(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            text(&output.stderr).contains(why),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn more_connections_than_descriptors_are_refused() {
    // Whatever this machine allows: a limit of our own.
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\"", PROGRAM])
        .args(["room", "--rate", "1", "--members", "1000"])
        .output()
        .unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("need 1064 descriptors"), "{stderr}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let output = call(&[
        "room",
        "--protocol",
        "floor",
        "--target",
        "ws://127.0.0.1:1",
        "--rate",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("connection 0"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_probe_prints_what_a_send_costs() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("probe.json");
    let output = call(&[
        "floor",
        "--probe",
        "--frame-bytes",
        "300",
        "--json",
        json.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("one send of 300 bytes"));
    assert!(document(&json)["median_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn idle_signs_in_and_weighs() {
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("idle.json");
    let output = call(&[
        "idle",
        "--target",
        &format!("ws://{}", fake.addr),
        "--pid",
        &std::process::id().to_string(),
        "--connections",
        "40",
        "--slope-from",
        "20",
        "--active",
        "--message-bytes",
        "1024",
        "--quiet",
        "0",
        "--json",
        json.to_str().unwrap(),
        "--assert",
        "delivered==400",
        "--assert",
        "lost==0",
        "--assert",
        "closed==0",
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    // One user for sixteen connections.
    assert_eq!(fake.logins(), 3);
    let doc = document(&json);
    assert_eq!(doc["method"]["accounts"]["users"], 3);
    assert!(doc["metrics"]["bytes_per_connection"].is_number());
}

#[test]
fn idle_decides_about_loss_and_does_not_wait_for_its_deadline() {
    let fake = Fake::start(Fault::Lose(5));
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("idle.json");
    let output = call(&[
        "idle",
        "--target",
        &format!("ws://{}", fake.addr),
        "--connections",
        "20",
        "--active",
        "--drain",
        "2",
        "--quiet",
        "0",
        "--json",
        json.to_str().unwrap(),
        "--assert",
        "lost==0",
        "--assert",
        "duplicated==0",
        "--assert",
        "unanswered==0",
    ]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}{}", text(&output.stderr));
    // Offsets 96 to 105 in each of two rooms.
    assert!(printed.contains("FAIL lost==0 (found 4)"), "{printed}");
    assert!(printed.contains("pass duplicated==0"), "{printed}");
    let doc = document(&json);
    assert_eq!(doc["metrics"]["members_short"], 2.0);
    assert_eq!(doc["result"]["lost"], 4);
    assert_eq!(doc["method"]["drain"], 2_000_000_000_u64);
}

#[test]
fn pairs_of_product_and_floor_become_ratios() {
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("ratio.json");
    let output = call(&[
        "ratio",
        "--target",
        &format!("ws://{}", fake.addr),
        "--pid",
        &std::process::id().to_string(),
        "--members",
        "10",
        "--rate",
        "100",
        "--seconds",
        "0.2",
        "--warmup",
        "0.05",
        "--pairs",
        "2",
        "--json",
        json.to_str().unwrap(),
        "--assert",
        "lost==0",
        "--assert",
        "duplicated==0",
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let doc = document(&json);
    let pairs = doc["result"]["pairs"].as_array().unwrap();
    // A noisy machine may void some; then up to twice as many are tried.
    assert!((2..=4).contains(&pairs.len()));
    for pair in pairs {
        let figure = |side: &str| pair[side]["cpu_us_per_delivery"].as_f64().unwrap();
        let ratio = pair["cpu_ratio"].as_f64().unwrap();
        assert!((ratio - figure("product") / figure("floor")).abs() < 1e-6);
        assert_eq!(pair["floor"]["expected"], pair["floor"]["delivered"]);
    }
    // The floor's frames are as long as the product's were.
    assert!(doc["result"]["frame_bytes"].as_u64().unwrap() > 200);
    assert!(doc["result"]["send_cost"]["median_us"].is_number());
}
