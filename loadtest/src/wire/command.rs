//! Commands, made ready once and patched in place for each send.

use std::borrow::Cow;

use countersign_protocol::client::{Join, Position, Priority, Send};
use countersign_protocol::codec::command_json;
use serde_json::value::RawValue;

use super::stamp::{STAMP_BYTES, Stamp, body};
use crate::error::{Error, Result};

/// The first command id of `send`: ten digits, so that ids keep their width.
pub const FIRST_SEND_ID: u64 = 1_000_000_000;
/// The id of a `join`.
pub const JOIN_ID: u64 = 1;
/// Most sends of a run: ids stay at ten digits.
pub const SENDS_MAX: u64 = 8_999_999_999;

const ID_AT: usize = b"{\"id\":".len();
const ID_BYTES: usize = 10;

/// The `send` command of one room.
#[derive(Debug, Clone)]
pub struct SendCommand {
    json: Vec<u8>,
    stamp_at: usize,
}

impl SendCommand {
    /// A command for `room` with a body of `body_bytes`.
    pub fn new(room: &str, body_bytes: usize) -> Result<SendCommand> {
        Self::with_priority(room, body_bytes, Priority::Normal)
    }

    /// The same with a priority.
    pub fn with_priority(room: &str, body_bytes: usize, priority: Priority) -> Result<SendCommand> {
        let (text, at) = body(body_bytes);
        let text = String::from_utf8(text).map_err(|e| Error::Protocol(e.to_string()))?;
        let raw = RawValue::from_string(text).map_err(|e| Error::Protocol(e.to_string()))?;
        let json = command_json(
            FIRST_SEND_ID,
            "send",
            &Send {
                room: Cow::Borrowed(room),
                body: &raw,
                cid: None,
                priority,
            },
        );
        let body_at = json
            .windows(raw.get().len())
            .position(|w| w == raw.get().as_bytes())
            .ok_or_else(|| Error::Protocol("a send command without its body".to_owned()))?;
        Ok(SendCommand {
            json,
            stamp_at: body_at + at,
        })
    }

    /// The command's JSON with this stamp. Its id is [`FIRST_SEND_ID`] plus the stamp's number.
    pub fn with(&mut self, stamp: &Stamp) -> &[u8] {
        let mut id = FIRST_SEND_ID + stamp.number % SENDS_MAX;
        for byte in self.json[ID_AT..ID_AT + ID_BYTES].iter_mut().rev() {
            *byte = b'0' + u8::try_from(id % 10).unwrap_or(0);
            id /= 10;
        }
        stamp.write(&mut self.json[self.stamp_at..self.stamp_at + STAMP_BYTES]);
        &self.json
    }
}

/// A `join` command.
pub fn join(room: &str) -> Vec<u8> {
    join_after(room, None)
}

/// A `join` command that asks for what came after a position.
pub fn join_after(room: &str, after: Option<Position>) -> Vec<u8> {
    command_json(
        JOIN_ID,
        "join",
        &Join {
            room: Cow::Borrowed(room),
            after,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::client::{Command, parse};

    #[test]
    fn patched_commands_are_commands() {
        let mut command = SendCommand::new("default:x", 200).unwrap();
        for number in [0, 9, 123_456] {
            let stamp = Stamp {
                run: 7,
                number,
                intended_at: 99,
            };
            let text = String::from_utf8(command.with(&stamp).to_vec()).unwrap();
            let frame = parse(&text).unwrap();
            assert_eq!(frame.id, FIRST_SEND_ID + number);
            let Command::Send(send) = frame.command else {
                panic!("{text}")
            };
            assert_eq!((&*send.room, send.body.get().len()), ("default:x", 200));
            assert_eq!(Stamp::read(&send.body.get().as_bytes()[7..]), Some(stamp));
        }
        let text = String::from_utf8(join("default:x")).unwrap();
        assert!(matches!(parse(&text).unwrap().command, Command::Join(_)));
    }
}
