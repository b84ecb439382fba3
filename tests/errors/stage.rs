//! A gateway with somebody who makes the mistakes and somebody who must not notice.

use countersign::config::{Config, Profile};
use countersign_protocol::ErrorCode;
use serde_json::{Value, json};

use crate::common::{Answer, Client, Person, TestServer};

pub(crate) const ROOM: &str = "chat:stage";

pub(crate) struct Stage {
    pub(crate) server: TestServer,
    pub(crate) alice: Person,
    /// Alice's connection, in the room.
    pub(crate) actor: Client,
    /// A connection without a user, in the room.
    pub(crate) nobody: Client,
    /// Another user's connection, in the room.
    witness: Client,
}

impl Stage {
    /// A stage with the limits of `change`.
    pub(crate) async fn set(change: impl FnOnce(&mut Config)) -> Self {
        let server = TestServer::start(change).await;
        let alice = server.user("alice").await;
        let mut actor = alice.connect().await;
        let mut nobody = server.anonymous().await;
        let mut witness = server.signed_in("wendy").await;
        for client in [&mut actor, &mut nobody, &mut witness] {
            client.ok("join", json!({"room": ROOM})).await;
        }
        Self {
            server,
            alice,
            actor,
            nobody,
            witness,
        }
    }

    /// Without limits in the way but those of sizes.
    pub(crate) fn unhurried(config: &mut Config) {
        config.limits_profile = Profile::Bench;
    }

    /// The witness speaks, and everybody in the room hears it next: memberships are intact, nothing came in between,
    /// and the room's numbers go on.
    pub(crate) async fn everybody_is_as_before(&mut self) {
        self.only_witness_and(true).await;
    }

    /// The same for a stage whose actor is meant to be gone.
    pub(crate) async fn others_are_as_before(&mut self) {
        self.only_witness_and(false).await;
    }

    async fn only_witness_and(&mut self, actor: bool) {
        let sent = self
            .witness
            .ok("send", json!({"room": ROOM, "body": "all is well"}))
            .await;
        let mut heard = vec![&mut self.witness, &mut self.nobody];
        if actor {
            heard.push(&mut self.actor);
        }
        for client in heard {
            client.ok("ping", json!({})).await;
            let seen = client
                .push_where("message", |m| m["room"] == ROOM && m["offset"] == sent["offset"])
                .await;
            assert_eq!(
                (&seen["from"]["id"], &seen["body"]),
                (&json!("wendy"), &json!("all is well"))
            );
            let members = client.ok("members", json!({"room": ROOM})).await;
            assert!(members["total"].as_u64() >= Some(if actor { 2 } else { 1 }));
        }
    }

    /// Alice still is Alice and may speak.
    pub(crate) async fn actor_speaks(&mut self) {
        let sent = self
            .actor
            .ok("send", json!({"room": ROOM, "body": "still me"}))
            .await;
        let seen = self
            .witness
            .push_where("message", |m| m["room"] == ROOM && m["offset"] == sent["offset"])
            .await;
        assert_eq!(seen["from"]["id"], "alice");
    }

    pub(crate) async fn strike(self) {
        drop((self.actor, self.nobody, self.witness));
        self.server.stop().await;
    }
}

/// An error reply as the contract has it. `timed`: it says when the same can succeed.
pub(crate) fn assert_error(reply: &Value, id: &Value, code: ErrorCode, timed: bool) {
    assert_eq!(
        (&reply["type"], &reply["id"], &reply["code"]),
        (&json!("error"), id, &json!(code.name())),
        "{reply}"
    );
    assert_eq!(reply["retry"], json!(code.retry() || timed), "{reply}");
    assert_eq!(
        reply["after_ms"].as_u64().is_some_and(|ms| ms > 0),
        timed,
        "{reply}"
    );
    let text = reply["message"].as_str().unwrap();
    assert!(!text.is_empty() && text.len() <= 300, "{reply}");
}

/// A problem as the contract has it.
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: ErrorCode) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["code"]),
        (status, &json!(code.name())),
        "{body}"
    );
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        (&body["type"], &body["status"]),
        (&json!("about:blank"), &json!(status)),
        "{body}"
    );
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    assert_eq!(
        answer.header("www-authenticate").is_some(),
        status == 401,
        "{body}"
    );
    let retry_after = answer.header("retry-after").map(|s| s.parse::<u64>().unwrap());
    assert_eq!(retry_after.is_some(), status == 429 || status == 503, "{body}");
    if let (Some(seconds), Some(after_ms)) = (retry_after, body["after_ms"].as_u64()) {
        assert!(
            seconds * 1_000 >= after_ms && after_ms > 0,
            "{seconds} s for {after_ms} ms"
        );
    }
}
