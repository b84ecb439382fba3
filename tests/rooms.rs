//! Rooms over real sockets: who may do what, under whose name, and in which order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use common::talk::{join, say, unhurried};
use common::{Client, TestServer};
use serde_json::{Value, json};

fn code(reply: &Value) -> &str {
    reply["code"].as_str().unwrap_or_default()
}

/// Everything of a type that was pushed until now: the answer to a ping comes behind it.
async fn pushed(client: &mut Client, kind: &str) -> Vec<Value> {
    client.ok("ping", json!({})).await;
    client.pushes.drain(..).filter(|p| p["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_have_one_spelling() {
    let server = TestServer::start(unhurried).await;
    let mut client = server.signed_in("alice").await;
    let longest = format!("chat:{}", "x".repeat(123));
    for (asked, stored) in [
        ("lobby", "default:lobby"),
        ("default:other", "default:other"),
        ("chat:a:b", "chat:a:b"),
        ("chat:A.b_c@d-9", "chat:A.b_c@d-9"),
        ("chat:a.b.hh", "chat:a.b.hh"),
        (&longest, &longest),
    ] {
        let joined = join(&mut client, asked).await;
        assert_eq!(joined["room"], stored);
        assert_eq!(
            say(&mut client, stored, &json!(asked)).await,
            1,
            "{asked} is a room of its own"
        );
        let message = client.push("message").await;
        assert_eq!(
            (&message["room"], &message["body"]),
            (&json!(stored), &json!(asked))
        );
    }
    let again = client.refused("join", json!({"room": "default:lobby"})).await;
    assert_eq!(code(&again), "already_joined", "both spellings are one room");
    assert_eq!(say(&mut client, "lobby", &json!(2)).await, 2);
    client.ok("leave", json!({"room": "default:lobby"})).await;
    assert_eq!(
        code(&client.refused("leave", json!({"room": "lobby"})).await),
        "not_joined"
    );

    let too_long = "x".repeat(121);
    let long = format!("chat:{}", "x".repeat(124));
    let bad = [
        "",
        ":",
        "chat:",
        ":x",
        "chat:.",
        "chat:..",
        ".:x",
        "..:x",
        ".",
        "..",
        "chat:a b",
        "chat:a\n",
        "chat:a\0",
        "chat:*",
        "chat:>",
        "chat:{a}",
        "chat:a/b",
        "chat:\u{e9}",
        "chat:a,b",
        "chat:\u{202e}x",
        "chat:a%00",
        too_long.as_str(),
        long.as_str(),
    ];
    for name in bad {
        for kind in ["join", "leave", "members", "history"] {
            let refused = client.refused(kind, json!({"room": name})).await;
            assert_eq!(code(&refused), "bad_request", "{kind} {name:?}");
        }
        assert_eq!(
            code(&client.refused("send", json!({"room": name, "body": 1})).await),
            "bad_request",
            "{name:?}"
        );
        assert_eq!(
            code(&client.refused("like", json!({"room": name, "n": 1})).await),
            "bad_request",
            "{name:?}"
        );
    }
    for name in ["nowhere:x", "Chat:x", "live:never-begun"] {
        assert_eq!(
            code(&client.refused("join", json!({"room": name})).await),
            "not_found",
            "{name}"
        );
    }
    assert_eq!(pushed(&mut client, "left").await, Vec::<Value>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_and_a_member_speaks() {
    let server = TestServer::start(|c| {
        unhurried(c);
        let closed = countersign::config::Namespace {
            anonymous: false,
            ..Default::default()
        };
        c.namespaces.insert("staff".into(), closed);
    })
    .await;
    let mut viewer = server.anonymous().await;
    let mut alice = server.signed_in("alice").await;

    for (kind, fields) in [
        ("leave", json!({"room": "chat:a"})),
        ("like", json!({"room": "chat:a", "n": 1})),
        ("members", json!({"room": "chat:a"})),
        ("history", json!({"room": "chat:a"})),
    ] {
        assert_eq!(code(&viewer.refused(kind, fields).await), "not_joined", "{kind}");
    }
    assert_eq!(
        code(&alice.refused("send", json!({"room": "chat:a", "body": 1})).await),
        "not_joined"
    );
    assert_eq!(
        code(&viewer.refused("join", json!({"room": "staff:a"})).await),
        "unauthenticated"
    );

    let joined = join(&mut viewer, "chat:a").await;
    assert_eq!(joined["me"], json!({"role": "viewer"}));
    assert_eq!((&joined["offset"], &joined["messages"]), (&json!(0), &json!([])));
    assert!(joined.get("recovered").is_none(), "nothing was asked for");
    let joined = join(&mut alice, "chat:a").await;
    assert_eq!(joined["me"], json!({"role": "member"}));
    assert_eq!(
        joined["info"],
        json!({"closed": false, "slow_mode_ms": 0, "version": 0})
    );

    let refused = viewer
        .refused("send", json!({"room": "chat:a", "body": "I am nobody"}))
        .await;
    assert_eq!(
        (code(&refused), &refused["retry"]),
        ("unauthenticated", &json!(false))
    );
    assert_eq!(
        viewer.ok("like", json!({"room": "chat:a", "n": 2})).await["value"],
        2
    );
    let members = viewer.ok("members", json!({"room": "chat:a"})).await;
    assert_eq!(
        members["members"],
        json!([{"id": "alice", "name": "alice of test", "role": "member"}])
    );
    assert_eq!((&members["total"], members.get("cursor")), (&json!(1), None));

    assert_eq!(say(&mut alice, "chat:a", &json!({"text": "hello"})).await, 1);
    let seen = viewer.push("message").await;
    let from = json!({"id": "alice", "name": "alice of test", "role": "member"});
    assert_eq!(
        (&seen["offset"], &seen["from"], &seen["body"]),
        (&json!(1), &from, &json!({"text": "hello"}))
    );
    let history = viewer.ok("history", json!({"room": "chat:a"})).await;
    assert_eq!(history["messages"], json!([seen]), "an entry is the push itself");

    // After leaving there is silence, and no way back in but to join.
    viewer.ok("leave", json!({"room": "chat:a"})).await;
    assert_eq!(say(&mut alice, "chat:a", &json!("behind your back")).await, 2);
    alice.push_where("message", |m| m["offset"] == 2).await;
    assert_eq!(pushed(&mut viewer, "message").await, Vec::<Value>::new());
    assert_eq!(
        code(&viewer.refused("history", json!({"room": "chat:a"})).await),
        "not_joined"
    );
    assert_eq!(
        code(&viewer.refused("leave", json!({"room": "chat:a"})).await),
        "not_joined"
    );
    server.stop().await;
}

/// Two hundred ways to say who one would like to be.
fn aliases() -> Vec<String> {
    let names = [
        "from",
        "sender",
        "user",
        "user_id",
        "userId",
        "author",
        "uid",
        "account",
        "name",
        "nick",
        "nickname",
        "role",
        "source",
        "session",
        "sid",
        "sub",
        "as",
        "actor",
        "owner",
        "identity",
        "stamp",
        "member",
        "profile",
        "avatar",
        "on_behalf_of",
    ];
    let mut all: Vec<String> = [
        "__proto__",
        "constructor",
        "prototype",
        "at_ms",
        "offset",
        "$from",
        "from ",
        "fro\u{200b}m",
    ]
    .map(str::to_owned)
    .into();
    for name in names {
        let mut title = name.to_owned();
        title[..1].make_ascii_uppercase();
        let upper = name.to_uppercase();
        all.extend([
            name.to_owned(),
            title,
            upper,
            format!("_{name}"),
            format!("__{name}__"),
            format!("{name}_id"),
            format!("message.{name}"),
            format!("x-{name}"),
        ]);
    }
    assert!(all.len() >= 200);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_sender_is_powerless() {
    let server = TestServer::start(unhurried).await;
    server.register("alice").await;
    let mut mallory = server.signed_in("mallory").await;
    let mut receiver = server.anonymous().await;
    join(&mut mallory, "chat:a").await;
    join(&mut receiver, "chat:a").await;
    let from = json!({"id": "mallory", "name": "mallory of test", "role": "member"});

    for (n, alias) in aliases().iter().enumerate() {
        let claimed = match n % 3 {
            0 => json!("alice"),
            1 => json!({"id": "alice", "name": "alice of test", "role": "owner"}),
            _ => json!(["alice"]),
        };
        let body = json!({alias: claimed, "text": n, "nested": {alias: claimed, "from": {"id": "alice"}}});
        let mut command = json!({"room": "chat:a", "body": body});
        command[alias] = claimed;
        let sent = mallory.ok("send", command).await;
        let seen = receiver.push("message").await;
        assert_eq!(
            (&seen["from"], &seen["offset"]),
            (&from, &sent["offset"]),
            "{alias:?}"
        );
        assert_eq!(seen["body"], body, "{alias:?}");
        let keys: Vec<&String> = seen.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["at_ms", "body", "from", "offset", "room", "type"],
            "{alias:?}"
        );
    }
    let newest = receiver
        .ok("history", json!({"room": "chat:a", "limit": 100}))
        .await;
    assert!(
        newest["messages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["from"] == from)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_given_twice_are_refused_and_bodies_are_not_read() {
    let server = TestServer::start(unhurried).await;
    let mut mallory = server.signed_in("mallory").await;
    let mut receiver = server.anonymous().await;
    join(&mut mallory, "chat:a").await;
    join(&mut receiver, "chat:a").await;
    for twice in [
        r#""from":"alice","from":"bob""#,
        r#""body":1"#,
        r#""room":"chat:a""#,
        r#""\u0074ype":"send""#,
        r#""x":1,"\u0078":2"#,
    ] {
        mallory
            .send_text(&format!(
                r#"{{"id":900,"type":"send","room":"chat:a","body":0,{twice}}}"#
            ))
            .await;
        let reply = mallory.reply(900).await;
        assert_eq!(
            (code(&reply), &reply["id"]),
            ("bad_request", &json!(900)),
            "{twice}"
        );
    }
    mallory
        .send_text(r#"{"id":900,"type":"send","room":"chat:a","body":0,"\u0069d":903}"#)
        .await;
    assert_eq!(
        code(&mallory.reply(903).await),
        "bad_request",
        "two ids: the last is answered"
    );
    // A body is the sender's own: twice the same key in it, or a deep nest, is nobody's business but theirs.
    let deep = format!("{}1{}", "[".repeat(15), "]".repeat(15));
    for body in [
        r#"{"from":"alice","from":"bob"}"#,
        r#"{"\u0066rom":"alice","type":"message","offset":1}"#,
        " [ 1 , 1.0 , 1e300 , -0 , 123456789012345678901234567890 ] ",
        r#""\u202e\ud83d\ude00\\""#,
        "null",
        "false",
        "\"\"",
        &deep,
    ] {
        mallory
            .send_text(&format!(
                r#"{{"id":901,"type":"send","room":"chat:a","body":{body}}}"#
            ))
            .await;
        let reply = mallory.reply(901).await;
        assert_eq!(reply["type"], "ok", "{body}: {reply}");
        let seen = receiver.read_text("message").await;
        assert!(seen.contains(body.trim()), "{body} came as {seen}");
        assert!(seen.contains(r#""from":{"id":"mallory""#), "{seen}");
    }
    let too_deep = format!("{}1{}", "[".repeat(16), "]".repeat(16));
    mallory
        .send_text(&format!(
            r#"{{"id":902,"type":"send","room":"chat:a","body":{too_deep}}}"#
        ))
        .await;
    assert_eq!(code(&mallory.reply(902).await), "bad_request");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_cid_counts_once() {
    let server = TestServer::start(unhurried).await;
    let alice_here = server.user("alice").await;
    let (mut alice, mut bob) = (alice_here.connect().await, server.signed_in("bob").await);
    for client in [&mut alice, &mut bob] {
        join(client, "chat:a").await;
        join(client, "chat:b").await;
    }
    let command = |room: &str, cid: &str, body: &Value| json!({"room": room, "cid": cid, "body": body});
    let body = json!({"text": "once"});
    let first = alice.ok("send", command("chat:a", "c-1", &body)).await;
    assert!(first.get("duplicate").is_none());
    for _ in 0..3 {
        let again = alice.ok("send", command("chat:a", "c-1", &body)).await;
        assert_eq!(again["duplicate"], true);
        assert_eq!(
            (&again["offset"], &again["at_ms"]),
            (&first["offset"], &first["at_ms"])
        );
    }
    // Another connection of the same user is the same sender: that is what a retry after a lost reply is.
    let mut retry = alice_here.connect().await;
    join(&mut retry, "chat:a").await;
    assert_eq!(
        retry.ok("send", command("chat:a", "c-1", &body)).await["duplicate"],
        true
    );

    let conflict = alice
        .refused("send", command("chat:a", "c-1", &json!("other")))
        .await;
    assert_eq!((code(&conflict), &conflict["retry"]), ("conflict", &json!(false)));
    // The same cid of somebody else, or in another room, is another message.
    assert_eq!(bob.ok("send", command("chat:a", "c-1", &body)).await["offset"], 2);
    assert_eq!(
        alice.ok("send", command("chat:b", "c-1", &body)).await["offset"],
        1
    );

    let longest = "x".repeat(64);
    assert_eq!(
        alice.ok("send", command("chat:a", &longest, &body)).await["offset"],
        3
    );
    for bad in [
        json!(""),
        json!("x".repeat(65)),
        json!("\u{e9}".repeat(33)),
        json!(7),
    ] {
        let refused = alice
            .refused("send", json!({"room": "chat:a", "body": 1, "cid": bad}))
            .await;
        assert_eq!(code(&refused), "bad_request", "{bad}");
    }
    say(&mut bob, "chat:a", &json!("last")).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|m: &Value| m["body"] != "last") {
        seen.push(bob.push_where("message", |m| m["room"] == "chat:a").await);
    }
    let offsets: Vec<_> = seen.iter().map(|m| m["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [1, 2, 3, 4], "nothing was delivered twice");
    assert_eq!(seen[0]["cid"], "c-1", "the sender recognises its own");
    server.stop().await;
}

/// One write with everything in it: commands of a room take effect in the order sent, and every one is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_commands_of_a_room_keep_their_order() {
    let server = TestServer::start(unhurried).await;
    let mut alice = server.signed_in("alice").await;
    let mut witness = server.anonymous().await;
    join(&mut witness, "chat:a").await;
    let mut commands = vec![json!({"type": "join", "room": "chat:a"})];
    for n in 0..40 {
        commands.push(json!({"type": "send", "room": "chat:a", "body": n}));
        commands.push(json!({"type": "like", "room": "chat:a", "n": 1}));
        if n % 10 == 0 {
            commands.push(json!({"type": "join", "room": format!("chat:side{n}")}));
        }
    }
    commands.push(json!({"type": "leave", "room": "chat:a"}));
    commands.push(json!({"type": "send", "room": "chat:a", "body": "too late"}));
    commands.push(json!({"type": "join", "room": "chat:a"}));
    commands.push(json!({"type": "send", "room": "chat:a", "body": 40}));
    let texts: Vec<String> = commands
        .iter_mut()
        .enumerate()
        .map(|(n, command)| {
            command["id"] = json!(1000 + n);
            command.to_string()
        })
        .collect();
    alice.send_at_once(&texts).await;
    let (mut offset, mut likes) = (0, 0);
    for (n, command) in commands.iter().enumerate() {
        let reply = alice.reply(1000 + n as u64).await;
        match (command["type"].as_str().unwrap(), &command["body"]) {
            ("send", body) if body == "too late" => assert_eq!(code(&reply), "not_joined"),
            ("send", _) => {
                offset += 1;
                assert_eq!(reply["offset"], offset, "{command}");
            }
            ("like", _) => {
                likes += 1;
                assert_eq!(reply["value"], likes);
            }
            _ => assert_eq!(reply["type"], "ok", "{command}: {reply}"),
        }
    }
    for n in 0..=40 {
        let seen = witness.push("message").await;
        assert_eq!((&seen["offset"], &seen["body"]), (&json!(n + 1), &json!(n)));
    }
    server.stop().await;
}
