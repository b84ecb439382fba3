//! Threats 3 and 4 for an app's device authorization: its device code exchanged by many at once, its user code typed by
//! many at once.

use std::collections::BTreeSet;
use std::fmt::Write;

use countersign::config::{Client, Config};
use countersign_protocol::oauth::{DEVICE_CODE_GRANT, OAuthTokens};
use serde_json::{Value, json};

use crate::common::qr::{confirm, text};
use crate::common::{Answer, Person, TestServer, soak};
use crate::lines::{Lines, pc, phone};
use crate::{record, unhurried};

const CALLERS: usize = 64;

/// Two public clients.
fn clients(config: &mut Config) {
    unhurried(config);
    for (id, name) in [("tv", "Living room"), ("reader", "Reader")] {
        let client = Client {
            name: name.into(),
            ..Client::default()
        };
        config.clients.insert(id.into(), client);
    }
}

/// A form to `/oauth/<what>`, for a connection that goes on. None of the values means anything in a form.
fn form(what: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let body: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let body = body.join("&");
    let mut text = format!("POST /oauth/{what} HTTP/1.1\r\nhost: gateway\r\n");
    write!(
        text,
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    text.into_bytes()
}

fn exchange(client: &str, device_code: &str) -> Vec<u8> {
    let grant = DEVICE_CODE_GRANT.replace(':', "%3A");
    form(
        "token",
        &[
            ("grant_type", &grant),
            ("client_id", client),
            ("device_code", device_code),
        ],
    )
}

async fn opened(lines: &mut Lines) -> Value {
    let asked = form(
        "device_authorization",
        &[("client_id", "tv"), ("scope", "openid")],
    );
    let answer = lines.ask(&asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn typing(person: &Person, code: &Value) -> Vec<u8> {
    phone(person, "/v1/qr/scan", Some(&json!({"user_code": code})))
}

async fn yes(person: &Person, scanned: &Value) {
    let (qr_id, token) = (text(&scanned["qr_id"]), text(&scanned["scan_token"]));
    let answer = confirm(person, &qr_id, &token, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn refused(answer: &Answer, error: &str) {
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (400, &json!(error)),
        "{}",
        answer.text()
    );
}

/// Everybody's exchanges at once, with thieves among them that have half of what it takes.
async fn exchanges(rounds: u64) {
    let server = TestServer::start(clients).await;
    let alice = server.user("alice").await;
    let mut lines = Lines::open(server.addr, CALLERS).await;
    for round in 0..rounds {
        let opened = opened(&mut lines).await;
        let device_code = text(&opened["device_code"]);
        let scanned = lines.ask(&typing(&alice, &opened["user_code"])).await;
        assert_eq!(scanned.status, 200, "{}", scanned.text());
        yes(&alice, &scanned.json()).await;
        let requests: Vec<_> = (0..CALLERS)
            .map(|n| match n % 8 {
                0 => exchange("reader", &device_code),
                1 => exchange("tv", &"A".repeat(43)),
                // The device code is the claim, and no ticket.
                2 => {
                    let path = format!("/v1/qr/{}/redeem", text(&opened["qr_id"]));
                    let ticket = json!({"ticket": device_code});
                    pc("POST", &path, &device_code, "any", Some(&ticket))
                }
                _ => exchange("tv", &device_code),
            })
            .collect();
        let answers = lines.at_once(&requests).await;
        let mut pairs = BTreeSet::new();
        for (n, answer) in answers.iter().enumerate() {
            match n % 8 {
                0 | 1 => refused(answer, "invalid_grant"),
                2 => assert_eq!(answer.status, 409, "{}", answer.text()),
                _ => {
                    assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
                    answer.read::<OAuthTokens>();
                    pairs.insert(answer.body.clone());
                }
            }
        }
        assert_eq!(pairs.len(), 1, "round {round}: one pair, to the byte");
        let sessions = alice.request("GET", "/v1/sessions").send().await.json();
        let sessions = sessions["sessions"].as_array().unwrap().clone();
        assert_eq!(sessions.len(), 2, "round {round}: {sessions:?}");
        let of_the_app = sessions.iter().filter(|s| s["client"] == "Living room");
        assert_eq!(of_the_app.count(), 1, "{sessions:?}");
        // It has that one session, and no other that nobody sees: with it everything is over.
        let answer = alice
            .request("DELETE", "/v1/sessions?except=current")
            .send()
            .await;
        assert_eq!(answer.status, 204);
        let tokens: Value = serde_json::from_slice(&pairs.into_iter().next().unwrap()).unwrap();
        let token = text(&tokens["refresh_token"]);
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "tv"),
            ("refresh_token", &token),
        ];
        refused(&lines.ask(&form("token", &fields)).await, "invalid_grant");
    }
    server.stop().await;
}

/// Every phone types the same code at once, or scans its picture: one of them has it.
async fn typed(rounds: u64) {
    let server = TestServer::start(clients).await;
    let mut phones: Vec<Person> = Vec::new();
    for n in 0..CALLERS {
        phones.push(server.user(&format!("phone{n}")).await);
    }
    let mut lines = Lines::open(server.addr, CALLERS).await;
    for round in 0..rounds {
        let opened = opened(&mut lines).await;
        let (code, qr_id) = (&opened["user_code"], text(&opened["qr_id"]));
        // In turn the first two alone, all who type, and half who scan.
        let (callers, scans) = [(2, false), (CALLERS, false), (CALLERS, true)][(round % 3) as usize];
        let requests: Vec<_> = (phones.iter().take(callers).enumerate())
            .map(|(n, person)| {
                if scans && n % 2 == 1 {
                    phone(person, &format!("/v1/qr/{qr_id}/scan"), None)
                } else {
                    typing(person, code)
                }
            })
            .collect();
        let answers = lines.at_once(&requests).await;
        let won: Vec<_> = (0..callers).filter(|&n| answers[n].status == 200).collect();
        let lost = answers
            .iter()
            .filter(|a| a.status == 409 && a.json()["code"] == "already_scanned");
        assert_eq!((won.len(), lost.count()), (1, callers - 1), "round {round}");
        // A loser's later word changes nothing, nor does one with the winner's token.
        let before = record(&server, &qr_id).await;
        let (winner, other) = (&phones[won[0]], &phones[(won[0] + 1) % callers]);
        let scanned = answers[won[0]].json();
        let stolen = confirm(other, &qr_id, &text(&scanned["scan_token"]), Some(&text(code))).await;
        assert_eq!(
            (stolen.status, &stolen.json()["code"]),
            (403, &json!("scan_token_invalid"))
        );
        assert_eq!(record(&server, &qr_id).await, before, "round {round}");
        let by_picture = scans && won[0] % 2 == 1;
        let typed = by_picture.then(|| text(code));
        let token = text(&scanned["scan_token"]);
        let confirmed = confirm(winner, &qr_id, &token, typed.as_deref()).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());
        let tokens = lines.ask(&exchange("tv", &text(&opened["device_code"]))).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let outcome = winner.request("GET", &format!("/v1/qr/{qr_id}/outcome"));
        assert_eq!(outcome.send().await.json()["state"], "redeemed");
        let ended = winner
            .request("DELETE", "/v1/sessions?except=current")
            .send()
            .await;
        assert_eq!(ended.status, 204);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_code_is_one_session_however_often_it_comes() {
    exchanges(40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_type_one_code_at_once_and_one_has_it() {
    typed(9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn soak_device_codes() {
    exchanges(100 * soak()).await;
    typed(50 * soak()).await;
}
