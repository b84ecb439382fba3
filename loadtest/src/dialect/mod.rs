//! What targets speak. A dialect says how a connection opens and comes into a room, what a message looks
//! like when it is sent, and how what arrives is read. Those with offsets and replies are the gateway's
//! own and the floor's; the others echo: the only answer to a message is the message itself.

pub mod nats;
pub mod ready;

use countersign_protocol::SUBPROTOCOL;
use countersign_protocol::client::Priority;
use serde::{Deserialize, Serialize};

pub use self::ready::Ready;
use crate::engine::upgrade::{Framing, Identity, Opening};
use crate::error::Result;
use crate::target::Target;
use crate::wire::command::SendCommand;

/// What the target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `countersign.v1.json`.
    Countersign,
    /// The built-in floor: the room is the path, every text is broadcast.
    Floor,
    /// A plain WebSocket broadcast server: the room is the path, every text goes to all of it as it came.
    Ws,
    /// NATS over WebSocket: the room is a subject.
    Nats,
}

impl Dialect {
    /// As documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Countersign => SUBPROTOCOL,
            Dialect::Floor => "floor",
            Dialect::Ws => "ws",
            Dialect::Nats => "nats",
        }
    }

    /// Whether connections sign in before they send.
    pub fn signs_in(self) -> bool {
        self == Dialect::Countersign
    }

    /// Whether the only answer to a message is the message itself, coming back to who sent it, without an
    /// offset.
    pub fn echoes(self) -> bool {
        matches!(self, Dialect::Ws | Dialect::Nats)
    }

    /// The path of an upgrade that is to end in `room`.
    pub fn path(self, target: &Target, room: &str) -> String {
        match self {
            Dialect::Countersign => target.path.clone(),
            Dialect::Floor | Dialect::Ws => format!("/{room}"),
            Dialect::Nats => "/".to_owned(),
        }
    }

    /// What a connection asks for when it opens at `path`.
    pub fn opening<'a>(self, path: &'a str, identity: &'a Identity) -> Opening<'a> {
        let gateway = Opening::countersign(path, identity);
        match self {
            Dialect::Countersign | Dialect::Floor => gateway,
            Dialect::Ws => Opening {
                subprotocol: None,
                ..gateway
            },
            Dialect::Nats => Opening {
                subprotocol: None,
                framing: Framing::Stream,
                ..gateway
            },
        }
    }

    /// A message into `room` with a body of `body_bytes`, made ready for many sends.
    pub fn ready(self, room: &str, body_bytes: usize) -> Result<Ready> {
        self.ready_with_priority(room, body_bytes, Priority::Normal)
    }

    /// The same with a priority, which is left out where the dialect has none.
    pub fn ready_with_priority(self, room: &str, body_bytes: usize, priority: Priority) -> Result<Ready> {
        Ok(match self {
            Dialect::Countersign | Dialect::Floor => {
                Ready::Command(Box::new(SendCommand::with_priority(room, body_bytes, priority)?))
            }
            Dialect::Ws => Ready::around(b"", body_bytes, b""),
            Dialect::Nats => nats::publish(room, body_bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Remote;

    #[test]
    fn connections_open_as_their_dialect_has_it() {
        let target = Target::parse("ws://127.0.0.1:8080", Remote::Refused).unwrap();
        let identity = Identity::default();
        for (dialect, path, offered, framing) in [
            (Dialect::Countersign, "/v1/ws", true, Framing::Text),
            (Dialect::Floor, "/d:r", true, Framing::Text),
            (Dialect::Ws, "/d:r", false, Framing::Text),
            (Dialect::Nats, "/", false, Framing::Stream),
        ] {
            let at = dialect.path(&target, "d:r");
            let opening = dialect.opening(&at, &identity);
            assert_eq!(opening.path, path);
            assert_eq!(
                (opening.subprotocol.is_some(), opening.framing),
                (offered, framing)
            );
        }
    }
}
