//! Threat 4: 64 requests whose last bytes arrive together. One lock per attempt stands against it; these are its
//! stress.

use serde_json::{Value, json};

use crate::common::qr::{Pc, scan_token, text};
use crate::common::{Person, TestServer, soak};
use crate::lines::{Lines, pc, phone};
use crate::unhurried;

const CALLERS: usize = 64;

/// What a PC is told from here to the end: each event once, in order, and one end.
async fn to_the_end(pc: &mut Pc) -> Vec<Value> {
    let mut told: Vec<Value> = Vec::new();
    loop {
        let event = pc.client.push("qr").await;
        if let Some(before) = told.last() {
            assert_eq!(
                event["seq"].as_u64(),
                before["seq"].as_u64().map(|s| s + 1),
                "{told:?}"
            );
        }
        let state = text(&event["state"]);
        told.push(event);
        if matches!(state.as_str(), "denied" | "cancelled" | "expired" | "redeemed") {
            return told;
        }
    }
}

/// Nothing is told after an end.
async fn has_ended(pc: &mut Pc) {
    pc.client.ok("ping", json!({})).await;
    assert!(
        pc.client.pushes.iter().all(|p| p["type"] != "qr"),
        "{:?}",
        pc.client.pushes
    );
}

async fn scans(rounds: u64) {
    let server = TestServer::start(unhurried).await;
    let mut phones: Vec<Person> = Vec::new();
    for n in 0..CALLERS {
        phones.push(server.user(&format!("phone{n}")).await);
    }
    let mut lines = Lines::open(server.addr, CALLERS).await;
    for round in 0..rounds {
        let mut shown = Pc::open(&server).await;
        let path = format!("/v1/qr/{}/scan", shown.qr_id);
        let requests: Vec<_> = phones.iter().map(|p| phone(p, &path, None)).collect();
        let answers = lines.at_once(&requests).await;
        let won: Vec<_> = (0..CALLERS).filter(|&n| answers[n].status == 200).collect();
        let lost = answers
            .iter()
            .filter(|a| a.status == 409 && a.json()["code"] == "already_scanned");
        assert_eq!((won.len(), lost.count()), (1, CALLERS - 1), "round {round}");
        let told = shown.becomes("scanned").await;
        assert_eq!(
            (&told["seq"], &told["user"]["name"]),
            (&json!(2), &json!(format!("phone{} of test", won[0])))
        );
        let claim = shown.claim();
        shown.client.ok("qr.cancel", claim).await;
        assert_eq!(
            to_the_end(&mut shown).await.len(),
            1,
            "told of one scan and of the end"
        );
    }
    server.stop().await;
}

async fn confirmations(rounds: u64) {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let mut lines = Lines::open(server.addr, CALLERS).await;
    for round in 0..rounds {
        let mut shown = Pc::open(&server).await;
        let token = scan_token(&alice, &shown.qr_id).await;
        let digits = text(&shown.becomes("scanned").await["match"]["code"]);
        let body = json!({"scan_token": token, "code": digits});
        let confirm = phone(&alice, &format!("/v1/qr/{}/confirm", shown.qr_id), Some(&body));
        let answers = lines.at_once(&vec![confirm; CALLERS]).await;
        let won = answers.iter().filter(|a| a.status == 200).count();
        let lost = answers
            .iter()
            .filter(|a| a.status == 409 && a.json()["code"] == "already_confirmed");
        assert_eq!((won, lost.count()), (1, CALLERS - 1), "round {round}");
        let ticket = text(&shown.becomes("confirmed").await["ticket"]);
        assert_eq!(shown.redeem(&ticket).await["type"], "ok");
        assert_eq!(
            to_the_end(&mut shown).await.len(),
            1,
            "told of one confirmation and of the end"
        );
        has_ended(&mut shown).await;
        // Each is a session of its own.
        let answer = alice
            .request("DELETE", "/v1/sessions?except=current")
            .send()
            .await;
        assert_eq!(answer.status, 204);
    }
    server.stop().await;
}

/// Yes, no and never mind at once: one end.
async fn disputes(rounds: u64) {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let mut lines = Lines::open(server.addr, CALLERS).await;
    let mut confirmed = 0;
    for round in 0..rounds {
        let mut shown = Pc::open(&server).await;
        let token = scan_token(&alice, &shown.qr_id).await;
        let digits = text(&shown.becomes("scanned").await["match"]["code"]);
        let path = format!("/v1/qr/{}", shown.qr_id);
        let body = json!({"scan_token": token, "code": digits});
        let requests: Vec<_> = (0..CALLERS)
            .map(|n| match (n as u64 + round) % 3 {
                0 => phone(&alice, &format!("{path}/confirm"), Some(&body)),
                1 => phone(&alice, &format!("{path}/deny"), Some(&body)),
                _ => pc("DELETE", &path, &shown.claim, "pc-1", None),
            })
            .collect();
        let answers = lines.at_once(&requests).await;
        let of = |kind: u64, status: u16| {
            let kinds = answers
                .iter()
                .zip(0_u64..)
                .filter(move |(_, n)| (n + round) % 3 == kind);
            kinds.filter(move |(a, _)| a.status == status).count()
        };
        let (yes, no, never_mind) = (of(0, 200), of(1, 200), of(2, 204));
        assert!(yes <= 1, "round {round}");
        assert_eq!(no + never_mind, 1, "round {round}: one end");
        let other = answers.iter().filter(|a| !matches!(a.status, 200 | 204 | 409));
        assert_eq!(other.count(), 0, "round {round}");
        confirmed += yes;
        let told = to_the_end(&mut shown).await;
        assert_eq!(told.len(), 1 + yes, "round {round}: {told:?}");
        assert_eq!(told[yes]["state"], if no == 1 { "denied" } else { "cancelled" });
        has_ended(&mut shown).await;
    }
    println!("{confirmed} of {rounds} were confirmed before they ended");
    server.stop().await;
}

/// All numbers at once: three of them are tried.
async fn guesses(rounds: u64) {
    let server = TestServer::start(unhurried).await;
    let mallory = server.user("mallory").await;
    let mut lines = Lines::open(server.addr, CALLERS).await;
    let mut lucky = 0;
    for round in 0..rounds {
        let mut shown = Pc::open(&server).await;
        let token = scan_token(&mallory, &shown.qr_id).await;
        shown.becomes("scanned").await;
        let path = format!("/v1/qr/{}/confirm", shown.qr_id);
        let requests: Vec<_> = (0..CALLERS)
            .map(|n| {
                phone(
                    &mallory,
                    &path,
                    Some(&json!({"scan_token": token, "code": format!("{n:02}")})),
                )
            })
            .collect();
        let answers = lines.at_once(&requests).await;
        let right = answers.iter().filter(|a| a.status == 200).count();
        let wrong = answers.iter().filter(|a| a.status == 422).count();
        let late = answers.iter().filter(|a| a.status == 409).count();
        assert_eq!(right + wrong + late, CALLERS, "round {round}");
        lucky += right;
        if right == 1 {
            assert!(wrong <= 2, "round {round}: {wrong} wrong ones first");
            let claim = shown.claim();
            shown.client.ok("qr.cancel", claim).await;
        } else {
            assert!(wrong <= 3, "round {round}: {wrong} were tried");
            let told = to_the_end(&mut shown).await;
            assert_eq!(
                (told.len(), &told[0]["reason"]),
                (1, &json!("match_failed")),
                "round {round}"
            );
        }
    }
    // Three of a hundred numbers each: more than a third of the rounds is beyond chance.
    assert!(
        lucky * 3 <= usize::try_from(rounds).unwrap().max(9),
        "{lucky} of {rounds}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_phones_scan_at_once_and_one_has_it() {
    scans(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_confirmations_at_once_are_one() {
    confirmations(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn yes_no_and_never_mind_at_once_are_one_end() {
    disputes(25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_numbers_at_once_are_three_tries() {
    guesses(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn soak_last_bytes() {
    let rounds = 50 * soak();
    scans(rounds).await;
    confirmations(rounds).await;
    disputes(rounds).await;
    guesses(rounds).await;
}
