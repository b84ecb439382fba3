//! Threat 6: somebody shows a victim a code that is really theirs. What the phone is shown, what it takes, how long a
//! copy lives, and what is left to do afterwards.

use serde_json::json;

use crate::common::qr::{Pc, confirm, scan, text};
use crate::common::{TestServer, request};
use crate::{is, unhurried};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_phone_is_shown_who_asks_and_takes_the_number_to_say_yes() {
    let server = TestServer::start(unhurried).await;
    let victim = server.user("alice").await;
    let mut watching = victim.connect().await;
    // The relay's own PC, which says of itself what it likes.
    let opened = request(server.addr, "POST", "/v1/qr")
        .header("user-agent", "RelayBrowser/1.0")
        .json(&json!({"device": {"id": "relay", "name": "Your bank\u{202e}", "kind": "pc"}}))
        .send()
        .await
        .json();
    let (qr_id, claim) = (text(&opened["qr_id"]), text(&opened["claim"]));
    let scanned = scan(&victim, &qr_id).await.json();
    let shown = &scanned["request"];
    assert_eq!(
        shown["device"],
        json!({"name": "Your bank", "kind": "pc"}),
        "no tricks with direction"
    );
    assert_eq!(
        (&shown["ip"], &shown["user_agent"]),
        (&json!("127.0.0.1"), &json!("RelayBrowser/1.0"))
    );
    assert_eq!(
        shown["same_network"], false,
        "two loopback addresses are no network"
    );
    assert!(shown["age_ms"].as_u64().is_some());
    // The number is on the other screen, and the phone is not told it.
    assert_eq!(scanned["match"], json!({"mode": "phone_types"}));
    let token = text(&scanned["scan_token"]);
    // A tap is not enough, and a guess is not either.
    is(
        &confirm(&victim, &qr_id, &token, None).await,
        422,
        "match_required",
    );
    is(
        &confirm(&victim, &qr_id, &token, Some("")).await,
        422,
        "match_required",
    );
    let look = request(server.addr, "GET", &format!("/v1/qr/{qr_id}"))
        .header("authorization", &format!("Claim {claim}"))
        .header("countersign-device", "relay");
    let digits = text(&look.send().await.json()["match"]["code"]);
    // Who shows the number too gets through: a live relay is not stopped by it. It is told, and undone by one call.
    assert_eq!(confirm(&victim, &qr_id, &token, Some(&digits)).await.status, 200);
    let with_claim = |method: &'static str, after: &str| {
        request(server.addr, method, &format!("/v1/qr/{qr_id}{after}"))
            .header("authorization", &format!("Claim {claim}"))
            .header("countersign-device", "relay")
    };
    let ticket = with_claim("GET", "").send().await.json()["ticket"].clone();
    let tokens = with_claim("POST", "/redeem")
        .json(&json!({"ticket": ticket}))
        .send()
        .await
        .json();
    let told = watching
        .push_where("session", |p| p["state"] == "new_device")
        .await;
    assert_eq!(
        (&told["session"], &told["ip"]),
        (&tokens["session"], &json!("127.0.0.1"))
    );
    assert_eq!(told["device"]["name"], "Your bank");
    let mut theirs = server.anonymous().await;
    theirs
        .ok(
            "auth",
            json!({"token": tokens["access_token"], "device": "relay"}),
        )
        .await;
    let path = format!("/v1/sessions/{}", text(&tokens["session"]));
    assert_eq!(victim.request("DELETE", &path).send().await.status, 204);
    assert_eq!(theirs.end().await.code, 4503);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_code_is_dead_one_period_after_it_was_rotated_out() {
    let server = TestServer::start(|c| {
        unhurried(c);
        (c.qr.lifetime_ms, c.qr.rotate_ms) = (40_000, 2_500);
    })
    .await;
    let victim = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let photographed = pc.qr_id.clone();
    pc.becomes("waiting").await;
    // Rotated out a moment ago: the phone may have been on its way. It is known, though this is no scan.
    let known = victim
        .request("POST", &format!("/v1/qr/{photographed}/deny"))
        .json(&json!({"scan_token": "x"}))
        .send()
        .await;
    assert_ne!(known.status, 404, "{}", known.text());
    pc.becomes("waiting").await;
    is(&scan(&victim, &photographed).await, 404, "not_found");
    // Nor does what was photographed come back to life when the code is scanned by its newest id.
    let newest = pc.client.push("qr").await;
    let newest = text(&newest["qr_id"]);
    assert_eq!(scan(&victim, &newest).await.status, 200);
    is(&scan(&victim, &photographed).await, 404, "not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_has_run_out_is_dead() {
    let server = TestServer::start(|c| {
        unhurried(c);
        (c.qr.lifetime_ms, c.qr.rotate_ms) = (1_000, 900);
    })
    .await;
    let victim = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let end = pc.client.push_where("qr", |p| p["state"] == "expired").await;
    assert_eq!(end["reason"], "idle");
    is(&scan(&victim, &text(&end["qr_id"])).await, 410, "already_final");
    // One that was rotated out before may be forgotten by now; it is as dead.
    let first = scan(&victim, &pc.qr_id).await;
    assert!(matches!(first.status, 404 | 410), "{}", first.text());
    server.stop().await;
}
