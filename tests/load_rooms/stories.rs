//! Scenarios whose connections come and go, and what they are told of it: `counts`, `churn` and `storm`.

use countersign_loadtest::churn::{self, ChurnPlan};
use countersign_loadtest::clock::{MILLI, SECOND};
use countersign_loadtest::counts::{self, CountsPlan};
use countersign_loadtest::metric::Metrics;
use countersign_loadtest::storm::{self, StormPlan};
use countersign_loadtest::story::visits::VisitPlan;

use crate::common::load::{bench, drive, value, zero};
use crate::common::{TestServer, engine_is_exact};

/// Where an event may come twice, so may counts: a client takes the newest.
fn versions_rise(metrics: &Metrics) {
    if engine_is_exact() {
        zero(metrics, &["version_fell"]);
    }
}

fn visits() -> VisitPlan {
    VisitPlan {
        per_second: 40.0,
        stay: 50 * MILLI,
        dropped: 0.5,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_and_viewers_are_told_to_everybody_as_they_are() {
    let server = TestServer::start(bench).await;
    let plan = CountsPlan {
        rooms: 2,
        per_room: 6,
        likers: 3,
        per_second: 50.0,
        n: 3,
        visits: Some(visits()),
        warmup: 50 * MILLI,
        window: 450 * MILLI,
        drain: 60 * SECOND,
    };
    let result = drive(server.addr, plan.members(), move |stage| {
        counts::run(&plan, stage).unwrap()
    })
    .await;
    let metrics = result.metrics();
    zero(
        &metrics,
        &[
            "unsent",
            "refused",
            "unanswered",
            "likes_lost",
            "likes_unexpected",
            "stale_at_end",
            "unseen",
            "unnoted",
            "fell",
            "viewers_wrong",
            "members_wrong",
            "malformed",
            "closed",
            "visits_failed",
            "visits_no_slot",
            "connect_refused",
        ],
    );
    versions_rise(&metrics);
    // 500 ms at 50/s in each of two rooms.
    assert_eq!(
        (result.likes, result.accepted, result.acknowledged),
        (50, 50, 3 * 50)
    );
    // Each like of the measured span reaches each member of its room.
    assert!(result.answer.count > 0 && result.latency.count == 6 * result.answer.count);
    let visits = result.visits.unwrap();
    assert!(visits.due >= 20, "{visits:?}");
    assert_eq!(
        (visits.joined, visits.left + visits.dropped),
        (visits.due, visits.due)
    );
    assert!(value(&metrics, "pushes") > 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_leaves_nothing_behind() {
    let server = TestServer::start(bench).await;
    for anonymous_visitors in [false, true] {
        let plan = ChurnPlan {
            rooms: 2,
            per_room: 5,
            publishers: 2,
            messages_per_second: 40.0,
            body_bytes: 128,
            visits: visits(),
            anonymous_visitors,
            calm: 100 * MILLI,
            warmup: 50 * MILLI,
            window: 450 * MILLI,
            drain: 60 * SECOND,
            quiet: 300 * MILLI,
        };
        let result = drive(server.addr, plan.members(), move |stage| {
            churn::run(&plan, stage).unwrap()
        })
        .await;
        zero(
            &result.metrics(),
            &[
                "arrivals_failed",
                "arrivals_no_slot",
                "connect_refused",
                "visits_ended",
                "hanging",
                "unsent",
                "refused",
                "unanswered",
                "told",
                "lost",
                "members_short",
                "unexpected",
                "duplicated",
                "out_of_order",
                "gaps",
                "disagreed",
                "foreign",
                "malformed",
                "visitor_faults",
                "early",
                "closed",
                "viewers_wrong",
                "members_wrong",
            ],
        );
        versions_rise(&result.metrics());
        let visits = &result.visits;
        assert!(visits.due >= 20, "{visits:?}");
        assert_eq!(
            (visits.joined, visits.left + visits.dropped),
            (visits.due, visits.due)
        );
        assert!(visits.left.abs_diff(visits.dropped) <= 1, "{visits:?}");
        // Those meant within the measured span.
        assert_eq!(result.latency.count, 18);
        let messages = &result.messages;
        assert!(
            messages.accepted > 0 && messages.accepted == messages.sent,
            "{messages:?}"
        );
        assert_eq!(
            (result.loss.expected, messages.delivered),
            (5 * messages.accepted, 5 * messages.accepted)
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_are_cut_at_once_come_back_and_are_current() {
    let server = TestServer::start(bench).await;
    let plan = StormPlan {
        returns_per_second: 0.0,
        rooms: 2,
        per_room: 8,
        publishers: 1,
        stayers: 1,
        // Few enough that coming back slowly still recovers: a join brings a hundred messages.
        messages_per_second: 10.0,
        body_bytes: 128,
        before: 200 * MILLI,
        away: 500 * MILLI,
        limit: 60 * SECOND,
        after: 200 * MILLI,
        drain: 60 * SECOND,
    };
    let result = drive(server.addr, plan.members(), move |stage| {
        storm::run(&plan, stage).unwrap()
    })
    .await;
    zero(
        &result.metrics(),
        &[
            "not_current",
            "given_up",
            "recovered_false",
            "recovery_short",
            "epoch_changed",
            "connect_refused",
            "storm_refused",
            "unsent",
            "refused",
            "unanswered",
            "told",
            "lost",
            "members_short",
            "unexpected",
            "duplicated",
            "out_of_order",
            "gaps",
            "unclear",
            "disagreed",
            "foreign",
            "malformed",
            "early",
            "stayed_closed",
            "ended_again",
            "viewers_wrong",
            "members_wrong",
        ],
    );
    versions_rise(&result.metrics());
    // Six of eight in each of two rooms.
    assert_eq!(
        (result.cut, result.stayed, result.current, result.recovered),
        (12, 4, 12, 12)
    );
    assert_eq!((result.latency.count, result.rejoin.count), (12, 12));
    assert!(result.all_current_us.is_some() && result.messages.replayed > 0);
    let messages = &result.messages;
    assert!(
        messages.accepted > 0 && messages.accepted == messages.sent,
        "{messages:?}"
    );
    assert_eq!(
        (result.loss.expected, messages.delivered),
        (8 * messages.accepted, 8 * messages.accepted)
    );
    server.stop().await;
}
