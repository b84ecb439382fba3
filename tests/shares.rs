//! What all share, no one uses up: a room's rate, the rooms of a node, the memory of the system.

#![allow(clippy::unwrap_used, reason = "a test says what must hold")]

mod common;

use std::time::Duration;

use common::{TestServer, within};
use countersign::config::Config;
use countersign::config::limits::RateLimit;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_one_rate_over_all_connections() {
    let server = TestServer::start(|c| {
        c.limits.message_rate_per_user = RateLimit {
            count: 1,
            period_ms: 60_000,
            burst: 3,
        };
    })
    .await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (mut first, mut second, mut other) =
        (alice.connect().await, alice.connect().await, bob.connect().await);
    for client in [&mut first, &mut second, &mut other] {
        client.ok("join", json!({"room": "chat:a"})).await;
    }
    let say = || json!({"room": "chat:a", "body": 1});
    first.ok("send", say()).await;
    second.ok("send", say()).await;
    first.ok("send", say()).await;
    for client in [&mut first, &mut second] {
        let refused = client.refused("send", say()).await;
        assert_eq!(
            (&refused["code"], &refused["retry"]),
            (&json!("rate_limited"), &json!(true))
        );
        assert!(refused["after_ms"].as_u64().unwrap() > 0);
    }
    other.ok("send", say()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_in_which_nothing_happened_frees_its_place() {
    let server = TestServer::start(|c| c.limits.rooms_max = 2).await;
    let mut client = server.anonymous().await;
    for room in ["chat:a", "chat:b"] {
        client.ok("join", json!({"room": room})).await;
        client.ok("leave", json!({"room": room})).await;
    }
    // The default would keep them for five minutes, and the node would be full for as long.
    within("a place", async {
        while client.call("join", json!({"room": "chat:c"})).await["type"] != "ok" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    server.stop().await;
}

#[test]
fn a_send_buffer_out_of_bounds_is_refused_at_start() {
    for (bytes, sound) in [
        (16 * 1024 - 1, false),
        (16 * 1024, true),
        (16 << 20, true),
        ((16 << 20) + 1, false),
    ] {
        let mut config = Config::default();
        config.limits.send_buffer_bytes = bytes;
        assert_eq!(config.validate().is_ok(), sound, "{bytes}");
    }
}
