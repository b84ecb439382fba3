//! As many QR logins as the node takes: the next is told when to come back, on every transport, and those there are
//! go on.

use std::net::SocketAddr;

use countersign_protocol::ErrorCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::common::qr::{Pc, scan_token, text, to_ticket};
use crate::common::{Answer, TestServer, request, within};

fn open() -> Value {
    json!({"device": {"id": "another"}})
}

/// A problem with the code that says when to come back, in its header and in its body.
pub(crate) fn assert_come_back(answer: &Answer, status: u16, code: ErrorCode) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["code"]),
        (status, &json!(code.name())),
        "{body}"
    );
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let after_ms = body["after_ms"].as_u64().unwrap();
    assert!(after_ms > 0 && seconds * 1_000 >= after_ms, "{seconds} s, {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_says_when_to_come_back() {
    let server = TestServer::start(|c| c.limits.qr_attempts_max = 2).await;
    let alice = server.user("alice").await;
    let mut pc = Pc::open(&server).await;
    let answer = request(server.addr, "POST", "/v1/qr").json(&open()).send().await;
    assert_eq!(answer.status, 201);
    let (qr_id, claim) = (text(&answer.json()["qr_id"]), text(&answer.json()["claim"]));

    let refused = request(server.addr, "POST", "/v1/qr").json(&open()).send().await;
    assert_come_back(&refused, 503, ErrorCode::Unavailable);
    let mut newcomer = server.anonymous().await;
    let refused = newcomer.refused("qr.open", open()).await;
    assert_eq!(
        (&refused["code"], &refused["retry"]),
        (&json!("unavailable"), &json!(true))
    );
    assert!(refused["after_ms"].as_u64() > Some(0), "{refused}");

    // Both that there are go on to their end.
    let ticket = to_ticket(&mut pc, &alice).await;
    assert_eq!(pc.redeem(&ticket).await["type"], "ok");
    scan_token(&alice, &qr_id).await;
    let say = |method| {
        request(server.addr, method, &format!("/v1/qr/{qr_id}"))
            .header("authorization", &format!("Claim {claim}"))
            .header("countersign-device", "another")
            .send()
    };
    assert_eq!(say("GET").await.json()["state"], "scanned");
    assert_eq!(say("DELETE").await.status, 204);
    // They can be asked about for a while, and hold their places until then.
    assert_come_back(
        &request(server.addr, "POST", "/v1/qr").json(&open()).send().await,
        503,
        ErrorCode::Unavailable,
    );
    server.stop().await;
}

/// A request from another loopback address.
async fn open_from(from: &str, to: SocketAddr) -> Answer {
    within("an answer", async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        let bytes = request(to, "POST", "/v1/qr").json(&open()).bytes();
        stream.write_all(&bytes).await.unwrap();
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        Answer::parse(&raw)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_have_them_all() {
    let server = TestServer::start(|c| {
        c.limits.qr_attempts_max = 4;
        c.limits.qr_waiting_per_address_max = 2;
    })
    .await;
    let _first = Pc::open(&server).await;
    assert_eq!(open_from("127.0.0.1", server.addr).await.status, 201);
    let refused = open_from("127.0.0.1", server.addr).await;
    assert_come_back(&refused, 429, ErrorCode::RateLimited);
    let mut newcomer = server.anonymous().await;
    let refused = newcomer.refused("qr.open", open()).await;
    assert_eq!(
        (&refused["code"], &refused["retry"]),
        (&json!("rate_limited"), &json!(true))
    );
    // There is room for others.
    for _ in 0..2 {
        assert_eq!(open_from("127.0.0.2", server.addr).await.status, 201);
    }
    assert_come_back(
        &open_from("127.0.0.3", server.addr).await,
        503,
        ErrorCode::Unavailable,
    );
    server.stop().await;
}
