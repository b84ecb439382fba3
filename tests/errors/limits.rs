//! Limits: whoever exceeds one is told when to come back, and nobody else notices.

use std::net::SocketAddr;
use std::time::Duration;

use countersign::app::App;
use countersign::config::limits::RateLimit;
use countersign::config::{Config, Profile};
use countersign_protocol::{CloseCode, ErrorCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use super::stage::{ROOM, Stage, assert_error, assert_problem};
use super::{Case, Covers, story};
use crate::common::{Answer, Client, request, until};

pub(crate) fn table() -> Vec<Case> {
    let limited = Covers::Error(ErrorCode::RateLimited);
    let unavailable = Covers::Error(ErrorCode::Unavailable);
    let limit_reached = Covers::Error(ErrorCode::LimitReached);
    vec![
        story(limited, "messages of a connection", || Box::pin(messages())),
        story(limited, "likes of a connection", || Box::pin(likes())),
        story(limited, "joins of a connection", || Box::pin(joins())),
        story(limited, "commands of a connection", || Box::pin(commands())),
        story(limited, "questions of a polling PC", || Box::pin(polls())),
        story(limited, "messages of a room", || Box::pin(room_messages())),
        story(limited, "cids of a room", || Box::pin(cids())),
        story(limited, "connections of an address", || Box::pin(address())),
        story(unavailable, "connections of the node", || {
            Box::pin(node_connections())
        }),
        story(unavailable, "new connections at once", || {
            Box::pin(new_connections())
        }),
        story(unavailable, "rooms of the node", || Box::pin(rooms())),
        story(unavailable, "accounts of the node", || Box::pin(accounts())),
        story(limit_reached, "rooms of a connection", || {
            Box::pin(subscriptions())
        }),
        story(
            Covers::Close(CloseCode::ConnectionLimit),
            "connections of a user",
            || Box::pin(user_connections()),
        ),
        story(limit_reached, "the bench profile switches nothing off", || {
            Box::pin(bench())
        }),
    ]
}

/// A rate that does not come back within a test.
pub(crate) fn rare(burst: u32) -> RateLimit {
    RateLimit {
        count: 1,
        period_ms: 600_000,
        burst,
    }
}

/// An error with a time that is within the period.
pub(crate) fn assert_limited(reply: &Value) {
    assert_error(reply, &reply["id"], ErrorCode::RateLimited, true);
    assert!(reply["after_ms"].as_u64().unwrap() <= 600_000, "{reply}");
}

fn problem(refused: Result<Client, Error>) -> Answer {
    let Err(Error::Http(answer)) = refused else {
        panic!("it was let in")
    };
    let headers = answer
        .headers()
        .iter()
        .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()))
        .collect();
    Answer {
        status: answer.status().as_u16(),
        headers,
        body: answer.body().clone().unwrap_or_default(),
    }
}

async fn messages() {
    let mut stage = Stage::set(|c| {
        c.limits.message_rate = RateLimit {
            count: 1,
            period_ms: 1_000,
            burst: 3,
        }
    })
    .await;
    let mut refused = Value::Null;
    for n in 0.. {
        let reply = stage
            .actor
            .call("send", json!({"room": ROOM, "body": n, "cid": format!("c{n}")}))
            .await;
        if reply["type"] == "error" {
            refused = reply;
            break;
        }
    }
    assert_limited(&refused);
    assert!(refused["after_ms"].as_u64().unwrap() <= 1_000);
    // A message only: all else goes on. And when it said, the same can succeed.
    stage.actor.ok("like", json!({"room": ROOM, "n": 1})).await;
    stage.everybody_is_as_before().await;
    tokio::time::sleep(Duration::from_millis(refused["after_ms"].as_u64().unwrap())).await;
    stage.actor_speaks().await;
    stage.strike().await;
}

async fn likes() {
    let mut stage = Stage::set(|c| c.limits.like_rate = rare(2)).await;
    for value in [7, 14] {
        assert_eq!(
            stage.actor.ok("like", json!({"room": ROOM, "n": 7})).await["value"],
            value
        );
    }
    for _ in 0..3 {
        assert_limited(&stage.actor.refused("like", json!({"room": ROOM, "n": 7})).await);
    }
    assert_eq!(
        stage.nobody.ok("like", json!({"room": ROOM, "n": 1})).await["value"],
        15,
        "no refused one counted"
    );
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn polls() {
    let mut stage = Stage::set(|c| c.limits.qr_poll_rate = rare(2)).await;
    let addr = stage.server.addr;
    let open = || {
        request(addr, "POST", "/v1/qr")
            .json(&json!({"device": {"id": "pc"}}))
            .send()
    };
    let poll = |opened: &Value| {
        let text = |name: &str| opened[name].as_str().unwrap().to_owned();
        request(addr, "GET", &format!("/v1/qr/{}", text("qr_id")))
            .header("authorization", &format!("Claim {}", text("claim")))
            .header("countersign-device", "pc")
            .send()
    };
    let (first, second) = (open().await.json(), open().await.json());
    for _ in 0..2 {
        assert_eq!(poll(&first).await.status, 200);
    }
    for _ in 0..3 {
        let refused = poll(&first).await;
        assert_problem(&refused, 429, ErrorCode::RateLimited);
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(poll(&second).await.status, 200, "each has its own");
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn joins() {
    let mut stage = Stage::set(|c| c.limits.join_rate = rare(2)).await;
    stage.actor.ok("join", json!({"room": "chat:second"})).await;
    assert_limited(&stage.actor.refused("join", json!({"room": "chat:third"})).await);
    assert_eq!(
        stage
            .actor
            .refused("history", json!({"room": "chat:third"}))
            .await["code"],
        "not_joined"
    );
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// Commands over the rate are refused one by one; whoever goes on all the same is closed.
async fn commands() {
    let mut stage = Stage::set(|c| {
        c.limits.command_rate = RateLimit {
            count: 1,
            period_ms: 600_000,
            burst: 40,
        };
        c.limits.command_refusals_max = 5;
    })
    .await;
    let mut loud = stage.server.anonymous().await;
    loud.ok("join", json!({"room": ROOM})).await;
    for _ in 0..39 {
        loud.ok("ping", json!({})).await;
    }
    for _ in 0..4 {
        assert_limited(&loud.refused("ping", json!({})).await);
    }
    // Still a member, and told so by what it hears.
    stage.actor_speaks().await;
    loud.push_where("message", |m| m["body"] == "still me").await;
    loud.send_text("[]").await;
    let closed = loud.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4029, "rate_limited"));
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// Half of a room's rate is kept for `high`.
async fn room_messages() {
    let mut stage = Stage::set(|c| c.limits.room_rate = rare(8)).await;
    let mut other = stage.server.signed_in("carol").await;
    other.ok("join", json!({"room": "chat:busy"})).await;
    stage.actor.ok("join", json!({"room": "chat:busy"})).await;
    let send = |priority: &str| json!({"room": "chat:busy", "body": 1, "priority": priority});
    for n in 1..=4 {
        let client = if n % 2 == 0 { &mut other } else { &mut stage.actor };
        assert_eq!(client.ok("send", send("normal")).await["offset"], n);
    }
    for client in [&mut other, &mut stage.actor] {
        for priority in ["normal", "low"] {
            assert_limited(&client.refused("send", send(priority)).await);
        }
    }
    for n in 5..=8 {
        assert_eq!(other.ok("send", send("high")).await["offset"], n);
    }
    assert_limited(&other.refused("send", send("high")).await);
    let history = other.ok("history", json!({"room": "chat:busy"})).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 8);
    // Another room has its own.
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn cids() {
    let mut stage = Stage::set(|c| {
        Stage::unhurried(c);
        c.rooms.cid_entries = 2;
    })
    .await;
    let send = |cid: &str| json!({"room": ROOM, "body": 1, "cid": cid});
    for cid in ["a", "b"] {
        stage.actor.ok("send", send(cid)).await;
    }
    let refused = stage.actor.refused("send", send("c")).await;
    assert_limited(&refused);
    assert_eq!(
        stage.actor.ok("send", send("a")).await["duplicate"],
        true,
        "the window is not shortened"
    );
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// Sockets are full: one more is told, and has a place when one has gone.
async fn refused_at_the_door(mut stage: Stage, status: u16, code: ErrorCode) {
    let node = std::sync::Arc::clone(&stage.server.node);
    until("the requests of the stage are gone", || node.sockets() == 3).await;
    let last = stage.server.anonymous().await;
    let refused = problem(Client::connect_with(stage.server.addr, &[]).await);
    assert_problem(&refused, status, code);
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(refused.json()["after_ms"].as_u64() > Some(0));
    assert_problem(
        &request(stage.server.addr, "GET", "/v1/me").send().await,
        status,
        code,
    );
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    let answer = request(stage.server.operator, "GET", "/healthz").send().await;
    assert_eq!(answer.status, 200, "the operator has a door of its own");
    last.cut();
    until("a place is free", || node.sockets() == 3).await;
    stage.server.anonymous().await.ok("ping", json!({})).await;
    stage.strike().await;
}

async fn address() {
    let stage = Stage::set(|c| c.limits.connections_per_address_max = 4).await;
    refused_at_the_door(stage, 429, ErrorCode::RateLimited).await;
}

async fn node_connections() {
    let stage = Stage::set(|c| c.limits.connections_max = 4).await;
    refused_at_the_door(stage, 503, ErrorCode::Unavailable).await;
}

async fn new_connections() {
    let mut stage = Stage::set(|c| c.limits.accept_rate = rare(20)).await;
    let mut refused = None;
    for _ in 0..20 {
        match Client::connect_with(stage.server.addr, &[]).await {
            Ok(client) => client.cut(),
            refusal => {
                refused = Some(problem(refusal));
                break;
            }
        }
    }
    assert_problem(&refused.unwrap(), 503, ErrorCode::Unavailable);
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn rooms() {
    let mut stage = Stage::set(|c| c.limits.rooms_max = 2).await;
    stage.actor.ok("join", json!({"room": "chat:second"})).await;
    let refused = stage.actor.refused("join", json!({"room": "chat:third"})).await;
    assert_error(&refused, &refused["id"], ErrorCode::Unavailable, true);
    assert_eq!(
        stage.actor.refused("leave", json!({"room": "chat:third"})).await["code"],
        "not_joined"
    );
    stage.nobody.ok("join", json!({"room": "chat:second"})).await;
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn accounts() {
    let mut stage = Stage::set(|c| c.limits.accounts_max = 2).await;
    let new = json!({"user_id": "carol", "password": "correct horse"});
    let answer = request(stage.server.addr, "POST", "/v1/accounts")
        .json(&new)
        .send()
        .await;
    assert_problem(&answer, 503, ErrorCode::Unavailable);
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn subscriptions() {
    let mut stage = Stage::set(|_| {}).await;
    assert_eq!(stage.actor.hello["limits"]["subscriptions_max"], 128);
    for n in 1..128 {
        stage.actor.ok("join", json!({"room": format!("chat:{n}")})).await;
    }
    let refused = stage.actor.refused("join", json!({"room": "chat:128"})).await;
    assert_error(&refused, &refused["id"], ErrorCode::LimitReached, false);
    stage.everybody_is_as_before().await;
    stage.actor.ok("leave", json!({"room": "chat:7"})).await;
    stage.actor.ok("join", json!({"room": "chat:128"})).await;
    stage.actor_speaks().await;
    stage.strike().await;
}

async fn user_connections() {
    let mut stage = Stage::set(|c| c.limits.connections_per_user_max = 2).await;
    let token = json!({"token": stage.alice.tokens.access_token, "device": stage.alice.device});
    let second = stage.alice.connect().await;
    let mut third = stage.server.anonymous().await;
    third.send("auth", token.clone()).await;
    let closed = third.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4504, "connection_limit"));
    let bearer = format!("Bearer {}", stage.alice.tokens.access_token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("countersign-device", stage.alice.device.as_str()),
    ];
    let mut upgraded = Client::connect_with(stage.server.addr, &headers).await.unwrap();
    assert_eq!(upgraded.end().await.code, 4504);
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    second.cut();
    let node = std::sync::Arc::clone(&stage.server.node);
    until("the second is gone", || node.hub.connection_count() == 3).await;
    stage.server.anonymous().await.ok("auth", token).await;
    stage.strike().await;
}

/// Rates and counts are a thousandfold; sizes and checks are what they were, and only loopback gets it.
async fn bench() {
    let mut plain = Stage::set(|_| {}).await;
    let mut bench = Stage::set(|c| c.limits_profile = Profile::Bench).await;
    let mut said = [0, 0];
    for (stage, said) in [&mut plain, &mut bench].into_iter().zip(&mut said) {
        let mut ids = Vec::new();
        for n in 0..60 {
            ids.push(stage.actor.send("send", json!({"room": ROOM, "body": n})).await);
        }
        for id in ids {
            *said += u32::from(stage.actor.reply(id).await["type"] == "ok");
        }
    }
    assert!(said[0] < 60 && said[1] == 60, "{said:?}");
    plain.strike().await;
    let big = json!({"room": ROOM, "body": "x".repeat(16 * 1024)});
    assert_eq!(bench.actor.refused("send", big).await["code"], "too_large");
    assert_eq!(
        bench.actor.refused("like", json!({"room": ROOM, "n": 101})).await["code"],
        "bad_request"
    );
    assert_eq!(
        bench
            .nobody
            .refused("send", json!({"room": ROOM, "body": 1}))
            .await["code"],
        "unauthenticated"
    );
    for n in 1..128 {
        bench.actor.ok("join", json!({"room": format!("chat:{n}")})).await;
    }
    assert_eq!(
        bench.actor.refused("join", json!({"room": "chat:128"})).await["code"],
        "limit_reached"
    );
    let evil = Client::connect_with(bench.server.addr, &[("origin", "https://evil.example")]).await;
    assert_problem(&problem(evil), 403, ErrorCode::OriginRejected);
    let mut bad = bench.server.anonymous().await;
    for _ in 0..3 {
        assert_eq!(
            bad.refused("auth", json!({"token": "x", "device": "d"})).await["code"],
            "invalid_token"
        );
    }
    assert_eq!(bad.end().await.code, 4500);
    bench.actor_speaks().await;
    bench.everybody_is_as_before().await;
    bench.strike().await;

    let open = Config {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        operator_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        public_origin: Some("https://login.example".into()),
        limits_profile: Profile::Bench,
        ..Config::default()
    };
    let refused = App::bind(open).err().expect("bench is for loopback").to_string();
    assert!(
        refused.contains("bench") && refused.contains("127.0.0.1"),
        "{refused}"
    );
}
