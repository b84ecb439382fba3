//! Stories over real sockets, and then the numbers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use countersign::core::outbox::Class;
use countersign::engine::{Create, Present};
use countersign::hub::{Connection, MemoryWire, Wire};
use countersign::ops::metrics::Format;
use countersign_protocol::RoomName;
use serde_json::json;

use crate::common::{Client, TestServer, engine_is_exact, request, until};
use crate::exposition::Exposition;

fn counts<const N: usize>(of: [(&str, f64); N]) -> BTreeMap<String, f64> {
    of.map(|(labels, n)| (labels.to_owned(), n)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_counted() {
    let server = TestServer::start(|_| {}).await;
    let (mut alice, mut bob) = (server.signed_in("alice").await, server.signed_in("bob").await);
    for client in [&mut alice, &mut bob] {
        client.ok("join", json!({"room": "chat:lobby"})).await;
    }
    let refused = alice
        .refused("send", json!({"room": "chat:elsewhere", "body": {}}))
        .await;
    assert_eq!(refused["code"], "not_joined");
    for n in 0..3 {
        let said = json!({"room": "chat:lobby", "body": {"n": n}});
        alice.ok("send", said).await;
        bob.push("message").await;
    }
    assert_eq!(alice.refused("dance", json!({})).await["code"], "unknown_command");
    let now = Exposition::when(server.operator, |now| {
        now.get("countersign_deliveries_total") >= 6.0
    })
    .await;
    assert_eq!(now.get("countersign_messages_total"), 3.0);
    if engine_is_exact() {
        assert_eq!(now.get("countersign_deliveries_total"), 6.0);
    }
    assert!(now.get("countersign_flush_frames_sum") >= 3.0);
    assert!(now.get("countersign_flush_seconds_count") >= 1.0);
    assert_eq!(
        now.nonzero("countersign_commands_total"),
        counts([
            ("type=auth,outcome=ok", 2.0),
            ("type=join,outcome=ok", 2.0),
            ("type=send,outcome=ok", 3.0),
            ("type=send,outcome=refused", 1.0),
            ("type=unread,outcome=refused", 1.0),
        ])
    );
    assert_eq!(
        now.nonzero("countersign_command_refusals_total"),
        counts([("code=not_joined", 1.0), ("code=unknown_command", 1.0)])
    );
    assert_eq!(now.get("countersign_received_frames_total"), 9.0);
    assert!(now.get("countersign_received_bytes_total") > 9.0 * 20.0);
    // To each a greeting, its replies, three messages and counts; how many of those, and of presence, is the room's.
    assert!(now.get("countersign_sent_frames_total") >= 2.0 + 9.0 + 6.0);
    assert!(now.get("countersign_sent_bytes_total") > 1_000.0);
    assert_eq!(now.nonzero("countersign_connections")["state=authenticated"], 2.0);
    assert_eq!(now.get("countersign_memberships"), 2.0);
    assert_eq!(now.get("countersign_rooms_joined"), 1.0);
    assert_eq!(now.get("countersign_outbox_limit_bytes"), 262_144.0);
    assert!(now.nonzero("countersign_drops_total").is_empty());
    let verbs = now.nonzero("countersign_engine_operations_total");
    assert_eq!(verbs["verb=append,outcome=ok"], 3.0);
    // The first of each thread that did one.
    let timed = now.get("countersign_engine_operation_seconds_count{verb=\"append\"}");
    assert!((1.0..=3.0).contains(&timed), "{timed}");
    if engine_is_exact() {
        assert_eq!(now.get("countersign_rooms"), 1.0);
        assert!(now.get("countersign_history_bytes") > 0.0);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_is_counted() {
    let server = TestServer::start(|c| c.allowed_origins = vec!["https://pages.example".into()]).await;
    let mut polite = server.anonymous().await;
    let mut rude = server.anonymous().await;
    let lost = server.anonymous().await;
    let foreign = Client::connect_with(server.addr, &[("origin", "https://evil.example")]).await;
    assert!(foreign.is_err());
    polite.close(1000, "bye").await;
    polite.end().await;
    rude.send_text("no JSON").await;
    assert_eq!(rude.end().await.code, 4501);
    lost.cut();
    let login = json!({"user_id": "nobody", "password": "a guess", "device": {"id": "d"}});
    let answer = request(server.addr, "POST", "/v1/login")
        .json(&login)
        .send()
        .await;
    assert_eq!(answer.status, 401);
    server.register("alice").await;
    let now = Exposition::when(server.operator, |now| {
        let closes = now.nonzero("countersign_closes_total");
        closes.values().sum::<f64>() >= 3.0
    })
    .await;
    let expected = counts([("code=4501", 1.0), ("code=lost", 1.0), ("code=peer", 1.0)]);
    assert_eq!(now.nonzero("countersign_closes_total"), expected);
    assert_eq!(
        now.nonzero("countersign_connections_opened_total"),
        counts([("transport=ws", 3.0)])
    );
    assert_eq!(
        now.nonzero("countersign_handshakes_total"),
        counts([("outcome=accepted", 3.0), ("outcome=origin_rejected", 1.0)])
    );
    assert_eq!(
        now.nonzero("countersign_auth_total"),
        counts([
            ("kind=password,outcome=refused", 1.0),
            ("kind=registration,outcome=ok", 1.0),
        ])
    );
    let answers = now.nonzero("countersign_http_requests_total");
    assert_eq!(answers["port=public,status=1xx"], 3.0);
    assert_eq!(answers["port=public,status=2xx"], 1.0);
    assert_eq!(answers["port=public,status=4xx"], 2.0);
    assert!(!answers.keys().any(|labels| labels.contains("5xx")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_counted_by_their_names() {
    let server = TestServer::start(|c| {
        c.limits.subscriptions_max = 1;
        (c.limits.like_rate.count, c.limits.like_rate.burst) = (1, 1);
        c.limits.like_rate.period_ms = 3_600_000;
        c.limits.connections_per_user_max = 1;
        c.limits.connections_per_address_max = 3;
        let once = &mut c.limits.login_address_rate;
        (once.count, once.period_ms, once.burst) = (3, 3_600_000, 3);
    })
    .await;
    let person = server.user("alice").await;
    let mut alice = person.connect().await;
    alice.ok("join", json!({"room": "chat:a"})).await;
    assert_eq!(
        alice.refused("join", json!({"room": "chat:b"})).await["code"],
        "limit_reached"
    );
    alice.ok("like", json!({"room": "chat:a", "n": 1})).await;
    assert_eq!(
        alice.refused("like", json!({"room": "chat:a", "n": 1})).await["code"],
        "rate_limited"
    );
    // What the requests before came over may still hold places.
    until("only alice is left", || server.node.sockets() == 1).await;
    let mut second = server.anonymous().await;
    let token = json!({"token": person.tokens.access_token, "device": person.device});
    second.send("auth", token).await;
    assert_eq!(second.end().await.code, 4504);
    let login = json!({"user_id": "nobody", "password": "a guess", "device": {"id": "d"}});
    let mut statuses = Vec::new();
    for _ in 0..2 {
        // A socket that has been told its end takes a moment to go.
        until("only alice is left", || server.node.sockets() == 1).await;
        let attempt = request(server.addr, "POST", "/v1/login").json(&login);
        statuses.push(attempt.send().await.status);
    }
    assert_eq!(statuses, [401, 429]);
    until("only alice is left", || server.node.sockets() == 1).await;
    let held = [server.anonymous().await, server.anonymous().await];
    let full = request(server.addr, "GET", "/").send().await;
    assert_eq!(full.status, 429);
    let now = Exposition::when(server.operator, |now| {
        now.nonzero("countersign_limited_total").len() >= 5
    })
    .await;
    assert_eq!(
        now.nonzero("countersign_limited_total"),
        counts([
            ("limit=connections_per_address_max", 1.0),
            ("limit=connections_per_user_max", 1.0),
            ("limit=like_rate", 1.0),
            ("limit=login_address_rate", 1.0),
            ("limit=subscriptions_max", 1.0),
        ])
    );
    drop(held);
    server.stop().await;
}

/// Names and labels of all samples.
fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

/// Ten thousand rooms and connections, and whoever is in them: not one series more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_series_does_not_grow() {
    const MANY: u64 = 10_000;
    let server = TestServer::start(|_| {}).await;
    let text = || server.node.metrics_text(Format::OpenMetrics);
    let read = || Exposition::parse(&text());
    let before = text();
    let node = &server.node;
    let mut connections = Vec::new();
    for n in 0..MANY {
        let room = RoomName::parse(&format!("chat:room-{n}")).unwrap();
        let wire = Wire::Memory(MemoryWire::counting());
        let connection = Connection::new(n, [192, 0, 2, 1].into(), wire, 65_536, 0);
        node.hub.register(&connection);
        let membership = node.hub.hold(&room, &connection);
        assert!(node.hub.release(&membership, Bytes::from_static(b"x"), 0));
        let presence = Present {
            connection: n,
            member: None,
        };
        let entered = node
            .engine
            .enter(room.clone(), presence, Create::Allowed, 1)
            .await;
        entered.unwrap();
        let frame = || b"a frame".to_vec();
        node.hub.publish_message(&room, frame, 1, Class::Normal);
        // Names that somebody makes up, in every place where a name is taken.
        let path = format!("/v1/qr/{n}/never-heard-of");
        if n % 1_000 == 0 {
            request(server.addr, "GET", &path).send().await;
            let login = json!({"user_id": format!("user-{n}"), "password": "a guess", "device": {"id": "d"}});
            request(server.addr, "POST", "/v1/login")
                .json(&login)
                .send()
                .await;
        }
        connections.push(connection);
    }
    let after = read();
    let text_after = text();
    assert_eq!(after.get("countersign_rooms_joined"), MANY as f64);
    assert_eq!(after.get("countersign_memberships"), MANY as f64);
    assert_eq!(after.get("countersign_messages_total"), MANY as f64);
    assert_eq!(series(&before), series(&text_after));
    for connection in &connections {
        node.hub.unregister(connection);
    }
    assert_eq!(read().get("countersign_memberships"), 0.0);
    server.stop().await;
}
