//! What a socket may send before it is a WebSocket, byte by byte. Each case was seen to go wrong in servers built
//! from the same parts with their defaults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what must hold"
)]

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::time::Duration;

use common::TestServer;
use countersign_protocol::ErrorCode;
use raw::{Raw, upgrade_request, upgrade_request_with};
use tokio::time::Instant;

/// A second request, sent along with a first one that must have ended the connection.
const SMUGGLED: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `first` and a request behind it; answers the status of the only answer.
async fn only_answer(server: &TestServer, first: &str) -> (u16, String) {
    let mut raw = Raw::connect(server.addr).await;
    raw.send(format!("{first}{SMUGGLED}").as_bytes()).await;
    let answer = raw.answer().await;
    let rest = raw.rest().await;
    assert!(
        rest.is_empty(),
        "served after {first:?}: {:?}",
        String::from_utf8_lossy(&rest)
    );
    assert_eq!(answer.header("connection"), Some("close"), "after {first:?}");
    (answer.status, answer.text())
}

fn code(body: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(body)
        .map(|b| b["code"].clone())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_heads_and_silent_sockets_are_closed() {
    let server = TestServer::start(|c| c.limits.head_ms = 2_000).await;
    let halves = ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "];
    let mut sockets = Vec::new();
    for half in halves {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(half.as_bytes()).await;
        sockets.push(raw);
    }
    // Others are served meanwhile.
    Raw::open(server.addr).await;
    for mut raw in sockets {
        assert!(raw.rest().await.is_empty());
    }
    common::until("their places are free", || server.node.sockets() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_is_closed_though_it_keeps_coming() {
    let server = TestServer::start(|c| c.limits.head_ms = 300).await;
    let mut raw = Raw::connect(server.addr).await;
    let began = Instant::now();
    raw.send(b"GET / HTTP/1.1\r\nX: ").await;
    while raw.is_quiet(Duration::from_millis(20)).await {
        raw.send(b"x").await;
        assert!(began.elapsed() < common::PATIENCE);
    }
    assert!(raw.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_rest_longer_than_a_head_may_take() {
    let server = TestServer::start(|c| {
        c.limits.head_ms = 1_000;
        c.limits.keep_alive_ms = 4_000;
    })
    .await;
    let mut raw = Raw::connect(server.addr).await;
    let mut began = Instant::now();
    for _ in 0..3 {
        // The rest begins after this, however late the answer is read.
        began = Instant::now();
        raw.send(SMUGGLED.as_bytes()).await;
        assert_eq!(raw.answer().await.status, 200);
    }
    assert!(raw.rest().await.is_empty());
    assert!(
        began.elapsed() >= Duration::from_millis(3_900),
        "{:?}",
        began.elapsed()
    );

    // The second head has its time too: a rest would be longer than anybody here waits.
    let server = TestServer::start(|c| {
        c.limits.head_ms = 1_000;
        c.limits.keep_alive_ms = 600_000;
    })
    .await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(SMUGGLED.as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200);
    raw.send(b"GET / HT").await;
    assert!(raw.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_head_is_refused_however_it_comes() {
    let server = TestServer::start(|_| {}).await;
    let line = format!("X-Filler: {}\r\n", "x".repeat(500));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", line.repeat(40));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1 << 20));
    for head in [&large, &many, &endless] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(head.as_bytes()).await;
        assert_eq!(raw.answer().await.status, 431);
        assert!(raw.rest().await.is_empty());
    }
    let mut raw = Raw::connect(server.addr).await;
    for bytes in large.as_bytes().chunks(7) {
        raw.send(bytes).await;
    }
    assert_eq!(raw.answer().await.status, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_sent_once_and_is_one() {
    let server = TestServer::start(|_| {}).await;
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a, b\r\n",
        "Host: \r\n",
        "Host: u@a\r\n",
        "Host: a/b\r\n",
        "Host: a:b\r\n",
    ] {
        for line in [
            "GET /.well-known/jwks.json HTTP/1.1",
            "GET /v1/ws HTTP/1.1",
            "GET /v1/ws HTTP/1.0",
        ] {
            let (status, body) = only_answer(&server, &format!("{line}\r\n{hosts}\r\n")).await;
            assert_eq!(
                (status, code(&body)),
                (400, "bad_request".into()),
                "{line} {hosts:?}"
            );
        }
    }
    let other = "GET http://b.example/.well-known/jwks.json HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(only_answer(&server, other).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_end_in_crlf() {
    let server = TestServer::start(|_| {}).await;
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET /v1/ws HTTP/1.1\nHost: a\nUpgrade: websocket\n\n",
    ] {
        assert_eq!(only_answer(&server, head).await.0, 400, "{head:?}");
    }
    // A body is not a head.
    let body = "{\n\"user_id\":\n\"x\"}";
    let mut raw = Raw::connect(server.addr).await;
    for _ in 0..2 {
        let head = "POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json";
        raw.send(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
            .await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("password"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_has_one_length() {
    let server = TestServer::start(|_| {}).await;
    let login = "POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    for lengths in [
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 2, 2\r\n",
    ] {
        assert_eq!(
            only_answer(&server, &format!("{login}{lengths}\r\n{{}}")).await.0,
            400,
            "{lengths:?}"
        );
    }
    let chunked = format!("{login}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    assert_eq!(
        only_answer(&server, &chunked).await.0,
        400,
        "served, and the last one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upgrade_ends_the_connection() {
    let server = TestServer::start(|_| {}).await;
    let addr = server.addr;
    let with = |more: &str| upgrade_request(addr, more);
    let without = |line: &str| upgrade_request(addr, "").replace(line, "");
    for (request, status) in [
        (with("Content-Length: 40\r\n"), 400),
        (with("Transfer-Encoding: chunked\r\n"), 400),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        (upgrade_request_with(addr, "AAAA", ""), 400),
        (upgrade_request_with(addr, "", ""), 400),
        (upgrade_request_with(addr, "dGhlIHNhbXBsZSBub25jZQ", ""), 400),
        (without("Sec-WebSocket-Version: 13\r\n"), 426),
        (without("Upgrade: websocket\r\n"), 426),
        (without("Connection: Upgrade\r\n"), 426),
        (with("").replace("Version: 13", "Version: 8"), 426),
        (with("").replace("GET", "POST"), 405),
        (with("").replace("HTTP/1.1", "HTTP/1.0"), 400),
        (
            with(&format!("Sec-WebSocket-Protocol: {}\r\n", "x".repeat(1025))),
            431,
        ),
        (
            with(&format!("Sec-WebSocket-Extensions: {}\r\n", "x".repeat(1025))),
            431,
        ),
        (with("Countersign-Device: \r\n"), 400),
        (with("").replace("/v1/ws", "/v1/me"), 401),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned(), 404),
    ] {
        assert_eq!(only_answer(&server, &request).await.0, status, "{request}");
    }
    let mut raw = Raw::connect(addr).await;
    raw.send(without("Sec-WebSocket-Version: 13\r\n").as_bytes())
        .await;
    let answer = raw.answer().await;
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_origins_get_no_socket() {
    let server = TestServer::start(|c| {
        c.public_origin = Some("https://login.example".into());
        c.allowed_origins = vec!["https://app.example:8443".into()];
    })
    .await;
    for foreign in [
        "null",
        "",
        "https://login.example.evil",
        "https://evil-login.example",
        "https://evil.login.example",
        "http://login.example",
        "https://login.example:443",
        "https://login.example:8443",
        "https://LOGIN.example",
        "HTTPS://login.example",
        "https://login.example/",
        "https://login.example/path",
        "https://login.example@evil.example",
        "https://user@login.example",
        "https://login.example#",
        "https://login.example?",
        "https://app.example",
        "https://app.example:84433",
        "https://xn--lgin-gqa.example",
        "https://login.example https://evil.example",
        "http://127.0.0.1",
        "http://localhost",
        "file://",
    ] {
        let request = upgrade_request(server.addr, &format!("Origin: {foreign}\r\n"));
        let (status, body) = only_answer(&server, &request).await;
        assert_eq!(
            (status, code(&body)),
            (403, ErrorCode::OriginRejected.name().into()),
            "{foreign:?}"
        );
    }
    let twice = "Origin: https://login.example\r\nOrigin: https://login.example\r\n";
    assert_eq!(
        only_answer(&server, &upgrade_request(server.addr, twice)).await.0,
        403
    );
    for known in [
        "Origin: https://login.example\r\n",
        "Origin: https://app.example:8443\r\n",
        "",
    ] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(upgrade_request(server.addr, known).as_bytes()).await;
        assert_eq!(raw.answer().await.status, 101, "{known}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_on_the_upgrade_signs_in_or_refuses() {
    let server = TestServer::start(|c| c.limits.connections_per_user_max = 1).await;
    let person = server.user("alice").await;
    let bearer = |token: &str, device: &str| {
        upgrade_request(
            server.addr,
            &format!("Authorization: Bearer {token}\r\nCountersign-Device: {device}\r\n"),
        )
    };
    for (token, device) in [
        ("nonsense", &*person.device),
        (&*person.tokens.access_token, "another"),
        ("", ""),
    ] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(bearer(token, device).as_bytes()).await;
        let answer = raw.answer().await;
        assert!(
            answer.status == 401 || (device.is_empty() && answer.status == 400),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("www-authenticate").is_some(), answer.status == 401);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(raw.rest().await.is_empty());
    }
    let mut raw = Raw::connect(server.addr).await;
    raw.send(bearer(&person.tokens.access_token, &person.device).as_bytes())
        .await;
    assert_eq!(raw.answer().await.status, 101);
    assert_eq!(raw.json().await["type"], "hello");
    raw.send(&raw::text(r#"{"id":1,"type":"join","room":"chat:lobby"}"#))
        .await;
    assert_eq!(raw.json().await["me"]["role"], "member");

    let mut second = Raw::connect(server.addr).await;
    second
        .send(bearer(&person.tokens.access_token, &person.device).as_bytes())
        .await;
    assert_eq!(second.answer().await.status, 101);
    assert_eq!(second.close_code().await, 4504);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sub_protocol_is_echoed_when_it_was_offered() {
    let server = TestServer::start(|_| {}).await;
    for (offered, echoed) in [
        (
            "Sec-WebSocket-Protocol: countersign.v1.json\r\n",
            Some("countersign.v1.json"),
        ),
        (
            "Sec-WebSocket-Protocol: other, countersign.v1.json\r\n",
            Some("countersign.v1.json"),
        ),
        (
            "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: countersign.v1.json\r\n",
            Some("countersign.v1.json"),
        ),
        ("Sec-WebSocket-Protocol: other\r\n", None),
        ("", None),
    ] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(upgrade_request(server.addr, offered).as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!(
            (answer.status, answer.header("sec-websocket-protocol")),
            (101, echoed),
            "{offered}"
        );
        assert_eq!(answer.header("sec-websocket-extensions"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections() {
    let server = TestServer::start(|c| c.limits.connections_per_address_max = 2).await;
    let _first = Raw::open(server.addr).await;
    let second = Raw::open(server.addr).await;
    for request in [upgrade_request(server.addr, ""), SMUGGLED.to_owned()] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(request.as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 429);
        assert!(answer.header("retry-after").is_some());
        assert!(raw.rest().await.is_empty());
    }
    drop(second);
    common::until("the place is free", || server.node.sockets() == 1).await;
    Raw::open(server.addr).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_said_all_gets_its_answer() {
    let server = TestServer::start(|_| {}).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(SMUGGLED.as_bytes()).await;
    raw.end_writing().await;
    assert_eq!(raw.answer().await.status, 200);
    assert!(raw.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = TestServer::start(|c| c.limits.request_ms = 200).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(
        b"POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    )
    .await;
    assert_eq!(raw.answer().await.status, 408);
    assert!(raw.rest().await.is_empty());
}
