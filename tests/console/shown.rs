//! What the console is told.

use std::collections::BTreeSet;

use countersign::node::console::{CLOSES_KEPT, PAGE_MAX};
use serde_json::{Value, json};

use crate::common::qr::{Pc, to_ticket};
use crate::common::{Client, TestServer, request, until};
use crate::{asked, operated, operator};

fn names(page: &Value, list: &str, field: &str) -> Vec<String> {
    let entries = page[list].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry[field].as_str().unwrap().to_owned())
        .collect()
}

/// Asks until something holds of the answer.
pub(crate) async fn becomes(server: &TestServer, path: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
    crate::common::within(path, async {
        loop {
            let answer = asked(server, path).await;
            if holds(&answer) {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_counts_everybody_by_what_they_are_for() {
    let server = TestServer::start(operated).await;
    let before = asked(&server, "overview").await;
    assert_eq!(before["connections"]["now"], 0);
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    let mut alice = server.signed_in("alice").await;
    alice.ok("join", json!({"room": "chat:a"})).await;
    let mut viewer = server.anonymous().await;
    viewer.ok("join", json!({"room": "chat:a"})).await;
    viewer.ok("join", json!({"room": "chat:b"})).await;
    let pc = Pc::open(&server).await;
    let fresh = server.anonymous().await;
    let opened = request(server.addr, "POST", "/v1/qr")
        .json(&json!({"device": {"id": "pc-2", "kind": "pc"}}))
        .send()
        .await
        .json();
    let stream = request(
        server.addr,
        "GET",
        &format!("/v1/qr/{}/events", opened["qr_id"].as_str().unwrap()),
    )
    .header(
        "authorization",
        &format!("Claim {}", opened["claim"].as_str().unwrap()),
    )
    .header("countersign-device", "pc-2")
    .begin()
    .await;
    let all = becomes(&server, "overview", |o| o["connections"]["event_streams"] == 1).await;
    let connections = &all["connections"];
    let counted = [
        "now",
        "signed_in",
        "viewers",
        "watching",
        "fresh",
        "event_streams",
        "opened_total",
        "closed_total",
    ]
    .map(|name| connections[name].as_u64().unwrap());
    assert_eq!(counted, [5, 1, 1, 1, 1, 1, 5, 0]);
    assert_eq!(
        (&all["rooms"], &all["users"], &all["draining"]),
        (&json!(2), &json!(1), &json!(false))
    );
    assert_eq!(
        (&all["qr"]["waiting"], &all["qr"]["opened_total"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        all["qr_kept"]["now"],
        if crate::common::engine_is_exact() { 2 } else { 0 }
    );
    let process = &all["process"];
    for name in ["memory_bytes", "descriptors", "descriptors_max"] {
        assert!(process[name].as_u64().unwrap() > 0, "{process}");
    }
    assert!(all["uptime_ms"].as_u64() >= before["uptime_ms"].as_u64());
    assert!(all["sockets"]["now"].as_u64().unwrap() >= 5 && all["sockets"]["max"].as_u64().unwrap() > 100);

    drop(stream);
    for mut client in [alice, viewer, fresh, pc.client] {
        client.close(1000, "").await;
        client.end().await;
    }
    let after = becomes(&server, "overview", |o| o["connections"]["now"] == 0).await;
    assert_eq!(after["connections"]["closed_total"], 5);
    assert_eq!((&after["rooms"], &after["users"]), (&json!(0), &json!(0)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_funnel_counts_each_step_and_its_push() {
    let server = TestServer::start(operated).await;
    let phone = server.user("alice").await;
    let mut done = Pc::open_as(&server, "pc-1").await;
    let ticket = to_ticket(&mut done, &phone).await;
    done.redeem(&ticket).await;
    let mut cancelled = Pc::open_as(&server, "pc-2").await;
    let claim = cancelled.claim();
    cancelled.client.ok("qr.cancel", claim).await;
    let funnel = asked(&server, "overview").await["qr"].clone();
    let counted = [
        "opened_total",
        "scanned_total",
        "confirmed_total",
        "redeemed_total",
        "cancelled_total",
        "denied_total",
    ]
    .map(|name| funnel[name].as_u64().unwrap());
    assert_eq!(counted, [2, 1, 1, 1, 1, 0]);
    let push = &funnel["push"];
    let counts = push["counts"].as_array().unwrap();
    assert_eq!(counts.len(), push["bounds_ms"].as_array().unwrap().len() + 1);
    assert!(
        counts.iter().map(|n| n.as_u64().unwrap()).sum::<u64>() >= 2,
        "scanned and confirmed were pushed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_connections_is_bounded_sorted_and_goes_on() {
    let server = TestServer::start(operated).await;
    let mut clients = Vec::new();
    for user in ["alice", "bob", "alice"] {
        clients.push(server.signed_in(user).await);
    }
    for _ in 0..4 {
        clients.push(server.anonymous().await);
    }
    clients[1].ok("join", json!({"room": "chat:a"})).await;
    let ids: Vec<String> = clients
        .iter()
        .map(|c| c.hello["connection"].as_str().unwrap().to_owned())
        .collect();
    let newest: Vec<String> = ids.iter().rev().cloned().collect();

    // The counts of the join may be on their way out.
    let written = |page: &Value| {
        let mut all = page["connections"].as_array().unwrap().iter();
        page["total"] == 7 && all.all(|one| one["outbox_bytes"] == 0)
    };
    let all = becomes(&server, "connections", written).await;
    assert_eq!((&all["total"], all.get("next")), (&json!(7), None));
    assert_eq!(names(&all, "connections", "id"), newest);
    let bob = &all["connections"][5];
    assert_eq!(bob["user"], json!({"id": "bob", "name": "bob of test"}));
    assert_eq!(bob["device"], json!({"name": "test device", "kind": "ios"}));
    assert_eq!(
        [
            &bob["transport"],
            &bob["address"],
            &bob["rooms"],
            &bob["watching"],
            &bob["outbox_bytes"]
        ],
        [
            &json!("websocket"),
            &json!("127.0.0.1"),
            &json!(1),
            &json!(false),
            &json!(0)
        ]
    );
    assert!(bob["sent_bytes"].as_u64().unwrap() > 100);
    let now = asked(&server, "overview").await["now_ms"].as_u64().unwrap();
    assert!((now - 120_000..=now).contains(&bob["opened_at_ms"].as_u64().unwrap()));
    assert_eq!(all["connections"][0].get("user"), None);

    // In pages, each way.
    for (sort, expected) in [("newest", &newest), ("oldest", &ids)] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = asked(&server, &format!("connections?sort={sort}&limit=3{after}")).await;
            seen.extend(names(&page, "connections", "id"));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(&seen, expected, "{sort}");
    }
    let theirs = asked(&server, "connections?user=alice&sort=oldest").await;
    assert_eq!(theirs["total"], 2);
    assert_eq!(
        names(&theirs, "connections", "id"),
        [ids[0].clone(), ids[2].clone()]
    );
    assert_eq!(asked(&server, "connections?user=nobody").await["total"], 0);

    for bad in [
        "connections?limit=0",
        &format!("connections?limit={}", PAGE_MAX + 1),
        "connections?limit=x",
        "connections?limit=-1",
        "connections?sort=name",
        "connections?user=a%20b",
        "connections?after=c_1",
        "connections?sort=outbox&after=c_0000000000000001",
        "connections?colour=red",
        "rooms?limit=201",
        "rooms?limit=0",
        "rooms?sort=x",
        "closes?limit=201",
        "closes?x=1",
    ] {
        let answer = operator(&server, "GET", &format!("/admin/api/{bad}"))
            .send()
            .await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("bad_request")),
            "{bad}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_comes_first() {
    let server = TestServer::start(|c| {
        operated(c);
        // It may take as long as it likes.
        c.limits.write_ms = 600_000;
        c.limits.send_buffer_bytes = 16 * 1024;
    })
    .await;
    let mut narrow = Client::connect_narrow(server.addr).await;
    narrow.ok("join", json!({"room": "chat:busy"})).await;
    let mut reader = server.anonymous().await;
    reader.ok("join", json!({"room": "chat:busy"})).await;
    let mut alice = server.signed_in("alice").await;
    alice.ok("join", json!({"room": "chat:busy"})).await;
    let slow = narrow.hello["connection"].as_str().unwrap();
    let body = "x".repeat(16_000);
    let mut found = Value::Null;
    for _ in 0..200 {
        alice
            .ok("send", json!({"room": "chat:busy", "body": {"text": body}}))
            .await;
        reader.push("message").await;
        alice.push("message").await;
        found = asked(&server, "connections?sort=outbox&limit=1").await["connections"][0].clone();
        if found["outbox_bytes"].as_u64() > Some(100_000) {
            break;
        }
    }
    assert_eq!(found["id"], slow, "{found}");
    for _ in 0..40 {
        alice
            .ok("send", json!({"room": "chat:busy", "body": {"text": body}}))
            .await;
        reader.push("message").await;
        alice.push("message").await;
    }
    let full = asked(&server, "connections?sort=outbox&limit=2").await;
    assert_eq!(full["connections"][0]["id"], slow);
    assert!(full["connections"][0]["dropped"].as_u64() > Some(0), "{full}");
    assert_eq!(full["connections"][1]["dropped"], 0);
    let all = asked(&server, "overview").await;
    assert!(all["outbox"]["bytes"].as_u64() > Some(100_000), "{all}");
    assert_eq!(
        all["outbox"]["bytes_each_max"],
        server.node.limits().outbox_bytes_max
    );
    let traffic = &all["traffic"];
    assert!(traffic["dropped_total"].as_u64() > Some(0), "{traffic}");
    let messages = traffic["messages_total"].as_u64().unwrap();
    assert!(
        messages > 40 && traffic["deliveries_total"].as_u64() > Some(2 * messages),
        "{traffic}"
    );
    assert!(
        traffic["bytes_out_total"].as_u64() > traffic["bytes_in_total"].as_u64(),
        "{traffic}"
    );
    assert!(
        traffic["bytes_in_total"].as_u64() > Some(16_000 * 40),
        "{traffic}"
    );
    let counts = traffic["flush"]["counts"].as_array().unwrap();
    assert!(counts.iter().any(|n| n.as_u64() > Some(0)), "{traffic}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_come_by_how_many_are_in_them() {
    let server = TestServer::start(operated).await;
    let mut alice = server.signed_in("alice").await;
    let mut others = [server.anonymous().await, server.anonymous().await];
    for room in ["chat:one", "chat:three", "chat:two"] {
        alice.ok("join", json!({"room": room})).await;
    }
    for client in &mut others {
        client.ok("join", json!({"room": "chat:three"})).await;
    }
    others[0].ok("join", json!({"room": "chat:two"})).await;
    for text in ["secret words", "more"] {
        alice
            .ok("send", json!({"room": "chat:two", "body": {"text": text}}))
            .await;
    }
    // What an engine publishes may come later than it answers.
    let page = becomes(&server, "rooms?limit=2", |page| {
        page["rooms"][1]["messages"].as_u64() == Some(2)
    })
    .await;
    assert_eq!(page["total"], 3);
    assert_eq!(names(&page, "rooms", "room"), ["chat:three", "chat:two"]);
    let two = &page["rooms"][1];
    assert_eq!(
        ["connections", "viewers", "members"].map(|name| two[name].as_u64().unwrap()),
        [2, 2, 1]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_ends_are_told_with_code_and_whose() {
    let server = TestServer::start(operated).await;
    let mut alice = server.signed_in("alice").await;
    alice.close(1001, "away").await;
    alice.end().await;
    let mut bad = server.anonymous().await;
    bad.send_text("not json").await;
    assert_eq!(bad.end().await.code, 4501);
    server.anonymous().await.cut();
    until("three ends", || server.node.hub.connection_count() == 0).await;
    let page = becomes(&server, "closes", |page| page["total"] == 3).await;
    assert_eq!(page["kept"], CLOSES_KEPT);
    let told: BTreeSet<_> = page["closes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let user = c["user"]["id"].as_str().unwrap_or("-");
            format!(
                "{} {} {} {user} {}",
                c["by"], c["code"], c["reason"], c["address"]
            )
        })
        .collect();
    let expected = [
        r#""client" 1001 "closed" alice "127.0.0.1""#,
        r#""gateway" 4501 "bad_frame" - "127.0.0.1""#,
        r#""network" null "lost" - "127.0.0.1""#,
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
    assert_eq!(
        asked(&server, "closes?limit=1").await["closes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    server.stop().await;
}

/// Whatever happened before, no answer has a secret or a word of a message in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_has_a_secret() {
    let server = TestServer::start(operated).await;
    let phone = server.user("alice").await;
    let mut talking = phone.connect().await;
    talking.ok("join", json!({"room": "chat:a"})).await;
    talking
        .ok(
            "send",
            json!({"room": "chat:a", "body": {"text": "words-of-a-message"}}),
        )
        .await;
    let mut pc = Pc::open_as(&server, "pc-device-id").await;
    let waiting = Pc::open_as(&server, "pc-other-id").await;
    let ticket = to_ticket(&mut pc, &phone).await;
    let redeemed = pc.redeem(&ticket).await;
    let mut secrets = vec![
        crate::KEY.to_owned(),
        "words-of-a-message".to_owned(),
        phone.tokens.access_token.clone(),
        phone.tokens.refresh_token.clone(),
        phone.device.clone(),
        phone.tokens.session.clone(),
        pc.claim.clone(),
        ticket,
        waiting.qr_id.clone(),
        waiting.claim.clone(),
        "pc-device-id".to_owned(),
    ];
    for name in ["access_token", "refresh_token", "session"] {
        secrets.push(redeemed[name].as_str().unwrap().to_owned());
    }
    let mut told = String::new();
    for path in ["overview", "connections", "rooms", "closes"] {
        told.push_str(&asked(&server, path).await.to_string());
    }
    talking.close(1000, "").await;
    talking.end().await;
    told.push_str(
        &becomes(&server, "closes", |page| page["total"] == 1)
            .await
            .to_string(),
    );
    assert!(told.contains("alice") && told.contains("chat:a"), "{told}");
    for secret in secrets {
        assert!(!told.contains(&secret), "{secret}");
    }
    server.stop().await;
}
