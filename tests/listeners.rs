//! Connections that come through proxies which do not read HTTP, and over a Unix-domain socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use common::tls::{Shown, trusting};
use common::{Answer, TestServer, until, within};
use countersign::config::Config;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::{WebSocketStream, client_async};

fn announced_by_loopback(config: &mut Config) {
    config.trusted_proxies = vec!["127.0.0.1".into(), "10.0.0.0/8".into()];
    config.proxy_protocol = true;
}

/// Version 2 for an IPv4 client, with an additional field.
fn binary(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    header.extend(client);
    header.extend([192, 0, 2, 1, 0x30, 0x39, 0x01, 0xbb, 4, 0, 0]);
    header
}

fn line(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 12345 443\r\n").into_bytes()
}

async fn begun(addr: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

/// A WebSocket over what has begun; its `hello` has come.
async fn socket<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    let (mut socket, _) = within("the upgrade", client_async("ws://a/v1/ws", stream))
        .await
        .unwrap();
    let hello = within("hello", socket.next()).await.unwrap().unwrap();
    assert!(hello.to_text().unwrap().contains("hello"));
    socket
}

/// An upgrade with more headers; the status it gets.
async fn upgrade(mut stream: impl AsyncRead + AsyncWrite + Unpin, more: &str) -> u16 {
    let text = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    within("an answer", async {
        while !raw.windows(4).any(|w| w == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "no answer");
        }
    })
    .await;
    Answer::parse_head(&raw).status
}

/// Everything to the end, which may also be a reset.
async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut all = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

fn addresses(server: &TestServer) -> Vec<IpAddr> {
    let connections = server.node.hub.connections();
    let mut all: Vec<_> = connections.iter().map(|c| c.address).collect();
    all.sort();
    all
}

fn ips<const N: usize>(texts: [&str; N]) -> Vec<IpAddr> {
    texts.map(|text| text.parse().unwrap()).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_proxy_says_whose_a_connection_is() {
    let server = TestServer::start(announced_by_loopback).await;
    let one = socket(begun(server.addr, &line("203.0.113.7")).await).await;
    let two = socket(begun(server.addr, &binary([203, 0, 113, 8])).await).await;
    // Its own, as its checks are.
    let own = socket(begun(server.addr, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await).await;
    let unknown = socket(begun(server.addr, b"PROXY UNKNOWN\r\n").await).await;
    assert_eq!(
        addresses(&server),
        ips(["127.0.0.1", "127.0.0.1", "203.0.113.7", "203.0.113.8"])
    );
    drop((one, two, own, unknown));
    until("all have gone", || server.node.hub.connection_count() == 0).await;

    // A client's own header changes nothing, the proxy's own connection says nothing either; one proxy behind another
    // says in its requests whose they are.
    let forged = "x-forwarded-for: 198.51.100.1\r\n";
    for (header, address) in [
        (line("203.0.113.7"), "203.0.113.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (line("10.0.0.9"), "198.51.100.1"),
    ] {
        let mut stream = begun(server.addr, &header).await;
        assert_eq!(upgrade(&mut stream, forged).await, 101);
        until("it is there", || addresses(&server) == ips([address])).await;
        drop(stream);
        until("it is gone", || server.node.hub.connection_count() == 0).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlisted_peer_with_a_header_is_refused() {
    let server = TestServer::start(|config| {
        config.trusted_proxies = vec!["192.0.2.1".into()];
        config.proxy_protocol = true;
    })
    .await;
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", server.addr);
    for header in [
        line("203.0.113.7"),
        binary([203, 0, 113, 8]),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ] {
        let stream = begun(server.addr, &[&header[..], request.as_bytes()].concat()).await;
        let answer = rest(stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.matches("HTTP/1.1").count() == 1,
            "{answer}"
        );
    }
    // Without one it is a client like any other.
    assert_eq!(common::request(server.addr, "GET", "/").send().await.status, 200);
    server.stop().await;
}

/// A listed proxy that sends none, half of one, or a damaged one, is closed and holds no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_proxy_without_a_header_is_closed() {
    let server = TestServer::start(|config| {
        announced_by_loopback(config);
        config.limits.proxy_header_ms = 300;
    })
    .await;
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let begun_with: [&[u8]; 8] = [
        b"",
        b"PROXY TCP4 203",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 one two 3 4\r\n",
        &endless,
    ];
    for header in begun_with {
        assert_eq!(rest(begun(server.addr, header).await).await, "");
    }
    until("no place is held", || server.node.sockets() == 0).await;
    server.stop().await;
}

/// The bound of an address holds whoever the proxy says it is, and leaves the proxy's others alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_addresses_have_their_own_bounds() {
    let server = TestServer::start(|config| {
        announced_by_loopback(config);
        config.limits.connections_per_address_max = 2;
    })
    .await;
    let first = socket(begun(server.addr, &line("203.0.113.7")).await).await;
    let second = socket(begun(server.addr, &binary([203, 0, 113, 7])).await).await;
    assert_eq!(
        upgrade(begun(server.addr, &line("203.0.113.7")).await, "").await,
        429
    );
    let other = socket(begun(server.addr, &line("203.0.113.8")).await).await;
    drop((first, second, other));
    until("their places are free", || server.node.sockets() == 0).await;
    let again = socket(begun(server.addr, &line("203.0.113.7")).await).await;
    drop(again);
    server.stop().await;
}

/// The header comes in front of the handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_comes_before_tls() {
    let shown = Shown::new();
    let server = TestServer::start(|config| {
        announced_by_loopback(config);
        shown.configure(config);
    })
    .await;
    let stream = begun(server.addr, &binary([203, 0, 113, 8])).await;
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(trusting(&shown.certificate));
    let secure = within("the handshake", connector.connect(name, stream))
        .await
        .unwrap();
    let _socket = socket(secure).await;
    assert_eq!(addresses(&server), ips(["203.0.113.8"]));
    server.stop().await;
}

async fn local(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_domain_socket_is_served_and_its_peers_name_their_clients() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public.sock");
    let server = TestServer::start(|config| {
        config.unix.path = Some(path.clone());
        config.limits.connections_per_address_max = 1;
    })
    .await;
    assert_eq!(upgrade(local(&path).await, "").await, 400, "nobody is named");
    let named = |last: u8| format!("x-forwarded-for: 198.51.100.{last}\r\n");
    let mut held = Vec::new();
    for last in [1, 2] {
        let mut stream = local(&path).await;
        assert_eq!(upgrade(&mut stream, &named(last)).await, 101);
        held.push(stream);
    }
    assert_eq!(upgrade(local(&path).await, &named(1)).await, 429);
    until("they are there", || {
        addresses(&server) == ips(["198.51.100.1", "198.51.100.2"])
    })
    .await;
    // The port is served beside it.
    server.anonymous().await.ok("ping", serde_json::json!({})).await;
    drop(held);
    server.stop().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_comes_over_a_unix_domain_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public.sock");
    let server = TestServer::start(|config| {
        config.unix.path = Some(path.clone());
        config.proxy_protocol = true;
    })
    .await;
    let mut stream = local(&path).await;
    stream.write_all(&binary([203, 0, 113, 8])).await.unwrap();
    let _first = socket(stream).await;
    let mut stream = local(&path).await;
    stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let _own = socket(stream).await;
    assert_eq!(addresses(&server), ips(["127.0.0.1", "203.0.113.8"]));
    assert_eq!(upgrade_or_end(local(&path).await).await, "");
    server.stop().await;
}

async fn upgrade_or_end(mut stream: UnixStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    rest(stream).await
}
