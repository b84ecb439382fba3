//! Two targets in pairs, as the program runs them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::fake::{Fake, Fault};
use common::relay::Relay;
use countersign_loadtest::fleet::Dialect;
use serde_json::Value;

fn versus(a: &str, b: &str, more: &[&str], json: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign-loadtest"))
        .args(["versus", "--a", a, "--b", b, "--members", "10", "--rate", "100"])
        .args(["--seconds", "0.2", "--warmup", "0.05", "--check"])
        .args(["--json", json.to_str().unwrap()])
        .args(more)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn passed(output: &Output) -> String {
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{}", text(&output.stderr));
    stdout
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn running(protocol: &str, addr: std::net::SocketAddr) -> String {
    format!("{protocol},ws://{addr},pid={}", std::process::id())
}

/// A processor this process may use.
fn processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    list.trim().split([',', '-']).next().unwrap().to_owned()
}

#[test]
fn started_servers_are_compared_each_on_its_processors_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("versus.json");
    let a = format!("floor,pin={}", processor());
    let more = [
        "--pairs",
        "2",
        "--assert",
        "a_lost==0",
        "--assert",
        "b_lost==0",
        "--frame-bytes",
        "280",
    ];
    passed(&versus(&a, "floor-coalesced,pin=none", &more, &json));
    let doc = document(&json);
    assert_eq!(doc["scenario"], "versus");
    let (a, b) = (&doc["method"]["a"], &doc["method"]["b"]);
    assert_eq!(
        (&a["protocol"], &b["protocol"]),
        (&"floor".into(), &"floor".into())
    );
    assert_eq!(a["processors"], 1);
    assert_eq!(doc["method"]["frame_bytes"], 280);
    let pairs = doc["result"]["pairs"].as_array().unwrap();
    // A noisy machine may void some; then up to twice as many are tried.
    assert!((2..=4).contains(&pairs.len()));
    for pair in pairs {
        let figure = |side: &str, name: &str| pair[side][name].as_f64().unwrap();
        let cpu = figure("a", "cpu_us_per_delivery") / figure("b", "cpu_us_per_delivery");
        assert!((pair["cpu_ratio"].as_f64().unwrap() - cpu).abs() < 1e-6);
        assert_eq!(pair["a"]["expected"], pair["a"]["delivered"]);
        assert!((figure("b", "message_wire_bytes") - 280.0).abs() < 1e-9);
    }
    for side in [a, b] {
        let process = format!("/proc/{}", side["pid"]);
        assert!(!Path::new(&process).exists(), "{process} is there still");
    }
}

#[test]
fn running_servers_of_two_dialects_are_compared() {
    let (gateway, nats) = (Fake::start(Fault::None), Relay::start(Dialect::Nats, Fault::None));
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("versus.json");
    let mut more = vec!["--pairs", "1"];
    for assertion in [
        "a_lost==0",
        "b_lost==0",
        "a_delivered>100",
        "b_delivered>100",
        "b_duplicated==0",
        "a_closed==0",
        "b_closed==0",
    ] {
        more.extend(["--assert", assertion]);
    }
    let hgrm = dir.path().join("versus.hgrm");
    more.extend(["--hgrm", hgrm.to_str().unwrap()]);
    let sides = (running("countersign", gateway.addr), running("nats", nats.addr));
    passed(&versus(&sides.0, &sides.1, &more, &json));
    let document = document(&json);
    // The curves are of the same histograms as the pooled figures, and both are beside each other on disk.
    for (i, side) in ["a", "b"].into_iter().enumerate() {
        let (curve, pooled) = (
            &document["curves"][i],
            &document["result"][format!("{side}_latency")],
        );
        assert_eq!((&curve["name"], &curve["percentiles"]), (&side.into(), pooled));
    }
    assert!(hgrm.is_file() && dir.path().join("versus-b.hgrm").is_file());
    let metrics = &document["metrics"];
    assert!(metrics["a_wire_bytes"].is_null() || metrics["a_wire_bytes"] != metrics["b_wire_bytes"]);
    assert_eq!(gateway.logins(), 1, "only a gateway is signed in to");
}

#[test]
fn sides_take_turns_in_running_first() {
    let (a, b) = (Fake::start(Fault::None), Fake::start(Fault::None));
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("versus.json");
    let sides = (running("countersign", a.addr), running("countersign", b.addr));
    passed(&versus(&sides.0, &sides.1, &["--pairs", "3"], &json));
    let doc = document(&json);
    let pairs = doc["result"]["pairs"].as_array().unwrap();
    let first: Vec<&str> = pairs.iter().map(|pair| pair["first"].as_str().unwrap()).collect();
    // A noisy machine may void some; then up to twice as many are tried.
    assert!((3..=6).contains(&first.len()));
    assert_eq!(first, ["a", "b", "a", "b", "a", "b"][..first.len()]);

    // As the servers saw it, each after a first run that is discarded: A B B A.
    let of = |side: &'static str, fake: &Fake| fake.begun().into_iter().skip(1).map(move |at| (at, side));
    let mut runs: Vec<_> = of("a", &a).chain(of("b", &b)).collect();
    runs.sort();
    let order: Vec<&str> = runs.iter().map(|(_, side)| *side).collect();
    let wanted: Vec<&str> = ["a", "b", "b", "a"]
        .into_iter()
        .cycle()
        .take(2 * first.len())
        .collect();
    assert_eq!(order, wanted);
}

#[test]
fn the_same_gateway_may_be_both_sides() {
    let gateway = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let side = running("countersign", gateway.addr);
    let more = ["--pairs", "1", "--assert", "a_lost==0", "--assert", "b_lost==0"];
    passed(&versus(&side, &side, &more, &dir.path().join("versus.json")));
}

#[test]
fn a_side_that_loses_is_told() {
    let lossy = Relay::start(Dialect::Ws, Fault::Lose(5));
    let dir = tempfile::tempdir().unwrap();
    let mut more = vec!["--pairs", "1", "--assert", "a_lost>0", "--assert", "b_lost==0"];
    // What is lost never comes.
    more.extend(["--drain", "2"]);
    let side = running("ws", lossy.addr);
    let stdout = passed(&versus(&side, "floor", &more, &dir.path().join("versus.json")));
    assert!(
        stdout.contains("\na LOST ") && !stdout.contains("\nb LOST "),
        "{stdout}"
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("versus.json");
    for (a, b, more, why) in [
        ("nothing", "floor", &[][..], "the tester starts"),
        ("countersign,ws://127.0.0.1:1", "floor", &[], "pid="),
        (
            "ws",
            "floor",
            &["--ws-server", "no/such/server.mjs"],
            "no/such/server.mjs is not there",
        ),
        ("floor", "floor", &["--pid", "1"], "behind --a and --b"),
        (
            "floor",
            "floor",
            &["--target", "ws://127.0.0.1:1"],
            "cannot be used with",
        ),
        (
            "floor,ws://127.0.0.1:1,pid=1",
            "floor,ws://127.0.0.1:1,pid=1,pin=none",
            &[],
            "start the server twice",
        ),
        ("floor", "floor", &["--pairs", "0"], "--pairs"),
        ("floor", "floor", &["--assert", "lost==0"], "no metric"),
        ("floor,ws://127.0.0.1:1,pid=1", "floor", &[], "connection 0"),
    ] {
        let output = versus(a, b, more, &json);
        assert_eq!(output.status.code(), Some(2), "{a} {b} {more:?}");
        assert!(
            text(&output.stderr).contains(why),
            "{a}: {}",
            text(&output.stderr)
        );
    }
    assert!(!json.exists());
}
