//! Who may look, and from where.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Answer, TestServer, request, within};
use crate::{KEY, operated, operator};

const ROUTES: [(&str, &str); 7] = [
    ("GET", "/admin/api/overview"),
    ("GET", "/admin/api/connections"),
    ("GET", "/admin/api/rooms"),
    ("GET", "/admin/api/closes"),
    ("POST", "/admin/api/connections/c_0000000000000000/kick"),
    ("POST", "/admin/api/users/alice/kick"),
    ("POST", "/admin/api/drain"),
];

/// A request with exactly these headers.
async fn raw(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let lines: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{lines}content-length: 0\r\n\r\n");
    within("an answer", async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Answer::parse(&answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asks_for_the_key_the_host_and_no_foreign_page() {
    let server = TestServer::start(|c| {
        operated(c);
        c.operator_hosts = vec!["ops.example:9090".into()];
    })
    .await;
    let (local, bearer) = (server.operator.to_string(), format!("Bearer {KEY}"));
    let (ours, wrong) = (format!("http://{local}"), format!("{bearer}x"));
    let (local, bearer, ours, wrong) = (local.as_str(), bearer.as_str(), ours.as_str(), wrong.as_str());
    for (method, path) in ROUTES {
        for (headers, status, code) in [
            (vec![("host", local)], 401, "unauthenticated"),
            (vec![("host", local), ("cookie", KEY)], 401, "unauthenticated"),
            (
                vec![("host", local), ("authorization", wrong)],
                401,
                "invalid_token",
            ),
            (
                vec![("host", local), ("authorization", "Bearer ")],
                401,
                "invalid_token",
            ),
            (
                vec![("host", "evil.example"), ("authorization", bearer)],
                403,
                "not_allowed",
            ),
            (
                vec![("host", "localhost.evil.example"), ("authorization", bearer)],
                403,
                "not_allowed",
            ),
            (
                vec![("host", "ops.example"), ("authorization", bearer)],
                403,
                "not_allowed",
            ),
            (
                vec![
                    ("host", local),
                    ("authorization", bearer),
                    ("origin", "http://evil.example"),
                ],
                403,
                "origin_rejected",
            ),
            (
                vec![("host", local), ("authorization", bearer), ("origin", "null")],
                403,
                "origin_rejected",
            ),
            (
                // The right page in a browser that was led here by another name.
                vec![
                    ("host", "ops.example:9090"),
                    ("authorization", bearer),
                    ("origin", ours),
                ],
                403,
                "origin_rejected",
            ),
            (
                vec![
                    ("host", local),
                    ("authorization", bearer),
                    ("origin", ours),
                    ("origin", "http://evil.example"),
                ],
                403,
                "origin_rejected",
            ),
        ] {
            let answer = raw(server.operator, method, path, &headers).await;
            let problem = answer.json();
            assert_eq!(
                (answer.status, problem["code"].as_str().unwrap()),
                (status, code),
                "{method} {path} {headers:?}"
            );
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        for headers in [
            vec![("host", local), ("authorization", bearer)],
            vec![("host", local), ("authorization", bearer), ("origin", ours)],
            vec![
                ("host", "ops.example:9090"),
                ("authorization", bearer),
                ("origin", "https://ops.example:9090"),
            ],
        ] {
            let answer = raw(server.operator, method, path, &headers).await;
            // Who is let in is told what is missing; nothing was drained by that.
            let expected = match path {
                "/admin/api/drain" => 400,
                path if path.ends_with("/kick") => 404,
                _ => 200,
            };
            assert_eq!(
                answer.status,
                expected,
                "{method} {path} {headers:?} {}",
                answer.text()
            );
        }
        let other = if method == "GET" { "POST" } else { "GET" };
        let answer = raw(
            server.operator,
            other,
            path,
            &[("host", local), ("authorization", bearer)],
        )
        .await;
        assert_eq!(answer.status, 405, "{other} {path}");
    }
    assert!(!server.node.is_draining());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nobody_is_shown_anything() {
    let server = TestServer::start(|_| {}).await;
    for (method, path) in ROUTES {
        let answer = operator(&server, method, path).send().await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.text().contains("operator_key"), "{}", answer.text());
    }
    server.stop().await;
}

/// The page has nothing in it; it is for whoever calls the port by its own name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_to_itself() {
    let server = TestServer::start(operated).await;
    let local = server.operator.to_string();
    for path in [
        "/admin",
        "/admin/assets/console/console.js",
        "/admin/assets/strings.js",
    ] {
        let answer = raw(server.operator, "GET", path, &[("host", &local)]).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("set-cookie"), None);
        let rebound = raw(server.operator, "GET", path, &[("host", "evil.example")]).await;
        assert_eq!(rebound.status, 403, "{path}");
    }
    let page = request(server.operator, "GET", "/admin").send().await.text();
    assert!(
        !page.contains("style=") && !page.contains("onclick"),
        "no inline code"
    );
    for line in page.lines().filter(|line| line.contains("<script")) {
        assert!(line.contains("src=") && line.ends_with("></script>"), "{line}");
    }
    let gone = request(server.operator, "GET", "/admin/assets/console/../../Cargo.toml")
        .send()
        .await;
    assert_eq!(gone.status, 404);
    server.stop().await;
}

/// A browser loads a page over several sockets at once: it is not to keep them, for the port has few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_keeps_no_socket_of_the_port() {
    let server = TestServer::start(|c| {
        operated(c);
        c.limits.keep_alive_ms = 600_000;
    })
    .await;
    for path in ["/admin", "/admin/assets/style.css"] {
        let answer = within("the end of the connection", async {
            let mut stream = TcpStream::connect(server.operator).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", server.operator);
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            Answer::parse(&answer)
        })
        .await;
        assert_eq!(answer.status, 200, "{path}");
    }
    server.stop().await;
}

/// Threat 50: nothing of the operator's is on the public port, with the key or without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_port_has_nothing_of_the_operators() {
    let server = TestServer::start(operated).await;
    let mut paths: Vec<String> = ROUTES.iter().map(|(_, path)| (*path).to_owned()).collect();
    for path in [
        "/admin",
        "/admin/",
        "/Admin",
        "/admin/index.html",
        "/%61dmin",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/admin;x",
        "/admin/assets/console/console.js",
        "/assets/console/console.js",
        "/assets/console/index.html",
        "/assets/console/strings/en.js",
        "/assets/../admin",
        "/metrics",
        "/healthz",
        "/readyz",
        "/users/alice/lock",
        "/users/alice/unlock",
        "/v1/admin",
        "/v1/admin/api/overview",
        "/console",
    ] {
        paths.push(path.to_owned());
    }
    for path in paths {
        for method in ["GET", "POST", "OPTIONS", "HEAD"] {
            for key in [None, Some(KEY)] {
                let mut asked = request(server.addr, method, &path).json(&json!({"confirm": "drain"}));
                if let Some(key) = key {
                    asked = asked.header("authorization", &format!("Bearer {key}"));
                }
                let answer = asked.send().await;
                assert!(
                    matches!(answer.status, 400 | 404)
                        || (answer.status == 405 && method != "GET" && method != "HEAD"),
                    "{method} {path}: {} {}",
                    answer.status,
                    answer.text()
                );
            }
        }
    }
    assert!(!server.node.is_draining());
    server.stop().await;
}
