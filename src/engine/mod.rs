//! Where shared state lives: everything two nodes would have to agree on, as verbs.
//!
//! One enum, not a trait object: the memory arm never awaits and costs nothing; a remote arm boxes its
//! futures, so they are never part of a connection's size. Every verb takes the time as an argument, every
//! value is owned and serialisable, and whatever happens comes back as an [`Event`] through the [`Sink`].

pub mod event;
pub mod memory;
pub mod record;
mod tallies;

use std::sync::Arc;

use countersign_protocol::client::Position;
use countersign_protocol::server::{Counts, MembersPage, RoomInfo};
use countersign_protocol::{RoomName, UserId};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use event::{Event, Sink, Topic};
pub use memory::Memory;
pub use record::{
    Account, EngineError, Identity, OnceKey, Present, RefreshState, Replaced, SessionClient, SessionRecord,
};
pub use tallies::Tallies;

use crate::core::attempt::{Attempt, AttemptKey, Digest, QrId, Step, UserCode};
use crate::core::stream::{Draft, Publication};
use crate::tally::parts::Operations;

/// A message's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequenced {
    pub offset: u64,
    pub at_ms: u64,
    /// The `cid` was seen before; nothing was delivered again.
    pub duplicate: bool,
}

/// Which part of a room's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Read {
    /// What a joiner needs: everything after a position, or the newest messages.
    Join { after: Option<Position> },
    /// The newest messages with a smaller offset.
    Before { offset: u64, limit: usize },
    /// The oldest messages with a larger offset.
    After { offset: u64, limit: usize },
    /// The newest messages.
    Newest { limit: usize },
}

/// Part of a room's history, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    pub epoch: String,
    /// The newest offset of the room.
    pub top: u64,
    /// For a join with a position: whether `messages` is everything after it.
    pub recovered: Option<bool>,
    pub messages: Vec<Arc<Publication>>,
}

/// A room as a joiner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomView {
    pub counts: Counts,
    pub info: RoomInfo,
}

/// Whether entering may bring a room into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Create {
    Allowed,
    Refused,
}

/// Names an attempt: by an id of its code, by itself, or, where it is a device authorization, by its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptRef {
    Id(QrId),
    Key(AttemptKey),
    /// What a phone types.
    UserCode(UserCode),
    /// Digest of the device code, which is the claim.
    DeviceCode(Digest),
}

/// What became of an attempt: the decision, and the record after it.
#[derive(Debug)]
pub struct Decided {
    pub attempt: Arc<Attempt>,
    /// Its `next` is the record itself by now, and no longer here.
    pub step: Step,
}

/// What became of an attempt that may have opened a session.
#[derive(Debug)]
pub struct Redeemed {
    pub decided: Decided,
    /// The sessions that were revoked to make room for it.
    pub evicted: Vec<String>,
}

/// Something whose time has come; the caller does it with the verb for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Due {
    /// [`Engine::update_attempt`] with a tick.
    Attempt(AttemptKey),
    /// [`Engine::settle`].
    Room(RoomName),
}

/// Decides an attempt's next state. May run more than once for one update; the last run counts.
pub type DecideAttempt<'a> = &'a mut (dyn FnMut(&Attempt) -> Step + Send);
/// [`DecideAttempt`] with the session to open, if the step is to be taken with one.
pub type DecideRedeem<'a> = &'a mut (dyn FnMut(&Attempt) -> (Step, Option<SessionRecord>) + Send);
/// Decides an account's next record; `None` keeps it. May run more than once for one update.
pub type DecideAccount<'a> = &'a mut (dyn FnMut(&Account) -> Option<Account> + Send);
/// Decides a session's next record; `None` keeps it. May run more than once for one update.
pub type DecideSession<'a> = &'a mut (dyn FnMut(&SessionRecord) -> Option<SessionRecord> + Send);

impl Engine {
    /// QR logins in this process's memory, those that have ended lately included.
    pub fn attempts_kept(&self) -> usize {
        match self {
            Engine::Memory(memory) => memory.attempts_kept(),
            Engine::Remote(_) => 0,
        }
    }
}

impl Engine {
    /// What was asked so far.
    pub fn counts(&self) -> Operations {
        let (rooms, history_bytes, tallies) = match self {
            Engine::Memory(memory) => (memory.rooms_kept(), memory.history_bytes(), &memory.tallies),
            Engine::Remote(remote) => (0, 0, remote.tallies()),
        };
        Operations {
            rooms,
            history_bytes,
            ..tallies.counts()
        }
    }
}

macro_rules! verbs {
    ($( $(#[$doc:meta])* $verb:ident ( $($arg:ident : $ty:ty),* ) -> $out:ty; )*) => {
        /// The shared state of all nodes.
        #[derive(Clone)]
        pub enum Engine {
            /// Concurrent maps of this process. Never awaits.
            Memory(Arc<Memory>),
            /// State in another process, or a test engine with its manners.
            Remote(Arc<dyn Remote>),
        }

        /// Numbers of the verbs.
        #[allow(non_camel_case_types, reason = "they are the verbs' own names")]
        #[derive(Debug, Clone, Copy)]
        enum Verb { $( $verb, )* }

        /// Names of the verbs.
        pub const VERBS: &[&str] = &[ $( stringify!($verb), )* ];

        /// An engine whose verbs wait for something.
        pub trait Remote: Send + Sync {
            /// Where its verbs are counted.
            fn tallies(&self) -> &Tallies;
            $( $(#[$doc])* fn $verb<'a>(&'a self, $($arg: $ty),*) -> BoxFuture<'a, Result<$out, EngineError>>; )*
        }

        impl Engine {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the verb says, and [`EngineError::Unavailable`] when the state cannot be reached.
                #[allow(clippy::needless_lifetimes, reason = "some verbs' arguments name it")]
                pub async fn $verb<'a>(&'a self, $($arg: $ty),*) -> Result<$out, EngineError> {
                    match self {
                        Engine::Memory(memory) => {
                            let asked = memory.tallies.ask(Verb::$verb);
                            asked.answered(memory.$verb($($arg),*))
                        }
                        Engine::Remote(remote) => {
                            let asked = remote.tallies().ask(Verb::$verb);
                            asked.answered(remote.$verb($($arg),*).await)
                        }
                    }
                }
            )*
        }
    };
}

// Borrowed arguments are owned here on purpose: a remote verb's future outlives the caller's stack frame.
verbs! {
    /// Sequences a message: dedupes by `cid`, numbers, keeps, publishes. Creates the room.
    append(room: RoomName, draft: Draft, now: u64) -> Sequenced;
    /// Reads history. A room that does not exist reads as empty.
    read(room: RoomName, part: Read, now: u64) -> History;
    /// A connection is in the room, or is now signed in there: idempotent.
    enter(room: RoomName, presence: Present, create: Create, now: u64) -> RoomView;
    /// A connection is no longer in the room.
    leave(room: RoomName, connection: u64, now: u64) -> ();
    /// A room as a joiner would see it, for one who stays outside or missed an event. `None`: there is none.
    view(room: RoomName, now: u64) -> Option<RoomView>;
    /// Who is signed in there, ordered by id.
    members(room: RoomName, cursor: Option<String>, limit: usize) -> MembersPage;
    /// Raises a counter and answers its value after this.
    add(room: RoomName, counter: String, n: u64, now: u64) -> u64;
    /// Publishes counts that are due, and drops the room when it has been empty for long enough.
    settle(room: RoomName, now: u64) -> ();
    /// Keeps a new attempt. [`EngineError::Exists`] when its user code is taken: draw another.
    open_attempt(attempt: Attempt) -> ();
    /// One compare-and-set on an attempt. `None`: there is none by that name.
    update_attempt(which: AttemptRef, decide: DecideAttempt<'a>, now: u64) -> Option<Decided>;
    /// [`Engine::update_attempt`] that may keep a new session in the same step: whoever finds the attempt changed
    /// finds the session.
    redeem_attempt(which: AttemptRef, decide: DecideRedeem<'a>, now: u64) -> Option<Redeemed>;
    /// Live attempts scanned by a session.
    attempts_scanned_by(session: String) -> Vec<AttemptKey>;
    /// Keeps a new account.
    create_account(account: Account) -> ();
    /// Reads an account.
    account(user: UserId) -> Option<Arc<Account>>;
    /// One compare-and-set on an account. `None`: there is none by that name.
    update_account(user: UserId, decide: DecideAccount<'a>) -> Option<Arc<Account>>;
    /// Keeps a new session. Beyond the bound of a user those unused for longest are revoked; answers which.
    open_session(session: SessionRecord, now: u64) -> Vec<String>;
    /// Reads a session; a revoked or lapsed one is not there.
    session(id: String, now: u64) -> Option<Arc<SessionRecord>>;
    /// A user's sessions that are neither revoked nor lapsed, the newest first.
    sessions_of(user: UserId, now: u64) -> Vec<Arc<SessionRecord>>;
    /// One compare-and-set on a session. `None`: there is none by that name.
    update_session(id: String, decide: DecideSession<'a>, now: u64) -> Option<Arc<SessionRecord>>;
    /// Ends a session; its tokens are refused from here on. `false`: it had ended.
    revoke_session(id: String, now: u64) -> bool;
    /// Takes a key once. `true` for the first taker until `until`.
    take(key: OnceKey, until: u64, now: u64) -> bool;
    /// What has come due, oldest first, at most `limit`; each is answered until it has been dealt with. Where both
    /// attempts and rooms are more than that, each have half: neither waits for the other.
    due(now: u64, limit: usize) -> Vec<Due>;
    /// Events of a topic are delivered to this node from when this answers.
    follow(topic: Topic) -> ();
    /// They need not be any more.
    unfollow(topic: Topic) -> ();
}
