//! QR login from both sides over real sockets: the PC on its WebSocket, phones over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::qr::{Pc, code, confirm, deny, scan, scan_token, text, to_ticket};
use common::{Person, TestServer, request, within};
use countersign::config::Config;
use countersign::core::attempt::{Attempt, Outcome, QrId, Step};
use countersign::engine::AttemptRef;
use countersign_protocol::server::{MatchMode, QrState};
use serde_json::json;
use tokio::sync::Barrier;

fn no_number(config: &mut Config) {
    config.qr.match_mode = MatchMode::None;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_code_to_signed_in_on_the_same_socket() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;

    let answer = scan(&phone, &pc.qr_id).await;
    let seen = answer.json();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        seen["request"]["device"],
        json!({"name": "Office PC", "kind": "pc"})
    );
    assert_eq!(seen["request"]["ip"], "127.0.0.1");
    assert_eq!(seen["request"]["same_network"], false, "loopback says nothing");
    assert_eq!(
        seen["match"],
        json!({"mode": "phone_types"}),
        "the phone is not told the digits"
    );

    let scanned = pc.becomes("scanned").await;
    assert_eq!(scanned["seq"], 2);
    assert_eq!(
        scanned["user"],
        json!({"name": "alice of test"}),
        "a preview, no id"
    );
    let digits = text(&scanned["match"]["code"]);
    assert_eq!(
        confirm(&phone, &pc.qr_id, &text(&seen["scan_token"]), Some(&digits))
            .await
            .status,
        200
    );
    let confirmed = pc.becomes("confirmed").await;
    assert_eq!(confirmed["seq"], 3);

    let redeemed = pc.redeem(&text(&confirmed["ticket"])).await;
    assert_eq!(
        (&redeemed["type"], &redeemed["user"]["id"]),
        (&json!("ok"), &json!("alice"))
    );
    assert_eq!(pc.becomes("redeemed").await["seq"], 4);

    // Signed in on that same socket, and with a session of its own.
    pc.client.ok("join", json!({"room": "chat:lobby"})).await;
    pc.client
        .ok("send", json!({"room": "chat:lobby", "body": "hello"}))
        .await;
    assert_eq!(pc.client.push("message").await["from"]["id"], "alice");
    assert_ne!(redeemed["session"], json!(phone.tokens.session));
    let bearer = format!("Bearer {}", text(&redeemed["access_token"]));
    let me = |device| {
        request(server.addr, "GET", "/v1/me")
            .header("authorization", &bearer)
            .header("countersign-device", device)
    };
    assert_eq!(
        me("pc-1").send().await.json()["device"],
        json!({"name": "Office PC", "kind": "pc"})
    );
    assert_eq!(
        me("alice-device").send().await.status,
        401,
        "the PC's token is the PC's"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_digits_count_and_the_third_ends_it() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let right = text(&pc.becomes("scanned").await["match"]["code"]);
    let wrong = if right == "00" { "01" } else { "00" };

    let none = confirm(&phone, &pc.qr_id, &token, None).await;
    assert_eq!((none.status, code(&none).as_str()), (422, "match_required"));
    for _ in 0..2 {
        let answer = confirm(&phone, &pc.qr_id, &token, Some(wrong)).await;
        assert_eq!((answer.status, code(&answer).as_str()), (422, "match_failed"));
    }
    let third = confirm(&phone, &pc.qr_id, &token, Some(wrong)).await;
    assert_eq!((third.status, code(&third).as_str()), (422, "match_failed"));
    let denied = pc.becomes("denied").await;
    assert_eq!(denied["reason"], "match_failed");
    let late = confirm(&phone, &pc.qr_id, &token, Some(&right)).await;
    assert_eq!((late.status, code(&late).as_str()), (409, "already_final"));
    assert_eq!(late.json()["state"], "denied");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deny_cancel_and_supersede_end_it() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;

    let mut pc = Pc::open(&server).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    assert_eq!(deny(&phone, &pc.qr_id, &token).await.json()["state"], "denied");
    assert_eq!(pc.becomes("denied").await["seq"], 3);

    let mut pc = Pc::open(&server).await;
    let claim = pc.claim();
    pc.client.ok("qr.cancel", claim.clone()).await;
    pc.becomes("cancelled").await;
    let again = pc.client.refused("qr.cancel", claim).await;
    assert_eq!(
        (&again["code"], &again["state"]),
        (&json!("already_final"), &json!("cancelled"))
    );
    let answer = scan(&phone, &pc.qr_id).await;
    assert_eq!((answer.status, code(&answer).as_str()), (409, "already_final"));

    let mut pc = Pc::open(&server).await;
    let second = pc.client.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    let push = pc.client.push_where("qr", |p| p["state"] == "cancelled").await;
    assert_eq!(
        (&push["qr_id"], &push["reason"]),
        (&json!(pc.qr_id), &json!("superseded"))
    );
    assert_eq!(scan(&phone, second["qr_id"].as_str().unwrap()).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_rotate_and_old_ones_die() {
    let server = TestServer::start(|c| (c.qr.lifetime_ms, c.qr.rotate_ms) = (24_000, 2_000)).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let first = pc.qr_id.clone();
    let second = pc.becomes("waiting").await;
    assert_ne!(second["qr_id"], json!(first));
    assert!(
        second["url"]
            .as_str()
            .unwrap()
            .ends_with(second["qr_id"].as_str().unwrap())
    );
    let third = pc.becomes("waiting").await;
    assert_eq!(third["seq"], 3);
    // The first code has been rotated out twice: a photograph of it is worth nothing.
    let answer = scan(&phone, &first).await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "not_found"));
    // The one before the newest still works: the phone may have been on its way.
    assert_eq!(scan(&phone, third["qr_id"].as_str().unwrap()).await.status, 200);
    pc.client.push_where("qr", |p| p["state"] == "scanned").await;
    // The claim names the attempt by any of its ids.
    let claim = pc.claim();
    pc.client.ok("qr.cancel", claim).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wait_ends() {
    let server = TestServer::start(|c| {
        no_number(c);
        // Each must hold the steps before its end on a machine that is busy with other things.
        c.qr.lifetime_ms = 4_000;
        c.qr.scanned_ms = 4_000;
        c.qr.confirmed_ms = 4_000;
    })
    .await;
    let phone = server.user("alice").await;

    let mut pc = Pc::open(&server).await;
    assert_eq!(pc.becomes("expired").await["reason"], "idle");
    let answer = scan(&phone, &pc.qr_id).await;
    assert_eq!((answer.status, code(&answer).as_str()), (410, "already_final"));

    let mut pc = Pc::open(&server).await;
    scan_token(&phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    assert_eq!(pc.becomes("expired").await["reason"], "unconfirmed");

    let mut pc = Pc::open(&server).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    assert_eq!(confirm(&phone, &pc.qr_id, &token, None).await.status, 200);
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);
    assert_eq!(pc.becomes("expired").await["reason"], "unredeemed");
    assert_eq!(pc.redeem(&ticket).await["code"], "already_final");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unwatched_code_expires_and_a_watched_one_does_not() {
    let server = TestServer::start(|c| c.qr.idle_ms = 150).await;
    let phone = server.user("alice").await;
    let pc = Pc::open(&server).await;
    let mut watched = Pc::open_as(&server, "pc-2").await;
    let lost = pc.qr_id.clone();
    pc.client.cut();
    within("the unwatched code expires", async {
        // A look that is no sign of life.
        while state_of(&server, &lost).await != QrState::Expired {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(scan(&phone, &lost).await.status, 410);
    assert_eq!(scan(&phone, &watched.qr_id).await.status, 200);
    watched.becomes("scanned").await;
    server.stop().await;
}

async fn state_of(server: &TestServer, qr_id: &str) -> QrState {
    let which = AttemptRef::Id(QrId::parse(qr_id).unwrap());
    let mut look = |_: &Attempt| Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    };
    let found = server
        .node
        .engine
        .update_attempt(which, &mut look, server.node.clock.now())
        .await
        .unwrap();
    found.unwrap().attempt.state()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_socket_resumes_in_every_state() {
    let server = TestServer::start(no_number).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let again = |pc: Pc, after: Option<u32>| {
        let (server, fields) = (&server, pc.watch(after));
        async move {
            pc.client.cut();
            let mut pc = Pc {
                client: server.anonymous().await,
                ..pc
            };
            let reply = pc.client.ok("qr.watch", fields).await;
            (pc, reply)
        }
    };

    let (resumed, reply) = again(pc, None).await;
    pc = resumed;
    assert_eq!(reply["state"], "waiting");
    assert_eq!(
        pc.becomes("waiting").await["seq"],
        1,
        "without after_seq, the newest event"
    );

    let token = scan_token(&phone, &pc.qr_id).await;
    let (resumed, reply) = again(pc, Some(1)).await;
    pc = resumed;
    assert_eq!(reply["state"], "scanned");
    pc.becomes("scanned").await;

    assert_eq!(confirm(&phone, &pc.qr_id, &token, None).await.status, 200);
    // Everything after the first event, in order.
    let (resumed, _) = again(pc, Some(1)).await;
    pc = resumed;
    pc.becomes("scanned").await;
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);

    let first = pc.redeem(&ticket).await;
    assert_eq!(first["type"], "ok");
    // The reply was lost with the socket: the same claim and ticket get the same result.
    let (resumed, reply) = again(pc, Some(3)).await;
    pc = resumed;
    assert_eq!(reply["state"], "redeemed");
    assert_eq!(pc.becomes("redeemed").await["seq"], 4);
    let second = pc.redeem(&ticket).await;
    for field in ["access_token", "refresh_token", "session", "user"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    pc.client.ok("join", json!({"room": "chat:lobby"})).await;
    pc.client
        .ok("send", json!({"room": "chat:lobby", "body": 1}))
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_watch_takes_over() {
    let server = TestServer::start(no_number).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let mut second = server.anonymous().await;
    second.ok("qr.watch", pc.watch(Some(1))).await;
    scan_token(&phone, &pc.qr_id).await;
    assert_eq!(second.push("qr").await["state"], "scanned");
    // The first one is told nothing any more: the next thing it hears is the answer to its ping.
    pc.client.ok("ping", json!({})).await;
    assert!(
        pc.client.pushes.iter().all(|p| p["type"] != "qr"),
        "{:?}",
        pc.client.pushes
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photographed_code_is_powerless() {
    let server = TestServer::start(|_| {}).await;
    let (phone, mallory) = (server.user("alice").await, server.user("mallory").await);
    let mut pc = Pc::open(&server).await;
    let mut thief = server.anonymous().await;
    let guess = "A".repeat(43);
    let unknown = "A".repeat(22);
    let mut answers = Vec::new();
    for (qr_id, claim, device) in [
        (&pc.qr_id, &guess, "pc-1"),
        (&pc.qr_id, &pc.qr_id, "pc-1"),
        (&unknown, &guess, "pc-1"),
        (&"nonsense".to_owned(), &guess, "pc-1"),
        // Even with the claim, another device is nobody.
        (&pc.qr_id, &pc.claim, "pc-2"),
    ] {
        let mut reply = thief
            .refused(
                "qr.watch",
                json!({"qr_id": qr_id, "claim": claim, "device": device, "after_seq": 0}),
            )
            .await;
        reply.as_object_mut().unwrap().remove("id");
        answers.push(reply);
    }
    let ticket = to_ticket(&mut pc, &phone).await;
    // Mallory has the code, and now even the ticket: without the claim, or with it and without the device that a
    // connection says with `open` or `watch`, it is worth nothing. Nor does the answer tell which was wrong.
    for (kind, fields) in [
        (
            "qr.redeem",
            json!({"qr_id": pc.qr_id, "claim": guess, "ticket": ticket}),
        ),
        (
            "qr.redeem",
            json!({"qr_id": pc.qr_id, "claim": pc.claim, "ticket": ticket}),
        ),
        (
            "qr.redeem",
            json!({"qr_id": unknown, "claim": guess, "ticket": ticket}),
        ),
        ("qr.cancel", json!({"qr_id": pc.qr_id, "claim": guess})),
        ("qr.cancel", json!({"qr_id": pc.qr_id, "claim": pc.claim})),
    ] {
        let mut reply = thief.refused(kind, fields).await;
        reply.as_object_mut().unwrap().remove("id");
        answers.push(reply);
    }
    assert!(
        answers
            .iter()
            .all(|a| a == &answers[0] && a["code"] == "not_found"),
        "{answers:#?}"
    );
    let answer = scan(&mallory, &pc.qr_id).await;
    assert_eq!((answer.status, code(&answer).as_str()), (409, "already_scanned"));
    assert_eq!(pc.redeem(&ticket).await["user"]["id"], "alice");
    assert_eq!(thief.pushes.len(), 0, "{:?}", thief.pushes);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_phone_that_scanned_confirms() {
    let server = TestServer::start(no_number).await;
    let (alice, mallory) = (server.user("alice").await, server.user("mallory").await);
    let other = Person {
        addr: server.addr,
        device: "tablet".into(),
        tokens: server.login("alice", "tablet").await,
    };
    let mut pc = Pc::open(&server).await;
    let token = scan_token(&alice, &pc.qr_id).await;
    pc.becomes("scanned").await;
    for stranger in [&mallory, &other] {
        for answer in [
            confirm(stranger, &pc.qr_id, &token, None).await,
            deny(stranger, &pc.qr_id, &token).await,
            confirm(stranger, &pc.qr_id, "guess", None).await,
        ] {
            assert_eq!(
                (answer.status, code(&answer).as_str()),
                (403, "scan_token_invalid")
            );
        }
    }
    // Scanning again gives the same phone a new token, and the old one is void.
    let fresh = scan_token(&alice, &pc.qr_id).await;
    assert_eq!(
        code(&confirm(&alice, &pc.qr_id, &token, None).await),
        "scan_token_invalid"
    );
    assert_eq!(confirm(&alice, &pc.qr_id, &fresh, None).await.status, 200);
    assert_eq!(
        code(&confirm(&alice, &pc.qr_id, &fresh, None).await),
        "already_confirmed"
    );
    pc.becomes("confirmed").await;
    // Unsigned, a phone is nobody.
    let answer = request(server.addr, "POST", &format!("/v1/qr/{}/scan", pc.qr_id))
        .send()
        .await;
    assert_eq!((answer.status, code(&answer).as_str()), (401, "unauthenticated"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_the_phone_out_ends_what_it_scanned() {
    let server = TestServer::start(no_number).await;
    let phone = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let ticket = to_ticket_unnumbered(&mut pc, &phone).await;
    assert_eq!(phone.request("POST", "/v1/logout").send().await.status, 204);
    assert_eq!(pc.becomes("denied").await["reason"], "revoked");
    assert_eq!(pc.redeem(&ticket).await["code"], "already_final");
    server.stop().await;
}

async fn to_ticket_unnumbered(pc: &mut Pc, phone: &Person) -> String {
    let token = scan_token(phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    assert_eq!(confirm(phone, &pc.qr_id, &token, None).await.status, 200);
    text(&pc.becomes("confirmed").await["ticket"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_signed_in_as_another_is_not_taken_over() {
    let server = TestServer::start(no_number).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut client = bob.connect().await;
    let opened = client.ok("qr.open", json!({"device": {"id": bob.device}})).await;
    let mut pc = Pc {
        client,
        qr_id: text(&opened["qr_id"]),
        claim: text(&opened["claim"]),
        device: "bob-device",
    };
    let ticket = to_ticket_unnumbered(&mut pc, &alice).await;
    assert_eq!(pc.redeem(&ticket).await["code"], "conflict");
    // Nothing was lost: a connection without a user redeems it.
    let mut fresh = server.anonymous().await;
    fresh.ok("qr.watch", pc.watch(None)).await;
    let mut fields = pc.claim();
    fields["ticket"] = json!(ticket);
    assert_eq!(fresh.ok("qr.redeem", fields).await["user"]["id"], "alice");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_sealed_to_a_public_key() {
    let server = TestServer::start(no_number).await;
    let phone = server.user("alice").await;
    let mut client = server.anonymous().await;
    // RFC 7518 appendix C: Bob's public key.
    let key = json!({"kty": "EC", "crv": "P-256", "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
        "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"});
    let off_curve = json!({"kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43)});
    let refused = client
        .refused(
            "qr.open",
            json!({"device": {"id": "pc-1"}, "public_key": off_curve}),
        )
        .await;
    assert_eq!(refused["code"], "bad_request");
    let opened = client
        .ok("qr.open", json!({"device": {"id": "pc-1"}, "public_key": key}))
        .await;
    let mut pc = Pc {
        client,
        qr_id: text(&opened["qr_id"]),
        claim: text(&opened["claim"]),
        device: "pc-1",
    };
    let ticket = to_ticket_unnumbered(&mut pc, &phone).await;
    let redeemed = pc.redeem(&ticket).await;
    assert_eq!(
        redeemed["sealed"].as_str().unwrap().split('.').count(),
        5,
        "a compact JWE"
    );
    assert!(redeemed["access_token"].is_null() && redeemed["refresh_token"].is_null());
    // The socket is signed in all the same.
    pc.client.ok("join", json!({"room": "chat:lobby"})).await;
    server.stop().await;
}

/// 64 phones are released by a barrier onto one code, over and over: exactly one scans, and confirms, and one
/// session comes of it, although 16 sockets redeem at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_winner_among_64_phones() {
    const PHONES: usize = 64;
    const ROUNDS: usize = 25;
    let server = Arc::new(
        TestServer::start(|c| {
            no_number(c);
            c.limits_profile = countersign::config::Profile::Bench;
        })
        .await,
    );
    let mut phones = Vec::new();
    for i in 0..PHONES {
        phones.push(Arc::new(server.user(&format!("phone{i}")).await));
    }
    for round in 0..ROUNDS {
        let mut pc = Pc::open(&server).await;
        let barrier = Arc::new(Barrier::new(PHONES));
        let tasks: Vec<_> = phones
            .iter()
            .map(|phone| {
                let (phone, barrier, qr_id) = (Arc::clone(phone), Arc::clone(&barrier), pc.qr_id.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let answer = scan(&phone, &qr_id).await;
                    if answer.status != 200 {
                        assert_eq!(code(&answer), "already_scanned");
                        return None;
                    }
                    let token = text(&answer.json()["scan_token"]);
                    // The winner confirms twice at once: a double tap is one confirmation.
                    let (a, b) = tokio::join!(
                        confirm(&phone, &qr_id, &token, None),
                        confirm(&phone, &qr_id, &token, None)
                    );
                    let mut statuses = [a.status, b.status];
                    statuses.sort_unstable();
                    assert_eq!(statuses, [200, 409]);
                    Some(phone.tokens.user.id.to_string())
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            winners.extend(within("a phone", task).await.unwrap());
        }
        assert_eq!(winners.len(), 1, "round {round}");
        pc.becomes("scanned").await;
        let ticket = text(&pc.becomes("confirmed").await["ticket"]);
        let mut fields = pc.claim();
        fields["ticket"] = json!(ticket);
        let redeemers: Vec<_> = (0..16)
            .map(|_| {
                let (server, fields, watch) = (Arc::clone(&server), fields.clone(), pc.watch(Some(99)));
                tokio::spawn(async move {
                    let mut client = server.anonymous().await;
                    client.ok("qr.watch", watch).await;
                    let redeemed = client.ok("qr.redeem", fields).await;
                    (text(&redeemed["user"]["id"]), text(&redeemed["session"]))
                })
            })
            .collect();
        let mut results = std::collections::HashSet::new();
        for redeemer in redeemers {
            results.insert(within("a redeemer", redeemer).await.unwrap());
        }
        assert_eq!(results.len(), 1, "round {round}: one session");
        assert_eq!(results.into_iter().next().unwrap().0, winners[0]);
    }
}
