//! The load tester's scenarios about rooms, on the gateway itself: what it does is not accused, and everything is
//! accounted for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;
#[path = "load_rooms/stories.rs"]
mod stories;

use common::TestServer;
use common::load::{bench, drive, zero};
use countersign_loadtest::clock::{MILLI, SECOND};
use countersign_loadtest::history::check::{Options, Verdict};
use countersign_loadtest::history::read;
use countersign_loadtest::history::tap::Tap;
use countersign_loadtest::idle::{self, IdlePlan};
use countersign_loadtest::room::{self, Big, Counts, Load, Records, RoomPlan, RoomResult, Variant};

/// What is zero in every run of `room` whose members all read.
const ROOM_ZERO: &[&str] = &[
    "unsent",
    "refused",
    "rate_limited",
    "shed",
    "unanswered",
    "told",
    "lost",
    "cut_off",
    "members_short",
    "duplicated",
    "out_of_order",
    "gaps",
    "unclear",
    "unexpected",
    "foreign",
    "malformed",
    "mismatched",
    "disagreed",
    "closed",
    "connect_refused",
];

/// A short run: `rooms` of `per_room` with two publishers each, everything decoded.
fn plan(rooms: usize, per_room: usize, load: Load) -> RoomPlan {
    RoomPlan {
        rooms,
        per_room,
        publishers: 2,
        load,
        acks: load.acks(),
        body_bytes: 128,
        warmup: 50 * MILLI,
        window: 400 * MILLI,
        drain: 60 * SECOND,
        check: true,
        decode_every: 1,
        variant: Variant::default(),
    }
}

/// Drives rooms on a gateway, an account for each connection; what was counted, and what the history checker
/// decides about the record of it, which holds.
async fn rooms(server: &TestServer, plan: RoomPlan) -> (RoomResult, Verdict) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let history = path.clone();
    let result = drive(server.addr, plan.connections(), move |stage| {
        let records = Records {
            series: None,
            tap: Some(Box::new(Tap::create(&history).unwrap())),
        };
        room::recorded(&plan, stage, records).unwrap().result
    })
    .await;
    let verdict = read::files(&[path], Options::default()).unwrap();
    assert!(
        verdict.passed && verdict.notes.is_empty(),
        "{}",
        verdict.text().join("\n")
    );
    assert_eq!(verdict.summary.acknowledged, result.tally.accepted);
    assert_eq!(verdict.summary.deliveries, result.tally.delivered);
    (result, verdict)
}

/// Asserts that nothing is amiss and that everybody has everything.
fn whole(result: &RoomResult) {
    zero(&result.metrics(), ROOM_ZERO);
    let tally = &result.tally;
    assert!(tally.accepted > 0 && tally.accepted == tally.sent, "{tally:?}");
    assert_eq!(
        (tally.delivered, tally.decoded),
        (result.expected, result.expected)
    );
}

/// The same of a part of the messages, each of which goes to so many.
fn whole_part(part: &Counts, members: u64) {
    assert!(part.accepted > 0 && part.accepted == part.sent, "{part:?}");
    assert_eq!(
        (part.expected, part.delivered),
        (part.accepted * members, part.accepted * members)
    );
    assert_eq!(
        (
            part.unsent,
            part.shed,
            part.refused,
            part.told,
            part.cut_off,
            part.lost
        ),
        (0, 0, 0, 0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_on_a_schedule_and_in_bursts_reach_everybody() {
    let server = TestServer::start(bench).await;
    for load in [Load::Paced { per_second: 60.0 }, Load::InFlight { messages: 3 }] {
        let (result, verdict) = rooms(&server, plan(3, 5, load)).await;
        whole(&result);
        assert_eq!(result.expected, result.tally.accepted * 5);
        if let Load::Paced { .. } = load {
            // 450 ms at 60/s in each of three rooms, however late.
            assert_eq!(result.tally.sent, 3 * 27);
        }
        assert_eq!((verdict.summary.connections, verdict.summary.stays), (15, 15));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_room_and_small_ones_beside_it_are_both_whole() {
    let server = TestServer::start(bench).await;
    let mut plan = plan(4, 3, Load::Paced { per_second: 20.0 });
    plan.variant.big = Some(Big {
        members: 30,
        per_second: 40.0,
    });
    let (result, _) = rooms(&server, plan).await;
    whole(&result);
    let groups = result.groups.unwrap();
    whole_part(&groups.big.counts, 30);
    whole_part(&groups.small.counts, 3);
    // 450 ms, in one room and in each of four.
    assert_eq!((groups.big.counts.sent, groups.small.counts.sent), (18, 4 * 9));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_every_priority_reach_everybody_who_reads() {
    let server = TestServer::start(bench).await;
    let mut plan = plan(2, 4, Load::Paced { per_second: 80.0 });
    plan.variant.mix = Some("low=2,normal=1,high=1".parse().unwrap());
    let (result, _) = rooms(&server, plan).await;
    whole(&result);
    let priorities = result.priorities.unwrap();
    for part in [&priorities.low, &priorities.normal, &priorities.high] {
        whole_part(&part.counts, 4);
    }
    let sent = |part: &room::AccountResult| part.counts.sent;
    assert_eq!(
        (
            sent(&priorities.low),
            sent(&priorities.normal),
            sent(&priorities.high)
        ),
        (36, 18, 18)
    );
    server.stop().await;
}

/// Two of six members stop reading: what is not kept for them is told by gaps, or, when it may not be dropped, by
/// the end of their connection. The others have everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_do_not_read_are_told_and_the_others_have_everything() {
    for all_high in [false, true] {
        let server = TestServer::start(|c| {
            bench(c);
            // More than the tester sends before it reads again, so that who reads is never behind; half of what is
            // sent while the others do not read.
            c.limits.outbox_bytes_max = 512 * 1024;
            c.limits.write_ms = 60_000;
        })
        .await;
        let mut plan = plan(1, 6, Load::Paced { per_second: 250.0 });
        plan.body_bytes = 3_000;
        plan.window = 1_500 * MILLI;
        plan.variant.stalled = 2;
        plan.variant.mix = all_high.then(|| "high=1".parse().unwrap());
        let (result, _) = rooms(&server, plan).await;
        let stalled = result.stalled.clone().unwrap();
        let (tally, all) = (&result.tally, result.tally.accepted);
        // 3.05 s at 250/s. On a machine that is busy a gateway may ask the sender to wait: those are in no account.
        assert_eq!((tally.sent, all + tally.shed), (763, 763), "{tally:?}");
        let except = ["told", "cut_off", "gaps", "shed"];
        let names: Vec<&str> = ROOM_ZERO
            .iter()
            .copied()
            .filter(|n| !except.contains(n))
            .collect();
        zero(&result.metrics(), &names);
        assert_eq!(
            (
                stalled.members,
                stalled.lost,
                stalled.delivered + stalled.told + stalled.cut_off
            ),
            (2, 0, 2 * all),
            "{stalled:?}"
        );
        // What was told and cut off was theirs alone: four members have every message.
        assert_eq!(
            (tally.told, result.cut_off, tally.delivered),
            (stalled.told, stalled.cut_off, stalled.delivered + 4 * all)
        );
        if all_high {
            assert_eq!(stalled.ended.get("closed 4008"), Some(&2), "{stalled:?}");
            assert!(stalled.cut_off > 0 && stalled.told == 0, "{stalled:?}");
        } else {
            assert_eq!((stalled.open, stalled.cut_off), (2, 0), "{stalled:?}");
            assert!(stalled.told > 0, "{stalled:?}");
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_speak_once_and_rest_are_accounted_for() {
    let server = TestServer::start(bench).await;
    let plan = IdlePlan {
        stops: vec![20, 50],
        slope: (20, 50),
        per_room: 10,
        active: true,
        body_bytes: 1_024,
        then_body_bytes: Some(4_096),
        drain: 30 * SECOND,
        settle: 50 * MILLI,
        quiet: 100 * MILLI,
    };
    let result = drive(server.addr, 50, move |stage| idle::run(&plan, stage).unwrap()).await;
    zero(
        &result.metrics(),
        &[
            "refused",
            "lost",
            "duplicated",
            "unexpected",
            "connect_refused",
            "closed",
        ],
    );
    // One message each when it has come, and one more at the end; each goes to the ten of its room.
    assert_eq!((result.messages.sent, result.messages.accepted), (100, 100));
    assert_eq!(
        (result.messages.expected, result.messages.delivered),
        (1_000, 1_000)
    );
    let reached: Vec<usize> = result.stops.iter().map(|s| s.connections).collect();
    assert_eq!(reached, [20, 50]);
    assert_eq!(result.then.map(|s| s.connections), Some(50));
    server.stop().await;
}
