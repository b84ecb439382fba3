//! Behind proxies: whose request it is, wherever that matters, and what a forged header changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::net::SocketAddr;

use common::qr::scan_token;
use common::{Answer, Client, Person, TestServer, request, until, within};
use countersign::config::limits::RateLimit;
use countersign::config::{Config, ForwardingHeader};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Error;

const X: &str = "x-forwarded-for";

/// A gateway that believes this test about where requests come from.
async fn behind_a_proxy(change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::start(|c| {
        c.trusted_proxies = vec!["127.0.0.1".into(), "10.0.0.0/8".into()];
        change(c);
    })
    .await
}

/// Two, and no more within a test.
fn two() -> RateLimit {
    RateLimit {
        count: 1,
        period_ms: 600_000,
        burst: 2,
    }
}

async fn open_code(addr: SocketAddr, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"device": {"id": "pc-1"}});
    let begun = request(addr, "POST", "/v1/qr").json(&body);
    let headed = headers
        .iter()
        .fold(begun, |r, (name, value)| r.header(name, value));
    headed.send().await
}

fn status(refused: Result<Client, Error>) -> u16 {
    match refused {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    }
}

/// Threat 33: whoever writes the header themselves is counted as who they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_header_does_not_change_the_key_of_a_rate() {
    let server = TestServer::start(|c| {
        c.trusted_proxies = vec!["10.0.0.0/8".into()];
        c.limits.qr_open_rate = two();
    })
    .await;
    let mut statuses = Vec::new();
    for last in 1..=4 {
        let (address, element) = (format!("203.0.113.{last}"), format!("for=203.0.113.{last}"));
        let headers = [(X, address.as_str()), ("forwarded", element.as_str())];
        statuses.push(open_code(server.addr, &headers[last % 2..]).await.status);
    }
    assert_eq!(statuses, [201, 201, 429, 429]);
    let mut socket = Client::connect_with(server.addr, &[(X, "203.0.113.77")])
        .await
        .unwrap();
    let refused = socket.refused("qr.open", json!({"device": {"id": "pc-1"}})).await;
    assert_eq!(refused["code"], "rate_limited");
    server.stop().await;
}

/// The proxy's own word counts, and what a caller had written to the left of it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_each_client_has_its_own_rate() {
    let server = behind_a_proxy(|c| c.limits.qr_open_rate = two()).await;
    let from = async |value: &'static str| open_code(server.addr, &[(X, value)]).await;
    for expected in [201, 201, 429] {
        assert_eq!(from("203.0.113.9").await.status, expected);
    }
    for forged in [
        "198.51.100.1, 203.0.113.9",
        "198.51.100.2,198.51.100.3 , 203.0.113.9",
        "203.0.113.9:4711",
        "198.51.100.4, 203.0.113.9, 10.0.0.3",
        "rubbish, \"for=198.51.100.5, 203.0.113.9, 10.0.0.3, 10.0.0.4",
        "::ffff:203.0.113.9",
    ] {
        assert_eq!(from(forged).await.status, 429, "{forged}");
    }
    let in_two_lines = open_code(server.addr, &[(X, "198.51.100.6"), (X, "203.0.113.9")]).await;
    assert_eq!(in_two_lines.status, 429);
    let forwarded = open_code(
        server.addr,
        &[("forwarded", "for=1.1.1.1, for=\"203.0.113.9:80\"")],
    )
    .await;
    assert_eq!(forwarded.status, 429);
    let mut socket = Client::connect_with(server.addr, &[(X, "198.51.100.7, 203.0.113.9")])
        .await
        .unwrap();
    let refused = socket.refused("qr.open", json!({"device": {"id": "pc-1"}})).await;
    assert_eq!(refused["code"], "rate_limited", "over a socket as over HTTP");
    assert_eq!(from("203.0.113.10").await.status, 201, "another client");
    // What names no client is the proxy's own, all together.
    let long = format!("198.51.100.8{}", ", 10.0.0.1".repeat(500));
    let nobody = [
        open_code(server.addr, &[(X, "unknown")]).await.status,
        open_code(server.addr, &[(X, &long)]).await.status,
        open_code(server.addr, &[(X, "203.0.113.11, , 10.0.0.1")])
            .await
            .status,
        open_code(server.addr, &[]).await.status,
    ];
    assert_eq!(nobody, [201, 201, 429, 429]);
    server.stop().await;
}

/// A caller that a proxy passes the other header on for hides behind nobody by writing there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_headers_that_name_two_clients_are_refused() {
    let server = behind_a_proxy(|_| {}).await;
    for unread in ["x", "for=203.0.113.13", "for=unknown"] {
        let headers = [(X, "203.0.113.12"), ("forwarded", unread)];
        let refused = open_code(server.addr, &headers).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (400, &json!("bad_request")),
            "{unread}"
        );
        assert!(refused.text().contains("forwarding_header"), "{}", refused.text());
        assert_eq!(status(Client::connect_with(server.addr, &headers).await), 400);
    }
    let agreed = [(X, "203.0.113.12"), ("forwarded", "for=203.0.113.12")];
    assert_eq!(open_code(server.addr, &agreed).await.status, 201);
    server.stop().await;
}

/// An office behind one address opens a page of many files at once, and its sockets after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_requests_over_a_proxy_are_no_new_connections() {
    let server = behind_a_proxy(|c| c.limits.accept_rate_per_address = two()).await;
    let get = |path: &'static str| request(server.addr, "GET", path).header(X, "203.0.113.9").send();
    for _ in 0..20 {
        assert_eq!(get("/").await.status, 200);
    }
    let socket = async || Client::connect_with(server.addr, &[(X, "203.0.113.9")]).await;
    let _first = socket().await.unwrap();
    let missing = format!("/v1/qr/{}", "a".repeat(22));
    let wait = request(server.addr, "GET", &format!("{missing}/outcome")).header(X, "203.0.113.9");
    assert_eq!(wait.send().await.status, 401);
    assert_eq!(status(socket().await), 429);
    for lasting in ["events", "outcome"] {
        let asked = request(server.addr, "GET", &format!("{missing}/{lasting}")).header(X, "203.0.113.9");
        assert_eq!(asked.send().await.status, 429, "{lasting}");
    }
    assert_eq!(get("/").await.status, 200);
    server.stop().await;
}

/// What is refused before it is looked at can be read by the pages that may call, and by no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_can_be_read_by_allowed_pages() {
    const ALLOWED: &str = "https://app.example";
    let early = behind_a_proxy(|c| {
        c.allowed_origins = vec![ALLOWED.into()];
        c.limits.connections_per_address_max = 1;
    })
    .await;
    let _held = Client::connect_with(early.addr, &[(X, "203.0.113.9")])
        .await
        .unwrap();
    let direct = TestServer::start(|c| {
        c.allowed_origins = vec![ALLOWED.into()];
        c.limits.connections_per_address_max = 1;
    })
    .await;
    let _here = Client::connect(direct.addr).await;
    for server in [&early, &direct] {
        let from = |origin| {
            request(server.addr, "GET", "/v1/me")
                .header("origin", origin)
                .header(X, "203.0.113.9")
                .send()
        };
        let refused = from(ALLOWED).await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("access-control-allow-origin"), Some(ALLOWED));
        assert!(refused.header("retry-after").is_some());
        let exposed = refused.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("Retry-After"), "{exposed}");
        assert_eq!(refused.header("vary"), Some("Origin"));
        let foreign = from("https://evil.example").await;
        assert_eq!(
            (foreign.status, foreign.header("access-control-allow-origin")),
            (429, None)
        );
    }
    early.stop().await;
    direct.stop().await;
}

/// Threat 34: moving within a /64 is no other client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_client_counts_by_its_64() {
    let server = behind_a_proxy(|c| c.limits.qr_open_rate = two()).await;
    let mut statuses = Vec::new();
    for address in [
        "2001:db8:1:2::1",
        "2001:db8:1:2:ffff::2",
        "[2001:db8:1:2::3]:80",
        "2001:db8:1:3::1",
    ] {
        statuses.push(open_code(server.addr, &[(X, address)]).await.status);
    }
    assert_eq!(statuses, [201, 201, 429, 201]);
    server.stop().await;
}

/// Threat 34: whoever walks through the networks of a /48 gets eight times what one of them gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_site_counts_as_eight() {
    let server = behind_a_proxy(|c| c.limits.qr_open_rate = two()).await;
    let open = async |address: String| open_code(server.addr, &[(X, address.as_str())]).await.status;
    let mut statuses = Vec::new();
    for network in 0..20 {
        statuses.push(open(format!("2001:db8:1:{network:x}::1")).await);
    }
    assert_eq!(statuses, [[201; 16].as_slice(), &[429; 4]].concat());
    assert_eq!(open("2001:db8:2::1".into()).await, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_configured_header_is_read() {
    let server = behind_a_proxy(|c| {
        c.forwarding_header = ForwardingHeader::XForwardedFor;
        c.limits.qr_open_rate = two();
    })
    .await;
    for (n, expected) in [(1, 201), (2, 201), (3, 429)] {
        let forged = format!("for=198.51.100.{n}");
        let headers = [("forwarded", forged.as_str()), (X, "203.0.113.9")];
        assert_eq!(open_code(server.addr, &headers).await.status, expected);
    }
    server.stop().await;
}

/// Sockets of a proxy count under their clients, each for as long as it serves one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_count_for_the_client() {
    let server = behind_a_proxy(|c| c.limits.connections_per_address_max = 2).await;
    let socket = async |client: &'static str| Client::connect_with(server.addr, &[(X, client)]).await;
    let get = |client: &'static str| request(server.addr, "GET", "/").header(X, client).send();
    let (first, second) = (
        socket("203.0.113.9").await.unwrap(),
        socket("203.0.113.9").await.unwrap(),
    );
    assert_eq!(status(socket("203.0.113.9").await), 429);
    let refused = get("203.0.113.9").await;
    assert_eq!(
        (refused.status, refused.header("connection")),
        (429, Some("close"))
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(get("203.0.113.10").await.status, 200);
    let others = [
        socket("203.0.113.10").await.unwrap(),
        socket("203.0.113.10").await.unwrap(),
    ];
    assert_eq!(status(socket("203.0.113.10").await), 429);
    drop((first, second));
    until("both places are free", || server.node.sockets() == 2).await;
    assert_eq!(get("203.0.113.9").await.status, 200);
    let _again = [
        socket("203.0.113.9").await.unwrap(),
        socket("203.0.113.9").await.unwrap(),
    ];
    assert_eq!(status(socket("203.0.113.9").await), 429);
    drop(others);
    server.stop().await;
}

/// A proxy keeps connections and sends requests of different people over them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_counts_for_nobody_between_requests() {
    let server = behind_a_proxy(|c| c.limits.connections_per_address_max = 1).await;
    let mut kept = TcpStream::connect(server.addr).await.unwrap();
    for client in ["203.0.113.9", "203.0.113.10", "203.0.113.9"] {
        assert_eq!(asked_over(&mut kept, client).await, "HTTP/1.1 200 OK");
    }
    // The kept connection asked for this client last, and that was answered.
    let held = Client::connect_with(server.addr, &[(X, "203.0.113.9")])
        .await
        .unwrap();
    assert_eq!(asked_over(&mut kept, "203.0.113.10").await, "HTTP/1.1 200 OK");
    assert_eq!(
        asked_over(&mut kept, "203.0.113.9").await,
        "HTTP/1.1 429 Too Many Requests"
    );
    drop(held);
    server.stop().await;
}

/// The status line of an answer whose body is read too.
async fn asked_over(kept: &mut TcpStream, client: &str) -> String {
    let asked = format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: a\r\n{X}: {client}\r\n\r\n");
    within("an answer", async {
        kept.write_all(asked.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        loop {
            let mut byte = [0];
            kept.read_exact(&mut byte).await.unwrap();
            read.push(byte[0]);
            if read.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = Answer::parse_head(&read);
        let mut body = vec![0; head.header("content-length").unwrap().parse().unwrap()];
        kept.read_exact(&mut body).await.unwrap();
        String::from_utf8_lossy(&read).lines().next().unwrap().to_owned()
    })
    .await
}

/// An event stream and a phone's long wait count for as long as they last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lasts_counts_while_it_lasts() {
    let server = behind_a_proxy(|c| c.limits.connections_per_address_max = 1).await;
    let opened = open_code(server.addr, &[(X, "203.0.113.9")]).await.json();
    let field = |name: &str| opened[name].as_str().unwrap().to_owned();
    let path = format!("/v1/qr/{}/events", field("qr_id"));
    let mut stream = request(server.addr, "GET", &path)
        .header("authorization", &format!("Claim {}", field("claim")))
        .header("countersign-device", "pc-1")
        .header(X, "203.0.113.9")
        .begin()
        .await;
    let mut begun = [0; 12];
    within("the stream begins", stream.read_exact(&mut begun))
        .await
        .unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let again = || request(server.addr, "GET", "/").header(X, "203.0.113.9").send();
    assert_eq!(again().await.status, 429);
    drop(stream);
    until("its place is free", || server.node.sockets() == 0).await;
    assert_eq!(again().await.status, 200);
    server.stop().await;
}

/// A connection with a header that a proxy adds, from a network address of the test's choice.
struct Side {
    addr: SocketAddr,
    from: &'static str,
}

impl Side {
    async fn pc(&self) -> (Client, Value) {
        let mut client = Client::connect_with(self.addr, &[(X, self.from)]).await.unwrap();
        let device = json!({"device": {"id": "pc-1", "name": "Office PC", "kind": "pc"}});
        let opened = client.ok("qr.open", device).await;
        (client, opened)
    }

    /// What a phone here is shown of the PC.
    async fn shown(&self, phone: &Person, qr_id: &Value) -> Value {
        let path = format!("/v1/qr/{}/scan", qr_id.as_str().unwrap());
        let answer = phone.request("POST", &path).header(X, self.from).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["request"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_phone_is_shown_the_clients_address_and_whether_it_is_its_own_network() {
    let server = behind_a_proxy(|_| {}).await;
    let phone = server.user("alice").await;
    for (pc, at, ip, same) in [
        ("203.0.113.9", "203.0.113.9", "203.0.113.9", true),
        (
            "1.1.1.1, 203.0.113.9, 10.0.0.1",
            "203.0.113.9",
            "203.0.113.9",
            true,
        ),
        ("203.0.113.9", "203.0.113.10", "203.0.113.9", false),
        ("2001:db8:1:2::1", "2001:db8:1:2::ffff", "2001:db8:1:2::1", true),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:1:2::1", false),
        ("192.168.1.5", "192.168.1.5", "192.168.1.5", false),
        ("127.0.0.7", "127.0.0.7", "127.0.0.7", false),
        // Nobody but proxies: the address is theirs, and says nothing.
        ("10.0.0.1", "10.0.0.1", "127.0.0.1", false),
        ("unknown", "unknown", "127.0.0.1", false),
    ] {
        let side = |from| Side {
            addr: server.addr,
            from,
        };
        let (_client, opened) = side(pc).pc().await;
        let shown = side(at).shown(&phone, &opened["qr_id"]).await;
        assert_eq!(
            (&shown["ip"], &shown["same_network"]),
            (&json!(ip), &json!(same)),
            "PC at {pc}, phone at {at}"
        );
    }
    server.stop().await;
}

/// A public address that many share is no sign of nearness, whether or not the operator has told us of the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_behaves_as_a_proxy_is_no_common_network() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let side = Side {
        addr: server.addr,
        from: "203.0.113.9",
    };
    let (_client, opened) = side.pc().await;
    let shown = side.shown(&phone, &opened["qr_id"]).await;
    assert_eq!(
        (&shown["ip"], &shown["same_network"]),
        (&json!("127.0.0.1"), &json!(false))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_notices_have_the_clients_address() {
    let server = behind_a_proxy(|_| {}).await;
    let alice = server.user("alice").await;
    let mut watching = alice.connect().await;
    let login = json!({"user_id": "alice", "password": "correct horse", "device": {"id": "laptop"}});
    let answer = request(server.addr, "POST", "/v1/login")
        .json(&login)
        .header(X, "198.51.100.1, 203.0.113.9")
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = watching.push("session").await;
    assert_eq!(
        (&told["state"], &told["ip"]),
        (&json!("new_device"), &json!("203.0.113.9"))
    );

    // And of a session that a QR login made: the PC's.
    let side = Side {
        addr: server.addr,
        from: "2001:db8:1:2::1",
    };
    let (mut pc, opened) = side.pc().await;
    let qr_id = opened["qr_id"].as_str().unwrap();
    let token = scan_token(&alice, qr_id).await;
    let scanned = pc.push("qr").await;
    let body = json!({"scan_token": token, "code": scanned["match"]["code"]});
    let confirm = alice.request("POST", &format!("/v1/qr/{qr_id}/confirm"));
    assert_eq!(confirm.json(&body).send().await.status, 200);
    let ticket = pc.push("qr").await["ticket"].clone();
    let redeem = json!({"qr_id": qr_id, "claim": opened["claim"], "ticket": ticket});
    pc.ok("qr.redeem", redeem).await;
    assert_eq!(watching.push("session").await["ip"], "2001:db8:1:2::1");
    let listed = alice.request("GET", "/v1/sessions").send().await.json();
    let mut addresses: Vec<_> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["ip"])
        .collect();
    addresses.sort_by_key(|ip| ip.to_string());
    assert_eq!(addresses, ["127.0.0.1", "2001:db8:1:2::1", "203.0.113.9"]);
    server.stop().await;
}

/// On one node: the listed peer is believed, another one is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_is_believed_and_another_is_not() {
    let server = TestServer::start(|c| {
        c.listen.set_ip([0, 0, 0, 0].into());
        c.exposed = countersign::config::Exposed::TRIAL.to_vec();
        c.public_origin = Some("http://127.0.0.1:1".into());
        c.trusted_proxies = vec!["127.0.0.2".into()];
    })
    .await;
    let addr = SocketAddr::from(([127, 0, 0, 1], server.addr.port()));
    for (peer, ip) in [([127, 0, 0, 2], "203.0.113.9"), ([127, 0, 0, 3], "127.0.0.3")] {
        let user = format!("user{}", peer[3]);
        let new = json!({"user_id": user, "password": "correct horse"});
        assert_eq!(
            sent_from(peer, addr, request(addr, "POST", "/v1/accounts").json(&new))
                .await
                .status,
            201
        );
        let login = json!({"user_id": user, "password": "correct horse", "device": {"id": "d"}});
        let answer = sent_from(
            peer,
            addr,
            request(addr, "POST", "/v1/login")
                .json(&login)
                .header(X, "203.0.113.9"),
        );
        let token = answer.await.json()["access_token"].as_str().unwrap().to_owned();
        let listed = request(addr, "GET", "/v1/sessions")
            .header("authorization", &format!("Bearer {token}"))
            .header("countersign-device", "d")
            .send()
            .await;
        assert_eq!(listed.json()["sessions"][0]["ip"], ip);
    }
    server.stop().await;
}

async fn sent_from(ip: [u8; 4], addr: SocketAddr, request: common::http::Request) -> Answer {
    within("an answer", async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((ip, 0))).unwrap();
        let mut stream = socket.connect(addr).await.unwrap();
        stream.write_all(&request.bytes()).await.unwrap();
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        Answer::parse(&raw)
    })
    .await
}
