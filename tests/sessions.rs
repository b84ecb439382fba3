//! Sessions: how they are renewed, how many there are, and how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use std::sync::Arc;

use common::talk::unhurried;
use common::{Answer, Person, TestServer, request, within};
use countersign_protocol::http::Tokens;
use serde_json::{Value, json};

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.json()["code"].as_str().unwrap()),
        (status, code),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
}

async fn refresh(server: &TestServer, token: &str, device: &str) -> Answer {
    let request = request(server.addr, "POST", "/v1/refresh").header("countersign-device", device);
    request.json(&json!({"refresh_token": token})).send().await
}

async fn me(server: &TestServer, token: &str, device: Option<&str>) -> Answer {
    let request = request(server.addr, "GET", "/v1/me").header("authorization", &format!("Bearer {token}"));
    match device {
        Some(device) => request.header("countersign-device", device).send().await,
        None => request.send().await,
    }
}

fn auth(tokens: &Tokens, device: &str) -> Value {
    json!({"token": tokens.access_token, "device": device})
}

async fn login(server: &TestServer, user: &str, password: &str, device: &str) -> Answer {
    let body = json!({"user_id": user, "password": password, "device": {"id": device}});
    request(server.addr, "POST", "/v1/login").json(&body).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_rotates_and_reuse_ends_the_session() {
    let server = TestServer::start(|c| {
        unhurried(c);
        c.tokens.refresh_grace_ms = 60_000;
    })
    .await;
    let alice = server.user("alice").await;
    let old = &alice.tokens.refresh_token;
    let bare = request(server.addr, "POST", "/v1/refresh")
        .json(&json!({"refresh_token": old}))
        .send()
        .await;
    refused(&bare, 400, "bad_request");
    let first = refresh(&server, old, &alice.device).await;
    assert_eq!(
        (first.status, first.header("cache-control")),
        (200, Some("no-store"))
    );
    let first = first.json();
    assert_ne!(first["refresh_token"], json!(old));
    assert_ne!(first["access_token"], json!(alice.tokens.access_token));
    assert_eq!(
        (&first["session"], &first["user"]["id"]),
        (&json!(alice.tokens.session), &json!("alice"))
    );
    // The reply was lost: within the grace the same token on the same device gets the same pair.
    assert_eq!(refresh(&server, old, &alice.device).await.json(), first);
    let fresh = first["access_token"].as_str().unwrap();
    assert_eq!(me(&server, fresh, Some(&alice.device)).await.status, 200);
    let second = refresh(&server, first["refresh_token"].as_str().unwrap(), &alice.device)
        .await
        .json();
    // Guesses end nothing.
    let guess = format!("{}.{}.{}", alice.tokens.session, "A".repeat(43), "A".repeat(43));
    for token in [
        "",
        "x",
        ".",
        &guess,
        &alice.tokens.session,
        &alice.tokens.access_token,
    ] {
        refused(
            &refresh(&server, token, &alice.device).await,
            401,
            "invalid_token",
        );
    }
    let newest = second["access_token"].as_str().unwrap();
    assert_eq!(me(&server, newest, Some(&alice.device)).await.status, 200);
    // On another device it was stolen, or its owner was stolen from.
    let mut socket = server.anonymous().await;
    socket
        .ok("auth", json!({"token": newest, "device": alice.device}))
        .await;
    refused(
        &refresh(&server, old, "somebody-elses").await,
        401,
        "invalid_token",
    );
    assert_eq!(socket.end().await.code, 4503);
    refused(
        &me(&server, newest, Some(&alice.device)).await,
        401,
        "invalid_token",
    );
    let last = second["refresh_token"].as_str().unwrap();
    refused(&refresh(&server, last, &alice.device).await, 401, "invalid_token");

    // From another device even the current one is a stolen one.
    let bob = server.user("bob").await;
    refused(
        &refresh(&server, &bob.tokens.refresh_token, "other").await,
        401,
        "invalid_token",
    );
    refused(
        &me(&server, &bob.tokens.access_token, Some(&bob.device)).await,
        401,
        "invalid_token",
    );
    server.stop().await;

    let strict = TestServer::start(|c| c.tokens.refresh_grace_ms = 0).await;
    let carol = strict.user("carol").await;
    assert_eq!(
        refresh(&strict, &carol.tokens.refresh_token, &carol.device)
            .await
            .status,
        200
    );
    refused(
        &refresh(&strict, &carol.tokens.refresh_token, &carol.device).await,
        401,
        "invalid_token",
    );
    strict.stop().await;
}

/// One refresh token, sixteen callers at once: one new pair, and everybody who asks has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_refreshes_are_one() {
    let server = Arc::new(TestServer::start(unhurried).await);
    let alice = server.user("alice").await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (server, token, device) = (
                Arc::clone(&server),
                alice.tokens.refresh_token.clone(),
                alice.device.clone(),
            );
            tokio::spawn(async move { refresh(&server, &token, &device).await.json() })
        })
        .collect();
    let mut pairs = Vec::new();
    for caller in callers {
        pairs.push(within("a caller", caller).await.unwrap());
    }
    assert!(pairs.iter().all(|p| *p == pairs[0]), "{pairs:#?}");
    assert_eq!(
        me(
            &server,
            pairs[0]["access_token"].as_str().unwrap(),
            Some(&alice.device)
        )
        .await
        .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_ends_tokens_and_sockets() {
    let server = TestServer::start(unhurried).await;
    let phone = server.user("alice").await;
    let mut watching = phone.connect().await;
    let laptop = Person {
        addr: server.addr,
        device: "laptop".into(),
        tokens: server.login("alice", "laptop").await,
    };
    let told = watching.push("session").await;
    assert_eq!(
        (&told["state"], &told["session"]),
        (&json!("new_device"), &json!(laptop.tokens.session))
    );
    assert_eq!(told["device"], json!({"name": "test device", "kind": "ios"}));
    assert_eq!(told["ip"], "127.0.0.1");

    let mut sockets = [laptop.connect().await, laptop.connect().await];
    for socket in &mut sockets {
        socket.ok("join", json!({"room": "chat:a"})).await;
    }
    watching.ok("join", json!({"room": "chat:a"})).await;
    assert_eq!(laptop.request("POST", "/v1/logout").send().await.status, 204);
    for socket in &mut sockets {
        let closed = socket.end().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4503, "revoked"));
        let told: Vec<_> = socket.pushes.iter().filter(|p| p["type"] == "session").collect();
        assert_eq!((told.len(), &told[0]["state"]), (1, &json!("revoked")));
    }
    refused(
        &me(&server, &laptop.tokens.access_token, Some("laptop")).await,
        401,
        "invalid_token",
    );
    refused(
        &refresh(&server, &laptop.tokens.refresh_token, "laptop").await,
        401,
        "invalid_token",
    );
    refused(
        &laptop.request("POST", "/v1/logout").send().await,
        401,
        "invalid_token",
    );
    let mut late = server.anonymous().await;
    assert_eq!(
        late.refused("auth", auth(&laptop.tokens, "laptop")).await["code"],
        "invalid_token"
    );
    // The other session is as it was, and alone in the room.
    watching
        .ok("send", json!({"room": "chat:a", "body": "to myself"}))
        .await;
    watching.push("message").await;
    assert_eq!(phone.request("GET", "/v1/me").send().await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_bound_the_oldest_session_ends() {
    let server = TestServer::start(|c| c.limits.sessions_per_user_max = 3).await;
    server.register("alice").await;
    let mut sessions = Vec::new();
    for n in 0..3 {
        let device = format!("device{n}");
        let tokens = server.login("alice", &device).await;
        sessions.push(Person {
            addr: server.addr,
            device,
            tokens,
        });
    }
    let mut sockets = Vec::new();
    for session in &sessions {
        sockets.push(session.connect().await);
    }
    server.login("alice", "device3").await;
    assert_eq!(sockets[0].end().await.code, 4503);
    assert_eq!(sessions[0].request("GET", "/v1/me").send().await.status, 401);
    for (session, socket) in sessions.iter().zip(&mut sockets).skip(1) {
        assert_eq!(socket.push("session").await["state"], "new_device");
        socket.ok("ping", json!({})).await;
        assert_eq!(session.request("GET", "/v1/me").send().await.status, 200);
    }
    server.stop().await;
}

/// More password checks at once than may wait: some are told to come back, and when they do they get in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_of_password_checks_is_told() {
    let server = Arc::new(
        TestServer::start(|c| {
            unhurried(c);
            c.limits.password_queue_max = 0;
            c.accounts.argon2_memory_kib = 32 * 1024;
            c.accounts.argon2_iterations = 4;
        })
        .await,
    );
    server.register("alice").await;
    // As many checks run at once as there are cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let callers: Vec<_> = (0..(8 * cores).max(24))
        .map(|n| {
            let server = Arc::clone(&server);
            let user = if n % 2 == 0 { "alice" } else { "nobody" };
            tokio::spawn(async move { (user, login(&server, user, "correct horse", "d").await) })
        })
        .collect();
    let (mut busy, mut checked) = (0, 0);
    for caller in callers {
        let (user, answer) = within("a caller", caller).await.unwrap();
        match answer.status {
            429 => {
                refused(&answer, 429, "rate_limited");
                assert!(
                    answer.header("retry-after").is_some() && answer.json()["after_ms"].as_u64() > Some(0)
                );
                busy += 1;
            }
            status => {
                assert_eq!(status, if user == "alice" { 200 } else { 401 });
                checked += 1;
            }
        }
    }
    assert!(busy > 0 && checked > 0, "{busy} busy, {checked} checked");
    assert_eq!(login(&server, "alice", "correct horse", "d").await.status, 200);
}
