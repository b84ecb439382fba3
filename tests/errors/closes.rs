//! Closes: the code that the other side really sees, and the others who do not notice.

use countersign::config::OperatorKey;
use countersign::config::limits::RateLimit;
use countersign_protocol::CloseCode;
use countersign_protocol::codec::{Opcode, write_frame};
use countersign_protocol::limits::FRAME_BYTES_MAX;
use serde_json::json;

use super::stage::{ROOM, Stage};
use super::{Case, Covers, story};
use crate::common::{Client, TestServer, request, until};

pub(crate) fn table() -> Vec<Case> {
    let close = Covers::Close;
    vec![
        story(close(CloseCode::Normal), "the client closes", || {
            Box::pin(client_closes())
        }),
        story(close(CloseCode::GoingAway), "the client goes away", || {
            Box::pin(client_goes_away())
        }),
        story(close(CloseCode::Protocol), "a frame without a mask", || {
            Box::pin(unmasked())
        }),
        story(close(CloseCode::Unsupported), "a binary frame", || {
            Box::pin(binary())
        }),
        story(close(CloseCode::InvalidUtf8), "text that is none", || {
            Box::pin(not_utf8())
        }),
        story(close(CloseCode::Policy), "a flood of pings", || Box::pin(pings())),
        story(close(CloseCode::TooBig), "a frame that is too big", || {
            Box::pin(too_big())
        }),
        story(close(CloseCode::Restart), "the gateway ends", || {
            Box::pin(restart())
        }),
        story(close(CloseCode::SessionExpired), "the token ends", || {
            Box::pin(session_expired())
        }),
        story(close(CloseCode::SlowConsumer), "nobody reads", || {
            Box::pin(slow_consumer())
        }),
        story(close(CloseCode::NoPong), "nobody answers pings", || {
            Box::pin(no_pong())
        }),
        story(close(CloseCode::RateLimited), "commands without end", || {
            Box::pin(rate_limited())
        }),
        story(close(CloseCode::InvalidToken), "three bad tokens", || {
            Box::pin(bad_tokens())
        }),
        story(close(CloseCode::BadFrame), "text that is not JSON", || {
            Box::pin(bad_frames())
        }),
        story(
            close(CloseCode::AuthTimeout),
            "a connection that does nothing",
            || Box::pin(auth_timeout()),
        ),
        story(close(CloseCode::Revoked), "the session ends", || {
            Box::pin(revoked())
        }),
        story(close(CloseCode::Disconnected), "an operator closes it", || {
            Box::pin(disconnected())
        }),
    ]
}

/// The actor does something, is closed with this code, and is gone from the room; the others are as before.
async fn closes(mut stage: Stage, code: CloseCode, bytes: &[u8]) {
    stage.actor.send_bytes(bytes).await;
    ends(stage, code).await;
}

async fn ends(mut stage: Stage, code: CloseCode) {
    let closed = stage.actor.end().await;
    assert_eq!(
        (closed.code, closed.reason.as_str()),
        (code.code(), code.reason())
    );
    gone(stage).await;
}

/// The actor's connection is over; Alice may come back.
async fn gone(mut stage: Stage) {
    let node = std::sync::Arc::clone(&stage.server.node);
    until("the connection is gone", || node.hub.connection_count() == 2).await;
    stage.others_are_as_before().await;
    stage.actor = stage.server.anonymous().await;
    let login = stage.server.login("alice", "another-device").await;
    stage
        .actor
        .ok(
            "auth",
            json!({"token": login.access_token, "device": "another-device"}),
        )
        .await;
    stage.actor.ok("join", json!({"room": ROOM})).await;
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn usual() -> Stage {
    Stage::set(Stage::unhurried).await
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, opcode, Some([1, 2, 3, 4]), payload);
    bytes
}

async fn client_closes() {
    let mut stage = usual().await;
    stage.actor.close(1000, "bye").await;
    let closed = stage.actor.end().await;
    assert_eq!(closed.code, 1000, "answered with its own code");
    gone(stage).await;
}

async fn client_goes_away() {
    let mut stage = usual().await;
    stage.actor.close(1001, "").await;
    assert_eq!(stage.actor.end().await.code, 1001);
    gone(stage).await;
}

async fn unmasked() {
    closes(usual().await, CloseCode::Protocol, &[0x81, 2, b'{', b'}']).await;
}

async fn binary() {
    let mut stage = usual().await;
    stage.actor.send_binary(br#"{"id":1,"type":"ping"}"#).await;
    ends(stage, CloseCode::Unsupported).await;
}

async fn not_utf8() {
    closes(
        usual().await,
        CloseCode::InvalidUtf8,
        &frame(Opcode::Text, b"{\"id\":1,\"type\":\"\xff\"}"),
    )
    .await;
}

async fn pings() {
    let stage = Stage::set(|c| {
        c.limits.control_rate = RateLimit {
            count: 1,
            period_ms: 60_000,
            burst: 5,
        }
    })
    .await;
    closes(stage, CloseCode::Policy, &frame(Opcode::Ping, b"x").repeat(6)).await;
}

async fn too_big() {
    let mut stage = usual().await;
    // The largest frame is read, and says so.
    let pad = FRAME_BYTES_MAX - r#"{"id":7,"type":"ping","pad":""}"#.len();
    let text = format!(r#"{{"id":7,"type":"ping","pad":"{}"}}"#, "x".repeat(pad));
    assert_eq!(text.len(), FRAME_BYTES_MAX);
    stage.actor.send_text(&text).await;
    assert_eq!(stage.actor.reply(7).await["type"], "ok");
    // The header alone is enough to know about the next.
    let mut head = frame(Opcode::Text, &vec![b' '; FRAME_BYTES_MAX + 1]);
    head.truncate(14);
    closes(stage, CloseCode::TooBig, &head).await;
}

async fn restart() {
    let mut stage = usual().await;
    stage.server.begin_stop();
    let closed = stage.actor.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (1012, "restart"));
    assert!(
        stage.actor.pushes.iter().any(|p| p["type"] == "reconnect"),
        "{:?}",
        stage.actor.pushes
    );
    stage.strike().await;
}

async fn session_expired() {
    let short = TestServer::start(|c| c.tokens.access_ms = 2_500).await;
    let mut lapsing = short.signed_in("alice").await;
    let mut nobody = short.anonymous().await;
    for client in [&mut lapsing, &mut nobody] {
        client.ok("join", json!({"room": ROOM})).await;
    }
    let closed = lapsing.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4005, "session_expired"));
    // Who has no session does not lose one.
    nobody
        .push_where("counts", |c| c["members"] == 0 && c["viewers"] == 1)
        .await;
    nobody.ok("ping", json!({})).await;
    short.stop().await;
}

async fn slow_consumer() {
    let mut stage = Stage::set(|c| {
        Stage::unhurried(c);
        c.limits.outbox_bytes_max = 64 * 1024;
        c.limits.write_ms = 60_000;
    })
    .await;
    let mut slow = Client::connect_narrow(stage.server.addr).await;
    slow.ok("join", json!({"room": ROOM})).await;
    let text = "x".repeat(16_000);
    let node = std::sync::Arc::clone(&stage.server.node);
    let mut n = 0;
    while node.hub.connection_count() == 4 {
        let fields = json!({"room": ROOM, "body": {"n": n, "text": text}, "priority": "high"});
        let sent = stage.actor.ok("send", fields).await;
        stage
            .nobody
            .push_where("message", |m| m["offset"] == sent["offset"])
            .await;
        stage.actor.pushes.clear();
        n += 1;
        assert!(n < 10_000, "it was never closed");
    }
    let closed = slow.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4008, "slow_consumer"));
    stage.actor_speaks().await;
    stage.strike().await;
}

async fn no_pong() {
    let dull = TestServer::start(|c| {
        c.limits.ping_interval_ms = 300;
        c.limits.pong_ms = 3_000;
    })
    .await;
    let mut silent = dull.anonymous().await;
    silent.ok("join", json!({"room": ROOM})).await;
    // Its pongs are sent while it reads, which it does not.
    let node = std::sync::Arc::clone(&dull.node);
    until("it is given up", || node.hub.connection_count() == 0).await;
    let closed = silent.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4012, "no_pong"));
    dull.stop().await;
}

async fn rate_limited() {
    let mut stage = Stage::set(|c| {
        c.limits.command_rate = RateLimit {
            count: 1,
            period_ms: 60_000,
            burst: 60,
        };
        c.limits.command_refusals_max = 3;
    })
    .await;
    let pings: Vec<String> = (0..70)
        .map(|n| json!({"id": 500 + n, "type": "ping"}).to_string())
        .collect();
    stage.actor.send_at_once(&pings).await;
    ends(stage, CloseCode::RateLimited).await;
}

async fn bad_tokens() {
    let mut stage = usual().await;
    for _ in 0..3 {
        stage
            .actor
            .send("auth", json!({"token": "x", "device": stage.alice.device}))
            .await;
    }
    ends(stage, CloseCode::InvalidToken).await;
}

async fn bad_frames() {
    for text in [
        "",
        "{",
        "nonsense",
        "{\"id\":1,}",
        "{'id':1}",
        "{\"id\":1}{\"id\":2}",
        "\u{feff}{}",
        "{\"id\":1,\"id",
    ] {
        let mut stage = usual().await;
        stage.actor.send_text(text).await;
        ends(stage, CloseCode::BadFrame).await;
    }
}

async fn auth_timeout() {
    let stage = Stage::set(|c| {
        Stage::unhurried(c);
        c.limits.unauthenticated_ms = 1_500;
    })
    .await;
    let mut idle = stage.server.anonymous().await;
    let mut busy = stage.server.anonymous().await;
    busy.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    let mut pinging = stage.server.anonymous().await;
    pinging.ok("ping", json!({})).await;
    for client in [&mut idle, &mut pinging] {
        let closed = client.end().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4502, "auth_timeout"));
    }
    // Who came for something stays, without a user too.
    busy.ok("ping", json!({})).await;
    busy.cut();
    let mut stage = stage;
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn revoked() {
    let mut stage = usual().await;
    let answer = stage.alice.request("POST", "/v1/logout").send().await;
    assert_eq!(answer.status, 204);
    let closed = stage.actor.end().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4503, "revoked"));
    let me = request(stage.server.addr, "GET", "/v1/me")
        .header(
            "authorization",
            &format!("Bearer {}", stage.alice.tokens.access_token),
        )
        .header("countersign-device", &stage.alice.device);
    assert_eq!(me.send().await.status, 401);
    gone(stage).await;
}

async fn disconnected() {
    const KEY: &str = "operator-key-of-this-test";
    let stage = Stage::set(|config| {
        Stage::unhurried(config);
        config.operator_key = Some(OperatorKey::new(KEY.into()));
    })
    .await;
    let name = stage.actor.hello["connection"].as_str().unwrap();
    let path = format!("/admin/api/connections/{name}/kick");
    let kick =
        request(stage.server.operator, "POST", &path).header("authorization", &format!("Bearer {KEY}"));
    assert_eq!(kick.send().await.status, 200);
    ends(stage, CloseCode::Disconnected).await;
}
