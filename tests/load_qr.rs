//! The load tester's scenarios about QR logins, on the gateway itself: what it does is not accused, and everything is
//! accounted for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use common::TestServer;
use common::load::{bench, drive, value, zero};
use countersign_loadtest::clock::{MILLI, SECOND};
use countersign_loadtest::history::check::Options;
use countersign_loadtest::history::read;
use countersign_loadtest::history::tap::Tap;
use countersign_loadtest::poll::{self, Mode, PollPlan};
use countersign_loadtest::qr::{self, QrPlan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_logins_are_accounted_for_and_their_history_holds() {
    let server = TestServer::start(bench).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let history = path.clone();
    let plan = QrPlan {
        pcs: 6,
        per_second: 40.0,
        echo_sockets: 2,
        echoes_per_second: 50.0,
        warmup: 100 * MILLI,
        window: 600 * MILLI,
        drain: 60 * SECOND,
    };
    let result = drive(server.addr, plan.pcs, move |stage| {
        let tap = Tap::create(&history).unwrap();
        qr::run(&plan, stage, Some(Box::new(tap))).unwrap()
    })
    .await;
    let metrics = result.metrics();
    zero(
        &metrics,
        &[
            "failed",
            "unfinished",
            "stray",
            "out_of_order",
            "malformed",
            "wrong_user",
            "closed",
            "echoes_refused",
            "echoes_unanswered",
        ],
    );
    let tally = &result.tally;
    // All PCs log in, at least once: after a stall all attempts are due together.
    assert!(
        tally.completed >= 6 && tally.completed + tally.no_slot == tally.due,
        "{tally:?}"
    );
    // Each login is two calls of its phone.
    assert_eq!(
        (result.requests, result.answers),
        (2 * tally.completed, 2 * tally.completed)
    );
    for name in [
        "p99",
        "push_p99",
        "echo_p99",
        "redeem_p99",
        "cpu_us_per_attempt",
        "rss",
    ] {
        assert!(value(&metrics, name) > 0.0, "{name}: {metrics:?}");
    }
    assert_eq!(result.scanned.count, result.confirmed.count);

    let verdict = read::files(&[path], Options::default()).unwrap();
    assert!(
        verdict.passed && verdict.notes.is_empty(),
        "{}",
        verdict.text().join("\n")
    );
    let summary = &verdict.summary;
    assert_eq!(
        (summary.logins, summary.login_sessions),
        (tally.completed, tally.completed)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_learns_of_every_login_by_push_and_by_polling() {
    let server = TestServer::start(bench).await;
    for method in [Mode::KeepAlive, Mode::Connect] {
        let plan = PollPlan {
            pcs: 12,
            method,
            pairs: 1,
            interval: 50 * MILLI,
            heartbeat: 100 * MILLI,
            logins_per_second: 10.0,
            phones: 3,
            settle: 10 * MILLI,
            window: 800 * MILLI,
            drain: 60 * SECOND,
        };
        let result = drive(server.addr, plan.phones, move |stage| {
            poll::run(&plan, stage).unwrap()
        })
        .await;
        let pair = &result.pairs[0];
        for side in [&pair.push, &pair.poll] {
            let counts = &side.counts;
            let refused = |what: &&String| what.as_str() != "no phone is free";
            assert_eq!(counts.failed.keys().find(refused), None, "{side:?}");
            assert!(counts.ended.is_empty() && side.unlearned == 0, "{side:?}");
            assert!(counts.learned > 0 && counts.learned == counts.logins, "{side:?}");
            // Of each login a PC learns two things.
            assert_eq!(side.lateness.count, 2 * counts.learned);
        }
        assert!(pair.push.counts.pings > 0 && pair.push.polls == 0, "{pair:?}");
        assert!(pair.poll.polls > 12 && pair.poll.counts.pings == 0, "{pair:?}");
        assert!(pair.poll.requests >= pair.poll.polls, "{pair:?}");
        assert!(pair.push.bytes_sent > 0 && pair.bytes_ratio < 1.0, "{pair:?}");
    }
    server.stop().await;
}
