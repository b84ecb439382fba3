//! What happens to a QR login, told once for every way there is.

use countersign::config::Config;
use countersign::config::limits::RateLimit;
use countersign_protocol::server::MatchMode;
use serde_json::{Value, json};

use super::screen::{DEVICE, Over, Screen};
use crate::common::qr::{confirm, deny, scan, scan_token, text};
use crate::common::{TestServer, request};

/// Polls as often as a test likes.
pub(crate) fn eager(config: &mut Config) {
    config.limits.qr_poll_rate = RateLimit {
        count: 1_000,
        period_ms: 1_000,
        burst: 1_000,
    };
}

/// A change without what is another in each run.
pub(crate) fn told(change: &Value) -> Value {
    let mut told = change.clone();
    let fields = told.as_object_mut().unwrap();
    for name in ["qr_id", "url", "rotate_in_ms", "expires_in_ms", "ticket"] {
        if let Some(value) = fields.get_mut(name) {
            assert!(value.is_string() || value.is_u64(), "{name}: {value}");
            *value = json!("…");
        }
    }
    told
}

/// Scans, types the digits, redeems: the PC is signed in, and a lost reply is given again.
pub(crate) async fn success(over: Over) {
    let server = TestServer::start(eager).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let scanned = pc.next().await;
    let digits = text(&scanned["match"]["code"]);
    assert_eq!(
        told(&scanned),
        json!({"type": "qr", "qr_id": "…", "seq": 2, "state": "scanned", "user": {"name": "alice of test"},
            "match": {"mode": "phone_types", "code": digits}, "expires_in_ms": "…"})
    );
    let early = pc.say("redeem", json!({"ticket": "x"})).await;
    assert_eq!(early, Err("conflict".into()));
    assert_eq!(
        confirm(&phone, &pc.qr_id, &token, Some(&digits)).await.status,
        200
    );
    let confirmed = pc.next().await;
    assert_eq!(
        told(&confirmed),
        json!({"type": "qr", "qr_id": "…", "seq": 3, "state": "confirmed", "ticket": "…", "expires_in_ms": "…"})
    );
    let wrong = pc.say("redeem", json!({"ticket": pc.claim})).await;
    assert_eq!(wrong, Err("not_found".into()));
    let ticket = json!({"ticket": confirmed["ticket"]});
    let redeemed = pc.say("redeem", ticket.clone()).await.unwrap();
    assert_eq!(
        (&redeemed["user"]["id"], &redeemed["token_type"]),
        (&json!("alice"), &json!("Bearer"))
    );
    let last = pc.becomes("redeemed").await;
    assert_eq!(
        told(&last),
        json!({"type": "qr", "qr_id": "…", "seq": 4, "state": "redeemed"})
    );
    assert_eq!(pc.say("redeem", ticket.clone()).await.unwrap(), redeemed);
    // From anywhere that has claim and device.
    let elsewhere = pc.request("POST", "/redeem").json(&ticket).send().await;
    assert_eq!((elsewhere.status, elsewhere.json()), (200, redeemed.clone()));

    let me = request(server.addr, "GET", "/v1/me")
        .header(
            "authorization",
            &format!("Bearer {}", text(&redeemed["access_token"])),
        )
        .header("countersign-device", DEVICE)
        .send()
        .await;
    assert_eq!(
        (me.status, &me.json()["session"], &me.json()["device"]),
        (
            200,
            &redeemed["session"],
            &json!({"name": "Office PC", "kind": "pc"})
        )
    );
    pc.has_ended().await;
    server.stop().await;
}

pub(crate) async fn denial(over: Over) {
    let server = TestServer::start(eager).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    assert_eq!(deny(&phone, &pc.qr_id, &token).await.status, 200);
    let end = pc.becomes("denied").await;
    assert_eq!(
        told(&end),
        json!({"type": "qr", "qr_id": "…", "seq": 3, "state": "denied", "reason": "user"})
    );
    pc.has_ended().await;
    for late in ["cancel", "answer", "redeem"] {
        let refused = pc.say(late, json!({"code": "00", "ticket": "x"})).await;
        assert_eq!(refused, Err("already_final".into()), "{late}");
    }
    server.stop().await;
}

pub(crate) async fn cancellation(over: Over) {
    let server = TestServer::start(eager).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    assert_eq!(pc.say("cancel", json!({})).await, Ok(json!({})));
    let end = pc.becomes("cancelled").await;
    assert_eq!(
        told(&end),
        json!({"type": "qr", "qr_id": "…", "seq": 2, "state": "cancelled", "reason": "user"})
    );
    pc.has_ended().await;
    assert_eq!(scan(&phone, &pc.qr_id).await.status, 409);
    server.stop().await;
}

pub(crate) async fn expiry(over: Over) {
    let server = TestServer::start(|c| {
        eager(c);
        // Longer than a slow machine takes between two polls.
        c.qr.scanned_ms = 3_000;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    scan_token(&phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    let end = pc.becomes("expired").await;
    assert_eq!(end["reason"], "unconfirmed");
    pc.has_ended().await;
    let gone = pc
        .request("POST", "/redeem")
        .json(&json!({"ticket": "x"}))
        .send()
        .await;
    assert_eq!(
        (gone.status, &gone.json()["state"], &gone.json()["reason"]),
        (410, &json!("expired"), &json!("unconfirmed"))
    );
    server.stop().await;
}

/// The new code is told, and works; so does every id it ever had, for the PC.
pub(crate) async fn rotation(over: Over) {
    let server = TestServer::start(|c| {
        eager(c);
        // A code works for two periods: longer than a slow machine needs to follow and to scan.
        c.qr.rotate_ms = 2_000;
        c.qr.lifetime_ms = 24_000;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    let rotated = pc.becomes("waiting").await;
    let fresh = text(&rotated["qr_id"]);
    assert_ne!(fresh, pc.qr_id);
    assert_eq!(rotated["url"], format!("{}/q/{fresh}", server.url("")));
    assert!(rotated["rotate_in_ms"].is_u64() && rotated["expires_in_ms"].is_u64());
    assert_eq!(scan(&phone, &fresh).await.status, 200);
    loop {
        let change = pc.next().await;
        match change["state"].as_str() {
            // The machine was slow.
            Some("waiting") => {}
            Some("scanned") => break,
            _ => panic!("{change}"),
        }
    }
    pc.say("cancel", json!({})).await.unwrap();
    pc.becomes("cancelled").await;
    pc.has_ended().await;
    server.stop().await;
}

/// The digits are on the phone, and typed on the PC.
pub(crate) async fn answer(over: Over) {
    let server = TestServer::start(|c| {
        eager(c);
        c.qr.match_mode = MatchMode::PcTypes;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, over).await;
    let early = pc.say("answer", json!({"code": "00"})).await;
    assert_eq!(early, Err("conflict".into()));
    let scanned = scan(&phone, &pc.qr_id).await.json();
    assert_eq!(pc.becomes("scanned").await["match"], json!({"mode": "pc_types"}));
    let digits = text(&scanned["match"]["code"]);
    let wrong = if digits == "00" { "01" } else { "00" };
    assert_eq!(
        pc.say("answer", json!({"code": wrong})).await,
        Err("match_failed".into())
    );
    assert_eq!(pc.say("answer", json!({"code": digits})).await, Ok(json!({})));
    assert_eq!(pc.becomes("scanned").await["matched"], true);
    let token = text(&scanned["scan_token"]);
    assert_eq!(confirm(&phone, &pc.qr_id, &token, None).await.status, 200);
    let ticket = pc.becomes("confirmed").await["ticket"].clone();
    let redeemed = pc.say("redeem", json!({"ticket": ticket})).await.unwrap();
    assert_eq!(redeemed["user"]["id"], "alice");
    pc.becomes("redeemed").await;
    pc.has_ended().await;
    server.stop().await;
}
