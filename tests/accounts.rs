//! Accounts and sessions over HTTP and over sockets: who gets in, on which device, and until when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use common::talk::unhurried;
use common::{Answer, Client, TestServer, request};
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

async fn register(server: &TestServer, account: Value) -> Answer {
    request(server.addr, "POST", "/v1/accounts")
        .json(&account)
        .send()
        .await
}

async fn login(server: &TestServer, user: &str, password: &str, device: &str) -> Answer {
    let body = json!({"user_id": user, "password": password, "device": {"id": device}});
    request(server.addr, "POST", "/v1/login").json(&body).send().await
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn register_login_and_be_known() {
    let server = TestServer::start(unhurried).await;
    let account = json!({
        "user_id": "Alice.W@example-1_x", "password": "correct horse",
        "name": "\u{202e}Ali\u{200b}ce \u{0}Ze\u{301}", "avatar": "https://pictures.example/alice.png?size=64",
    });
    let created = register(&server, account.clone()).await;
    let user = json!({
        "id": "Alice.W@example-1_x", "name": "Alice Z\u{e9}", "avatar": "https://pictures.example/alice.png?size=64",
    });
    assert_eq!(
        (created.status, &created.json()["user"]),
        (201, &user),
        "composed, and nothing hidden in it"
    );
    refused(&register(&server, account).await, 409, "user_exists");

    let answer = login(&server, "Alice.W@example-1_x", "correct horse", "phone-1").await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("no-store"))
    );
    let tokens = answer.json();
    assert_eq!(
        (&tokens["token_type"], &tokens["user"]),
        (&json!("Bearer"), &user)
    );
    assert!((899_000..=900_000).contains(&tokens["expires_in_ms"].as_u64().unwrap()));
    let token = tokens["access_token"].as_str().unwrap();
    let known = me(&server, token, Some("phone-1")).await;
    assert_eq!(
        known.json(),
        json!({"user": user, "session": tokens["session"], "device": {"kind": "other"}})
    );
    assert_eq!(known.header("cache-control"), Some("no-store"));

    // What is told to a room is what was registered.
    let mut client = server.anonymous().await;
    let signed_in = client
        .ok("auth", json!({"token": token, "device": "phone-1"}))
        .await;
    assert_eq!(
        (&signed_in["user"], &signed_in["session"]),
        (&user, &tokens["session"])
    );
    client.ok("join", json!({"room": "chat:a"})).await;
    client.ok("send", json!({"room": "chat:a", "body": 1})).await;
    let mut from = user.clone();
    from["role"] = json!("member");
    assert_eq!(client.push("message").await["from"], from);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_pictures_and_passwords_have_rules() {
    let server = TestServer::start(unhurried).await;
    let account = |n: usize, field: &str, value: Value| {
        let mut account = json!({"user_id": format!("user{n}"), "password": "correct horse"});
        account[field] = value;
        account
    };
    for (n, (name, stored)) in [
        ("e\u{301}", json!("\u{e9}")),
        ("  a\tb\u{2066}c\u{2069}  ", json!("abc")),
        ("\u{1F468}\u{200D}\u{1F469}", json!("\u{1F468}\u{200D}\u{1F469}")),
        ("\u{202e}\u{200b}", Value::Null),
        ("", Value::Null),
        (&"\u{e9}".repeat(70), json!("\u{e9}".repeat(64))),
    ]
    .into_iter()
    .enumerate()
    {
        let created = register(&server, account(n, "name", json!(name))).await;
        assert_eq!(
            (created.status, &created.json()["user"]["name"]),
            (201, &stored),
            "{name:?}"
        );
    }
    let longest = format!("https://a.example/{}", "x".repeat(494));
    assert_eq!(
        register(&server, account(20, "avatar", json!(longest)))
            .await
            .status,
        201
    );
    let too_long = format!("{longest}x");
    for avatar in [
        too_long.as_str(),
        "",
        "http://a.example/x.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "//a.example/x",
        "https://",
        "https://user@a.example/",
        "https://a.example/\u{e9}",
        "https://a.example/\"onerror=",
        "HTTPS://a.example/ x",
    ] {
        refused(
            &register(&server, account(21, "avatar", json!(avatar))).await,
            400,
            "bad_request",
        );
    }
    let sixty_five = "u".repeat(65);
    for user in ["", "a b", "a:b", "a/b", "\u{e9}", "a\n", "*", sixty_five.as_str()] {
        refused(
            &register(&server, account(22, "user_id", json!(user))).await,
            400,
            "bad_request",
        );
    }
    for password in [String::new(), "short12".into(), "x".repeat(129)] {
        refused(
            &register(&server, account(23, "password", json!(password))).await,
            400,
            "bad_request",
        );
    }
    for (n, password) in ["12345678".to_owned(), "\u{1F600}".repeat(32)].iter().enumerate() {
        let user = format!("pass{n}");
        assert_eq!(
            register(&server, json!({"user_id": user, "password": password}))
                .await
                .status,
            201
        );
        assert_eq!(login(&server, &user, password, "d").await.status, 200);
    }
    for body in [
        json!({}),
        json!([]),
        json!({"user_id": 1, "password": "correct horse"}),
        json!(null),
    ] {
        refused(&register(&server, body).await, 400, "bad_request");
    }
    let unread = request(server.addr, "POST", "/v1/accounts")
        .header("content-type", "text/plain")
        .body(b"{}");
    refused(&unread.send().await, 400, "bad_request");
    let device = json!({"user_id": "user0", "password": "correct horse", "device": {"id": "a b"}});
    refused(
        &request(server.addr, "POST", "/v1/login")
            .json(&device)
            .send()
            .await,
        400,
        "bad_request",
    );
    server.stop().await;

    let closed = TestServer::start(|c| c.accounts.open_registration = false).await;
    refused(
        &register(&closed, account(1, "name", json!("x"))).await,
        403,
        "registration_closed",
    );
    closed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_user_and_a_wrong_password_are_one_answer() {
    let server = TestServer::start(unhurried).await;
    server.register("alice").await;
    let mut answers = Vec::new();
    for (user, password) in [
        ("alice", "wrong horse"),
        ("nobody", "correct horse"),
        ("nobody", "wrong horse"),
        ("alice", ""),
        ("alice", "Correct horse"),
        ("no such name at all", "correct horse"),
    ] {
        let mut answer = login(&server, user, password, "d").await;
        refused(&answer, 401, "invalid_token");
        answer
            .headers
            .retain(|(name, _)| name != "date" && name != "x-request-id");
        answers.push((answer.headers.clone(), answer.text()));
    }
    let long = login(&server, "alice", &"x".repeat(4_000), "d").await;
    refused(&long, 401, "invalid_token");
    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:#?}");
    assert_eq!(login(&server, "alice", "correct horse", "d").await.status, 200);
    server.stop().await;
}

/// Every use of a token shows the device it was issued to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_on_its_device_only() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let token = &alice.tokens.access_token;
    for device in [
        None,
        Some("other-device"),
        Some("alice-devic"),
        Some("ALICE-DEVICE"),
    ] {
        refused(&me(&server, token, device).await, 401, "device_mismatch");
    }
    let twice = alice
        .request("GET", "/v1/me")
        .header("countersign-device", "alice-device");
    refused(&twice.send().await, 400, "bad_request");
    refused(&me(&server, token, Some("a b")).await, 400, "bad_request");
    for path in [
        "/v1/logout",
        "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA/scan",
        "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA/deny",
    ] {
        let answer = request(server.addr, "POST", path).header("authorization", &format!("Bearer {token}"));
        refused(&answer.send().await, 401, "device_mismatch");
    }

    let mut client = server.anonymous().await;
    assert_eq!(
        client.refused("auth", json!({"token": token})).await["code"],
        "device_mismatch"
    );
    assert_eq!(
        client.refused("auth", auth(&alice.tokens, "other")).await["code"],
        "device_mismatch"
    );
    assert_eq!(
        client.refused("send", json!({"room": "chat:a", "body": 1})).await["code"],
        "unauthenticated"
    );
    // Neither attempt has made the connection that device.
    client.ok("auth", auth(&alice.tokens, &alice.device)).await;

    // A connection that said its device in the header is that device.
    let mut named = Client::connect_with(server.addr, &[("countersign-device", &alice.device)])
        .await
        .unwrap();
    assert_eq!(
        named.refused("auth", auth(&alice.tokens, "other")).await["code"],
        "device_mismatch"
    );
    named.ok("auth", json!({"token": token})).await;
    let mut other = Client::connect_with(server.addr, &[("countersign-device", "other")])
        .await
        .unwrap();
    assert_eq!(
        other.refused("auth", json!({"token": token})).await["code"],
        "device_mismatch"
    );
    let open = json!({"device": {"id": "third"}});
    assert_eq!(other.refused("qr.open", open).await["code"], "device_mismatch");
    other.ok("qr.open", json!({"device": {"id": "other"}})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upgrade_takes_a_token_too() {
    use tokio_tungstenite::tungstenite::Error;
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let bearer = format!("Bearer {}", alice.tokens.access_token);
    let good = [
        ("authorization", bearer.as_str()),
        ("countersign-device", "alice-device"),
    ];
    let mut client = Client::connect_with(server.addr, &good).await.unwrap();
    client.ok("join", json!({"room": "chat:a"})).await;
    client.ok("send", json!({"room": "chat:a", "body": 1})).await;
    assert_eq!(client.push("message").await["from"]["id"], "alice");

    let refresh_token = format!("Bearer {}", alice.tokens.refresh_token);
    for (headers, code) in [
        (
            vec![
                ("authorization", "Bearer nonsense"),
                ("countersign-device", "alice-device"),
            ],
            "invalid_token",
        ),
        (
            vec![
                ("authorization", refresh_token.as_str()),
                ("countersign-device", "alice-device"),
            ],
            "invalid_token",
        ),
        (
            vec![
                ("authorization", "Basic YTpi"),
                ("countersign-device", "alice-device"),
            ],
            "invalid_token",
        ),
        (
            vec![
                ("authorization", bearer.as_str()),
                ("countersign-device", "other"),
            ],
            "device_mismatch",
        ),
        (vec![("authorization", bearer.as_str())], "device_mismatch"),
    ] {
        let Err(Error::Http(answer)) = Client::connect_with(server.addr, &headers).await else {
            panic!("{headers:?} was let in")
        };
        assert_eq!(answer.status(), 401);
        assert!(answer.headers().contains_key("www-authenticate"));
        assert_eq!(answer.headers()["connection"], "close");
        let problem: Value = serde_json::from_slice(answer.body().as_deref().unwrap()).unwrap();
        assert_eq!(problem["code"], code);
    }
    // Never in the address: a token there is no token.
    let path = format!("/v1/me?access_token={}", alice.tokens.access_token);
    let answer = request(server.addr, "GET", &path)
        .header("countersign-device", "alice-device")
        .send()
        .await;
    refused(&answer, 401, "unauthenticated");
    server.stop().await;
}
