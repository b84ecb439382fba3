//! Attacks on a QR login, each against the real gateway over real sockets: threats 3 to 7, 9 and 10 of the list in
//! `SECURITY.md`. Where a ticket goes (8) is in `tests/fire.rs`, whose lines remember every byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what must hold"
)]

mod common;
#[path = "threats/crossing.rs"]
mod crossing;
#[path = "threats/device_code.rs"]
mod device_code;
#[path = "threats/enumeration.rs"]
mod enumeration;
#[path = "threats/last_byte.rs"]
mod last_byte;
#[path = "threats/lines.rs"]
mod lines;
#[path = "common/raw.rs"]
mod raw;
#[path = "threats/relay.rs"]
mod relay;
#[path = "threats/replay.rs"]
mod replay;
#[path = "threats/stranger.rs"]
mod stranger;

use common::{Answer, TestServer};
use countersign::config::{Config, Profile};
use countersign::core::attempt::{Attempt, Outcome, QrId, Step};
use countersign::engine::AttemptRef;
use countersign_protocol::server::MatchMode;

/// Rates out of the way; the digits stay.
fn unhurried(config: &mut Config) {
    config.limits_profile = Profile::Bench;
    // A thousand times a thousand: in a long run one account scans and confirms more often than even that profile allows.
    config.limits.qr_phone_rate.burst = 1_000;
    // Long runs outlast a token.
    config.tokens.access_ms = 86_400_000;
}

/// Without digits: what is attacked is something else.
fn no_number(config: &mut Config) {
    unhurried(config);
    config.qr.match_mode = MatchMode::None;
}

/// An attempt to the last bit.
async fn record(server: &TestServer, qr_id: &str) -> String {
    let mut look = |_: &Attempt| Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    };
    let which = AttemptRef::Id(QrId::parse(qr_id).unwrap());
    let found = server
        .node
        .engine
        .update_attempt(which, &mut look, server.node.clock.now());
    serde_json::to_string(&*found.await.unwrap().unwrap().attempt).unwrap()
}

fn is(answer: &Answer, status: u16, name: &str) {
    let found = answer.json()["code"].as_str().map(str::to_owned);
    assert_eq!(
        (answer.status, found.as_deref()),
        (status, Some(name)),
        "{}",
        answer.text()
    );
}
