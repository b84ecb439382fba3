//! Order, recovery and history over real sockets: nothing twice, nothing silently missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use common::talk::{join, offset, offsets, resume, say, send_round, unhurried};
use common::{Client, TestServer, within};
use serde_json::{Value, json};

async fn read_all(mut client: Client, total: u64) -> Vec<Value> {
    let mut seen = Vec::new();
    while (seen.len() as u64) < total {
        let push = client.next_push().await;
        assert_ne!(push["type"], "gap", "{push}");
        if push["type"] == "message" {
            seen.push(push);
        }
    }
    seen
}

/// Two senders, ten receivers, and one more that loses its socket in every round: all see the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_the_same_and_the_one_that_was_cut_too() {
    const ROUNDS: u64 = 12;
    const PER_ROUND: u64 = 30;
    const TOTAL: u64 = 2 * ROUNDS * PER_ROUND;
    let server = TestServer::start(unhurried).await;
    let mut ann = server.signed_in("ann").await;
    let mut ben = server.signed_in("ben").await;
    join(&mut ann, "chat:a").await;
    join(&mut ben, "chat:a").await;
    let mut receivers = Vec::new();
    for _ in 0..10 {
        let mut client = server.anonymous().await;
        join(&mut client, "chat:a").await;
        receivers.push(tokio::spawn(read_all(client, TOTAL)));
    }
    let mut lossy = server.anonymous().await;
    let epoch = join(&mut lossy, "chat:a").await["epoch"].clone();
    let mut chain: Vec<Value> = Vec::new();
    for round in 0..ROUNDS {
        let cut_and_resume = async {
            // At another place each time: before anything came, and in the middle.
            for _ in 0..round * 3 {
                chain.push(lossy.push("message").await);
            }
            lossy.cut();
            let mut fresh = server.anonymous().await;
            let last = chain.last().map_or(0, offset);
            let joined = resume(&mut fresh, "chat:a", &epoch, last).await;
            assert_eq!(joined["recovered"], true);
            assert_eq!(joined["epoch"], epoch);
            chain.extend(joined["messages"].as_array().unwrap().iter().cloned());
            assert_eq!(
                chain.last().map_or(0, offset),
                offset(&joined),
                "a recovery is whole"
            );
            fresh
        };
        let (n, per) = (round * PER_ROUND, PER_ROUND);
        let (fresh, (), ()) = tokio::join!(
            cut_and_resume,
            send_round(&mut ann, "ann", n, per),
            send_round(&mut ben, "ben", n, per)
        );
        lossy = fresh;
        while chain.last().map_or(0, offset) < (round + 1) * 2 * PER_ROUND {
            chain.push(lossy.push("message").await);
        }
    }
    let mut first: Option<Vec<Value>> = None;
    for receiver in receivers {
        let seen = within("a receiver", receiver).await.unwrap();
        assert_eq!(
            seen.iter().map(offset).collect::<Vec<_>>(),
            (1..=TOTAL).collect::<Vec<_>>()
        );
        assert!(first.as_ref().is_none_or(|f| *f == seen), "all see the same");
        first = Some(seen);
    }
    let seen = first.unwrap();
    assert_eq!(chain, seen, "exactly once, and in order");
    for name in ["ann", "ben"] {
        let of = |m: &&Value| m["from"]["id"] == name;
        assert!(seen.iter().filter(of).all(|m| m["body"]["by"] == name));
        let order: Vec<_> = seen
            .iter()
            .filter(of)
            .map(|m| m["body"]["n"].as_u64().unwrap())
            .collect();
        assert_eq!(order, (0..ROUNDS * PER_ROUND).collect::<Vec<_>>());
    }
    // Who sent has not read all of it; the one that was cut has.
    drop((ann, ben));
    server.history.quiet(false);
    server.history.holds();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recovered_whole_is_not_called_recovered() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.history_messages = 150;
        c.rooms.history_bytes = 512 * 1024;
    })
    .await;
    let mut alice = server.signed_in("alice").await;
    let mut viewer = server.anonymous().await;
    let epoch = join(&mut alice, "chat:a").await["epoch"].clone();
    send_round(&mut alice, "alice", 0, 100).await;

    // Exactly a hundred are replayed, one more is too many.
    let joined = resume(&mut viewer, "chat:a", &epoch, 0).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(true), (1..=100).collect())
    );
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    say(&mut alice, "chat:a", &json!("one more")).await;
    let joined = resume(&mut viewer, "chat:a", &epoch, 0).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(false), (2..=101).collect())
    );
    // What is shown as a break is filled from the history.
    let page = viewer
        .ok("history", json!({"room": "chat:a", "after": 0, "limit": 1}))
        .await;
    assert_eq!(offsets(&page["messages"]), [1]);
    viewer.ok("leave", json!({"room": "chat:a"})).await;

    // Where one stands is recovered with nothing.
    let joined = resume(&mut viewer, "chat:a", &epoch, 101).await;
    assert_eq!(
        (&joined["recovered"], &joined["messages"]),
        (&json!(true), &json!([]))
    );
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    // Another epoch, a future nobody has seen, an epoch that is none.
    for (epoch, at) in [
        (json!("e_other"), 100),
        (epoch.clone(), 102),
        (epoch.clone(), u64::MAX),
        (json!(""), 0),
    ] {
        let joined = resume(&mut viewer, "chat:a", &epoch, at).await;
        assert_eq!(joined["recovered"], false, "{epoch} {at}");
        assert_eq!(offsets(&joined["messages"]), (2..=101).collect::<Vec<_>>());
        viewer.ok("leave", json!({"room": "chat:a"})).await;
    }
    for bad in [
        json!(7),
        json!({"epoch": epoch}),
        json!({"epoch": 1, "offset": 0}),
        json!({"epoch": epoch, "offset": -1}),
    ] {
        let refused = viewer
            .refused("join", json!({"room": "chat:a", "after": bad}))
            .await;
        assert_eq!(refused["code"], "bad_request", "{bad}");
    }

    // Nine bodies of 16 KiB are more than 128 KiB.
    let big = json!("x".repeat(16 * 1024 - 2));
    for n in 0..9 {
        assert_eq!(say(&mut alice, "chat:a", &big).await, 102 + n);
    }
    let joined = resume(&mut viewer, "chat:a", &epoch, 101).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(false), (103..=110).collect())
    );
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    let joined = resume(&mut viewer, "chat:a", &epoch, 102).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(true), (103..=110).collect())
    );
    viewer.ok("leave", json!({"room": "chat:a"})).await;

    // What was trimmed away is missing, however few it is.
    send_round(&mut alice, "alice", 200, 90).await;
    let oldest = 200 - 150 + 1;
    let page = alice
        .ok("history", json!({"room": "chat:a", "after": 0, "limit": 1}))
        .await;
    assert_eq!(offsets(&page["messages"]), [oldest]);
    let joined = resume(&mut viewer, "chat:a", &epoch, oldest - 2).await;
    assert_eq!(joined["recovered"], false);
    drop((alice, viewer));
    server.history.quiet(false);
    server.history.holds();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trimmed_or_forgotten_room_says_so() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.history_messages = 10;
        c.rooms.idle_ms = 50;
    })
    .await;
    let mut alice = server.signed_in("alice").await;
    let mut viewer = server.anonymous().await;
    let epoch = join(&mut alice, "chat:a").await["epoch"].clone();
    send_round(&mut alice, "alice", 0, 12).await;
    let joined = resume(&mut viewer, "chat:a", &epoch, 2).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(true), (3..=12).collect())
    );
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    let joined = resume(&mut viewer, "chat:a", &epoch, 1).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(false), (3..=12).collect())
    );

    // Leaving and coming back is a resume like any other.
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    send_round(&mut alice, "alice", 12, 5).await;
    let joined = resume(&mut viewer, "chat:a", &epoch, 12).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(true), (13..=17).collect())
    );
    assert_eq!(say(&mut alice, "chat:a", &json!("live")).await, 18);
    assert_eq!(
        offset(&viewer.push("message").await),
        18,
        "live goes on where the replay ended"
    );

    // An empty room is forgotten; its name begins again, and nobody is told that it was recovered.
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    alice.ok("leave", json!({"room": "chat:a"})).await;
    let joined = within("a new epoch", async {
        loop {
            let joined = resume(&mut alice, "chat:a", &epoch, 18).await;
            if joined["epoch"] != epoch {
                return joined;
            }
            alice.ok("leave", json!({"room": "chat:a"})).await;
            tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        }
    })
    .await;
    assert_eq!(
        (&joined["recovered"], &joined["offset"], &joined["messages"]),
        (&json!(false), &json!(0), &json!([]))
    );
    assert_eq!(say(&mut alice, "chat:a", &json!("again")).await, 1);
    drop((alice, viewer));
    server.history.quiet(false);
    server.history.holds();
    server.stop().await;
}

/// One member reads nothing for a while: it is told exactly what it was not sent, and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_member_is_told_what_it_missed() {
    const TOTAL: u64 = 600;
    let server = TestServer::start(|c| {
        unhurried(c);
        c.limits.outbox_bytes_max = 64 * 1024;
        // Those who read must not be shed because the machine is busy for a moment.
        c.limits.send_buffer_bytes = 2 << 20;
        c.limits.write_ms = 60_000;
        c.rooms.history_bytes = 16 << 20;
        c.rooms.history_messages = 5_000;
    })
    .await;
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    let mut slow = Client::connect_narrow(server.addr).await;
    join(&mut slow, "chat:a").await;
    let mut receivers = Vec::new();
    for _ in 0..3 {
        let mut client = server.anonymous().await;
        join(&mut client, "chat:a").await;
        receivers.push(tokio::spawn(read_all(client, TOTAL)));
    }
    let text = "x".repeat(16_000);
    for n in 1..=TOTAL {
        assert_eq!(say(&mut alice, "chat:a", &json!({"n": n, "text": text})).await, n);
        alice.pushes.clear();
    }
    for receiver in receivers {
        let seen = within("a receiver", receiver).await.unwrap();
        assert_eq!(
            seen.iter().map(offset).collect::<Vec<_>>(),
            (1..=TOTAL).collect::<Vec<_>>()
        );
    }
    // Now it reads. Messages and gaps together are every offset, once and in order.
    let (mut next, mut gaps) = (1, 0);
    while next <= TOTAL {
        let push = slow.next_push().await;
        match push["type"].as_str().unwrap() {
            "message" => {
                assert_eq!((offset(&push), &push["body"]["n"]), (next, &json!(next)));
                next += 1;
            }
            "gap" => {
                assert_eq!((&push["from"], &push["room"]), (&json!(next), &json!("chat:a")));
                next = push["to"].as_u64().unwrap() + 1;
                gaps += 1;
            }
            _ => {}
        }
    }
    assert!(gaps > 0, "9 MB did not fit anywhere");
    // It is as good a member as before.
    slow.ok("ping", json!({})).await;
    assert_eq!(say(&mut alice, "chat:a", &json!("after")).await, TOTAL + 1);
    assert_eq!(offset(&slow.push("message").await), TOTAL + 1);
    drop(alice);
    server.history.quiet(false);
    let verdict = server.history.holds();
    assert_eq!(verdict.summary.gaps, gaps, "{:?}", verdict.summary);
    server.stop().await;
}

/// What may never be dropped does not fit: the connection ends, says why, and may resume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_is_closed_and_may_come_back() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.limits.outbox_bytes_max = 64 * 1024;
        c.limits.write_ms = 60_000;
        c.rooms.history_bytes = 16 << 20;
        c.rooms.history_messages = 5_000;
    })
    .await;
    let mut alice = server.signed_in("alice").await;
    let epoch = join(&mut alice, "chat:a").await["epoch"].clone();
    let mut slow = Client::connect_narrow(server.addr).await;
    join(&mut slow, "chat:a").await;
    let mut witness = server.anonymous().await;
    join(&mut witness, "chat:a").await;
    let text = "x".repeat(16_000);
    let mut sent = 0;
    // Until it is gone: how much the system buffers for it is the system's affair.
    within("the member that never reads is closed", async {
        while server.node.hub.connection_count() == 3 {
            let fields = json!({"room": "chat:a", "body": {"text": text}, "priority": "high"});
            sent = offset(&alice.ok("send", fields).await);
            alice.pushes.clear();
            assert_eq!(offset(&witness.push("message").await), sent);
        }
    })
    .await;
    let mut last = 0;
    while let Some(frame) = slow.read().await {
        if frame["type"] == "message" {
            assert_eq!(offset(&frame), last + 1, "high messages are never dropped");
            last += 1;
        }
    }
    let closed = slow.closed.take().unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (4008, "slow_consumer"));
    assert!(last < sent);
    let mut back = server.anonymous().await;
    let joined = resume(&mut back, "chat:a", &epoch, sent - 2).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(true), vec![sent - 1, sent])
    );
    drop(alice);
    server.history.quiet(false);
    server.history.holds();
    server.stop().await;
}
