//! What an app learns and keeps: nothing of who scanned before it may, nothing for whom it no longer admits, and no guesses
//! of those who type right codes.

use countersign::config::Config;
use serde_json::{Value, json};

use super::stage::{GUEST, READER, Screen, TV, by_code, clients, refused, server, with_token};
use crate::common::qr::{code, scan};
use crate::common::{Answer, TestServer, request};

/// A refresh at our own API.
async fn refreshed(server: &TestServer, token: &Value, device: &str) -> Answer {
    request(server.addr, "POST", "/v1/refresh")
        .header("countersign-device", device)
        .json(&json!({"refresh_token": token}))
        .send()
        .await
}

fn reload(server: &TestServer, change: impl FnOnce(&mut Config)) {
    let mut config = (**server.node.config()).clone();
    change(&mut config);
    server.node.reload(config).unwrap();
}

/// Wherever it is refreshed, and whether it was confirmed before.
#[tokio::test]
async fn whom_a_client_no_longer_admits_gets_nothing_more() {
    let server = server().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let admit_alice = |config: &mut Config| {
        config.clients.get_mut("reader").unwrap().users = vec!["alice".into()];
    };
    let of_bob = Screen::open_on(&server, READER, "", Some("tv-1"))
        .await
        .tokens(&bob)
        .await;
    let of_alice = Screen::open_on(&server, READER, "", Some("tv-2"))
        .await
        .tokens(&alice)
        .await;
    let confirmed = Screen::open(&server, READER, "").await;
    confirmed.confirmed_by(&bob).await;
    reload(&server, admit_alice);
    refused(&confirmed.exchange().await, 400, "access_denied");
    let answer = refreshed(&server, &of_bob["refresh_token"], "tv-1").await;
    assert_eq!((answer.status, code(&answer)), (401, "invalid_token".into()));
    assert_eq!(
        refreshed(&server, &of_alice["refresh_token"], "tv-2")
            .await
            .status,
        200
    );
    // Nothing was ended by it: admitted again, it goes on.
    reload(&server, |config| {
        config.clients.get_mut("reader").unwrap().users.clear()
    });
    assert_eq!(
        refreshed(&server, &of_bob["refresh_token"], "tv-1").await.status,
        200
    );
    assert_eq!(confirmed.exchange().await.status, 200);
    server.stop().await;
}

/// Before anything is confirmed an app is told who scanned only where it asks for the name, or is the person's own.
#[tokio::test]
async fn a_name_is_told_to_who_may_have_it() {
    let server = server().await;
    let alice = server.user("alice").await;
    let named = |event: &Value| event["user"]["name"].clone();
    for (client, scope, device, told) in [
        (READER, "", None, false),
        (GUEST, "openid", None, false),
        (TV, "watch", None, false),
        (TV, "watch profile", None, true),
        (READER, "", Some("tv-1"), true),
    ] {
        let screen = Screen::open_on(&server, client, scope, device).await;
        assert_eq!(scan(&alice, &screen.qr_id).await.status, 200);
        let look = request(server.addr, "GET", &format!("/v1/qr/{}", screen.qr_id))
            .header("authorization", &format!("Claim {}", screen.device_code))
            .header("countersign-device", device.unwrap_or("any"));
        let event = look.send().await.json();
        assert_eq!(event["state"], "scanned", "{event}");
        assert_eq!(!named(&event).is_null(), told, "{scope:?}: {event}");
        assert!(event["user"]["avatar"].is_null());
        assert_eq!(
            event["match"]["code"],
            screen.user_code.as_str(),
            "what is to be shown is told"
        );
    }
    server.stop().await;
}

/// Whoever types what is really there spends no guess, however often, and whatever else refuses them.
#[tokio::test]
async fn right_codes_cost_nothing() {
    let server = TestServer::start(|config| {
        clients(config);
        config.limits.user_code_account_rate.burst = 1;
        config.limits.qr_phone_rate.count = 1;
        config.limits.qr_phone_rate.period_ms = 3_600_000;
        config.limits.qr_phone_rate.burst = 3;
    })
    .await;
    let alice = server.user("alice").await;
    let screen = Screen::open(&server, READER, "").await;
    for _ in 0..3 {
        assert_eq!(by_code(&alice, &screen.user_code).await.status, 200);
    }
    for _ in 0..5 {
        let answer = by_code(&alice, &screen.user_code).await;
        assert_eq!(answer.status, 429);
        assert!(
            answer.text().contains("scans and confirmations"),
            "{}",
            answer.text()
        );
    }
    // The one guess there is, is still there; then it is not, for right codes either.
    assert_eq!(by_code(&alice, "BBBB-BBBB").await.status, 404);
    for typed in ["BBBB-BBBB", &screen.user_code] {
        let answer = by_code(&alice, typed).await;
        assert!(
            answer.status == 429 && answer.text().contains("that were none"),
            "{}",
            answer.text()
        );
    }
    let me = with_token(
        &server,
        "/v1/me",
        &json!(alice.tokens.access_token),
        Some(&alice.device),
    )
    .await;
    assert_eq!(me.status, 200);
    server.stop().await;
}
