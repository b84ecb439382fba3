//! TLS natively: everything that works without it works with it, and what is no handshake holds nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;
#[path = "qr_http/screen.rs"]
#[allow(dead_code, reason = "it speaks in more ways than are used here")]
mod screen;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use common::qr::{Pc, confirm, scan, text, to_ticket};
use common::talk::{join, offset, say, unhurried};
use common::tls::{SecureServer, client, connect, shown_at, trusting};
use common::{Client, TestServer, until, within};
use countersign::{http, ws};
use futures::{SinkExt, StreamExt};
use screen::{Over, Screen};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Registration, tokens, rooms and a QR login, with either version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_goes_over_either_version() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let secure = SecureServer::start_speaking(|_| {}, &[version]).await;
        let server = &secure.server;
        let mut alice = server.signed_in("alice").await;
        let mut viewer = server.anonymous().await;
        join(&mut alice, "chat:a").await;
        join(&mut viewer, "chat:a").await;
        assert_eq!(say(&mut alice, "chat:a", &json!({"text": "hello"})).await, 1);
        assert_eq!(viewer.push("message").await["body"]["text"], "hello");

        let phone = server.user("bob").await;
        // Its code leads to https, as no origin is configured.
        let mut pc = Pc::open(server).await;
        let ticket = to_ticket(&mut pc, &phone).await;
        assert_eq!(pc.redeem(&ticket).await["type"], "ok");
        secure.stop().await;
    }
}

/// An event stream is told each change, and ends with the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_goes_over_tls() {
    let secure = SecureServer::start(|_| {}).await;
    let phone = secure.server.user("alice").await;
    let mut pc = Screen::open(&secure.server, Over::Events).await;
    let scanned = scan(&phone, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    let token = text(&scanned.json()["scan_token"]);
    let confirmed = confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);
    pc.say("redeem", json!({"ticket": ticket})).await.unwrap();
    pc.becomes("redeemed").await;
    pc.has_ended().await;
    secure.stop().await;
}

/// Messages larger than a TLS record, many at once, arrive whole and in order at every member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_arrive_whole() {
    const TOTAL: u64 = 200;
    let secure = SecureServer::start(unhurried).await;
    let mut alice = secure.server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    let mut members = Vec::new();
    for _ in 0..4 {
        let mut member = secure.server.anonymous().await;
        join(&mut member, "chat:a").await;
        members.push(tokio::spawn(async move {
            for n in 1..=TOTAL {
                let message = member.push("message").await;
                assert_eq!((offset(&message), &message["body"]["n"]), (n, &json!(n)));
                assert_eq!(message["body"]["text"].as_str().map(str::len), Some(16_000));
            }
            member.ok("ping", json!({})).await;
        }));
    }
    let body = "x".repeat(16_000);
    for n in 1..=TOTAL {
        say(&mut alice, "chat:a", &json!({"n": n, "text": body})).await;
        alice.pushes.clear();
    }
    for member in members {
        within("a member has seen all", member).await.unwrap();
    }
    secure.stop().await;
}

/// A member that reads nothing is shed as it is without TLS, and told the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_is_closed_and_the_others_go_on() {
    let secure = SecureServer::start(|config| {
        unhurried(config);
        config.limits.outbox_bytes_max = 64 * 1024;
        config.limits.write_ms = 60_000;
    })
    .await;
    let server = &secure.server;
    let mut alice = server.signed_in("alice").await;
    let mut witness = server.anonymous().await;
    let mut slow = server.anonymous().await;
    for client in [&mut alice, &mut witness, &mut slow] {
        join(client, "chat:a").await;
    }
    let body = "x".repeat(16_000);
    within("the member that never reads is closed", async {
        while server.node.hub.connection_count() == 3 {
            let fields = json!({"room": "chat:a", "body": {"text": body}, "priority": "high"});
            let sent = offset(&alice.ok("send", fields).await);
            alice.pushes.clear();
            assert_eq!(offset(&witness.push("message").await), sent);
        }
    })
    .await;
    let mut last = 0;
    while let Some(frame) = slow.read().await {
        if frame["type"] == "message" {
            assert_eq!(offset(&frame), last + 1, "high messages are never dropped");
            last += 1;
        }
    }
    let closed = slow.closed.take().unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (4008, "slow_consumer"));
    secure.stop().await;
}

/// A close code arrives, and so does what a drain says before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_are_told() {
    let mut secure = SecureServer::start(|config| config.limits.ping_interval_ms = 100).await;
    let mut wrong = secure.server.anonymous().await;
    wrong.send_text("no JSON").await;
    assert_eq!(wrong.end().await.code, 4501);

    let mut staying = secure.server.anonymous().await;
    join(&mut staying, "chat:a").await;
    // Pings are answered by reading, and it goes on.
    for _ in 0..3 {
        staying.ok("ping", json!({})).await;
    }
    secure.server.begin_stop();
    assert!(staying.push("reconnect").await["after_ms"].is_u64());
    assert_eq!(staying.end().await.code, 1012);
    secure.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_without_tls_is_told_and_closed() {
    let secure = SecureServer::start(|_| {}).await;
    let mut plain = TcpStream::connect(secure.secure).await.unwrap();
    let asked = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", secure.secure);
    plain.write_all(asked.as_bytes()).await.unwrap();
    let answer = to_the_end(plain).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\n\r\nthis port speaks TLS: use https://"),
        "{answer}"
    );
    secure.stop().await;
}

/// HTTP/1.1 is agreed on; whoever wants something else only is refused in the handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_protocol_inside_is_agreed_on() {
    let secure = SecureServer::start(|_| {}).await;
    let with = |alpn: &[&str]| client(&secure.shown.certificate, rustls::ALL_VERSIONS, alpn);
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = connect(secure.secure, with(offered)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
    }
    assert!(connect(secure.secure, with(&["h2"])).await.is_err());
    assert_eq!(shown_at(secure.secure).await.unwrap(), secure.shown.certificate);
    secure.stop().await;
}

/// Handshakes that do not come to an end are ended, and their places are free for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_handshake_holds_its_place_for_a_while_only() {
    const PLACES: usize = 3;
    let secure = SecureServer::start(|config| {
        config.limits.connections_max = PLACES;
        config.limits.tls_handshake_ms = 10_000;
    })
    .await;
    // Nothing, the first byte, and a greeting that goes on for ever.
    let begun: [&[u8]; PLACES] = [b"", b"\x16", b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"];
    let mut half = Vec::new();
    for bytes in begun {
        let mut stream = TcpStream::connect(secure.secure).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        half.push(stream);
    }
    let node = &secure.server.node;
    until("the places are taken", || node.sockets() == PLACES).await;
    // One more is closed before it costs a handshake.
    let refused = TcpStream::connect(secure.secure).await.unwrap();
    assert_eq!(to_the_end(refused).await, "");
    let limited = node.counts().limited;
    assert!(limited.contains(&("connections_max", 1)), "{limited:?}");
    for stream in half {
        to_the_end(stream).await;
    }
    until("the places are free", || node.sockets() == 0).await;
    Client::connect(secure.server.addr)
        .await
        .ok("ping", json!({}))
        .await;
    secure.stop().await;
}

/// After the handshake the head's own time begins; a client that says nothing then does not stay either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_handshake_without_a_request_is_closed_too() {
    let secure = SecureServer::start(|config| config.limits.head_ms = 300).await;
    let mut silent = connect(secure.secure, trusting(&secure.shown.certificate))
        .await
        .unwrap();
    let mut all = Vec::new();
    // An end that TLS says is one.
    within("the end", silent.read_to_end(&mut all)).await.unwrap();
    assert!(all.is_empty());
    secure.stop().await;
}

/// A stream that keeps what is written to it until it is asked to flush, as TLS does with what its socket did not take.
struct Lazy {
    stream: DuplexStream,
    kept: Vec<u8>,
}

impl AsyncRead for Lazy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lazy {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.kept.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let this = &mut *self;
            let n = ready!(Pin::new(&mut this.stream).poll_write(cx, &this.kept))?;
            this.kept.drain(..n);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What TLS holds back for a peer that does not read leaves as soon as it reads, without anything new to push it out;
/// so does the close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_below_the_queue_leaves_by_itself() {
    let server = TestServer::start(|_| {}).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inside = ws::Server::start(Arc::clone(&server.node), listener, http::router(&server.node));
    let (ours, stream) = tokio::io::duplex(64);
    inside.serve_stream(
        Lazy {
            stream,
            kept: Vec::new(),
        },
        server.addr,
    );
    let (mut socket, _) = within("the upgrade", client_async("ws://a/v1/ws", ours))
        .await
        .unwrap();
    let mut next = async || within("a frame", socket.next()).await.unwrap().unwrap();
    assert!(next().await.to_text().unwrap().contains("hello"));
    socket.send(Message::text("no JSON")).await.unwrap();
    let Message::Close(Some(frame)) = within("the close", socket.next()).await.unwrap().unwrap() else {
        panic!("no close");
    };
    assert_eq!(u16::from(frame.code), 4501);
    inside.stop().await;
    server.stop().await;
}

/// Everything to the end, which may also be a reset.
async fn to_the_end(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}
