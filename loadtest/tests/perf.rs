//! Children of the suite: they are stopped with their handle, end with their parent, and stay where they are put.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign_loadtest::clock::{self, SECOND};
use countersign_loadtest::suite::gateway::{Gateway, Program};
use countersign_loadtest::suite::supervised::{Start, Supervised};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");

/// A folder with a script that acts as the gateway.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn new(script: &str) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("config.toml"), "").unwrap();
        Fake { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, cpu: Option<usize>) -> Result<Gateway, String> {
        let program = Program {
            tester: Path::new(PROGRAM),
            gateway: &self.path("gateway"),
            config: &self.path("config.toml"),
            log: &self.path("log"),
        };
        Gateway::start(program, cpu).map_err(|e| e.to_string())
    }
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn supervised(command: &[&str], stdout: Stdio) -> Supervised {
    Supervised::start(Start {
        tester: Path::new(PROGRAM),
        cpu: None,
        command: command.iter().map(Into::into).collect(),
        env: &[],
        stdout,
        stderr: Stdio::null(),
    })
    .unwrap()
}

/// What a gateway prints, and then it serves: until it is killed.
const SERVES: &str = "echo countersign 9.9.9; echo listening on http://127.0.0.1:4711
echo \"$@\" > \"${0%/*}/args\"; env > \"${0%/*}/env\"; echo operator on http://127.0.0.1:4712
exec tail -f /dev/null";

#[test]
fn a_gateway_tells_its_address_and_is_killed_with_its_handle() {
    // Arguments and environment are on disk before the address is told.
    let script = SERVES.replacen("echo listening on http://127.0.0.1:4711\n", "", 1);
    let script = script.replace(
        "echo operator",
        "echo listening on http://127.0.0.1:4711; echo operator",
    );
    let fake = Fake::new(&script);
    let gateway = fake.start(None).unwrap();
    assert_eq!(gateway.authority, "127.0.0.1:4711");
    assert_eq!(gateway.version, "countersign 9.9.9");
    let args = std::fs::read_to_string(fake.path("args")).unwrap();
    assert!(args.starts_with("--limits-profile bench --config "), "{args}");
    let env = std::fs::read_to_string(fake.path("env")).unwrap();
    assert!(env.contains("COUNTERSIGN_LISTEN=127.0.0.1:0\n"), "{env}");
    assert!(env.contains("COUNTERSIGN_OPERATOR_LISTEN=127.0.0.1:0\n"), "{env}");
    let pid = gateway.pid();
    assert!(is_there(pid));
    drop(gateway);
    assert!(!is_there(pid));
}

#[test]
fn a_gateway_starts_on_its_processor() {
    let allowed = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = |text: &str| {
        let line = text
            .lines()
            .find(|l| l.starts_with("Cpus_allowed_list:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    // The first processor this test may use.
    let own = list(&allowed);
    let first = own.split([',', '-']).next().unwrap();
    let script = format!("cat /proc/self/status > \"${{0%/*}}/status\"\n{SERVES}");
    let fake = Fake::new(&script);
    let _gateway = fake.start(Some(first.parse().unwrap())).unwrap();
    let status = std::fs::read_to_string(fake.path("status")).unwrap();
    assert_eq!(list(&status), first);
}

#[test]
fn a_gateway_that_does_not_start_says_why() {
    let fake = Fake::new("echo 'countersign: the address is taken' >&2; exit 2");
    let error = fake.start(None).unwrap_err();
    assert!(error.contains("the address is taken"), "{error}");
    let fake = Fake::new("echo countersign 9.9.9");
    assert!(fake.start(None).is_err());
}

#[test]
fn a_child_is_waited_for_and_its_code_told() {
    let mut child = supervised(&["sh", "-c", "exit 7"], Stdio::null());
    assert_eq!(child.wait(clock::now() + 60 * SECOND, || {}).unwrap(), 7);
    // A program that is not there: our own code for "no result".
    let mut child = supervised(&["/nowhere/at/all"], Stdio::null());
    assert_eq!(child.wait(clock::now() + 60 * SECOND, || {}).unwrap(), 2);
    // One that goes on for longer than it may.
    let mut child = supervised(&["tail", "-f", "/dev/null"], Stdio::null());
    let mut ticks = 0;
    let error = child.wait(clock::now(), || ticks += 1).unwrap_err();
    assert!(error.to_string().contains("deadline"), "{error}");
    assert!(ticks > 0);
    let pid = child.pid();
    drop(child);
    assert!(!is_there(pid));
}

#[test]
fn a_child_ends_when_its_parent_is_killed() {
    // A parent of its own kind: this program as a child of a shell that we kill.
    let script = "\"$0\" supervised --parent $$ -- sh -c 'echo started; exec tail -f /dev/null' & wait";
    let mut parent = Command::new("sh")
        .args(["-c", script, PROGRAM])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The pipe ends when the last process that writes to it has ended: the child.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_child_whose_parent_is_gone_does_not_begin() {
    let output = Command::new(PROGRAM)
        .args(["supervised", "--parent", "1", "--", "echo", "begun"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("parent"));
}

fn perf(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM).arg("perf").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_cannot_be_run_is_told_with_code_2_and_in_the_report() {
    let (code, _, errors) = perf(&["--gateway", "/nowhere/at/all"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("cargo build --release"), "{errors}");
    let (code, _, errors) = perf(&["--gateway", PROGRAM, "--only", "nothing"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("no such row"), "{errors}");

    // A gateway that fails: one row's failure does not end the others.
    let fake = Fake::new("echo 'no such luck' >&2; exit 2");
    let (gateway, out) = (fake.path("gateway"), fake.path("out"));
    let (code, said, errors) = perf(&[
        "--gateway",
        gateway.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--quick",
        "--only",
        "paced",
        "burst",
    ]);
    assert_eq!(code, Some(2), "{said}{errors}");
    assert!(
        errors.contains("no row could be run") && errors.contains("no such luck"),
        "{errors}"
    );
    assert!(
        said.contains("[ 1/2] paced") && said.contains("[ 2/2] burst"),
        "{said}"
    );
    assert!(said.contains("not all met: 2 not run"), "{said}");
    let report = std::fs::read_to_string(out.join("perf.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"][1]["verdict"], "not_run");
    assert!(out.join("perf.md").is_file() && out.join("perf.html").is_file());
}
