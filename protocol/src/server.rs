//! What the gateway sends: the fields of each `ok` reply, and the pushes.
//!
//! Pushes are structs that carry their own `type`; replies are the fields only, and
//! [`codec::ok_json`](crate::codec::ok_json) puts `id` and `type` in front.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::client::{DeviceKind, Priority};
use crate::id::{RoomName, UserId};

/// What others see of a user. Identity is `id`; the rest is decoration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
}

/// A user's role in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Anonymous: reads and likes.
    #[default]
    Viewer,
    Member,
    Moderator,
    Owner,
}

/// The first frame of every connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "hello")]
pub struct Hello {
    pub protocol: u32,
    pub connection: String,
    pub ping_interval_ms: u64,
    pub limits: HelloLimits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloLimits {
    pub frame_bytes_max: usize,
    pub body_bytes_max: usize,
    pub subscriptions_max: usize,
    pub like_max: u64,
}

/// Reply to `auth` and `refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    pub user: Profile,
    pub session: String,
    pub expires_in_ms: u64,
}

/// Reply to `qr.open`.
#[derive(Clone, Serialize, Deserialize)]
pub struct QrOpened {
    pub qr_id: String,
    pub claim: String,
    pub url: String,
    pub expires_in_ms: u64,
    pub rotate_in_ms: u64,
    pub seq: u32,
    pub state: QrState,
}

/// Reply to `qr.watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QrWatching {
    pub state: QrState,
    pub expires_in_ms: u64,
}

/// Reply to `qr.redeem`: either the two tokens, or `sealed` in their place.
#[derive(Clone, Serialize, Deserialize)]
pub struct QrRedeemed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// JWE compact; plaintext is the JSON of the two tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    pub token_type: String,
    pub expires_in_ms: u64,
    pub user: Profile,
    pub session: String,
}

/// Where a QR login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QrState {
    Waiting,
    Scanned,
    Confirmed,
    Redeemed,
    Denied,
    Cancelled,
    Expired,
}

impl QrState {
    /// Nothing leaves a final state.
    pub const fn is_final(self) -> bool {
        !matches!(self, QrState::Waiting | QrState::Scanned | QrState::Confirmed)
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            QrState::Waiting => "waiting",
            QrState::Scanned => "scanned",
            QrState::Confirmed => "confirmed",
            QrState::Redeemed => "redeemed",
            QrState::Denied => "denied",
            QrState::Cancelled => "cancelled",
            QrState::Expired => "expired",
        }
    }
}

/// Every change of a QR login, pushed to the PC that watches it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "qr")]
pub struct QrPush {
    pub qr_id: String,
    /// Rises by one with each change of this attempt.
    pub seq: u32,
    pub state: QrState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_in_ms: Option<u64>,
    /// Who scanned, as a preview: no id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<QrScanner>,
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub number: Option<QrMatch>,
    /// The number was right (`pc_types`); the phone may confirm.
    #[serde(default, skip_serializing_if = "is_false")]
    pub matched: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The scanner as the PC sees it before it is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QrScanner {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
}

/// Who types the two digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchMode {
    /// Shown on the PC, typed on the phone.
    #[default]
    PhoneTypes,
    /// Shown on the phone, typed on the PC.
    PcTypes,
    /// By configuration only.
    None,
}

/// What is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchForm {
    /// Two digits.
    #[default]
    Digits,
    /// The user code of a device authorization: eight letters, case, spaces and hyphens do not matter.
    UserCode,
}

impl MatchForm {
    /// Not on the wire: what a client that knows no forms expects.
    pub fn is_digits(&self) -> bool {
        *self == Self::Digits
    }
}

/// The number match as one side sees it; `code` only on the side that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QrMatch {
    pub mode: MatchMode,
    #[serde(default, skip_serializing_if = "MatchForm::is_digits")]
    pub form: MatchForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Reply to `join`. The lifetime is that of the message bodies.
#[derive(Debug, Serialize, Deserialize)]
pub struct Joined<'a> {
    pub room: RoomName,
    pub epoch: String,
    /// The room's newest offset; live messages continue after it.
    pub offset: u64,
    /// Present when the command had `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    #[serde(borrow)]
    pub messages: Vec<MessagePush<'a>>,
    pub counts: Counts,
    pub info: RoomInfo,
    pub me: Me,
}

/// This connection's standing in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_for_ms: Option<u64>,
}

/// Counts without the envelope, as `join` and HTTP give them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Rises with every change; the latest wins.
    pub version: u64,
    /// Connections in the room.
    pub viewers: u64,
    /// Distinct signed-in users.
    pub members: u64,
    pub counters: BTreeMap<String, u64>,
}

/// What is shown about a room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoomInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    pub closed: bool,
    pub slow_mode_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<String>,
    /// Rises with every change of the info.
    #[serde(default)]
    pub version: u64,
}

/// Reply to `send`: `offset` and `at_ms`, or `shed` and `after_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub shed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn is_false(b: &bool) -> bool {
    !*b
}

/// Reply to `like`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liked {
    /// The counter's value after this like.
    pub value: u64,
}

/// A user in a room's member list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    pub role: Role,
}

/// Reply to `members`, ordered by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersPage {
    pub members: Vec<Member>,
    pub total: u64,
    /// Pass it to get the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Reply to `history`, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct HistoryPage<'a> {
    pub epoch: String,
    #[serde(borrow)]
    pub messages: Vec<MessagePush<'a>>,
}

/// Who sent a message: made from the connection's session and from nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    pub id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    pub role: Role,
}

/// A message of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename = "message")]
pub struct MessagePush<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// Rises by one within an epoch, the same for every viewer.
    pub offset: u64,
    pub at_ms: u64,
    /// `null` for a message of the server API.
    pub from: Option<Cow<'a, From>>,
    /// `server` when the server API spoke.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_normal")]
    pub priority: Priority,
    #[serde(borrow)]
    pub body: &'a RawValue,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_normal(p: &Priority) -> bool {
    *p == Priority::Normal
}

/// Counts of a room, absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "counts")]
pub struct CountsPush {
    pub room: RoomName,
    pub version: u64,
    pub viewers: u64,
    pub members: u64,
    pub counters: BTreeMap<String, u64>,
}

/// A room's info changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "room")]
pub struct RoomPush {
    pub room: RoomName,
    pub version: u64,
    pub info: RoomInfo,
}

/// Who came and went; after `reset`, ask for `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "presence")]
pub struct PresencePush {
    pub room: RoomName,
    #[serde(default)]
    pub joined: Vec<Member>,
    #[serde(default)]
    pub left: Vec<UserId>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub reset: bool,
}

/// This connection's standing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "me")]
pub struct MePush {
    pub room: RoomName,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_for_ms: Option<u64>,
}

/// Messages `from` to `to`, both included, were dropped for this connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "gap")]
pub struct GapPush {
    pub room: RoomName,
    pub from: u64,
    pub to: u64,
}

/// This connection is no longer in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "left")]
pub struct LeftPush {
    pub room: RoomName,
    pub reason: LeftReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    Kicked,
    Banned,
    Closed,
    NotAllowed,
}

/// Please reconnect, not before `after_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "reconnect")]
pub struct ReconnectPush {
    pub after_ms: u64,
}

/// What happens to the connection's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "session")]
pub struct SessionPush {
    pub state: SessionState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<PublicDevice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The name of the registered client that the new session is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    Expiring,
    Expired,
    Revoked,
    NewDevice,
}

/// A device without its id, which is a secret of its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicDevice {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub kind: DeviceKind,
}
