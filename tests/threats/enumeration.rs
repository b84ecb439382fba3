//! Threat 7: guessing ids, and telling what there is from what there is not.

use std::time::Instant;

use serde_json::json;

use crate::common::qr::{Pc, scan_token, text, to_ticket};
use crate::common::{Answer, TestServer, soak};
use crate::lines::{Lines, bytes, pc, phone};
use crate::unhurried;

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const AT_ONCE: usize = 32;

/// Ids that nobody was given: 128 random bits.
fn guess() -> String {
    countersign::auth::secret::id("x").unwrap()[2..].to_owned()
}

/// An answer to the byte, but for the time.
fn timeless(answer: &Answer) -> String {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    format!("{} {headers:?} {}", answer.status, answer.text())
}

async fn guesses(count: u64) {
    let server = TestServer::start(|c| {
        unhurried(c);
        // What is to be found stays what it is, however long it is looked for.
        (c.qr.lifetime_ms, c.qr.rotate_ms, c.qr.idle_ms) = (3_600_000, 3_600_000, 3_600_000);
    })
    .await;
    let mallory = server.user("mallory").await;
    // There is something to be found, in every live state.
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(Pc::open(&server).await);
    }
    scan_token(&mallory, &waiting[0].qr_id).await;
    to_ticket(&mut waiting[1], &mallory).await;
    let mut lines = Lines::open(server.addr, AT_ONCE).await;
    let mut answers = std::collections::BTreeSet::new();
    let mut asked = 0;
    while asked < count {
        let requests: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let path = format!("/v1/qr/{}", guess());
                match n % 4 {
                    0 => phone(&mallory, &format!("{path}/scan"), None),
                    1 => phone(
                        &mallory,
                        &format!("{path}/confirm"),
                        Some(&json!({"scan_token": "x"})),
                    ),
                    2 => pc("GET", &path, "x", "pc-1", None),
                    _ => pc(
                        "POST",
                        &format!("{path}/redeem"),
                        "x",
                        "pc-1",
                        Some(&json!({"ticket": "x"})),
                    ),
                }
            })
            .collect();
        answers.extend(lines.at_once(&requests).await.iter().map(timeless));
        asked += AT_ONCE as u64;
    }
    assert_eq!(answers.len(), 1, "one answer to {asked} guesses: {answers:?}");
    assert!(answers.iter().all(|a| a.starts_with("404 ")), "{answers:?}");
    // Guessing costs the account nothing: its own scans are not refused for it.
    scan_token(&mallory, &waiting[2].qr_id).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessed_ids_find_nothing() {
    guesses(3_000).await;
}

/// By `make soak`: a million with `COUNTERSIGN_SOAK=20`, its default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn soak_guessed_ids() {
    guesses(50_000 * soak()).await;
}

/// Unknown, foreign, with a wrong claim, on another device: the same bytes, for each of the PC's calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_looks_like_what_is_not() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let (mut live, mut theirs) = (Pc::open(&server).await, Pc::open_as(&server, "pc-2").await);
    let ticket = to_ticket(&mut live, &alice).await;
    let mut ended = Pc::open(&server).await;
    let claim = ended.claim();
    ended.client.ok("qr.cancel", claim).await;
    let mut lines = Lines::open(server.addr, 1).await;
    let mut seen = std::collections::BTreeMap::new();
    for (method, after, body) in [
        ("GET", "", None),
        ("GET", "/events", None),
        ("POST", "/answer", Some(json!({"code": "00"}))),
        ("POST", "/redeem", Some(json!({"ticket": ticket}))),
        ("DELETE", "", None),
    ] {
        for (what, qr_id, claim, device) in [
            ("unknown", UNKNOWN, live.claim.as_str(), "pc-1"),
            ("no id", "nonsense", &live.claim, "pc-1"),
            ("a wrong claim", &live.qr_id, UNKNOWN, "pc-1"),
            ("a foreign claim", &live.qr_id, &theirs.claim, "pc-1"),
            ("a foreign code", &theirs.qr_id, &live.claim, "pc-1"),
            ("another device", &live.qr_id, &live.claim, "pc-2"),
            ("ended", &ended.qr_id, &live.claim, "pc-1"),
        ] {
            let request = pc(
                method,
                &format!("/v1/qr/{qr_id}{after}"),
                claim,
                device,
                body.as_ref(),
            );
            let answer = timeless(&lines.ask(&request).await);
            seen.entry(answer)
                .or_insert_with(Vec::new)
                .push(format!("{method} {after}: {what}"));
        }
    }
    assert_eq!(seen.len(), 1, "{seen:#?}");
    // What anybody may ask for is a function of the id alone.
    let drawn = |answer: &Answer| {
        let headers = answer
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "x-request-id"));
        format!("{} {:?}", answer.status, headers.collect::<Vec<_>>())
    };
    for path in [
        |id: &str| format!("/v1/qr/{id}.svg"),
        |id: &str| format!("/q/{id}"),
    ] {
        let mut kinds = std::collections::BTreeSet::new();
        for id in [UNKNOWN, &live.qr_id, &ended.qr_id] {
            kinds.insert(drawn(&lines.ask(&bytes("GET", &path(id), &[], None)).await));
        }
        assert_eq!(kinds.len(), 1, "{kinds:?}");
    }
    assert_eq!(
        live.redeem(&ticket).await["user"]["id"],
        "alice",
        "nothing of it did anything"
    );
    let claim = theirs.claim();
    assert_eq!(theirs.client.call("qr.cancel", claim).await["type"], "ok");
    assert!(text(&json!(ticket)).len() >= 43, "256 bits");
    server.stop().await;
}

/// Mean, variance.
fn moments(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    (
        mean,
        samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (count - 1.0),
    )
}

#[allow(clippy::disallowed_methods, reason = "a time is what is measured")]
fn now() -> Instant {
    Instant::now()
}

/// Times of two questions asked in turn, the slowest twentieth of each left out: what the system did meanwhile.
async fn compare(lines: &mut Lines, questions: [&[u8]; 2], samples: usize) -> (f64, f64) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..samples {
        for (question, times) in questions.iter().zip(&mut times) {
            let begun = now();
            lines.ask(question).await;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
        times.truncate(samples * 19 / 20);
    }
    let ((a, va), (b, vb)) = (moments(&times[0]), moments(&times[1]));
    let count = times[0].len() as f64;
    (a - b, (a - b) / ((va + vb) / count).sqrt())
}

/// Whether the time of an answer tells what is there. A difference is bounded, not its absence asserted: the bound is a
/// hundredth of what a network adds to each answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures time: make soak"]
async fn soak_time_tells_nothing() {
    let samples = usize::try_from(500 * soak()).unwrap();
    let server = TestServer::start(unhurried).await;
    let live = Pc::open(&server).await;
    let mut lines = Lines::open(server.addr, 1).await;
    let look = |id: &str| pc("GET", &format!("/v1/qr/{id}"), UNKNOWN, "pc-1", None);
    let (unknown, other, wrong) = (look(UNKNOWN), look(&guess()), look(&live.qr_id));
    for (what, pair) in [
        ("two unknown ids", [unknown.as_slice(), other.as_slice()]),
        ("an unknown id, a wrong claim", [&unknown, &wrong]),
    ] {
        let (difference, t) = compare(&mut lines, pair, samples).await;
        println!("{what}: {difference:+.2} us over {samples} samples, Welch t {t:+.2}");
        assert!(difference.abs() < 20.0, "{what}: {difference} us");
    }
    server.stop().await;
}
