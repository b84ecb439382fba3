//! Threat 3: a ticket, or a refresh token, used by many at once and again later.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::qr::text;
use crate::common::{Person, TestServer, soak};
use crate::lines::{Lines, bytes, pc, phone};
use crate::{is, no_number, unhurried};

const CALLERS: usize = 64;

/// A confirmed code, by HTTP alone: its path, claim and ticket.
async fn confirmed(lines: &mut Lines, person: &Person) -> (String, String, String) {
    let open = json!({"device": {"id": "pc-1", "kind": "pc"}});
    let opened = lines.ask(&bytes("POST", "/v1/qr", &[], Some(&open))).await.json();
    let (path, claim) = (
        format!("/v1/qr/{}", text(&opened["qr_id"])),
        text(&opened["claim"]),
    );
    let scanned = lines
        .ask(&phone(person, &format!("{path}/scan"), None))
        .await
        .json();
    let body = json!({"scan_token": scanned["scan_token"]});
    let answer = lines
        .ask(&phone(person, &format!("{path}/confirm"), Some(&body)))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let current = lines.ask(&pc("GET", &path, &claim, "pc-1", None)).await.json();
    (path, claim, text(&current["ticket"]))
}

async fn tickets(rounds: u64) {
    let server = TestServer::start(no_number).await;
    let alice = server.user("alice").await;
    let mut lines = Lines::open(server.addr, CALLERS).await;
    for round in 0..rounds {
        let (path, claim, ticket) = confirmed(&mut lines, &alice).await;
        let redeem = format!("{path}/redeem");
        let right = json!({"ticket": ticket});
        let requests: Vec<_> = (0..CALLERS)
            .map(|n| match n % 8 {
                // Who has two of claim, device and ticket has nothing.
                0 => pc("POST", &redeem, &"A".repeat(43), "pc-1", Some(&right)),
                1 => pc("POST", &redeem, &claim, "pc-2", Some(&right)),
                2 => pc(
                    "POST",
                    &redeem,
                    &claim,
                    "pc-1",
                    Some(&json!({"ticket": "A".repeat(43)})),
                ),
                _ => pc("POST", &redeem, &claim, "pc-1", Some(&right)),
            })
            .collect();
        let answers = lines.at_once(&requests).await;
        let mut results = BTreeSet::new();
        for (n, answer) in answers.iter().enumerate() {
            match n % 8 {
                0 | 1 => is(answer, 404, "not_found"),
                // Before the ticket is used and after.
                2 => assert!(matches!(answer.status, 404 | 409), "{}", answer.text()),
                _ => {
                    assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
                    let told = answer.json();
                    results.insert((
                        text(&told["session"]),
                        text(&told["access_token"]),
                        text(&told["refresh_token"]),
                    ));
                }
            }
        }
        assert_eq!(results.len(), 1, "round {round}: one session, one pair");
        let (session, access, _) = results.into_iter().next().unwrap();
        let sessions = alice.request("GET", "/v1/sessions").send().await.json();
        let ids: Vec<_> = sessions["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| text(&s["id"]))
            .collect();
        assert_eq!(ids.len(), 2, "round {round}: {sessions}");
        assert!(ids.contains(&session));
        let bearer = format!("Bearer {access}");
        let headers = [("authorization", bearer.as_str()), ("countersign-device", "pc-1")];
        assert_eq!(
            lines
                .ask(&bytes("POST", "/v1/logout", &headers, None))
                .await
                .status,
            204
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_one_session_however_often_it_comes() {
    tickets(40).await;
}

/// By `make soak`: 10,000 rounds with `COUNTERSIGN_SOAK=20`, its default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn soak_tickets() {
    tickets(500 * soak()).await;
}

fn refresh(token: &str, device: &str) -> Vec<u8> {
    let body = json!({"refresh_token": token});
    bytes(
        "POST",
        "/v1/refresh",
        &[("countersign-device", device)],
        Some(&body),
    )
}

async fn refresh_tokens(rounds: u64) {
    let server = TestServer::start(unhurried).await;
    let mut lines = Lines::open(server.addr, CALLERS).await;
    for round in 0..rounds {
        let alice = server.user("alice").await;
        let own = refresh(&alice.tokens.refresh_token, &alice.device);
        // One holder, many calls: one new pair.
        let answers = lines.at_once(&vec![own.clone(); CALLERS]).await;
        let pairs: BTreeSet<_> = answers.iter().map(|a| (a.status, a.text())).collect();
        assert_eq!(pairs.len(), 1, "round {round}: {pairs:?}");
        let pair: Value = answers[0].json();
        let newer = text(&pair["refresh_token"]);
        // A thief's copy at the same moment, from another device: no second pair, and the session is over for both.
        let mixed: Vec<_> = (0..CALLERS)
            .map(|n| refresh(&newer, if n % 2 == 0 { &alice.device } else { "thief" }))
            .collect();
        let answers = lines.at_once(&mixed).await;
        let mut given = BTreeSet::new();
        for (n, answer) in answers.iter().enumerate() {
            if answer.status == 200 {
                assert_eq!(n % 2, 0, "round {round}: given to the thief");
                given.insert(text(&answer.json()["refresh_token"]));
            } else {
                is(answer, 401, "invalid_token");
            }
        }
        assert!(given.len() <= 1, "round {round}: {given:?}");
        for token in given.iter().chain([&newer, &alice.tokens.refresh_token]) {
            is(
                &lines.ask(&refresh(token, &alice.device)).await,
                401,
                "invalid_token",
            );
        }
        is(&alice.request("GET", "/v1/me").send().await, 401, "invalid_token");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_one_pair_and_a_copy_ends_it() {
    refresh_tokens(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn soak_refresh_tokens() {
    refresh_tokens(100 * soak()).await;
}
