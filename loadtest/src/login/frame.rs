//! What a PC is told of its login: replies, pushes and answers to polls, in one shape.

use std::borrow::Cow;

use countersign_protocol::server::{QrMatch, QrState};
use serde::Deserialize;

/// A frame, or the body of an answer; what it does not have is absent.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    /// Of a reply: the command's.
    #[serde(default)]
    pub id: Option<u64>,
    /// `ok`, `error`, or the name of a push; a body of HTTP may have none.
    #[serde(rename = "type", borrow, default)]
    pub kind: Cow<'a, str>,
    /// Of a refusal.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub qr_id: Option<String>,
    #[serde(default)]
    pub claim: Option<String>,
    #[serde(default)]
    pub seq: Option<u32>,
    /// Of a login, or of a session.
    #[serde(default)]
    state: Option<Cow<'a, str>>,
    #[serde(default)]
    pub ticket: Option<String>,
    #[serde(default, rename = "match")]
    pub number: Option<QrMatch>,
    #[serde(default)]
    pub user: Option<Named>,
    #[serde(default)]
    pub access_token: Option<Cow<'a, str>>,
    /// Of `hello`.
    #[serde(default)]
    pub ping_interval_ms: Option<u64>,
}

/// A user; a preview has no id.
#[derive(Debug, Deserialize)]
pub struct Named {
    #[serde(default)]
    pub id: Option<String>,
}

impl Frame<'_> {
    /// Reads one; none when it is no JSON of this shape.
    pub fn read(bytes: &[u8]) -> Option<Frame<'_>> {
        // A list would be read as an object's fields in their order.
        bytes
            .starts_with(b"{")
            .then(|| serde_json::from_slice(bytes).ok())?
    }

    /// Where the login stands.
    pub fn state(&self) -> Option<QrState> {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let name: StrDeserializer<'_, Error> = self.state.as_deref()?.into_deserializer();
        QrState::deserialize(name).ok()
    }

    /// The digits that are to be typed on the phone, if the PC shows any.
    pub fn digits(&self) -> Option<&str> {
        self.number.as_ref()?.code.as_deref()
    }

    /// Why it was refused, for counting.
    pub fn refusal(&self, what: &str) -> String {
        format!("{what} {}", self.code.as_deref().unwrap_or("without a code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes_are_read() {
        let push = Frame::read(
            br#"{"type":"qr","qr_id":"q","seq":2,"state":"scanned","user":{"name":"A"},"match":{"mode":"phone_types","code":"47"}}"#,
        )
        .unwrap();
        assert_eq!((push.seq, push.state()), (Some(2), Some(QrState::Scanned)));
        assert_eq!(push.digits(), Some("47"));
        assert!(push.user.unwrap().id.is_none() && push.id.is_none());
        let reply = Frame::read(br#"{"id":3,"type":"error","code":"not_found","message":"m","retry":false}"#)
            .unwrap();
        assert_eq!(
            (reply.id, reply.refusal("open").as_str()),
            (Some(3), "open not_found")
        );
        let session = Frame::read(br#"{"type":"session","state":"new_device","session":"s"}"#).unwrap();
        assert_eq!((session.state(), session.kind.as_ref()), (None, "session"));
        assert!(Frame::read(b"[]").is_none());
    }
}
