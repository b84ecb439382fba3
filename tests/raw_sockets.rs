//! What an open WebSocket may be sent, byte by byte, and what its sender sees of the answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what must hold"
)]

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use common::{TestServer, within};
use countersign::{http, ws};
use countersign_protocol::codec::Opcode;
use countersign_protocol::limits::FRAME_BYTES_MAX;
use futures::{SinkExt, StreamExt};
use raw::{Raw, close, fragment, frame, text, upgrade_request};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const PING: &str = r#"{"id":7,"type":"ping"}"#;

/// The code that answers `bytes`, sent to a fresh connection.
async fn answered(server: &TestServer, bytes: &[u8]) -> u16 {
    let mut raw = Raw::open(server.addr).await;
    raw.send(bytes).await;
    raw.close_code().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broken_rule_has_its_code_and_the_sender_sees_it() {
    // None of the codes is that of a deadline which a slow machine would meet.
    let server = TestServer::start(|c| {
        c.limits.fragments_ms = 600_000;
        c.limits.unauthenticated_ms = 600_000;
    })
    .await;
    let flip = |mut frame: Vec<u8>, first: u8| {
        frame[0] ^= first;
        frame
    };
    let unmasked = [&[0x81, 22][..], PING.as_bytes()].concat();
    let huge = [&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4]].concat();
    let oversize = text(&"x".repeat(FRAME_BYTES_MAX + 1));
    let one_megabyte = text(&"x".repeat(1 << 20));
    let in_parts = [
        fragment(Opcode::Text, &[b' '; FRAME_BYTES_MAX]),
        fragment(Opcode::Continuation, b" "),
    ]
    .concat();
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("reserved bit 1", flip(text(PING), 0x40), 1002),
        ("reserved bit 2", flip(text(PING), 0x20), 1002),
        ("reserved bit 3", flip(text(PING), 0x10), 1002),
        ("opcode 3", flip(text(PING), 0x02), 1002),
        ("opcode 11", flip(frame(Opcode::Pong, b""), 0x01), 1002),
        ("continuation of nothing", frame(Opcode::Continuation, b"x"), 1002),
        (
            "message in a message",
            [fragment(Opcode::Text, b"x"), text(PING)].concat(),
            1002,
        ),
        ("fragmented ping", fragment(Opcode::Ping, b"x"), 1002),
        ("long ping", frame(Opcode::Ping, &[0; 126]), 1002),
        ("close of one byte", frame(Opcode::Close, b"x"), 1002),
        ("binary", frame(Opcode::Binary, PING.as_bytes()), 1003),
        (
            "bad UTF-8",
            frame(Opcode::Text, b"{\"id\":1,\"type\":\"\xff\"}"),
            1007,
        ),
        ("surrogate", frame(Opcode::Text, b"\xed\xa0\x80"), 1007),
        (
            "bad UTF-8 in a close",
            frame(Opcode::Close, &[0x03, 0xe8, 0xff]),
            1007,
        ),
        (
            "empty continuations",
            [
                fragment(Opcode::Text, b""),
                fragment(Opcode::Continuation, b"").repeat(100_000),
            ]
            .concat(),
            1008,
        ),
        ("pings", frame(Opcode::Ping, b"x").repeat(10_000), 1008),
        (
            "pongs nobody asked for",
            frame(Opcode::Pong, b"x").repeat(10_000),
            1008,
        ),
        ("2^63 bytes", huge, 1009),
        ("one byte too many", oversize, 1009),
        ("a megabyte", one_megabyte, 1009),
        ("one byte too many in parts", in_parts, 1009),
        ("no JSON", text("hello"), 4501),
        ("empty text", text(""), 4501),
    ] {
        let mut raw = Raw::open(server.addr).await;
        // What came before the broken rule is answered, wherever the packets were cut.
        raw.send(&[text(PING), bytes].concat()).await;
        assert_eq!(raw.json().await, json!({"id": 7, "type": "ok"}), "{what}");
        assert_eq!(raw.close_code().await, code, "{what}");
    }
    common::until("nobody is left", || server.node.hub.connection_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_is_read() {
    let server = TestServer::start(|_| {}).await;
    let mut raw = Raw::open(server.addr).await;
    let padded = format!("{PING}{}", " ".repeat(FRAME_BYTES_MAX - PING.len()));
    let (head, tail) = padded.as_bytes().split_at(30_000);
    let in_parts = [
        fragment(Opcode::Text, head),
        frame(Opcode::Ping, b"still?"),
        frame(Opcode::Continuation, tail),
    ]
    .concat();
    raw.send(&[text(&padded), in_parts].concat()).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(within("an answer", raw.frame()).await.unwrap());
    }
    let ok = (Opcode::Text, br#"{"id":7,"type":"ok"}"#.to_vec());
    assert_eq!(seen.iter().filter(|f| **f == ok).count(), 2, "{seen:?}");
    assert!(seen.contains(&(Opcode::Pong, b"still?".to_vec())), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_may_be_cut_anywhere() {
    let server = TestServer::start(|c| {
        c.limits.command_rate.burst = 10_000;
        c.limits.control_rate.burst = 10_000;
    })
    .await;
    let mut raw = Raw::open(server.addr).await;
    let long = format!("{PING}{}", " ".repeat(200));
    let whole = [
        text(&long),
        fragment(Opcode::Text, &long.as_bytes()[..10]),
        frame(Opcode::Ping, b"p"),
        frame(Opcode::Continuation, &long.as_bytes()[10..]),
    ]
    .concat();
    for cut in 1..whole.len() {
        let (a, b) = whole.split_at(cut);
        raw.send(a).await;
        tokio::task::yield_now().await;
        raw.send(b).await;
        for _ in 0..2 {
            assert_eq!(raw.json().await["type"], "ok", "cut at {cut}");
        }
    }
    for byte in &whole {
        raw.send(std::slice::from_ref(byte)).await;
    }
    for _ in 0..2 {
        assert_eq!(raw.json().await["type"], "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_may_come_along_with_the_handshake() {
    let server = TestServer::start(|_| {}).await;
    let whole = [
        upgrade_request(server.addr, "").as_bytes(),
        &text(PING),
        &text(PING),
        &close(1000),
    ]
    .concat();
    let head = upgrade_request(server.addr, "").len();
    for cut in [
        0,
        head - 1,
        head,
        head + 1,
        head + 10,
        whole.len() - 1,
        whole.len(),
    ] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(&whole[..cut]).await;
        raw.send(&whole[cut..]).await;
        assert_eq!(raw.answer().await.status, 101);
        assert_eq!(raw.json().await["type"], "hello", "first, whatever came early");
        for _ in 0..2 {
            assert_eq!(raw.json().await["id"], 7);
        }
        assert_eq!(raw.close_code().await, 1000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peers_close_is_answered_in_kind() {
    let server = TestServer::start(|_| {}).await;
    for (sent, answer) in [
        (1000, 1000),
        (1001, 1001),
        (3000, 3000),
        (4999, 4999),
        (999, 1002),
        (1005, 1002),
        (1015, 1002),
        (2000, 1002),
        (5000, 1002),
    ] {
        assert_eq!(answered(&server, &close(sent)).await, answer, "{sent}");
    }
    assert_eq!(
        answered(&server, &frame(Opcode::Close, b"")).await,
        1005,
        "nothing is answered with nothing"
    );
    // What was asked before is answered before; what comes after is not.
    let mut raw = Raw::open(server.addr).await;
    raw.send(&[text(PING), close(1000), text(PING)].concat()).await;
    assert_eq!(raw.json().await["id"], 7);
    assert_eq!(raw.close_code().await, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_must_come_to_its_end() {
    let server = TestServer::start(|c| c.limits.fragments_ms = 200).await;
    let mut raw = Raw::open(server.addr).await;
    let began = Instant::now();
    raw.send(&fragment(Opcode::Text, b"{")).await;
    assert_eq!(raw.close_code().await, 1008);
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_no_ping_is_gone() {
    let server = TestServer::start(|c| {
        c.limits.ping_interval_ms = 40;
        c.limits.pong_ms = 4_000;
    })
    .await;
    let mut mute = Raw::open(server.addr).await;
    let mut half = Raw::open(server.addr).await;
    let mut lively = Raw::open(server.addr).await;
    // Bytes are no pong: a peer that has stopped in the middle of a frame sends none either.
    half.send(&text(PING)[..9]).await;
    // As long as the others take to be given up, and beyond.
    let mut ended = std::pin::pin!(async { (mute.close_code().await, half.close_code().await) });
    let (mut codes, mut pings) = (None, 0);
    while codes.is_none() || pings < 30 {
        tokio::select! {
            both = &mut ended, if codes.is_none() => codes = Some(both),
            next = lively.frame() => match next {
                Some((Opcode::Ping, payload)) => {
                    pings += 1;
                    lively.send(&frame(Opcode::Pong, &payload)).await;
                }
                other => panic!("{other:?}"),
            },
        }
    }
    assert_eq!(codes, Some((4012, 4012)));
    lively.send(&text(PING)).await;
    assert_eq!(lively.json().await["id"], 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_nothing_is_told_when_it_reads() {
    let server = TestServer::start(|c| {
        c.limits.write_ms = 500;
        c.limits.outbox_bytes_max = 64 * 1024;
        c.limits.message_rate.burst = 100_000;
        c.limits.message_rate_per_user.burst = 100_000;
        c.limits.room_rate.burst = 100_000;
        c.limits.command_rate.burst = 100_000;
    })
    .await;
    let mut stuck = Raw::connect_narrow(server.addr, 4096)
        .await
        .upgrade(server.addr)
        .await;
    stuck
        .send(&text(r#"{"id":1,"type":"join","room":"chat:lobby"}"#))
        .await;
    assert_eq!(stuck.json().await["type"], "ok");
    let mut watcher = server.anonymous().await;
    watcher.ok("join", json!({"room": "chat:lobby"})).await;
    let mut speaker = server.signed_in("alice").await;
    speaker.ok("join", json!({"room": "chat:lobby"})).await;

    let here = server.node.hub.connection_count();
    let mut sent = 0;
    within("the stuck one is let go", async {
        while server.node.hub.connection_count() == here {
            let sent_now = speaker
                .ok("send", json!({"room": "chat:lobby", "body": "x".repeat(16_000)}))
                .await;
            sent = sent_now["offset"].as_u64().unwrap();
            watcher.push_where("message", |m| m["offset"] == sent).await;
        }
    })
    .await;
    assert!(sent > 4, "others were served meanwhile");
    assert_eq!(stuck.close_code().await, 4008);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_shows_what_it_is_for() {
    let server = TestServer::start(|c| c.limits.unauthenticated_ms = 3_000).await;
    let began = Instant::now();
    let mut idle = Raw::open(server.addr).await;
    let mut chatty = Raw::open(server.addr).await;
    let mut viewer = Raw::open(server.addr).await;
    viewer
        .send(&text(r#"{"id":1,"type":"join","room":"chat:lobby"}"#))
        .await;
    assert_eq!(viewer.json().await["type"], "ok");
    chatty.send(&text(PING)).await;
    assert_eq!(idle.close_code().await, 4502);
    assert_eq!(chatty.close_code().await, 4502);
    assert!(began.elapsed() >= Duration::from_millis(2_900));
    viewer.send(&text(PING)).await;
    // Counts may come first.
    while viewer.json().await["id"] != 7 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_over_the_rate_are_refused_and_then_end_it() {
    let server = TestServer::start(|c| {
        // None comes back while the frames are read, however slowly.
        (c.limits.command_rate.count, c.limits.command_rate.period_ms) = (1, 600_000);
        c.limits.command_rate.burst = 5;
        c.limits.command_refusals_max = 3;
    })
    .await;
    let mut raw = Raw::open(server.addr).await;
    raw.send(&text(PING).repeat(8)).await;
    for _ in 0..5 {
        assert_eq!(raw.json().await["type"], "ok");
    }
    for _ in 0..2 {
        let refused = raw.json().await;
        assert_eq!(
            (&refused["code"], &refused["id"], &refused["retry"]),
            (&json!("rate_limited"), &json!(7), &json!(true))
        );
        assert!(refused["after_ms"].as_u64().unwrap() > 0);
    }
    assert_eq!(raw.close_code().await, 4029);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_bad_token_ends_it() {
    let server = TestServer::start(|_| {}).await;
    let mut raw = Raw::open(server.addr).await;
    raw.send(&text(r#"{"id":1,"type":"auth","token":"x","device":"d"}"#).repeat(4))
        .await;
    for _ in 0..3 {
        assert_eq!(raw.json().await["code"], "invalid_token");
    }
    assert_eq!(raw.close_code().await, 4500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_runs_out_is_told_and_closed() {
    let server = TestServer::start(|c| {
        c.tokens.access_ms = 5_000;
        c.tokens.expiring_ms = 3_000;
    })
    .await;
    let mut client = server.signed_in("alice").await;
    let warned = client.push("session").await;
    assert_eq!(warned["state"], "expiring");
    assert!(
        (1..=3_000).contains(&warned["after_ms"].as_u64().unwrap()),
        "{warned}"
    );
    assert_eq!(client.push("session").await["state"], "expired");
    assert_eq!(client.end().await.code, 4005);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_everybody_and_ends() {
    let mut server = TestServer::start(|c| {
        c.drain.grace_ms = 3_000;
        c.drain.spread_ms = 1_500;
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Raw::open(server.addr).await);
    }
    let node = Arc::clone(&server.node);
    server.begin_stop();
    common::until("the drain begins", || node.is_draining()).await;
    let mut late = Raw::connect(server.addr).await;
    late.send(upgrade_request(server.addr, "").as_bytes()).await;
    let refused = late.answer().await;
    assert_eq!(
        (refused.status, refused.header("retry-after").is_some()),
        (503, true)
    );

    let mut told = std::collections::BTreeSet::new();
    for client in &mut clients {
        let reconnect = client.json().await;
        assert_eq!(reconnect["type"], "reconnect");
        told.insert(reconnect["after_ms"].as_u64().unwrap());
    }
    assert!(told.len() == 5 && told.last() < Some(&1_500), "{told:?}");
    for client in &mut clients {
        assert_eq!(client.close_code().await, 1012);
    }
    server.stop().await;
    assert_eq!(node.sockets(), 0);
}

/// A stream of this process, as TLS would be; it can be told to fail.
struct Fragile {
    stream: tokio::io::DuplexStream,
    broken: Arc<std::sync::atomic::AtomicBool>,
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(
            !self.broken.swap(false, Ordering::SeqCst),
            "this failure is part of the test"
        );
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_tcp_is_served_alike_and_a_panic_ends_it_alone() {
    let server = TestServer::start(|_| {}).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inside = ws::Server::start(Arc::clone(&server.node), listener, http::router(&server.node));
    // Narrow, so that it blocks in the middle of frames.
    let (ours, theirs) = tokio::io::duplex(100);
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    inside.serve_stream(
        Fragile {
            stream: theirs,
            broken: Arc::clone(&broken),
        },
        server.addr,
    );
    let (mut socket, _) = within(
        "the upgrade",
        tokio_tungstenite::client_async("ws://a/v1/ws", ours),
    )
    .await
    .unwrap();
    let mut next = async |what: &str| {
        let message = within(what, socket.next()).await.unwrap().unwrap();
        if what == "join" {
            socket
                .send(Message::text(r#"{"id":1,"type":"join","room":"chat:lobby"}"#))
                .await
                .unwrap();
        }
        message
    };
    assert!(next("join").await.to_text().unwrap().contains("hello"));
    assert!(
        next("the reply")
            .await
            .to_text()
            .unwrap()
            .contains(r#""id":1,"type":"ok""#)
    );

    let mut speaker = server.signed_in("alice").await;
    speaker.ok("join", json!({"room": "chat:lobby"})).await;
    let long = "x".repeat(10_000);
    speaker
        .ok("send", json!({"room": "chat:lobby", "body": long}))
        .await;
    loop {
        let message = next("the message").await;
        if message.to_text().unwrap().contains(&long) {
            break;
        }
    }

    broken.store(true, Ordering::SeqCst);
    let here = server.node.hub.connection_count();
    speaker
        .ok("send", json!({"room": "chat:lobby", "body": "wakes it up"}))
        .await;
    loop {
        match next("the end").await {
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.unwrap().code), 1011);
                break;
            }
            other => drop(other),
        }
    }
    common::until("it is gone", || server.node.hub.connection_count() == here - 1).await;
    speaker.ok("ping", json!({})).await;
    within("it ends", inside.stop()).await;
}
