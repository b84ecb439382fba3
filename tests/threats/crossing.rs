//! Threats 9 and 10: a session that was prepared before the sign-in, and a sign-in that another page makes.

use serde_json::json;

use crate::common::qr::{Pc, confirm, scan_token, text, to_ticket};
use crate::common::{Client, TestServer, request};
use crate::{is, record, unhurried};

const FIXED: &str = "sessionkey=fixed-by-the-attacker";

/// What a PC had before it signed in is worth nothing afterwards: its tokens are new, and nobody gave them to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_fixed_before_is_nothing_afterwards() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let mallory = server.user("mallory").await;
    // A cookie planted in the victim's browser goes in with every request, and nothing comes of it.
    let headers = [("cookie", FIXED), ("countersign-device", "pc-1")];
    let mut client = Client::connect_with(server.addr, &headers).await.unwrap();
    let anonymous = client.hello["connection"].clone();
    let opened = client.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    let mut pc = Pc {
        client,
        qr_id: text(&opened["qr_id"]),
        claim: text(&opened["claim"]),
        device: "pc-1",
    };
    let planted = |method: &'static str, path: &str| {
        request(server.addr, method, path)
            .header("cookie", FIXED)
            .header("countersign-device", "pc-1")
    };
    is(&planted("GET", "/v1/me").send().await, 401, "unauthenticated");
    let ticket = to_ticket(&mut pc, &alice).await;
    let redeemed = pc.redeem(&ticket).await;
    let session = text(&redeemed["session"]);
    assert_ne!(session, text(&anonymous), "a connection's name is no session's");
    assert_ne!(session, alice.tokens.session, "nor is it the phone's");
    assert_ne!(redeemed["access_token"], json!(alice.tokens.access_token));
    assert_ne!(redeemed["refresh_token"], json!(alice.tokens.refresh_token));
    // The cookie, the claim, the ticket, the connection's name: none of them is a token now.
    is(&planted("GET", "/v1/me").send().await, 401, "unauthenticated");
    let (claim, qr_id) = (pc.claim.clone(), pc.qr_id.clone());
    for known in [
        "fixed-by-the-attacker",
        &claim,
        &qr_id,
        &ticket,
        &text(&anonymous),
        &session,
    ] {
        let answer = request(server.addr, "GET", "/v1/me")
            .header("authorization", &format!("Bearer {known}"))
            .header("countersign-device", "pc-1");
        is(&answer.send().await, 401, "invalid_token");
    }
    // Over HTTP too: whatever cookie comes in, none goes out that was known before.
    let mut second = Pc::open_as(&server, "pc-1").await;
    let ticket = to_ticket(&mut second, &alice).await;
    let answer = planted("POST", &format!("/v1/qr/{}/redeem", second.qr_id))
        .header("authorization", &format!("Claim {}", second.claim))
        .json(&json!({"ticket": ticket}))
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .headers
            .iter()
            .all(|(_, value)| !value.contains("fixed-by-the-attacker"))
    );
    assert_ne!(
        answer.json()["session"],
        json!(session),
        "each sign-in is a session of its own"
    );
    // A connection that an attacker signed in beforehand is not handed to the victim.
    let mut theirs = mallory.connect().await;
    let opened = theirs
        .ok("qr.open", json!({"device": {"id": mallory.device}}))
        .await;
    let mut fixed = Pc {
        client: theirs,
        qr_id: text(&opened["qr_id"]),
        claim: text(&opened["claim"]),
        device: "mallory-device",
    };
    let ticket = to_ticket(&mut fixed, &alice).await;
    assert_eq!(fixed.redeem(&ticket).await["code"], "conflict");
    server.stop().await;
}

/// A page elsewhere makes the phone's browser say yes: it has neither the token nor the right origin, and with the
/// token it would still have the wrong one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_page_cannot_say_yes() {
    let server = TestServer::start(unhurried).await;
    let alice = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let token = scan_token(&alice, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    let before = record(&server, &pc.qr_id).await;
    let body = json!({"scan_token": token, "code": digits});
    let own = format!("http://{}", server.addr);
    for verb in ["scan", "confirm", "deny"] {
        let path = format!("/v1/qr/{}/{verb}", pc.qr_id);
        for origin in [
            "https://evil.example",
            "null",
            &format!("{own}.evil.example"),
            "http://evil.example:80",
            "http://127.0.0.1.evil.example",
            "file://",
        ] {
            // As a form would, as a script would, and with everything but the right page.
            let form = request(server.addr, "POST", &path)
                .header("origin", origin)
                .header("cookie", FIXED)
                .header("content-type", "text/plain")
                .body(body.to_string().as_bytes());
            is(&form.send().await, 403, "origin_rejected");
            let whole = alice.request("POST", &path).header("origin", origin).json(&body);
            let answer = whole.send().await;
            is(&answer, 403, "origin_rejected");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            let preflight = request(server.addr, "OPTIONS", &path)
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization");
            assert_eq!(preflight.send().await.header("access-control-allow-origin"), None);
        }
        // Our own page without the token is nobody.
        let tokenless = request(server.addr, "POST", &path)
            .header("origin", &own)
            .header("cookie", FIXED)
            .json(&body);
        is(&tokenless.send().await, 401, "unauthenticated");
    }
    // A PC cannot be made to sign in as somebody else either: opening, redeeming and cancelling are as closed.
    for (method, path) in [
        ("POST", "/v1/qr".to_owned()),
        ("POST", format!("/v1/qr/{}/redeem", pc.qr_id)),
        ("DELETE", format!("/v1/qr/{}", pc.qr_id)),
        ("POST", "/v1/login".to_owned()),
    ] {
        let foreign = request(server.addr, method, &path).header("origin", "https://evil.example");
        is(&foreign.json(&json!({})).send().await, 403, "origin_rejected");
    }
    assert_eq!(
        record(&server, &pc.qr_id).await,
        before,
        "not a bit of it has changed"
    );
    let page = alice
        .request("POST", &format!("/v1/qr/{}/confirm", pc.qr_id))
        .header("origin", &own)
        .json(&body);
    assert_eq!(page.send().await.status, 200, "our own page may");
    pc.becomes("confirmed").await;
    // What came another way is as closed as before it.
    is(
        &confirm(&alice, &pc.qr_id, &token, Some(&digits)).await,
        409,
        "already_confirmed",
    );
    server.stop().await;
}
