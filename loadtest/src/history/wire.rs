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
mod tests;
