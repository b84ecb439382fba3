//! Frames that are refused and change nothing.

use countersign::config::{Config, Namespace};
use countersign_protocol::ErrorCode;
use serde_json::{Value, json};

use super::stage::{ROOM, Stage, assert_error};
use super::{Case, Covers, How, story};

/// A frame, and who sends it.
pub(crate) struct Frame {
    who: Who,
    text: String,
    /// The id of the reply.
    id: Value,
}

#[derive(Clone, Copy)]
enum Who {
    Alice,
    Nobody,
}

/// The limits under which the frames are sent.
pub(crate) fn scenery(config: &mut Config) {
    Stage::unhurried(config);
    config.limits.subscriptions_max = 1;
    config.limits.bad_tokens_max = 200;
    let closed = Namespace {
        anonymous: false,
        ..Namespace::default()
    };
    config.namespaces.insert("staff".into(), closed);
}

/// What some frames refer to.
pub(crate) async fn prepare(stage: &mut Stage) {
    stage
        .actor
        .ok("send", json!({"room": ROOM, "body": "first", "cid": "used"}))
        .await;
    stage.server.register("bob").await;
}

pub(crate) fn table() -> Vec<Case> {
    let mut table = Vec::new();
    let mut add = |code, who, text: String, id: Value| {
        let name = format!("{} {}: {text:.100}", table.len(), code_name(code));
        table.push(Case {
            covers: Covers::Error(code),
            name,
            how: How::Frame(Frame { who, text, id }),
        });
    };
    for text in [
        "[1]",
        "7",
        "null",
        "true",
        "\"ping\"",
        "{}",
        r#"{"type":"ping"}"#,
        r#"{"id":-1,"type":"ping"}"#,
        r#"{"id":1.5,"type":"ping"}"#,
        r#"{"id":1e3,"type":"ping"}"#,
        r#"{"id":"1","type":"ping"}"#,
        r#"{"id":null,"type":"ping"}"#,
        r#"{"id":[1],"type":"ping"}"#,
        r#"{"id":18446744073709551616,"type":"ping"}"#,
    ] {
        add(ErrorCode::BadRequest, Who::Alice, text.to_owned(), Value::Null);
    }
    for text in [
        r#"{"id":9}"#.to_owned(),
        r#"{"id":9,"type":5}"#.to_owned(),
        r#"{"id":9,"type":"ping","x":1,"x":2}"#.to_owned(),
        format!(
            r#"{{"id":9,"type":"ping","x":{}{}}}"#,
            "[".repeat(16),
            "]".repeat(16)
        ),
        format!(
            r#"{{"id":9,"type":"ping"{}}}"#,
            (0..32).map(|n| format!(r#","k{n}":0"#)).collect::<String>()
        ),
    ] {
        add(ErrorCode::BadRequest, Who::Alice, text, json!(9));
    }
    for (code, who, command) in commands() {
        let mut command = command;
        command["id"] = json!(9);
        add(code, who, command.to_string(), json!(9));
    }
    table.push(story(
        Covers::Error(ErrorCode::NotFound),
        "a claim from a connection without a device",
        || Box::pin(a_claim_without_a_device()),
    ));
    table
}

fn commands() -> Vec<(ErrorCode, Who, Value)> {
    use ErrorCode as E;
    use Who::{Alice, Nobody};
    let key = json!({"kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43)});
    let (unknown, claim) = ("A".repeat(22), "A".repeat(43));
    let big = |n: usize| json!("x".repeat(n - 2));
    let send = |fields: Value| merged(json!({"type": "send", "room": ROOM, "body": 0}), &fields);
    vec![
        (E::BadRequest, Alice, json!({"type": "send", "room": ROOM})),
        (E::BadRequest, Alice, json!({"type": "send", "body": 1})),
        (E::BadRequest, Alice, send(json!({"room": 5}))),
        (E::BadRequest, Alice, send(json!({"room": "chat:.."}))),
        (E::BadRequest, Alice, send(json!({"priority": "urgent"}))),
        (E::BadRequest, Alice, send(json!({"cid": ""}))),
        (E::BadRequest, Alice, send(json!({"cid": "x".repeat(65)}))),
        (E::BadRequest, Alice, json!({"type": "join", "room": ""})),
        (
            E::BadRequest,
            Alice,
            json!({"type": "join", "room": "chat:x", "after": 5}),
        ),
        (
            E::BadRequest,
            Alice,
            json!({"type": "like", "room": ROOM, "n": 0}),
        ),
        (
            E::BadRequest,
            Alice,
            json!({"type": "like", "room": ROOM, "n": 101}),
        ),
        (
            E::BadRequest,
            Alice,
            json!({"type": "members", "room": ROOM, "limit": 0}),
        ),
        (
            E::BadRequest,
            Alice,
            json!({"type": "members", "room": ROOM, "cursor": 5}),
        ),
        (
            E::BadRequest,
            Alice,
            json!({"type": "history", "room": ROOM, "before": 2, "after": 1}),
        ),
        (E::BadRequest, Alice, json!({"type": "auth"})),
        (
            E::BadRequest,
            Alice,
            json!({"type": "auth", "token": "x", "device": "a b"}),
        ),
        (
            E::BadRequest,
            Nobody,
            json!({"type": "auth", "token": "x", "device": "x".repeat(129)}),
        ),
        (E::BadRequest, Alice, json!({"type": "qr.open"})),
        (
            E::BadRequest,
            Nobody,
            json!({"type": "qr.open", "device": {"id": ""}}),
        ),
        (
            E::BadRequest,
            Nobody,
            json!({"type": "qr.open", "device": {"id": "d", "kind": "toaster"}}),
        ),
        (
            E::BadRequest,
            Nobody,
            json!({"type": "qr.open", "device": {"id": "d"}, "public_key": key}),
        ),
        (
            E::BadRequest,
            Nobody,
            json!({"type": "qr.open", "device": {"id": "d"}, "dpop_jkt": "short"}),
        ),
        (
            E::BadRequest,
            Nobody,
            json!({"type": "qr.watch", "qr_id": unknown, "claim": claim, "device": "d", "after_seq": -1}),
        ),
        (
            E::UnknownCommand,
            Alice,
            json!({"type": "publish", "room": ROOM, "body": 1}),
        ),
        (E::UnknownCommand, Alice, json!({"type": ""})),
        (E::UnknownCommand, Alice, json!({"type": "Ping"})),
        (
            E::UnknownCommand,
            Nobody,
            json!({"type": "\u{202e}\u{0}".repeat(100)}),
        ),
        (E::Unauthenticated, Nobody, send(json!({}))),
        (
            E::Unauthenticated,
            Nobody,
            send(json!({"room": "chat:not-joined-either"})),
        ),
        (
            E::Unauthenticated,
            Nobody,
            json!({"type": "refresh", "token": "x"}),
        ),
        (
            E::Unauthenticated,
            Nobody,
            json!({"type": "join", "room": "staff:x"}),
        ),
        (
            E::InvalidToken,
            Nobody,
            json!({"type": "auth", "token": "a.b.c", "device": "d"}),
        ),
        (E::InvalidToken, Nobody, json!({"type": "auth", "token": ""})),
        (E::InvalidToken, Alice, json!({"type": "auth", "token": "x"})),
        (E::InvalidToken, Alice, json!({"type": "refresh", "token": "x"})),
        (
            E::DeviceMismatch,
            Nobody,
            json!({"type": "auth", "token": "$alice", "device": "other"}),
        ),
        (
            E::DeviceMismatch,
            Nobody,
            json!({"type": "auth", "token": "$alice"}),
        ),
        (
            E::DeviceMismatch,
            Alice,
            json!({"type": "auth", "token": "$alice", "device": "other"}),
        ),
        (
            E::DeviceMismatch,
            Alice,
            json!({"type": "qr.open", "device": {"id": "other"}}),
        ),
        (
            E::DeviceMismatch,
            Alice,
            json!({"type": "qr.watch", "qr_id": unknown, "claim": claim, "device": "other"}),
        ),
        (
            E::NotAllowed,
            Alice,
            json!({"type": "refresh", "token": "$alice again"}),
        ),
        (E::NotAllowed, Alice, json!({"type": "refresh", "token": "$bob"})),
        (
            E::NotAllowed,
            Nobody,
            json!({"type": "qr.open", "device": {"id": "d"}, "client_id": "app"}),
        ),
        (E::NotFound, Alice, json!({"type": "join", "room": "nowhere:x"})),
        (
            E::NotFound,
            Alice,
            json!({"type": "send", "room": "nowhere:x", "body": 1}),
        ),
        (
            E::NotFound,
            Alice,
            json!({"type": "like", "room": ROOM, "n": 1, "counter": "claps"}),
        ),
        (
            E::NotFound,
            Nobody,
            json!({"type": "qr.watch", "qr_id": unknown, "claim": claim, "device": "d"}),
        ),
        (
            E::NotFound,
            Nobody,
            json!({"type": "qr.watch", "qr_id": "", "claim": "", "device": "d"}),
        ),
        (
            E::NotFound,
            Alice,
            json!({"type": "qr.cancel", "qr_id": unknown, "claim": claim}),
        ),
        (
            E::NotFound,
            Alice,
            json!({"type": "qr.redeem", "qr_id": unknown, "claim": claim, "ticket": "x"}),
        ),
        (
            E::NotJoined,
            Alice,
            json!({"type": "leave", "room": "chat:other"}),
        ),
        (E::NotJoined, Alice, send(json!({"room": "chat:other"}))),
        (
            E::NotJoined,
            Alice,
            json!({"type": "like", "room": "chat:other", "n": 1}),
        ),
        (
            E::NotJoined,
            Nobody,
            json!({"type": "members", "room": "chat:other"}),
        ),
        (
            E::NotJoined,
            Nobody,
            json!({"type": "history", "room": "chat:other"}),
        ),
        (E::AlreadyJoined, Alice, json!({"type": "join", "room": ROOM})),
        (
            E::AlreadyJoined,
            Nobody,
            json!({"type": "join", "room": ROOM, "after": {"epoch": "e", "offset": 1}}),
        ),
        (E::TooLarge, Alice, send(json!({"body": big(16 * 1024 + 1)}))),
        (E::TooLarge, Alice, send(json!({"body": big(60 * 1024)}))),
        (
            E::LimitReached,
            Alice,
            json!({"type": "join", "room": "chat:one-too-many"}),
        ),
        (E::Conflict, Alice, send(json!({"cid": "used", "body": "second"}))),
        (E::Conflict, Alice, json!({"type": "auth", "token": "$bob"})),
    ]
}

fn merged(mut command: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        command[name] = value.clone();
    }
    command
}

fn code_name(code: ErrorCode) -> &'static str {
    code.name()
}

/// Sends the frame, and sees that nothing has changed but that it was answered.
pub(crate) async fn run(stage: &mut Stage, covers: Covers, frame: &Frame) {
    let Covers::Error(code) = covers else {
        unreachable!("a frame that closes is a story")
    };
    let mut text = frame.text.replace("$alice again", "$again");
    for (name, user) in [("$again", "alice"), ("$bob", "bob"), ("$alice", "alice")] {
        if text.contains(name) {
            let token = stage.server.login(user, &stage.alice.device).await.access_token;
            text = text.replace(name, &token);
        }
    }
    let client = match frame.who {
        Who::Alice => &mut stage.actor,
        Who::Nobody => &mut stage.nobody,
    };
    client.send_text(&text).await;
    let reply = match frame.id.as_u64() {
        Some(id) => client.reply(id).await,
        None => client.reply_without_id().await,
    };
    assert_error(&reply, &frame.id, code, false);
    assert!(
        reply.to_string().len() < 500,
        "what was wrong is not sent back: {reply}"
    );
    if matches!(frame.who, Who::Nobody) {
        let refused = stage
            .nobody
            .refused("send", json!({"room": ROOM, "body": 1}))
            .await;
        assert_eq!(refused["code"], "unauthenticated", "still nobody");
    }
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
}

/// The right claim, from a connection that has never said what device it is: what any stranger is told, and nothing
/// happens.
async fn a_claim_without_a_device() {
    let mut stage = Stage::set(|_| {}).await;
    let opened = stage
        .nobody
        .ok("qr.open", json!({"device": {"id": "pc-1"}}))
        .await;
    let mut stranger = stage.server.anonymous().await;
    for kind in ["qr.answer", "qr.cancel", "qr.redeem"] {
        let claim = json!({"qr_id": opened["qr_id"], "claim": opened["claim"], "code": "00", "ticket": "x"});
        let refused = stranger.refused(kind, claim.clone()).await;
        assert_error(&refused, &refused["id"], ErrorCode::NotFound, false);
        // The same words as for who has no claim either.
        let mut guess = claim;
        guess["claim"] = json!("x");
        let other = stranger.refused(kind, guess).await;
        assert_eq!(
            (&refused["code"], &refused["message"]),
            (&other["code"], &other["message"]),
            "{kind}"
        );
    }
    let path = format!("/v1/qr/{}/scan", opened["qr_id"].as_str().unwrap());
    assert_eq!(stage.alice.request("POST", &path).send().await.status, 200);
    assert_eq!(stage.nobody.push("qr").await["state"], "scanned");
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}
