//! The operator's console: what it is told, who is told, and what it does to connections and to the node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

#[path = "console/access.rs"]
mod access;
#[path = "console/acts.rs"]
mod acts;
#[path = "console/shown.rs"]
mod shown;

use common::http::Request;
use common::{Answer, TestServer, request};
use countersign::config::{Config, OperatorKey, Profile};
use serde_json::Value;

const KEY: &str = "operator-key-of-this-test";

fn operated(config: &mut Config) {
    config.limits_profile = Profile::Bench;
    // Those who say nothing stay for as long as a test takes.
    config.limits.unauthenticated_ms = 600_000;
    config.operator_key = Some(OperatorKey::new(KEY.into()));
}

fn operator(server: &TestServer, method: &'static str, path: &str) -> Request {
    request(server.operator, method, path).header("authorization", &format!("Bearer {KEY}"))
}

/// What the console is told.
async fn asked(server: &TestServer, path: &str) -> Value {
    let answer = operator(server, "GET", &format!("/admin/api/{path}"))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    answer.json()
}

/// What the console does.
async fn done(server: &TestServer, path: &str) -> Answer {
    operator(server, "POST", &format!("/admin/api/{path}"))
        .send()
        .await
}
