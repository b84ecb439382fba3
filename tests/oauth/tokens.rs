//! What a client does with its tokens: refresh, revoke, ask.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::common::{Person, TestServer, request};
use crate::stage::{
    GUEST, OTHER, READER, Screen, TV, TV_AUDIENCE, ask, claims, part, refresh, refused, server, with_token,
};

/// Verifies a token with the key that its header names.
pub(crate) fn verify(jwks: &Value, token: &Value) {
    let header = part(token, 0);
    let keys = jwks["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let (message, signature) = token.as_str().unwrap().rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, public);
    key.verify(message.as_bytes(), &signature).unwrap();
}

async fn info(server: &TestServer, tokens: &Value) -> u16 {
    let answer = with_token(server, "/oauth/userinfo", &tokens["access_token"], None).await;
    answer.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_works_once_and_tells_of_a_copy() {
    let server = TestServer::start(|config| {
        crate::stage::clients(config);
        config.tokens.refresh_grace_ms = 60_000;
    })
    .await;
    let phone = server.user("alice").await;
    let screen = Screen::open(&server, TV, "openid watch").await;
    let first = screen.tokens(&phone).await;
    let answer = screen.refresh(&first["refresh_token"]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let second = answer.json();
    assert_eq!(
        (&second["scope"], &claims(&second["access_token"])["aud"]),
        (&json!("openid watch"), &json!(TV_AUDIENCE))
    );
    assert_eq!(
        claims(&second["id_token"])["auth_time"],
        claims(&first["id_token"])["auth_time"]
    );
    // The answer was lost: the same again, to the byte.
    let again = screen.refresh(&first["refresh_token"]).await;
    assert_eq!(again.body, answer.body);
    // What was granted is what can be asked for.
    let narrower = |scope| {
        let token = second["refresh_token"].as_str().unwrap();
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("scope", scope),
        ];
        ask(&server, TV, "token", &fields)
    };
    refused(&narrower("profile").send().await, 400, "invalid_scope");
    let third = narrower("openid").send().await.json();
    assert_eq!(third["scope"], "openid watch", "all of it, and it says so");
    // A session of a client's without a device is refused by our own API and not ended by it.
    let own = request(server.addr, "POST", "/v1/refresh").header("countersign-device", "screen-1");
    let own = own
        .json(&json!({"refresh_token": third["refresh_token"]}))
        .send()
        .await;
    assert_eq!((own.status, &own.json()["code"]), (401, &json!("invalid_token")));
    assert_eq!(info(&server, &third).await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_refresh_token_ends_its_session() {
    let server = TestServer::start(|config| {
        crate::stage::clients(config);
        config.tokens.refresh_grace_ms = 0;
    })
    .await;
    let phone = server.user("alice").await;
    let screen = Screen::open(&server, TV, "openid").await;
    let first = screen.tokens(&phone).await;
    let second = screen.refresh(&first["refresh_token"]).await.json();
    assert_eq!(info(&server, &second).await, 200);
    // Shown by another client it says nothing about this one's.
    refused(
        &refresh(&server, OTHER, &first["refresh_token"], None).await,
        400,
        "invalid_grant",
    );
    assert_eq!(info(&server, &second).await, 200);
    refused(
        &screen.refresh(&first["refresh_token"]).await,
        400,
        "invalid_grant",
    );
    assert_eq!(info(&server, &second).await, 401);
    refused(
        &screen.refresh(&second["refresh_token"]).await,
        400,
        "invalid_grant",
    );
    // Nothing that is a token at all.
    for nonsense in ["x", "s_a.b.c", &"x".repeat(5_000)] {
        refused(&screen.refresh(&json!(nonsense)).await, 400, "invalid_grant");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_device_a_session_is_refreshed_on_that_device() {
    let server = server().await;
    let phone = server.user("alice").await;
    let screen = Screen::open_on(&server, TV, "openid", Some("screen-1")).await;
    let first = screen.tokens(&phone).await;
    // Without a device there is no telling whether it is another one, and nothing ends.
    refused(
        &refresh(&server, TV, &first["refresh_token"], None).await,
        400,
        "invalid_grant",
    );
    // A client that has a secret has to show it.
    let own = request(server.addr, "POST", "/v1/refresh").header("countersign-device", "screen-1");
    let own = own
        .json(&json!({"refresh_token": first["refresh_token"]}))
        .send()
        .await;
    assert_eq!(own.status, 401, "{}", own.text());
    let second = screen.refresh(&first["refresh_token"]).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let second = second.json();
    let me = with_token(&server, "/v1/me", &second["access_token"], Some("screen-1")).await;
    assert_eq!(me.status, 200);
    // From another device it is a copy.
    let stolen = refresh(&server, TV, &second["refresh_token"], Some("screen-2")).await;
    refused(&stolen, 400, "invalid_grant");
    let me = with_token(&server, "/v1/me", &second["access_token"], Some("screen-1")).await;
    assert_eq!(me.status, 401);
    server.stop().await;
}

async fn revoke(server: &TestServer, token: &Value) {
    let fields = [
        ("token", token.as_str().unwrap()),
        ("token_type_hint", "whatever"),
    ];
    let answer = ask(server, TV, "revoke", &fields).send().await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_token_revokes_and_nothing_else_does() {
    let server = server().await;
    let phone = server.user("alice").await;
    for which in ["access_token", "refresh_token"] {
        let screen = Screen::open(&server, TV, "openid").await;
        let tokens = screen.tokens(&phone).await;
        for other in [
            json!(phone.tokens.access_token),
            json!(phone.tokens.refresh_token),
            json!("nonsense"),
            tokens["id_token"].clone(),
        ] {
            revoke(&server, &other).await;
        }
        assert_eq!(info(&server, &tokens).await, 200);
        assert_eq!(phone.request("GET", "/v1/me").send().await.status, 200);
        for _ in 0..2 {
            revoke(&server, &tokens[which]).await;
            assert_eq!(info(&server, &tokens).await, 401);
        }
        refused(
            &screen.refresh(&tokens["refresh_token"]).await,
            400,
            "invalid_grant",
        );
    }
    server.stop().await;
}

async fn introspect(server: &TestServer, token: &Value) -> Value {
    let fields = [("token", token.as_str().unwrap())];
    let answer = ask(server, TV, "introspect", &fields).send().await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("no-store"))
    );
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_of_its_own_tokens() {
    let server = TestServer::start(|config| {
        crate::stage::clients(config);
        // Another of theirs, for the same service.
        config.clients.get_mut("guest").unwrap().audience = Some(TV_AUDIENCE.into());
    })
    .await;
    let phone = server.user("alice").await;
    let tv = Screen::open(&server, TV, "watch").await.tokens(&phone).await;
    let told = introspect(&server, &tv["access_token"]).await;
    let access = claims(&tv["access_token"]);
    assert_eq!(
        told,
        json!({
            "active": true, "scope": "watch", "client_id": "tv", "token_type": "Bearer", "sub": "alice",
            "aud": TV_AUDIENCE, "iss": server.url(""), "exp": access["exp"], "iat": access["iat"], "jti": access["jti"],
        })
    );
    let told = introspect(&server, &tv["refresh_token"]).await;
    assert_eq!(
        (&told["active"], &told["client_id"], told.get("token_type")),
        (&json!(true), &json!("tv"), None)
    );
    let on_device = Screen::open_on(&server, TV, "", Some("screen-1"))
        .await
        .tokens(&phone)
        .await;
    assert_eq!(
        introspect(&server, &on_device["access_token"]).await["aud"],
        "countersign"
    );
    let guest = Screen::open(&server, GUEST, "").await.tokens(&phone).await;
    assert_eq!(
        introspect(&server, &guest["access_token"]).await["client_id"],
        "guest"
    );
    let reader = Screen::open(&server, READER, "").await.tokens(&phone).await;
    for other in [
        &guest["refresh_token"],
        &reader["access_token"],
        &reader["refresh_token"],
        &tv["id_token"]
            .as_str()
            .map_or(json!("none"), |token| json!(token)),
        &json!(phone.tokens.access_token),
        &json!(phone.tokens.refresh_token),
        &json!("nonsense"),
    ] {
        assert_eq!(introspect(&server, other).await, json!({"active": false}));
    }
    revoke(&server, &tv["access_token"]).await;
    for token in ["access_token", "refresh_token"] {
        assert_eq!(introspect(&server, &tv[token]).await, json!({"active": false}));
    }
    let public = ask(&server, READER, "introspect", &[("token", "x")]).send().await;
    refused(&public, 400, "unauthorized_client");
    server.stop().await;
}

async fn told(server: &TestServer, phone: &Person, scope: &str) -> (u16, Value) {
    let tokens = Screen::open(server, TV, scope).await.tokens(phone).await;
    let answer = with_token(server, "/oauth/userinfo", &tokens["access_token"], None).await;
    if answer.status == 403 {
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        refused(&answer, 403, "invalid_scope");
    }
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn userinfo_tells_what_was_granted() {
    let server = server().await;
    let phone = server.user("alice").await;
    let all = json!({"sub": "alice", "name": "alice of test"});
    assert_eq!(
        told(&server, &phone, "openid").await,
        (200, json!({"sub": "alice"}))
    );
    for scope in ["profile", "openid profile", "watch profile"] {
        assert_eq!(told(&server, &phone, scope).await, (200, all.clone()));
    }
    for scope in ["", "watch"] {
        assert_eq!(told(&server, &phone, scope).await.0, 403);
    }
    // One of the user's own, on its device.
    let own = phone.request("GET", "/oauth/userinfo").send().await;
    assert_eq!((own.status, own.json()), (200, all));
    let token = json!(phone.tokens.access_token);
    for device in [None, Some("another")] {
        refused(
            &with_token(&server, "/oauth/userinfo", &token, device).await,
            401,
            "invalid_token",
        );
    }
    for nothing in [json!("nonsense"), json!(phone.tokens.refresh_token)] {
        let answer = with_token(&server, "/oauth/userinfo", &nothing, None).await;
        refused(&answer, 401, "invalid_token");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\"")
        );
    }
    let answer = request(server.addr, "GET", "/oauth/userinfo").send().await;
    refused(&answer, 401, "invalid_token");
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer"),
        "nothing was shown that could be wrong"
    );
    server.stop().await;
}
