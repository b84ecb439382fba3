//! The program itself, as a process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Client, PATIENCE};
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

/// A gateway that listens, and whose greeting waits for somebody to read it.
fn unread() -> (tempfile::TempDir, Child, UnixStream) {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (
        folder.path().join("gateway.sock"),
        folder.path().join("gateway.toml"),
    );
    let text = format!("[unix]\npath = {path:?}\n[drain]\ngrace_ms = 0\nspread_ms = 0\n");
    std::fs::write(&config, text).unwrap();
    let (stdout, reader) = stopped_reader();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
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
    let listens = eventually(|| {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        UnixStream::connect(&path).is_ok()
    });
    if !listens {
        child.kill().unwrap();
    }
    assert!(listens, "it listens");
    (folder, child, reader)
}

fn tell(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let told = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(told.success());
}

fn code_of(mut child: Child) -> Option<i32> {
    if !eventually(|| child.try_wait().unwrap().is_some()) {
        child.kill().unwrap();
    }
    child.wait().unwrap().code()
}

/// From the moment somebody can connect, SIGTERM is a drain: also while the greeting finds nobody to read it.
#[test]
fn a_signal_that_comes_before_the_greeting_was_read_is_heard() {
    let (_folder, child, mut reader) = unread();
    tell(&child, "-TERM");
    // The socket is bound, and the greeting waits for this.
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    assert_eq!(code_of(child), Some(0));
}

/// Also then a second one ends the process at once.
#[test]
fn a_second_signal_ends_a_gateway_whose_greeting_nobody_reads() {
    let (_folder, child, _reader) = unread();
    tell(&child, "-TERM");
    tell(&child, "-INT");
    assert_eq!(code_of(child), Some(130));
}

/// Whether something comes true with patience.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(2);
    (0..PATIENCE.as_millis() / LOOK_EVERY.as_millis()).any(|_| {
        let held = holds();
        if !held {
            std::thread::sleep(LOOK_EVERY);
        }
        held
    })
}
