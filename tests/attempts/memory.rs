//! What a QR login costs in memory: the program itself, a hundred thousand of them opened over HTTP, from their first
//! code to the end of their records, and then as many again, which must fit into what the first left. `make memory-qr` runs it; the figure is in `docs/performance.md`.
#![allow(clippy::print_stdout, reason = "a measurement is for whoever reads it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::exposition::Exposition;
use crate::process::{Process, program};

const ATTEMPTS: usize = 100_000;
const CLIENTS: usize = 4;
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// One request on a connection that stays; answers status and body.
fn ask(stream: &mut TcpStream, head: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut raw, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(
            read > 0,
            "the connection ended: {}",
            String::from_utf8_lossy(&raw)
        );
        raw.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&raw);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let field = |name: &str| {
            head.lines()
                .find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
        };
        let length: usize = field("content-length:").expect("a length");
        if body.len() >= length {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return (status, body.to_owned());
        }
    }
}

fn open_all(addr: SocketAddr) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(addr).unwrap();
                let head = format!("POST /v1/qr HTTP/1.1\r\nhost: {addr}\r\nuser-agent: {USER_AGENT}\r\n");
                for n in 0..ATTEMPTS / CLIENTS {
                    let id = format!("pc-{client}-{n:08}-0123456789abcdef");
                    let body = json!({"device": {"id": id, "name": "Chrome on Linux", "kind": "web"}});
                    let (status, answer) = ask(&mut stream, &head, &body.to_string());
                    assert_eq!(status, 201, "{answer}");
                }
            });
        }
    });
}

fn read(operator: SocketAddr) -> Exposition {
    let mut stream = TcpStream::connect(operator).unwrap();
    let head = format!("GET /metrics HTTP/1.1\r\nhost: {operator}\r\n");
    Exposition::parse(&ask(&mut stream, &head, "").1)
}

fn waiting(now: &Exposition) -> f64 {
    now.get("countersign_qr_live{state=\"waiting\"}")
}

fn tell(when: &str, now: &Exposition, base: f64) {
    let resident = now.get("process_resident_memory_bytes");
    println!(
        "{when}: {:.1} MiB resident, {:.0} bytes per attempt, {} waiting, {} kept, {} rotations, {:.1} s of processor time",
        resident / (1024.0 * 1024.0),
        (resident - base) / ATTEMPTS as f64,
        waiting(now),
        now.get("countersign_qr_kept"),
        now.get("countersign_qr_rotations_total"),
        now.get("process_cpu_seconds_total"),
    );
}

/// Watches them until they are forgotten; answers the most there was resident.
fn one_life(operator: SocketAddr, base: f64) -> f64 {
    let mut now = read(operator);
    tell("all open", &now, base);
    let rotations = |now: &Exposition| now.get("countersign_qr_rotations_total");
    let (mut largest, mut told) = (0.0_f64, rotations(&now));
    while now.get("countersign_qr_kept") > 0.0 {
        std::thread::sleep(Duration::from_secs(1));
        now = read(operator);
        largest = largest.max(now.get("process_resident_memory_bytes"));
        if rotations(&now) >= told + ATTEMPTS as f64 {
            told = rotations(&now);
            tell("rotated once more", &now, base);
        }
    }
    tell("all forgotten", &now, base);
    largest
}

#[test]
#[ignore = "a measurement of five minutes: make memory-qr"]
fn memory_of_a_hundred_thousand_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("countersign.toml");
    // Six rotations in a life, as by default, but faster; and nobody needs to watch: what a watching connection costs
    // is measured elsewhere.
    let text = "limits_profile = \"bench\"\n[qr]\nlifetime_ms = 60000\nrotate_ms = 9000\nidle_ms = 60000\n[limits]\n\
        qr_open_rate = { count = 1000, period_ms = 1000, burst = 1000 }\n";
    std::fs::write(&config, text).unwrap();
    let mut command = program(&config);
    command.env("COUNTERSIGN_LOG", "warn");
    let process = Process::start_as(command);
    let before = read(process.operator);
    let base = before.get("process_resident_memory_bytes");
    tell("at the start", &before, base);
    let all = ATTEMPTS as f64;
    let largest = [1.0, 2.0].map(|round| {
        open_all(process.addr);
        let largest = one_life(process.operator, base);
        println!("largest: {:.0} bytes per attempt", (largest - base) / all);
        let ended = "countersign_qr_ended_total{state=\"expired\",reason=\"idle\"}";
        assert_eq!(read(process.operator).get(ended), round * all);
        largest
    });
    // What is forgotten is used again.
    assert!(largest[1] < largest[0] + 0.1 * (largest[0] - base), "{largest:?}");
    process.terminate();
    assert_eq!(process.end().0.code(), Some(0));
}
