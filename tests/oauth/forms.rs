//! What is no request, and who is no client.

use serde_json::json;

use crate::common::{TestServer, request};
use crate::stage::{
    GUEST, OTHER_SECRET, READER, SECRET, TV, ask, basic, clients, form, form_of, refused, server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_form_is_refused() {
    let server = server().await;
    let token = |body: &str| form(&server, "token", body);
    for wrong in [
        "",
        "client_id=reader&client_id=reader",
        "client_id=reader&grant_type=refresh_token&refresh_token=a&refresh%5Ftoken=b",
        "client_id=%zz",
        "client_id=reade%",
        "client_id=%ff",
        "client_id=",
        "client_id=reader",
        "client_id=reader&grant_type=refresh_token",
        "client_id=reader&grant_type=refresh_token&refresh_token=",
        "client_id=reader&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code",
        "grant_type=refresh_token&refresh_token=x",
    ] {
        let answer = token(wrong).send().await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
        refused(&answer, 400, "invalid_request");
        assert!(
            answer.json()["error_description"]
                .as_str()
                .is_some_and(|told| !told.is_empty())
        );
    }
    let body = json!({"client_id": "reader", "grant_type": "refresh_token"});
    let as_json = request(server.addr, "POST", "/oauth/token").json(&body);
    refused(&as_json.send().await, 400, "invalid_request");
    let untyped = request(server.addr, "POST", "/oauth/token").body(b"client_id=reader");
    refused(&untyped.send().await, 400, "invalid_request");
    // Parameters are in the body, and not where they are logged.
    let in_query = request(
        server.addr,
        "POST",
        "/oauth/token?client_id=reader&grant_type=refresh_token",
    )
    .header("content-type", "application/x-www-form-urlencoded");
    refused(&in_query.send().await, 400, "invalid_request");
    let long = format!("client_id={}", "a".repeat(64 * 1024));
    refused(&token(&long).send().await, 413, "invalid_request");
    for other in ["password", "client_credentials", "\u{1F600}\"\\"] {
        let answer = ask(&server, READER, "token", &[("grant_type", other)])
            .send()
            .await;
        refused(&answer, 400, "unsupported_grant_type");
    }
    for what in ["revoke", "introspect"] {
        refused(&ask(&server, TV, what, &[]).send().await, 400, "invalid_request");
    }
    for what in ["token", "revoke", "introspect", "device_authorization"] {
        let answer = request(server.addr, "GET", &format!("/oauth/{what}"))
            .send()
            .await;
        refused(&answer, 405, "invalid_request");
    }
    // What is not known is not minded; the type may say its charset.
    let charset = request(server.addr, "POST", "/oauth/device_authorization")
        .header("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
        .body(b"&&client_id=reader&resource=https%3A%2F%2Fa.example&x&");
    assert_eq!(charset.send().await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_client_is_refused() {
    let server = server().await;
    let open = |fields: &[(&str, &str)]| form(&server, "device_authorization", &form_of(fields));
    for (what, fields) in [
        ("nobody", vec![("client_id", "nobody")]),
        (
            "a secret that is wrong",
            vec![("client_id", "tv"), ("client_secret", OTHER_SECRET)],
        ),
        (
            "a secret cut short",
            vec![("client_id", "tv"), ("client_secret", &SECRET[1..])],
        ),
        ("no secret", vec![("client_id", "tv")]),
        (
            "a secret of a public one",
            vec![("client_id", "reader"), ("client_secret", SECRET)],
        ),
    ] {
        let answer = open(&fields).send().await;
        assert_eq!(answer.status, 401, "{what}");
        refused(&answer, 401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
    }
    let unencoded = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("tv:{SECRET}"))
    };
    for wrong in [
        basic("tv", OTHER_SECRET),
        basic("nobody", SECRET),
        basic("reader", SECRET),
        format!("Basic {unencoded}"),
        "Basic !!!".into(),
        "Basic dHY=".into(),
        "Basic".into(),
        "Bearer abc".into(),
    ] {
        let answer = open(&[]).header("authorization", &wrong).send().await;
        assert_eq!(answer.status, 401, "{wrong}");
        refused(&answer, 401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
    }
    let right = basic("tv", SECRET);
    for (what, fields) in [
        ("both", vec![("client_id", "tv"), ("client_secret", SECRET)]),
        ("a secret twice", vec![("client_secret", SECRET)]),
        ("two names", vec![("client_id", "other")]),
    ] {
        let answer = open(&fields).header("authorization", &right).send().await;
        assert_eq!(answer.status, 400, "{what}");
        refused(&answer, 400, "invalid_request");
    }
    let twice = open(&[])
        .header("authorization", &right)
        .header("authorization", &right);
    refused(&twice.send().await, 400, "invalid_request");
    let named = open(&[("client_id", "tv")]).header("authorization", &right);
    assert_eq!(named.send().await.status, 200);
    // A public one may name itself in the header, with no secret.
    let public = open(&[]).header("authorization", &basic("reader", ""));
    assert_eq!(public.send().await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_may_not_ask_for_is_refused() {
    let server = server().await;
    for (client, scope, status) in [
        (READER, "openid", 200),
        (READER, "", 200),
        (READER, "  ", 200),
        (READER, "watch", 400),
        (READER, "openid watch", 400),
        (READER, "OPENID", 400),
        (READER, "open\"id", 400),
        (TV, "watch openid profile", 200),
        (GUEST, "profile", 200),
    ] {
        let answer = ask(&server, client, "device_authorization", &[("scope", scope)])
            .send()
            .await;
        assert_eq!(answer.status, status, "{scope:?}: {}", answer.text());
        if status == 400 {
            refused(&answer, 400, "invalid_scope");
        }
    }
    for (name, wrong) in [("device_kind", "toaster"), ("device_kind", "TV")] {
        let answer = ask(&server, READER, "device_authorization", &[(name, wrong)])
            .send()
            .await;
        refused(&answer, 400, "invalid_request");
    }
    for wrong in ["a b", ""] {
        let answer = ask(&server, READER, "device_authorization", &[]).header("countersign-device", wrong);
        refused(&answer.send().await, 400, "invalid_request");
    }
    server.stop().await;
}

/// Pages of foreign origins are refused here as at the rest; those of ours read the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_let_in_by_the_same_list() {
    let server = TestServer::start(|config| {
        clients(config);
        config.allowed_origins = vec!["https://reader.example".into()];
    })
    .await;
    let open = |origin| ask(&server, READER, "device_authorization", &[]).header("origin", origin);
    let foreign = open("https://evil.example").send().await;
    refused(&foreign, 403, "unauthorized_client");
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    let ours = open("https://reader.example").send().await;
    assert_eq!(ours.status, 200);
    let allowed = ours.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://reader.example"));
    let preflight = request(server.addr, "OPTIONS", "/oauth/token")
        .header("origin", "https://reader.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization")
        .send()
        .await;
    assert_eq!(preflight.status, 204);
    assert!(
        preflight
            .header("access-control-allow-headers")
            .unwrap()
            .contains("Authorization")
    );
    server.stop().await;
}

/// Opening one costs as much as any other QR login, and is told in this face's words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_as_many_as_of_others() {
    let server = TestServer::start(|config| {
        clients(config);
        config.limits.qr_open_rate.count = 1;
        config.limits.qr_open_rate.period_ms = 3_600_000;
        config.limits.qr_open_rate.burst = 1;
    })
    .await;
    let open = || ask(&server, READER, "device_authorization", &[]);
    assert_eq!(open().send().await.status, 200);
    let answer = open().send().await;
    refused(&answer, 429, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
    server.node.begin_drain();
    let answer = open().send().await;
    refused(&answer, 503, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
    server.stop().await;
}

/// What is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_what_they_came_to() {
    let server = server().await;
    let phone = server.user("alice").await;
    let screen = crate::stage::Screen::open(&server, TV, "openid").await;
    screen.exchange().await;
    let tokens = screen.tokens(&phone).await;
    screen.refresh(&tokens["refresh_token"]).await;
    ask(&server, TV, "token", &[("grant_type", "password")])
        .send()
        .await;
    let metrics = request(server.operator, "GET", "/metrics").send().await.text();
    for line in [
        r#"countersign_qr_opened_total{transport="oauth"} 1"#,
        r#"countersign_oauth_requests_total{request="device_authorization",outcome="ok"} 1"#,
        r#"countersign_oauth_requests_total{request="device_code",outcome="authorization_pending"} 1"#,
        r#"countersign_oauth_requests_total{request="device_code",outcome="ok"} 1"#,
        r#"countersign_oauth_requests_total{request="refresh_token",outcome="ok"} 1"#,
        r#"countersign_oauth_requests_total{request="other_grant",outcome="unsupported_grant_type"} 1"#,
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
    server.stop().await;
}
