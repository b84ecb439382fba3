//! What the console does.

use serde_json::json;

use crate::common::program::{Program, program};
use crate::common::{TestServer, request, within};
use crate::shown::becomes;
use crate::{KEY, asked, done, operated, operator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_kicked_is_told_so_and_may_come_back() {
    let server = TestServer::start(operated).await;
    let person = server.user("alice").await;
    let (mut kicked, mut stays) = (person.connect().await, person.connect().await);
    kicked.ok("join", json!({"room": "chat:a"})).await;
    let name = kicked.hello["connection"].as_str().unwrap().to_owned();
    let answer = done(&server, &format!("connections/{name}/kick")).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"closed": 1})));
    let closed = kicked.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4505, "disconnected"));
    stays.ok("ping", json!({})).await;
    // It is written down when all of it has ended here, which may be after the client saw it.
    let log = becomes(&server, "closes", |log| log["total"] == 1).await;
    let last = &log["closes"][0];
    assert_eq!(
        [
            &last["connection"],
            &last["code"],
            &last["reason"],
            &last["by"],
            &last["user"]["id"]
        ],
        [
            &json!(name),
            &json!(4505),
            &json!("disconnected"),
            &json!("gateway"),
            &json!("alice")
        ]
    );
    // It is the connection that ended, not the session.
    let mut again = person.connect().await;
    again.ok("join", json!({"room": "chat:a"})).await;

    for gone in [name.as_str(), "c_ffffffffffffffff", "c_1", "nobody", "%20"] {
        let answer = done(&server, &format!("connections/{gone}/kick")).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("not_found")),
            "{gone}"
        );
    }

    let mut bob = server.signed_in("bob").await;
    assert_eq!(
        done(&server, "users/alice/kick").await.json(),
        json!({"closed": 2})
    );
    for client in [&mut stays, &mut again] {
        assert_eq!(client.end().await.code, 4505);
    }
    becomes(&server, "closes", |log| log["total"] == 3).await;
    bob.ok("ping", json!({})).await;
    for gone in ["alice", "nobody", "a%20b"] {
        assert_eq!(
            done(&server, &format!("users/{gone}/kick")).await.status,
            404,
            "{gone}"
        );
    }
    assert_eq!(person.request("GET", "/v1/me").send().await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_takes_the_word_and_is_what_a_signal_does() {
    let server = TestServer::start(|c| {
        operated(c);
        c.drain.grace_ms = 0;
        c.drain.spread_ms = 0;
    })
    .await;
    let mut alice = server.signed_in("alice").await;
    for body in [
        json!({}),
        json!({"confirm": ""}),
        json!({"confirm": "yes"}),
        json!({"confirm": "DRAIN"}),
    ] {
        let answer = operator(&server, "POST", "/admin/api/drain")
            .json(&body)
            .send()
            .await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("bad_request")),
            "{body}"
        );
    }
    assert_eq!(
        done(&server, "drain").await.status,
        400,
        "a body that says nothing"
    );
    assert_eq!(asked(&server, "overview").await["draining"], false);
    alice.ok("ping", json!({})).await;

    let word = json!({"confirm": "drain"});
    let answer = operator(&server, "POST", "/admin/api/drain")
        .json(&word)
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({"draining": true, "already": false}))
    );
    assert!(server.node.is_draining());
    assert_eq!(alice.push("reconnect").await["after_ms"], 0);
    assert_eq!(alice.end().await.code, 1012);
    // Nobody told it to end but the console.
    server.ended().await;
}

#[test]
fn the_process_ends_and_the_log_says_whose_doing_it_was() {
    let mut command = program(&["--listen", "127.0.0.1:0"]);
    command.env("COUNTERSIGN_OPERATOR_KEY", KEY);
    let running = Program::of(command).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (said, logged, code) = runtime.block_on(async {
        let operator = within("the operator's address", async {
            loop {
                let said = running.said();
                if let Some(line) = said.lines().find_map(|l| l.strip_prefix("operator on http://")) {
                    return line.trim().parse().unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        let post =
            |path: &str| request(operator, "POST", path).header("authorization", &format!("Bearer {KEY}"));
        let mut client = crate::common::Client::connect(running.addr).await;
        let name = client.hello["connection"].as_str().unwrap().to_owned();
        // Who has been greeted is among those that can be found.
        assert_eq!(
            post(&format!("/admin/api/connections/{name}/kick"))
                .send()
                .await
                .status,
            200
        );
        assert_eq!(client.end().await.code, 4505);
        let answer = post("/admin/api/drain")
            .json(&json!({"confirm": "drain"}))
            .send()
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let (said, logged, code) = running.ended();
        assert!(logged.contains(&name), "{logged}");
        (said, logged, code)
    });
    assert_eq!(code, Some(0), "{said} {logged}");
    for mark in ["disconnected", "drain", "draining", "stopped"] {
        assert!(logged.contains(mark), "{mark}: {logged}");
    }
    assert!(
        logged.lines().filter(|line| line.contains("audit")).count() >= 2,
        "{logged}"
    );
    assert!(!logged.contains(KEY));
}
