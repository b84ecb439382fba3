//! Words of a client in a room.

use countersign::config::{Config, Profile};
use serde_json::{Value, json};

use super::Client;

/// Rates that no test meets; every bound stays.
pub fn unhurried(config: &mut Config) {
    config.limits_profile = Profile::Bench;
    // Nobody is closed for a pong that waits behind what it does not read.
    config.limits.ping_interval_ms = 600_000;
}

pub async fn join(client: &mut Client, room: &str) -> Value {
    client.ok("join", json!({"room": room})).await
}

pub async fn resume(client: &mut Client, room: &str, epoch: &Value, offset: u64) -> Value {
    client
        .ok(
            "join",
            json!({"room": room, "after": {"epoch": epoch, "offset": offset}}),
        )
        .await
}

pub async fn say(client: &mut Client, room: &str, body: &Value) -> u64 {
    offset(&client.ok("send", json!({"room": room, "body": body})).await)
}

pub fn offset(message: &Value) -> u64 {
    message["offset"]
        .as_u64()
        .unwrap_or_else(|| panic!("no offset in {message}"))
}

pub fn offsets(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(offset).collect()
}

/// Sends a round of numbered messages without waiting in between.
pub async fn send_round(client: &mut Client, name: &str, from: u64, n: u64) {
    let mut ids = Vec::new();
    for i in from..from + n {
        let cid = format!("{name}-{i}");
        ids.push(
            client
                .send(
                    "send",
                    json!({"room": "chat:a", "body": {"by": name, "n": i}, "cid": cid}),
                )
                .await,
        );
    }
    let mut last = 0;
    for id in ids {
        let reply = client.reply(id).await;
        assert!(offset(&reply) > last, "acknowledged in order: {reply}");
        last = offset(&reply);
    }
}
