//! `--check`: every frame is decoded, and all members and acknowledgements must say the same message for
//! the same offset.

use std::collections::HashMap;

use countersign_protocol::server::MessagePush;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fleet::Dialect;
use crate::wire::stamp::{STAMP_BYTES, Stamp};

/// Most messages whose place is remembered; later ones are decoded but not compared.
const REMEMBERED_MAX: usize = 2_000_000;

/// Which message stands at which offset, by whoever told first.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    number_at: HashMap<(usize, u64), u64>,
    place_of: HashMap<u64, (usize, u64)>,
}

impl Agreement {
    /// Notes that message `number` was said to stand at `offset` of `room`. False: somebody was told
    /// otherwise.
    pub(super) fn agrees(&mut self, room: usize, offset: u64, number: u64) -> bool {
        if self.number_at.len() >= REMEMBERED_MAX {
            return true;
        }
        *self.number_at.entry((room, offset)).or_insert(number) == number
            && *self.place_of.entry(number).or_insert((room, offset)) == (room, offset)
    }

    /// Adds what another process was told. Returns how many offsets its members were told otherwise.
    pub(super) fn pool(&mut self, other: Agreement) -> u64 {
        let differ = |((room, offset), number)| !self.agrees(room, offset, number);
        other.number_at.into_iter().map(differ).map(u64::from).sum()
    }
}

/// As triples of room, offset and number.
impl Serialize for Agreement {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(
            self.number_at
                .iter()
                .map(|((room, offset), number)| (room, offset, number)),
        )
    }
}

impl<'de> Deserialize<'de> for Agreement {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Agreement, D::Error> {
        let triples = Vec::<(usize, u64, u64)>::deserialize(d)?;
        Ok(Agreement {
            number_at: triples
                .iter()
                .map(|(room, offset, number)| ((*room, *offset), *number))
                .collect(),
            place_of: triples
                .into_iter()
                .map(|(room, offset, number)| (number, (room, offset)))
                .collect(),
        })
    }
}

/// What a decoded message must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub dialect: Dialect,
    pub room: &'a str,
    pub offset: u64,
    pub stamp: Stamp,
    /// The body as it is sent, with any stamp.
    pub body: &'a str,
    /// Where the stamp stands in it.
    pub stamp_at: usize,
    /// Users who publish in the room; anybody, when empty.
    pub publishers: &'a [&'a str],
}

/// Whether a frame decodes to the message it should be.
pub(super) fn is_as_sent(payload: &[u8], expected: &Expected<'_>) -> bool {
    if expected.dialect.echoes() {
        // The frame, or what NATS put a line before, is the body.
        return std::str::from_utf8(payload).is_ok_and(|got| body_is_equal(got, expected));
    }
    let Ok(push) = serde_json::from_slice::<MessagePush<'_>>(payload) else {
        return false;
    };
    if push.room != expected.room || push.offset != expected.offset {
        return false;
    }
    if expected.dialect == Dialect::Floor {
        // The floor keeps the stamp and its own padding.
        return true;
    }
    let by_publisher = push.from.as_ref().is_some_and(|from| {
        expected.publishers.is_empty() || expected.publishers.contains(&from.id.as_str())
    });
    by_publisher && body_is_equal(push.body.get(), expected)
}

fn body_is_equal(got: &str, expected: &Expected<'_>) -> bool {
    let mut want = expected.body.as_bytes().to_vec();
    let (at, end) = (expected.stamp_at, expected.stamp_at + STAMP_BYTES);
    let Some(field) = want.get_mut(at..end) else {
        return false;
    };
    expected.stamp.write(field);
    if got.as_bytes() == want {
        return true;
    }
    // Equal as JSON is what the contract promises.
    let value = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    value(got.as_bytes()).is_some_and(|got| Some(got) == value(&want))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stamp::body;

    #[test]
    fn all_must_be_told_the_same() {
        let mut agreement = Agreement::default();
        assert!(agreement.agrees(0, 5, 1) && agreement.agrees(0, 5, 1));
        assert!(!agreement.agrees(0, 5, 2), "another message at the same offset");
        assert!(!agreement.agrees(0, 6, 1), "the same message at another offset");
        assert!(agreement.agrees(1, 5, 3), "rooms have their own offsets");
        let mut other = Agreement::default();
        assert!(other.agrees(0, 5, 1) && other.agrees(1, 5, 4) && other.agrees(2, 1, 5));
        let text = serde_json::to_string(&other).unwrap();
        let other: Agreement = serde_json::from_str(&text).unwrap();
        assert_eq!(agreement.pool(other), 1);
        assert!(!agreement.agrees(2, 1, 6), "what was added is remembered");
    }

    #[test]
    fn content_room_and_sender_are_compared() {
        let (text, at) = body(100);
        let stamp = Stamp {
            run: 1,
            number: 2,
            intended_at: 3,
        };
        let mut sent = text.clone();
        stamp.write(&mut sent[at..]);
        let (text, sent) = (String::from_utf8(text).unwrap(), String::from_utf8(sent).unwrap());
        let expected = Expected {
            dialect: Dialect::Countersign,
            room: "a:b",
            offset: 9,
            stamp,
            body: &text,
            stamp_at: at,
            publishers: &["u1"],
        };
        let frame = |room: &str, offset: u64, user: &str, body: &str| {
            format!(
                r#"{{"type":"message","room":"{room}","offset":{offset},"at_ms":1,"from":{{"id":"{user}","role":"member"}},"body":{body}}}"#
            )
        };
        let ok = |frame: String| is_as_sent(frame.as_bytes(), &expected);
        assert!(ok(frame("a:b", 9, "u1", &sent)));
        assert!(ok(frame("a:b", 9, "u1", &sent.replace("\",\"pad", "\" , \"pad"))));
        assert!(!ok(frame("a:c", 9, "u1", &sent)));
        assert!(!ok(frame("a:b", 8, "u1", &sent)));
        assert!(!ok(frame("a:b", 9, "u2", &sent)));
        assert!(!ok(frame("a:b", 9, "u1", &text)));
        assert!(!ok(frame("a:b", 9, "u1", &sent.replace("xx", "xy"))));
        assert!(!ok("{}".to_owned()));
    }
}
