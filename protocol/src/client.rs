//! Commands: what a client sends. A frame is read in two steps, `{id, type}` first and then the
//! command's own fields from the same bytes, because a tagged enum cannot hold a [`RawValue`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::ErrorCode;
use crate::object::{Key, Keys, too_deep};

/// Why a frame could not be read as a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// Not JSON at all: the connection closes with 4501.
    NotJson,
    /// An error reply; `id` is `None` when the frame carried no valid id.
    Refused {
        id: Option<u64>,
        code: ErrorCode,
        message: String,
    },
}

/// A command with the client's number for it.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Chosen by the client; the reply carries it back.
    pub id: u64,
    pub command: Command<'a>,
}

macro_rules! commands {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal ( $fields:ty ); )*) => {
        /// One command with its fields.
        #[derive(Debug)]
        pub enum Command<'a> { $( $(#[$doc])* $variant($fields), )* }

        impl Command<'_> {
            /// Every command name the gateway knows.
            pub const NAMES: &'static [&'static str] = &[ $( $name, )* ];
            /// The `type` on the wire.
            pub const fn name(&self) -> &'static str {
                match self { $( Command::$variant(_) => $name, )* }
            }
            /// Its place in [`Command::NAMES`].
            pub const fn number(&self) -> usize {
                enum Number { $( $variant, )* }
                match self { $( Command::$variant(_) => Number::$variant as usize, )* }
            }
        }

        fn parse_fields<'a>(kind: &str, text: &'a str) -> Option<Result<Command<'a>, serde_json::Error>> {
            Some(match kind {
                $( $name => serde_json::from_str(text).map(Command::$variant), )*
                _ => return None,
            })
        }
    };
}

commands! {
    /// Sign this connection in.
    Auth = "auth" (Auth<'a>);
    /// A new token of the same user and session.
    Refresh = "refresh" (Refresh<'a>);
    /// Liveness for page scripts, which cannot see WebSocket pings.
    Ping = "ping" (Empty);
    /// Open a QR login and watch it.
    QrOpen = "qr.open" (QrOpen<'a>);
    /// Watch an attempt again, after a lost connection.
    QrWatch = "qr.watch" (QrWatch<'a>);
    /// Give the digits that the phone shows.
    QrAnswer = "qr.answer" (QrAnswer<'a>);
    /// End an attempt from the PC.
    QrCancel = "qr.cancel" (QrCancel<'a>);
    /// Exchange the ticket for this device's own tokens.
    QrRedeem = "qr.redeem" (QrRedeem<'a>);
    /// Subscribe to a room.
    Join = "join" (Join<'a>);
    /// Unsubscribe.
    Leave = "leave" (InRoom<'a>);
    /// Say something.
    Send = "send" (Send<'a>);
    /// Raise a counter.
    Like = "like" (Like<'a>);
    /// Who is there.
    Members = "members" (Members<'a>);
    /// Page through what was said.
    History = "history" (History<'a>);
}

/// `null` for a field that may be absent means absent.
pub(crate) fn null_is_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(d).map(Option::unwrap_or_default)
}

/// A command without fields of its own.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Empty {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Auth<'a> {
    #[serde(borrow)]
    pub token: Cow<'a, str>,
    /// The device this connection is, when no header said so.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Cow<'a, str>>,
    /// A DPoP proof, for a token bound to a key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub dpop: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Refresh<'a> {
    #[serde(borrow)]
    pub token: Cow<'a, str>,
    /// A DPoP proof, for a token bound to a key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub dpop: Option<Cow<'a, str>>,
}

/// The device asking to be signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Device<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: DeviceKind,
}

/// What sort of device it is; bound together with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    Pc,
    Web,
    Ios,
    Android,
    Tv,
    #[default]
    Other,
}

impl DeviceKind {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            DeviceKind::Pc => "pc",
            DeviceKind::Web => "web",
            DeviceKind::Ios => "ios",
            DeviceKind::Android => "android",
            DeviceKind::Tv => "tv",
            DeviceKind::Other => "other",
        }
    }
}

/// A P-256 public key as a JWK; the tokens are then sealed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey<'a> {
    #[serde(borrow)]
    pub kty: Cow<'a, str>,
    #[serde(borrow)]
    pub crv: Cow<'a, str>,
    #[serde(borrow)]
    pub x: Cow<'a, str>,
    #[serde(borrow)]
    pub y: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct QrOpen<'a> {
    #[serde(borrow)]
    pub device: Device<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey<'a>>,
    /// RFC 7638 thumbprint the access token shall be bound to.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct QrWatch<'a> {
    #[serde(borrow)]
    pub qr_id: Cow<'a, str>,
    #[serde(borrow)]
    pub claim: Cow<'a, str>,
    #[serde(borrow)]
    pub device: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u32>,
}

/// The digits that the phone shows, typed on the PC.
#[derive(Debug, Serialize, Deserialize)]
pub struct QrAnswer<'a> {
    #[serde(borrow)]
    pub qr_id: Cow<'a, str>,
    #[serde(borrow)]
    pub claim: Cow<'a, str>,
    #[serde(borrow)]
    pub code: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct QrCancel<'a> {
    #[serde(borrow)]
    pub qr_id: Cow<'a, str>,
    #[serde(borrow)]
    pub claim: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct QrRedeem<'a> {
    #[serde(borrow)]
    pub qr_id: Cow<'a, str>,
    #[serde(borrow)]
    pub claim: Cow<'a, str>,
    #[serde(borrow)]
    pub ticket: Cow<'a, str>,
}

/// Where a viewer stands in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The room's life; another epoch means another numbering.
    pub epoch: String,
    /// The last offset seen.
    pub offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Join<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct InRoom<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
}

/// What may be dropped first under pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Send<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// Any JSON, at most [`crate::limits::BODY_BYTES_MAX`] bytes; delivered equal, never read for identity.
    #[serde(borrow)]
    pub body: &'a RawValue,
    /// Chosen by the client so that a retry counts once; at most [`crate::limits::CID_BYTES_MAX`] bytes.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub priority: Priority,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Like<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// Default `likes`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<Cow<'a, str>>,
    /// 1 to `hello.limits.like_max`.
    pub n: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Members<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct History<'a> {
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// Only messages with a smaller offset: the newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only messages with a larger offset: the oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Reads one text frame.
///
/// # Errors
/// [`FrameError::NotJson`] closes the connection; [`FrameError::Refused`] is answered and changes nothing.
pub fn parse(text: &str) -> Result<Frame<'_>, FrameError> {
    let refused = |id, code, message: &str| FrameError::Refused {
        id,
        code,
        message: message.to_owned(),
    };
    let head: Head<'_> = match serde_json::from_str(text) {
        Ok(head) => head,
        Err(e) if e.is_data() => {
            // `is_data` can be raised before the end of the text: only JSON gets a reply.
            return Err(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => refused(None, ErrorCode::BadRequest, "a command is a JSON object"),
                Err(_) => FrameError::NotJson,
            });
        }
        Err(_) => return Err(FrameError::NotJson),
    };
    let Some(id) = head.id else {
        return Err(refused(
            None,
            ErrorCode::BadRequest,
            "id is an unsigned integer chosen by the client",
        ));
    };
    if let Some(problem) = too_deep(text).or(head.problem) {
        return Err(refused(Some(id), ErrorCode::BadRequest, problem));
    }
    let Some(kind) = head.kind else {
        return Err(refused(Some(id), ErrorCode::BadRequest, "type is a string"));
    };
    match parse_fields(&kind, text) {
        Some(Ok(command)) => Ok(Frame { id, command }),
        Some(Err(e)) => Err(refused(Some(id), ErrorCode::BadRequest, &describe(&e))),
        None => Err(refused(
            Some(id),
            ErrorCode::UnknownCommand,
            &format!("no command {:?}", kind.chars().take(32).collect::<String>()),
        )),
    }
}

/// serde's sentence without the position, which counts in a text the client may have built elsewhere.
fn describe(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    text.chars().take(200).collect()
}

/// `{id, type}` of a frame, and whether its keys are sound.
struct Head<'a> {
    id: Option<u64>,
    kind: Option<Cow<'a, str>>,
    problem: Option<&'static str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Head<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct HeadVisitor<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for HeadVisitor<'a> {
            type Value = Head<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Head<'a>, M::Error> {
                let mut head = Head {
                    id: None,
                    kind: None,
                    problem: None,
                };
                let mut keys = Keys::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    match &*key.0 {
                        "id" => head.id = map.next_value::<&RawValue>()?.get().parse().ok(),
                        "type" => {
                            head.kind =
                                serde_json::from_str::<Key<'de>>(map.next_value::<&RawValue>()?.get())
                                    .ok()
                                    .map(|k| k.0);
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                    keys.add(key);
                }
                head.problem = keys.problem();
                Ok(head)
            }
        }

        d.deserialize_map(HeadVisitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests;
