//! Who is there, and how many: counts, likes and presence over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::talk::{join, unhurried};
use common::{Client, Person, TestServer, until, within};
use serde_json::{Value, json};

/// Viewers and members.
fn present(counts: &Value) -> (u64, u64) {
    (
        counts["viewers"].as_u64().unwrap(),
        counts["members"].as_u64().unwrap(),
    )
}

fn ids(members: &Value) -> Vec<&str> {
    members
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect()
}

/// The next counts that are newer than those seen; the latest wins, and what comes again says nothing.
async fn newer(client: &mut Client, version: &mut u64) -> Value {
    let is_newer = |c: &Value| c["version"].as_u64().is_some_and(|v| v > *version);
    let counts = client.push_where("counts", is_newer).await;
    *version = counts["version"].as_u64().unwrap();
    counts
}

/// Who is in which room, as a client knows it from presence.
#[derive(Default)]
struct Here(BTreeSet<(String, String)>);

impl Here {
    /// Follows presence until these are here; nobody else may have been said to leave on the way.
    async fn becomes(&mut self, client: &mut Client, expected: &[(&str, &str)], leaving: &[&str]) {
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|(room, id)| ((*room).to_owned(), (*id).to_owned()))
            .collect();
        while self.0 != expected {
            let push = client.push("presence").await;
            let room = push["room"].as_str().unwrap();
            let mut joined = push["joined"].clone();
            if push.get("reset").is_some() {
                self.0.retain(|(here, _)| here != room);
                joined = client.ok("members", json!({"room": room})).await["members"].clone();
            }
            for member in joined.as_array().unwrap() {
                let id = member["id"].as_str().unwrap();
                assert_eq!(
                    *member,
                    json!({"id": id, "name": format!("{id} of test"), "role": "member"})
                );
                self.0.insert((room.to_owned(), id.to_owned()));
            }
            for id in push["left"].as_array().unwrap() {
                let id = id.as_str().unwrap();
                assert!(leaving.contains(&id), "{id} never left {room}");
                self.0.remove(&(room.to_owned(), id.to_owned()));
            }
        }
    }
}

/// With an interval of a minute, what is told at once is told apart from what waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_and_the_last_are_told_at_once_and_the_rest_together() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.counts_interval_ms = 60_000;
    })
    .await;
    let mut watcher = server.anonymous().await;
    let base = join(&mut watcher, "chat:a").await;
    assert_eq!(present(&base["counts"]), (1, 0), "a reply counts the joiner in");
    let mut version = 0;
    let first = newer(&mut watcher, &mut version).await;
    assert_eq!(present(&first), (1, 0), "from 0 to 1 at once");

    let mut others = Vec::new();
    for n in 2..=5 {
        let mut client = server.anonymous().await;
        assert_eq!(
            present(&join(&mut client, "chat:a").await["counts"]),
            (n, 0),
            "a reply is never late"
        );
        client.ok("like", json!({"room": "chat:a", "n": 10})).await;
        others.push(client);
    }
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    let second = newer(&mut watcher, &mut version).await;
    assert_eq!(
        present(&second),
        (6, 1),
        "the first member at once, and with it what had waited"
    );
    assert_eq!(second["counters"], json!({"likes": 40}));
    assert_eq!(
        second["version"].as_u64(),
        first["version"].as_u64().map(|v| v + 1),
        "nothing in between"
    );

    let mut bob = server.signed_in("bob").await;
    assert_eq!(present(&join(&mut bob, "chat:a").await["counts"]), (7, 2));
    bob.ok("leave", json!({"room": "chat:a"})).await;
    others.pop().unwrap().ok("leave", json!({"room": "chat:a"})).await;
    alice.ok("leave", json!({"room": "chat:a"})).await;
    let third = newer(&mut watcher, &mut version).await;
    assert_eq!(present(&third), (4, 0), "the last member's leave at once");
    assert_eq!(
        third["version"].as_u64(),
        first["version"].as_u64().map(|v| v + 2)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_often_is_told_as_it_ended() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.counts_interval_ms = 50;
    })
    .await;
    let mut watcher = server.anonymous().await;
    let base = join(&mut watcher, "chat:a").await;
    let mut fan = server.anonymous().await;
    join(&mut fan, "chat:a").await;
    for _ in 0..200 {
        fan.send("like", json!({"room": "chat:a", "n": 1})).await;
    }
    let mut version = base["counts"]["version"].as_u64().unwrap();
    let (mut pushes, mut likes) = (0, 0);
    while likes < 200 {
        let counts = newer(&mut watcher, &mut version).await;
        let now = counts["counters"]["likes"].as_u64().unwrap_or(0);
        assert!(now >= likes, "absolute values that do not fall");
        likes = now;
        pushes += 1;
    }
    assert_eq!(likes, 200);
    assert!(pushes < 150, "{pushes} pushes for 200 likes");
    // Silence while nothing changes: the next push is the one of the next change.
    fan.ok("leave", json!({"room": "chat:a"})).await;
    assert_eq!(present(&newer(&mut watcher, &mut version).await), (1, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_counts_in_every_joined_room() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.counts_interval_ms = 20;
    })
    .await;
    let alice = server.user("alice").await;
    let mut watcher = server.anonymous().await;
    let mut client = server.anonymous().await;
    for room in ["chat:a", "chat:b"] {
        join(&mut watcher, room).await;
        assert_eq!(present(&join(&mut client, room).await["counts"]), (2, 0));
    }
    client
        .ok(
            "auth",
            json!({"token": alice.tokens.access_token, "device": alice.device}),
        )
        .await;
    let mut here = Here::default();
    here.becomes(&mut watcher, &[("chat:a", "alice"), ("chat:b", "alice")], &[])
        .await;
    // Presence and counts are told together; a push of each is newer than the joins were.
    for room in ["chat:a", "chat:b"] {
        let mut probe = server.anonymous().await;
        assert_eq!(present(&join(&mut probe, room).await["counts"]), (3, 1));
        probe.ok("leave", json!({"room": room})).await;
    }
    for room in ["chat:a", "chat:b"] {
        assert_eq!(
            ids(&client.ok("members", json!({"room": room})).await["members"]),
            ["alice"]
        );
        client.ok("send", json!({"room": room, "body": "here"})).await;
        let seen = watcher.push("message").await;
        assert_eq!(
            (&seen["room"], &seen["from"]["id"]),
            (&json!(room), &json!("alice"))
        );
    }
    // The same user once more changes nothing, and the counts are those of one user.
    client
        .ok(
            "auth",
            json!({"token": alice.tokens.access_token, "device": alice.device}),
        )
        .await;
    let mut second = alice.connect().await;
    assert_eq!(present(&join(&mut second, "chat:a").await["counts"]), (3, 1));
    assert_eq!(second.ok("members", json!({"room": "chat:a"})).await["total"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_names_users_and_not_connections() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.counts_interval_ms = 20;
    })
    .await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut watcher = server.anonymous().await;
    join(&mut watcher, "chat:a").await;

    let (mut first, mut second) = (alice.connect().await, alice.connect().await);
    join(&mut first, "chat:a").await;
    let mut here = Here::default();
    here.becomes(&mut watcher, &[("chat:a", "alice")], &[]).await;
    // A second connection of hers comes and goes, and an anonymous one: nobody's presence changes.
    join(&mut second, "chat:a").await;
    first.cut();
    let mut nobody = server.anonymous().await;
    join(&mut nobody, "chat:a").await;
    nobody.cut();
    watcher.push_where("counts", |c| present(c) == (2, 1)).await;
    let mut bobs = bob.connect().await;
    join(&mut bobs, "chat:a").await;
    here.becomes(&mut watcher, &[("chat:a", "alice"), ("chat:a", "bob")], &[])
        .await;

    second.ok("leave", json!({"room": "chat:a"})).await;
    here.becomes(&mut watcher, &[("chat:a", "bob")], &["alice"]).await;
    // A cut socket leaves too.
    bobs.cut();
    here.becomes(&mut watcher, &[], &["alice", "bob"]).await;

    // Members are told page by page, in the order of their ids.
    let mut people = Vec::new();
    for n in 0..7 {
        let mut client = server.signed_in(&format!("user{n}")).await;
        join(&mut client, "chat:a").await;
        people.push(client);
    }
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let mut fields = json!({"room": "chat:a", "limit": 3});
        if let Some(cursor) = cursor.take() {
            fields["cursor"] = cursor;
        }
        let page = watcher.ok("members", fields).await;
        assert_eq!(page["total"], 7);
        found.extend(ids(&page["members"]).into_iter().map(str::to_owned));
        match page.get("cursor") {
            Some(next) => cursor = Some(next.clone()),
            None => break,
        }
    }
    assert_eq!(found, (0..7).map(|n| format!("user{n}")).collect::<Vec<_>>());
    for bad in [
        json!({"room": "chat:a", "limit": 0}),
        json!({"room": "chat:a", "limit": -1}),
    ] {
        assert_eq!(watcher.refused("members", bad).await["code"], "bad_request");
    }
    server.stop().await;
}

/// More changes than one push names: ask again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_changes_are_a_reset() {
    const CROWD: usize = 80;
    let server = TestServer::start(|c| {
        unhurried(c);
        // Longer than a slow machine takes for all those joins.
        c.rooms.counts_interval_ms = 6_000;
    })
    .await;
    let mut clients = Vec::new();
    for n in 0..CROWD {
        clients.push(server.signed_in(&format!("user{n:02}")).await);
    }
    let mut watcher = server.anonymous().await;
    join(&mut watcher, "chat:a").await;
    // The first of them is told at once, the others together when the interval is over.
    let mut ids = Vec::new();
    for client in &mut clients {
        ids.push(client.send("join", json!({"room": "chat:a"})).await);
    }
    for (client, id) in clients.iter_mut().zip(ids) {
        assert_eq!(client.reply(id).await["type"], "ok");
    }
    let told = watcher.push_where("presence", |p| p.get("reset").is_some()).await;
    assert_eq!((&told["joined"], &told["left"]), (&json!([]), &json!([])));
    assert_eq!(
        watcher.ok("members", json!({"room": "chat:a"})).await["total"],
        CROWD
    );
}

/// Come and go in every way there is: what is counted at the end is exact, and returns to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_after_churn() {
    let server = Arc::new(
        TestServer::start(|c| {
            unhurried(c);
            c.rooms.counts_interval_ms = 20;
        })
        .await,
    );
    let mut people = Vec::new();
    for n in 0..5 {
        people.push(server.user(&format!("user{n}")).await);
    }
    let people: Arc<Vec<Person>> = Arc::new(people);
    let mut watcher = server.anonymous().await;
    join(&mut watcher, "chat:a").await;
    let visitors: Vec<_> = (0..12)
        .map(|visitor: usize| {
            let (server, people) = (Arc::clone(&server), Arc::clone(&people));
            tokio::spawn(async move {
                for round in 0..12 {
                    let person = &people[(visitor + round) % people.len()];
                    let token = json!({"token": person.tokens.access_token, "device": person.device});
                    let mut client = server.anonymous().await;
                    if round % 2 == 0 {
                        client.ok("auth", token.clone()).await;
                    }
                    join(&mut client, "chat:a").await;
                    match (visitor + round / 2) % 5 {
                        0 => client.cut(),
                        1 => {
                            client.ok("leave", json!({"room": "chat:a"})).await;
                            join(&mut client, "chat:a").await;
                            client.close(1000, "").await;
                            client.end().await;
                        }
                        2 => {
                            client.ok("auth", token).await;
                            client.send("leave", json!({"room": "chat:a"})).await;
                            client.cut();
                        }
                        3 => {
                            // Cut in the middle of a join.
                            client.send("join", json!({"room": "chat:b"})).await;
                            client.cut();
                        }
                        _ => {
                            client.send("leave", json!({"room": "chat:a"})).await;
                            client.send("join", json!({"room": "chat:a"})).await;
                            client.send("like", json!({"room": "chat:a", "n": 1})).await;
                            client.cut();
                        }
                    }
                }
            })
        })
        .collect();
    for visitor in visitors {
        within("a visitor", visitor).await.unwrap();
    }
    let node = Arc::clone(&server.node);
    until("all visitors are gone", || node.hub.connection_count() == 1).await;
    // Departures may still be on their way to the engine: the last counts push is the truth, and so is every join.
    let mut other = server.anonymous().await;
    let mut seen = join(&mut other, "chat:a").await["counts"].clone();
    while present(&seen) != (2, 0) {
        seen = other.push("counts").await;
    }
    assert_eq!(other.ok("members", json!({"room": "chat:a"})).await["total"], 0);
    other.ok("leave", json!({"room": "chat:a"})).await;
    watcher.ok("leave", json!({"room": "chat:a"})).await;
    for room in ["chat:a", "chat:b"] {
        assert_eq!(
            present(&join(&mut other, room).await["counts"]),
            (1, 0),
            "{room}: nobody was forgotten there"
        );
    }
    assert_eq!(node.hub.room_count(), 2);
    let mut alone = people[0].connect().await;
    assert_eq!(present(&join(&mut alone, "chat:a").await["counts"]), (2, 1));
}

fn code(reply: &Value) -> &str {
    reply["code"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_add_up() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.rooms.counts_interval_ms = 20;
        c.namespaces.get_mut("chat").unwrap().counters = vec!["likes".into(), "claps".into()];
    })
    .await;
    let mut watcher = server.anonymous().await;
    join(&mut watcher, "chat:a").await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let mut client = server.anonymous().await;
        tasks.push(tokio::spawn(async move {
            join(&mut client, "chat:a").await;
            let mut values = Vec::new();
            for _ in 0..25 {
                let liked = client.ok("like", json!({"room": "chat:a", "n": 3})).await;
                values.push(liked["value"].as_u64().unwrap());
            }
            client
                .ok("like", json!({"room": "chat:a", "counter": "claps", "n": 100}))
                .await;
            values
        }));
    }
    let mut values = Vec::new();
    for task in tasks {
        let mine = common::within("a fan", task).await.unwrap();
        assert!(mine.is_sorted());
        values.extend(mine);
    }
    values.sort_unstable();
    assert_eq!(
        values,
        (1..=100).map(|n| n * 3).collect::<Vec<u64>>(),
        "each like has its own value"
    );
    let told = watcher
        .push_where("counts", |c| c["counters"] == json!({"claps": 400, "likes": 300}))
        .await;
    assert!(told["version"].as_u64() > Some(0));

    for (fields, refusal) in [
        (json!({"room": "chat:a", "n": 0}), "bad_request"),
        (json!({"room": "chat:a", "n": 101}), "bad_request"),
        (json!({"room": "chat:a", "n": -1}), "bad_request"),
        (json!({"room": "chat:a", "n": 1.5}), "bad_request"),
        (json!({"room": "chat:a"}), "bad_request"),
        (
            json!({"room": "chat:a", "n": 1, "counter": "viewers"}),
            "not_found",
        ),
        (json!({"room": "chat:a", "n": 1, "counter": ""}), "not_found"),
        (
            json!({"room": "chat:a", "n": 1, "counter": "__proto__"}),
            "not_found",
        ),
    ] {
        assert_eq!(
            code(&watcher.refused("like", fields.clone()).await),
            refusal,
            "{fields}"
        );
    }
    assert_eq!(
        watcher.ok("like", json!({"room": "chat:a", "n": 1})).await["value"],
        301
    );
    assert_eq!(
        watcher
            .ok("like", json!({"room": "chat:a", "counter": "likes", "n": 100}))
            .await["value"],
        401
    );
    server.stop().await;
}
