//! An operator locks an account: every session ends, nothing that was under way comes to an end that signs somebody
//! in, and only who could sign in is told why they cannot.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use std::sync::Arc;

use common::http::Request;
use common::qr::{Pc, code, confirm, scan, scan_token, text, to_ticket};
use common::{Answer, Person, TestServer, request, within};
use countersign::config::{Config, OperatorKey, Profile};
use serde_json::{Value, json};
use tokio::sync::Barrier;

const KEY: &str = "operator-key-of-this-test";

fn operated(config: &mut Config) {
    config.limits_profile = Profile::Bench;
    config.operator_key = Some(OperatorKey::new(KEY.into()));
}

fn operator(server: &TestServer, path: &str) -> Request {
    request(server.operator, "POST", path).header("authorization", &format!("Bearer {KEY}"))
}

async fn set(server: &TestServer, user: &str, verb: &str) -> Value {
    let answer = operator(server, &format!("/users/{user}/{verb}")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn login(server: &TestServer, user: &str, password: &str) -> Answer {
    let body = json!({"user_id": user, "password": password, "device": {"id": "new"}});
    request(server.addr, "POST", "/v1/login").json(&body).send().await
}

fn is(answer: &Answer, status: u16, name: &str) {
    assert_eq!(
        (answer.status, code(answer).as_str()),
        (status, name),
        "{}",
        answer.text()
    );
}

/// An answer but for the time it was given at.
fn timeless(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "date" && name != "x-request-id");
    (answer.status, headers, answer.body.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locking_ends_what_was_and_refuses_what_comes() {
    let server = TestServer::start(operated).await;
    let (phone, bob) = (server.user("alice").await, server.user("bob").await);
    let laptop = Person {
        addr: server.addr,
        device: "laptop".into(),
        tokens: server.login("alice", "laptop").await,
    };
    let mut sockets = [
        phone.connect().await,
        phone.connect().await,
        laptop.connect().await,
    ];
    let mut bystander = bob.connect().await;
    let (mut scanned, mut confirmed) = (
        Pc::open_as(&server, "pc-1").await,
        Pc::open_as(&server, "pc-2").await,
    );
    let mut theirs = Pc::open_as(&server, "pc-3").await;
    let token = scan_token(&phone, &scanned.qr_id).await;
    let digits = text(&scanned.becomes("scanned").await["match"]["code"]);
    let ticket = to_ticket(&mut confirmed, &phone).await;
    let their_ticket = to_ticket(&mut theirs, &bob).await;

    assert_eq!(
        set(&server, "alice", "lock").await,
        json!({"user": "alice", "locked": true, "sessions_ended": 2})
    );
    for socket in &mut sockets {
        let closed = socket.end().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4503, "revoked"));
    }
    for pc in [&mut scanned, &mut confirmed] {
        assert_eq!(pc.becomes("denied").await["reason"], "revoked");
    }
    let late = confirmed.redeem(&ticket).await;
    assert_eq!(
        (&late["code"], &late["reason"]),
        (&json!("already_final"), &json!("revoked"))
    );

    // Who holds a token of the account, or knows its password, is told.
    for answer in [
        phone.request("GET", "/v1/me").send().await,
        laptop.request("GET", "/v1/sessions").send().await,
        scan(&phone, &Pc::open_as(&server, "pc-4").await.qr_id).await,
        confirm(&phone, &scanned.qr_id, &token, Some(&digits)).await,
        phone
            .request("GET", &format!("/v1/qr/{}/outcome", confirmed.qr_id))
            .send()
            .await,
        login(&server, "alice", "correct horse").await,
    ] {
        is(&answer, 403, "account_locked");
    }
    let auth = json!({"token": phone.tokens.access_token, "device": phone.device});
    let refused = server.anonymous().await.refused("auth", auth).await;
    assert_eq!(refused["code"], "account_locked");
    let refresh = request(server.addr, "POST", "/v1/refresh")
        .header("countersign-device", &phone.device)
        .json(&json!({"refresh_token": phone.tokens.refresh_token}));
    is(&refresh.send().await, 401, "invalid_token");
    // Who does not, is told what everybody is told.
    let wrong = login(&server, "alice", "wrong password").await;
    assert_eq!(
        timeless(&wrong),
        timeless(&login(&server, "nobody", "wrong password").await)
    );
    is(&wrong, 401, "invalid_token");
    let foreign = phone
        .request("GET", "/v1/me")
        .header("countersign-device", "other")
        .send()
        .await;
    assert_eq!(foreign.status, 400, "two devices are none");
    // Nobody else is touched.
    bystander.ok("ping", json!({})).await;
    assert_eq!(theirs.redeem(&their_ticket).await["user"]["id"], "bob");

    assert_eq!(
        set(&server, "alice", "lock").await["sessions_ended"],
        0,
        "once more is nothing more"
    );
    assert_eq!(
        set(&server, "alice", "unlock").await,
        json!({"user": "alice", "locked": false, "sessions_ended": 0})
    );
    assert_eq!(login(&server, "alice", "correct horse").await.status, 200);
    is(&phone.request("GET", "/v1/me").send().await, 401, "invalid_token");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_operator_locks() {
    let server = TestServer::start(|c| {
        operated(c);
        c.operator_hosts = vec!["ops.example:9090".into()];
    })
    .await;
    let alice = server.user("alice").await;
    let at = |host: &str, authorization: Option<&str>| {
        // The host is this test's to say.
        let more = authorization.map_or(String::new(), |a| format!("authorization: {a}\r\n"));
        let head = format!(
            "POST /users/alice/lock HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}content-length: 0\r\n\r\n"
        );
        raw(&server, head)
    };
    let (bearer, local) = (format!("Bearer {KEY}"), server.operator.to_string());
    let almost = format!("{bearer}x");
    let users = format!("Bearer {}", alice.tokens.access_token);
    for (host, authorization, status, name) in [
        (local.as_str(), None, 401, "unauthenticated"),
        (&local, Some(almost.as_str()), 401, "invalid_token"),
        (&local, Some("Bearer "), 401, "invalid_token"),
        (&local, Some(users.as_str()), 401, "invalid_token"),
        (&local, Some("Basic YTpi"), 401, "invalid_token"),
        ("evil.example", Some(bearer.as_str()), 403, "not_allowed"),
        ("evil.example:9090", Some(&bearer), 403, "not_allowed"),
        ("localhost.evil.example", Some(&bearer), 403, "not_allowed"),
        ("ops.example", Some(&bearer), 403, "not_allowed"),
        ("evil.example", None, 403, "not_allowed"),
    ] {
        let answer = at(host, authorization).await;
        is(&answer, status, name);
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    for path in ["/users/nobody/lock", "/users/nobody/unlock", "/users/%20/lock"] {
        is(&operator(&server, path).send().await, 404, "not_found");
    }
    // Nothing of it is on the public port, and a key of one port is none of the other.
    let public = request(server.addr, "POST", "/users/alice/lock").header("authorization", &bearer);
    is(&public.send().await, 404, "not_found");
    assert_eq!(
        alice.request("GET", "/v1/me").send().await.status,
        200,
        "not locked by any of these"
    );
    for host in ["localhost", "127.0.0.1:1", "[::1]:9090", "ops.example:9090"] {
        assert_eq!(at(host, Some(&bearer)).await.status, 200, "{host}");
    }
    server.stop().await;

    let keyless = TestServer::start(|_| {}).await;
    keyless.register("alice").await;
    let answer = operator(&keyless, "/users/alice/lock").send().await;
    is(&answer, 403, "not_allowed");
    assert!(answer.text().contains("operator_key"), "{}", answer.text());
    keyless.stop().await;
}

async fn raw(server: &TestServer, request: String) -> Answer {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.operator).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer))
        .await
        .unwrap();
    Answer::parse(&answer)
}

/// Sign-ins, redemptions and the lock at the same moment: whoever is given tokens has tokens that do not work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_slips_through_while_it_is_locked() {
    const ROUNDS: usize = 20;
    let server = Arc::new(TestServer::start(operated).await);
    let (mut given, mut told) = (0, 0);
    for round in 0..ROUNDS {
        let phone = server.user("alice").await;
        let mut pc = Pc::open(&server).await;
        let ticket = to_ticket(&mut pc, &phone).await;
        let barrier = Arc::new(Barrier::new(7));
        let sign_ins: Vec<_> = (0..4)
            .map(|_| {
                let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    (login(&server, "alice", "correct horse").await, "new")
                })
            })
            .collect();
        let redeem = request(server.addr, "POST", &format!("/v1/qr/{}/redeem", pc.qr_id))
            .header("authorization", &format!("Claim {}", pc.claim))
            .header("countersign-device", "pc-1")
            .json(&json!({"ticket": ticket}));
        let waiting = Arc::clone(&barrier);
        let redeeming = tokio::spawn(async move {
            waiting.wait().await;
            (redeem.send().await, "pc-1")
        });
        let (waiting, locked) = (Arc::clone(&barrier), Arc::clone(&server));
        let locking = tokio::spawn(async move {
            waiting.wait().await;
            set(&locked, "alice", "lock").await
        });
        barrier.wait().await;
        within("the lock", locking).await.unwrap();
        for answering in sign_ins.into_iter().chain([redeeming]) {
            let (answer, device) = within("an answer", answering).await.unwrap();
            if answer.status != 200 {
                told += 1;
                let name = code(&answer);
                assert!(
                    matches!(
                        (answer.status, name.as_str()),
                        (403, "account_locked") | (409, "already_final")
                    ),
                    "round {round}: {}",
                    answer.text()
                );
                continue;
            }
            given += 1;
            let me = request(server.addr, "GET", "/v1/me")
                .header(
                    "authorization",
                    &format!("Bearer {}", text(&answer.json()["access_token"])),
                )
                .header("countersign-device", device);
            is(&me.send().await, 403, "account_locked");
        }
        set(&server, "alice", "unlock").await;
        let alone = server.user("alice").await;
        let sessions = alone.request("GET", "/v1/sessions").send().await.json();
        assert_eq!(
            sessions["sessions"].as_array().unwrap().len(),
            1,
            "round {round}: {sessions}"
        );
        set(&server, "alice", "lock").await;
        set(&server, "alice", "unlock").await;
    }
    println!("{given} were given tokens before the lock, {told} were refused");
}

/// A phone is signed out at the moment it scans, or confirms: the code is never left in its hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_is_signed_out_at_that_moment_leaves_nothing_behind() {
    const ROUNDS: usize = 40;
    let server = Arc::new(TestServer::start(operated).await);
    for round in 0..ROUNDS {
        let phone = Arc::new(server.user("alice").await);
        let mut pc = Pc::open(&server).await;
        let mut held = None;
        if round % 2 == 1 {
            let token = scan_token(&phone, &pc.qr_id).await;
            held = Some((token, text(&pc.becomes("scanned").await["match"]["code"])));
        }
        let barrier = Arc::new(Barrier::new(2));
        let (late, waiting, qr_id) = (Arc::clone(&phone), Arc::clone(&barrier), pc.qr_id.clone());
        let doing = tokio::spawn(async move {
            waiting.wait().await;
            match held {
                None => scan(&late, &qr_id).await,
                Some((token, digits)) => confirm(&late, &qr_id, &token, Some(&digits)).await,
            }
        });
        barrier.wait().await;
        assert_eq!(phone.request("POST", "/v1/logout").send().await.status, 204);
        let answer = within("an answer", doing).await.unwrap();
        assert!(
            matches!(answer.status, 200 | 401 | 409),
            "round {round}: {}",
            answer.text()
        );
        // The code is as it was, or it has ended; it is in nobody's hands.
        let watch = pc.watch(None);
        let state = pc.client.ok("qr.watch", watch).await["state"].clone();
        if state == "waiting" {
            assert_eq!(answer.status, 401, "round {round}");
            let claim = pc.claim();
            pc.client.ok("qr.cancel", claim).await;
        } else {
            assert_eq!(state, "denied", "round {round}");
            let told = pc.client.push_where("qr", |p| p["state"] == "denied").await;
            assert_eq!(told["reason"], "revoked", "round {round}");
        }
    }
}

/// Between scan, confirmation and redemption, whichever way the session ends: the PC is told, and the ticket is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_at_any_step_ends_the_code() {
    let server = TestServer::start(operated).await;
    for how in [
        "logout",
        "another device",
        "all others",
        "a replayed refresh token",
        "lock",
    ] {
        for step in ["scanned", "confirmed"] {
            let phone = server.user("alice").await;
            let mut pc = Pc::open(&server).await;
            let token = scan_token(&phone, &pc.qr_id).await;
            let digits = text(&pc.becomes("scanned").await["match"]["code"]);
            let mut ticket = None;
            if step == "confirmed" {
                let answer = confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
                assert_eq!(answer.status, 200);
                ticket = Some(text(&pc.becomes("confirmed").await["ticket"]));
            }
            end(&server, &phone, how).await;
            assert_eq!(pc.becomes("denied").await["reason"], "revoked", "{how}, {step}");
            let answer = confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
            assert!(
                matches!(answer.status, 401 | 403),
                "{how}, {step}: {}",
                answer.text()
            );
            let late = pc.redeem(&ticket.unwrap_or_else(|| "none".into())).await;
            assert_eq!(late["code"], "already_final", "{how}, {step}: {late}");
            if how == "lock" {
                set(&server, "alice", "unlock").await;
            }
        }
    }
    server.stop().await;
}

async fn end(server: &TestServer, phone: &Person, how: &str) {
    let laptop = Person {
        addr: server.addr,
        device: "laptop".into(),
        tokens: server.login("alice", "laptop").await,
    };
    match how {
        "logout" => assert_eq!(phone.request("POST", "/v1/logout").send().await.status, 204),
        "another device" => {
            let path = format!("/v1/sessions/{}", phone.tokens.session);
            assert_eq!(laptop.request("DELETE", &path).send().await.status, 204);
        }
        "all others" => {
            let path = "/v1/sessions?except=current";
            assert_eq!(laptop.request("DELETE", path).send().await.status, 204);
        }
        "a replayed refresh token" => {
            let stolen = request(server.addr, "POST", "/v1/refresh")
                .header("countersign-device", "thief")
                .json(&json!({"refresh_token": phone.tokens.refresh_token}));
            assert_eq!(stolen.send().await.status, 401);
        }
        _ => {
            set(server, "alice", "lock").await;
        }
    }
}
