//! The gateway on an engine that answers late, and tells late, twice or not at all: what it promises its clients
//! holds all the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::qr::Pc;
use common::{Client, IllMannered, Person, TestServer, within};
use countersign::config::{Config, Profile};
use countersign_protocol::RoomName;
use serde_json::{Value, json};

const LOBBY: &str = "chat:lobby";

fn many(config: &mut Config) {
    config.limits_profile = Profile::Bench;
}

/// Waits for something about the server that takes asking.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Viewers and members of the lobby as the engine has them.
async fn present(server: &TestServer) -> (u64, u64) {
    let view = server
        .node
        .engine
        .view(RoomName::parse(LOBBY).unwrap(), server.node.clock.now())
        .await
        .unwrap();
    view.map_or((0, 0), |v| (v.counts.viewers, v.counts.members))
}

/// A member that reads along, and comes back after each of a few cuts.
struct Reader {
    position: Option<Value>,
    /// By offset.
    seen: BTreeMap<u64, Value>,
}

impl Reader {
    fn take(&mut self, message: &Value) {
        let offset = message["offset"].as_u64().unwrap();
        let newest = self.seen.keys().next_back().copied().unwrap_or(0);
        assert_eq!(offset, newest + 1, "after {newest} came {message}");
        self.seen.insert(offset, message["body"].clone());
    }

    async fn join(&mut self, client: &mut Client) {
        let mut fields = json!({"room": LOBBY});
        if let Some(position) = &self.position {
            fields["after"] = position.clone();
        }
        let joined = client.ok("join", fields).await;
        // The first time the newest are told, which are all there are: somebody may have begun to speak.
        assert!(self.position.is_none() || joined["recovered"] == true, "{joined}");
        let messages = joined["messages"].as_array().into_iter().flatten();
        messages.for_each(|message| self.take(message));
        self.position = Some(json!({"epoch": joined["epoch"], "offset": joined["offset"]}));
    }

    /// Reads until `n` messages are seen, or until one says `end`.
    async fn read(&mut self, client: &mut Client, mut n: usize) -> bool {
        while n > 0 {
            if self.seen.values().next_back().is_some_and(|body| body == "end") {
                return true;
            }
            let push = client.next_push().await;
            match push["type"].as_str() {
                Some("message") => self.take(&push),
                Some("gap") => panic!("everything could be had: {push}"),
                _ => continue,
            }
            n -= 1;
        }
        self.position.as_mut().unwrap()["offset"] = json!(self.seen.keys().next_back().unwrap_or(&0));
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_said_is_read_by_everybody_in_order() {
    const SPEAKERS: usize = 3;
    // All of it together is no more than one recovery holds.
    const EACH: usize = 30;
    let (server, line) = TestServer::ill_mannered(many).await;
    let server = Arc::new(server);
    let readers: Vec<_> = (0..6)
        .map(|n| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut reader = Reader {
                    position: None,
                    seen: BTreeMap::new(),
                };
                let mut client = server.anonymous().await;
                reader.join(&mut client).await;
                // Some come back now and then, some stay.
                while !reader
                    .read(&mut client, if n % 2 == 0 { 17 } else { usize::MAX })
                    .await
                {
                    client = server.anonymous().await;
                    reader.join(&mut client).await;
                }
                reader
            })
        })
        .collect();
    until("the readers are here", || async { present(&server).await.0 == 6 }).await;
    let speakers: Vec<_> = (0..SPEAKERS)
        .map(|n| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut client = server.signed_in(&format!("speaker{n}")).await;
                client.ok("join", json!({"room": LOBBY})).await;
                let mut sent = Vec::new();
                for i in 0..EACH {
                    let body = json!(format!("{n}-{i}"));
                    let fields = json!({"room": LOBBY, "body": body, "cid": format!("{i}")});
                    sent.push((client.send("send", fields).await, body));
                }
                client.ok("leave", json!({"room": LOBBY})).await;
                let mut told = Vec::new();
                for (id, body) in sent {
                    told.push((client.reply(id).await["offset"].as_u64().unwrap(), body));
                }
                told
            })
        })
        .collect();
    let mut said = BTreeMap::new();
    for speaker in speakers {
        said.extend(within("a speaker", speaker).await.unwrap());
    }
    assert_eq!(said.len(), SPEAKERS * EACH);
    let mut last = server.signed_in("last").await;
    last.ok("join", json!({"room": LOBBY})).await;
    last.send("send", json!({"room": LOBBY, "body": "end"})).await;
    for reader in readers {
        let mut reader = within("a reader", reader).await.unwrap();
        let end = reader.seen.pop_last().unwrap();
        assert_eq!(end.0, said.len() as u64 + 1);
        assert!(reader.seen.iter().eq(said.iter()), "{:?}", reader.seen);
    }
    until("the readers are gone", || async {
        present(&server).await == (1, 1)
    })
    .await;
    within("the last one is told", async {
        loop {
            let counts = last.push("counts").await;
            if (&counts["viewers"], &counts["members"]) == (&json!(1), &json!(1)) {
                return;
            }
        }
    })
    .await;
    last.cut();
    nothing_is_followed(&server, &line).await;
    println!("{:?}", line.tally());
}

/// When the last connection is gone nothing is counted, watched or followed.
async fn nothing_is_followed(server: &TestServer, line: &IllMannered) {
    until("nobody is counted", || async { present(server).await == (0, 0) }).await;
    until("nothing is followed", || async { line.followed().is_empty() }).await;
    assert_eq!(
        (server.node.hub.room_count(), server.node.hub.watch_count()),
        (0, 0)
    );
}

/// Leaving and vanishing at once: the command is dropped on its way, the departure is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_leaves_and_vanishes_is_not_counted() {
    let (server, line) = TestServer::ill_mannered(many).await;
    let mut tasks = Vec::new();
    let server = Arc::new(server);
    let person = Arc::new(server.user("alice").await);
    for n in 0..40 {
        let (server, person): (_, Arc<Person>) = (Arc::clone(&server), Arc::clone(&person));
        tasks.push(tokio::spawn(async move {
            let mut client = if n % 2 == 0 {
                server.anonymous().await
            } else {
                person.connect().await
            };
            match n % 4 {
                0 | 1 => {
                    client.ok("join", json!({"room": LOBBY})).await;
                    client.send("leave", json!({"room": LOBBY})).await;
                }
                _ => drop(client.send("join", json!({"room": LOBBY})).await),
            }
            client.cut();
        }));
    }
    for task in tasks {
        within("a visitor", task).await.unwrap();
    }
    until("their sockets are gone", || async { server.node.sockets() == 0 }).await;
    nothing_is_followed(&server, &line).await;
}

/// A socket that goes on to another QR login, its own new one or one that was opened elsewhere, and vanishes on the way:
/// it watches neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_turns_to_another_code_and_vanishes_watches_none() {
    let (server, line) = TestServer::ill_mannered(many).await;
    let server = Arc::new(server);
    let mut tasks = Vec::new();
    for n in 0..40 {
        let server = Arc::clone(&server);
        tasks.push(tokio::spawn(async move {
            let mut pc = Pc::open(&server).await;
            if n % 2 == 0 {
                let open = json!({"device": {"id": pc.device, "kind": "web"}});
                pc.client.send("qr.open", open).await;
            } else {
                let other = Pc::open(&server).await;
                let watch = other.watch(None);
                other.client.cut();
                pc.client.send("qr.watch", watch).await;
            }
            // Each is cut off at another step of the command.
            tokio::time::sleep(Duration::from_micros(300 * n)).await;
            pc.client.cut();
        }));
    }
    for task in tasks {
        within("a PC", task).await.unwrap();
    }
    until("their sockets are gone", || async { server.node.sockets() == 0 }).await;
    nothing_is_followed(&server, &line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revoked_session_is_closed_though_nobody_was_told() {
    let (server, line) = TestServer::ill_mannered(many).await;
    for n in 0..20 {
        let person = server.user(&format!("user{n}")).await;
        let mut clients = [person.connect().await, person.connect().await];
        let out = person.request("POST", "/v1/logout").send().await;
        assert!(out.status < 300, "{}", out.text());
        for client in &mut clients {
            assert_eq!(client.end().await.code, 4503);
            let told = client
                .pushes
                .iter()
                .any(|p| p["type"] == "session" && p["state"] == "revoked");
            assert!(told, "{:?}", client.pushes);
        }
    }
    nothing_is_followed(&server, &line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_qr_login_is_told_step_by_step() {
    let (server, line) = TestServer::ill_mannered(|config| {
        many(config);
        config.qr.match_mode = countersign_protocol::server::MatchMode::None;
    })
    .await;
    let phone = server.user("alice").await;
    for round in 0..20 {
        let mut pc = server.anonymous().await;
        let device = json!({"id": format!("pc{round}"), "name": "PC", "kind": "pc"});
        let opened = pc.ok("qr.open", json!({"device": device})).await;
        let qr_id = opened["qr_id"].as_str().unwrap().to_owned();
        let scanned = phone
            .request("POST", &format!("/v1/qr/{qr_id}/scan"))
            .send()
            .await
            .json();
        if round % 3 == 0 {
            // The socket is lost, and the watch taken up by another.
            pc.cut();
            pc = server.anonymous().await;
            let watch =
                json!({"qr_id": qr_id, "claim": opened["claim"], "device": device["id"], "after_seq": 1});
            pc.ok("qr.watch", watch).await;
        }
        assert_eq!(pc.push("qr").await["state"], "scanned");
        let body = json!({"scan_token": scanned["scan_token"]});
        let confirmed = phone
            .request("POST", &format!("/v1/qr/{qr_id}/confirm"))
            .json(&body)
            .send()
            .await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());
        let push = pc.push("qr").await;
        assert_eq!((&push["state"], &push["seq"]), (&json!("confirmed"), &json!(3)));
        let redeem = json!({"qr_id": qr_id, "claim": opened["claim"], "ticket": push["ticket"]});
        let redeemed = pc.ok("qr.redeem", redeem).await;
        assert_eq!(redeemed["user"]["id"], "alice");
    }
    nothing_is_followed(&server, &line).await;
}
