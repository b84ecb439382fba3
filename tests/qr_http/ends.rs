//! How a QR login ends without anybody's no, told once for every way there is.

use std::time::Duration;

use countersign::core::attempt::{Attempt, Outcome, QrId, Step};
use countersign::engine::AttemptRef;
use serde_json::json;

use super::screen::{Over, Screen};
use super::stories::{eager, told};
use crate::common::qr::{code, confirm, scan, scan_token, text};
use crate::common::{Person, TestServer, within};

/// The next change is this end, the last there is, and everything that comes later finds it.
async fn ends(pc: &mut Screen, phone: &Person, seq: u64, state: &str, reason: &str) {
    let end = pc.becomes(state).await;
    assert_eq!(
        told(&end),
        json!({"type": "qr", "qr_id": "…", "seq": seq, "state": state, "reason": reason})
    );
    pc.has_ended().await;
    for late in ["cancel", "answer", "redeem"] {
        let refused = pc.say(late, json!({"code": "00", "ticket": "x"})).await;
        assert_eq!(refused, Err("already_final".into()), "{late}");
    }
    let status = if state == "expired" { 410 } else { 409 };
    let redeem = pc.request("POST", "/redeem").json(&json!({"ticket": "x"}));
    for answer in [redeem.send().await, scan(phone, &pc.qr_id).await] {
        let (found, problem) = (answer.status, answer.json());
        assert_eq!(
            (found, &problem["code"], &problem["state"], &problem["reason"]),
            (status, &json!("already_final"), &json!(state), &json!(reason))
        );
    }
}

/// Scans, and reads the number from the screen.
async fn scanned(pc: &mut Screen, phone: &Person) -> (String, String) {
    let token = scan_token(phone, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    (token, digits)
}

/// A phone that asks for an end later: another than one that was signed out.
async fn bystander(server: &TestServer) -> Person {
    server.user("bob").await
}

pub(crate) async fn three_wrong_numbers(over: Over) {
    let server = TestServer::start(eager).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    let (token, digits) = scanned(&mut pc, &phone).await;
    let wrong = if digits == "00" { "01" } else { "00" };
    for left in [2, 1, 0] {
        let refused = confirm(&phone, &pc.qr_id, &token, Some(wrong)).await;
        assert_eq!((refused.status, code(&refused).as_str()), (422, "match_failed"));
        assert_eq!(refused.json()["tries_left"], left);
    }
    ends(&mut pc, &phone, 3, "denied", "match_failed").await;
    // Not even the right one goes on.
    let late = confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
    assert_eq!((late.status, code(&late).as_str()), (409, "already_final"));
    server.stop().await;
}

pub(crate) async fn signed_out_before_the_yes(over: Over) {
    let server = TestServer::start(eager).await;
    let (phone, other) = (server.user("alice").await, bystander(&server).await);
    let mut pc = Screen::open(&server, over).await;
    let (token, digits) = scanned(&mut pc, &phone).await;
    assert_eq!(phone.request("POST", "/v1/logout").send().await.status, 204);
    ends(&mut pc, &other, 3, "denied", "revoked").await;
    let late = confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
    assert_eq!((late.status, code(&late).as_str()), (401, "invalid_token"));
    server.stop().await;
}

/// The ticket is there, and worth nothing.
pub(crate) async fn signed_out_after_the_yes(over: Over) {
    let server = TestServer::start(eager).await;
    let (phone, other) = (server.user("alice").await, bystander(&server).await);
    let mut pc = Screen::open(&server, over).await;
    let (token, digits) = scanned(&mut pc, &phone).await;
    assert_eq!(
        confirm(&phone, &pc.qr_id, &token, Some(&digits)).await.status,
        200
    );
    let ticket = pc.becomes("confirmed").await["ticket"].clone();
    assert_eq!(phone.request("POST", "/v1/logout").send().await.status, 204);
    ends(&mut pc, &other, 4, "denied", "revoked").await;
    assert_eq!(
        pc.say("redeem", json!({"ticket": ticket})).await,
        Err("already_final".into())
    );
    server.stop().await;
}

/// A socket has one live code: opening another ends it, whichever way its PC hears of that. One that a stream watches by
/// then is that stream's, and goes on.
pub(crate) async fn a_newer_code(over: Over) {
    let server = TestServer::start(eager).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, Over::WebSocket).await;
    if over == Over::WebSocket {
        pc.open_another().await;
        ends(&mut pc, &phone, 2, "cancelled", "superseded").await;
        server.stop().await;
        return;
    }
    let mut socket = pc.take_socket();
    let another = json!({"device": {"id": super::screen::DEVICE}});
    if over == Over::Events {
        pc.stream(Some(1)).await;
        socket.ok("qr.open", another.clone()).await;
        scan_token(&phone, &pc.qr_id).await;
        pc.becomes("scanned").await;
        pc = Screen::open(&server, Over::WebSocket).await;
        socket = pc.take_socket();
    }
    socket.ok("qr.open", another).await;
    if over == Over::Events {
        pc.stream(Some(1)).await;
    }
    ends(&mut pc, &phone, 2, "cancelled", "superseded").await;
    server.stop().await;
}

/// It was shown for as long as a code may be, and nobody scanned it.
pub(crate) async fn idle(over: Over) {
    let server = TestServer::start(|c| {
        eager(c);
        c.qr.lifetime_ms = 2_000;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    ends(&mut pc, &phone, 2, "expired", "idle").await;
    server.stop().await;
}

/// Looks without showing that anybody is there.
async fn has_final_state(server: &TestServer, qr_id: &str) -> bool {
    let mut look = |_: &Attempt| Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    };
    let which = AttemptRef::Id(QrId::parse(qr_id).unwrap());
    let now = server.node.clock.now();
    let found = server.node.engine.update_attempt(which, &mut look, now).await;
    found.unwrap().unwrap().attempt.state().is_final()
}

/// Its PC went away, and comes back too late.
pub(crate) async fn left(over: Over) {
    let server = TestServer::start(|c| {
        eager(c);
        c.qr.idle_ms = 300;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    match over {
        Over::WebSocket => drop(pc.take_socket()),
        Over::Events => drop(pc.take_events()),
        Over::Polling => {}
    }
    within("it ends", async {
        while !has_final_state(&server, &pc.qr_id).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    match over {
        Over::WebSocket => pc.socket(&server, 1).await,
        Over::Events => pc.stream(Some(1)).await,
        Over::Polling => {}
    }
    ends(&mut pc, &phone, 2, "expired", "idle").await;
    server.stop().await;
}

/// The yes came, and its PC did nothing with it.
pub(crate) async fn unredeemed(over: Over) {
    let server = TestServer::start(|c| {
        eager(c);
        c.qr.confirmed_ms = 2_000;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    let (token, digits) = scanned(&mut pc, &phone).await;
    assert_eq!(
        confirm(&phone, &pc.qr_id, &token, Some(&digits)).await.status,
        200
    );
    let mut ticket = json!(null);
    if over == Over::Polling {
        // On a slow machine it may be over before it is asked.
        within("it expires", async {
            loop {
                let now = pc.poll().await.json();
                match now["state"].as_str() {
                    Some("confirmed") => ticket = now["ticket"].clone(),
                    Some("expired") => return,
                    _ => panic!("{now}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    } else {
        ticket = pc.becomes("confirmed").await["ticket"].clone();
    }
    ends(&mut pc, &phone, 4, "expired", "unredeemed").await;
    if ticket.is_string() {
        let late = pc.say("redeem", json!({"ticket": ticket})).await;
        assert_eq!(late, Err("already_final".into()));
    }
    let sessions = phone.request("GET", "/v1/sessions").send().await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
    server.stop().await;
}
