//! Variants of `room`: accounts of groups, priorities and members that do not read are exact, on a server
//! that does right and on one that does wrong.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use std::process::Command;

use common::fake::{Fake, Fault};
use common::{LOSSY_DRAIN, ONE_BY_ONE, plan, stage, target};
use countersign_loadtest::accounts::{self, AccountPlan};
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::{self, Big, Counts, Load, RoomPlan, RoomResult, Stage, Variant};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-loadtest");
/// The fake's rooms begin at this offset.
const BASE: u64 = 95;

fn run(fault: Fault, plan: &RoomPlan) -> RoomResult {
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
    let stage = Stage {
        sessions: &sessions,
        // One after the other: the server's last member is the tester's last.
        pace: ONE_BY_ONE,
        ..stage
    };
    let result = room::run(plan, &stage).unwrap().result;
    let t = &result.tally;
    assert_eq!(
        (t.foreign, t.malformed, t.mismatched, t.disagreed),
        (0, 0, 0, 0),
        "{t:?}"
    );
    assert_eq!((t.duplicated, t.unclear, result.unanswered), (0, 0, 0), "{t:?}");
    assert_eq!(
        t.delivered + t.told + result.cut_off + result.lost,
        result.expected,
        "every delivery is in one account: {result:?}"
    );
    result
}

/// How many of the first `accepted` offsets handed out are multiples of `n`.
fn hit(accepted: u64, n: u64) -> u64 {
    (BASE + accepted) / n - BASE / n
}

/// Asserts that the parts add up to the whole, and each in itself.
fn add_up(result: &RoomResult, parts: &[Counts]) {
    let sum = |of: fn(&Counts) -> u64| parts.iter().map(of).sum::<u64>();
    let t = &result.tally;
    assert_eq!((sum(|c| c.sent), sum(|c| c.unsent)), (t.sent, t.unsent));
    assert_eq!((sum(|c| c.accepted), sum(|c| c.shed)), (t.accepted, t.shed));
    assert_eq!(sum(|c| c.refused), t.refused.values().sum::<u64>());
    assert_eq!((sum(|c| c.delivered), sum(|c| c.told)), (t.delivered, t.told));
    assert_eq!(
        (sum(|c| c.expected), sum(|c| c.lost), sum(|c| c.cut_off)),
        (result.expected, result.lost, result.cut_off)
    );
    for part in parts {
        assert_eq!(part.accepted + part.shed + part.refused, part.sent);
        assert_eq!(
            part.delivered + part.told + part.cut_off + part.lost,
            part.expected,
            "{part:?}"
        );
    }
}

fn big_and_small(fault: Fault, per_room: usize) -> (Counts, Counts, RoomResult) {
    let mut plan = plan(3, per_room, Load::Paced { per_second: 50.0 });
    plan.drain = LOSSY_DRAIN;
    plan.variant = Variant {
        big: Some(Big {
            members: 8,
            per_second: 100.0,
        }),
        ..Variant::default()
    };
    let result = run(fault, &plan);
    let groups = result.groups.unwrap();
    add_up(&result, &[groups.big.counts, groups.small.counts]);
    assert!(groups.big.latency.count > 0 && groups.small.latency.count > 0);
    assert_eq!(
        groups.big.latency.count + groups.small.latency.count,
        result.latency.count
    );
    (groups.big.counts, groups.small.counts, result)
}

#[test]
fn one_big_room_and_small_ones_have_accounts_of_their_own() {
    let (big, small, result) = big_and_small(Fault::None, 4);
    // 350 ms at 100/s, and at 50/s in each of three rooms.
    assert_eq!((big.sent, small.sent), (35, 53));
    assert_eq!(
        (big.expected, small.expected),
        (big.accepted * 8, small.accepted * 4)
    );
    assert_eq!((result.lost, result.members_short), (0, 0));
}

#[test]
fn what_one_group_loses_is_not_the_others() {
    // Rooms of one have no second member, so it is the big room's that is hit.
    let (big, small, result) = big_and_small(Fault::Lose(7), 1);
    assert_eq!((big.lost, small.lost), (hit(big.accepted, 7), 0));
    assert!(result.lost > 0 && result.members_short == 1);
}

fn mixed(fault: Fault, load: Load) -> (RoomResult, [Counts; 3]) {
    let mut plan = plan(2, 4, load);
    plan.publishers = 2;
    plan.drain = LOSSY_DRAIN;
    plan.variant.mix = Some("low=2,normal=1,high=1".parse().unwrap());
    let result = run(fault, &plan);
    let p = result.priorities.unwrap();
    let counts = [p.low.counts, p.normal.counts, p.high.counts];
    add_up(&result, &counts);
    (result, counts)
}

#[test]
fn priorities_have_accounts_of_their_own() {
    for load in [Load::Paced { per_second: 120.0 }, Load::InFlight { messages: 2 }] {
        let (result, [low, normal, high]) = mixed(Fault::None, load);
        assert_eq!((result.lost, result.tally.shed), (0, 0));
        // Two of four are low, within a round of the pattern in each of two rooms.
        assert!(low.sent.abs_diff(normal.sent + high.sent) <= 4, "{low:?}");
        assert!(normal.sent.abs_diff(high.sent) <= 4 && high.sent > 0);
    }
}

#[test]
fn what_is_shed_is_in_the_account_of_its_priority() {
    let (result, [low, normal, high]) = mixed(Fault::ShedLow(3), Load::Paced { per_second: 120.0 });
    assert!(low.shed > 0 && low.told > 0);
    assert_eq!((low.shed, low.told), (result.tally.shed, result.tally.told));
    assert_eq!((normal.shed, normal.told, high.shed, high.told), (0, 0, 0, 0));
    assert_eq!((result.lost, low.lost), (0, 0), "what was told is not lost");
    // In each room every third is shed, and each that follows one, and the first, is told.
    assert_eq!(result.tally.pushes.get("gap"), Some(&low.told));
    assert!(low.shed.abs_diff(low.sent / 3) <= 2, "{low:?}");
}

#[test]
fn what_is_lost_is_in_the_account_of_its_priority() {
    // Offsets in a room take the priorities in turn, four long: of every fourth the priority is the same.
    let (result, [low, normal, high]) = mixed(Fault::Lose(4), Load::Paced { per_second: 120.0 });
    let lost = [low.lost, normal.lost, high.lost];
    assert!(result.lost > 0);
    assert_eq!(lost.iter().filter(|n| **n > 0).count(), 1, "{lost:?}");
}

fn stalled(fault: Fault) -> RoomResult {
    let mut plan = plan(1, 6, Load::Paced { per_second: 200.0 });
    plan.drain = LOSSY_DRAIN;
    plan.variant.stalled = 2;
    let result = run(fault, &plan);
    // A warm-up of 50 ms, a reference of 300 and a measured span of 300.
    assert_eq!((result.tally.sent, result.tally.accepted), (130, 130));
    let s = result.stalled.clone().unwrap();
    assert_eq!((s.members, s.open + s.ended.values().sum::<u64>()), (2, 2));
    assert_eq!(s.delivered + s.told + s.cut_off + s.lost, 2 * 130);
    assert_eq!(
        (s.lost, s.cut_off),
        (result.lost, result.cut_off),
        "the others have everything"
    );
    // Four members read, 60 messages in each span.
    assert_eq!((s.reference.count, result.latency.count), (240, 240));
    assert!(s.p99_stall_ratio.unwrap() > 0.0);
    assert!(result.tally.ended.is_empty(), "{:?}", result.tally.ended);
    result
}

/// In the measured span: the 90th message of the run.
const LATE: u64 = BASE + 90;

#[test]
fn members_that_stop_reading_lose_nothing_on_a_server_that_keeps_it() {
    let result = stalled(Fault::None);
    let s = result.stalled.unwrap();
    assert_eq!((s.delivered, s.open, result.lost), (260, 2, 0));
}

#[test]
fn members_that_stop_reading_and_are_told_lose_nothing() {
    let result = stalled(Fault::ShedLast(9));
    let s = result.stalled.unwrap();
    assert_eq!((s.told, s.open, result.lost), (hit(130, 9), 2, 0));
}

#[test]
fn members_that_are_closed_because_they_do_not_read_are_cut_off_and_lose_nothing() {
    for (fault, how) in [
        (Fault::CloseLast(LATE), "closed 4008"),
        (Fault::CutLast(LATE), "lost"),
    ] {
        let result = stalled(fault);
        let s = result.stalled.unwrap();
        assert_eq!(
            (s.ended.get(how), s.open),
            (Some(&1), 1),
            "{fault:?}: {:?}",
            s.ended
        );
        assert_eq!((s.cut_off, result.lost, result.members_short), (130 - 89, 0, 0));
    }
}

#[test]
fn members_that_are_not_told_have_lost() {
    let result = stalled(Fault::MuteLast(LATE));
    let s = result.stalled.unwrap();
    assert_eq!((s.open, s.cut_off, s.lost), (2, 0, 130 - 89));
    assert_eq!((result.lost, result.members_short), (130 - 89, 1));
}

#[test]
fn variants_go_together_and_have_metrics_to_assert_on() {
    let fake = Fake::start(Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("result.json");
    let target = format!("ws://{}", fake.addr);
    let mut args = vec!["room", "--target", &target, "--rooms", "2", "--members", "3"];
    args.extend(["--rate", "100", "--seconds", "0.3", "--warmup", "0", "--check"]);
    args.extend(["--big-members", "6", "--big-rate", "50", "--mix", "low=1,high=1"]);
    args.extend(["--stalled", "1", "--json", json.to_str().unwrap()]);
    for assertion in [
        "lost==0",
        "big_lost==0",
        "small_delivered>0",
        "small_p99<30s",
        "low_sent>0",
        "normal_sent==0",
        "high_p99.9<30s",
        "stalled==1",
        "p99_stall_ratio>0",
        "reference_p99<30s",
        "disagreed==0",
    ] {
        args.extend(["--assert", assertion]);
    }
    let output = Command::new(PROGRAM).args(&args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let document: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(document["method"]["connections"], 12);
    assert_eq!(document["method"]["variant"]["big"]["members"], 6);
    assert_eq!(document["result"]["stalled"]["members"], 1);
    let figures = &document["result"];
    assert_eq!(figures["decoded"], figures["delivered"]);
}

#[test]
fn variants_that_cannot_be_are_refused() {
    for (args, why) in [
        (&["--in-flight", "2", "--big-members", "9"][..], "--rate"),
        (&["--rate", "2", "--big-rate", "9"][..], "--big-members"),
        (&["--rate", "2", "--mix", "urgent=1"][..], "mix"),
        (
            &["--rate", "2", "--members", "3", "--stalled", "2"][..],
            "--stalled",
        ),
        (
            &["--rate", "2", "--big-members", "9", "--big-rate", "0"][..],
            "--big-rate",
        ),
        (&["--rate", "2", "--assert", "big_lost==0"][..], "no metric"),
        (
            &["--rate", "2", "--mix", "low=1", "--protocol", "ws"][..],
            "no priorities in --protocol ws",
        ),
        (
            &["--rate", "2", "--stalled", "1", "--protocol", "nats"][..],
            "--stalled",
        ),
    ] {
        let output = Command::new(PROGRAM).arg("room").args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text.contains(why), "{args:?}: {text}");
    }
}
