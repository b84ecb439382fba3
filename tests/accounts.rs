//! Accounts and sessions over HTTP and over sockets: who gets in, on which device, and until when.

mod common;

use std::sync::Arc;

use common::{Answer, Client, Person, TestServer, engine_is_exact, request, within};
use countersign::config::{Config, Profile};
use countersign_protocol::http::Tokens;
use serde_json::{Value, json};

fn unhurried(config: &mut Config) {
    config.limits_profile = Profile::Bench;
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (status, code), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
}

async fn register(server: &TestServer, account: Value) -> Answer {
    request(server.addr, "POST", "/v1/accounts").json(&account).send().await
}

async fn login(server: &TestServer, user: &str, password: &str, device: &str) -> Answer {
    let body = json!({"user_id": user, "password": password, "device": {"id": device}});
    request(server.addr, "POST", "/v1/login").json(&body).send().await
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
    assert_eq!((created.status, &created.json()["user"]), (201, &user), "composed, and nothing hidden in it");
    refused(&register(&server, account).await, 409, "user_exists");

    let answer = login(&server, "Alice.W@example-1_x", "correct horse", "phone-1").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let tokens = answer.json();
    assert_eq!((&tokens["token_type"], &tokens["user"]), (&json!("Bearer"), &user));
    assert!((899_000..=900_000).contains(&tokens["expires_in_ms"].as_u64().unwrap()));
    let token = tokens["access_token"].as_str().unwrap();
    let known = me(&server, token, Some("phone-1")).await;
    assert_eq!(known.json(), json!({"user": user, "session": tokens["session"], "device": {"kind": "other"}}));
    assert_eq!(known.header("cache-control"), Some("no-store"));

    // What is told to a room is what was registered.
    let mut client = server.anonymous().await;
    let signed_in = client.ok("auth", json!({"token": token, "device": "phone-1"})).await;
    assert_eq!((&signed_in["user"], &signed_in["session"]), (&user, &tokens["session"]));
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
        assert_eq!((created.status, &created.json()["user"]["name"]), (201, &stored), "{name:?}");
    }
    let longest = format!("https://a.example/{}", "x".repeat(494));
    assert_eq!(register(&server, account(20, "avatar", json!(longest))).await.status, 201);
    let too_long = format!("{longest}x");
    for avatar in [
        too_long.as_str(), "", "http://a.example/x.png", "javascript:alert(1)", "data:image/png;base64,AAAA", "//a.example/x",
        "https://", "https://user@a.example/", "https://a.example/\u{e9}", "https://a.example/\"onerror=", "HTTPS://a.example/ x",
    ] {
        refused(&register(&server, account(21, "avatar", json!(avatar))).await, 400, "bad_request");
    }
    let sixty_five = "u".repeat(65);
    for user in ["", "a b", "a:b", "a/b", "\u{e9}", "a\n", "*", sixty_five.as_str()] {
        refused(&register(&server, account(22, "user_id", json!(user))).await, 400, "bad_request");
    }
    for password in [String::new(), "short12".into(), "x".repeat(129)] {
        refused(&register(&server, account(23, "password", json!(password))).await, 400, "bad_request");
    }
    for (n, password) in ["12345678".to_owned(), "\u{1F600}".repeat(32)].iter().enumerate() {
        let user = format!("pass{n}");
        assert_eq!(register(&server, json!({"user_id": user, "password": password})).await.status, 201);
        assert_eq!(login(&server, &user, password, "d").await.status, 200);
    }
    for body in [json!({}), json!([]), json!({"user_id": 1, "password": "correct horse"}), json!(null)] {
        refused(&register(&server, body).await, 400, "bad_request");
    }
    let unread = request(server.addr, "POST", "/v1/accounts").header("content-type", "text/plain").body(b"{}");
    refused(&unread.send().await, 400, "bad_request");
    let device = json!({"user_id": "user0", "password": "correct horse", "device": {"id": "a b"}});
    refused(&request(server.addr, "POST", "/v1/login").json(&device).send().await, 400, "bad_request");
    server.stop().await;

    let closed = TestServer::start(|c| c.accounts.open_registration = false).await;
    refused(&register(&closed, account(1, "name", json!("x"))).await, 403, "registration_closed");
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
        answer.headers.retain(|(name, _)| name != "date");
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
    for device in [None, Some("other-device"), Some("alice-devic"), Some("ALICE-DEVICE")] {
        refused(&me(&server, token, device).await, 401, "device_mismatch");
    }
    let twice = alice.request("GET", "/v1/me").header("countersign-device", "alice-device");
    refused(&twice.send().await, 400, "bad_request");
    refused(&me(&server, token, Some("a b")).await, 400, "bad_request");
    for path in ["/v1/logout", "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA/scan", "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA/deny"] {
        let answer = request(server.addr, "POST", path).header("authorization", &format!("Bearer {token}"));
        refused(&answer.send().await, 401, "device_mismatch");
    }

    let mut client = server.anonymous().await;
    assert_eq!(client.refused("auth", json!({"token": token})).await["code"], "device_mismatch");
    assert_eq!(client.refused("auth", auth(&alice.tokens, "other")).await["code"], "device_mismatch");
    assert_eq!(client.refused("send", json!({"room": "chat:a", "body": 1})).await["code"], "unauthenticated");
    // Neither attempt has made the connection that device.
    client.ok("auth", auth(&alice.tokens, &alice.device)).await;

    // A connection that said its device in the header is that device.
    let mut named = Client::connect_with(server.addr, &[("countersign-device", &alice.device)]).await.unwrap();
    assert_eq!(named.refused("auth", auth(&alice.tokens, "other")).await["code"], "device_mismatch");
    named.ok("auth", json!({"token": token})).await;
    let mut other = Client::connect_with(server.addr, &[("countersign-device", "other")]).await.unwrap();
    assert_eq!(other.refused("auth", json!({"token": token})).await["code"], "device_mismatch");
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
    let good = [("authorization", bearer.as_str()), ("countersign-device", "alice-device")];
    let mut client = Client::connect_with(server.addr, &good).await.unwrap();
    client.ok("join", json!({"room": "chat:a"})).await;
    client.ok("send", json!({"room": "chat:a", "body": 1})).await;
    assert_eq!(client.push("message").await["from"]["id"], "alice");

    let refresh_token = format!("Bearer {}", alice.tokens.refresh_token);
    for (headers, code) in [
        (vec![("authorization", "Bearer nonsense"), ("countersign-device", "alice-device")], "invalid_token"),
        (vec![("authorization", refresh_token.as_str()), ("countersign-device", "alice-device")], "invalid_token"),
        (vec![("authorization", "Basic YTpi"), ("countersign-device", "alice-device")], "invalid_token"),
        (vec![("authorization", bearer.as_str()), ("countersign-device", "other")], "device_mismatch"),
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
    let answer = request(server.addr, "GET", &path).header("countersign-device", "alice-device").send().await;
    refused(&answer, 401, "unauthenticated");
    server.stop().await;
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
    let bare = request(server.addr, "POST", "/v1/refresh").json(&json!({"refresh_token": old})).send().await;
    refused(&bare, 400, "bad_request");
    let first = refresh(&server, old, &alice.device).await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("no-store")));
    let first = first.json();
    assert_ne!(first["refresh_token"], json!(old));
    assert_ne!(first["access_token"], json!(alice.tokens.access_token));
    assert_eq!((&first["session"], &first["user"]["id"]), (&json!(alice.tokens.session), &json!("alice")));
    // The reply was lost: within the grace the same token on the same device gets the same pair.
    assert_eq!(refresh(&server, old, &alice.device).await.json(), first);
    let fresh = first["access_token"].as_str().unwrap();
    assert_eq!(me(&server, fresh, Some(&alice.device)).await.status, 200);
    let second = refresh(&server, first["refresh_token"].as_str().unwrap(), &alice.device).await.json();
    // Guesses end nothing.
    let guess = format!("{}.{}.{}", alice.tokens.session, "A".repeat(43), "A".repeat(43));
    for token in ["", "x", ".", &guess, &alice.tokens.session, &alice.tokens.access_token] {
        refused(&refresh(&server, token, &alice.device).await, 401, "invalid_token");
    }
    let newest = second["access_token"].as_str().unwrap();
    assert_eq!(me(&server, newest, Some(&alice.device)).await.status, 200);
    // The first token has been replaced twice: whoever still has it stole it, or was stolen from.
    let mut socket = server.anonymous().await;
    socket.ok("auth", json!({"token": newest, "device": alice.device})).await;
    refused(&refresh(&server, old, &alice.device).await, 401, "invalid_token");
    assert_eq!(socket.end().await.code, 4503);
    refused(&me(&server, newest, Some(&alice.device)).await, 401, "invalid_token");
    let last = second["refresh_token"].as_str().unwrap();
    refused(&refresh(&server, last, &alice.device).await, 401, "invalid_token");

    // From another device even the current one is a stolen one.
    let bob = server.user("bob").await;
    refused(&refresh(&server, &bob.tokens.refresh_token, "other").await, 401, "invalid_token");
    refused(&me(&server, &bob.tokens.access_token, Some(&bob.device)).await, 401, "invalid_token");
    server.stop().await;

    let strict = TestServer::start(|c| c.tokens.refresh_grace_ms = 0).await;
    let carol = strict.user("carol").await;
    assert_eq!(refresh(&strict, &carol.tokens.refresh_token, &carol.device).await.status, 200);
    refused(&refresh(&strict, &carol.tokens.refresh_token, &carol.device).await, 401, "invalid_token");
    strict.stop().await;
}

/// One refresh token, sixteen callers at once: one new pair, and everybody who asks has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_refreshes_are_one() {
    let server = Arc::new(TestServer::start(unhurried).await);
    let alice = server.user("alice").await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (server, token, device) =
                (Arc::clone(&server), alice.tokens.refresh_token.clone(), alice.device.clone());
            tokio::spawn(async move { refresh(&server, &token, &device).await.json() })
        })
        .collect();
    let mut pairs = Vec::new();
    for caller in callers {
        pairs.push(within("a caller", caller).await.unwrap());
    }
    assert!(pairs.iter().all(|p| *p == pairs[0]), "{pairs:#?}");
    assert_eq!(me(&server, pairs[0]["access_token"].as_str().unwrap(), Some(&alice.device)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_ends_tokens_and_sockets() {
    let server = TestServer::start(unhurried).await;
    let phone = server.user("alice").await;
    let mut watching = phone.connect().await;
    let laptop = Person { addr: server.addr, device: "laptop".into(), tokens: server.login("alice", "laptop").await };
    let told = watching.push("session").await;
    assert_eq!((&told["state"], &told["session"]), (&json!("new_device"), &json!(laptop.tokens.session)));
    assert_eq!(told["device"], json!({"name": "test device", "kind": "ios"}));
    assert_eq!(told["ip"], "127.0.0.1");

    let mut sockets = [laptop.connect().await, laptop.connect().await];
    for socket in &mut sockets {
        socket.ok("join", json!({"room": "chat:a"})).await;
    }
    watching.ok("join", json!({"room": "chat:a"})).await;
    assert_eq!(laptop.request("POST", "/v1/logout").send().await.status, 204);
    watching.ok("send", json!({"room": "chat:a", "body": "after the revocation"})).await;
    for socket in &mut sockets {
        let closed = socket.end().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4503, "revoked"));
        let told: Vec<_> = socket.pushes.iter().filter(|p| p["type"] == "session").collect();
        assert_eq!((told.len(), &told[0]["state"]), (1, &json!("revoked")));
        // Elsewhere a revocation takes a moment, a second at the most.
        let late = engine_is_exact() && socket.pushes.iter().any(|p| p["body"] == "after the revocation");
        assert!(!late);
    }
    refused(&me(&server, &laptop.tokens.access_token, Some("laptop")).await, 401, "invalid_token");
    refused(&refresh(&server, &laptop.tokens.refresh_token, "laptop").await, 401, "invalid_token");
    refused(&laptop.request("POST", "/v1/logout").send().await, 401, "invalid_token");
    let mut late = server.anonymous().await;
    assert_eq!(late.refused("auth", auth(&laptop.tokens, "laptop")).await["code"], "invalid_token");
    // The other session is as it was.
    watching.ok("ping", json!({})).await;
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
        sessions.push(Person { addr: server.addr, device, tokens });
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
    let callers: Vec<_> = (0..24)
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
                assert!(answer.header("retry-after").is_some() && answer.json()["after_ms"].as_u64() > Some(0));
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
