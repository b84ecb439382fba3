//! More connections than one process may have descriptors.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::process::{Command, Output};

use common::fake::{Fake, Fault};
use countersign_loadtest::host::limits;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");

/// Runs the program as one that may have 256 descriptors, and so may each of its children.
fn limited(args: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\"", PROGRAM])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn processes_together_have_more_connections_than_each_has_descriptors() {
    // The miniature gateway is in this process, and has several descriptors for a connection.
    limits::raise().unwrap();
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("a.json");
    let target = format!("ws://{}", fake.addr);
    let mut args = vec!["room", "--target", &target, "--members", "300", "--rate", "20"];
    args.extend([
        "--seconds",
        "1",
        "--warmup",
        "0",
        "--users",
        "2",
        "--check",
        "--profile",
        "bench",
    ]);
    args.extend(["--drain", "120", "--json", json.to_str().unwrap()]);

    let output = limited(&args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("300 connections need 364 descriptors, this process may have 256")
            && stderr.contains("--workers"),
        "{stderr}"
    );
    assert!(
        !json.exists() && fake.logins() == 0,
        "refused before anything is done"
    );

    args.extend([
        "--workers",
        "2",
        "--assert",
        "lost==0",
        "--assert",
        "ws_sessions==300",
    ]);
    let output = limited(&args);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let document: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let result = &document["result"];
    let connections = |worker: &Value| worker["connections"].as_u64().unwrap();
    let workers: Vec<u64> = result["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(connections)
        .collect();
    assert_eq!(workers, [150, 150]);
    let metric = |name: &str| {
        let value = &document["metrics"][name];
        value.as_f64().unwrap_or_else(|| panic!("{name} is {value}"))
    };
    let sent = metric("sent");
    assert!(sent > 0.0 && metric("vus_max") > 299.0, "{text}");
    for (name, want) in [
        ("accepted", sent),
        ("expected", sent * 300.0),
        ("delivered", sent * 300.0),
        ("decoded", sent * 300.0),
        ("unsent", 0.0),
        ("unanswered", 0.0),
        ("lost", 0.0),
        ("told", 0.0),
        ("members_short", 0.0),
        ("duplicated", 0.0),
        ("out_of_order", 0.0),
        ("unexpected", 0.0),
        ("mismatched", 0.0),
        ("disagreed", 0.0),
    ] {
        assert!(
            (metric(name) - want).abs() < 0.5,
            "{name} is {}, not {want}",
            metric(name)
        );
    }
}

/// Three rooms of 110 are 220 and 110 for two processes: within bounds on average, and not for the first.
#[test]
fn the_largest_share_is_refused_before_anything_is_done() {
    let fake = Fake::start(Fault::None);
    let target = format!("ws://{}", fake.addr);
    for scenario in [
        &["storm", "--rooms", "3", "--members", "110"][..],
        &["counts", "--rooms", "3", "--members", "110"],
        &["idle", "--connections", "330", "--members-per-room", "110"],
    ] {
        let shared = ["--target", &target, "--profile", "bench", "--workers", "2"];
        let output = limited(&[scenario, &shared[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains("220 connections need 284 descriptors, this process may have 256"),
            "{scenario:?}: {stderr}"
        );
        assert_eq!(fake.logins(), 0, "{scenario:?}");
    }
}
