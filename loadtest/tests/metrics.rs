//! A server whose figures come from its metrics: what is told of it, and what is refused.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use common::fake::{Fake, Fault};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");
const MEMORY: u64 = 5_000_000;

/// An operator's port: each time it is asked the gateway has used `step` seconds more. After `answers` of them there
/// are no more.
fn operator(step: f64, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut cpu = 100.0;
        let mut left = answers;
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while left > 0 && reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                if std::mem::take(&mut line) != "\r\n" {
                    continue;
                }
                (cpu, left) = (cpu + step, left - 1);
                let body =
                    format!("process_cpu_seconds_total {cpu}\nprocess_resident_memory_bytes {MEMORY}\n");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes());
            }
        }
    });
    url
}

fn call(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a small room; the document, and what was printed.
fn room(metrics: &str, more: &[&str]) -> (Value, String) {
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("a.json");
    let target = format!("ws://{}", fake.addr);
    let mut args = vec![
        "room",
        "--target",
        &target,
        "--metrics",
        metrics,
        "--members",
        "4",
    ];
    args.extend([
        "--rate",
        "100",
        "--seconds",
        "0.3",
        "--warmup",
        "0",
        "--users",
        "1",
    ]);
    args.extend(["--json", json.to_str().unwrap()]);
    args.extend(more);
    let output = call(&args);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    (
        serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(),
        stdout,
    )
}

#[test]
fn what_a_gateway_says_of_itself_is_told_with_its_source() {
    for workers in [&[][..], &["--workers", "2"]] {
        let (document, stdout) = room(&operator(1.0, usize::MAX), workers);
        let usage = &document["result"]["usage"];
        assert_eq!(usage["server_cpu_source"], "metrics", "{usage}");
        let cpu = usage["server_cpu_seconds"].as_f64().unwrap();
        // One more at each question: at the end, and perhaps for the course between.
        assert!(cpu > 0.5 && (cpu - cpu.round()).abs() < 1e-6, "{usage}");
        assert!(
            usage["server_cpu_error_seconds"].as_f64().unwrap() >= 0.02,
            "{usage}"
        );
        assert!(usage["server_wait"].is_null() && usage["server_busiest"].is_null());
        assert_eq!(document["metrics"]["rss"].as_f64(), Some(MEMORY as f64));
        assert_eq!(document["method"]["server_figures"], "metrics");
        assert!(
            stdout.contains("memory and processor time from http://127.0.0.1:"),
            "{stdout}"
        );
        assert!(stdout.contains("ticks of 10 ms"), "{stdout}");
        let rows = document["series"]["columns"]["rss_bytes"].as_array().unwrap();
        assert!(!rows.is_empty(), "{}", document["series"]);
        assert!(
            rows.iter().all(|bytes| bytes.as_f64() == Some(MEMORY as f64)),
            "{rows:?}"
        );
    }
}

#[test]
fn processor_time_of_a_few_ticks_is_said_to_be_coarse_and_divided_by_nothing() {
    let (document, stdout) = room(&operator(0.02, usize::MAX), &[]);
    assert!(stdout.contains("\nCOARSE: "), "{stdout}");
    let warnings = document["warnings"].to_string();
    assert!(warnings.contains("measure longer, or by --pid"), "{warnings}");
    assert!(document["metrics"]["cpu_us_per_delivery"].is_null());
    assert!(
        document["result"]["usage"]["server_cpu_seconds"]
            .as_f64()
            .unwrap()
            > 0.0
    );
}

#[test]
fn a_gateway_that_stops_telling_ends_the_run() {
    let fake = Fake::start(Fault::None);
    let target = format!("ws://{}", fake.addr);
    // Enough for the beginning.
    let output = call(&[
        "room",
        "--target",
        &target,
        "--metrics",
        &operator(1.0, 2),
        "--members",
        "2",
        "--users",
        "1",
        "--rate",
        "10",
        "--seconds",
        "0.2",
        "--warmup",
        "0",
    ]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("GET http://127.0.0.1:"), "{stderr}");
}

#[test]
fn what_does_not_go_with_metrics_is_refused() {
    let url = operator(1.0, usize::MAX);
    let nothing = "http://127.0.0.1:1/metrics";
    for (args, why) in [
        (
            &["room", "--rate", "1", "--metrics", nothing][..],
            "GET http://127.0.0.1:1/metrics: ",
        ),
        (
            &[
                "room",
                "--rate",
                "1",
                "--metrics",
                "http://192.0.2.1:9090/metrics",
            ],
            "--allow-remote",
        ),
        (
            &["room", "--rate", "1", "--metrics", "127.0.0.1:9090"],
            "http://host:port/metrics",
        ),
        (
            &["room", "--rate", "1", "--metrics", nothing, "--pid", "1"],
            "--pid",
        ),
        (
            &["room", "--rate", "1", "--metrics", nothing, "--protocol", "floor"],
            "goes with --pid",
        ),
        (
            &["room", "--rate", "1", "--metrics", &url, "--pin-server", "0"],
            "--pin-server needs --pid",
        ),
        (
            &["ratio", "--rate", "1", "--metrics", nothing],
            "the floor has no metrics",
        ),
        (
            &[
                "versus",
                "--rate",
                "1",
                "--metrics",
                nothing,
                "--a",
                "floor",
                "--b",
                "floor",
            ],
            "--metrics (a floor has none)",
        ),
    ] {
        let output = call(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
    }
}
