//! From the gateway's frames to lines of a history.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};

use super::line::{Counts, Line, Message, Text};
use crate::clock::Nanos;

/// Longest id taken from a body, bytes.
const MSG_BYTES_MAX: usize = 64;

/// A digest of a body that is the same however its JSON is written, and the id the body carries.
struct Body {
    digest: String,
    msg: Option<String>,
}

impl Body {
    fn of(raw: &RawValue) -> Body {
        let Ok(value) = serde_json::from_str::<Value>(raw.get()) else {
            // Deeper than the parser goes: its text is compared instead.
            return Body {
                digest: digest(raw.get().as_bytes()),
                msg: None,
            };
        };
        let msg = ["id", "lt"].iter().find_map(|key| match value.get(key) {
            Some(Value::String(text)) => Some(text.chars().take(MSG_BYTES_MAX).collect()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        });
        Body {
            digest: digest(value.to_string().as_bytes()),
            msg,
        }
    }
}

/// The first 64 bits of the SHA-1, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    let hash = Sha1::digest(bytes);
    hash.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// What is read of any command.
#[derive(Deserialize)]
struct Command<'a> {
    id: u64,
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(default)]
    room: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(default)]
    cid: Option<Text<'a>>,
    #[serde(default)]
    counter: Option<Text<'a>>,
    #[serde(default)]
    n: Option<u64>,
    /// A position in `join`, an offset in `history`.
    #[serde(default, borrow)]
    after: Option<&'a RawValue>,
    #[serde(default)]
    before: Option<u64>,
    #[serde(default)]
    qr_id: Option<Text<'a>>,
    #[serde(default)]
    claim: Option<Text<'a>>,
    #[serde(default)]
    ticket: Option<Text<'a>>,
}

/// `null` is a body like any other.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
struct Position {
    epoch: String,
    offset: u64,
}

/// The invocation in a command's frame; a line of kind `other` when nothing can be answered to it by its id. A command
/// that lacks what its kind needs, or has it in another form, is one that nothing is known about: it can only be refused.
pub(super) fn invocation(conn: u64, at: Nanos, text: &[u8]) -> Line<'_> {
    match serde_json::from_slice::<Command<'_>>(text) {
        Ok(command) => {
            let mut line = command_line(conn, at, command);
            if let Some(lacking) = lacking(&line) {
                line.op = Some(lacking.into());
            }
            line
        }
        Err(_) => broken(conn, at, text),
    }
}

/// A frame that is no command as it should be. Of a key that stands there twice the last counts, as for the gateway.
fn broken(conn: u64, at: Nanos, text: &[u8]) -> Line<'_> {
    const WHAT: &str = "a frame that is no command";
    let frame: Value = serde_json::from_slice(text).unwrap_or_default();
    match frame.get("id").and_then(Value::as_u64) {
        Some(id) => Line {
            id: Some(id),
            op: Some(WHAT.into()),
            ..Line::on("invoke", at, conn)
        },
        None => Line {
            what: Some(WHAT.into()),
            ..Line::on("other", at, conn)
        },
    }
}

/// What a command is called that lacks something it needs.
fn lacking(line: &Line<'_>) -> Option<&'static str> {
    match line.op.as_deref()? {
        "send" if line.room.is_none() || line.body.is_none() => Some("send without room or body"),
        "like" if line.room.is_none() || line.n.is_none() => Some("like without room or n"),
        "join" | "leave" | "history" if line.room.is_none() => Some("a command without its room"),
        "qr.watch" | "qr.answer" | "qr.cancel" | "qr.redeem" if line.qr.is_none() => {
            Some("a command without its qr_id")
        }
        _ => None,
    }
}

/// A room as the gateway names it: without a namespace it is in `default`.
fn spelled(room: Text<'_>) -> Text<'_> {
    if room.contains(':') {
        room
    } else {
        format!("default:{room}").into()
    }
}

fn command_line(conn: u64, at: Nanos, command: Command<'_>) -> Line<'_> {
    let body = command.body.map(Body::of);
    let position = command
        .after
        .and_then(|raw| serde_json::from_str::<Position>(raw.get()).ok());
    let offset = command.after.and_then(|raw| raw.get().parse().ok());
    let (after_epoch, after_offset) = match position {
        Some(position) => (Some(position.epoch.into()), Some(position.offset)),
        None => (None, offset),
    };
    let (body, msg) = body.map_or((None, None), |b| (Some(b.digest.into()), b.msg.map(Text::from)));
    Line {
        id: Some(command.id),
        op: Some(command.kind),
        room: command.room.map(spelled),
        body,
        msg,
        cid: command.cid,
        counter: command.counter,
        n: command.n,
        after_epoch,
        after_offset,
        before_offset: command.before,
        qr: command.qr_id,
        claim: command.claim.as_ref().map(secret),
        ticket: command.ticket.as_ref().map(secret),
        ..Line::on("invoke", at, conn)
    }
}

/// What is read of any frame of the server.
#[derive(Deserialize)]
pub(super) struct Frame<'a> {
    /// The body of an answer over HTTP may have none, or another meaning for it.
    #[serde(rename = "type", borrow, default)]
    kind: Text<'a>,
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    room: Option<Text<'a>>,
    #[serde(default)]
    epoch: Option<Text<'a>>,
    #[serde(default)]
    offset: Option<u64>,
    /// An author, or the first offset of a gap.
    #[serde(default, borrow)]
    from: Option<&'a RawValue>,
    #[serde(default)]
    to: Option<u64>,
    #[serde(default)]
    source: Option<Text<'a>>,
    #[serde(default)]
    cid: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(default)]
    recovered: Option<bool>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    shed: bool,
    #[serde(default)]
    value: Option<u64>,
    #[serde(default)]
    code: Option<Text<'a>>,
    #[serde(default)]
    reason: Option<Text<'a>>,
    #[serde(default, borrow)]
    messages: Vec<Frame<'a>>,
    #[serde(default, borrow)]
    counts: Option<&'a RawValue>,
    /// A number in `counts`, a list in other frames.
    #[serde(default, borrow)]
    members: Option<&'a RawValue>,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    viewers: u64,
    #[serde(default)]
    counters: BTreeMap<String, u64>,
    /// Of a reply: the connection is signed in as this user now.
    #[serde(default, borrow)]
    user: Option<&'a RawValue>,
    #[serde(default)]
    qr_id: Option<Text<'a>>,
    #[serde(default)]
    seq: Option<u64>,
    /// Of a QR login, or of a session.
    #[serde(default)]
    state: Option<Text<'a>>,
    #[serde(default)]
    claim: Option<Text<'a>>,
    #[serde(default)]
    ticket: Option<Text<'a>>,
    #[serde(default)]
    scan_token: Option<Text<'a>>,
    #[serde(default)]
    access_token: Option<Text<'a>>,
    #[serde(default)]
    refresh_token: Option<Text<'a>>,
    #[serde(default)]
    sealed: Option<Text<'a>>,
    #[serde(default, borrow)]
    session: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

fn user(raw: Option<&RawValue>) -> Option<Text<'static>> {
    let user: User = serde_json::from_str(raw?.get()).ok()?;
    Some(user.id.into())
}

/// What a frame of the server says; a line of kind `other` when it concerns nothing that is recorded.
pub(super) fn outcome(conn: u64, at: Nanos, text: &[u8]) -> Line<'_> {
    match serde_json::from_slice::<Frame<'_>>(text) {
        Ok(frame) => line(conn, at, frame),
        Err(_) => Line {
            what: Some("a frame that cannot be read".into()),
            ..Line::on("other", at, conn)
        },
    }
}

fn line(conn: u64, at: Nanos, frame: Frame<'_>) -> Line<'_> {
    match frame.kind.as_ref() {
        "ok" => ok(conn, at, frame),
        "error" => refused(conn, at, frame),
        "qr" => Line {
            qr: frame.qr_id,
            seq: frame.seq,
            state: frame.state,
            ticket: frame.ticket.as_ref().map(secret),
            code: frame.reason,
            ..Line::on("qr", at, conn)
        },
        "message" => pushed(conn, at, frame),
        "gap" => Line {
            room: frame.room,
            first: frame.from.and_then(|raw| raw.get().parse().ok()),
            last: frame.to,
            ..Line::on("gap", at, conn)
        },
        "left" => Line {
            room: frame.room,
            code: frame.reason,
            ..Line::on("left", at, conn)
        },
        "counts" => Line {
            room: frame.room,
            counts: Some(Counts {
                version: frame.version,
                viewers: frame.viewers,
                members: frame
                    .members
                    .and_then(|raw| raw.get().parse().ok())
                    .unwrap_or_default(),
                counters: frame.counters,
            }),
            ..Line::on("counts", at, conn)
        },
        _ => Line {
            room: frame.room,
            what: Some(frame.kind),
            ..Line::on("other", at, conn)
        },
    }
}

/// A reply, or an answer that is no refusal.
pub(super) fn ok(conn: u64, at: Nanos, frame: Frame<'_>) -> Line<'_> {
    let tokens = [frame.access_token, frame.refresh_token, frame.sealed];
    Line {
        id: frame.id,
        user: user(frame.user),
        room: frame.room,
        epoch: frame.epoch,
        offset: frame.offset,
        recovered: frame.recovered,
        duplicate: frame.duplicate,
        shed: frame.shed,
        value: frame.value,
        counts: frame.counts.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        messages: frame.messages.into_iter().filter_map(message).collect(),
        qr: frame.qr_id,
        seq: frame.seq,
        state: frame.state,
        claim: frame.claim.as_ref().map(secret),
        ticket: frame.ticket.as_ref().map(secret),
        scan_token: frame.scan_token.as_ref().map(secret),
        tokens: tokens.iter().flatten().map(secret).collect(),
        session: frame
            .session
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .map(Text::from),
        ..Line::on("ok", at, conn)
    }
}

/// A refusal. What has ended already says how.
pub(super) fn refused(conn: u64, at: Nanos, frame: Frame<'_>) -> Line<'_> {
    Line {
        id: frame.id,
        code: frame.code,
        state: frame.state,
        ..Line::on("error", at, conn)
    }
}

/// A secret is never recorded, only its digest.
fn secret(text: &Text<'_>) -> Text<'static> {
    digest(text.as_bytes()).into()
}

fn pushed(conn: u64, at: Nanos, frame: Frame<'_>) -> Line<'_> {
    let room = frame.room.clone();
    match message(frame) {
        Some(message) => Line {
            room,
            offset: Some(message.offset),
            user: message.user,
            source: message.source,
            cid: message.cid,
            msg: message.msg,
            body: Some(message.body),
            ..Line::on("message", at, conn)
        },
        None => Line {
            room,
            what: Some("a message without offset or body".into()),
            ..Line::on("other", at, conn)
        },
    }
}

fn message(frame: Frame<'_>) -> Option<Message<'_>> {
    let body = Body::of(frame.body?);
    Some(Message {
        offset: frame.offset?,
        user: user(frame.from),
        source: frame.source,
        cid: frame.cid,
        msg: body.msg.map(Text::from),
        body: body.digest.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_compared_as_json() {
        let of = |text: &str| Body::of(&RawValue::from_string(text.to_owned()).unwrap());
        let (a, b) = (of(r#"{"id":7,"x":[1,2]}"#), of(r#"{ "x": [1, 2], "id": 7 }"#));
        assert_eq!((&a.digest, &a.msg), (&b.digest, &b.msg));
        assert_eq!(a.msg.as_deref(), Some("7"));
        assert_ne!(a.digest, of(r#"{"id":7,"x":[2,1]}"#).digest);
        assert_eq!(a.digest.len(), 16);
        assert_eq!(of(r#""text""#).msg, None);
        // Check value for other recorders: sha1 of {"a":1,"b":2}.
        assert_eq!(of(r#"{"b":2, "a":1}"#).digest, "4acc71e0547112eb");
    }

    #[test]
    fn commands_become_invocations() {
        let text = br#"{"id":3,"type":"join","room":"a:b","after":{"epoch":"e","offset":9}}"#;
        let line = invocation(1, 5, text);
        assert_eq!((line.e.as_ref(), line.at, line.id), ("invoke", 5, Some(3)));
        assert_eq!(
            (line.after_epoch.as_deref(), line.after_offset),
            (Some("e"), Some(9))
        );
        let line = invocation(1, 5, br#"{"id":4,"type":"history","room":"a:b","after":9}"#);
        assert_eq!((line.after_epoch.as_deref(), line.after_offset), (None, Some(9)));
        let line = invocation(
            1,
            5,
            br#"{"id":4,"type":"send","room":"a:b","body":{"id":"m1"},"cid":"c"}"#,
        );
        assert_eq!(
            (line.msg.as_deref(), line.cid.as_deref()),
            (Some("m1"), Some("c"))
        );
        assert!(line.body.is_some());
        assert_eq!(invocation(1, 5, b"[]").e, "other");
    }

    #[test]
    fn rooms_have_one_spelling_and_null_is_a_body() {
        let line = invocation(1, 5, br#"{"id":1,"type":"send","room":"lobby","body":null}"#);
        assert_eq!(line.op.as_deref(), Some("send"));
        assert_eq!(line.room.as_deref(), Some("default:lobby"));
        let push = br#"{"type":"message","room":"default:lobby","offset":1,"from":{"id":"u"},"body":null}"#;
        let push = outcome(1, 5, push);
        assert_eq!((push.e.as_ref(), push.body), ("message", line.body));
    }

    #[test]
    fn what_can_only_be_refused_still_has_an_answer() {
        for text in [
            r#"{"id":7,"type":"send","room":"a:b"}"#,
            r#"{"id":7,"type":"send","body":1}"#,
            r#"{"id":7,"type":"like","room":"a:b"}"#,
            r#"{"id":7,"type":"join"}"#,
            r#"{"id":7,"type":"join","room":7}"#,
            r#"{"id":7,"type":"qr.watch","claim":"c"}"#,
            r#"{"id":7,"type":"send","room":"a:b","body":1,"body":2}"#,
            r#"{"id":6,"type":"send","room":"a:b","body":1,"\u0069d":7}"#,
            r#"{"id":7}"#,
        ] {
            let line = invocation(1, 5, text.as_bytes());
            let known = ["send", "like", "join", "qr.watch"].contains(&line.op.as_deref().unwrap());
            assert_eq!(
                (line.e.as_ref(), line.id, known),
                ("invoke", Some(7), false),
                "{text}"
            );
        }
    }

    #[test]
    fn frames_become_outcomes() {
        let line = outcome(1, 5, br#"{"type":"gap","room":"a:b","from":3,"to":4}"#);
        assert_eq!(
            (line.e.as_ref(), line.first, line.last),
            ("gap", Some(3), Some(4))
        );
        let line = outcome(
            1,
            5,
            br#"{"type":"message","room":"a:b","offset":3,"at_ms":1,"from":{"id":"u","role":"member"},"body":1}"#,
        );
        assert_eq!(
            (line.e.as_ref(), line.user.as_deref(), line.offset),
            ("message", Some("u"), Some(3))
        );
        let line = outcome(
            1,
            5,
            br#"{"type":"ok","id":1,"epoch":"e","offset":3,"messages":[{"type":"message","room":"a:b","offset":3,"at_ms":1,"from":null,"source":"server","body":1}],"counts":{"version":1,"viewers":2,"members":1,"counters":{"likes":4}}}"#,
        );
        assert_eq!((line.messages.len(), line.offset), (1, Some(3)));
        assert_eq!(
            line.counts.map(|c| (c.viewers, c.counters["likes"])),
            Some((2, 4))
        );
        let line = outcome(
            1,
            5,
            br#"{"type":"counts","room":"a:b","version":9,"viewers":3,"members":2,"counters":{}}"#,
        );
        assert_eq!(
            line.counts.map(|c| (c.version, c.viewers, c.members)),
            Some((9, 3, 2))
        );
        let line = outcome(
            1,
            5,
            br#"{"type":"ok","id":1,"user":{"id":"u"},"session":"s","expires_in_ms":1}"#,
        );
        assert_eq!(line.user.as_deref(), Some("u"));
        let other = |text: &'static [u8]| outcome(1, 5, text).what.map(Text::into_owned);
        assert_eq!(
            other(br#"{"type":"presence","room":"a:b","joined":[],"left":["bob"]}"#).as_deref(),
            Some("presence")
        );
        assert!(
            other(br#"{"type":"message","room":"a:b"}"#)
                .unwrap()
                .contains("without")
        );
        assert!(other(b"no").unwrap().contains("cannot be read"));
    }
}
