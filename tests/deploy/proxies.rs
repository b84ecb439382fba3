//! The configurations for proxies, each in front of a gateway: the page, a WebSocket, an event stream as it happens,
//! and whose request it is. Only ports, certificates and paths are changed.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use countersign::config::ForwardingHeader;
use countersign::config::limits::RateLimit;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{changed, read, tool};
use crate::common::events::Events;
use crate::common::qr::scan_token;
use crate::common::{Answer, Client, PATIENCE, TestServer, request, within};

/// A proxy of this test's own, ended with this value.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a proxy listens and what is behind it.
struct Places {
    address: SocketAddr,
    public: SocketAddr,
    operator: SocketAddr,
}

/// Two, and no more within a test.
fn two() -> RateLimit {
    RateLimit {
        count: 1,
        period_ms: 600_000,
        burst: 2,
    }
}

/// A gateway, and a proxy in front of it. Somebody else may take the port between our asking for one and its use.
async fn in_front(start: impl Fn(&Path, &Places) -> Command) -> (TestServer, Proxy) {
    for _ in 0..20 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = TestServer::start(|c| {
            c.public_origin = Some(format!("http://{address}"));
            c.trusted_proxies = vec!["127.0.0.1".into()];
            c.forwarding_header = ForwardingHeader::XForwardedFor;
            c.limits.qr_open_rate = two();
        })
        .await;
        let folder = TempDir::new().unwrap();
        let places = Places {
            address,
            public: server.addr,
            operator: server.operator,
        };
        let child = start(folder.path(), &places)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut proxy = Proxy {
            child,
            address,
            _folder: folder,
        };
        if within("the proxy listens", listens(&mut proxy)).await {
            return (server, proxy);
        }
        server.stop().await;
    }
    panic!("no proxy started");
}

/// `false`: it has ended, because the port was taken.
async fn listens(proxy: &mut Proxy) -> bool {
    loop {
        if proxy.child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(proxy.address).await.is_ok() {
            // Not somebody else who was faster.
            return proxy.child.try_wait().unwrap().is_none();
        }
        tokio::time::sleep(PATIENCE / 3_000).await;
    }
}

/// Asks from an address of this machine's own, which the proxy sees.
async fn from(source: &str, to: SocketAddr, body: &Value, forged: &str) -> Answer {
    let open = request(to, "POST", "/v1/qr")
        .header("x-forwarded-for", forged)
        .header("forwarded", &format!("for={forged}"))
        .json(body);
    within("an answer", async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        stream.write_all(&open.bytes()).await.unwrap();
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        Answer::parse(&raw)
    })
    .await
}

async fn story(server: TestServer, proxy: Proxy) {
    let at = proxy.address;
    let page = request(at, "GET", "/").send().await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let name = page.header("x-request-id").unwrap();
    assert!(
        name.len() >= 16 && !name.starts_with("r_"),
        "the proxy names requests: {name}"
    );

    // A WebSocket, with the page's origin.
    let origin = format!("http://{at}");
    let mut socket = Client::connect_with(at, &[("origin", &origin)]).await.unwrap();
    let opened = socket.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    assert!(
        opened["url"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{origin}/q/"))
    );
    assert!(
        Client::connect_with(at, &[("origin", "https://evil.example")])
            .await
            .is_err()
    );

    // An event stream, each event when it happens and not at the end.
    let body = json!({"device": {"id": "pc-2"}});
    let opened = request(at, "POST", "/v1/qr").json(&body).send().await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let opened = opened.json();
    let (id, claim) = (
        opened["qr_id"].as_str().unwrap(),
        opened["claim"].as_str().unwrap(),
    );
    let stream = request(at, "GET", &format!("/v1/qr/{id}/events"))
        .header("authorization", &format!("Claim {claim}"))
        .header("countersign-device", "pc-2");
    let mut events = Events::open(stream).await;
    let phone = server.user("alice").await;
    scan_token(&phone, id).await;
    let mut event = events.next().await.unwrap();
    while event.data["state"] == "waiting" {
        event = events.next().await.unwrap();
    }
    assert_eq!(event.data["state"], "scanned");
    assert!(!events.finished);

    // Whose request it is: the proxy's word counts, and nothing that the caller wrote.
    let body = json!({"device": {"id": "pc-3"}});
    for (n, expected) in [201, 201, 429].into_iter().enumerate() {
        let forged = format!("203.0.113.{n}");
        let answer = from("127.0.0.2", at, &body, &forged).await;
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
    assert_eq!(
        from("127.0.0.3", at, &body, "127.0.0.2").await.status,
        201,
        "another client"
    );

    socket.ok("ping", json!({})).await;
    drop((socket, events, proxy));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx() {
    let (server, proxy) = in_front(|folder, places| {
        let site = changed(
            &read("deploy/nginx/countersign.conf"),
            &[
                ("listen 443 ssl;", &format!("listen {};", places.address)),
                ("ssl_certificate /etc/ssl/login.example/fullchain.pem;", ""),
                ("ssl_certificate_key /etc/ssl/login.example/privkey.pem;", ""),
                ("server 127.0.0.1:8080;", &format!("server {};", places.public)),
            ],
        );
        std::fs::write(folder.join("site.conf"), site).unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary
            .map(|name| format!("{name}_temp_path temporary;\n"))
            .concat();
        // Around it what a distribution's nginx.conf has, for one process without rights.
        let main = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
             events {{}}\nhttp {{ access_log off;\n{temporary}include site.conf; }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), main).unwrap();
        let mut command = tool("nginx");
        command
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(folder);
        command
    })
    .await;
    story(server, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy() {
    let (server, proxy) = in_front(|folder, places| {
        let text = changed(
            &read("deploy/haproxy/haproxy.cfg"),
            &[
                ("maxconn 65536", "maxconn 100"),
                (
                    "bind :443 ssl crt /etc/haproxy/login.example.pem alpn http/1.1",
                    &format!("bind {}", places.address),
                ),
                (
                    "server gateway 127.0.0.1:8080 check port 9090",
                    &format!(
                        "server gateway {} check port {}",
                        places.public,
                        places.operator.port()
                    ),
                ),
            ],
        );
        std::fs::write(folder.join("haproxy.cfg"), text).unwrap();
        let mut command = tool("haproxy");
        command.args(["-db", "-f", "haproxy.cfg"]);
        command
    })
    .await;
    story(server, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy() {
    let (server, proxy) = in_front(|folder, places| {
        let site = changed(
            &read("deploy/caddy/Caddyfile"),
            &[
                ("login.example {", &format!("http://{} {{", places.address)),
                (
                    "reverse_proxy 127.0.0.1:8080 {",
                    &format!("reverse_proxy {} {{", places.public),
                ),
            ],
        );
        let text = format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}");
        std::fs::write(folder.join("Caddyfile"), text).unwrap();
        let mut command = tool("caddy");
        command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
        command
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder);
        command
    })
    .await;
    story(server, proxy).await;
}
