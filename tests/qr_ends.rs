//! How a QR login ends for the phone: what it is told, and what it can still do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use common::qr::{Pc, code, confirm, deny, scan, scan_token, text, to_ticket};
use common::{Answer, Person, TestServer, until, within};
use countersign::config::StepUp;
use countersign_protocol::server::MatchMode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

fn ask(phone: &Person, qr_id: &str) -> JoinHandle<Answer> {
    tokio::spawn(phone.request("GET", &format!("/v1/qr/{qr_id}/outcome")).send())
}

/// A question that the gateway has begun to wait with.
async fn asked(server: &TestServer, phone: &Person, pc: &Pc) -> JoinHandle<Answer> {
    let waiting = server.node.hub.awaited_count();
    let asked = ask(phone, &pc.qr_id);
    until("a phone waits", || server.node.hub.awaited_count() > waiting).await;
    asked
}

async fn answer(asked: JoinHandle<Answer>) -> Value {
    let answer = within("the outcome", asked).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("no-store")),
        "{}",
        answer.text()
    );
    answer.json()
}

/// Nobody waits any more, and nothing is followed for them.
async fn forgotten(server: &TestServer) {
    until("nobody waits", || server.node.hub.awaited_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_phone_is_told_when_the_pc_is_signed_in_and_can_end_that_session() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let ticket = to_ticket(&mut pc, &phone).await;
    let waiting = asked(&server, &phone, &pc).await;
    let redeemed = pc.redeem(&ticket).await;
    let told = answer(waiting).await;
    assert_eq!(told, json!({"state": "redeemed", "session": redeemed["session"]}));
    forgotten(&server).await;
    // Asked again, it is answered at once.
    assert_eq!(answer(ask(&phone, &pc.qr_id)).await, told);

    let path = format!("/v1/sessions/{}", text(&told["session"]));
    assert_eq!(phone.request("DELETE", &path).send().await.status, 204);
    let closed = pc.client.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4503, "revoked"));
    assert_eq!(phone.request("DELETE", &path).send().await.status, 404);
    server.stop().await;
}

/// Every other end is told with its reason, to whoever waits and to whoever asks later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_has_its_reason() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;

    let mut pc = Pc::open(&server).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let waiting = asked(&server, &phone, &pc).await;
    deny(&phone, &pc.qr_id, &token).await;
    assert_eq!(
        answer(waiting).await,
        json!({"state": "denied", "reason": "user"})
    );
    pc.client.push_where("qr", |p| p["state"] == "denied").await;

    let mut pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    let waiting = asked(&server, &phone, &pc).await;
    let claim = pc.claim();
    pc.client.ok("qr.cancel", claim).await;
    assert_eq!(
        answer(waiting).await,
        json!({"state": "cancelled", "reason": "user"})
    );

    let mut pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    let waiting = asked(&server, &phone, &pc).await;
    pc.client.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    assert_eq!(
        answer(waiting).await,
        json!({"state": "cancelled", "reason": "superseded"})
    );

    let mut pc = Pc::open(&server).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let right = text(&pc.becomes("scanned").await["match"]["code"]);
    let wrong = if right == "00" { "01" } else { "00" };
    let waiting = asked(&server, &phone, &pc).await;
    for _ in 0..3 {
        confirm(&phone, &pc.qr_id, &token, Some(wrong)).await;
    }
    assert_eq!(
        answer(waiting).await,
        json!({"state": "denied", "reason": "match_failed"})
    );

    let mut pc = Pc::open(&server).await;
    to_ticket(&mut pc, &phone).await;
    let other = server.login("alice", "alice-tablet").await;
    let tablet = Person {
        addr: server.addr,
        device: "alice-tablet".into(),
        tokens: other,
    };
    let waiting = asked(&server, &phone, &pc).await;
    let path = format!("/v1/sessions/{}", phone.tokens.session);
    assert_eq!(tablet.request("DELETE", &path).send().await.status, 204);
    assert_eq!(
        answer(waiting).await,
        json!({"state": "denied", "reason": "revoked"}),
        "the phone that scanned has lost its session"
    );
    forgotten(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_done_in_time_is_told_too() {
    let server = TestServer::start(|c| {
        c.qr.scanned_ms = 300;
        c.qr.confirmed_ms = 300;
    })
    .await;
    let phone = server.user("alice").await;
    let pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    assert_eq!(
        answer(ask(&phone, &pc.qr_id)).await,
        json!({"state": "expired", "reason": "unconfirmed"})
    );
    let server_2 = TestServer::start(|c| c.qr.confirmed_ms = 300).await;
    let phone = server_2.user("alice").await;
    let mut pc = Pc::open(&server_2).await;
    to_ticket(&mut pc, &phone).await;
    assert_eq!(
        answer(ask(&phone, &pc.qr_id)).await,
        json!({"state": "expired", "reason": "unredeemed"})
    );
    server.stop().await;
    server_2.stop().await;
}

/// The wait has a bound of its own, beyond those of other requests and of resting connections; then the phone is
/// told how things stand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_with_the_live_state() {
    let server = TestServer::start(|c| {
        c.limits.request_ms = 2_000;
        c.limits.keep_alive_ms = 2_000;
        c.limits.head_ms = 2_000;
        c.limits.outcome_wait_ms = 5_000;
    })
    .await;
    let phone = server.user("alice").await;
    let pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    assert_eq!(answer(ask(&phone, &pc.qr_id)).await, json!({"state": "scanned"}));
    forgotten(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_goes_away_is_forgotten() {
    let server = TestServer::start(|c| c.limits.outcome_wait_ms = 600_000).await;
    let phone = server.user("alice").await;
    let pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    let waiting = asked(&server, &phone, &pc).await;
    waiting.abort();
    forgotten(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_wait_for_phones() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    let waiting = asked(&server, &phone, &pc).await;
    server.stop().await;
    assert_eq!(answer(waiting).await, json!({"state": "scanned"}));
}

/// The same answer to everybody else, whoever they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_hears_of_it() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let stranger = server.user("bob").await;
    let tablet = Person {
        addr: server.addr,
        device: "alice-tablet".into(),
        tokens: server.login("alice", "alice-tablet").await,
    };
    let pc = Pc::open(&server).await;
    let unscanned = ask(&phone, &pc.qr_id).await.unwrap();
    scan_token(&phone, &pc.qr_id).await;
    let unknown = ask(&phone, "AAAAAAAAAAAAAAAAAAAAAA").await.unwrap();
    let foreign = ask(&stranger, &pc.qr_id).await.unwrap();
    let elsewhere = ask(&tablet, &pc.qr_id).await.unwrap();
    for told in [&unscanned, &unknown, &foreign, &elsewhere] {
        assert_eq!((told.status, &told.body), (404, &unknown.body));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_listed_and_signed_out() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let bob = server.user("bob").await;
    let person = async |device: &str| Person {
        addr: server.addr,
        device: device.into(),
        tokens: server.login("alice", device).await,
    };
    let (tablet, tv) = (person("tablet").await, person("tv").await);
    let listed = phone.request("GET", "/v1/sessions").send().await;
    assert_eq!(listed.header("cache-control"), Some("no-store"));
    let sessions = listed.json()["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 3, "not those of others: {sessions:?}");
    for session in &sessions {
        assert_eq!(session["device"]["name"], "test device");
        assert_eq!(session["ip"], "127.0.0.1");
        assert!(session["created_at_ms"].as_u64() <= session["last_seen_at_ms"].as_u64());
        assert_eq!(session["current"], session["id"] == phone.tokens.session);
    }
    let path = format!("/v1/sessions/{}", tv.tokens.session);
    assert_eq!(bob.request("DELETE", &path).send().await.status, 404, "not his");
    assert_eq!(tablet.request("DELETE", &path).send().await.status, 204);
    assert_eq!(tv.request("GET", "/v1/me").send().await.status, 401);

    for wrong in ["/v1/sessions", "/v1/sessions?except=all"] {
        assert_eq!(phone.request("DELETE", wrong).send().await.status, 400, "{wrong}");
    }
    let mut socket = tablet.connect().await;
    let others = phone
        .request("DELETE", "/v1/sessions?except=current")
        .send()
        .await;
    assert_eq!(others.status, 204);
    assert_eq!(socket.end().await.code, 4503);
    assert_eq!(tablet.request("GET", "/v1/me").send().await.status, 401);
    assert_eq!(phone.request("GET", "/v1/me").send().await.status, 200);
    assert_eq!(bob.request("GET", "/v1/me").send().await.status, 200);
    server.stop().await;
}

/// The digits are on the phone; typed on the PC they show that both are in one hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pc_can_be_the_one_that_types() {
    let server = TestServer::start(|c| c.qr.match_mode = MatchMode::PcTypes).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let mut answer_with = pc.claim();
    answer_with["code"] = json!("00");
    let early = pc.client.refused("qr.answer", answer_with.clone()).await;
    assert_eq!(early["code"], "conflict", "nobody has scanned");

    let scanned = scan(&phone, &pc.qr_id).await.json();
    let (token, digits) = (text(&scanned["scan_token"]), text(&scanned["match"]["code"]));
    let push = pc.becomes("scanned").await;
    assert_eq!(
        push["match"],
        json!({"mode": "pc_types"}),
        "the PC is not told them"
    );
    let unanswered = confirm(&phone, &pc.qr_id, &token, None).await;
    assert_eq!(
        (unanswered.status, code(&unanswered).as_str()),
        (422, "match_required"),
        "a yes from whoever sees the screen is not enough"
    );
    let by_the_phone = confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
    assert_eq!(code(&by_the_phone), "match_required");

    let wrong = if digits == "00" { "01" } else { "00" };
    answer_with["code"] = json!(wrong);
    let refused = pc.client.refused("qr.answer", answer_with.clone()).await;
    assert_eq!(
        (&refused["code"], &refused["tries_left"]),
        (&json!("match_failed"), &json!(2))
    );
    answer_with["code"] = json!(digits);
    pc.client.ok("qr.answer", answer_with.clone()).await;
    assert_eq!(pc.becomes("scanned").await["matched"], true);
    // A repeat after a lost reply changes nothing.
    pc.client.ok("qr.answer", answer_with).await;
    assert_eq!(confirm(&phone, &pc.qr_id, &token, None).await.status, 200);
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);
    assert_eq!(pc.redeem(&ticket).await["user"]["id"], "alice");

    let mut foreign = server.anonymous().await;
    let mut pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    let mut stolen = pc.claim();
    stolen["code"] = json!("00");
    assert_eq!(
        foreign.refused("qr.answer", stolen.clone()).await["code"],
        "not_found",
        "the claim from another device"
    );
    for left in [2, 1, 0] {
        stolen["code"] = json!("x");
        let refused = pc.client.refused("qr.answer", stolen.clone()).await;
        assert_eq!(
            (&refused["code"], &refused["tries_left"]),
            (&json!("match_failed"), &json!(left))
        );
    }
    let denied = pc.client.push_where("qr", |p| p["state"] == "denied").await;
    assert_eq!(denied["reason"], "match_failed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_configured_a_confirmation_takes_the_password() {
    let server = TestServer::start(|c| {
        c.qr.step_up = StepUp::Always;
        // Much is asked of it while it is confirmed.
        c.qr.confirmed_ms = 300_000;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    let path = format!("/v1/qr/{}/confirm", pc.qr_id);
    let confirm_with = async |password: Option<&str>| {
        let mut body = json!({"scan_token": token, "code": digits});
        if let Some(password) = password {
            body["password"] = json!(password);
        }
        phone.request("POST", &path).json(&body).send().await
    };
    for password in [None, Some("not the password")] {
        let refused = confirm_with(password).await;
        assert_eq!(
            (refused.status, code(&refused).as_str()),
            (403, "step_up_required")
        );
        assert_eq!(refused.json()["methods"], json!(["password"]));
    }
    assert_eq!(confirm_with(Some("correct horse")).await.status, 200);
    // An answer that was lost: the same again, from this session and from another of the account on this device.
    let again = Person {
        addr: server.addr,
        device: phone.device.clone(),
        tokens: server.login("alice", &phone.device).await,
    };
    for person in [&phone, &again] {
        for password in [json!("correct horse"), json!("not the password"), Value::Null] {
            let body = json!({"scan_token": token, "code": digits, "password": password});
            let refused = person.request("POST", &path).json(&body).send().await;
            assert_eq!(
                (refused.status, code(&refused).as_str()),
                (409, "already_confirmed"),
                "{password}"
            );
        }
    }
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);
    assert_eq!(pc.redeem(&ticket).await["user"]["id"], "alice");
    let late = confirm_with(None).await;
    assert_eq!((late.status, code(&late).as_str()), (409, "already_final"));
    server.stop().await;
}

/// Whoever cannot confirm is not asked for a password, and none that comes is tried: that would use up what the account
/// has, and tell whether it was right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_tried_only_where_it_decides() {
    let server = TestServer::start(|c| {
        c.qr.step_up = StepUp::Always;
        c.qr.scanned_ms = 300_000;
        // The sign-ins of the phone and of the tablet, and one more.
        let few = &mut c.limits.login_account_rate;
        (few.count, few.period_ms, few.burst) = (3, 3_600_000, 3);
    })
    .await;
    let phone = server.user("alice").await;
    let tablet = Person {
        addr: server.addr,
        device: "alice-tablet".into(),
        tokens: server.login("alice", "alice-tablet").await,
    };
    let mut pc = Pc::open(&server).await;
    let path = format!("/v1/qr/{}/confirm", pc.qr_id);
    let confirm_as = async |person: &Person, token: &str, digits: &str, password: &str| {
        let body = json!({"scan_token": token, "code": digits, "password": password});
        let answer = person.request("POST", &path).json(&body).send().await;
        (answer.status, answer.json()["code"].clone())
    };
    let invalid = (403, json!("scan_token_invalid"));
    let unscanned = confirm_as(&phone, "no token", "00", "a guess").await;
    assert_eq!(unscanned, invalid);
    let token = scan_token(&phone, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    for n in 0..4 {
        let forged = confirm_as(&phone, "no token", &digits, "a guess").await;
        let foreign = confirm_as(&tablet, &token, &digits, "a guess").await;
        assert_eq!((&forged, &foreign), (&invalid, &invalid), "{n}");
    }
    // The password comes before the number: neither is tried where it is missing.
    let body = json!({"scan_token": token, "code": "not digits"});
    let asked = phone.request("POST", &path).json(&body).send().await;
    assert_eq!((asked.status, code(&asked).as_str()), (403, "step_up_required"));
    // There is one try left, and it is the right one: of the number, all three are.
    let wrong = if digits == "00" { "01" } else { "00" };
    let body = json!({"scan_token": token, "code": wrong, "password": "correct horse"});
    let failed = phone.request("POST", &path).json(&body).send().await;
    assert_eq!(
        (failed.status, &failed.json()["tries_left"]),
        (422, &json!(2)),
        "{}",
        failed.text()
    );
    let spent = confirm_as(&phone, &token, &digits, "correct horse").await;
    assert_eq!(spent, (429, json!("rate_limited")));
    server.stop().await;
}
