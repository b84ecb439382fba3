//! Several processes count what one would, and none is left behind.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::fake::{Fake, Fault};
use common::{LOSSY_DRAIN, plan, stage, target};
use countersign_loadtest::accounts::{self, AccountPlan};
use countersign_loadtest::clock::{self, MILLI, SECOND};
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::host::server::Server;
use countersign_loadtest::idle::{self, IdlePlan};
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::{self, Big, Load, Outcome, RoomPlan, Share, Stage, Variant};
use countersign_loadtest::workers::crew::Crew;
use countersign_loadtest::workers::{Scenario, Task, history_part};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");
/// The fake's rooms begin at this offset.
const BASE: u64 = 95;

fn on_fake<T>(fault: Fault, drive: impl FnOnce(&Stage<'_>) -> T) -> T {
    let fake = Fake::start(fault);
    let target = target(fake.addr);
    let stage = stage(&target, Dialect::Countersign);
    let accounts = AccountPlan {
        users: 3,
        at_once: 2,
        until: stage.until,
    };
    let made = accounts::make(&target, stage.sources, stage.run, &accounts, &Progress::hidden());
    let (sessions, _) = made.unwrap();
    let result = drive(&Stage {
        sessions: &sessions,
        ..stage
    });
    assert_eq!(fake.logins(), 3, "accounts are made once");
    result
}

fn run(fault: Fault, plan: &RoomPlan, workers: usize) -> Outcome {
    on_fake(fault, |stage| match workers {
        1 => room::run(plan, stage).unwrap(),
        _ => room::split::run(plan, stage, workers, Path::new(PROGRAM)).unwrap(),
    })
}

/// Two rooms of five, a big one, three priorities.
fn everything() -> RoomPlan {
    let mut plan = plan(2, 5, Load::Paced { per_second: 60.0 });
    plan.publishers = 3;
    plan.variant = Variant {
        big: Some(Big {
            members: 9,
            per_second: 100.0,
        }),
        mix: Some("low=2,normal=1,high=1".parse().unwrap()),
        stalled: 1,
    };
    plan
}

#[test]
fn two_processes_count_what_one_does() {
    let plan = everything();
    let one = run(Fault::None, &plan, 1);
    let two = run(Fault::None, &plan, 2);
    assert_eq!((one.result.workers.len(), two.result.workers.len()), (0, 2));
    let connections: Vec<usize> = two.result.workers.iter().map(|w| w.connections).collect();
    assert_eq!(connections, [10, 9]);
    for outcome in [&one, &two] {
        let (r, t) = (&outcome.result, &outcome.result.tally);
        assert_eq!(
            (r.lost, r.unexpected, r.unanswered, r.members_short),
            (0, 0, 0, 0)
        );
        assert_eq!((t.delivered, t.decoded), (r.expected, r.expected));
        assert_eq!((t.mismatched, t.disagreed, t.foreign), (0, 0, 0), "{t:?}");
        let wire = &outcome.result.wire;
        assert_eq!((wire.ws_sessions, wire.vus_max), (19, 19));
        // A join from each, and what was sent; a hello and a reply to each, and what arrived.
        assert_eq!(wire.ws_msgs_sent, 19 + t.sent);
    }
    let figures = |outcome: &Outcome| {
        let r = &outcome.result;
        let (groups, priorities) = (r.groups.unwrap(), r.priorities.unwrap());
        let stalled = r.stalled.clone().unwrap();
        (
            (
                r.tally.sent,
                r.tally.accepted,
                r.expected,
                r.tally.delivered,
                r.per_member,
            ),
            (groups.big.counts, groups.small.counts),
            (
                priorities.low.counts,
                priorities.normal.counts,
                priorities.high.counts,
            ),
            (
                stalled.members,
                stalled.delivered,
                stalled.open,
                stalled.reference.count,
            ),
            (r.latency.count, outcome.latency.count(), groups.big.latency.count),
        )
    };
    assert_eq!(figures(&one), figures(&two));
}

#[test]
fn loss_is_found_in_all_processes() {
    // All publishers are in the first process: the second has nothing acknowledged and knows of no loss.
    let mut plan = plan(2, 4, Load::Paced { per_second: 100.0 });
    plan.drain = LOSSY_DRAIN;
    let result = run(Fault::LoseAll(7), &plan, 2).result;
    let accepted = result.tally.accepted / 2;
    let hit = (BASE + accepted) / 7 - BASE / 7;
    assert!(hit > 0);
    assert_eq!((result.lost, result.members_short), (2 * 4 * hit, 8));
    assert_eq!(result.expected - result.tally.delivered, result.lost);
}

#[test]
fn processes_that_are_told_different_things_are_seen() {
    let plan = plan(1, 2, Load::Paced { per_second: 100.0 });
    let result = run(Fault::Disagree(4), &plan, 2).result;
    assert!(result.tally.disagreed > 0 && result.lost == 0);
}

#[test]
fn files_have_the_curve_of_all_processes() {
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, hgrm, html) = (path("a.json"), path("a.hgrm"), path("a.html"));
    let target = format!("ws://{}", fake.addr);
    let mut args = vec!["room", "--workers", "2", "--target", &target, "--members", "4"];
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
    args.extend(["--json", &json, "--hgrm", &hgrm, "--html", &html]);
    args.extend(["--assert", "lost==0", "--assert", "ws_sessions==4"]);
    let output = Command::new(PROGRAM).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let document: Value = serde_json::from_str(&read(&json)).unwrap();
    let counted = &document["curves"][0]["percentiles"]["count"];
    assert_eq!(*counted, document["result"]["latency"]["count"]);
    assert_eq!(counted.as_u64(), Some(4 * 30));
    assert!(read(&hgrm).contains("Total count    =          120]"));
    assert!(read(&html).contains("<svg"));
}

#[test]
fn bursts_and_more_processes_than_members_are_settled() {
    let mut plan = plan(1, 3, Load::InFlight { messages: 3 });
    plan.publishers = 2;
    let result = run(Fault::None, &plan, 4).result;
    assert!(result.tally.accepted > 0 && result.tally.accepted == result.tally.sent);
    assert_eq!(
        (result.lost, result.unanswered, result.tally.delivered),
        (0, 0, result.expected)
    );
    assert_eq!(result.workers.last().unwrap().connections, 0);
}

#[test]
fn idle_connections_are_shared_by_rooms() {
    let plan = IdlePlan {
        stops: vec![8, 23],
        slope: (8, 23),
        per_room: 5,
        active: true,
        body_bytes: 256,
        then_body_bytes: Some(1_024),
        drain: 10 * SECOND,
        settle: 0,
        quiet: 0,
    };
    let result = on_fake(Fault::None, |stage| {
        let stage = Stage {
            server: Some(Server::Pid(std::process::id())),
            ..*stage
        };
        idle::split::run(&plan, &stage, 2, Path::new(PROGRAM)).unwrap()
    });
    // At the first stop a room has three of its five: nine deliveries, and the two who come later make
    // ten more. At last each sends once more: four rooms of five, and one of three.
    let m = &result.messages;
    assert_eq!((m.sent, m.accepted), (46, 46));
    let (first, second) = (25 + 9 + 10 + 50 + 9, 4 * 25 + 9);
    assert_eq!((m.expected, m.delivered), (first + second, first + second));
    assert_eq!((m.lost, m.duplicated, m.unexpected, m.unanswered), (0, 0, 0, 0));
    let then = result.then.as_ref().unwrap();
    assert_eq!((then.connections, then.rss_bytes.is_some()), (23, true));
    assert_eq!((result.wire.ws_sessions, result.wire.vus_max), (23, 23));
    assert_eq!(result.wire.ws_connecting_ms.count, 23);
    let connections: Vec<usize> = result.workers.iter().map(|w| w.connections).collect();
    assert_eq!(connections, [13, 10]);
    assert!(result.bytes_per_connection.is_some() && m.ended.is_empty());
    let rows = result.course.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.sent).sum::<u64>(), 46);
    assert_eq!(rows.iter().map(|row| row.received).sum::<u64>(), m.delivered);
    assert_eq!(rows.last().unwrap().connections, 23);
}

/// Runs `room` with two workers for long, and gives its process id and those of the workers to `act`.
fn long_run(act: impl FnOnce(u32, &[u32])) -> (Option<i32>, String, Vec<u32>) {
    long_run_with(&["--rate", "50"], act)
}

fn long_run_with(options: &[&str], act: impl FnOnce(u32, &[u32])) -> (Option<i32>, String, Vec<u32>) {
    let fake = Fake::start(Fault::None);
    let target = format!("ws://{}", fake.addr);
    let mut args = vec!["room", "--workers", "2", "--target", &target, "--members", "4"];
    args.extend(["--seconds", "50", "--users", "1"]);
    args.extend(options);
    let child = Command::new(PROGRAM)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let workers = wait_for("both workers", || {
        let workers = children(pid);
        (workers.len() == 2).then_some(workers)
    });
    act(pid, &workers);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text, workers)
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = clock::now() + 60 * SECOND;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::now() < until, "{what} in 60 s");
        std::thread::yield_now();
    }
}

/// The state letter and the parent of a process; none when it is gone.
fn status(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 2..].split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| status(*pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

fn kill(pid: u32) {
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until a process is gone, or has ended and only its parent has not looked yet.
fn gone(pid: u32) {
    wait_for("the end of a worker", || {
        status(pid).is_none_or(|(state, _)| state == 'Z').then_some(())
    });
}

#[test]
fn a_killed_worker_ends_the_run_and_the_other_worker() {
    let (code, text, workers) = long_run(|_, workers| kill(workers[1]));
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("worker") && text.contains("ended without a result"),
        "{text}"
    );
    workers.into_iter().for_each(gone);
}

/// A history of two parts, of which a former run left the second, and how a run is ended that writes it anew.
fn failed_history(rate: &str, ready: impl Fn(u64) -> bool) -> (String, Vec<(String, bool)>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h");
    let parts = [0, 1].map(|index| history_part(&path, index));
    std::fs::write(&parts[1], "a former run's").unwrap();
    let options = ["--rate", rate, "--history", path.to_str().unwrap()];
    let (code, text, workers) = long_run_with(&options, |_, workers| {
        wait_for("what is recorded", || {
            let length = |part: &PathBuf| std::fs::metadata(part).is_ok_and(|m| ready(m.len()));
            parts.iter().all(length).then_some(())
        });
        kill(workers[1]);
    });
    assert_eq!(code, Some(2), "{text}");
    workers.into_iter().for_each(gone);
    let left = parts.map(|part| (part.display().to_string(), part.exists()));
    (text, left.into())
}

#[test]
fn a_run_that_fails_leaves_no_part_of_a_history_that_says_nothing() {
    // At one message a second nothing has come out of the buffers when the worker is killed.
    let (text, left) = failed_history("1", |_| true);
    for (part, exists) in left {
        assert!(!exists && !text.contains(&part), "{part}: {text}");
    }
}

#[test]
fn a_run_that_fails_names_the_parts_of_its_history() {
    let (text, left) = failed_history("2000", |len| len > 20);
    assert!(text.contains("is not whole"), "{text}");
    for (part, exists) in left {
        assert!(exists && text.contains(&part), "{part}: {text}");
    }
}

#[test]
fn workers_end_with_their_coordinator() {
    let (code, _, workers) = long_run(|coordinator, _| kill(coordinator));
    assert_eq!(code, None, "killed");
    workers.into_iter().for_each(gone);
}

/// A crew of one worker, a shell that says `words` and then nothing.
fn shell(words: &str, act: impl FnOnce(Crew)) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("shell");
    let script = format!("#!/bin/sh\n{words}\nwhile read -r line; do :; done\n");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let target = target("127.0.0.1:1".parse().unwrap());
    let stage = stage(&target, Dialect::Countersign);
    let scenario = Scenario::Room(plan(1, 2, Load::Paced { per_second: 1.0 }));
    let task = Task::of(scenario, &stage, Share::WHOLE, 2);
    let crew = Crew::start(&program, &[task]).unwrap();
    let pids = crew.pids();
    act(crew);
    pids.into_iter().for_each(gone);
}

#[test]
fn a_silent_worker_is_noticed() {
    shell(":", |crew| {
        let mut crew = crew.patient_for(10 * MILLI);
        let until = clock::now() + 60 * SECOND;
        let error = crew.ready("connecting", until).unwrap_err().to_string();
        assert!(error.contains("has said nothing"), "{error}");
    });
}

#[test]
fn a_worker_that_is_ready_before_it_is_asked_is_not_waited_for() {
    shell(r#"echo '{"ready":7}'"#, |mut crew| {
        crew.rest_until(clock::now() + SECOND / 2).unwrap();
        let said = crew.ready("connecting", clock::now() + 20 * SECOND).unwrap();
        assert_eq!(said[0].get(), "7");
    });
    shell(r#"echo '{"ready":7}'"#, |mut crew| {
        crew.rest_until(clock::now() + SECOND / 2).unwrap();
        let mut looked = 0;
        let until = clock::now() + 20 * SECOND;
        crew.ready_meanwhile("coming back", until, |_| looked += 1)
            .unwrap();
        assert!(looked > 0);
    });
}

#[test]
fn what_a_worker_cannot_do_is_told() {
    let output = Command::new(PROGRAM)
        .args(["room", "--workers", "2", "--protocol", "floor", "--rate", "1"])
        .args(["--target", "ws://127.0.0.1:1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("worker") && text.contains("connection 0"), "{text}");
    for (args, why) in [
        (&["room", "--rate", "1", "--workers", "0"][..], "--workers"),
        (
            &["room", "--rate", "1", "--workers", "2", "--protocol", "nats"][..],
            "no offsets",
        ),
        (&["worker"][..], "by hand"),
    ] {
        let output = Command::new(PROGRAM)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text.contains(why), "{args:?}: {text}");
    }
}
