//! Frames that are no messages: replies, read without a parser in the form an `ok` to a `send` usually
//! has, and pushes, of which the name is enough.

use countersign_protocol::ErrorCode;
use countersign_protocol::error::ErrorReply;
use countersign_protocol::server::Sent;
use serde::Deserialize;

use super::scan::{NumberField, number};

/// How a command was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `ok`; a `send` without an offset was shed, and may come again after this many milliseconds.
    Ok {
        offset: Option<u64>,
        after_ms: Option<u64>,
    },
    /// An error.
    Error {
        code: ErrorCode,
        retry: bool,
        after_ms: Option<u64>,
    },
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `id` is `None` when the server could not read the command's.
    Reply { id: Option<u64>, answer: Answer },
    /// Anything without an `id`, by its `type`.
    Push { kind: String },
    /// Neither.
    Unreadable,
}

/// Reads frames.
#[derive(Debug)]
pub struct Frames {
    offset: NumberField<9>,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            offset: NumberField::new(b"\"offset\":"),
        }
    }
}

impl Frames {
    /// Reads one frame.
    pub fn read(&mut self, payload: &[u8]) -> Frame {
        self.quick(payload).unwrap_or_else(|| slow(payload))
    }

    /// `{"id":n,"type":"ok",…,"offset":n…`, in this order.
    fn quick(&mut self, payload: &[u8]) -> Option<Frame> {
        let rest = payload.strip_prefix(b"{\"id\":")?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if !rest.get(digits..)?.starts_with(b",\"type\":\"ok\",") {
            return None;
        }
        Some(Frame::Reply {
            id: Some(number(rest)?),
            answer: Answer::Ok {
                offset: Some(self.offset.find(payload)?),
                after_ms: None,
            },
        })
    }
}

fn slow(payload: &[u8]) -> Frame {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        id: Option<u64>,
        #[serde(rename = "type")]
        kind: String,
    }
    let Ok(head) = serde_json::from_slice::<Head>(payload) else {
        return Frame::Unreadable;
    };
    match head.kind.as_str() {
        "ok" => {
            let sent = serde_json::from_slice::<Sent>(payload).unwrap_or_default();
            Frame::Reply {
                id: head.id,
                answer: Answer::Ok {
                    offset: sent.offset,
                    after_ms: sent.after_ms,
                },
            }
        }
        "error" => match serde_json::from_slice::<ErrorReply>(payload) {
            Ok(error) => Frame::Reply {
                id: head.id,
                answer: Answer::Error {
                    code: error.code,
                    retry: error.retry,
                    after_ms: error.after_ms,
                },
            },
            Err(_) => Frame::Unreadable,
        },
        _ => Frame::Push { kind: head.kind },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_in_any_order_of_keys() {
        let mut frames = Frames::default();
        let ok = |offset, after_ms| Answer::Ok { offset, after_ms };
        let limited = Answer::Error {
            code: ErrorCode::RateLimited,
            retry: true,
            after_ms: Some(5),
        };
        for (text, id, answer) in [
            (
                r#"{"id":7,"type":"ok","offset":9,"at_ms":1}"#,
                Some(7),
                ok(Some(9), None),
            ),
            (
                r#"{"id":7,"type":"ok","at_ms":1,"offset":9}"#,
                Some(7),
                ok(Some(9), None),
            ),
            (r#"{"type":"ok","offset":9,"id":7}"#, Some(7), ok(Some(9), None)),
            (
                r#"{"id":7,"type":"ok","shed":true,"after_ms":3}"#,
                Some(7),
                ok(None, Some(3)),
            ),
            (r#"{"id":7,"type":"ok"}"#, Some(7), ok(None, None)),
            (
                r#"{"id":7,"type":"error","code":"rate_limited","message":"","retry":true,"after_ms":5}"#,
                Some(7),
                limited,
            ),
            (
                r#"{"type":"error","id":null,"code":"rate_limited","message":"","retry":true,"after_ms":5}"#,
                None,
                limited,
            ),
        ] {
            assert_eq!(
                frames.read(text.as_bytes()),
                Frame::Reply { id, answer },
                "{text}"
            );
        }
    }

    #[test]
    fn the_rest() {
        let mut frames = Frames::default();
        let push = |kind: &str| Frame::Push {
            kind: kind.to_owned(),
        };
        assert_eq!(frames.read(br#"{"type":"counts","room":"a:b"}"#), push("counts"));
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"id":1}"#,
            r#"{"type":"error","id":1,"code":"no_such"}"#,
        ] {
            assert_eq!(frames.read(text.as_bytes()), Frame::Unreadable, "{text}");
        }
    }
}
