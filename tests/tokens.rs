//! Tokens at the edges of their life, tokens that were never ours, and tokens that need a key.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;
#[path = "tokens/mint.rs"]
mod mint;

use common::talk::unhurried;
use common::{Client, Person, TestServer, request};
use countersign_protocol::server::MatchMode;
use mint::{Forger, Prover};
use serde_json::{Value, json};

fn code(reply: &Value) -> &str {
    reply["code"].as_str().unwrap_or_default()
}

fn auth(person: &Person) -> Value {
    json!({"token": person.tokens.access_token, "device": person.device})
}

async fn refreshed(server: &TestServer, person: &Person) -> Value {
    let request = request(server.addr, "POST", "/v1/refresh").header("countersign-device", &person.device);
    let answer = request
        .json(&json!({"refresh_token": person.tokens.refresh_token}))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The next `session` push and its state.
async fn session(client: &mut Client, state: &str) -> Value {
    let push = client.push("session").await;
    assert_eq!(push["state"], state, "{push}");
    push
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_runs_out_is_warned_and_closed_and_a_refreshed_one_goes_on() {
    let server = TestServer::start(|c| {
        unhurried(c);
        // A token is renewed between the warning and its end, also on a slow machine.
        c.tokens.access_ms = 6_000;
        c.tokens.expiring_ms = 3_000;
    })
    .await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (mut lapsing, mut kept) = (alice.connect().await, bob.connect().await);
    for client in [&mut lapsing, &mut kept] {
        client.ok("join", json!({"room": "chat:a"})).await;
    }
    for client in [&mut lapsing, &mut kept] {
        let warned = session(client, "expiring").await;
        assert!(
            (1..=3_000).contains(&warned["after_ms"].as_u64().unwrap()),
            "{warned}"
        );
    }
    let fresh = refreshed(&server, &bob).await;
    let reply = kept.ok("refresh", json!({"token": fresh["access_token"]})).await;
    assert_eq!(
        (&reply["user"]["id"], &reply["session"]),
        (&json!("bob"), &json!(bob.tokens.session))
    );
    assert!(reply["expires_in_ms"].as_u64().unwrap() > 3_000);

    let closed = lapsing.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4005, "session_expired"));
    let told: Vec<_> = lapsing.pushes.iter().filter(|p| p["type"] == "session").collect();
    assert_eq!((told.len(), &told[0]["state"]), (1, &json!("expired")));
    assert_eq!(alice.request("GET", "/v1/me").send().await.status, 401);
    let mut again = server.anonymous().await;
    assert_eq!(code(&again.refused("auth", auth(&alice)).await), "invalid_token");
    // The session itself goes on: a new token first, then the connection.
    let token = refreshed(&server, &alice).await["access_token"].clone();
    again
        .ok("auth", json!({"token": token, "device": alice.device}))
        .await;

    // The other one outlived its first token, rooms and all, and is warned of the second.
    kept.ok("send", json!({"room": "chat:a", "body": "still here"}))
        .await;
    session(&mut kept, "expiring").await;
    assert_eq!(kept.end().await.code, 4005);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_one_user() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    server.register("bob").await;
    let on = |tokens| Person {
        addr: server.addr,
        device: alice.device.clone(),
        tokens,
    };
    let bob = on(server.login("bob", &alice.device).await);
    let other = on(server.login("alice", &alice.device).await);
    let mut client = server.anonymous().await;
    assert_eq!(
        code(
            &client
                .refused("refresh", json!({"token": alice.tokens.access_token}))
                .await
        ),
        "unauthenticated"
    );
    client.ok("auth", auth(&alice)).await;
    client.ok("join", json!({"room": "chat:a"})).await;

    assert_eq!(code(&client.refused("auth", auth(&bob)).await), "conflict");
    for stranger in [&bob, &other] {
        let refused = client
            .refused("refresh", json!({"token": stranger.tokens.access_token}))
            .await;
        assert_eq!(
            (code(&refused), &refused["retry"]),
            ("not_allowed", &json!(false))
        );
    }
    assert_eq!(
        code(&client.refused("refresh", json!({"token": "nonsense"})).await),
        "invalid_token"
    );
    // It is who it was, on the session it was.
    client.ok("send", json!({"room": "chat:a", "body": 1})).await;
    assert_eq!(client.push("message").await["from"]["id"], "alice");
    // As the same user it may change its session: from then on that one counts.
    assert_eq!(
        client.ok("auth", auth(&other)).await["session"],
        json!(other.tokens.session)
    );
    assert_eq!(alice.request("POST", "/v1/logout").send().await.status, 204);
    client.ok("send", json!({"room": "chat:a", "body": 2})).await;
    assert_eq!(other.request("POST", "/v1/logout").send().await.status, 204);
    assert_eq!(client.end().await.code, 4503);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_bad_token_is_the_last() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let mut client = server.anonymous().await;
    client.ok("join", json!({"room": "chat:a"})).await;
    assert_eq!(
        code(
            &client
                .refused("auth", json!({"token": "a.b.c", "device": "d"}))
                .await
        ),
        "invalid_token"
    );
    let other = json!({"token": alice.tokens.access_token, "device": "other"});
    assert_eq!(code(&client.refused("auth", other).await), "device_mismatch");
    client.ok("auth", auth(&alice)).await;
    client.ok("send", json!({"room": "chat:a", "body": 1})).await;
    assert_eq!(
        code(&client.refused("refresh", json!({"token": ""})).await),
        "invalid_token",
        "the third is answered"
    );
    let closed = client.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4500, "invalid_token"));
    // Three on one connection end that connection, and nothing else.
    assert_eq!(alice.request("GET", "/v1/me").send().await.status, 200);
    alice.connect().await.ok("ping", json!({})).await;
    server.stop().await;
}

/// Over HTTP and on a socket: none of these is a token of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_open_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let forger = Forger::new();
    let key_file = folder.path().join("signing-key.pem");
    std::fs::write(&key_file, forger.pem()).unwrap();
    let server = TestServer::start(|c| {
        unhurried(c);
        c.tokens.key_file = Some(key_file);
    })
    .await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let genuine = &alice.tokens.access_token;
    let jwks = request(server.addr, "GET", "/.well-known/jwks.json").send().await;
    assert_eq!(jwks.json()["keys"][0]["kid"], forger.header(genuine)["kid"]);
    assert!(jwks.json()["keys"][0].get("d").is_none());

    // What the forger signs like us is taken: the others below fail for what is wrong with them.
    let me = async |token: &str| {
        let request =
            request(server.addr, "GET", "/v1/me").header("authorization", &format!("Bearer {token}"));
        request.header("countersign-device", &alice.device).send().await
    };
    assert_eq!(me(&forger.same(genuine)).await.status, 200);

    let mut client = server.anonymous().await;
    for (n, (what, token, refusal)) in forger
        .forgeries(genuine, &bob.tokens.access_token)
        .into_iter()
        .enumerate()
    {
        let answer = me(&token).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (401, Some(refusal)),
            "{what}: {}",
            answer.text()
        );
        assert!(answer.header("www-authenticate").is_some(), "{what}");
        assert!(
            token.is_empty() || !answer.text().contains(&token),
            "{what}: not sent back"
        );
        if n % 2 == 0 {
            client = server.anonymous().await;
        }
        let refused = client
            .refused("auth", json!({"token": token, "device": alice.device}))
            .await;
        assert_eq!(
            (code(&refused), &refused["retry"]),
            (refusal, &json!(false)),
            "{what}"
        );
        assert_eq!(
            code(&client.refused("send", json!({"room": "chat:a", "body": 1})).await),
            "unauthenticated",
            "{what}"
        );
    }
    assert_eq!(me(genuine).await.status, 200);
    server.stop().await;
}

/// A PC whose tokens are bound to a key: `qr.open` to `/v1/me`, and back on a new socket.
async fn bound_pc(server: &TestServer, prover: &Prover) -> (Client, Value) {
    let phone = server.user("alice").await;
    let mut pc = server.anonymous().await;
    let open = json!({"device": {"id": "pc-1", "kind": "pc"}, "dpop_jkt": prover.thumbprint()});
    let opened = pc.ok("qr.open", open).await;
    let path = |verb| format!("/v1/qr/{}/{verb}", opened["qr_id"].as_str().unwrap());
    let scanned = phone.request("POST", &path("scan")).send().await.json();
    let body = json!({"scan_token": scanned["scan_token"]});
    assert_eq!(
        phone
            .request("POST", &path("confirm"))
            .json(&body)
            .send()
            .await
            .status,
        200
    );
    let ticket = pc.push_where("qr", |p| p["state"] == "confirmed").await["ticket"].clone();
    let redeem = json!({"qr_id": opened["qr_id"], "claim": opened["claim"], "ticket": ticket});
    let redeemed = pc.ok("qr.redeem", redeem).await;
    assert_eq!(redeemed["token_type"], "DPoP");
    (pc, redeemed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_needs_a_proof_each_time() {
    use tokio_tungstenite::tungstenite::Error;
    for prover in [Prover::es256(), Prover::eddsa()] {
        let server = TestServer::start(|c| {
            unhurried(c);
            c.qr.match_mode = MatchMode::None;
        })
        .await;
        let now = || server.node.clock.now() / 1_000;
        let (mut pc, redeemed) = bound_pc(&server, &prover).await;
        let token = redeemed["access_token"].as_str().unwrap();
        let url = server.url("/v1/me");
        let me = async |scheme: &str, proofs: &[String]| {
            let mut request = request(server.addr, "GET", "/v1/me")
                .header("authorization", &format!("{scheme} {token}"))
                .header("countersign-device", "pc-1");
            for proof in proofs {
                request = request.header("dpop", proof);
            }
            request.send().await
        };
        let good = prover.prove("GET", &url, token, now());
        let answer = me("DPoP", std::slice::from_ref(&good)).await;
        assert_eq!(
            (answer.status, &answer.json()["user"]["id"]),
            (200, &json!("alice")),
            "{}",
            answer.text()
        );

        let stranger = Prover::es256();
        for (what, proofs) in [
            ("no proof", vec![]),
            ("used before", vec![good]),
            ("another method", vec![prover.prove("POST", &url, token, now())]),
            (
                "another address",
                vec![prover.prove("GET", &server.url("/v1/logout"), token, now())],
            ),
            ("another token", vec![prover.prove("GET", &url, "another", now())]),
            ("another key", vec![stranger.prove("GET", &url, token, now())]),
            ("of long ago", vec![prover.prove("GET", &url, token, now() - 120)]),
            (
                "of the future",
                vec![prover.prove("GET", &url, token, now() + 120)],
            ),
            ("no proof at all", vec!["a.b.c".into()]),
            (
                "two",
                vec![
                    prover.prove("GET", &url, token, now()),
                    prover.prove("GET", &url, token, now()),
                ],
            ),
        ] {
            for scheme in ["DPoP", "Bearer"] {
                let answer = me(scheme, &proofs).await;
                let told = answer.json();
                assert_eq!(
                    (answer.status, told["code"].as_str()),
                    (401, Some("invalid_token")),
                    "{what}, {scheme}"
                );
                assert!(answer.header("www-authenticate").is_some());
            }
        }

        // On a socket the proof is for the request that opens one.
        let socket_url = format!("ws://{}/v1/ws", server.addr);
        let mut client = server.anonymous().await;
        let with = |proof: &str| json!({"token": token, "device": "pc-1", "dpop": proof});
        let proof = prover.prove("GET", &socket_url, token, now());
        assert_eq!(
            client.ok("auth", with(&proof)).await["session"],
            redeemed["session"]
        );
        let mut thief = server.anonymous().await;
        assert_eq!(
            code(&thief.refused("auth", with(&proof)).await),
            "invalid_token",
            "replayed"
        );
        assert_eq!(
            code(
                &thief
                    .refused("auth", json!({"token": token, "device": "pc-1"}))
                    .await
            ),
            "invalid_token"
        );
        let authorization = format!("DPoP {token}");
        let proof = prover.prove("GET", &socket_url, token, now());
        let headers = [
            ("authorization", authorization.as_str()),
            ("dpop", proof.as_str()),
        ];
        let mut upgraded = Client::connect_with(server.addr, &headers).await.unwrap();
        upgraded.ok("join", json!({"room": "chat:a"})).await;
        upgraded.ok("send", json!({"room": "chat:a", "body": 1})).await;
        match Client::connect_with(server.addr, &headers).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 401, "replayed"),
            _ => panic!("a proof was taken twice"),
        }

        // A new token of the session is bound to the same key, and renews a connection with a proof.
        let body = json!({"refresh_token": redeemed["refresh_token"]});
        let fresh = request(server.addr, "POST", "/v1/refresh")
            .header("countersign-device", "pc-1")
            .json(&body);
        let fresh = fresh.send().await.json();
        assert_eq!(fresh["token_type"], "DPoP");
        let fresh = fresh["access_token"].as_str().unwrap();
        assert_eq!(
            code(&pc.refused("refresh", json!({"token": fresh})).await),
            "invalid_token"
        );
        let proof = prover.prove("GET", &socket_url, fresh, now());
        assert_eq!(
            pc.ok("refresh", json!({"token": fresh, "dpop": proof})).await["session"],
            redeemed["session"]
        );
        server.stop().await;
    }
}
