//! Stories over real sockets, and then the numbers.

use std::collections::BTreeMap;

use serde_json::json;

use super::exposition::Exposition;
use crate::common::qr::{Pc, confirm, deny, scan, scan_token, text};
use crate::common::{Answer, TestServer, engine_is_exact, request};

fn counts<const N: usize>(of: [(&str, f64); N]) -> BTreeMap<String, f64> {
    of.map(|(labels, n)| (labels.to_owned(), n)).into()
}

/// A PC without a WebSocket.
struct Screen<'a> {
    server: &'a TestServer,
    qr_id: String,
    claim: String,
}

impl<'a> Screen<'a> {
    async fn open(server: &'a TestServer) -> Self {
        let body = json!({"device": {"id": "screen"}});
        let answer = request(server.addr, "POST", "/v1/qr").json(&body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let opened = answer.json();
        Self {
            server,
            qr_id: text(&opened["qr_id"]),
            claim: text(&opened["claim"]),
        }
    }

    async fn say(&self, method: &'static str, claim: &str) -> Answer {
        request(self.server.addr, method, &format!("/v1/qr/{}", self.qr_id))
            .header("authorization", &format!("Claim {claim}"))
            .header("countersign-device", "screen")
            .send()
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_story_is_counted_once() {
    let server = TestServer::start(|_| {}).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let before = Exposition::read(server.operator).await;
    assert!(before.nonzero("countersign_qr_opened_total").is_empty());

    // Signed in, after a wrong code, a second scan, and a redemption that is repeated.
    let mut first = Pc::open_as(&server, "pc-1").await;
    scan_token(&alice, &first.qr_id).await;
    let token = scan_token(&alice, &first.qr_id).await;
    let digits = text(&first.becomes("scanned").await["match"]["code"]);
    let wrong = if digits == "00" { "01" } else { "00" };
    assert_eq!(
        confirm(&alice, &first.qr_id, &token, Some(wrong)).await.status,
        422
    );
    assert_eq!(
        confirm(&alice, &first.qr_id, &token, Some(&digits)).await.status,
        200
    );
    let ticket = text(&first.becomes("confirmed").await["ticket"]);
    for _ in 0..2 {
        assert_eq!(first.redeem(&ticket).await["type"], "ok");
    }
    first.becomes("redeemed").await;

    // Cancelled over HTTP, by the one who may.
    let screen = Screen::open(&server).await;
    assert_eq!(screen.say("DELETE", &"B".repeat(43)).await.status, 404);
    assert_eq!(screen.say("GET", &screen.claim).await.status, 200);
    assert_eq!(screen.say("DELETE", &screen.claim).await.status, 204);
    assert_eq!(screen.say("DELETE", &screen.claim).await.status, 409);

    // Denied; another phone came too late.
    let mut denied = Pc::open_as(&server, "pc-2").await;
    let token = scan_token(&alice, &denied.qr_id).await;
    assert_eq!(scan(&bob, &denied.qr_id).await.status, 409);
    assert_eq!(deny(&alice, &denied.qr_id, &token).await.status, 200);
    denied.becomes("scanned").await;
    denied.becomes("denied").await;

    // Three that live on; the second supersedes the first.
    let mut third = Pc::open_as(&server, "pc-3").await;
    third
        .client
        .ok("qr.open", json!({"device": {"id": "pc-3"}}))
        .await;
    third.becomes("cancelled").await;
    let screen = Screen::open(&server).await;
    scan_token(&alice, &screen.qr_id).await;

    let now = Exposition::when(server.operator, |now| {
        // Scanned, confirmed, redeemed; scanned, denied; superseded.
        let told = now.get("countersign_qr_push_seconds_count") >= 6.0;
        let live = counts([("state=scanned", 1.0), ("state=waiting", 1.0)]);
        now.nonzero("countersign_qr_live") == live && (told || !engine_is_exact())
    })
    .await;
    let of = |metric: &str| now.nonzero(metric);
    assert_eq!(
        of("countersign_qr_opened_total"),
        counts([("transport=http", 2.0), ("transport=ws", 4.0)])
    );
    assert_eq!(
        of("countersign_qr_live"),
        counts([("state=scanned", 1.0), ("state=waiting", 1.0)])
    );
    assert_eq!(
        of("countersign_qr_ended_total"),
        counts([
            ("state=cancelled,reason=superseded", 1.0),
            ("state=cancelled,reason=user", 1.0),
            ("state=denied,reason=user", 1.0),
            ("state=redeemed,reason=none", 1.0),
        ])
    );
    assert_eq!(
        of("countersign_qr_attempt_seconds_count"),
        of("countersign_qr_ended_total")
    );
    assert_eq!(
        of("countersign_qr_refusals_total"),
        counts([
            ("code=already_final", 1.0),
            ("code=already_scanned", 1.0),
            ("code=match_failed", 1.0),
            ("code=not_found", 1.0),
        ])
    );
    assert_eq!(now.get("countersign_qr_rotations_total"), 0.0);
    assert_eq!(
        of("countersign_qr_step_seconds_count"),
        counts([
            ("step=cancelled", 2.0),
            ("step=confirmed", 1.0),
            ("step=denied", 1.0),
            ("step=redeemed", 1.0),
            ("step=scanned", 3.0)
        ])
    );
    if engine_is_exact() {
        assert_eq!(now.get("countersign_qr_push_seconds_count"), 6.0);
        assert_eq!(now.get("countersign_qr_kept"), 6.0);
    }
    let sockets = now.nonzero("countersign_connections");
    let sockets = sockets.iter().filter(|(state, _)| *state != "state=http");
    assert_eq!(sockets.map(|(_, n)| n).sum::<f64>(), 3.0);
    assert!(now.get("countersign_sockets") >= 3.0);
    assert!(now.get("process_resident_memory_bytes") > 1e6);
    let open = now.get("process_open_fds");
    assert!(open >= 3.0 && open <= now.get("process_max_fds"));
    assert!(now.get("process_start_time_seconds") > 1.7e9);
    assert!(now.get("process_cpu_seconds_total") >= before.get("process_cpu_seconds_total"));
    server.stop().await;
}

/// From its opening on, and not from its last step, however it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_life_is_timed() {
    let server = TestServer::start(|c| c.qr.scanned_ms = 700).await;
    let alice = server.user("alice").await;
    let pc = Pc::open(&server).await;
    scan_token(&alice, &pc.qr_id).await;
    let now = Exposition::when(server.operator, |now| {
        !now.nonzero("countersign_qr_attempt_seconds_count").is_empty()
    })
    .await;
    assert_eq!(
        now.nonzero("countersign_qr_attempt_seconds_count"),
        counts([("state=expired,reason=unconfirmed", 1.0)])
    );
    let whole = now.get("countersign_qr_attempt_seconds_sum{state=\"expired\",reason=\"unconfirmed\"}");
    let steps = ["scanned", "expired"]
        .map(|step| now.get(&format!("countersign_qr_step_seconds_sum{{step=\"{step}\"}}")));
    let sum: f64 = steps.iter().sum();
    assert!(
        (whole - sum).abs() < 1e-6 && whole >= 0.7,
        "{whole} s of {steps:?}"
    );
    server.stop().await;
}

/// The operator's port has it, the public one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_port_has_no_metrics() {
    let server = TestServer::start(|_| {}).await;
    assert_eq!(request(server.addr, "GET", "/metrics").send().await.status, 404);
    assert_eq!(
        request(server.operator, "POST", "/metrics").send().await.status,
        405
    );
    server.stop().await;
}

/// What a timer brings about is counted where everything else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_expiries_are_counted() {
    let server = TestServer::start(|c| {
        (c.qr.lifetime_ms, c.qr.rotate_ms) = (1_600, 100);
    })
    .await;
    let mut pc = Pc::open(&server).await;
    let mut rotations = 0.0;
    loop {
        let push = pc.client.push("qr").await;
        if push["state"] == "expired" {
            assert_eq!(push["reason"], "idle");
            break;
        }
        rotations += 1.0;
    }
    let now = Exposition::when(server.operator, |now| {
        let told = now.get("countersign_qr_push_seconds_count") > rotations;
        !now.nonzero("countersign_qr_ended_total").is_empty() && (told || !engine_is_exact())
    })
    .await;
    assert!(rotations >= 1.0);
    if engine_is_exact() {
        assert_eq!(now.get("countersign_qr_rotations_total"), rotations);
        assert_eq!(now.get("countersign_qr_push_seconds_count"), rotations + 1.0);
    }
    let ended = now.nonzero("countersign_qr_ended_total");
    assert_eq!(ended, counts([("state=expired,reason=idle", 1.0)]));
    let lasted = now.get("countersign_qr_step_seconds_sum{step=\"expired\"}");
    assert!(lasted > 1.5, "its whole life: it never left waiting, {lasted} s");
    assert_eq!(
        now.nonzero("countersign_qr_step_seconds_count"),
        counts([("step=expired", 1.0)])
    );
    let whole = now.get("countersign_qr_attempt_seconds_sum{state=\"expired\",reason=\"idle\"}");
    assert_eq!(whole, lasted);
    assert!(now.nonzero("countersign_qr_live").is_empty());
    server.stop().await;
}
