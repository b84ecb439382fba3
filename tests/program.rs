//! The program itself, as a process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use common::Client;
use serde_json::json;

/// A gateway of its own, ended with this value.
struct Program {
    child: Child,
    addr: SocketAddr,
}

impl Program {
    fn start(stderr: impl Into<Stdio>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .env_clear()
            .args(["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let addr = told
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("listening on http://")?.parse().ok())
            .unwrap();
        Self { child, addr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Standard error that takes nothing any more, as a pipe does whose reader has been stopped.
fn stopped_reader() -> (OwnedFd, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.write(&[b'-'; 4096]).is_ok() {}
    while ours.write(b"-").is_ok() {}
    ours.set_nonblocking(false).unwrap();
    (ours.into(), theirs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_does_not_stop_the_gateway() {
    let (stderr, _reader) = stopped_reader();
    // It logs that it listens, which already has no place.
    let program = Program::start(stderr);
    let mut client = Client::connect(program.addr).await;
    client.ok("join", json!({"room": "chat:lobby"})).await;
    client.ok("ping", json!({})).await;
}

/// From the moment somebody can connect, SIGTERM is a drain: also while the greeting finds nobody to read it.
#[test]
fn a_signal_that_comes_before_the_greeting_was_read_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (
        folder.path().join("gateway.sock"),
        folder.path().join("gateway.toml"),
    );
    let text = format!("[unix]\npath = {path:?}\n[drain]\ngrace_ms = 0\nspread_ms = 0\n");
    std::fs::write(&config, text).unwrap();
    let (stdout, mut reader) = stopped_reader();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .env_clear()
        .args([
            "--listen",
            "127.0.0.1:0",
            "--operator-listen",
            "127.0.0.1:0",
            "--config",
        ])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while UnixStream::connect(&path).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    // The socket is bound, and the greeting waits for this.
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
