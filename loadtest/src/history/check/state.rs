//! What the checker remembers: connections while they live, and one record per command and per message. Of
//! deliveries only what is wrong.

use std::collections::HashMap;

use super::names::Name;
use super::report::Place;
use super::stay::{Missing, Stay};
use crate::clock::Nanos;

/// A room and one of its epochs.
pub(super) type Life = u32;
/// The number of a `join` among all.
pub(super) type JoinNo = u32;

#[derive(Debug)]
pub(super) struct Conn {
    /// Its number in its file.
    pub(super) number: u64,
    pub(super) user: Option<Name>,
    /// A command that signs in has no answer: the user may be one that nobody was told.
    pub(super) signing_in: bool,
    pub(super) closed: bool,
    pub(super) pending: HashMap<u64, Pending>,
    pub(super) rooms: HashMap<Name, InRoom>,
    /// The QR login it was told of last: it opened it, or watches it.
    pub(super) login: Option<Name>,
}

/// A room as one connection has it.
#[derive(Debug, Default)]
pub(super) struct InRoom {
    /// The newest `join` that was sent.
    pub(super) join: Option<JoinNo>,
    pub(super) stay: Option<Box<Stay>>,
    /// Where the stay before was: its last frames may still come.
    pub(super) past: Option<Life>,
}

/// A command without its reply.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {
    /// By its place among the sends.
    Send(usize),
    /// By its place among the likes.
    Like(usize),
    Join(JoinNo),
    /// `auth` or `qr.redeem`.
    SignIn,
    Leave {
        room: Name,
        join: Option<JoinNo>,
    },
    History(Asked),
    /// About a QR login, by its place among those commands.
    Login(usize),
    /// Nothing is known about this command.
    Other,
}

/// A `history` command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) room: Name,
    pub(super) after: Option<u64>,
    pub(super) before: Option<u64>,
    pub(super) at: Nanos,
    pub(super) place: Place,
}

/// A `join` that was sent.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) room: Name,
    pub(super) after: Option<(Name, u64)>,
    pub(super) at: Nanos,
    pub(super) place: Place,
    pub(super) life: Option<Life>,
    pub(super) refused: bool,
    /// The one before it on the connection, which still counts when this is refused.
    pub(super) before: Option<JoinNo>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No reply: nobody knows.
    Open,
    /// Acknowledged with this offset, or this value of a counter.
    Ok {
        number: u64,
        duplicate: bool,
        at: Nanos,
        place: Place,
    },
    /// An error after which it may or may not have happened.
    Unclear,
    /// Refused or shed: it did not happen.
    Refused,
}

/// A message as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Content {
    pub(super) body: u64,
    pub(super) cid: u64,
    pub(super) user: Option<Name>,
    pub(super) server: bool,
}

/// A `send` that was sent.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) conn: usize,
    pub(super) room: Name,
    pub(super) join: Option<JoinNo>,
    pub(super) body: u64,
    /// The id in its body.
    pub(super) msg: u64,
    pub(super) cid: u64,
    pub(super) at: Nanos,
    pub(super) place: Place,
    pub(super) outcome: Outcome,
}

/// A message that was seen; where and when first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) content: Content,
    pub(super) msg: u64,
    pub(super) at: Nanos,
    pub(super) place: Place,
}

/// A `like` that was sent.
#[derive(Debug)]
pub(super) struct LikeTry {
    pub(super) room: Name,
    pub(super) join: Option<JoinNo>,
    pub(super) counter: Name,
    pub(super) n: u64,
    pub(super) at: Nanos,
    pub(super) outcome: Outcome,
}

/// What a stay missed without a word.
#[derive(Debug)]
pub(super) struct Hole {
    pub(super) life: Life,
    pub(super) conn: usize,
    pub(super) missing: Missing,
}

/// An answer that must contain what was acknowledged before it was asked for.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) life: Life,
    pub(super) asked_at: Nanos,
    pub(super) offset: u64,
    pub(super) asked: Place,
    pub(super) place: Place,
}

/// How far a stay was at a quiet point.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) life: Life,
    pub(super) conn: usize,
    pub(super) since: Nanos,
    pub(super) position: u64,
    pub(super) joined: Place,
    pub(super) quiet: Place,
}

/// A counter's value as somebody was told it.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) life: Life,
    pub(super) counter: Name,
    pub(super) value: u64,
    /// The value is of a moment not before this one; none when it may be older than the telling.
    pub(super) from: Option<Nanos>,
    pub(super) to: Nanos,
    /// What the like that it answers added.
    pub(super) own: u64,
    pub(super) place: Place,
}
