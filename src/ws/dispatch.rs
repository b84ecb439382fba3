//! From a command to its use case and back: what travels is read here, what happens is decided in the node.

mod rooms;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::client::{Command, Empty, Frame};
use countersign_protocol::codec::{json, ok_frame, ok_json};
use countersign_protocol::{CloseCode, ErrorCode, RoomName};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::hub::Connection;
use crate::node::{Node, Refusal};

/// A command under way.
pub struct Pending {
    pub lane: Lane,
    /// Its answer may fill most of a queue, so one at a time is carried out.
    pub bulky: bool,
    pub future: BoxFuture<'static, Outcome>,
}

/// What a command must stay in order with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lane {
    /// Session and QR commands: everything before them is done, everything after them waits.
    Session,
    /// Commands that name the same room take effect in the order sent.
    Room(RoomName),
    /// Anything else.
    Free,
}

/// What is to be done when a command has been carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this reply.
    Reply(Vec<u8>),
    /// The reply has been queued already, in its place among pushes.
    Replied,
    /// A bad token: send this reply, and count.
    BadToken(Vec<u8>),
    /// Close, after this reply if there is one.
    Close(Option<Vec<u8>>, CloseCode),
}

/// A command with what it needs; the future it becomes owns this.
struct Call {
    node: Arc<Node>,
    connection: Arc<Connection>,
    id: u64,
    /// Of the command, by which it is counted.
    number: usize,
}

/// Starts a command. Poll its future once before putting it aside.
pub fn start(node: &Arc<Node>, connection: &Arc<Connection>, frame: Frame<'_>) -> Pending {
    let call = Call {
        node: Arc::clone(node),
        connection: Arc::clone(connection),
        id: frame.id,
        number: frame.command.number(),
    };
    match frame.command {
        Command::Ping(Empty {}) => call.ping(),
        Command::Auth(command) => call.auth(command),
        Command::Refresh(command) => call.refresh(command),
        Command::QrOpen(command) => call.qr_open(&command),
        Command::QrWatch(command) => call.qr_watch(command),
        Command::QrAnswer(command) => call.qr_answer(&command),
        Command::QrCancel(command) => call.qr_cancel(&command),
        Command::QrRedeem(command) => call.qr_redeem(command),
        Command::Join(command) => call.join(command),
        Command::Leave(command) => call.leave(&command),
        Command::Send(command) => call.send(command),
        Command::Like(command) => call.like(command),
        Command::Members(command) => call.members(command),
        Command::History(command) => call.history(&command),
    }
}

impl Call {
    fn ping(self) -> Pending {
        pending(Lane::Free, std::future::ready(self.reply(Ok(Empty {}))))
    }

    /// Counts the command, which has its answer.
    fn count(&self, refused: Option<ErrorCode>) {
        self.node.metrics.traffic.command(Some(self.number), refused);
    }

    fn refused(&self, refusal: &Refusal) -> Outcome {
        self.count(Some(refusal.code));
        Outcome::Reply(json(&refusal.reply(Some(self.id))))
    }

    fn reply<T: serde::Serialize>(&self, outcome: Result<T, Refusal>) -> Outcome {
        match outcome {
            Ok(fields) => self.ok(ok_json(self.id, &fields)),
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// The use case has queued its answer itself, unless it refused.
    fn replied(&self, outcome: Result<(), Refusal>) -> Outcome {
        match outcome {
            Ok(()) => {
                self.count(None);
                Outcome::Replied
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn ok(&self, json: Vec<u8>) -> Outcome {
        self.count(None);
        Outcome::Reply(json)
    }

    /// The frame of an answer that has to stand in its place among pushes.
    fn ok_frame<T: serde::Serialize>(&self, fields: &T) -> Bytes {
        ok_frame(self.id, fields).into()
    }
}

fn pending(lane: Lane, future: impl Future<Output = Outcome> + Send + 'static) -> Pending {
    Pending {
        lane,
        bulky: false,
        future: future.boxed(),
    }
}

/// A command whose answer holds history or a list.
fn bulky(lane: Lane, future: impl Future<Output = Outcome> + Send + 'static) -> Pending {
    Pending {
        bulky: true,
        ..pending(lane, future)
    }
}
