//! One room's sequence: offsets, the history that can be replayed, and the window in which a repeated `cid`
//! counts once.
//!
//! Offsets rise by one within an epoch. History is trimmed by count, bytes and age, oldest first; a recovery
//! is whole or it says that it is not. An empty stream owns no heap beyond its epoch.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use countersign_protocol::RoomName;
use countersign_protocol::client::Priority;
use countersign_protocol::limits::{HISTORY_PAGE_MAX, RECOVERY_BYTES_MAX, RECOVERY_MESSAGES_MAX};
use countersign_protocol::server::{From as Author, MessagePush};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod cid;

#[cfg(test)]
mod tests;

pub use cid::CidKey;
use cid::{Found, Window};

/// Who spoke, when it was not the connection of the author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A key of the server API, for itself or for the user in `from`.
    Server,
}

impl Source {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Source::Server => "server",
        }
    }
}

/// A message as it is before it has a place in the room.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Made from the author's session or server key. `None`: a server key spoke for itself.
    pub from: Option<Arc<Author>>,
    pub source: Option<Source>,
    /// At most 64 bytes; what makes a retry count once.
    pub cid: Option<Box<str>>,
    pub priority: Priority,
    /// At most 16 KiB of JSON; delivered as it is.
    pub body: Box<RawValue>,
}

/// A message with its place in the room: what is stored, and what is delivered to every node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publication {
    /// From 1, rising by one within an epoch.
    pub offset: u64,
    /// Unix milliseconds, never less than the message before.
    pub at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Arc<Author>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<Box<str>>,
    #[serde(default)]
    pub priority: Priority,
    pub body: Box<RawValue>,
}

impl Publication {
    /// The push that tells it, borrowed from it.
    pub fn push<'a>(&'a self, room: &'a RoomName) -> MessagePush<'a> {
        MessagePush {
            room: room.as_str().into(),
            offset: self.offset,
            at_ms: self.at_ms,
            from: self.from.as_deref().map(std::borrow::Cow::Borrowed),
            source: self.source.map(|source| source.name().into()),
            cid: self.cid.as_deref().map(Into::into),
            priority: self.priority,
            body: &self.body,
        }
    }

    /// Length of the body, bytes: what the limits of a room count.
    pub fn body_bytes(&self) -> usize {
        self.body.get().len()
    }

    /// Length of its push, bytes, escapes and the longest room name included: what must fit an outbox.
    pub fn push_bytes(&self) -> usize {
        /// Keys, numbers, role, priority and room name.
        const AROUND: usize = 360;
        let text = |text: &Option<String>| text.as_deref().map_or(0, escaped);
        let author = self.from.as_ref().map_or(0, |from| {
            from.id.as_str().len() + text(&from.name) + text(&from.avatar)
        });
        AROUND + author + self.cid.as_deref().map_or(0, escaped) + self.body_bytes()
    }

    /// Memory it may keep alive, bytes: what the budget of a node counts. The author is counted in full,
    /// though messages of one session share it.
    pub fn weight(&self) -> usize {
        /// The two counters of an `Arc`, and the slot in the ring.
        const AROUND: usize = 3 * size_of::<usize>();
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let author = self.from.as_ref().map_or(0, |from| {
            size_of::<Author>() + from.id.as_str().len() + length(&from.name) + length(&from.avatar)
        });
        let cid = self.cid.as_ref().map_or(0, |cid| cid.len());
        size_of::<Self>() + AROUND + author + cid + self.body_bytes()
    }
}

/// Bounds of one room's history and `cid` window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Most messages kept; default 300.
    pub messages: usize,
    /// Most bytes of message bodies kept; default 256 KiB.
    pub bytes: usize,
    /// Longest a message is kept, milliseconds; default 5 minutes.
    pub age_ms: u64,
    /// Most `cid`s remembered, at least 1; default 12,000. About 80 bytes each.
    pub cid_entries: usize,
    /// How long each is remembered, milliseconds; default 5 minutes. Never shortened.
    pub cid_ms: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            messages: 300,
            bytes: 256 * 1024,
            age_ms: 5 * 60 * 1_000,
            cid_entries: 12_000,
            cid_ms: 5 * 60 * 1_000,
        }
    }
}

/// Most that one answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMax {
    /// Messages.
    pub messages: usize,
    /// Bytes of message bodies.
    pub bytes: usize,
}

impl PageMax {
    /// What a `join` replays and calls recovered: 100 messages, 128 KiB.
    pub const RECOVERY: Self = Self {
        messages: RECOVERY_MESSAGES_MAX,
        bytes: RECOVERY_BYTES_MAX,
    };
    /// A page of `history`: 100 messages, and 128 KiB so that it fits an outbox.
    pub const HISTORY: Self = Self {
        messages: HISTORY_PAGE_MAX,
        bytes: RECOVERY_BYTES_MAX,
    };
}

/// Which messages are asked for. Offsets are not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The newest.
    Newest,
    /// The newest with a smaller offset.
    Before(u64),
    /// The oldest with a greater offset.
    After(u64),
}

/// What became of a draft.
#[derive(Debug, Clone)]
pub enum Appended {
    /// It is in the room.
    New(Arc<Publication>),
    /// Its author sent it before, within the window; nothing is to be delivered.
    Duplicate {
        /// Of the first.
        offset: u64,
        /// Of the first.
        at_ms: u64,
    },
}

/// Why a draft was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// The same author used the `cid` for another body.
    CidConflict,
    /// The window is full of entries that still count. `after_ms`: until the oldest lapses, at least 1.
    CidWindowFull { after_ms: u64 },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::CidConflict => f.write_str("the cid was used with another body"),
            AppendError::CidWindowFull { after_ms } => {
                write!(f, "too many cids in this room, try again after {after_ms} ms")
            }
        }
    }
}

impl std::error::Error for AppendError {}

/// An answer to "what did I miss".
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Whether `messages` is everything after the offset that was asked for.
    pub recovered: bool,
    /// Oldest first. When not recovered: the newest.
    pub messages: Vec<Arc<Publication>>,
}

/// The sequence of one room. `now` is Unix milliseconds; a clock that steps back stands still here.
#[derive(Debug)]
pub struct Stream {
    epoch: Box<str>,
    limits: StreamLimits,
    /// Offset of the newest message ever; 0 before the first.
    top: u64,
    /// Of the newest message ever.
    at_ms: u64,
    /// Consecutive, ending with `top`.
    history: VecDeque<Arc<Publication>>,
    body_bytes: usize,
    weight: usize,
    window: Window,
}

impl Stream {
    /// An empty stream. `epoch` names this run of the sequence: another run has another one.
    pub fn new(epoch: Box<str>, limits: StreamLimits, key: CidKey) -> Self {
        Self {
            epoch,
            limits,
            top: 0,
            at_ms: 0,
            history: VecDeque::new(),
            body_bytes: 0,
            weight: 0,
            window: Window::new(key),
        }
    }

    /// The name of this run of the sequence.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Offset of the newest message, 0 before the first. It stays when history is trimmed.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// When the newest message ever was sequenced, Unix milliseconds; 0 before the first.
    pub fn last_at(&self) -> u64 {
        self.at_ms
    }

    /// Messages in the history.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// Whether the history is empty.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// Memory the history keeps alive, bytes, for a node's budget. The `cid` window is bounded by itself.
    pub fn bytes(&self) -> usize {
        self.weight
    }

    /// Gives the draft the next offset, or finds that it has one.
    ///
    /// # Errors
    /// When its `cid` is in conflict or cannot be remembered. The stream has not changed then.
    pub fn append(&mut self, draft: Draft, now: u64) -> Result<Appended, AppendError> {
        let at_ms = now.max(self.at_ms);
        let offset = self.top + 1;
        if let Some(cid) = draft.cid.as_deref() {
            let author = (draft.source, draft.from.as_ref().map(|from| from.id.as_str()));
            let lapses_at = at_ms.saturating_add(self.limits.cid_ms);
            self.window.expire(at_ms);
            let entries_max = self.limits.cid_entries;
            match self.window.look(author, cid, draft.body.get()) {
                Found::First { offset, at_ms } => return Ok(Appended::Duplicate { offset, at_ms }),
                Found::OtherBody => return Err(AppendError::CidConflict),
                Found::Nothing(_) if self.window.len() >= entries_max => {
                    let after_ms = self.window.oldest_lapses_at().unwrap_or(lapses_at) - at_ms;
                    return Err(AppendError::CidWindowFull { after_ms });
                }
                Found::Nothing(vacant) => self.window.remember(vacant, offset, at_ms, lapses_at),
            }
        }
        let publication = Arc::new(Publication {
            offset,
            at_ms,
            from: draft.from,
            source: draft.source,
            cid: draft.cid,
            priority: draft.priority,
            body: draft.body,
        });
        (self.top, self.at_ms) = (offset, at_ms);
        self.body_bytes += publication.body_bytes();
        self.weight += publication.weight();
        self.history.push_back(Arc::clone(&publication));
        self.trim(at_ms);
        Ok(Appended::New(publication))
    }

    /// A page of the history, oldest message first, at most `max`, but one message whatever its length.
    pub fn read(&self, range: Range, max: PageMax, now: u64) -> Vec<Arc<Publication>> {
        let live = self.live(now);
        match range {
            Range::Newest => self.newest(live, self.history.len(), max),
            Range::Before(offset) => self.newest(live, self.index_after(offset.saturating_sub(1)), max),
            Range::After(offset) => {
                let from = self.index_after(offset).max(live);
                let fits = fitting(self.history.range(from..), max);
                self.history.range(from..from + fits).cloned().collect()
            }
        }
    }

    /// Everything after `offset` of `epoch`, when that is all there, and at most `max`; else the newest.
    pub fn recover(&self, epoch: &str, offset: u64, max: PageMax, now: u64) -> Recovery {
        let live = self.live(now);
        let newest = || Recovery {
            recovered: false,
            messages: self.newest(live, self.history.len(), max),
        };
        if epoch != &*self.epoch || offset > self.top {
            return newest();
        }
        let from = self.index_after(offset).max(live);
        let missed = self.top - offset;
        let there = (self.history.len() - from) as u64;
        if there != missed || missed > max.messages as u64 {
            return newest();
        }
        let missed = || self.history.range(from..);
        let bodies: usize = missed().map(|p| p.body_bytes()).sum();
        let pushes: usize = missed().map(|p| p.push_bytes()).sum();
        if bodies > max.bytes || pushes > ANSWER_BYTES_MAX {
            return newest();
        }
        Recovery {
            recovered: true,
            messages: missed().cloned().collect(),
        }
    }

    /// Forgets what is too old; for rooms in which nobody speaks.
    pub fn expire(&mut self, now: u64) {
        let now = now.max(self.at_ms);
        self.trim(now);
        self.window.expire(now);
        self.window.shrink();
        if self.history.is_empty() {
            self.history = VecDeque::new();
        }
    }

    /// Drops the oldest message; returns the bytes that [`bytes`](Stream::bytes) fell by, 0 when empty.
    pub fn trim_oldest(&mut self) -> usize {
        let Some(oldest) = self.history.pop_front() else {
            return 0;
        };
        let weight = oldest.weight();
        self.body_bytes = self.body_bytes.saturating_sub(oldest.body_bytes());
        self.weight = self.weight.saturating_sub(weight);
        weight
    }

    fn trim(&mut self, now: u64) {
        let limits = self.limits;
        while let Some(oldest) = self.history.front() {
            let over = self.history.len() > limits.messages || self.body_bytes > limits.bytes;
            if !over && !too_old(oldest, limits.age_ms, now) {
                break;
            }
            self.trim_oldest();
        }
    }

    /// Index of the first message that is not too old; equal to the length when all are.
    fn live(&self, now: u64) -> usize {
        // Usually nothing is too old, and then the first look decides.
        match self.history.front() {
            Some(oldest) if too_old(oldest, self.limits.age_ms, now) => self
                .history
                .partition_point(|p| too_old(p, self.limits.age_ms, now)),
            _ => 0,
        }
    }

    /// Index of the first message after `offset`; at most the length.
    fn index_after(&self, offset: u64) -> usize {
        let before_first = self.top - self.history.len() as u64;
        let index = offset.saturating_sub(before_first);
        usize::try_from(index)
            .unwrap_or(usize::MAX)
            .min(self.history.len())
    }

    /// The newest of the messages `live..end` that fit `max`.
    fn newest(&self, live: usize, end: usize, max: PageMax) -> Vec<Arc<Publication>> {
        let fits = fitting(self.history.range(live.min(end)..end).rev(), max);
        self.history.range(end - fits..end).cloned().collect()
    }
}

fn too_old(publication: &Publication, age_ms: u64, now: u64) -> bool {
    publication.at_ms.saturating_add(age_ms) <= now
}

/// Most bytes of pushes in one answer. Reached only where names, pictures and `cid`s are longer than bodies: an
/// answer is never dropped, so it must fit an outbox whatever others have put into the room.
const ANSWER_BYTES_MAX: usize = RECOVERY_BYTES_MAX / 2 * 3;

/// Length of a text in JSON, without its quotes.
fn escaped(text: &str) -> usize {
    let length = |b| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

/// How many of `messages` fit: the first always does, unless none is asked for.
fn fitting<'a>(messages: impl Iterator<Item = &'a Arc<Publication>>, max: PageMax) -> usize {
    let (mut bodies, mut pushes) = (0_usize, 0_usize);
    messages
        .take(max.messages)
        .enumerate()
        .take_while(|(at, publication)| {
            bodies = bodies.saturating_add(publication.body_bytes());
            pushes = pushes.saturating_add(publication.push_bytes());
            *at == 0 || (bodies <= max.bytes && pushes <= ANSWER_BYTES_MAX)
        })
        .count()
}
