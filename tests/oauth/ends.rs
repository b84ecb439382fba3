//! How it ends otherwise, and how it ends once.

use std::sync::Arc;

use countersign_protocol::oauth::{DEVICE_CODE_GRANT, OAuthTokens};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::common::TestServer;
use crate::common::qr::{deny, scan, text};
use crate::stage::{GUEST, READER, Screen, TV, ask, by_code, clients, refresh, refused, server, with_token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_too_often_is_told_to_slow_down() {
    let server = TestServer::start(|config| {
        clients(config);
        config.oauth.interval_ms = 60_000;
    })
    .await;
    let screen = Screen::open(&server, READER, "").await;
    assert_eq!(screen.opened["interval"], 60);
    let mut told = Vec::new();
    for _ in 0..4 {
        let answer = screen.exchange().await;
        assert_eq!(answer.status, 400);
        told.push(text(&answer.json()["error"]));
    }
    // Two at once are borne: they come so when the network held one back.
    assert_eq!(told[..2], ["authorization_pending", "authorization_pending"]);
    assert!(told[2..].contains(&"slow_down".to_owned()), "{told:?}");
    // It is nobody else's rate.
    let other = Screen::open(&server, READER, "").await;
    refused(&other.exchange().await, 400, "authorization_pending");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_revoked_and_locked_are_told() {
    let server = server().await;
    let phone = server.user("alice").await;
    let denied = Screen::open(&server, READER, "").await;
    let token = text(&scan(&phone, &denied.qr_id).await.json()["scan_token"]);
    assert_eq!(deny(&phone, &denied.qr_id, &token).await.status, 200);
    refused(&denied.exchange().await, 400, "access_denied");

    // Whoever said yes is signed out before the device asks.
    let revoked = Screen::open(&server, READER, "").await;
    revoked.confirmed_by(&phone).await;
    assert_eq!(phone.request("POST", "/v1/logout").send().await.status, 204);
    refused(&revoked.exchange().await, 400, "access_denied");

    let bob = server.user("bob").await;
    let locked = Screen::open(&server, TV, "openid").await;
    let before = Screen::open(&server, TV, "openid").await;
    let tokens = before.tokens(&bob).await;
    locked.confirmed_by(&bob).await;
    server.node.lock_account("bob").await.unwrap();
    refused(&locked.exchange().await, 400, "access_denied");
    refused(
        &before.refresh(&tokens["refresh_token"]).await,
        400,
        "invalid_grant",
    );
    let info = with_token(&server, "/oauth/userinfo", &tokens["access_token"], None).await;
    refused(&info, 401, "invalid_token");
    refused(&before.exchange().await, 400, "access_denied");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_is_told() {
    let server = TestServer::start(|config| {
        clients(config);
        config.oauth.lifetime_ms = 1_000;
    })
    .await;
    let expired = Screen::open(&server, READER, "").await;
    assert_eq!(expired.opened["expires_in"], 1);
    let mut last = String::new();
    crate::common::within("it expires", async {
        while last != "expired_token" {
            last = text(&expired.exchange().await.json()["error"]);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    refused(&expired.exchange().await, 400, "expired_token");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_exchanges_are_one_session() {
    const MANY: usize = 64;
    let server = Arc::new(server().await);
    let phone = server.user("alice").await;
    let screen = Screen::open(&server, TV, "openid").await;
    screen.confirmed_by(&phone).await;
    let together = Arc::new(Barrier::new(MANY));
    let mut all = JoinSet::new();
    for _ in 0..MANY {
        let (server, together) = (Arc::clone(&server), Arc::clone(&together));
        let code = screen.device_code.clone();
        all.spawn(async move {
            let fields = [("grant_type", DEVICE_CODE_GRANT), ("device_code", &code)];
            let asked = ask(&server, TV, "token", &fields);
            together.wait().await;
            asked.send().await
        });
    }
    let answers = all.join_all().await;
    let first = &answers[0];
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(answers.iter().all(|answer| answer.body == first.body));
    first.read::<OAuthTokens>();
    let sessions = phone.request("GET", "/v1/sessions").send().await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "{sessions}");
    // Nor does the phone's later word change it.
    assert_eq!(by_code(&phone, &screen.user_code).await.status, 409);
}

/// Somebody else's app never gets what is good here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_party_has_no_device_here() {
    let server = server().await;
    let phone = server.user("alice").await;
    let on_device = ask(&server, GUEST, "device_authorization", &[]).header("countersign-device", "screen-1");
    refused(&on_device.send().await, 400, "unauthorized_client");
    let tokens = Screen::open(&server, GUEST, "openid").await.tokens(&phone).await;
    let me = with_token(&server, "/v1/me", &tokens["access_token"], Some("screen-1")).await;
    assert_eq!(me.status, 401);
    // One that becomes somebody else's loses what it had.
    let screen = Screen::open_on(&server, READER, "openid", Some("screen-1")).await;
    let waiting = Screen::open_on(&server, READER, "openid", Some("screen-2")).await;
    let tokens = screen.tokens(&phone).await;
    waiting.confirmed_by(&phone).await;
    let mut config = (**server.node.config()).clone();
    config.clients.get_mut("reader").unwrap().third_party = true;
    server.node.reload(config).unwrap();
    refused(
        &screen.refresh(&tokens["refresh_token"]).await,
        400,
        "invalid_grant",
    );
    refused(&waiting.exchange().await, 400, "unauthorized_client");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_taken_out_goes_on_no_further() {
    let server = server().await;
    let phone = server.user("alice").await;
    let had = Screen::open_on(&server, READER, "openid", Some("screen-1")).await;
    let tokens = had.tokens(&phone).await;
    let waiting = Screen::open(&server, READER, "openid").await;
    waiting.confirmed_by(&phone).await;
    let mut config = (**server.node.config()).clone();
    config.clients.remove("reader");
    server.node.reload(config).unwrap();
    refused(&waiting.exchange().await, 401, "invalid_client");
    refused(
        &had.refresh(&tokens["refresh_token"]).await,
        401,
        "invalid_client",
    );
    refused(
        &ask(&server, READER, "device_authorization", &[]).send().await,
        401,
        "invalid_client",
    );
    let own =
        crate::common::request(server.addr, "POST", "/v1/refresh").header("countersign-device", "screen-1");
    let own = own
        .json(&json!({"refresh_token": tokens["refresh_token"]}))
        .send()
        .await;
    assert_eq!(own.status, 401);
    // The person sees whose it was, by the name that is left.
    let sessions = phone.request("GET", "/v1/sessions").send().await.text();
    assert!(sessions.contains("\"client\":\"reader\""), "{sessions}");
    // What does not ask the client goes on until it lapses.
    let me = with_token(&server, "/v1/me", &tokens["access_token"], Some("screen-1")).await;
    assert_eq!(me.status, 200);
    server.stop().await;
}

/// Whom a client does not admit is not signed in to it, nor kept signed in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_keeps_whom_it_admits() {
    let server = server().await;
    let phone = server.user("alice").await;
    let screen = Screen::open(&server, TV, "openid").await;
    let tokens = screen.tokens(&phone).await;
    let mut config = (**server.node.config()).clone();
    config.clients.get_mut("tv").unwrap().users = vec!["bob".into()];
    server.node.reload(config.clone()).unwrap();
    refused(
        &refresh(&server, TV, &tokens["refresh_token"], None).await,
        400,
        "invalid_grant",
    );
    let other = Screen::open(&server, TV, "").await;
    let refusal = by_code(&phone, &other.user_code).await;
    assert_eq!(
        (refusal.status, &refusal.json()["code"]),
        (403, &json!("policy_denied"))
    );
    // Admitted again, nothing was lost by it.
    config.clients.get_mut("tv").unwrap().users = vec!["bob".into(), "alice".into()];
    server.node.reload(config).unwrap();
    assert_eq!(screen.refresh(&tokens["refresh_token"]).await.status, 200);
    server.stop().await;
}
