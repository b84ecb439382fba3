//! What was said, page by page, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use common::talk::{join, offsets, resume, say, send_round, unhurried};
use common::{Person, TestServer, request};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_paged_both_ways() {
    let server = TestServer::start(unhurried).await;
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    assert_eq!(
        alice.ok("history", json!({"room": "chat:a"})).await["messages"],
        json!([])
    );
    for round in 0..5 {
        send_round(&mut alice, "alice", round * 50, 50).await;
    }
    let mut page = async |fields: Value| {
        let mut fields = fields;
        fields["room"] = json!("chat:a");
        offsets(&alice.ok("history", fields).await["messages"])
    };
    assert_eq!(
        page(json!({})).await,
        (151..=250).collect::<Vec<_>>(),
        "the newest, oldest first"
    );
    assert_eq!(page(json!({"limit": 3})).await, [248, 249, 250]);
    assert_eq!(
        page(json!({"limit": 1_000})).await.len(),
        100,
        "a page has an end"
    );
    assert_eq!(page(json!({"before": 4})).await, [1, 2, 3]);
    assert_eq!(page(json!({"before": 1})).await, [] as [u64; 0]);
    assert_eq!(page(json!({"after": 250})).await, [] as [u64; 0]);
    assert_eq!(page(json!({"before": 1_000_000, "limit": 2})).await, [249, 250]);
    assert_eq!(page(json!({"after": u64::MAX})).await, [] as [u64; 0]);
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    loop {
        let next = page(json!({"after": forwards.last().copied().unwrap_or(0), "limit": 70})).await;
        if next.is_empty() {
            break;
        }
        forwards.extend(next);
    }
    loop {
        let mut next = page(json!({"before": backwards.first().copied().unwrap_or(251), "limit": 70})).await;
        if next.is_empty() {
            break;
        }
        next.extend(backwards);
        backwards = next;
    }
    assert_eq!(forwards, (1..=250).collect::<Vec<_>>());
    assert_eq!(backwards, forwards);
    for bad in [
        json!({"limit": 0}),
        json!({"before": 9, "after": 1}),
        json!({"before": "9"}),
        json!({"limit": -1}),
    ] {
        let mut fields = bad.clone();
        fields["room"] = json!("chat:a");
        assert_eq!(
            alice.refused("history", fields).await["code"],
            "bad_request",
            "{bad}"
        );
    }
    server.stop().await;
}

/// Whoever asks for much at once and reads it gets all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_pages_do_not_end_a_connection_that_reads() {
    let server = TestServer::start(unhurried).await;
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    let big = json!("x".repeat(16 * 1024 - 2));
    for _ in 0..8 {
        say(&mut alice, "chat:a", &big).await;
    }
    let ask = |id: u64| json!({"id": 1000 + id, "type": "history", "room": "chat:a"}).to_string();
    let asked: Vec<String> = (0..6).map(ask).collect();
    let mut reader = server.anonymous().await;
    join(&mut reader, "chat:a").await;
    reader.send_at_once(&asked).await;
    for id in 0..6 {
        assert_eq!(
            offsets(&reader.reply(1000 + id).await["messages"]),
            (1..=8).collect::<Vec<_>>()
        );
    }
    server.stop().await;
}

/// Joining many rooms at once, each with as much history as fits an answer, is answered room by room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_joins_do_not_end_a_connection_that_reads() {
    let server = TestServer::start(unhurried).await;
    let mut alice = server.signed_in("alice").await;
    let big = json!("x".repeat(16 * 1024 - 2));
    let rooms: Vec<String> = (0..6).map(|n| format!("chat:{n}")).collect();
    for room in &rooms {
        join(&mut alice, room).await;
        for _ in 0..8 {
            say(&mut alice, room, &big).await;
        }
    }
    let mut reader = server.anonymous().await;
    let ask = |(n, room): (usize, &String)| json!({"id": 1000 + n, "type": "join", "room": room}).to_string();
    let asked: Vec<String> = rooms.iter().enumerate().map(ask).collect();
    reader.send_at_once(&asked).await;
    for id in 0..6 {
        assert_eq!(
            offsets(&reader.reply(1000 + id).await["messages"]),
            (1..=8).collect::<Vec<_>>()
        );
    }
    server.stop().await;
}

/// A hundred messages whose senders take all the room that names, pictures and cids have: nobody is locked out by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fattest_messages_still_fit_a_reply() {
    let server = TestServer::start(unhurried).await;
    let account = json!({
        "user_id": "m".repeat(64), "password": "correct horse", "name": "\u{1F600}".repeat(64),
        "avatar": format!("https://a.example/{}", "x".repeat(494)),
    });
    assert_eq!(
        request(server.addr, "POST", "/v1/accounts")
            .json(&account)
            .send()
            .await
            .status,
        201
    );
    let tokens = server.login(&"m".repeat(64), "device").await;
    let mut fat = Person {
        addr: server.addr,
        device: "device".into(),
        tokens,
    }
    .connect()
    .await;
    let room = format!("chat:{}", "r".repeat(123));
    let epoch = join(&mut fat, &room).await["epoch"].clone();
    for n in 0..100 {
        let cid = format!("{}{n:02}", "\u{1}".repeat(62));
        let fields = json!({"room": room, "body": "b".repeat(1_308), "cid": cid});
        fat.ok("send", fields).await;
    }
    let mut viewer = server.anonymous().await;
    let joined = join(&mut viewer, &room).await;
    assert_eq!(
        joined["messages"].as_array().unwrap().last().unwrap()["offset"],
        100
    );
    let page = viewer.ok("history", json!({"room": room, "after": 0})).await;
    assert_eq!(page["messages"][0]["offset"], 1);
    viewer.ok("leave", json!({"room": room})).await;
    let joined = resume(&mut viewer, &room, &epoch, 90).await;
    assert_eq!(
        (&joined["recovered"], offsets(&joined["messages"])),
        (&json!(true), (91..=100).collect())
    );
    server.stop().await;
}

/// Messages are answered along with the room's frames; however many come at once, nobody waits for the last answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_at_once_are_all_answered() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.limits.outbox_bytes_max = 64 * 1024;
    })
    .await;
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    let send = |n: u64| json!({"id": 1000 + n, "type": "send", "room": "chat:a", "body": n}).to_string();
    let asked: Vec<String> = (0..3_000).map(send).collect();
    alice.send_at_once(&asked).await;
    for n in 0..3_000 {
        assert_eq!(alice.reply(1000 + n).await["type"], "ok");
    }
    server.stop().await;
}

/// Reading pauses while answers wait to leave, and goes on when they have: nothing that was asked is left unread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_answers_are_all_given() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.limits.outbox_bytes_max = 64 * 1024;
    })
    .await;
    let mut client = server.anonymous().await;
    join(&mut client, "chat:a").await;
    let asked: Vec<String> = (0..5_000)
        .map(|n| json!({"id": 1000 + n, "type": "ping"}).to_string())
        .collect();
    client.send_at_once(&asked).await;
    for n in 0..5_000 {
        assert_eq!(client.reply(1000 + n).await["type"], "ok");
    }
    server.stop().await;
}
