//! One line of a history. All kinds share one flat object: absent means that the kind does not have it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// A text that is borrowed when written and may be when read.
pub type Text<'a> = Cow<'a, str>;

/// A line. `docs/history.md` says which fields each kind has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line<'a> {
    /// The kind of the line.
    #[serde(borrow)]
    pub e: Text<'a>,
    /// Monotonic nanoseconds; one clock for the run.
    pub at: Nanos,
    /// The connection, by its number in this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<u64>,
    /// The command's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The command's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<Text<'a>>,
    /// A user: of a connection, or the author of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Digest of a message's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Text<'a>>,
    /// The id a message's body carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<Text<'a>>,
    /// `server` when the server API spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_epoch: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    pub duplicate: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub shed: bool,
    /// Of a like: the counter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<Text<'a>>,
    /// Of a like: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Of a like: the counter afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// An error's code, a close's code, a `left`'s reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Text<'a>>,
    /// Of a gap: the first and the last offset that was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// Messages in a reply, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The id of a QR login, one of those it has had. It is public.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr: Option<Text<'a>>,
    /// Of an event of a QR login: its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Where a QR login stands, by whoever says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Text<'a>>,
    /// Digest of a claim: shown by a command, or told by the reply to `qr.open`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Text<'a>>,
    /// Digest of a ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Text<'a>>,
    /// Digest of a scan token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_token: Option<Text<'a>>,
    /// Digests of the tokens that a redemption brought, or of what they are sealed in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Text<'a>>,
    /// The session that a redemption opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Text<'a>>,
    /// Digests of everything in a frame or an answer that has the shape of a secret, under whatever name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Text<'a>>,
    /// Free text: a fault, the type of another push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<Text<'a>>,
    /// Of `quiet`: what happened before has been waited for; absent, it is `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Nanos>,
    /// Of the head: version of the format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Of the head: which clock. Files with different clocks do not go together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Text<'a>>,
    /// Of the head: how bodies were digested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text<'a>>,
    /// Of `lost`: lines that could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
}

impl<'a> Line<'a> {
    /// A line of a kind at a time.
    pub fn new(e: &'a str, at: Nanos) -> Line<'a> {
        Line {
            e: e.into(),
            at,
            ..Line::default()
        }
    }

    /// The same on a connection.
    pub fn on(e: &'a str, at: Nanos, conn: u64) -> Line<'a> {
        Line {
            conn: Some(conn),
            ..Line::new(e, at)
        }
    }
}

/// A message in a reply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    pub offset: u64,
    /// The author; none: the server API spoke for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<Text<'a>>,
    #[serde(borrow)]
    pub body: Text<'a>,
}

/// Counts of a room, absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub version: u64,
    pub viewers: u64,
    pub members: u64,
    pub counters: BTreeMap<String, u64>,
}

// serde asks for this signature.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(b: &bool) -> bool {
    !*b
}
