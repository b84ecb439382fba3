//! An app signs in by OAuth, rightly and wrongly; what it shows and is given is kept, to be looked for.

use std::net::SocketAddr;

use serde_json::Value;

use crate::Secrets;
use crate::common::{Answer, Person, request};

/// The app, for a configuration.
pub(crate) const CLIENT: &str =
    "[clients.tv]\nname = \"Living room\"\nsecret = \"Client-Secret-of-tv-Rk83mZp1\"\n";
const SECRET: &str = "Client-Secret-of-tv-Rk83mZp1";
const WRONG: &str = "NotTheClients-Secret-Vw77";

async fn ask(addr: SocketAddr, what: &str, secret: &str, fields: &str) -> Answer {
    let form = format!("client_id=tv&client_secret={secret}&{fields}");
    let asked = request(addr, "POST", &format!("/oauth/{what}"));
    let asked = asked.header("content-type", "application/x-www-form-urlencoded");
    asked.body(form.as_bytes()).send().await
}

/// The whole way, and every turn off it.
pub(crate) async fn device_grant(addr: SocketAddr, secrets: &mut Secrets, phone: &Person) {
    secrets.keep_text("client secret", SECRET);
    secrets.keep_text("client secret", WRONG);
    let opened = ask(addr, "device_authorization", SECRET, "scope=openid")
        .await
        .json();
    let code = secrets.keep("device code", &opened["device_code"]);
    let user_code = secrets.keep("user code", &opened["user_code"]);
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let exchange = format!("grant_type={grant}&device_code={code}");
    let status = async |secret: &str, fields: &str| ask(addr, "token", secret, fields).await.status;
    assert_eq!(status(WRONG, &exchange).await, 401);
    assert_eq!(status(SECRET, &exchange).await, 400);
    assert_eq!(
        status(SECRET, &format!("{exchange}&device_code={code}")).await,
        400
    );
    assert_eq!(status(SECRET, &format!("{exchange}%")).await, 400);
    let header = request(addr, "POST", "/oauth/token").header("authorization", &format!("Basic {WRONG}"));
    assert_eq!(header.body(exchange.as_bytes()).send().await.status, 400);
    for (typed, expected) in [("ZZZZ-ZZZZ", 404), (&*user_code, 200)] {
        let body = serde_json::json!({"user_code": typed});
        let scanned = phone.request("POST", "/v1/qr/scan").json(&body).send().await;
        assert_eq!(scanned.status, expected, "{}", scanned.text());
        if expected == 200 {
            let scanned = scanned.json();
            let token = secrets.keep("scan token", &scanned["scan_token"]);
            let path = format!("/v1/qr/{}/confirm", scanned["qr_id"].as_str().unwrap());
            let body = serde_json::json!({"scan_token": token});
            assert_eq!(phone.request("POST", &path).json(&body).send().await.status, 200);
        }
    }
    let tokens = ask(addr, "token", SECRET, &exchange).await.json();
    keep(secrets, &tokens);
    for what in ["introspect", "revoke"] {
        for token in ["access_token", "refresh_token"] {
            let field = format!("token={}", tokens[token].as_str().unwrap());
            assert_eq!(ask(addr, what, WRONG, &field).await.status, 401);
        }
    }
    let refresh = |tokens: &Value| {
        let token = tokens["refresh_token"].as_str().unwrap();
        format!("grant_type=refresh_token&refresh_token={token}")
    };
    let fresh = ask(addr, "token", SECRET, &refresh(&tokens)).await.json();
    keep(secrets, &fresh);
    assert_eq!(status(SECRET, &refresh(&fresh)).await, 200);
    let field = format!("token={}", fresh["access_token"].as_str().unwrap());
    assert_eq!(
        ask(addr, "introspect", SECRET, &field).await.json()["active"],
        true
    );
    assert_eq!(ask(addr, "revoke", SECRET, &field).await.status, 200);
    assert_eq!(status(SECRET, &refresh(&fresh)).await, 400);
}

fn keep(secrets: &mut Secrets, tokens: &Value) {
    secrets.keep_tokens(tokens);
    secrets.keep("id token", &tokens["id_token"]);
}
