//! Threat 5: whoever has the code, and even the scan token, and is not the phone that scanned.

use serde_json::json;

use crate::common::qr::{Pc, code, confirm, scan, scan_token, text};
use crate::common::{Person, TestServer, request};
use crate::{is, record, unhurried};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_with_everything_but_the_session_changes_nothing() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let again = Person {
        addr: server.addr,
        device: alice.device.clone(),
        tokens: server.login("alice", &alice.device).await,
    };
    let tablet = Person {
        addr: server.addr,
        device: "tablet".into(),
        tokens: server.login("alice", "tablet").await,
    };
    let strangers = [
        ("another account", server.user("mallory").await),
        ("the account's other device", tablet),
        ("another session on the same device", again),
    ];
    let mut pc = Pc::open(&server).await;
    let token = scan_token(&alice, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    let before = record(&server, &pc.qr_id).await;
    for (who, stranger) in &strangers {
        for answer in [
            confirm(stranger, &pc.qr_id, &token, Some(&digits)).await,
            // Wrong digits of a stranger are no tries of the phone's.
            confirm(stranger, &pc.qr_id, &token, Some("xx")).await,
            confirm(stranger, &pc.qr_id, &token, None).await,
            stranger
                .request("POST", &format!("/v1/qr/{}/deny", pc.qr_id))
                .json(&json!({"scan_token": token}))
                .send()
                .await,
        ] {
            assert_eq!(
                (answer.status, code(&answer).as_str()),
                (403, "scan_token_invalid"),
                "{who}"
            );
        }
        is(&scan(stranger, &pc.qr_id).await, 409, "already_scanned");
    }
    let path = format!("/v1/qr/{}/confirm", pc.qr_id);
    let body = json!({"scan_token": token, "code": digits});
    is(
        &request(server.addr, "POST", &path).json(&body).send().await,
        401,
        "unauthenticated",
    );
    // Alice's token on another device is nobody's, and the PC's own secret is none of a phone's.
    let borrowed = request(server.addr, "POST", &path)
        .header("authorization", &format!("Bearer {}", alice.tokens.access_token))
        .header("countersign-device", "mallory-device");
    is(&borrowed.json(&body).send().await, 401, "device_mismatch");
    let claiming = request(server.addr, "POST", &path)
        .header("authorization", &format!("Claim {}", pc.claim))
        .header("countersign-device", "pc-1");
    assert_eq!(claiming.json(&body).send().await.status, 401);
    assert_eq!(
        record(&server, &pc.qr_id).await,
        before,
        "not a bit of it has changed"
    );
    pc.client.ok("ping", json!({})).await;
    assert!(pc.client.pushes.is_empty(), "{:?}", pc.client.pushes);
    // The phone goes on where it was.
    assert_eq!(
        confirm(&alice, &pc.qr_id, &token, Some(&digits)).await.status,
        200
    );
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);
    assert_eq!(pc.redeem(&ticket).await["user"]["id"], "alice");
    server.stop().await;
}
