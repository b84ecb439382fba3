//! Threat 8 for an app: its device code and tokens are on connections of its own, and on no phone's.

use countersign_protocol::oauth::DEVICE_CODE_GRANT;
use serde_json::{Value, json};

use super::attempt::has;
use super::common::events::Events;
use super::common::qr::{confirm, text};
use super::common::{Answer, Person, TestServer, request};
use super::plan::Plan;
use super::proxy::Proxy;
use super::taint::{Crowd, told_in};

/// A form to `/oauth/<what>`. Nothing in it but the grant's name means anything in a form.
async fn form(line: &Proxy, what: &str, fields: &[(&str, &str)]) -> Answer {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", value.replace(':', "%3A"));
    let body: Vec<String> = fields.iter().map(pair).collect();
    request(line.addr, "POST", &format!("/oauth/{what}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.join("&").as_bytes())
        .send()
        .await
}

async fn exchange(line: &Proxy, client: &str, device_code: &str) -> Answer {
    let fields = [
        ("grant_type", DEVICE_CODE_GRANT),
        ("client_id", client),
        ("device_code", device_code),
    ];
    form(line, "token", &fields).await
}

/// Bystanders with everything that is public, and guesses for the rest.
async fn pry(crowd: &mut Crowd, opened: &Value) {
    crowd.pry(&text(&opened["qr_id"]), "none").await;
    let (qr_id, user_code) = (text(&opened["qr_id"]), text(&opened["user_code"]));
    for guess in [qr_id, user_code, "A".repeat(43)] {
        let refused = exchange(&crowd.line, "demo", &guess).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (400, &json!("invalid_grant"))
        );
    }
}

/// The phone types the code, or scans its picture and types it then.
async fn scanned(phone: &Person, opened: &Value, typed: bool) -> Value {
    let scan = if typed {
        let body = json!({"user_code": opened["user_code"]});
        phone.request("POST", "/v1/qr/scan").json(&body)
    } else {
        phone.request("POST", &format!("/v1/qr/{}/scan", text(&opened["qr_id"])))
    };
    let answer = scan.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

pub(crate) async fn only_its_client(server: &TestServer, typed: bool) {
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut crowd = Crowd::gather(server, &alice, &bob).await;
    let (app, phone_line) = (
        Proxy::start(server.addr, Plan::Clean).await,
        Proxy::start(server.addr, Plan::Clean).await,
    );
    let phone = Person {
        addr: phone_line.addr,
        device: alice.device.clone(),
        tokens: server.login("alice", &alice.device).await,
    };
    let asked = [("client_id", "demo"), ("scope", "openid profile")];
    let opened = form(&app, "device_authorization", &asked).await.json();
    let (qr_id, device_code) = (text(&opened["qr_id"]), text(&opened["device_code"]));
    pry(&mut crowd, &opened).await;
    // It watches, too: with its device code as the claim, and no ticket comes.
    let watch = request(app.addr, "GET", &format!("/v1/qr/{qr_id}/events?after_seq=1"))
        .header("authorization", &format!("Claim {device_code}"))
        .header("countersign-device", "any");
    let mut events = Events::open(watch).await;
    let seen = scanned(&phone, &opened, typed).await;
    let pending = exchange(&app, "demo", &device_code).await;
    assert_eq!(pending.json()["error"], "authorization_pending");
    let (token, code) = (text(&seen["scan_token"]), text(&opened["user_code"]));
    let code = (!typed).then_some(code.as_str());
    assert_eq!(confirm(&phone, &qr_id, &token, code).await.status, 200);
    pry(&mut crowd, &opened).await;
    let tokens = exchange(&app, "demo", &device_code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    let outcome = phone.request("GET", &format!("/v1/qr/{qr_id}/outcome"));
    assert_eq!(outcome.send().await.json()["state"], "redeemed");
    while let Some(event) = events.next().await {
        assert!(event.data.get("ticket").is_none(), "{event:?}");
    }
    crowd.hear_out().await;

    let (told, others) = (
        app.streams(),
        [crowd.line.streams(), phone_line.streams()].concat(),
    );
    for (what, secret) in [
        ("device code", &device_code),
        ("access token", &text(&tokens["access_token"])),
        ("refresh token", &text(&tokens["refresh_token"])),
        ("id token", &text(&tokens["id_token"])),
    ] {
        assert_eq!(told_in(&others, secret), [0_usize; 0], "{what}: to somebody else");
        let [stream] = told_in(&told, secret)[..] else {
            panic!("{what}: in one stream");
        };
        let opening = what == "device code";
        assert!(
            opening || has(&told[stream].sent, &device_code),
            "{what}: unproven"
        );
        assert!(
            others.iter().all(|s| !has(&s.sent, secret)),
            "{what}: from somebody else"
        );
    }
    assert!(told_in(&told, &token).is_empty(), "the phone's, to the app");
    assert_eq!(told_in(&others, &token).len(), 1);
    assert!(told.len() >= 4 && others.len() >= 8, "they were recorded");
}
